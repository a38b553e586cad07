#include "engine/train/validation.h"

#include <stdlib.h>

struct msa_validation {
    msa_source *source;
    msa_sample *sample;
    int32_t pictures;
    msa_train_picture picture; /* its targets are the sample's */
};

msa_status msa_validation_new(msa_validation **out, msa_source *source, int32_t pictures,
                              const msa_trainer *trainer, msa_error *err)
{
    const int32_t S = trainer->params->config.image_size,
                  slices = msa_config_slices(&trainer->params->config);
    *out = NULL;
    MSA_AUTO(msa_validation) v = calloc(1, sizeof *v);
    if (v == NULL) {
        msa_source_free(source);
        return msa_fail(err, MSA_E_NOMEM, "no memory for the validation");
    }
    v->source = source;
    v->pictures = pictures;
    if (pictures < 1) return msa_fail(err, MSA_E_INVALID, "validation needs one picture or more");
    MSA_TRY(msa_sample_new(&v->sample, slices, S, trainer->options.targets, err));
    v->picture.slices = slices;
    v->picture.image = calloc(3 * (size_t)slices * (size_t)S * (size_t)S, sizeof *v->picture.image);
    if (v->picture.image == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for the validation");
    *out = MSA_STEAL(v);
    return MSA_OK;
}

void msa_validation_free(msa_validation *v)
{
    if (v == NULL) return;
    msa_source_free(v->source);
    msa_sample_free(v->sample);
    free(v->picture.image);
    free(v);
}

/* The moving average takes the place of the values, or gives it back. */
static void exchange(msa_trainer *t)
{
    float *values = t->params->values, *average = t->optimizer->ema;
    for (int64_t i = 0; average != NULL && i < t->params->n_trained; i++) {
        const float kept = values[i];
        values[i] = average[i];
        average[i] = kept;
    }
}

static msa_status look(msa_validation *v, msa_trainer *t, msa_train_report *sum, msa_train_view_fn *view,
                       void *ctx, msa_error *err)
{
    const msa_sample *s = v->sample;
    const size_t n = (size_t)s->size * (size_t)s->size, slices = (size_t)s->depth, middle = slices / 2;
    for (int32_t k = 0; k < v->picture.n_targets; k++) {
        msa_train_answer a;
        MSA_TRY(msa_trainer_answer(t, &v->picture, k, &a, err));
        sum->loss += a.loss;
        sum->dice_first += a.dice;
        const msa_train_view seen = {.size = s->size,
                                     .rows = s->rows,
                                     .cols = s->cols,
                                     .image = s->image + middle * n,
                                     .target = v->picture.targets + ((size_t)k * slices + middle) * n,
                                     .found = a.found,
                                     .box = {a.box.x0, a.box.y0, a.box.x1, a.box.y1},
                                     .dice = a.dice,
                                     .label = k == 0 ? s->label : ""};
        if (view != NULL) view(ctx, &seen);
    }
    return MSA_OK;
}

static msa_status run(msa_validation *v, msa_trainer *t, msa_train_report *report, msa_train_view_fn *view,
                      void *ctx, msa_error *err)
{
    const size_t one = 3 * (size_t)v->sample->size * (size_t)v->sample->size;
    int64_t n = 0;
    for (int32_t i = 0; i < v->pictures; i++) {
        MSA_TRY(msa_source_next(v->source, 0, i, v->sample, err));
        for (int32_t d = 0; d < v->sample->depth; d++)
            MSA_TRY(msa_sample_input(v->sample, d, t->params->config.input_norm,
                                     v->picture.image + (size_t)d * one, err));
        v->picture.targets = v->sample->targets;
        v->picture.n_targets = v->sample->n_targets;
        v->picture.covered[0] = v->sample->rows;
        v->picture.covered[1] = v->sample->cols;
        MSA_TRY(look(v, t, report, view, ctx, err));
        n += v->sample->n_targets;
    }
    report->loss /= (double)n;
    report->dice_first /= (double)n;
    report->dice_last = report->dice_first;
    return MSA_OK;
}

msa_status msa_validation_run(msa_validation *v, msa_trainer *t, msa_train_report *report,
                              msa_train_view_fn *view, void *ctx, msa_error *err)
{
    *report = (msa_train_report){.step = t->optimizer->step};
    exchange(t);
    const msa_status status = run(v, t, report, view, ctx, err);
    exchange(t);
    return status;
}
