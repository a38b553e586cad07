/* The table and the JSON. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "server/tool/eval.h"

static void json_put(json_t **j)
{
    json_decref(*j);
}
#define AUTO_JSON __attribute__((cleanup(json_put))) json_t *

/* ---- means ---- */

typedef struct mean {
    double sum;
    int32_t n;
} mean;

static void mean_add(mean *m, double v)
{
    if (!isfinite(v)) return;
    m->sum += v;
    m->n++;
}

static double mean_of(const mean *m)
{
    return m->n > 0 ? m->sum / m->n : (double)NAN;
}

void srv_eval_average_case(srv_case_result *c)
{
    mean dice = {0};
    mean iou = {0};
    mean slice = {0};
    mean hd95 = {0};
    for (size_t i = 0; i < c->n; i++) {
        const msa_eval_score *s = &c->labels[i].score;
        if (s->voxels < SRV_EVAL_VOXELS_MIN) continue;
        mean_add(&dice, s->dice);
        mean_add(&iou, s->iou);
        mean_add(&slice, s->slice_dice);
        mean_add(&hd95, s->hd95_mm);
    }
    c->mean = (srv_means){mean_of(&dice), mean_of(&iou), mean_of(&slice), mean_of(&hd95), dice.n};
}

void srv_eval_average(srv_eval_report *r)
{
    mean dice = {0};
    mean iou = {0};
    mean slice = {0};
    mean hd95 = {0};
    for (size_t i = 0; i < r->n; i++) {
        mean_add(&dice, r->cases[i].mean.dice);
        mean_add(&iou, r->cases[i].mean.iou);
        mean_add(&slice, r->cases[i].mean.slice_dice);
        mean_add(&hd95, r->cases[i].mean.hd95_mm);
    }
    r->mean = (srv_means){mean_of(&dice), mean_of(&iou), mean_of(&slice), mean_of(&hd95), dice.n};
}

/* ---- table ---- */

static void print_row(FILE *to, const char *name, const char *voxels, const srv_means *v)
{
    char distance[16];
    (void)snprintf(distance, sizeof distance, isfinite(v->hd95_mm) ? "%.2f" : "-", v->hd95_mm);
    (void)fprintf(to, "  %-32.32s %9s  %6.4f  %6.4f  %6.4f  %8s\n", name, voxels, v->dice, v->iou,
                  v->slice_dice, distance);
}

static void print_case(const srv_case_result *c, FILE *to)
{
    char text[48];
    (void)fprintf(to, "%s\n  %-32s %9s  %6s  %6s  %6s  %8s\n", c->name, "label", "voxels", "Dice", "IoU",
                  "slice", "HD95 mm");
    for (size_t i = 0; i < c->n; i++) {
        const msa_eval_score *s = &c->labels[i].score;
        const srv_means row = {s->dice, s->iou, s->slice_dice, s->hd95_mm, 1};
        (void)snprintf(text, sizeof text, "%s%lld", s->voxels < SRV_EVAL_VOXELS_MIN ? "*" : "",
                       (long long)s->voxels);
        print_row(to, c->labels[i].name, text, &row);
    }
    (void)snprintf(text, sizeof text, "mean of %d label%s", c->mean.n, c->mean.n == 1 ? "" : "s");
    if (c->mean.n > 0) print_row(to, text, "", &c->mean);
    if ((size_t)c->mean.n < c->n)
        (void)fprintf(to, "  * under %d voxels: not averaged\n", SRV_EVAL_VOXELS_MIN);
    (void)fputc('\n', to);
}

/* Those that were asked, each once. */
static void print_models(const srv_eval_report *r, FILE *to)
{
    const char *before = "model";
    for (size_t i = 0; i < r->n; i++) {
        bool again = false;
        for (size_t k = 0; k < i; k++)
            again = again || r->cases[k].model == r->cases[i].model;
        if (again) continue;
        const msa_config *config = msa_model_config(r->cases[i].model);
        (void)fprintf(to, "%s %s %s%s", before, config->name, config->version,
                      config->untrained ? " (untrained: the masks mean nothing)" : "");
        before = " and";
    }
}

void srv_eval_print(const srv_eval_report *r, FILE *to)
{
    char text[48];
    for (size_t i = 0; i < r->n; i++)
        print_case(&r->cases[i], to);
    if (r->models) {
        print_models(r, to);
        if (r->arguments->adapter) (void)fprintf(to, " with adapter %s", r->arguments->adapter);
    } else {
        (void)fprintf(to, "baseline %s", r->arguments->baseline_name);
    }
    (void)fprintf(to, ", prompt %s%s, seed %llu\n", r->arguments->prompt_name,
                  r->arguments->whole ? " around the whole" : "", (unsigned long long)r->arguments->seed);
    (void)snprintf(text, sizeof text, "mean of %d case%s", r->mean.n, r->mean.n == 1 ? "" : "s");
    if (r->mean.n > 0)
        print_row(to, text, "", &r->mean);
    else
        (void)fprintf(to, "no label has %d voxels, so there is no mean\n", SRV_EVAL_VOXELS_MIN);
}

/* ---- JSON ---- */

static json_t *number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *label_json(const srv_label_result *l)
{
    const msa_eval_score *s = &l->score;
    return json_pack("{s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:b}", "name", l->name, "voxels",
                     (json_int_t)s->voxels, "voxels_found", (json_int_t)s->found, "dice", number(s->dice),
                     "iou", number(s->iou), "slice_dice", number(s->slice_dice), "hd95", number(s->hd95_mm),
                     "averaged", s->voxels >= SRV_EVAL_VOXELS_MIN);
}

/* "o" takes over what it is given, also on failure. */
static json_t *means_json(const char *name, const srv_means *m)
{
    return json_pack("{s:s*, s:o, s:o, s:o, s:o}", "name", name, "mean_dice", number(m->dice), "mean_iou",
                     number(m->iou), "mean_slice_dice", number(m->slice_dice), "mean_hd95",
                     number(m->hd95_mm));
}

/* Drops `one` when it cannot. */
static bool tell_model(json_t *one, const msa_model *model)
{
    if (!one || !model) return one != NULL;
    json_t *told = json_pack("{s:s, s:s, s:s}", "model", msa_model_config(model)->name, "model_version",
                             msa_model_config(model)->version, "model_sha256", msa_model_hash(model));
    const bool done = told && json_object_update(one, told) == 0;
    json_decref(told);
    if (!done) json_decref(one);
    return done;
}

static bool add_cases(json_t *root, const srv_eval_report *r)
{
    json_t *cases = json_array();
    if (json_object_set_new(root, "cases", cases) != 0) return false;
    for (size_t i = 0; i < r->n; i++) {
        json_t *labels = json_array();
        json_t *one = means_json(r->cases[i].name, &r->cases[i].mean);
        if (!tell_model(one, r->cases[i].model)) one = NULL; /* which no array takes */
        if (json_array_append_new(cases, one) != 0) {
            json_decref(labels);
            return false;
        }
        if (json_object_set_new(one, "labels", labels) != 0) return false;
        for (size_t k = 0; k < r->cases[i].n; k++)
            if (json_array_append_new(labels, label_json(&r->cases[i].labels[k])) != 0) return false;
    }
    return true;
}

static bool add_method(json_t *root, const srv_eval_report *r)
{
    const srv_eval_arguments *a = r->arguments;
    /* for any modality: with an adapter for all of them, that is in it */
    const msa_model *model = r->models ? srv_models_for(r->models, "", "", NULL) : NULL;
    const msa_config *config = model ? msa_model_config(model) : NULL;
    json_t *method =
        json_pack("{s:s*, s:s*, s:s*, s:s*, s:s*, s:s, s:b, s:I, s:i}", "model", config ? config->name : NULL,
                  "model_version", config ? config->version : NULL, "model_sha256",
                  model ? msa_model_hash(model) : NULL, "adapter", a->adapter, "baseline", a->baseline_name,
                  "prompt", a->prompt_name, "whole_boxes", a->whole, "seed", (json_int_t)a->seed,
                  "averaged_from_voxels", SRV_EVAL_VOXELS_MIN);
    const bool done = method && json_object_update(root, method) == 0;
    json_decref(method);
    return done;
}

msa_status srv_eval_write_json(const srv_eval_report *r, const char *path, msa_error *err)
{
    AUTO_JSON root = means_json(NULL, &r->mean);
    if (!root || !add_method(root, r) || !add_cases(root, r))
        return msa_fail(err, MSA_E_NOMEM, "out of memory for the JSON");
    if (json_dump_file(root, path, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) != 0)
        return msa_fail(err, MSA_E_IO, "cannot write %.150s", path);
    return MSA_OK;
}
