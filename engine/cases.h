/* Labelled volumes: what is learned from and what a model is judged by. */
#ifndef MSA_ENGINE_CASES_H
#define MSA_ENGINE_CASES_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/cleanup.h"
#include "engine/base/error.h"

typedef struct msa_label_name {
    uint16_t value, layer;
    char name[60];
    bool held_out; /* never a target, though its voxels are seen */
} msa_label_name;

/* A volume with its label maps. Slices along D are the ones that are segmented at inference. */
typedef struct msa_case {
    char name[64];
    int32_t depth, rows, cols, n_layers;
    float spacing_mm[3]; /* along D, H, W */
    bool ct;             /* values are HU: windows near lung, soft tissue, bone; else percentiles */
    float *voxels;       /* (D, H, W) */
    uint16_t *labels;    /* (n_layers, D, H, W), 0: nothing; objects that overlap lie in different layers */
    msa_label_name *names;
    int32_t n_names; /* 0: every value but 0 is a target */
} msa_case;

void msa_case_free(msa_case *c);
MSA_DEFINE_AUTO(msa_case, msa_case_free);
/**
 * From arrays that are already here (a DICOM series and its segmentation): takes voxels and labels, from
 * malloc(), also on failure. names (n_names) are copied; NULL when there are none. Errors: MSA_E_INVALID
 * (sizes, layers, spacing, a voxel that is not finite), MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status msa_case_new(msa_case **out, const char *name, const int32_t size[3],
                                      const float spacing_mm[3], bool ct, float *voxels, uint16_t *labels,
                                      int32_t n_layers, const msa_label_name *names, int32_t n_names,
                                      msa_error *err);

/* Where a NIfTI case lies. */
typedef struct msa_case_files {
    const char *name;          /* of the case */
    const char *image, *label; /* paths, .nii or .nii.gz */
    int32_t channel;           /* of an image with several volumes, from 0 */
    /* NULL, or a path: labels.json ({"1": "spleen", ...}) or dataset.json as the Decathlon and nnU-Net have
     * it; when there is no such file, labels are called by their values */
    const char *names;
    int32_t modality; /* which entry of dataset.json's modalities this image is */
} msa_case_files;

/* CT when the values say so (air below -500; where dataset.json says CT, fat below -50 is enough). Errors:
 * MSA_E_NOT_FOUND, MSA_E_IO, MSA_E_PARSE (also: the two do not fit on each other), MSA_E_NOMEM. */
MSA_NODISCARD msa_status msa_case_read(msa_case **out, const msa_case_files *files, msa_error *err);
/* How many volumes a NIfTI image holds. Errors: as reading its header. */
MSA_NODISCARD msa_status msa_case_channels(int32_t *n, const char *image, msa_error *err);
/**
 * A folder with labels.nii.gz (or .nii), one other NIfTI file, the image, and, when there is one,
 * labels.json. The case is called as the folder. Errors: as msa_case_read().
 */
MSA_NODISCARD msa_status msa_case_load(msa_case **out, const char *folder, msa_error *err);

/* Marks the labels of that name as held out, before the case goes into a source; false when there is none. */
bool msa_case_hold_out(msa_case *c, const char *label);

/* Cases as a program hands them over, opened by number. Threads: one at a time calls open. */
typedef struct msa_case_set {
    int32_t n;
    msa_status (*open)(void *ctx, int32_t number, msa_case **out, msa_error *err);
    void *ctx;
} msa_case_set;

#endif
