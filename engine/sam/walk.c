#include "engine/sam/walk.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void msa_walk_enter(msa_walk *w, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(w->prefix, sizeof w->prefix, fmt, args);
    va_end(args);
}

void msa_walk_visit(msa_walk *w, const char *name, msa_weight_spec spec)
{
    if (w->status != MSA_OK) return;
    (void)snprintf(spec.name, sizeof spec.name, "%s%s", w->prefix, name);
    w->status = w->visit(w->ctx, &spec, w->err);
}

void msa_walk_vector(msa_walk *w, const char *name, int64_t n, const float **to)
{
    msa_walk_visit(w, name, (msa_weight_spec){.rank = 1, .shape = {n}, .to = to});
}

void msa_walk_matrix(msa_walk *w, const char *name, int64_t rows, int64_t cols, const float **to)
{
    msa_walk_visit(w, name, (msa_weight_spec){.rank = 2, .shape = {rows, cols}, .to = to});
}

void msa_walk_kernel(msa_walk *w, const char *name, int64_t a, int64_t b, int64_t side, const float **to)
{
    msa_walk_visit(w, name, (msa_weight_spec){.rank = 4, .shape = {a, b, side, side}, .to = to});
}

void msa_walk_norm(msa_walk *w, const char *name, int32_t C, msa_norm *n)
{
    char part[64];
    n->C = C;
    (void)snprintf(part, sizeof part, "%s.weight", name);
    msa_walk_vector(w, part, C, &n->weight);
    (void)snprintf(part, sizeof part, "%s.bias", name);
    msa_walk_vector(w, part, C, &n->bias);
}

void msa_walk_layer(msa_walk *w, const char *name, const char *const alias[2], int32_t N, int32_t K,
                    int32_t side, msa_linear *l)
{
    char part[64];
    l->N = N;
    l->K = K;
    (void)snprintf(part, sizeof part, "%s.weight", name);
    msa_weight_spec spec = {.rank = 2, .shape = {N, K}, .to = &l->weight};
    if (side > 0)
        spec = (msa_weight_spec){.rank = 4, .shape = {N, K / (side * side), side, side}, .to = &l->weight};
    if (alias != NULL) memcpy(spec.alias, alias, sizeof spec.alias);
    msa_walk_visit(w, part, spec);
    (void)snprintf(part, sizeof part, "%s.bias", name);
    spec = (msa_weight_spec){.rank = 1, .shape = {N}, .to = &l->bias};
    if (alias != NULL) memcpy(spec.alias, alias, sizeof spec.alias);
    msa_walk_visit(w, part, spec);
}

void msa_walk_dense(msa_walk *w, const char *name, int32_t N, int32_t K, msa_linear *l)
{
    msa_walk_layer(w, name, NULL, N, K, 0, l);
}

void msa_walk_adapter_down(msa_walk *w, const char *name, int32_t C, msa_linear *down, bool optional)
{
    char part[64];
    *down = (msa_linear){.N = C >= 4 ? C / 4 : 1, .K = C};
    (void)snprintf(part, sizeof part, "%s.D_fc1.weight", name);
    msa_walk_visit(w, part,
                   (msa_weight_spec){.rank = 2,
                                     .shape = {down->N, C},
                                     .free_axes = 1u,
                                     .optional = optional,
                                     .to = &down->weight,
                                     .size = {&down->N}});
    if (optional && down->weight == NULL) return;
    (void)snprintf(part, sizeof part, "%s.D_fc1.bias", name);
    msa_walk_vector(w, part, down->N, &down->bias);
}

void msa_walk_adapter(msa_walk *w, const char *name, int32_t C, msa_adapter *a, bool optional)
{
    char part[64];
    msa_walk_adapter_down(w, name, C, &a->down, optional);
    if (optional && a->down.weight == NULL) return;
    (void)snprintf(part, sizeof part, "%s.D_fc2", name);
    msa_walk_dense(w, part, C, a->down.N, &a->up);
}
