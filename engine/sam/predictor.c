#include "engine/predictor.h"

#include <stdlib.h>

#include "engine/base/arena.h"
#include "engine/base/pool.h"
#include "engine/sam/image_encoder.h"
#include "engine/sam/internal.h"
#include "engine/sam/mask_decoder.h"
#include "engine/sam/prompt_encoder.h"

struct msa_predictor {
    const msa_model *model;
    const msa_tap *tap;
    msa_arena arena;
    msa_encoder_work encoder;
    msa_decoder_work decoder;
    float *prompt_scratch, *sparse, *dense;
};

static void layout(msa_predictor *p, int32_t workers)
{
    const msa_config *c = msa_model_config(p->model);
    const msa_tables *t = msa_model_tables(p->model);
    msa_encoder_work_layout(&p->encoder, &p->arena, c, msa_model_weights(p->model), t->h, t->w,
                            p->tap != NULL, workers);
    msa_decoder_work_layout(&p->decoder, &p->arena, c, &msa_model_weights(p->model)->decoder, t->h, t->w,
                            workers);
    p->prompt_scratch = msa_arena_floats(&p->arena, msa_prompt_scratch(t->h, t->w));
    p->sparse = msa_arena_floats(&p->arena, (size_t)MSA_SPARSE_MAX * (size_t)c->prompt_dim);
    p->dense = msa_arena_floats(&p->arena, (size_t)t->h * (size_t)t->w * (size_t)c->prompt_dim);
}

msa_status msa_predictor_new_watched(msa_predictor **out, const msa_model *model, int32_t slices,
                                     const msa_tap *tap, msa_error *err)
{
    *out = NULL;
    if (slices < 1 || slices > MSA_STACK_MAX)
        return msa_fail(err, MSA_E_INVALID, "a stack holds 1 to %d slices, not %d", MSA_STACK_MAX, slices);
    MSA_AUTO(msa_predictor) p = calloc(1, sizeof *p);
    if (p == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for a predictor");
    p->model = model;
    p->tap = tap;
    p->encoder.slices = slices;
    const int32_t workers = msa_threads_get();
    layout(p, workers);
    MSA_TRY(msa_arena_commit(&p->arena, err));
    layout(p, workers);
    *out = MSA_STEAL(p);
    return MSA_OK;
}

msa_status msa_predictor_new(msa_predictor **out, const msa_model *model, msa_error *err)
{
    return msa_predictor_new_watched(out, model, 1, NULL, err);
}

msa_status msa_predictor_new_stack(msa_predictor **out, const msa_model *model, int32_t slices,
                                   msa_error *err)
{
    return msa_predictor_new_watched(out, model, slices, NULL, err);
}

void msa_predictor_free(msa_predictor *p)
{
    if (p == NULL) return;
    msa_arena_release(&p->arena);
    free(p);
}

msa_status msa_predictor_encode(msa_predictor *p, const float *image, float *embedding, msa_error *err)
{
    return msa_image_encode(msa_model_config(p->model), &msa_model_weights(p->model)->encoder,
                            msa_model_tables(p->model), &p->encoder, image, embedding, p->tap, err);
}

msa_status msa_predictor_encode_stack(msa_predictor *p, int32_t n, const float *images, float *embeddings,
                                      msa_error *err)
{
    return msa_stack_encode(msa_model_config(p->model), &msa_model_weights(p->model)->encoder,
                            msa_model_tables(p->model), &p->encoder, n, images, embeddings, p->tap, err);
}

msa_status msa_predictor_decode(msa_predictor *p, const float *embedding, const msa_prompt_set *prompt,
                                float *logits, float *iou, msa_error *err)
{
    const msa_config *c = msa_model_config(p->model);
    const msa_weights *w = msa_model_weights(p->model);
    const msa_tables *t = msa_model_tables(p->model);
    int32_t n_sparse = 0;
    MSA_TRY(msa_prompt_encode(c, &w->prompt, t->h, t->w, prompt, p->prompt_scratch, p->sparse, &n_sparse,
                              p->dense, err));
    if (n_sparse > 0) MSA_TAP(p->tap, p->sparse, n_sparse, c->prompt_dim, "sparse");
    MSA_TAP(p->tap, p->dense, (int64_t)t->h * t->w, c->prompt_dim, "dense");
    return msa_mask_decode(c, &w->decoder, t->h, t->w, t->dense_pe, embedding, p->sparse, n_sparse, p->dense,
                           &p->decoder, logits, iou, p->tap, err);
}
