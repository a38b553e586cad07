/* srv_segment_run() on a synthetic series with a small random model: flow and geometry, not quality.
 * usage: test_segment_run MAKE_SERIES */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/engine/fixture.h"
#include "tests/unit/volume/cm.h"

#include "engine/base/log.h"
#include "engine/base/pool.h"
#include "server/segment/default_box.h"
#include "server/segment/objects.h"
#include "server/segment/segment.h"

static const char *make_series;
static char folder[] = "/tmp/msa-segment-XXXXXX";
static dicom_series *series;
static msa_model *model;
static char out_dir[96];
static srv_segment_outcome outcome;

static msa_status write_model(const char *path)
{
    msa_config c = fixture_plain_config();
    c.untrained = true;
    return msa_model_write_random(path, &c, 3, NULL);
}

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

static int group_setup(void **state)
{
    (void)state;
    char dir[64];
    char path[64];
    if (!mkdtemp(folder)) return -1;
    (void)snprintf(dir, sizeof dir, "%s/ct", folder);
    (void)snprintf(path, sizeof path, "%s/model.safetensors", folder);
    char *const argv[] = {(char *)make_series, "--out", dir,         "--rows",  "61", "--cols", "83",
                          "--slices",          "9",     "--spacing", "3.1,2.3", NULL};
    if (run_program(argv) != 0 || dicom_init(NULL) != MSA_OK || write_model(path) != MSA_OK) return -1;
    if (dicom_series_load_dir(&series, dir, NULL, NULL) != MSA_OK) return -1;
    return msa_model_load(&model, path, NULL) == MSA_OK ? 0 : -1;
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
    dicom_series_free(series);
    msa_model_free(model);
    return nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static dicom_prompt box_on(int32_t slice, const char *label)
{
    dicom_prompt p = {.kind = DICOM_PROMPT_BOX, .frame = 1, .x0 = 20, .y0 = 15, .x1 = 55.5, .y1 = 45};
    const dicom_volume_info *info = dicom_series_info(series);
    (void)snprintf(p.sop_instance_uid, sizeof p.sop_instance_uid, "%s", info->slice[slice].sop_instance_uid);
    (void)snprintf(p.label, sizeof p.label, "%s", label);
    return p;
}

static msa_status run(const char *out, const dicom_prompt *prompts, size_t n, const atomic_bool *cancel,
                      msa_error *err)
{
    (void)snprintf(out_dir, sizeof out_dir, "%s/%s", folder, out);
    (void)mkdir(out_dir, 0700);
    const srv_segment_request request = {.series = series,
                                         .prompts = prompts,
                                         .n_prompts = n,
                                         .model = model,
                                         .key = "key",
                                         .out_dir = out_dir,
                                         .series_number = 7,
                                         .series_description =
                                             "A description that is quite long, as some sites have",
                                         .slice_sheet = true,
                                         .overlays = true,
                                         .cancel = cancel};
    return srv_segment_run(&request, &outcome, err);
}

static char *read_all(const char *name, size_t *size)
{
    char path[160];
    (void)snprintf(path, sizeof path, "%s/%s", out_dir, name);
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    (void)fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    char *data = malloc(*size + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *size, f), *size);
    (void)fclose(f);
    data[*size] = '\0';
    return data;
}

static bool exists(const char *name)
{
    size_t size = 0;
    char *data = read_all(name, &size);
    free(data);
    return data != NULL && size > 0;
}

static void a_box_becomes_a_seg_and_pictures(void **state)
{
    (void)state;
    const dicom_prompt prompts[] = {box_on(4, "Liver"), box_on(4, "")};
    size_t size = 0;
    assert_int_equal(run("one", prompts, 2, NULL, NULL), MSA_OK);
    assert_true(outcome.n_files >=
                2); /* the same box twice: the masks overlap, so the second goes elsewhere */
    assert_int_equal(outcome.n_stats, 2);
    assert_string_equal(outcome.stats[0].label, "Liver");
    assert_string_equal(outcome.stats[1].label, "Object");
    assert_true(outcome.stats[0].voxels > 0);
    const dicom_volume_info *info = dicom_series_info(series);
    assert_near(outcome.stats[0].measures.volume_ml,
                (double)outcome.stats[0].voxels * 3.1 * 2.3 * info->step_mm / 1000, 1e-6);
    assert_true(exists("seg.dcm") && exists("seg-2.dcm") && exists("preview.png") &&
                exists("overlay-004.png"));
    MSA_AUTO_FREE char *sheet = read_all("slices.png", &size);
    assert_true(size > 24 && sheet[18] == 2 && sheet[19] == 0); /* 2 x 256 pixels wide (PNG, 11.2.2) */
    assert_true(sheet[23] == 0 && sheet[22] > 0);               /* rows of 256 pixels */
    MSA_AUTO_FREE char *seg = read_all("seg.dcm", &size);
    assert_non_null(
        memmem(seg, size, "A description that is quite long, as some site (untrained model)", 64));
}

static void the_same_input_gives_the_same_bytes(void **state)
{
    (void)state;
    const dicom_prompt prompt = box_on(4, "Liver");
    size_t sizes[4] = {0};
    msa_threads_set(1);
    assert_int_equal(run("two", &prompt, 1, NULL, NULL), MSA_OK);
    MSA_AUTO_FREE char *seg = read_all("seg.dcm", &sizes[0]);
    MSA_AUTO_FREE char *png = read_all("preview.png", &sizes[1]);
    msa_threads_set(3); /* results do not depend on the number of threads */
    assert_int_equal(run("three", &prompt, 1, NULL, NULL), MSA_OK);
    msa_threads_set(1);
    MSA_AUTO_FREE char *seg_again = read_all("seg.dcm", &sizes[2]);
    MSA_AUTO_FREE char *png_again = read_all("preview.png", &sizes[3]);
    assert_int_equal(sizes[0], sizes[2]);
    assert_int_equal(sizes[1], sizes[3]);
    assert_memory_equal(seg, seg_again, sizes[0]);
    assert_memory_equal(png, png_again, sizes[1]);
}

static void unusable_prompts_are_named_and_left_out(void **state)
{
    (void)state;
    dicom_prompt prompts[] = {box_on(4, "Liver"), box_on(4, "Spleen"), box_on(4, "Liver")};
    msa_error err = MSA_ERROR_INIT;
    (void)snprintf(prompts[1].sop_instance_uid, sizeof prompts[1].sop_instance_uid, "1.2.3");
    prompts[2].x0 = 500;
    prompts[2].x1 = 600;
    assert_int_equal(run("four", prompts, 3, NULL, NULL), MSA_OK);
    assert_int_equal(outcome.n_stats, 1);
    assert_non_null(strstr(outcome.warnings,
                           "2 prompts could not be used: a prompt refers to an image or frame that is "
                           "not in the volume"));
    assert_int_equal(run("five", &prompts[1], 2, NULL, &err), MSA_E_INVALID);
    assert_string_equal(
        err.what,
        "there is no usable prompt: a prompt refers to an image or frame that is not in the volume");
    assert_false(exists("seg.dcm"));
}

static void labels_keep_their_order_and_names(void **state)
{
    (void)state;
    dicom_prompt prompts[] = {box_on(5, "B"), box_on(3, "A"), box_on(4, "B"), box_on(4, "C")};
    srv_objects *o = NULL;
    (void)strcpy(prompts[0].tracking_uid, "1.2.1");
    (void)strcpy(prompts[2].tracking_uid, "1.2.2"); /* another lesion's: B has no tracking of its own */
    (void)strcpy(prompts[1].tracking_uid, "1.2.3");
    (void)strcpy(prompts[1].tracking_id, "Lesion 3");
    (void)strcpy(prompts[2].type.value, "10200004");
    prompts[3].kind = DICOM_PROMPT_POINT; /* a negative point alone: nothing to start from */
    const srv_segment_request request = {.series = series, .prompts = prompts, .n_prompts = 4};
    assert_int_equal(srv_objects_new(&o, &request, NULL), MSA_OK);
    assert_int_equal(o->n, 2);
    assert_string_equal(o->names[0].label, "B");
    assert_int_equal(o->objects[0].n_prompts, 2);
    assert_int_equal(o->objects[0].prompts[1].slice, 4);
    assert_string_equal(o->names[0].tracking_uid, "");
    assert_string_equal(o->names[0].type.value, "10200004");
    assert_string_equal(o->names[1].tracking_id, "Lesion 3");
    assert_int_equal(o->n_left_out, 1);
    assert_string_equal(o->why, "a label has only background points");
    srv_objects_free(o);
}

static void regions_without_a_name_are_not_joined_across_reports(void **state)
{
    (void)state;
    dicom_prompt p[] = {box_on(1, "Object 1"), box_on(2, "Object 1"), box_on(7, "Object 1"),
                        box_on(1, "Object 2"), box_on(5, "Liver"),    box_on(6, "Liver")};
    static const char *const sources[] = {"1.2.1", "1.2.1", "1.2.2", "1.2.2", "1.2.1", "1.2.2"};
    srv_objects *o = NULL;
    for (size_t i = 0; i < 6; i++)
        (void)strcpy(p[i].source_instance_uid, sources[i]);
    const srv_segment_request request = {.series = series, .prompts = p, .n_prompts = 6};
    assert_int_equal(srv_objects_new(&o, &request, NULL), MSA_OK);
    assert_int_equal(o->n, 3);
    assert_int_equal(o->objects[0].n_prompts,
                     2); /* the first report's; the copy in the second is one of them */
    assert_int_equal(o->objects[1].n_prompts, 1);
    assert_int_equal(o->objects[1].prompts[0].slice, 7);
    assert_string_equal(o->names[2].label, "Liver");
    assert_int_equal(o->objects[2].n_prompts, 2); /* a label that somebody gave joins */
    srv_objects_free(o);
}

/* What a header may say instead of the phantom's own window. */
static msa_status run_with_window(const char *out, double center, double width)
{
    const dicom_prompt prompt = box_on(4, "Liver");
    dicom_volume_info *info = (dicom_volume_info *)dicom_series_info(series);
    const dicom_volume_info before = *info;
    info->window_center = center;
    info->window_width = width;
    const msa_status status = run(out, &prompt, 1, NULL, NULL);
    *info = before;
    return status;
}

static void a_window_that_shows_nothing_is_not_used(void **state)
{
    (void)state;
    static const struct {
        double center, width;
        bool good;
    } windows[] = {{40, 400, true},     {-600, 1500, true}, {0, 0, true},     {2900, 100, false},
                   {-3000, 500, false}, {40, 1, false},     {1e9, 1e9, false}};
    const char *words = "the grey window in the images is of no use";
    size_t size = 0;
    size_t wanted_size = 0;
    assert_int_equal(run_with_window("window", 40, 400), MSA_OK);
    MSA_AUTO_FREE char *wanted = read_all("seg.dcm", &wanted_size);
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        assert_int_equal(run_with_window("window", windows[i].center, windows[i].width), MSA_OK);
        assert_true((strstr(outcome.warnings, words) == NULL) == windows[i].good);
        if (windows[i].good && windows[i].width > 0) continue;
        MSA_AUTO_FREE char *seg = read_all("seg.dcm", &size); /* as with the window for the abdomen */
        assert_int_equal(size, wanted_size);
        assert_memory_equal(seg, wanted, size);
    }
}

static void a_cancelled_job_leaves_nothing(void **state)
{
    (void)state;
    const dicom_prompt prompt = box_on(4, "Liver");
    const atomic_bool cancel = true;
    assert_int_equal(run("six", &prompt, 1, &cancel, NULL), MSA_E_CANCELED);
    assert_false(exists("seg.dcm") || exists("preview.png"));
}

static void a_model_that_is_not_there_is_named(void **state)
{
    (void)state;
    char path[256];
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(srv_model_path("/nowhere/x.safetensors", path, sizeof path, &err), MSA_E_NOT_FOUND);
    assert_string_equal(err.what, "there is no readable model file /nowhere/x.safetensors");
    (void)snprintf(out_dir, sizeof out_dir, "%s/model.safetensors", folder);
    assert_int_equal(srv_model_path(out_dir, path, sizeof path, NULL), MSA_OK);
    assert_string_equal(path, out_dir);
}

static dicom_prompt key_image(int32_t slice)
{
    dicom_prompt p = box_on(slice, "");
    p.kind = DICOM_PROMPT_KEY_IMAGE;
    return p;
}

/* Where nobody annotated: a box of the rule's own, named by it, in the middle of what may hold results. */
static void a_rule_prompts_and_names_where_nobody_did(void **state)
{
    (void)state;
    const srv_rule rule = {.default_label = "thing", .prompts = "default-box"};
    dicom_prompt prompts[5] = {key_image(7), key_image(1), key_image(2), key_image(1)};
    const dicom_volume_info *info = dicom_series_info(series);
    assert_int_equal(srv_default_box(&prompts[4], series, NULL, 0, 50, NULL), MSA_OK);
    assert_int_equal(prompts[4].slice, 4); /* of nine */
    assert_true(prompts[4].x0 > 0 && prompts[4].x1 < info->cols && prompts[4].y0 > 0 &&
                prompts[4].y1 < info->rows);
    assert_int_equal(srv_default_box(&prompts[4], series, prompts, 4, 50, NULL), MSA_OK);
    assert_int_equal(prompts[4].slice, 2); /* of 1, 2 and 7 */
    assert_int_equal(srv_default_box(&prompts[4], series, NULL, 0, 0, NULL), MSA_E_INVALID);
    assert_int_equal(srv_default_box(&prompts[4], series, NULL, 0, 50, NULL), MSA_OK);
    (void)snprintf(out_dir, sizeof out_dir, "%s/itself", folder);
    (void)mkdir(out_dir, 0700);
    const srv_segment_request request = {.series = series,
                                         .prompts = &prompts[4],
                                         .n_prompts = 1,
                                         .model = model,
                                         .rule = &rule,
                                         .by_itself = true,
                                         .key = "key",
                                         .out_dir = out_dir,
                                         .series_number = 7};
    msa_error err = MSA_ERROR_INIT;
    if (srv_segment_run(&request, &outcome, &err) != MSA_OK) fail_msg("%s", err.what);
    assert_int_equal(outcome.n_stats, 1);
    assert_string_equal(outcome.stats[0].label, "thing");
    assert_non_null(
        strstr(outcome.warnings, "nobody annotated the series: a box in its middle was the prompt"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_box_becomes_a_seg_and_pictures),
        cmocka_unit_test(the_same_input_gives_the_same_bytes),
        cmocka_unit_test(unusable_prompts_are_named_and_left_out),
        cmocka_unit_test(labels_keep_their_order_and_names),
        cmocka_unit_test(regions_without_a_name_are_not_joined_across_reports),
        cmocka_unit_test(a_window_that_shows_nothing_is_not_used),
        cmocka_unit_test(a_cancelled_job_leaves_nothing),
        cmocka_unit_test(a_model_that_is_not_there_is_named),
        cmocka_unit_test(a_rule_prompts_and_names_where_nobody_did),
    };
    if (argc != 2 || access(argv[1], X_OK) != 0) {
        (void)fputs("usage: test_segment_run MAKE_SERIES\n", stderr);
        return 2;
    }
    msa_log_set_level(MSA_LOG_WARN);
    make_series = argv[1];
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
