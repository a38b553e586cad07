#include "engine/sam/tables.h"

#include <string.h>

#include "engine/nn/conv.h"
#include "engine/nn/interp.h"
#include "engine/nn/packed.h"
#include "engine/nn/relpos.h"
#include "engine/nn/window.h"
#include "engine/sam/position_code.h"

static void layout(msa_tables *t, const msa_config *c)
{
    const size_t n = (size_t)t->h * (size_t)t->w, P = (size_t)c->prompt_dim, d = (size_t)(c->dim / c->heads);
    if (c->family == MSA_FAMILY_MOBILE_SAM)
        msa_tiny_tables_layout(&t->tiny, &t->arena, c);
    else
        t->pos_embed = msa_arena_floats(&t->arena, n * (size_t)c->dim);
    for (int32_t i = 0; i < c->depth && c->family != MSA_FAMILY_MOBILE_SAM; i++) {
        const msa_windows w = msa_windows_make(t->h, t->w, msa_block_is_global(c, i) ? 0 : c->window);
        t->rel_h[i] = msa_arena_floats(&t->arena, (size_t)msa_relpos_rows(w.win_h, w.win_h) * d);
        t->rel_w[i] = msa_arena_floats(&t->arena, (size_t)msa_relpos_rows(w.win_w, w.win_w) * d);
    }
    t->neck3x3 = msa_arena_floats(&t->arena, 9 * P * P);
    const size_t packed = msa_packed_floats(c->prompt_dim, 9 * c->prompt_dim);
    t->neck3x3_packed = packed == 0 ? NULL : msa_arena_floats(&t->arena, packed);
    t->dense_pe = msa_arena_floats(&t->arena, n * P);
}

static void position_tables(msa_tables *t, const msa_config *c, const msa_encoder_weights *e)
{
    const int32_t d = c->dim / c->heads;
    const float *pos = e->pos_embed + (c->family == MSA_FAMILY_EFFICIENTSAM ? c->dim : 0);
    if (e->pos_h == t->h && e->pos_w == t->w)
        memcpy(t->pos_embed, pos, (size_t)t->h * (size_t)t->w * (size_t)c->dim * sizeof(float));
    else
        msa_resize_bicubic(pos, e->pos_h, e->pos_w, c->dim, t->pos_embed, t->h, t->w);
    for (int32_t i = 0; i < c->depth; i++) {
        const msa_block_weights *b = &e->blocks[i];
        const msa_windows win = msa_windows_make(t->h, t->w, msa_block_is_global(c, i) ? 0 : c->window);
        /* zero where the file has none: the arena is */
        if (b->rel_h != NULL)
            msa_relpos_resize(b->rel_h, b->rel_h_rows, d, win.win_h, win.win_h, t->rel_h[i]);
        if (b->rel_w != NULL)
            msa_relpos_resize(b->rel_w, b->rel_w_rows, d, win.win_w, win.win_w, t->rel_w[i]);
    }
}

msa_status msa_tables_make(msa_tables *t, const msa_config *c, const msa_weights *w, int32_t grid_h,
                           int32_t grid_w, msa_error *err)
{
    const msa_encoder_weights *e = &w->encoder;
    *t = (msa_tables){.h = grid_h, .w = grid_w};
    layout(t, c);
    MSA_TRY(msa_arena_commit(&t->arena, err));
    layout(t, c);
    if (c->family == MSA_FAMILY_MOBILE_SAM)
        msa_tiny_tables_fill(&t->tiny, c, &e->tiny);
    else
        position_tables(t, c, e);
    msa_conv3x3_weight(e->neck3x3, c->prompt_dim, c->prompt_dim, t->neck3x3);
    if (t->neck3x3_packed != NULL)
        msa_pack_weight(c->prompt_dim, 9 * c->prompt_dim, t->neck3x3, t->neck3x3_packed);
    msa_position_grid(w->prompt.gaussian, c->prompt_dim, grid_h, grid_w, t->dense_pe);
    return MSA_OK;
}

void msa_tables_release(msa_tables *t)
{
    msa_arena_release(&t->arena);
}
