#include <stdatomic.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/kern/tile_table.h"
#include "engine/kern/vec.h"
#include "engine/nn/packed.h"
#include "engine/sam/detail.h"
#include "engine/sam/mask_decoder.h"

void msa_upscale_weights_layout(msa_upscale_weights *u, msa_arena *arena, const msa_config *c,
                                const msa_decoder_weights *w)
{
    int32_t in = c->prompt_dim;
    for (int i = 0; i < 2; in = w->up_width[i++]) {
        const int32_t out = 4 * w->up_width[i];
        u->weight[i] = msa_arena_floats(arena, (size_t)in * (size_t)out);
        u->bias[i] = msa_arena_floats(arena, (size_t)out);
        u->packed[i] = msa_arena_floats(arena, msa_packed_floats(out, in));
        u->layer[i] = (msa_linear){.weight = u->weight[i], .bias = u->bias[i], .N = out, .K = in};
    }
}

/* (C, N, 2, 2) to (4, N, C), and the bias four times. */
static void reorder(const float *weight, const float *bias, int32_t C, int32_t N, float *to, float *to_bias)
{
    for (int32_t k = 0; k < 4; k++)
        for (int32_t o = 0; o < N; o++)
            for (int32_t i = 0; i < C; i++)
                *to++ = weight[(i * N + o) * 4 + k];
    for (int32_t k = 0; k < 4; k++)
        memcpy(to_bias + k * N, bias, (size_t)N * sizeof *bias);
}

void msa_upscale_weights_fill(msa_upscale_weights *u, const msa_config *c, const msa_decoder_weights *w)
{
    reorder(w->up1_weight, w->up1_bias, c->prompt_dim, w->up_width[0], u->weight[0], u->bias[0]);
    reorder(w->up2_weight, w->up2_bias, w->up_width[0], w->up_width[1], u->weight[1], u->bias[1]);
    for (int i = 0; i < 2; i++) {
        msa_linear *l = &u->layer[i];
        if (msa_packed_floats(l->N, l->K) == 0) continue;
        msa_pack_weight(l->N, l->K, l->weight, u->packed[i]);
        l->packed = u->packed[i];
    }
}

typedef struct upscale_job {
    const msa_config *c;
    const msa_decoder_weights *w;
    const msa_upscale_weights *u;
    const msa_decoder_image *image;
    msa_decoder_work *k;
    float *logits;
    msa_moments all; /* of EfficientSAM's first up-scaling */
    atomic_bool bad;
} upscale_job;

/* Row `sub` of the four (side 2) or sixteen (side 4) of a pixel in a grid that is `side` times as fine; the
 * sixteen come as four times four. */
static int64_t fine_row(const upscale_job *j, int64_t pixel, int32_t side, int32_t sub)
{
    const int64_t w = j->image->grid_w, y = pixel / w * side, x = pixel % w * side;
    const int32_t outer = side == 4 ? sub / 4 : 0, inner = sub % 4;
    return (y + 2 * (outer / 2) + inner / 2) * side * w + x + 2 * (outer % 2) + inner % 2;
}

static void add_detail(const upscale_job *j, int64_t first, int64_t n, int32_t side, int64_t C,
                       const float *detail, float *x)
{
    for (int64_t i = 0; i < n; i++)
        for (int32_t sub = 0; sub < side * side; sub++, x += C)
            msa_add(C, x, detail + fine_row(j, first + i, side, sub) * C, x);
}

/* (mask_tokens, 16 n) of a tile to their places in (mask_tokens, 4h, 4w). */
static void spread(const upscale_job *j, int64_t first, int64_t n, const float *tile)
{
    const int64_t all = 16 * j->k->pixels;
    int64_t from_pixel[16];
    for (int32_t sub = 0; sub < 16; sub++)
        from_pixel[sub] = fine_row(j, 0, 4, sub);
    for (int64_t i = 0; i < n; i++) {
        const float *from = tile + 16 * i;
        float *to = j->logits + fine_row(j, first + i, 4, 0);
        for (int32_t m = 0; m < j->c->mask_tokens; m++, from += 16 * n, to += all)
            for (int32_t sub = 0; sub < 16; sub++)
                to[from_pixel[sub]] = from[sub];
    }
}

static void keep_upscaled(const upscale_job *j, int64_t first, int64_t n, int64_t C, const float *x)
{
    for (int64_t i = 0; i < n; i++)
        for (int32_t sub = 0; sub < 16; sub++, x += C)
            memcpy(j->k->upscaled + fine_row(j, first + i, 4, sub) * C, x, (size_t)C * sizeof *x);
}

/* The first up-scaling of a tile, before its norm: to up1 (4 n, up_width[0]). */
static void first_upscale(const upscale_job *j, int64_t first, int64_t n, float *up1)
{
    const int64_t P = j->c->prompt_dim, U = j->w->up_width[0];
    msa_linear_forward(&j->u->layer[0], n, j->k->keys + first * P, P, up1, 4 * U, MSA_EPILOGUE_NONE);
    if (j->c->detail > 0)
        add_detail(j, first, n, 2, U, j->image->detail + msa_detail_level1(j->c, j->k->pixels), up1);
}

static int64_t tile_pixels(const upscale_job *j, int64_t first)
{
    return j->k->pixels - first < MSA_TILE_PIXELS ? j->k->pixels - first : MSA_TILE_PIXELS;
}

/* EfficientSAM's norm is over all pixels: they wait in the work until it is known. */
static void moments_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const upscale_job *j = ctx;
    const int64_t U = j->w->up_width[0], first = (int64_t)item * MSA_TILE_PIXELS;
    const int64_t n = tile_pixels(j, first);
    float *up1 = j->k->up1 + 4 * first * U;
    first_upscale(j, first, n, up1);
    j->k->moments[item] = msa_moments_of(4 * n * U, up1);
}

/* Logits (mask_tokens, n) of n rows of up2: a multiple of 16, so of half a panel of every instruction set. */
static void weigh(const upscale_job *j, const msa_decoder_tile *tile, int64_t n)
{
    const msa_tile_table *t = msa_tiles();
    const int64_t U = j->w->up_width[1];
    const msa_tile_operand a = {j->k->hyper_packed, t->rows, U * t->rows}, b = {tile->panel, t->cols, 0};
    for (int64_t i = 0; i < n; i += t->cols) {
        const int64_t rows = n - i < t->cols ? n - i : t->cols;
        t->pack(rows, U, tile->up2 + i * U, U, t->cols, 1.0f, tile->panel);
        t->product(j->c->mask_tokens, rows, U, a, b, NULL, 0, tile->logits + i, n, NULL);
    }
}

static void upscale_item(void *ctx, int32_t item, int32_t worker)
{
    upscale_job *j = ctx;
    const msa_config *c = j->c;
    const msa_decoder_tile *t = &j->k->tile[worker];
    const int64_t U1 = j->w->up_width[0], U2 = j->w->up_width[1], first = (int64_t)item * MSA_TILE_PIXELS;
    const int64_t n = tile_pixels(j, first);
    if (c->family == MSA_FAMILY_EFFICIENTSAM) {
        msa_group_norm_rows(&j->w->up_norm, &j->all, MSA_EPS_GROUP, 4 * n, j->k->up1 + 4 * first * U1,
                            t->up1);
    } else {
        first_upscale(j, first, n, t->up1);
        msa_norm_forward(&j->w->up_norm, MSA_EPS_ENCODER, 4 * n, t->up1, t->up1);
    }
    msa_gelu(4 * n * U1, t->up1, t->up1);
    msa_linear_forward(&j->u->layer[1], 4 * n, t->up1, U1, t->up2, 4 * U2,
                       c->detail > 0 ? MSA_EPILOGUE_NONE : MSA_EPILOGUE_GELU);
    if (c->detail > 0) {
        add_detail(j, first, n, 4, U2, j->image->detail, t->up2);
        msa_gelu(16 * n * U2, t->up2, t->up2);
    }
    if (j->k->upscaled != NULL) keep_upscaled(j, first, n, U2, t->up2);
    weigh(j, t, 16 * n);
    if (!msa_all_finite(c->mask_tokens * 16 * n, t->logits)) atomic_store(&j->bad, true);
    spread(j, first, n, t->logits);
}

bool msa_upscale_forward(const msa_config *c, const msa_decoder_weights *w, const msa_upscale_weights *u,
                         const msa_decoder_image *image, msa_decoder_work *k, float *logits)
{
    upscale_job j = {.c = c, .w = w, .u = u, .image = image, .k = k, .logits = logits};
    atomic_init(&j.bad, false);
    msa_tiles()->pack(c->mask_tokens, w->up_width[1], k->hyper, w->up_width[1], msa_tiles()->rows, 1.0f,
                      k->hyper_packed);
    if (c->family == MSA_FAMILY_EFFICIENTSAM) {
        msa_pool_run(moments_item, &j, msa_tile_count(k->pixels), k->workers);
        for (int32_t i = 0; i < msa_tile_count(k->pixels); i++)
            j.all = msa_moments_join(j.all, k->moments[i]);
    }
    msa_pool_run(upscale_item, &j, msa_tile_count(k->pixels), k->workers);
    return !atomic_load(&j.bad);
}
