/* The grid of the depth branch. */
#include "tests/unit/volume/cm.h"

#include "engine/nn/depth_fold.h"

static void every_depth_folds(void **state)
{
    (void)state;
    for (int32_t n = 1; n <= 500; n++) {
        int32_t rows = 0;
        int32_t cols = 0;
        msa_depth_fold(n, &rows, &cols);
        assert_int_equal(rows * cols, n);
        assert_true(rows <= cols);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_depth_folds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
