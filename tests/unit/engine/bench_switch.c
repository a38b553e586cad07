/* What it costs to go from one adapter to another on a loaded base: msa_model_adapt() once for each file,
 * then another pointer and its working memory. Usage: bench_switch [PRESET [IMAGE_SIZE]]. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/pool.h"
#include "engine/benchmark.h"
#include "engine/sam/internal.h"
#include "engine/train/export.h"

enum { REPEATS = 9, ADAPTERS = 2 };

static char folder[] = "/tmp/msa-switch-XXXXXX";
static char base_path[64], adapter_path[ADAPTERS][64];

static double now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static long resident_kib(void)
{
    long pages = 0, unused = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL) return 0;
    if (fscanf(f, "%ld %ld", &unused, &pages) != 2) pages = 0;
    (void)fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void tell(const char *what, double *ms)
{
    qsort(ms, REPEATS, sizeof *ms, by_value);
    (void)printf("%-46s %9.3f ms  (%.3f .. %.3f)\n", what, ms[REPEATS / 2], ms[0], ms[REPEATS - 1]);
}

static msa_status write_files(const msa_config *plain, const msa_config *adapted, msa_error *err)
{
    MSA_AUTO(msa_model) base = NULL;
    MSA_TRY(msa_model_write_random(base_path, plain, 1, err));
    MSA_TRY(msa_model_load(&base, base_path, err));
    for (int i = 0; i < ADAPTERS; i++) {
        MSA_AUTO(msa_params) p = NULL;
        const msa_params_start start = {.seed = (uint64_t)i + 1};
        MSA_TRY(msa_params_start_new(&p, adapted, msa_model_weights(base), MSA_TRAIN_ADAPTERS_DECODER, &start,
                                     err));
        MSA_TRY(msa_export_adapter(p, msa_model_hash(base), adapter_path[i], NULL, err));
    }
    return MSA_OK;
}

static msa_status measure(msa_error *err)
{
    MSA_AUTO(msa_model) base = NULL;
    msa_model *adapted[ADAPTERS] = {NULL};
    double load[REPEATS], adapt[REPEATS], change[REPEATS];
    msa_status status = MSA_OK;
    for (int r = 0; r < REPEATS; r++) {
        msa_model_free(base);
        base = NULL;
        const double from = now_ms();
        MSA_TRY(msa_model_load(&base, base_path, err));
        load[r] = now_ms() - from;
    }
    const long before = resident_kib();
    for (int r = 0; r < REPEATS && status == MSA_OK; r++) {
        msa_model_free(adapted[0]);
        adapted[0] = NULL;
        const double from = now_ms();
        status = msa_model_adapt(&adapted[0], base, adapter_path[0], err);
        adapt[r] = now_ms() - from;
    }
    const long each = resident_kib() - before;
    if (status == MSA_OK) status = msa_model_adapt(&adapted[1], base, adapter_path[1], err);
    for (int r = 0; r < REPEATS && status == MSA_OK; r++) {
        MSA_AUTO(msa_predictor) p = NULL;
        const double from = now_ms();
        status = msa_predictor_new(&p, adapted[r % ADAPTERS], err);
        change[r] = now_ms() - from;
    }
    const bool shared = status == MSA_OK && msa_model_weights(adapted[0])->encoder.blocks[0].qkv.weight ==
                                                msa_model_weights(base)->encoder.blocks[0].qkv.weight;
    if (status == MSA_OK) {
        tell("load the base (warm page cache)", load);
        tell("add an adapter to it, once a file", adapt);
        tell("change to another: pointer and working memory", change);
        (void)printf("an adapter takes %.1f MiB more; the base's weights are %s\n", (double)each / 1024,
                     shared ? "shared" : "NOT shared");
    }
    for (int i = 0; i < ADAPTERS; i++)
        msa_model_free(adapted[i]);
    return status == MSA_OK && !shared ? msa_fail(err, MSA_E_INTERNAL, "the base was copied") : status;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "vit_192";
    const int size = argc > 2 ? atoi(argv[2]) : 256;
    msa_config plain, adapted;
    msa_error err = MSA_ERROR_INIT;
    if (!msa_benchmark_preset(&plain, name, size, MSA_BENCHMARK_PLAIN, 1) || !mkdtemp(folder)) return 2;
    adapted = plain;
    adapted.adapters = true;
    (void)snprintf(base_path, sizeof base_path, "%s/base", folder);
    for (int i = 0; i < ADAPTERS; i++)
        (void)snprintf(adapter_path[i], sizeof adapter_path[i], "%s/adapter-%d", folder, i);
    msa_threads_set(2);
    (void)printf("%s at %d, adapters and mask decoder\n", name, size);
    msa_status status = write_files(&plain, &adapted, &err);
    if (status == MSA_OK) status = measure(&err);
    if (status != MSA_OK) (void)fprintf(stderr, "%s\n", err.what);
    (void)unlink(base_path);
    for (int i = 0; i < ADAPTERS; i++)
        (void)unlink(adapter_path[i]);
    (void)rmdir(folder);
    return status == MSA_OK ? 0 : 1;
}
