#include "engine/volume/prepare.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/cleanup.h"
#include "engine/kern/vec.h"
#include "engine/volume/resize8.h"

static const float pixel_mean[3] = {123.675F, 116.28F, 103.53F}; /* of SAM's training images, 0..255 RGB */
static const float pixel_std[3] = {58.395F, 57.12F, 57.375F};

/* Grey level v becomes (v / divide - subtract) / over. */
typedef struct affine {
    float divide, subtract, over;
} affine;

static void extremes(const uint8_t *u8, size_t n, uint8_t *low, uint8_t *high)
{
    *low = UINT8_MAX;
    *high = 0;
    for (size_t i = 0; i < n; i++) {
        if (u8[i] < *low) *low = u8[i];
        if (u8[i] > *high) *high = u8[i];
    }
}

static affine affine_of(msa_input_norm norm, int32_t channel, uint8_t low, uint8_t high)
{
    const float range = (float)(high > low ? high - low : 1); /* a flat picture is all zero, not NaN */
    switch (norm) {
    case MSA_NORM_SAM:
        return (affine){1, pixel_mean[channel], pixel_std[channel]};
    case MSA_NORM_SAM_ON_UNIT:
        return (affine){255, pixel_mean[channel], pixel_std[channel]};
    case MSA_NORM_MEDSAM:
        return (affine){1, (float)low, range};
    case MSA_NORM_UNIT:
        break;
    }
    return (affine){255, 0, 1};
}

void msa_normalise_pad(const uint8_t *u8, int32_t rows, int32_t cols, int32_t channels, msa_input_norm norm,
                       int32_t size, float *out)
{
    const size_t plane = (size_t)size * (size_t)size;
    uint8_t low = 0;
    uint8_t high = 0;
    extremes(u8, (size_t)rows * (size_t)cols * (size_t)channels, &low, &high);
    memset(out, 0, 3 * plane * sizeof *out);
    for (int32_t c = 0; c < 3; c++) {
        const affine a = affine_of(norm, c, low, high);
        const size_t from_channel = channels == 3 ? (size_t)c : 0;
        for (int32_t y = 0; y < rows; y++) {
            const uint8_t *from = u8 + (size_t)y * (size_t)cols * (size_t)channels + from_channel;
            float *to = out + (size_t)c * plane + (size_t)y * (size_t)size;
            for (int32_t x = 0; x < cols; x++)
                to[x] = ((float)from[(size_t)x * (size_t)channels] / a.divide - a.subtract) / a.over;
        }
    }
}

msa_status msa_grey_rows(const msa_transform *t, const msa_window *window, const float *slice, int32_t cols,
                         int32_t first, int32_t n, uint8_t *grey, msa_error *err)
{
    const size_t width = (size_t)t->cols;
    for (size_t y = (size_t)first; y < (size_t)first + (size_t)n; y++, grey += width) {
        const float *row = slice + ((size_t)t->y0 + y) * (size_t)cols + (size_t)t->x0;
        if (!msa_all_finite((int64_t)width, row))
            return msa_fail(err, MSA_E_INVALID, "the volume holds a value that is not finite");
        msa_window_u8(window, row, width, grey);
    }
    return MSA_OK;
}

msa_status msa_prepare_slice(const msa_transform *t, const msa_window *window, msa_input_norm norm,
                             const float *slice, int32_t cols, float *image, msa_error *err)
{
    MSA_AUTO_FREE uint8_t *grey = malloc((size_t)t->rows * (size_t)t->cols);
    MSA_AUTO_FREE uint8_t *resized = malloc((size_t)t->in_rows * (size_t)t->in_cols);
    if (!grey || !resized) return msa_fail(err, MSA_E_NOMEM, "out of memory for one slice");
    MSA_TRY(msa_grey_rows(t, window, slice, cols, 0, t->rows, grey, err));
    MSA_TRY(msa_resize8(grey, t->rows, t->cols, 1, resized, t->in_rows, t->in_cols, err));
    msa_normalise_pad(resized, t->in_rows, t->in_cols, 1, norm, t->size, image);
    return MSA_OK;
}
