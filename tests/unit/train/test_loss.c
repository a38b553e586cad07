/* Gradients of the losses against central differences. */
#include <math.h>
#include <string.h>

#include "engine/nn/interp.h"
#include "engine/train/loss.h"
#include "engine/train/random.h"
#include "tests/unit/engine/cm.h"

#define ITEMS 2
#define N     37
#define ALL   (ITEMS * N)

typedef struct scene {
    float logits[ALL], target[ALL];
} scene;

static scene make_scene(uint64_t seed, bool soft)
{
    scene s;
    msa_random r = msa_random_at(seed, 1, 0, 0);
    for (int i = 0; i < ALL; i++) {
        s.logits[i] = (float)(2 * msa_random_normal(&r));
        const double t = msa_random_unit(&r);
        s.target[i] = soft ? (float)t : t < 0.3 ? 1.0f : 0.0f;
    }
    return s;
}

/* The step is 2^-7, so that adding it to a float logit is nearly exact; the true difference is divided by. */
static void check_gradient(const msa_loss_options *o, scene s, double scale)
{
    float got[ALL];
    for (int i = 0; i < ALL; i++)
        got[i] = 0.5f; /* gradients are added */
    (void)msa_loss(o, s.logits, s.target, ITEMS, N, scale, got);
    for (int i = 0; i < ALL; i++) {
        const float x = s.logits[i], up = x + 0x1p-7f, down = x - 0x1p-7f;
        s.logits[i] = up;
        const double above = msa_loss(o, s.logits, s.target, ITEMS, N, scale, NULL);
        s.logits[i] = down;
        const double below = msa_loss(o, s.logits, s.target, ITEMS, N, scale, NULL);
        s.logits[i] = x;
        const double wanted = scale * (above - below) / ((double)up - (double)down);
        if (!(fabs((double)got[i] - 0.5 - wanted) <= 2e-5 * scale * fmax(1, o->focal_weight)))
            fail_msg("kind %d index %d wanted %g got %g", (int)o->kind, i, wanted, (double)got[i] - 0.5);
    }
}

static void test_gradients(void **state)
{
    (void)state;
    for (int kind = MSA_LOSS_BCE; kind <= MSA_LOSS_FOCAL_DICE; kind++)
        for (int soft = 0; soft < 2; soft++) {
            msa_loss_options o = msa_loss_defaults((msa_loss_kind)kind);
            o.positive_weight = 2.5;
            check_gradient(&o, make_scene((uint64_t)(kind + 10 * soft), soft == 1), 0.25);
            o.dice_plain = true;
            check_gradient(&o, make_scene((uint64_t)(kind + 10 * soft) + 5, soft == 1), 1.5);
        }
}

static void test_focal_gammas(void **state)
{
    static const double gammas[] = {0, 1, 3.5};
    (void)state;
    for (int i = 0; i < 3; i++) {
        msa_loss_options o = msa_loss_defaults(MSA_LOSS_FOCAL_DICE);
        o.focal_gamma = gammas[i];
        o.focal_alpha = 0.6;
        check_gradient(&o, make_scene(30 + (uint64_t)i, false), 1);
    }
}

/* Logits of a confident net must not overflow; an empty target still has a gradient. */
static void test_extremes(void **state)
{
    (void)state;
    const float logits[6] = {-1000, 1000, -90, 90, -1000, 1000}, target[6] = {0, 1, 0, 1, 1, 0},
                none[6] = {0};
    for (int kind = MSA_LOSS_BCE; kind <= MSA_LOSS_FOCAL_DICE; kind++) {
        const msa_loss_options o = msa_loss_defaults((msa_loss_kind)kind);
        float d[6] = {0};
        assert_true(isfinite(msa_loss(&o, logits, target, 1, 6, 1, d)));
        assert_true(isfinite(msa_loss(&o, logits, none, 1, 6, 1, d)));
        for (int i = 0; i < 6; i++)
            assert_true(isfinite(d[i]));
    }
    float d[6] = {0};
    msa_loss_bce_backward(logits, target, 1, 6, 1, 6, d);
    assert_float_equal(d[0], 0, 1e-7);
    assert_float_equal(d[4], -1, 1e-7); /* certain and wrong: the full slope */
    assert_float_equal(d[5], 1, 1e-7);
}

static void test_perfect_dice(void **state)
{
    (void)state;
    const float logits[4] = {50, -50, 50, -50}, target[4] = {1, 0, 1, 0};
    assert_true(msa_loss_dice(logits, target, 1, 4, true) < 1e-9);
    assert_true(msa_loss_dice(logits, target, 1, 4, false) < 1e-9);
}

static void test_iou(void **state)
{
    (void)state;
    float d = 1;
    assert_float_equal(msa_loss_iou(0.5f, 0.75, 2, &d), 0.0625, 1e-9);
    assert_float_equal(d, 1 + 2 * 2 * -0.25f, 1e-6);
}

/* <resize(x), y> = <x, backward(y)>: backward is the transpose of a linear map, on any pair of sizes. */
static void test_resize_transpose(void **state)
{
    static const int32_t sizes[][4] = {
        {4, 4, 16, 16}, {5, 3, 2, 7}, {1, 1, 3, 3}, {8, 6, 8, 6}, {9, 7, 4, 3}};
    (void)state;
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        const int32_t h = sizes[k][0], w = sizes[k][1], oh = sizes[k][2], ow = sizes[k][3], C = 2;
        float x[256], y[512], rx[512], by[256] = {0};
        msa_random r = msa_random_at(k, 2, 0, 0);
        for (int i = 0; i < h * w * C; i++)
            x[i] = (float)msa_random_normal(&r);
        for (int i = 0; i < oh * ow * C; i++)
            y[i] = (float)msa_random_normal(&r);
        msa_resize_bilinear(x, h, w, C, rx, oh, ow);
        msa_resize_bilinear_backward(y, oh, ow, C, by, h, w);
        double left = 0, right = 0;
        for (int i = 0; i < oh * ow * C; i++)
            left += (double)rx[i] * (double)y[i];
        for (int i = 0; i < h * w * C; i++)
            right += (double)x[i] * (double)by[i];
        assert_float_equal(left, right, 1e-4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients), cmocka_unit_test(test_focal_gammas),
        cmocka_unit_test(test_extremes),  cmocka_unit_test(test_perfect_dice),
        cmocka_unit_test(test_iou),       cmocka_unit_test(test_resize_transpose)};
    return cmocka_run_group_tests_name("loss", tests, NULL, NULL);
}
