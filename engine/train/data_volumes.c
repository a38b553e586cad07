/* Samples from volumes: as many as are asked for, from the cases that are in memory. */
#include "engine/train/data_volumes.h"

#include <stdlib.h>

#include "engine/train/data_source.h"

typedef struct volumes {
    msa_source source;
    msa_volumes_options options;
    msa_shelf *shelf;
} volumes;

msa_volumes_options msa_volumes_defaults(uint64_t seed)
{
    return (msa_volumes_options){.seed = seed,
                                 .min_pixels = 12,
                                 .crop_chance = 0.9F,
                                 .margin_min = 0.12F,
                                 .margin_max = 1.0F,
                                 .augment_chance = 0.9F,
                                 .renew_every = 100};
}

static msa_status try_case(const volumes *v, uint64_t step, bool augment, msa_rng *r, msa_sample *sample,
                           int32_t *area, msa_error *err)
{
    const msa_stock *stock;
    msa_status status = MSA_OK;
    *area = 0;
    MSA_TRY(msa_shelf_take(v->shelf, step, msa_rng_u64(r), &stock, err));
    if (!msa_stock_is_empty(stock))
        status = msa_slice_sample(stock, &v->options, augment, r, sample, area, err);
    msa_shelf_give_back(v->shelf, stock);
    return status;
}

static msa_status volumes_next(const msa_source *source, uint64_t step, int32_t item, msa_sample *sample,
                               msa_error *err)
{
    const volumes *v = (const volumes *)source;
    enum { ATTEMPTS = 64 };
    for (uint64_t attempt = 0; attempt < ATTEMPTS; attempt++) {
        msa_rng r = msa_rng_key(v->options.seed + attempt, step, (uint64_t)item);
        const bool late = attempt >= ATTEMPTS / 2;
        const bool augment = msa_rng_chance(&r, v->options.augment_chance) && !late;
        int32_t area = 0;
        MSA_TRY(try_case(v, step, augment, &r, sample, &area, err));
        /* turned out of the picture, or (a thin one, shrunk) resized to nothing: another one then */
        if (area >= v->options.min_pixels || (late && area > 0)) return MSA_OK;
    }
    return msa_fail(err, MSA_E_INVALID,
                    "targets of the cases vanish at %d x %d pixels: ask for more pixels of a target",
                    sample->size, sample->size);
}

static void volumes_free(msa_source *source)
{
    volumes *v = (volumes *)source;
    msa_shelf_free(v->shelf);
    free(v);
}

static bool options_good(const msa_volumes_options *o)
{
    return o->min_pixels >= 1 && o->crop_chance >= 0 && o->crop_chance <= 1 && o->margin_min > 0 &&
           o->margin_max >= o->margin_min && o->margin_max < 100 && o->augment_chance >= 0 &&
           o->augment_chance <= 1 && o->at_once >= 0 && o->renew_every >= 1;
}

msa_status msa_source_case_set(msa_source **out, const msa_case_set *set, const msa_volumes_options *options,
                               msa_error *err)
{
    *out = NULL;
    if (!options_good(options))
        return msa_fail(err, MSA_E_INVALID, "an option of the volumes is out of range");
    volumes *v = calloc(1, sizeof *v);
    if (!v) return msa_fail(err, MSA_E_NOMEM, "out of memory for a source of samples");
    *v = (volumes){.source = {volumes_next, volumes_free}, .options = *options};
    MSA_AUTO(msa_source) owned = &v->source;
    MSA_TRY(msa_shelf_new(&v->shelf, set, options, err));
    *out = MSA_STEAL(owned);
    return MSA_OK;
}

/* ---- cases that are in memory already ---- */

static msa_status hand_over(void *ctx, int32_t number, msa_case **out, msa_error *err)
{
    msa_case **cases = ctx;
    (void)err;
    *out = cases[number];
    cases[number] = NULL;
    return MSA_OK;
}

msa_status msa_source_volumes(msa_source **out, msa_case **cases, int32_t n_cases,
                              const msa_volumes_options *options, msa_error *err)
{
    msa_volumes_options all = *options;
    const msa_case_set set = {.n = n_cases, .open = hand_over, .ctx = cases};
    all.at_once = 0; /* each is opened once, now */
    const msa_status status = msa_source_case_set(out, &set, &all, err);
    for (int32_t k = 0; k < n_cases; k++)
        msa_case_free(cases[k]);
    return status;
}
