/* curve.png: loss above, Dice below, over the steps. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/segment/canvas.h"
#include "server/tool/train_curve.h"
#include "server/tool/train_pictures.h"

enum {
    LEFT = 92,
    RIGHT = 24,
    TOP = 40,
    BETWEEN = 56,
    BOTTOM = 56,
    PLOT_W = SRV_PLOT_WIDTH - LEFT - RIGHT,
    PLOT_H = (SRV_PLOT_HEIGHT - TOP - BETWEEN - BOTTOM) / 2,
    TEXT = 2,
    TEXT_H = 14,
    RUNNING_STEPS = 100, /* as in the line of progress */
    MARKS_MAX = 12,
};

static const srv_rgb background = {18, 20, 24};
static const srv_rgb ground = {27, 30, 36};
static const srv_rgb grid = {52, 57, 66};
static const srv_rgb bright_text = {235, 238, 242};
static const srv_rgb dim_text = {150, 158, 168};
static const srv_rgb dust = {88, 128, 158}; /* single steps behind the mean of many */
static const srv_rgb training_colour = {46, 196, 255};
static const srv_rgb validation_colour = {255, 159, 28};
static const srv_rgb best_colour = {120, 224, 92};

/* ---- the rows ---- */

/* One of them is loss, the other Dice. */
typedef struct line {
    float one, mean;
} line;

typedef struct point {
    int64_t step;
    line line[2];
} point;

typedef struct checked {
    int64_t step;
    double value[2];
} checked;

typedef struct history {
    point *points;
    checked *validations;
    size_t n, room, n_validations, validations_room;
    double mean[2];
    bool failed; /* no memory */
} history;

static void history_clear(history *h)
{
    free(h->points);
    free(h->validations);
}

static bool grow(history *h)
{
    if (h->n == h->room) {
        const size_t more = h->room > 0 ? h->room * 2 : 1024;
        point *grown = realloc(h->points, more * sizeof *grown);
        if (grown == NULL) return false;
        h->points = grown;
        h->room = more;
    }
    if (h->n_validations == h->validations_room) {
        const size_t more = h->validations_room > 0 ? h->validations_room * 2 : 64;
        checked *grown = realloc(h->validations, more * sizeof *grown);
        if (grown == NULL) return false;
        h->validations = grown;
        h->validations_room = more;
    }
    return true;
}

static void take_row(void *ctx, const srv_curve_row *row)
{
    history *h = ctx;
    const double values[2] = {row->loss, row->dice_first};
    if (h->failed || !isfinite(values[0]) || !isfinite(values[1])) return;
    h->failed = !grow(h);
    if (h->failed) return;
    point *p = &h->points[h->n++];
    p->step = row->step + 1; /* steps done, as everywhere but in the file */
    for (int k = 0; k < 2; k++) {
        h->mean[k] += (values[k] - h->mean[k]) / (double)(h->n < RUNNING_STEPS ? h->n : RUNNING_STEPS);
        p->line[k] = (line){(float)values[k], (float)h->mean[k]};
    }
    if (isfinite(row->validation_loss) && isfinite(row->validation_dice))
        h->validations[h->n_validations++] = (checked){p->step, {row->validation_loss, row->validation_dice}};
}

static const checked *best_of(const history *h)
{
    const checked *best = NULL;
    for (size_t i = 0; i < h->n_validations; i++)
        if (best == NULL || h->validations[i].value[1] > best->value[1]) best = &h->validations[i];
    return best;
}

/* ---- axes ---- */

typedef struct axis {
    double lo, hi, mark; /* a label at every multiple of mark */
} axis;

/* The round number, of those with 1, 2 or 5 in front, that gives at most so many marks. */
static double round_mark(double span, int most)
{
    const double least = span / most;
    const double ten = pow(10, floor(log10(least)));
    const double factor = least / ten;
    return ten * (factor <= 1 ? 1 : factor <= 2 ? 2 : factor <= 5 ? 5 : 10);
}

static axis axis_over(double lo, double hi, int most)
{
    const double least = fmax(fabs(hi) * 0.02, 1e-6); /* of a span: a flat line stays one */
    if (hi - lo < least) {
        lo -= least / 2;
        hi += least / 2;
    }
    const double mark = round_mark(hi - lo, most);
    return (axis){floor(lo / mark) * mark, ceil(hi / mark) * mark, mark};
}

/* Of the means and validations; the first twentieth is steep, and would press all the rest flat. */
static axis value_axis(const history *h, int k)
{
    const double from = (double)h->points[h->n - 1].step / 20;
    double lo = HUGE_VAL;
    double hi = -HUGE_VAL;
    for (size_t i = 0; i < h->n; i++) {
        if ((double)h->points[i].step < from) continue;
        lo = fmin(lo, (double)h->points[i].line[k].mean);
        hi = fmax(hi, (double)h->points[i].line[k].mean);
    }
    for (size_t i = 0; i < h->n_validations; i++) {
        if ((double)h->validations[i].step < from) continue;
        lo = fmin(lo, h->validations[i].value[k]);
        hi = fmax(hi, h->validations[i].value[k]);
    }
    return axis_over(lo, hi, 7);
}

static axis step_axis(const history *h)
{
    const double hi = (double)h->points[h->n - 1].step;
    return (axis){0, fmax(hi, 1), fmax(round_mark(hi, 9), 1)};
}

/* As many digits as the marks need; thousands of steps as "12k". */
static void print_mark(double value, double mark, char *out, size_t size)
{
    const int decimals = mark < 1 ? (int)ceil(-log10(mark) - 1e-9) : 0;
    if (fabs(value) < mark / 2)
        (void)snprintf(out, size, "0");
    else if (mark >= 1000)
        (void)snprintf(out, size, "%.0fk", value / 1000);
    else
        (void)snprintf(out, size, "%.*f", decimals, value);
}

/* ---- drawing ---- */

typedef struct panel {
    srv_canvas *c;
    const history *h;
    int k;
    int32_t top;
    axis steps, values;
} panel;

static double x_of(const panel *p, double step)
{
    return LEFT + (step - p->steps.lo) / (p->steps.hi - p->steps.lo) * PLOT_W;
}

/* What lies outside is drawn at the edge. */
static double y_of(const panel *p, double value)
{
    const double at = (p->values.hi - value) / (p->values.hi - p->values.lo);
    return p->top + fmin(fmax(at, 0), 1) * PLOT_H;
}

static void draw_axes(const panel *p)
{
    char text[32];
    srv_canvas_fill(p->c, LEFT, p->top, PLOT_W, PLOT_H, ground);
    for (int i = 0; i <= MARKS_MAX; i++) {
        const double value = p->values.lo + i * p->values.mark;
        if (value > p->values.hi + p->values.mark / 2) break;
        const int32_t y = (int32_t)lrint(y_of(p, value));
        srv_canvas_fill(p->c, LEFT, y, PLOT_W, 1, grid);
        print_mark(value, p->values.mark, text, sizeof text);
        srv_canvas_text(p->c, LEFT - 8 - srv_canvas_text_width(text, TEXT), y - TEXT_H / 2, TEXT, dim_text,
                        text);
    }
    for (int i = 0; i <= MARKS_MAX; i++) {
        const double step = i * p->steps.mark;
        if (step > p->steps.hi) break;
        const int32_t x = (int32_t)lrint(x_of(p, step));
        const int32_t end = SRV_PLOT_WIDTH - 4;
        srv_canvas_fill(p->c, x, p->top, 1, PLOT_H, grid);
        print_mark(step, p->steps.mark, text, sizeof text);
        const int32_t width = srv_canvas_text_width(text, TEXT);
        const int32_t left = x - width / 2 + width > end ? end - width : x - width / 2;
        srv_canvas_text(p->c, left, p->top + PLOT_H + 8, TEXT, dim_text, text);
    }
}

/* Single steps, as faint dots: how much the mean leaves out. What lies outside is left out, too. */
static void draw_dust(const panel *p)
{
    const size_t every = 1 + p->h->n / 20000; /* more of them would be one grey bar */
    for (size_t i = 0; i < p->h->n; i += every) {
        const point *at = &p->h->points[i];
        const double value = (double)at->line[p->k].one;
        if (value < p->values.lo || value > p->values.hi) continue;
        const double x = x_of(p, (double)at->step);
        const double y = y_of(p, value);
        srv_canvas_line(p->c, x, y, x, y, p->h->n < 2000 ? 2 : 0.5, dust);
    }
}

/* One point a column of pixels is enough. */
static void draw_mean(const panel *p)
{
    double x0 = -1;
    double y0 = 0;
    for (size_t i = 0; i < p->h->n; i++) {
        const double x = x_of(p, (double)p->h->points[i].step);
        if (x0 >= 0 && x - x0 < 1 && i + 1 < p->h->n) continue;
        const double y = y_of(p, (double)p->h->points[i].line[p->k].mean);
        srv_canvas_line(p->c, x0 >= 0 ? x0 : x, x0 >= 0 ? y0 : y, x, y, 2, training_colour);
        x0 = x;
        y0 = y;
    }
}

static void draw_validations(const panel *p)
{
    const checked *best = best_of(p->h);
    const double dot = p->h->n_validations > 150 ? 3 : 7;
    for (size_t i = 0; i < p->h->n_validations; i++) {
        const checked *v = &p->h->validations[i];
        const double x = x_of(p, (double)v->step);
        const double y = y_of(p, v->value[p->k]);
        if (i > 0)
            srv_canvas_line(p->c, x_of(p, (double)v[-1].step), y_of(p, v[-1].value[p->k]), x, y, 1.2,
                            validation_colour);
        srv_canvas_line(p->c, x, y, x, y, dot, validation_colour);
    }
    if (best == NULL) return;
    const double x = x_of(p, (double)best->step);
    const double y = y_of(p, best->value[p->k]);
    srv_canvas_line(p->c, x, y, x, y, dot + 4, best_colour);
    srv_canvas_line(p->c, x, y, x, y, dot, validation_colour);
}

/* Right-aligned pieces, the last one first; returns where the next one ends. */
static int32_t piece(const panel *p, int32_t right, srv_rgb colour, const char *text)
{
    const int32_t left = right - srv_canvas_text_width(text, TEXT);
    srv_canvas_text(p->c, left, p->top - TEXT_H - 8, TEXT, colour, text);
    return left - 24;
}

static void draw_title(const panel *p, const char *name)
{
    const history *h = p->h;
    const checked *best = best_of(h);
    char text[64];
    int32_t right = LEFT + PLOT_W;
    srv_canvas_text(p->c, LEFT, p->top - TEXT_H - 8, TEXT, bright_text, name);
    if (best != NULL) {
        (void)snprintf(text, sizeof text, p->k == 1 ? "best %.3f" : "at best %.4f", best->value[p->k]);
        right = piece(p, right, best_colour, text);
        (void)snprintf(text, sizeof text, p->k == 1 ? "validation %.3f" : "validation %.4f",
                       h->validations[h->n_validations - 1].value[p->k]);
        right = piece(p, right, validation_colour, text);
    }
    (void)snprintf(text, sizeof text, p->k == 1 ? "training %.3f" : "training %.4f",
                   (double)h->points[h->n - 1].line[p->k].mean);
    (void)piece(p, right, training_colour, text);
}

static void draw_panel(srv_canvas *c, const history *h, int k, const char *name)
{
    const panel p = {.c = c,
                     .h = h,
                     .k = k,
                     .top = TOP + k * (PLOT_H + BETWEEN),
                     .steps = step_axis(h),
                     .values = value_axis(h, k)};
    draw_axes(&p);
    draw_dust(&p);
    draw_mean(&p);
    draw_validations(&p);
    draw_title(&p, name);
}

static void draw_foot(srv_canvas *c, const history *h)
{
    const checked *best = best_of(h);
    char text[96];
    int n = snprintf(text, sizeof text, "step %" PRId64, h->points[h->n - 1].step);
    if (best != NULL) (void)snprintf(text + n, sizeof text - (size_t)n, ", best at %" PRId64, best->step);
    srv_canvas_text(c, LEFT + PLOT_W - srv_canvas_text_width(text, TEXT), SRV_PLOT_HEIGHT - TEXT_H - 8, TEXT,
                    bright_text, text);
}

msa_status srv_plot_write(const char *csv, const char *path, msa_error *err)
{
    __attribute__((cleanup(history_clear))) history h = {0};
    MSA_AUTO(srv_canvas) canvas = NULL;
    MSA_TRY(srv_curve_read(csv, take_row, &h, err));
    if (h.failed) return msa_fail(err, MSA_E_NOMEM, "no memory for a picture of the curve");
    if (h.n == 0) return MSA_OK;
    MSA_TRY(srv_canvas_new(&canvas, SRV_PLOT_WIDTH, SRV_PLOT_HEIGHT, background, err));
    draw_panel(canvas, &h, 0, "loss");
    draw_panel(canvas, &h, 1, "Dice");
    draw_foot(canvas, &h);
    return srv_canvas_replace(canvas, path, err);
}
