#include "engine/io/nifti.h"

#include <errno.h>
#include <math.h>
#include <nifti/nifti1_io.h>
#include <stdlib.h>
#include <string.h>

/* Extensions (vox_offset tells where they end) are read whole by niftilib: no more than this. */
enum { HEADER_BYTES = 348, EXTENSIONS_MAX = 16 << 20 };

void msa_nifti_free(msa_nifti *n)
{
    if (!n) return;
    free(n->voxels);
    free(n->labels);
    free(n);
}

static void image_free(nifti_image *image)
{
    if (image) nifti_image_free(image);
}
MSA_DEFINE_AUTO(nifti_image, image_free);

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* ---- the header, before niftilib takes memory by it ---- */

static msa_status read_header(const char *path, nifti_1_header *h, msa_error *err)
{
    if (!ends_with(path, ".nii") && !ends_with(path, ".nii.gz"))
        return msa_fail(err, MSA_E_UNSUPPORTED, "the file is not named .nii or .nii.gz");
    errno = 0;
    znzFile file = znzopen(path, "rb", nifti_is_gzfile(path));
    if (znz_isnull(file))
        return msa_fail(err, errno == ENOENT ? MSA_E_NOT_FOUND : MSA_E_IO,
                        "the NIfTI file cannot be opened: %s", errno ? strerror(errno) : "no memory");
    const size_t got = znzread(h, 1, HEADER_BYTES, file);
    (void)Xznzclose(&file);
    if (got != HEADER_BYTES) return msa_fail(err, MSA_E_PARSE, "the file is shorter than a NIfTI header");
    return MSA_OK;
}

static msa_status check_layout(nifti_1_header *h, msa_error *err)
{
    if (h->magic[0] == 'n' && h->magic[1] == 'i' && h->magic[2] == '1')
        return msa_fail(err, MSA_E_UNSUPPORTED, "the NIfTI header has its voxels in another file");
    if (memcmp(h->magic, "n+1", 4) != 0) return msa_fail(err, MSA_E_PARSE, "the file is not NIfTI-1");
    if (h->sizeof_hdr != HEADER_BYTES) {
        swap_nifti_header(h, 1);
        if (h->sizeof_hdr != HEADER_BYTES) return msa_fail(err, MSA_E_PARSE, "the file is not NIfTI-1");
    }
    if (!(h->vox_offset >= HEADER_BYTES + 4 && h->vox_offset <= EXTENSIONS_MAX))
        return msa_fail(err, MSA_E_PARSE, "the NIfTI header says that voxels begin at byte %g",
                        (double)h->vox_offset);
    return MSA_OK;
}

/* several: volumes along the fourth axis are allowed; each is checked for its own size. */
static msa_status check_sizes(const nifti_1_header *h, bool several, msa_error *err)
{
    int64_t voxels = 1;
    if (h->dim[0] < 2 || h->dim[0] > 7)
        return msa_fail(err, MSA_E_PARSE, "the NIfTI header names %d axes", h->dim[0]);
    for (int i = 1; i <= h->dim[0]; i++) {
        if (i > (several ? 4 : 3) && h->dim[i] > 1)
            return msa_fail(err, MSA_E_UNSUPPORTED, "the NIfTI file holds %d volumes; one is expected",
                            h->dim[i]);
        if (h->dim[i] < 1 || h->dim[i] > MSA_NIFTI_SIDE_MAX)
            return msa_fail(err, MSA_E_PARSE, "axis %d of the NIfTI file is %d long", i, h->dim[i]);
        if (i < 4) voxels *= h->dim[i];
    }
    if (voxels > MSA_NIFTI_VOXELS_MAX)
        return msa_fail(err, MSA_E_PARSE, "the NIfTI file has %lld voxels; at most %lld are read",
                        (long long)voxels, (long long)MSA_NIFTI_VOXELS_MAX);
    return MSA_OK;
}

static msa_status check_type(int datatype, msa_error *err)
{
    switch (datatype) {
    case DT_UINT8:
    case DT_INT8:
    case DT_INT16:
    case DT_UINT16:
    case DT_INT32:
    case DT_UINT32:
    case DT_INT64:
    case DT_UINT64:
    case DT_FLOAT32:
    case DT_FLOAT64:
        return MSA_OK;
    default:
        return msa_fail(err, MSA_E_UNSUPPORTED, "values of NIfTI type %d are not read", datatype);
    }
}

/* ---- values ---- */

/* niftilib's own loading takes a truncated file for a whole one (its -1 becomes a large size_t), so the bytes
 * are read here. */
static msa_status load_values(nifti_image *m, const char *path, int32_t volume, msa_error *err)
{
    const size_t voxels = (size_t)m->nx * (size_t)m->ny * (size_t)m->nz;
    const size_t bytes = voxels * (size_t)m->nbyper;
    const znz_off_t from = (znz_off_t)m->iname_offset + (znz_off_t)bytes * volume;
    znzFile file = znzopen(path, "rb", nifti_is_gzfile(path));
    if (znz_isnull(file)) return msa_fail(err, MSA_E_IO, "the NIfTI file cannot be opened");
    m->data = malloc(bytes); /* freed with the image */
    const bool whole =
        m->data && znzseek(file, from, SEEK_SET) >= 0 && znzread(m->data, 1, bytes, file) == bytes;
    (void)Xznzclose(&file);
    if (!m->data) return msa_fail(err, MSA_E_NOMEM, "out of memory for %zu bytes of voxels", bytes);
    if (!whole) return msa_fail(err, MSA_E_PARSE, "the NIfTI file ends before its voxels do");
    if (m->swapsize > 1 && m->byteorder != nifti_short_order())
        nifti_swap_Nbytes(voxels, m->swapsize, m->data);
    return MSA_OK;
}

static double value_at(const nifti_image *m, int64_t i)
{
    switch (m->datatype) {
    case DT_UINT8:
        return ((const uint8_t *)m->data)[i];
    case DT_INT8:
        return ((const int8_t *)m->data)[i];
    case DT_INT16:
        return ((const int16_t *)m->data)[i];
    case DT_UINT16:
        return ((const uint16_t *)m->data)[i];
    case DT_INT32:
        return ((const int32_t *)m->data)[i];
    case DT_UINT32:
        return ((const uint32_t *)m->data)[i];
    case DT_INT64:
        return (double)((const int64_t *)m->data)[i];
    case DT_UINT64:
        return (double)((const uint64_t *)m->data)[i];
    case DT_FLOAT32:
        return (double)((const float *)m->data)[i];
    default:
        return ((const double *)m->data)[i];
    }
}

/* ---- orientation ---- */

/* Output axis a (0 W, 1 H, 2 D) runs along input axis from[a], backwards when flip[a]. */
typedef struct turn {
    int from[3];
    bool flip[3];
} turn;

static bool usable(const mat44 *m)
{
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 4; c++)
            if (!isfinite(m->m[r][c]) || fabsf(m->m[r][c]) > 1e6F) return false;
    mat33 turning;
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 3; c++)
            turning.m[r][c] = m->m[r][c];
    return fabsf(nifti_mat33_determ(turning)) > 1e-9F;
}

/* The standard's order: sform when its code says so, then qform, then the voxel sizes alone. */
static bool placement(const nifti_image *m, mat44 *out)
{
    const float size[3] = {m->dx, m->dy, m->dz};
    if (m->sform_code > 0 && usable(&m->sto_xyz)) {
        *out = m->sto_xyz;
        return true;
    }
    if (m->qform_code > 0 && usable(&m->qto_xyz)) {
        *out = m->qto_xyz;
        return true;
    }
    memset(out, 0, sizeof *out);
    for (int i = 0; i < 3; i++) {
        const float s = fabsf(size[i]);
        out->m[i][i] = (isfinite(s) && s > 0 ? s : 1) * (i < 2 ? -1.0F : 1.0F); /* W left, H back in RAS */
    }
    out->m[3][3] = 1;
    return false;
}

static turn turn_of(mat44 place, bool oriented)
{
    static const int backwards[3] = {NIFTI_L2R, NIFTI_P2A, NIFTI_S2I}; /* of W, H, D */
    turn t = {{0, 1, 2}, {false, false, false}};
    int code[3];
    if (!oriented) return t;
    nifti_mat44_to_orientation(place, &code[0], &code[1], &code[2]);
    for (int axis = 0; axis < 3; axis++) {
        const int patient = (code[axis] - 1) / 2; /* codes come in pairs: L2R R2L, P2A A2P, I2S S2I */
        if (patient < 0 || patient > 2) return t;
        t.from[patient] = axis;
        t.flip[patient] = code[axis] == backwards[patient];
    }
    return t;
}

/* Column a of the new matrix is column from[a] of the old one; x and y change sign from RAS to LPS. */
static void place_voxels(msa_nifti *n, const mat44 *place, const turn *t, const int side[3])
{
    double origin[3] = {(double)place->m[0][3], (double)place->m[1][3], (double)place->m[2][3]};

    n->affine[15] = 1;
    for (int a = 0; a < 3; a++) {
        double square = 0;
        for (int r = 0; r < 3; r++) {
            const double step = (double)place->m[r][t->from[a]];
            square += step * step;
            if (t->flip[a]) origin[r] += step * (side[t->from[a]] - 1);
            n->affine[r * 4 + a] = (t->flip[a] ? -step : step) * (r < 2 ? -1 : 1);
        }
        n->spacing_mm[2 - a] = (float)sqrt(square);
    }
    for (int r = 0; r < 3; r++)
        n->affine[r * 4 + 3] = origin[r] * (r < 2 ? -1 : 1);
}

/* ---- the whole ---- */

static msa_status copy_values(msa_nifti *n, const nifti_image *m, const turn *t, const int side[3],
                              msa_error *err)
{
    const int64_t stride[3] = {1, side[0], (int64_t)side[0] * side[1]};
    const bool scaled = isfinite(m->scl_slope) && isfinite(m->scl_inter) && m->scl_slope != 0;
    const double slope = scaled ? (double)m->scl_slope : 1, inter = scaled ? (double)m->scl_inter : 0;
    int64_t to = 0;
    int64_t start = 0, step[3];
    for (int a = 0; a < 3; a++) {
        step[a] = stride[t->from[a]] * (t->flip[a] ? -1 : 1);
        if (t->flip[a]) start += stride[t->from[a]] * (side[t->from[a]] - 1);
    }
    for (int32_t d = 0; d < n->depth; d++)
        for (int32_t h = 0; h < n->rows; h++)
            for (int32_t w = 0; w < n->cols; w++) {
                const double raw = value_at(m, start + d * step[2] + h * step[1] + w * step[0]);
                const double v = isfinite(raw) ? raw * slope + inter : 0;
                if (n->labels) {
                    if (!(v >= 0 && v <= UINT16_MAX) || v != floor(v))
                        return msa_fail(err, MSA_E_PARSE, "the label map holds %g, which is no label", v);
                    n->labels[to++] = (uint16_t)v;
                } else {
                    if (!(fabs(v) <= 1e30))
                        return msa_fail(err, MSA_E_PARSE, "the NIfTI image holds a value beyond 1e30");
                    n->voxels[to++] = (float)v;
                }
            }
    return MSA_OK;
}

static msa_status convert(msa_nifti **out, const nifti_image *m, bool labels, msa_error *err)
{
    const int side[3] = {m->nx, m->ny, m->nz};
    const size_t voxels = (size_t)m->nx * (size_t)m->ny * (size_t)m->nz;
    MSA_AUTO(msa_nifti) n = calloc(1, sizeof *n);
    mat44 place;
    if (!n) return msa_fail(err, MSA_E_NOMEM, "out of memory for a NIfTI file");
    n->oriented = placement(m, &place);
    const turn t = turn_of(place, n->oriented);
    n->cols = side[t.from[0]];
    n->rows = side[t.from[1]];
    n->depth = side[t.from[2]];
    if (labels)
        n->labels = malloc(voxels * sizeof *n->labels);
    else
        n->voxels = malloc(voxels * sizeof *n->voxels);
    if (!n->labels && !n->voxels) return msa_fail(err, MSA_E_NOMEM, "out of memory for %zu voxels", voxels);
    place_voxels(n, &place, &t, side);
    MSA_TRY(copy_values(n, m, &t, side, err));
    *out = MSA_STEAL(n);
    return MSA_OK;
}

/* Volumes along the fourth axis. */
static int32_t count_volumes(const nifti_1_header *h)
{
    return h->dim[0] > 3 ? h->dim[4] : 1;
}

static msa_status check_header(nifti_1_header *h, const char *path, bool several, msa_error *err)
{
    nifti_set_debug_level(0); /* it writes to standard error otherwise; what failed is said here */
    MSA_TRY(read_header(path, h, err));
    MSA_TRY(check_layout(h, err));
    MSA_TRY(check_sizes(h, several, err));
    return check_type(h->datatype, err);
}

static msa_status read_one(msa_nifti **out, const char *path, const nifti_1_header *h, int32_t volume,
                           bool labels, msa_error *err)
{
    MSA_AUTO(nifti_image) image = nifti_image_read(path, 0);
    if (!image) return msa_fail(err, MSA_E_PARSE, "the NIfTI header contradicts itself");
    /* what niftilib understood must be what was checked */
    if (image->nx != h->dim[1] || image->ny != h->dim[2] || image->nz != (h->dim[0] > 2 ? h->dim[3] : 1) ||
        image->datatype != h->datatype ||
        image->nvox != (size_t)image->nx * (size_t)image->ny * (size_t)image->nz * (size_t)count_volumes(h))
        return msa_fail(err, MSA_E_PARSE, "the NIfTI header contradicts itself");
    MSA_TRY(load_values(image, path, volume, err));
    return convert(out, image, labels, err);
}

msa_status msa_nifti_read(msa_nifti **out, const char *path, bool labels, msa_error *err)
{
    nifti_1_header h;
    *out = NULL;
    MSA_TRY(check_header(&h, path, false, err));
    return read_one(out, path, &h, 0, labels, err);
}

msa_status msa_nifti_read_volume(msa_nifti **out, const char *path, int32_t number, msa_error *err)
{
    nifti_1_header h;
    *out = NULL;
    MSA_TRY(check_header(&h, path, true, err));
    if (number < 0 || number >= count_volumes(&h))
        return msa_fail(err, MSA_E_NOT_FOUND, "the NIfTI file holds %d volumes, none of number %d",
                        count_volumes(&h), number);
    return read_one(out, path, &h, number, false, err);
}

msa_status msa_nifti_volumes(int32_t *n, const char *path, msa_error *err)
{
    nifti_1_header h;
    MSA_TRY(check_header(&h, path, true, err));
    *n = count_volumes(&h);
    return MSA_OK;
}
