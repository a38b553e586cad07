/* How good a model is: prompts out of a reference mask, simple methods to compare with, scores. */
#ifndef MSA_ENGINE_EVALUATION_H
#define MSA_ENGINE_EVALUATION_H

#include "engine/segmenter.h"

/* ---- a case ---- */

/* A volume with a label map, read from NIfTI. */
typedef struct msa_labelled {
    msa_volume volume;      /* its arrays are the label map's owner's */
    double spacing_mm[3];   /* slices, rows, columns */
    bool ct;                /* by its values */
    const uint16_t *labels; /* (D, H, W) */
    struct msa_labelled_name {
        uint16_t value;
        char name[60]; /* of labels.json, or "label n" */
    } * names;
    int32_t n_names; /* labels that have voxels, in the order of labels.json, or by value */
    struct msa_case *owner;
    float *position_mm;
} msa_labelled;

/**
 * A folder with labels.nii.gz (or .nii), one other NIfTI file, the image, and, when there is one,
 * labels.json. Slices are axial. The window is that of a CT abdomen, or percentiles. Errors: as
 * msa_case_load() (engine/train/data.h).
 */
MSA_NODISCARD msa_status msa_labelled_read(msa_labelled **out, const char *folder, msa_error *err);
/* The same of a case that is there already (engine/cases.h), which it takes, also on failure. */
MSA_NODISCARD msa_status msa_labelled_of(msa_labelled **out, struct msa_case *c, msa_error *err);
void msa_labelled_free(msa_labelled *l);
MSA_DEFINE_AUTO(msa_labelled, msa_labelled_free);

/* ---- prompts ---- */

typedef enum msa_eval_prompt {
    MSA_EVAL_BOX,        /* tight, around each connected part of the label on every slice that holds it */
    MSA_EVAL_POINT1,     /* a random point of the label on every such slice */
    MSA_EVAL_POINT3,     /* three, independently drawn */
    MSA_EVAL_BOX75,      /* those boxes moved and scaled to an IoU of 0.75 with themselves */
    MSA_EVAL_BOX50,      /* 0.5 */
    MSA_EVAL_MIDDLE_BOX, /* one tight box of the whole label, on the slice nearest to the middle of its extent
                          */
} msa_eval_prompt;

/* box, point1, point3, box0.75, box0.5, middle-box; false when it is none of them. */
bool msa_eval_prompt_named(const char *name, msa_eval_prompt *out);

/* Parts of one slice that get a box of their own, 8 neighbours, in reading order; those beyond share one. */
#define MSA_EVAL_PARTS 64

/**
 * reference (D, H, W) 0 or 1. whole: one box a slice around all parts. What is random depends on seed, item
 * and the slice alone: the same prompts in every run and for every model. *out, in the order of slices, is
 * freed with free(); *n is 0 when the mask is empty. Errors: MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status msa_eval_prompts(msa_prompt **out, int32_t *n, const uint8_t *reference,
                                          const int32_t size[3], msa_eval_prompt kind, bool whole,
                                          uint64_t seed, uint64_t item, msa_error *err);
/* Clears the slices without a prompt. With a prompt on each slice of the label, the others are not asked
 * about. */
void msa_eval_keep_prompted(uint8_t *mask, const int32_t size[3], const msa_prompt *prompts, int32_t n);

/* ---- methods without a model ---- */

typedef enum msa_eval_baseline {
    MSA_EVAL_FILLED, /* the box */
    MSA_EVAL_OTSU,   /* the side of Otsu's threshold that prevails in the middle of the box */
} msa_eval_baseline;

/* mask (D, H, W) is cleared and drawn; points draw nothing. Errors: MSA_E_INVALID (a voxel is not finite). */
MSA_NODISCARD msa_status msa_eval_draw(msa_eval_baseline method, const msa_volume *volume,
                                       const msa_prompt *prompts, int32_t n, uint8_t *mask, msa_error *err);

/* ---- scores ---- */

typedef struct msa_eval_score {
    int64_t voxels, found; /* of the reference, of the result */
    double dice, iou;      /* of the volume; 1 when both are empty */
    double slice_dice;     /* mean over the slices that hold one of them */
    double hd95_mm;        /* symmetric, 95 percent; NaN when one of them is empty */
} msa_eval_score;

/* spacing_mm: between slices, rows, columns. Errors: MSA_E_NOMEM. */
MSA_NODISCARD msa_status msa_eval_compare(msa_eval_score *out, const uint8_t *result,
                                          const uint8_t *reference, const int32_t size[3],
                                          const double spacing_mm[3], msa_error *err);

#endif
