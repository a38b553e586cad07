#include "engine/volume/select.h"

int32_t msa_config_classes(const msa_config *config)
{
    if (config->mask_select != MSA_SELECT_FIRST) return 1;
    if (config->classes > 0) return config->classes;
    return config->mask_tokens > 4 ? config->mask_tokens : 1;
}

void msa_mask_range(const msa_config *config, bool multi, int32_t *first, int32_t *count)
{
    const bool sam = config->mask_select == MSA_SELECT_SAM;
    const bool several = multi && config->mask_tokens > 1 && sam;
    *first = several ? 1 : 0;
    *count = several ? config->mask_tokens - 1 : multi ? msa_config_classes(config) : 1;
}

int32_t msa_select_mask(const msa_config *config, int32_t n_points, bool has_box, const float *iou)
{
    int32_t first = 0;
    int32_t count = 1;
    if (config->mask_select == MSA_SELECT_FIRST) return 0;
    msa_mask_range(config, !has_box && n_points <= 1, &first, &count);
    int32_t best = first;
    for (int32_t i = first + 1; i < first + count; i++)
        if (iou[i] > iou[best]) best = i;
    return best;
}

float msa_mask_stability(const float *logits, int64_t n, float threshold, float offset)
{
    int64_t sure = 0;
    int64_t possible = 0;
    for (int64_t i = 0; i < n; i++) {
        sure += logits[i] > threshold + offset;
        possible += logits[i] > threshold - offset;
    }
    return possible == 0 ? 0.0F : (float)((double)sure / (double)possible);
}
