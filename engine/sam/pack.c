#include "engine/sam/pack.h"

#include "engine/nn/packed.h"

/* Patches, qkv, proj, lin1, lin2 and three adapters of every block, the neck's 1 x 1, the detail's. */
#define LAYERS_MAX (10 * MSA_DEPTH_MAX + 2 + 3 * MSA_DETAIL_LEVELS)

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

static void list_layers(layer_list *l, const msa_config *c, msa_encoder_weights *e)
{
    l->n = 0;
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

/* The same layer of base, when it has the same weight; else NULL. */
static const msa_linear *shared_with(const msa_weights *base, const msa_weights *w, const msa_linear *l)
{
    if (base == NULL) return NULL;
    const void *same = (const char *)base + ((const char *)l - (const char *)w);
    const msa_linear *of_base = same;
    return of_base->weight == l->weight && of_base->packed != NULL ? of_base : NULL;
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

msa_status msa_weights_pack(msa_arena *own, const msa_config *c, msa_weights *w, const msa_weights *base,
                            msa_error *err)
{
    layer_list l;
    list_layers(&l, c, &w->encoder);
    layout(own, &l, w, base);
    MSA_TRY(msa_arena_commit(own, err));
    layout(own, &l, w, base);
    for (int32_t i = 0; i < l.n; i++) {
        msa_linear *to = l.list[i];
        if (l.packed[i] != NULL && shared_with(base, w, to) == NULL)
            msa_pack_weight(to->N, to->K, to->weight, (float *)(uintptr_t)l.packed[i]);
        to->packed = l.packed[i];
    }
    return MSA_OK;
}

void msa_weights_unpack(msa_arena *own, const msa_config *c, msa_weights *w)
{
    layer_list l;
    list_layers(&l, c, &w->encoder);
    for (int32_t i = 0; i < l.n; i++)
        l.list[i]->packed = NULL;
    msa_arena_release(own);
}
