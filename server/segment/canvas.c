#include "server/segment/canvas.h"

#include <errno.h>
#include <math.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/segment/font.h"

msa_status srv_canvas_new(srv_canvas **out, int32_t width, int32_t height, srv_rgb fill, msa_error *err)
{
    MSA_AUTO(srv_canvas) c = calloc(1, sizeof *c);
    *out = NULL;
    if (c) c->pixels = malloc((size_t)width * (size_t)height * sizeof *c->pixels);
    if (!c || !c->pixels) return msa_fail(err, MSA_E_NOMEM, "out of memory for a picture");
    c->width = width;
    c->height = height;
    srv_canvas_fill(c, 0, 0, width, height, fill);
    *out = MSA_STEAL(c);
    return MSA_OK;
}

void srv_canvas_free(srv_canvas *c)
{
    if (!c) return;
    free(c->pixels);
    free(c);
}

static uint8_t mix(uint8_t from, uint8_t to, float alpha)
{
    return (uint8_t)lrintf((float)from + ((float)to - (float)from) * alpha);
}

void srv_canvas_blend(srv_canvas *c, int32_t x, int32_t y, srv_rgb colour, float alpha)
{
    if (x < 0 || y < 0 || x >= c->width || y >= c->height) return;
    srv_rgb *p = &c->pixels[(size_t)y * (size_t)c->width + (size_t)x];
    if (alpha == 1) {
        *p = colour;
        return;
    }
    *p = (srv_rgb){mix(p->r, colour.r, alpha), mix(p->g, colour.g, alpha), mix(p->b, colour.b, alpha)};
}

void srv_canvas_fill(srv_canvas *c, int32_t x, int32_t y, int32_t width, int32_t height, srv_rgb colour)
{
    const int32_t x1 = x + width < c->width ? x + width : c->width;
    const int32_t y1 = y + height < c->height ? y + height : c->height;
    for (int32_t py = y > 0 ? y : 0; py < y1; py++)
        for (int32_t px = x > 0 ? x : 0; px < x1; px++)
            c->pixels[(size_t)py * (size_t)c->width + (size_t)px] = colour;
}

void srv_canvas_frame(srv_canvas *c, int32_t x, int32_t y, int32_t width, int32_t height, srv_rgb colour,
                      int32_t dash)
{
    for (int32_t i = 0; i < width; i++) {
        if (dash > 0 && i / dash % 2) continue;
        srv_canvas_blend(c, x + i, y, colour, 1);
        srv_canvas_blend(c, x + i, y + height - 1, colour, 1);
    }
    for (int32_t i = 0; i < height; i++) {
        if (dash > 0 && i / dash % 2) continue;
        srv_canvas_blend(c, x, y + i, colour, 1);
        srv_canvas_blend(c, x + width - 1, y + i, colour, 1);
    }
}

static double distance(double px, double py, double x0, double y0, double x1, double y1)
{
    const double dx = x1 - x0;
    const double dy = y1 - y0;
    const double length2 = dx * dx + dy * dy;
    const double t = length2 > 0 ? fmin(fmax(((px - x0) * dx + (py - y0) * dy) / length2, 0), 1) : 0;
    return hypot(px - (x0 + t * dx), py - (y0 + t * dy));
}

void srv_canvas_line(srv_canvas *c, double x0, double y0, double x1, double y1, double width, srv_rgb colour)
{
    const double reach = width / 2 + 1;
    const int32_t left = (int32_t)fmax(floor(fmin(x0, x1) - reach), 0);
    const int32_t top = (int32_t)fmax(floor(fmin(y0, y1) - reach), 0);
    const int32_t right = (int32_t)fmin(ceil(fmax(x0, x1) + reach), c->width);
    const int32_t bottom = (int32_t)fmin(ceil(fmax(y0, y1) + reach), c->height);
    for (int32_t y = top; y < bottom; y++)
        for (int32_t x = left; x < right; x++) {
            const double inside = width / 2 + 0.5 - distance(x + 0.5, y + 0.5, x0, y0, x1, y1);
            if (inside > 0) srv_canvas_blend(c, x, y, colour, (float)fmin(inside, 1));
        }
}

/* Start of the next character: UTF-8 continuation bytes belong to the one before. */
static const char *next_character(const char *s)
{
    s++;
    while (((unsigned char)*s & 0xC0) == 0x80)
        s++;
    return s;
}

void srv_canvas_text(srv_canvas *c, int32_t x, int32_t y, int32_t scale, srv_rgb colour, const char *text)
{
    for (const char *s = text; *s; s = next_character(s), x += SRV_FONT_CELL * scale) {
        const char *glyph = srv_font_glyph(*s);
        const int32_t top = y + srv_font_drop(*s) * scale;
        for (int32_t row = 0; row < SRV_FONT_ROWS; row++)
            for (int32_t col = 0; col < SRV_FONT_COLS; col++)
                if (glyph[row * (SRV_FONT_COLS + 1) + col] == '#')
                    srv_canvas_fill(c, x + col * scale, top + row * scale, scale, scale, colour);
    }
}

int32_t srv_canvas_text_width(const char *text, int32_t scale)
{
    int32_t n = 0;
    for (const char *s = text; *s; s = next_character(s))
        n++;
    return n * SRV_FONT_CELL * scale;
}

msa_status srv_canvas_save(const srv_canvas *c, const char *path, msa_error *err)
{
    png_image image;
    memset(&image, 0, sizeof image);
    image.version = PNG_IMAGE_VERSION;
    image.width = (png_uint_32)c->width;
    image.height = (png_uint_32)c->height;
    image.format = PNG_FORMAT_RGB;
    /* Without row filters: a third of the time, and smaller where most is grey. */
    image.flags = PNG_IMAGE_FLAG_FAST;
    errno = 0;
    const int written = png_image_write_to_file(&image, path, 0, c->pixels, 0, NULL);
    if (!written)
        return msa_fail(err, msa_errno_status(errno), "cannot write a picture into the output folder: %s",
                        image.message);
    return MSA_OK;
}

msa_status srv_canvas_replace(const srv_canvas *c, const char *path, msa_error *err)
{
    char part[4096];
    const int n = snprintf(part, sizeof part, "%s.new", path);
    if (n < 0 || (size_t)n >= sizeof part)
        return msa_fail(err, MSA_E_INVALID, "the path of a picture is too long");
    MSA_TRY(srv_canvas_save(c, part, err));
    if (rename(part, path) != 0)
        return msa_fail(err, msa_errno_status(errno), "cannot write %.120s: %s", path, strerror(errno));
    return MSA_OK;
}
