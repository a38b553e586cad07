#include <math.h>
#include <string.h>

#include "engine/kern/vec.h"
#include "engine/nn/attention.h"
#include "engine/sam/mask_decoder.h"

/* result = A(q, k, v): projections to `width`, heads, projection back; a->q.N is the width. */
static void attention(const msa_config *c, const msa_decoder_attention *a, msa_decoder_work *w,
                      const float *q, int64_t nq, const float *k, const float *v, int64_t nk)
{
    const int64_t P = c->prompt_dim, width = a->q.N;
    const int32_t d = (int32_t)width / c->decoder_heads;
    msa_linear_forward(&a->q, nq, q, P, w->q, width, MSA_EPILOGUE_NONE);
    msa_linear_forward(&a->k, nk, k, P, w->k, width, MSA_EPILOGUE_NONE);
    msa_linear_forward(&a->v, nk, v, P, w->v, width, MSA_EPILOGUE_NONE);
    const msa_attention heads = {.q = w->q,
                                 .k = w->k,
                                 .v = w->v,
                                 .out = w->mixed,
                                 .ldq = width,
                                 .ldk = width,
                                 .ldv = width,
                                 .ldo = width,
                                 .nq = nq,
                                 .nk = nk,
                                 .heads = c->decoder_heads,
                                 .d = d,
                                 .scale = 1.0f / sqrtf((float)d)};
    msa_attention_forward(&heads, w->attention, w->workers);
    msa_linear_forward(&a->out, nq, w->mixed, width, w->result, P, MSA_EPILOGUE_NONE);
}

/*
 * Step 1. The published wirings differ: SAM's first layer replaces the queries by the attention of the bare
 * queries and later layers attend with positions; the EfficientSAM form keeps the residual, and later layers
 * add the positions to the queries for good.
 */
static void self_attention(const msa_config *c, const msa_two_way_weights *l, bool first, int64_t T,
                           msa_decoder_work *k)
{
    const int64_t n = T * c->prompt_dim;
    const float *in = k->queries;
    if (!first && c->decoder_wiring == MSA_WIRING_ESAM) msa_add(n, k->queries, k->tokens, k->queries);
    if (!first && c->decoder_wiring == MSA_WIRING_SAM) {
        msa_add(n, k->queries, k->tokens, k->token_in);
        in = k->token_in;
    }
    attention(c, &l->self_attn, k, in, T, in, k->queries, T);
    if (first && c->decoder_wiring == MSA_WIRING_SAM)
        memcpy(k->queries, k->result, (size_t)n * sizeof *k->queries);
    else
        msa_add(n, k->queries, k->result, k->queries);
    msa_norm_forward(&l->norm1, MSA_EPS_DECODER, T, k->queries, k->queries);
}

/* Queries look at the image: q = LN(q + A(q + T, k + pos, k)). adapter: on A's result; NULL, or absent. */
static void look_at_image(const msa_config *c, const msa_decoder_attention *a, const msa_norm *norm,
                          const msa_prompt_adapter *adapter, msa_prompt_adapter_work *work, int64_t T,
                          msa_decoder_work *k)
{
    const int64_t n = T * c->prompt_dim;
    msa_add(n, k->queries, k->tokens, k->token_in);
    attention(c, a, k, k->token_in, T, k->image_in, k->keys, k->pixels);
    const float *result = k->result;
    if (adapter != NULL && adapter->down.weight != NULL) {
        msa_prompt_adapter_forward(adapter, c->decoder_adapter_act, T, k->result, k->tokens, work, k->mixed);
        result = k->mixed;
    }
    msa_add(n, k->queries, result, k->queries);
    msa_norm_forward(norm, MSA_EPS_DECODER, T, k->queries, k->queries);
}

static void mlp(const msa_config *c, const msa_two_way_weights *l, int64_t T, msa_decoder_work *k)
{
    const int64_t P = c->prompt_dim, hidden = c->decoder_mlp_dim;
    const bool adapted = l->adapters.mlp.down.weight != NULL;
    if (adapted)
        msa_adapter_forward(&l->adapters.mlp, c->decoder_adapter_act, false, T, k->queries, k->adapter_hidden,
                            k->mixed);
    msa_linear_forward(&l->lin1, T, k->queries, P, k->hidden, hidden, MSA_EPILOGUE_RELU);
    msa_linear_forward(&l->lin2, T, k->hidden, hidden, k->result, P, MSA_EPILOGUE_NONE);
    msa_add(T * P, k->queries, k->result, k->queries);
    if (adapted) msa_axpy(T * P, c->adapter_mlp_scale, k->mixed, k->queries);
    msa_norm_forward(&l->norm3, MSA_EPS_DECODER, T, k->queries, k->queries);
}

/* The image looks at the queries, and its positions are renewed for the next layer. */
static void update_image(const msa_config *c, const msa_two_way_weights *l, const float *dense_pe, int64_t T,
                         msa_decoder_work *k)
{
    const int64_t P = c->prompt_dim;
    msa_add(T * P, k->queries, k->tokens, k->token_in);
    attention(c, &l->image_to_token, k, k->image_in, k->pixels, k->token_in, k->queries, T);
    msa_add(k->pixels * P, k->keys, k->result, k->keys);
    if (l->adapters.image.down.weight != NULL) {
        msa_adapter_forward(&l->adapters.image, c->decoder_adapter_act, true, k->pixels, k->keys,
                            k->adapter_hidden, k->result);
        memcpy(k->keys, k->result, (size_t)(k->pixels * P) * sizeof *k->keys);
    }
    msa_norm_forward(&l->norm4, MSA_EPS_DECODER, k->pixels, k->keys, k->keys);
    msa_add(k->pixels * P, k->keys, dense_pe, k->image_in);
}

void msa_two_way_forward(const msa_config *c, const msa_decoder_weights *w, const float *dense_pe,
                         int64_t n_tokens, msa_decoder_work *k, const msa_tap *tap)
{
    const int64_t P = c->prompt_dim;
    memcpy(k->queries, k->tokens, (size_t)(n_tokens * P) * sizeof *k->queries);
    msa_add(k->pixels * P, k->keys, dense_pe, k->image_in);
    for (int32_t i = 0; i < c->decoder_depth; i++) {
        const msa_two_way_weights *l = &w->layers[i];
        self_attention(c, l, i == 0, n_tokens, k);
        look_at_image(c, &l->token_to_image, &l->norm2, &l->adapters.prompt, &k->adapters[i], n_tokens, k);
        mlp(c, l, n_tokens, k);
        update_image(c, l, dense_pe, n_tokens, k);
        MSA_TAP(tap, k->queries, n_tokens, P, "layer%d.queries", i);
        MSA_TAP(tap, k->keys, k->pixels, P, "layer%d.keys", i);
    }
    look_at_image(c, &w->final_attn, &w->norm_final, NULL, NULL, n_tokens, k);
}
