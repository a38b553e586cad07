#include "engine/convert/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sam/weights.h"

enum { PIECE = 4096 };

void msa_plan_release(msa_plan *plan)
{
    free(plan->tensors);
    free(plan->sources);
    *plan = (msa_plan){0};
}

/* ---- what the configuration asks for ---- */

typedef struct planning {
    msa_plan *plan;
    const msa_names *names;
    msa_stored stored;
} planning;

static msa_status check_shape(const msa_weight_spec *spec, const msa_checkpoint_tensor *t, msa_error *err)
{
    if (t->element >= MSA_ELEMENT_WHOLE8)
        return msa_fail(err, MSA_E_UNSUPPORTED, "tensor %.120s holds whole numbers, not weights", t->name);
    if (t->rank != spec->rank)
        return msa_fail(err, MSA_E_PARSE, "tensor %.120s has %d axes, not %d", t->name, t->rank, spec->rank);
    for (int32_t i = 0; i < t->rank; i++)
        if ((spec->free_axes >> i & 1u) == 0 && t->shape[i] != spec->shape[i])
            return msa_fail(err, MSA_E_PARSE,
                            "tensor %.100s: axis %d is %lld, the other tensors ask for %lld", t->name, i,
                            (long long)t->shape[i], (long long)spec->shape[i]);
    for (int32_t i = 0; i < t->rank; i++)
        if (t->shape[i] > INT32_MAX / 2)
            return msa_fail(err, MSA_E_PARSE, "tensor %.120s is too large", t->name);
    return MSA_OK;
}

static msa_status make_room(msa_plan *p, msa_error *err)
{
    if (p->n < p->room) return MSA_OK;
    const int32_t room = p->room == 0 ? 512 : 2 * p->room;
    msa_tensor *tensors = realloc(p->tensors, (size_t)room * sizeof *tensors);
    if (tensors != NULL) p->tensors = tensors;
    msa_named **sources = realloc(p->sources, (size_t)room * sizeof *sources);
    if (sources != NULL) p->sources = sources;
    if (tensors == NULL || sources == NULL)
        return msa_fail(err, MSA_E_NOMEM, "no memory for a list of tensors");
    p->room = room;
    return MSA_OK;
}

static msa_status visit(void *ctx, const msa_weight_spec *spec, msa_error *err)
{
    static const float there = 0.0f; /* optional layers go on where something was found */
    planning *g = ctx;
    msa_plan *p = g->plan;
    msa_named *source = msa_names_find(g->names, spec->name);
    if (spec->to != NULL) *spec->to = source != NULL ? &there : NULL;
    if (source == NULL && spec->optional) return MSA_OK;
    if (source == NULL) {
        if (p->missing++ == 0) (void)snprintf(p->first_missing, sizeof p->first_missing, "%s", spec->name);
        return MSA_OK;
    }
    const msa_checkpoint_tensor *t = source->tensor;
    MSA_TRY(check_shape(spec, t, err));
    MSA_TRY(make_room(p, err));
    msa_tensor made = {.name = source->name, .rank = t->rank, .count = t->count, .stored = g->stored};
    for (int32_t i = 0, n = 0; i < t->rank; i++) {
        made.shape[i] = t->shape[i];
        if ((spec->free_axes >> i & 1u) == 0) continue;
        if (spec->size[n] != NULL) *spec->size[n] = (int32_t)t->shape[i];
        n++;
    }
    source->used = true;
    p->tensors[p->n] = made;
    p->sources[p->n++] = source;
    return MSA_OK;
}

msa_status msa_plan_make(msa_plan *out, const msa_config *c, const msa_names *names, bool half,
                         msa_error *err)
{
    planning g = {.plan = out, .names = names, .stored = half ? MSA_STORED_F16 : MSA_STORED_F32};
    MSA_AUTO_FREE msa_weights *unused = calloc(1, sizeof *unused);
    *out = (msa_plan){0};
    if (unused == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for a list of tensors");
    return msa_weights_walk(c, unused, true, visit, &g, err);
}

/* ---- what an adapter is made of ---- */

static bool is_added(const char *name)
{
    return strstr(name, "_Adapter.") != NULL || strstr(name, ".lora_") != NULL ||
           strstr(name, ".ranknum") != NULL;
}

static const msa_checkpoint_tensor *find(const msa_checkpoint *c, const char *name)
{
    int32_t low = 0, high = msa_checkpoint_count(c);
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        const int order = strcmp(msa_checkpoint_at(c, middle)->name, name);
        if (order == 0) return msa_checkpoint_at(c, middle);
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Bit for bit, as single precision. */
static bool same(const msa_checkpoint_tensor *a, const msa_checkpoint_tensor *b)
{
    float x[PIECE], y[PIECE];
    if (b == NULL || a->count != b->count) return false;
    for (int64_t first = 0; first < a->count; first += PIECE) {
        const int64_t n = a->count - first < PIECE ? a->count - first : PIECE;
        msa_checkpoint_read(a, first, n, x);
        msa_checkpoint_read(b, first, n, y);
        if (memcmp(x, y, (size_t)n * sizeof *x) != 0) return false;
    }
    return true;
}

static bool is_decoder(const char *name)
{
    return strncmp(name, "mask_decoder.", strlen("mask_decoder.")) == 0;
}

msa_status msa_plan_keep_adapter(msa_plan *plan, const msa_config *c, const msa_checkpoint *base,
                                 msa_error *err)
{
    bool decoder = false;
    int32_t added = 0, kept = 0;
    for (int32_t i = 0; i < plan->n; i++) {
        const msa_named *s = plan->sources[i];
        added += is_added(s->name) && !s->of_base;
        if (s->of_base || is_added(s->name) || same(s->tensor, find(base, s->name))) continue;
        if (!is_decoder(s->name))
            return msa_fail(err, MSA_E_INVALID,
                            "%.100s is not the base's: convert the file without --adapter", s->name);
        decoder = true;
    }
    if (added == 0)
        return msa_fail(err, MSA_E_INVALID, "none of the file's tensors is an adapter of the base");
    for (int32_t i = 0; i < plan->n; i++) {
        msa_named *s = plan->sources[i];
        const bool unused = c->depth_grouping == MSA_DEPTH_NONE && strstr(s->name, ".Depth_Adapter.") != NULL;
        if (unused || !(is_added(s->name) || (decoder && is_decoder(s->name)))) continue;
        plan->sources[kept] = s;
        plan->tensors[kept++] = plan->tensors[i];
    }
    plan->n = kept;
    return MSA_OK;
}
