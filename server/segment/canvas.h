/* A small RGB picture: rectangles, lines, text, PNG. Knows nothing of images or masks. */
#ifndef SRV_SEGMENT_CANVAS_H
#define SRV_SEGMENT_CANVAS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/cleanup.h"
#include "engine/base/error.h"

typedef struct srv_rgb {
    uint8_t r, g, b;
} srv_rgb;

typedef struct srv_canvas {
    int32_t width, height;
    srv_rgb *pixels; /* (height, width) */
} srv_canvas;

/* Filled with one colour; sides at least 1. Errors: MSA_E_NOMEM. */
MSA_NODISCARD msa_status srv_canvas_new(srv_canvas **out, int32_t width, int32_t height, srv_rgb fill,
                                        msa_error *err);
void srv_canvas_free(srv_canvas *c);
MSA_DEFINE_AUTO(srv_canvas, srv_canvas_free);

/* Everything below is clipped to the canvas. alpha 0..1: how much of the new colour. */
void srv_canvas_blend(srv_canvas *c, int32_t x, int32_t y, srv_rgb colour, float alpha);
void srv_canvas_fill(srv_canvas *c, int32_t x, int32_t y, int32_t width, int32_t height, srv_rgb colour);
/* One pixel wide, dashes of `dash` pixels; 0: solid. */
void srv_canvas_frame(srv_canvas *c, int32_t x, int32_t y, int32_t width, int32_t height, srv_rgb colour,
                      int32_t dash);

/* Round ends, soft edges; both ends the same: a dot of that width. */
void srv_canvas_line(srv_canvas *c, double x0, double y0, double x1, double y1, double width, srv_rgb colour);

/* ASCII, 5 x 7 pixels in a cell of 6 x 9 (two rows for descenders), each pixel `scale` wide; a character
 * beyond ASCII shows as one box. */
void srv_canvas_text(srv_canvas *c, int32_t x, int32_t y, int32_t scale, srv_rgb colour, const char *text);
int32_t srv_canvas_text_width(const char *text, int32_t scale);

/* Same pixels, same bytes: no time, no software name. Errors: MSA_E_IO, MSA_E_NOMEM. */
MSA_NODISCARD msa_status srv_canvas_save(const srv_canvas *c, const char *path, msa_error *err);
/* In place of what was there, for whoever is looking at it: whole at every moment. */
MSA_NODISCARD msa_status srv_canvas_replace(const srv_canvas *c, const char *path, msa_error *err);

#endif
