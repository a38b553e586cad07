#include "engine/sam/weights.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct walk {
    const msa_config *c;
    msa_weight_visit *visit;
    void *ctx;
    msa_error *err;
    msa_status status; /* of the first failure; later calls do nothing */
    char prefix[96];
} walk;

bool msa_block_is_global(const msa_config *c, int32_t i)
{
    if (c->window == 0) return true;
    for (int32_t n = 0; n < c->n_global; n++)
        if (c->global_blocks[n] == i) return true;
    return false;
}

/* Layer i of the decoder carries adapters. */
static bool is_adapted(const msa_config *c, int32_t i)
{
    return c->decoder_adapters == MSA_DECODER_ADAPTERS_ALL ||
           (c->decoder_adapters == MSA_DECODER_ADAPTERS_FIRST && i == 0);
}

msa_lora msa_block_lora(const msa_config *c, const msa_block_weights *b, msa_lora_place place)
{
    const msa_block_factors *f = &b->factors;
    const int32_t C = c->dim, r = c->lora_rank;
    if (r == 0 || f->qkv_a == NULL) return (msa_lora){0};
    msa_lora l = {.K = C, .N = C, .rank = r, .scale = c->lora_alpha / (float)r};
    switch (place) {
    case MSA_LORA_QUERY:
        l.a = f->qkv_a;
        l.b = f->qkv_b;
        break;
    case MSA_LORA_VALUE:
        l.a = f->qkv_a + (size_t)r * (size_t)C;
        l.b = f->qkv_b + (size_t)r * (size_t)C;
        l.first = 2 * C;
        break;
    case MSA_LORA_LIN1:
        l.a = f->lin1_a;
        l.b = f->lin1_b;
        l.N = c->mlp_dim;
        break;
    case MSA_LORA_LIN2:
        l.a = f->lin2_a;
        l.b = f->lin2_b;
        l.K = c->mlp_dim;
        break;
    case MSA_LORA_PLACES:
        break;
    }
    return l;
}

size_t msa_block_merged_floats(const msa_config *c)
{
    const size_t dim = (size_t)c->dim;
    return dim * (3 * dim + 2 * (size_t)c->mlp_dim);
}

void msa_block_merge(const msa_config *c, msa_block_weights *b, float *room)
{
    msa_linear *layers[] = {&b->qkv, &b->qkv, &b->lin1, &b->lin2};
    _Static_assert(sizeof layers / sizeof *layers == MSA_LORA_PLACES, "one layer for each place");
    for (int place = 0; place < MSA_LORA_PLACES; place++) {
        msa_linear *l = layers[place];
        const msa_lora update = msa_block_lora(c, b, (msa_lora_place)place);
        if (place != MSA_LORA_VALUE) { /* which goes into the same layer as the queries' */
            const size_t n = (size_t)l->N * (size_t)l->K;
            memcpy(room, l->weight, n * sizeof *room);
            l->weight = room;
            room += n;
        }
        msa_lora_merge(&update, room - (size_t)l->N * (size_t)l->K);
    }
    b->factors = (msa_block_factors){0};
}

static void enter(walk *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void enter(walk *w, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(w->prefix, sizeof w->prefix, fmt, args);
    va_end(args);
}

static void visit(walk *w, const char *name, msa_weight_spec spec)
{
    if (w->status != MSA_OK) return;
    (void)snprintf(spec.name, sizeof spec.name, "%s%s", w->prefix, name);
    w->status = w->visit(w->ctx, &spec, w->err);
}

static void vector(walk *w, const char *name, int64_t n, const float **to)
{
    visit(w, name, (msa_weight_spec){.rank = 1, .shape = {n}, .to = to});
}

static void matrix(walk *w, const char *name, int64_t rows, int64_t cols, const float **to)
{
    visit(w, name, (msa_weight_spec){.rank = 2, .shape = {rows, cols}, .to = to});
}

static void kernel(walk *w, const char *name, int64_t a, int64_t b, int64_t side, const float **to)
{
    visit(w, name, (msa_weight_spec){.rank = 4, .shape = {a, b, side, side}, .to = to});
}

static void norm(walk *w, const char *name, int32_t C, msa_norm *n)
{
    char part[64];
    n->C = C;
    (void)snprintf(part, sizeof part, "%s.weight", name);
    vector(w, part, C, &n->weight);
    (void)snprintf(part, sizeof part, "%s.bias", name);
    vector(w, part, C, &n->bias);
}

/* A dense layer; with side > 0 a convolution whose kernel is flattened into K. */
static void layer(walk *w, const char *name, const char *const alias[2], int32_t N, int32_t K, int32_t side,
                  msa_linear *l)
{
    char part[64];
    l->N = N;
    l->K = K;
    (void)snprintf(part, sizeof part, "%s.weight", name);
    msa_weight_spec spec = {.rank = 2, .shape = {N, K}, .to = &l->weight};
    if (side > 0)
        spec = (msa_weight_spec){.rank = 4, .shape = {N, K / (side * side), side, side}, .to = &l->weight};
    if (alias != NULL) memcpy(spec.alias, alias, sizeof spec.alias);
    visit(w, part, spec);
    (void)snprintf(part, sizeof part, "%s.bias", name);
    spec = (msa_weight_spec){.rank = 1, .shape = {N}, .to = &l->bias};
    if (alias != NULL) memcpy(spec.alias, alias, sizeof spec.alias);
    visit(w, part, spec);
}

static void dense(walk *w, const char *name, int32_t N, int32_t K, msa_linear *l)
{
    layer(w, name, NULL, N, K, 0, l);
}

/* The width of a stored adapter is its own: the first tensor tells it, the others must agree. */
static void adapter_down(walk *w, const char *name, int32_t C, msa_linear *down, bool optional)
{
    char part[64];
    *down = (msa_linear){.N = C >= 4 ? C / 4 : 1, .K = C};
    (void)snprintf(part, sizeof part, "%s.D_fc1.weight", name);
    visit(w, part,
          (msa_weight_spec){.rank = 2,
                            .shape = {down->N, C},
                            .free_axes = 1u,
                            .optional = optional,
                            .to = &down->weight,
                            .size = {&down->N}});
    if (optional && down->weight == NULL) return;
    (void)snprintf(part, sizeof part, "%s.D_fc1.bias", name);
    vector(w, part, down->N, &down->bias);
}

static void adapter(walk *w, const char *name, int32_t C, msa_adapter *a, bool optional)
{
    char part[64];
    adapter_down(w, name, C, &a->down, optional);
    if (optional && a->down.weight == NULL) return;
    (void)snprintf(part, sizeof part, "%s.D_fc2", name);
    dense(w, part, C, a->down.N, &a->up);
}

static void prompt_adapter(walk *w, msa_prompt_adapter *a)
{
    const bool hyper = w->c->decoder_adapter_mode == MSA_ADAPTER_HYPER;
    const char *name = hyper ? "HyP_Adapter" : "Prompt_Adapter";
    const int32_t P = w->c->prompt_dim;
    char part[64];
    adapter_down(w, name, P, &a->down, false);
    const int32_t r = a->down.N;
    (void)snprintf(part, sizeof part, "%s.P_fc1", name);
    dense(w, part, r, P, &a->prompt);
    if (hyper) {
        dense(w, "HyP_Adapter.M", r * r, r, &a->generate);
        norm(w, "HyP_Adapter.norm", r, &a->norm);
    }
    (void)snprintf(part, sizeof part, "%s.D_fc2", name);
    dense(w, part, P, r, &a->up);
}

static void relative(walk *w, const char *name, const char *const alias[2], int32_t side, const float **to,
                     int32_t *rows)
{
    msa_weight_spec spec = {.rank = 2,
                            .shape = {2 * side - 1, w->c->dim / w->c->heads},
                            .free_axes = 1u,
                            .to = to,
                            .size = {rows}};
    memcpy(spec.alias, alias, sizeof spec.alias);
    visit(w, name, spec);
}

/* Factors of `n` updates that lie one below the other; N outputs in all. */
static void factors(walk *w, const char *name, int32_t N, int32_t K, int32_t n, const float **a,
                    const float **b)
{
    char part[64];
    (void)snprintf(part, sizeof part, "%s.lora_A", name);
    matrix(w, part, (int64_t)n * w->c->lora_rank, K, a);
    (void)snprintf(part, sizeof part, "%s.lora_B", name);
    matrix(w, part, N, w->c->lora_rank, b);
}

static void block(walk *w, int32_t i, msa_block_weights *b, bool depth_adapters)
{
    static const char *const rel_h[2] = {"rel_pos_h", "rel_h"}, *const rel_w[2] = {"rel_pos_w", "rel_w"};
    const msa_config *c = w->c;
    const int32_t side = msa_block_is_global(c, i) ? c->image_size / c->patch : c->window;
    enter(w, "image_encoder.blocks.%d.", i);
    norm(w, "norm1", c->dim, &b->norm1);
    relative(w, "attn.rel_pos_h", rel_h, side, &b->rel_h, &b->rel_h_rows);
    relative(w, "attn.rel_pos_w", rel_w, side, &b->rel_w, &b->rel_w_rows);
    dense(w, "attn.qkv", 3 * c->dim, c->dim, &b->qkv);
    dense(w, "attn.proj", c->dim, c->dim, &b->proj);
    norm(w, "norm2", c->dim, &b->norm2);
    dense(w, "mlp.lin1", c->mlp_dim, c->dim, &b->lin1);
    dense(w, "mlp.lin2", c->dim, c->mlp_dim, &b->lin2);
    if (c->lora_rank > 0) {
        factors(w, "attn.qkv", 2 * c->dim, c->dim, 2, &b->factors.qkv_a, &b->factors.qkv_b);
        factors(w, "mlp.lin1", c->mlp_dim, c->dim, 1, &b->factors.lin1_a, &b->factors.lin1_b);
        factors(w, "mlp.lin2", c->dim, c->mlp_dim, 1, &b->factors.lin2_a, &b->factors.lin2_b);
    }
    if (!c->adapters) return;
    adapter(w, "Space_Adapter", c->dim, &b->space, false);
    adapter(w, "MLP_Adapter", c->dim, &b->mlp, false);
    const bool branch = c->depth_grouping != MSA_DEPTH_NONE;
    if (branch || depth_adapters) adapter(w, "Depth_Adapter", c->dim, &b->depth, !branch);
}

static void detail(walk *w, msa_detail_weights *d)
{
    const int32_t P = w->c->prompt_dim, F = w->c->detail, side = w->c->patch / 4;
    const int32_t out[MSA_DETAIL_LEVELS] = {P / 8, P / 4, w->c->dim};
    for (int32_t l = 0; l < MSA_DETAIL_LEVELS; l++) {
        msa_detail_level_weights *v = &d->level[l];
        const int32_t C = F << l;
        enter(w, "image_encoder.detail.%d.", l);
        if (l == 0)
            layer(w, "enter", NULL, C, 3 * side * side, side, &v->enter);
        else
            dense(w, "enter", C, 2 * C, &v->enter);
        dense(w, "mix", C, 9 * C, &v->mix);
        dense(w, "leave", out[l], 9 * C, &v->leave);
    }
}

static void encoder(walk *w, msa_encoder_weights *e, bool depth_adapters)
{
    const msa_config *c = w->c;
    const int32_t g = c->image_size / c->patch, P = c->prompt_dim;
    enter(w, "image_encoder.");
    visit(w, "pos_embed",
          (msa_weight_spec){.rank = 4,
                            .shape = {1, g, g, c->dim},
                            .free_axes = 2u | 4u,
                            .to = &e->pos_embed,
                            .size = {&e->pos_h, &e->pos_w}});
    layer(w, "patch_embed.proj", NULL, c->dim, 3 * c->patch * c->patch, c->patch, &e->patch);
    for (int32_t i = 0; i < c->depth; i++)
        block(w, i, &e->blocks[i], depth_adapters);
    enter(w, "image_encoder.neck.");
    e->neck1 = (msa_linear){.N = P, .K = c->dim};
    kernel(w, "0.weight", P, c->dim, 1, &e->neck1.weight);
    norm(w, "1", P, &e->neck_norm1);
    kernel(w, "2.weight", P, P, 3, &e->neck3x3);
    norm(w, "3", P, &e->neck_norm2);
    if (c->detail > 0) detail(w, &e->detail);
}

static void prompt(walk *w, msa_prompt_weights *p)
{
    const int32_t P = w->c->prompt_dim, channels = MSA_MASK_CHANNELS;
    enter(w, "prompt_encoder.");
    matrix(w, "pe_layer.positional_encoding_gaussian_matrix", 2, P / 2, &p->gaussian);
    for (int32_t i = 0; i < 4; i++) {
        char name[40];
        (void)snprintf(name, sizeof name, "point_embeddings.%d.weight", i);
        matrix(w, name, 1, P, &p->point[i]);
    }
    matrix(w, "not_a_point_embed.weight", 1, P, &p->not_a_point);
    matrix(w, "no_mask_embed.weight", 1, P, &p->no_mask);
    layer(w, "mask_downscaling.0", NULL, channels / 4, 4, 2, &p->conv1);
    norm(w, "mask_downscaling.1", channels / 4, &p->norm1);
    layer(w, "mask_downscaling.3", NULL, channels, channels, 2, &p->conv2);
    norm(w, "mask_downscaling.4", channels, &p->norm2);
    layer(w, "mask_downscaling.6", NULL, P, channels, 1, &p->conv3);
}

static void attention(walk *w, const char *name, int32_t width, msa_decoder_attention *a)
{
    const int32_t P = w->c->prompt_dim;
    char part[64];
    (void)snprintf(part, sizeof part, "%s.q_proj", name);
    dense(w, part, width, P, &a->q);
    (void)snprintf(part, sizeof part, "%s.k_proj", name);
    dense(w, part, width, P, &a->k);
    (void)snprintf(part, sizeof part, "%s.v_proj", name);
    dense(w, part, width, P, &a->v);
    (void)snprintf(part, sizeof part, "%s.out_proj", name);
    dense(w, part, P, width, &a->out);
}

static void mlp3(walk *w, const char *name, int32_t hidden, int32_t out, msa_mlp3_weights *m)
{
    const int32_t P = w->c->prompt_dim;
    for (int32_t i = 0; i < 3; i++) {
        char part[64];
        (void)snprintf(part, sizeof part, "%s.layers.%d", name, i);
        dense(w, part, i == 2 ? out : hidden, i == 0 ? P : hidden, &m->layer[i]);
    }
}

static void two_way(walk *w, int32_t i, msa_two_way_weights *l)
{
    static const char *const lin1[2] = {"mlp.lin1", "mlp.layers.0.0"}, *const lin2[2] = {"mlp.lin2",
                                                                                         "mlp.fc"};
    const int32_t P = w->c->prompt_dim, hidden = w->c->decoder_mlp_dim;
    enter(w, "mask_decoder.transformer.layers.%d.", i);
    attention(w, "self_attn", P, &l->self_attn);
    norm(w, "norm1", P, &l->norm1);
    attention(w, "cross_attn_token_to_image", P / 2, &l->token_to_image);
    norm(w, "norm2", P, &l->norm2);
    layer(w, "mlp.lin1", lin1, hidden, P, 0, &l->lin1);
    layer(w, "mlp.lin2", lin2, P, hidden, 0, &l->lin2);
    norm(w, "norm3", P, &l->norm3);
    norm(w, "norm4", P, &l->norm4);
    attention(w, "cross_attn_image_to_token", P / 2, &l->image_to_token);
    if (!is_adapted(w->c, i)) return;
    prompt_adapter(w, &l->adapters.prompt);
    adapter(w, "MLP_Adapter", P, &l->adapters.mlp, false);
    adapter(w, "Image_Adapter", P, &l->adapters.image, false);
}

static void decoder(walk *w, msa_decoder_weights *d)
{
    const msa_config *c = w->c;
    const int32_t P = c->prompt_dim;
    for (int32_t i = 0; i < c->decoder_depth; i++)
        two_way(w, i, &d->layers[i]);
    enter(w, "mask_decoder.");
    attention(w, "transformer.final_attn_token_to_image", P / 2, &d->final_attn);
    norm(w, "transformer.norm_final_attn", P, &d->norm_final);
    matrix(w, "iou_token.weight", 1, P, &d->iou_token);
    matrix(w, "mask_tokens.weight", c->mask_tokens, P, &d->mask_tokens);
    kernel(w, "output_upscaling.0.weight", P, P / 4, 2, &d->up1_weight);
    vector(w, "output_upscaling.0.bias", P / 4, &d->up1_bias);
    norm(w, "output_upscaling.1", P / 4, &d->up_norm);
    kernel(w, "output_upscaling.3.weight", P / 4, P / 8, 2, &d->up2_weight);
    vector(w, "output_upscaling.3.bias", P / 8, &d->up2_bias);
    for (int32_t i = 0; i < c->mask_tokens; i++) {
        char name[48];
        (void)snprintf(name, sizeof name, "output_hypernetworks_mlps.%d", i);
        mlp3(w, name, P, P / 8, &d->hyper[i]);
    }
    mlp3(w, "iou_prediction_head", c->iou_hidden, c->mask_tokens, &d->iou);
}

msa_status msa_weights_walk(const msa_config *c, msa_weights *w, bool depth_adapters,
                            msa_weight_visit *visit_fn, void *ctx, msa_error *err)
{
    walk state = {.c = c, .visit = visit_fn, .ctx = ctx, .err = err};
    encoder(&state, &w->encoder, depth_adapters);
    prompt(&state, &w->prompt);
    decoder(&state, &w->decoder);
    return state.status;
}
