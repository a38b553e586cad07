#include "server/segment/classes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/segment/groups.h"

static void expand_one(srv_objects *to, const srv_objects *from, size_t i, int32_t classes)
{
    for (int32_t k = 0; k < classes; k++, to->n++) {
        dicom_segment *name = &to->names[to->n];
        to->objects[to->n] = from->objects[i];
        to->origin[to->n] = from->origin[i];
        *name = from->names[i];
        if (classes == 1) continue;
        to->objects[to->n].channel = k;
        /* the number is what tells them apart: a long label gives way */
        (void)snprintf(name->label, sizeof name->label, "%.*s class %d", (int)sizeof name->label - 20,
                       from->names[i].label, k + 1);
        name->tracking_id[0] = name->tracking_uid[0] = '\0';
    }
}

msa_status srv_classes_expand(srv_objects *o, const srv_segment_request *request, msa_error *err)
{
    MSA_AUTO_FREE const msa_model **models = calloc(o->n + 1, sizeof *models);
    srv_objects to = {0};
    size_t n = 0;
    if (!models) return msa_fail(err, MSA_E_NOMEM, "out of memory for the objects");
    srv_groups_choose(models, request, o);
    for (size_t i = 0; i < o->n; i++)
        n += (size_t)msa_config_classes(msa_model_config(models[i]));
    if (n == o->n) return MSA_OK;
    if (n > SRV_SEGMENTS_MAX)
        return msa_fail(err, MSA_E_INVALID,
                        "%zu labels make %zu segments, by the classes of the model; at most %d fit", o->n, n,
                        SRV_SEGMENTS_MAX);
    to.objects = calloc(n, sizeof *to.objects);
    to.names = calloc(n, sizeof *to.names);
    to.origin = calloc(n, sizeof *to.origin);
    if (!to.objects || !to.names || !to.origin) {
        free(to.objects);
        free(to.names);
        free(to.origin);
        return msa_fail(err, MSA_E_NOMEM, "out of memory for the objects");
    }
    for (size_t i = 0; i < o->n; i++)
        expand_one(&to, o, i, msa_config_classes(msa_model_config(models[i])));
    free(o->objects);
    free(o->names);
    free(o->origin);
    o->objects = to.objects;
    o->names = to.names;
    o->origin = to.origin;
    o->n = n;
    return MSA_OK;
}
