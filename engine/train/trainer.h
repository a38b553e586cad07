/* One training step after another: pictures, prompts as a user would give them, losses, gradients, Adam. */
#ifndef MSA_ENGINE_TRAIN_TRAINER_H
#define MSA_ENGINE_TRAIN_TRAINER_H

#include "engine/train/loss.h"
#include "engine/train/optimizer.h"
#include "engine/train/passes.h"
#include "engine/train/sampling.h"

#define MSA_ROUNDS_MAX 16

/**
 * The picture of (step, item): image (3, S, S) network input, target (S, S) 0 or 1, covered: rows and columns
 * of the picture inside the padded input. Called once for each item, in order. What it gives must depend on
 * step and item alone, or a resumed run is another run.
 */
typedef msa_status msa_train_next(void *ctx, int64_t step, int32_t item, float *image, uint8_t *target,
                                  int32_t covered[2], msa_error *err);

typedef struct msa_trainer_options {
    uint64_t seed;
    int32_t batch; /* pictures whose gradients are averaged in one step; memory is that of one */
    msa_loss_options loss;
    double iou_weight;            /* of (predicted IoU - true IoU)^2 */
    double box_chance;            /* of a box as first prompt; else a click */
    double box_jitter, box_limit; /* msa_sample_box() */
    double more_chance;           /* of further rounds: a click at the error, the last mask fed back */
    int32_t rounds_max;           /* 1 .. MSA_ROUNDS_MAX, the first one counted */
    bool recompute;               /* less memory, more time: msa_encoder_pass_new() */
    msa_optimizer_options optimizer;
} msa_trainer_options;

/* Dice + BCE, boxes at 0.8, a second round at 0.5, Adam with rate lr. */
msa_trainer_options msa_trainer_defaults(uint64_t seed, double lr);

/* Means over the last hundred or so steps; part of a checkpoint. */
typedef struct msa_running {
    int64_t n;
    double loss, dice_first, dice_last; /* Dice after the first and after the last round */
} msa_running;

typedef struct msa_train_report {
    int64_t step; /* this one, from 0 */
    double loss, dice_first, dice_last, lr, grad_norm;
} msa_train_report;

typedef struct msa_trainer {
    msa_trainer_options options;
    msa_params *params; /* borrowed */
    msa_optimizer *optimizer;
    msa_running running;
    struct msa_trainer_work *work;
} msa_trainer;

/* `params` is borrowed. Errors: MSA_E_NOMEM, MSA_E_INVALID (an option is out of range). */
MSA_NODISCARD msa_status msa_trainer_new(msa_trainer **out, msa_params *params,
                                         const msa_trainer_options *options, msa_error *err);
void msa_trainer_free(msa_trainer *t);
MSA_DEFINE_AUTO(msa_trainer, msa_trainer_free);

/**
 * Step number t->optimizer->step. The image encoder runs once for each picture; the losses of the rounds are
 * averaged. Errors: what `next` fails with; MSA_E_INTERNAL, naming step and layer, when a value or a gradient
 * is not finite: the parameters are then as they were before the step.
 */
MSA_NODISCARD msa_status msa_trainer_step(msa_trainer *t, msa_train_next *next, void *ctx,
                                          msa_train_report *report, msa_error *err);

#endif
