#include "engine/sam/pack.h"

#include "engine/nn/packed.h"

/* Patches, qkv, proj, lin1, lin2 and three adapters of every block, the neck's 1 x 1, the detail's; three
 * attentions and two layers of every one of the decoder's, the last attention and the heads. */
#define LAYERS_MAX                                                                                           \
    (10 * MSA_DEPTH_MAX + 2 + 3 * MSA_DETAIL_LEVELS + 14 * MSA_DECODER_DEPTH_MAX + 4 +                       \
     3 * (MSA_MASK_TOKENS_MAX + 1))

typedef struct layer_list {
    msa_linear *list[LAYERS_MAX];
    const float *packed[LAYERS_MAX];
    int32_t n;
} layer_list;

static void add(layer_list *l, msa_linear *layer)
{
    if (layer->weight != NULL && layer->reduced == NULL) l->list[l->n++] = layer;
}

static void add_adapter(layer_list *l, msa_adapter *a)
{
    add(l, &a->down);
    add(l, &a->up);
}

/* Its convolutions are packed where they take over their norms: tiny_tables.c. */
static void list_tiny(layer_list *l, const msa_config *c, msa_tiny_weights *t)
{
    for (int32_t i = 0; i < c->depth - c->stage_depths[0]; i++) {
        msa_tiny_block_weights *b = &t->blocks[i];
        add(l, &b->qkv);
        add(l, &b->proj);
        add(l, &b->fc1);
        add(l, &b->fc2);
        add_adapter(l, &b->space);
        add_adapter(l, &b->mlp);
    }
}

static void list_encoder(layer_list *l, const msa_config *c, msa_encoder_weights *e)
{
    if (c->family == MSA_FAMILY_MOBILE_SAM) list_tiny(l, c, &e->tiny);
    add(l, &e->patch);
    for (int32_t i = 0; i < c->depth; i++) {
        msa_block_weights *b = &e->blocks[i];
        add(l, &b->qkv);
        add(l, &b->proj);
        add(l, &b->lin1);
        add(l, &b->lin2);
        add_adapter(l, &b->space);
        add_adapter(l, &b->mlp);
        if (c->depth_grouping != MSA_DEPTH_NONE) add_adapter(l, &b->depth);
    }
    add(l, &e->neck1);
    for (int32_t i = 0; i < MSA_DETAIL_LEVELS; i++) {
        add(l, &e->detail.level[i].enter);
        add(l, &e->detail.level[i].mix);
        add(l, &e->detail.level[i].leave);
    }
}

static void add_attention(layer_list *l, msa_decoder_attention *a)
{
    add(l, &a->q);
    add(l, &a->k);
    add(l, &a->v);
    add(l, &a->out);
}

static void add_head(layer_list *l, msa_mlp3_weights *m)
{
    for (int i = 0; i < 3; i++)
        add(l, &m->layer[i]);
}

/* A prompt's few tokens are soon multiplied: rearranging the weight for them would cost more than that. */
static void list_decoder(layer_list *l, const msa_config *c, msa_decoder_weights *d)
{
    for (int32_t i = 0; i < c->decoder_depth; i++) {
        msa_two_way_weights *t = &d->layers[i];
        add_attention(l, &t->self_attn);
        add_attention(l, &t->token_to_image);
        add_attention(l, &t->image_to_token);
        add(l, &t->lin1);
        add(l, &t->lin2);
    }
    add_attention(l, &d->final_attn);
    for (int32_t i = 0; i < c->mask_tokens; i++)
        add_head(l, &d->hyper[i]);
    add_head(l, &d->iou);
}

static void list_layers(layer_list *l, const msa_config *c, msa_weights *w)
{
    l->n = 0;
    list_encoder(l, c, &w->encoder);
    list_decoder(l, c, &w->decoder);
}

const msa_linear *msa_shared_layer(const msa_weights *base, const msa_weights *w, const msa_linear *l)
{
    if (base == NULL) return NULL;
    const void *same = (const char *)base + ((const char *)l - (const char *)w);
    const msa_linear *of_base = same;
    return of_base->weight == l->weight ? of_base : NULL;
}

/* The same layer of base, when what it packed can be used; else NULL. */
static const msa_linear *shared_with(const msa_weights *base, const msa_weights *w, const msa_linear *l)
{
    const msa_linear *of_base = msa_shared_layer(base, w, l);
    return of_base != NULL && of_base->packed != NULL ? of_base : NULL;
}

static void layout(msa_arena *own, layer_list *l, const msa_weights *w, const msa_weights *base)
{
    for (int32_t i = 0; i < l->n; i++) {
        const msa_linear *shared = shared_with(base, w, l->list[i]);
        const size_t floats = msa_packed_floats(l->list[i]->N, l->list[i]->K);
        l->packed[i] = NULL;
        if (shared != NULL)
            l->packed[i] = shared->packed;
        else if (floats > 0)
            l->packed[i] = msa_arena_floats(own, floats);
    }
}

static msa_status pack(msa_linear *l, const float *packed, bool large, const msa_weight_memory *memory,
                       msa_error *err)
{
    if (large) MSA_TRY(msa_weight_want(memory, l, err));
    if (packed == NULL) return MSA_OK; /* it is multiplied as it is */
    msa_pack_weight(l->N, l->K, l->weight, (float *)(uintptr_t)packed);
    if (large)
        msa_weight_leave(memory, l);
    else
        msa_weight_leave_pages(memory, l);
    return MSA_OK;
}

msa_status msa_weights_pack(msa_arena *own, const msa_config *c, msa_weights *w, const msa_weights *base,
                            const msa_weight_memory *memory, msa_error *err)
{
    layer_list l;
    msa_status status = MSA_OK;
    list_layers(&l, c, w);
    layout(own, &l, w, base);
    MSA_TRY(msa_arena_commit(own, err));
    layout(own, &l, w, base);
    for (int32_t i = 0; i < l.n && status == MSA_OK; i++)
        if (shared_with(base, w, l.list[i]) == NULL)
            status = pack(l.list[i], l.packed[i], msa_is_large_layer(c, w, l.list[i]), memory, err);
    for (int32_t i = 0; i < l.n && status == MSA_OK; i++)
        l.list[i]->packed = l.packed[i];
    if (status != MSA_OK) msa_arena_release(own);
    return status;
}

void msa_weights_unpack(msa_arena *own, const msa_config *c, msa_weights *w)
{
    layer_list l;
    list_layers(&l, c, w);
    for (int32_t i = 0; i < l.n; i++)
        l.list[i]->packed = NULL;
    msa_arena_release(own);
}
