/* One training step after another: pictures, prompts as a user would give them, losses, gradients, Adam. */
#ifndef MSA_ENGINE_TRAIN_TRAINER_H
#define MSA_ENGINE_TRAIN_TRAINER_H

#include "engine/train/loss.h"
#include "engine/train/optimizer.h"
#include "engine/train/passes.h"
#include "engine/train/sampling.h"

/* A picture and what is to be found in it. The memory is the trainer's. */
typedef struct msa_train_picture {
    int32_t slices;   /* neighbours that the model sees at once: msa_config_slices() */
    float *image;     /* (slices, 3, S, S): network input */
    uint8_t *targets; /* (targets_max, slices, S, S), 0 or 1; none is empty on the middle slice, slices / 2 */
    int32_t targets_max;
    int32_t n_targets;  /* 1 .. targets_max, set by who fills it */
    int32_t covered[2]; /* rows and columns of the picture inside the padded input */
} msa_train_picture;

/**
 * Fills the picture of (step, item). Called once for each item, in order. What it gives must depend on step
 * and item alone, or a resumed run is another run.
 */
typedef msa_status msa_train_next(void *ctx, int64_t step, int32_t item, msa_train_picture *picture,
                                  msa_error *err);

typedef struct msa_trainer {
    msa_trainer_options options;
    msa_params *params; /* borrowed */
    msa_optimizer *optimizer;
    msa_running running;
    struct msa_trainer_work *work;
} msa_trainer;

/* Errors: MSA_E_INVALID (an option is out of range). */
MSA_NODISCARD msa_status msa_trainer_options_check(const msa_trainer_options *o, msa_error *err);

/* `params` is borrowed. Errors: MSA_E_NOMEM, MSA_E_INVALID (an option is out of range). */
MSA_NODISCARD msa_status msa_trainer_new(msa_trainer **out, msa_params *params,
                                         const msa_trainer_options *options, msa_error *err);
void msa_trainer_free(msa_trainer *t);
MSA_DEFINE_AUTO(msa_trainer, msa_trainer_free);

/**
 * Step number t->optimizer->step. The image encoder runs once for each picture; the losses of the rounds are
 * averaged. Of a stack, each target is learned on one slice that shows it, drawn anew. Errors: what `next`
 * fails with; MSA_E_INTERNAL, naming step and layer, when a value or a gradient is not finite: the parameters
 * are then as they were before the step.
 */
MSA_NODISCARD msa_status msa_trainer_step(msa_trainer *t, msa_train_next *next, void *ctx,
                                          msa_train_report *report, msa_error *err);

/* What the model makes of target k of a picture, on its middle slice, with its tight box there. */
typedef struct msa_train_answer {
    const uint8_t *found; /* (S, S) 0 or 1; until the next call */
    msa_box box;
    double loss, dice;
} msa_train_answer;

/* Nothing is learned. Targets of one picture in order, k = 0 first: the picture is encoded then. Errors:
 * MSA_E_INTERNAL (a value is not finite), MSA_E_INVALID. */
MSA_NODISCARD msa_status msa_trainer_answer(msa_trainer *t, const msa_train_picture *picture, int32_t k,
                                            msa_train_answer *out, msa_error *err);

#endif
