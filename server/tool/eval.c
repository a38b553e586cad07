#include "server/tool/eval.h"

#include <stdlib.h>
#include <string.h>

#include "server/segment/segment.h"
#include "server/tool/running.h"
#include "server/tool/tool.h"

#define GROUP_BYTES ((size_t)512 << 20) /* of masks; what is in one group shares the encoded slices */
#define GROUP_MAX   64

/* Labels first .. first + n - 1 of a case. */
typedef struct group {
    size_t n;
    uint8_t *references, *results; /* (n, D, H, W) */
    size_t voxels;                 /* of one mask */
    size_t labels[GROUP_MAX];
    msa_prompt *prompts[GROUP_MAX];
    msa_object objects[GROUP_MAX];
    msa_object_result masks[GROUP_MAX];
} group;

static void group_clear(group *g)
{
    for (size_t i = 0; i < GROUP_MAX; i++)
        free(g->prompts[i]);
    free(g->references);
    free(g->results);
}

typedef struct evaluation {
    const srv_eval_arguments *a;
    const srv_models *models; /* NULL: a baseline */
    const msa_model *model;   /* of the case in hand */
    srv_worst *worst;         /* NULL: no pictures */
    srv_eval_report report;
} evaluation;

/* The same prompts wherever the case lies and whatever else it holds (FNV-1a). */
static uint64_t item_of(const char *name)
{
    uint64_t h = UINT64_C(0xCBF29CE484222325);
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001B3);
    return h;
}

/* Fills the group from label *next on; labels without a voxel are passed over. */
static msa_status fill_group(group *g, const evaluation *e, const srv_case *c, size_t room, size_t *next,
                             msa_error *err)
{
    const int32_t size[3] = {c->volume.D, c->volume.H, c->volume.W};
    for (; *next < c->n && g->n < room; (*next)++) {
        uint8_t *reference = g->references + g->n * g->voxels;
        int64_t voxels = 0;
        int32_t n = 0;
        MSA_TRY(srv_case_mask(c, *next, reference, &voxels, err));
        if (voxels == 0) continue;
        MSA_TRY(msa_eval_prompts(&g->prompts[g->n], &n, reference, size, e->a->prompt, e->a->whole,
                                 e->a->seed, item_of(c->labels[*next].name), err));
        g->objects[g->n] = (msa_object){.prompts = g->prompts[g->n], .n_prompts = n};
        g->masks[g->n].mask = g->results + g->n * g->voxels;
        g->labels[g->n++] = *next;
    }
    return MSA_OK;
}

static msa_status segment_group(group *g, const evaluation *e, const srv_case *c, msa_error *err)
{
    const int32_t size[3] = {c->volume.D, c->volume.H, c->volume.W};
    if (e->model) {
        srv_progress progress;
        srv_progress_begin(&progress, c->name);
        const msa_status status = msa_segment(e->model, &c->volume, g->objects, (int32_t)g->n, g->masks, NULL,
                                              srv_running_interrupted(), srv_progress_show, &progress, err);
        srv_progress_drop(&progress);
        MSA_TRY(status);
    }
    for (size_t i = 0; i < g->n; i++) {
        const msa_object *o = &g->objects[i];
        if (!e->model)
            MSA_TRY(
                msa_eval_draw(e->a->baseline, &c->volume, o->prompts, o->n_prompts, g->masks[i].mask, err));
        if (e->a->prompt != MSA_EVAL_MIDDLE_BOX)
            msa_eval_keep_prompted(g->masks[i].mask, size, o->prompts, o->n_prompts);
    }
    return atomic_load(srv_running_interrupted()) ? msa_fail(err, MSA_E_CANCELED, "cancelled") : MSA_OK;
}

static msa_status score_group(const group *g, const evaluation *e, const srv_case *c, srv_case_result *to,
                              msa_error *err)
{
    const int32_t size[3] = {c->volume.D, c->volume.H, c->volume.W};
    for (size_t i = 0; i < g->n; i++) {
        srv_label_result *label = &to->labels[to->n++];
        const uint8_t *reference = g->references + i * g->voxels;
        memcpy(label->name, c->labels[g->labels[i]].name, sizeof label->name);
        MSA_TRY(msa_eval_compare(&label->score, g->masks[i].mask, reference, size, c->spacing_mm, err));
        if (e->worst)
            MSA_TRY(srv_worst_offer(e->worst, c, label, g->masks[i].mask, reference, g->objects[i].prompts,
                                    g->objects[i].n_prompts, err));
    }
    return MSA_OK;
}

static msa_status run_group(const evaluation *e, const srv_case *c, size_t *next, srv_case_result *to,
                            msa_error *err)
{
    __attribute__((cleanup(group_clear))) group g = {0};
    const size_t left = c->n - *next;
    g.voxels = (size_t)c->volume.D * (size_t)c->volume.H * (size_t)c->volume.W;
    size_t room = GROUP_BYTES / (2 * g.voxels);
    room = room < 1 ? 1 : room > GROUP_MAX ? GROUP_MAX : room;
    room = room > left ? left : room;
    g.references = malloc(room * g.voxels);
    g.results = malloc(room * g.voxels);
    if (!g.references || !g.results) return msa_fail(err, MSA_E_NOMEM, "out of memory for masks");
    MSA_TRY(fill_group(&g, e, c, room, next, err));
    if (g.n == 0) return MSA_OK;
    MSA_TRY(segment_group(&g, e, c, err));
    return score_group(&g, e, c, to, err);
}

static msa_status run_case(evaluation *e, const srv_place *place, const srv_places *places, msa_error *err)
{
    __attribute__((cleanup(srv_case_close))) srv_case c = {0};
    msa_error why = MSA_ERROR_INIT;
    msa_status status = MSA_OK;
    size_t next = 0;
    MSA_TRY(srv_case_open(&c, place, places, err));
    srv_case_result *to = &e->report.cases[e->report.n];
    to->labels = calloc(c.n + 1, sizeof *to->labels);
    if (!to->labels) return msa_fail(err, MSA_E_NOMEM, "out of memory for results");
    memcpy(to->name, c.name, sizeof to->name);
    to->model = e->model = e->models ? srv_models_for(e->models, c.modality, "", NULL) : NULL;
    e->report.n++;
    while (next < c.n && status == MSA_OK)
        status = run_group(e, &c, &next, to, &why);
    if (status == MSA_E_CANCELED) return msa_fail(err, status, "%s", why.what);
    if (status != MSA_OK) return msa_fail(err, status, "case %.60s: %.150s", place->name, why.what);
    if (to->n == 0) { /* a series that nobody has labelled is no case */
        free(to->labels);
        *to = (srv_case_result){0};
        e->report.n--;
        return MSA_OK;
    }
    srv_eval_average_case(to);
    (void)fprintf(stderr, "%s: %zu label%s, mean Dice %.4f\n", to->name, to->n, to->n == 1 ? "" : "s",
                  to->mean.dice);
    return MSA_OK;
}

static msa_status run(evaluation *e, const srv_places *places, msa_error *err)
{
    e->report.cases = calloc(places->n + 1, sizeof *e->report.cases);
    if (!e->report.cases) return msa_fail(err, MSA_E_NOMEM, "out of memory for results");
    for (size_t i = 0; i < places->n; i++)
        MSA_TRY(run_case(e, &places->list[i], places, err));
    if (e->report.n == 0)
        return msa_fail(
            err, MSA_E_NOT_FOUND,
            "below %.100s there is no case: a series with a SEG or RTSTRUCT that refers to it, or an "
            "image with labels.nii.gz",
            e->a->data);
    srv_eval_average(&e->report);
    srv_eval_print(&e->report, stdout);
    if (e->a->json) MSA_TRY(srv_eval_write_json(&e->report, e->a->json, err));
    return e->worst ? srv_worst_write(e->worst, e->a->overlays, err) : MSA_OK;
}

static msa_status evaluate(evaluation *e, msa_error *err)
{
    MSA_AUTO(srv_models) models = NULL;
    MSA_AUTO(srv_worst) worst = NULL;
    __attribute__((cleanup(srv_places_clear))) srv_places places = {0};
    const srv_models_wanted wanted = {.path = e->a->model,
                                      .adapter = e->a->adapter,
                                      .precision = e->a->precision,
                                      .rules = srv_rules_built_in,
                                      .n_rules = srv_n_rules_built_in};
    if (!e->a->baseline_name) MSA_TRY(srv_models_load(&models, &wanted, err));
    MSA_TRY(dicom_init(err));
    MSA_TRY(srv_places_find(&places, e->a->data, err));
    if (e->a->overlays) MSA_TRY(srv_worst_new(&worst, err));
    e->models = e->report.models = models;
    e->worst = worst;
    return run(e, &places, err);
}

int srv_tool_eval(int argc, char **argv)
{
    srv_eval_arguments a;
    msa_error err = MSA_ERROR_INIT;
    const int code = srv_eval_arguments_read(&a, argc, argv);
    if (code != 0) return code;
    if (a.help) return fputs(srv_eval_usage, stdout) < 0 ? SRV_EXIT_NO_INPUT : SRV_EXIT_OK;
    evaluation e = {.a = &a, .report = {.arguments = &a}};
    srv_running_begin(a.threads);
    const msa_status status = evaluate(&e, &err);
    for (size_t i = 0; i < e.report.n; i++)
        free(e.report.cases[i].labels);
    free(e.report.cases);
    return status == MSA_OK ? SRV_EXIT_OK : srv_tool_fail(&err);
}
