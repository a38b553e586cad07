#include "server/segment/objects.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An object without a usable positive prompt cannot be segmented; the engine would refuse all for it. */
typedef struct draft {
    const dicom_prompt *from;
    msa_prompt prompt;
    size_t object;
    bool usable;
} draft;

static const char *label_of(const dicom_prompt *p)
{
    return p->label[0] ? p->label : "Object";
}

static const char *check_coordinates(const dicom_prompt *p, const dicom_volume_info *info)
{
    if (p->kind == DICOM_PROMPT_POINT) {
        if (!isfinite(p->x0) || !isfinite(p->y0)) return "a point has a coordinate that is not a number";
        if (p->x0 < 0 || p->y0 < 0 || p->x0 > info->cols || p->y0 > info->rows)
            return "a point lies outside the image";
        return NULL;
    }
    if (p->kind != DICOM_PROMPT_BOX) return "a prompt is neither a box nor a point";
    if (!isfinite(p->x0) || !isfinite(p->y0) || !isfinite(p->x1) || !isfinite(p->y1))
        return "a box has a coordinate that is not a number";
    if (!(p->x0 < p->x1 && p->y0 < p->y1)) return "a box is empty: it needs x0 < x1 and y0 < y1";
    if (p->x1 <= 0 || p->y1 <= 0 || p->x0 >= info->cols || p->y0 >= info->rows)
        return "a box lies outside the image";
    return NULL;
}

/* The slice, or -1 and why. */
static int32_t slice_of(const dicom_prompt *p, const dicom_series *series, const char **why)
{
    const int32_t slices = dicom_series_info(series)->slices;
    if (p->sop_instance_uid[0]) {
        const int32_t found = dicom_series_find(series, p->sop_instance_uid, p->frame);
        if (found < 0) *why = "a prompt refers to an image or frame that is not in the volume";
        return found;
    }
    if (p->slice < 0 || p->slice >= slices) *why = "a prompt lies on a slice that the series does not have";
    return *why ? -1 : p->slice;
}

static void fill_draft(draft *d, const dicom_prompt *p, const dicom_series *series, srv_objects *o)
{
    const char *why = check_coordinates(p, dicom_series_info(series));
    const int32_t slice = why ? -1 : slice_of(p, series, &why);
    d->from = p;
    d->usable = why == NULL;
    d->prompt = (msa_prompt){.kind = p->kind == DICOM_PROMPT_BOX ? MSA_PROMPT_BOX : MSA_PROMPT_POINT,
                             .slice = slice,
                             .positive = p->positive != 0};
    if (!why) { /* a double may be too big for a float only where the box has been refused already */
        d->prompt.x0 = (float)p->x0;
        d->prompt.y0 = (float)p->y0;
        d->prompt.x1 = (float)fmin(p->x1, 1e6);
        d->prompt.y1 = (float)fmin(p->y1, 1e6);
        return;
    }
    if (o->n_left_out++ == 0) (void)snprintf(o->why, sizeof o->why, "%s", why);
}

static bool prompts_something(const draft *d)
{
    return d->usable && (d->prompt.kind == MSA_PROMPT_BOX || d->prompt.positive);
}

/* "Object 3": the number that a report's reader gives to a region without a name (dicom/annot/sr.cc). */
static bool is_invented(const char *label)
{
    static const char word[] = "Object ";
    const size_t n = sizeof word - 1;
    return strncmp(label, word, n) == 0 && label[n] && strspn(label + n, "0123456789") == strlen(label + n);
}

static bool same_place(const msa_prompt *a, const msa_prompt *b)
{
    return a->kind == b->kind && a->slice == b->slice && a->x0 == b->x0 && a->y0 == b->y0 &&
           (a->kind == MSA_PROMPT_POINT || (a->x1 == b->x1 && a->y1 == b->y1));
}

/* An invented name says something within its own annotation only; another one that draws the same again, as
 * viewers do that save all measurements anew, means the same object. */
static bool same_object(const draft *a, const draft *b)
{
    const char *label = label_of(a->from);
    const bool same_label = strcmp(label, label_of(b->from)) == 0;
    if (!is_invented(label) || !is_invented(label_of(b->from))) return same_label;
    return (same_label && strcmp(a->from->source_instance_uid, b->from->source_instance_uid) == 0) ||
           same_place(&a->prompt, &b->prompt);
}

static void take_name(dicom_segment *s, const dicom_prompt *p)
{
    if (!s->category.value[0] && !s->type.value[0]) {
        s->category = p->category;
        s->type = p->type;
    }
    if (!s->site.value[0]) s->site = p->site;
}

/* The first of the drafts before `n` that prompts something of the same object as `d`, or NULL. */
static const draft *find_kin(const draft *drafts, size_t n, const draft *d)
{
    for (size_t i = 0; i < n; i++)
        if (prompts_something(&drafts[i]) && same_object(&drafts[i], d)) return &drafts[i];
    return NULL;
}

/* index: of the draft's prompt. */
static msa_status new_object(srv_objects *o, draft *d, size_t index, msa_error *err)
{
    if (o->n == SRV_SEGMENTS_MAX)
        return msa_fail(err, MSA_E_INVALID, "the prompts have more than %d different labels",
                        SRV_SEGMENTS_MAX);
    (void)snprintf(o->names[o->n].label, sizeof o->names[o->n].label, "%s", label_of(d->from));
    o->origin[o->n] = index;
    d->object = o->n++;
    return MSA_OK;
}

static void take_tracking(dicom_segment *s, const draft *drafts, size_t n, size_t object)
{
    const dicom_prompt *first = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!drafts[i].usable || drafts[i].object != object) continue;
        if (!first) first = drafts[i].from;
        if (strcmp(first->tracking_uid, drafts[i].from->tracking_uid) != 0) return;
    }
    if (!first || !first->tracking_uid[0]) return;
    memcpy(s->tracking_id, first->tracking_id, sizeof s->tracking_id);
    memcpy(s->tracking_uid, first->tracking_uid, sizeof s->tracking_uid);
}

/* Prompts of one object lie together in o->prompts, in their own order. */
static void gather(srv_objects *o, const draft *drafts, size_t n)
{
    size_t at = 0;
    for (size_t k = 0; k < o->n; k++) {
        o->objects[k].prompts = o->prompts + at;
        for (size_t i = 0; i < n; i++) {
            if (!drafts[i].usable || drafts[i].object != k) continue;
            o->prompts[at++] = drafts[i].prompt;
            o->objects[k].n_prompts++;
            take_name(&o->names[k], drafts[i].from);
        }
        take_tracking(&o->names[k], drafts, n, k);
    }
}

/* First the labels that have something to start from, in order; then everything usable joins its label. */
static msa_status group(srv_objects *o, draft *drafts, size_t n, msa_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (!prompts_something(&drafts[i])) continue;
        const draft *kin = find_kin(drafts, i, &drafts[i]);
        if (kin)
            drafts[i].object = kin->object;
        else
            MSA_TRY(new_object(o, &drafts[i], i, err));
    }
    for (size_t i = 0; i < n; i++) {
        if (!drafts[i].usable || prompts_something(&drafts[i])) continue;
        const draft *kin = find_kin(drafts, n, &drafts[i]);
        drafts[i].usable = kin != NULL;
        if (kin) drafts[i].object = kin->object;
        if (kin) continue;
        if (o->n_left_out++ == 0) (void)snprintf(o->why, sizeof o->why, "a label has only background points");
    }
    return MSA_OK;
}

msa_status srv_objects_new(srv_objects **out, const dicom_series *series, const dicom_prompt *prompts,
                           size_t n, msa_error *err)
{
    MSA_AUTO(srv_objects) o = calloc(1, sizeof *o);
    MSA_AUTO_FREE draft *drafts = calloc(n + 1, sizeof *drafts);
    *out = NULL;
    if (!o || !drafts) return msa_fail(err, MSA_E_NOMEM, "out of memory for the prompts");
    const size_t most = n < SRV_SEGMENTS_MAX ? n + 1 : SRV_SEGMENTS_MAX;
    o->objects = calloc(most, sizeof *o->objects);
    o->names = calloc(most, sizeof *o->names);
    o->origin = calloc(most, sizeof *o->origin);
    o->prompts = calloc(n + 1, sizeof *o->prompts);
    if (!o->objects || !o->names || !o->origin || !o->prompts)
        return msa_fail(err, MSA_E_NOMEM, "out of memory for the prompts");
    for (size_t i = 0; i < n; i++)
        fill_draft(&drafts[i], &prompts[i], series, o);
    MSA_TRY(group(o, drafts, n, err));
    if (o->n == 0)
        return msa_fail(err, MSA_E_INVALID, "there is no usable prompt: %s",
                        o->why[0] ? o->why : "no box and no point was given");
    gather(o, drafts, n);
    *out = MSA_STEAL(o);
    return MSA_OK;
}

void srv_objects_free(srv_objects *o)
{
    if (!o) return;
    free(o->objects);
    free(o->names);
    free(o->origin);
    free(o->prompts);
    free(o);
}
