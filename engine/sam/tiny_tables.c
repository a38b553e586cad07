#include <string.h>

#include "engine/nn/bias_attention.h"
#include "engine/nn/conv.h"
#include "engine/nn/depthwise.h"
#include "engine/nn/packed.h"
#include "engine/sam/tiny_vit.h"

/* ---- sizes ---- */

static void take(msa_tiny_conv *c, msa_arena *arena, int32_t N, int32_t K)
{
    c->N = N;
    c->K = K;
    c->weight = msa_arena_floats(arena, (size_t)N * (size_t)K);
    c->bias = msa_arena_floats(arena, (size_t)N);
}

static void take_dense(msa_tiny_conv *c, msa_arena *arena, int32_t N, int32_t K)
{
    const size_t packed = msa_packed_floats(N, K);
    take(c, arena, N, K);
    c->packed = packed == 0 ? NULL : msa_arena_floats(arena, packed);
}

static void take_block(msa_tiny_conv_block *b, msa_arena *arena, int32_t in, int32_t hidden, int32_t out)
{
    take_dense(&b->enter, arena, hidden, in);
    take(&b->each, arena, hidden, 9);
    take_dense(&b->leave, arena, out, hidden);
}

void msa_tiny_tables_layout(msa_tiny_tables *t, msa_arena *arena, const msa_config *c)
{
    const int32_t first = c->stage_dims[0], ratio = c->mlp_dim / c->dim;
    int32_t widest = ratio * first, index = 0;
    take_dense(&t->embed[0], arena, first / 2, 27);
    take_dense(&t->embed[1], arena, first, 9 * (first / 2));
    for (int32_t j = 0; j < c->stage_depths[0]; j++)
        take_block(&t->convs[j], arena, first, ratio * first, first);
    for (int32_t i = 1; i < MSA_STAGES; i++) {
        const int32_t C = c->stage_dims[i], side = c->stage_windows[i];
        take_block(&t->merge[i - 1], arena, c->stage_dims[i - 1], C, C);
        for (int32_t j = 0; j < c->stage_depths[i]; j++, index++) {
            take(&t->local[index], arena, C, 9);
            t->biases[index] =
                msa_arena_floats(arena, (size_t)c->stage_heads[i] * (size_t)side * (size_t)(2 * side - 1));
        }
        widest = C > widest ? C : widest;
    }
    t->zeros = msa_arena_floats(arena, (size_t)widest);
}

/* ---- contents ---- */

/* Of a dense convolution whose weight lies as it is wanted. */
static void fold(msa_tiny_conv *to, const msa_bn_conv *from)
{
    msa_batchnorm_fold(from, from->K, 1, to->weight, to->bias);
    if (to->packed != NULL) msa_pack_weight(to->N, to->K, to->weight, to->packed);
}

static void fold_1x1(msa_tiny_conv *to, const msa_bn_conv *from)
{
    memcpy(to->weight, from->weight, (size_t)from->N * (size_t)from->K * sizeof *to->weight);
    fold(to, from);
}

static void fold_each(msa_tiny_conv *to, const msa_bn_conv *from)
{
    msa_depthwise3x3_weight(from->weight, from->N, to->weight);
    msa_batchnorm_fold(from, 1, from->N, to->weight, to->bias);
}

static void fold_block(msa_tiny_conv_block *to, const msa_tiny_conv_weights *from)
{
    fold_1x1(&to->enter, &from->enter);
    fold_each(&to->each, &from->each);
    fold_1x1(&to->leave, &from->leave);
}

void msa_tiny_tables_fill(msa_tiny_tables *t, const msa_config *c, const msa_tiny_weights *w)
{
    const msa_bn_conv *second = &w->embed[1];
    int32_t index = 0;
    fold_1x1(&t->embed[0], &w->embed[0]); /* a kernel of planes lies as it is wanted */
    msa_conv3x3_weight(second->weight, second->N, second->K / 9, t->embed[1].weight);
    fold(&t->embed[1], second);
    for (int32_t j = 0; j < c->stage_depths[0]; j++)
        fold_block(&t->convs[j], &w->convs[j]);
    for (int32_t i = 1; i < MSA_STAGES; i++) {
        fold_block(&t->merge[i - 1], &w->merge[i - 1]);
        for (int32_t j = 0; j < c->stage_depths[i]; j++, index++) {
            fold_each(&t->local[index], &w->blocks[index].local);
            msa_bias_mirror(w->blocks[index].biases, c->stage_heads[i], c->stage_windows[i],
                            t->biases[index]);
        }
    }
}
