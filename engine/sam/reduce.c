#include "engine/sam/reduce.h"

#include <string.h>

#include "engine/sam/pack.h"

void msa_reduced_layers_release(msa_reduced_layers *own)
{
    for (int32_t i = 0; i < own->n; i++)
        msa_reduced_free(own->list[i]);
    *own = (msa_reduced_layers){0};
}

/* shared: the same layer of the base, or NULL. */
static msa_status reduce(msa_reduced_layers *own, const msa_linear *l, const msa_linear *shared,
                         msa_precision precision, const msa_weight_memory *memory, const msa_reduced **out,
                         msa_error *err)
{
    *out = NULL;
    if (precision == MSA_PRECISION_FP32 || l->weight == NULL) return MSA_OK;
    if (shared != NULL) *out = shared->reduced;
    if (*out != NULL) return MSA_OK;
    MSA_TRY(msa_weight_want(memory, l, err));
    const msa_status status = msa_reduced_new(&own->list[own->n], l, precision, err);
    msa_weight_leave(memory, l);
    MSA_TRY(status);
    own->bytes += msa_reduced_bytes(own->list[own->n]);
    *out = own->list[own->n++];
    return MSA_OK;
}

msa_status msa_weights_reduce(msa_reduced_layers *own, const msa_config *c, msa_weights *w,
                              const msa_weights *base, msa_precision precision,
                              const msa_weight_memory *memory, msa_error *err)
{
    msa_linear *layers[MSA_LARGE_LAYERS_MAX];
    const msa_reduced *reduced[MSA_LARGE_LAYERS_MAX];
    msa_reduced_layers made = {0};
    const int32_t n = msa_large_layers(c, w, layers);
    msa_status status = MSA_OK;
    for (int32_t i = 0; i < n && status == MSA_OK; i++)
        status = reduce(&made, layers[i], msa_shared_layer(base, w, layers[i]), precision, memory,
                        &reduced[i], err);
    if (status != MSA_OK) {
        msa_reduced_layers_release(&made);
        return status;
    }
    for (int32_t i = 0; i < n; i++)
        layers[i]->reduced = reduced[i];
    msa_reduced_layers_release(own);
    *own = made;
    return MSA_OK;
}
