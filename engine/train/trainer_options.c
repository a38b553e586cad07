#include "engine/train/trainer.h"

msa_trainer_options msa_trainer_defaults(uint64_t seed, double lr)
{
    return (msa_trainer_options){.seed = seed,
                                 .batch = 2,
                                 .lanes = 2,
                                 .targets = 4,
                                 .loss = msa_loss_defaults(MSA_LOSS_DICE_BCE),
                                 .iou_weight = 1,
                                 .box_chance = 0.8,
                                 .box_jitter = 0.1,
                                 .box_limit = 20,
                                 .more_chance = 0.5,
                                 .rounds_max = 2,
                                 .optimizer = msa_optimizer_defaults(lr)};
}

msa_status msa_trainer_options_check(const msa_trainer_options *o, msa_error *err)
{
    if (o->batch < 1 || o->rounds_max < 1 || o->rounds_max > MSA_ROUNDS_MAX)
        return msa_fail(err, MSA_E_INVALID, "training needs a batch of 1 or more and 1 to %d rounds",
                        MSA_ROUNDS_MAX);
    if (o->lanes < 1 || o->lanes > MSA_LANES_MAX || o->targets < 1 || o->targets > MSA_TARGETS_MAX)
        return msa_fail(err, MSA_E_INVALID, "training needs 1 to %d lanes and 1 to %d targets of a picture",
                        MSA_LANES_MAX, MSA_TARGETS_MAX);
    if (!(o->box_chance >= 0 && o->box_chance <= 1) || !(o->more_chance >= 0 && o->more_chance <= 1))
        return msa_fail(err, MSA_E_INVALID, "a chance of training is not in 0..1");
    if (!(o->box_jitter >= 0) || !(o->box_limit >= 0) || !(o->iou_weight >= 0))
        return msa_fail(err, MSA_E_INVALID, "the jitter of boxes or the weight of the IoU is negative");
    return MSA_OK;
}
