/* What the parts of `msa eval` share: arguments, results. */
#ifndef SRV_TOOL_EVAL_H
#define SRV_TOOL_EVAL_H

#include <stdbool.h>
#include <stdio.h>

#include "engine/evaluation.h"
#include "server/segment/models.h"
#include "server/tool/cases.h"

/* Smaller labels are listed but not averaged: a voxel at their border decides too much. */
#define SRV_EVAL_VOXELS_MIN 300

/* ---- arguments ---- */

typedef struct srv_eval_arguments {
    const char *model, *adapter; /* adapter NULL: none; model NULL with a baseline */
    const char *data, *json, *overlays;
    const char *prompt_name, *baseline_name; /* baseline NULL: the model is asked */
    msa_eval_prompt prompt;
    msa_eval_baseline baseline;
    msa_precision precision;
    uint64_t seed;
    int threads; /* 0: one a core */
    bool whole;  /* one box a slice around all parts of a label */
    bool help;
} srv_eval_arguments;

extern const char srv_eval_usage[];
/* Returns 0, or the exit code after the sentence has been printed. */
int srv_eval_arguments_read(srv_eval_arguments *a, int argc, char **argv);

/* ---- results ---- */

typedef struct srv_label_result {
    char name[DICOM_LABEL_MAX];
    msa_eval_score score;
} srv_label_result;

/* NaN where there is nothing to average. */
typedef struct srv_means {
    double dice, iou, slice_dice, hd95_mm;
    int32_t n;
} srv_means;

typedef struct srv_case_result {
    char name[SRV_CASE_NAME];
    const msa_model *model; /* NULL for a baseline */
    srv_label_result *labels;
    size_t n;
    srv_means mean; /* of the labels of at least SRV_EVAL_VOXELS_MIN voxels */
} srv_case_result;

typedef struct srv_eval_report {
    const srv_eval_arguments *arguments;
    const srv_models *models; /* NULL for a baseline */
    srv_case_result *cases;
    size_t n;
    srv_means mean; /* every case counts the same */
} srv_eval_report;

void srv_eval_average_case(srv_case_result *c);
void srv_eval_average(srv_eval_report *r);
void srv_eval_print(const srv_eval_report *r, FILE *to);
/* Errors: MSA_E_IO, MSA_E_NOMEM. */
MSA_NODISCARD msa_status srv_eval_write_json(const srv_eval_report *r, const char *path, msa_error *err);

/* ---- pictures of the worst ---- */

#define SRV_WORST_MAX 12

typedef struct srv_worst srv_worst;

MSA_NODISCARD msa_status srv_worst_new(srv_worst **out, msa_error *err);
void srv_worst_free(srv_worst *w);
MSA_DEFINE_AUTO(srv_worst, srv_worst_free);
/* Keeps the slice with most wrong voxels when the label is among the worst so far. Errors: MSA_E_NOMEM. */
MSA_NODISCARD msa_status srv_worst_offer(srv_worst *w, const srv_case *c, const srv_label_result *label,
                                         const uint8_t *result, const uint8_t *reference,
                                         const msa_prompt *prompts, int32_t n_prompts, msa_error *err);
/* worst-01-CASE-LABEL.png, ... in `dir`, which is made when need be. Errors: MSA_E_IO, MSA_E_NOMEM. */
MSA_NODISCARD msa_status srv_worst_write(const srv_worst *w, const char *dir, msa_error *err);

#endif
