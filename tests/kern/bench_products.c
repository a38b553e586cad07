/*
 * How fast the large products are beside OpenBLAS, one thread each, in turns within one run: dense layers
 * with packed weights (float32, then int8 from a float32 weight to float32 results), and the encoder's
 * attention beside the same made of whole score matrices. The ratio is what to look at: it hardly moves when
 * others use the machine. What int8's products alone reach, set by set: check_int8 --bench.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/kern/blas.h"
#include "engine/kern/cpu.h"
#include "engine/kern/gemm.h"
#include "engine/kern/vec.h"
#include "engine/nn/attention.h"
#include "engine/nn/packed.h"
#include "engine/nn/reduced.h"

enum { ROUNDS = 15 };

static uint64_t seed = 20261123;

static float *take(int64_t n)
{
    float *p = aligned_alloc(64, ((size_t)n * sizeof *p + 63) / 64 * 64);
    if (p == NULL) exit(2);
    return p;
}

static float *noise(int64_t n)
{
    float *p = take(n);
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        p[i] = (float)((double)(seed >> 40) / 8388608.0 - 1.0);
    }
    return p;
}

/* Of this thread: what others do meanwhile does not count. */
static double now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* Both in turns; the best of each, in ms. */
typedef void run_fn(void *ctx);
static void compare(run_fn *ours, run_fn *theirs, void *ctx, double best[2])
{
    run_fn *const run[2] = {ours, theirs};
    best[0] = best[1] = 1e30;
    for (int i = 0; i < 2 * ROUNDS; i++) {
        const double began = now_ms();
        run[i % 2](ctx);
        best[i % 2] = fmin(best[i % 2], now_ms() - began);
    }
}

static void tell(const char *what, double mflop, const double best[2])
{
    printf("%-34s %9.1f %9.1f %7.2f\n", what, mflop / best[0], mflop / best[1], best[1] / best[0]);
}

/* ---- dense layers ---- */

typedef struct layer {
    msa_linear plain, packed, reduced;
    const float *x;
    float *y;
    int64_t M;
} layer;

static void run_packed(void *ctx)
{
    const layer *j = ctx;
    msa_packed_forward(&j->packed, j->M, j->x, j->packed.K, j->y, j->packed.N, MSA_EPILOGUE_NONE, false);
}

static void run_int8(void *ctx)
{
    const layer *j = ctx;
    msa_linear_forward(&j->reduced, j->M, j->x, j->plain.K, j->y, j->plain.N, MSA_EPILOGUE_NONE);
}

static void run_openblas(void *ctx)
{
    const layer *j = ctx;
    const msa_linear *l = &j->plain;
    msa_gemm_nt(j->M, l->N, l->K, 1.0f, j->x, l->K, l->weight, l->K, j->y, l->N);
}

static void bench_layer(int64_t M, int32_t N, int32_t K)
{
    MSA_AUTO(msa_reduced) int8 = NULL;
    float *w = noise((int64_t)N * K), *x = noise(M * K), *y = take(M * N);
    float *packed = take((int64_t)msa_packed_floats(N, K));
    const msa_linear plain = {.weight = w, .N = N, .K = K};
    layer j = {.plain = plain, .packed = plain, .reduced = plain, .x = x, .y = y, .M = M};
    double best[2];
    char what[64];
    msa_pack_weight(N, K, w, packed);
    j.packed.packed = packed;
    if (msa_reduced_new(&int8, &plain, MSA_PRECISION_INT8, NULL) != MSA_OK) exit(2);
    j.reduced.reduced = int8;
    (void)snprintf(what, sizeof what, "layer %lld x %d x %d", (long long)M, N, K);
    compare(run_packed, run_openblas, &j, best);
    tell(what, 2e-6 * (double)M * N * K, best);
    (void)snprintf(what, sizeof what, "layer %lld x %d x %d, int8", (long long)M, N, K);
    compare(run_int8, run_openblas, &j, best);
    tell(what, 2e-6 * (double)M * N * K, best);
    free(w), free(x), free(y), free(packed);
}

/* ---- attention ---- */

typedef struct scene {
    msa_window_attention a;
    float *scratch, *scores, *up, *line;
} scene;

static void run_attention(void *ctx)
{
    const scene *s = ctx;
    msa_window_attention_forward(&s->a, s->scratch, 1);
}

/* One head of one window: all scores at once. */
static void whole_scores(const scene *s, int64_t window, int32_t head)
{
    const msa_window_attention *a = &s->a;
    const int32_t d = a->d, h = a->windows.win_h, w = a->windows.win_w, ld = 3 * a->heads * d;
    const int64_t n = (int64_t)h * w;
    const float *q = a->qkv + window * n * ld + head * d, *k = q + a->heads * d, *v = k + a->heads * d;
    msa_gemm_nt(n, n, d, 1.0f / sqrtf((float)d), q, ld, k, ld, s->scores, n);
    msa_gemm_nt(n, 2 * h - 1, d, 1.0f, q, ld, a->rel_h, d, s->up, 2 * h - 1);
    msa_gemm_nt(n, 2 * w - 1, d, 1.0f, q, ld, a->rel_w, d, s->line, 2 * w - 1);
    for (int64_t i = 0; i < n; i++) {
        float *row = s->scores + i * n;
        const float *up = s->up + i * (2 * h - 1) + i / w + h - 1, *line = s->line + i * (2 * w - 1) + i % w;
        for (int32_t y = 0; y < h; y++)
            for (int32_t x = 0; x < w; x++)
                row[y * w + x] += up[-y] + line[w - 1 - x];
        msa_softmax(n, row);
    }
    msa_gemm_nn(n, d, n, s->scores, n, v, ld, a->out + window * n * a->heads * d + head * d, a->heads * d);
}

static void run_whole_scores(void *ctx)
{
    const scene *s = ctx;
    for (int64_t i = 0; i < msa_windows_count(&s->a.windows); i++)
        for (int32_t head = 0; head < s->a.heads; head++)
            whole_scores(s, i, head);
}

/* A grid of whole windows (side: of one; 0: one window, the grid). */
static void bench_attention(const char *what, int32_t grid, int32_t side)
{
    enum { HEADS = 12, D = 64 };
    const msa_windows win = msa_windows_make(grid, grid, side);
    const int32_t h = win.win_h;
    const int64_t n = (int64_t)h * h, rows = (int64_t)grid * grid;
    float *qkv = noise(rows * 3 * HEADS * D), *rel_h = noise((2 * h - 1) * D),
          *rel_w = noise((2 * h - 1) * D);
    float *out = take(rows * HEADS * D);
    scene s = {.scores = take(n * n), .up = take(n * (2 * h - 1)), .line = take(n * (2 * h - 1))};
    double best[2], apart = 0.0;
    s.a = (msa_window_attention){.windows = win,
                                 .qkv = qkv,
                                 .rel_h = rel_h,
                                 .rel_w = rel_w,
                                 .pad_row = -1,
                                 .out = out,
                                 .heads = HEADS,
                                 .d = D};
    s.scratch = take((int64_t)msa_window_attention_scratch(&win, D));
    compare(run_attention, run_whole_scores, &s, best);
    float *theirs = take(rows * HEADS * D);
    memcpy(theirs, out, (size_t)(rows * HEADS * D) * sizeof *out); /* the last run was theirs */
    run_attention(&s);
    for (int64_t i = 0; i < rows * HEADS * D; i++)
        apart = fmax(apart, fabs((double)out[i] - (double)theirs[i]));
    if (!(apart < 1e-4)) { /* measured: below 1e-5 */
        printf("%s: the two differ by %g\n", what, apart);
        exit(1);
    }
    tell(what, 4e-6 * (double)(rows * n) * HEADS * D, best);
    free(qkv), free(rel_h), free(rel_w), free(out), free(theirs);
    free(s.scores), free(s.up), free(s.line), free(s.scratch);
}

int main(void)
{
    msa_blas_start();
    printf("one thread, level %s, best of %d: GFLOP/s\n%-34s %9s %9s %7s\n",
           msa_cpu_level_name(msa_cpu_allowed()), ROUNDS, "", "ours", "OpenBLAS", "ratio");
    bench_layer(256, 2304, 768);
    bench_layer(1024, 3072, 768);
    bench_layer(1024, 768, 3072);
    bench_layer(1024, 768, 768);
    bench_layer(256, 576, 192);
    bench_layer(7, 256, 256);
    bench_attention("attention, 4 windows of 14 x 14", 28, 14);
    bench_attention("attention, a grid of 16 x 16", 16, 0);
    bench_attention("attention, a grid of 32 x 32", 32, 0);
    return 0;
}
