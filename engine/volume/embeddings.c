#include "engine/volume/embeddings.h"

#include <stdlib.h>

#include "engine/volume/prepare.h"

typedef struct entry {
    float *embedding; /* NULL: not made, or given up */
    uint64_t used;
} entry;

struct msa_embeddings {
    const msa_config *config;
    const msa_volume *volume;
    msa_window window;
    msa_transform transform;
    msa_predictor *predictor;
    float *image;   /* (3, S, S) */
    entry *entries; /* (D) */
    size_t floats, kept, most;
    uint64_t clock;
};

msa_status msa_embeddings_new(msa_embeddings **out, const msa_model *model, const msa_volume *volume,
                              const msa_window *window, const msa_transform *transform,
                              msa_predictor *predictor, size_t max_bytes, msa_error *err)
{
    MSA_AUTO(msa_embeddings) e = calloc(1, sizeof *e);
    *out = NULL;
    if (!e) return msa_fail(err, MSA_E_NOMEM, "out of memory for the image embeddings");
    e->config = msa_model_config(model);
    e->volume = volume;
    e->window = *window;
    e->transform = *transform;
    e->predictor = predictor;
    const size_t size = (size_t)e->config->image_size;
    const size_t grid = size / (size_t)e->config->patch;
    e->floats = (size_t)e->config->prompt_dim * grid * grid;
    e->most = max_bytes / (e->floats * sizeof(float));
    if (e->most < 1) e->most = 1;
    e->image = calloc(3 * size * size, sizeof *e->image);
    e->entries = calloc((size_t)volume->D, sizeof *e->entries);
    if (!e->image || !e->entries) return msa_fail(err, MSA_E_NOMEM, "out of memory for the image embeddings");
    *out = MSA_STEAL(e);
    return MSA_OK;
}

void msa_embeddings_free(msa_embeddings *e)
{
    if (!e) return;
    for (int32_t i = 0; e->entries && i < e->volume->D; i++)
        free(e->entries[i].embedding);
    free(e->entries);
    free(e->image);
    free(e);
}

/* Memory for one more: the oldest one's when the bound is reached. NULL when there is none. */
static float *make_room(msa_embeddings *e)
{
    entry *oldest = NULL;
    if (e->kept < e->most) {
        float *fresh = malloc(e->floats * sizeof *fresh);
        e->kept += fresh != NULL;
        return fresh;
    }
    for (int32_t i = 0; i < e->volume->D; i++) {
        entry *it = &e->entries[i];
        if (it->embedding && (!oldest || it->used < oldest->used)) oldest = it;
    }
    return oldest ? MSA_STEAL(oldest->embedding) : NULL;
}

msa_status msa_embeddings_get(msa_embeddings *e, int32_t slice, const float **embedding, msa_error *err)
{
    entry *it = &e->entries[slice];
    const size_t pixels = (size_t)e->volume->H * (size_t)e->volume->W;
    it->used = ++e->clock;
    if (!it->embedding) {
        float *room = make_room(e);
        if (!room) return msa_fail(err, MSA_E_NOMEM, "out of memory for the image embeddings");
        it->embedding = room; /* owned from here, also when encoding fails: the job then ends */
        MSA_TRY(msa_prepare_slice(&e->transform, &e->window, e->config->input_norm,
                                  e->volume->voxels + (size_t)slice * pixels, e->image, err));
        MSA_TRY(msa_predictor_encode(e->predictor, e->image, room, err));
    }
    *embedding = it->embedding;
    return MSA_OK;
}
