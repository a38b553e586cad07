/* The worst labels as pictures: the slice with most wrong voxels, whole and near. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/segment/preview.h"
#include "server/tool/eval.h"
#include "server/tool/tool.h"

enum { TILE = 480, GAP = 8, BORDER = 12, HEADER = 64, TEXT = 2, PROMPTS = 4 };

static const srv_rgb background = {18, 20, 24};
static const srv_rgb bright_text = {235, 238, 242};

typedef struct shot {
    char place[SRV_CASE_NAME], label[DICOM_LABEL_MAX];
    msa_eval_score score;
    int32_t slice, rows, cols;
    double spacing_mm[2];
    float lo, hi;
    float *image;
    uint8_t *masks[2]; /* result, reference */
    msa_prompt prompts[PROMPTS];
    int32_t n_prompts;
} shot;

struct srv_worst {
    shot *list[SRV_WORST_MAX]; /* the worst first */
    int32_t n;
};

static void shot_free(shot *s)
{
    if (!s) return;
    free(s->image);
    free(s->masks[0]);
    free(s->masks[1]);
    free(s);
}
MSA_DEFINE_AUTO(shot, shot_free);

msa_status srv_worst_new(srv_worst **out, msa_error *err)
{
    *out = calloc(1, sizeof **out);
    return *out ? MSA_OK : msa_fail(err, MSA_E_NOMEM, "out of memory for pictures");
}

void srv_worst_free(srv_worst *w)
{
    if (!w) return;
    for (int32_t i = 0; i < w->n; i++)
        shot_free(w->list[i]);
    free(w);
}

/* ---- choosing ---- */

static int32_t most_wrong(const uint8_t *a, const uint8_t *b, int32_t slices, size_t pixels)
{
    int64_t most = -1;
    int32_t best = 0;
    for (int32_t k = 0; k < slices; k++) {
        int64_t wrong = 0;
        for (size_t i = 0; i < pixels; i++)
            wrong += a[(size_t)k * pixels + i] != b[(size_t)k * pixels + i];
        if (wrong <= most) continue;
        most = wrong;
        best = k;
    }
    return best;
}

static void *copy_of(const void *from, size_t bytes)
{
    void *to = malloc(bytes);
    if (to) memcpy(to, from, bytes);
    return to;
}

static msa_status take_shot(shot **out, const srv_case *c, const srv_label_result *label,
                            const uint8_t *result, const uint8_t *reference, msa_error *err)
{
    const msa_volume *v = &c->volume;
    const size_t pixels = (size_t)v->H * (size_t)v->W;
    MSA_AUTO(shot) s = calloc(1, sizeof *s);
    if (!s) return msa_fail(err, MSA_E_NOMEM, "out of memory for a picture");
    s->slice = most_wrong(result, reference, v->D, pixels);
    const size_t at = (size_t)s->slice * pixels;
    memcpy(s->place, c->name, sizeof s->place);
    memcpy(s->label, label->name, sizeof s->label);
    s->score = label->score;
    s->rows = v->H;
    s->cols = v->W;
    s->spacing_mm[0] = c->spacing_mm[1];
    s->spacing_mm[1] = c->spacing_mm[2];
    s->image = copy_of(v->voxels + at, pixels * sizeof *s->image);
    s->masks[0] = copy_of(result + at, pixels);
    s->masks[1] = copy_of(reference + at, pixels);
    if (!s->image || !s->masks[0] || !s->masks[1])
        return msa_fail(err, MSA_E_NOMEM, "out of memory for a picture");
    MSA_TRY(msa_volume_window(v, &s->lo, &s->hi, err));
    *out = MSA_STEAL(s);
    return MSA_OK;
}

msa_status srv_worst_offer(srv_worst *w, const srv_case *c, const srv_label_result *label,
                           const uint8_t *result, const uint8_t *reference, const msa_prompt *prompts,
                           int32_t n_prompts, msa_error *err)
{
    int32_t at = w->n;
    shot *s = NULL;
    if (label->score.voxels < SRV_EVAL_VOXELS_MIN) return MSA_OK;
    while (at > 0 && label->score.dice < w->list[at - 1]->score.dice)
        at--;
    if (at == SRV_WORST_MAX) return MSA_OK;
    MSA_TRY(take_shot(&s, c, label, result, reference, err));
    for (int32_t i = 0; i < n_prompts && s->n_prompts < PROMPTS; i++) {
        if (prompts[i].slice != s->slice) continue;
        s->prompts[s->n_prompts] = prompts[i];
        s->prompts[s->n_prompts++].slice = 0; /* the picture has one slice */
    }
    if (w->n == SRV_WORST_MAX) shot_free(w->list[--w->n]);
    memmove(&w->list[at + 1], &w->list[at], (size_t)(w->n - at) * sizeof *w->list);
    w->list[at] = s;
    w->n++;
    return MSA_OK;
}

/* ---- drawing ---- */

/* Around both masks, square in millimetres. */
static srv_view near_view(const shot *s)
{
    double x0 = s->cols;
    double y0 = s->rows;
    double x1 = 0;
    double y1 = 0;
    for (int32_t y = 0; y < s->rows; y++)
        for (int32_t x = 0; x < s->cols; x++) {
            const size_t i = (size_t)y * (size_t)s->cols + (size_t)x;
            if (!s->masks[0][i] && !s->masks[1][i]) continue;
            x0 = fmin(x0, x);
            y0 = fmin(y0, y);
            x1 = fmax(x1, x + 1);
            y1 = fmax(y1, y + 1);
        }
    const double side = 1.6 * fmax(fmax((x1 - x0) * s->spacing_mm[1], (y1 - y0) * s->spacing_mm[0]), 8);
    const double half_w = side / 2 / s->spacing_mm[1];
    const double half_h = side / 2 / s->spacing_mm[0];
    return (srv_view){(x0 + x1) / 2 - half_w, (y0 + y1) / 2 - half_h, (x0 + x1) / 2 + half_w,
                      (y0 + y1) / 2 + half_h};
}

static srv_view whole_view(const shot *s)
{
    const double side = fmax(s->cols * s->spacing_mm[1], s->rows * s->spacing_mm[0]);
    const double half_w = side / 2 / s->spacing_mm[1];
    const double half_h = side / 2 / s->spacing_mm[0];
    return (srv_view){s->cols / 2.0 - half_w, s->rows / 2.0 - half_h, s->cols / 2.0 + half_w,
                      s->rows / 2.0 + half_h};
}

static void draw_header(const shot *s, srv_canvas *c)
{
    char text[160];
    (void)snprintf(text, sizeof text, "%.36s  %.36s", s->place, s->label);
    srv_canvas_text(c, BORDER, 12, TEXT, bright_text, text);
    (void)snprintf(text, sizeof text, "Dice %.3f of the volume, slice %d:", s->score.dice, s->slice);
    srv_canvas_text(c, BORDER, 38, TEXT, bright_text, text);
    int32_t x = BORDER + srv_canvas_text_width(text, TEXT) + 16;
    srv_canvas_text(c, x, 38, TEXT, srv_object_colour(0), "result");
    x += srv_canvas_text_width("result", TEXT) + 16;
    srv_canvas_text(c, x, 38, TEXT, srv_object_colour(1), "reference");
}

static msa_status draw(const shot *s, const char *path, msa_error *err)
{
    MSA_AUTO(srv_canvas) canvas = NULL;
    msa_object objects[2] = {{.prompts = s->prompts, .n_prompts = s->n_prompts}};
    const srv_objects both = {.n = 2, .objects = objects};
    const dicom_volume_info info = {
        .rows = s->rows, .cols = s->cols, .slices = 1, .spacing_mm = {s->spacing_mm[0], s->spacing_mm[1]}};
    const msa_object_result results[2] = {{.mask = s->masks[0]}, {.mask = s->masks[1]}};
    const srv_picture picture = {
        .info = &info, .voxels = s->image, .lo = s->lo, .hi = s->hi, .objects = &both, .results = results};
    MSA_TRY(srv_canvas_new(&canvas, 2 * BORDER + 2 * TILE + GAP, HEADER + TILE + BORDER, background, err));
    draw_header(s, canvas);
    MSA_TRY(srv_slice_draw(&picture, 0, whole_view(s), canvas, (srv_rect){BORDER, HEADER, TILE, TILE}, err));
    MSA_TRY(srv_slice_draw(&picture, 0, near_view(s), canvas,
                           (srv_rect){BORDER + TILE + GAP, HEADER, TILE, TILE}, err));
    return srv_canvas_save(canvas, path, err);
}

/* Letters, digits, '_' and '-' of a name that came from outside; the number in front tells them apart. */
static void plain(char *to, size_t size, const char *from)
{
    size_t n = 0;
    for (; *from && n + 1 < size; from++)
        to[n++] = isalnum((unsigned char)*from) && (unsigned char)*from < 128 ? *from : '-';
    to[n] = '\0';
}

msa_status srv_worst_write(const srv_worst *w, const char *dir, msa_error *err)
{
    MSA_TRY(srv_tool_make_folder(dir, err));
    for (int32_t i = 0; i < w->n; i++) {
        char path[4096];
        char place[64];
        char label[64];
        plain(place, sizeof place, w->list[i]->place);
        plain(label, sizeof label, w->list[i]->label);
        const int n = snprintf(path, sizeof path, "%s/worst-%02d-%s-%s.png", dir, i + 1, place, label);
        if (n < 0 || (size_t)n >= sizeof path)
            return msa_fail(err, MSA_E_INVALID, "the path of the folder of pictures is too long");
        MSA_TRY(draw(w->list[i], path, err));
    }
    return MSA_OK;
}
