/* ViT-B at image 256, adapters alone: time of the encoder's forward and backward, and memory. Usage: [image
 * size] [all] [recompute] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "engine/base/pool.h"
#include "engine/train/passes.h"
#include "tests/unit/engine/fixture.h"

#define STEPS 7

static double now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x)
{
    qsort(x, STEPS, sizeof *x, by_size);
    return x[STEPS / 2];
}

static float *filled(int64_t n, uint64_t seed)
{
    float *x = malloc((size_t)n * sizeof *x);
    if (x == NULL) abort();
    fixture_fill(x, n, seed, 1.0f);
    return x;
}

static msa_config vit_b(int32_t image_size)
{
    return (msa_config){.image_size = image_size,
                        .patch = 16,
                        .dim = 768,
                        .depth = 12,
                        .heads = 12,
                        .mlp_dim = 3072,
                        .window = 14,
                        .n_global = 4,
                        .global_blocks = {2, 5, 8, 11},
                        .prompt_dim = 256,
                        .decoder_depth = 2,
                        .decoder_heads = 8,
                        .decoder_mlp_dim = 2048,
                        .iou_hidden = 256,
                        .mask_tokens = 4,
                        .adapters = true,
                        .adapter_mlp_scale = 0.5f,
                        .pad_order = MSA_PAD_THEN_NORM,
                        .name = "bench",
                        .version = "1"};
}

int main(int argc, char **argv)
{
    bool all = false, recompute = false;
    int32_t size = 256;
    msa_error err = {0};
    for (int i = 1; i < argc; i++) {
        all = all || strcmp(argv[i], "all") == 0;
        recompute = recompute || strcmp(argv[i], "recompute") == 0;
        if (atoi(argv[i]) > 0) size = atoi(argv[i]);
    }
    msa_threads_set(2);
    const msa_config c = vit_b(size);
    const msa_params_start start = {.seed = 1};
    const int64_t grid = size / c.patch, n_image = 3ll * size * size,
                  n_embedding = grid * grid * c.prompt_dim;
    float *image = filled(n_image, 1), *dembedding = filled(n_embedding, 2),
          *embedding = filled(n_embedding, 3);
    MSA_AUTO(msa_params) p = NULL;
    MSA_AUTO(msa_encoder_pass) pass = NULL;
    if (msa_params_start_new(&p, &c, NULL, all ? MSA_TRAIN_ALL : MSA_TRAIN_ADAPTERS, &start, &err) !=
            MSA_OK ||
        msa_encoder_pass_new(&pass, p, recompute, &err) != MSA_OK) {
        printf("%s\n", err.what);
        return 1;
    }
    double forward[STEPS], backward[STEPS];
    for (int i = -1; i < STEPS; i++) { /* the first one touches the memory */
        const double begin = now_ms();
        if (msa_encoder_pass_forward(pass, image, embedding, &err) != MSA_OK) {
            printf("%s\n", err.what);
            return 1;
        }
        const double middle = now_ms();
        msa_encoder_pass_backward(pass, dembedding);
        if (i < 0) continue;
        forward[i] = middle - begin;
        backward[i] = now_ms() - middle;
    }
    struct rusage use;
    (void)getrusage(RUSAGE_SELF, &use);
    const double f = median(forward), b = median(backward);
    printf("vit_b image=%d train=%s recompute=%d threads=2 forward_ms=%.0f backward_ms=%.0f step_ms=%.0f "
           "pass_mib=%.0f params_mib=%.0f peak_rss_mib=%.0f\n",
           size, all ? "all" : "adapters", recompute, f, b, f + b,
           (double)msa_encoder_pass_bytes(pass) / 1048576.0,
           (double)(p->n_values + p->n_trained) * 4.0 / 1048576.0, (double)use.ru_maxrss / 1024.0);
    free(image);
    free(dembedding);
    free(embedding);
    return 0;
}
