/* samples/step-NNNNNN.png: what the model finds in pictures that it does not learn from. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/segment/preview.h"
#include "server/segment/text.h"
#include "server/tool/tool.h"
#include "server/tool/train_pictures.h"

enum { COLUMNS = 6, TILE = 200, GAP = 8, BORDER = 12, HEADER = 40, CAPTION = 26, TEXT = 2, LABEL = 10 };

static const srv_rgb background = {18, 20, 24};
static const srv_rgb tile_ground = {0, 0, 0};
static const srv_rgb bright_text = {235, 238, 242};
/* Found, target: where both agree the target lies on top, so red is what is wrong. */
static const srv_rgb colours[2] = {{255, 72, 88}, {120, 224, 92}};

struct srv_sheet {
    srv_canvas *canvas;
    int32_t n;
    msa_status status;
    msa_error why;
};

msa_status srv_sheet_new(srv_sheet **out, msa_error *err)
{
    const int32_t rows = SRV_SHEET_TILES / COLUMNS;
    *out = NULL;
    MSA_AUTO(srv_sheet) s = calloc(1, sizeof *s);
    if (s == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for a sheet of samples");
    MSA_TRY(srv_canvas_new(&s->canvas, 2 * BORDER + COLUMNS * TILE + (COLUMNS - 1) * GAP,
                           HEADER + rows * (TILE + CAPTION + GAP) + BORDER, background, err));
    *out = MSA_STEAL(s);
    return MSA_OK;
}

void srv_sheet_free(srv_sheet *s)
{
    if (s == NULL) return;
    srv_canvas_free(s->canvas);
    free(s);
}

/* ---- tiles ---- */

static void include(srv_view *v, const uint8_t *mask, int32_t size)
{
    for (int32_t y = 0; y < size; y++)
        for (int32_t x = 0; x < size; x++) {
            if (mask[(size_t)y * (size_t)size + (size_t)x] == 0) continue;
            v->x0 = fmin(v->x0, x);
            v->y0 = fmin(v->y0, y);
            v->x1 = fmax(v->x1, x + 1);
            v->y1 = fmax(v->y1, y + 1);
        }
}

/* Where a span of `length` around `centre` begins so that it lies in 0 .. room. */
static double begin_of(double centre, double length, double room)
{
    return fmin(fmax(centre - length / 2, 0), fmax(room - length, 0));
}

/* A square around all of what was asked and found, so that a mask that runs away is seen to. */
static srv_view near_view(const msa_train_view *v)
{
    srv_view all = {(double)v->box[0], (double)v->box[1], (double)v->box[2], (double)v->box[3]};
    include(&all, v->target, v->size);
    include(&all, v->found, v->size);
    const double whole = v->rows > v->cols ? v->rows : v->cols;
    const double side = fmin(fmax(1.6 * fmax(all.x1 - all.x0, all.y1 - all.y0), whole / 4), whole);
    const double x = begin_of((all.x0 + all.x1) / 2, side, v->cols);
    const double y = begin_of((all.y0 + all.y1) / 2, side, v->rows);
    return (srv_view){x, y, x + side, y + side};
}

static msa_status draw_view(srv_canvas *c, const msa_train_view *v, srv_rect at, msa_error *err)
{
    msa_prompt box = {
        .kind = MSA_PROMPT_BOX, .x0 = v->box[0], .y0 = v->box[1], .x1 = v->box[2], .y1 = v->box[3]};
    msa_object objects[2] = {[1] = {.prompts = &box, .n_prompts = 1}};
    const srv_objects both = {.n = 2, .objects = objects};
    const dicom_volume_info info = {.rows = v->size, .cols = v->size, .slices = 1};
    /* Results point to memory that may be written, which drawing does not do. */
    const msa_object_result results[2] = {{.mask = (uint8_t *)(uintptr_t)v->found},
                                          {.mask = (uint8_t *)(uintptr_t)v->target}};
    const srv_picture picture = {.info = &info,
                                 .voxels = v->image,
                                 .lo = 0,
                                 .hi = 1,
                                 .objects = &both,
                                 .results = results,
                                 .colours = colours};
    return srv_slice_draw(&picture, 0, near_view(v), c, at, err);
}

void srv_sheet_view(void *ctx, const msa_train_view *view)
{
    srv_sheet *s = ctx;
    char text[64], label[32];
    if (s->n == SRV_SHEET_TILES || s->status != MSA_OK) return;
    const srv_rect at = {BORDER + s->n % COLUMNS * (TILE + GAP),
                         HEADER + s->n / COLUMNS * (TILE + CAPTION + GAP), TILE, TILE};
    srv_canvas_fill(s->canvas, at.x, at.y, at.width, at.height, tile_ground);
    s->status = draw_view(s->canvas, view, at, &s->why);
    (void)snprintf(label, sizeof label, "%.31s", view->label != NULL ? view->label : "");
    srv_text_cut(label, LABEL);
    (void)snprintf(text, sizeof text, "%.3f %s", view->dice, label);
    srv_canvas_text(s->canvas, at.x + 2, at.y + TILE + 6, TEXT, bright_text, text);
    s->n++;
}

/* ---- sheets on the disk ---- */

#define SHEET_NAME "step-%06" PRId64 ".png"

/* False for every other file. */
static bool sheet_step(const char *name, int64_t *step)
{
    char again[64];
    if (sscanf(name, "step-%" SCNd64 ".png", step) != 1) return false;
    (void)snprintf(again, sizeof again, SHEET_NAME, *step);
    return strcmp(again, name) == 0;
}

static void remove_sheet(const char *dir, int64_t step)
{
    char path[4096];
    const int n = snprintf(path, sizeof path, "%s/" SHEET_NAME, dir, step);
    if (n > 0 && (size_t)n < sizeof path) (void)unlink(path);
}

/* The sheet of the fewest steps beyond `after`; -1: none. *count: how many there are. */
static int64_t first_sheet(const char *dir, int64_t after, int32_t *count)
{
    int64_t first = -1;
    int64_t step = 0;
    DIR *d = opendir(dir);
    *count = 0;
    for (const struct dirent *e = NULL; d != NULL && (e = readdir(d)) != NULL;) {
        if (!sheet_step(e->d_name, &step) || step <= after) continue;
        if (first < 0 || step < first) first = step;
        (*count)++;
    }
    if (d != NULL) (void)closedir(d);
    return first;
}

void srv_sheets_drop_after(const char *dir, int64_t steps)
{
    int32_t count = 0;
    for (int64_t step = 0; (step = first_sheet(dir, steps, &count)) >= 0;) {
        remove_sheet(dir, step);
        steps = step; /* one that cannot be removed is met once */
    }
}

static void drop_old(const char *dir)
{
    int32_t count = 0;
    int64_t step = -1;
    while ((step = first_sheet(dir, step, &count)) >= 0 && count > SRV_SHEETS_KEPT)
        remove_sheet(dir, step);
}

static void draw_header(const srv_sheet *s, int64_t steps, double mean_dice)
{
    char text[96];
    (void)snprintf(text, sizeof text, "step %" PRId64 "   mean Dice %.3f", steps, mean_dice);
    srv_canvas_text(s->canvas, BORDER + 2, 14, TEXT, bright_text, text);
    int32_t right = s->canvas->width - BORDER - srv_canvas_text_width("found", TEXT);
    srv_canvas_text(s->canvas, right, 14, TEXT, colours[0], "found");
    right -= srv_canvas_text_width("target", TEXT) + 24;
    srv_canvas_text(s->canvas, right, 14, TEXT, colours[1], "target");
}

msa_status srv_sheet_write(srv_sheet *s, const char *dir, int64_t steps, double mean_dice, msa_error *err)
{
    char path[4096];
    if (s->status != MSA_OK) return msa_fail(err, s->status, "%s", s->why.what);
    const int n = snprintf(path, sizeof path, "%s/" SHEET_NAME, dir, steps);
    if (n < 0 || (size_t)n >= sizeof path)
        return msa_fail(err, MSA_E_INVALID, "the path of the folder of samples is too long");
    MSA_TRY(srv_tool_make_folder(dir, err));
    const int32_t rows = (s->n + COLUMNS - 1) / COLUMNS;
    s->canvas->height = HEADER + rows * (TILE + CAPTION + GAP) + BORDER; /* the rest stayed empty */
    draw_header(s, steps, mean_dice);
    MSA_TRY(srv_canvas_replace(s->canvas, path, err));
    drop_old(dir);
    return MSA_OK;
}
