/* From logits to masks: which masks, their crop, their stability. */
#include "tests/unit/engine/cm.h"

#include <math.h>

#include "engine/sam/postprocess.h"

static void postprocess_crops_before_resizing(void **state)
{
    (void)state;
    static float logits[4 * 4], scratch[16 * 16], out[6 * 3];
    for (int i = 0; i < 16; i++)
        logits[i] = i % 4 < 2 ? 3.0f : -3.0f;
    msa_mask_postprocess(logits, 4, 16, 16, 8, scratch, out, 6, 3); /* the right half is cropped away */
    for (int i = 0; i < 18; i++)
        if (i % 3 < 2) assert_true(fabsf(out[i] - 3.0f) < 1e-6f);
    assert_true(msa_mask_stability(logits, 16, 0.0f, 1.0f) == 1.0f);
    assert_true(msa_mask_stability(logits, 16, 5.0f, 1.0f) == 0.0f);
}

static void mask_range_follows_the_profile(void **state)
{
    (void)state;
    static const struct {
        msa_mask_select select;
        int32_t tokens;
        bool multi;
        int32_t first, count;
    } cases[] = {{MSA_SELECT_SAM, 4, false, 0, 1},  {MSA_SELECT_SAM, 4, true, 1, 3},
                 {MSA_SELECT_SAM, 1, true, 0, 1},   {MSA_SELECT_FIRST, 4, true, 0, 1},
                 {MSA_SELECT_FIRST, 7, true, 0, 7}, {MSA_SELECT_FIRST, 7, false, 0, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const msa_config c = {.mask_select = cases[i].select, .mask_tokens = cases[i].tokens};
        int32_t first = -1, count = -1;
        msa_mask_range(&c, cases[i].multi, &first, &count);
        assert_int_equal(first, cases[i].first);
        assert_int_equal(count, cases[i].count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(postprocess_crops_before_resizing),
        cmocka_unit_test(mask_range_follows_the_profile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
