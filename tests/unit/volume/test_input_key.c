/* What a result's UIDs are derived from: the same input, the same key; any other input, another one. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/volume/cm.h"

#include "server/tool/input_key.h"

static char folder[] = "/tmp/msa-key-XXXXXX";

static char old_results[64]; /* the output folder, by its real path */

static void write_text(const char *name, const char *text)
{
    FILE *f = fopen(name, "wb");
    assert_non_null(f);
    (void)fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static const char *key_of(const srv_segment_arguments *a, const char *model)
{
    static char keys[2][MSA_SHA256_HEX];
    static size_t next;
    char *key = keys[next++ % 2];
    assert_int_equal(srv_input_key(a, old_results, model, key, NULL), MSA_OK);
    return key;
}

static void assert_differ(const srv_segment_arguments *a, const srv_segment_arguments *b)
{
    assert_string_not_equal(key_of(a, "m"), key_of(b, "m"));
}

static void names_of_files_and_old_results_say_nothing(void **state)
{
    (void)state;
    const srv_segment_arguments a = {.series_dir = "series"};
    const char *before = key_of(&a, "m");
    assert_int_equal(rename("series/1", "series/3"), 0);
    write_text("series/out/seg.dcm", "an older result");
    assert_string_equal(before, key_of(&a, "m"));
    assert_int_equal(rename("series/3", "series/1"), 0);
}

static void whatever_changes_the_result_changes_the_key(void **state)
{
    (void)state;
    const char *xy[] = {"x", "y"};
    const char *yx[] = {xy[1], xy[0]};
    dicom_prompt box = {.x0 = 1, .y0 = 2, .x1 = 3, .y1 = 4, .slice = 5, .label = "liver"};
    dicom_prompt moved = box;
    dicom_prompt renamed = box;
    moved.x1 += 1e-9;
    renamed.label[0] = 'L';
    const srv_segment_arguments plain = {.series_dir = "series"};
    srv_segment_arguments one = plain;
    srv_segment_arguments other = plain;
    assert_string_not_equal(key_of(&plain, "m"), key_of(&plain, "n"));
    one.annotations = xy;
    one.n_annotations = 2;
    other = one;
    assert_string_equal(key_of(&one, "m"), key_of(&other, "m"));
    other.annotations = yx; /* the order of the segments */
    assert_differ(&one, &other);
    other.n_annotations = 1;
    assert_differ(&one, &other);
    one = other = plain;
    one.boxes = &box;
    one.n_boxes = 1;
    assert_differ(&one, &plain);
    other = one;
    other.boxes = &moved;
    assert_differ(&one, &other);
    other.boxes = &renamed;
    assert_differ(&one, &other);
    one = other = plain;
    one.automatic = true;
    assert_differ(&one, &plain);
    other.automatic = true;
    assert_string_equal(key_of(&one, "m"), key_of(&other, "m"));
    other.automatic_options.points_per_side = 16;
    assert_differ(&one, &other);
}

/* An annotation that lies among the images is none, until it is named as one. */
static void a_file_counts_where_it_was_given(void **state)
{
    (void)state;
    const char *x = "x";
    srv_segment_arguments named = {.series_dir = "series", .annotations = &x, .n_annotations = 1};
    srv_segment_arguments among = {.series_dir = "with_x"};
    assert_int_equal(mkdir("with_x", 0700), 0);
    write_text("with_x/1", "one");
    write_text("with_x/2", "two");
    write_text("with_x/x", "x");
    assert_differ(&named, &among);
}

static int group_setup(void **state)
{
    (void)state;
    if (!mkdtemp(folder) || chdir(folder) != 0 || mkdir("series", 0700) != 0 ||
        mkdir("series/out", 0700) != 0)
        return -1;
    (void)snprintf(old_results, sizeof old_results, "%s/series/out", folder);
    write_text("series/1", "one");
    write_text("series/2", "two");
    write_text("x", "x");
    write_text("y", "y");
    return 0;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_files_and_old_results_say_nothing),
        cmocka_unit_test(whatever_changes_the_result_changes_the_key),
        cmocka_unit_test(a_file_counts_where_it_was_given),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
