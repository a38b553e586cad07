#include "engine/sam/detail.h"

#include "engine/nn/conv.h"
#include "engine/predictor.h"

#define CHUNK_ROWS 1024

size_t msa_embedding_floats(const msa_config *c)
{
    const size_t g = (size_t)(c->image_size / c->patch), n = g * g, P = (size_t)c->prompt_dim;
    return n * P + (c->detail > 0 ? 16 * n * (P / 8) : 0);
}

void msa_detail_layout(msa_detail_work *k, msa_arena *arena, const msa_config *c, int32_t h, int32_t w,
                       bool backward)
{
    const size_t N = 16 * (size_t)h * (size_t)w, F = (size_t)c->detail, s = (size_t)(c->patch / 4);
    if (c->detail == 0) return;
    k->chunk = backward || N < CHUNK_ROWS ? (int64_t)N : CHUNK_ROWS;
    k->patches = msa_arena_floats(arena, N * 3 * s * s);
    k->sum1 = msa_arena_floats(arena, N * F);
    k->seen1 = msa_arena_floats(arena, N * F);
    k->sum2 = msa_arena_floats(arena, N * F);
    k->seen2 = msa_arena_floats(arena, N * F);
    k->rows = msa_arena_floats(arena, (size_t)k->chunk * 9 * F);
    if (!backward) return;
    k->d1 = msa_arena_floats(arena, N * F);
    k->d2 = msa_arena_floats(arena, N * F);
}

/* 3 x 3 with padding: x (H, W, F) to y (H, W, l->N). */
static void conv(const msa_linear *l, int32_t H, int32_t W, int32_t F, const float *x, msa_detail_work *k,
                 float *y)
{
    const int64_t N = (int64_t)H * W;
    for (int64_t r = 0; r < N; r += k->chunk) {
        const int64_t n = N - r < k->chunk ? N - r : k->chunk;
        msa_conv3x3_rows(x, H, W, F, r, n, k->rows);
        msa_linear_forward(l, n, k->rows, l->K, y + r * l->N, l->N, MSA_EPILOGUE_NONE);
    }
}

void msa_detail_forward(const msa_config *c, const msa_detail_weights *d, int32_t h, int32_t w,
                        const float *image, msa_detail_work *k, float *out)
{
    const int32_t H = 4 * h, W = 4 * w, F = c->detail;
    const int64_t N = (int64_t)H * W;
    msa_patch_rows(image, 3, h * c->patch, w * c->patch, c->patch / 4, 0, N, k->patches);
    msa_linear_forward(&d->stem, N, k->patches, d->stem.K, k->sum1, F, MSA_EPILOGUE_NONE);
    msa_epilogue_forward(MSA_EPILOGUE_GELU, N * F, k->sum1, k->seen1);
    conv(&d->mix, H, W, F, k->seen1, k, k->sum2);
    msa_epilogue_forward(MSA_EPILOGUE_GELU, N * F, k->sum2, k->seen2);
    conv(&d->last, H, W, F, k->seen2, k, out);
}

/* x (H, W, F) is what conv() saw; dy (H, W, l->N); dx (H, W, F) is written. */
static void conv_backward(const msa_linear *l, int32_t H, int32_t W, int32_t F, const float *x,
                          const float *dy, msa_detail_work *k, float *dweight, float *dbias, float *dx)
{
    const int64_t N = (int64_t)H * W;
    msa_conv3x3_rows(x, H, W, F, 0, N, k->rows);
    msa_linear_backward_params(l, N, k->rows, l->K, dy, l->N, dweight, dbias);
    msa_linear_backward_input(l, N, dy, l->N, k->rows, l->K, false);
    msa_conv3x3_rows_backward(k->rows, H, W, F, dx);
}

void msa_detail_backward(const msa_config *c, const msa_detail_weights *d, int32_t h, int32_t w,
                         const float *dout, msa_detail_work *k, const msa_detail_grads *g)
{
    const int32_t H = 4 * h, W = 4 * w, F = c->detail;
    const int64_t N = (int64_t)H * W;
    conv_backward(&d->last, H, W, F, k->seen2, dout, k, g->last_weight, g->last_bias, k->d2);
    msa_epilogue_backward(MSA_EPILOGUE_GELU, N * F, k->sum2, k->d2, k->d2);
    conv_backward(&d->mix, H, W, F, k->seen1, k->d2, k, g->mix_weight, g->mix_bias, k->d1);
    msa_epilogue_backward(MSA_EPILOGUE_GELU, N * F, k->sum1, k->d1, k->d1);
    msa_linear_backward_params(&d->stem, N, k->patches, d->stem.K, k->d1, F, g->stem_weight, g->stem_bias);
}
