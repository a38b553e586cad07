/* Where an object goes on the next slice by its greys. No model. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/volume/cm.h"

#include "engine/volume/follow.h"

enum { D = 2, H = 200, W = 300, PIXELS = H * W };

static float voxels[D * PIXELS];
static float positions[D] = {0, 3};
static uint8_t mask[PIXELS];
static float guess[PIXELS];
static const msa_volume volume = {
    .voxels = voxels, .D = D, .H = H, .W = W, .spacing_mm = {1, 1}, .position_mm = positions};
static const msa_window window = {.lo = 0, .hi = 100};
static msa_follow *follow;

static int setup(void **state)
{
    (void)state;
    memset(voxels, 0, sizeof voxels);
    memset(mask, 0, sizeof mask);
    return msa_follow_new(&follow, &volume, &window, NULL);
}

static int teardown(void **state)
{
    (void)state;
    msa_follow_free(follow);
    return 0;
}

static void disc(int32_t slice, double cx, double cy, double r, float grey)
{
    for (int32_t i = 0; i < PIXELS; i++) {
        if (hypot(i % W + 0.5 - cx, i / W + 0.5 - cy) > r) continue;
        voxels[slice * PIXELS + i] = grey;
        if (slice == 0) mask[i] = 1;
    }
}

/* The guess for slice 1 in the region, as a Dice with what is brighter than `least` there. */
static double agreement(msa_region r, float least)
{
    const msa_mask_stats stats = msa_mask_measure(mask, W, (msa_region){0, 0, W, H});
    msa_greys greys;
    int64_t wanted = 0, got = 0, both = 0;
    msa_follow_learn(follow, 0, mask, &stats, &greys);
    msa_follow_guess(follow, 0, 1, mask, r, &greys, guess);
    for (int32_t y = r.y0, i = 0; y < r.y1; y++)
        for (int32_t x = r.x0; x < r.x1; x++, i++) {
            const bool in = voxels[PIXELS + y * W + x] > least;
            assert_true(isfinite(guess[i]) && fabsf(guess[i]) <= 5.25F);
            wanted += in;
            got += guess[i] > 0;
            both += in && guess[i] > 0;
        }
    return 2.0 * (double)both / (double)(wanted + got);
}

static void what_moves_and_shrinks_is_followed(void **state)
{
    (void)state;
    disc(0, 50, 60, 12, 80);
    disc(1, 52, 61, 10, 80);
    assert_true(agreement((msa_region){30, 40, 72, 82}, 50) > 0.97);
}

/* Of a large one the inside stays, and msa_follow_fit() tells that it is something else. */
static void a_small_object_that_ends_is_gone(void **state)
{
    (void)state;
    disc(0, 50, 60, 2, 80);
    (void)agreement((msa_region){40, 50, 60, 70}, 50);
    for (int32_t i = 0; i < 20 * 20; i++)
        assert_true(guess[i] < 0);
}

static void where_all_is_alike_the_object_stays(void **state)
{
    (void)state;
    disc(0, 50, 60, 12, 0);
    const msa_mask_stats stats = msa_mask_measure(mask, W, (msa_region){0, 0, W, H});
    const msa_region r = {30, 40, 72, 82};
    msa_greys greys;
    int64_t wrong = 0;
    msa_follow_learn(follow, 0, mask, &stats, &greys);
    msa_follow_guess(follow, 0, 1, mask, r, &greys, guess);
    for (int32_t y = r.y0, i = 0; y < r.y1; y++)
        for (int32_t x = r.x0; x < r.x1; x++, i++)
            wrong += (guess[i] > 0) != mask[y * W + x];
    assert_true(wrong <= stats.area / 20);
}

static void a_neighbour_of_another_grey_is_left_alone(void **state)
{
    (void)state;
    disc(0, 50, 60, 12, 80);
    for (int32_t s = 0; s < D; s++)
        for (int32_t i = 0; i < PIXELS; i++)
            if (i % W >= 62 && i % W < 90 && i / W > 30 && i / W < 90) voxels[s * PIXELS + i] = 45;
    disc(1, 50, 60, 12, 80);
    assert_true(agreement((msa_region){30, 40, 80, 82}, 60) > 0.97);
}

static void large_regions_and_the_image_edge(void **state)
{
    (void)state;
    disc(0, 150, 100, 95, 80); /* 300 pixels across are cells of 3 */
    disc(1, 152, 101, 92, 80);
    assert_true(agreement((msa_region){0, 0, W, H}, 50) > 0.96);
    memset(voxels, 0, sizeof voxels);
    memset(mask, 0, sizeof mask);
    disc(0, 298, 198, 14, 80);
    disc(1, 298, 198, 14, 80);
    assert_true(agreement((msa_region){270, 170, W, H}, 50) > 0.97);
    assert_true(agreement((msa_region){299, 199, W, H}, 50) > 0.99); /* one pixel */
}

static void the_fit_tells_greys_apart(void **state)
{
    (void)state;
    const msa_region r = {30, 40, 72, 82};
    msa_greys greys;
    disc(0, 50, 60, 12, 80);
    const msa_mask_stats stats = msa_mask_measure(mask, W, r);
    msa_follow_learn(follow, 0, mask, &stats, &greys);
    const double own = msa_follow_fit(follow, &greys, 0, mask, r);
    assert_true(own > 0.9);
    assert_true(msa_follow_fit(follow, &greys, 1, mask, r) < 0.2); /* nothing there */
    disc(1, 50, 60, 12, 40);
    const double other = msa_follow_fit(follow, &greys, 1, mask, r); /* a grey that was nowhere */
    assert_true(other < 0.7 * own);
    disc(1, 50, 60, 12, NAN); /* black here; whoever shows it to the network says what is wrong */
    assert_true(msa_follow_fit(follow, &greys, 1, mask, r) < 0.2);
    memset(mask, 0, sizeof mask);
    assert_near(msa_follow_fit(follow, &greys, 0, mask, r), 0, 0);
}

static void the_same_twice_is_the_same_bits(void **state)
{
    (void)state;
    static float first[42 * 42];
    disc(0, 50, 60, 12, 80);
    disc(1, 53, 60, 11, 75);
    (void)agreement((msa_region){30, 40, 72, 82}, 50);
    memcpy(first, guess, sizeof first);
    (void)agreement((msa_region){0, 0, W, H}, 50); /* what lies in the scratch then does not matter */
    (void)agreement((msa_region){30, 40, 72, 82}, 50);
    assert_memory_equal(first, guess, sizeof first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_moves_and_shrinks_is_followed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_small_object_that_ends_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(where_all_is_alike_the_object_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(a_neighbour_of_another_grey_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(large_regions_and_the_image_edge, setup, teardown),
        cmocka_unit_test_setup_teardown(the_fit_tells_greys_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(the_same_twice_is_the_same_bits, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
