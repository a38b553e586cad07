#include "engine/train/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/train/data_random.h"
#include "engine/train/data_source.h"
#include "engine/train/synth.h"
#include "engine/train/trainer.h"
#include "engine/volume/prepare.h"

/* ---- samples ---- */

msa_status msa_sample_new(msa_sample **out, int32_t depth, int32_t size, int32_t targets_max, msa_error *err)
{
    *out = NULL;
    if (depth < 1 || depth > 1024 || size < 8 || size > MSA_SYNTH_SIZE_MAX)
        return msa_fail(err, MSA_E_INVALID, "samples of %d planes of %d x %d pixels are not made", depth,
                        size, size);
    if (targets_max < 1 || targets_max > MSA_TARGETS_MAX)
        return msa_fail(err, MSA_E_INVALID, "samples have 1 to %d targets, not %d", MSA_TARGETS_MAX,
                        targets_max);
    const size_t n = (size_t)depth * (size_t)size * (size_t)size;
    MSA_AUTO(msa_sample) s = calloc(1, sizeof *s);
    if (s) {
        s->depth = depth;
        s->size = size;
        s->rows = s->cols = size;
        s->image = calloc(n, sizeof *s->image);
        s->targets_max = targets_max;
        s->targets = calloc((size_t)targets_max, n);
    }
    if (!s || !s->image || !s->targets)
        return msa_fail(err, MSA_E_NOMEM, "out of memory for a training sample");
    *out = MSA_STEAL(s);
    return MSA_OK;
}

void msa_sample_free(msa_sample *s)
{
    if (!s) return;
    free(s->image);
    free(s->targets);
    free(s);
}

msa_status msa_sample_input(const msa_sample *s, int32_t plane, msa_input_norm norm, float *out,
                            msa_error *err)
{
    const float *image = s->image + (size_t)plane * (size_t)s->size * (size_t)s->size;
    MSA_AUTO_FREE uint8_t *grey = malloc((size_t)s->rows * (size_t)s->cols);
    if (!grey) return msa_fail(err, MSA_E_NOMEM, "out of memory for a training sample");
    for (int32_t y = 0; y < s->rows; y++)
        for (int32_t x = 0; x < s->cols; x++) /* rounded: what was made of 8 bits stays what it was */
            grey[y * s->cols + x] = (uint8_t)(image[y * s->size + x] * 255.0F + 0.5F);
    msa_normalise_pad(grey, s->rows, s->cols, 1, norm, s->size, out);
    return MSA_OK;
}

/* ---- sources ---- */

void msa_source_free(msa_source *s)
{
    if (s) s->free(s);
}

msa_status msa_source_next(const msa_source *s, uint64_t step, int32_t item, msa_sample *sample,
                           msa_error *err)
{
    return s->next(s, step, item, sample, err);
}

typedef struct synthetic {
    msa_source source;
    uint64_t seed;
} synthetic;

static msa_status synthetic_next(const msa_source *source, uint64_t step, int32_t item, msa_sample *sample,
                                 msa_error *err)
{
    const synthetic *s = (const synthetic *)source;
    /* below 2^48: the generator counts its attempts above that */
    const uint64_t index = ((step << 12) + ((uint64_t)item & 0xFFF)) & ((UINT64_C(1) << 48) - 1);
    (void)snprintf(sample->source, sizeof sample->source, "synthetic");
    (void)snprintf(sample->label, sizeof sample->label, "object");
    msa_synth_picture p = {.depth = sample->depth,
                           .size = sample->size,
                           .targets_max = sample->targets_max,
                           .image = sample->image,
                           .targets = sample->targets};
    MSA_TRY(msa_synth_sample(s->seed, index, &p, err));
    sample->n_targets = p.n_targets;
    sample->rows = p.rows;
    sample->cols = p.cols;
    return MSA_OK;
}

static void plain_free(msa_source *source)
{
    free(source);
}

msa_status msa_source_synthetic(msa_source **out, uint64_t seed, msa_error *err)
{
    *out = NULL;
    synthetic *s = calloc(1, sizeof *s);
    if (!s) return msa_fail(err, MSA_E_NOMEM, "out of memory for a source of samples");
    *s = (synthetic){.source = {synthetic_next, plain_free}, .seed = seed};
    *out = &s->source;
    return MSA_OK;
}

typedef struct mixture {
    msa_source source;
    uint64_t seed;
    int32_t n;
    double total;
    double *weights;
    msa_source **sources;
} mixture;

static msa_status mixture_next(const msa_source *source, uint64_t step, int32_t item, msa_sample *sample,
                               msa_error *err)
{
    const mixture *m = (const mixture *)source;
    msa_rng r = msa_rng_key(m->seed ^ 0x313, step, (uint64_t)item);
    double left = (double)msa_rng_unit(&r) * m->total;
    int32_t chosen = 0;
    for (int32_t k = 0; k < m->n; k++) {
        if (m->weights[k] <= 0) continue;
        chosen = k; /* the last one with a weight, when rounding leaves something over */
        left -= m->weights[k];
        if (left < 0) break;
    }
    return msa_source_next(m->sources[chosen], step, item, sample, err);
}

static void mixture_free(msa_source *source)
{
    mixture *m = (mixture *)source;
    for (int32_t k = 0; m->sources && k < m->n; k++)
        msa_source_free(m->sources[k]);
    free(m->sources);
    free(m->weights);
    free(m);
}

msa_status msa_source_mix(msa_source **out, uint64_t seed, msa_source **sources, const double *weights,
                          int32_t n, msa_error *err)
{
    *out = NULL;
    mixture *m = calloc(1, sizeof *m);
    if (m && n > 0) {
        *m = (mixture){.source = {mixture_next, mixture_free}, .seed = seed, .n = n};
        m->weights = calloc((size_t)n, sizeof *m->weights);
        m->sources = calloc((size_t)n, sizeof(msa_source *));
    }
    if (!m || n < 1 || !m->weights || !m->sources) {
        for (int32_t k = 0; k < n; k++)
            msa_source_free(sources[k]);
        if (m) {
            free(m->weights);
            free(m->sources);
            free(m);
        }
        if (n < 1) return msa_fail(err, MSA_E_INVALID, "a mixture needs a source");
        return msa_fail(err, MSA_E_NOMEM, "out of memory for a source of samples");
    }
    bool good = true;
    for (int32_t k = 0; k < n; k++) {
        m->sources[k] = sources[k];
        m->weights[k] = weights[k];
        good = good && weights[k] >= 0 && weights[k] < 1e12;
        m->total += weights[k];
    }
    if (!good || !(m->total > 0)) {
        mixture_free(&m->source);
        return msa_fail(err, MSA_E_INVALID,
                        "the weights of a mixture are not negative, and one is above zero");
    }
    *out = &m->source;
    return MSA_OK;
}

/* ---- to the trainer ---- */

msa_status msa_feed_next(void *ctx, int64_t step, int32_t item, struct msa_train_picture *picture,
                         msa_error *err)
{
    msa_feed *f = ctx;
    const bool follows = item == 0 ? step == f->step + 1 : step == f->step && item == f->item + 1;
    if (f->started && !follows)
        return msa_fail(err, MSA_E_INVALID, "sample %d of step %lld does not follow sample %d of step %lld",
                        item, (long long)step, f->item, (long long)f->step);
    if (!f->started && (item != 0 || step != msa_loader_first_step(f->loader)))
        return msa_fail(err, MSA_E_INVALID, "loading does not begin with step %lld", (long long)step);
    f->started = true;
    f->step = step;
    f->item = item;
    MSA_TRY(msa_loader_next(f->loader, f->sample, err));
    const msa_sample *made = f->sample;
    const size_t n = (size_t)made->size * (size_t)made->size, slices = (size_t)made->depth;
    for (size_t d = 0; d < slices; d++)
        MSA_TRY(msa_sample_input(made, (int32_t)d, f->norm, picture->image + 3 * d * n, err));
    picture->n_targets = made->n_targets < picture->targets_max ? made->n_targets : picture->targets_max;
    memcpy(picture->targets, made->targets, (size_t)picture->n_targets * slices * n);
    picture->covered[0] = made->rows;
    picture->covered[1] = made->cols;
    return MSA_OK;
}
