/* What an evaluation reads: a labelled volume. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/evaluation.h"
#include "engine/cases.h"

#define ABDOMEN_CENTER 40
#define ABDOMEN_WIDTH  400

void msa_labelled_free(msa_labelled *l)
{
    if (l == NULL) return;
    msa_case_free(l->owner);
    free(l->names);
    free(l->position_mm);
    free(l);
}

/* voxels (65536): how many each value has. */
static void count_labels(const msa_case *c, int64_t *voxels)
{
    const int64_t n = (int64_t)c->depth * c->rows * c->cols;
    for (int64_t i = 0; i < n; i++)
        voxels[c->labels[i]]++;
}

static msa_status list_names(msa_labelled *l, msa_error *err)
{
    enum { VALUES = 65536 };
    const msa_case *c = l->owner;
    int32_t n = 0;
    MSA_AUTO_FREE int64_t *voxels = calloc(VALUES, sizeof *voxels);
    if (voxels == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory for labels");
    count_labels(c, voxels);
    for (int32_t v = 1; v < VALUES; v++)
        n += voxels[v] > 0;
    l->names = calloc((size_t)n + 1, sizeof *l->names);
    if (l->names == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory for labels");
    for (int32_t k = 0; k < c->n_names; k++) {
        if (voxels[c->names[k].value] == 0) continue;
        l->names[l->n_names].value = c->names[k].value;
        memcpy(l->names[l->n_names++].name, c->names[k].name, sizeof l->names->name);
    }
    for (int32_t v = 1; v < VALUES && c->n_names == 0; v++) {
        if (voxels[v] == 0) continue;
        l->names[l->n_names].value = (uint16_t)v;
        (void)snprintf(l->names[l->n_names++].name, sizeof l->names->name, "label %d", v);
    }
    return MSA_OK;
}

msa_status msa_labelled_read(msa_labelled **out, const char *folder, msa_error *err)
{
    msa_case *c;
    *out = NULL;
    MSA_TRY(msa_case_load(&c, folder, err));
    return msa_labelled_of(out, c, err);
}

msa_status msa_labelled_of(msa_labelled **out, msa_case *c, msa_error *err)
{
    MSA_AUTO(msa_labelled) l = calloc(1, sizeof *l);
    *out = NULL;
    if (l == NULL) {
        msa_case_free(c);
        return msa_fail(err, MSA_E_NOMEM, "out of memory for a case");
    }
    l->owner = c;
    l->position_mm = calloc((size_t)c->depth, sizeof *l->position_mm);
    if (l->position_mm == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory for a case");
    for (int32_t k = 0; k < c->depth; k++)
        l->position_mm[k] = (float)k * c->spacing_mm[0];
    for (int axis = 0; axis < 3; axis++)
        l->spacing_mm[axis] = (double)c->spacing_mm[axis];
    l->volume = (msa_volume){.voxels = c->voxels,
                             .D = c->depth,
                             .H = c->rows,
                             .W = c->cols,
                             .spacing_mm = {c->spacing_mm[1], c->spacing_mm[2]},
                             .position_mm = l->position_mm,
                             .window_center = c->ct ? ABDOMEN_CENTER : 0,
                             .window_width = c->ct ? ABDOMEN_WIDTH : 0};
    l->ct = c->ct;
    l->labels = c->labels;
    MSA_TRY(list_names(l, err));
    *out = MSA_STEAL(l);
    return MSA_OK;
}
