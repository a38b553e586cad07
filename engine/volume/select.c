#include "engine/volume/select.h"

int32_t msa_select_mask(const msa_config *config, int32_t n_points, bool has_box, const float *iou)
{
    int32_t best = 1;
    if (config->mask_select == MSA_SELECT_FIRST || config->mask_tokens < 2 || has_box || n_points > 1)
        return 0;
    for (int32_t i = 2; i < config->mask_tokens; i++)
        if (iou[i] > iou[best]) best = i;
    return best;
}
