/* Adam, AdamW and momentum on the trained part of msa_params; schedules, clipping, moving average. */
#ifndef MSA_ENGINE_TRAIN_OPTIMIZER_H
#define MSA_ENGINE_TRAIN_OPTIMIZER_H

#include "engine/train/params.h"

typedef struct msa_optimizer {
    msa_optimizer_options options;
    msa_params *params;             /* borrowed */
    float *m, *v, *ema;             /* (n_trained) */
    double *squares;                /* sums of squared gradients, tile by tile */
    int64_t step;                   /* done so far */
    double last_lr, last_grad_norm; /* the norm before clipping */
    msa_arena arena;
} msa_optimizer;

MSA_NODISCARD msa_status msa_optimizer_new(msa_optimizer **out, msa_params *params,
                                           const msa_optimizer_options *options, msa_error *err);
void msa_optimizer_free(msa_optimizer *o);
MSA_DEFINE_AUTO(msa_optimizer, msa_optimizer_free);
/* Applies params->grads (as they are: the caller divides by the batch). MSA_E_INTERNAL, naming the parameter,
 * when one is not finite: nothing is changed then. Deterministic whatever the number of threads. */
MSA_NODISCARD msa_status msa_optimizer_step(msa_optimizer *o, msa_error *err);
/* The learning rate of step n (from 0). */
double msa_schedule_lr(const msa_optimizer_options *options, int64_t n);

#endif
