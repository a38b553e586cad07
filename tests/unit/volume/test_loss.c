/* Losses where the answer can be written down. */
#include <math.h>

#include "tests/unit/volume/cm.h"

#include "engine/train/loss.h"

static void losses_at_known_points(void **state)
{
    (void)state;
    const float zero[2] = {0, 0};
    const float sure[2] = {40, -40};
    const float target[2] = {1, 0};
    assert_near(msa_loss_bce(zero, target, 1, 2, 1), log(2), 1e-12);
    assert_near(msa_loss_bce(sure, target, 1, 2, 1), 0, 1e-12);
    assert_near(msa_loss_bce(zero, target, 1, 2, 2), 1.5 * log(2), 1e-12);
    assert_near(msa_loss_dice(sure, target, 1, 2, true), 0, 1e-9);
    assert_near(msa_loss_focal(zero, target, 1, 2, 0.5, 2), 0.5 * 0.25 * log(2), 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(losses_at_known_points)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
