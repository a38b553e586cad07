/* Where prompts come to lie on a series, and what objects they make.
 * usage: test_lay MAKE_SERIES */
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/volume/cm.h"

#include "dicom/seg.h"
#include "server/segment/lay.h"
#include "server/segment/objects.h"

enum { AXIAL, SAGITTAL, OBLIQUE, SERIES, SLICES = 7 };
static const char *const orientations[SERIES] = {"axial", "sagittal", "oblique"};
static const char *make_series;
static char folder[] = "/tmp/msa-lay-XXXXXX";
static dicom_series *series[SERIES];
static char seg_path[96];

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

/* Two parts on slice 2, one of them on slice 3 as well; segment 2 has one pixel on slice 6. */
static int write_seg(void)
{
    const dicom_volume_info *info = dicom_series_info(series[AXIAL]);
    const size_t pixels = (size_t)info->rows * (size_t)info->cols;
    uint8_t *masks[2];
    dicom_segment segments[2] = {{.label = "parts"}, {.label = "pixel"}};
    dicom_seg_file files[DICOM_SEG_FILES_MAX];
    size_t n = 0;
    msa_error err = MSA_ERROR_INIT;
    for (int i = 0; i < 2; i++) {
        masks[i] = calloc(SLICES, pixels);
        if (!masks[i]) return -1;
        segments[i].mask = masks[i];
    }
    for (int y = 10; y < 14; y++)
        for (int x = 20; x < 30; x++)
            masks[0][2 * pixels + (size_t)(y * info->cols + x)] =
                masks[0][3 * pixels + (size_t)(y * info->cols + x)] = 1;
    for (int y = 30; y < 31; y++)
        for (int x = 50; x < 53; x++)
            masks[0][2 * pixels + (size_t)(y * info->cols + x)] = 1;
    masks[1][6 * pixels] = 1;
    const dicom_seg_options options = {.key = "key",
                                       .series_description = "areas",
                                       .content_description = "areas",
                                       .model_name = "nobody",
                                       .model_version = "1",
                                       .software_version = "1"};
    const msa_status status = dicom_seg_write(series[AXIAL], segments, 2, &options, folder, files, &n, &err);
    if (status != MSA_OK) (void)fprintf(stderr, "%s\n", err.what);
    (void)snprintf(seg_path, sizeof seg_path, "%s/seg.dcm", folder);
    free(masks[0]);
    free(masks[1]);
    return status == MSA_OK ? 0 : -1;
}

static int group_setup(void **state)
{
    (void)state;
    if (!mkdtemp(folder) || dicom_init(NULL) != MSA_OK) return -1;
    for (int k = 0; k < SERIES; k++) {
        char dir[64];
        (void)snprintf(dir, sizeof dir, "%s/%s", folder, orientations[k]);
        char *const argv[] = {(char *)make_series,
                              "--out",
                              dir,
                              "--orientation",
                              (char *)orientations[k],
                              "--rows",
                              "61",
                              "--cols",
                              "83",
                              "--slices",
                              "7",
                              "--spacing",
                              "3.1,2.3",
                              NULL};
        if (run_program(argv) != 0) return -1;
        if (dicom_series_load_dir(&series[k], dir, NULL, NULL) != MSA_OK) return -1;
        if (dicom_series_info(series[k])->slices != SLICES) return -1;
    }
    return write_seg();
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static int group_teardown(void **state)
{
    (void)state;
    for (int k = 0; k < SERIES; k++)
        dicom_series_free(series[k]);
    return nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- words ---- */

/* Where the corner (x, y) of a pixel of this slice lies, moved along the normal. */
static void in_space(const dicom_volume_info *info, int32_t slice, double x, double y, double along,
                     double at[3])
{
    for (int k = 0; k < 3; k++)
        at[k] = info->slice[slice].origin_mm[k] + (x - 0.5) * info->spacing_mm[1] * info->row_dir[k] +
                (y - 0.5) * info->spacing_mm[0] * info->col_dir[k] + along * info->normal[k];
}

/* The upright box between two places. */
static dicom_prompt box_between(const double a[3], const double b[3])
{
    dicom_prompt p = {.kind = DICOM_PROMPT_BOX, .space = DICOM_SPACE_PATIENT, .frame = 1, .positive = 1};
    p.x0 = fmin(a[0], b[0]), p.y0 = fmin(a[1], b[1]), p.z0 = fmin(a[2], b[2]);
    p.x1 = fmax(a[0], b[0]), p.y1 = fmax(a[1], b[1]), p.z1 = fmax(a[2], b[2]);
    return p;
}

static dicom_prompt point_at(const double a[3], int positive)
{
    return (dicom_prompt){.kind = DICOM_PROMPT_POINT,
                          .space = DICOM_SPACE_PATIENT,
                          .frame = 1,
                          .positive = positive,
                          .x0 = a[0],
                          .y0 = a[1],
                          .z0 = a[2]};
}

static dicom_prompt on_slice(dicom_prompt_kind kind, int32_t slice, const char *label)
{
    dicom_prompt p = {.kind = (int32_t)kind, .frame = 1, .positive = 1, .slice = slice};
    p.x0 = 20, p.y0 = 15, p.x1 = 55, p.y1 = 45;
    (void)snprintf(p.label, sizeof p.label, "%s", label);
    return p;
}

static srv_laid *lay(int which, const dicom_prompt *prompts, size_t n)
{
    srv_laid *l = NULL;
    const srv_segment_request request = {.series = series[which], .prompts = prompts, .n_prompts = n};
    msa_error err = MSA_ERROR_INIT;
    if (srv_laid_new(&l, &request, &err) != MSA_OK) fail_msg("%s", err.what);
    return l;
}

static void assert_at(double got, double wanted, const char *what)
{
    if (fabs(got - wanted) > 1e-3) fail_msg("%s: %.6f, wanted %.6f", what, got, wanted);
}

static void assert_box(const msa_prompt *p, int32_t slice, double x0, double y0, double x1, double y1)
{
    assert_int_equal(p->kind, MSA_PROMPT_BOX);
    assert_int_equal(p->slice, slice);
    assert_at((double)p->x0, x0, "x0");
    assert_at((double)p->y0, y0, "y0");
    assert_at((double)p->x1, x1, "x1");
    assert_at((double)p->y1, y1, "y1");
}

/* ---- in space ---- */

/* Slices that lie along the box's sides get the box itself. */
static void a_box_in_space_prompts_the_slices_it_crosses(void **state)
{
    (void)state;
    for (int which = AXIAL; which <= SAGITTAL; which++) {
        const dicom_volume_info *info = dicom_series_info(series[which]);
        double a[3];
        double b[3];
        in_space(info, 2, 12, 9, -0.4 * info->step_mm, a);
        in_space(info, 4, 25.5, 31, 0, b); /* ends on the plane of slice 4 */
        const dicom_prompt p = box_between(a, b);
        MSA_AUTO(srv_laid) l = lay(which, &p, 1);
        assert_int_equal(l->n_left_out, 0);
        assert_int_equal(l->n, 3);
        for (int32_t k = 0; k < 3; k++)
            assert_box(&l->prompts[k], 2 + k, 12, 9, 25.5, 31);
    }
}

static void a_flat_or_thin_box_belongs_to_the_nearest_slice(void **state)
{
    (void)state;
    const dicom_volume_info *info = dicom_series_info(series[AXIAL]);
    const double step = info->step_mm;
    /* flat on the plane but for rounding; thin between 3 and 4; just outside the stack */
    const struct {
        int32_t from;
        double low, high;
        int32_t slice;
    } cases[] = {
        {3, 1e-4, 1e-4, 3}, {3, 0.3, 0.45, 3}, {3, 0.6, 0.7, 4}, {6, 0.45, 0.49, 6}, {0, -0.3, -0.2, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double a[3];
        double b[3];
        in_space(info, cases[i].from, 12, 9, cases[i].low * step, a);
        in_space(info, cases[i].from, 25, 31, cases[i].high * step, b);
        const dicom_prompt p = box_between(a, b);
        MSA_AUTO(srv_laid) l = lay(AXIAL, &p, 1);
        assert_int_equal(l->n, 1);
        assert_box(&l->prompts[0], cases[i].slice, 12, 9, 25, 31);
    }
}

/* What the cut of an upright box through a tilted plane covers, by looking at many places of the plane. */
static void sample_cut(const dicom_volume_info *info, const dicom_prompt *p, int32_t slice, double v[4])
{
    v[0] = v[1] = INFINITY;
    v[2] = v[3] = -INFINITY;
    for (double y = 0; y <= info->rows; y += 0.05)
        for (double x = 0; x <= info->cols; x += 0.05) {
            double at[3];
            in_space(info, slice, x, y, 0, at);
            if (at[0] < p->x0 || at[0] > p->x1 || at[1] < p->y0 || at[1] > p->y1 || at[2] < p->z0 ||
                at[2] > p->z1)
                continue;
            v[0] = fmin(v[0], x), v[1] = fmin(v[1], y);
            v[2] = fmax(v[2], x), v[3] = fmax(v[3], y);
        }
}

static void a_box_is_cut_by_slices_that_are_tilted(void **state)
{
    (void)state;
    const dicom_volume_info *info = dicom_series_info(series[OBLIQUE]);
    double a[3];
    double b[3];
    int cut = 0;
    in_space(info, 1, 22, 18, 0, a);
    in_space(info, 5, 55, 44, 0, b);
    const dicom_prompt p = box_between(a, b);
    MSA_AUTO(srv_laid) l = lay(OBLIQUE, &p, 1);
    size_t at = 0;
    for (int32_t k = 0; k < SLICES; k++) {
        double v[4];
        sample_cut(info, &p, k, v);
        if (!(v[2] - v[0] > 1 && v[3] - v[1] > 1)) continue; /* a corner's tip may be missed by the samples */
        while (at < l->n && l->prompts[at].slice < k)
            at++;
        assert_true(at < l->n && l->prompts[at].slice == k);
        const msa_prompt *q = &l->prompts[at];
        const double got[4] = {(double)q->x0, (double)q->y0, (double)q->x1, (double)q->y1};
        for (int i = 0; i < 4; i++) {
            /* the cut may reach over the image, where nothing was looked at */
            const double edge = i < 2 ? 0 : i == 2 ? info->cols : info->rows;
            const bool outside = i < 2 ? got[i] < edge : got[i] > edge;
            if (fabs((outside ? edge : got[i]) - v[i]) > 0.11)
                fail_msg("slice %d side %d: %f, wanted %f", k, i, got[i], v[i]);
        }
        cut++;
    }
    assert_true(cut >= 5);
}

static void points_belong_to_the_nearest_slice(void **state)
{
    (void)state;
    for (int which = 0; which < SERIES; which++) {
        const dicom_volume_info *info = dicom_series_info(series[which]);
        dicom_prompt p[3];
        double at[3];
        in_space(info, 3, 17.25, 40, 0.4 * info->step_mm, at);
        p[0] = point_at(at, 1);
        in_space(info, 0, 1, 2, -0.45 * info->step_mm, at);
        p[1] = point_at(at, 0);
        in_space(info, 6, 1, 2, 0.6 * info->step_mm, at);
        p[2] = point_at(at, 1);
        MSA_AUTO(srv_laid) l = lay(which, p, 3);
        assert_int_equal(l->n, 2);
        assert_int_equal(l->prompts[0].kind, MSA_PROMPT_POINT);
        assert_int_equal(l->prompts[0].slice, 3);
        assert_true(l->prompts[0].positive);
        assert_at((double)l->prompts[0].x0, 17.25, "x");
        assert_at((double)l->prompts[0].y0, 40, "y");
        assert_int_equal(l->prompts[1].slice, 0);
        assert_false(l->prompts[1].positive);
        assert_int_equal(l->n_left_out, 1);
        assert_string_equal(l->why, "a point lies on no slice of the series");
    }
}

static void what_lies_elsewhere_is_left_out_and_said(void **state)
{
    (void)state;
    const dicom_volume_info *info = dicom_series_info(series[AXIAL]);
    double a[3];
    double b[3];
    double c[3];
    in_space(info, 6, 10, 10, 2 * info->step_mm, a);
    in_space(info, 6, 20, 20, 3 * info->step_mm, b);
    in_space(info, 3, -30, 20, 0, c);
    dicom_prompt other = on_slice(DICOM_PROMPT_BOX, 3, "x"), nowhere = other, nan = other;
    (void)strcpy(other.series_uid, "1.2.3");
    nowhere.slice = SLICES;
    nan.z1 = NAN;
    const struct {
        dicom_prompt prompt;
        const char *why;
    } cases[] = {
        {box_between(a, b), "a box crosses no slice of the series"},
        {point_at(a, 1), "a point lies on no slice of the series"},
        {point_at(c, 1), "a point lies outside the image"},
        {other, "a prompt refers to another series"},
        {nowhere, "a prompt lies on a slice that the series does not have"},
        {nan, "a prompt has a coordinate that is not a number"},
        {{.kind = DICOM_PROMPT_REGION, .region = 1}, "an area came without the object that draws it"},
        {{.kind = DICOM_PROMPT_KEY_IMAGE, .sop_instance_uid = "1.2.3"}, "a key image is not in the volume"},
        {{.kind = 99}, "a prompt is of an unknown kind"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        MSA_AUTO(srv_laid) l = lay(AXIAL, &cases[i].prompt, 1);
        assert_int_equal(l->n, 0);
        assert_int_equal(l->n_left_out, 1);
        assert_string_equal(l->why, cases[i].why);
    }
}

/* ---- areas ---- */

static srv_laid *lay_regions(const dicom_prompt *prompts, size_t n, const char *path, bool as_mask, int which)
{
    const char *files[4];
    const srv_rule *rules[4];
    const srv_rule rule = {.regions = "mask"}, other = {.regions = "box"};
    srv_laid *l = NULL;
    msa_error err = MSA_ERROR_INIT;
    for (size_t i = 0; i < n; i++) {
        files[i] = path;
        rules[i] = as_mask ? &rule : &other;
    }
    const srv_segment_request request = {.series = series[which],
                                         .prompts = prompts,
                                         .n_prompts = n,
                                         .prompt_files = files,
                                         .prompt_rules = rules};
    if (srv_laid_new(&l, &request, &err) != MSA_OK) fail_msg("%s", err.what);
    return l;
}

static dicom_prompt region(int32_t number)
{
    return (dicom_prompt){.kind = DICOM_PROMPT_REGION, .space = DICOM_SPACE_PATIENT, .region = number};
}

static void an_area_is_a_box_around_each_part(void **state)
{
    (void)state;
    const dicom_prompt p[] = {region(1), region(2), region(3)};
    MSA_AUTO(srv_laid) l = lay_regions(p, 3, seg_path, false, AXIAL);
    assert_int_equal(l->n, 4);
    assert_box(&l->prompts[0], 2, 20, 10, 30, 14);
    assert_box(&l->prompts[1], 2, 50, 30, 53, 31);
    assert_box(&l->prompts[2], 3, 20, 10, 30, 14);
    assert_box(&l->prompts[3], 6, 0, 0, 1, 1);
    assert_int_equal(l->first[1], 3);
    assert_int_equal(l->first[2], 4);
    assert_int_equal(l->n_left_out, 1);
    assert_string_equal(l->why, "an area is not in the object that should draw it");
}

static void an_area_may_be_the_mask_itself(void **state)
{
    (void)state;
    const dicom_prompt p = region(1);
    const dicom_volume_info *info = dicom_series_info(series[AXIAL]);
    const int32_t pixels = info->rows * info->cols;
    MSA_AUTO(srv_laid) l = lay_regions(&p, 1, seg_path, true, AXIAL);
    static const int areas[] = {43, 40};
    assert_int_equal(l->n, 2);
    for (int k = 0; k < 2; k++) {
        int n = 0;
        assert_int_equal(l->prompts[k].kind, MSA_PROMPT_MASK);
        assert_int_equal(l->prompts[k].slice, 2 + k);
        for (int32_t i = 0; i < pixels; i++)
            n += l->prompts[k].mask[i];
        assert_int_equal(n, areas[k]);
        assert_at((double)l->prompts[k].x1, k == 0 ? 53 : 30, "x1");
    }
}

static void areas_that_cannot_be_used_say_why(void **state)
{
    (void)state;
    const dicom_prompt p = region(1);
    MSA_AUTO(srv_laid) missing = lay_regions(&p, 1, "/nonexistent/file.dcm", false, AXIAL);
    assert_int_equal(missing->n, 0);
    assert_non_null(strstr(missing->why, "an area cannot be used: "));
    MSA_AUTO(srv_laid) other = lay_regions(&p, 1, seg_path, false, SAGITTAL);
    assert_int_equal(other->n, 0);
    assert_int_equal(other->n_left_out, 1);
    assert_true(other->why[0] != '\0');
}

/* ---- objects ---- */

static srv_objects *objects_of(const dicom_prompt *prompts, size_t n)
{
    srv_objects *o = NULL;
    const srv_segment_request request = {.series = series[AXIAL], .prompts = prompts, .n_prompts = n};
    msa_error err = MSA_ERROR_INIT;
    if (srv_objects_new(&o, &request, &err) != MSA_OK) fail_msg("%s", err.what);
    return o;
}

static void the_same_prompt_again_counts_once(void **state)
{
    (void)state;
    dicom_prompt p[] = {on_slice(DICOM_PROMPT_BOX, 3, "a"), on_slice(DICOM_PROMPT_BOX, 3, "a"),
                        on_slice(DICOM_PROMPT_BOX, 3, "a"), on_slice(DICOM_PROMPT_POINT, 3, "a"),
                        on_slice(DICOM_PROMPT_POINT, 3, "a")};
    p[2].x1 = 56; /* another box: both count */
    (void)strcpy(p[1].source_instance_uid, "1.2.3");
    MSA_AUTO(srv_objects) o = objects_of(p, 5);
    assert_int_equal(o->n, 1);
    assert_int_equal(o->objects[0].n_prompts, 3);
    assert_int_equal(o->n_left_out, 0);
}

static void points_that_contradict_each_other_say_nothing(void **state)
{
    (void)state;
    dicom_prompt p[] = {on_slice(DICOM_PROMPT_BOX, 3, "a"), on_slice(DICOM_PROMPT_POINT, 3, "a"),
                        on_slice(DICOM_PROMPT_POINT, 3, "a"), on_slice(DICOM_PROMPT_POINT, 3, "b"),
                        on_slice(DICOM_PROMPT_POINT, 3, "a")};
    p[2].positive = 0;
    p[4].x0 = 30; /* elsewhere */
    p[4].positive = 0;
    MSA_AUTO(srv_objects) o = objects_of(p, 5);
    assert_int_equal(o->n, 2);
    assert_int_equal(o->objects[0].n_prompts, 2); /* the box, and the point elsewhere */
    assert_int_equal(o->objects[1].n_prompts, 1);
    assert_int_equal(o->n_left_out, 2);
    assert_string_equal(o->why, "two points at one place contradict each other");
}

static void key_images_restrict_every_object(void **state)
{
    (void)state;
    const dicom_volume_info *info = dicom_series_info(series[AXIAL]);
    dicom_prompt p[] = {on_slice(DICOM_PROMPT_BOX, 3, "a"), on_slice(DICOM_PROMPT_KEY_IMAGE, 0, ""),
                        on_slice(DICOM_PROMPT_KEY_IMAGE, 0, ""), on_slice(DICOM_PROMPT_BOX, 4, "b")};
    (void)snprintf(p[1].sop_instance_uid, sizeof p[1].sop_instance_uid, "%s",
                   info->slice[3].sop_instance_uid);
    (void)snprintf(p[2].sop_instance_uid, sizeof p[2].sop_instance_uid, "%s",
                   info->slice[5].sop_instance_uid);
    p[2].frame = 0;
    MSA_AUTO(srv_objects) o = objects_of(p, 4);
    assert_int_equal(o->n, 2);
    assert_int_equal(o->n_left_out, 0);
    assert_int_equal(o->origin[1], 3);
    for (size_t i = 0; i < 2; i++) {
        static const uint8_t wanted[SLICES] = {0, 0, 0, 1, 0, 1, 0};
        assert_non_null(o->objects[i].slices);
        assert_memory_equal(o->objects[i].slices, wanted, SLICES);
    }
    MSA_AUTO(srv_objects) free_ones = objects_of(p, 1);
    assert_null(free_ones->objects[0].slices);
    srv_objects *none = NULL;
    msa_error err = MSA_ERROR_INIT;
    const srv_segment_request request = {.series = series[AXIAL], .prompts = &p[1], .n_prompts = 2};
    assert_int_equal(srv_objects_new(&none, &request, &err), MSA_E_INVALID);
    assert_null(none);
}

int main(int argc, char **argv)
{
    if (argc != 2) return fputs("usage: test_lay MAKE_SERIES\n", stderr) < 0 ? 1 : 2;
    make_series = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_box_in_space_prompts_the_slices_it_crosses),
        cmocka_unit_test(a_flat_or_thin_box_belongs_to_the_nearest_slice),
        cmocka_unit_test(a_box_is_cut_by_slices_that_are_tilted),
        cmocka_unit_test(points_belong_to_the_nearest_slice),
        cmocka_unit_test(what_lies_elsewhere_is_left_out_and_said),
        cmocka_unit_test(an_area_is_a_box_around_each_part),
        cmocka_unit_test(an_area_may_be_the_mask_itself),
        cmocka_unit_test(areas_that_cannot_be_used_say_why),
        cmocka_unit_test(the_same_prompt_again_counts_once),
        cmocka_unit_test(points_that_contradict_each_other_say_nothing),
        cmocka_unit_test(key_images_restrict_every_object),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
