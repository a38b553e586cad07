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

/* ---- where an item lies ---- */

/* What all items share: its prompt holds series_uid or frame_of_reference_uid, label, codes, tracking. */
typedef struct items {
    const dicom_prompt *shared;
    srv_prompt *all;
    size_t n, room;
} items;

static msa_status add(items *l, const dicom_prompt *p, msa_error *err)
{
    if (l->n == ITEMS_MAX)
        return msa_fail(err, MSA_E_PARSE,
                        "boxes and points make more than %d prompts (a box counts on each of its slices)",
                        ITEMS_MAX);
    if (l->n == l->room) {
        const size_t room = l->room == 0 ? 16 : 2 * l->room;
        srv_prompt *all = realloc(l->all, room * sizeof *all);
        if (all == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
        l->all = all;
        l->room = room;
    }
    memset(&l->all[l->n], 0, sizeof l->all[l->n]);
    l->all[l->n++].prompt = *p;
    return MSA_OK;
}

static bool has(const json_t *item, const char *member)
{
    return json_object_get(item, member) != NULL;
}

/* `slices`: [first, last]. */
static msa_status range(const json_t *item, const char *where, int32_t *first, int32_t *last, msa_error *err)
{
    const json_t *value = json_object_get(item, "slices");
    const json_t *a = json_array_get(value, 0), *b = json_array_get(value, 1);
    if (json_array_size(value) != 2 || !json_is_integer(a) || !json_is_integer(b))
        return refuse(err, where, "slices",
                      "is not a list of two whole numbers, the first and the last slice");
    if (json_integer_value(a) < 0 || json_integer_value(b) > SLICE_MAX ||
        json_integer_value(a) > json_integer_value(b))
        return refuse(err, where, "slices", "is not an ascending pair in 0..%d", SLICE_MAX);
    *first = (int32_t)json_integer_value(a);
    *last = (int32_t)json_integer_value(b);
    return MSA_OK;
}

/* In pixels: on an instance (and frame), or on a slice or several of the series that the annotation names. */
static msa_status place(const json_t *item, const char *where, dicom_prompt *p, int32_t *first, int32_t *last,
                        msa_error *err)
{
    const bool slice = has(item, "slice"), slices = has(item, "slices"), frame = has(item, "frame");
    const char *member = slice ? "slice" : "slices";
    p->frame = 1;
    *first = *last = 0;
    p->frame_of_reference_uid[0] = '\0';
    MSA_TRY(uid(item, where, "sop_instance_uid", p->sop_instance_uid, err));
    if (slice && slices) return refuse(err, where, "slice", "and slices are both there; give one");
    if (p->sop_instance_uid[0] != '\0') {
        p->series_uid[0] = '\0';
        if (slice || slices)
            return refuse(err, where, member, "and sop_instance_uid are both there; give one");
        return frame ? whole(item, where, "frame", 1, SLICE_MAX, &p->frame, err) : MSA_OK;
    }
    if (frame) return refuse(err, where, "frame", "needs sop_instance_uid beside it");
    if (!slice && !slices)
        return refuse(err, where, "slice", "or sop_instance_uid must say on which image this lies");
    if (p->series_uid[0] == '\0')
        return refuse(err, where, member, "needs series_instance_uid in the annotation");
    if (slices) return range(item, where, first, last, err);
    MSA_TRY(whole(item, where, "slice", 0, SLICE_MAX, first, err));
    *last = *first;
    return MSA_OK;
}

/* In millimetres: nothing says which image, the annotation says which series. */
static msa_status place_mm(const json_t *item, const char *where, const char *member, dicom_prompt *p,
                           msa_error *err)
{
    static const char *const of_pixels[] = {"slice", "slices", "sop_instance_uid", "frame", "box", "point"};
    for (size_t i = 0; i < sizeof of_pixels / sizeof of_pixels[0]; i++)
        if (has(item, of_pixels[i]))
            return refuse(err, where, of_pixels[i], "and %s are both there; give one", member);
    if (p->series_uid[0] == '\0' && p->frame_of_reference_uid[0] == '\0')
        return refuse(err, where, member,
                      "needs series_instance_uid or frame_of_reference_uid in the annotation");
    p->space = DICOM_SPACE_PATIENT;
    p->frame = 1;
    return MSA_OK;
}

/* ---- boxes and points ---- */

static msa_status box_mm(const json_t *item, const char *where, items *l, dicom_prompt *p, msa_error *err)
{
    double v[6];
    int flat = 0;
    MSA_TRY(numbers(item, where, "box_mm", 6, v, err));
    for (int k = 0; k < 3; k++) {
        flat += v[k] == v[k + 3];
        if (v[k] > v[k + 3])
            return refuse(err, where, "box_mm",
                          "is not [x0, y0, z0, x1, y1, z1] with the lower corner first");
    }
    if (flat > 1) return refuse(err, where, "box_mm", "has no area: two of its sides are 0 mm long");
    MSA_TRY(place_mm(item, where, "box_mm", p, err));
    p->x0 = v[0], p->y0 = v[1], p->z0 = v[2], p->x1 = v[3], p->y1 = v[4], p->z1 = v[5];
    return add(l, p, err);
}

/* A box on several slices is a box on each. */
static msa_status box(const json_t *item, const char *where, items *l, dicom_prompt *p, msa_error *err)
{
    double v[4];
    int32_t last = 0;
    p->kind = DICOM_PROMPT_BOX;
    p->positive = 1;
    if (has(item, "box_mm")) return box_mm(item, where, l, p, err);
    MSA_TRY(place(item, where, p, &p->slice, &last, err));
    MSA_TRY(numbers(item, where, "box", 4, v, err));
    if (!(v[0] < v[2]) || !(v[1] < v[3]))
        return refuse(err, where, "box", "is empty: [x0, y0, x1, y1] needs x0 < x1 and y0 < y1");
    p->x0 = v[0], p->y0 = v[1], p->x1 = v[2], p->y1 = v[3];
    for (; p->slice <= last; p->slice++)
        MSA_TRY(add(l, p, err));
    return MSA_OK;
}

static msa_status point(const json_t *item, const char *where, items *l, dicom_prompt *p, msa_error *err)
{
    double v[3] = {0};
    int32_t last = 0;
    const bool mm = has(item, "point_mm");
    const json_t *positive = json_object_get(item, "positive");
    p->kind = DICOM_PROMPT_POINT;
    if (mm)
        MSA_TRY(place_mm(item, where, "point_mm", p, err));
    else
        MSA_TRY(place(item, where, p, &p->slice, &last, err));
    MSA_TRY(numbers(item, where, mm ? "point_mm" : "point", mm ? 3 : 2, v, err));
    if (positive != NULL && !json_is_boolean(positive))
        return refuse(err, where, "positive", "is neither true nor false");
    p->positive = positive == NULL || json_is_true(positive);
    p->x0 = v[0], p->y0 = v[1], p->z0 = v[2];
    return add(l, p, err);
}

#define NAMES "label", "tracking_id", "tracking_uid", "category", "type", "site"

static msa_status read_items(const json_t *list, const char *name, items *l, msa_error *err)
{
    static const char *const of_box[] = {"box",   "box_mm", "slice", "slices", "sop_instance_uid",
                                         "frame", NAMES,    NULL};
    static const char *const of_point[] = {"point", "point_mm", "positive", "slice", "sop_instance_uid",
                                           "frame", NAMES,      NULL};
    const bool boxes = strcmp(name, "boxes") == 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        dicom_prompt p = *l->shared;
        char where[48];
        (void)snprintf(where, sizeof where, "%s[%zu]", name, i);
        if (!json_is_object(item)) return refuse(err, where, "", "is not an object");
        (void)snprintf(where, sizeof where, "%s[%zu].", name, i);
        MSA_TRY(known_members(item, where, boxes ? of_box : of_point, err));
        MSA_TRY(shared_members(item, where, &p, err));
        if (p.label[0] == '\0') return refuse(err, where, "label", "is missing, here and in the annotation");
        MSA_TRY(boxes ? box(item, where, l, &p, err) : point(item, where, l, &p, err));
    }
    return MSA_OK;
}

static msa_status list_of(const json_t *body, const char *member, const json_t **list, msa_error *err)
{
    *list = json_object_get(body, member);
    if (*list != NULL && !json_is_array(*list)) return refuse(err, "", member, "is not a list");
    return MSA_OK;
}

/* What to segment could be said in words, to a model that understands them. */
static msa_status refuse_text(const json_t *body, msa_error *err)
{
    static const char *const members[] = {"text", "texts", "prompt", "prompts"};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        if (has(body, members[i]))
            return msa_fail(err, MSA_E_UNSUPPORTED,
                            "%s: text prompts come with a text model, which this version does not have; "
                            "send boxes, points or a mask",
                            members[i]);
    return MSA_OK;
}

static msa_status read_body(const json_t *body, items *l, dicom_prompt *shared, msa_error *err)
{
    static const char *const known[] = {
        "series_instance_uid", "frame_of_reference_uid", "boxes", "points", NAMES, NULL};
    const json_t *boxes = NULL, *points = NULL;
    if (!json_is_object(body)) return msa_fail(err, MSA_E_PARSE, "the body is not a JSON object");
    MSA_TRY(refuse_text(body, err));
    MSA_TRY(known_members(body, "", known, err));
    MSA_TRY(uid(body, "", "series_instance_uid", shared->series_uid, err));
    MSA_TRY(uid(body, "", "frame_of_reference_uid", shared->frame_of_reference_uid, err));
    if (shared->series_uid[0] != '\0' && shared->frame_of_reference_uid[0] != '\0')
        return refuse(err, "", "series_instance_uid", "and frame_of_reference_uid are both there; give one");
    MSA_TRY(shared_members(body, "", shared, err));
    MSA_TRY(list_of(body, "boxes", &boxes, err));
    MSA_TRY(list_of(body, "points", &points, err));
    const size_t n = json_array_size(boxes) + json_array_size(points);
    if (n == 0) return msa_fail(err, MSA_E_PARSE, "boxes and points are both empty; give at least one");
    if (n > ITEMS_MAX)
        return msa_fail(err, MSA_E_PARSE, "boxes and points hold %zu items, at most %d are taken", n,
                        ITEMS_MAX);
    MSA_TRY(read_items(boxes, "boxes", l, err));
    return read_items(points, "points", l, err);
}

msa_status srv_annotation_parse(const json_t *body, srv_prompt **prompts, size_t *n, msa_error *err)
{
    dicom_prompt shared;
    items l = {.shared = &shared};
    *prompts = NULL;
    *n = 0;
    memset(&shared, 0, sizeof shared);
    const msa_status status = read_body(body, &l, &shared, err);
    if (status != MSA_OK) {
        free(l.all);
        return status;
    }
    *prompts = l.all;
    *n = l.n;
    return MSA_OK;
}
