/* Properties of drawn prompts, against short and slow definitions. */
#include <math.h>
#include <string.h>

#include "engine/train/sampling.h"
#include "tests/unit/engine/cm.h"

#define H 23
#define W 31

/* A few discs, some of them cut by the edge. */
static void draw(uint8_t *mask, uint64_t seed, int discs)
{
    msa_random r = msa_random_at(seed, 9, 0, 0);
    memset(mask, 0, H * W);
    for (int k = 0; k < discs; k++) {
        const double y = msa_random_range(&r, -2, H + 2), x = msa_random_range(&r, -2, W + 2),
                     radius = msa_random_range(&r, 1, 7);
        for (int i = 0; i < H * W; i++)
            if (hypot(i / W - y, i % W - x) < radius) mask[i] = 1;
    }
}

static int count(const uint8_t *mask)
{
    int n = 0;
    for (int i = 0; i < H * W; i++)
        n += mask[i] != 0;
    return n;
}

/* ---- random numbers ---- */

static void test_random(void **state)
{
    (void)state;
    msa_random a = msa_random_at(1, 2, 3, 4), same = msa_random_at(1, 2, 3, 4);
    const msa_random others[] = {msa_random_at(2, 2, 3, 4), msa_random_at(1, 3, 3, 4),
                                 msa_random_at(1, 2, 4, 3), msa_random_at(1, 2, 3, 5),
                                 msa_random_at(2, 1, 3, 4)};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_true(others[i].key != a.key);
    double sum = 0, squares = 0, between = 0;
    int below[7] = {0};
    for (int i = 0; i < 20000; i++) {
        assert_true(msa_random_u64(&a) == msa_random_u64(&same));
        const double u = msa_random_unit(&a), n = msa_random_normal(&a);
        (void)msa_random_unit(&same);
        (void)msa_random_normal(&same);
        assert_true(u >= 0 && u < 1 && isfinite(n));
        between += u;
        sum += n;
        squares += n * n;
        const int64_t k = msa_random_below(&a, 7);
        assert_int_equal(k, msa_random_below(&same, 7));
        assert_true(k >= 0 && k < 7);
        below[k]++;
    }
    assert_true(fabs(between / 20000 - 0.5) < 0.01);
    assert_true(fabs(sum / 20000) < 0.03 && fabs(squares / 20000 - 1) < 0.04);
    for (int i = 0; i < 7; i++)
        assert_true(abs(below[i] - 20000 / 7) < 250);
}

/* ---- training prompts ---- */

static void test_tight_box(void **state)
{
    (void)state;
    uint8_t mask[H * W] = {0};
    msa_box b;
    assert_false(msa_mask_box(mask, H, W, &b));
    mask[4 * W + 7] = mask[9 * W + 3] = 1;
    assert_true(msa_mask_box(mask, H, W, &b));
    assert_true(b.x0 == 3 && b.y0 == 4 && b.x1 == 8 && b.y1 == 10);
}

/* Every foreground pixel is hit about equally often, and no other. */
static void test_uniform_click(void **state)
{
    (void)state;
    uint8_t mask[H * W];
    int hits[H * W] = {0};
    draw(mask, 3, 2);
    const int n = count(mask), draws = 60 * n;
    assert_true(n > 20);
    msa_random r = msa_random_at(5, 0, 0, 0);
    for (int k = 0; k < draws; k++) {
        const msa_click c = msa_sample_click(&r, mask, H, W);
        assert_true(c.positive && mask[c.row * W + c.col] != 0);
        hits[c.row * W + c.col]++;
    }
    for (int i = 0; i < H * W; i++)
        assert_true(mask[i] == 0 ? hits[i] == 0 : hits[i] > 20 && hits[i] < 110);
    memset(mask, 0, sizeof mask);
    const msa_click none = msa_sample_click(&r, mask, H, W);
    assert_false(none.positive);
    assert_true(none.row >= 0 && none.row < H && none.col >= 0 && none.col < W);
}

static void test_box_jitter(void **state)
{
    (void)state;
    msa_random r = msa_random_at(6, 0, 0, 0);
    const msa_box tight = {200, 300, 250, 400};
    double squares[2] = {0};
    for (int k = 0; k < 5000; k++) {
        const msa_box b = msa_sample_box(&r, tight, 0.1, 20, 1000, 1000);
        squares[0] += pow((double)(b.x0 - tight.x0), 2);
        squares[1] += pow((double)(b.y1 - tight.y1), 2);
        assert_true(fabsf(b.x0 - tight.x0) <= 20 && fabsf(b.y1 - tight.y1) <= 20);
        assert_true(b.x1 - b.x0 > 0.9999f && b.y1 - b.y0 > 0.9999f);
    }
    assert_true(fabs(sqrt(squares[0] / 5000) - 5) < 0.3);   /* a tenth of 50 */
    assert_true(fabs(sqrt(squares[1] / 5000) - 9.4) < 0.5); /* a tenth of 100, cut at two deviations */
    for (int k = 0; k < 5000; k++) {                        /* a small box at the corner, moved by much */
        const msa_box b = msa_sample_box(&r, (msa_box){0, H - 2, 2, H}, 3, 20, H, W);
        assert_true(b.x0 >= 0 && b.y0 >= 0 && b.x1 <= W && b.y1 <= H);
        assert_true(b.x1 - b.x0 > 0.9999f && b.y1 - b.y0 > 0.9999f);
    }
}

static void test_error_click(void **state)
{
    (void)state;
    uint8_t predicted[H * W], target[H * W];
    draw(predicted, 11, 3);
    draw(target, 12, 3);
    int missed = 0, added = 0;
    for (int i = 0; i < H * W; i++) {
        missed += target[i] && !predicted[i];
        added += predicted[i] && !target[i];
    }
    assert_true(missed > 5 && added > 5 && abs(missed - added) > 20);
    for (int choice = MSA_ERROR_EVEN; choice <= MSA_ERROR_BY_AREA; choice++) {
        msa_random r = msa_random_at(13, (uint64_t)choice, 0, 0);
        int positive = 0;
        for (int k = 0; k < 4000; k++) {
            msa_click c;
            assert_true(msa_sample_error_click(&r, predicted, target, H, W, (msa_error_choice)choice, &c));
            assert_int_not_equal(predicted[c.row * W + c.col], target[c.row * W + c.col]);
            assert_int_equal(c.positive, target[c.row * W + c.col]);
            positive += c.positive;
        }
        const double wanted = choice == MSA_ERROR_EVEN ? 0.5 : (double)missed / (missed + added);
        assert_true(fabs(positive / 4000.0 - wanted) < 0.03);
    }
    msa_random r = msa_random_at(14, 0, 0, 0);
    msa_click c;
    assert_false(msa_sample_error_click(&r, target, target, H, W, MSA_ERROR_EVEN, &c));
    memset(predicted, 0, sizeof predicted); /* one kind only: that one, whatever the coin says */
    for (int k = 0; k < 50; k++) {
        assert_true(msa_sample_error_click(&r, predicted, target, H, W, MSA_ERROR_EVEN, &c));
        assert_true(c.positive);
    }
}

/* ---- evaluation ---- */

static bool touching(int i, int k)
{
    return abs(i / W - k / W) <= 1 && abs(i % W - k % W) <= 1;
}

/* Components by spreading the smallest index until nothing changes. */
static void components(const uint8_t *predicted, const uint8_t *target, int *label)
{
    for (int i = 0; i < H * W; i++)
        label[i] = predicted[i] == target[i] ? -1 : i;
    for (bool changed = true; changed;) {
        changed = false;
        for (int i = 0; i < H * W; i++)
            for (int k = 0; k < H * W; k++)
                if (label[i] >= 0 && label[k] >= 0 && target[i] == target[k] && touching(i, k) &&
                    label[k] < label[i]) {
                    label[i] = label[k];
                    changed = true;
                }
    }
}

static msa_click slow_click(const uint8_t *predicted, const uint8_t *target)
{
    static int label[H * W];
    int best = -1, most = 0, pick = -1;
    long farthest = -1;
    components(predicted, target, label);
    for (int i = 0; i < H * W; i++) {
        int n = 0;
        for (int k = 0; label[i] == i && k < H * W; k++)
            n += label[k] == i;
        if (n > most) {
            most = n;
            best = i;
        }
    }
    for (int i = 0; i < H * W; i++) {
        if (label[i] != best) continue;
        long near = 1000000;
        for (int y = -1; y <= H; y++)
            for (int x = -1; x <= W; x++) {
                const bool inside = y >= 0 && x >= 0 && y < H && x < W && label[y * W + x] == best;
                const long d = (long)(y - i / W) * (y - i / W) + (long)(x - i % W) * (x - i % W);
                if (!inside && d < near) near = d;
            }
        if (near > farthest) {
            farthest = near;
            pick = i;
        }
    }
    return (msa_click){pick / W, pick % W, target[pick] != 0};
}

static void test_evaluation_click(void **state)
{
    (void)state;
    uint8_t predicted[H * W], target[H * W];
    for (uint64_t seed = 0; seed < 6; seed++) {
        draw(predicted, 100 + seed, seed == 0 ? 0 : 3);
        draw(target, 200 + seed, 3);
        const msa_click wanted = slow_click(predicted, target);
        msa_click got;
        bool found = false;
        assert_int_equal(msa_error_click(seed == 0 ? NULL : predicted, target, H, W, &got, &found, NULL),
                         MSA_OK);
        assert_true(found);
        assert_int_equal(got.row, wanted.row);
        assert_int_equal(got.col, wanted.col);
        assert_int_equal(got.positive, wanted.positive);
    }
    msa_click c;
    bool found = true;
    assert_int_equal(msa_error_click(target, target, H, W, &c, &found, NULL), MSA_OK);
    assert_false(found);
}

/* A 4 x 4 square has four innermost pixels; of two equal squares the upper one counts. */
static void test_evaluation_ties(void **state)
{
    (void)state;
    uint8_t target[H * W] = {0};
    for (int y = 0; y < 4; y++)
        for (int x = 0; x < 4; x++)
            target[(12 + y) * W + 3 + x] = target[(5 + y) * W + 20 + x] = 1;
    msa_click c;
    bool found = false;
    assert_int_equal(msa_error_click(NULL, target, H, W, &c, &found, NULL), MSA_OK);
    assert_true(found && c.row == 6 && c.col == 21 && c.positive);
}

static void test_box_of_iou(void **state)
{
    static const double wanted[] = {0.3, 0.5, 0.75, 0.9};
    (void)state;
    msa_random r = msa_random_at(17, 0, 0, 0);
    for (int k = 0; k < 400; k++) {
        msa_box tight = {(float)msa_random_below(&r, 200), (float)msa_random_below(&r, 200), 0, 0};
        tight.x1 = tight.x0 + 1 + (float)msa_random_below(&r, 256 - (int64_t)tight.x0);
        tight.y1 = tight.y0 + 1 + (float)msa_random_below(&r, 256 - (int64_t)tight.y0);
        if (k == 0) tight = (msa_box){0, 0, 256, 256};
        const msa_box b = msa_sample_box_of_iou(&r, tight, wanted[k % 4], 256, 256);
        assert_true(b.x0 >= 0 && b.y0 >= 0 && b.x1 <= 256 && b.y1 <= 256);
        assert_true(fabs(msa_box_iou(b, tight) - wanted[k % 4]) <= 0.02);
    }
    assert_true(msa_box_iou((msa_box){0, 0, 2, 2}, (msa_box){1, 0, 3, 2}) == 1.0 / 3);
    assert_true(msa_box_iou((msa_box){0, 0, 2, 2}, (msa_box){2, 0, 3, 2}) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),          cmocka_unit_test(test_tight_box),
        cmocka_unit_test(test_uniform_click),   cmocka_unit_test(test_box_jitter),
        cmocka_unit_test(test_error_click),     cmocka_unit_test(test_evaluation_click),
        cmocka_unit_test(test_evaluation_ties), cmocka_unit_test(test_box_of_iou)};
    return cmocka_run_group_tests_name("sampling", tests, NULL, NULL);
}
