/* Annotation objects: their prompts, and their areas laid on a small series that the corpus names. */
#include "dicom/annotation.h"
#include "dicom/labels.h"
#include "dicom/read/series_impl.h"

#include "dcmtk/dcmdata/dcdeftag.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

extern "C" {
#include "tests/fuzz/fuzz.h"
}

namespace
{

constexpr int32_t ROWS = 12, COLS = 10, SLICES = 4;

/* Four axial slices 2 mm apart, pixels of 1 mm, in series 1.2.826.0.1.7 and frame of reference 1.2.826.0.1.8.
 */
dicom_series *small_series()
{
    auto *s = new dicom_series;
    dicom_volume_info &info = s->info;
    s->files.push_back(std::make_unique<DcmFileFormat>());
    (void)s->files[0]->getDataset()->putAndInsertString(DCM_FrameOfReferenceUID, "1.2.826.0.1.8");
    info.rows = ROWS;
    info.cols = COLS;
    info.slices = SLICES;
    info.spacing_mm[0] = info.spacing_mm[1] = 1;
    info.row_dir[0] = info.col_dir[1] = info.normal[2] = 1;
    info.step_mm = 2;
    (void)std::snprintf(info.series_uid, sizeof info.series_uid, "1.2.826.0.1.7");
    for (int k = 0; k < SLICES; k++) {
        dicom_slice slice{};
        slice.origin_mm[2] = slice.position_mm = 2.0 * k;
        (void)std::snprintf(slice.sop_instance_uid, sizeof slice.sop_instance_uid, "1.2.826.0.1.9.%d", k);
        s->slices.push_back(slice);
    }
    info.slice = s->slices.data();
    return s;
}

/* What a reader of prompts may rely on. */
void check(const dicom_prompt &p)
{
    const bool placed =
        p.sop_instance_uid[0] != '\0' || p.series_uid[0] != '\0' || p.frame_of_reference_uid[0] != '\0';
    const bool ordered = p.x0 <= p.x1 && p.y0 <= p.y1 && p.z0 <= p.z1; /* false on NaN */
    const bool area = p.kind != DICOM_PROMPT_BOX || (p.x0 < p.x1 && p.y0 < p.y1);
    const bool known = p.kind >= DICOM_PROMPT_BOX && p.kind <= DICOM_PROMPT_KEY_IMAGE;
    if (!placed || !ordered || !area || !known || std::strlen(p.label) >= sizeof p.label ||
        p.source_class_uid[0] == '\0')
        __builtin_trap();
}

void read_prompts(const char *path)
{
    dicom_prompt *prompts = nullptr;
    size_t n = 0;
    const char *note = nullptr;
    msa_error err = MSA_ERROR_INIT;
    const msa_status status = dicom_annotation_read(&prompts, &n, &note, path, &err);
    if (n > 4096 || (status == MSA_OK && n == 0 && note[0] == '\0') ||
        (status != MSA_OK && (n > 0 || err.what[0] == '\0')))
        __builtin_trap();
    for (size_t i = 0; i < n; i++)
        check(prompts[i]);
    std::free(prompts);
}

void read_masks(const dicom_series *series, const char *path)
{
    dicom_masks *masks = nullptr;
    static uint8_t mask[SLICES * ROWS * COLS];
    if (dicom_masks_read(&masks, series, path, nullptr) != MSA_OK) return;
    for (size_t i = 0; i < dicom_masks_count(masks) && i < 16; i++) {
        int64_t voxels = 0;
        const dicom_mask *m = dicom_masks_at(masks, i);
        if (m->planes > 0 && (m->first_slice < 0 || m->last_slice >= SLICES)) __builtin_trap();
        if (dicom_masks_fill(masks, i, mask, &voxels, nullptr) == MSA_OK && voxels > 0 && m->planes == 0)
            __builtin_trap();
    }
    dicom_masks_free(masks);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const bool ready = dicom_init(nullptr) == MSA_OK;
    static const dicom_series *const series = small_series();
    char path[32];
    const int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (!ready || fd < 0 || write(fd, bytes, size) != ssize_t(size)) std::abort();
    (void)std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    read_prompts(path);
    read_masks(series, path);
    (void)close(fd);
    return 0;
}
