/* The parts of msa_decoder_pass: each keeps what its backward needs. Private to the decoder's pass. */
#ifndef MSA_ENGINE_TRAIN_DECODER_PARTS_H
#define MSA_ENGINE_TRAIN_DECODER_PARTS_H

#include "engine/adapt/decoder_adapter.h"
#include "engine/predictor.h"
#include "engine/sam/prompt_encoder.h"
#include "engine/train/params.h"

/* Every _layout function is to be run twice, as engine/base/arena.h says. */

/* ---- parameters ---- */

/* Adds to the gradients of a dense layer, when it trains; x (M, K) its input, dy (M, N). */
void msa_dense_backward_params(const msa_params *p, const msa_linear *l, int64_t M, const float *x,
                               const float *dy);
bool msa_dense_trains(const msa_params *p, const msa_linear *l);
bool msa_norm_trains(const msa_params *p, const msa_norm *n);

/* ---- attention with its projections (attention_pass.c) ---- */

/* Inputs are borrowed until backward. */
typedef struct msa_projected {
    const float *q_in, *k_in, *v_in;
    int64_t nq, nk;
    float *q, *k, *v, *mixed; /* (nq or nk, width) */
} msa_projected;

typedef struct msa_attention_scratch_set {
    int32_t workers;
    float *heads;                 /* per worker, for forward and backward */
    float *dq, *dk, *dv, *dmixed; /* (nq or nk at most, P) */
} msa_attention_scratch_set;

void msa_projected_layout(msa_projected *k, msa_arena *arena, const msa_decoder_attention *a, int64_t nq_max,
                          int64_t nk_max);
void msa_attention_scratch_layout(msa_attention_scratch_set *s, msa_arena *arena, int32_t P, int64_t rows_max,
                                  int32_t workers);
/* q_in (nq, P), k_in and v_in (nk, P); y (nq, P) out. */
void msa_projected_forward(const msa_config *c, const msa_decoder_attention *a, msa_projected *k,
                           const msa_attention_scratch_set *s, const float *q_in, int64_t nq,
                           const float *k_in, const float *v_in, int64_t nk, float *y);
/* dy (nq, P). The gradients of the inputs are added to, also where two are the same memory; NULL: not wanted.
 */
void msa_projected_backward(const msa_params *p, const msa_decoder_attention *a, const msa_projected *k,
                            const msa_attention_scratch_set *s, const float *dy, float *dq_in, float *dk_in,
                            float *dv_in);
bool msa_projected_trains(const msa_params *p, const msa_decoder_attention *a);

/* ---- two-way transformer (two_way_pass.c) ---- */

/* Of one layer. T tokens, n pixels. What an adapter keeps is there when the adapter is. */
typedef struct msa_two_way_kept {
    msa_projected self, to_image, to_token;
    float *keys, *image_in;    /* (n, P): the image when the layer begins, with and without positions */
    float *in, *self_in;       /* (T, P): self-attention's values; its queries and keys; see the wirings */
    const float *v_in, *qk_in; /* what these two came to be: maybe the tokens themselves */
    float *sum1, *queries1;    /* (T, P): before and after norm1; 2 and 3 likewise */
    float *token_in2, *attended, *sum2, *queries2;
    float *hidden, *sum3, *queries3; /* hidden (T, decoder_mlp_dim): after the ReLU */
    float *token_in4, *sum4, *sum5;  /* sum4, sum5 (n, P): before the image adapter, before norm4 */
    msa_prompt_adapter_work prompt;
    float *mlp_before, *mlp_after, *image_before, *image_after; /* (T or n, width) */
} msa_two_way_kept;

typedef struct msa_two_way_pass {
    const msa_params *params;
    const msa_config *c;
    const msa_decoder_weights *w;
    const float *dense_pe; /* (n, P) */
    int64_t T, n;
    float *tokens; /* (T, P), also their own positions */
    /* layers[decoder_depth] is the final attention: to_image, and sum2 and queries2 around its norm. */
    msa_two_way_kept layers[MSA_DECODER_DEPTH_MAX + 1];
    bool trains[MSA_DECODER_DEPTH_MAX + 1];
    msa_attention_scratch_set attention;
    float *result;         /* (max(T, n), P) */
    float *dsum, *dpart;   /* (max(T, n), P) */
    float *dtoken_in;      /* (T, P) */
    float *dhidden;        /* (T, mlp) or an adapter's (max(T, n), width) */
    float *norm, *adapter; /* scratch of their backward */
} msa_two_way_pass;

void msa_two_way_pass_layout(msa_two_way_pass *p, msa_arena *arena, const msa_params *params, int64_t pixels,
                             int32_t workers);
/* From tokens (T, P) and layers[0].keys (n, P) to layers[depth].queries2 and layers[depth].keys. */
void msa_two_way_pass_forward(msa_two_way_pass *p, int64_t T);
/**
 * dqueries (T, P) and dkeys (n, P): gradients of the results; used up. dkeys becomes the gradient of
 * layers[0].keys when want_keys. dtokens (T, P) is written; NULL: not wanted.
 */
void msa_two_way_pass_backward(msa_two_way_pass *p, float *dqueries, float *dkeys, bool want_keys,
                               float *dtokens);

/* ---- up-scaling, hypernetworks and IoU head (heads_pass.c) ---- */

typedef struct msa_heads_pass {
    const msa_params *params;
    const msa_config *c;
    const msa_decoder_weights *w;
    int32_t h, wt;
    float *up1_sum, *up1_norm, *up1; /* (4n, P/4): before the norm, before the GELU, after it */
    float *up2_sum, *up2;            /* (16n, P/8): before and after the GELU */
    float *hyper;                    /* (mask_tokens, P/8) */
    float *hyper1, *hyper2;          /* (mask_tokens, P): after the ReLUs */
    float *iou1, *iou2;              /* (iou_hidden) */
    float *scratch;                  /* (2 n P): transposed convolutions */
    float *dup1, *dup2, *dhyper, *dhidden, *norm;
} msa_heads_pass;

void msa_heads_pass_layout(msa_heads_pass *p, msa_arena *arena, const msa_params *params, int32_t grid_h,
                           int32_t grid_w);
/* queries (1 + mask_tokens, P), keys (n, P), detail as msa_detail_floats() says, or NULL; logits
 * (mask_tokens, 16n), iou (mask_tokens) out. */
void msa_heads_pass_forward(msa_heads_pass *p, const float *queries, const float *keys, const float *detail,
                            float *logits, float *iou);
/* dqueries (1 + mask_tokens, P) and dkeys (n, P) are written, ddetail is added to (NULL: not wanted). diou
 * NULL: no gradient. */
void msa_heads_pass_backward(msa_heads_pass *p, const float *queries, const float *keys, const float *dlogits,
                             const float *diou, float *dqueries, float *dkeys, float *ddetail);

/* ---- prompt encoder (prompt_pass.c) ---- */

typedef struct msa_prompt_pass {
    const msa_params *params;
    const msa_config *c;
    const msa_prompt_weights *w;
    int32_t h, wt;
    int32_t n_sparse;
    int8_t labels[MSA_SPARSE_MAX]; /* of the tokens, padding and corners included */
    bool mask;                     /* the prompt had one */
    bool sparse_trains, no_mask_trains, mask_trains;
    float *scratch, *boxed;                         /* boxed (4h, 4w): the box as a mask */
    float *patches1, *sum1, *norm1, *half, *planes; /* (4n, 4) each, planes (4, 2h, 2w) */
    float *patches2, *sum2, *norm2, *quarter;       /* (n, 16) each */
    float *da, *db, *norm;                          /* (16 n) each, (8 n) */
} msa_prompt_pass;

/* gradients: as prompt_grads of msa_decoder_pass_new(). */
void msa_prompt_pass_layout(msa_prompt_pass *p, msa_arena *arena, const msa_params *params, int32_t grid_h,
                            int32_t grid_w, bool gradients);
/* As msa_prompt_encode(). */
MSA_NODISCARD msa_status msa_prompt_pass_forward(msa_prompt_pass *p, const msa_prompt_set *prompt,
                                                 float *sparse, float *dense, msa_error *err);
bool msa_prompt_pass_wants_dense(const msa_prompt_pass *p);
/* dsparse (n_sparse, P), ddense (n, P); each is looked at only when something behind it trains. */
void msa_prompt_pass_backward(msa_prompt_pass *p, const float *dsparse, const float *ddense);

#endif
