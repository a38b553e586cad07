/* Which mask answers, and how sure it is. */
#include "tests/unit/volume/cm.h"

#include "engine/volume/select.h"

static void one_click_chooses_among_masks(void **state)
{
    (void)state;
    msa_config c = {.mask_tokens = 4, .mask_select = MSA_SELECT_SAM};
    const float iou[4] = {0.9F, 0.2F, 0.7F, 0.5F};
    assert_int_equal(msa_select_mask(&c, 1, false, iou), 2);
    assert_int_equal(msa_select_mask(&c, 2, false, iou), 0);
    assert_int_equal(msa_select_mask(&c, 1, true, iou), 0);
    c.mask_select = MSA_SELECT_FIRST;
    assert_int_equal(msa_select_mask(&c, 1, false, iou), 0);
    c = (msa_config){.mask_tokens = 1, .mask_select = MSA_SELECT_SAM};
    assert_int_equal(msa_select_mask(&c, 1, false, iou), 0);
}

static void mask_range_follows_the_profile(void **state)
{
    (void)state;
    static const struct {
        msa_mask_select select;
        int32_t tokens;
        bool multi;
        int32_t first, count, classes;
    } cases[] = {{MSA_SELECT_SAM, 4, false, 0, 1, 0},  {MSA_SELECT_SAM, 4, true, 1, 3, 0},
                 {MSA_SELECT_SAM, 1, true, 0, 1, 0},   {MSA_SELECT_FIRST, 4, true, 0, 1, 0},
                 {MSA_SELECT_FIRST, 7, true, 0, 7, 0}, {MSA_SELECT_FIRST, 7, false, 0, 1, 0},
                 {MSA_SELECT_FIRST, 4, true, 0, 3, 3}, {MSA_SELECT_FIRST, 7, true, 0, 5, 5}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const msa_config c = {
            .mask_select = cases[i].select, .mask_tokens = cases[i].tokens, .classes = cases[i].classes};
        int32_t first = -1, count = -1;
        msa_mask_range(&c, cases[i].multi, &first, &count);
        assert_int_equal(first, cases[i].first);
        assert_int_equal(count, cases[i].count);
    }
}

static void stability_is_the_part_that_a_stricter_cut_keeps(void **state)
{
    (void)state;
    static const float logits[] = {3, 3, 0.5F, -0.5F, -3};
    assert_near(msa_mask_stability(logits, 5, 0, 1), 0.5, 1e-9); /* 2 of 4 */
    assert_near(msa_mask_stability(logits, 5, 0, 0.25F), 1, 1e-9);
    assert_near(msa_mask_stability(logits, 5, 5, 1), 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_click_chooses_among_masks),
        cmocka_unit_test(mask_range_follows_the_profile),
        cmocka_unit_test(stability_is_the_part_that_a_stricter_cut_keeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
