/* NIfTI files for tests: written here byte by byte, so that the reader is not compared with itself. */
#ifndef MSA_TESTS_UNIT_TRAIN_NIFTI_FILE_H
#define MSA_TESTS_UNIT_TRAIN_NIFTI_FILE_H

#include <stdint.h>

/* What a test wants other than a good little-endian int16 file of 3 axes without orientation. */
typedef struct nifti_file {
    int16_t dim[8];
    int16_t datatype, bitpix;
    float pixdim[8];
    float vox_offset, slope, inter;
    int16_t qform, sform;
    float quatern[6]; /* b c d, offsets x y z */
    float srow[12];
    const char *magic; /* 4 bytes with the NUL */
    int32_t header_size;
} nifti_file;

nifti_file nifti_file_of(int16_t w, int16_t h, int16_t d, int16_t datatype, int16_t bitpix);
/* path: gzip when it ends in .gz. */
void nifti_file_write(const char *path, const nifti_file *f, const void *voxels, uint32_t bytes);

#endif
