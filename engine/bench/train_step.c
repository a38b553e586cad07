#include <stdlib.h>
#include <string.h>

#include "engine/benchmark.h"
#include "engine/train/random.h"
#include "engine/train/trainer.h"

#define SEED 1

struct msa_benchmark_step {
    msa_params *params;
    msa_trainer *trainer;
};

void msa_benchmark_step_free(msa_benchmark_step *s)
{
    if (s == NULL) return;
    msa_trainer_free(s->trainer);
    msa_params_free(s->params);
    free(s);
}

msa_status msa_benchmark_step_new(msa_benchmark_step **out, const msa_config *c,
                                  const msa_benchmark_step_options *options, msa_error *err)
{
    const msa_params_start start = {.seed = SEED};
    msa_trainer_options o = msa_trainer_defaults(SEED, 1e-4);
    o.batch = o.lanes = o.targets = o.rounds_max = 1;
    o.box_chance = 1;
    o.recompute = options->recompute;
    *out = NULL;
    MSA_AUTO(msa_benchmark_step) s = calloc(1, sizeof *s);
    if (s == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for a benchmark");
    MSA_TRY(msa_params_start_new(&s->params, c, NULL, options->set, &start, err));
    MSA_TRY(msa_trainer_new(&s->trainer, s->params, &o, err));
    *out = MSA_STEAL(s);
    return MSA_OK;
}

/* Noise, and a disc in it to be found on every slice. */
static msa_status picture(void *ctx, int64_t step, int32_t item, msa_train_picture *p, msa_error *err)
{
    const int32_t S = *(const int32_t *)ctx;
    const int64_t n = (int64_t)S * S;
    msa_random r = msa_random_at(SEED, 0, (uint64_t)step, (uint64_t)item);
    (void)err;
    for (int64_t i = 0; i < 3 * p->slices * n; i++)
        p->image[i] = (float)(2 * msa_random_unit(&r) - 1);
    for (int32_t y = 0; y < S; y++)
        for (int32_t x = 0; x < S; x++) {
            const int64_t dy = 2 * y - S, dx = 2 * x - S;
            for (int32_t d = 0; d < p->slices; d++)
                p->targets[d * n + (int64_t)y * S + x] = 4 * (dy * dy + dx * dx) < n;
        }
    return MSA_OK;
}

msa_status msa_benchmark_step_run(msa_benchmark_step *s, msa_train_report *report, msa_error *err)
{
    int32_t size = s->params->config.image_size;
    return msa_trainer_step(s->trainer, picture, &size, report, err);
}

int64_t msa_benchmark_step_parameters(const msa_benchmark_step *s, bool trained_only)
{
    return msa_params_count(s->params, trained_only);
}
