/*
 * The int8 products at every instruction set that this CPU has, against plain integer loops: odd shapes, the
 * largest values, quantised rows, what comes back as float. With --bench: rates, set by set.
 */
#include <math.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/kern/gemm_int8_table.h"

static int failures;

static void expect(const char *set, const char *what, int64_t shape, int64_t i, double got, double wanted)
{
    if (got == wanted || (isnan(got) && isnan(wanted))) return;
    if (failures++ < 10)
        printf("%s: %s: shape %lld index %lld wanted %.9g got %.9g\n", set, what, (long long)shape,
               (long long)i, wanted, got);
}

static uint64_t seed = 1;

static double next(void)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (double)(seed >> 40) / 8388608.0 - 1.0;
}

static void *take(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    if (p == NULL) abort();
    return p;
}

/* A value of -127 .. 127, of a pattern. */
typedef enum pattern { NOISE, LARGEST, SMALLEST, TURNS, PATTERNS } pattern;

static int8_t value(pattern kind, int64_t i)
{
    const int8_t of[PATTERNS] = {(int8_t)lrint(127.0 * next()), 127, -127,
                                 (int8_t)((i & 1) != 0 ? 127 : -127)};
    return of[kind];
}

/* ---- the product ---- */

typedef struct shape {
    int32_t M, N, K;
} shape;

/* Rows whose largest value is 127 quantise to themselves. */
static void quantise_rows(const msa_int8_table *t, const shape *s, const int8_t *a, void *rows)
{
    float *x = take((size_t)s->K * sizeof *x);
    for (int32_t m = 0; m < s->M; m++) {
        float scale = 0.0f;
        for (int32_t k = 0; k < s->K; k++)
            x[k] = a[(int64_t)m * s->K + k];
        msa_int8_quantise(t, s->K, x, (char *)rows + m * msa_int8_row_bytes(t, s->K), &scale);
        expect(t->name, "scale of whole numbers", s->K, m, (double)scale, 1.0);
    }
    free(x);
}

static void check_product(const msa_int8_table *t, const shape *s, pattern of_a, pattern of_b)
{
    const int32_t M = s->M, N = s->N, K = s->K, panels = (int32_t)msa_int8_panels(N);
    const int64_t ldc = panels * MSA_INT8_PANEL + 3;
    int8_t *a = take((size_t)M * (size_t)K), *b = take((size_t)N * (size_t)K);
    char *rows = take((size_t)(M * msa_int8_row_bytes(t, K)));
    char *packed = take((size_t)(panels * msa_int8_panel_bytes(t, K)));
    int32_t *c = take((size_t)(M * ldc) * sizeof *c);
    for (int64_t i = 0; i < (int64_t)M * K; i++)
        a[i] = i % K == 0 ? 127 : value(of_a, i);
    for (int64_t i = 0; i < (int64_t)N * K; i++)
        b[i] = value(of_b, i + 1);
    for (int64_t i = 0; i < M * ldc; i++)
        c[i] = 123456;
    quantise_rows(t, s, a, rows);
    for (int32_t p = 0; p < panels; p++)
        msa_int8_pack(t, N, K, b, p, packed + p * msa_int8_panel_bytes(t, K));
    msa_int8_multiply(t, M, panels, K, rows, packed, c, ldc);
    for (int32_t m = 0; m < M; m++)
        for (int32_t n = 0; n < ldc; n++) {
            int64_t sum = 0;
            for (int32_t k = 0; k < K && n < N; k++)
                sum += (int64_t)a[(int64_t)m * K + k] * b[(int64_t)n * K + k];
            if (n >= panels * MSA_INT8_PANEL) sum = 123456; /* behind the row nothing is written */
            expect(t->name, "product", K * 1000ll + N, m * ldc + n, c[m * ldc + n], (double)sum);
        }
    free(a);
    free(b);
    free(rows);
    free(packed);
    free(c);
}

static void check_products(const msa_int8_table *t)
{
    static const shape shapes[] = {{1, 1, 1},     {1, 16, 3},    {2, 17, 4},    {3, 15, 5},    {5, 33, 7},
                                   {6, 64, 8},    {7, 65, 63},   {13, 130, 65}, {11, 48, 192}, {96, 80, 20},
                                   {17, 31, 255}, {3, 256, 768}, {9, 5, 3072},  {2, 70, 5121}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_product(t, &shapes[i], NOISE, NOISE);
    for (int a = LARGEST; a < PATTERNS; a++)
        for (int b = LARGEST; b < PATTERNS; b++) {
            check_product(t, &(shape){7, 65, 129}, (pattern)a, (pattern)b);
            check_product(t, &(shape){1, 16, MSA_INT8_K_MAX}, (pattern)a, (pattern)b);
        }
}

/* ---- to int8 and back ---- */

/* What a row of the set's own codes means; K is filled up with zeros. */
static int32_t code_at(const msa_int8_table *t, const void *row, int64_t i)
{
    if (t->row_bytes == 2) return ((const int16_t *)row)[i];
    return t->panel_head != 0 ? ((const uint8_t *)row)[i] - 128 : ((const int8_t *)row)[i];
}

static void check_row(const msa_int8_table *t, int32_t K, const float *x)
{
    char *row = take((size_t)msa_int8_row_bytes(t, K)), *plain = take((size_t)K);
    float scale = 0.0f, reference = 0.0f;
    msa_int8_quantise(t, K, x, row, &scale);
    msa_int8_quantise(&msa_int8_scalar, K, x, plain, &reference);
    expect(t->name, "scale", K, 0, (double)scale, (double)reference);
    for (int32_t i = 0; i < K; i++) {
        expect(t->name, "code", K, i, code_at(t, row, i), ((const int8_t *)plain)[i]);
        const double off = fabs((double)x[i] - (double)scale * code_at(t, row, i));
        if (off > fmax((double)scale * 0.500001, 1e-30))
            expect(t->name, "distance in steps", K, i, off / (double)scale, 0.5);
    }
    for (int32_t i = K; i % t->group != 0; i++)
        expect(t->name, "filling", K, i, code_at(t, row, i), 0);
    free(row);
    free(plain);
}

static void check_rows(const msa_int8_table *t)
{
    float x[600];
    for (int32_t K = 1; K <= 600; K += K < 70 ? 1 : 53)
        for (int size = -36; size <= 36; size += 9) {
            for (int32_t i = 0; i < K; i++)
                x[i] = (float)(next() * pow(10.0, size));
            check_row(t, K, x);
        }
    for (int32_t i = 0; i < 255; i++) /* the halves between steps, ties to even */
        x[i] = (float)i - 127.0f + (i % 2 == 0 ? 0.5f : 0.0f);
    x[0] = 127.0f;
    check_row(t, 255, x);
    char row[1280];
    float scale = 1.0f;
    const float odd[] = {0.0f, -0.0f, 9e-31f, INFINITY, -INFINITY, NAN};
    for (int i = 0; i < 6; i++) {
        for (int k = 0; k < 40; k++)
            x[k] = i < 3 ? odd[i] : 1.0f;
        x[33] = odd[i];
        msa_int8_quantise(t, 40, x, row, &scale);
        expect(t->name, "scale of an odd row", 40, i, (double)scale, i < 3 ? 0.0 : (double)NAN);
        for (int k = 0; k < 40; k++)
            expect(t->name, "code of an odd row", i, k, code_at(t, row, k), 0);
    }
}

static void check_restore(const msa_int8_table *t)
{
    int32_t c[70];
    float scales[70], bias[70], y[70];
    for (int32_t i = 0; i < 70; i++) {
        c[i] = (int32_t)(next() * 1e9);
        scales[i] = (float)next();
        bias[i] = (float)(1e5 * next());
    }
    for (int32_t n = 1; n <= 70; n++)
        for (int with = 0; with < 2; with++) {
            y[n - 1] = 0.0f;
            msa_int8_restore(t, n, c, 0.37f, scales, with ? bias : NULL, y);
            for (int32_t i = 0; i < n; i++) {
                volatile float v = (float)c[i] * 0.37f; /* each step rounded */
                v = v * scales[i];
                if (with) v = v + bias[i];
                expect(t->name, "restored", n, i, (double)y[i], (double)v);
            }
        }
}

/* ---- rates ---- */

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Rows are multiplied by all columns in chunks of 64, as the layers do it. */
static double best_s(const msa_int8_table *t, const shape *s)
{
    enum { ROUNDS = 7 };
    int32_t c[96 * 64];
    char *rows = take((size_t)(s->M * msa_int8_row_bytes(t, s->K)));
    char *packed = take((size_t)(msa_int8_panels(s->N) * msa_int8_panel_bytes(t, s->K)));
    double best = 1e9;
    memset(rows, 1, (size_t)(s->M * msa_int8_row_bytes(t, s->K)));
    memset(packed, 1, (size_t)(msa_int8_panels(s->N) * msa_int8_panel_bytes(t, s->K)));
    for (int i = 0; i < ROUNDS; i++) {
        const double began = now_s();
        for (int k = 0; k < 8; k++)
            for (int32_t n = 0; n < s->N; n += 64)
                msa_int8_multiply(t, s->M, 4, s->K, rows, packed + n / 16 * msa_int8_panel_bytes(t, s->K), c,
                                  64);
        best = fmin(best, (now_s() - began) / 8);
    }
    free(rows);
    free(packed);
    return best;
}

static int bench(void)
{
    static const shape shapes[] = {
        {85, 2304, 768}, {85, 768, 768}, {85, 3072, 768}, {85, 768, 3072}, {64, 576, 192}};
    static float x[3072];
    static char row[6144];
    double plain[sizeof shapes / sizeof *shapes] = {0}; /* of the first set, the scalar one */
    printf("one thread, best of 7: Gmac/s of the product (times scalar); ns a value of quantising\n%-12s",
           "set");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        printf(" %4dx%dx%d", shapes[i].M, shapes[i].N, shapes[i].K);
    printf("   quantise\n");
    for (int i = 0; i < 3072; i++)
        x[i] = (float)next();
    for (int k = 0; msa_int8_table_at(k) != NULL; k++) {
        const msa_int8_table *t = msa_int8_table_at(k);
        printf("%-12s", t->name);
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            const double s = best_s(t, &shapes[i]);
            if (k == 0) plain[i] = s;
            printf(" %6.1f (%4.1f)", 1e-9 * shapes[i].M * shapes[i].N * shapes[i].K / s, plain[i] / s);
        }
        const double began = now_s();
        float scale = 0.0f;
        for (int i = 0; i < 2000; i++)
            msa_int8_quantise(t, 3072, x, row, &scale);
        printf(" %10.3f\n", (now_s() - began) * 1e9 / 2000 / 3072);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--bench") == 0) return bench();
    for (int k = 0; msa_int8_table_at(k) != NULL; k++) {
        const msa_int8_table *t = msa_int8_table_at(k);
        check_products(t);
        check_rows(t);
        check_restore(t);
        printf("%s: checked\n", t->name);
    }
    if (failures != 0) printf("%d differences\n", failures);
    return failures != 0;
}
