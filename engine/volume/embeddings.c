#include "engine/volume/embeddings.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sam/prompt_picture.h"
#include "engine/volume/depth_windows.h"
#include "engine/volume/prepare.h"

#define SEEN_MAX 4096 /* views whose keys are remembered */

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
    float *images;     /* (stacks.size, 3, S, S) */
    uint8_t *pictures; /* (stacks.size, MSA_SHA256_SIZE): their digests */
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
    e->images = calloc(n * image_floats(e), sizeof *e->images);
    e->pictures = calloc(n, MSA_SHA256_SIZE);
    e->encoded = calloc(n * e->floats, sizeof *e->encoded);
    e->seen = calloc(SEEN_MAX, sizeof *e->seen);
    if (!e->images || !e->pictures || !e->encoded || !e->seen)
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

/* Slice i of a stack as the network sees it, and its digest: where the picture is grey in all channels, one
 * of them tells the others. */
static msa_status show(msa_embeddings *e, int32_t i, int32_t slice, const msa_transform *view,
                       const float *box, msa_error *err)
{
    const size_t pixels = (size_t)e->volume->H * (size_t)e->volume->W;
    const size_t told = image_floats(e) / (e->config->box_in_image ? 1 : 3);
    float *image = e->images + (size_t)i * image_floats(e);
    MSA_TRY(msa_prepare_slice(view, &e->window, e->config->input_norm,
                              e->volume->voxels + (size_t)slice * pixels, e->volume->W, image, err));
    msa_prompt_into_image(e->config, box, view->in_rows, view->in_cols, image);
    msa_sha256_bytes(image, told * sizeof *image, e->pictures + (size_t)i * MSA_SHA256_SIZE, NULL);
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
        MSA_TRY(show(e, i, first + i, &it.view, box, err));
    const msa_embedding_key key = msa_embedding_key_make(e->cache, e->model_hash, e->pictures, n, wanted);
    *embedding = msa_embedding_cache_find(e->cache, &key, e->floats);
    const bool found = *embedding != NULL;
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
