/* Adam, AdamW and momentum on the trained part of msa_params; schedules, clipping, moving average. */
#ifndef MSA_ENGINE_TRAIN_OPTIMIZER_H
#define MSA_ENGINE_TRAIN_OPTIMIZER_H

#include "engine/train/params.h"

typedef enum msa_schedule { MSA_SCHEDULE_CONSTANT, MSA_SCHEDULE_COSINE, MSA_SCHEDULE_STEP } msa_schedule;

typedef struct msa_optimizer_options {
    bool momentum_only; /* v = beta1 v + g, value -= lr v: stochastic gradient descent; beta2 and eps are not
                           used */
    bool decoupled; /* AdamW: weight decay beside the gradient (Loshchilov and Hutter); else Adam with L2 */
    double lr, beta1, beta2, eps, weight_decay;
    msa_schedule schedule;
    int64_t warmup_steps, total_steps; /* linear warm-up; cosine down to lr_min at total_steps */
    double lr_min;
    int64_t step_every; /* MSA_SCHEDULE_STEP: times step_factor every so many steps */
    double step_factor;
    double clip_norm; /* of all gradients together; 0: none */
    double ema_decay; /* 0: none */
} msa_optimizer_options;

typedef struct msa_optimizer {
    msa_optimizer_options options;
    msa_params *params;             /* borrowed */
    float *m, *v, *ema;             /* (n_trained) */
    int64_t step;                   /* done so far */
    double last_lr, last_grad_norm; /* the norm before clipping */
    msa_arena arena;
} msa_optimizer;

MSA_NODISCARD msa_status msa_optimizer_new(msa_optimizer **out, msa_params *params,
                                           const msa_optimizer_options *options, msa_error *err);
void msa_optimizer_free(msa_optimizer *o);
MSA_DEFINE_AUTO(msa_optimizer, msa_optimizer_free);
/* Adam with the published defaults: rate lr, betas 0.9 and 0.999, eps 1e-8, constant, no decay, no clipping.
 */
msa_optimizer_options msa_optimizer_defaults(double lr);
/* Applies params->grads (as they are: the caller divides by the batch). MSA_E_INTERNAL, naming the parameter,
 * when one is not finite: nothing is changed then. Deterministic whatever the number of threads. */
MSA_NODISCARD msa_status msa_optimizer_step(msa_optimizer *o, msa_error *err);
/* The learning rate of step n (from 0). */
double msa_schedule_lr(const msa_optimizer_options *options, int64_t n);

#endif
