#include <math.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/kern/gemm.h"
#include "engine/kern/vec.h"
#include "engine/nn/attention.h"

#define QUERY_TILE        64
#define WINDOW_QUERY_TILE 256 /* a window of 14 x 14 is one tile, its keys are gathered once */

#define WINDOW_GROUPS 4 /* fixed, so that sums have one order; the items are groups times heads */

/* One worker's scratch, cut up; p: the probabilities, computed again. */
typedef struct window_back {
    float *q, *dq, *dout, *k, *v, *dk, *dv, *p, *dp, *rel_h, *rel_w, *line;
} window_back;

typedef struct window_back_job {
    const msa_window_attention *a;
    const msa_window_attention_grads *g;
    float *scratch, *tables, *pads; /* tables: one pair per item; pads (groups, 2 C): keys, values */
    size_t scratch_size, tables_size;
    int64_t area, tile, windows, groups;
} window_back_job;

static int64_t query_tile(const msa_windows *w)
{
    const int64_t area = (int64_t)w->win_h * w->win_w;
    if (msa_windows_count(w) == 1) return QUERY_TILE < area ? QUERY_TILE : area;
    return WINDOW_QUERY_TILE < area ? WINDOW_QUERY_TILE : area;
}

static int64_t window_groups(const msa_windows *w)
{
    const int64_t n = msa_windows_count(w);
    return n < WINDOW_GROUPS ? n : WINDOW_GROUPS;
}

static size_t tables_floats(const msa_windows *w, int32_t d)
{
    return (size_t)(2 * w->win_h - 1 + 2 * w->win_w - 1) * (size_t)d;
}

static window_back cut_back(float *s, const msa_windows *w, int32_t d, size_t *total)
{
    const size_t area = (size_t)w->win_h * (size_t)w->win_w, tile = (size_t)query_tile(w), dd = (size_t)d;
    const size_t sizes[12] = {tile * dd,
                              tile * dd,
                              tile * dd,
                              area * dd,
                              area * dd,
                              area * dd,
                              area * dd,
                              tile * area,
                              tile * area,
                              tile * (2 * (size_t)w->win_h - 1),
                              tile * (2 * (size_t)w->win_w - 1),
                              (size_t)w->win_w};
    float *piece[12] = {NULL};
    *total = 0;
    for (int i = 0; i < 12; i++) {
        if (s != NULL) piece[i] = s + *total;
        *total += (sizes[i] + 15) / 16 * 16;
    }
    return (window_back){piece[0], piece[1], piece[2], piece[3], piece[4],  piece[5],
                         piece[6], piece[7], piece[8], piece[9], piece[10], piece[11]};
}

size_t msa_window_attention_backward_scratch(const msa_windows *windows, int32_t heads, int32_t d,
                                             int32_t workers)
{
    size_t total = 0;
    (void)cut_back(NULL, windows, d, &total);
    const size_t groups = (size_t)window_groups(windows), C = (size_t)heads * (size_t)d;
    return total * (size_t)workers + groups * (size_t)heads * tables_floats(windows, d) + groups * 2 * C;
}

static int64_t row_at(const msa_window_attention *a, int64_t slot)
{
    return a->row_of == NULL ? slot : a->row_of[slot];
}

/* Adds both position terms to a row of scores, then normalises it. */
static void position_softmax(const msa_window_attention *a, const window_back *s, int64_t i, int64_t position)
{
    const int64_t wh = a->windows.win_h, ww = a->windows.win_w, y = position / ww, x = position % ww;
    const float *rh = s->rel_h + i * (2 * wh - 1) + y + wh - 1; /* rh[-jy]: distance y - jy */
    const float *rw = s->rel_w + i * (2 * ww - 1) + x + ww - 1;
    float *row = s->p + i * wh * ww;
    for (int64_t jx = 0; jx < ww; jx++)
        s->line[jx] = rw[-jx];
    msa_add_position(wh, ww, rh, s->line, row);
    msa_softmax(wh * ww, row);
}

/* Sums of a row of score gradients by distance: the gradients of both position terms. */
static void position_sums(const msa_window_attention *a, const window_back *s, int64_t i, int64_t position)
{
    const int64_t wh = a->windows.win_h, ww = a->windows.win_w, y = position / ww, x = position % ww;
    float *rh = s->rel_h + i * (2 * wh - 1), *rw = s->rel_w + i * (2 * ww - 1);
    const float *row = s->dp + i * wh * ww;
    memset(rh, 0, (size_t)(2 * wh - 1) * sizeof *rh);
    memset(rw, 0, (size_t)(2 * ww - 1) * sizeof *rw);
    msa_position_sums(wh, ww, row, rh + y + wh - 1, s->line);
    for (int64_t jx = 0; jx < ww; jx++)
        rw[x - jx + ww - 1] = s->line[jx];
}

/* A tile of queries of one window and head; dk and dv are added to. */
static void window_back_tile(const window_back_job *j, const window_back *s, float *tables, int64_t slot0,
                             int64_t head, int64_t first)
{
    const msa_window_attention *a = j->a;
    const int64_t C = (int64_t)a->heads * a->d, d = a->d, area = j->area;
    const int64_t h_rows = 2 * a->windows.win_h - 1, w_rows = 2 * a->windows.win_w - 1;
    const int64_t last = first + j->tile < area ? first + j->tile : area;
    const size_t bytes = (size_t)d * sizeof(float);
    const float scale = 1.0f / sqrtf((float)d);
    int32_t position[WINDOW_QUERY_TILE];
    int64_t nq = 0;

    for (int64_t p = first; p < last; p++) {
        const int64_t row = row_at(a, slot0 + p);
        if (row == a->pad_row) continue;
        memcpy(s->q + nq * d, a->qkv + row * 3 * C + head * d, bytes);
        memcpy(s->dout + nq * d, j->g->dout + row * C + head * d, bytes);
        position[nq++] = (int32_t)p;
    }
    if (nq == 0) return;
    msa_gemm_nt(nq, area, d, scale, s->q, d, s->k, d, s->p, area);
    msa_gemm_nt(nq, h_rows, d, 1.0f, s->q, d, a->rel_h, d, s->rel_h, h_rows);
    msa_gemm_nt(nq, w_rows, d, 1.0f, s->q, d, a->rel_w, d, s->rel_w, w_rows);
    for (int64_t i = 0; i < nq; i++)
        position_softmax(a, s, i, position[i]);

    msa_gemm_tn_add(area, d, nq, 1.0f, s->p, area, s->dout, d, s->dv, d);
    msa_gemm_nt(nq, area, d, 1.0f, s->dout, d, s->v, d, s->dp, area);
    for (int64_t i = 0; i < nq; i++) {
        msa_softmax_backward(area, s->p + i * area, s->dp + i * area);
        position_sums(a, s, i, position[i]);
    }
    msa_gemm_tn_add(area, d, nq, scale, s->dp, area, s->q, d, s->dk, d);
    msa_gemm_nn(nq, d, area, s->dp, area, s->k, d, s->dq, d);
    msa_scale(nq * d, scale, s->dq, s->dq);
    msa_gemm_nn_add(nq, d, h_rows, s->rel_h, h_rows, a->rel_h, d, s->dq, d);
    msa_gemm_nn_add(nq, d, w_rows, s->rel_w, w_rows, a->rel_w, d, s->dq, d);
    if (j->g->drel_h != NULL) msa_gemm_tn_add(h_rows, d, nq, 1.0f, s->rel_h, h_rows, s->q, d, tables, d);
    if (j->g->drel_w != NULL)
        msa_gemm_tn_add(w_rows, d, nq, 1.0f, s->rel_w, w_rows, s->q, d, tables + h_rows * d, d);
    for (int64_t i = 0; i < nq; i++)
        memcpy(j->g->dqkv + row_at(a, slot0 + position[i]) * 3 * C + head * d, s->dq + i * d, bytes);
}

static void window_back_window(const window_back_job *j, const window_back *s, float *tables, float *pad,
                               int64_t window, int64_t head)
{
    const msa_window_attention *a = j->a;
    const int64_t C = (int64_t)a->heads * a->d, d = a->d, area = j->area, slot0 = window * area;
    const size_t bytes = (size_t)d * sizeof(float);
    for (int64_t p = 0; p < area; p++) {
        const float *from = a->qkv + row_at(a, slot0 + p) * 3 * C + C + head * d;
        memcpy(s->k + p * d, from, bytes);
        memcpy(s->v + p * d, from + C, bytes);
    }
    memset(s->dk, 0, (size_t)area * bytes);
    memset(s->dv, 0, (size_t)area * bytes);
    for (int64_t first = 0; first < area; first += j->tile)
        window_back_tile(j, s, tables, slot0, head, first);
    for (int64_t p = 0; p < area; p++) {
        const int64_t row = row_at(a, slot0 + p);
        if (row == a->pad_row) {
            msa_add(d, pad + head * d, s->dk + p * d, pad + head * d);
            msa_add(d, pad + C + head * d, s->dv + p * d, pad + C + head * d);
        } else {
            float *to = j->g->dqkv + row * 3 * C + C + head * d;
            memcpy(to, s->dk + p * d, bytes);
            memcpy(to + C, s->dv + p * d, bytes);
        }
    }
}

/* One head in one group of windows; columns of other heads in the group's padding sums are not touched. */
static void window_back_item(void *ctx, int32_t item, int32_t worker)
{
    const window_back_job *j = ctx;
    const msa_window_attention *a = j->a;
    const int64_t C = (int64_t)a->heads * a->d, head = item % a->heads, group = item / a->heads;
    const int64_t first = group * j->windows / j->groups, last = (group + 1) * j->windows / j->groups;
    const size_t bytes = (size_t)a->d * sizeof(float);
    float *tables = j->tables + (size_t)item * j->tables_size, *pad = j->pads + group * 2 * C;
    size_t total = 0;
    const window_back s = cut_back(j->scratch + (size_t)worker * j->scratch_size, &a->windows, a->d, &total);
    memset(tables, 0, j->tables_size * sizeof *tables);
    memset(pad + head * a->d, 0, bytes);
    memset(pad + C + head * a->d, 0, bytes);
    for (int64_t window = first; window < last; window++)
        window_back_window(j, &s, tables, pad, window, head);
}

void msa_window_attention_backward(const msa_window_attention *a, const msa_window_attention_grads *g,
                                   float *scratch, int32_t workers)
{
    window_back_job j = {.a = a, .g = g, .scratch = scratch, .windows = msa_windows_count(&a->windows)};
    const int64_t C = (int64_t)a->heads * a->d, h_floats = (2 * a->windows.win_h - 1) * (int64_t)a->d;
    j.area = (int64_t)a->windows.win_h * a->windows.win_w;
    j.tile = query_tile(&a->windows);
    j.groups = window_groups(&a->windows);
    j.tables_size = tables_floats(&a->windows, a->d);
    (void)cut_back(NULL, &a->windows, a->d, &j.scratch_size);
    const int32_t items = (int32_t)j.groups * a->heads;
    j.tables = scratch + (size_t)workers * j.scratch_size;
    j.pads = j.tables + (size_t)items * j.tables_size;
    msa_pool_run(window_back_item, &j, items, workers);
    for (int32_t i = 0; i < items; i++) {
        const float *tables = j.tables + (size_t)i * j.tables_size;
        if (g->drel_h != NULL) msa_add(h_floats, g->drel_h, tables, g->drel_h);
        if (g->drel_w != NULL)
            msa_add((int64_t)j.tables_size - h_floats, g->drel_w, tables + h_floats, g->drel_w);
    }
    if (a->pad_row < 0) return;
    float *pad = g->dqkv + a->pad_row * 3 * C; /* its query is nobody's */
    memset(pad, 0, (size_t)(3 * C) * sizeof *pad);
    for (int64_t i = 0; i < j.groups; i++)
        msa_add(2 * C, pad + C, j.pads + i * 2 * C, pad + C);
}
