#include "server/segment/preview.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Told apart on grey, also by eyes that confuse red and green. */
static const srv_rgb palette[] = {{255, 159, 28},  {46, 196, 255}, {255, 84, 112}, {120, 224, 92},
                                  {199, 125, 255}, {255, 230, 80}, {64, 224, 192}, {255, 140, 220}};
static const srv_rgb prompt_colour = {255, 255, 255};
static const srv_rgb shadow = {0, 0, 0};

enum { DASH = 5, CROSS = 6 };

srv_rgb srv_object_colour(size_t object)
{
    return palette[object % (sizeof palette / sizeof *palette)];
}

srv_rect srv_slice_rect(const dicom_volume_info *info)
{
    const int32_t longer = info->rows > info->cols ? info->rows : info->cols;
    const int32_t scale = longer >= 512 ? 1 : 512 / longer < 4 ? 512 / longer : 4;
    const double stretch = info->spacing_mm[0] / info->spacing_mm[1];
    return (srv_rect){.width = info->cols * scale,
                      .height = (int32_t)lrint(fmin(fmax(info->rows * scale * stretch, 1), 8192))};
}

bool srv_slice_prompted(const srv_picture *p, int32_t slice)
{
    for (size_t o = 0; o < p->objects->n; o++)
        for (int32_t i = 0; i < p->objects->objects[o].n_prompts; i++)
            if (p->objects->objects[o].prompts[i].slice == slice) return true;
    return false;
}

static const uint8_t *mask_of(const srv_picture *p, size_t object, int32_t slice)
{
    return p->results[object].mask + (size_t)slice * (size_t)p->info->rows * (size_t)p->info->cols;
}

static int64_t object_area(const srv_picture *p, size_t object, int32_t slice)
{
    const uint8_t *mask = mask_of(p, object, slice);
    const size_t n = (size_t)p->info->rows * (size_t)p->info->cols;
    int64_t area = 0;
    for (size_t i = 0; i < n; i++)
        area += mask[i];
    return area;
}

int64_t srv_slice_area(const srv_picture *p, int32_t slice)
{
    int64_t area = 0;
    for (size_t o = 0; o < p->objects->n; o++)
        if (slice >= p->results[o].first_slice && slice <= p->results[o].last_slice)
            area += object_area(p, o, slice);
    return area;
}

/* A row or column of the picture: the two of the image that it lies between, edges clamped. */
typedef struct step {
    size_t at[2];
    float weight; /* of the second */
    bool inside;  /* the image */
} step;

typedef struct frame {
    const srv_picture *p;
    int32_t slice;
    srv_rect at;
    srv_view view;
    srv_canvas *c;
    step *across, *down; /* (width), (height) of at */
} frame;

static void fill_steps(step *to, int32_t n, double from, double width, int32_t side)
{
    for (int32_t i = 0; i < n; i++) {
        const double x = from + (i + 0.5) / n * width;
        const double place = fmin(fmax(x - 0.5, 0), side - 1);
        const int32_t first = (int32_t)place;
        to[i] = (step){.at = {(size_t)first, (size_t)(first + 1 < side ? first + 1 : first)},
                       .weight = (float)(place - first),
                       .inside = x >= 0 && x < side};
    }
}

typedef struct bilinear {
    size_t at[4];
    float weight[4];
} bilinear;

/* False outside the image. */
static inline bool sample_at(const frame *f, int32_t x, int32_t y, bilinear *b)
{
    const step *i = &f->across[x], *j = &f->down[y];
    const size_t cols = (size_t)f->p->info->cols;
    if (!i->inside || !j->inside) return false;
    for (int k = 0; k < 4; k++) {
        b->at[k] = j->at[k / 2] * cols + i->at[k % 2];
        b->weight[k] = (k % 2 ? i->weight : 1 - i->weight) * (k / 2 ? j->weight : 1 - j->weight);
    }
    return true;
}

static void draw_grey(const frame *f)
{
    const size_t pixels = (size_t)f->p->info->rows * (size_t)f->p->info->cols;
    const float *slice = f->p->voxels + (size_t)f->slice * pixels;
    const float scale = 255 / (f->p->hi - f->p->lo);
    for (int32_t y = 0; y < f->at.height; y++)
        for (int32_t x = 0; x < f->at.width; x++) {
            bilinear b;
            float v = 0;
            if (!sample_at(f, x, y, &b)) continue;
            for (int k = 0; k < 4; k++)
                v += b.weight[k] * slice[b.at[k]];
            const float level = (v - f->p->lo) * scale;
            const uint8_t grey = level > 0 ? level < 255 ? (uint8_t)level : 255 : 0; /* 0 for a NaN */
            srv_canvas_blend(f->c, f->at.x + x, f->at.y + y, (srv_rgb){grey, grey, grey}, 1);
        }
}

/* Inside where the interpolated mask is over one half: a contour without stairs. */
static void sample_mask(const frame *f, const uint8_t *mask, uint8_t *inside)
{
    const size_t cols = (size_t)f->p->info->cols, width = (size_t)f->at.width;
    for (int32_t y = 0; y < f->at.height; y++, inside += width) {
        const size_t *rows = f->down[y].at;
        if (!memchr(mask + rows[0] * cols, 1, cols) && !memchr(mask + rows[1] * cols, 1, cols)) {
            memset(inside, 0, width);
            continue;
        }
        for (int32_t x = 0; x < f->at.width; x++) {
            bilinear b;
            float v = 0;
            if (sample_at(f, x, y, &b))
                for (int k = 0; k < 4; k++)
                    v += b.weight[k] * (float)mask[b.at[k]];
            inside[x] = v >= 0.5F;
        }
    }
}

/* Two pixels wide, on the inner side: is the border of the mask that near? */
static bool on_contour(const frame *f, const uint8_t *inside, int32_t x, int32_t y)
{
    for (int32_t dy = -2; dy <= 2; dy++)
        for (int32_t dx = -2; dx <= 2; dx++) {
            const int32_t nx = x + dx;
            const int32_t ny = y + dy;
            if (dx * dx + dy * dy > 4 || nx < 0 || ny < 0 || nx >= f->at.width || ny >= f->at.height)
                continue;
            if (!inside[(size_t)ny * (size_t)f->at.width + (size_t)nx]) return true;
        }
    return false;
}

static void draw_mask(const frame *f, size_t object, uint8_t *inside)
{
    const srv_rgb colour = f->p->colours ? f->p->colours[object] : srv_object_colour(object);
    sample_mask(f, mask_of(f->p, object, f->slice), inside);
    for (int32_t y = 0; y < f->at.height; y++)
        for (int32_t x = 0; x < f->at.width; x++) {
            if (!inside[(size_t)y * (size_t)f->at.width + (size_t)x]) continue;
            srv_canvas_blend(f->c, f->at.x + x, f->at.y + y, colour,
                             on_contour(f, inside, x, y) ? 0.95F : 0.25F);
        }
}

static int32_t to_canvas(double v, double from, double to, int32_t start, int32_t length)
{
    const double at = (v - from) / (to - from) * length;
    return start + (int32_t)lrint(fmin(fmax(at, 0), length));
}

static void draw_prompt(const frame *f, const msa_prompt *prompt)
{
    const srv_view *v = &f->view;
    const int32_t x = to_canvas((double)prompt->x0, v->x0, v->x1, f->at.x, f->at.width);
    const int32_t y = to_canvas((double)prompt->y0, v->y0, v->y1, f->at.y, f->at.height);
    if (prompt->kind != MSA_PROMPT_POINT) {
        const int32_t x1 = to_canvas((double)prompt->x1, v->x0, v->x1, f->at.x, f->at.width);
        const int32_t y1 = to_canvas((double)prompt->y1, v->y0, v->y1, f->at.y, f->at.height);
        srv_canvas_frame(f->c, x, y, x1 - x, y1 - y, shadow, 0);
        srv_canvas_frame(f->c, x, y, x1 - x, y1 - y, prompt_colour, DASH);
        return;
    }
    /* A plus for "this", a minus for "not this". */
    srv_canvas_fill(f->c, x - CROSS - 1, y - 2, 2 * CROSS + 3, 5, shadow);
    if (prompt->positive) srv_canvas_fill(f->c, x - 2, y - CROSS - 1, 5, 2 * CROSS + 3, shadow);
    srv_canvas_fill(f->c, x - CROSS, y - 1, 2 * CROSS + 1, 3, prompt_colour);
    if (prompt->positive) srv_canvas_fill(f->c, x - 1, y - CROSS, 3, 2 * CROSS + 1, prompt_colour);
}

static void draw_marks(const frame *f, uint8_t *inside)
{
    const srv_objects *objects = f->p->objects;
    for (size_t o = 0; o < objects->n; o++)
        if (object_area(f->p, o, f->slice) > 0) draw_mask(f, o, inside);
    for (size_t o = 0; o < objects->n; o++)
        for (int32_t i = 0; i < objects->objects[o].n_prompts; i++)
            if (objects->objects[o].prompts[i].slice == f->slice)
                draw_prompt(f, &objects->objects[o].prompts[i]);
}

static msa_status draw(const srv_picture *p, int32_t slice, srv_view view, srv_canvas *c, srv_rect at,
                       bool marks, msa_error *err)
{
    MSA_AUTO_FREE uint8_t *inside = malloc((size_t)at.width * (size_t)at.height);
    MSA_AUTO_FREE step *across = calloc((size_t)at.width, sizeof *across);
    MSA_AUTO_FREE step *down = calloc((size_t)at.height, sizeof *down);
    const frame f = {.p = p, .slice = slice, .at = at, .view = view, .c = c, .across = across, .down = down};
    if (!inside || !across || !down) return msa_fail(err, MSA_E_NOMEM, "out of memory for a picture");
    fill_steps(across, at.width, view.x0, view.x1 - view.x0, p->info->cols);
    fill_steps(down, at.height, view.y0, view.y1 - view.y0, p->info->rows);
    draw_grey(&f);
    if (marks) draw_marks(&f, inside);
    return MSA_OK;
}

msa_status srv_slice_draw(const srv_picture *p, int32_t slice, srv_view view, srv_canvas *c, srv_rect at,
                          msa_error *err)
{
    return draw(p, slice, view, c, at, true, err);
}

msa_status srv_slice_draw_plain(const srv_picture *p, int32_t slice, srv_view view, srv_canvas *c,
                                srv_rect at, msa_error *err)
{
    return draw(p, slice, view, c, at, false, err);
}
