/**
 * Forward with everything kept that backward needs, and backward, by hand, for one image at a time. Gradients
 * of parameters are added to params->grads (a batch is a sum over images). The bits do not depend on the
 * number of threads: every sum has a fixed order. Where (P, g, g) is written of an embedding or its gradient,
 * the detail of a model that has some follows: msa_embedding_floats() in all.
 */
#ifndef MSA_ENGINE_TRAIN_PASSES_H
#define MSA_ENGINE_TRAIN_PASSES_H

#include "engine/predictor.h"
#include "engine/sam/tables.h"
#include "engine/train/params.h"

/* ---- image encoder ---- */

typedef struct msa_encoder_pass msa_encoder_pass;

/**
 * For params->config.image_size. recompute: only the input of each block is kept and the block is run again
 * in backward (memory of one block instead of all). `params` is borrowed. Errors: MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status msa_encoder_pass_new(msa_encoder_pass **out, msa_params *params, bool recompute,
                                              msa_error *err);
/* For stacks of `slices` neighbouring slices of one volume, as msa_predictor_encode_stack() takes them;
 * memory is that of one slice times `slices`. Errors: also MSA_E_INVALID, not 1 .. MSA_STACK_MAX slices. */
MSA_NODISCARD msa_status msa_encoder_pass_new_stack(msa_encoder_pass **out, msa_params *params,
                                                    int32_t slices, bool recompute, msa_error *err);
void msa_encoder_pass_free(msa_encoder_pass *p);
MSA_DEFINE_AUTO(msa_encoder_pass, msa_encoder_pass_free);
/* image (slices, 3, S, S); embedding (slices, P, g, g). Same numbers as msa_predictor_encode() and _stack()
 * (within rounding: those merge padding rows). Errors: MSA_E_INTERNAL naming the block that yields a
 * non-finite value. */
MSA_NODISCARD msa_status msa_encoder_pass_forward(msa_encoder_pass *p, const float *image, float *embedding,
                                                  msa_error *err);
/**
 * dembedding (slices, P, g, g). Adds to the gradients of every parameter that trains; when none of the blocks
 * up to i, the patch embedding, the positions or the detail train, backward stops there. Follows a forward of
 * the same image, each a forward of its own.
 */
void msa_encoder_pass_backward(msa_encoder_pass *p, const float *dembedding);
size_t msa_encoder_pass_bytes(const msa_encoder_pass *p);

/* ---- prompt encoder and mask decoder ---- */

typedef struct msa_decoder_pass msa_decoder_pass;

/* prompt_grads: also through the prompt encoder (its embeddings and mask convolutions), when those train. */
MSA_NODISCARD msa_status msa_decoder_pass_new(msa_decoder_pass **out, msa_params *params, bool prompt_grads,
                                              msa_error *err);
void msa_decoder_pass_free(msa_decoder_pass *p);
MSA_DEFINE_AUTO(msa_decoder_pass, msa_decoder_pass_free);
/* As msa_predictor_decode(): logits (mask_tokens, 4g, 4g), iou (mask_tokens). */
MSA_NODISCARD msa_status msa_decoder_pass_forward(msa_decoder_pass *p, const float *embedding,
                                                  const msa_prompt_set *prompt, float *logits, float *iou,
                                                  msa_error *err);
/* dlogits (mask_tokens, 4g, 4g); diou (mask_tokens) or NULL; dembedding (P, g, g) is added to (NULL: not
 * wanted). */
void msa_decoder_pass_backward(msa_decoder_pass *p, const float *dlogits, const float *diou,
                               float *dembedding);

#endif
