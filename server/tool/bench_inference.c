/* What msa bench measures with a model: the encoder, the decoder, a box on a slice that is known, a whole
 * series. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/embedding_cache.h"
#include "engine/segmenter.h"
#include "server/tool/bench.h"
#include "server/tool/running.h"

#define SEED 1

typedef struct inference {
    msa_model *model;
    const msa_config *config;
    msa_predictor *predictor;
    int32_t slices; /* that are encoded at once */
    float *images, *embeddings, *logits, *iou;
    float box[SRV_BENCH_BOXES][4];
    msa_prompt_set prompts[SRV_BENCH_BOXES];
} inference;

static void inference_clear(inference *k)
{
    free(k->iou);
    free(k->logits);
    free(k->embeddings);
    free(k->images);
    msa_predictor_free(k->predictor);
    msa_model_free(k->model);
}

/* A preset is written to a file for as long as it takes to map it, as any model is. */
static msa_status load_preset(msa_model **out, const msa_config *c, msa_precision precision, msa_error *err)
{
    const char *folder = getenv("TMPDIR");
    char path[PATH_MAX];
    const int n = snprintf(path, sizeof path, "%s/msa-bench-XXXXXX", folder && *folder ? folder : "/tmp");
    if (n < 0 || (size_t)n >= sizeof path) return msa_fail(err, MSA_E_INVALID, "TMPDIR is too long a path");
    const int fd = mkstemp(path);
    if (fd < 0) return msa_fail(err, MSA_E_IO, "cannot make a file in %.150s", path);
    (void)close(fd);
    msa_status status = msa_model_write_random(path, c, SEED, err);
    if (status == MSA_OK) status = msa_model_load_in(out, path, precision, err);
    (void)unlink(path);
    return status;
}

/* Boxes of half the image's side, at the places of a grid. */
static void place_boxes(inference *k)
{
    const float S = (float)k->config->image_size;
    for (int i = 0; i < SRV_BENCH_BOXES; i++) {
        const float x = S / 8 * (float)(i % 4), y = S / 8 * (float)(i / 4);
        float *box = k->box[i];
        box[0] = x;
        box[1] = y;
        box[2] = x + S / 2;
        box[3] = y + S / 2;
        k->prompts[i] = (msa_prompt_set){.box = box};
    }
}

static msa_status open_inference(inference *k, msa_error *err)
{
    const msa_config *c = k->config;
    const size_t S = (size_t)c->image_size, g = S / (size_t)c->patch, n = (size_t)k->slices;
    const size_t masks = SRV_BENCH_BOXES * (size_t)c->mask_tokens, floats = msa_embedding_floats(c);
    MSA_TRY(msa_predictor_new_stack(&k->predictor, k->model, k->slices, err));
    k->images = malloc(n * 3 * S * S * sizeof *k->images);
    k->embeddings = malloc(n * floats * sizeof *k->embeddings);
    k->logits = malloc(masks * 16 * g * g * sizeof *k->logits);
    k->iou = malloc(masks * sizeof *k->iou);
    if (!k->images || !k->embeddings || !k->logits || !k->iou)
        return msa_fail(err, MSA_E_NOMEM, "no memory for a picture");
    for (size_t i = 0; i < n * 3 * S * S; i++)
        k->images[i] = (float)(i % 97) / 48.0f - 1.0f;
    for (size_t i = 0; i < n * floats; i++) /* the decoder's, where the encoder is not asked for */
        k->embeddings[i] = (float)(i % 89) / 44.0f - 1.0f;
    place_boxes(k);
    return MSA_OK;
}

static msa_status run_encoder(void *ctx, msa_error *err)
{
    inference *k = ctx;
    return msa_predictor_encode_stack(k->predictor, k->slices, k->images, k->embeddings, err);
}

static msa_status run_decoder(void *ctx, msa_error *err)
{
    inference *k = ctx;
    return msa_predictor_decode(k->predictor, k->embeddings, &k->prompts[0], k->logits, k->iou, err);
}

static msa_status run_decoder_16(void *ctx, msa_error *err)
{
    inference *k = ctx;
    return msa_predictor_decode_batch(k->predictor, k->embeddings, SRV_BENCH_BOXES, k->prompts, k->logits,
                                      k->iou, err);
}

/* ---- as the service does it ---- */

typedef struct series {
    const msa_model *model;
    msa_volume volume;
    msa_prompt boxes[2];
    msa_embedding_cache *cache; /* NULL: every run encodes */
    float *voxels, *positions;
    uint8_t *mask;
} series;

static void series_clear(series *s)
{
    free(s->voxels);
    free(s->positions);
    free(s->mask);
    msa_embedding_cache_free(s->cache);
}

/* Slices of the network's own size, that none is resized; boxes on the first and the last one, so that every
 * slice has one of its own and random weights do not end the object early. */
static msa_status open_series(series *s, int32_t slices, msa_error *err)
{
    const int32_t S = msa_model_config(s->model)->image_size;
    const size_t pixels = (size_t)S * (size_t)S, n = (size_t)slices;
    s->voxels = malloc(n * pixels * sizeof *s->voxels);
    s->positions = malloc(n * sizeof *s->positions);
    s->mask = malloc(n * pixels);
    if (!s->voxels || !s->positions || !s->mask) return msa_fail(err, MSA_E_NOMEM, "no memory for a series");
    for (size_t i = 0; i < n * pixels; i++)
        s->voxels[i] = (float)((i + 37 * (i / pixels)) % 251); /* no two alike */
    for (size_t i = 0; i < n; i++)
        s->positions[i] = (float)i;
    s->volume = (msa_volume){.voxels = s->voxels,
                             .D = slices,
                             .H = S,
                             .W = S,
                             .spacing_mm = {1, 1},
                             .position_mm = s->positions,
                             .window_center = 125,
                             .window_width = 250};
    for (int i = 0; i < 2; i++)
        s->boxes[i] = (msa_prompt){.kind = MSA_PROMPT_BOX,
                                   .slice = i * (slices - 1),
                                   .x0 = 0.25f * (float)S,
                                   .y0 = 0.25f * (float)S,
                                   .x1 = 0.75f * (float)S,
                                   .y1 = 0.75f * (float)S};
    return MSA_OK;
}

static msa_status run_series(void *ctx, msa_error *err)
{
    series *s = ctx;
    const msa_object object = {.prompts = s->boxes, .n_prompts = s->volume.D > 1 ? 2 : 1};
    msa_object_result result = {.mask = s->mask};
    return msa_segment(s->model, &s->volume, &object, 1, &result, s->cache, srv_running_interrupted(), NULL,
                       NULL, err);
}

/* Warming up encodes the slice; from then on another box is asked for each time. */
static msa_status run_cached_box(void *ctx, msa_error *err)
{
    series *s = ctx;
    s->boxes[0].x0 = s->boxes[0].x0 > 2.0f ? s->boxes[0].x0 - 1.0f : s->boxes[0].x0 + 1.0f;
    return run_series(s, err);
}

static msa_status measure_cached_box(srv_bench_report *r, const inference *k, msa_error *err)
{
    const msa_embedding_cache_options o = {.memory_bytes = (size_t)256 << 20};
    __attribute__((cleanup(series_clear))) series s = {.model = k->model};
    if (!r->arguments->part[SRV_BENCH_CACHED_BOX]) return MSA_OK;
    MSA_TRY(open_series(&s, 1, err));
    MSA_TRY(msa_embedding_cache_new(&s.cache, &o, err));
    return srv_bench_measure(r, SRV_BENCH_CACHED_BOX, run_cached_box, &s, err);
}

static msa_status measure_series(srv_bench_report *r, const inference *k, msa_error *err)
{
    __attribute__((cleanup(series_clear))) series s = {.model = k->model};
    const int32_t asked = r->arguments->series;
    if (!r->arguments->part[SRV_BENCH_SERIES]) return MSA_OK;
    r->series_slices = asked > 0 ? asked : k->slices > 1 ? k->slices : SRV_BENCH_SERIES_SLICES;
    MSA_TRY(open_series(&s, r->series_slices, err));
    return srv_bench_measure(r, SRV_BENCH_SERIES, run_series, &s, err);
}

/* ---- all of them ---- */

static int32_t stack_of(const srv_bench_report *r)
{
    if (r->config.depth_grouping == MSA_DEPTH_NONE) return 1;
    if (r->arguments->depth > 0) return r->arguments->depth;
    return r->config.depth_slices > 0 ? r->config.depth_slices : MSA_DEPTH_SLICES;
}

msa_status srv_bench_inference(srv_bench_report *r, const char *path, msa_error *err)
{
    __attribute__((cleanup(inference_clear))) inference k = {.slices = stack_of(r)};
    const msa_precision precision = r->arguments->precision;
    MSA_TRY(path ? msa_model_load_in(&k.model, path, precision, err)
                 : load_preset(&k.model, &r->config, precision, err));
    k.config = msa_model_config(k.model);
    r->slices = k.slices;
    r->encoder_gmac = msa_benchmark_encoder_gmac(k.config, k.slices);
    MSA_TRY(open_inference(&k, err));
    MSA_TRY(srv_bench_measure(r, SRV_BENCH_ENCODER, run_encoder, &k, err));
    MSA_TRY(srv_bench_measure(r, SRV_BENCH_DECODER, run_decoder, &k, err));
    MSA_TRY(srv_bench_measure(r, SRV_BENCH_DECODER_16, run_decoder_16, &k, err));
    msa_predictor_free(k.predictor); /* the others bring their own */
    k.predictor = NULL;
    MSA_TRY(measure_cached_box(r, &k, err));
    return measure_series(r, &k, err);
}
