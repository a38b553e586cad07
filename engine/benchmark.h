/**
 * What `msa bench` measures inside the engine: parts that no other public header can run alone. All of it
 * uses the engine's threads (engine/base/pool.h).
 */
#ifndef MSA_ENGINE_BENCHMARK_H
#define MSA_ENGINE_BENCHMARK_H

#include "engine/config.h"
#include "engine/training.h"

typedef enum msa_benchmark_adapters {
    MSA_BENCHMARK_PLAIN,
    MSA_BENCHMARK_2D, /* of the published placement */
    MSA_BENCHMARK_3D, /* and a depth branch, as own models have it: volume, line */
} msa_benchmark_adapters;

/* Configuration of vit_b, vit_l, vit_h, efficientsam_vit_t, efficientsam_vit_s or mobile_sam as published, or
 * of vit_192, SAM's network of width 192 in 12 blocks, for images of this size (a multiple of 16, at least
 * 64). slices: that a depth branch sees, 1 .. MSA_STACK_MAX. False when there is none of that name and size.
 */
bool msa_benchmark_preset(msa_config *out, const char *name, int32_t image_size,
                          msa_benchmark_adapters adapters, int32_t slices);

/* fp32 GFLOP/s that multiply-adds in registers alone reach on the engine's threads: engine/kern/peak.h. */
double msa_benchmark_fma_peak(void);

/* Milliseconds of C = A B^T, (M, N, K), by plain OpenBLAS: rows shared out over the engine's threads, each of
 * which calls it on its own. Errors: MSA_E_NOMEM. */
typedef struct msa_benchmark_gemm msa_benchmark_gemm;
MSA_NODISCARD msa_status msa_benchmark_gemm_new(msa_benchmark_gemm **out, int64_t M, int64_t N, int64_t K,
                                                msa_error *err);
void msa_benchmark_gemm_free(msa_benchmark_gemm *g);
MSA_DEFINE_AUTO(msa_benchmark_gemm, msa_benchmark_gemm_free);
void msa_benchmark_gemm_run(msa_benchmark_gemm *g);

/* Multiply-adds, in units of 1e9, that a stack of so many slices (an image: 1) costs the encoder: tokens of
 * the picture alone, since padding takes part only as keys and values. Adapters are dim / 4 wide. */
double msa_benchmark_encoder_gmac(const msa_config *c, int32_t slices);

typedef struct msa_benchmark_step_options {
    msa_train_set set;
    bool recompute;
} msa_benchmark_step_options;

/* One picture, one target, one box, Dice + BCE, Adam: the smallest step that does everything. */
typedef struct msa_benchmark_step msa_benchmark_step;
/* Weights are random. Errors: those of a trainer. */
MSA_NODISCARD msa_status msa_benchmark_step_new(msa_benchmark_step **out, const msa_config *c,
                                                const msa_benchmark_step_options *options, msa_error *err);
void msa_benchmark_step_free(msa_benchmark_step *s);
MSA_DEFINE_AUTO(msa_benchmark_step, msa_benchmark_step_free);
/* Errors: MSA_E_INTERNAL when a value is not finite. */
MSA_NODISCARD msa_status msa_benchmark_step_run(msa_benchmark_step *s, msa_train_report *report,
                                                msa_error *err);
int64_t msa_benchmark_step_parameters(const msa_benchmark_step *s, bool trained_only);

#endif
