/* Prompt encoder and mask decoder once more, in double and in plain loops: what the training pass is checked
 * by. */
#ifndef MSA_TESTS_UNIT_TRAIN_DECODER_DOUBLE_H
#define MSA_TESTS_UNIT_TRAIN_DECODER_DOUBLE_H

#include "engine/predictor.h"
#include "engine/train/params.h"

typedef struct decoder_double {
    const msa_params *p; /* where a parameter lies; its values are not looked at */
    double *values;      /* (p->n_values): what takes their place */
    double *embedding;   /* msa_embedding_floats(): (P, g, g), then the detail */
    const msa_prompt_set *prompt;
    const float *logits_factor, *iou_factor; /* of the scalar: sum of factor * result */
    double *logits, *iou;                    /* results */
    double *memory;                          /* for one evaluation */
    int64_t room;
} decoder_double;

/* Copies the values of `p` and the embedding; the rest is borrowed. */
decoder_double decoder_double_new(const msa_params *p, const float *embedding, const msa_prompt_set *prompt,
                                  const float *logits_factor, const float *iou_factor);
void decoder_double_free(decoder_double *d);
/* The scalar at the present values; a central_fn. */
double decoder_double_value(const void *d);

#endif
