#include "server/segment/groups.h"

#include <stdlib.h>

void srv_groups_choose(const msa_model **models, const srv_segment_request *request,
                       const srv_objects *objects)
{
    const bool each = request->prompt_models != NULL && !request->automatic;
    for (size_t i = 0; i < objects->n; i++)
        models[i] = each ? request->prompt_models[objects->origin[i]] : request->model;
}

typedef struct group {
    const srv_segment_request *request;
    msa_object *objects;
    msa_object_result *results;
    size_t *index; /* of each in the whole */
    size_t n;
    int32_t done_before, done, groups_left; /* this one among them */
} group;

static void group_clear(group *g)
{
    free(g->objects);
    free(g->results);
    free(g->index);
}

static void tell(void *ctx, int32_t done, int32_t total)
{
    group *g = ctx;
    g->done = done;
    g->request->progress(g->request->progress_ctx, g->done_before + done,
                         g->done_before + total * g->groups_left);
}

static void gather(group *g, const srv_objects *objects, const msa_model *const *models,
                   const msa_object_result *results, const msa_model *model)
{
    g->n = 0;
    for (size_t i = 0; i < objects->n; i++) {
        if (models[i] != model) continue;
        g->objects[g->n] = objects->objects[i];
        g->results[g->n] = results[i]; /* its mask's memory */
        g->index[g->n++] = i;
    }
}

static bool is_first_of_its_model(const msa_model *const *models, size_t i)
{
    size_t k = 0;
    while (models[k] != models[i])
        k++;
    return k == i;
}

msa_status srv_groups_segment(const srv_segment_request *request, const msa_volume *volume,
                              const srv_objects *objects, const msa_model *const *models,
                              msa_object_result *results, msa_error *err)
{
    __attribute__((cleanup(group_clear))) group g = {.request = request};
    g.objects = calloc(objects->n + 1, sizeof *g.objects);
    g.results = calloc(objects->n + 1, sizeof *g.results);
    g.index = calloc(objects->n + 1, sizeof *g.index);
    if (!g.objects || !g.results || !g.index)
        return msa_fail(err, MSA_E_NOMEM, "out of memory for the objects");
    for (size_t i = 0; i < objects->n; i++)
        g.groups_left += is_first_of_its_model(models, i);
    for (size_t i = 0; i < objects->n; i++) {
        if (!is_first_of_its_model(models, i)) continue;
        gather(&g, objects, models, results, models[i]);
        MSA_TRY(msa_segment(models[i], volume, g.objects, (int32_t)g.n, g.results, request->cache,
                            request->cancel, request->progress ? tell : NULL, &g, err));
        for (size_t k = 0; k < g.n; k++)
            results[g.index[k]] = g.results[k];
        g.done_before += g.done;
        g.done = 0;
        g.groups_left--;
    }
    return MSA_OK;
}
