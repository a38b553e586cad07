#include "engine/kern/vec.h"
#include "engine/predictor.h"
#include "engine/train/encoder_pass.h"

void msa_encoder_detail_forward(msa_encoder_pass *p, const float *images, float *embedding)
{
    const msa_config *c = &p->params->config;
    const int64_t floats = (int64_t)msa_embedding_floats(c), side = (int64_t)p->grid * c->patch;
    const int64_t tokens = p->tokens / p->slices;
    for (int32_t s = 0; s < p->slices && c->detail > 0; s++) {
        float *x = p->x[0] + s * tokens * c->dim;
        msa_detail_forward(c, &p->params->weights.encoder.detail, p->grid, p->grid,
                           images + s * 3 * side * side, &p->detail[s],
                           embedding + s * floats + tokens * c->prompt_dim, p->a);
        msa_add(tokens * c->dim, x, p->a, x);
    }
}

static msa_detail_layer_grads grads_of(const msa_params *q, const msa_linear *l)
{
    return (msa_detail_layer_grads){msa_grad(q, l->weight), msa_grad(q, l->bias)};
}

void msa_encoder_detail_backward(msa_encoder_pass *p, const float *dembedding)
{
    const msa_params *q = p->params;
    const msa_config *c = &q->config;
    const msa_detail_weights *d = &q->weights.encoder.detail;
    const int64_t floats = (int64_t)msa_embedding_floats(c), tokens = p->tokens / p->slices;
    msa_detail_grads g;
    for (int l = 0; l < MSA_DETAIL_LEVELS; l++) {
        g.level[l].enter = grads_of(q, &d->level[l].enter);
        g.level[l].mix = grads_of(q, &d->level[l].mix);
        g.level[l].leave = grads_of(q, &d->level[l].leave);
    }
    for (int32_t s = 0; s < p->slices; s++)
        msa_detail_backward(c, d, p->grid, p->grid, dembedding + s * floats + tokens * c->prompt_dim,
                            p->dx + s * tokens * c->dim, &p->detail[s], &g);
}
