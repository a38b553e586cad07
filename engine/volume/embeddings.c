#include "engine/volume/embeddings.h"

#include <stdlib.h>
#include <string.h>

#include "engine/sam/prompt_picture.h"
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
    float *image; /* (3, S, S) */
    slot *slots;
    size_t n, room, most; /* slots there are, fit into the array, may be */
    size_t crops;
    size_t floats; /* of an embedding */
    uint64_t clock;
};

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
    const size_t size = (size_t)e->config->image_size;
    e->floats = msa_embedding_floats(e->config);
    e->most = max_bytes / (e->floats * sizeof(float));
    if (e->most < 1) e->most = 1;
    e->image = calloc(3 * size * size, sizeof *e->image);
    if (!e->image) return msa_fail(err, MSA_E_NOMEM, "out of memory for the image embeddings");
    *out = MSA_STEAL(e);
    return MSA_OK;
}

void msa_embeddings_free(msa_embeddings *e)
{
    if (!e) return;
    for (size_t i = 0; i < e->n; i++)
        free(e->slots[i].embedding);
    free(e->slots);
    free(e->image);
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

static msa_status encode(msa_embeddings *e, slot *it, int32_t slice, const msa_transform *view,
                         const float *box, msa_error *err)
{
    const size_t pixels = (size_t)e->volume->H * (size_t)e->volume->W;
    it->slice = -1; /* until the encoding is good */
    MSA_TRY(msa_prepare_slice(view, &e->window, e->config->input_norm,
                              e->volume->voxels + (size_t)slice * pixels, e->volume->W, e->image, err));
    msa_prompt_into_image(e->config, box, view->in_rows, view->in_cols, e->image);
    MSA_TRY(msa_predictor_encode(e->predictor, e->image, it->embedding, err));
    it->slice = slice;
    it->view = *view;
    return MSA_OK;
}

msa_status msa_embeddings_get(msa_embeddings *e, int32_t slice, const msa_transform *view, const float *box,
                              const float **embedding, msa_error *err)
{
    float key[4] = {0};
    const bool crop = view->rows != e->volume->H || view->cols != e->volume->W;
    if (box && e->config->box_in_image) memcpy(key, box, sizeof key);
    slot *it = find(e, slice, view, key);
    if (!it) {
        it = make_room(e, crop);
        if (!it) return msa_fail(err, MSA_E_NOMEM, "out of memory for the image embeddings");
        e->crops -= it->crop;
        e->crops += crop;
        it->crop = crop;
        MSA_TRY(encode(e, it, slice, view, box, err));
        memcpy(it->box, key, sizeof key);
    }
    it->used = ++e->clock;
    *embedding = it->embedding;
    return MSA_OK;
}
