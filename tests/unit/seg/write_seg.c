/* Series folder + synthetic ellipsoids -> SEG, for the checks by foreign tools.
 *
 * usage: write_seg SERIES_DIR OUT_DIR [SR_CLASS_UID SR_INSTANCE_UID [FORMAT PROFILE COMPRESSION EMPTY]]
 * Writes OUT_DIR/seg.dcm, seg-2.dcm and the masks that went in: OUT_DIR/masks.raw (segment, slice, row,
 * column; bytes), OUT_DIR/fractions.raw, the same shape, and OUT_DIR/masks.txt: "segments slices rows cols", the labels, the SOP Instance UIDs of the
 * slices, a line each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dicom/seg.h"

#define N_SEGMENTS 4

/* Centre and half axes in parts of the volume's extent. "lesion" lies within "liver": it must go into a
 * second object. */
static const struct {
    const char *label;
    double centre[3], radius[3];
} shapes[N_SEGMENTS] = {{"liver", {0.4, 0.35, 0.4}, {0.35, 0.22, 0.2}},
                        {"Kidney_left", {0.6, 0.75, 0.7}, {0.25, 0.1, 0.15}},
                        {"lesion", {0.45, 0.4, 0.4}, {0.15, 0.06, 0.05}},
                        {"nothing", {0.5, 0.5, 0.5}, {0, 0, 0}}};

static void draw(uint8_t *mask, const dicom_volume_info *info, size_t shape)
{
    const int32_t size[3] = {info->slices, info->rows, info->cols};
    for (int32_t k = 0; k < size[0]; k++)
        for (int32_t r = 0; r < size[1]; r++)
            for (int32_t c = 0; c < size[2]; c++, mask++) {
                const int32_t at[3] = {k, r, c};
                double d = 0;
                for (int a = 0; a < 3; a++) {
                    /* at least a voxel thick, so that thin series have something too */
                    const double radius = shapes[shape].radius[a] * size[a];
                    const double x =
                        (at[a] + 0.5 - shapes[shape].centre[a] * size[a]) / (radius < 1 ? 1 : radius);
                    d += x * x;
                }
                *mask = shapes[shape].radius[0] > 0 && d <= 1;
            }
}

/* Something between 128 and 255 where the mask is, below elsewhere. */
static void blur(uint8_t *fraction, const uint8_t *mask, size_t n)
{
    for (size_t i = 0; i < n; i++)
        fraction[i] = (uint8_t)(mask[i] ? 128 + i % 128 : i % 101);
}

static int write_raw(const char *dir, const char *name, const uint8_t *bytes, size_t n)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *raw = fopen(path, "wb");
    const int bad = !raw || fwrite(bytes, 1, n, raw) != n;
    if (raw && fclose(raw) != 0) return -1;
    return bad ? -1 : 0;
}

static int write_masks(const char *dir, const uint8_t *masks, const uint8_t *fractions, size_t bytes,
                       const dicom_volume_info *info)
{
    char path[4096];
    if (write_raw(dir, "masks.raw", masks, bytes) != 0 || write_raw(dir, "fractions.raw", fractions, bytes) != 0)
        return -1;
    (void)snprintf(path, sizeof path, "%s/masks.txt", dir);
    FILE *text = fopen(path, "w");
    if (!text) return -1;
    (void)fprintf(text, "%d %d %d %d\n", N_SEGMENTS, info->slices, info->rows, info->cols);
    for (size_t i = 0; i < N_SEGMENTS; i++)
        (void)fprintf(text, "%s\n", shapes[i].label);
    for (int32_t k = 0; k < info->slices; k++)
        (void)fprintf(text, "%s\n", info->slice[k].sop_instance_uid);
    return fclose(text);
}

static msa_status run(const char *series_dir, const char *out_dir, const char *const sr[2],
                      const dicom_seg_form *form, msa_error *err)
{
    MSA_AUTO(dicom_series) series = NULL;
    MSA_TRY(dicom_series_load_dir(&series, series_dir, NULL, err));
    const dicom_volume_info *info = dicom_series_info(series);
    const size_t voxels = (size_t)info->slices * (size_t)info->rows * (size_t)info->cols;
    MSA_AUTO_FREE uint8_t *masks = calloc(N_SEGMENTS, voxels);
    MSA_AUTO_FREE uint8_t *fractions = calloc(N_SEGMENTS, voxels);
    dicom_segment segments[N_SEGMENTS];
    dicom_seg_file files[DICOM_SEG_FILES_MAX];
    dicom_prompt prompt;
    size_t n_files = 0;
    if (!masks || !fractions) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    memset(segments, 0, sizeof segments);
    memset(&prompt, 0, sizeof prompt);
    for (size_t i = 0; i < N_SEGMENTS; i++) {
        draw(masks + i * voxels, info, i);
        blur(fractions + i * voxels, masks + i * voxels, voxels);
        segments[i].mask = masks + i * voxels;
        segments[i].probability = fractions + i * voxels;
        (void)snprintf(segments[i].label, sizeof segments[i].label, "%s", shapes[i].label);
    }
    if (sr[0]) {
        (void)snprintf(prompt.source_class_uid, sizeof prompt.source_class_uid, "%s", sr[0]);
        (void)snprintf(prompt.source_instance_uid, sizeof prompt.source_instance_uid, "%s", sr[1]);
        (void)snprintf(segments[0].tracking_id, sizeof segments[0].tracking_id, "annotation 1");
        (void)snprintf(segments[0].tracking_uid, sizeof segments[0].tracking_uid, "2.25.1234567");
    }
    const dicom_code liver = {"10200004", "SCT", "Liver"};
    segments[2].site = liver;
    const dicom_seg_options options = {.key = series_dir,
                                       .series_description = "msad: synthetic test shapes",
                                       .content_description = "Ellipsoids, no segmentation",
                                       .model_name = "write_seg",
                                       .model_version = "1",
                                       .software_version = "msad " MSAD_VERSION,
                                       .series_number = 9001,
                                       .form = *form,
                                       .model_hash =
                                           "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                                       .prompts = sr[0] ? &prompt : NULL,
                                       .n_prompts = sr[0] ? 1 : 0};
    MSA_TRY(dicom_seg_write(series, segments, N_SEGMENTS, &options, out_dir, files, &n_files, err));
    for (size_t i = 0; i < n_files; i++)
        printf("instance %zu: %d segments, %d frames\n", i + 1, files[i].segments, files[i].frames);
    if (write_masks(out_dir, masks, fractions, N_SEGMENTS * voxels, info) != 0)
        return msa_fail(err, MSA_E_IO, "cannot write the masks beside the segmentation");
    return MSA_OK;
}

int main(int argc, char **argv)
{
    msa_error err = MSA_ERROR_INIT;
    dicom_seg_form form = {0};
    if ((argc != 3 && argc != 5 && argc != 9) ||
        (argc == 9 && !dicom_seg_form_parse(&form, argv[5], argv[6], argv[7], argv[8][0] == '1'))) {
        (void)fprintf(stderr, "usage: write_seg SERIES_DIR OUT_DIR [SR_CLASS_UID SR_INSTANCE_UID [FORMAT "
                              "PROFILE COMPRESSION EMPTY]]\n");
        return 2;
    }
    const char *const sr[2] = {argc >= 5 ? argv[3] : NULL, argc >= 5 ? argv[4] : NULL};
    if (dicom_init(&err) == MSA_OK && run(argv[1], argv[2], sr, &form, &err) == MSA_OK) return 0;
    (void)fprintf(stderr, "write_seg: %s\n", err.what);
    return 1;
}
