#include "engine/predictor.h"

#include <stdlib.h>

#include "engine/base/arena.h"
#include "engine/base/pool.h"
#include "engine/sam/image_encoder.h"
#include "engine/sam/internal.h"
#include "engine/sam/mask_decoder.h"
#include "engine/sam/prompt_encoder.h"
#include "engine/sam/spare.h"

/* Prompts of a batch are shared out whole among this many threads; with more, the tiles of one prompt after
 * another are: a lane has its own copy of the image's side. */
#define LANES_MAX 4

/* Room for one prompt. */
typedef struct lane {
    msa_decoder_work work;
    float *prompt_scratch, *sparse, *dense;
    int32_t failed; /* the first prompt of a batch that did, and why; -1 */
    msa_error err;
} lane;

struct msa_predictor {
    const msa_model *model;
    uint64_t serial; /* the model's: it may be gone when the predictor is freed */
    const msa_tap *tap;
    msa_arena arena;
    msa_encoder_work encoder;
    msa_upscale_weights upscale;
    float *pixels;                   /* (h * w, P): the embedding that is being decoded, channels last */
    int32_t workers, stack, n_lanes; /* stack: slices there is room for */
    lane lanes[LANES_MAX];
};

static void lane_layout(msa_predictor *p, lane *l, int32_t workers)
{
    const msa_config *c = msa_model_config(p->model);
    const msa_tables *t = msa_model_tables(p->model);
    msa_decoder_work_layout(&l->work, &p->arena, c, &msa_model_weights(p->model)->decoder, t->h, t->w,
                            p->tap != NULL, workers);
    l->prompt_scratch = msa_arena_floats(&p->arena, msa_prompt_scratch(t->h, t->w));
    l->sparse = msa_arena_floats(&p->arena, (size_t)MSA_SPARSE_MAX * (size_t)c->prompt_dim);
    l->dense = msa_arena_floats(&p->arena, (size_t)t->h * (size_t)t->w * (size_t)c->prompt_dim);
}

static void layout(msa_predictor *p, int32_t workers)
{
    const msa_config *c = msa_model_config(p->model);
    const msa_tables *t = msa_model_tables(p->model);
    msa_encoder_work_layout(&p->encoder, &p->arena, c, msa_model_weights(p->model), t->h, t->w,
                            p->tap != NULL, workers);
    msa_upscale_weights_layout(&p->upscale, &p->arena, c, &msa_model_weights(p->model)->decoder);
    p->pixels = msa_arena_floats(&p->arena, (size_t)t->h * (size_t)t->w * (size_t)c->prompt_dim);
    for (int32_t i = 0; i < p->n_lanes; i++)
        lane_layout(p, &p->lanes[i], i == 0 ? workers : 1);
}

static void release(void *thing)
{
    msa_predictor *p = thing;
    if (p == NULL) return;
    msa_arena_release(&p->arena);
    free(p);
}

msa_status msa_predictor_new_watched(msa_predictor **out, const msa_model *model, int32_t slices,
                                     const msa_tap *tap, msa_error *err)
{
    *out = NULL;
    if (slices < 1 || slices > MSA_STACK_MAX)
        return msa_fail(err, MSA_E_INVALID, "a stack holds 1 to %d slices, not %d", MSA_STACK_MAX, slices);
    const int32_t workers = msa_threads_get();
    msa_predictor *spare = tap == NULL ? msa_spare_take(msa_model_serial(model)) : NULL;
    if (spare != NULL && spare->stack == slices && spare->workers == workers) {
        *out = spare;
        return MSA_OK;
    }
    release(spare);
    MSA_AUTO(msa_predictor) p = calloc(1, sizeof *p);
    if (p == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for a predictor");
    p->model = model;
    p->serial = msa_model_serial(model);
    p->tap = tap;
    p->encoder.slices = p->stack = slices;
    p->workers = workers;
    p->n_lanes = workers <= LANES_MAX && tap == NULL ? workers : 1;
    layout(p, workers);
    MSA_TRY(msa_arena_commit(&p->arena, err));
    layout(p, workers);
    msa_upscale_weights_fill(&p->upscale, msa_model_config(model), &msa_model_weights(model)->decoder);
    *out = MSA_STEAL(p);
    return MSA_OK;
}

msa_status msa_predictor_new(msa_predictor **out, const msa_model *model, msa_error *err)
{
    return msa_predictor_new_watched(out, model, 1, NULL, err);
}

msa_status msa_predictor_new_stack(msa_predictor **out, const msa_model *model, int32_t slices,
                                   msa_error *err)
{
    return msa_predictor_new_watched(out, model, slices, NULL, err);
}

void msa_predictor_free(msa_predictor *p)
{
    if (p == NULL) return;
    if (p->tap == NULL && p->arena.base != NULL)
        msa_spare_put(p->serial, p, release);
    else
        release(p);
}

msa_status msa_predictor_encode(msa_predictor *p, const float *image, float *embedding, msa_error *err)
{
    return msa_image_encode(msa_model_config(p->model), &msa_model_weights(p->model)->encoder,
                            msa_model_tables(p->model), &p->encoder, image, embedding, p->tap, err);
}

msa_status msa_predictor_encode_stack(msa_predictor *p, int32_t n, const float *images, float *embeddings,
                                      msa_error *err)
{
    return msa_stack_encode(msa_model_config(p->model), &msa_model_weights(p->model)->encoder,
                            msa_model_tables(p->model), &p->encoder, n, images, embeddings, p->tap, err);
}

/* ---- decoding ---- */

typedef struct batch {
    msa_predictor *p;
    const float *embedding;
    const msa_prompt_set *prompts;
    float *logits, *iou;
} batch;

/* The embedding's planes to pixels, a tile of them. */
static void tile_pixels(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const batch *b = ctx;
    const int64_t P = msa_model_config(b->p->model)->prompt_dim, n = b->p->lanes[0].work.pixels;
    const int64_t first = (int64_t)item * MSA_TILE_PIXELS;
    const int64_t last = first + MSA_TILE_PIXELS < n ? first + MSA_TILE_PIXELS : n;
    enum { BLOCK = 16 }; /* planes whose lines are read side by side */
    for (int64_t c0 = 0; c0 < P; c0 += BLOCK)
        for (int64_t i = first; i < last; i++)
            for (int64_t c = c0; c < c0 + BLOCK && c < P; c++)
                b->p->pixels[i * P + c] = b->embedding[c * n + i];
}

/* Whoever watches gets all of it, also where one row stands for all. */
static void show_dense(const msa_predictor *p, lane *l, const msa_decoder_prompt *prompt)
{
    const int64_t P = msa_model_config(p->model)->prompt_dim, pixels = l->work.pixels;
    if (prompt->dense_step == 0) msa_prompt_repeat(P, pixels, l->dense);
    MSA_TAP(p->tap, l->dense, pixels, P, "dense");
}

static msa_status decode_prompt(const batch *b, lane *l, int32_t i, msa_error *err)
{
    msa_predictor *p = b->p;
    const msa_config *c = msa_model_config(p->model);
    const msa_weights *w = msa_model_weights(p->model);
    const msa_tables *t = msa_model_tables(p->model);
    const int64_t pixels = l->work.pixels;
    const msa_decoder_image image = {.grid_h = t->h,
                                     .grid_w = t->w,
                                     .dense_pe = t->dense_pe,
                                     .pixels = p->pixels,
                                     .detail = b->embedding + pixels * c->prompt_dim};
    msa_decoder_prompt prompt = {.sparse = l->sparse, .dense = l->dense};
    MSA_TRY(msa_prompt_encode(c, &w->prompt, t->h, t->w, &b->prompts[i], l->prompt_scratch, l->sparse,
                              &prompt.n_sparse, l->dense, &prompt.dense_step, err));
    if (prompt.n_sparse > 0) MSA_TAP(p->tap, l->sparse, prompt.n_sparse, c->prompt_dim, "sparse");
    if (p->tap != NULL) show_dense(p, l, &prompt);
    return msa_mask_decode(c, &w->decoder, &p->upscale, &image, &prompt, &l->work,
                           b->logits + (int64_t)i * c->mask_tokens * 16 * pixels,
                           b->iou + (int64_t)i * c->mask_tokens, p->tap, err);
}

static void decode_item(void *ctx, int32_t item, int32_t worker)
{
    const batch *b = ctx;
    lane *l = &b->p->lanes[worker];
    if (decode_prompt(b, l, item, &l->err) != MSA_OK && l->failed < 0) l->failed = item;
}

/* The first prompt that failed, whoever had it. */
static msa_status first_failure(const msa_predictor *p, msa_error *err)
{
    const lane *first = NULL;
    for (int32_t i = 0; i < p->n_lanes; i++) {
        const lane *l = &p->lanes[i];
        if (l->failed >= 0 && (first == NULL || l->failed < first->failed)) first = l;
    }
    if (first == NULL) return MSA_OK;
    if (err != NULL && err->status == MSA_OK) *err = first->err;
    return first->err.status;
}

msa_status msa_predictor_decode_batch(msa_predictor *p, const float *embedding, int32_t n,
                                      const msa_prompt_set *prompts, float *logits, float *iou,
                                      msa_error *err)
{
    batch b = {.p = p, .embedding = embedding, .prompts = prompts, .logits = logits, .iou = iou};
    const int32_t shared = p->n_lanes > 1 ? n - n % p->n_lanes : 0;
    for (int32_t i = 0; i < p->n_lanes; i++) {
        p->lanes[i].failed = -1;
        p->lanes[i].err = (msa_error)MSA_ERROR_INIT;
    }
    msa_pool_run(tile_pixels, &b, msa_tile_count(p->lanes[0].work.pixels), p->lanes[0].work.workers);
    msa_pool_run(decode_item, &b, shared, p->n_lanes);
    for (int32_t i = shared; i < n; i++) /* too few for every thread: together at one after the other */
        decode_item(&b, i, 0);
    return first_failure(p, err);
}

msa_status msa_predictor_decode(msa_predictor *p, const float *embedding, const msa_prompt_set *prompt,
                                float *logits, float *iou, msa_error *err)
{
    return msa_predictor_decode_batch(p, embedding, 1, prompt, logits, iou, err);
}
