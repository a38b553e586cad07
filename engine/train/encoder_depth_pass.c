#include "engine/kern/vec.h"
#include "engine/nn/depth_attention.h"
#include "engine/train/encoder_pass.h"

/* The queries, keys and values of block i, along depth; tables are those of the weights. */
static msa_depth_attention attention_of(const msa_encoder_pass *p, int32_t i)
{
    const msa_config *c = &p->params->config;
    const msa_block_weights *w = &p->params->weights.encoder.blocks[i];
    const block_state *b = &p->blocks[i];
    const depth_map *map = &p->depth[msa_block_is_global(c, i) ? 1 : 0];
    return (msa_depth_attention){.groups = &map->groups,
                                 .row_of = map->row_of,
                                 .qkv = b->keep.qkv,
                                 .table_h = w->rel_h,
                                 .table_w = w->rel_w,
                                 .table_h_rows = w->rel_h_rows,
                                 .table_w_rows = w->rel_w_rows,
                                 .pad_row = b->rows > p->tokens ? p->tokens : -1,
                                 .out = b->keep.depth_mixed,
                                 .heads = c->heads,
                                 .d = c->dim / c->heads};
}

void msa_encoder_depth_forward(msa_encoder_pass *p, int32_t i)
{
    const msa_config *c = &p->params->config;
    const msa_block_weights *w = &p->params->weights.encoder.blocks[i];
    const block_keep *k = &p->blocks[i].keep;
    const msa_depth_attention a = attention_of(p, i);
    const int64_t T = p->tokens, C = c->dim;
    msa_depth_attention_forward(&a, p->attention, p->workers);
    msa_linear_forward(&w->proj, T, k->depth_mixed, C, k->depth_attn, C, MSA_EPILOGUE_NONE);
    msa_adapter_forward_kept(&w->depth, c->adapter_act, false, T, k->depth_attn, k->depth, p->wide, p->a);
    msa_add(T * C, k->middle, p->a, k->middle);
}

/* The projection is that of the attention inside slices: its gradients add up. */
void msa_encoder_depth_backward(msa_encoder_pass *p, int32_t i, bool attention)
{
    const msa_params *q = p->params;
    const msa_config *c = &q->config;
    const msa_block_weights *w = &q->weights.encoder.blocks[i];
    const block_keep *k = &p->blocks[i].keep;
    const int64_t T = p->tokens, C = c->dim;
    const msa_adapter_grads adapter = {msa_grad(q, w->depth.down.weight), msa_grad(q, w->depth.down.bias),
                                       msa_grad(q, w->depth.up.weight), msa_grad(q, w->depth.up.bias)};
    msa_adapter_backward(&w->depth, c->adapter_act, false, T, k->depth_attn, k->depth, p->dx,
                         attention ? p->b : NULL, false, &adapter, p->wide, p->wide2);
    if (!attention) return;
    msa_linear_backward_params(&w->proj, T, k->depth_mixed, C, p->b, C, msa_grad(q, w->proj.weight),
                               msa_grad(q, w->proj.bias));
    msa_linear_backward_input(&w->proj, T, p->b, C, p->a, C, false);
    const msa_depth_attention a = attention_of(p, i);
    const msa_depth_attention_grads g = {.dout = p->a,
                                         .dqkv = p->dqkv_depth,
                                         .dtable_h = msa_grad(q, w->rel_h),
                                         .dtable_w = msa_grad(q, w->rel_w)};
    msa_depth_attention_backward(&a, &g, p->attention, p->workers);
    msa_add(p->blocks[i].rows * 3 * C, p->dqkv, p->dqkv_depth, p->dqkv);
}
