/* msa_segment() with a small random network whose profile asks for crops: what it finds around a box in a
 * large slice is, bit for bit, what it finds in a volume cut to the crop by hand. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/engine/fixture.h"
#include "tests/unit/volume/cm.h"

#include "engine/base/pool.h"
#include "engine/segmenter.h"
#include "engine/volume/crop.h"

enum { D = 3, H = 150, W = 180, PIXELS = H * W };

static char folder[] = "/tmp/msa-crop-XXXXXX";
static msa_model *model;
static float voxels[D * PIXELS], cut[D * PIXELS];
static const float positions[D] = {0, 10, 20};

static msa_volume volume_of(const float *from, int32_t rows, int32_t cols, const float spacing_mm[2])
{
    return (msa_volume){.voxels = from,
                        .D = D,
                        .H = rows,
                        .W = cols,
                        .spacing_mm = {spacing_mm[0], spacing_mm[1]},
                        .position_mm = positions,
                        .window_center = 50,
                        .window_width = 100};
}

static msa_prompt box_at(int32_t slice, float x0, float y0, float x1, float y1)
{
    return (msa_prompt){.kind = MSA_PROMPT_BOX, .slice = slice, .x0 = x0, .y0 = y0, .x1 = x1, .y1 = y1};
}

static void segment(const msa_volume *v, const msa_prompt *prompts, int32_t n, uint8_t *mask)
{
    const msa_object object = {prompts, n, 0, NULL};
    msa_object_result result = {.mask = mask};
    assert_int_equal(msa_segment(model, v, &object, 1, &result, NULL, NULL, NULL, NULL, NULL), MSA_OK);
}

/* The same boxes on both, moved by the cut; two slices, so that nothing is carried by a box of its own. */
static void check_against_cut(const float spacing_mm[2], msa_box box)
{
    static uint8_t mask[D * PIXELS], cut_mask[D * PIXELS];
    const msa_crop_rule rule = msa_crop_rule_make(msa_model_config(model), H, W, spacing_mm);
    const msa_transform t = msa_crop_around(&rule, box, NULL, NULL, 0);
    const msa_volume whole = volume_of(voxels, H, W, spacing_mm);
    const msa_volume part = volume_of(cut, t.rows, t.cols, spacing_mm);
    const float x = (float)t.x0, y = (float)t.y0;
    msa_prompt in_whole[D], in_part[D];
    int64_t n = 0, differ = 0;
    assert_true(t.cols < W && t.rows < H);
    for (int32_t s = 0; s < D; s++) {
        in_whole[s] = box_at(s, box.x0, box.y0, box.x1, box.y1);
        in_part[s] = box_at(s, box.x0 - x, box.y0 - y, box.x1 - x, box.y1 - y);
        for (int32_t r = 0; r < t.rows; r++)
            memcpy(cut + (s * t.rows + r) * t.cols, voxels + s * PIXELS + (t.y0 + r) * W + t.x0,
                   (size_t)t.cols * sizeof *cut);
    }
    segment(&whole, in_whole, D, mask);
    segment(&part, in_part, D, cut_mask);
    for (int32_t i = 0; i < D * PIXELS; i++) {
        const int32_t r = i % PIXELS / W - t.y0, c = i % W - t.x0;
        const bool inside = r >= 0 && c >= 0 && r < t.rows && c < t.cols;
        const uint8_t wanted = inside ? cut_mask[(i / PIXELS * t.rows + r) * t.cols + c] : 0;
        differ += mask[i] != wanted;
        n += wanted;
    }
    assert_int_equal(differ, 0);
    assert_true(n > 100); /* there is something to compare */
}

static void a_crop_is_a_volume_cut_by_hand(void **state)
{
    (void)state;
    check_against_cut((const float[2]){1, 1}, (msa_box){60, 40, 100, 75});
    check_against_cut((const float[2]){1, 1}, (msa_box){130.5F, 3.25F, 177.75F, 30});
    check_against_cut((const float[2]){1.5F, 1}, (msa_box){20, 70, 80, 95});
    check_against_cut((const float[2]){0.7F, 1.9F}, (msa_box){90, 60, 105, 110});
}

static void any_number_of_threads_gives_the_same_bits(void **state)
{
    (void)state;
    static uint8_t one[D * PIXELS], three[D * PIXELS];
    const float spacing_mm[2] = {1.5F, 1};
    const msa_volume v = volume_of(voxels, H, W, spacing_mm);
    const msa_prompt prompts[] = {box_at(1, 20, 70, 80, 95), box_at(1, 120, 20, 140, 41)};
    msa_threads_set(1);
    segment(&v, prompts, 2, one);
    msa_threads_set(3);
    segment(&v, prompts, 2, three);
    msa_threads_set(1);
    assert_memory_equal(one, three, sizeof one);
}

static int group_setup(void **state)
{
    (void)state;
    msa_config config = fixture_plain_config();
    char path[64];
    uint32_t seed = 1;
    config.crop_margin = 0.3F;
    config.box_as_mask = true;
    if (!mkdtemp(folder)) return -1;
    (void)snprintf(path, sizeof path, "%s/m", folder);
    for (int i = 0; i < D * PIXELS; i++) {
        seed = seed * 1664525U + 1013904223U;
        voxels[i] = (float)(seed >> 25) * 0.5F + (float)(i % W % 40);
    }
    if (msa_model_write_random(path, &config, 9, NULL) != MSA_OK) return -1;
    const msa_status status = msa_model_load(&model, path, NULL);
    (void)unlink(path);
    return status == MSA_OK ? 0 : -1;
}

static int group_teardown(void **state)
{
    (void)state;
    msa_model_free(model);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crop_is_a_volume_cut_by_hand),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
