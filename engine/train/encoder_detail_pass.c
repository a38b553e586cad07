#include "engine/predictor.h"
#include "engine/train/encoder_pass.h"

void msa_encoder_detail_forward(msa_encoder_pass *p, const float *images, float *embedding)
{
    const msa_config *c = &p->params->config;
    const int64_t floats = (int64_t)msa_embedding_floats(c), side = (int64_t)p->grid * c->patch;
    const int64_t behind = p->tokens / p->slices * c->prompt_dim;
    for (int32_t s = 0; s < p->slices && c->detail > 0; s++)
        msa_detail_forward(c, &p->params->weights.encoder.detail, p->grid, p->grid,
                           images + s * 3 * side * side, &p->detail[s], embedding + s * floats + behind);
}

void msa_encoder_detail_backward(msa_encoder_pass *p, const float *dembedding)
{
    const msa_params *q = p->params;
    const msa_config *c = &q->config;
    const msa_detail_weights *d = &q->weights.encoder.detail;
    const int64_t floats = (int64_t)msa_embedding_floats(c), behind = p->tokens / p->slices * c->prompt_dim;
    const msa_detail_grads g = {.stem_weight = msa_grad(q, d->stem.weight),
                                .stem_bias = msa_grad(q, d->stem.bias),
                                .mix_weight = msa_grad(q, d->mix.weight),
                                .mix_bias = msa_grad(q, d->mix.bias),
                                .last_weight = msa_grad(q, d->last.weight),
                                .last_bias = msa_grad(q, d->last.bias)};
    for (int32_t s = 0; s < p->slices && p->detail_trains; s++)
        msa_detail_backward(c, d, p->grid, p->grid, dembedding + s * floats + behind, &p->detail[s], &g);
}
