#include "server/segment/lay.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What counts as on a plane, of the distance of two slices: rounded coordinates, decimal strings. */
#define ON_PLANE 1e-2

void srv_laid_free(srv_laid *l)
{
    if (!l) return;
    for (size_t i = 0; i < l->n_masks; i++)
        free(l->masks[i]);
    free(l->masks);
    free(l->prompts);
    free(l->first);
    free(l->slices);
    free(l);
}

msa_status srv_laid_add(srv_laid *l, const msa_prompt *p, msa_error *err)
{
    if (l->n == l->room) {
        const size_t room = l->room ? 2 * l->room : 16;
        msa_prompt *grown = realloc(l->prompts, room * sizeof *grown);
        if (!grown) return msa_fail(err, MSA_E_NOMEM, "out of memory for the prompts");
        l->prompts = grown;
        l->room = room;
    }
    l->prompts[l->n++] = *p;
    return MSA_OK;
}

/* ---- on an image ---- */

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

/* Adds a box or point in pixels, unless it is empty or lies outside: then *why says so. */
static msa_status add_pixels(srv_laid *l, const dicom_volume_info *info, bool is_box, bool positive,
                             int32_t slice, const double v[4], const char **why, msa_error *err)
{
    if (is_box && !(v[0] < v[2] && v[1] < v[3]))
        *why = "a box is empty: it needs x0 < x1 and y0 < y1";
    else if (is_box && (v[2] <= 0 || v[3] <= 0 || v[0] >= info->cols || v[1] >= info->rows))
        *why = "a box lies outside the image";
    else if (!is_box && (v[0] < 0 || v[1] < 0 || v[0] > info->cols || v[1] > info->rows))
        *why = "a point lies outside the image";
    if (*why) return MSA_OK;
    msa_prompt p = {.kind = is_box ? MSA_PROMPT_BOX : MSA_PROMPT_POINT, .slice = slice, .positive = positive};
    p.x0 = (float)fmax(v[0], -1e6);
    p.y0 = (float)fmax(v[1], -1e6);
    if (is_box) {
        p.x1 = (float)fmin(v[2], 1e6);
        p.y1 = (float)fmin(v[3], 1e6);
    }
    return srv_laid_add(l, &p, err);
}

static msa_status add_on_image(srv_laid *l, const dicom_series *series, const dicom_prompt *p,
                               const char **why, msa_error *err)
{
    const double v[4] = {p->x0, p->y0, p->x1, p->y1};
    const int32_t slice = slice_of(p, series, why);
    if (*why) return MSA_OK;
    return add_pixels(l, dicom_series_info(series), p->kind == DICOM_PROMPT_BOX, p->positive != 0, slice, v,
                      why, err);
}

/* ---- in space ---- */

static double dot(const double a[3], const double b[3])
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

/* A place in the patient as column and row on a slice: its outer corner is (0, 0), origin_mm is half a pixel
 * in.
 */
static void to_pixel(const dicom_volume_info *info, int32_t slice, const double at[3], double *x, double *y)
{
    const double *o = info->slice[slice].origin_mm;
    const double d[3] = {at[0] - o[0], at[1] - o[1], at[2] - o[2]};
    *x = dot(d, info->row_dir) / info->spacing_mm[1] + 0.5;
    *y = dot(d, info->col_dir) / info->spacing_mm[0] + 0.5;
}

/* The slice nearest to this height along the normal, if it is within half a step; else -1. */
static int32_t nearest_slice(const dicom_volume_info *info, double height)
{
    int32_t best = 0;
    for (int32_t k = 1; k < info->slices; k++)
        if (fabs(info->slice[k].position_mm - height) < fabs(info->slice[best].position_mm - height))
            best = k;
    return fabs(info->slice[best].position_mm - height) <= (0.5 + ON_PLANE) * info->step_mm ? best : -1;
}

static msa_status add_point(srv_laid *l, const dicom_volume_info *info, const dicom_prompt *p,
                            const char **why, msa_error *err)
{
    const double at[3] = {p->x0, p->y0, p->z0};
    const int32_t slice = nearest_slice(info, dot(at, info->normal));
    double v[4] = {0};
    if (slice < 0) {
        *why = "a point lies on no slice of the series";
        return MSA_OK;
    }
    to_pixel(info, slice, at, &v[0], &v[1]);
    return add_pixels(l, info, false, p->positive != 0, slice, v, why, err);
}

typedef struct body { /* an upright box and how far along the normal each corner lies */
    double corner[8][3], height[8], low, high;
} body;

static body body_of(const dicom_volume_info *info, const dicom_prompt *p)
{
    body b = {.low = INFINITY, .high = -INFINITY};
    for (int k = 0; k < 8; k++) {
        b.corner[k][0] = k & 1 ? p->x1 : p->x0;
        b.corner[k][1] = k & 2 ? p->y1 : p->y0;
        b.corner[k][2] = k & 4 ? p->z1 : p->z0;
        b.height[k] = dot(b.corner[k], info->normal);
        b.low = fmin(b.low, b.height[k]);
        b.high = fmax(b.high, b.height[k]);
    }
    return b;
}

static void include(const dicom_volume_info *info, int32_t slice, const double at[3], double v[4])
{
    double x = 0;
    double y = 0;
    to_pixel(info, slice, at, &x, &y);
    v[0] = fmin(v[0], x), v[1] = fmin(v[1], y);
    v[2] = fmax(v[2], x), v[3] = fmax(v[3], y);
}

/* The rectangle around the cut through the body at this height, in pixels of the slice. */
static void cut(const body *b, const dicom_volume_info *info, int32_t slice, double height, double v[4])
{
    v[0] = v[1] = INFINITY;
    v[2] = v[3] = -INFINITY;
    for (int i = 0; i < 8; i++) {
        if (fabs(b->height[i] - height) <= 1e-3 * info->step_mm) include(info, slice, b->corner[i], v);
        for (int axis = 1; axis < 8; axis *= 2) {
            const int j = i ^ axis;
            if (i > j || (b->height[i] - height) * (b->height[j] - height) >= 0) continue;
            const double t = (height - b->height[i]) / (b->height[j] - b->height[i]);
            double at[3];
            for (int k = 0; k < 3; k++)
                at[k] = b->corner[i][k] + t * (b->corner[j][k] - b->corner[i][k]);
            include(info, slice, at, v);
        }
    }
}

static msa_status add_box(srv_laid *l, const dicom_volume_info *info, const dicom_prompt *p, const char **why,
                          msa_error *err)
{
    const body b = body_of(info, p);
    const size_t before = l->n;
    const char *reason = NULL;
    bool crosses = false;
    double v[4];
    for (int32_t k = 0; k < info->slices; k++) {
        const double at = info->slice[k].position_mm, slack = ON_PLANE * info->step_mm;
        if (at < b.low - slack || at > b.high + slack) continue;
        crosses = true;
        reason = NULL;
        cut(&b, info, k, fmin(fmax(at, b.low), b.high), v);
        MSA_TRY(add_pixels(l, info, true, true, k, v, &reason, err));
    }
    const double middle = (b.low + b.high) / 2;
    const int32_t near = crosses ? -1 : nearest_slice(info, middle);
    if (near >= 0) {
        cut(&b, info, near, middle, v);
        MSA_TRY(add_pixels(l, info, true, true, near, v, &reason, err));
    }
    if (l->n == before) *why = reason ? reason : "a box crosses no slice of the series";
    return MSA_OK;
}

/* ---- all of them ---- */

static bool is_finite(const dicom_prompt *p)
{
    return isfinite(p->x0) && isfinite(p->y0) && isfinite(p->z0) && isfinite(p->x1) && isfinite(p->y1) &&
           isfinite(p->z1);
}

/* An instance of several frames may be named as a whole. */
static msa_status mark_key_image(srv_laid *l, const dicom_volume_info *info, const dicom_prompt *p,
                                 const char **why, msa_error *err)
{
    bool found = false;
    for (int32_t k = 0; k < info->slices; k++) {
        const dicom_slice *s = &info->slice[k];
        const bool same_frame = p->frame == 0 || s->frame == 0 || s->frame == p->frame;
        if (!same_frame || strcmp(s->sop_instance_uid, p->sop_instance_uid) != 0) continue;
        if (!l->slices) l->slices = calloc((size_t)info->slices, 1);
        if (!l->slices) return msa_fail(err, MSA_E_NOMEM, "out of memory for the prompts");
        l->slices[k] = 1;
        found = true;
    }
    if (!found) *why = "a key image is not in the volume";
    return MSA_OK;
}

static msa_status lay(srv_laid *l, const srv_segment_request *request, size_t i, srv_region_files **files,
                      msa_error *err)
{
    const dicom_prompt *p = &request->prompts[i];
    const dicom_volume_info *info = dicom_series_info(request->series);
    const char *why = NULL;
    char long_why[160] = "";
    if (!is_finite(p))
        why = "a prompt has a coordinate that is not a number";
    else if (!p->sop_instance_uid[0] && p->series_uid[0] && strcmp(p->series_uid, info->series_uid) != 0)
        why = "a prompt refers to another series";
    else if (p->kind == DICOM_PROMPT_KEY_IMAGE)
        MSA_TRY(mark_key_image(l, info, p, &why, err));
    else if (p->kind == DICOM_PROMPT_REGION)
        MSA_TRY(srv_laid_add_region(l, request, i, files, long_why, err));
    else if (p->kind != DICOM_PROMPT_BOX && p->kind != DICOM_PROMPT_POINT)
        why = "a prompt is of an unknown kind";
    else if (p->space == DICOM_SPACE_IMAGE)
        MSA_TRY(add_on_image(l, request->series, p, &why, err));
    else if (p->kind == DICOM_PROMPT_BOX)
        MSA_TRY(add_box(l, info, p, &why, err));
    else
        MSA_TRY(add_point(l, info, p, &why, err));
    if (!why && long_why[0]) why = long_why;
    if (why && l->n_left_out++ == 0) (void)snprintf(l->why, sizeof l->why, "%s", why);
    return MSA_OK;
}

msa_status srv_laid_new(srv_laid **out, const srv_segment_request *request, msa_error *err)
{
    MSA_AUTO(srv_laid) l = calloc(1, sizeof *l);
    MSA_AUTO(srv_region_files) files = NULL;
    *out = NULL;
    if (l) l->first = calloc(request->n_prompts + 1, sizeof *l->first);
    if (!l || !l->first) return msa_fail(err, MSA_E_NOMEM, "out of memory for the prompts");
    for (size_t i = 0; i < request->n_prompts; i++) {
        MSA_TRY(lay(l, request, i, &files, err));
        l->first[i + 1] = l->n;
    }
    *out = MSA_STEAL(l);
    return MSA_OK;
}
