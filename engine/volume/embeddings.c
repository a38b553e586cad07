#include "engine/volume/embeddings.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/sam/prompt_picture.h"
#include "engine/volume/depth_windows.h"
#include "engine/volume/prepare.h"

#define SEEN_MAX  4096 /* views whose keys are remembered */
#define BAND_ROWS 64   /* of a picture, hashed together */

/* What was asked for before, and its key: for whoever asks again the picture is not prepared once more. */
typedef struct seen {
    int32_t slice;
    msa_transform view;
    float box[4]; /* all zero: none, or the model does not look at it */
    msa_embedding_key key;
} seen;

struct msa_embeddings {
    const msa_config *config;
    const char *model_hash;
    const msa_volume *volume;
    msa_window window;
    msa_predictor *predictor;
    msa_embedding_cache *cache, *own; /* own: where the caller has none */
    msa_depth_windows stacks;
    float *images;     /* (stacks.size, 3, S, S): written where something has to be encoded */
    uint8_t *pictures; /* (stacks.size, MSA_SHA256_SIZE): their digests */
    uint8_t *grey;     /* (H, W) */
    uint8_t *bands;    /* (bands of H, MSA_SHA256_SIZE): the digests of one picture's */
    float *encoded;    /* (stacks.size) embeddings */
    size_t floats;     /* of an embedding */
    seen *seen;        /* (SEEN_MAX), the oldest is written over */
    size_t n_seen, next_seen;
};

msa_status msa_volume_window_make(msa_window *w, const msa_volume *v, msa_error *err)
{
    const size_t n = (size_t)v->D * (size_t)v->H * (size_t)v->W;
    if (!(v->window_width > 0)) return msa_window_percentile(w, v->voxels, n, 0.5, 99.5, err);
    if (!isfinite(v->window_center) || !isfinite(v->window_width))
        return msa_fail(err, MSA_E_INVALID, "the window is not finite");
    *w = msa_window_centered(v->window_center, v->window_width);
    return MSA_OK;
}

static size_t image_floats(const msa_embeddings *e)
{
    return 3 * (size_t)e->config->image_size * (size_t)e->config->image_size;
}

static int32_t bands_of(int32_t rows)
{
    return (rows + BAND_ROWS - 1) / BAND_ROWS;
}

msa_status msa_embeddings_new(msa_embeddings **out, const msa_model *model, const msa_volume *volume,
                              const msa_window *window, msa_predictor *predictor, msa_embedding_cache *cache,
                              msa_error *err)
{
    MSA_AUTO(msa_embeddings) e = calloc(1, sizeof *e);
    *out = NULL;
    if (!e) return msa_fail(err, MSA_E_NOMEM, "out of memory for the image embeddings");
    e->config = msa_model_config(model);
    e->model_hash = msa_model_hash(model);
    e->volume = volume;
    e->window = *window;
    e->predictor = predictor;
    e->stacks = msa_depth_windows_make(e->config, volume->D);
    const size_t n = (size_t)e->stacks.size;
    const msa_embedding_cache_options own = {.memory_bytes = MSA_EMBEDDINGS_BYTES};
    e->floats = msa_embedding_floats(e->config);
    e->images = malloc(n * image_floats(e) * sizeof *e->images);
    e->pictures = calloc(n, MSA_SHA256_SIZE);
    e->grey = malloc((size_t)volume->H * (size_t)volume->W);
    e->bands = calloc((size_t)bands_of(volume->H), MSA_SHA256_SIZE);
    e->encoded = malloc(n * e->floats * sizeof *e->encoded);
    e->seen = malloc(SEEN_MAX * sizeof *e->seen);
    if (!e->images || !e->pictures || !e->grey || !e->bands || !e->encoded || !e->seen)
        return msa_fail(err, MSA_E_NOMEM, "out of memory for the image embeddings");
    if (!cache) MSA_TRY(msa_embedding_cache_new(&e->own, &own, err));
    e->cache = cache ? cache : e->own;
    *out = MSA_STEAL(e);
    return MSA_OK;
}

void msa_embeddings_free(msa_embeddings *e)
{
    if (!e) return;
    msa_embedding_cache_free(e->own);
    free(e->images);
    free(e->pictures);
    free(e->grey);
    free(e->bands);
    free(e->encoded);
    free(e->seen);
    free(e);
}

static const seen *find(const msa_embeddings *e, int32_t slice, const msa_transform *view, const float box[4])
{
    for (size_t i = 0; i < e->n_seen; i++) {
        const seen *it = &e->seen[i];
        if (it->slice == slice && memcmp(&it->view, view, sizeof *view) == 0 &&
            memcmp(it->box, box, sizeof it->box) == 0)
            return it;
    }
    return NULL;
}

static void remember(msa_embeddings *e, const seen *it)
{
    e->seen[e->next_seen] = *it;
    e->next_seen = (e->next_seen + 1) % SEEN_MAX;
    if (e->n_seen < SEEN_MAX) e->n_seen++;
}

/* ---- what tells a picture from others ---- */

typedef struct band_job {
    msa_embeddings *e;
    const msa_transform *view;
    const float *voxels;
    atomic_bool bad;
} band_job;

static void band_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    band_job *j = ctx;
    const int32_t first = item * BAND_ROWS, left = j->view->rows - first;
    const int32_t n = left < BAND_ROWS ? left : BAND_ROWS;
    uint8_t *grey = j->e->grey + (size_t)first * (size_t)j->view->cols;
    if (msa_grey_rows(j->view, &j->e->window, j->voxels, j->e->volume->W, first, n, grey, NULL) != MSA_OK)
        atomic_store(&j->bad, true);
    msa_sha256_bytes(grey, (size_t)n * (size_t)j->view->cols, j->e->bands + (size_t)item * MSA_SHA256_SIZE,
                     NULL);
}

static const float *slice_of(const msa_embeddings *e, int32_t slice)
{
    return e->volume->voxels + (size_t)slice * (size_t)e->volume->H * (size_t)e->volume->W;
}

/*
 * All that makes the network's input of a slice: its grey levels before they are resized, and what is done to
 * them. So a picture that is known need not be made, and slices of air are alike whatever their noise.
 */
static msa_status tell(msa_embeddings *e, int32_t i, int32_t slice, const msa_transform *view,
                       const float *box, msa_error *err)
{
    const bool boxed = e->config->box_in_image && box;
    const int32_t bands = bands_of(view->rows);
    struct {
        int32_t form[7];
        float box[4];
        uint8_t grey[MSA_SHA256_SIZE];
    } parts = {.form = {view->rows, view->cols, view->in_rows, view->in_cols, view->size,
                        (int32_t)e->config->input_norm, boxed}};
    band_job j = {.e = e, .view = view, .voxels = slice_of(e, slice)};
    atomic_init(&j.bad, false);
    msa_pool_run(band_item, &j, bands, MSA_THREADS_MAX);
    if (atomic_load(&j.bad)) /* once more, for the sentence */
        return msa_grey_rows(view, &e->window, j.voxels, e->volume->W, 0, view->rows, e->grey, err);
    if (boxed) memcpy(parts.box, box, sizeof parts.box);
    msa_sha256_bytes(e->bands, (size_t)bands * MSA_SHA256_SIZE, parts.grey, NULL);
    msa_sha256_bytes(&parts, sizeof parts, e->pictures + (size_t)i * MSA_SHA256_SIZE, NULL);
    return MSA_OK;
}

/* Slice i of a stack as the network sees it. */
static msa_status show(msa_embeddings *e, int32_t i, int32_t slice, const msa_transform *view,
                       const float *box, msa_error *err)
{
    float *image = e->images + (size_t)i * image_floats(e);
    MSA_TRY(msa_prepare_slice(view, &e->window, e->config->input_norm, slice_of(e, slice), e->volume->W,
                              image, err));
    msa_prompt_into_image(e->config, box, view->in_rows, view->in_cols, image);
    return MSA_OK;
}

static msa_status encode(msa_embeddings *e, msa_error *err)
{
    const int32_t n = e->stacks.size;
    if (n == 1) return msa_predictor_encode(e->predictor, e->images, e->encoded, err);
    return msa_predictor_encode_stack(e->predictor, n, e->images, e->encoded, err);
}

/* The pictures that a slice is encoded with: it alone, or the window it belongs to; of that window, what
 * belongs to it is found or encoded at once. */
static msa_status look(msa_embeddings *e, seen it, const float *box, const float **embedding, msa_error *err)
{
    const int32_t window = msa_depth_windows_of(&e->stacks, it.slice), n = e->stacks.size;
    const int32_t first = msa_depth_windows_first(&e->stacks, window), wanted = it.slice - first;
    for (int32_t i = 0; i < n; i++)
        MSA_TRY(tell(e, i, first + i, &it.view, box, err));
    const msa_embedding_key key = msa_embedding_key_make(e->cache, e->model_hash, e->pictures, n, wanted);
    *embedding = msa_embedding_cache_find(e->cache, &key, e->floats);
    const bool found = *embedding != NULL;
    for (int32_t i = 0; i < n && !found; i++)
        MSA_TRY(show(e, i, first + i, &it.view, box, err));
    if (!found) MSA_TRY(encode(e, err));
    for (int32_t i = 1; i <= n; i++) {
        const int32_t at = (wanted + i) % n; /* the wanted one last, so that it stays whatever the bound */
        it.slice = first + at;
        if (msa_depth_windows_of(&e->stacks, it.slice) != window) continue;
        it.key = msa_embedding_key_make(e->cache, e->model_hash, e->pictures, n, at);
        if (!find(e, it.slice, &it.view, it.box)) remember(e, &it);
        if (!found)
            *embedding =
                msa_embedding_cache_keep(e->cache, &it.key, e->encoded + (size_t)at * e->floats, e->floats);
    }
    return MSA_OK;
}

msa_status msa_embeddings_get(msa_embeddings *e, int32_t slice, const msa_transform *view, const float *box,
                              const float **embedding, msa_error *err)
{
    seen it = {.slice = slice, .view = *view};
    if (box && e->config->box_in_image) memcpy(it.box, box, sizeof it.box);
    const seen *before = find(e, slice, view, it.box);
    *embedding = before ? msa_embedding_cache_find(e->cache, &before->key, e->floats) : NULL;
    return *embedding ? MSA_OK : look(e, it, box, embedding, err);
}
