#include "engine/training.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/config_json.h"
#include "engine/sam/internal.h"
#include "engine/train/checkpoint.h"
#include "engine/train/data.h"
#include "engine/train/export.h"
#include "engine/train/validation.h"

#define OTHER_SEED 0x7e57ull /* validation's scenes are not those that are learned from */
#define AHEAD      2         /* batches that wait: a step takes a whole one at its beginning */

/* Cases whose held-out labels are marked as they are opened. */
typedef struct held {
    msa_case_set set;
    msa_training *run;
} held;

struct msa_training {
    char base_hash[MSA_SHA256_HEX]; /* "": a new model */
    msa_params *params;
    msa_trainer *trainer;
    msa_source *source;
    char **hold_out; /* (n_hold_out) names of labels */
    bool *held_out;  /* which of them a case has */
    int32_t n_hold_out;
    held learned, validated;
    msa_source *unseen; /* until validation is asked for, which takes it */
    msa_validation *validation;
    int32_t validation_pictures;
    msa_loader *loader; /* from the first step on */
    msa_sample *sample;
    msa_feed feed;
    int32_t loaders;
    bool whole, half;
    char hash[65];
};

void msa_training_free(msa_training *t)
{
    if (t == NULL) return;
    msa_loader_free(t->loader);
    msa_source_free(t->source);
    msa_source_free(t->unseen);
    for (int32_t k = 0; k < t->n_hold_out; k++)
        free(t->hold_out[k]);
    free(t->hold_out);
    free(t->held_out);
    msa_validation_free(t->validation);
    msa_sample_free(t->sample);
    msa_trainer_free(t->trainer);
    msa_params_free(t->params);
    free(t);
}

/* ---- opening ---- */

static msa_status copy_names(msa_training *t, const msa_training_options *o, msa_error *err)
{
    t->hold_out = calloc((size_t)o->n_hold_out + 1, sizeof *t->hold_out);
    t->held_out = calloc((size_t)o->n_hold_out + 1, sizeof *t->held_out);
    if (t->held_out == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for names of labels");
    for (; t->hold_out != NULL && t->n_hold_out < o->n_hold_out; t->n_hold_out++) {
        t->hold_out[t->n_hold_out] = strdup(o->hold_out[t->n_hold_out]);
        if (t->hold_out[t->n_hold_out] == NULL) break;
    }
    if (t->hold_out != NULL && t->n_hold_out == o->n_hold_out) return MSA_OK;
    return msa_fail(err, MSA_E_NOMEM, "no memory for names of labels");
}

static msa_status open_case(void *ctx, int32_t number, msa_case **out, msa_error *err)
{
    const held *h = ctx;
    MSA_TRY(h->set.open(h->set.ctx, number, out, err));
    for (int32_t k = 0; k < h->run->n_hold_out; k++)
        if (msa_case_hold_out(*out, h->run->hold_out[k])) h->run->held_out[k] = true;
    return MSA_OK;
}

/* A name that is misspelt would let a label in that nobody wants learned. Cases that were not opened yet may
 * have it. */
static msa_status check_names(const msa_training *t, const msa_training_options *o, msa_error *err)
{
    if (o->cases_at_once > 0 || !(o->volumes > 0) || o->cases.n == 0) return MSA_OK;
    for (int32_t k = 0; k < t->n_hold_out; k++)
        if (!t->held_out[k])
            return msa_fail(err, MSA_E_INVALID, "a label is to be held out that no case has: %.100s",
                            t->hold_out[k]);
    return MSA_OK;
}

static msa_status open_cases(msa_training *t, held *h, const msa_case_set *cases,
                             const msa_volumes_options *how, msa_source **out, msa_error *err)
{
    *h = (held){.set = *cases, .run = t};
    const msa_case_set set = {.n = cases->n, .open = open_case, .ctx = h};
    return msa_source_case_set(out, &set, how, err);
}

/* Nothing is augmented: what is measured is what comes. */
static msa_status open_validation(msa_training *t, const msa_training_options *o, msa_error *err)
{
    msa_volumes_options how = msa_volumes_defaults(o->trainer.seed ^ OTHER_SEED);
    how.augment_chance = 0;
    how.at_once = o->cases_at_once;
    if (o->validation_cases.n == 0)
        return msa_source_synthetic(&t->unseen, o->trainer.seed ^ OTHER_SEED, err);
    return open_cases(t, &t->validated, &o->validation_cases, &how, &t->unseen, err);
}

static msa_status open_source(msa_training *t, const msa_training_options *o, msa_error *err)
{
    msa_source *sources[2] = {NULL, NULL};
    double weights[2];
    int32_t n = 0;
    if (o->synthetic > 0) {
        MSA_TRY(msa_source_synthetic(&sources[n], o->trainer.seed, err));
        weights[n++] = o->synthetic;
    }
    if (o->volumes > 0 && o->cases.n > 0) {
        msa_volumes_options how = msa_volumes_defaults(o->trainer.seed);
        how.all_orientations = o->all_orientations;
        how.augment_chance = o->augment;
        how.at_once = o->cases_at_once;
        const msa_status status = open_cases(t, &t->learned, &o->cases, &how, &sources[n], err);
        if (status != MSA_OK) {
            msa_source_free(sources[0]);
            return status;
        }
        weights[n++] = o->volumes;
    }
    if (n == 0) return msa_fail(err, MSA_E_INVALID, "there is nothing to learn from");
    return msa_source_mix(&t->source, o->trainer.seed, sources, weights, n, err);
}

/* What a model may be given when it is trained. */
static msa_status add_depth(msa_config *c, const msa_training_options *o, msa_error *err)
{
    if (o->depth_slices == 0) return MSA_OK;
    if (c->depth_grouping == MSA_DEPTH_NONE) {
        c->depth_grouping = MSA_DEPTH_VOLUME;
        c->depth_fold = MSA_DEPTH_LINE;
    }
    c->depth_slices = o->depth_slices;
    return msa_config_check(c, err);
}

static msa_status open_params(msa_training *t, const msa_training_options *o, msa_error *err)
{
    const msa_params_start start = {.seed = o->trainer.seed,
                                    .adapter_width = o->adapter_width,
                                    .lora_rank = o->lora_rank,
                                    .lora_alpha = (float)o->lora_alpha};
    const bool adapters = o->set == MSA_TRAIN_ADAPTERS || o->set == MSA_TRAIN_ADAPTERS_DECODER;
    if (o->base == NULL && o->set != MSA_TRAIN_ALL)
        return msa_fail(err, MSA_E_INVALID, "a new model has to train all of itself");
    MSA_AUTO(msa_model) base = NULL; /* whose weights are copied */
    const msa_weights *weights = NULL;
    msa_config c;
    if (o->base == NULL) {
        MSA_TRY(msa_config_parse(&c, o->config, err));
        return msa_params_start_new(&t->params, &c, NULL, o->set, &start, err);
    }
    MSA_TRY(msa_model_load(&base, o->base, err));
    memcpy(t->base_hash, msa_model_hash(base), sizeof t->base_hash);
    c = *msa_model_config(base);
    if (adapters) c.adapters = true;
    MSA_TRY(add_depth(&c, o, err));
    if (o->detail > 0 || o->box_in_image) {
        if (o->set != MSA_TRAIN_ALL)
            return msa_fail(err, MSA_E_INVALID, "a base gets more inputs only when all of it trains");
        if (o->detail > 0) c.detail = o->detail;
        c.box_in_image = c.box_in_image || o->box_in_image;
        MSA_TRY(msa_config_check(&c, err));
    }
    if (o->image_size > 0) {
        if (o->set != MSA_TRAIN_ALL)
            return msa_fail(err, MSA_E_INVALID, "an adapter keeps the image size of its base");
        c.image_size = o->image_size; /* tables of positions are resized where they are used */
        MSA_TRY(msa_config_check(&c, err));
    }
    if (o->name != NULL && o->name[0] != '\0') (void)snprintf(c.name, sizeof c.name, "%s", o->name);
    if (o->version != NULL && o->version[0] != '\0')
        (void)snprintf(c.version, sizeof c.version, "%s", o->version);
    MSA_TRY(msa_model_whole_weights(&weights, base, err));
    return msa_params_start_new(&t->params, &c, weights, o->set, &start, err);
}

msa_status msa_training_open(msa_training **out, const msa_training_options *o, msa_error *err)
{
    *out = NULL;
    MSA_AUTO(msa_training) t = calloc(1, sizeof *t);
    if (t == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for a training run");
    t->loaders = o->loaders > 0 ? o->loaders : 1;
    t->whole = o->set == MSA_TRAIN_ALL;
    t->half = o->half;
    t->validation_pictures = o->validation_pictures;
    (void)snprintf(t->hash, sizeof t->hash, "%s", o->recipe_hash != NULL ? o->recipe_hash : "");
    MSA_TRY(open_params(t, o, err));
    MSA_TRY(msa_trainer_new(&t->trainer, t->params, &o->trainer, err));
    MSA_TRY(copy_names(t, o, err));
    MSA_TRY(open_source(t, o, err));
    MSA_TRY(open_validation(t, o, err));
    MSA_TRY(check_names(t, o, err));
    const msa_config *c = &t->params->config;
    MSA_TRY(
        msa_sample_new(&t->sample, msa_config_slices(c), c->image_size, t->trainer->options.targets, err));
    *out = MSA_STEAL(t);
    return MSA_OK;
}

msa_status msa_training_resume(msa_training *t, const char *checkpoint, msa_error *err)
{
    return msa_checkpoint_load(t->trainer, checkpoint, t->hash, err);
}

/* ---- stepping ---- */

msa_status msa_training_step(msa_training *t, msa_train_report *report, msa_error *err)
{
    if (t->loader == NULL) {
        MSA_TRY(msa_loader_new(&t->loader, t->source, (uint64_t)t->trainer->optimizer->step,
                               t->trainer->options.batch, msa_config_slices(&t->params->config),
                               t->params->config.image_size, t->trainer->options.targets, t->loaders,
                               AHEAD * t->trainer->options.batch, err));
        t->feed = (msa_feed){.loader = t->loader, .norm = t->params->config.input_norm, .sample = t->sample};
    }
    return msa_trainer_step(t->trainer, msa_feed_next, &t->feed, report, err);
}

msa_status msa_training_validate(msa_training *t, msa_train_report *report, msa_train_view_fn *view,
                                 void *ctx, msa_error *err)
{
    if (t->validation == NULL)
        MSA_TRY(msa_validation_new(&t->validation, MSA_STEAL(t->unseen), t->validation_pictures, t->trainer,
                                   err));
    return msa_validation_run(t->validation, t->trainer, report, view, ctx, err);
}

/* ---- leaving something behind ---- */

msa_status msa_training_save(const msa_training *t, const char *checkpoint, msa_error *err)
{
    return msa_checkpoint_save(t->trainer, checkpoint, t->hash, err);
}

msa_status msa_training_export(const msa_training *t, const char *path, msa_error *err)
{
    char steps[24], seed[24];
    const float *average = t->trainer->optimizer->ema;
    (void)snprintf(steps, sizeof steps, "%" PRId64, t->trainer->optimizer->step);
    (void)snprintf(seed, sizeof seed, "%" PRIu64, t->trainer->options.seed);
    const msa_metadata notes[] = {
        {"training_recipe_sha256", t->hash}, {"training_steps", steps}, {"training_seed", seed}};
    const msa_export_options how = {.trained = average,
                                    .notes = notes,
                                    .n_notes = 3,
                                    .stored = t->half ? MSA_STORED_F16 : MSA_STORED_F32};
    if (t->whole) return msa_export_model(t->params, path, &how, err);
    return msa_export_adapter(t->params, t->base_hash, path, &how, err);
}

int64_t msa_training_steps(const msa_training *t)
{
    return t->trainer->optimizer->step;
}

const msa_running *msa_training_running(const msa_training *t)
{
    return &t->trainer->running;
}

int64_t msa_training_parameters(const msa_training *t, bool trained_only)
{
    return msa_params_count(t->params, trained_only);
}
