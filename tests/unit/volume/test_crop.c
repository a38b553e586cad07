/* Which part of a slice the network sees, and that it comes back onto the pixels it was taken from. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/volume/cm.h"

#include "engine/volume/crop.h"
#include "engine/volume/finish.h"

enum { S = 64 };

static msa_crop_rule rule_of(int32_t rows, int32_t cols, float row_mm, float col_mm, float margin)
{
    const msa_config config = {.image_size = S, .crop_margin = margin};
    const float spacing_mm[2] = {row_mm, col_mm};
    return msa_crop_rule_make(&config, rows, cols, spacing_mm);
}

static msa_transform around(const msa_crop_rule *rule, float x0, float y0, float x1, float y1)
{
    return msa_crop_around(rule, (msa_box){x0, y0, x1, y1}, NULL, NULL, 0);
}

static void assert_part(const msa_transform *t, int32_t x0, int32_t y0, int32_t cols, int32_t rows)
{
    assert_int_equal(t->x0, x0);
    assert_int_equal(t->y0, y0);
    assert_int_equal(t->cols, cols);
    assert_int_equal(t->rows, rows);
}

static void a_crop_is_a_square_around_the_box(void **state)
{
    (void)state;
    const msa_crop_rule rule = rule_of(512, 512, 0.7F, 0.7F, 0.5F);
    msa_transform t = around(&rule, 100, 200, 140, 220); /* 40 pixels, doubled */
    assert_part(&t, 80, 170, 80, 80);
    assert_int_equal(t.in_rows, S);
    assert_int_equal(t.in_cols, S);
    t = around(&rule, 100.2F, 200, 140.2F, 220);
    assert_part(&t, 80, 170, 80, 80);
    t = around(&rule, 300, 300, 303, 302); /* too small to be enlarged that far */
    assert_part(&t, 294, 293, MSA_CROP_PIXELS, MSA_CROP_PIXELS);
}

static void at_the_border_it_is_moved_and_then_cut(void **state)
{
    (void)state;
    const msa_crop_rule rule = rule_of(60, 512, 1, 1, 0.5F);
    msa_transform t = around(&rule, 2, 50, 22, 60);
    assert_part(&t, 0, 20, 40, 40);
    t = around(&rule, 500, 0, 512, 4);
    assert_part(&t, 488, 0, 24, 24);
    t = around(&rule, 100, 10, 180, 30); /* 160 wide, and only 60 rows there are */
    assert_part(&t, 60, 0, 160, 60);
    assert_int_equal(t.in_cols, S);
    assert_int_equal(t.in_rows, 24);
}

static void millimetres_decide_not_pixels(void **state)
{
    (void)state;
    const msa_crop_rule rule = rule_of(100, 400, 4, 1, 0.25F);
    msa_transform t = around(&rule, 100, 50, 180, 60); /* 80 mm by 40 mm: 120 mm */
    assert_part(&t, 80, 40, 120, 30);
    assert_int_equal(t.in_rows, S);
    assert_int_equal(t.in_cols, S);
    t = around(&rule, 200, 50, 204, 51); /* 16 pixels of 4 mm */
    assert_part(&t, 170, 43, 64, 16);
    const msa_crop_rule unknown = rule_of(100, 400, 0, NAN, 0.25F);
    t = around(&unknown, 100, 50, 140, 60);
    assert_part(&t, 90, 25, 60, 60);
}

static void a_large_box_and_no_margin_see_the_whole_slice(void **state)
{
    (void)state;
    const msa_crop_rule rule = rule_of(200, 100, 1, 1, 0.5F);
    const msa_crop_rule none = rule_of(200, 100, 2, 1, 0);
    const msa_crop_rule uneven = rule_of(200, 100, 2, 1, 0.5F);
    const msa_transform pixels = msa_transform_make(MSA_GEOMETRY_LONGEST_SIDE, 200, 100, S);
    msa_transform t = around(&rule, 0, 0, 10, 89);
    assert_part(&t, 0, 0, 100, 178);
    t = around(&rule, 0, 0, 10, 90);
    assert_memory_equal(&t, &pixels, sizeof t);
    t = around(&none, 10, 10, 12, 12); /* as the published models were trained */
    assert_memory_equal(&t, &pixels, sizeof t);
    t = msa_crop_whole(&uneven);
    assert_part(&t, 0, 0, 100, 200);
    assert_int_equal(t.in_rows, S);
    assert_int_equal(t.in_cols, 16); /* 400 mm by 100 mm */
}

static void positive_points_widen_it(void **state)
{
    (void)state;
    const msa_crop_rule rule = rule_of(100, 100, 1, 1, 0.5F);
    const msa_box box = {40, 40, 60, 60};
    const float points[] = {50, 50, 5, 50, 90.5F, 95.5F, 30, 100};
    const bool positive[] = {true, false, true, true};
    const bool all_negative[4] = {false};
    msa_transform t = msa_crop_around(&rule, box, points, positive, 4);
    assert_part(&t, 30, 30, 61, 70);
    t = msa_crop_around(&rule, box, points, all_negative, 4);
    assert_part(&t, 30, 30, 40, 40);
}

static float draw(uint32_t *seed, float low, float high)
{
    *seed = *seed * 1664525U + 1013904223U;
    return low + (high - low) * (float)(*seed >> 8) / 16777216.0F;
}

/* What must hold for every box on every slice. */
static void check_any(const msa_crop_rule *rule, msa_box box, const msa_transform *t)
{
    const float longer =
        fmaxf((box.x1 - box.x0) * rule->spacing_mm[1], (box.y1 - box.y0) * rule->spacing_mm[0]);
    const float side = longer * (1 + 2 * rule->margin);
    const float width = (float)t->cols * rule->spacing_mm[1], height = (float)t->rows * rule->spacing_mm[0];
    const bool cut = t->cols == rule->cols || t->rows == rule->rows;
    const float pixel = fmaxf(rule->spacing_mm[0], rule->spacing_mm[1]);
    assert_true(t->x0 >= 0 && t->y0 >= 0 && t->x0 + t->cols <= rule->cols && t->y0 + t->rows <= rule->rows);
    assert_true((float)t->x0 <= box.x0 && (float)t->y0 <= box.y0);
    assert_true((float)(t->x0 + t->cols) >= box.x1 && (float)(t->y0 + t->rows) >= box.y1);
    assert_true(t->in_rows == S || t->in_cols == S);
    if (!cut) assert_true(fabsf(width - height) <= 2 * pixel && width >= side - pixel);
    if (!cut) assert_true(t->cols >= MSA_CROP_PIXELS && t->rows >= MSA_CROP_PIXELS);
    /* nothing is drawn out of shape by more than the input's rounding to pixels */
    const float scale = (float)S / fmaxf(width, height);
    assert_float_equal(t->in_cols, fmaxf(width * scale, 1), 0.51F);
    assert_float_equal(t->in_rows, fmaxf(height * scale, 1), 0.51F);
}

static void every_box_lies_in_its_crop(void **state)
{
    (void)state;
    uint32_t seed = 5;
    for (int i = 0; i < 20000; i++) {
        const msa_crop_rule rule =
            rule_of((int32_t)draw(&seed, 20, 600), (int32_t)draw(&seed, 20, 600), draw(&seed, 0.3F, 5),
                    i % 3 ? draw(&seed, 0.3F, 5) : 1, draw(&seed, 0.01F, 1));
        const float x0 = draw(&seed, 0, (float)rule.cols - 1), y0 = draw(&seed, 0, (float)rule.rows - 1);
        const msa_box box = {x0, y0, fminf(x0 + draw(&seed, 0.1F, 60), (float)rule.cols),
                             fminf(y0 + draw(&seed, 0.1F, 60), (float)rule.rows)};
        const msa_transform t = around(&rule, box.x0, box.y0, box.x1, box.y1);
        check_any(&rule, box, &t);
    }
}

/* A place of the slice, to the crop's input and back; and its corners to the corners of the input. */
static void coordinates_come_back_to_the_slice(void **state)
{
    (void)state;
    const msa_crop_rule rule = rule_of(300, 500, 2, 0.5F, 0.3F);
    const msa_transform t = around(&rule, 311.5F, 77, 402.25F, 90.5F);
    uint32_t seed = 11;
    float x = 0, y = 0, back_x = 0, back_y = 0;
    assert_true(t.x0 > 0 && t.y0 > 0);
    msa_transform_to_input(&t, (float)t.x0, (float)t.y0, &x, &y);
    assert_float_equal(x + 0.5F, 0, 1e-6);
    assert_float_equal(y + 0.5F, 0, 1e-6);
    msa_transform_to_input(&t, (float)(t.x0 + t.cols), (float)(t.y0 + t.rows), &x, &y);
    assert_float_equal(x + 0.5F, t.in_cols, 1e-4);
    assert_float_equal(y + 0.5F, t.in_rows, 1e-4);
    for (int i = 0; i < 200; i++) {
        const float at_x = draw(&seed, (float)t.x0, (float)(t.x0 + t.cols));
        const float at_y = draw(&seed, (float)t.y0, (float)(t.y0 + t.rows));
        msa_transform_to_input(&t, at_x, at_y, &x, &y);
        msa_transform_to_image(&t, x, y, &back_x, &back_y);
        assert_float_equal(back_x, at_x, 1e-3);
        assert_float_equal(back_y, at_y, 1e-3);
    }
}

/* Logits of a crop finish as those of an image of its size do, at its place in the slice, and to the bit. */
static void finishing_a_part_is_finishing_an_image_of_its_size(void **state)
{
    (void)state;
    enum { LOW = 16, ROWS = 90, COLS = 120 };
    const msa_crop_rule rule = rule_of(ROWS, COLS, 1, 1, 0.2F);
    const msa_transform whole = msa_crop_whole(&rule);
    const msa_transform part = around(&rule, 50, 33, 80, 60);
    const msa_transform alone = msa_transform_make(MSA_GEOMETRY_LONGEST_SIDE, part.rows, part.cols, S);
    static float of_part[ROWS * COLS], of_alone[ROWS * COLS];
    uint8_t mask[ROWS * COLS];
    float logits[LOW * LOW];
    uint32_t seed = 3;
    MSA_AUTO(msa_finish) f = NULL;
    MSA_AUTO(msa_finish) g = NULL;
    for (int i = 0; i < LOW * LOW; i++)
        logits[i] = draw(&seed, -1, 1);
    assert_int_equal(msa_finish_new(&f, &whole, LOW, NULL), MSA_OK);
    assert_int_equal(msa_finish_new(&g, &alone, LOW, NULL), MSA_OK);
    msa_finish_aim(f, &part);
    assert_int_equal(msa_finish_logits(f, logits, msa_transform_region(&part), of_part, NULL), MSA_OK);
    assert_int_equal(msa_finish_logits(g, logits, (msa_region){0, 0, part.cols, part.rows}, of_alone, NULL),
                     MSA_OK);
    assert_memory_equal(of_part, of_alone, (size_t)part.rows * (size_t)part.cols * sizeof *of_part);
    memset(mask, 9, sizeof mask);
    assert_int_equal(msa_finish_mask(f, logits, msa_transform_region(&part), mask, NULL), MSA_OK);
    for (int y = 0; y < ROWS; y++)
        for (int x = 0; x < COLS; x++) {
            const int px = x - part.x0, py = y - part.y0;
            const bool inside = px >= 0 && py >= 0 && px < part.cols && py < part.rows;
            assert_int_equal(mask[y * COLS + x], inside ? of_alone[py * part.cols + px] > 0 : 9);
        }
    msa_finish_aim(f, &whole); /* and back again */
    assert_int_equal(msa_finish_mask(f, logits, (msa_region){0, 0, COLS, ROWS}, mask, NULL), MSA_OK);
    assert_true(mask[0] <= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crop_is_a_square_around_the_box),
        cmocka_unit_test(at_the_border_it_is_moved_and_then_cut),
        cmocka_unit_test(millimetres_decide_not_pixels),
        cmocka_unit_test(a_large_box_and_no_margin_see_the_whole_slice),
        cmocka_unit_test(positive_points_widen_it),
        cmocka_unit_test(every_box_lies_in_its_crop),
        cmocka_unit_test(coordinates_come_back_to_the_slice),
        cmocka_unit_test(finishing_a_part_is_finishing_an_image_of_its_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
