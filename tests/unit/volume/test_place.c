/* A box drawn on an image comes back on exactly the pixels it was drawn over: report to slice, corner
 * coordinates to network input, logits back to pixels. The model is a fake that answers with the box itself.
 * usage: test_place MAKE_SERIES */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/volume/cm.h"
#include "tests/unit/volume/fake_predictor.h"

#include "server/segment/objects.h"

static const char *make_series;
static char folder[] = "/tmp/msa-place-XXXXXX";

typedef struct shape {
    const char *orientation, *rows, *cols, *spacing;
    msa_geometry geometry;
    float crop_margin;
} shape;

static const shape shapes[] = {
    {"axial", "61", "83", "3.1,2.3", MSA_GEOMETRY_LONGEST_SIDE, 0},
    {"axial", "61", "83", "3.1,2.3", MSA_GEOMETRY_STRETCH, 0},
    {"sagittal", "83", "47", "1.5,4", MSA_GEOMETRY_LONGEST_SIDE, 0},
    {"sagittal", "83", "47", "1.5,4", MSA_GEOMETRY_STRETCH, 0},
    {"oblique", "64", "64", "2,3", MSA_GEOMETRY_LONGEST_SIDE, 0},
    {"oblique", "40", "90", "5,1.2", MSA_GEOMETRY_LONGEST_SIDE, 0},
    {"oblique", "52", "31", "2.25,2.25", MSA_GEOMETRY_STRETCH, 0},
    {"axial", "61", "83", "1.5,1.5", MSA_GEOMETRY_LONGEST_SIDE, 0.25F},
    {"axial", "61", "83", "3.1,2.3", MSA_GEOMETRY_LONGEST_SIDE, 0.25F},
    {"sagittal", "83", "47", "1.5,4", MSA_GEOMETRY_LONGEST_SIDE, 0.1F},
    {"oblique", "70", "90", "0.9,1.2", MSA_GEOMETRY_STRETCH, 0.4F},
};

/* Each touches another border of the image or none; slices at both ends and inside. */
static const struct {
    int x0, y0, x1, y1, slice;
    const char *label, *option;
} boxes[] = {
    {12, 9, 25, 31, 2, "inside", "12,9,25,31@2=inside"},
    {0, 0, 9, 14, 0, "first corner", "0,0,9,14@0=first corner"},
    {17, 20, 22, 37, 6, "last slice", "17,20,22,37@6=last slice"},
};
enum { BOXES = sizeof boxes / sizeof *boxes };

static int run_program(char *const argv[])
{
    int status = -1;
    const pid_t child = fork();
    if (child == 0) {
        if (freopen("/dev/null", "w", stdout) == NULL) _exit(126);
        (void)execv(argv[0], argv);
        _exit(127);
    }
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void write_phantom(const shape *s, const char *dir, const char *report)
{
    char *const argv[] = {(char *)make_series,
                          "--out",
                          (char *)dir,
                          "--sr",
                          (char *)report,
                          "--slices",
                          "7",
                          "--orientation",
                          (char *)s->orientation,
                          "--rows",
                          (char *)s->rows,
                          "--cols",
                          (char *)s->cols,
                          "--spacing",
                          (char *)s->spacing,
                          "--box",
                          (char *)boxes[0].option,
                          "--box",
                          (char *)boxes[1].option,
                          "--box",
                          (char *)boxes[2].option,
                          NULL};
    assert_int_equal(run_program(argv), 0);
}

static void check_slice(const uint8_t *slice, const dicom_volume_info *info, size_t b)
{
    for (int y = 0; y < info->rows; y++)
        for (int x = 0; x < info->cols; x++) {
            const int wanted = x >= boxes[b].x0 && x < boxes[b].x1 && y >= boxes[b].y0 && y < boxes[b].y1;
            if (slice[y * info->cols + x] != wanted)
                fail_msg("%s: column %d, row %d of %d x %d: wanted %d", boxes[b].label, x, y, info->cols,
                         info->rows, wanted);
        }
}

static void segment_and_check(const dicom_series *series, const dicom_prompt *prompts, size_t n)
{
    const dicom_volume_info *info = dicom_series_info(series);
    const size_t pixels = (size_t)info->rows * (size_t)info->cols;
    float position_mm[7];
    msa_object_result results[BOXES] = {0};
    MSA_AUTO(srv_objects) objects = NULL;
    assert_int_equal(info->slices, 7);
    const srv_segment_request request = {.series = series, .prompts = prompts, .n_prompts = n};
    assert_int_equal(srv_objects_new(&objects, &request, NULL), MSA_OK);
    assert_int_equal(objects->n, BOXES);
    for (int k = 0; k < 7; k++)
        position_mm[k] = (float)info->slice[k].position_mm;
    for (size_t b = 0; b < BOXES; b++)
        results[b].mask = calloc((size_t)info->slices, pixels);
    const msa_volume volume = {.voxels = dicom_series_voxels(series),
                               .D = info->slices,
                               .H = info->rows,
                               .W = info->cols,
                               .spacing_mm = {(float)info->spacing_mm[0], (float)info->spacing_mm[1]},
                               .position_mm = position_mm,
                               .window_center = 40,
                               .window_width = 400};
    assert_int_equal(msa_segment(NULL, &volume, objects->objects, (int32_t)objects->n, results, NULL, NULL,
                                 NULL, NULL, NULL),
                     MSA_OK);
    for (size_t b = 0; b < BOXES; b++) {
        assert_string_equal(objects->names[b].label, boxes[b].label);
        check_slice(results[b].mask + (size_t)boxes[b].slice * pixels, info, b);
        free(results[b].mask);
    }
}

/* Once as the report names its images, once as REST and the command line count slices: the same slices. */
static void a_box_comes_back_where_it_was_drawn(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        char dir[64];
        char report[64];
        const char *note = NULL;
        size_t n = 0;
        MSA_AUTO(dicom_series) series = NULL;
        MSA_AUTO_FREE dicom_prompt *prompts = NULL;
        (void)snprintf(dir, sizeof dir, "%s/%zu", folder, s);
        (void)snprintf(report, sizeof report, "%s/report-%zu.dcm", folder, s);
        write_phantom(&shapes[s], dir, report);
        fake_config.geometry = shapes[s].geometry;
        fake_config.crop_margin = shapes[s].crop_margin;
        assert_int_equal(dicom_series_load_dir(&series, dir, NULL, NULL), MSA_OK);
        assert_int_equal(dicom_annotation_read(&prompts, &n, &note, report, NULL), MSA_OK);
        assert_int_equal(n, BOXES);
        segment_and_check(series, prompts, n);
        for (size_t i = 0; i < n; i++) {
            prompts[i].sop_instance_uid[0] = '\0';
            prompts[i].slice = boxes[i].slice;
        }
        segment_and_check(series, prompts, n);
    }
}

static int group_setup(void **state)
{
    (void)state;
    fake_log = (fake_predictor_log){.iou = 0.9F, .box_is_mask = true};
    return mkdtemp(folder) && dicom_init(NULL) == MSA_OK ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static int group_teardown(void **state)
{
    (void)state;
    return nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_box_comes_back_where_it_was_drawn)};
    if (argc != 2 || access(argv[1], X_OK) != 0) {
        (void)fputs("usage: test_place MAKE_SERIES\n", stderr);
        return 2;
    }
    make_series = argv[1];
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
