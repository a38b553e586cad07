#include "engine/sam/weights.h"

#include <stdio.h>
#include <string.h>

#include "engine/sam/walk.h"

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

/* AdaLoRA's form: one update of all of qkv, divided by the ranks that are left. */
static msa_lora adaptive_lora(const msa_config *c, const msa_block_factors *f, msa_lora_place place)
{
    const int32_t C = c->dim, r = c->lora_rank, M = c->mlp_dim;
    switch (place) {
    case MSA_LORA_QUERY:
        return (msa_lora){.a = f->qkv_a,
                          .b = f->qkv_b,
                          .e = f->qkv_e,
                          .N = 3 * C,
                          .K = C,
                          .rank = r,
                          .scale = c->lora_alpha / (*f->qkv_ranks + MSA_ADALORA_EPS)};
    case MSA_LORA_LIN1:
        return (msa_lora){.a = f->lin1_a,
                          .b = f->lin1_b,
                          .e = f->lin1_e,
                          .N = M,
                          .K = C,
                          .rank = r,
                          .scale = c->lora_alpha / (*f->lin1_ranks + MSA_ADALORA_EPS)};
    case MSA_LORA_LIN2:
        return (msa_lora){.a = f->lin2_a,
                          .b = f->lin2_b,
                          .e = f->lin2_e,
                          .N = C,
                          .K = M,
                          .rank = r,
                          .scale = c->lora_alpha / (*f->lin2_ranks + MSA_ADALORA_EPS)};
    case MSA_LORA_VALUE:
    case MSA_LORA_PLACES:
        break;
    }
    return (msa_lora){0};
}

msa_lora msa_block_lora(const msa_config *c, const msa_block_weights *b, msa_lora_place place)
{
    const msa_block_factors *f = &b->factors;
    const int32_t C = c->dim, r = c->lora_rank;
    if (r == 0 || f->qkv_a == NULL) return (msa_lora){0};
    if (c->adalora) return adaptive_lora(c, f, place);
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

static void prompt_adapter(msa_walk *w, msa_prompt_adapter *a)
{
    const bool hyper = w->c->decoder_adapter_mode == MSA_ADAPTER_HYPER;
    const char *name = hyper ? "HyP_Adapter" : "Prompt_Adapter";
    const int32_t P = w->c->prompt_dim;
    char part[64];
    msa_walk_adapter_down(w, name, P, &a->down, false);
    const int32_t r = a->down.N;
    (void)snprintf(part, sizeof part, "%s.P_fc1", name);
    msa_walk_dense(w, part, r, P, &a->prompt);
    if (hyper) {
        msa_walk_dense(w, "HyP_Adapter.M", r * r, r, &a->generate);
        msa_walk_norm(w, "HyP_Adapter.norm", r, &a->norm);
    }
    (void)snprintf(part, sizeof part, "%s.D_fc2", name);
    msa_walk_dense(w, part, P, r, &a->up);
}

static void relative(msa_walk *w, const char *name, const char *const alias[2], int32_t side,
                     const float **to, int32_t *rows)
{
    msa_weight_spec spec = {.rank = 2,
                            .shape = {2 * side - 1, w->c->dim / w->c->heads},
                            .free_axes = 1u,
                            .optional = w->c->family == MSA_FAMILY_EFFICIENTSAM, /* as it was published */
                            .to = to,
                            .size = {rows}};
    memcpy(spec.alias, alias, sizeof spec.alias);
    msa_walk_visit(w, name, spec);
}

/* Factors of `n` updates that lie one below the other; N outputs in all. */
static void factors(msa_walk *w, const char *name, int32_t N, int32_t K, int32_t n, const float **a,
                    const float **b)
{
    char part[64];
    (void)snprintf(part, sizeof part, "%s.lora_A", name);
    msa_walk_matrix(w, part, (int64_t)n * w->c->lora_rank, K, a);
    (void)snprintf(part, sizeof part, "%s.lora_B", name);
    msa_walk_matrix(w, part, N, w->c->lora_rank, b);
}

static void rank_weights(msa_walk *w, const char *name, const float **e, const float **ranks)
{
    char part[64];
    (void)snprintf(part, sizeof part, "%s.lora_E", name);
    msa_walk_matrix(w, part, w->c->lora_rank, 1, e);
    (void)snprintf(part, sizeof part, "%s.ranknum", name);
    msa_walk_vector(w, part, 1, ranks);
}

static void block_factors(msa_walk *w, msa_block_factors *f)
{
    const msa_config *c = w->c;
    const int32_t C = c->dim, M = c->mlp_dim;
    factors(w, "attn.qkv", c->adalora ? 3 * C : 2 * C, C, c->adalora ? 1 : 2, &f->qkv_a, &f->qkv_b);
    factors(w, "mlp.lin1", M, C, 1, &f->lin1_a, &f->lin1_b);
    factors(w, "mlp.lin2", C, M, 1, &f->lin2_a, &f->lin2_b);
    if (!c->adalora) return;
    rank_weights(w, "attn.qkv", &f->qkv_e, &f->qkv_ranks);
    rank_weights(w, "mlp.lin1", &f->lin1_e, &f->lin1_ranks);
    rank_weights(w, "mlp.lin2", &f->lin2_e, &f->lin2_ranks);
}

static void block(msa_walk *w, int32_t i, msa_block_weights *b, bool depth_adapters)
{
    static const char *const rel_h[2] = {"rel_pos_h", "rel_h"}, *const rel_w[2] = {"rel_pos_w", "rel_w"};
    static const char *const fc1[2] = {"mlp.lin1", "mlp.fc1"}, *const fc2[2] = {"mlp.lin2", "mlp.fc2"};
    const msa_config *c = w->c;
    const bool efficient = c->family == MSA_FAMILY_EFFICIENTSAM; /* whose published files say fc */
    const int32_t side = msa_block_is_global(c, i) ? c->image_size / c->patch : c->window;
    msa_walk_enter(w, "image_encoder.blocks.%d.", i);
    msa_walk_norm(w, "norm1", c->dim, &b->norm1);
    relative(w, "attn.rel_pos_h", rel_h, side, &b->rel_h, &b->rel_h_rows);
    relative(w, "attn.rel_pos_w", rel_w, side, &b->rel_w, &b->rel_w_rows);
    msa_walk_dense(w, "attn.qkv", 3 * c->dim, c->dim, &b->qkv);
    msa_walk_dense(w, "attn.proj", c->dim, c->dim, &b->proj);
    msa_walk_norm(w, "norm2", c->dim, &b->norm2);
    msa_walk_layer(w, "mlp.lin1", efficient ? fc1 : NULL, c->mlp_dim, c->dim, 0, &b->lin1);
    msa_walk_layer(w, "mlp.lin2", efficient ? fc2 : NULL, c->dim, c->mlp_dim, 0, &b->lin2);
    if (c->lora_rank > 0) block_factors(w, &b->factors);
    if (!c->adapters) return;
    msa_walk_adapter(w, "Space_Adapter", c->dim, &b->space, false);
    msa_walk_adapter(w, "MLP_Adapter", c->dim, &b->mlp, false);
    const bool branch = c->depth_grouping != MSA_DEPTH_NONE;
    if (branch || depth_adapters) msa_walk_adapter(w, "Depth_Adapter", c->dim, &b->depth, !branch);
}

static void detail(msa_walk *w, msa_detail_weights *d)
{
    const int32_t P = w->c->prompt_dim, F = w->c->detail, side = w->c->patch / 4;
    const int32_t out[MSA_DETAIL_LEVELS] = {P / 8, P / 4, w->c->dim};
    for (int32_t l = 0; l < MSA_DETAIL_LEVELS; l++) {
        msa_detail_level_weights *v = &d->level[l];
        const int32_t C = F << l;
        msa_walk_enter(w, "image_encoder.detail.%d.", l);
        if (l == 0)
            msa_walk_layer(w, "enter", NULL, C, 3 * side * side, side, &v->enter);
        else
            msa_walk_dense(w, "enter", C, 2 * C, &v->enter);
        msa_walk_dense(w, "mix", C, 9 * C, &v->mix);
        msa_walk_dense(w, "leave", out[l], 9 * C, &v->leave);
    }
}

/* What lies before the neck. */
static void transformer(msa_walk *w, msa_encoder_weights *e, bool depth_adapters)
{
    const msa_config *c = w->c;
    const int32_t g = c->image_size / c->patch;
    msa_walk_enter(w, "image_encoder.");
    if (c->family == MSA_FAMILY_EFFICIENTSAM)
        msa_walk_efficient_positions(w, e);
    else
        msa_walk_visit(w, "pos_embed",
                       (msa_weight_spec){.rank = 4,
                                         .shape = {1, g, g, c->dim},
                                         .free_axes = 2u | 4u,
                                         .to = &e->pos_embed,
                                         .size = {&e->pos_h, &e->pos_w}});
    msa_walk_layer(w, "patch_embed.proj", NULL, c->dim, 3 * c->patch * c->patch, c->patch, &e->patch);
    for (int32_t i = 0; i < c->depth; i++)
        block(w, i, &e->blocks[i], depth_adapters);
}

static void encoder(msa_walk *w, msa_encoder_weights *e, bool depth_adapters)
{
    const msa_config *c = w->c;
    const int32_t P = c->prompt_dim;
    if (c->family == MSA_FAMILY_MOBILE_SAM)
        msa_walk_tiny(w, &e->tiny);
    else
        transformer(w, e, depth_adapters);
    msa_walk_enter(w, "image_encoder.neck.");
    e->neck1 = (msa_linear){.N = P, .K = c->dim};
    msa_walk_kernel(w, "0.weight", P, c->dim, 1, &e->neck1.weight);
    msa_walk_norm(w, "1", P, &e->neck_norm1);
    msa_walk_kernel(w, "2.weight", P, P, 3, &e->neck3x3);
    msa_walk_norm(w, "3", P, &e->neck_norm2);
    if (c->detail > 0) detail(w, &e->detail);
}

static void prompt(msa_walk *w, msa_prompt_weights *p)
{
    const int32_t P = w->c->prompt_dim, channels = MSA_MASK_CHANNELS;
    msa_walk_enter(w, "prompt_encoder.");
    msa_walk_matrix(w, "pe_layer.positional_encoding_gaussian_matrix", 2, P / 2, &p->gaussian);
    for (int32_t i = 0; i < 4; i++) {
        char name[40];
        (void)snprintf(name, sizeof name, "point_embeddings.%d.weight", i);
        msa_walk_matrix(w, name, 1, P, &p->point[i]);
    }
    msa_walk_matrix(w, "not_a_point_embed.weight", 1, P, &p->not_a_point);
    msa_walk_matrix(w, "no_mask_embed.weight", 1, P, &p->no_mask);
    msa_walk_layer(w, "mask_downscaling.0", NULL, channels / 4, 4, 2, &p->conv1);
    msa_walk_norm(w, "mask_downscaling.1", channels / 4, &p->norm1);
    msa_walk_layer(w, "mask_downscaling.3", NULL, channels, channels, 2, &p->conv2);
    msa_walk_norm(w, "mask_downscaling.4", channels, &p->norm2);
    msa_walk_layer(w, "mask_downscaling.6", NULL, P, channels, 1, &p->conv3);
}

static void attention(msa_walk *w, const char *name, int32_t width, msa_decoder_attention *a)
{
    const int32_t P = w->c->prompt_dim;
    char part[64];
    (void)snprintf(part, sizeof part, "%s.q_proj", name);
    msa_walk_dense(w, part, width, P, &a->q);
    (void)snprintf(part, sizeof part, "%s.k_proj", name);
    msa_walk_dense(w, part, width, P, &a->k);
    (void)snprintf(part, sizeof part, "%s.v_proj", name);
    msa_walk_dense(w, part, width, P, &a->v);
    (void)snprintf(part, sizeof part, "%s.out_proj", name);
    msa_walk_dense(w, part, P, width, &a->out);
}

static void mlp3(msa_walk *w, const char *name, int32_t hidden, int32_t out, msa_mlp3_weights *m)
{
    const int32_t P = w->c->prompt_dim;
    for (int32_t i = 0; i < 3; i++) {
        char part[64];
        (void)snprintf(part, sizeof part, "%s.layers.%d", name, i);
        msa_walk_dense(w, part, i == 2 ? out : hidden, i == 0 ? P : hidden, &m->layer[i]);
    }
}

static void two_way(msa_walk *w, int32_t i, msa_two_way_weights *l)
{
    static const char *const lin1[2] = {"mlp.lin1", "mlp.layers.0.0"}, *const lin2[2] = {"mlp.lin2",
                                                                                         "mlp.fc"};
    const int32_t P = w->c->prompt_dim, hidden = w->c->decoder_mlp_dim;
    msa_walk_enter(w, "mask_decoder.transformer.layers.%d.", i);
    attention(w, "self_attn", P, &l->self_attn);
    msa_walk_norm(w, "norm1", P, &l->norm1);
    attention(w, "cross_attn_token_to_image", P / 2, &l->token_to_image);
    msa_walk_norm(w, "norm2", P, &l->norm2);
    msa_walk_layer(w, "mlp.lin1", lin1, hidden, P, 0, &l->lin1);
    msa_walk_layer(w, "mlp.lin2", lin2, P, hidden, 0, &l->lin2);
    msa_walk_norm(w, "norm3", P, &l->norm3);
    msa_walk_norm(w, "norm4", P, &l->norm4);
    attention(w, "cross_attn_image_to_token", P / 2, &l->image_to_token);
    if (!is_adapted(w->c, i)) return;
    prompt_adapter(w, &l->adapters.prompt);
    msa_walk_adapter(w, "MLP_Adapter", P, &l->adapters.mlp, false);
    msa_walk_adapter(w, "Image_Adapter", P, &l->adapters.image, false);
}

static void heads(msa_walk *w, msa_decoder_weights *d)
{
    const msa_config *c = w->c;
    const int32_t P = c->prompt_dim;
    msa_walk_kernel(w, "output_upscaling.0.weight", P, P / 4, 2, &d->up1_weight);
    msa_walk_vector(w, "output_upscaling.0.bias", P / 4, &d->up1_bias);
    msa_walk_norm(w, "output_upscaling.1", P / 4, &d->up_norm);
    msa_walk_kernel(w, "output_upscaling.3.weight", P / 4, P / 8, 2, &d->up2_weight);
    msa_walk_vector(w, "output_upscaling.3.bias", P / 8, &d->up2_bias);
    for (int32_t i = 0; i < c->mask_tokens; i++) {
        char name[48];
        (void)snprintf(name, sizeof name, "output_hypernetworks_mlps.%d", i);
        mlp3(w, name, P, P / 8, &d->hyper[i]);
    }
    mlp3(w, "iou_prediction_head", c->iou_hidden, c->mask_tokens, &d->iou);
}

static void decoder(msa_walk *w, msa_decoder_weights *d)
{
    const msa_config *c = w->c;
    const int32_t P = c->prompt_dim;
    for (int32_t i = 0; i < c->decoder_depth; i++)
        two_way(w, i, &d->layers[i]);
    msa_walk_enter(w, "mask_decoder.");
    attention(w, "transformer.final_attn_token_to_image", P / 2, &d->final_attn);
    msa_walk_norm(w, "transformer.norm_final_attn", P, &d->norm_final);
    msa_walk_matrix(w, "iou_token.weight", 1, P, &d->iou_token);
    msa_walk_matrix(w, "mask_tokens.weight", c->mask_tokens, P, &d->mask_tokens);
    d->up_width[0] = P / 4;
    d->up_width[1] = P / 8;
    if (c->family == MSA_FAMILY_EFFICIENTSAM)
        msa_walk_efficient_heads(w, d);
    else
        heads(w, d);
}

msa_status msa_weights_walk(const msa_config *c, msa_weights *w, bool depth_adapters,
                            msa_weight_visit *visit_fn, void *ctx, msa_error *err)
{
    msa_walk state = {.c = c, .visit = visit_fn, .ctx = ctx, .err = err};
    encoder(&state, &w->encoder, depth_adapters);
    if (c->family == MSA_FAMILY_EFFICIENTSAM)
        msa_walk_efficient_prompt(&state, &w->prompt);
    else
        prompt(&state, &w->prompt);
    decoder(&state, &w->decoder);
    return state.status;
}
