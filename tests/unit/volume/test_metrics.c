/* Metrics where the answer can be written down. */
#include <math.h>
#include <string.h>

#include "tests/unit/volume/cm.h"

#include "engine/volume/metrics.h"

static void overlaps(void **state)
{
    (void)state;
    const uint8_t a[6] = {1, 1, 1, 0, 0, 0};
    const uint8_t b[6] = {0, 1, 1, 1, 0, 0};
    const uint8_t none[6] = {0};
    assert_near(msa_metric_dice(a, b, 6), 4.0 / 6, 1e-12);
    assert_near(msa_metric_iou(a, b, 6), 0.5, 1e-12);
    assert_near(msa_metric_dice(none, none, 6), 1, 0);
    assert_near(msa_metric_iou(a, none, 6), 0, 0);
}

/* Two single voxels: the distance is Pythagoras with the spacing of each axis. */
static void hausdorff_uses_the_spacing_of_each_axis(void **state)
{
    (void)state;
    enum { D = 4, H = 5, W = 6 };
    uint8_t a[D * H * W] = {0};
    uint8_t b[D * H * W] = {0};
    const double spacing[3] = {5, 0.5, 2};
    double got = 0;
    a[0] = 1;
    b[(3 * H + 4) * W + 5] = 1;
    assert_int_equal(msa_metric_hausdorff(a, b, D, H, W, spacing, 100, &got, NULL), MSA_OK);
    assert_near(got, sqrt(15 * 15 + 2 * 2 + 10 * 10), 1e-9);
    assert_int_equal(msa_metric_hausdorff(a, a, D, H, W, spacing, 95, &got, NULL), MSA_OK);
    assert_near(got, 0, 0);
}

static void hausdorff_of_nothing(void **state)
{
    (void)state;
    const uint8_t a[4] = {0, 1, 0, 0};
    const uint8_t none[4] = {0};
    const double spacing[3] = {1, 1, 1};
    double got = 9;
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(msa_metric_hausdorff(none, none, 1, 2, 2, spacing, 95, &got, NULL), MSA_OK);
    assert_near(got, 0, 0);
    assert_int_equal(msa_metric_hausdorff(a, none, 1, 2, 2, spacing, 95, &got, &err), MSA_E_INVALID);
    assert_string_equal(err.what, "one of the masks is empty, so they have no distance");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overlaps),
        cmocka_unit_test(hausdorff_uses_the_spacing_of_each_axis),
        cmocka_unit_test(hausdorff_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
