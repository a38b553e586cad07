#include "engine/sam/image_encoder.h"

#include "engine/kern/vec.h"
#include "engine/nn/attention.h"
#include "engine/nn/conv.h"
#include "engine/nn/depth_attention.h"
#include "engine/predictor.h"

#define CHUNK_ROWS 1024

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* The widest row that passes through k->hidden. */
static size_t hidden_width(const msa_config *c, const msa_weights *w)
{
    size_t width = max_size((size_t)c->mlp_dim, 3u * (size_t)c->patch * (size_t)c->patch);
    width = max_size(width, 9u * (size_t)c->prompt_dim);
    for (int32_t i = 0; i < c->depth && c->adapters; i++) {
        width = max_size(width, (size_t)w->encoder.blocks[i].space.down.N);
        width = max_size(width, (size_t)w->encoder.blocks[i].mlp.down.N);
        width = max_size(width, (size_t)w->encoder.blocks[i].depth.down.N);
    }
    return width;
}

static void map_rows(msa_encoder_work *k, int64_t tokens)
{
    const int64_t area = (int64_t)k->windows.win_h * k->windows.win_w, all = msa_windows_tokens(&k->windows);
    for (int64_t slot = 0; slot < all; slot++) {
        const int64_t source = msa_windows_source(&k->windows, slot / area, slot % area);
        k->row_of[slot] = (int32_t)(source < 0 ? tokens : source);
    }
}

/* Sizes for every stack of up to k->slices: the groups of a shorter one need no more. */
static void depth_layout(msa_encoder_work *k, msa_arena *arena, const msa_config *c,
                         const msa_windows *global)
{
    const size_t C = (size_t)c->dim, tokens = (size_t)msa_windows_tokens(global), n = (size_t)k->slices;
    const msa_windows *windows[2] = {&k->windows, global};
    size_t slots = 0, scratch = 0;
    for (int32_t s = 1; s <= k->slices; s++)
        for (int i = 0; i < 2; i++) {
            const msa_stack_rows rows = {.windows = *windows[i], .slices = s, .split = k->full && i == 0};
            const msa_depth_groups g = msa_depth_groups_make(c, &rows);
            slots = max_size(slots, (size_t)g.slots);
            scratch = max_size(scratch, msa_depth_attention_scratch(&g, c->dim / c->heads, k->workers));
        }
    k->stack_x = msa_arena_floats(arena, n * tokens * C);
    k->stack_qkv = msa_arena_floats(arena, n * (size_t)k->rows * 3 * C);
    k->stack_out = msa_arena_floats(arena, n * (size_t)k->rows * C);
    for (int i = 0; i < 2 && k->full; i++)
        k->stack_seen[i] = msa_arena_floats(arena, n * (size_t)k->rows * C);
    k->depth_row_of = msa_arena_take(arena, slots, sizeof *k->depth_row_of);
    k->depth = msa_arena_floats(arena, scratch);
    k->x = k->stack_x;
    k->qkv = k->stack_qkv;
    k->spare = msa_arena_floats(arena, (size_t)k->rows * C);
}

/* TinyViT has its own memory; the rest is what the neck wants. */
static void tiny_layout(msa_encoder_work *k, msa_arena *arena, const msa_config *c, const msa_weights *w,
                        int32_t grid_h, int32_t grid_w)
{
    const size_t tokens = (size_t)grid_h * (size_t)grid_w, P = (size_t)c->prompt_dim;
    k->chunk = tokens < CHUNK_ROWS ? (int64_t)tokens : CHUNK_ROWS;
    k->a = msa_arena_floats(arena, tokens * P);
    k->b = msa_arena_floats(arena, tokens * P);
    k->hidden = msa_arena_floats(arena, (size_t)k->chunk * 9 * P);
    msa_tiny_work_layout(&k->tiny, arena, c, &w->encoder.tiny, grid_h, grid_w, k->workers);
    k->x = k->tiny.grid[1];
}

void msa_encoder_work_layout(msa_encoder_work *k, msa_arena *arena, const msa_config *c, const msa_weights *w,
                             int32_t grid_h, int32_t grid_w, bool full, int32_t workers)
{
    const int64_t tokens = (int64_t)grid_h * grid_w;
    const size_t C = (size_t)c->dim;
    const int32_t d = c->dim / c->heads;
    const msa_windows global = msa_windows_make(grid_h, grid_w, 0);
    k->windows = msa_windows_make(grid_h, grid_w, c->window);
    k->full = full;
    k->workers = workers;
    k->rows = full ? msa_windows_tokens(&k->windows) : tokens + 1;
    k->chunk = k->rows < CHUNK_ROWS ? k->rows : CHUNK_ROWS;
    const size_t rows = max_size((size_t)k->rows, (size_t)tokens), width = max_size(C, (size_t)c->prompt_dim);
    const bool depth = c->depth_grouping != MSA_DEPTH_NONE;
    if (k->slices < 1) k->slices = 1;
    if (c->family == MSA_FAMILY_MOBILE_SAM) {
        tiny_layout(k, arena, c, w, grid_h, grid_w);
        return;
    }
    k->row_of = msa_arena_take(arena, (size_t)msa_windows_tokens(&k->windows), sizeof *k->row_of);
    if (!depth) k->x = msa_arena_floats(arena, (size_t)tokens * C);
    k->a = msa_arena_floats(arena, rows * width);
    k->b = msa_arena_floats(arena, rows * width);
    if (!depth) k->spare = k->qkv = msa_arena_floats(arena, rows * 3 * C);
    if (depth) depth_layout(k, arena, c, &global);
    k->hidden = msa_arena_floats(arena, (size_t)k->chunk * hidden_width(c, w));
    k->attention =
        msa_arena_floats(arena, (size_t)workers * max_size(msa_window_attention_scratch(&global, d),
                                                           msa_window_attention_scratch(&k->windows, d)));
    msa_detail_layout(&k->detail, arena, c, grid_h, grid_w, false);
    if (k->row_of != NULL) map_rows(k, tokens);
}

static void embed_patches(const msa_config *c, const msa_encoder_weights *w, const msa_tables *t,
                          msa_encoder_work *k, const float *image)
{
    const int64_t tokens = (int64_t)t->h * t->w;
    for (int64_t r = 0; r < tokens; r += k->chunk) {
        const int64_t n = tokens - r < k->chunk ? tokens - r : k->chunk;
        msa_patch_rows(image, 3, t->h * c->patch, t->w * c->patch, c->patch, r, n, k->hidden);
        msa_linear_forward(&w->patch, n, k->hidden, w->patch.K, k->x + r * c->dim, c->dim, MSA_EPILOGUE_NONE);
    }
}

/* 1 x 1 convolution, norm, 3 x 3 convolution, norm; channels-last until the last step. */
static void neck(const msa_config *c, const msa_encoder_weights *w, const msa_tables *t, msa_encoder_work *k,
                 float *embedding, const msa_tap *tap)
{
    const int64_t tokens = (int64_t)t->h * t->w, P = c->prompt_dim;
    const msa_linear conv3x3 = {
        .weight = t->neck3x3, .packed = t->neck3x3_packed, .N = c->prompt_dim, .K = 9 * c->prompt_dim};
    msa_linear_forward(&w->neck1, tokens, k->x, c->dim, k->a, P, MSA_EPILOGUE_NONE);
    MSA_TAP(tap, k->a, tokens, P, "neck.0");
    msa_norm_forward(&w->neck_norm1, MSA_EPS_ENCODER, tokens, k->a, k->a);
    MSA_TAP(tap, k->a, tokens, P, "neck.1");
    for (int64_t r = 0; r < tokens; r += k->chunk) {
        const int64_t n = tokens - r < k->chunk ? tokens - r : k->chunk;
        msa_conv3x3_rows(k->a, t->h, t->w, c->prompt_dim, r, n, k->hidden);
        msa_linear_forward(&conv3x3, n, k->hidden, 9 * P, k->b + r * P, P, MSA_EPILOGUE_NONE);
    }
    MSA_TAP(tap, k->b, tokens, P, "neck.2");
    msa_norm_forward(&w->neck_norm2, MSA_EPS_ENCODER, tokens, k->b, k->b);
    MSA_TAP(tap, k->b, tokens, P, "neck.3");
    msa_transpose(k->b, tokens, P, embedding);
}

static msa_status embed(const msa_config *c, const msa_encoder_weights *w, const msa_tables *t,
                        msa_encoder_work *k, const float *image, float *embedding, const msa_tap *tap,
                        msa_error *err)
{
    const int64_t tokens = (int64_t)t->h * t->w;
    if (!msa_all_finite(3 * tokens * c->patch * c->patch, image))
        return msa_fail(err, MSA_E_INTERNAL, "image encoder: the input image holds a non-finite value");
    embed_patches(c, w, t, k, image);
    MSA_TAP(tap, k->x, tokens, c->dim, "patch_embed");
    msa_add(tokens * c->dim, k->x, t->pos_embed, k->x);
    if (c->detail == 0) return MSA_OK;
    float *behind = embedding + tokens * c->prompt_dim;
    msa_detail_forward(c, &w->detail, t->h, t->w, image, &k->detail, behind, k->a);
    msa_add(tokens * c->dim, k->x, k->a, k->x);
    if (msa_all_finite((int64_t)msa_detail_floats(c, tokens), behind) &&
        msa_all_finite(tokens * c->dim, k->a))
        return MSA_OK;
    return msa_fail(err, MSA_E_INTERNAL, "image encoder: the detail yields a non-finite value");
}

static msa_status check_block(const msa_config *c, int32_t i, int64_t n, const float *x, msa_error *err)
{
    if (msa_all_finite(n * c->dim, x)) return MSA_OK;
    return msa_fail(err, MSA_E_INTERNAL, "image encoder: block %d yields a non-finite value", i);
}

static msa_status finish(const msa_config *c, const msa_encoder_weights *w, const msa_tables *t,
                         msa_encoder_work *k, float *embedding, const msa_tap *tap, msa_error *err)
{
    const int64_t n = (int64_t)t->h * t->w * c->prompt_dim;
    neck(c, w, t, k, embedding, tap);
    if (msa_all_finite(n, embedding)) return MSA_OK;
    return msa_fail(err, MSA_E_INTERNAL, "image encoder: the neck yields a non-finite value");
}

msa_status msa_image_encode(const msa_config *c, const msa_encoder_weights *w, const msa_tables *t,
                            msa_encoder_work *k, const float *image, float *embedding, const msa_tap *tap,
                            msa_error *err)
{
    if (c->depth_grouping != MSA_DEPTH_NONE)
        return msa_stack_encode(c, w, t, k, 1, image, embedding, tap, err);
    if (c->family == MSA_FAMILY_MOBILE_SAM) {
        MSA_TRY(msa_tiny_forward(c, &w->tiny, &t->tiny, &k->tiny, t->h, t->w, image, tap, err));
        return finish(c, w, t, k, embedding, tap, err);
    }
    MSA_TRY(embed(c, w, t, k, image, embedding, tap, err));
    for (int32_t i = 0; i < c->depth; i++) {
        msa_block_forward(c, w, t, k, i, tap);
        MSA_TRY(check_block(c, i, (int64_t)t->h * t->w, k->x, err));
    }
    return finish(c, w, t, k, embedding, tap, err);
}

msa_status msa_stack_encode(const msa_config *c, const msa_encoder_weights *w, const msa_tables *t,
                            msa_encoder_work *k, int32_t n, const float *images, float *embeddings,
                            const msa_tap *tap, msa_error *err)
{
    const int64_t tokens = (int64_t)t->h * t->w, pixels = 3 * tokens * c->patch * c->patch;
    const int64_t floats = (int64_t)msa_embedding_floats(c);
    if (n < 1 || n > k->slices)
        return msa_fail(err, MSA_E_INVALID, "a stack of %d slices; there is room for 1 to %d", n, k->slices);
    msa_encoder_work slice = *k;
    if (c->depth_grouping == MSA_DEPTH_NONE) {
        for (int32_t s = 0; s < n; s++)
            MSA_TRY(msa_image_encode(c, w, t, k, images + s * pixels, embeddings + s * floats, tap, err));
        return MSA_OK;
    }
    for (int32_t s = 0; s < n; s++) {
        slice.x = k->stack_x + s * tokens * c->dim;
        MSA_TRY(embed(c, w, t, &slice, images + s * pixels, embeddings + s * floats, tap, err));
    }
    for (int32_t i = 0; i < c->depth; i++) {
        msa_block_stack_forward(c, w, t, k, i, n, tap);
        MSA_TRY(check_block(c, i, n * tokens, k->stack_x, err));
    }
    for (int32_t s = 0; s < n; s++) {
        slice.x = k->stack_x + s * tokens * c->dim;
        MSA_TRY(finish(c, w, t, &slice, embeddings + s * floats, tap, err));
    }
    return MSA_OK;
}
