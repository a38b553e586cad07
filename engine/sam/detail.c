#include "engine/sam/detail.h"

#include <string.h>

#include "engine/kern/vec.h"
#include "engine/nn/conv.h"
#include "engine/predictor.h"

#define CHUNK_ROWS 1024

size_t msa_detail_level1(const msa_config *c, int64_t tokens)
{
    return 16 * (size_t)tokens * (size_t)(c->prompt_dim / 8);
}

size_t msa_detail_floats(const msa_config *c, int64_t tokens)
{
    if (c->detail == 0) return 0;
    return msa_detail_level1(c, tokens) + 4 * (size_t)tokens * (size_t)(c->prompt_dim / 4);
}

size_t msa_embedding_floats(const msa_config *c)
{
    const int64_t g = c->image_size / c->patch;
    return (size_t)(g * g * c->prompt_dim) + msa_detail_floats(c, g * g);
}

/* ---- sizes ---- */

typedef struct level_size {
    int32_t H, W, C;
    int64_t N; /* pixels */
    size_t K;  /* what enter looks at */
} level_size;

static level_size size_of(const msa_config *c, int32_t h, int32_t w, int l)
{
    const int32_t s = c->patch / 4, C = c->detail << l;
    const int32_t H = 4 * h >> l, W = 4 * w >> l;
    return (level_size){
        .H = H, .W = W, .C = C, .N = (int64_t)H * W, .K = l == 0 ? 3 * (size_t)s * (size_t)s : 2 * (size_t)C};
}

static void keep_all(msa_detail_level_work *v, msa_arena *arena, const level_size *z)
{
    const size_t n = (size_t)z->N * (size_t)z->C;
    v->spread = msa_arena_floats(arena, (size_t)z->N * z->K);
    v->sum_enter = msa_arena_floats(arena, n);
    v->seen_enter = msa_arena_floats(arena, n);
    v->sum_mix = msa_arena_floats(arena, n);
    v->seen_mix = msa_arena_floats(arena, n);
    v->d_enter = msa_arena_floats(arena, n);
    v->d_mix = msa_arena_floats(arena, n);
}

/* Without backward a GELU's result takes the place of its sum, and only what the next level looks at outlives
 * its own: `spread` and `entered` are the same memory for every level. */
static void keep_little(msa_detail_level_work *v, msa_arena *arena, const level_size *z, float *spread,
                        float *entered)
{
    v->spread = spread;
    v->sum_enter = v->seen_enter = entered;
    v->sum_mix = v->seen_mix = msa_arena_floats(arena, (size_t)z->N * (size_t)z->C);
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

void msa_detail_layout(msa_detail_work *k, msa_arena *arena, const msa_config *c, int32_t h, int32_t w,
                       bool backward)
{
    size_t rows = 0, spread = 0, entered = 0;
    if (c->detail == 0) return;
    const level_size finest = size_of(c, h, w, 0);
    k->chunk = backward || finest.N < CHUNK_ROWS ? finest.N : CHUNK_ROWS;
    for (int l = 0; l < MSA_DETAIL_LEVELS; l++) {
        const level_size z = size_of(c, h, w, l);
        const size_t at_once = (size_t)(z.N < k->chunk ? z.N : k->chunk);
        rows = max_size(rows, at_once * 9 * (size_t)z.C);
        spread = max_size(spread, (size_t)z.N * z.K);
        entered = max_size(entered, (size_t)z.N * (size_t)z.C);
    }
    k->rows = msa_arena_floats(arena, rows);
    float *shared_spread = backward ? NULL : msa_arena_floats(arena, spread);
    float *shared_entered = backward ? NULL : msa_arena_floats(arena, entered);
    for (int l = 0; l < MSA_DETAIL_LEVELS; l++) {
        const level_size z = size_of(c, h, w, l);
        if (backward)
            keep_all(&k->level[l], arena, &z);
        else
            keep_little(&k->level[l], arena, &z, shared_spread, shared_entered);
    }
}

/* ---- forward ---- */

/* Neighbours of 2 x 2: x (H, W, C) to (H / 2 * W / 2, 4 C), in (row, column, channel) order. */
static void gather(const float *x, const level_size *from, float *out)
{
    const int32_t W = from->W / 2;
    const size_t pair = 2 * (size_t)from->C;
    for (int32_t y = 0; y < from->H; y++)
        for (int32_t i = 0; i < W; i++)
            memcpy(out + (((size_t)(y / 2) * (size_t)W + (size_t)i) * 2 + (size_t)(y % 2)) * pair,
                   x + ((size_t)y * (size_t)W + (size_t)i) * pair, pair * sizeof *out);
}

/* The other way; added. */
static void scatter_add(const float *rows, const level_size *to, float *x)
{
    const int32_t W = to->W / 2;
    const size_t pair = 2 * (size_t)to->C;
    for (int32_t y = 0; y < to->H; y++)
        for (int32_t i = 0; i < W; i++) {
            float *at = x + ((size_t)y * (size_t)W + (size_t)i) * pair;
            msa_add((int64_t)pair, at,
                    rows + (((size_t)(y / 2) * (size_t)W + (size_t)i) * 2 + (size_t)(y % 2)) * pair, at);
        }
}

/* 3 x 3 with padding: x (H, W, C) to y (N, l->N). */
static void conv(const msa_linear *l, const level_size *z, const float *x, msa_detail_work *k, float *y)
{
    for (int64_t r = 0; r < z->N; r += k->chunk) {
        const int64_t n = z->N - r < k->chunk ? z->N - r : k->chunk;
        msa_conv3x3_rows(x, z->H, z->W, z->C, r, n, k->rows);
        msa_linear_forward(l, n, k->rows, l->K, y + r * l->N, l->N, MSA_EPILOGUE_NONE);
    }
}

void msa_detail_forward(const msa_config *c, const msa_detail_weights *d, int32_t h, int32_t w,
                        const float *image, msa_detail_work *k, float *behind, float *tokens)
{
    float *out[MSA_DETAIL_LEVELS] = {behind, behind + msa_detail_level1(c, (int64_t)h * w), tokens};
    for (int l = 0; l < MSA_DETAIL_LEVELS; l++) {
        const level_size z = size_of(c, h, w, l);
        const msa_detail_level_weights *v = &d->level[l];
        const msa_detail_level_work *f = &k->level[l];
        if (l == 0) {
            msa_patch_rows(image, 3, h * c->patch, w * c->patch, c->patch / 4, 0, z.N, f->spread);
        } else {
            const level_size before = size_of(c, h, w, l - 1);
            gather(k->level[l - 1].seen_mix, &before, f->spread);
        }
        msa_linear_forward(&v->enter, z.N, f->spread, v->enter.K, f->sum_enter, z.C, MSA_EPILOGUE_NONE);
        msa_epilogue_forward(MSA_EPILOGUE_GELU, z.N * z.C, f->sum_enter, f->seen_enter);
        conv(&v->mix, &z, f->seen_enter, k, f->sum_mix);
        msa_epilogue_forward(MSA_EPILOGUE_GELU, z.N * z.C, f->sum_mix, f->seen_mix);
        conv(&v->leave, &z, f->seen_mix, k, out[l]);
    }
}

/* ---- backward ---- */

/* x (H, W, C) is what conv() saw; dy (N, l->N); the gradient of x is written, or added to it. */
static void conv_backward(const msa_linear *l, const level_size *z, const float *x, const float *dy,
                          msa_detail_work *k, const msa_detail_layer_grads *g, float *dx)
{
    msa_conv3x3_rows(x, z->H, z->W, z->C, 0, z->N, k->rows);
    msa_linear_backward_params(l, z->N, k->rows, l->K, dy, l->N, g->weight, g->bias);
    msa_linear_backward_input(l, z->N, dy, l->N, k->rows, l->K, false);
    msa_conv3x3_rows_backward(k->rows, z->H, z->W, z->C, dx);
}

void msa_detail_backward(const msa_config *c, const msa_detail_weights *d, int32_t h, int32_t w,
                         const float *dbehind, const float *dtokens, msa_detail_work *k,
                         const msa_detail_grads *g)
{
    const float *dout[MSA_DETAIL_LEVELS] = {dbehind, dbehind + msa_detail_level1(c, (int64_t)h * w), dtokens};
    for (int l = MSA_DETAIL_LEVELS - 1; l >= 0; l--) {
        const level_size z = size_of(c, h, w, l);
        const msa_detail_level_weights *v = &d->level[l];
        const msa_detail_level_work *f = &k->level[l];
        conv_backward(&v->leave, &z, f->seen_mix, dout[l], k, &g->level[l].leave, f->d_mix);
        if (l + 1 < MSA_DETAIL_LEVELS) scatter_add(k->level[l + 1].spread, &z, f->d_mix);
        msa_epilogue_backward(MSA_EPILOGUE_GELU, z.N * z.C, f->sum_mix, f->d_mix, f->d_mix);
        conv_backward(&v->mix, &z, f->seen_enter, f->d_mix, k, &g->level[l].mix, f->d_enter);
        msa_epilogue_backward(MSA_EPILOGUE_GELU, z.N * z.C, f->sum_enter, f->d_enter, f->d_enter);
        msa_linear_backward_params(&v->enter, z.N, f->spread, v->enter.K, f->d_enter, z.C,
                                   g->level[l].enter.weight, g->level[l].enter.bias);
        if (l > 0) /* what enter looked at makes room for its gradient */
            msa_linear_backward_input(&v->enter, z.N, f->d_enter, z.C, f->spread, v->enter.K, false);
    }
}
