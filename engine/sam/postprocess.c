#include "engine/sam/postprocess.h"

#include <string.h>

#include "engine/nn/interp.h"

void msa_mask_range(const msa_config *c, bool multi, int32_t *first, int32_t *count)
{
    const bool several =
        c->mask_select == MSA_SELECT_SAM ? multi && c->mask_tokens > 1 : multi && c->mask_tokens > 4;
    *first = several && c->mask_select == MSA_SELECT_SAM ? 1 : 0;
    *count = several ? c->mask_tokens - *first : 1;
}

void msa_mask_postprocess(const float *logits, int32_t side, int32_t S, int32_t ih, int32_t iw,
                          float *scratch, float *out, int32_t oh, int32_t ow)
{
    msa_resize_bilinear(logits, side, side, 1, scratch, S, S);
    for (int64_t y = 1; y < ih && iw < S; y++) /* rows move up to lie side by side: the crop, in place */
        memmove(scratch + y * iw, scratch + y * S, (size_t)iw * sizeof *scratch);
    msa_resize_bilinear(scratch, ih, iw, 1, out, oh, ow);
}

float msa_mask_stability(const float *logits, int64_t n, float threshold, float offset)
{
    int64_t sure = 0, possible = 0;
    for (int64_t i = 0; i < n; i++) {
        sure += logits[i] > threshold + offset;
        possible += logits[i] > threshold - offset;
    }
    return possible == 0 ? 0.0f : (float)((double)sure / (double)possible);
}
