#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "engine/kern/vec.h"
#include "engine/nn/attention.h"
#include "engine/sam/mask_decoder.h"

/* ---- the tokens' side ---- */

/* k->result = A(in, in, k->queries) among the tokens. */
static void attend(const msa_config *c, const msa_decoder_attention *a, const float *in, int64_t T,
                   msa_decoder_work *k)
{
    const int64_t P = c->prompt_dim, width = a->q.N;
    const int32_t d = (int32_t)width / c->decoder_heads;
    msa_linear_forward(&a->q, T, in, P, k->q, width, MSA_EPILOGUE_NONE);
    msa_linear_forward(&a->k, T, in, P, k->k, width, MSA_EPILOGUE_NONE);
    msa_linear_forward(&a->v, T, k->queries, P, k->v, width, MSA_EPILOGUE_NONE);
    const msa_attention heads = {.q = k->q,
                                 .k = k->k,
                                 .v = k->v,
                                 .out = k->mixed,
                                 .ldq = width,
                                 .ldk = width,
                                 .ldv = width,
                                 .ldo = width,
                                 .nq = T,
                                 .nk = T,
                                 .heads = c->decoder_heads,
                                 .d = d,
                                 .scale = 1.0f / sqrtf((float)d)};
    msa_attention_forward(&heads, k->attention, k->workers);
    msa_linear_forward(&a->out, T, k->mixed, width, k->result, P, MSA_EPILOGUE_NONE);
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
    attend(c, &l->self_attn, in, T, k);
    if (first && c->decoder_wiring == MSA_WIRING_SAM)
        memcpy(k->queries, k->result, (size_t)n * sizeof *k->queries);
    else
        msa_add(n, k->queries, k->result, k->queries);
    msa_norm_forward(&l->norm1, MSA_EPS_DECODER, T, k->queries, k->queries);
}

static void begin_look(const msa_config *c, const msa_decoder_attention *a, int64_t T, msa_decoder_work *k)
{
    msa_add(T * c->prompt_dim, k->queries, k->tokens, k->token_in);
    msa_look_begin(&k->look, c, a, T, k->token_in);
}

/* q = LN(q + A(q + T, k + pos, k)). adapter: on A's result; NULL, or absent. */
static void end_look(const msa_config *c, const msa_norm *norm, const msa_prompt_adapter *adapter,
                     msa_prompt_adapter_work *work, int64_t T, msa_decoder_work *k)
{
    const int64_t n = T * c->prompt_dim;
    const float *result = k->result;
    msa_look_end(&k->look, msa_tile_count(k->pixels), k->result);
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
    msa_linear_forward(&l->lin1, T, k->queries, P, k->hidden, hidden, msa_decoder_epilogue(c));
    msa_linear_forward(&l->lin2, T, k->hidden, hidden, k->result, P, MSA_EPILOGUE_NONE);
    msa_add(T * P, k->queries, k->result, k->queries);
    if (adapted) msa_axpy(T * P, c->adapter_mlp_scale, k->mixed, k->queries);
    msa_norm_forward(&l->norm3, MSA_EPS_DECODER, T, k->queries, k->queries);
}

/* ---- the image's side, in passes over its tiles ---- */

/* The image takes from the tokens for `layer` (NULL: it is only begun), and the tokens look at the result:
 * what a look needs of the tokens is known before the image has changed. */
typedef struct pass {
    const msa_config *c;
    const msa_two_way_weights *layer;
    const msa_decoder_image *image;
    const msa_decoder_prompt *prompt;
    msa_decoder_work *k;
    bool last;
    atomic_bool bad;
} pass;

static void begin_pixels(const pass *p, int64_t first, int64_t n, float *x)
{
    const int64_t P = p->c->prompt_dim, step = p->prompt->dense_step;
    for (int64_t i = 0; i < n; i++)
        msa_add(P, p->image->pixels + (first + i) * P, p->prompt->dense + (first + i) * step, x + i * P);
}

static void update_pixels(const pass *p, const msa_decoder_tile *t, int64_t n, const float *pe, float *x)
{
    const msa_adapter *adapter = &p->layer->adapters.image;
    const int64_t P = p->c->prompt_dim;
    msa_take_tile(&p->k->take, n, pe, &t->cross, x);
    if (adapter->down.weight != NULL) {
        msa_adapter_forward(adapter, p->c->decoder_adapter_act, true, n, x, t->adapter_hidden, t->adapted);
        memcpy(x, t->adapted, (size_t)(n * P) * sizeof *x);
    }
    msa_norm_forward(&p->layer->norm4, MSA_EPS_DECODER, n, x, x);
}

static void pass_item(void *ctx, int32_t item, int32_t worker)
{
    pass *p = ctx;
    const msa_decoder_tile *t = &p->k->tile[worker];
    const int64_t P = p->c->prompt_dim, first = (int64_t)item * MSA_TILE_PIXELS;
    const int64_t n =
        p->k->pixels - first < MSA_TILE_PIXELS ? p->k->pixels - first : (int64_t)MSA_TILE_PIXELS;
    const float *pe = p->image->dense_pe + first * P;
    float *x = p->k->keys + first * P;
    if (p->layer == NULL)
        begin_pixels(p, first, n, x);
    else
        update_pixels(p, t, n, pe, x);
    msa_look_tile(&p->k->look, item, n, x, pe, &t->cross);
    /* What is not finite stays so in every later pass: a pixel is added to and normalised. */
    if (p->last && !msa_all_finite(n * P, x)) atomic_store(&p->bad, true);
}

bool msa_two_way_forward(const msa_config *c, const msa_decoder_weights *w, const msa_decoder_image *image,
                         const msa_decoder_prompt *prompt, int64_t n_tokens, msa_decoder_work *k,
                         const msa_tap *tap)
{
    const int64_t P = c->prompt_dim, T = n_tokens;
    const int32_t tiles = msa_tile_count(k->pixels);
    pass p = {.c = c, .image = image, .prompt = prompt, .k = k};
    atomic_init(&p.bad, false);
    memcpy(k->queries, k->tokens, (size_t)(T * P) * sizeof *k->queries);
    for (int32_t i = 0; i < c->decoder_depth; i++) {
        const msa_two_way_weights *l = &w->layers[i];
        self_attention(c, l, i == 0, T, k);
        begin_look(c, &l->token_to_image, T, k);
        msa_pool_run(pass_item, &p, tiles, k->workers);
        if (i > 0) MSA_TAP(tap, k->keys, k->pixels, P, "layer%d.keys", i - 1);
        end_look(c, &l->norm2, &l->adapters.prompt, &k->adapters[i], T, k);
        mlp(c, l, T, k);
        MSA_TAP(tap, k->queries, T, P, "layer%d.queries", i);
        msa_add(T * P, k->queries, k->tokens, k->token_in);
        msa_take_begin(&k->take, c, &l->image_to_token, T, k->token_in, k->queries);
        p.layer = l;
    }
    /* Whom the result is for looks a last time: the prompt's own tokens only where somebody watches. */
    const int64_t last = tap != NULL ? T : 1 + c->mask_tokens;
    begin_look(c, &w->final_attn, last, k);
    p.last = true;
    msa_pool_run(pass_item, &p, tiles, k->workers);
    MSA_TAP(tap, k->keys, k->pixels, P, "layer%d.keys", c->decoder_depth - 1);
    end_look(c, &w->norm_final, NULL, NULL, last, k);
    return !atomic_load(&p.bad) && msa_all_finite(last * P, k->queries);
}
