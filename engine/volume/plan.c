#include "engine/volume/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/volume/parts.h"
#include "engine/volume/propagate.h"

static msa_box prompt_box(const msa_prompt *p, const msa_volume *v)
{
    return msa_box_clip((msa_box){p->x0, p->y0, p->x1, p->y1}, v->H, v->W);
}

static msa_status check_prompt(const msa_prompt *p, const msa_volume *v, msa_error *err)
{
    const bool box = p->kind == MSA_PROMPT_BOX;
    const size_t pixels = (size_t)v->H * (size_t)v->W;
    if (p->slice < 0 || p->slice >= v->D)
        return msa_fail(err, MSA_E_INVALID, "a prompt lies on slice %d, but slices are 0 to %d", p->slice,
                        v->D - 1);
    if (p->kind == MSA_PROMPT_MASK)
        return p->mask && memchr(p->mask, 1, pixels)
                   ? MSA_OK
                   : msa_fail(err, MSA_E_INVALID, "the mask on slice %d is empty", p->slice);
    if (!isfinite(p->x0) || !isfinite(p->y0) || (box && (!isfinite(p->x1) || !isfinite(p->y1))))
        return msa_fail(err, MSA_E_INVALID, "a prompt on slice %d has a coordinate that is not finite",
                        p->slice);
    if (box && !(p->x0 < p->x1 && p->y0 < p->y1))
        return msa_fail(err, MSA_E_INVALID, "the box on slice %d is empty: it needs x0 < x1 and y0 < y1",
                        p->slice);
    if (box && msa_box_empty(prompt_box(p, v)))
        return msa_fail(err, MSA_E_INVALID,
                        "the box on slice %d lies outside the image of %d columns and %d rows", p->slice,
                        v->W, v->H);
    if (!box && !(p->x0 >= 0 && p->y0 >= 0 && p->x0 <= (float)v->W && p->y0 <= (float)v->H))
        return msa_fail(err, MSA_E_INVALID,
                        "the point on slice %d lies outside the image of %d columns and %d rows", p->slice,
                        v->W, v->H);
    return MSA_OK;
}

static msa_status check_object(const msa_object *o, const msa_volume *v, msa_error *err)
{
    bool prompted = false;
    for (int32_t i = 0; i < o->n_prompts; i++) {
        const msa_prompt *p = &o->prompts[i];
        MSA_TRY(check_prompt(p, v, err));
        prompted = prompted || p->kind != MSA_PROMPT_POINT || p->positive;
    }
    return prompted
               ? MSA_OK
               : msa_fail(err, MSA_E_INVALID, "an object has neither a box nor a mask nor a positive point");
}

static msa_status add_row(msa_plan *p, const msa_plan_row *row, msa_error *err)
{
    if (p->n_rows == MSA_PLAN_ROWS)
        return msa_fail(err, MSA_E_INVALID, "the prompts ask for more than %d masks", MSA_PLAN_ROWS);
    if (p->n_rows == p->rows_room) {
        const int32_t room = p->rows_room ? p->rows_room * 2 : 16;
        msa_plan_row *grown = realloc(p->rows, (size_t)room * sizeof *grown);
        if (!grown) return msa_fail(err, MSA_E_NOMEM, "out of memory for the prompts");
        p->rows = grown;
        p->rows_room = room;
    }
    p->rows[p->n_rows] = *row;
    p->rows[p->n_rows].number = p->n_rows;
    p->n_rows++;
    return MSA_OK;
}

static msa_status add_point(msa_plan *p, const msa_prompt *from, msa_error *err)
{
    if (p->n_points == p->points_room) {
        const int32_t room = p->points_room ? p->points_room * 2 : 16;
        float *points = realloc(p->points, (size_t)room * 2 * sizeof *points);
        if (points) p->points = points;
        bool *positive = realloc(p->positive, (size_t)room * sizeof *positive);
        if (positive) p->positive = positive;
        if (!points || !positive) return msa_fail(err, MSA_E_NOMEM, "out of memory for the prompts");
        p->points_room = room;
    }
    p->points[2 * p->n_points] = from->x0;
    p->points[2 * p->n_points + 1] = from->y0;
    p->positive[p->n_points++] = from->positive;
    return MSA_OK;
}

static bool point_in(const msa_prompt *p, msa_region r)
{
    return p->x0 >= (float)r.x0 && p->x0 <= (float)r.x1 && p->y0 >= (float)r.y0 && p->y0 <= (float)r.y1;
}

msa_status msa_plan_gather(msa_plan *p, const msa_object *object, int32_t slice, msa_region region,
                           int32_t *first, int32_t *n, msa_error *err)
{
    *first = p->n_points;
    for (int32_t i = 0; i < object->n_prompts; i++) {
        const msa_prompt *prompt = &object->prompts[i];
        if (prompt->kind == MSA_PROMPT_POINT && prompt->slice == slice && point_in(prompt, region))
            MSA_TRY(add_point(p, prompt, err));
    }
    *n = p->n_points - *first;
    return MSA_OK;
}

/* ---- marks: boxes, and parts of masks ---- */

typedef struct mark {
    int32_t slice;
    msa_box box;
    const uint8_t *mask; /* NULL: a box */
} mark;

/* Of the object at hand. */
typedef struct marks {
    mark *list;
    int32_t n, room;
    uint8_t *work; /* (H, W), scratch of parts; NULL while no mask has come */
    int32_t *pixels;
    msa_box *lower, *upper; /* (most marks of a slice), scratch */
} marks;

static void marks_clear(marks *m)
{
    free(m->list);
    free(m->work);
    free(m->pixels);
    free(m->lower);
    free(m->upper);
}

static msa_status add_mark(marks *m, const mark *from, msa_error *err)
{
    if (m->n == m->room) {
        const int32_t room = m->room ? 2 * m->room : 16;
        mark *list = realloc(m->list, (size_t)room * sizeof *list);
        if (list) m->list = list;
        msa_box *lower = realloc(m->lower, (size_t)room * sizeof *lower);
        if (lower) m->lower = lower;
        msa_box *upper = realloc(m->upper, (size_t)room * sizeof *upper);
        if (upper) m->upper = upper;
        if (!list || !lower || !upper) return msa_fail(err, MSA_E_NOMEM, "out of memory for the prompts");
        m->room = room;
    }
    m->list[m->n++] = *from;
    return MSA_OK;
}

static msa_status mark_parts(marks *m, const msa_prompt *p, const msa_volume *v, msa_error *err)
{
    const size_t pixels = (size_t)v->H * (size_t)v->W;
    msa_region parts[MSA_PLAN_PARTS];
    if (!m->work) m->work = malloc(pixels);
    if (!m->pixels) m->pixels = malloc(pixels * sizeof *m->pixels);
    if (!m->work || !m->pixels) return msa_fail(err, MSA_E_NOMEM, "out of memory for the prompts");
    const int32_t n = msa_parts_boxes(p->mask, v->H, v->W, parts, MSA_PLAN_PARTS, m->work, m->pixels);
    for (int32_t i = 0; i < n; i++) {
        const mark part = {.slice = p->slice, .box = msa_region_box(parts[i]), .mask = p->mask};
        MSA_TRY(add_mark(m, &part, err));
    }
    return MSA_OK;
}

static bool same_box(msa_box a, msa_box b, float within)
{
    return fabsf(a.x0 - b.x0) <= within && fabsf(a.y0 - b.y0) <= within && fabsf(a.x1 - b.x1) <= within &&
           fabsf(a.y1 - b.y1) <= within;
}

static bool said_before(const marks *m, int32_t slice, msa_box box)
{
    for (int32_t i = 0; i < m->n; i++)
        if (m->list[i].slice == slice && same_box(m->list[i].box, box, m->list[i].mask ? 1 : 0)) return true;
    return false;
}

/* Masks first: a box that says the same says less. */
static msa_status find_marks(marks *m, const msa_object *o, const msa_volume *v, msa_error *err)
{
    m->n = 0;
    for (int32_t i = 0; i < o->n_prompts; i++)
        if (o->prompts[i].kind == MSA_PROMPT_MASK) MSA_TRY(mark_parts(m, &o->prompts[i], v, err));
    for (int32_t i = 0; i < o->n_prompts; i++) {
        if (o->prompts[i].kind != MSA_PROMPT_BOX) continue;
        const mark box = {.slice = o->prompts[i].slice, .box = prompt_box(&o->prompts[i], v)};
        if (!said_before(m, box.slice, box.box)) MSA_TRY(add_mark(m, &box, err));
    }
    return MSA_OK;
}

static int32_t boxes_on(const marks *m, int32_t slice, msa_box *boxes)
{
    int32_t n = 0;
    for (int32_t i = 0; i < m->n; i++)
        if (m->list[i].slice == slice) boxes[n++] = m->list[i].box;
    return n;
}

static bool masks_only(const marks *m, int32_t slice)
{
    for (int32_t i = 0; i < m->n; i++)
        if (m->list[i].slice == slice && !m->list[i].mask) return false;
    return true;
}

/* Nearest marked slices below and above; -1 when there is none. */
static void marked_neighbours(const marks *m, int32_t slice, int32_t *below, int32_t *above)
{
    *below = *above = -1;
    for (int32_t i = 0; i < m->n; i++) {
        const int32_t s = m->list[i].slice;
        if (s < slice && s > *below) *below = s;
        if (s > slice && (*above < 0 || s < *above)) *above = s;
    }
}

/* ---- between marks ---- */

static float center_distance(msa_box a, msa_box b)
{
    return hypotf(a.x0 + a.x1 - b.x0 - b.x1, a.y0 + a.y1 - b.y0 - b.y1);
}

static msa_box bounding(const msa_box *boxes, int32_t n)
{
    msa_box all = boxes[0];
    for (int32_t i = 1; i < n; i++)
        all = msa_box_union(all, boxes[i]);
    return all;
}

/* lower (n), upper (n) become n boxes at t; pairs are taken greedily, nearest centre first come. */
static int32_t interpolate(msa_box *lower, int32_t n_lower, msa_box *upper, int32_t n_upper, float t)
{
    if (n_lower != n_upper) {
        lower[0] = msa_box_between(bounding(lower, n_lower), bounding(upper, n_upper), t);
        return 1;
    }
    for (int32_t i = 0; i < n_lower; i++) {
        int32_t best = i;
        for (int32_t k = i + 1; k < n_upper; k++)
            if (center_distance(lower[i], upper[k]) < center_distance(lower[i], upper[best])) best = k;
        const msa_box pair = upper[best];
        upper[best] = upper[i];
        lower[i] = msa_box_between(lower[i], pair, t);
    }
    return n_lower;
}

/* Into m->lower. */
static int32_t interpolated_on(const marks *m, const msa_volume *v, int32_t slice)
{
    int32_t below = -1;
    int32_t above = -1;
    marked_neighbours(m, slice, &below, &above);
    if (below < 0 || above < 0 || (masks_only(m, below) && masks_only(m, above))) return 0;
    const float from = v->position_mm[below];
    const float whole = v->position_mm[above] - from;
    const float t =
        whole > 0 ? (v->position_mm[slice] - from) / whole : (float)(slice - below) / (float)(above - below);
    const int32_t n_below = boxes_on(m, below, m->lower);
    const int32_t n_above = boxes_on(m, above, m->upper);
    return interpolate(m->lower, n_below, m->upper, n_above, t);
}

static msa_region margin_region(msa_box box, const msa_volume *v)
{
    return msa_box_region(msa_box_grow(box, MSA_CLIP_FRACTION, MSA_CLIP_PIXELS), v->H, v->W);
}

static msa_status add_loose_points(msa_plan *p, const msa_object *o, const msa_volume *v,
                                   const msa_plan_row *like, const msa_box *boxes, int32_t n_boxes,
                                   msa_error *err)
{
    msa_plan_row row = {.object = like->object,
                        .slice = like->slice,
                        .given = true,
                        .up_to = like->slice,
                        .down_to = like->slice,
                        .first_point = p->n_points};
    bool any_positive = false;
    for (int32_t i = 0; i < o->n_prompts; i++) {
        const msa_prompt *prompt = &o->prompts[i];
        bool held = prompt->kind != MSA_PROMPT_POINT || prompt->slice != row.slice;
        for (int32_t b = 0; b < n_boxes && !held; b++)
            held = point_in(prompt, margin_region(boxes[b], v));
        if (held) continue;
        MSA_TRY(add_point(p, prompt, err));
        any_positive = any_positive || prompt->positive;
    }
    row.n_points = p->n_points - row.first_point;
    if (any_positive) return add_row(p, &row, err);
    p->n_points = row.first_point; /* negative points alone prompt nothing */
    return MSA_OK;
}

static msa_status add_boxed(msa_plan *p, const msa_volume *v, const msa_object *o, msa_plan_row *row,
                            msa_error *err)
{
    MSA_TRY(msa_plan_gather(p, o, row->slice, margin_region(row->box, v), &row->first_point, &row->n_points,
                            err));
    return add_row(p, row, err);
}

static msa_status plan_slice(msa_plan *p, const msa_volume *v, const msa_object *o, int32_t object,
                             int32_t slice, const marks *m, msa_error *err)
{
    msa_plan_row row = {.object = object, .slice = slice, .has_box = true, .up_to = slice, .down_to = slice};
    int32_t n = 0;
    if (o->slices && !o->slices[slice]) return MSA_OK;
    row.given = true;
    for (int32_t i = 0; i < m->n; i++) {
        if (m->list[i].slice != slice) continue;
        row.box = m->lower[n++] = m->list[i].box;
        row.mask = m->list[i].mask;
        MSA_TRY(add_boxed(p, v, o, &row, err));
    }
    if (n > 0 || m->n == 0) return add_loose_points(p, o, v, &row, m->lower, n, err);
    row.given = false;
    row.mask = NULL;
    n = interpolated_on(m, v, slice);
    for (int32_t i = 0; i < n; i++) {
        row.box = m->lower[i];
        MSA_TRY(add_boxed(p, v, o, &row, err));
    }
    return add_loose_points(p, o, v, &row, m->lower, n, err);
}

int32_t msa_plan_within(const msa_volume *volume, int32_t slice, int32_t to, float mm)
{
    const int32_t step = to < slice ? -1 : 1;
    int32_t reached = slice;
    while (reached != to && abs(reached + step - slice) <= MSA_EXTENT_SLICES &&
           fabsf(volume->position_mm[reached + step] - volume->position_mm[slice]) <= mm)
        reached += step;
    return reached;
}

static bool many_marked_slices(const msa_object *o)
{
    int32_t first = -1;
    for (int32_t i = 0; i < o->n_prompts; i++) {
        if (o->prompts[i].kind == MSA_PROMPT_POINT) continue;
        if (first >= 0 && o->prompts[i].slice != first) return true;
        first = o->prompts[i].slice;
    }
    return false;
}

/* Whether a row is not carried towards the object's next one, -1 when there is none: boxes and masks on
 * several slices say where the object ends, masks also that there is nothing between them. */
static bool stays(const msa_plan_row *row, const msa_object *o, int32_t next)
{
    return row->has_box && (next < 0 || row->mask) && many_marked_slices(o);
}

/* From `slice` towards `to`, as far as the object may lie. */
static int32_t allowed_until(const msa_object *o, int32_t slice, int32_t to)
{
    const int32_t step = to < slice ? -1 : 1;
    int32_t reached = slice;
    while (reached != to && (!o->slices || o->slices[reached + step]))
        reached += step;
    return reached;
}

/* The slice where the object was last prompted before this row's; ends[object] = {this slice, the one
 * before}. */
static int32_t previous_slice(int32_t (*ends)[2], const msa_plan_row *row)
{
    int32_t *end = ends[row->object];
    if (end[0] != row->slice) {
        end[1] = end[0];
        end[0] = row->slice;
    }
    return end[1];
}

/**
 * How far rows are carried: outwards to the end of the volume, inwards to the middle of the gap to the next
 * prompted slice, where the other side takes over; in either case within the extent of the box.
 * ends (n_objects) all -1.
 */
static void plan_up(msa_plan *p, const msa_volume *v, const msa_object *objects, int32_t (*ends)[2])
{
    for (int32_t i = p->n_rows - 1; i >= 0; i--) {
        msa_plan_row *row = &p->rows[i];
        const int32_t above = previous_slice(ends, row);
        const float mm = row->has_box ? msa_track_extent_mm(row->box, v->spacing_mm) : MSA_EXTENT_MAX_MM;
        int32_t to = v->D - 1;
        if (stays(row, &objects[row->object], above))
            to = row->slice;
        else if (above >= 0)
            to = row->slice + (above - row->slice) / 2;
        to = allowed_until(&objects[row->object], row->slice, to);
        row->up_to = msa_plan_within(v, row->slice, to, mm);
    }
}

static void plan_down(msa_plan *p, const msa_volume *v, const msa_object *objects, int32_t (*ends)[2])
{
    for (int32_t i = 0; i < p->n_rows; i++) {
        msa_plan_row *row = &p->rows[i];
        const int32_t below = previous_slice(ends, row);
        const float mm = row->has_box ? msa_track_extent_mm(row->box, v->spacing_mm) : MSA_EXTENT_MAX_MM;
        int32_t to = 0;
        if (stays(row, &objects[row->object], below))
            to = row->slice;
        else if (below >= 0)
            to = row->slice - (row->slice - below - 1) / 2;
        to = allowed_until(&objects[row->object], row->slice, to);
        row->down_to = msa_plan_within(v, row->slice, to, mm);
    }
}

static msa_status plan_carry(msa_plan *p, const msa_volume *v, const msa_object *objects, int32_t n_objects,
                             msa_error *err)
{
    const size_t size = ((size_t)n_objects + 1) * sizeof(int32_t[2]);
    MSA_AUTO_FREE int32_t(*ends)[2] = malloc(size);
    if (!ends) return msa_fail(err, MSA_E_NOMEM, "out of memory for the prompts");
    memset(ends, 0xFF, size);
    plan_up(p, v, objects, ends);
    memset(ends, 0xFF, size);
    plan_down(p, v, objects, ends);
    return MSA_OK;
}

static int by_slice(const void *a, const void *b)
{
    const msa_plan_row *p = a, *q = b;
    if (p->slice != q->slice) return p->slice < q->slice ? -1 : 1;
    if (p->object != q->object) return p->object < q->object ? -1 : 1;
    return p->number < q->number ? -1 : p->number > q->number;
}

/* Objects one by one, so that a mask is taken apart once; then slice by slice, as they are decoded. */
msa_status msa_plan_new(msa_plan **out, const msa_volume *volume, const msa_object *objects,
                        int32_t n_objects, msa_error *err)
{
    MSA_AUTO(msa_plan) p = calloc(1, sizeof *p);
    __attribute__((cleanup(marks_clear))) marks m = {0};
    *out = NULL;
    if (!p) return msa_fail(err, MSA_E_NOMEM, "out of memory for the prompts");
    for (int32_t o = 0; o < n_objects; o++)
        MSA_TRY(check_object(&objects[o], volume, err));
    for (int32_t o = 0; o < n_objects; o++) {
        MSA_TRY(find_marks(&m, &objects[o], volume, err));
        for (int32_t s = 0; s < volume->D; s++)
            MSA_TRY(plan_slice(p, volume, &objects[o], o, s, &m, err));
    }
    if (p->n_rows > 0) qsort(p->rows, (size_t)p->n_rows, sizeof *p->rows, by_slice);
    MSA_TRY(plan_carry(p, volume, objects, n_objects, err));
    *out = MSA_STEAL(p);
    return MSA_OK;
}

void msa_plan_free(msa_plan *p)
{
    if (!p) return;
    free(p->rows);
    free(p->points);
    free(p->positive);
    free(p);
}
