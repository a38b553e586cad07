#include "server/segment/capture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dicom/capture.h"
#include "server/segment/font.h"
#include "server/segment/key_slices.h"
#include "server/segment/text.h"

enum { ROW = 18, MARGIN = 4, SWATCH = 10, LEGEND_MAX = 12 };

static const srv_rgb ground = {0, 0, 0};
static const srv_rgb text_colour = {235, 238, 242};
static const srv_rgb warning_colour = {255, 196, 60};

_Static_assert(sizeof(srv_rgb) == 3, "a canvas is what a capture takes");

static int32_t legend_rows(const srv_picture *p)
{
    const int32_t n = p->objects->n > LEGEND_MAX ? LEGEND_MAX + 1 : (int32_t)p->objects->n;
    return n + (p->untrained ? 1 : 0);
}

/* Names by colour, below the slice. */
static void draw_legend(const srv_picture *p, srv_canvas *c, int32_t y)
{
    char text[DICOM_LABEL_MAX + 32];
    if (p->untrained) {
        srv_canvas_text(c, MARGIN, y + MARGIN, 1, warning_colour, "UNTRAINED MODEL - masks mean nothing");
        y += ROW;
    }
    for (size_t o = 0; o < p->objects->n && o < LEGEND_MAX; o++, y += ROW) {
        (void)snprintf(text, sizeof text, "%s%s", p->stats[o].label,
                       p->stats[o].voxels > 0 ? "" : " (nothing found)");
        const int32_t room = (c->width - 3 * MARGIN - SWATCH) / SRV_FONT_CELL;
        srv_text_cut(text, room > 4 ? room : 4);
        srv_canvas_fill(c, MARGIN, y + MARGIN, SWATCH, SWATCH, srv_object_colour(o));
        srv_canvas_text(c, 2 * MARGIN + SWATCH, y + MARGIN + 1, 1, text_colour, text);
    }
    if (p->objects->n <= LEGEND_MAX) return;
    (void)snprintf(text, sizeof text, "and %zu more", p->objects->n - LEGEND_MAX);
    srv_canvas_text(c, 2 * MARGIN + SWATCH, y + MARGIN + 1, 1, text_colour, text);
}

static msa_status draw(srv_canvas **out, const srv_picture *p, int32_t slice, msa_error *err)
{
    const srv_view whole = {0, 0, p->info->cols, p->info->rows};
    const srv_rect at = srv_slice_rect(p->info);
    MSA_TRY(srv_canvas_new(out, at.width, at.height + MARGIN + legend_rows(p) * ROW, ground, err));
    MSA_TRY(srv_slice_draw(p, slice, whole, *out, at, err));
    draw_legend(p, *out, at.height + MARGIN);
    return MSA_OK;
}

msa_status srv_captures_write(const srv_picture *p, const dicom_series *series,
                              const dicom_seg_options *options, const char *dir, srv_segment_outcome *outcome,
                              msa_error *err)
{
    MSA_AUTO_FREE srv_key_slice *keys = calloc((size_t)p->info->slices, sizeof *keys);
    int32_t n = 0, main_slice = 0;
    if (!keys) return msa_fail(err, MSA_E_NOMEM, "out of memory for a picture");
    srv_key_slices(p, keys, SRV_CAPTURES_MAX, &n, &main_slice);
    for (int32_t k = 0; k < n; k++) {
        MSA_AUTO(srv_canvas) canvas = NULL;
        MSA_TRY(draw(&canvas, p, keys[k].slice, err));
        const dicom_capture capture = {.rgb = &canvas->pixels[0].r,
                                       .rows = canvas->height,
                                       .cols = canvas->width,
                                       .slice = keys[k].slice,
                                       .number = k + 1};
        MSA_TRY(dicom_capture_write(series, &capture, options, dir, &outcome->captures[k], err));
        outcome->n_captures = (size_t)k + 1;
    }
    return MSA_OK;
}
