/* Attention along depth against its definition in double: results, and gradients by central differences. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/nn/depth_attention.h"
#include "engine/nn/depth_fold.h"
#include "tests/unit/engine/cm.h"
#include "tests/unit/train/central.h"

#define TOLERANCE 2e-5

enum { H = 3, W = 4, HEADS = 2, D = 3, C = HEADS * D, TABLE_H = 5, TABLE_W = 9, LONGEST = 40 };

typedef struct depth_case {
    msa_config c;
    int32_t window, slices;
    twin qkv, table_h, table_w, dout;
} depth_case;

/* ---- the definition ---- */

static int32_t windows_across(const depth_case *t, int32_t side)
{
    return t->window == 0 ? 1 : (side + t->window - 1) / t->window;
}

static int64_t pad_row(const depth_case *t)
{
    const bool padded = t->window != 0 && (H % t->window != 0 || W % t->window != 0);
    return padded ? (int64_t)t->slices * H * W : -1;
}

static int64_t rows_of(const depth_case *t)
{
    return (int64_t)t->slices * H * W + (pad_row(t) >= 0 ? 1 : 0);
}

/* Row of place (y, x) of window number `item` of the whole stack; windows fastest. */
static int64_t row_in(const depth_case *t, int32_t item, int32_t y, int32_t x)
{
    const int32_t across = windows_across(t, W), n = across * windows_across(t, H), window = item % n;
    const int32_t gy = window / across * t->window + y, gx = window % across * t->window + x;
    return gy < H && gx < W ? (int64_t)(item / n) * H * W + gy * W + gx : pad_row(t);
}

static double table_at(const double *table, int32_t rows, int32_t wanted, int32_t row, int32_t column)
{
    const double at = fmax((row + 0.5) * rows / wanted - 0.5, 0.0);
    const int32_t low = (int32_t)at, high = low + 1 < rows ? low + 1 : rows - 1;
    return table[low * D + column] * (low + 1 - at) + table[high * D + column] * (at - low);
}

/* out . dout of one sequence; out, when wanted, receives the rows. */
static double sequence(const depth_case *t, const int64_t *row, int32_t n, double *out)
{
    int32_t tall = n, wide = 1;
    double sum = 0.0;
    if (t->c.depth_fold == MSA_DEPTH_GRID) msa_depth_fold(n, &tall, &wide);
    for (int32_t i = 0; i < n; i++)
        for (int32_t h = 0; h < HEADS && row[i] != pad_row(t); h++) {
            const double *q = t->qkv.d + row[i] * 3 * C + h * D;
            double p[LONGEST], total = 0.0;
            for (int32_t j = 0; j < n; j++) {
                const double *k = t->qkv.d + row[j] * 3 * C + C + h * D;
                const int32_t dy = i / wide - j / wide + tall - 1, dx = i % wide - j % wide + wide - 1;
                double logit = 0.0;
                for (int32_t e = 0; e < D; e++)
                    logit += q[e] *
                             (k[e] / sqrt((double)D) + table_at(t->table_h.d, TABLE_H, 2 * tall - 1, dy, e) +
                              table_at(t->table_w.d, TABLE_W, 2 * wide - 1, dx, e));
                total += p[j] = exp(logit);
            }
            for (int32_t e = 0; e < D; e++) {
                double value = 0.0;
                for (int32_t j = 0; j < n; j++)
                    value += p[j] / total * t->qkv.d[row[j] * 3 * C + 2 * C + h * D + e];
                sum += value * t->dout.d[row[i] * C + h * D + e];
                if (out != NULL) out[row[i] * C + h * D + e] = value;
            }
        }
    return sum;
}

static double of_volume(const depth_case *t, double *out)
{
    double sum = 0.0;
    for (int64_t place = 0; place < H * W; place++) {
        int64_t row[LONGEST];
        for (int32_t s = 0; s < t->slices; s++)
            row[s] = s * H * W + place;
        sum += sequence(t, row, t->slices, out);
    }
    return sum;
}

static double of_runs(const depth_case *t, double *out)
{
    const int32_t all = t->slices * windows_across(t, H) * windows_across(t, W);
    const int32_t chunk = t->c.depth_chunk == 0 ? all : t->c.depth_chunk;
    const int32_t tall = t->window == 0 ? H : t->window, wide = t->window == 0 ? W : t->window;
    double sum = 0.0;
    for (int32_t first = 0; first < all; first += chunk)
        for (int32_t y = 0; y < tall; y++)
            for (int32_t x = 0; x < wide; x++) {
                const int32_t n = all - first < chunk ? all - first : chunk;
                int64_t row[LONGEST];
                for (int32_t i = 0; i < n; i++)
                    row[i] = row_in(t, first + i, y, x);
                sum += sequence(t, row, n, out);
            }
    return sum;
}

static double value_of(const depth_case *t, double *out)
{
    return t->c.depth_grouping == MSA_DEPTH_VOLUME ? of_volume(t, out) : of_runs(t, out);
}

static double central_value(const void *ctx)
{
    return value_of(ctx, NULL);
}

/* ---- ours ---- */

typedef struct ours {
    msa_depth_groups groups;
    int32_t *row_of;
    float *out, *dqkv, *scratch;
    float dtable_h[TABLE_H * D], dtable_w[TABLE_W * D];
} ours;

static void run(const depth_case *t, int32_t workers, ours *o)
{
    const int64_t rows = rows_of(t);
    const msa_stack_rows stack = {.windows = msa_windows_make(H, W, t->window),
                                  .slices = t->slices,
                                  .stride = H * W,
                                  .pad_row = pad_row(t)};
    *o = (ours){.groups = msa_depth_groups_make(&t->c, &stack)};
    const size_t forward = msa_depth_attention_scratch(&o->groups, D, workers);
    const size_t backward = msa_depth_attention_backward_scratch(&o->groups, HEADS, D, workers);
    o->row_of = calloc((size_t)o->groups.slots, sizeof *o->row_of);
    o->out = calloc((size_t)(rows * C), sizeof *o->out);
    o->dqkv = calloc((size_t)(rows * 3 * C), sizeof *o->dqkv);
    o->scratch = calloc(forward > backward ? forward : backward, sizeof *o->scratch);
    assert_true(o->row_of != NULL && o->out != NULL && o->dqkv != NULL && o->scratch != NULL);
    msa_depth_groups_map(&o->groups, &t->c, &stack, o->row_of);
    const msa_depth_attention a = {.groups = &o->groups,
                                   .row_of = o->row_of,
                                   .qkv = t->qkv.f,
                                   .table_h = t->table_h.f,
                                   .table_w = t->table_w.f,
                                   .table_h_rows = TABLE_H,
                                   .table_w_rows = TABLE_W,
                                   .pad_row = pad_row(t),
                                   .out = o->out,
                                   .heads = HEADS,
                                   .d = D};
    const msa_depth_attention_grads g = {
        .dout = t->dout.f, .dqkv = o->dqkv, .dtable_h = o->dtable_h, .dtable_w = o->dtable_w};
    msa_depth_attention_forward(&a, o->scratch, workers);
    msa_depth_attention_backward(&a, &g, o->scratch, workers);
}

static void clear(ours *o)
{
    free(o->row_of), free(o->out), free(o->dqkv), free(o->scratch);
}

static void check_forward(const depth_case *t, const ours *o)
{
    const int64_t n = (int64_t)t->slices * H * W * C;
    double *wanted = calloc((size_t)n, sizeof *wanted);
    assert_non_null(wanted);
    (void)value_of(t, wanted);
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(wanted[i] - (double)o->out[i]) <= 1e-5))
            fail_msg("result %lld: wanted %.8g got %.8g", (long long)i, wanted[i], (double)o->out[i]);
    free(wanted);
}

static void check_threads(const depth_case *t, const ours *o)
{
    ours other;
    msa_threads_set(3);
    run(t, 3, &other);
    msa_threads_set(2);
    assert_memory_equal(o->out, other.out, (size_t)(rows_of(t) * C) * sizeof(float));
    assert_memory_equal(o->dqkv, other.dqkv, (size_t)(rows_of(t) * 3 * C) * sizeof(float));
    assert_memory_equal(o->dtable_h, other.dtable_h, sizeof o->dtable_h);
    assert_memory_equal(o->dtable_w, other.dtable_w, sizeof o->dtable_w);
    clear(&other);
}

static void check(msa_depth_grouping grouping, msa_depth_layout fold, int32_t chunk, int32_t window,
                  int32_t slices)
{
    depth_case t = {.c = {.depth_grouping = grouping, .depth_fold = fold, .depth_chunk = chunk},
                    .window = window,
                    .slices = slices};
    t.qkv = twin_new(rows_of(&t) * 3 * C, 41, 1.5f);
    t.table_h = twin_new(TABLE_H * D, 42, 1.0f);
    t.table_w = twin_new(TABLE_W * D, 43, 1.0f);
    t.dout = twin_new(rows_of(&t) * C, 44, 1.0f);
    ours o;
    run(&t, 2, &o);
    check_forward(&t, &o);
    check_threads(&t, &o);
    bool tall = false, wide = false; /* else all distances along that axis are zero, and move nothing */
    for (int32_t p = 0; p < o.groups.n_parts; p++) {
        tall = tall || o.groups.part[p].fold.win_h > 1;
        wide = wide || o.groups.part[p].fold.win_w > 1;
    }
    central_check("depth qkv", central_value, &t, t.qkv.d, rows_of(&t) * 3 * C, o.dqkv, 1, TOLERANCE);
    if (tall)
        central_check("depth rows", central_value, &t, t.table_h.d, TABLE_H * D, o.dtable_h, 1, TOLERANCE);
    if (wide)
        central_check("depth columns", central_value, &t, t.table_w.d, TABLE_W * D, o.dtable_w, 1, TOLERANCE);
    clear(&o);
    twin_free(&t.qkv), twin_free(&t.table_h), twin_free(&t.table_w), twin_free(&t.dout);
}

static void test_volume(void **state)
{
    (void)state;
    check(MSA_DEPTH_VOLUME, MSA_DEPTH_LINE, 0, 2, 5);
    check(MSA_DEPTH_VOLUME, MSA_DEPTH_GRID, 0, 0, 6);
    check(MSA_DEPTH_VOLUME, MSA_DEPTH_GRID, 7, 2, 4); /* the chunk is of runs */
    check(MSA_DEPTH_VOLUME, MSA_DEPTH_LINE, 0, 0, 1);
    check(MSA_DEPTH_VOLUME, MSA_DEPTH_GRID, 0, 2, 1);
}

/* Windows of 2 on 3 x 4: four of a slice, two of them padded. */
static void test_runs(void **state)
{
    (void)state;
    check(MSA_DEPTH_RUNS, MSA_DEPTH_GRID, 6, 2, 6);
    check(MSA_DEPTH_RUNS, MSA_DEPTH_GRID, 5, 2, 3); /* 12 windows: runs of 5, 5 and 2 */
    check(MSA_DEPTH_RUNS, MSA_DEPTH_LINE, 5, 2, 3);
    check(MSA_DEPTH_RUNS, MSA_DEPTH_LINE, 0, 2, 2);
    check(MSA_DEPTH_RUNS, MSA_DEPTH_GRID, 4, 0, 7); /* no windows: 4 slices, then 3 */
    check(MSA_DEPTH_RUNS, MSA_DEPTH_GRID, 6, 2, 1); /* fewer windows than a run is long */
    check(MSA_DEPTH_RUNS, MSA_DEPTH_LINE, 0, 0, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_volume), cmocka_unit_test(test_runs)};
    msa_threads_set(2);
    return cmocka_run_group_tests_name("grad_depth", tests, NULL, NULL);
}
