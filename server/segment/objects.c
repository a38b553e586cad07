#include "server/segment/objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/segment/lay.h"

/* A prompt and where it was laid. An object without a usable positive prompt cannot be segmented; the engine
 * would refuse all for it. */
typedef struct draft {
    const dicom_prompt *from;
    msa_prompt *prompts;
    size_t n; /* 0: it is left out */
    size_t object;
} draft;

static const char *label_of(const dicom_prompt *p)
{
    return p->label[0] ? p->label : "Object";
}

static bool prompts_something(const draft *d)
{
    return d->n > 0 && (d->from->kind != DICOM_PROMPT_POINT || d->from->positive);
}

bool srv_label_is_invented(const char *label)
{
    static const char word[] = "Object ";
    const size_t n = sizeof word - 1;
    return strncmp(label, word, n) == 0 && label[n] && strspn(label + n, "0123456789") == strlen(label + n);
}

static bool same_place(const msa_prompt *a, const msa_prompt *b)
{
    return a->kind == b->kind && a->slice == b->slice && a->x0 == b->x0 && a->y0 == b->y0 &&
           (a->kind == MSA_PROMPT_POINT || (a->x1 == b->x1 && a->y1 == b->y1)) && a->mask == b->mask;
}

static bool same_places(const draft *a, const draft *b)
{
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++)
        if (!same_place(&a->prompts[i], &b->prompts[i])) return false;
    return true;
}

/* An invented name says something within its own annotation only; another one that draws the same again, as
 * viewers do that save all measurements anew, means the same object. */
static bool same_object(const draft *a, const draft *b)
{
    const char *label = label_of(a->from);
    const bool same_label = strcmp(label, label_of(b->from)) == 0;
    if (!srv_label_is_invented(label) || !srv_label_is_invented(label_of(b->from))) return same_label;
    return (same_label && strcmp(a->from->source_instance_uid, b->from->source_instance_uid) == 0) ||
           same_places(a, b);
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

static void leave_out(srv_objects *o, const char *why)
{
    if (o->n_left_out++ == 0) (void)snprintf(o->why, sizeof o->why, "%s", why);
}

static void take_tracking(dicom_segment *s, const draft *drafts, size_t n, size_t object)
{
    const dicom_prompt *first = NULL;
    for (size_t i = 0; i < n; i++) {
        if (drafts[i].n == 0 || drafts[i].object != object) continue;
        if (!first) first = drafts[i].from;
        if (strcmp(first->tracking_uid, drafts[i].from->tracking_uid) != 0) return;
    }
    if (!first || !first->tracking_uid[0]) return;
    memcpy(s->tracking_id, first->tracking_id, sizeof s->tracking_id);
    memcpy(s->tracking_uid, first->tracking_uid, sizeof s->tracking_uid);
}

/* Adds a draft's prompts to the object that is being gathered, unless it has them. */
static void gather_one(msa_object *object, msa_prompt *to, const draft *d)
{
    for (size_t i = 0; i < d->n; i++) {
        int32_t k = 0;
        while (k < object->n_prompts &&
               !(same_place(&to[k], &d->prompts[i]) && to[k].positive == d->prompts[i].positive))
            k++;
        if (k == object->n_prompts) to[object->n_prompts++] = d->prompts[i];
    }
}

/* Prompts of one object lie together in o->prompts, in their own order. */
static void gather(srv_objects *o, const draft *drafts, size_t n)
{
    size_t at = 0;
    for (size_t k = 0; k < o->n; k++) {
        o->objects[k].prompts = o->prompts + at;
        o->objects[k].slices = o->laid->slices;
        for (size_t i = 0; i < n; i++) {
            if (drafts[i].n == 0 || drafts[i].object != k) continue;
            gather_one(&o->objects[k], o->prompts + at, &drafts[i]);
            take_name(&o->names[k], drafts[i].from);
        }
        at += (size_t)o->objects[k].n_prompts;
        take_tracking(&o->names[k], drafts, n, k);
    }
}

static bool is_point(const draft *d)
{
    return d->n == 1 && d->prompts[0].kind == MSA_PROMPT_POINT;
}

/* Points of one label at one place that say yes and no. */
static void drop_contradictions(srv_objects *o, draft *drafts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool contradicted = false;
        for (size_t j = 0; is_point(&drafts[i]) && j < n; j++) {
            if (!is_point(&drafts[j]) || drafts[i].from->positive == drafts[j].from->positive) continue;
            if (!same_object(&drafts[i], &drafts[j]) || !same_places(&drafts[i], &drafts[j])) continue;
            drafts[j].n = 0;
            contradicted = true;
            leave_out(o, "two points at one place contradict each other");
        }
        if (!contradicted) continue;
        drafts[i].n = 0;
        leave_out(o, "");
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
        if (drafts[i].n == 0 || prompts_something(&drafts[i])) continue;
        const draft *kin = find_kin(drafts, n, &drafts[i]);
        if (kin) {
            drafts[i].object = kin->object;
            continue;
        }
        drafts[i].n = 0;
        leave_out(o, "a label has only background points");
    }
    return MSA_OK;
}

msa_status srv_objects_new(srv_objects **out, const srv_segment_request *request, msa_error *err)
{
    const size_t n = request->n_prompts;
    MSA_AUTO(srv_objects) o = calloc(1, sizeof *o);
    MSA_AUTO_FREE draft *drafts = calloc(n + 1, sizeof *drafts);
    *out = NULL;
    if (!o || !drafts) return msa_fail(err, MSA_E_NOMEM, "out of memory for the prompts");
    MSA_TRY(srv_laid_new(&o->laid, request, err));
    const srv_laid *laid = o->laid;
    const size_t most = n < SRV_SEGMENTS_MAX ? n + 1 : SRV_SEGMENTS_MAX;
    o->objects = calloc(most, sizeof *o->objects);
    o->names = calloc(most, sizeof *o->names);
    o->origin = calloc(most, sizeof *o->origin);
    o->prompts = calloc(laid->n + 1, sizeof *o->prompts);
    if (!o->objects || !o->names || !o->origin || !o->prompts)
        return msa_fail(err, MSA_E_NOMEM, "out of memory for the prompts");
    o->n_left_out = laid->n_left_out;
    memcpy(o->why, laid->why, sizeof o->why);
    for (size_t i = 0; i < n; i++)
        drafts[i] = (draft){.from = &request->prompts[i],
                            .prompts = laid->prompts + laid->first[i],
                            .n = laid->first[i + 1] - laid->first[i]};
    drop_contradictions(o, drafts, n);
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
    srv_laid_free(o->laid);
    free(o);
}
