/* Folders with labelled volumes, as `msa eval` and `msa train` find and read them. */
#ifndef SRV_TOOL_CASES_H
#define SRV_TOOL_CASES_H

#include "dicom/labels.h"
#include "engine/cases.h"
#include "engine/evaluation.h"
#include "server/segment/volume.h"

#define SRV_CASE_NAME 256

/* ---- finding cases ---- */

typedef struct srv_paths {
    char **list;
    size_t n, room;
} srv_paths;

/* NIfTI: a folder, or an image and its labels. Or the images of one series; the label objects are common to
 * all. */
typedef struct srv_place {
    char name[SRV_CASE_NAME]; /* of the folder or file, as seen from the folder that was given */
    char *folder;             /* with labels.nii.gz */
    char *image, *label;      /* of a set */
    char *names;              /* of a set: labels.json or dataset.json; NULL: there is none */
    int32_t channel;          /* of an image with several volumes */
    int32_t modality;         /* which of dataset.json's modalities */
    srv_paths images;         /* of a series */
    char series_uid[DICOM_UID_MAX];
    char patient[SRV_CASE_NAME]; /* NIfTI: the folder's or label's own name */
} srv_place;

typedef struct srv_places {
    srv_place *list;
    size_t n, room;
    srv_paths segs, rtstructs;
} srv_places;

/**
 * What may be a case below `dir` (itself, too), in the order of names; links are followed:
 * - images of one series; where they lie in `dir` itself, label objects are looked for beside it as well;
 * - a folder with labels.nii.gz and one other NIfTI file;
 * - pairs of two folders side by side: imagesTr/labelsTr (Va, Ts) with equal names, the image with or without
 *   nnU-Net's _0000 (_0001 and a fourth axis are further cases of the same patient); img/imgNNNN and
 *   label/labelNNNN as BTCV has them. Names of labels come from the labels.json or dataset.json beside them.
 * Errors: MSA_E_NOT_FOUND, MSA_E_IO, MSA_E_UNSUPPORTED (more than 32 levels, 100,000 files), MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status srv_places_find(srv_places *p, const char *dir, msa_error *err);
void srv_places_clear(srv_places *p);

static inline bool srv_place_is_nifti(const srv_place *p)
{
    return p->folder || p->image;
}
/* Of NIfTI only. Errors: as msa_case_read(). */
MSA_NODISCARD msa_status srv_place_read(msa_case **out, const srv_place *place, msa_error *err);

/* ---- a case ---- */

typedef struct srv_case_label {
    char name[DICOM_LABEL_MAX];
    const dicom_masks *masks; /* where it comes from; NULL: the NIfTI label map */
    size_t index;
    uint16_t value;
} srv_case_label;

typedef struct srv_case {
    char name[SRV_CASE_NAME];
    msa_volume volume;
    double spacing_mm[3]; /* slices, rows, columns */
    char modality[17];
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

#endif
