/* Low-rank update of a dense layer: y += scale (x A^T) B^T. Source: arXiv:2106.09685; with weights of the
 * ranks, arXiv:2303.10512 (AdaLoRA). */
#ifndef MSA_ENGINE_ADAPT_LORA_H
#define MSA_ENGINE_ADAPT_LORA_H

#include <stdint.h>

/**
 * a (rank, K), b (N, rank): borrowed; a is NULL where there is no update. It acts on N outputs of the layer
 * from output `first` on: a layer of several projections has one for each of some. scale is alpha / rank.
 * e (rank), NULL: ones: weights of the ranks, AdaLoRA's; looked at by msa_lora_merge() alone, since such
 * updates do not train here. AdaLoRA's scale is alpha / (ranks that are left + MSA_ADALORA_EPS).
 */
#define MSA_ADALORA_EPS 1e-5f

typedef struct msa_lora {
    const float *a, *b, *e;
    int32_t N, K, rank, first;
    float scale;
} msa_lora;

/* x (M, K), rows ldx apart; y: the layer's result, rows ldy apart, added to. z (M, rank) out: scale x A^T.
 * The bits do not depend on the number of threads. */
void msa_lora_forward(const msa_lora *l, int64_t M, const float *x, int64_t ldx, float *z, float *y,
                      int64_t ldy);

/**
 * x and z as forward had and left them; dy of the layer's result. da, db as a and b, added to; NULL: frozen.
 * dz (M, rank) out, for the input's gradient.
 */
void msa_lora_backward_params(const msa_lora *l, int64_t M, const float *x, int64_t ldx, const float *z,
                              const float *dy, int64_t lddy, float *da, float *db, float *dz);
/* dx (M, K), rows lddx apart, is added to. */
void msa_lora_backward_input(const msa_lora *l, int64_t M, const float *dz, float *dx, int64_t lddx);

/* weight (outputs of the layer, K) += scale B diag(e) A: the layer then does by itself what both did
 * together. */
void msa_lora_merge(const msa_lora *l, float *weight);

#endif
