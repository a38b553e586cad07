/* The parameters of a model in training: values in one block, gradients for those that train. */
#ifndef MSA_ENGINE_TRAIN_PARAMS_H
#define MSA_ENGINE_TRAIN_PARAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/arena.h"
#include "engine/base/error.h"
#include "engine/sam/weights.h"
#include "engine/training.h"

typedef struct msa_param {
    char name[192];
    int64_t offset, numel; /* in values; in grads too when it trains */
    int32_t rank;
    int64_t shape[4];
    bool trains;
} msa_param;

/**
 * Values lie in one block, those that train first; the gradient of a value is found by its place, so that
 * layers need no second tree of pointers. Frozen parameters have no gradient memory.
 */
typedef struct msa_params {
    msa_config config;
    msa_weights weights; /* points into values */
    float *values, *grads;
    int64_t n_values, n_trained;
    msa_param *list;
    int32_t n_list;
    msa_arena arena;
} msa_params;

/**
 * Copies the weights of `from` (of the same configuration) into a training set. Adapters keep their values.
 * Errors: MSA_E_NOMEM, MSA_E_INVALID (nothing would train), MSA_E_UNSUPPORTED (an EfficientSAM, a MobileSAM,
 * AdaLoRA's updates).
 */
MSA_NODISCARD msa_status msa_params_new(msa_params **out, const msa_config *config, const msa_weights *from,
                                        msa_train_set set, msa_error *err);

typedef struct msa_params_start {
    uint64_t seed;
    int32_t adapter_width; /* of adapters that `from` does not have; 0: dim / 4, as published */
    int32_t lora_rank;     /* MSA_TRAIN_LORA: of updates that the configuration does not have; 0: 4, and */
    float lora_alpha;      /* 0: 1, as published */
} msa_params_start;

/**
 * The same where there are values missing: with `from` NULL the whole model begins at random (a base is to be
 * made); where the configuration has adapters and `from` has none, they begin so that the model computes what
 * its base does (D_fc2 is zero; of low-rank updates lora_B). The start depends on the seed and a tensor's
 * name alone.
 */
MSA_NODISCARD msa_status msa_params_start_new(msa_params **out, const msa_config *config,
                                              const msa_weights *from, msa_train_set set,
                                              const msa_params_start *start, msa_error *err);
void msa_params_free(msa_params *p);
MSA_DEFINE_AUTO(msa_params, msa_params_free);
void msa_params_zero_grads(msa_params *p);
/* NULL when there is none of that name. */
const msa_param *msa_params_find(const msa_params *p, const char *name);
/* Values without the padding between tensors. */
int64_t msa_params_count(const msa_params *p, bool trained_only);

/* Where the gradient of a value is summed; NULL for a frozen one (or for NULL): then nothing is computed for
 * it. */
static inline float *msa_grad(const msa_params *p, const float *value)
{
    if (value == NULL) return NULL;
    const int64_t at = value - p->values;
    return at < p->n_trained ? p->grads + at : NULL;
}

#endif
