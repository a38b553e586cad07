#include "engine/volume/embeddings.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sam/prompt_picture.h"
#include "engine/volume/depth_windows.h"
#include "engine/volume/prepare.h"

/* What one embedding shows. A slot is made once and then used again and again. */
typedef struct slot {
    int32_t slice; /* -1: of nothing, the last encoding failed */
    msa_transform view;
    float box[4]; /* all zero: none, or the model does not look at it */
    bool crop;
    uint64_t used;
    float *embedding;
} slot;

struct msa_embeddings {
    const msa_config *config;
    const msa_volume *volume;
    msa_window window;
    msa_predictor *predictor;
    msa_depth_windows stacks;
    float *images;  /* (stacks.size, 3, S, S) */
    float *encoded; /* (stacks.size) embeddings; NULL where a stack is one slice */
    slot *slots;
    size_t n, room, most; /* slots there are, fit into the array, may be */
    size_t crops;
    size_t floats; /* of an embedding */
    uint64_t clock;
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
                              const msa_window *window, msa_predictor *predictor, size_t max_bytes,
                              msa_error *err)
{
    MSA_AUTO(msa_embeddings) e = calloc(1, sizeof *e);
    *out = NULL;
    if (!e) return msa_fail(err, MSA_E_NOMEM, "out of memory for the image embeddings");
    e->config = msa_model_config(model);
    e->volume = volume;
    e->window = *window;
    e->predictor = predictor;
    e->stacks = msa_depth_windows_make(e->config, volume->D);
    const size_t n = (size_t)e->stacks.size;
    e->floats = msa_embedding_floats(e->config);
    e->most = max_bytes / (e->floats * sizeof(float));
    if (e->most < 1) e->most = 1;
    e->images = calloc(n * image_floats(e), sizeof *e->images);
    if (n > 1) e->encoded = calloc(n * e->floats, sizeof *e->encoded);
    if (!e->images || (n > 1 && !e->encoded))
        return msa_fail(err, MSA_E_NOMEM, "out of memory for the image embeddings");
    *out = MSA_STEAL(e);
    return MSA_OK;
}

void msa_embeddings_free(msa_embeddings *e)
{
    if (!e) return;
    for (size_t i = 0; i < e->n; i++)
        free(e->slots[i].embedding);
    free(e->slots);
    free(e->images);
    free(e->encoded);
    free(e);
}

static slot *find(msa_embeddings *e, int32_t slice, const msa_transform *view, const float box[4])
{
    for (size_t i = 0; i < e->n; i++) {
        slot *it = &e->slots[i];
        if (it->slice == slice && memcmp(&it->view, view, sizeof *view) == 0 &&
            memcmp(it->box, box, sizeof it->box) == 0)
            return it;
    }
    return NULL;
}

static slot *add_slot(msa_embeddings *e)
{
    if (e->n == e->room) {
        const size_t room = e->room ? 2 * e->room : 16;
        slot *grown = realloc(e->slots, room * sizeof *grown);
        if (!grown) return NULL;
        e->slots = grown;
        e->room = room;
    }
    e->slots[e->n] = (slot){.slice = -1, .embedding = malloc(e->floats * sizeof(float))};
    return e->slots[e->n].embedding ? &e->slots[e->n++] : NULL;
}

/* One more, or the one used longest ago: of the crops when there are enough of them. NULL: no memory at all.
 */
static slot *make_room(msa_embeddings *e, bool crop)
{
    const bool among_crops = crop && e->crops >= MSA_EMBEDDINGS_CROPS;
    slot *oldest = NULL;
    if (e->n < e->most && !among_crops) {
        slot *fresh = add_slot(e);
        if (fresh) return fresh;
    }
    for (size_t i = 0; i < e->n; i++) {
        slot *it = &e->slots[i];
        if ((it->crop || !among_crops) && (!oldest || it->used < oldest->used)) oldest = it;
    }
    return oldest;
}

/* Slice i of a stack as the network sees it. */
static msa_status show(msa_embeddings *e, int32_t i, int32_t slice, const msa_transform *view,
                       const float *box, msa_error *err)
{
    const size_t pixels = (size_t)e->volume->H * (size_t)e->volume->W;
    float *image = e->images + (size_t)i * image_floats(e);
    MSA_TRY(msa_prepare_slice(view, &e->window, e->config->input_norm,
                              e->volume->voxels + (size_t)slice * pixels, e->volume->W, image, err));
    msa_prompt_into_image(e->config, box, view->in_rows, view->in_cols, image);
    return MSA_OK;
}

/* The slot that an embedding of a slice goes into; of nothing until that is good. */
static msa_status take_slot(msa_embeddings *e, const msa_transform *view, slot **out, msa_error *err)
{
    const bool crop = view->rows != e->volume->H || view->cols != e->volume->W;
    slot *it = make_room(e, crop);
    if (!it) return msa_fail(err, MSA_E_NOMEM, "out of memory for the image embeddings");
    e->crops -= it->crop;
    e->crops += crop;
    it->crop = crop;
    it->slice = -1;
    *out = it;
    return MSA_OK;
}

static void mark(msa_embeddings *e, slot *it, int32_t slice, const msa_transform *view, const float key[4])
{
    it->slice = slice;
    it->view = *view;
    memcpy(it->box, key, sizeof it->box);
    it->used = ++e->clock;
}

static msa_status encode_one(msa_embeddings *e, slot **out, int32_t slice, const msa_transform *view,
                             const float *box, msa_error *err)
{
    MSA_TRY(take_slot(e, view, out, err));
    MSA_TRY(show(e, 0, slice, view, box, err));
    return msa_predictor_encode(e->predictor, e->images, (*out)->embedding, err);
}

/* The window that a slice belongs to, encoded at once. What belongs to that window is kept, the slice that
 * was asked for last, so that it stays whatever the bound. */
static msa_status encode_stack(msa_embeddings *e, slot **out, int32_t slice, const msa_transform *view,
                               const float *box, const float key[4], msa_error *err)
{
    const int32_t window = msa_depth_windows_of(&e->stacks, slice), n = e->stacks.size;
    const int32_t first = msa_depth_windows_first(&e->stacks, window);
    for (int32_t i = 0; i < n; i++)
        MSA_TRY(show(e, i, first + i, view, box, err));
    MSA_TRY(msa_predictor_encode_stack(e->predictor, n, e->images, e->encoded, err));
    for (int32_t i = 1; i <= n; i++) {
        const int32_t at = (slice - first + i) % n; /* the wanted one last */
        if (msa_depth_windows_of(&e->stacks, first + at) != window) continue;
        if (!(*out = find(e, first + at, view, key))) MSA_TRY(take_slot(e, view, out, err));
        memcpy((*out)->embedding, e->encoded + (size_t)at * e->floats, e->floats * sizeof *e->encoded);
        mark(e, *out, first + at, view, key);
    }
    return MSA_OK;
}

msa_status msa_embeddings_get(msa_embeddings *e, int32_t slice, const msa_transform *view, const float *box,
                              const float **embedding, msa_error *err)
{
    float key[4] = {0};
    if (box && e->config->box_in_image) memcpy(key, box, sizeof key);
    slot *it = find(e, slice, view, key);
    if (!it && e->stacks.size > 1) MSA_TRY(encode_stack(e, &it, slice, view, box, key, err));
    if (!it) MSA_TRY(encode_one(e, &it, slice, view, box, err));
    mark(e, it, slice, view, key);
    *embedding = it->embedding;
    return MSA_OK;
}
