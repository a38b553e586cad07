/* Windows along the depth, and a small random network with a depth branch whose volumes are deeper than it,
 * just as deep, and shallower. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/volume/cm.h"

#include "engine/base/pool.h"
#include "engine/volume/crop.h"
#include "engine/volume/depth_windows.h"
#include "engine/volume/embeddings.h"
#include "engine/volume/prepare.h"
#include "tests/unit/engine/fixture.h"

enum { D = 14, H = 60, W = 50, PIXELS = H * W, SEES = 6, SIZE = 64, IMAGE = 3 * SIZE * SIZE };

static char folder[] = "/tmp/msa-depth-XXXXXX";
static msa_model *model;
static float voxels[D * PIXELS];
static const float positions[D] = {0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65};

/* ---- windows ---- */

static msa_depth_windows windows_of(int32_t sees, int32_t slices)
{
    const msa_config c = {.depth_grouping = MSA_DEPTH_VOLUME, .depth_slices = sees};
    return msa_depth_windows_make(&c, slices);
}

static void check_windows(int32_t sees, int32_t slices)
{
    const msa_depth_windows w = windows_of(sees, slices);
    int32_t before = 0;
    assert_int_equal(w.size, sees < slices ? sees : slices);
    assert_int_equal(msa_depth_windows_first(&w, 0), 0);
    assert_int_equal(msa_depth_windows_first(&w, w.n - 1) + w.size, slices);
    for (int32_t i = 1; i < w.n; i++)
        assert_in_range(msa_depth_windows_first(&w, i) - msa_depth_windows_first(&w, i - 1), 1, w.step);
    for (int32_t z = 0; z < slices; z++) {
        const int32_t mine = msa_depth_windows_of(&w, z), first = msa_depth_windows_first(&w, mine);
        assert_in_range(z, first, first + w.size - 1);
        assert_true(mine == before || mine == before + 1); /* ranges, and no window for nothing */
        before = mine;
        /* Neighbours on both sides, a quarter of a window at least, but at the ends of the volume. */
        if (mine > 0) assert_true(z - first >= w.size / 4);
        if (mine < w.n - 1) assert_true(first + w.size - 1 - z >= w.size / 4);
    }
    assert_int_equal(before, w.n - 1);
}

static void every_slice_belongs_to_one_window(void **state)
{
    (void)state;
    for (int32_t sees = 1; sees <= 33; sees++)
        for (int32_t slices = 1; slices <= 100; slices++)
            check_windows(sees, slices);
}

static void a_slice_belongs_where_it_is_in_the_middle(void **state)
{
    (void)state;
    const msa_depth_windows w = windows_of(8, 18); /* from 0, 4, 8 and 10 */
    static const int32_t wanted[18] = {0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3};
    assert_int_equal(w.n, 4);
    for (int32_t z = 0; z < 18; z++)
        assert_int_equal(msa_depth_windows_of(&w, z), wanted[z]);
}

static void a_profile_that_does_not_say_sees_eight(void **state)
{
    (void)state;
    const msa_config flat = {.depth_slices = 6};
    assert_int_equal(windows_of(0, 100).size, MSA_DEPTH_SLICES);
    assert_int_equal(msa_depth_windows_make(&flat, 100).size, 1);
    assert_int_equal(msa_depth_windows_make(&flat, 100).n, 100);
}

/* ---- the network ---- */

static msa_volume volume_of(int32_t first, int32_t slices)
{
    return (msa_volume){.voxels = voxels + first * PIXELS,
                        .D = slices,
                        .H = H,
                        .W = W,
                        .spacing_mm = {1, 1},
                        .position_mm = positions,
                        .window_center = 50,
                        .window_width = 100};
}

static msa_transform whole_of(const msa_volume *v)
{
    const msa_crop_rule rule = msa_crop_rule_make(msa_model_config(model), v->H, v->W, v->spacing_mm);
    return msa_crop_whole(&rule);
}

static float *floats(size_t n)
{
    float *x = calloc(n, sizeof *x);
    assert_non_null(x);
    return x;
}

/* What the service makes of a volume's slices, asked for in an order that jumps between windows. */
static float *by_windows(const msa_volume *v, size_t kept)
{
    const size_t one = msa_embedding_floats(msa_model_config(model));
    const msa_window window = msa_window_centered(v->window_center, v->window_width);
    const msa_transform whole = whole_of(v);
    const int32_t room = msa_depth_windows_make(msa_model_config(model), v->D).size;
    float *all = floats((size_t)v->D * one);
    MSA_AUTO(msa_predictor) predictor = NULL;
    MSA_AUTO(msa_embeddings) e = NULL;
    assert_int_equal(msa_predictor_new_stack(&predictor, model, room, NULL), MSA_OK);
    const msa_embedding_cache_options bound = {.memory_bytes = kept * one * sizeof(float)};
    MSA_AUTO(msa_embedding_cache) cache = NULL;
    assert_int_equal(msa_embedding_cache_new(&cache, &bound, NULL), MSA_OK);
    assert_int_equal(msa_embeddings_new(&e, model, v, &window, predictor, cache, NULL), MSA_OK);
    for (int32_t i = 0; i < v->D; i++) {
        const int32_t z = (11 * i + 3) % v->D;
        const float *got = NULL;
        assert_int_equal(msa_embeddings_get(e, z, &whole, NULL, &got, NULL), MSA_OK);
        memcpy(all + (size_t)z * one, got, one * sizeof *all);
    }
    return all;
}

/* The whole volume in one pass. */
static float *direct(const msa_volume *v)
{
    const msa_config *c = msa_model_config(model);
    const size_t one = msa_embedding_floats(c);
    const msa_window window = msa_window_centered(v->window_center, v->window_width);
    const msa_transform whole = whole_of(v);
    float *all = floats((size_t)v->D * one);
    MSA_AUTO_FREE float *images = floats((size_t)v->D * IMAGE);
    MSA_AUTO(msa_predictor) predictor = NULL;
    for (int32_t z = 0; z < v->D; z++)
        assert_int_equal(msa_prepare_slice(&whole, &window, c->input_norm, v->voxels + (size_t)z * PIXELS,
                                           v->W, images + (size_t)z * IMAGE, NULL),
                         MSA_OK);
    assert_int_equal(msa_predictor_new_stack(&predictor, model, v->D, NULL), MSA_OK);
    assert_int_equal(msa_predictor_encode_stack(predictor, v->D, images, all, NULL), MSA_OK);
    return all;
}

static void assert_same(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(a + i, b + i, sizeof *a) != 0)
            fail_msg("value %zu: %.9g and %.9g", i, (double)a[i], (double)b[i]);
}

static void a_volume_not_deeper_is_one_pass(void **state)
{
    (void)state;
    const size_t one = msa_embedding_floats(msa_model_config(model));
    for (int32_t slices = 1; slices <= SEES; slices++) {
        const msa_volume v = volume_of(2, slices);
        MSA_AUTO_FREE float *got = by_windows(&v, D);
        MSA_AUTO_FREE float *want = direct(&v);
        assert_same(got, want, (size_t)slices * one);
    }
}

/* Also when there is no room to keep more than one embedding. */
static void a_deeper_one_is_the_passes_of_its_windows(void **state)
{
    (void)state;
    const size_t one = msa_embedding_floats(msa_model_config(model));
    const msa_volume v = volume_of(0, D);
    const msa_depth_windows w = msa_depth_windows_make(msa_model_config(model), D);
    MSA_AUTO_FREE float *got = by_windows(&v, D);
    MSA_AUTO_FREE float *alone = by_windows(&v, 1);
    assert_int_equal(w.n, 4); /* from 0, 3, 6 and 8 */
    assert_same(alone, got, D * one);
    for (int32_t i = 0; i < w.n; i++) {
        const int32_t first = msa_depth_windows_first(&w, i);
        const msa_volume part = volume_of(first, SEES);
        MSA_AUTO_FREE float *want = direct(&part);
        for (int32_t z = first; z < first + SEES; z++)
            if (msa_depth_windows_of(&w, z) == i)
                assert_same(got + (size_t)z * one, want + (size_t)(z - first) * one, one);
    }
}

static void slices_see_their_neighbours(void **state)
{
    (void)state;
    const size_t one = msa_embedding_floats(msa_model_config(model));
    const msa_volume v = volume_of(0, D);
    MSA_AUTO_FREE float *before = by_windows(&v, D);
    voxels[5 * PIXELS + 20 * W + 20] += 60;
    MSA_AUTO_FREE float *after = by_windows(&v, D);
    voxels[5 * PIXELS + 20 * W + 20] -= 60;
    for (size_t z = 0; z < D; z++) { /* slice 5 is in the windows from 0 and 3, which 0 to 7 belong to */
        const bool same = memcmp(before + z * one, after + z * one, one * sizeof *before) == 0;
        assert_int_equal(same, z > 7);
    }
}

static void segment(int32_t slices, uint8_t *mask)
{
    const msa_prompt box = {
        .kind = MSA_PROMPT_BOX, .slice = slices / 2, .x0 = 10, .y0 = 12, .x1 = 40, .y1 = 45};
    const msa_object object = {.prompts = &box, .n_prompts = 1};
    const msa_volume v = volume_of(0, slices);
    msa_object_result result = {.mask = mask};
    assert_int_equal(msa_segment(model, &v, &object, 1, &result, NULL, NULL, NULL, NULL, NULL), MSA_OK);
    assert_int_equal(result.n_prompted, 1);
}

static void any_number_of_threads_gives_the_same_bits(void **state)
{
    (void)state;
    static uint8_t one[D * PIXELS], three[D * PIXELS];
    static const int32_t depths[] = {1, 3, SEES, D};
    for (size_t i = 0; i < sizeof depths / sizeof depths[0]; i++) {
        const msa_volume v = volume_of(0, depths[i]);
        msa_threads_set(1);
        MSA_AUTO_FREE float *by_one = by_windows(&v, D);
        segment(depths[i], one);
        msa_threads_set(3);
        MSA_AUTO_FREE float *by_three = by_windows(&v, D);
        segment(depths[i], three);
        assert_same(by_one, by_three, (size_t)depths[i] * msa_embedding_floats(msa_model_config(model)));
        assert_memory_equal(one, three, (size_t)depths[i] * PIXELS);
    }
    msa_threads_set(1);
}

static int load(void **state)
{
    msa_config c = fixture_config();
    c.depth_grouping = MSA_DEPTH_VOLUME;
    c.depth_slices = SEES;
    c.input_norm = MSA_NORM_UNIT;
    char path[sizeof folder + 8];
    (void)state;
    if (!mkdtemp(folder)) return -1;
    (void)snprintf(path, sizeof path, "%s/m", folder);
    for (int32_t i = 0; i < D * PIXELS; i++)
        voxels[i] = (float)((i % W / 9 + i / W % H / 7 + i / PIXELS) % 3) * 40.0F + (float)(i % 17);
    const bool ok =
        msa_model_write_random(path, &c, 7, NULL) == MSA_OK && msa_model_load(&model, path, NULL) == MSA_OK;
    (void)unlink(path);
    return ok && rmdir(folder) == 0 ? 0 : -1;
}

static int unload(void **state)
{
    (void)state;
    msa_model_free(model);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_slice_belongs_to_one_window),
        cmocka_unit_test(a_slice_belongs_where_it_is_in_the_middle),
        cmocka_unit_test(a_profile_that_does_not_say_sees_eight),
        cmocka_unit_test(a_volume_not_deeper_is_one_pass),
        cmocka_unit_test(a_deeper_one_is_the_passes_of_its_windows),
        cmocka_unit_test(slices_see_their_neighbours),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
