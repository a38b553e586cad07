#include "engine/sam/weight_memory.h"

#include <stdlib.h>
#include <string.h>

/* ---- large layers ---- */

int32_t msa_large_layers(const msa_config *c, msa_weights *w, msa_linear *list[MSA_LARGE_LAYERS_MAX])
{
    int32_t n = 0;
    for (int32_t i = 0; c->family == MSA_FAMILY_MOBILE_SAM && i < c->depth - c->stage_depths[0]; i++) {
        msa_tiny_block_weights *b = &w->encoder.tiny.blocks[i];
        list[n++] = &b->qkv;
        list[n++] = &b->proj;
        list[n++] = &b->fc1;
        list[n++] = &b->fc2;
    }
    for (int32_t i = 0; c->family != MSA_FAMILY_MOBILE_SAM && i < c->depth; i++) {
        msa_block_weights *b = &w->encoder.blocks[i];
        list[n++] = &b->qkv;
        list[n++] = &b->proj;
        list[n++] = &b->lin1;
        list[n++] = &b->lin2;
    }
    list[n++] = &w->encoder.neck1;
    return n;
}

bool msa_is_large_layer(const msa_config *c, msa_weights *w, const msa_linear *l)
{
    msa_linear *list[MSA_LARGE_LAYERS_MAX];
    const int32_t n = msa_large_layers(c, w, list);
    for (int32_t i = 0; i < n; i++)
        if (list[i] == l) return true;
    return false;
}

/* ---- low-rank updates ---- */

enum { MERGED_IN_BLOCK = 3 };

static size_t floats_of(const msa_linear *l)
{
    return (size_t)l->N * (size_t)l->K;
}

static size_t piece_of(const msa_linear *l)
{
    return msa_room_piece(floats_of(l) * sizeof(float));
}

void msa_weight_memory_release(msa_weight_memory *m)
{
    free(m->merged);
    msa_room_release(&m->room);
    *m = (msa_weight_memory){0};
}

msa_status msa_weight_memory_merge(msa_weight_memory *m, const msa_config *c, msa_weights *w, msa_error *err)
{
    static const msa_lora_place places[MERGED_IN_BLOCK][2] = {
        {MSA_LORA_QUERY, MSA_LORA_VALUE}, {MSA_LORA_LIN1, MSA_LORA_PLACES}, {MSA_LORA_LIN2, MSA_LORA_PLACES}};
    const msa_block_weights *one = &w->encoder.blocks[0];
    const size_t each = piece_of(&one->qkv) + piece_of(&one->lin1) + piece_of(&one->lin2);
    m->merged = calloc((size_t)c->depth * MERGED_IN_BLOCK, sizeof *m->merged);
    if (m->merged == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory to load a model");
    MSA_TRY(msa_room_reserve(&m->room, (size_t)c->depth * each, err));
    unsigned char *at = m->room.base;
    for (int32_t i = 0; i < c->depth; i++) {
        msa_block_weights *b = &w->encoder.blocks[i];
        msa_linear *layers[MERGED_IN_BLOCK] = {&b->qkv, &b->lin1, &b->lin2};
        for (int k = 0; k < MERGED_IN_BLOCK; k++) {
            msa_merged_layer *g = &m->merged[m->n_merged++];
            *g = (msa_merged_layer){.to = (float *)(void *)at, .from = *layers[k]};
            for (int u = 0; u < 2; u++)
                g->update[u] = msa_block_lora(c, b, places[k][u]);
            at += piece_of(layers[k]);
            layers[k]->weight = g->to;
        }
        b->factors = (msa_block_factors){0};
    }
    return MSA_OK;
}

static msa_merged_layer *merged_at(const msa_weight_memory *m, const float *weight)
{
    for (int32_t i = 0; i < m->n_merged; i++)
        if (m->merged[i].to == weight) return &m->merged[i];
    return NULL;
}

static msa_status merge(const msa_weight_memory *m, msa_merged_layer *g, msa_error *err)
{
    if (g->held) return MSA_OK;
    MSA_TRY(msa_weight_want(m, &g->from, err));
    const msa_status status = msa_room_open(g->to, floats_of(&g->from) * sizeof *g->to, err);
    if (status == MSA_OK) {
        memcpy(g->to, g->from.weight, floats_of(&g->from) * sizeof *g->to);
        for (int u = 0; u < 2; u++)
            if (g->update[u].a != NULL) msa_lora_merge(&g->update[u], g->to);
    }
    msa_weight_leave(m, &g->from);
    g->held = status == MSA_OK;
    return status;
}

/* ---- coming and going ---- */

msa_status msa_weight_want(const msa_weight_memory *m, const msa_linear *l, msa_error *err)
{
    msa_merged_layer *g = merged_at(m, l->weight);
    if (g != NULL) return merge(m, g, err);
    const msa_tensor *t = msa_safetensors_holding(m->file, l->weight);
    if (t != NULL) return msa_safetensors_want(m->file, t, err);
    return m->base == NULL ? MSA_OK : msa_weight_want(m->base, l, err);
}

void msa_weight_leave(const msa_weight_memory *m, const msa_linear *l)
{
    msa_merged_layer *g = merged_at(m, l->weight);
    const msa_tensor *t = msa_safetensors_holding(m->file, l->weight);
    if (g != NULL && g->held) {
        msa_room_shut(g->to, floats_of(&g->from) * sizeof *g->to);
        g->held = false;
    } else if (g == NULL && t != NULL) {
        msa_safetensors_leave(m->file, t);
    } else if (g == NULL && m->base != NULL) {
        msa_weight_leave(m->base, l);
    }
}

void msa_weight_leave_pages(const msa_weight_memory *m, const msa_linear *l)
{
    const msa_tensor *t = msa_safetensors_holding(m->file, l->weight);
    if (t != NULL && t->stored == MSA_STORED_F32) msa_safetensors_leave(m->file, t);
}
