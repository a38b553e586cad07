#include "engine/sam/reduce.h"

#include <string.h>

#include "engine/sam/pack.h"

void msa_reduced_layers_release(msa_reduced_layers *own)
{
    for (int32_t i = 0; i < own->n; i++)
        msa_reduced_free(own->list[i]);
    *own = (msa_reduced_layers){0};
}

/* Pointers to the layers, in a fixed order. */
static int32_t layers_of(const msa_config *c, msa_weights *w, msa_linear *list[MSA_REDUCED_MAX])
{
    int32_t n = 0;
    for (int32_t i = 0; c->family == MSA_FAMILY_MOBILE_SAM && i < c->depth - c->stage_depths[0]; i++) {
        msa_tiny_block_weights *b = &w->encoder.tiny.blocks[i];
        list[n++] = &b->qkv;
        list[n++] = &b->proj;
        list[n++] = &b->fc1;
        list[n++] = &b->fc2;
    }
    for (int32_t i = 0; c->family != MSA_FAMILY_MOBILE_SAM && i < c->depth; i++) {
        msa_block_weights *b = &w->encoder.blocks[i];
        list[n++] = &b->qkv;
        list[n++] = &b->proj;
        list[n++] = &b->lin1;
        list[n++] = &b->lin2;
    }
    list[n++] = &w->encoder.neck1;
    return n;
}

/* shared: the same layer of the base, or NULL. */
static msa_status reduce(msa_reduced_layers *own, const msa_linear *l, const msa_linear *shared,
                         msa_precision precision, const msa_reduced **out, msa_error *err)
{
    *out = NULL;
    if (precision == MSA_PRECISION_FP32 || l->weight == NULL) return MSA_OK;
    if (shared != NULL) *out = shared->reduced;
    if (*out != NULL) return MSA_OK;
    MSA_TRY(msa_reduced_new(&own->list[own->n], l, precision, err));
    own->bytes += msa_reduced_bytes(own->list[own->n]);
    *out = own->list[own->n++];
    return MSA_OK;
}

msa_status msa_weights_reduce(msa_reduced_layers *own, const msa_config *c, msa_weights *w,
                              const msa_weights *base, msa_precision precision, const void *file,
                              size_t file_bytes, msa_error *err)
{
    msa_linear *layers[MSA_REDUCED_MAX];
    const msa_reduced *reduced[MSA_REDUCED_MAX];
    msa_reduced_layers made = {0};
    const int32_t n = layers_of(c, w, layers);
    msa_status status = MSA_OK;
    for (int32_t i = 0; i < n && status == MSA_OK; i++)
        status = reduce(&made, layers[i], msa_shared_layer(base, w, layers[i]), precision, &reduced[i], err);
    if (status != MSA_OK) {
        msa_reduced_layers_release(&made);
        return status;
    }
    for (int32_t i = 0; i < n; i++) {
        layers[i]->reduced = reduced[i];
        if (reduced[i] != NULL) msa_leave_pages(layers[i], file, file_bytes);
    }
    msa_reduced_layers_release(own);
    *own = made;
    return MSA_OK;
}
