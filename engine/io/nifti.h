/* NIfTI-1 images (.nii, .nii.gz) and label maps, by niftilib, turned so that slices are axial. */
#ifndef MSA_ENGINE_IO_NIFTI_H
#define MSA_ENGINE_IO_NIFTI_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/cleanup.h"
#include "engine/base/error.h"

#define MSA_NIFTI_SIDE_MAX   8192
#define MSA_NIFTI_VOXELS_MAX (INT64_C(1) << 29)

/**
 * Axes are permuted and flipped, never resampled, to those nearest to the patient's: W towards the left, H
 * towards the back, D towards the head, as axial DICOM slices lie. A file without orientation (both codes 0)
 * is left as it is.
 */
typedef struct msa_nifti {
    int32_t depth, rows, cols;
    float spacing_mm[3]; /* along D, H, W */
    double affine[16];   /* (w, h, d, 1) of a voxel's centre to LPS millimetres (NIfTI's own are RAS) */
    bool oriented;
    float *voxels;    /* (D, H, W), scaled by the file's slope; NULL for a label map */
    uint16_t *labels; /* (D, H, W); NULL for an image */
} msa_nifti;

/**
 * NaN and infinity in the file are read as 0: some programs write them where there is nothing.
 *
 * An image, or, with `labels`, a label map: whole numbers in 0 .. 65535. A fourth axis of length 1 is
 * allowed. Errors: MSA_E_NOT_FOUND, MSA_E_IO, MSA_E_PARSE (not NIfTI-1, truncated, beyond 1e30, more than
 * MSA_NIFTI_VOXELS_MAX, labels that are none), MSA_E_UNSUPPORTED (complex and colour values, several volumes,
 * header and voxels in two files), MSA_E_NOMEM. Sizes are checked before memory is taken. The sentence does
 * not hold the path. Threads: one caller at a time reads (niftilib has global settings).
 */
MSA_NODISCARD msa_status msa_nifti_read(msa_nifti **out, const char *path, bool labels, msa_error *err);
/* One of the volumes along the fourth axis, from 0, as an image; MSA_E_NOT_FOUND beyond them. */
MSA_NODISCARD msa_status msa_nifti_read_volume(msa_nifti **out, const char *path, int32_t number,
                                               msa_error *err);
/* How many volumes there are along the fourth axis. Reads the header only. */
MSA_NODISCARD msa_status msa_nifti_volumes(int32_t *n, const char *path, msa_error *err);
void msa_nifti_free(msa_nifti *n);
MSA_DEFINE_AUTO(msa_nifti, msa_nifti_free);

#endif
