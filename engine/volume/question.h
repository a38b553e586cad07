/* One question to the model about a slice, in the slice's own coordinates: prompts in, logits or a mask out.
 */
#ifndef MSA_ENGINE_VOLUME_QUESTION_H
#define MSA_ENGINE_VOLUME_QUESTION_H

#include "engine/base/cleanup.h"
#include "engine/segmenter.h"
#include "engine/volume/geometry.h"
#include "engine/volume/window.h"

typedef struct msa_question {
    int32_t slice, channel; /* channel: the class, of a model of several */
    const msa_box *box;     /* NULL: points only */
    const float *points;    /* (n_points, 2) corner coordinates; NULL when none */
    const bool *positive;   /* (n_points) */
    int32_t n_points;
    const uint8_t *mask; /* (H, W) what lies in the box is given as a dense prompt too; NULL: none */
    msa_region clip;     /* where the answer may lie; made no larger than what the network sees */
} msa_question;

typedef struct msa_asker msa_asker;

/* All borrowed. points: the most that a question has. cache may be NULL. Errors: MSA_E_NOMEM. One thread. */
MSA_NODISCARD msa_status msa_asker_new(msa_asker **out, const msa_model *model, const msa_volume *volume,
                                       const msa_window *window, msa_embedding_cache *cache, int32_t points,
                                       msa_error *err);
void msa_asker_free(msa_asker *a);
MSA_DEFINE_AUTO(msa_asker, msa_asker_free);

/**
 * Decodes; the answer stays with the asker until the next question. The same question again (objects of
 * several classes ask it) is decoded once. EfficientSAM knows no mask prompt: there the box stands alone.
 * Errors: those of msa_embeddings_get() and msa_predictor_decode(); MSA_E_INTERNAL when the predicted IoU is
 * not finite.
 */
MSA_NODISCARD msa_status msa_ask(msa_asker *a, msa_question *q, msa_error *err);
/* Of the mask that answers: predicted IoU, number. */
float msa_answer_iou(const msa_asker *a);
int32_t msa_answer_token(const msa_asker *a);
/* What the model predicted for all its masks: (mask_tokens). */
const float *msa_answer_all_iou(const msa_asker *a);
/* Inside q->clip, as msa_finish_logits() and msa_finish_mask(). */
MSA_NODISCARD msa_status msa_answer_logits(msa_asker *a, const msa_question *q, float *out, msa_error *err);
/* Without a box only the parts that hold a positive point stay. Errors: also MSA_E_NOMEM. */
MSA_NODISCARD msa_status msa_answer_mask(msa_asker *a, const msa_question *q, uint8_t *mask, msa_error *err);

#endif
