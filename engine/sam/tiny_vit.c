#include "engine/sam/tiny_vit.h"

#include <string.h>

#include "engine/kern/vec.h"
#include "engine/nn/bias_attention.h"
#include "engine/nn/depthwise.h"

#define EPS        1e-5f /* of its layer norms */
#define CHUNK_ROWS 2048  /* that go through the MLP together */

/* One stage on its grid. */
typedef struct stage_view {
    const msa_config *c;
    msa_windows windows;
    int64_t tokens, pad_row; /* pad_row: behind the tokens; -1: no padding */
    int32_t stage, C, heads, h, w;
} stage_view;

/* The pieces of `room` in a stage of attention. */
typedef struct stage_room {
    float *a, *b, *qkv, *hidden;
    size_t total;
} stage_room;

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Stage i has a quarter of the image's side, halved twice: the last one has the grid of the one before. */
static stage_view view_of(const msa_config *c, int32_t i, int32_t grid_h, int32_t grid_w)
{
    const int32_t times = i == 0 ? 4 : i == 1 ? 2 : 1;
    stage_view v = {.c = c,
                    .stage = i,
                    .C = c->stage_dims[i],
                    .heads = c->stage_heads[i],
                    .h = times * grid_h,
                    .w = times * grid_w};
    v.tokens = (int64_t)v.h * v.w;
    v.windows = msa_windows_make(v.h, v.w, i == 0 ? 0 : c->stage_windows[i]);
    v.pad_row = msa_windows_tokens(&v.windows) > v.tokens ? v.tokens : -1;
    return v;
}

static size_t hidden_width(const stage_view *v, const msa_tiny_block_weights *blocks, int32_t n)
{
    size_t width = (size_t)v->C * (size_t)(v->c->mlp_dim / v->c->dim);
    for (int32_t j = 0; j < n && v->c->adapters; j++) {
        width = max_size(width, (size_t)blocks[j].space.down.N);
        width = max_size(width, (size_t)blocks[j].mlp.down.N);
    }
    return width;
}

static stage_room cut(float *room, const stage_view *v, size_t hidden)
{
    const size_t C = (size_t)v->C, rows = (size_t)v->tokens + 1;
    const size_t chunk = rows < CHUNK_ROWS ? rows : CHUNK_ROWS;
    stage_room r = {.total = 5 * rows * C + chunk * hidden};
    if (room == NULL) return r;
    r.a = room;
    r.b = r.a + rows * C;
    r.qkv = r.b + rows * C;
    r.hidden = r.qkv + 3 * rows * C;
    return r;
}

/* ---- memory ---- */

static void map_rows(const stage_view *v, int32_t *row_of)
{
    const int64_t area = (int64_t)v->windows.win_h * v->windows.win_w, all = msa_windows_tokens(&v->windows);
    for (int64_t slot = 0; slot < all; slot++) {
        const int64_t source = msa_windows_source(&v->windows, slot / area, slot % area);
        row_of[slot] = (int32_t)(source < 0 ? v->tokens : source);
    }
}

static bool is_split(const stage_view *v)
{
    return v->pad_row >= 0 || msa_windows_count(&v->windows) > 1;
}

void msa_tiny_work_layout(msa_tiny_work *k, msa_arena *arena, const msa_config *c, const msa_tiny_weights *w,
                          int32_t grid_h, int32_t grid_w, int32_t workers)
{
    size_t grid[2] = {0}, room = msa_tiny_embed_floats(c, 4 * grid_h, 4 * grid_w), attention = 0;
    int32_t index = 0;
    k->workers = workers;
    for (int32_t i = 0; i < MSA_STAGES; i++) {
        const stage_view v = view_of(c, i, grid_h, grid_w);
        const int32_t depth = c->stage_depths[i];
        grid[i % 2] = max_size(grid[i % 2], (size_t)v.tokens * (size_t)v.C);
        for (int32_t j = 0; i == 0 && j < depth; j++)
            room = max_size(room, msa_tiny_conv_floats(v.C * (c->mlp_dim / c->dim), v.C, v.w));
        if (i + 1 < MSA_STAGES)
            room = max_size(room, msa_tiny_conv_floats(c->stage_dims[i + 1], c->stage_dims[i + 1], v.w));
        if (i == 0) continue;
        room = max_size(room, cut(NULL, &v, hidden_width(&v, w->blocks + index, depth)).total);
        attention = max_size(attention, msa_bias_attention_scratch(&v.windows, v.C / v.heads));
        index += depth;
        if (!is_split(&v)) continue;
        k->row_of[i] = msa_arena_take(arena, (size_t)msa_windows_tokens(&v.windows), sizeof *k->row_of[i]);
        if (k->row_of[i] != NULL) map_rows(&v, k->row_of[i]);
    }
    k->grid[0] = msa_arena_floats(arena, grid[0]);
    k->grid[1] = msa_arena_floats(arena, grid[1]);
    k->room = msa_arena_floats(arena, room);
    k->attention = msa_arena_floats(arena, (size_t)workers * attention);
}

/* ---- a block of attention ---- */

/* x += [Space adapter of] the attention. Zeros pad the windows before the norm, so that a padding token is
 * the norm's bias. */
static void attend(const stage_view *v, const msa_tiny_block_weights *b, const float *biases,
                   msa_tiny_work *k, const stage_room *r, float *x)
{
    const int64_t C = v->C, rows = v->tokens + (v->pad_row >= 0 ? 1 : 0);
    const bool split = is_split(v);
    msa_norm_forward(&b->attn_norm, EPS, v->tokens, x, r->a);
    if (v->pad_row >= 0) memcpy(r->a + v->tokens * C, b->attn_norm.bias, (size_t)C * sizeof *x);
    msa_linear_forward(&b->qkv, rows, r->a, C, r->qkv, 3 * C, MSA_EPILOGUE_NONE);
    const msa_bias_attention a = {.windows = v->windows,
                                  .qkv = r->qkv,
                                  .bias = biases,
                                  .row_of = split ? k->row_of[v->stage] : NULL,
                                  .pad_row = v->pad_row,
                                  .out = r->a,
                                  .heads = v->heads,
                                  .d = v->C / v->heads};
    msa_bias_attention_forward(&a, k->attention, k->workers);
    msa_linear_forward(&b->proj, v->tokens, r->a, C, r->b, C, MSA_EPILOGUE_NONE);
    if (v->c->adapters && split) { /* a grid that is one window has no Space adapter, as published */
        for (int64_t t = 0; t < v->tokens; t += CHUNK_ROWS) {
            const int64_t n = v->tokens - t < CHUNK_ROWS ? v->tokens - t : CHUNK_ROWS;
            msa_adapter_forward(&b->space, v->c->adapter_act, true, n, r->b + t * C, r->hidden, r->a + t * C);
        }
        msa_add(v->tokens * C, x, r->a, x);
        return;
    }
    msa_add(v->tokens * C, x, r->b, x);
}

/* a = conv(x); x = a + mlp(a) + s * adapter(a). */
static void second_half(const stage_view *v, const msa_tiny_block_weights *b, const msa_tiny_conv *local,
                        const float *zeros, const stage_room *r, float *x)
{
    const int64_t C = v->C, M = b->fc1.N;
    float *adapted = r->qkv;
    msa_depthwise3x3(x, v->h, v->w, v->C, local->weight, local->bias, zeros, 1, r->a);
    msa_norm_forward(&b->mlp_norm, EPS, v->tokens, r->a, r->b);
    for (int64_t t = 0; t < v->tokens; t += CHUNK_ROWS) {
        const int64_t n = v->tokens - t < CHUNK_ROWS ? v->tokens - t : CHUNK_ROWS;
        msa_linear_forward(&b->fc1, n, r->b + t * C, C, r->hidden, M, MSA_EPILOGUE_GELU);
        msa_linear_forward(&b->fc2, n, r->hidden, M, x + t * C, C, MSA_EPILOGUE_NONE);
        if (v->c->adapters)
            msa_adapter_forward(&b->mlp, v->c->adapter_act, false, n, r->a + t * C, r->hidden,
                                adapted + t * C);
    }
    msa_add(v->tokens * C, x, r->a, x);
    if (v->c->adapters) msa_axpy(v->tokens * C, v->c->adapter_mlp_scale, adapted, x);
}

/* ---- the stages ---- */

static void run_blocks(const stage_view *v, const msa_tiny_weights *w, const msa_tiny_tables *t,
                       msa_tiny_work *k, int32_t first, float *x, const msa_tap *tap)
{
    const int32_t n = v->c->stage_depths[v->stage];
    const size_t hidden = v->stage == 0 ? 0 : hidden_width(v, w->blocks + first, n);
    const stage_room r = cut(k->room, v, hidden);
    for (int32_t j = 0; j < n; j++) {
        if (v->stage == 0) {
            msa_tiny_conv_forward(&t->convs[j], t->zeros, v->h, v->w, k->room, x);
        } else {
            const msa_tiny_block_weights *b = &w->blocks[first + j];
            attend(v, b, t->biases[first + j], k, &r, x);
            second_half(v, b, &t->local[first + j], t->zeros, &r, x);
        }
        MSA_TAP(tap, x, v->tokens, v->C, "layer.%d.block.%d", v->stage, j);
    }
}

msa_status msa_tiny_forward(const msa_config *c, const msa_tiny_weights *w, const msa_tiny_tables *t,
                            msa_tiny_work *k, int32_t grid_h, int32_t grid_w, const float *image,
                            const msa_tap *tap, msa_error *err)
{
    int32_t first = 0;
    if (!msa_all_finite(3 * 256 * (int64_t)grid_h * grid_w, image))
        return msa_fail(err, MSA_E_INTERNAL, "image encoder: the input image holds a non-finite value");
    msa_tiny_embed(t, image, 4 * grid_h, 4 * grid_w, k->room, k->grid[0]);
    MSA_TAP(tap, k->grid[0], 16 * (int64_t)grid_h * grid_w, c->stage_dims[0], "patch_embed");
    for (int32_t i = 0; i < MSA_STAGES; i++) {
        const stage_view v = view_of(c, i, grid_h, grid_w);
        float *x = k->grid[i % 2];
        run_blocks(&v, w, t, k, first, x, tap);
        if (i > 0) first += c->stage_depths[i];
        if (!msa_all_finite(v.tokens * v.C, x))
            return msa_fail(err, MSA_E_INTERNAL, "image encoder: stage %d yields a non-finite value", i);
        if (i + 1 == MSA_STAGES) {
            MSA_TAP(tap, x, v.tokens, v.C, "layer.%d", i);
            break;
        }
        const stage_view next = view_of(c, i + 1, grid_h, grid_w);
        float *y = k->grid[(i + 1) % 2];
        msa_tiny_merge_forward(&t->merge[i], t->zeros, v.h, v.w, v.h / next.h, x, k->room, y);
        MSA_TAP(tap, y, next.tokens, next.C, "layer.%d", i);
    }
    return MSA_OK;
}
