#include "engine/train/sampling.h"

#include <math.h>
#include <stdlib.h>

#define IOU_TOLERANCE 0.02
#define IOU_TRIES     64

bool msa_mask_box(const uint8_t *mask, int32_t rows, int32_t cols, msa_box *box)
{
    int32_t x0 = cols, y0 = rows, x1 = -1, y1 = -1;
    for (int32_t y = 0; y < rows; y++)
        for (int32_t x = 0; x < cols; x++) {
            if (mask[(int64_t)y * cols + x] == 0) continue;
            if (x < x0) x0 = x;
            if (x > x1) x1 = x;
            if (y < y0) y0 = y;
            y1 = y;
        }
    *box = (msa_box){(float)x0, (float)y0, (float)(x1 + 1), (float)(y1 + 1)};
    return x1 >= 0;
}

/* ---- random prompts ---- */

/* What a pixel is wrong about: 1 missed, -1 added, 0 nothing. predicted NULL: nothing yet. */
static int wrong(const uint8_t *predicted, const uint8_t *target, int64_t i)
{
    const int have = predicted != NULL && predicted[i] != 0, want = target[i] != 0;
    return want - have;
}

/* The k-th pixel whose error is `kind` (0: any). */
static int64_t find_wrong(const uint8_t *predicted, const uint8_t *target, int64_t n, int kind, int64_t k)
{
    for (int64_t i = 0; i < n; i++) {
        const int is = wrong(predicted, target, i);
        if (is != 0 && (kind == 0 || is == kind) && k-- == 0) return i;
    }
    return -1;
}

static msa_click click_at(int64_t i, int32_t cols, bool positive)
{
    return (msa_click){(int32_t)(i / cols), (int32_t)(i % cols), positive};
}

msa_click msa_sample_click(msa_random *r, const uint8_t *mask, int32_t rows, int32_t cols)
{
    msa_click click = {0};
    if (!msa_sample_error_click(r, NULL, mask, rows, cols, MSA_ERROR_BY_AREA, &click))
        click = click_at(msa_random_below(r, (int64_t)rows * cols), cols, false);
    return click;
}

bool msa_sample_error_click(msa_random *r, const uint8_t *predicted, const uint8_t *target, int32_t rows,
                            int32_t cols, msa_error_choice choice, msa_click *click)
{
    const int64_t n = (int64_t)rows * cols;
    int64_t missed = 0, added = 0;
    for (int64_t i = 0; i < n; i++) {
        const int is = wrong(predicted, target, i);
        missed += is > 0;
        added += is < 0;
    }
    if (missed + added == 0) return false;
    int kind = 0;
    if (choice == MSA_ERROR_EVEN) {
        const bool heads = msa_random_below(r, 2) == 0;
        kind = added == 0 || (missed > 0 && heads) ? 1 : -1;
    }
    const int64_t count = kind == 0 ? missed + added : kind > 0 ? missed : added;
    const int64_t at = find_wrong(predicted, target, n, kind, msa_random_below(r, count));
    *click = click_at(at, cols, wrong(predicted, target, at) > 0);
    return true;
}

static double move(msa_random *r, double deviation, double limit)
{
    return fmin(fmax(deviation * msa_random_normal(r), -limit), limit);
}

/* low < high inside 0 .. size, at least one pixel apart. */
static void keep_apart(float *low, float *high, int32_t size)
{
    if (*low > *high) {
        const float swap = *low;
        *low = *high;
        *high = swap;
    }
    *low = fminf(fmaxf(*low, 0), (float)size - 1);
    *high = fminf(fmaxf(*high, *low + 1), (float)size);
}

msa_box msa_sample_box(msa_random *r, msa_box tight, double fraction, double limit, int32_t rows,
                       int32_t cols)
{
    const double w = fraction * (double)(tight.x1 - tight.x0), h = fraction * (double)(tight.y1 - tight.y0);
    msa_box b = tight;
    b.x0 += (float)move(r, w, limit);
    b.y0 += (float)move(r, h, limit);
    b.x1 += (float)move(r, w, limit);
    b.y1 += (float)move(r, h, limit);
    keep_apart(&b.x0, &b.x1, cols);
    keep_apart(&b.y0, &b.y1, rows);
    return b;
}

/* ---- boxes of a given overlap ---- */

static double area(msa_box b)
{
    return msa_box_empty(b) ? 0 : (double)(b.x1 - b.x0) * (double)(b.y1 - b.y0);
}

double msa_box_iou(msa_box a, msa_box b)
{
    const double both = area(msa_box_intersect(a, b)), either = area(a) + area(b) - both;
    return either > 0 ? both / either : 0;
}

/* How a box may change: its centre moves by dx, dy of its size, its sides grow e^(t sx), e^(t sy) times. */
typedef struct change {
    double dx, dy, sx, sy;
} change;

static msa_box changed(msa_box b, const change *c, double t, int32_t rows, int32_t cols)
{
    const double w = (double)(b.x1 - b.x0), h = (double)(b.y1 - b.y0);
    const double x = (double)(b.x0 + b.x1) / 2 + t * c->dx * w, y = (double)(b.y0 + b.y1) / 2 + t * c->dy * h;
    const double half_w = w / 2 * exp(t * c->sx), half_h = h / 2 * exp(t * c->sy);
    const msa_box moved = {(float)(x - half_w), (float)(y - half_h), (float)(x + half_w),
                           (float)(y + half_h)};
    return msa_box_clip(moved, rows, cols);
}

msa_box msa_sample_box_of_iou(msa_random *r, msa_box tight, double wanted, int32_t rows, int32_t cols)
{
    for (int try = 0; try < IOU_TRIES; try++) {
        const change c = {msa_random_range(r, -1, 1), msa_random_range(r, -1, 1), msa_random_range(r, -1, 1),
                          msa_random_range(r, -1, 1)};
        double low = 0, high = 4; /* overlap `wanted` or more at low; usually less at high */
        for (int step = 0; step < 40; step++) {
            const double t = (low + high) / 2;
            if (msa_box_iou(tight, changed(tight, &c, t, rows, cols)) >= wanted)
                low = t;
            else
                high = t;
        }
        const msa_box b = changed(tight, &c, low, rows, cols);
        if (fabs(msa_box_iou(tight, b) - wanted) <= IOU_TOLERANCE) return b;
    }
    /* A box that fills the image can only shrink. */
    const change shrink = {0, 0, log(wanted) / 2, log(wanted) / 2};
    return changed(tight, &shrink, 1, rows, cols);
}

/* ---- the click of an evaluation ---- */

typedef struct plane {
    int32_t rows, cols;
    int32_t *label;  /* 0: right; else the component, from 1 */
    int32_t *queue;  /* pixels still to be grown from */
    int32_t *column; /* distance to the border along the column */
} plane;

/* Grows from pixel `start` over neighbours with the same error; returns the area. */
static int64_t grow(const plane *p, const uint8_t *predicted, const uint8_t *target, int32_t start,
                    int32_t label)
{
    const int kind = wrong(predicted, target, start);
    int64_t n = 1;
    p->queue[0] = start;
    p->label[start] = label;
    for (int64_t next = 0; next < n; next++) {
        const int32_t y = p->queue[next] / p->cols, x = p->queue[next] % p->cols;
        for (int32_t ny = y - 1; ny <= y + 1; ny++)
            for (int32_t nx = x - 1; nx <= x + 1; nx++) {
                if (ny < 0 || nx < 0 || ny >= p->rows || nx >= p->cols) continue;
                const int32_t i = ny * p->cols + nx;
                if (p->label[i] != 0 || wrong(predicted, target, i) != kind) continue;
                p->label[i] = label;
                p->queue[n++] = i;
            }
    }
    return n;
}

/* The first largest component in reading order; 0: none. */
static int32_t largest(const plane *p, const uint8_t *predicted, const uint8_t *target)
{
    int32_t best = 0, labels = 0;
    int64_t most = 0;
    for (int32_t i = 0; i < p->rows * p->cols; i++) {
        if (p->label[i] != 0 || wrong(predicted, target, i) == 0) continue;
        const int64_t n = grow(p, predicted, target, i, ++labels);
        if (n > most) {
            most = n;
            best = labels;
        }
    }
    return best;
}

/* Steps up or down to the nearest pixel outside the component; the row above the image is outside. */
static void column_distances(const plane *p, int32_t label)
{
    for (int32_t x = 0; x < p->cols; x++) {
        int32_t away = 0;
        for (int32_t y = 0; y < p->rows; y++) {
            const int32_t i = y * p->cols + x;
            away = p->label[i] == label ? away + 1 : 0;
            p->column[i] = away;
        }
        away = 0;
        for (int32_t y = p->rows - 1; y >= 0; y--) {
            const int32_t i = y * p->cols + x;
            away = p->label[i] == label ? away + 1 : 0;
            if (away < p->column[i]) p->column[i] = away;
        }
    }
}

/* Squared distance of (y, x) to the border: whole numbers, so that ties are ties. */
static int64_t border_distance(const plane *p, int32_t y, int32_t x)
{
    const int32_t *column = p->column + (int64_t)y * p->cols;
    int64_t best = (int64_t)column[x] * column[x];
    for (int32_t away = 1; (int64_t)away * away < best; away++) {
        const int64_t across = (int64_t)away * away;
        const int64_t left = x - away < 0 ? 0 : column[x - away];
        const int64_t right = x + away >= p->cols ? 0 : column[x + away];
        const int64_t down = left < right ? left : right;
        if (across + down * down < best) best = across + down * down;
    }
    return best;
}

msa_status msa_error_click(const uint8_t *predicted, const uint8_t *target, int32_t rows, int32_t cols,
                           msa_click *click, bool *found, msa_error *err)
{
    const size_t n = (size_t)rows * (size_t)cols;
    MSA_AUTO_FREE int32_t *memory = calloc(3 * n, sizeof *memory);
    if (memory == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory to choose a click");
    const plane p = {rows, cols, memory, memory + n, memory + 2 * n};
    const int32_t label = largest(&p, predicted, target);
    *found = label != 0;
    if (label == 0) return MSA_OK;
    column_distances(&p, label);
    int64_t farthest = 0;
    for (int32_t y = 0; y < rows; y++)
        for (int32_t x = 0; x < cols; x++) {
            const int64_t i = (int64_t)y * cols + x;
            const int64_t d = p.label[i] == label ? border_distance(&p, y, x) : 0;
            if (d <= farthest) continue;
            farthest = d;
            *click = click_at(i, cols, wrong(predicted, target, i) > 0);
        }
    return MSA_OK;
}
