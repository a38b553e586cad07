#include <stdio.h>

#include "engine/sam/walk.h"

/* "NAME.c" and "NAME.bn"; inputs: of each output channel. */
static void conv(msa_walk *w, const char *name, int32_t N, int32_t inputs, int32_t side, msa_bn_conv *c)
{
    const struct {
        const char *name;
        const float **to;
    } norm[4] = {
        {"weight", &c->gain}, {"bias", &c->shift}, {"running_mean", &c->mean}, {"running_var", &c->variance}};
    char part[64];
    c->N = N;
    c->K = inputs * side * side;
    (void)snprintf(part, sizeof part, "%s.c.weight", name);
    msa_walk_kernel(w, part, N, inputs, side, &c->weight);
    for (int i = 0; i < 4; i++) {
        (void)snprintf(part, sizeof part, "%s.bn.%s", name, norm[i].name);
        msa_walk_vector(w, part, N, norm[i].to);
    }
}

static void conv_block(msa_walk *w, int32_t in, int32_t hidden, int32_t out, msa_tiny_conv_weights *c)
{
    conv(w, "conv1", hidden, in, 1, &c->enter);
    conv(w, "conv2", hidden, 1, 3, &c->each);
    conv(w, "conv3", out, hidden, 1, &c->leave);
}

static void block(msa_walk *w, int32_t stage, msa_tiny_block_weights *b)
{
    const msa_config *c = w->c;
    const int32_t C = c->stage_dims[stage], window = c->stage_windows[stage], ratio = c->mlp_dim / c->dim;
    msa_walk_norm(w, "attn.norm", C, &b->attn_norm);
    msa_walk_dense(w, "attn.qkv", 3 * C, C, &b->qkv);
    msa_walk_matrix(w, "attn.attention_biases", c->stage_heads[stage], (int64_t)window * window, &b->biases);
    msa_walk_dense(w, "attn.proj", C, C, &b->proj);
    conv(w, "local_conv", C, 1, 3, &b->local);
    msa_walk_norm(w, "mlp.norm", C, &b->mlp_norm);
    msa_walk_dense(w, "mlp.fc1", ratio * C, C, &b->fc1);
    msa_walk_dense(w, "mlp.fc2", C, ratio * C, &b->fc2);
    if (!c->adapters) return;
    msa_walk_adapter(w, "Space_Adapter", C, &b->space, false);
    msa_walk_adapter(w, "MLP_Adapter", C, &b->mlp, false);
}

void msa_walk_tiny(msa_walk *w, msa_tiny_weights *t)
{
    const msa_config *c = w->c;
    int32_t index = 0;
    msa_walk_enter(w, "image_encoder.patch_embed.seq.");
    conv(w, "0", c->stage_dims[0] / 2, 3, 3, &t->embed[0]);
    conv(w, "2", c->stage_dims[0], c->stage_dims[0] / 2, 3, &t->embed[1]);
    for (int32_t i = 0; i < MSA_STAGES; i++) {
        const int32_t C = c->stage_dims[i];
        for (int32_t j = 0; j < c->stage_depths[i]; j++) {
            msa_walk_enter(w, "image_encoder.layers.%d.blocks.%d.", i, j);
            if (i == 0)
                conv_block(w, C, C * (c->mlp_dim / c->dim), C, &t->convs[j]);
            else
                block(w, i, &t->blocks[index++]);
        }
        if (i + 1 == MSA_STAGES) break;
        msa_walk_enter(w, "image_encoder.layers.%d.downsample.", i);
        conv_block(w, C, c->stage_dims[i + 1], c->stage_dims[i + 1], &t->merge[i]);
    }
}
