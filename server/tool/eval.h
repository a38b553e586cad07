/* What the parts of `msa eval` share: arguments, cases, results. */
#ifndef SRV_TOOL_EVAL_H
#define SRV_TOOL_EVAL_H

#include <stdbool.h>
#include <stdio.h>

#include "dicom/labels.h"
#include "engine/evaluation.h"
#include "server/segment/volume.h"

/* Smaller labels are listed but not averaged: a voxel at their border decides too much. */
#define SRV_EVAL_VOXELS_MIN 300
#define SRV_EVAL_NAME       256

/* ---- arguments ---- */

typedef struct srv_eval_arguments {
    const char *model, *adapter; /* adapter NULL: none; model NULL with a baseline */
    const char *data, *json, *overlays;
    const char *prompt_name, *baseline_name; /* baseline NULL: the model is asked */
    msa_eval_prompt prompt;
    msa_eval_baseline baseline;
    uint64_t seed;
    int threads; /* 0: one a core */
    bool whole;  /* one box a slice around all parts of a label */
    bool help;
} srv_eval_arguments;

extern const char srv_eval_usage[];
/* Returns 0, or the exit code after the sentence has been printed. */
int srv_eval_arguments_read(srv_eval_arguments *a, int argc, char **argv);

/* ---- finding cases ---- */

typedef struct srv_paths {
    char **list;
    size_t n, room;
} srv_paths;

/* A NIfTI folder, or the images of one series; the label objects are common to all. */
typedef struct srv_place {
    char name[SRV_EVAL_NAME]; /* of the folder, as seen from the one that was given */
    char *folder;             /* NIfTI; NULL for a series */
    srv_paths images;
    char series_uid[DICOM_UID_MAX];
} srv_place;

typedef struct srv_places {
    srv_place *list;
    size_t n, room;
    srv_paths segs, rtstructs;
} srv_places;

/**
 * Folders below `dir` (itself, too) that may hold a case, in the order of their names; links are followed.
 * Where the images lie in `dir` itself, label objects are looked for beside it as well. Errors:
 * MSA_E_NOT_FOUND, MSA_E_IO, MSA_E_UNSUPPORTED (more than 32 levels, 100,000 files), MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status srv_places_find(srv_places *p, const char *dir, msa_error *err);
void srv_places_clear(srv_places *p);

/* ---- a case ---- */

typedef struct srv_case_label {
    char name[DICOM_LABEL_MAX];
    const dicom_masks *masks; /* where it comes from; NULL: the NIfTI label map */
    size_t index;
    uint16_t value;
} srv_case_label;

typedef struct srv_case {
    char name[SRV_EVAL_NAME];
    msa_volume volume;
    double spacing_mm[3]; /* slices, rows, columns */
    srv_case_label *labels;
    size_t n;
    msa_labelled *labelled; /* the rest is private */
    dicom_series *series;
    srv_volume series_volume;
    dicom_masks **masks;
    size_t n_masks;
} srv_case;

/**
 * Reads it. c->n is 0 when no label object refers to the series. A SEG goes before an RTSTRUCT; a label whose
 * name another object has given already is left out, and said on standard error, as is an object that
 * cannot be read here. Errors name the case.
 */
MSA_NODISCARD msa_status srv_case_open(srv_case *c, const srv_place *place, const srv_places *places,
                                       msa_error *err);
void srv_case_close(srv_case *c);
/* mask (D, H, W): 0 and 1; voxels: how many are 1. */
MSA_NODISCARD msa_status srv_case_mask(const srv_case *c, size_t label, uint8_t *mask, int64_t *voxels,
                                       msa_error *err);

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
    char name[SRV_EVAL_NAME];
    srv_label_result *labels;
    size_t n;
    srv_means mean; /* of the labels of at least SRV_EVAL_VOXELS_MIN voxels */
} srv_case_result;

typedef struct srv_eval_report {
    const srv_eval_arguments *arguments;
    const msa_model *model; /* NULL for a baseline */
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
