/* The cache of embeddings: what is found is what was kept, whatever happened to its files; and a run of the
 * segmenter with a small random network is the same, bit for bit, without a cache, with one, and from disk
 * alone. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/engine/fixture.h"
#include "tests/unit/volume/cm.h"

#include "engine/segmenter.h"

enum { FLOATS = 1000, BYTES = FLOATS * (int)sizeof(float), FILE_BYTES = BYTES + 48 };

static char top[] = "/tmp/msa-cache-XXXXXX";
static char folder[64]; /* each test's own */
static int n_folders;

static int fresh_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "%s/%d", top, n_folders++);
    return 0;
}

static msa_embedding_cache *cache_of(size_t kept, uint64_t on_disk)
{
    const msa_embedding_cache_options o = {
        .memory_bytes = kept * BYTES, .folder = on_disk > 0 ? folder : NULL, .disk_bytes = on_disk};
    msa_embedding_cache *c = NULL;
    assert_int_equal(msa_embedding_cache_new(&c, &o, NULL), MSA_OK);
    return c;
}

static const float *values_of(int i)
{
    static float v[FLOATS];
    for (int k = 0; k < FLOATS; k++)
        v[k] = (float)i + (float)k * 0.25F;
    return v;
}

static msa_embedding_key key_of(const msa_embedding_cache *c, int i)
{
    uint8_t picture[MSA_SHA256_SIZE] = {(uint8_t)i, (uint8_t)(i >> 8)};
    return msa_embedding_key_make(c, "model", picture, 1, 0);
}

static void keep(msa_embedding_cache *c, int i)
{
    const msa_embedding_key key = key_of(c, i);
    assert_memory_equal(msa_embedding_cache_keep(c, &key, values_of(i), FLOATS), values_of(i), BYTES);
}

/* Whether it is there; what is there is right. */
static bool has(msa_embedding_cache *c, int i)
{
    const msa_embedding_key key = key_of(c, i);
    const float *found = msa_embedding_cache_find(c, &key, FLOATS);
    if (found) assert_memory_equal(found, values_of(i), BYTES);
    return found != NULL;
}

static void path_of(const msa_embedding_cache *c, int i, char path[160])
{
    const msa_embedding_key key = key_of(c, i);
    int n = snprintf(path, 160, "%s/", folder);
    for (int k = 0; k < MSA_SHA256_SIZE; k++)
        n += snprintf(path + n, 160 - (size_t)n, "%02x", key.digest[k]);
}

static int64_t bytes_on_disk(int *files)
{
    DIR *d = opendir(folder);
    int64_t bytes = 0;
    *files = 0;
    assert_non_null(d);
    for (const struct dirent *e = readdir(d); e; e = readdir(d)) {
        struct stat st;
        assert_int_equal(fstatat(dirfd(d), e->d_name, &st, 0), 0);
        if (!S_ISREG(st.st_mode)) continue;
        bytes += st.st_size;
        ++*files;
    }
    (void)closedir(d);
    return bytes;
}

static void memory_keeps_what_was_used_last(void **state)
{
    (void)state;
    MSA_AUTO(msa_embedding_cache) c = cache_of(3, 0);
    for (int i = 0; i < 3; i++)
        keep(c, i);
    assert_true(has(c, 0));
    keep(c, 3);
    assert_false(has(c, 1));
    assert_true(has(c, 0) && has(c, 2) && has(c, 3));
    MSA_AUTO(msa_embedding_cache) none = cache_of(0, 0);
    keep(none, 0);
    assert_true(has(none, 0)); /* the last one, so that there is something to decode */
    keep(none, 1);
    assert_false(has(none, 0));
}

static void keys_differ_by_all_that_matters(void **state)
{
    (void)state;
    const uint8_t a[2 * MSA_SHA256_SIZE] = {1}, b[2 * MSA_SHA256_SIZE] = {2};
    MSA_AUTO(msa_embedding_cache) c = cache_of(1, 0);
    const msa_embedding_key keys[] = {
        msa_embedding_key_make(c, "model", a, 1, 0), msa_embedding_key_make(c, "model", b, 1, 0),
        msa_embedding_key_make(c, "other", a, 1, 0), msa_embedding_key_make(c, "model", a, 2, 0),
        msa_embedding_key_make(c, "model", a, 2, 1)};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(&keys[i], &keys[k], sizeof *keys);
}

static void disk_outlives_the_cache(void **state)
{
    (void)state;
    MSA_AUTO(msa_embedding_cache) writer = cache_of(2, 1 << 20);
    for (int i = 0; i < 5; i++)
        keep(writer, i);
    assert_true(has(writer, 0)); /* no longer in memory */
    assert_int_equal(msa_embedding_cache_stats_get(writer).from_disk, 1);
    MSA_AUTO(msa_embedding_cache) reader = cache_of(8, 1 << 20);
    for (int i = 0; i < 5; i++)
        assert_true(has(reader, i) && has(reader, i));
    const msa_embedding_cache_stats s = msa_embedding_cache_stats_get(reader);
    assert_int_equal(s.from_disk, 5);
    assert_int_equal(s.from_memory, 5);
    assert_int_equal(s.damaged, 0);
    assert_false(has(reader, 5));
}

/* Byte `at` of a file becomes another; beyond its end it is cut to that length. */
static void damage(const char *path, off_t at)
{
    uint8_t byte = 0;
    const int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    if (at >= FILE_BYTES) {
        assert_int_equal(ftruncate(fd, at - FILE_BYTES), 0);
    } else {
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 16;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    assert_int_equal(close(fd), 0);
}

static void damaged_files_are_not_believed(void **state)
{
    (void)state;
    static const off_t places[] = {
        0, 9, 20, 48, FILE_BYTES - 1, FILE_BYTES + 0, FILE_BYTES + 30, FILE_BYTES + FILE_BYTES - 4};
    char path[160], other[160];
    int files = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        MSA_AUTO(msa_embedding_cache) writer = cache_of(1, 1 << 20);
        keep(writer, 1);
        path_of(writer, 1, path);
        damage(path, places[i]);
        MSA_AUTO(msa_embedding_cache) reader = cache_of(1, 1 << 20);
        assert_false(has(reader, 1));
        assert_int_equal(msa_embedding_cache_stats_get(reader).damaged, 1);
        assert_int_equal(access(path, F_OK), -1);
        keep(reader, 1); /* and is replaced */
        MSA_AUTO(msa_embedding_cache) again = cache_of(1, 1 << 20);
        assert_true(has(again, 1));
        path_of(writer, 2, other);
        assert_int_equal(rename(path, other), 0); /* whole, but of another picture */
        assert_false(has(again, 2));
        (void)bytes_on_disk(&files);
        assert_int_equal(files, 0);
    }
}

static void disk_stays_within_its_bound(void **state)
{
    (void)state;
    int files = 0;
    const uint64_t bound = 40 * (uint64_t)FILE_BYTES;
    MSA_AUTO(msa_embedding_cache) c = cache_of(1, bound);
    for (int i = 0; i < 200; i++) {
        keep(c, i);
        const struct timespec old[2] = {{1000 + i, 0}, {1000 + i, 0}};
        char path[160];
        path_of(c, i, path);
        assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0); /* clocks of file systems are coarse */
        assert_true((uint64_t)bytes_on_disk(&files) <= bound);
        if (i >= 1) assert_true(has(c, 0)); /* read again and again, so never the oldest */
    }
    assert_true(files >= 30);
    assert_true(has(c, 199));
    assert_false(has(c, 1));
    MSA_AUTO(msa_embedding_cache) narrow = cache_of(1, FILE_BYTES - 1);
    keep(narrow, 777);
    char path[160];
    path_of(narrow, 777, path);
    assert_int_equal(access(path, F_OK), -1);
}

static void a_bad_folder_is_no_failure(void **state)
{
    (void)state;
    msa_embedding_cache *c = NULL;
    const msa_embedding_cache_options nowhere = {
        .memory_bytes = BYTES, .folder = "/proc/none/such", .disk_bytes = 1 << 20};
    assert_int_equal(msa_embedding_cache_new(&c, &nowhere, NULL), MSA_OK);
    keep(c, 3);
    assert_true(has(c, 3));
    msa_embedding_cache_free(c);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(chmod(folder, 0777), 0); /* anybody may say what an image looks like */
    MSA_AUTO(msa_embedding_cache) open_to_all = cache_of(1, 1 << 20);
    keep(open_to_all, 3);
    int files = 0;
    (void)bytes_on_disk(&files);
    assert_int_equal(files, 0);
}

/* ---- a run of the segmenter ---- */

enum { D = 5, H = 70, W = 60, PIXELS = H * W };

static msa_model *model_of(bool box_in_image)
{
    msa_config config = fixture_plain_config();
    char path[64];
    msa_model *m = NULL;
    config.box_in_image = box_in_image;
    config.box_as_mask = true;
    (void)snprintf(path, sizeof path, "%s/m", top);
    assert_int_equal(msa_model_write_random(path, &config, 12, NULL), MSA_OK);
    assert_int_equal(msa_model_load(&m, path, NULL), MSA_OK);
    (void)unlink(path);
    return m;
}

/* Slices 0 and 4 look alike. */
static void segment(const msa_model *m, msa_embedding_cache *cache, uint8_t *mask, float *iou)
{
    static float voxels[D * PIXELS];
    static const float positions[D] = {0, 10, 20, 30, 40};
    msa_prompt prompts[D];
    for (int i = 0; i < D * PIXELS; i++)
        voxels[i] = (float)((i % PIXELS * 7 + (i / PIXELS) % (D - 1) * 31) % 101);
    for (int32_t s = 0; s < D; s++)
        prompts[s] = (msa_prompt){.kind = MSA_PROMPT_BOX, .slice = s, .x0 = 8, .y0 = 9, .x1 = 50, .y1 = 60};
    const msa_volume v = {.voxels = voxels,
                          .D = D,
                          .H = H,
                          .W = W,
                          .spacing_mm = {1, 1},
                          .position_mm = positions,
                          .window_center = 50,
                          .window_width = 100};
    const msa_object object = {.prompts = prompts, .n_prompts = D};
    msa_object_result result = {.mask = mask};
    assert_int_equal(msa_segment(m, &v, &object, 1, &result, cache, NULL, NULL, NULL, NULL), MSA_OK);
    assert_true(result.voxels > 100);
    *iou = result.mean_iou;
}

static void check_run(bool box_in_image)
{
    static uint8_t alone[D * PIXELS], first[D * PIXELS], again[D * PIXELS], from_disk[D * PIXELS];
    float iou[4];
    msa_model *m = model_of(box_in_image);
    segment(m, NULL, alone, &iou[0]);
    MSA_AUTO(msa_embedding_cache) c = cache_of(1000, 1 << 24);
    segment(m, c, first, &iou[1]);
    assert_int_equal(msa_embedding_cache_stats_get(c).encoded, D - 1);
    segment(m, c, again, &iou[2]);
    assert_int_equal(msa_embedding_cache_stats_get(c).encoded, D - 1);
    MSA_AUTO(msa_embedding_cache) other = cache_of(1000, 1 << 24);
    segment(m, other, from_disk, &iou[3]);
    assert_int_equal(msa_embedding_cache_stats_get(other).encoded, 0);
    assert_int_equal(msa_embedding_cache_stats_get(other).from_disk, D - 1);
    assert_memory_equal(alone, first, sizeof alone);
    assert_memory_equal(alone, again, sizeof alone);
    assert_memory_equal(alone, from_disk, sizeof alone);
    for (int i = 1; i < 4; i++)
        assert_memory_equal(&iou[i], &iou[0], sizeof *iou);
    msa_model_free(m);
}

static void a_cache_changes_no_bit(void **state)
{
    (void)state;
    check_run(false);
}

static void nor_where_the_box_is_in_the_picture(void **state)
{
    (void)state;
    check_run(true);
}

static int group_setup(void **state)
{
    (void)state;
    return mkdtemp(top) ? 0 : -1;
}

static int group_teardown(void **state)
{
    (void)state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", top);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(memory_keeps_what_was_used_last, fresh_folder),
        cmocka_unit_test_setup(keys_differ_by_all_that_matters, fresh_folder),
        cmocka_unit_test_setup(disk_outlives_the_cache, fresh_folder),
        cmocka_unit_test_setup(damaged_files_are_not_believed, fresh_folder),
        cmocka_unit_test_setup(disk_stays_within_its_bound, fresh_folder),
        cmocka_unit_test_setup(a_bad_folder_is_no_failure, fresh_folder),
        cmocka_unit_test_setup(a_cache_changes_no_bit, fresh_folder),
        cmocka_unit_test_setup(nor_where_the_box_is_in_the_picture, fresh_folder),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
