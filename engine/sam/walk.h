/* How the list of a model's tensors is written down: one call for each tensor or layer. Private to the files
 * that hold the list: weights.c, weights_efficient.c, weights_tiny.c. */
#ifndef MSA_ENGINE_SAM_WALK_H
#define MSA_ENGINE_SAM_WALK_H

#include "engine/sam/weights.h"

typedef struct msa_walk {
    const msa_config *c;
    msa_weight_visit *visit;
    void *ctx;
    msa_error *err;
    msa_status status; /* of the first failure; later calls do nothing */
    char prefix[96];
} msa_walk;

/* What the names of later calls begin with. */
void msa_walk_enter(msa_walk *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void msa_walk_visit(msa_walk *w, const char *name, msa_weight_spec spec);
void msa_walk_vector(msa_walk *w, const char *name, int64_t n, const float **to);
void msa_walk_matrix(msa_walk *w, const char *name, int64_t rows, int64_t cols, const float **to);
void msa_walk_kernel(msa_walk *w, const char *name, int64_t a, int64_t b, int64_t side, const float **to);
void msa_walk_norm(msa_walk *w, const char *name, int32_t C, msa_norm *n);
/* A dense layer; with side > 0 a convolution whose kernel is flattened into K. */
void msa_walk_layer(msa_walk *w, const char *name, const char *const alias[2], int32_t N, int32_t K,
                    int32_t side, msa_linear *l);
void msa_walk_dense(msa_walk *w, const char *name, int32_t N, int32_t K, msa_linear *l);
/* The width of a stored adapter is its own: the first tensor tells it, the others must agree. */
void msa_walk_adapter_down(msa_walk *w, const char *name, int32_t C, msa_linear *down, bool optional);
void msa_walk_adapter(msa_walk *w, const char *name, int32_t C, msa_adapter *a, bool optional);

/* weights_tiny.c: TinyViT, but for the neck. */
void msa_walk_tiny(msa_walk *w, msa_tiny_weights *t);
/* weights_efficient.c: where EfficientSAM differs. */
void msa_walk_efficient_positions(msa_walk *w, msa_encoder_weights *e);
void msa_walk_efficient_prompt(msa_walk *w, msa_prompt_weights *p);
void msa_walk_efficient_heads(msa_walk *w, msa_decoder_weights *d);

#endif
