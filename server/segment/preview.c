#include "server/segment/preview.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/pool.h"
#include "server/segment/font.h"
#include "server/segment/key_slices.h"
#include "server/segment/text.h"

enum {
    TILES_MAX = 9,
    INNER = 1000, /* width of the tiles and the gaps between them */
    GAP = 8,
    BORDER = 12,
    HEADER = 40,
    CAPTION = 26,
    LEGEND_ROW = 26,
    LEGEND_MAX = 12,
    TEXT = 2, /* scale of captions */
};

static const srv_rgb background = {18, 20, 24};
static const srv_rgb tile_ground = {0, 0, 0};
static const srv_rgb bright_text = {235, 238, 242};
static const srv_rgb dim_text = {150, 158, 168};
static const srv_rgb warning_text = {255, 196, 60};
static const srv_rgb zoom_frame = {150, 158, 168};

/* A square in millimetres, so that round things stay round whatever the pixel spacing. */
static srv_view square_view(const dicom_volume_info *info, double cx_mm, double cy_mm, double side_mm)
{
    const double sx = info->spacing_mm[1];
    const double sy = info->spacing_mm[0];
    return (srv_view){(cx_mm - side_mm / 2) / sx, (cy_mm - side_mm / 2) / sy, (cx_mm + side_mm / 2) / sx,
                      (cy_mm + side_mm / 2) / sy};
}

static double full_side_mm(const dicom_volume_info *info)
{
    return fmax(info->cols * info->spacing_mm[1], info->rows * info->spacing_mm[0]);
}

srv_view srv_full_view(const dicom_volume_info *info)
{
    return square_view(info, info->cols * info->spacing_mm[1] / 2, info->rows * info->spacing_mm[0] / 2,
                       full_side_mm(info));
}

static void include(srv_view *v, double x0, double y0, double x1, double y1)
{
    v->x0 = fmin(v->x0, x0);
    v->y0 = fmin(v->y0, y0);
    v->x1 = fmax(v->x1, x1);
    v->y1 = fmax(v->y1, y1);
}

static void include_mask(srv_view *v, const dicom_volume_info *info, const msa_object_result *r)
{
    const size_t pixels = (size_t)info->rows * (size_t)info->cols;
    for (int32_t s = r->first_slice; s >= 0 && s <= r->last_slice; s++) {
        const uint8_t *mask = r->mask + (size_t)s * pixels;
        for (int32_t y = 0; y < info->rows; y++)
            for (int32_t x = 0; x < info->cols; x++)
                if (mask[(size_t)y * (size_t)info->cols + (size_t)x]) include(v, x, y, x + 1, y + 1);
    }
}

/* Around all prompts and masks, with their surroundings; false when that is most of the image anyway. */
static bool zoom_view(const srv_picture *p, srv_view *view)
{
    const dicom_volume_info *info = p->info;
    srv_view all = {info->cols, info->rows, 0, 0};
    for (size_t o = 0; o < p->objects->n; o++) {
        const msa_object *object = &p->objects->objects[o];
        for (int32_t i = 0; i < object->n_prompts; i++) {
            const msa_prompt *q = &object->prompts[i];
            const bool box = q->kind != MSA_PROMPT_POINT;
            include(&all, (double)q->x0, (double)q->y0, (double)(box ? q->x1 : q->x0),
                    (double)(box ? q->y1 : q->y0));
        }
        include_mask(&all, info, &p->results[o]);
    }
    const double width = (all.x1 - all.x0) * info->spacing_mm[1];
    const double height = (all.y1 - all.y0) * info->spacing_mm[0];
    const double least = full_side_mm(info) / 5; /* closer than that the eye is lost */
    const double side = fmax(fmax(width, height) * 1.7, least);
    if (side > 0.6 * full_side_mm(info)) return false;
    *view = square_view(info, (all.x0 + all.x1) / 2 * info->spacing_mm[1],
                        (all.y0 + all.y1) / 2 * info->spacing_mm[0], side);
    return true;
}

typedef struct sheet {
    const srv_picture *p;
    srv_canvas *c;
    int32_t columns, tile, drawn;
} sheet;

static msa_status draw_tile(sheet *s, int32_t slice, srv_view view, const srv_view *zoomed,
                            const char *caption, msa_error *err)
{
    const int32_t x = BORDER + s->drawn % s->columns * (s->tile + GAP);
    const int32_t y = HEADER + s->drawn / s->columns * (s->tile + CAPTION + GAP);
    const srv_rect at = {x, y, s->tile, s->tile};
    char number[32];
    srv_canvas_fill(s->c, x, y, s->tile, s->tile, tile_ground);
    MSA_TRY(srv_slice_draw(s->p, slice, view, s->c, at, err));
    if (zoomed) {
        const double scale = s->tile / (view.x1 - view.x0);
        const double scale_y = s->tile / (view.y1 - view.y0);
        srv_canvas_frame(s->c, x + (int32_t)lrint((zoomed->x0 - view.x0) * scale),
                         y + (int32_t)lrint((zoomed->y0 - view.y0) * scale_y),
                         (int32_t)lrint((zoomed->x1 - zoomed->x0) * scale),
                         (int32_t)lrint((zoomed->y1 - zoomed->y0) * scale_y), zoom_frame, 0);
    }
    (void)snprintf(number, sizeof number, "slice %d", slice);
    srv_canvas_text(s->c, x + 2, y + s->tile + 7, TEXT, bright_text, number);
    srv_canvas_text(s->c, x + s->tile - 2 - srv_canvas_text_width(caption, TEXT), y + s->tile + 7, TEXT,
                    dim_text, caption);
    s->drawn++;
    return MSA_OK;
}

static void draw_header(const sheet *s)
{
    const srv_picture *p = s->p;
    char left[64];
    char right[64];
    (void)snprintf(left, sizeof left, "%.8s  %d x %d x %d", p->info->modality, p->info->cols, p->info->rows,
                   p->info->slices);
    srv_canvas_text(s->c, BORDER + 2, 14, TEXT, bright_text, left);
    if (p->untrained)
        (void)snprintf(right, sizeof right, "UNTRAINED MODEL - masks mean nothing");
    else
        (void)snprintf(right, sizeof right, "%.40s", p->model_name);
    srv_canvas_text(s->c, s->c->width - BORDER - 2 - srv_canvas_text_width(right, TEXT), 14, TEXT,
                    p->untrained ? warning_text : dim_text, right);
}

static size_t legend_rows(const srv_picture *p)
{
    return p->objects->n > LEGEND_MAX ? LEGEND_MAX + 1 : p->objects->n;
}

static void describe(const srv_segment_stat *stat, char *out, size_t size)
{
    if (stat->voxels == 0)
        (void)snprintf(out, size, "nothing found");
    else if (stat->first_slice == stat->last_slice)
        (void)snprintf(out, size, "%.2f ml  slice %d", stat->measures.volume_ml, stat->first_slice);
    else
        (void)snprintf(out, size, "%.2f ml  slices %d-%d", stat->measures.volume_ml, stat->first_slice,
                       stat->last_slice);
}

static void draw_legend(const sheet *s, int32_t y)
{
    const srv_picture *p = s->p;
    char text[96];
    for (size_t o = 0; o < p->objects->n && o < LEGEND_MAX; o++, y += LEGEND_ROW) {
        char label[DICOM_LABEL_MAX];
        const int32_t room = (s->c->width - 2 * BORDER - 400) / (SRV_FONT_CELL * TEXT);
        (void)snprintf(label, sizeof label, "%s", p->stats[o].label);
        srv_text_cut(label, room > 8 ? room : 8);
        describe(&p->stats[o], text, sizeof text);
        srv_canvas_fill(s->c, BORDER + 2, y, 16, 16, srv_object_colour(o));
        srv_canvas_text(s->c, BORDER + 28, y + 1, TEXT, bright_text, label);
        srv_canvas_text(s->c, s->c->width - BORDER - 2 - srv_canvas_text_width(text, TEXT), y + 1, TEXT,
                        dim_text, text);
    }
    if (p->objects->n <= LEGEND_MAX) return;
    (void)snprintf(text, sizeof text, "and %zu more", p->objects->n - LEGEND_MAX);
    srv_canvas_text(s->c, BORDER + 28, y + 1, TEXT, dim_text, text);
}

static msa_status draw_tiles(sheet *s, const srv_key_slice *keys, int32_t n, int32_t main_slice,
                             const srv_view *zoom, msa_error *err)
{
    const srv_view full = srv_full_view(s->p->info);
    if (zoom) MSA_TRY(draw_tile(s, main_slice, full, zoom, "whole", err));
    for (int32_t i = 0; i < n; i++)
        MSA_TRY(
            draw_tile(s, keys[i].slice, zoom ? *zoom : full, NULL, keys[i].prompted ? "prompted" : "", err));
    return MSA_OK;
}

msa_status srv_preview_write(const srv_picture *p, const char *path, msa_error *err)
{
    MSA_AUTO_FREE srv_key_slice *keys = calloc((size_t)p->info->slices, sizeof *keys);
    MSA_AUTO(srv_canvas) canvas = NULL;
    srv_view zoom;
    int32_t n = 0;
    int32_t main_slice = 0;
    if (!keys) return msa_fail(err, MSA_E_NOMEM, "out of memory for a picture");
    const bool zoomed = zoom_view(p, &zoom);
    srv_key_slices(p, keys, zoomed ? TILES_MAX - 1 : TILES_MAX, &n, &main_slice);
    const int32_t tiles = n + zoomed;
    sheet s = {.p = p, .columns = tiles <= 1 ? 1 : tiles <= 2 || tiles == 4 ? 2 : 3};
    s.tile = (INNER - (s.columns - 1) * GAP) / (s.columns > 1 ? s.columns : 2);
    const int32_t inner = s.columns > 1 ? INNER : s.tile;
    const int32_t rows = (tiles + s.columns - 1) / s.columns;
    const int32_t legend_y = HEADER + rows * (s.tile + CAPTION + GAP) + 4;
    MSA_TRY(srv_canvas_new(&canvas, inner + 2 * BORDER,
                           legend_y + (int32_t)legend_rows(p) * LEGEND_ROW + BORDER, background, err));
    s.c = canvas;
    draw_header(&s);
    MSA_TRY(draw_tiles(&s, keys, n, main_slice, zoomed ? &zoom : NULL, err));
    draw_legend(&s, legend_y);
    return srv_canvas_save(canvas, path, err);
}

/* ---- overlays: each slice for itself, over the engine's threads ---- */

typedef struct overlays {
    const srv_picture *p;
    const char *dir;
    int32_t width, height;
    msa_error err[MSA_THREADS_MAX]; /* of a worker: its first failure */
} overlays;

static msa_status write_overlay(const overlays *o, int32_t slice, msa_error *err)
{
    const dicom_volume_info *info = o->p->info;
    MSA_AUTO(srv_canvas) canvas = NULL;
    char path[4096];
    if (srv_slice_area(o->p, slice) == 0 && !srv_slice_prompted(o->p, slice)) return MSA_OK;
    const int length = snprintf(path, sizeof path, "%s/overlay-%03d.png", o->dir, slice);
    if (length < 0 || (size_t)length >= sizeof path)
        return msa_fail(err, MSA_E_INVALID, "the path of the output folder is too long");
    MSA_TRY(srv_canvas_new(&canvas, o->width, o->height, tile_ground, err));
    MSA_TRY(srv_slice_draw(o->p, slice, (srv_view){0, 0, info->cols, info->rows}, canvas,
                           (srv_rect){0, 0, o->width, o->height}, err));
    return srv_canvas_save(canvas, path, err);
}

static void overlay_item(void *ctx, int32_t slice, int32_t worker)
{
    overlays *o = ctx;
    if (o->err[worker].status == MSA_OK) (void)write_overlay(o, slice, &o->err[worker]);
}

msa_status srv_overlays_write(const srv_picture *p, const char *dir, msa_error *err)
{
    const dicom_volume_info *info = p->info;
    const srv_rect size = srv_slice_rect(info);
    overlays o = {.p = p, .dir = dir, .width = size.width, .height = size.height};
    msa_pool_run(overlay_item, &o, info->slices, MSA_THREADS_MAX);
    for (int i = 0; i < MSA_THREADS_MAX; i++)
        if (o.err[i].status != MSA_OK) {
            if (err) *err = o.err[i];
            return o.err[i].status;
        }
    return MSA_OK;
}
