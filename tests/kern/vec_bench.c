#include <stdio.h>
#include <time.h>

#include "tests/kern/vec_rows.h"

#define ROUNDS 9
#define VALUES 1000000 /* per round */

static float a[4096], b[4096], out[4096], weight[4096];
static double sums[64], more_sums[64];
static uint8_t greys[4096];
static volatile float sink;
static const float *const taps[9] = {a,       a + 256, a + 512,      b,           b + 256,
                                     b + 512, weight,  weight + 256, weight + 512};

static double now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

typedef struct timed {
    const char *name;
    int64_t n;
    void (*run)(const msa_vec_table *t, int64_t n);
} timed;

/* `call` sees the table t and the size n. */
#define RUN(name, call)                                                                                      \
    static void name(const msa_vec_table *t, int64_t n)                                                      \
    {                                                                                                        \
        call;                                                                                                \
    }
RUN(run_gelu, t->gelu(n, a, out))
RUN(run_gelu_backward, t->gelu_backward(n, a, b, out))
RUN(run_exp, t->exp(n, a, out))
RUN(run_softmax, t->softmax(n, out))
RUN(run_softmax_columns, t->softmax_columns(7, n / 7, out, n / 7))
RUN(run_softmax_backward, t->softmax_backward(n, a, out))
RUN(run_add, t->add(n, a, b, out))
RUN(run_axpy, t->axpy(n, 1e-6f, a, out))
RUN(run_scale, t->scale(n, 0.5f, a, out))
RUN(run_sum, sink = t->sum(n, a))
RUN(run_dot, sink = t->dot(n, a, b))
RUN(run_distance, sink = t->squared_distance(n, a, 0.1f))
RUN(run_finite, sink = t->all_finite(n, a) ? 1.0f : 0.0f)
RUN(run_normalise, t->normalise(n, a, 0.1f, 0.9f, weight, b, out))
RUN(run_normalise_backward, t->normalise_backward(n, a, 0.1f, 0.9f, weight, b, false, out))
RUN(run_columns, t->column_sums(n / 64, 64, a, 64, sums))
RUN(run_depthwise, t->depthwise9(n, taps, a, b, out))
RUN(run_mix, t->mix4(n, taps, weight, out))
RUN(run_grey, t->grey(n, a, -0.5f, 0.5f, true, greys))
RUN(run_params, t->normalise_params(n / 64, 64, a, b, 64, weight, weight, sums, more_sums))
RUN(run_position14, t->add_position(14, n / 14, weight + 16, b, out))
RUN(run_sums14, t->position_sums(14, n / 14, a, weight + 16, out))

static double best_ns(const timed *k, const msa_vec_table *t)
{
    double best = 1e30;
    for (int round = 0; round < ROUNDS; round++) {
        const int64_t times = VALUES / k->n;
        const double start = now_ns();
        for (int64_t i = 0; i < times; i++)
            k->run(t, k->n);
        const double each = (now_ns() - start) / (double)(times * k->n);
        best = each < best ? each : best;
    }
    return best;
}

int vec_bench(void)
{
    static const timed all[] = {
        {"gelu", 768, run_gelu},
        {"gelu backward", 768, run_gelu_backward},
        {"exp", 768, run_exp},
        {"softmax", 196, run_softmax},
        {"softmax", 256, run_softmax},
        {"softmax of 7 rows", 896, run_softmax_columns},
        {"softmax backward", 256, run_softmax_backward},
        {"add", 768, run_add},
        {"axpy", 768, run_axpy},
        {"scale", 768, run_scale},
        {"sum", 768, run_sum},
        {"dot", 256, run_dot},
        {"squared distance", 768, run_distance},
        {"all finite", 768, run_finite},
        {"normalise", 768, run_normalise},
        {"normalise backward", 768, run_normalise_backward},
        {"column sums", 4096, run_columns},
        {"depthwise", 256, run_depthwise},
        {"mix of four", 512, run_mix},
        {"grey", 512, run_grey},
        {"normalise params", 4096, run_params},
        {"add position", 196, run_position14},
        {"position sums", 196, run_sums14},
    };
    uint64_t seed = 7;
    for (int i = 0; i < 4096; i++)
        a[i] = 2.0f * vec_next(&seed), b[i] = vec_next(&seed), weight[i] = 1.0f + 0.1f * vec_next(&seed);
    printf("%-20s %5s", "kernel", "n");
    for (int level = 0; level <= (int)msa_cpu_detected(); level++)
        if (msa_vec_table_at((msa_cpu_level)level) != NULL)
            printf(" %9s", msa_cpu_level_name((msa_cpu_level)level));
    printf("   ns per value, best of %d\n", ROUNDS);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        printf("%-20s %5lld", all[i].name, (long long)all[i].n);
        for (int level = 0; level <= (int)msa_cpu_detected(); level++)
            if (msa_vec_table_at((msa_cpu_level)level) != NULL)
                printf(" %9.4f", best_ns(&all[i], msa_vec_table_at((msa_cpu_level)level)));
        printf("\n");
    }
    return 0;
}
