#include "engine/sam/cross_attention.h"

#include <math.h>
#include <string.h>

#include "engine/kern/gemm.h"
#include "engine/kern/tile_table.h"
#include "engine/kern/vec.h"

/* Folding costs 2 T P products a pixel and head, projecting 2 d (P + T). Tiles want whole registers. */
static bool is_folded(int64_t T, int32_t d, int64_t P)
{
    return T < d && P % (MSA_TILE_COLS_MAX / 2) == 0;
}

static int64_t at_most(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Rows of depth P while that is folded, of depth d after it. */
static size_t part_floats(const msa_config *c, int64_t T, int64_t width)
{
    const int64_t d = width / c->decoder_heads;
    const int64_t folded = c->decoder_heads * at_most(T, d - 1) * c->prompt_dim, projected = T * width;
    return (size_t)(folded > projected ? folded : projected);
}

static size_t rows_floats(const msa_config *c, int64_t T, int64_t width)
{
    const int64_t d = width / c->decoder_heads;
    return (size_t)(c->decoder_heads * at_most(T, d - 1) * c->prompt_dim);
}

/* Of a folded side's rows, of depth K. */
static size_t packed_floats(const msa_config *c, int64_t T, int64_t width, int64_t K)
{
    const int64_t d = width / c->decoder_heads;
    return (size_t)msa_tile_packed_floats(c->decoder_heads * at_most(T, d - 1), K, msa_tiles()->rows);
}

void msa_cross_scratch_layout(msa_cross_scratch *s, msa_arena *arena, const msa_config *c, int64_t T,
                              int64_t width)
{
    s->placed = msa_arena_floats(
        arena, (size_t)msa_tile_packed_floats(MSA_TILE_PIXELS, c->prompt_dim, msa_tiles()->cols));
    s->turned = msa_arena_floats(arena, packed_floats(c, T, width, MSA_TILE_PIXELS));
    s->scores = msa_arena_floats(arena, (size_t)(c->decoder_heads * T) * MSA_TILE_PIXELS);
    s->q = msa_arena_floats(arena, (size_t)width * MSA_TILE_PIXELS);
    s->mix = msa_arena_floats(arena, (size_t)width * MSA_TILE_PIXELS);
    s->sum = msa_arena_floats(arena, (size_t)c->prompt_dim * MSA_TILE_PIXELS);
}

void msa_look_layout(msa_look *l, msa_arena *arena, const msa_config *c, int64_t T, int64_t width,
                     int64_t pixels)
{
    const size_t tiles = (size_t)msa_tile_count(pixels), rows = (size_t)(c->decoder_heads * T);
    l->q = msa_arena_floats(arena, (size_t)(T * width));
    l->mixed = msa_arena_floats(arena, (size_t)(T * width));
    l->rows = msa_arena_floats(arena, rows_floats(c, T, width));
    l->packed = msa_arena_floats(arena, packed_floats(c, T, width, c->prompt_dim));
    l->part = msa_arena_floats(arena, tiles * part_floats(c, T, width));
    l->max = msa_arena_floats(arena, tiles * rows);
    l->sum = msa_arena_floats(arena, tiles * rows);
    l->mean = msa_arena_floats(arena, part_floats(c, T, width));
}

void msa_take_layout(msa_take *t, msa_arena *arena, const msa_config *c, int64_t T, int64_t width)
{
    t->k = msa_arena_floats(arena, (size_t)(T * width));
    t->v = msa_arena_floats(arena, (size_t)(T * width));
    t->rows = msa_arena_floats(arena, rows_floats(c, T, width));
    t->packed = msa_arena_floats(arena, packed_floats(c, T, width, c->prompt_dim));
    t->out = msa_arena_floats(arena, rows_floats(c, T, width));
    t->shift = msa_arena_floats(arena, (size_t)(c->decoder_heads * T));
}

static void dense(const msa_linear *l, int64_t n, const float *x, float *y)
{
    msa_linear_forward(l, n, x, l->K, y, l->N, MSA_EPILOGUE_NONE);
}

/* scores (rows, n) of folded rows of depth P, packed, with the n pixels where they lie, added to what is
 * there when `add`. */
static void folded_scores(int64_t rows, int64_t n, int64_t P, const float *packed, const float *x,
                          const float *positions, bool add, const msa_cross_scratch *s)
{
    const msa_tile_table *t = msa_tiles();
    const int64_t half = t->cols / 2, wide = (n + half - 1) / half * half;
    const msa_tile_operand a = {packed, t->rows, P * t->rows}, b = {s->placed, t->cols, P * t->cols};
    t->pack_sum(n, P, x, positions, P, t->cols, s->placed);
    t->product(rows, wide, P, a, b, add ? s->scores : NULL, MSA_TILE_PIXELS, s->scores, MSA_TILE_PIXELS,
               NULL);
}

static void projected_scores(int32_t heads, int64_t T, int64_t n, const msa_linear *l, const float *tokens,
                             const float *x, const float *positions, const msa_cross_scratch *s)
{
    const int64_t d = l->N / heads;
    msa_add(n * l->K, x, positions, s->placed);
    dense(l, n, s->placed, s->q);
    for (int32_t h = 0; h < heads; h++)
        msa_gemm_nt(T, n, d, 1.0f, tokens + h * d, l->N, s->q + h * d, l->N,
                    s->scores + h * T * MSA_TILE_PIXELS, MSA_TILE_PIXELS);
}

/* ---- tokens look at the image ---- */

/* Of one token and head; the rows of a head lie together. */
static int64_t row_depth(const msa_look *l)
{
    return l->folded ? l->P : l->d;
}

void msa_look_begin(msa_look *l, const msa_config *c, const msa_decoder_attention *a, int64_t T,
                    const float *q)
{
    l->a = a;
    l->heads = c->decoder_heads;
    l->width = a->q.N;
    l->d = (int32_t)(l->width / l->heads);
    l->T = T;
    l->P = c->prompt_dim;
    l->folded = is_folded(T, l->d, l->P);
    dense(&a->q, T, q, l->q);
    msa_scale(T * l->width, 1.0f / sqrtf((float)l->d), l->q, l->q);
    for (int32_t h = 0; h < l->heads && l->folded; h++)
        msa_gemm_nn(T, l->P, l->d, l->q + h * l->d, l->width, a->k.weight + h * l->d * l->P, l->P,
                    l->rows + h * T * l->P, l->P);
    if (l->folded) msa_tiles()->pack(l->heads * T, l->P, l->rows, l->P, msa_tiles()->rows, 1.0f, l->packed);
}

/* part (heads * T, depth) = scores (heads * T, n) times the pixels, or their values. */
static void look_sums(const msa_look *l, int64_t n, const float *x, const msa_cross_scratch *s, float *part)
{
    const msa_tile_table *t = msa_tiles();
    const int64_t rows = l->heads * l->T;
    if (l->folded) {
        t->pack(rows, n, s->scores, MSA_TILE_PIXELS, t->rows, 1.0f, s->turned);
        t->product(rows, l->P, n, (msa_tile_operand){s->turned, t->rows, n * t->rows},
                   (msa_tile_operand){x, l->P, t->cols}, NULL, 0, part, l->P, NULL);
        return;
    }
    dense(&l->a->v, n, x, s->q);
    for (int32_t h = 0; h < l->heads; h++)
        msa_gemm_nn(l->T, l->d, n, s->scores + h * l->T * MSA_TILE_PIXELS, MSA_TILE_PIXELS, s->q + h * l->d,
                    l->width, part + h * l->T * l->d, l->d);
}

void msa_look_tile(msa_look *l, int32_t tile, int64_t n, const float *x, const float *positions,
                   const msa_cross_scratch *s)
{
    const int64_t rows = l->heads * l->T;
    float *max = l->max + tile * rows, *sum = l->sum + tile * rows;
    if (l->folded)
        folded_scores(rows, n, l->P, l->packed, x, positions, false, s);
    else
        projected_scores(l->heads, l->T, n, &l->a->k, l->q, x, positions, s);
    for (int64_t r = 0; r < rows; r++)
        max[r] = msa_softmax_part(n, s->scores + r * MSA_TILE_PIXELS, &sum[r]);
    look_sums(l, n, x, s, l->part + tile * rows * row_depth(l));
}

/* The tiles' sums to one mean a row, in the order of the tiles. */
static void merge(msa_look *l, int32_t tiles)
{
    const int64_t rows = l->heads * l->T, depth = row_depth(l);
    for (int64_t r = 0; r < rows; r++) {
        float max = l->max[r], sum = 0.0f, *mean = l->mean + r * depth;
        for (int32_t t = 1; t < tiles; t++)
            max = l->max[t * rows + r] > max ? l->max[t * rows + r] : max;
        memset(mean, 0, (size_t)depth * sizeof *mean);
        for (int32_t t = 0; t < tiles; t++) {
            const float *part = l->part + (t * rows + r) * depth;
            float weight = l->max[t * rows + r] - max;
            msa_exp(1, &weight, &weight);
            sum += weight * l->sum[t * rows + r];
            msa_axpy(depth, weight, part, mean);
        }
        msa_scale(depth, 1.0f / sum, mean, mean);
    }
}

void msa_look_end(msa_look *l, int32_t tiles, float *result)
{
    const msa_linear *v = &l->a->v;
    merge(l, tiles);
    for (int32_t h = 0; h < l->heads; h++) {
        const float *mean = l->mean + h * l->T * row_depth(l);
        if (l->folded)
            msa_gemm_nt(l->T, l->d, l->P, 1.0f, mean, l->P, v->weight + h * l->d * l->P, l->P,
                        l->mixed + h * l->d, l->width);
        for (int64_t t = 0; t < l->T; t++) {
            float *to = l->mixed + t * l->width + h * l->d;
            if (l->folded)
                msa_add(l->d, to, v->bias + h * l->d, to);
            else
                memcpy(to, mean + t * l->d, (size_t)l->d * sizeof *to);
        }
    }
    dense(&l->a->out, l->T, l->mixed, result);
}

/* ---- the image takes from the tokens ---- */

static void fold_take(msa_take *t)
{
    const msa_decoder_attention *a = t->a;
    for (int32_t h = 0; h < t->heads; h++) {
        const float *k = t->k + h * t->d;
        msa_gemm_nn(t->T, t->P, t->d, k, t->width, a->q.weight + h * t->d * t->P, t->P,
                    t->rows + h * t->T * t->P, t->P);
        msa_gemm_nt(t->T, t->P, t->d, 1.0f, t->v + h * t->d, t->width, a->out.weight + h * t->d, t->width,
                    t->out + h * t->T * t->P, t->P);
        for (int64_t i = 0; i < t->T; i++)
            t->shift[h * t->T + i] = msa_dot(t->d, k + i * t->width, a->q.bias + h * t->d);
    }
    msa_tiles()->pack(t->heads * t->T, t->P, t->rows, t->P, msa_tiles()->rows, 1.0f, t->packed);
    for (int64_t i = 0; i < t->T; i++) /* each head's weights sum to 1: the first one brings the bias */
        msa_add(t->P, t->out + i * t->P, a->out.bias, t->out + i * t->P);
}

void msa_take_begin(msa_take *t, const msa_config *c, const msa_decoder_attention *a, int64_t T,
                    const float *k, const float *v)
{
    t->a = a;
    t->heads = c->decoder_heads;
    t->width = a->q.N;
    t->d = (int32_t)(t->width / t->heads);
    t->T = T;
    t->P = c->prompt_dim;
    t->folded = is_folded(T, t->d, t->P);
    dense(&a->k, T, k, t->k);
    dense(&a->v, T, v, t->v);
    msa_scale(T * t->width, 1.0f / sqrtf((float)t->d), t->k, t->k);
    if (t->folded) fold_take(t);
}

/* scores (heads * T, n), then their softmax over the tokens of each head */
static void take_scores(const msa_take *t, int64_t n, const float *x, const float *positions,
                        const msa_cross_scratch *s)
{
    const int64_t rows = t->heads * t->T;
    if (t->folded) {
        for (int64_t r = 0; r < rows; r++)
            for (int64_t i = 0; i < MSA_TILE_PIXELS; i++)
                s->scores[r * MSA_TILE_PIXELS + i] = t->shift[r];
        folded_scores(rows, n, t->P, t->packed, x, positions, true, s);
    } else {
        projected_scores(t->heads, t->T, n, &t->a->q, t->k, x, positions, s);
    }
    for (int32_t h = 0; h < t->heads; h++)
        msa_softmax_columns(t->T, n, s->scores + h * t->T * MSA_TILE_PIXELS, MSA_TILE_PIXELS);
}

void msa_take_tile(const msa_take *t, int64_t n, const float *positions, const msa_cross_scratch *s, float *x)
{
    const msa_tile_table *k = msa_tiles();
    take_scores(t, n, x, positions, s);
    if (t->folded) {
        k->product(n, t->P, t->heads * t->T, (msa_tile_operand){s->scores, MSA_TILE_PIXELS, k->rows},
                   (msa_tile_operand){t->out, t->P, k->cols}, x, t->P, x, t->P, NULL);
        return;
    }
    memset(s->mix, 0, (size_t)(n * t->width) * sizeof *s->mix);
    for (int32_t h = 0; h < t->heads; h++)
        msa_gemm_tn_add(n, t->d, t->T, 1.0f, s->scores + h * t->T * MSA_TILE_PIXELS, MSA_TILE_PIXELS,
                        t->v + h * t->d, t->width, s->mix + h * t->d, t->width);
    dense(&t->a->out, n, s->mix, s->sum);
    msa_add(n * t->P, x, s->sum, x);
}
