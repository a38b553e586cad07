/* The box in the picture: light and dark objects look alike, padding says nothing, other models are left
 * alone. */
#include <math.h>
#include <string.h>

#include "engine/sam/prompt_encoder.h"
#include "engine/sam/prompt_picture.h"
#include "tests/unit/engine/cm.h"
#include "tests/unit/engine/fixture.h"

#define S 64
#define N (S * S)

static const float box[4] = {19.5f, 9.5f, 39.5f, 29.5f}; /* columns 20 .. 39, rows 10 .. 29 */

/* A disc in the box on another grey, in noise; nothing below row 47. */
static void draw(float *image, float disc, float around)
{
    fixture_fill(image, N, 5, 0.05f);
    for (int i = 0; i < N; i++) {
        const int x = i % S, y = i / S;
        image[i] += hypot(x - 29.5, y - 19.5) < 10 ? disc : around;
        if (y >= 48) image[i] = 0;
    }
    memcpy(image + N, image, N * sizeof *image);
    memcpy(image + 2 * N, image, N * sizeof *image);
}

static void test_likeness(void **state)
{
    (void)state;
    static float light[3 * N], dark[3 * N], grey[N];
    msa_config c = fixture_config();
    c.box_in_image = true;
    draw(light, 1.0f, -1.0f);
    draw(dark, -1.0f, 1.0f);
    memcpy(grey, light, sizeof grey);
    msa_prompt_into_image(&c, box, 48, S, light);
    msa_prompt_into_image(&c, box, 48, S, dark);
    assert_memory_equal(grey, light, sizeof grey);
    for (int i = 0; i < N; i++) {
        const int x = i % S, y = i / S;
        const double r = hypot(x - 29.5, y - 19.5);
        const bool in_box = x >= 20 && x < 40 && y >= 10 && y < 30;
        if (!in_box) assert_true(light[2 * N + i] == -1.0f && dark[2 * N + i] == -1.0f);
        for (const float *image = light; image != NULL; image = image == light ? dark : NULL) {
            if (y >= 48) assert_true(image[N + i] == 0.0f);
            if (y < 48 && r < 9) assert_true(image[N + i] > 0.5f);
            if (y < 48 && r > 11) assert_true(image[N + i] < -0.5f);
            if (r < 9) assert_true(image[2 * N + i] > 1.5f); /* the disc's border is a step of 2 */
            if (in_box && r > 11) assert_true(image[2 * N + i] < 1.0f);
        }
    }
}

/* A bar that goes on outside is reached without crossing anything; a ring keeps what lies in it. */
static void test_ways(void **state)
{
    (void)state;
    static float image[3 * N];
    msa_config c = fixture_config();
    c.box_in_image = true;
    for (int i = 0; i < N; i++) {
        const int x = i % S, y = i / S;
        const double r = hypot(x - 29.5, y - 19.5);
        image[i] = r > 7 && r < 10 ? 1.0f : 0.0f;
        if (y == 19) image[i] = 2.0f; /* through everything, from side to side */
    }
    msa_prompt_into_image(&c, box, S, S, image);
    assert_true(image[2 * N + 19 * S + 30] == 0.25f);
    assert_true(image[2 * N + 11 * S + 30] == 1.25f); /* in the ring: one step of 1 */
    assert_true(fabsf(image[2 * N + 15 * S + 30] - 0.25f - sqrtf(2.0f)) <
                1e-5f);                               /* over it, or from the bar */
    assert_true(image[2 * N + 10 * S + 21] == 0.25f); /* a corner of the box */
    for (int i = 0; i < N; i++)
        image[i] = 0.0f;
    msa_prompt_into_image(&c, box, S, S, image);
    for (int y = 10; y < 30; y++)
        for (int x = 20; x < 40; x++)
            assert_true(image[2 * N + y * S + x] == 0.25f);
    const float all[4] = {-0.5f, -0.5f, S - 0.5f, S - 0.5f};
    msa_prompt_into_image(&c, all, S, S, image); /* no way in */
    for (int i = 0; i < N; i++)
        assert_true(image[2 * N + i] == 2.25f);
}

static void test_without(void **state)
{
    (void)state;
    static float image[3 * N], before[3 * N];
    msa_config c = fixture_config();
    draw(image, 1.0f, -1.0f);
    memcpy(before, image, sizeof before);
    msa_prompt_into_image(&c, box, 48, S, image); /* a model that does not ask for it */
    assert_memory_equal(image, before, sizeof before);
    c.box_in_image = true;
    msa_prompt_into_image(&c, NULL, 48, S, image);
    assert_memory_equal(image, before, N * sizeof *image);
    for (int i = N; i < 3 * N; i++)
        assert_true(image[i] == 0.0f);
    draw(image, 1.0f, -1.0f);
    const float all[4] = {-0.5f, -0.5f, S - 0.5f, 47.5f};
    msa_prompt_into_image(&c, all, 48, S, image); /* no outside to be told from */
    for (int i = N; i < 2 * N; i++)
        assert_true(image[i] == 0.0f);
}

/* The box as a mask: by how much of a pixel of the masks it covers; a mask of the prompt's own comes first.
 */
static void test_mask(void **state)
{
    (void)state;
    static float room[32 * 32], own[32 * 32];
    msa_config c = fixture_config();
    msa_prompt_set p = {.box = box};
    assert_null(msa_prompt_mask(&c, 8, 8, &p, room));
    c.box_as_mask = true;
    const float shifted[4] = {20.0f, 9.5f, 39.5f,
                              29.5f}; /* a quarter of its first column of pixels is outside */
    p.box = shifted;
    assert_ptr_equal(msa_prompt_mask(&c, 8, 8, &p, room), room);
    assert_true(fabsf(room[10 * 32 + 15] - 4.0f) < 1e-5f && fabsf(room[2 * 32 + 15] + 4.0f) < 1e-5f);
    assert_true(fabsf(room[10 * 32 + 10] - 4.0f * (2.0f * 0.75f - 1.0f)) < 1e-5f);
    p.mask = own;
    assert_ptr_equal(msa_prompt_mask(&c, 8, 8, &p, room), own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_likeness), cmocka_unit_test(test_ways),
                                       cmocka_unit_test(test_without), cmocka_unit_test(test_mask)};
    return cmocka_run_group_tests_name("prompt_picture", tests, NULL, NULL);
}
