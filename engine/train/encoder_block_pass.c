#include <string.h>

#include "engine/kern/vec.h"
#include "engine/nn/attention.h"
#include "engine/nn/relpos.h"
#include "engine/train/encoder_pass.h"

static const msa_block_weights *weights_of(const msa_encoder_pass *p, int32_t i)
{
    return &p->params->weights.encoder.blocks[i];
}

static void grow(const float *dy, int64_t n, float scale, float *out)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = scale * dy[i];
}

/* The attention of block i on kept values; tables are resized where the weights do not fit. */
static msa_window_attention attention_of(const msa_encoder_pass *p, int32_t i)
{
    const msa_config *c = &p->params->config;
    const msa_block_weights *w = weights_of(p, i);
    const block_state *b = &p->blocks[i];
    const int32_t d = c->dim / c->heads, wh = b->windows.win_h, ww = b->windows.win_w;
    if (b->rel_h != NULL) msa_relpos_resize(w->rel_h, w->rel_h_rows, d, wh, wh, b->rel_h);
    if (b->rel_w != NULL) msa_relpos_resize(w->rel_w, w->rel_w_rows, d, ww, ww, b->rel_w);
    return (msa_window_attention){.windows = b->windows,
                                  .qkv = b->keep.qkv,
                                  .rel_h = b->rel_h != NULL ? b->rel_h : w->rel_h,
                                  .rel_w = b->rel_w != NULL ? b->rel_w : w->rel_w,
                                  .row_of = b->row_of,
                                  .pad_row = b->rows > p->tokens ? p->tokens : -1,
                                  .out = b->keep.mixed,
                                  .heads = c->heads,
                                  .d = d};
}

/* The low-rank update of a layer, when it has one; y as the layer left it. */
static void update_forward(const msa_encoder_pass *p, int32_t i, msa_lora_place place, int64_t M,
                           const float *x, float *y, int64_t ldy)
{
    const msa_lora l = msa_block_lora(&p->params->config, weights_of(p, i), place);
    if (l.a != NULL) msa_lora_forward(&l, M, x, l.K, p->blocks[i].keep.lora[place], y, ldy);
}

static void attention_forward(msa_encoder_pass *p, int32_t i)
{
    const msa_config *c = &p->params->config;
    const msa_block_weights *w = weights_of(p, i);
    const block_state *b = &p->blocks[i];
    const block_keep *k = &b->keep;
    const int64_t T = p->tokens, C = c->dim;
    msa_norm_forward(&w->norm1, MSA_EPS_ENCODER, T, p->x[i], k->norm1);
    if (b->rows > T) { /* zeros that are normalised become the bias */
        if (c->pad_order == MSA_PAD_THEN_NORM)
            memcpy(k->norm1 + T * C, w->norm1.bias, (size_t)C * sizeof *k->norm1);
        else
            memset(k->norm1 + T * C, 0, (size_t)C * sizeof *k->norm1);
    }
    msa_linear_forward(&w->qkv, b->rows, k->norm1, C, k->qkv, 3 * C, MSA_EPILOGUE_NONE);
    update_forward(p, i, MSA_LORA_QUERY, b->rows, k->norm1, k->qkv, 3 * C);
    update_forward(p, i, MSA_LORA_VALUE, b->rows, k->norm1, k->qkv, 3 * C);
    const msa_window_attention a = attention_of(p, i);
    msa_window_attention_forward(&a, p->attention, p->workers);
    msa_linear_forward(&w->proj, T, k->mixed, C, k->attn, C, MSA_EPILOGUE_NONE);
}

void msa_encoder_block_forward(msa_encoder_pass *p, int32_t i)
{
    const msa_config *c = &p->params->config;
    const msa_block_weights *w = weights_of(p, i);
    const block_keep *k = &p->blocks[i].keep;
    const int64_t T = p->tokens, C = c->dim;
    const float *y = k->attn;
    attention_forward(p, i);
    if (c->adapters) {
        msa_adapter_forward_kept(&w->space, c->adapter_act, true, T, k->attn, k->space, p->wide, p->a);
        y = p->a;
    }
    msa_add(T * C, p->x[i], y, k->middle);
    if (c->depth_grouping != MSA_DEPTH_NONE) msa_encoder_depth_forward(p, i);
    msa_norm_forward(&w->norm2, MSA_EPS_ENCODER, T, k->middle, k->norm2);
    msa_linear_forward(&w->lin1, T, k->norm2, C, k->hidden, c->mlp_dim, MSA_EPILOGUE_NONE);
    update_forward(p, i, MSA_LORA_LIN1, T, k->norm2, k->hidden, c->mlp_dim);
    msa_epilogue_forward(MSA_EPILOGUE_GELU, T * c->mlp_dim, k->hidden, p->wide);
    msa_linear_forward(&w->lin2, T, p->wide, c->mlp_dim, p->a, C, MSA_EPILOGUE_NONE);
    update_forward(p, i, MSA_LORA_LIN2, T, p->wide, p->a, C);
    msa_add(T * C, k->middle, p->a, p->x[i + 1]);
    if (!c->adapters) return;
    msa_adapter_forward_kept(&w->mlp, c->adapter_act, false, T, k->norm2, k->mlp, p->wide, p->a);
    msa_axpy(T * C, c->adapter_mlp_scale, p->a, p->x[i + 1]);
}

/* ---- backward ---- */

static msa_adapter_grads grads_of(const msa_params *q, const msa_adapter *a)
{
    return (msa_adapter_grads){msa_grad(q, a->down.weight), msa_grad(q, a->down.bias),
                               msa_grad(q, a->up.weight), msa_grad(q, a->up.bias)};
}

static void linear_params(const msa_params *q, const msa_linear *l, int64_t M, const float *x,
                          const float *dy)
{
    msa_linear_backward_params(l, M, x, l->K, dy, l->N, msa_grad(q, l->weight), msa_grad(q, l->bias));
}

/* dy of the layer's result; leaves p->dz for update_input(). */
static void update_params(const msa_encoder_pass *p, int32_t i, msa_lora_place place, int64_t M,
                          const float *x, const float *dy, int64_t lddy)
{
    const msa_params *q = p->params;
    const msa_lora l = msa_block_lora(&q->config, weights_of(p, i), place);
    if (l.a != NULL)
        msa_lora_backward_params(&l, M, x, l.K, p->blocks[i].keep.lora[place], dy, lddy, msa_grad(q, l.a),
                                 msa_grad(q, l.b), p->dz);
}

static void update_input(const msa_encoder_pass *p, int32_t i, msa_lora_place place, int64_t M, float *dx)
{
    const msa_lora l = msa_block_lora(&p->params->config, weights_of(p, i), place);
    if (l.a != NULL) msa_lora_backward_input(&l, M, p->dz, dx, l.K);
}

/* p->dx becomes the gradient at the first residual. */
static void mlp_backward(msa_encoder_pass *p, int32_t i)
{
    const msa_params *q = p->params;
    const msa_config *c = &q->config;
    const msa_block_weights *w = weights_of(p, i);
    const block_keep *k = &p->blocks[i].keep;
    const int64_t T = p->tokens, C = c->dim, M = c->mlp_dim;
    if (msa_grad(q, w->lin2.weight) != NULL || msa_grad(q, w->factors.lin2_a) != NULL)
        msa_epilogue_forward(MSA_EPILOGUE_GELU, T * M, k->hidden, p->wide);
    linear_params(q, &w->lin2, T, p->wide, p->dx);
    update_params(p, i, MSA_LORA_LIN2, T, p->wide, p->dx, C);
    msa_linear_backward_input(&w->lin2, T, p->dx, C, p->wide, M, false);
    update_input(p, i, MSA_LORA_LIN2, T, p->wide);
    msa_epilogue_backward(MSA_EPILOGUE_GELU, T * M, k->hidden, p->wide, p->wide);
    linear_params(q, &w->lin1, T, k->norm2, p->wide);
    update_params(p, i, MSA_LORA_LIN1, T, k->norm2, p->wide, M);
    msa_linear_backward_input(&w->lin1, T, p->wide, M, p->a, C, false);
    update_input(p, i, MSA_LORA_LIN1, T, p->a);
    if (c->adapters) {
        const msa_adapter_grads g = grads_of(q, &w->mlp);
        grow(p->dx, T * C, c->adapter_mlp_scale, p->b);
        msa_adapter_backward(&w->mlp, c->adapter_act, false, T, k->norm2, k->mlp, p->b, p->a, true, &g,
                             p->wide, p->wide2);
    }
    msa_norm_backward(&w->norm2, MSA_EPS_ENCODER, T, k->middle, p->a, p->dx, true,
                      msa_grad(q, w->norm2.weight), msa_grad(q, w->norm2.bias), p->stats);
}

/* dout (T, C) to p->dqkv (rows, 3 C). */
static void heads_backward(msa_encoder_pass *p, int32_t i, const float *dout)
{
    const msa_params *q = p->params;
    const msa_block_weights *w = weights_of(p, i);
    const block_state *b = &p->blocks[i];
    const msa_window_attention a = attention_of(p, i);
    const int32_t wh = b->windows.win_h, ww = b->windows.win_w;
    float *drel_h = msa_grad(q, w->rel_h), *drel_w = msa_grad(q, w->rel_w);
    const bool through_h = drel_h != NULL && b->rel_h != NULL, through_w = drel_w != NULL && b->rel_w != NULL;
    const int64_t h_floats = (int64_t)msa_relpos_rows(wh, wh) * a.d;
    const int64_t w_floats = (int64_t)msa_relpos_rows(ww, ww) * a.d;
    if (through_h || through_w) memset(p->drel, 0, (size_t)(h_floats + w_floats) * sizeof *p->drel);
    const msa_window_attention_grads g = {.dout = dout,
                                          .dqkv = p->dqkv,
                                          .drel_h = through_h ? p->drel : drel_h,
                                          .drel_w = through_w ? p->drel + h_floats : drel_w};
    msa_window_attention_backward(&a, &g, p->attention, p->workers);
    if (through_h) msa_relpos_resize_backward(p->drel, wh, wh, a.d, drel_h, w->rel_h_rows);
    if (through_w) msa_relpos_resize_backward(p->drel + h_floats, ww, ww, a.d, drel_w, w->rel_w_rows);
}

/* dy (T, C), the gradient of the attention's result, to p->dqkv. */
static void result_backward(msa_encoder_pass *p, int32_t i, const float *dy)
{
    const msa_block_weights *w = weights_of(p, i);
    const int64_t C = p->params->config.dim;
    linear_params(p->params, &w->proj, p->tokens, p->blocks[i].keep.mixed, dy);
    msa_linear_backward_input(&w->proj, p->tokens, dy, C, p->a, C, false);
    heads_backward(p, i, p->a);
}

/* p->dqkv, through the projections and, when somebody wants it, the norm; adds its part to p->dx. */
static void projections_backward(msa_encoder_pass *p, int32_t i, bool below)
{
    const msa_params *q = p->params;
    const msa_config *c = &q->config;
    const msa_block_weights *w = weights_of(p, i);
    const block_state *b = &p->blocks[i];
    const int64_t T = p->tokens, C = c->dim;
    float *dbias = msa_grad(q, w->norm1.bias);
    const bool through = below || dbias != NULL || msa_grad(q, w->norm1.weight) != NULL;
    linear_params(q, &w->qkv, b->rows, b->keep.norm1, p->dqkv);
    if (through) msa_linear_backward_input(&w->qkv, b->rows, p->dqkv, 3 * C, p->a, C, false);
    for (msa_lora_place place = MSA_LORA_QUERY; place <= MSA_LORA_VALUE; place++) {
        update_params(p, i, place, b->rows, b->keep.norm1, p->dqkv, 3 * C);
        if (through) update_input(p, i, place, b->rows, p->a);
    }
    if (!through) return;
    if (b->rows > T && dbias != NULL && c->pad_order == MSA_PAD_THEN_NORM)
        msa_add(C, dbias, p->a + T * C, dbias); /* the padding row is that bias */
    msa_norm_backward(&w->norm1, MSA_EPS_ENCODER, T, p->x[i], p->a, p->dx, true, msa_grad(q, w->norm1.weight),
                      dbias, p->stats);
}

void msa_encoder_block_backward(msa_encoder_pass *p, int32_t i)
{
    const msa_config *c = &p->params->config;
    const msa_block_weights *w = weights_of(p, i);
    const block_state *b = &p->blocks[i];
    const bool below = i > p->first || p->stem_trains || p->detail_trains;
    const bool attention = below || b->attention_trains;
    const float *dy = p->dx;
    mlp_backward(p, i);
    if (!attention && !b->space_trains && !b->depth_trains) return;
    if (c->adapters) {
        const msa_adapter_grads g = grads_of(p->params, &w->space);
        msa_adapter_backward(&w->space, c->adapter_act, true, p->tokens, b->keep.attn, b->keep.space, p->dx,
                             attention ? p->b : NULL, false, &g, p->wide, p->wide2);
        dy = p->b;
    }
    if (attention) result_backward(p, i, dy);
    if (c->depth_grouping != MSA_DEPTH_NONE) msa_encoder_depth_backward(p, i, attention);
    if (attention) projections_backward(p, i, below);
}
