#include "engine/segmenter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/volume/bits.h"
#include "engine/volume/embeddings.h"
#include "engine/volume/follow.h"
#include "engine/volume/mask_row.h"
#include "engine/volume/plan.h"
#include "engine/volume/propagate.h"
#include "engine/volume/question.h"

#define ANSWER_LIMIT 4.0F /* log odds: how sure the model may be of a pixel, against the greys */

/* A row of the plan being carried along the normal, one way. */
typedef struct carried {
    msa_track track;
    msa_greys greys;
    msa_bits last;       /* its mask on slice `at`; nothing when not alive */
    int32_t row, at, to; /* to: last slice; == the row's own when it is not carried */
    bool alive;
} carried;

typedef struct job {
    const msa_volume *volume;
    const msa_object *objects;
    msa_object_result *results;
    int32_t n_objects, n_tokens;
    const atomic_bool *cancel;
    msa_progress_fn *progress;
    void *progress_ctx;
    msa_plan *plan;
    msa_asker *asker;
    msa_follow *follow;
    carried *up, *down;    /* (rows of the plan) */
    uint8_t *mask, *last;  /* (H, W): of one row, before it joins its object; on the slice before, else 0 */
    float *guess, *answer; /* (H, W) room for a region of log odds: by the greys, by the model or by both */
    int32_t *marks;        /* (D + 1): scratch of the progress count */
    double *iou_sum;       /* (objects) */
    int32_t done;
} job;

static void job_clear(job *j)
{
    for (int32_t i = 0; j->plan && i < j->plan->n_rows; i++) {
        if (j->up) msa_bits_clear(&j->up[i].last);
        if (j->down) msa_bits_clear(&j->down[i].last);
    }
    msa_plan_free(j->plan);
    msa_asker_free(j->asker);
    msa_follow_free(j->follow);
    free(j->up);
    free(j->down);
    free(j->mask);
    free(j->last);
    free(j->guess);
    free(j->answer);
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
    const size_t rows = (size_t)j->plan->n_rows + 1;
    const size_t pixels = (size_t)j->volume->H * (size_t)j->volume->W;
    j->up = calloc(rows, sizeof *j->up);
    j->down = calloc(rows, sizeof *j->down);
    j->mask = calloc(pixels, 1);
    j->last = calloc(pixels, 1);
    j->guess = malloc(pixels * sizeof *j->guess);
    j->answer = malloc(pixels * sizeof *j->answer);
    j->marks = calloc((size_t)j->volume->D + 1, sizeof *j->marks);
    j->iou_sum = calloc((size_t)j->n_objects + 1, sizeof *j->iou_sum);
    if (!j->up || !j->down || !j->mask || !j->last || !j->guess || !j->answer || !j->marks || !j->iou_sum)
        return msa_fail(err, MSA_E_NOMEM, "out of memory for the masks");
    return MSA_OK;
}

static msa_status job_open(job *j, const msa_model *model, msa_embedding_cache *cache, msa_error *err)
{
    const msa_config *c = msa_model_config(model);
    int32_t points = 0;
    msa_window window;
    MSA_TRY(check_volume(j->volume, j->results, j->n_objects, err));
    for (int32_t o = 0; o < j->n_objects; o++) {
        if (j->objects[o].channel < 0 || j->objects[o].channel >= msa_config_classes(c))
            return msa_fail(err, MSA_E_INVALID, "object %d asks for class %d of a model of %d", o,
                            j->objects[o].channel, msa_config_classes(c));
        if (j->objects[o].n_prompts > points) points = j->objects[o].n_prompts;
    }
    MSA_TRY(msa_volume_window_make(&window, j->volume, err));
    MSA_TRY(msa_plan_new(&j->plan, j->volume, j->objects, j->n_objects, err));
    MSA_TRY(job_memory(j, err));
    MSA_TRY(msa_follow_new(&j->follow, j->volume, &window, err));
    j->n_tokens = c->mask_tokens;
    return msa_asker_new(&j->asker, model, j->volume, &window, cache, points, err);
}

/* NULL where there are none: the plan may have none at all. */
static void give_points(const job *j, msa_question *q, int32_t first, int32_t n)
{
    q->points = n > 0 ? j->plan->points + 2 * (size_t)first : NULL;
    q->positive = n > 0 ? j->plan->positive + first : NULL;
    q->n_points = n;
}

static void note_candidates(job *j, const msa_plan_row *row)
{
    msa_candidates *to = &j->results[row->object].candidates;
    if (!row->given || to->slice >= 0) return;
    to->slice = row->slice;
    to->n = j->n_tokens < MSA_CANDIDATES_MAX ? j->n_tokens : MSA_CANDIDATES_MAX;
    to->chosen = msa_answer_token(j->asker);
    memcpy(to->iou, msa_answer_all_iou(j->asker), (size_t)to->n * sizeof *to->iou);
}

static uint8_t probability_of(float log_odds)
{
    const float p = 255 / (1 + expf(-log_odds));
    return (uint8_t)lrintf(log_odds > 0 ? fmaxf(p, 128) : fminf(p, 127));
}

/* j->answer: the log odds inside the question's clip. Of several answers the surest counts, as in the mask.
 */
static void join_probability(job *j, int32_t object, const msa_question *q)
{
    const size_t cols = (size_t)j->volume->W;
    const float *odds = j->answer;
    uint8_t *to = j->results[object].probability + (size_t)q->slice * (size_t)j->volume->H * cols;
    for (int32_t y = q->clip.y0; y < q->clip.y1; y++)
        for (int32_t x = q->clip.x0; x < q->clip.x1; x++, odds++) {
            const size_t at = (size_t)y * cols + (size_t)x;
            const uint8_t p = *odds > 0 && !j->mask[at] ? 0 : probability_of(*odds);
            if (p > to[at]) to[at] = p;
        }
}

static void join(job *j, int32_t object, const msa_question *q)
{
    const size_t cols = (size_t)j->volume->W;
    uint8_t *to = j->results[object].mask + (size_t)q->slice * (size_t)j->volume->H * cols;
    if (j->results[object].probability) join_probability(j, object, q);
    for (int32_t y = q->clip.y0; y < q->clip.y1; y++)
        msa_mask_row_add(to + (size_t)y * cols + (size_t)q->clip.x0,
                         j->mask + (size_t)y * cols + (size_t)q->clip.x0, q->clip.x1 - q->clip.x0);
}

/* Several tracks of one object end for several reasons: the one that is not the ordinary end is worth
 * telling. */
static void note_stop(job *j, int32_t object, const char *reason)
{
    const char **kept = &j->results[object].stop_reason;
    if (!**kept || strcmp(reason, "the object ended") != 0) *kept = reason;
}

static msa_status start_track(job *j, carried *c, const msa_track *track, const msa_greys *greys,
                              msa_region clip, int32_t to, msa_error *err)
{
    const int32_t slice = j->plan->rows[c->row].slice;
    c->track = *track;
    c->greys = *greys;
    c->at = slice;
    c->to = to;
    c->alive = to != slice;
    return c->alive ? msa_bits_pack(&c->last, j->mask, j->volume->W, clip, err) : MSA_OK;
}

static msa_status start_carrying(job *j, int32_t index, const msa_mask_stats *stats, msa_region clip,
                                 msa_error *err)
{
    const msa_plan_row *row = &j->plan->rows[index];
    carried *up = &j->up[index];
    carried *down = &j->down[index];
    *up = *down = (carried){.row = index, .to = row->slice};
    if (stats->area == 0) {
        if (row->given) note_stop(j, row->object, "the model found nothing in a prompt");
        return MSA_OK;
    }
    const msa_box box = row->has_box ? row->box : msa_region_box(stats->box);
    const float mm = msa_track_extent_mm(box, j->volume->spacing_mm);
    const int32_t top = msa_plan_within(j->volume, row->slice, row->up_to, mm);
    const int32_t bottom = msa_plan_within(j->volume, row->slice, row->down_to, mm);
    if (top == row->slice && bottom == row->slice) return MSA_OK;
    msa_greys greys;
    msa_follow_learn(j->follow, row->slice, j->mask, stats, &greys);
    const msa_signs signs = {.iou = msa_answer_iou(j->asker),
                             .fit = msa_follow_fit(j->follow, &greys, row->slice, j->mask, clip)};
    const msa_track track = msa_track_start(&box, stats, &signs);
    MSA_TRY(start_track(j, up, &track, &greys, clip, top, err));
    return start_track(j, down, &track, &greys, clip, bottom, err);
}

static msa_status decode_row(job *j, int32_t index, msa_error *err)
{
    const msa_plan_row *row = &j->plan->rows[index];
    const msa_box whole = {0, 0, (float)j->volume->W, (float)j->volume->H};
    const msa_box clip = row->has_box ? msa_box_grow(row->box, MSA_CLIP_FRACTION, MSA_CLIP_PIXELS) : whole;
    msa_question q = {.slice = row->slice,
                      .channel = j->objects[row->object].channel,
                      .box = row->has_box ? &row->box : NULL,
                      .mask = row->mask,
                      .clip = msa_box_region(clip, j->volume->H, j->volume->W)};
    give_points(j, &q, row->first_point, row->n_points);
    MSA_TRY(msa_ask(j->asker, &q, err));
    note_candidates(j, row);
    MSA_TRY(msa_answer_mask(j->asker, &q, j->mask, err));
    msa_mask_cut(j->mask, j->volume->W, q.clip, q.points, q.positive, q.n_points);
    if (j->results[row->object].probability) MSA_TRY(msa_answer_logits(j->asker, &q, j->answer, err));
    j->iou_sum[row->object] += (double)msa_answer_iou(j->asker);
    j->results[row->object].n_prompted++;
    join(j, row->object, &q);
    const msa_mask_stats stats = msa_mask_measure(j->mask, j->volume->W, q.clip);
    return start_carrying(j, index, &stats, q.clip, err);
}

/* Why a track that was still going well goes no further than `slice`. */
static const char *limit_reason(const job *j, const carried *c, int32_t slice)
{
    const msa_plan_row *row = &j->plan->rows[c->row];
    const msa_object *o = &j->objects[row->object];
    const int32_t step = slice > row->slice ? 1 : -1;
    if (slice + step < 0 || slice + step >= j->volume->D) return "the end of the volume was reached";
    if (o->slices && !o->slices[slice + step]) return "the object may not lie on the slices that follow";
    for (int32_t i = 0; i < o->n_prompts; i++) /* the rest of the gap is filled from its other end */
        if ((o->prompts[i].slice - slice) * step > 0) return "the next prompted slice takes over";
    return "the limit of distance was reached";
}

/* The box of what the greys say; empty when they say nothing. guess (near rows, near cols). */
static msa_box guessed_box(const float *guess, msa_region near)
{
    msa_region box = {near.x1, near.y1, near.x0, near.y0};
    for (int32_t y = near.y0; y < near.y1; y++)
        for (int32_t x = near.x0; x < near.x1; x++) {
            if (*guess++ <= 0) continue;
            if (x < box.x0) box.x0 = x;
            if (x >= box.x1) box.x1 = x + 1;
            if (y < box.y0) box.y0 = y;
            if (y >= box.y1) box.y1 = y + 1;
        }
    return msa_region_box(box);
}

/* Both answers into j->mask, and their sum into j->answer, inside the question's clip. Returns how far they
 * agree (Dice). */
static double combine(job *j, const msa_question *q, msa_region near)
{
    float *answer = j->answer;
    int64_t guessed = 0, answered = 0, both = 0;
    for (int32_t y = q->clip.y0; y < q->clip.y1; y++) {
        const float *guess =
            j->guess + (size_t)(y - near.y0) * (size_t)(near.x1 - near.x0) + (q->clip.x0 - near.x0);
        uint8_t *mask = j->mask + (size_t)y * (size_t)j->volume->W;
        for (int32_t x = q->clip.x0; x < q->clip.x1; x++, answer++, guess++) {
            guessed += *guess > 0;
            answered += *answer > 0;
            both += *guess > 0 && *answer > 0;
            *answer = *guess + fminf(fmaxf(*answer, -ANSWER_LIMIT), ANSWER_LIMIT);
            mask[x] = *answer > 0;
        }
    }
    return guessed + answered > 0 ? 2.0 * (double)both / (double)(guessed + answered) : 0;
}

/* Where the greys say that the object goes, to j->guess. */
static void follow(job *j, const carried *c, int32_t slice, msa_region near)
{
    const size_t cols = (size_t)j->volume->W;
    const msa_region was = c->last.box;
    msa_bits_unpack(&c->last, j->volume->W, j->last);
    msa_follow_guess(j->follow, c->at, slice, j->last, near, &c->greys, j->guess);
    for (int32_t y = was.y0; y < was.y1; y++)
        memset(j->last + (size_t)y * cols + (size_t)was.x0, 0, (size_t)(was.x1 - was.x0));
}

static void stop(job *j, carried *c, const char *reason)
{
    c->alive = false;
    msa_bits_clear(&c->last);
    if (reason) note_stop(j, j->plan->rows[c->row].object, reason);
}

/* Asks the model in the box that the greys suggest. Points on that slice refine it, as on any other. */
static msa_status ask_carried(job *j, msa_question *q, int32_t object, msa_region near, msa_error *err)
{
    const int32_t points_before = j->plan->n_points;
    int32_t first = 0, n = 0;
    MSA_TRY(msa_plan_gather(j->plan, &j->objects[object], q->slice, near, &first, &n, err));
    give_points(j, q, first, n);
    j->plan->n_points = points_before; /* they stay where they are until the next are gathered */
    MSA_TRY(msa_ask(j->asker, q, err));
    j->results[object].n_propagated++;
    j->iou_sum[object] += (double)msa_answer_iou(j->asker);
    return msa_answer_logits(j->asker, q, j->answer, err);
}

static msa_status carry(job *j, carried *c, int32_t slice, msa_error *err)
{
    const msa_volume *v = j->volume;
    const msa_plan_row *row = &j->plan->rows[c->row];
    const int32_t object = row->object;
    const float mm = fabsf(v->position_mm[slice] - v->position_mm[row->slice]);
    const msa_region near = msa_track_next(&c->track, mm, v->spacing_mm, v->H, v->W);
    if (msa_region_empty(near)) return stop(j, c, "the object left the reach of its prompt"), MSA_OK;
    follow(j, c, slice, near);
    const msa_box box = guessed_box(j->guess, near);
    if (msa_box_empty(box)) return stop(j, c, "the object ended"), MSA_OK;
    msa_question q = {.slice = slice, .channel = j->objects[object].channel, .box = &box, .clip = near};
    MSA_TRY(ask_carried(j, &q, object, near, err));
    msa_signs signs = {.iou = msa_answer_iou(j->asker), .agreement = combine(j, &q, near)};
    msa_mask_cut(j->mask, v->W, q.clip, q.points, q.positive, q.n_points);
    signs.fit = msa_follow_fit(j->follow, &c->greys, slice, j->mask, q.clip);
    const msa_mask_stats stats = msa_mask_measure(j->mask, v->W, q.clip);
    const char *reason = msa_track_step(&c->track, &stats, &signs);
    if (reason) return stop(j, c, reason), MSA_OK;
    join(j, object, &q);
    if (slice == c->to) {
        const bool told = j->results[object].stop_reason[0] != 0;
        return stop(j, c, told ? NULL : limit_reason(j, c, slice)), MSA_OK;
    }
    msa_bits_clear(&c->last);
    c->at = slice;
    return msa_bits_pack(&c->last, j->mask, v->W, q.clip, err);
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

/* Set voxels of a slice; the rows that have some join the result's. */
static int64_t count_rows(const job *j, msa_object_result *r, int32_t slice)
{
    const size_t rows = (size_t)j->volume->H, cols = (size_t)j->volume->W;
    int64_t n = 0;
    for (int32_t y = 0; y < j->volume->H; y++) {
        const uint8_t *row = r->mask + ((size_t)slice * rows + (size_t)y) * cols;
        const int64_t here = msa_mask_row_count(row, j->volume->W);
        if (here == 0) continue;
        if (r->first_row < 0 || y < r->first_row) r->first_row = y;
        if (y > r->last_row) r->last_row = y;
        n += here;
    }
    return n;
}

static void summarise(job *j)
{
    for (int32_t o = 0; o < j->n_objects; o++) {
        msa_object_result *r = &j->results[o];
        const int32_t decoded = r->n_prompted + r->n_propagated;
        r->mean_iou = decoded > 0 ? (float)(j->iou_sum[o] / decoded) : 0;
        for (int32_t s = 0; s < j->volume->D; s++) {
            const int64_t n = count_rows(j, r, s);
            if (n == 0) continue;
            if (r->first_slice < 0) r->first_slice = s;
            r->last_slice = s;
            r->voxels += n;
        }
    }
}

static void clear_results(job *j)
{
    const size_t voxels = (size_t)j->volume->D * (size_t)j->volume->H * (size_t)j->volume->W;
    for (int32_t o = 0; o < j->n_objects; o++) {
        j->results[o] = (msa_object_result){.mask = j->results[o].mask,
                                            .probability = j->results[o].probability,
                                            .first_slice = -1,
                                            .last_slice = -1,
                                            .first_row = -1,
                                            .last_row = -1,
                                            .candidates = {.slice = -1},
                                            .stop_reason = "no prompt lies where the object may"};
        memset(j->results[o].mask, 0, voxels);
    }
    for (int32_t i = 0; i < j->plan->n_rows; i++)
        j->results[j->plan->rows[i].object].stop_reason = "";
}

msa_status msa_segment(const msa_model *model, const msa_volume *volume, const msa_object *objects,
                       int32_t n_objects, msa_object_result *results, msa_embedding_cache *cache,
                       const atomic_bool *cancel, msa_progress_fn *progress, void *progress_ctx,
                       msa_error *err)
{
    __attribute__((cleanup(job_clear))) job j = {.volume = volume,
                                                 .objects = objects,
                                                 .results = results,
                                                 .n_objects = n_objects,
                                                 .cancel = cancel,
                                                 .progress = progress,
                                                 .progress_ctx = progress_ctx};
    MSA_TRY(job_open(&j, model, cache, err));
    clear_results(&j);
    if (progress) progress(progress_ctx, 0, slices_left(&j, 0, true));
    MSA_TRY(sweep_up(&j, err));
    MSA_TRY(sweep_down(&j, err));
    summarise(&j);
    return MSA_OK;
}
