#include "engine/sam/prompt_encoder.h"

#include <math.h>
#include <string.h>

#include "engine/kern/vec.h"
#include "engine/nn/conv.h"
#include "engine/sam/position_code.h"
#include "engine/sam/prompt_picture.h"

#define EFFICIENT_POINTS 6    /* tokens that EfficientSAM always has: a box is two of them */
#define BOX_LOGIT        4.0f /* inside a box that is given as a mask; outside minus that */

size_t msa_prompt_scratch(int32_t h, int32_t w)
{
    /* Per token: the mask as 16 values in patches, then (2h, 2w, 4) twice, then (h, w, 16) twice; a box as a
     * mask.
     */
    return (size_t)h * (size_t)w * (16 + 16 + 16 + 16 + 16);
}

/* EfficientSAM's: what is not a point still has a position. */
static void efficient_token(const msa_config *c, const msa_prompt_weights *w, const float input[2], float x,
                            float y, int label, float *token)
{
    const int32_t P = c->prompt_dim;
    msa_position_code(w->gaussian, P, ((double)x + 0.5) / (double)input[0],
                      ((double)y + 0.5) / (double)input[1], token);
    msa_add(P, token, label < 0 ? w->not_a_point : w->point[label], token);
}

static void label_token(const msa_config *c, const msa_prompt_weights *w, const float input[2], float x,
                        float y, int label, float *token)
{
    const int32_t P = c->prompt_dim;
    if (c->family == MSA_FAMILY_EFFICIENTSAM) {
        efficient_token(c, w, input, x, y, label, token);
        return;
    }
    if (label < 0) {
        memcpy(token, w->not_a_point, (size_t)P * sizeof *token);
        return;
    }
    msa_position_code(w->gaussian, P, ((double)x + 0.5) / (double)input[0],
                      ((double)y + 0.5) / (double)input[1], token);
    msa_add(P, token, w->point[label], token);
}

static msa_status check_prompt(const msa_prompt_set *p, msa_error *err)
{
    if (p->n_points < 0 || p->n_points > MSA_PROMPT_POINTS_MAX)
        return msa_fail(err, MSA_E_INVALID, "prompt has %d points, not 0..%d", p->n_points,
                        MSA_PROMPT_POINTS_MAX);
    if (p->n_points > 0 && (p->points == NULL || p->labels == NULL))
        return msa_fail(err, MSA_E_INVALID, "prompt has points without coordinates or labels");
    for (int32_t i = 0; i < p->n_points; i++) {
        const float label = p->labels[i];
        if (!isfinite(p->points[2 * i]) || !isfinite(p->points[2 * i + 1]))
            return msa_fail(err, MSA_E_INVALID, "point %d of the prompt is not finite", i);
        if (!(label >= -1.0f && label <= 3.0f) || label != floorf(label))
            return msa_fail(err, MSA_E_INVALID, "point %d of the prompt has an unknown label", i);
    }
    if (p->box != NULL && !msa_all_finite(4, p->box))
        return msa_fail(err, MSA_E_INVALID, "the box of the prompt is not finite");
    return MSA_OK;
}

static msa_status check_efficient(const msa_prompt_set *p, msa_error *err)
{
    if (p->n_points + (p->box != NULL ? 2 : 0) > EFFICIENT_POINTS)
        return msa_fail(err, MSA_E_INVALID, "EfficientSAM takes at most %d points, a box counts for two",
                        EFFICIENT_POINTS);
    if (p->mask != NULL) return msa_fail(err, MSA_E_INVALID, "EfficientSAM takes no mask as a prompt");
    for (int32_t i = 0; i < p->n_points; i++)
        if (p->labels[i] == 0.0f)
            return msa_fail(err, MSA_E_INVALID, "EfficientSAM takes no background points");
    return MSA_OK;
}

/* (4h, 4w) logits through two convolutions that halve the sides and one that only widens. */
static void encode_mask(const msa_prompt_weights *w, int32_t h, int32_t wt, const float *mask, float *scratch,
                        float *dense)
{
    const int64_t n = (int64_t)h * wt;
    float *patches = scratch, *half = scratch + 16 * n, *quarter = scratch + 32 * n,
          *planes = scratch + 48 * n;
    msa_patch_rows(mask, 1, 4 * h, 4 * wt, 2, 0, 4 * n, patches);
    msa_linear_forward(&w->conv1, 4 * n, patches, w->conv1.K, half, w->conv1.N, MSA_EPILOGUE_NONE);
    msa_norm_forward(&w->norm1, MSA_EPS_ENCODER, 4 * n, half, half);
    msa_gelu(4 * n * w->conv1.N, half, half);
    msa_transpose(half, 4 * n, w->conv1.N, planes); /* to (4, 2h, 2w), which msa_patch_rows() reads */
    msa_patch_rows(planes, w->conv1.N, 2 * h, 2 * wt, 2, 0, n, patches);
    msa_linear_forward(&w->conv2, n, patches, w->conv2.K, quarter, w->conv2.N, MSA_EPILOGUE_NONE);
    msa_norm_forward(&w->norm2, MSA_EPS_ENCODER, n, quarter, quarter);
    msa_gelu(n * w->conv2.N, quarter, quarter);
    msa_linear_forward(&w->conv3, n, quarter, w->conv3.K, dense, w->conv3.N, MSA_EPILOGUE_NONE);
}

const float *msa_prompt_mask(const msa_config *c, int32_t h, int32_t w_tokens, const msa_prompt_set *prompt,
                             float *room)
{
    if (prompt->mask != NULL || prompt->box == NULL || !c->box_as_mask) return prompt->mask;
    msa_draw_box(prompt->box, 4.0f / (float)c->patch, 4 * h, 4 * w_tokens, BOX_LOGIT, room);
    return room;
}

msa_status msa_prompt_tokens(const msa_config *c, const msa_prompt_weights *w, int32_t h, int32_t w_tokens,
                             const msa_prompt_set *prompt, float *sparse, int32_t *n_sparse, msa_error *err)
{
    const int64_t P = c->prompt_dim;
    const float input[2] = {(float)(w_tokens * c->patch), (float)(h * c->patch)};
    const bool efficient = c->family == MSA_FAMILY_EFFICIENTSAM;
    int32_t n = 0;
    MSA_TRY(check_prompt(prompt, err));
    if (efficient) MSA_TRY(check_efficient(prompt, err));
    for (; n < prompt->n_points; n++)
        label_token(c, w, input, prompt->points[2 * n], prompt->points[2 * n + 1], (int)prompt->labels[n],
                    sparse + n * P);
    if (prompt->box != NULL) {
        label_token(c, w, input, prompt->box[0], prompt->box[1], 2, sparse + n++ * P);
        label_token(c, w, input, prompt->box[2], prompt->box[3], 3, sparse + n++ * P);
    } else if (n > 0 && !efficient) {
        label_token(c, w, input, 0.0f, 0.0f, -1, sparse + n++ * P);
    }
    while (efficient && n < EFFICIENT_POINTS)
        label_token(c, w, input, -1.0f, -1.0f, -1, sparse + n++ * P);
    *n_sparse = n;
    return MSA_OK;
}

msa_status msa_prompt_encode(const msa_config *c, const msa_prompt_weights *w, int32_t h, int32_t w_tokens,
                             const msa_prompt_set *prompt, float *scratch, float *sparse, int32_t *n_sparse,
                             float *dense, int64_t *dense_step, msa_error *err)
{
    const int64_t P = c->prompt_dim, tokens = (int64_t)h * w_tokens;
    MSA_TRY(msa_prompt_tokens(c, w, h, w_tokens, prompt, sparse, n_sparse, err));
    const float *mask = msa_prompt_mask(c, h, w_tokens, prompt, scratch + 64 * tokens);
    *dense_step = mask == NULL ? 0 : P;
    if (mask == NULL && w->no_mask == NULL) {
        memset(dense, 0, (size_t)P * sizeof *dense);
        return MSA_OK;
    }
    if (mask == NULL) {
        memcpy(dense, w->no_mask, (size_t)P * sizeof *dense);
        return MSA_OK;
    }
    if (!msa_all_finite(16 * tokens, mask))
        return msa_fail(err, MSA_E_INVALID, "the mask of the prompt is not finite");
    encode_mask(w, h, w_tokens, mask, scratch, dense);
    return MSA_OK;
}

void msa_prompt_repeat(int64_t P, int64_t n, float *dense)
{
    for (int64_t i = 1; i < n; i++)
        memcpy(dense + i * P, dense, (size_t)P * sizeof *dense);
}
