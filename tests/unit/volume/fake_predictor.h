/* A predictor that cuts at half brightness, or gives the box back: the segmenter's flow without a network. */
#ifndef MSA_TESTS_UNIT_VOLUME_FAKE_PREDICTOR_H
#define MSA_TESTS_UNIT_VOLUME_FAKE_PREDICTOR_H

#include "engine/predictor.h"

/* What the fake was asked, and how it is told to misbehave. Reset by the test. */
typedef struct fake_predictor_log {
    int32_t encoded, decoded;
    int32_t room; /* of the stacks that the last predictor takes */
    float last_box[4];
    bool last_had_box;
    int32_t last_points;
    float last_point[2];
    int32_t keep_mask_of; /* this decode, counted from 1: its mask prompt */
    bool had_mask;
    float mask[64 * 64];
    int32_t nan_at;      /* this decode, counted from 1, has a NaN logit; 0: none */
    bool inverted;       /* everything dark is the object */
    bool box_is_mask;    /* the object is what the box covers, wherever that is */
    float iou, iou_step; /* predicted of mask 0; more for each further one */
    bool odd_inverted;   /* of masks 1 and 3 */
} fake_predictor_log;

extern fake_predictor_log fake_log;
extern msa_config fake_config;

#endif
