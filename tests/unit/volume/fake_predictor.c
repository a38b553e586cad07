#include "tests/unit/volume/fake_predictor.h"

#include <math.h>
#include <string.h>

/* S = 64, patch 4, so the logits are 64 x 64 as well, and P * g * g = 64 * 64: the embedding is the image
 * itself. */
enum { S = 64 };

fake_predictor_log fake_log;
msa_config fake_config = {.image_size = S,
                          .patch = 4,
                          .prompt_dim = 16,
                          .mask_tokens = 4,
                          .mask_select = MSA_SELECT_SAM,
                          .input_norm = MSA_NORM_UNIT,
                          .geometry = MSA_GEOMETRY_LONGEST_SIDE};

struct msa_predictor {
    int unused;
};
static struct msa_predictor the_one;

const msa_config *msa_model_config(const msa_model *m)
{
    (void)m;
    return &fake_config;
}

const char *msa_model_hash(const msa_model *m)
{
    (void)m;
    return fake_config.name;
}

msa_status msa_predictor_new(msa_predictor **out, const msa_model *model, msa_error *err)
{
    (void)model;
    (void)err;
    *out = &the_one;
    return MSA_OK;
}

msa_status msa_predictor_new_stack(msa_predictor **out, const msa_model *model, int32_t slices,
                                   msa_error *err)
{
    fake_log.room = slices;
    return msa_predictor_new(out, model, err);
}

void msa_predictor_free(msa_predictor *p)
{
    (void)p;
}

msa_status msa_predictor_encode(msa_predictor *p, const float *image, float *embedding, msa_error *err)
{
    (void)p;
    (void)err;
    fake_log.encoded++;
    memcpy(embedding, image, S * S * sizeof *embedding);
    return MSA_OK;
}

/* An embedding shows its own slice, and in its first two values which stack it comes from. */
msa_status msa_predictor_encode_stack(msa_predictor *p, int32_t n, const float *images, float *embeddings,
                                      msa_error *err)
{
    (void)p;
    (void)err;
    fake_log.encoded++;
    for (int32_t i = 0; i < n; i++) {
        memcpy(embeddings + (size_t)i * S * S, images + (size_t)i * 3 * S * S, S * S * sizeof *embeddings);
        embeddings[(size_t)i * S * S] = images[0];
        embeddings[(size_t)i * S * S + 1] = (float)i;
    }
    return MSA_OK;
}

/* How far inside the box the centre of a logit lies, in input pixels: linear, so that resampling keeps edges.
 * The prompt's coordinates lack the 0.5 that the prompt encoder adds. */
static float inside_box(const float box[4], int32_t i)
{
    const float x = (float)(i % S) + 0.5F;
    const float y = (float)(i / S) + 0.5F;
    const float across = fminf(x - (box[0] + 0.5F), box[2] + 0.5F - x);
    const float down = fminf(y - (box[1] + 0.5F), box[3] + 0.5F - y);
    return fminf(across, down);
}

msa_status msa_predictor_decode(msa_predictor *p, const float *embedding, const msa_prompt_set *prompt,
                                float *logits, float *iou, msa_error *err)
{
    (void)p;
    (void)err;
    fake_log.decoded++;
    fake_log.last_had_box = prompt->box != NULL;
    fake_log.last_points = prompt->n_points;
    if (prompt->box) memcpy(fake_log.last_box, prompt->box, sizeof fake_log.last_box);
    if (prompt->n_points > 0) memcpy(fake_log.last_point, prompt->points, sizeof fake_log.last_point);
    if (fake_log.keep_mask_of == fake_log.decoded && prompt->mask) {
        fake_log.had_mask = true;
        memcpy(fake_log.mask, prompt->mask, sizeof fake_log.mask);
    }
    for (int32_t m = 0; m < fake_config.mask_tokens; m++) {
        iou[m] = fake_log.iou + (float)m * fake_log.iou_step;
        const bool inverted = fake_log.inverted != (fake_log.odd_inverted && m % 2 == 1);
        for (int32_t i = 0; i < S * S; i++)
            logits[m * S * S + i] = fake_log.box_is_mask && prompt->box ? inside_box(prompt->box, i)
                                    : inverted                          ? (0.5F - embedding[i]) * 10
                                                                        : (embedding[i] - 0.5F) * 10;
    }
    if (fake_log.nan_at == fake_log.decoded) logits[S + 1] = NAN;
    return MSA_OK;
}
