/**
 * The body of POST /v1/annotations, checked member by member. Bytes from outside: each refusal is one
 * sentence that names the member (invariant 7), and what is not known is refused, so that a slip of the pen
 * is not silently lost.
 */
#include "server/http/internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/cleanup.h"
#include "server/core/text.h"

#define ITEMS_MAX      4096
#define COORDINATE_MAX 1e6
#define LABEL_CHARS    64
#define SLICE_MAX      65535

/* Fails with "<where><member> <text>". */
static msa_status refuse(msa_error *err, const char *where, const char *member, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static msa_status refuse(msa_error *err, const char *where, const char *member, const char *fmt, ...)
{
    char text[160];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return msa_fail(err, MSA_E_PARSE, "%s%s %s", where, member, text);
}

static msa_status known_members(const json_t *object, const char *where, const char *const *known,
                                msa_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        size_t i = 0, best = SIZE_MAX;
        const char *nearest = known[0];
        for (; known[i] != NULL && strcmp(known[i], key) != 0; i++) {
            const size_t d = srv_text_distance(key, known[i]);
            if (d < best) best = d, nearest = known[i];
        }
        if (known[i] != NULL) continue;
        const bool shows = srv_text_is_printable(key, strlen(key), NULL);
        return msa_fail(err, MSA_E_PARSE, "%s%.40s is not a known member; did you mean %s?", where,
                        shows ? key : "(a name with control characters)", nearest);
    }
    return MSA_OK;
}

/* A text of at most `chars` characters; absent: "" (or refused when `needed`). An empty text is refused. */
static msa_status text(const json_t *object, const char *where, const char *member, bool needed, size_t chars,
                       char *out, size_t out_size, msa_error *err)
{
    const json_t *value = json_object_get(object, member);
    size_t n = 0;
    out[0] = '\0';
    if (value == NULL) return needed ? refuse(err, where, member, "is missing") : MSA_OK;
    if (!json_is_string(value)) return refuse(err, where, member, "is not a text");
    const char *s = json_string_value(value);
    const size_t size = json_string_length(value);
    if (size == 0) return refuse(err, where, member, "is empty");
    if (!srv_text_is_printable(s, size, &n)) return refuse(err, where, member, "holds a control character");
    if (n > chars || size >= out_size)
        return refuse(err, where, member, "is longer than %zu characters", chars);
    memcpy(out, s, size + 1);
    return MSA_OK;
}

static msa_status uid(const json_t *object, const char *where, const char *member, char out[DICOM_UID_MAX],
                      msa_error *err)
{
    const json_t *value = json_object_get(object, member);
    out[0] = '\0';
    if (value == NULL) return MSA_OK;
    if (!json_is_string(value) || !srv_text_is_uid(json_string_value(value)))
        return refuse(err, where, member, "is not a DICOM UID (digits and dots, at most 64)");
    (void)snprintf(out, DICOM_UID_MAX, "%s", json_string_value(value));
    return MSA_OK;
}

static msa_status whole(const json_t *object, const char *where, const char *member, int32_t min, int32_t max,
                        int32_t *out, msa_error *err)
{
    const json_t *value = json_object_get(object, member);
    if (!json_is_integer(value)) return refuse(err, where, member, "is not a whole number");
    const json_int_t n = json_integer_value(value);
    if (n < min || n > max)
        return refuse(err, where, member, "is %" PRId64 ", not in %d..%d", (int64_t)n, min, max);
    *out = (int32_t)n;
    return MSA_OK;
}

static msa_status numbers(const json_t *object, const char *where, const char *member, size_t n, double *out,
                          msa_error *err)
{
    const json_t *value = json_object_get(object, member);
    if (value == NULL) return refuse(err, where, member, "is missing");
    if (!json_is_array(value) || json_array_size(value) != n)
        return refuse(err, where, member, "is not a list of %zu numbers", n);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(value, i);
        out[i] = json_number_value(item);
        if (!json_is_number(item))
            return refuse(err, where, member, "has something other than a number at place %zu", i);
        if (!isfinite(out[i]) || fabs(out[i]) > COORDINATE_MAX)
            return refuse(err, where, member, "has a number at place %zu that is not in -1000000..1000000",
                          i);
    }
    return MSA_OK;
}

static msa_status code(const json_t *object, const char *where, const char *member, dicom_code *out,
                       msa_error *err)
{
    static const char *const known[] = {"value", "scheme", "meaning", NULL};
    const json_t *value = json_object_get(object, member);
    char inner[96];
    if (value == NULL) return MSA_OK; /* that of the whole annotation stays */
    if (!json_is_object(value))
        return refuse(err, where, member, "is not an object of value, scheme and meaning");
    (void)snprintf(inner, sizeof inner, "%s%s.", where, member);
    MSA_TRY(known_members(value, inner, known, err));
    MSA_TRY(text(value, inner, "value", true, 16, out->value, sizeof out->value, err));
    MSA_TRY(text(value, inner, "scheme", true, 16, out->scheme, sizeof out->scheme, err));
    return text(value, inner, "meaning", true, LABEL_CHARS, out->meaning, sizeof out->meaning, err);
}

/* Members that stand on the whole annotation and may stand on an item again. */
static msa_status shared_members(const json_t *object, const char *where, dicom_prompt *p, msa_error *err)
{
    char t[DICOM_LABEL_MAX], u[DICOM_UID_MAX];
    MSA_TRY(text(object, where, "label", false, LABEL_CHARS, t, sizeof t, err));
    if (t[0] != '\0') memcpy(p->label, t, sizeof t);
    MSA_TRY(text(object, where, "tracking_id", false, LABEL_CHARS, t, sizeof t, err));
    if (t[0] != '\0') memcpy(p->tracking_id, t, sizeof t);
    MSA_TRY(uid(object, where, "tracking_uid", u, err));
    if (u[0] != '\0') memcpy(p->tracking_uid, u, sizeof u);
    MSA_TRY(code(object, where, "category", &p->category, err));
    MSA_TRY(code(object, where, "type", &p->type, err));
    return code(object, where, "site", &p->site, err);
}

/* On which image an item lies: an instance (and frame), or a slice of the series that the annotation names.
 */
static msa_status place(const json_t *item, const char *where, const char *series_uid, srv_prompt *out,
                        msa_error *err)
{
    dicom_prompt *p = &out->prompt;
    const bool has_slice = json_object_get(item, "slice") != NULL,
               has_frame = json_object_get(item, "frame") != NULL;
    p->frame = 1;
    MSA_TRY(uid(item, where, "sop_instance_uid", p->sop_instance_uid, err));
    if (p->sop_instance_uid[0] != '\0') {
        if (has_slice) return refuse(err, where, "slice", "and sop_instance_uid are both there; give one");
        return has_frame ? whole(item, where, "frame", 1, SLICE_MAX, &p->frame, err) : MSA_OK;
    }
    if (has_frame) return refuse(err, where, "frame", "needs sop_instance_uid beside it");
    if (!has_slice)
        return refuse(err, where, "slice", "or sop_instance_uid must say on which image this lies");
    if (series_uid[0] == '\0')
        return refuse(err, where, "slice", "needs series_instance_uid in the annotation");
    memcpy(out->series_uid, series_uid, DICOM_UID_MAX);
    return whole(item, where, "slice", 0, SLICE_MAX, &p->slice, err);
}

static msa_status box(const json_t *item, const char *where, dicom_prompt *p, msa_error *err)
{
    double v[4];
    MSA_TRY(numbers(item, where, "box", 4, v, err));
    if (!(v[0] < v[2]) || !(v[1] < v[3]))
        return refuse(err, where, "box", "is empty: [x0, y0, x1, y1] needs x0 < x1 and y0 < y1");
    p->kind = DICOM_PROMPT_BOX;
    p->positive = 1;
    p->x0 = v[0], p->y0 = v[1], p->x1 = v[2], p->y1 = v[3];
    return MSA_OK;
}

static msa_status point(const json_t *item, const char *where, dicom_prompt *p, msa_error *err)
{
    double v[2];
    const json_t *positive = json_object_get(item, "positive");
    MSA_TRY(numbers(item, where, "point", 2, v, err));
    if (positive != NULL && !json_is_boolean(positive))
        return refuse(err, where, "positive", "is neither true nor false");
    p->kind = DICOM_PROMPT_POINT;
    p->positive = positive == NULL || json_is_true(positive);
    p->x0 = v[0], p->y0 = v[1];
    return MSA_OK;
}

static msa_status items(const json_t *list, const char *name, bool boxes, const srv_prompt *whole_one,
                        const char *series_uid, srv_prompt *out, msa_error *err)
{
    static const char *const of_box[] = {"box",         "slice",        "sop_instance_uid", "frame", "label",
                                         "tracking_id", "tracking_uid", "category",         "type",  "site",
                                         NULL};
    static const char *const of_point[] = {"point",    "positive", "slice",       "sop_instance_uid",
                                           "frame",    "label",    "tracking_id", "tracking_uid",
                                           "category", "type",     "site",        NULL};
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        char where[48];
        (void)snprintf(where, sizeof where, "%s[%zu]", name, i);
        if (!json_is_object(item)) return refuse(err, where, "", "is not an object");
        (void)snprintf(where, sizeof where, "%s[%zu].", name, i);
        out[i] = *whole_one;
        MSA_TRY(known_members(item, where, boxes ? of_box : of_point, err));
        MSA_TRY(shared_members(item, where, &out[i].prompt, err));
        if (out[i].prompt.label[0] == '\0')
            return refuse(err, where, "label", "is missing, here and in the annotation");
        MSA_TRY(place(item, where, series_uid, &out[i], err));
        MSA_TRY(boxes ? box(item, where, &out[i].prompt, err) : point(item, where, &out[i].prompt, err));
    }
    return MSA_OK;
}

static msa_status list_of(const json_t *body, const char *member, const json_t **list, msa_error *err)
{
    *list = json_object_get(body, member);
    if (*list != NULL && !json_is_array(*list)) return refuse(err, "", member, "is not a list");
    return MSA_OK;
}

msa_status srv_annotation_parse(const json_t *body, srv_prompt **prompts, size_t *n, msa_error *err)
{
    static const char *const known[] = {"series_instance_uid", "label",    "boxes", "points", "tracking_id",
                                        "tracking_uid",        "category", "type",  "site",   NULL};
    const json_t *boxes = NULL, *points = NULL;
    srv_prompt whole_one;
    char series_uid[DICOM_UID_MAX];
    *prompts = NULL;
    *n = 0;
    memset(&whole_one, 0, sizeof whole_one);
    if (!json_is_object(body)) return msa_fail(err, MSA_E_PARSE, "the body is not a JSON object");
    MSA_TRY(known_members(body, "", known, err));
    MSA_TRY(uid(body, "", "series_instance_uid", series_uid, err));
    MSA_TRY(shared_members(body, "", &whole_one.prompt, err));
    MSA_TRY(list_of(body, "boxes", &boxes, err));
    MSA_TRY(list_of(body, "points", &points, err));
    const size_t n_boxes = json_array_size(boxes), n_points = json_array_size(points);
    if (n_boxes + n_points == 0)
        return msa_fail(err, MSA_E_PARSE, "boxes and points are both empty; give at least one");
    if (n_boxes + n_points > ITEMS_MAX)
        return msa_fail(err, MSA_E_PARSE, "boxes and points hold %zu items, at most %d are taken",
                        n_boxes + n_points, ITEMS_MAX);
    MSA_AUTO_FREE srv_prompt *all = calloc(n_boxes + n_points, sizeof *all);
    if (all == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    MSA_TRY(items(boxes, "boxes", true, &whole_one, series_uid, all, err));
    MSA_TRY(items(points, "points", false, &whole_one, series_uid, all + n_boxes, err));
    *prompts = MSA_STEAL(all);
    *n = n_boxes + n_points;
    return MSA_OK;
}
