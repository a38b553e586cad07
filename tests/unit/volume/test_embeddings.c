/* Embeddings of slices and of parts of them: encoded once while they are kept, and kept within a bound. */
#include <math.h>

#include "tests/unit/volume/cm.h"
#include "tests/unit/volume/fake_predictor.h"

#include "engine/volume/crop.h"
#include "engine/volume/depth_windows.h"
#include "engine/volume/embeddings.h"

enum { D = 40, H = 64, W = 64, EMBEDDING = 64 * 64 * (int)sizeof(float) };

static float voxels[D * H * W];
static float positions[D];
static const msa_volume volume = {
    .voxels = voxels, .D = D, .H = H, .W = W, .spacing_mm = {1, 1}, .position_mm = positions};
static msa_crop_rule rule;
static msa_predictor *predictor;

static int setup(void **state)
{
    (void)state;
    const float square[2] = {1, 1};
    for (int i = 0; i < D * H * W; i++)
        voxels[i] = (float)(i % 251);
    fake_config.crop_margin = 0.5F;
    fake_config.depth_grouping = MSA_DEPTH_NONE;
    rule = msa_crop_rule_make(&fake_config, H, W, square);
    fake_log = (fake_predictor_log){.iou = 0.8F};
    return msa_predictor_new(&predictor, NULL, NULL) == MSA_OK ? 0 : -1;
}

static msa_embedding_cache *cache_of(size_t kept, const char *folder, uint64_t on_disk)
{
    const msa_embedding_cache_options o = {
        .memory_bytes = kept * EMBEDDING + EMBEDDING / 2, .folder = folder, .disk_bytes = on_disk};
    msa_embedding_cache *c = NULL;
    assert_int_equal(msa_embedding_cache_new(&c, &o, NULL), MSA_OK);
    return c;
}

static msa_embeddings *embeddings(msa_embedding_cache *cache)
{
    const msa_window window = msa_window_centered(125, 250);
    msa_embeddings *e = NULL;
    assert_int_equal(msa_embeddings_new(&e, NULL, &volume, &window, predictor, cache, NULL), MSA_OK);
    return e;
}

/* Asks for it; returns whether it had to be encoded. */
static bool encoded(msa_embeddings *e, int32_t slice, const msa_transform *view)
{
    const int32_t before = fake_log.encoded;
    const float *got = NULL;
    assert_int_equal(msa_embeddings_get(e, slice, view, NULL, &got, NULL), MSA_OK);
    assert_non_null(got);
    return fake_log.encoded > before;
}

static msa_transform crop_at(float x)
{
    return msa_crop_around(&rule, (msa_box){x, 10, x + 10, 20}, NULL, NULL, 0);
}

static void each_slice_and_part_is_its_own(void **state)
{
    (void)state;
    const msa_transform whole = msa_crop_whole(&rule), left = crop_at(10), right = crop_at(40);
    MSA_AUTO(msa_embedding_cache) cache = cache_of(10, NULL, 0);
    MSA_AUTO(msa_embeddings) e = embeddings(cache);
    assert_true(encoded(e, 3, &whole));
    assert_true(encoded(e, 3, &left));
    assert_true(encoded(e, 3, &right));
    assert_true(encoded(e, 4, &left));
    assert_false(encoded(e, 3, &left));
    assert_false(encoded(e, 3, &right));
    assert_false(encoded(e, 3, &whole));
    assert_false(encoded(e, 4, &left));
}

/* The fake's embedding is its input, and the left crop at scale 3.2 begins with voxel (5, 0). */
static void a_part_shows_what_lies_there(void **state)
{
    (void)state;
    const msa_transform left = crop_at(10);
    const float *got = NULL;
    MSA_AUTO(msa_embedding_cache) cache = cache_of(2, NULL, 0);
    MSA_AUTO(msa_embeddings) e = embeddings(cache);
    assert_int_equal(left.x0, 5);
    assert_int_equal(left.y0, 5);
    assert_int_equal(msa_embeddings_get(e, 2, &left, NULL, &got, NULL), MSA_OK);
    const float first = voxels[2 * H * W + 5 * W + 5];
    assert_near((double)got[0] * 250, (double)first, 1);
}

static void the_oldest_makes_room(void **state)
{
    (void)state;
    const msa_transform whole = msa_crop_whole(&rule);
    MSA_AUTO(msa_embedding_cache) cache = cache_of(2, NULL, 0);
    MSA_AUTO(msa_embeddings) e = embeddings(cache);
    assert_true(encoded(e, 0, &whole));
    assert_true(encoded(e, 1, &whole));
    assert_false(encoded(e, 0, &whole));
    assert_true(encoded(e, 2, &whole)); /* instead of 1 */
    assert_false(encoded(e, 0, &whole));
    assert_true(encoded(e, 1, &whole));
}

static void a_bound_below_one_still_works(void **state)
{
    (void)state;
    const msa_transform whole = msa_crop_whole(&rule), crop = crop_at(10);
    MSA_AUTO(msa_embedding_cache) cache = cache_of(0, NULL, 0);
    MSA_AUTO(msa_embeddings) e = embeddings(cache);
    assert_true(encoded(e, 0, &crop));
    assert_true(encoded(e, 0, &whole));
    assert_true(encoded(e, 0, &crop));
    assert_false(encoded(e, 0, &crop));
}

/* The fake's embedding of a stack says in its second value which place it had there. */
static void a_stack_is_encoded_once_for_its_slices(void **state)
{
    (void)state;
    fake_config.depth_grouping = MSA_DEPTH_VOLUME;
    fake_config.depth_slices = 8;
    const msa_transform whole = msa_crop_whole(&rule);
    const msa_depth_windows w = msa_depth_windows_make(&fake_config, D);
    MSA_AUTO(msa_embedding_cache) cache = cache_of(D, NULL, 0);
    MSA_AUTO(msa_embeddings) e = embeddings(cache);
    for (int32_t s = D - 1; s >= 0; s--) {
        const float *got = NULL;
        assert_int_equal(msa_embeddings_get(e, s, &whole, NULL, &got, NULL), MSA_OK);
        assert_int_equal((int32_t)got[1], s - msa_depth_windows_first(&w, msa_depth_windows_of(&w, s)));
    }
    assert_int_equal(fake_log.encoded, w.n);
    assert_int_equal(fake_log.encoded, 9);
}

/* Below the window everything is black, whatever the noise; a picture of another scale is another one. */
static void slices_of_air_are_one(void **state)
{
    (void)state;
    const size_t slice = (size_t)H * W;
    msa_transform whole = msa_crop_whole(&rule);
    MSA_AUTO(msa_embedding_cache) cache = cache_of(10, NULL, 0);
    MSA_AUTO(msa_embeddings) e = embeddings(cache);
    for (size_t i = 0; i < 2 * slice; i++)
        voxels[7 * slice + i] = -1000.0F - (float)(i % 17);
    assert_true(encoded(e, 7, &whole));
    assert_false(encoded(e, 8, &whole));
    whole.in_rows /= 2;
    assert_true(encoded(e, 8, &whole));
}

static void a_voxel_that_is_not_finite_is_told(void **state)
{
    (void)state;
    const msa_transform whole = msa_crop_whole(&rule);
    const float *got = NULL;
    msa_error err = MSA_ERROR_INIT;
    MSA_AUTO(msa_embedding_cache) cache = cache_of(10, NULL, 0);
    MSA_AUTO(msa_embeddings) e = embeddings(cache);
    voxels[3 * H * W + H * W - 1] = NAN;
    assert_int_equal(msa_embeddings_get(e, 3, &whole, NULL, &got, &err), MSA_E_INVALID);
    assert_string_equal(err.what, "the volume holds a value that is not finite");
    assert_null(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_slice_and_part_is_its_own, setup),
        cmocka_unit_test_setup(a_part_shows_what_lies_there, setup),
        cmocka_unit_test_setup(the_oldest_makes_room, setup),
        cmocka_unit_test_setup(a_bound_below_one_still_works, setup),
        cmocka_unit_test_setup(a_stack_is_encoded_once_for_its_slices, setup),
        cmocka_unit_test_setup(slices_of_air_are_one, setup),
        cmocka_unit_test_setup(a_voxel_that_is_not_finite_is_told, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
