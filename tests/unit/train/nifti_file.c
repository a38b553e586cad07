#include "tests/unit/train/nifti_file.h"

#include <string.h>
#include <zlib.h>

#include "tests/unit/volume/cm.h"

nifti_file nifti_file_of(int16_t w, int16_t h, int16_t d, int16_t datatype, int16_t bitpix)
{
    return (nifti_file){.dim = {3, w, h, d, 1, 1, 1, 1},
                        .datatype = datatype,
                        .bitpix = bitpix,
                        .pixdim = {1, 1, 1, 1, 1, 1, 1, 1},
                        .vox_offset = 352,
                        .magic = "n+1",
                        .header_size = 348};
}

void nifti_file_write(const char *path, const nifti_file *f, const void *voxels, uint32_t bytes)
{
    unsigned char h[352] = {0}; /* offsets: nifti1.h of the standard */
    memcpy(h, &f->header_size, 4);
    memcpy(h + 40, f->dim, 16);
    memcpy(h + 70, &f->datatype, 2);
    memcpy(h + 72, &f->bitpix, 2);
    memcpy(h + 76, f->pixdim, 32);
    memcpy(h + 108, &f->vox_offset, 4);
    memcpy(h + 112, &f->slope, 4);
    memcpy(h + 116, &f->inter, 4);
    memcpy(h + 252, &f->qform, 2);
    memcpy(h + 254, &f->sform, 2);
    memcpy(h + 256, f->quatern, 24);
    memcpy(h + 280, f->srow, 48);
    memcpy(h + 344, f->magic, 4);
    const size_t n = strlen(path);
    const gzFile file = gzopen(path, n > 3 && strcmp(path + n - 3, ".gz") == 0 ? "wb1" : "wbT");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, h, sizeof h), (int)sizeof h);
    if (bytes > 0) assert_int_equal(gzwrite(file, voxels, bytes), (int)bytes);
    assert_int_equal(gzclose(file), Z_OK);
}
