#include "engine/nn/bias_attention.h"

#include <math.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/kern/gemm.h"
#include "engine/kern/vec.h"

#define QUERY_TILE 64 /* fixed: the bits must not depend on the threads */

typedef struct bias_job {
    const msa_bias_attention *a;
    float *scratch;
    size_t each; /* of a worker */
} bias_job;

/* One worker's scratch, cut up. */
typedef struct bias_scratch {
    float *q, *out, *k, *v, *scores;
} bias_scratch;

void msa_bias_mirror(const float *table, int32_t heads, int32_t side, float *out)
{
    for (int64_t row = 0; row < (int64_t)heads * side; row++)
        for (int32_t x = 1 - side; x < side; x++)
            *out++ = table[row * side + (x < 0 ? -x : x)];
}

static bias_scratch cut(float *s, int64_t area, int64_t d)
{
    return (bias_scratch){s, s + QUERY_TILE * d, s + 2 * QUERY_TILE * d, s + (2 * QUERY_TILE + area) * d,
                          s + 2 * (QUERY_TILE + area) * d};
}

size_t msa_bias_attention_scratch(const msa_windows *windows, int32_t d)
{
    const size_t area = (size_t)windows->win_h * (size_t)windows->win_w, tile = QUERY_TILE;
    return (2 * (tile + area) * (size_t)d + tile * area + 15) / 16 * 16;
}

static int64_t row_at(const msa_bias_attention *a, int64_t slot)
{
    return a->row_of == NULL ? slot : a->row_of[slot];
}

/* Of the query at a position: its row of scores to probabilities. */
static void bias_softmax(const msa_bias_attention *a, int64_t head, int64_t position, float *row)
{
    const int64_t side = a->windows.win_w, y = position / side, x = position % side;
    const float *bias = a->bias + head * side * (2 * side - 1) + side - 1 - x;
    for (int64_t jy = 0; jy < side; jy++) {
        const float *from = bias + (y < jy ? jy - y : y - jy) * (2 * side - 1);
        float *to = row + jy * side;
        for (int64_t jx = 0; jx < side; jx++)
            to[jx] += from[jx];
    }
    msa_softmax(side * side, row);
}

/* Queries first .. last - 1 of a window that begins at slot0; keys and values lie in s. */
static void bias_tile(const msa_bias_attention *a, const bias_scratch *s, int64_t slot0, int64_t head,
                      int64_t first, int64_t last)
{
    const int64_t C = (int64_t)a->heads * a->d, d = a->d;
    const int64_t area = (int64_t)a->windows.win_h * a->windows.win_w;
    const size_t bytes = (size_t)d * sizeof(float);
    int32_t position[QUERY_TILE];
    int64_t nq = 0;
    for (int64_t p = first; p < last; p++) {
        const int64_t row = row_at(a, slot0 + p);
        if (row == a->pad_row) continue;
        memcpy(s->q + nq * d, a->qkv + row * 3 * C + head * 3 * d, bytes);
        position[nq++] = (int32_t)p;
    }
    if (nq == 0) return;
    msa_gemm_nt(nq, area, d, 1.0f / sqrtf((float)d), s->q, d, s->k, d, s->scores, area);
    for (int64_t i = 0; i < nq; i++)
        bias_softmax(a, head, position[i], s->scores + i * area);
    msa_gemm_nn(nq, d, area, s->scores, area, s->v, d, s->out, d);
    for (int64_t i = 0; i < nq; i++)
        memcpy(a->out + row_at(a, slot0 + position[i]) * C + head * d, s->out + i * d, bytes);
}

/* One head in one window. */
static void bias_item(void *ctx, int32_t item, int32_t worker)
{
    const bias_job *j = ctx;
    const msa_bias_attention *a = j->a;
    const int64_t C = (int64_t)a->heads * a->d, d = a->d, head = item % a->heads;
    const int64_t area = (int64_t)a->windows.win_h * a->windows.win_w, slot0 = item / a->heads * area;
    const bias_scratch s = cut(j->scratch + (size_t)worker * j->each, area, d);
    const size_t bytes = (size_t)d * sizeof(float);
    for (int64_t p = 0; p < area; p++) {
        const float *from = a->qkv + row_at(a, slot0 + p) * 3 * C + (head * 3 + 1) * d;
        memcpy(s.k + p * d, from, bytes);
        memcpy(s.v + p * d, from + d, bytes);
    }
    for (int64_t first = 0; first < area; first += QUERY_TILE)
        bias_tile(a, &s, slot0, head, first, first + QUERY_TILE < area ? first + QUERY_TILE : area);
}

void msa_bias_attention_forward(const msa_bias_attention *a, float *scratch, int32_t workers)
{
    bias_job j = {a, scratch, msa_bias_attention_scratch(&a->windows, a->d)};
    msa_pool_run(bias_item, &j, (int32_t)(msa_windows_count(&a->windows) * a->heads), workers);
}
