#include <string.h>

#include "engine/nn/conv.h"
#include "engine/train/encoder_pass.h"

static msa_linear conv3x3(const msa_encoder_pass *p)
{
    const int32_t P = p->params->config.prompt_dim;
    return (msa_linear){.weight = p->neck3x3, .N = P, .K = 9 * P};
}

/* What the 3 x 3 convolution sees, to p->wide. */
static void neighbours(const msa_encoder_pass *p)
{
    const int32_t P = p->params->config.prompt_dim;
    const int64_t n = p->tokens / p->slices;
    for (int64_t s = 0; s < p->slices; s++)
        msa_conv3x3_rows(p->neck1 + s * n * P, p->grid, p->grid, P, 0, n, p->wide + s * n * 9 * P);
}

void msa_encoder_neck_forward(msa_encoder_pass *p, float *embedding)
{
    const msa_config *c = &p->params->config;
    const msa_encoder_weights *w = &p->params->weights.encoder;
    const int64_t T = p->tokens, P = c->prompt_dim;
    const msa_linear conv = conv3x3(p);
    msa_conv3x3_weight(w->neck3x3, c->prompt_dim, c->prompt_dim, p->neck3x3);
    msa_linear_forward(&w->neck1, T, p->x[c->depth], c->dim, p->neck0, P, MSA_EPILOGUE_NONE);
    msa_norm_forward(&w->neck_norm1, MSA_EPS_ENCODER, T, p->neck0, p->neck1);
    neighbours(p);
    msa_linear_forward(&conv, T, p->wide, 9 * P, p->neck2, P, MSA_EPILOGUE_NONE);
    msa_norm_forward(&w->neck_norm2, MSA_EPS_ENCODER, T, p->neck2, p->a);
    for (int64_t s = 0, n = T / p->slices; s < p->slices; s++)
        msa_transpose(p->a + s * n * P, n, P, embedding + s * (int64_t)msa_embedding_floats(c));
}

/* dy (T, P) is the gradient of the 3 x 3 convolution's result; dx that of its input. */
static void conv_backward(msa_encoder_pass *p, const float *dy, float *dx)
{
    const msa_encoder_weights *w = &p->params->weights.encoder;
    const int32_t P = p->params->config.prompt_dim;
    const msa_linear conv = conv3x3(p);
    float *dweight = msa_grad(p->params, w->neck3x3);
    if (dweight != NULL) {
        neighbours(p);
        memset(p->dneck3x3, 0, 9 * (size_t)P * (size_t)P * sizeof *p->dneck3x3);
        msa_linear_backward_params(&conv, p->tokens, p->wide, conv.K, dy, P, p->dneck3x3, NULL);
        msa_conv3x3_weight_backward(p->dneck3x3, P, P, dweight);
    }
    msa_linear_backward_input(&conv, p->tokens, dy, P, p->wide, conv.K, false);
    for (int64_t s = 0, n = p->tokens / p->slices; s < p->slices; s++)
        msa_conv3x3_rows_backward(p->wide + s * n * 9 * P, p->grid, p->grid, P, dx + s * n * P);
}

void msa_encoder_neck_backward(msa_encoder_pass *p, const float *dembedding)
{
    const msa_params *q = p->params;
    const msa_config *c = &q->config;
    const msa_encoder_weights *w = &q->weights.encoder;
    const int64_t T = p->tokens, P = c->prompt_dim;
    for (int64_t s = 0, n = T / p->slices; s < p->slices; s++)
        msa_transpose(dembedding + s * (int64_t)msa_embedding_floats(c), P, n, p->a + s * n * P);
    msa_norm_backward(&w->neck_norm2, MSA_EPS_ENCODER, T, p->neck2, p->a, p->a, false,
                      msa_grad(q, w->neck_norm2.weight), msa_grad(q, w->neck_norm2.bias), p->stats);
    conv_backward(p, p->a, p->b);
    msa_norm_backward(&w->neck_norm1, MSA_EPS_ENCODER, T, p->neck0, p->b, p->b, false,
                      msa_grad(q, w->neck_norm1.weight), msa_grad(q, w->neck_norm1.bias), p->stats);
    msa_linear_backward_params(&w->neck1, T, p->x[c->depth], c->dim, p->b, P, msa_grad(q, w->neck1.weight),
                               msa_grad(q, w->neck1.bias));
    if (p->first < c->depth || p->stem_trains)
        msa_linear_backward_input(&w->neck1, T, p->b, P, p->dx, c->dim, false);
}
