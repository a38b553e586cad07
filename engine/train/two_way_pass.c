#include <stdio.h>
#include <string.h>

#include "engine/kern/vec.h"
#include "engine/sam/mask_decoder.h"
#include "engine/train/decoder_parts.h"

/* ---- memory ---- */

static int64_t max_rows(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void adapter_layout(msa_arena *arena, const msa_adapter *a, int64_t rows, float **before,
                           float **after)
{
    if (a->down.weight == NULL) return;
    *before = msa_arena_floats(arena, (size_t)(rows * a->down.N));
    *after = msa_arena_floats(arena, (size_t)(rows * a->down.N));
}

/* What the layers and the final attention have in common. */
static void look_layout(msa_two_way_kept *k, msa_arena *arena, const msa_decoder_attention *a, size_t P,
                        int64_t T, int64_t n)
{
    k->keys = msa_arena_floats(arena, (size_t)n * P);
    k->image_in = msa_arena_floats(arena, (size_t)n * P);
    msa_projected_layout(&k->to_image, arena, a, T, n);
    k->token_in2 = msa_arena_floats(arena, (size_t)T * P);
    k->sum2 = msa_arena_floats(arena, (size_t)T * P);
    k->queries2 = msa_arena_floats(arena, (size_t)T * P);
}

static void layer_layout(msa_two_way_kept *k, msa_arena *arena, const msa_config *c,
                         const msa_two_way_weights *l, int64_t T, int64_t n)
{
    const size_t P = (size_t)c->prompt_dim, tokens = (size_t)T * P, image = (size_t)n * P;
    float **const rows[] = {&k->in,       &k->self_in, &k->sum1,     &k->queries1,
                            &k->attended, &k->sum3,    &k->queries3, &k->token_in4};
    look_layout(k, arena, &l->token_to_image, P, T, n);
    msa_projected_layout(&k->self, arena, &l->self_attn, T, T);
    msa_projected_layout(&k->to_token, arena, &l->image_to_token, n, T);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        *rows[i] = msa_arena_floats(arena, tokens);
    k->hidden = msa_arena_floats(arena, (size_t)T * (size_t)c->decoder_mlp_dim);
    k->sum4 = msa_arena_floats(arena, image);
    k->sum5 = msa_arena_floats(arena, image);
    msa_prompt_adapter_layout(&k->prompt, arena, &l->adapters.prompt, T);
    adapter_layout(arena, &l->adapters.mlp, T, &k->mlp_before, &k->mlp_after);
    adapter_layout(arena, &l->adapters.image, n, &k->image_before, &k->image_after);
}

static void scratch_layout(msa_two_way_pass *p, msa_arena *arena, int64_t T, int32_t workers)
{
    const int64_t P = p->c->prompt_dim, most = max_rows(T, p->n);
    int64_t hidden = T * p->c->decoder_mlp_dim;
    size_t adapter = 0;
    for (int32_t i = 0; i < p->c->decoder_depth; i++) {
        const msa_layer_adapters *a = &p->w->layers[i].adapters;
        const size_t size = msa_prompt_adapter_scratch(&a->prompt, T);
        hidden = max_rows(hidden, max_rows(T * a->mlp.down.N, p->n * a->image.down.N));
        adapter = size > adapter ? size : adapter;
    }
    msa_attention_scratch_layout(&p->attention, arena, p->c->prompt_dim, most, workers);
    p->result = msa_arena_floats(arena, (size_t)(most * P));
    p->dsum = msa_arena_floats(arena, (size_t)(most * P));
    p->dpart = msa_arena_floats(arena, (size_t)(most * P));
    p->dtoken_in = msa_arena_floats(arena, (size_t)(T * P));
    p->dhidden = msa_arena_floats(arena, (size_t)hidden);
    p->norm = msa_arena_floats(arena, 2 * (size_t)most);
    p->adapter = msa_arena_floats(arena, adapter);
}

/* Any parameter whose name begins like this trains. */
static bool any_trains(const msa_params *p, const char *prefix)
{
    for (int32_t i = 0; i < p->n_list; i++)
        if (p->list[i].trains && strncmp(p->list[i].name, prefix, strlen(prefix)) == 0) return true;
    return false;
}

void msa_two_way_pass_layout(msa_two_way_pass *p, msa_arena *arena, const msa_params *params, int64_t pixels,
                             int32_t workers)
{
    const msa_config *c = &params->config;
    const msa_decoder_weights *w = &params->weights.decoder;
    const int64_t T = 1 + c->mask_tokens + MSA_SPARSE_MAX;
    p->params = params;
    p->c = c;
    p->w = w;
    p->n = pixels;
    p->tokens = msa_arena_floats(arena, (size_t)(T * c->prompt_dim));
    for (int32_t i = 0; i < c->decoder_depth; i++) {
        char prefix[64];
        layer_layout(&p->layers[i], arena, c, &w->layers[i], T, pixels);
        (void)snprintf(prefix, sizeof prefix, "mask_decoder.transformer.layers.%d.", i);
        p->trains[i] = any_trains(params, prefix);
    }
    look_layout(&p->layers[c->decoder_depth], arena, &w->final_attn, (size_t)c->prompt_dim, T, pixels);
    scratch_layout(p, arena, T, workers);
}

/* ---- forward: the same steps as in engine/sam/two_way.c, each result in its own place ---- */

static void norm_forward(const msa_norm *n, int64_t rows, const float *x, float *y)
{
    msa_norm_forward(n, MSA_EPS_DECODER, rows, x, y);
}

static void self_forward(msa_two_way_pass *p, int32_t i, const float *queries)
{
    const msa_two_way_weights *l = &p->w->layers[i];
    msa_two_way_kept *k = &p->layers[i];
    const int64_t T = p->T, n = T * p->c->prompt_dim;
    const bool sam = p->c->decoder_wiring == MSA_WIRING_SAM;
    k->v_in = k->qk_in = queries;
    if (i > 0 && !sam) {
        msa_add(n, queries, p->tokens, k->in);
        k->v_in = k->qk_in = k->in;
    } else if (i > 0) {
        msa_add(n, queries, p->tokens, k->self_in);
        k->qk_in = k->self_in;
    }
    msa_projected_forward(p->c, &l->self_attn, &k->self, &p->attention, k->qk_in, T, k->qk_in, k->v_in, T,
                          k->sum1);
    if (i > 0 || !sam) msa_add(n, k->v_in, k->sum1, k->sum1);
    norm_forward(&l->norm1, T, k->sum1, k->queries1);
}

/* a, norm, adapter: of a layer, or the final ones and none. */
static void look_forward(msa_two_way_pass *p, msa_two_way_kept *k, const msa_decoder_attention *a,
                         const msa_norm *norm, const msa_prompt_adapter *adapter, const float *queries)
{
    const int64_t T = p->T, n = T * p->c->prompt_dim;
    const bool adapted = adapter != NULL && adapter->down.weight != NULL;
    msa_add(n, queries, p->tokens, k->token_in2);
    msa_projected_forward(p->c, a, &k->to_image, &p->attention, k->token_in2, T, k->image_in, k->keys, p->n,
                          adapted ? k->attended : k->sum2);
    if (adapted)
        msa_prompt_adapter_forward(adapter, p->c->decoder_adapter_act, T, k->attended, p->tokens, &k->prompt,
                                   k->sum2);
    msa_add(n, queries, k->sum2, k->sum2);
    norm_forward(norm, T, k->sum2, k->queries2);
}

/* y = up(act(down(x))) */
static void adapter_forward(const msa_adapter *a, msa_activation act, int64_t rows, const float *x,
                            float *before, float *after, float *y)
{
    msa_linear_forward(&a->down, rows, x, a->down.K, before, a->down.N, MSA_EPILOGUE_NONE);
    msa_epilogue_forward(msa_epilogue_of(act), rows * a->down.N, before, after);
    msa_linear_forward(&a->up, rows, after, a->up.K, y, a->up.N, MSA_EPILOGUE_NONE);
}

static void mlp_forward(msa_two_way_pass *p, int32_t i)
{
    const msa_two_way_weights *l = &p->w->layers[i];
    msa_two_way_kept *k = &p->layers[i];
    const int64_t T = p->T, P = p->c->prompt_dim, hidden = p->c->decoder_mlp_dim;
    msa_linear_forward(&l->lin1, T, k->queries2, P, k->hidden, hidden, MSA_EPILOGUE_RELU);
    msa_linear_forward(&l->lin2, T, k->hidden, hidden, k->sum3, P, MSA_EPILOGUE_NONE);
    msa_add(T * P, k->queries2, k->sum3, k->sum3);
    if (l->adapters.mlp.down.weight != NULL) {
        adapter_forward(&l->adapters.mlp, p->c->decoder_adapter_act, T, k->queries2, k->mlp_before,
                        k->mlp_after, p->result);
        msa_axpy(T * P, p->c->adapter_mlp_scale, p->result, k->sum3);
    }
    norm_forward(&l->norm3, T, k->sum3, k->queries3);
}

/* Fills in keys and image_in of the next layer. */
static void image_forward(msa_two_way_pass *p, int32_t i)
{
    const msa_two_way_weights *l = &p->w->layers[i];
    msa_two_way_kept *k = &p->layers[i], *next = &p->layers[i + 1];
    const int64_t T = p->T, P = p->c->prompt_dim, n = p->n * P;
    const float *sum = k->sum4;
    msa_add(T * P, k->queries3, p->tokens, k->token_in4);
    msa_projected_forward(p->c, &l->image_to_token, &k->to_token, &p->attention, k->image_in, p->n,
                          k->token_in4, k->queries3, T, k->sum4);
    msa_add(n, k->keys, k->sum4, k->sum4);
    if (l->adapters.image.down.weight != NULL) {
        adapter_forward(&l->adapters.image, p->c->decoder_adapter_act, p->n, k->sum4, k->image_before,
                        k->image_after, k->sum5);
        msa_add(n, k->sum4, k->sum5, k->sum5);
        sum = k->sum5;
    }
    norm_forward(&l->norm4, p->n, sum, next->keys);
    msa_add(n, next->keys, p->dense_pe, next->image_in);
}

void msa_two_way_pass_forward(msa_two_way_pass *p, int64_t T)
{
    const int32_t depth = p->c->decoder_depth;
    const float *queries = p->tokens;
    p->T = T;
    msa_add(p->n * p->c->prompt_dim, p->layers[0].keys, p->dense_pe, p->layers[0].image_in);
    for (int32_t i = 0; i < depth; i++) {
        const msa_two_way_weights *l = &p->w->layers[i];
        msa_two_way_kept *k = &p->layers[i];
        self_forward(p, i, queries);
        look_forward(p, k, &l->token_to_image, &l->norm2, &l->adapters.prompt, k->queries1);
        mlp_forward(p, i);
        image_forward(p, i);
        queries = k->queries3;
    }
    look_forward(p, &p->layers[depth], &p->w->final_attn, &p->w->norm_final, NULL, queries);
}

/* ---- backward: each step takes dq, the gradient of the tokens after it, to that before it ---- */

/* The gradients that go down through the layers. tokens: NULL when not wanted; keys always there. */
typedef struct gradients {
    float *queries, *keys, *tokens;
    bool want_keys; /* of the layer that is worked on */
} gradients;

static void norm_backward(const msa_two_way_pass *p, const msa_norm *n, int64_t rows, const float *x,
                          const float *dy, float *dx)
{
    msa_norm_backward(n, MSA_EPS_DECODER, rows, x, dy, dx, false, msa_grad(p->params, n->weight),
                      msa_grad(p->params, n->bias), p->norm);
}

/* p->dtoken_in is the gradient of queries + tokens. */
static void token_in_backward(const msa_two_way_pass *p, const gradients *g)
{
    const int64_t n = p->T * p->c->prompt_dim;
    msa_add(n, g->queries, p->dtoken_in, g->queries);
    if (g->tokens != NULL) msa_add(n, g->tokens, p->dtoken_in, g->tokens);
}

static void clear(float *x, int64_t n)
{
    memset(x, 0, (size_t)n * sizeof *x);
}

/* dx (rows, P) gets the part added that went through the adapter: scale * its Jacobian * dy. */
static void adapter_backward(const msa_two_way_pass *p, const msa_adapter *a, float scale, int64_t rows,
                             const float *x, const float *before, const float *after, const float *dy,
                             float *dx)
{
    const int64_t P = a->up.N;
    const float *from = dy;
    if (scale != 1.0f) {
        clear(p->dpart, rows * P);
        msa_axpy(rows * P, scale, dy, p->dpart);
        from = p->dpart;
    }
    msa_dense_backward_params(p->params, &a->up, rows, after, from);
    msa_linear_backward_input(&a->up, rows, from, P, p->dhidden, a->up.K, false);
    msa_epilogue_backward(msa_epilogue_of(p->c->decoder_adapter_act), rows * a->up.K, before, p->dhidden,
                          p->dhidden);
    msa_dense_backward_params(p->params, &a->down, rows, x, p->dhidden);
    msa_linear_backward_input(&a->down, rows, p->dhidden, a->down.N, dx, P, true);
}

static void image_backward(msa_two_way_pass *p, int32_t i, gradients *g)
{
    const msa_two_way_weights *l = &p->w->layers[i];
    const msa_two_way_kept *k = &p->layers[i];
    const msa_adapter *adapter = &l->adapters.image;
    const int64_t P = p->c->prompt_dim, bytes = p->n * P * (int64_t)sizeof(float);
    if (adapter->down.weight != NULL) {
        norm_backward(p, &l->norm4, p->n, k->sum5, g->keys, p->dsum);
        memcpy(g->keys, p->dsum, (size_t)bytes);
        adapter_backward(p, adapter, 1.0f, p->n, k->sum4, k->image_before, k->image_after, g->keys, p->dsum);
    } else {
        norm_backward(p, &l->norm4, p->n, k->sum4, g->keys, p->dsum);
    }
    memcpy(g->keys, p->dsum, (size_t)bytes);
    clear(p->dtoken_in, p->T * P);
    msa_projected_backward(p->params, &l->image_to_token, &k->to_token, &p->attention, p->dsum,
                           g->want_keys ? g->keys : NULL, p->dtoken_in, g->queries);
    token_in_backward(p, g);
}

static void mlp_backward(msa_two_way_pass *p, int32_t i, gradients *g)
{
    const msa_two_way_weights *l = &p->w->layers[i];
    const msa_two_way_kept *k = &p->layers[i];
    const int64_t T = p->T, P = p->c->prompt_dim, hidden = p->c->decoder_mlp_dim;
    norm_backward(p, &l->norm3, T, k->sum3, g->queries, p->dsum);
    memcpy(g->queries, p->dsum, (size_t)(T * P) * sizeof(float));
    msa_dense_backward_params(p->params, &l->lin2, T, k->hidden, p->dsum);
    msa_linear_backward_input(&l->lin2, T, p->dsum, P, p->dhidden, hidden, false);
    msa_epilogue_backward(MSA_EPILOGUE_RELU, T * hidden, k->hidden, p->dhidden, p->dhidden);
    msa_dense_backward_params(p->params, &l->lin1, T, k->queries2, p->dhidden);
    msa_linear_backward_input(&l->lin1, T, p->dhidden, hidden, g->queries, P, true);
    if (l->adapters.mlp.down.weight != NULL)
        adapter_backward(p, &l->adapters.mlp, p->c->adapter_mlp_scale, T, k->queries2, k->mlp_before,
                         k->mlp_after, p->dsum, g->queries);
}

static msa_linear_grads grads_of(const msa_params *p, const float *weight, const float *bias)
{
    return (msa_linear_grads){msa_grad(p, weight), msa_grad(p, bias)};
}

/* From p->dsum to p->dpart. */
static void prompt_adapter_backward(msa_two_way_pass *p, const msa_prompt_adapter *a,
                                    const msa_two_way_kept *k, const gradients *g)
{
    const msa_params *q = p->params;
    const msa_prompt_adapter_grads grads = {.down = grads_of(q, a->down.weight, a->down.bias),
                                            .prompt = grads_of(q, a->prompt.weight, a->prompt.bias),
                                            .up = grads_of(q, a->up.weight, a->up.bias),
                                            .generate = grads_of(q, a->generate.weight, a->generate.bias),
                                            .norm = grads_of(q, a->norm.weight, a->norm.bias)};
    msa_prompt_adapter_backward(a, p->c->decoder_adapter_act, p->T, k->attended, p->tokens, &k->prompt,
                                &grads, p->dsum, p->adapter, p->dpart, g->tokens);
}

static void look_backward(msa_two_way_pass *p, const msa_two_way_kept *k, const msa_decoder_attention *a,
                          const msa_norm *norm, const msa_prompt_adapter *adapter, gradients *g)
{
    const int64_t T = p->T, P = p->c->prompt_dim;
    const float *dattended = p->dsum;
    float *dkeys = g->want_keys ? g->keys : NULL; /* of keys and of keys + positions alike */
    norm_backward(p, norm, T, k->sum2, g->queries, p->dsum);
    memcpy(g->queries, p->dsum, (size_t)(T * P) * sizeof(float));
    if (adapter != NULL && adapter->down.weight != NULL) {
        prompt_adapter_backward(p, adapter, k, g);
        dattended = p->dpart;
    }
    clear(p->dtoken_in, T * P);
    msa_projected_backward(p->params, a, &k->to_image, &p->attention, dattended, p->dtoken_in, dkeys, dkeys);
    token_in_backward(p, g);
}

static void self_backward(msa_two_way_pass *p, int32_t i, gradients *g)
{
    const msa_two_way_weights *l = &p->w->layers[i];
    const msa_two_way_kept *k = &p->layers[i];
    const int64_t T = p->T, n = T * p->c->prompt_dim;
    const bool sam = p->c->decoder_wiring == MSA_WIRING_SAM;
    /* Above the first layer's self-attention lie only the tokens. */
    if (i == 0 && g->tokens == NULL && !msa_norm_trains(p->params, &l->norm1) &&
        !msa_projected_trains(p->params, &l->self_attn))
        return;
    norm_backward(p, &l->norm1, T, k->sum1, g->queries, p->dsum);
    if (i == 0 && sam)
        clear(g->queries, n); /* replaced, not added to */
    else
        memcpy(g->queries, p->dsum, (size_t)n * sizeof(float));
    if (i > 0 && sam) {
        clear(p->dtoken_in, n);
        msa_projected_backward(p->params, &l->self_attn, &k->self, &p->attention, p->dsum, p->dtoken_in,
                               p->dtoken_in, g->queries);
        token_in_backward(p, g);
        return;
    }
    msa_projected_backward(p->params, &l->self_attn, &k->self, &p->attention, p->dsum, g->queries, g->queries,
                           g->queries);
    if (i > 0 && g->tokens != NULL) msa_add(n, g->tokens, g->queries, g->tokens);
}

/* Below this layer nothing wants a gradient. */
static int32_t lowest_layer(const msa_two_way_pass *p, bool inputs_wanted)
{
    int32_t i = 0;
    while (!inputs_wanted && i < p->c->decoder_depth && !p->trains[i])
        i++;
    return i;
}

void msa_two_way_pass_backward(msa_two_way_pass *p, float *dqueries, float *dkeys, bool want_keys,
                               float *dtokens)
{
    const int32_t depth = p->c->decoder_depth, lowest = lowest_layer(p, want_keys || dtokens != NULL);
    gradients g = {.queries = dqueries, .keys = dkeys, .tokens = dtokens};
    if (dtokens != NULL) clear(dtokens, p->T * p->c->prompt_dim);
    g.want_keys = want_keys || lowest < depth;
    look_backward(p, &p->layers[depth], &p->w->final_attn, &p->w->norm_final, NULL, &g);
    for (int32_t i = depth - 1; i >= lowest; i--) {
        const msa_two_way_weights *l = &p->w->layers[i];
        g.want_keys = want_keys || i > lowest;
        image_backward(p, i, &g);
        mlp_backward(p, i, &g);
        look_backward(p, &p->layers[i], &l->token_to_image, &l->norm2, &l->adapters.prompt, &g);
        self_backward(p, i, &g);
    }
    if (dtokens != NULL) msa_add(p->T * p->c->prompt_dim, dtokens, dqueries, dtokens);
}
