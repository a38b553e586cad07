#include "engine/segmenter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/volume/crop.h"
#include "engine/volume/depth_windows.h"
#include "engine/volume/embeddings.h"
#include "engine/volume/finish.h"
#include "engine/volume/plan.h"
#include "engine/volume/propagate.h"
#include "engine/volume/select.h"

/* A row of the plan being carried along the normal, one way. */
typedef struct carried {
    msa_track track;
    int32_t row, to; /* to: last slice; == the row's own when it is not carried */
    bool alive;
} carried;

typedef struct job {
    const msa_model *model;
    const msa_volume *volume;
    const msa_object *objects;
    msa_object_result *results;
    int32_t n_objects;
    msa_embedding_cache *cache;
    const atomic_bool *cancel;
    msa_progress_fn *progress;
    void *progress_ctx;
    msa_crop_rule rule;
    msa_plan *plan;
    msa_predictor *predictor;
    msa_embeddings *embeddings;
    msa_finish *finish;
    carried *up, *down;     /* (rows of the plan) */
    float *logits, *iou;    /* (mask_tokens, 4g, 4g), (mask_tokens) */
    uint8_t *mask;          /* (H, W): of one row, before it joins its object */
    float *points, *labels; /* of one row, in input coordinates */
    float *asked;           /* what the decoder was asked last, and which of it lies in logits and iou */
    size_t n_asked;
    int32_t asked_slice;
    msa_transform asked_view;
    int32_t points_room;
    int32_t *marks;  /* (D + 1): scratch of the progress count */
    double *iou_sum; /* (objects) */
    int32_t done;
} job;

static void job_clear(job *j)
{
    msa_plan_free(j->plan);
    msa_embeddings_free(j->embeddings);
    msa_finish_free(j->finish);
    msa_predictor_free(j->predictor);
    free(j->up);
    free(j->down);
    free(j->logits);
    free(j->iou);
    free(j->mask);
    free(j->points);
    free(j->asked);
    free(j->labels);
    free(j->marks);
    free(j->iou_sum);
}

static msa_status check_volume(const msa_volume *v, const msa_object_result *results, int32_t n,
                               msa_error *err)
{
    if (v->D < 1 || v->H < 1 || v->W < 1 || !v->voxels || !v->position_mm)
        return msa_fail(err, MSA_E_INVALID, "the volume is empty");
    for (int32_t o = 0; o < n; o++)
        if (!results[o].mask) return msa_fail(err, MSA_E_INVALID, "object %d has no memory for its mask", o);
    return MSA_OK;
}

msa_status msa_volume_window(const msa_volume *volume, float *lo, float *hi, msa_error *err)
{
    msa_window w;
    MSA_TRY(check_volume(volume, NULL, 0, err));
    MSA_TRY(msa_volume_window_make(&w, volume, err));
    *lo = w.lo;
    *hi = w.hi;
    return MSA_OK;
}

static msa_status job_memory(job *j, msa_error *err)
{
    const msa_config *c = msa_model_config(j->model);
    const size_t low = 4 * (size_t)(c->image_size / c->patch);
    const size_t rows = (size_t)j->plan->n_rows + 1;
    j->up = calloc(rows, sizeof *j->up);
    j->down = calloc(rows, sizeof *j->down);
    j->logits = calloc((size_t)c->mask_tokens * low * low, sizeof *j->logits);
    j->iou = calloc((size_t)c->mask_tokens, sizeof *j->iou);
    j->mask = calloc((size_t)j->volume->H * (size_t)j->volume->W, 1);
    j->marks = calloc((size_t)j->volume->D + 1, sizeof *j->marks);
    j->iou_sum = calloc((size_t)j->n_objects + 1, sizeof *j->iou_sum);
    for (int32_t o = 0; o < j->n_objects; o++)
        if (j->objects[o].n_prompts > j->points_room) j->points_room = j->objects[o].n_prompts;
    j->points = calloc((size_t)j->points_room + 1, 2 * sizeof *j->points);
    j->labels = calloc((size_t)j->points_room + 1, sizeof *j->labels);
    j->asked = calloc(3 * (size_t)j->points_room + 5, sizeof *j->asked);
    j->asked_slice = -1;
    if (!j->up || !j->down || !j->logits || !j->iou || !j->mask || !j->marks || !j->iou_sum || !j->points ||
        !j->labels || !j->asked)
        return msa_fail(err, MSA_E_NOMEM, "out of memory for the masks");
    return MSA_OK;
}

static msa_status job_open(job *j, msa_error *err)
{
    const msa_config *c = msa_model_config(j->model);
    const int32_t low = 4 * (c->image_size / c->patch);
    msa_window window;
    MSA_TRY(check_volume(j->volume, j->results, j->n_objects, err));
    for (int32_t o = 0; o < j->n_objects; o++)
        if (j->objects[o].channel < 0 || j->objects[o].channel >= msa_config_classes(c))
            return msa_fail(err, MSA_E_INVALID, "object %d asks for class %d of a model of %d", o,
                            j->objects[o].channel, msa_config_classes(c));
    MSA_TRY(msa_volume_window_make(&window, j->volume, err));
    MSA_TRY(msa_plan_new(&j->plan, j->volume, j->objects, j->n_objects, err));
    MSA_TRY(job_memory(j, err));
    j->rule = msa_crop_rule_make(c, j->volume->H, j->volume->W, j->volume->spacing_mm);
    const msa_transform whole = msa_crop_whole(&j->rule);
    MSA_TRY(msa_finish_new(&j->finish, &whole, low, err));
    const int32_t stack = msa_depth_windows_make(c, j->volume->D).size;
    MSA_TRY(msa_predictor_new_stack(&j->predictor, j->model, stack, err));
    return msa_embeddings_new(&j->embeddings, j->model, j->volume, &window, j->predictor, j->cache, err);
}

/* What one pass of the decoder is asked. */
typedef struct question {
    int32_t object, slice;
    bool given;         /* by somebody: neither carried nor interpolated */
    const msa_box *box; /* NULL: points only */
    int32_t first_point, n_points;
    msa_region clip;
    msa_transform view; /* what the network sees of the slice, set by look() */
} question;

/* NULL: the question has none, and the plan may have none at all. */
static const float *points_of(const job *j, const question *q)
{
    return q->n_points > 0 ? j->plan->points + 2 * (size_t)q->first_point : NULL;
}

static const bool *signs_of(const job *j, const question *q)
{
    return q->n_points > 0 ? j->plan->positive + q->first_point : NULL;
}

static void look(job *j, question *q)
{
    q->view = q->box ? msa_crop_around(&j->rule, *q->box, points_of(j, q), signs_of(j, q), q->n_points)
                     : msa_crop_whole(&j->rule);
    q->clip = msa_region_intersect(q->clip, msa_transform_region(&q->view));
}

static bool in_view(const msa_transform *view, const float point[2])
{
    const msa_region r = msa_transform_region(view);
    return point[0] >= (float)r.x0 && point[0] <= (float)r.x1 && point[1] >= (float)r.y0 &&
           point[1] <= (float)r.y1;
}

/* A point outside the view can only be a negative one: the view was widened to the others. What the network
 * does not see it need not be told to leave out. */
static void question_prompt(job *j, const question *q, float box[4], msa_prompt_set *set)
{
    const bool swap =
        msa_model_config(j->model)->point_order_yx; /* upstream eras A to C clicked (row, column) */
    int32_t n = 0;
    for (int32_t i = q->first_point; i < q->first_point + q->n_points; i++) {
        const float *point = j->plan->points + 2 * (size_t)i;
        float *to = j->points + 2 * (size_t)n;
        if (!in_view(&q->view, point)) continue;
        msa_transform_to_input(&q->view, point[0], point[1], &to[swap], &to[!swap]);
        j->labels[n++] = j->plan->positive[i] ? 1.0F : 0.0F;
    }
    *set = (msa_prompt_set){.n_points = n};
    if (n > 0) set->points = j->points;
    if (n > 0) set->labels = j->labels;
    if (!q->box) return;
    msa_transform_to_input(&q->view, q->box->x0, q->box->y0, &box[0], &box[1]);
    msa_transform_to_input(&q->view, q->box->x1, q->box->y1, &box[2], &box[3]);
    set->box = box;
}

/* A click names the part it lies in; where a box is given, the box already says what is meant. */
static msa_status keep_clicked(job *j, const question *q, msa_error *err)
{
    const float *points = points_of(j, q);
    int32_t n = 0;
    if (q->box) return MSA_OK;
    for (int32_t i = 0; i < q->n_points; i++) {
        if (!j->plan->positive[q->first_point + i]) continue;
        j->points[2 * n] =
            fminf(points[2 * i], (float)j->volume->W - 0.5F); /* the far edge is in the last pixel */
        j->points[2 * n++ + 1] = fminf(points[2 * i + 1], (float)j->volume->H - 0.5F);
    }
    return msa_mask_keep_touched(j->mask, j->volume->W, q->clip, j->points, n, err);
}

static int32_t choose(const job *j, const question *q, int32_t n_points)
{
    const msa_config *c = msa_model_config(j->model);
    if (msa_config_classes(c) > 1) return j->objects[q->object].channel;
    return msa_select_mask(c, n_points, q->box != NULL, j->iou);
}

static void note_candidates(job *j, const question *q, int32_t token)
{
    msa_candidates *to = &j->results[q->object].candidates;
    const int32_t n = msa_model_config(j->model)->mask_tokens;
    if (!q->given || to->slice >= 0) return;
    to->slice = q->slice;
    to->n = n < MSA_CANDIDATES_MAX ? n : MSA_CANDIDATES_MAX;
    to->chosen = token;
    memcpy(to->iou, j->iou, (size_t)to->n * sizeof *to->iou);
}

/* Objects of several classes ask the same one after the other: the decoder answers once. */
static bool asked_before(job *j, const question *q, const msa_prompt_set *set)
{
    const size_t n = (size_t)set->n_points, size = (set->box ? 4 : 0) + 3 * n;
    float *now = j->asked;
    bool same = j->asked_slice == q->slice && j->n_asked == size &&
                memcmp(&j->asked_view, &q->view, sizeof q->view) == 0;
    if (set->box) {
        same = same && memcmp(now, set->box, 4 * sizeof *now) == 0;
        memcpy(now, set->box, 4 * sizeof *now);
        now += 4;
    }
    if (n > 0) {
        same = same && memcmp(now, set->points, 2 * n * sizeof *now) == 0 &&
               memcmp(now + 2 * n, set->labels, n * sizeof *now) == 0;
        memcpy(now, set->points, 2 * n * sizeof *now);
        memcpy(now + 2 * n, set->labels, n * sizeof *now);
    }
    j->n_asked = size;
    j->asked_slice = q->slice;
    j->asked_view = q->view;
    return same;
}

/* The decoder's masks of a question to j->logits and j->iou. */
static msa_status ask(job *j, const question *q, const msa_prompt_set *set, msa_error *err)
{
    const float *embedding = NULL;
    if (asked_before(j, q, set)) return MSA_OK;
    const int32_t slice = j->asked_slice;
    j->asked_slice = -1; /* until there is an answer */
    MSA_TRY(msa_embeddings_get(j->embeddings, q->slice, &q->view, set->box, &embedding, err));
    MSA_TRY(msa_predictor_decode(j->predictor, embedding, set, j->logits, j->iou, err));
    j->asked_slice = slice;
    return MSA_OK;
}

/* Decodes into j->mask, inside the clip region only. */
static msa_status answer(job *j, question *q, msa_mask_stats *stats, float *iou, msa_error *err)
{
    const msa_config *c = msa_model_config(j->model);
    const size_t low = 4 * (size_t)(c->image_size / c->patch);
    float box[4];
    msa_prompt_set set;
    look(j, q);
    question_prompt(j, q, box, &set);
    MSA_TRY(ask(j, q, &set, err));
    const int32_t token = choose(j, q, set.n_points);
    *iou = j->iou[token];
    if (!isfinite(*iou))
        return msa_fail(err, MSA_E_INTERNAL, "the predicted IoU on slice %d is not finite", q->slice);
    note_candidates(j, q, token);
    msa_finish_aim(j->finish, &q->view);
    MSA_TRY(msa_finish_mask(j->finish, j->logits + (size_t)token * low * low, q->clip, j->mask, err));
    MSA_TRY(keep_clicked(j, q, err));
    *stats = msa_mask_measure(j->mask, j->volume->W, q->clip);
    j->iou_sum[q->object] += (double)*iou;
    return MSA_OK;
}

static void join(job *j, const question *q)
{
    const size_t cols = (size_t)j->volume->W;
    uint8_t *to = j->results[q->object].mask + (size_t)q->slice * (size_t)j->volume->H * cols;
    for (int32_t y = q->clip.y0; y < q->clip.y1; y++)
        for (int32_t x = q->clip.x0; x < q->clip.x1; x++)
            to[(size_t)y * cols + (size_t)x] |= j->mask[(size_t)y * cols + (size_t)x];
}

/* Several tracks of one object end for several reasons: the one that is not the ordinary end is worth
 * telling. */
static void note_stop(job *j, int32_t object, const char *reason)
{
    const char **kept = &j->results[object].stop_reason;
    if (!**kept || strcmp(reason, "the object ended") != 0) *kept = reason;
}

static void start_carrying(job *j, int32_t index, const msa_mask_stats *stats, float iou)
{
    const msa_plan_row *row = &j->plan->rows[index];
    carried *up = &j->up[index];
    carried *down = &j->down[index];
    *up = *down = (carried){.row = index, .to = row->slice};
    if (stats->area == 0) {
        if (row->given) note_stop(j, row->object, "the model found nothing in a prompt");
        return;
    }
    up->track = down->track = msa_track_start(row->has_box ? &row->box : NULL, stats, iou);
    const msa_box box = {(float)stats->box.x0, (float)stats->box.y0, (float)stats->box.x1,
                         (float)stats->box.y1};
    const float mm = msa_track_extent_mm(row->has_box ? row->box : box, j->volume->spacing_mm);
    up->to = msa_plan_within(j->volume, row->slice, row->up_to, mm);
    down->to = msa_plan_within(j->volume, row->slice, row->down_to, mm);
    up->alive = up->to > row->slice;
    down->alive = down->to < row->slice;
}

static msa_status decode_row(job *j, int32_t index, msa_error *err)
{
    const msa_plan_row *row = &j->plan->rows[index];
    const msa_box whole = {0, 0, (float)j->volume->W, (float)j->volume->H};
    const msa_box clip = row->has_box ? msa_box_grow(row->box, MSA_CLIP_FRACTION, MSA_CLIP_PIXELS) : whole;
    question q = {.object = row->object,
                  .slice = row->slice,
                  .given = row->given,
                  .box = row->has_box ? &row->box : NULL,
                  .first_point = row->first_point,
                  .n_points = row->n_points,
                  .clip = msa_box_region(clip, j->volume->H, j->volume->W)};
    msa_mask_stats stats;
    float iou = 0;
    MSA_TRY(answer(j, &q, &stats, &iou, err));
    j->results[row->object].n_prompted++;
    join(j, &q);
    start_carrying(j, index, &stats, iou);
    return MSA_OK;
}

/* Why a track that was still going well goes no further than `slice`. */
static const char *limit_reason(const job *j, const carried *c, int32_t slice)
{
    const int32_t object = j->plan->rows[c->row].object;
    const int32_t step = slice > j->plan->rows[c->row].slice ? 1 : -1;
    if (slice + step < 0 || slice + step >= j->volume->D) return "the end of the volume was reached";
    for (int32_t i = 0; i < j->objects[object].n_prompts;
         i++) /* the rest of the gap is filled from its other end */
        if ((j->objects[object].prompts[i].slice - slice) * step > 0)
            return "the next prompted slice takes over";
    return "the limit of distance was reached";
}

static msa_status carry(job *j, carried *c, int32_t slice, msa_error *err)
{
    const msa_volume *v = j->volume;
    const int32_t object = j->plan->rows[c->row].object;
    const msa_box box = msa_track_next(&c->track, v->H, v->W);
    const int32_t points_before = j->plan->n_points;
    question q = {
        .object = object, .slice = slice, .box = &box, .clip = msa_track_clip(&c->track, box, v->H, v->W)};
    msa_mask_stats stats;
    float iou = 0;
    if (msa_box_empty(box)) {
        c->alive = false;
        note_stop(j, object, "the object left the reach of its prompt");
        return MSA_OK;
    }
    MSA_TRY(msa_plan_gather(j->plan, &j->objects[object], slice, q.clip, &q.first_point, &q.n_points, err));
    MSA_TRY(answer(j, &q, &stats, &iou, err));
    j->plan->n_points = points_before;
    j->results[object].n_propagated++;
    const char *reason = msa_track_step(&c->track, &stats, iou);
    if (!reason) join(j, &q);
    if (!reason && slice == c->to && !j->results[object].stop_reason[0])
        note_stop(j, object, limit_reason(j, c, slice));
    if (reason) note_stop(j, object, reason);
    c->alive = !reason && slice != c->to;
    return MSA_OK;
}

/* Slices still to visit from `slice` on, in the upward and then the downward sweep; a guess until tracks have
 * ended. */
static int32_t slices_left(job *j, int32_t slice, bool upward)
{
    int32_t left = 0;
    for (int32_t pass = upward ? 0 : 1; pass < 2; pass++) {
        int32_t open = 0;
        memset(j->marks, 0, ((size_t)j->volume->D + 1) * sizeof *j->marks);
        for (int32_t i = 0; i < j->plan->n_rows; i++) {
            const msa_plan_row *row = &j->plan->rows[i];
            const bool decoded = !upward || row->slice < slice;
            const carried *c = pass ? &j->down[i] : &j->up[i];
            const int32_t to = !decoded ? (pass ? row->down_to : row->up_to) : c->alive ? c->to : row->slice;
            j->marks[pass ? to : row->slice]++;
            j->marks[(pass ? row->slice - 1 : to) + 1]--; /* downward the row's own slice is done already */
        }
        for (int32_t s = 0; s < j->volume->D; s++) {
            open += j->marks[s];
            const bool ahead = pass ? upward || s <= slice : s >= slice;
            left += open > 0 && ahead;
        }
    }
    return left;
}

static msa_status before_slice(job *j, msa_error *err)
{
    if (j->cancel && atomic_load(j->cancel)) return msa_fail(err, MSA_E_CANCELED, "the job was cancelled");
    return MSA_OK;
}

static void after_slice(job *j, int32_t next, bool upward)
{
    j->done++;
    if (j->progress) j->progress(j->progress_ctx, j->done, j->done + slices_left(j, next, upward));
}

/* Everything prompted, and what is carried towards higher slices. Slices without either cost nothing. */
static msa_status sweep_up(job *j, msa_error *err)
{
    int32_t next_row = 0;
    for (int32_t s = 0; s < j->volume->D; s++) {
        bool visited = false;
        MSA_TRY(before_slice(j, err));
        for (int32_t i = 0; i < next_row; i++) {
            if (!j->up[i].alive) continue;
            MSA_TRY(carry(j, &j->up[i], s, err));
            visited = true;
        }
        for (; next_row < j->plan->n_rows && j->plan->rows[next_row].slice == s; next_row++) {
            MSA_TRY(decode_row(j, next_row, err));
            visited = true;
        }
        if (visited) after_slice(j, s + 1, true);
    }
    return MSA_OK;
}

static msa_status sweep_down(job *j, msa_error *err)
{
    for (int32_t s = j->volume->D - 1; s >= 0; s--) {
        bool visited = false;
        MSA_TRY(before_slice(j, err));
        for (int32_t i = 0; i < j->plan->n_rows; i++) {
            if (!j->down[i].alive || j->plan->rows[i].slice <= s) continue;
            MSA_TRY(carry(j, &j->down[i], s, err));
            visited = true;
        }
        if (visited) after_slice(j, s - 1, false);
    }
    return MSA_OK;
}

static void summarise(job *j)
{
    const size_t pixels = (size_t)j->volume->H * (size_t)j->volume->W;
    for (int32_t o = 0; o < j->n_objects; o++) {
        msa_object_result *r = &j->results[o];
        const int32_t decoded = r->n_prompted + r->n_propagated;
        r->mean_iou = decoded > 0 ? (float)(j->iou_sum[o] / decoded) : 0;
        for (int32_t s = 0; s < j->volume->D; s++) {
            const uint8_t *slice = r->mask + (size_t)s * pixels;
            int64_t n = 0;
            for (size_t i = 0; i < pixels; i++)
                n += slice[i];
            if (n == 0) continue;
            if (r->first_slice < 0) r->first_slice = s;
            r->last_slice = s;
            r->voxels += n;
        }
    }
}

msa_status msa_segment(const msa_model *model, const msa_volume *volume, const msa_object *objects,
                       int32_t n_objects, msa_object_result *results, msa_embedding_cache *cache,
                       const atomic_bool *cancel, msa_progress_fn *progress, void *progress_ctx,
                       msa_error *err)
{
    __attribute__((cleanup(job_clear))) job j = {.model = model,
                                                 .volume = volume,
                                                 .objects = objects,
                                                 .results = results,
                                                 .n_objects = n_objects,
                                                 .cache = cache,
                                                 .cancel = cancel,
                                                 .progress = progress,
                                                 .progress_ctx = progress_ctx};
    MSA_TRY(job_open(&j, err));
    for (int32_t o = 0; o < n_objects; o++) {
        results[o] = (msa_object_result){.mask = results[o].mask,
                                         .first_slice = -1,
                                         .last_slice = -1,
                                         .candidates = {.slice = -1},
                                         .stop_reason = ""};
        memset(results[o].mask, 0, (size_t)volume->D * (size_t)volume->H * (size_t)volume->W);
    }
    if (progress) progress(progress_ctx, 0, slices_left(&j, 0, true));
    MSA_TRY(sweep_up(&j, err));
    MSA_TRY(sweep_down(&j, err));
    summarise(&j);
    return MSA_OK;
}
