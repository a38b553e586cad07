/* One image at a time: encode it once, then decode as many prompts as wanted. Private to one thread. */
#ifndef MSA_ENGINE_PREDICTOR_H
#define MSA_ENGINE_PREDICTOR_H

#include "engine/model.h"

typedef struct msa_predictor msa_predictor;

/**
 * Working memory for one model, sized up front; forward passes allocate nothing. What is freed last stays for
 * the next predictor of that model and size, until the model is freed or another one is.
 * `model` is borrowed and must outlive the predictor. Errors: MSA_E_NOMEM.
 * Threads: one predictor per calling thread; inside, the engine's pool is used (engine/base/pool.h).
 */
MSA_NODISCARD msa_status msa_predictor_new(msa_predictor **out, const msa_model *model, msa_error *err);
void msa_predictor_free(msa_predictor *p);
MSA_DEFINE_AUTO(msa_predictor, msa_predictor_free);

/* Floats of one embedding: (P, g, g), and behind it what a model with config.detail adds, (4g, 4g, P / 8) and
 * (2g, 2g, P / 4). */
size_t msa_embedding_floats(const msa_config *c);
/**
 * Image encoder. image (3, S, S) network input, already normalised; embedding out, caller's memory.
 * Errors: MSA_E_INTERNAL when a value is not finite (the sentence names the block).
 */
MSA_NODISCARD msa_status msa_predictor_encode(msa_predictor *p, const float *image, float *embedding,
                                              msa_error *err);

/* As msa_predictor_new(), with room for stacks of up to `slices`, 1 .. MSA_STACK_MAX (else MSA_E_INVALID). A
 * model with a depth branch needs about 5 x slices x tokens x width floats for it. */
MSA_NODISCARD msa_status msa_predictor_new_stack(msa_predictor **out, const msa_model *model, int32_t slices,
                                                 msa_error *err);
/**
 * n neighbouring slices of one volume, in their order, n up to what there is room for: images (n, 3, S, S),
 * embeddings n of them, one behind the other. With a depth branch (msa_config.depth_grouping) every slice
 * sees the others, so results depend on which slices come together; msa_predictor_encode() is then a stack of
 * one. Without, this is msa_predictor_encode() n times. Each embedding is decoded as any other.
 */
MSA_NODISCARD msa_status msa_predictor_encode_stack(msa_predictor *p, int32_t n, const float *images,
                                                    float *embeddings, msa_error *err);

/* Point labels of SAM: -1 padding, 0 background, 1 foreground, 2 top-left corner, 3 bottom-right corner. */
typedef struct msa_prompt_set {
    const float *points; /* (n_points, 2) x, y in pixels of the padded S x S input; NULL when none */
    const float *labels; /* (n_points) */
    int32_t n_points;
    const float *box;  /* (4) x0 y0 x1 y1, pixels of the S x S input; NULL when none */
    const float *mask; /* (4g, 4g) logits of an earlier pass; NULL when none */
} msa_prompt_set;

/**
 * Prompt encoder and mask decoder for one prompt row.
 * embedding as above; logits (mask_tokens, 4g, 4g) out; iou (mask_tokens) out: predicted IoU.
 * Errors: MSA_E_INVALID (non-finite coordinates), MSA_E_INTERNAL (non-finite result).
 */
MSA_NODISCARD msa_status msa_predictor_decode(msa_predictor *p, const float *embedding,
                                              const msa_prompt_set *prompt, float *logits, float *iou,
                                              msa_error *err);
/**
 * n prompt rows on one image: logits (n, mask_tokens, 4g, 4g), iou (n, mask_tokens). Each row is what
 * msa_predictor_decode() gives for its prompt alone, bit for bit; together they take less time, since each
 * thread has a prompt of its own. Errors: that of the first prompt that has one; the other rows are good.
 */
MSA_NODISCARD msa_status msa_predictor_decode_batch(msa_predictor *p, const float *embedding, int32_t n,
                                                    const msa_prompt_set *prompts, float *logits, float *iou,
                                                    msa_error *err);
#endif
