/* Shapes to pixels: coverage from the distance to the border, so that partial volume comes for free. */
#include <math.h>
#include <string.h>

#include "engine/train/synth_scene.h"

static const float far_away = 1e9F;

typedef struct area {
    int32_t x0, y0, x1, y1;
} area;

static float dot(synth_vec a, synth_vec b)
{
    return a.x * b.x + a.y * b.y + a.z * b.z;
}

static synth_vec minus(synth_vec a, synth_vec b)
{
    return (synth_vec){a.x - b.x, a.y - b.y, a.z - b.z};
}

/* ---- positions and textures ---- */

static void warp_corner(const msa_synth *s, synth_canvas *c, float px, float py, float out[3])
{
    const msa_synth_view *v = &c->view;
    const float a = (px / (float)c->size * 2 - 1) * v->half_x;
    const float b = (py / (float)c->size * 2 - 1) * v->half_y;
    const float x = c->origin.x + a * v->right[0] + b * v->down[0];
    const float y = c->origin.y + a * v->right[1] + b * v->down[1];
    const float z = c->origin.z + a * v->right[2] + b * v->down[2];
    /* unevenness as large as the picture: an organ seen closely is no smoother than one seen from afar */
    const float half = fmaxf(v->half_x, v->half_y), k = 1 / half, fine = s->rough * half;
    const synth_field *w = s->warp_field, *u = s->rough_field;
    const float dx =
        s->warp * synth_field_at(&w[0], x, y, z) + fine * synth_field_at(&u[0], x * k, y * k, z * k);
    const float dy =
        s->warp * synth_field_at(&w[1], x, y, z) + fine * synth_field_at(&u[1], x * k, y * k, z * k);
    const float dz = s->warp * synth_field_at(&w[2], x, y, z);
    c->moved = fmaxf(c->moved, dx * dx + dy * dy + dz * dz);
    out[0] = x + dx;
    out[1] = y + dy;
    out[2] = z + dz;
}

/* The warp is smooth: it is computed at the corners of blocks, kept in f for now, and is linear between them.
 */
static void positions(const msa_synth *s, synth_canvas *c)
{
    enum { BLOCK = 4 };
    const int32_t side = (c->size + BLOCK - 1) / BLOCK + 1;
    c->moved = 0;
    for (int32_t y = 0; y < side; y++)
        for (int32_t x = 0; x < side; x++)
            warp_corner(s, c, (float)(x * BLOCK), (float)(y * BLOCK), c->f + 3 * (y * side + x));
    c->moved = sqrtf(c->moved);
    for (int32_t y = 0; y < c->size; y++)
        for (int32_t x = 0; x < c->size; x++) {
            const float u = ((float)(x % BLOCK) + 0.5F) / BLOCK, v = ((float)(y % BLOCK) + 0.5F) / BLOCK;
            const float *k = c->f + 3 * (y / BLOCK * side + x / BLOCK), *m = k + 3 * side;
            const float w0 = (1 - u) * (1 - v), w1 = u * (1 - v), w2 = (1 - u) * v, w3 = u * v;
            const int32_t i = y * c->size + x;
            c->x[i] = w0 * k[0] + w1 * k[3] + w2 * m[0] + w3 * m[3];
            c->y[i] = w0 * k[1] + w1 * k[4] + w2 * m[1] + w3 * m[4];
            c->z[i] = w0 * k[2] + w1 * k[5] + w2 * m[2] + w3 * m[5];
        }
}

/* How many pixels a texture may be linear over: an eighth of its finest wave. */
static int32_t texture_block(const synth_field *f, float waves_per_pixel)
{
    const float *m = f->turn;
    const float frequency = sqrtf(m[3] * m[3] + m[4] * m[4] + m[5] * m[5]) * (f->octaves > 1 ? 2.0F : 1.0F);
    const float wave = 1 / (frequency * waves_per_pixel + 1e-6F);
    return wave > 32 ? 4 : wave > 14 ? 2 : 1;
}

static void one_texture(const synth_canvas *c, const synth_field *f, float scale, float *out)
{
    const int32_t n = c->size, block = texture_block(f, c->pixel * scale);
    for (int32_t y = 0; y < n; y += block)
        for (int32_t x = 0; x < n; x += block) {
            const int32_t i = y * n + x;
            out[i] = synth_field_at(f, c->x[i] * scale, c->y[i] * scale, c->z[i] * scale);
        }
    if (block == 1) return;
    for (int32_t y = 0; y < n; y++) { /* what lies between; the last block repeats its edge */
        const int32_t y0 = y / block * block, y1 = y0 + block < n ? y0 + block : y0;
        const float v = (float)(y - y0) / (float)block;
        for (int32_t x = 0; x < n; x++) {
            const int32_t x0 = x / block * block, x1 = x0 + block < n ? x0 + block : x0;
            const float u = (float)(x - x0) / (float)block;
            if (x == x0 && y == y0) continue;
            const float top = out[y0 * n + x0] * (1 - u) + out[y0 * n + x1] * u;
            const float low = out[y1 * n + x0] * (1 - u) + out[y1 * n + x1] * u;
            out[y * n + x] = top * (1 - v) + low * v;
        }
    }
}

static void textures(const msa_synth *s, synth_canvas *c)
{
    const float half = fmaxf(c->view.half_x, c->view.half_y);
    for (int32_t t = 0; t < SYNTH_TEXTURES; t++) /* one half belongs to the body, one to the picture */
        one_texture(c, &s->texture[t], t % 2 == 0 ? 1 : 1 / half, c->texture[t]);
}

/* ---- where a shape can be ---- */

/* Pixels within `reach` of a point; false: none. */
static bool around(const synth_canvas *c, synth_vec p, float reach, area *out)
{
    const msa_synth_view *v = &c->view;
    const synth_vec d = minus(p, c->origin);
    if (fabsf(dot(d, c->normal)) > reach) return false;
    const float a = d.x * v->right[0] + d.y * v->right[1] + d.z * v->right[2];
    const float b = d.x * v->down[0] + d.y * v->down[1] + d.z * v->down[2];
    const float size = (float)c->size;
    const float x0 = floorf(((a - reach) / v->half_x + 1) * 0.5F * size);
    const float x1 = ceilf(((a + reach) / v->half_x + 1) * 0.5F * size);
    const float y0 = floorf(((b - reach) / v->half_y + 1) * 0.5F * size);
    const float y1 = ceilf(((b + reach) / v->half_y + 1) * 0.5F * size);
    *out = (area){(int32_t)fmaxf(x0 - 1, 0), (int32_t)fmaxf(y0 - 1, 0), (int32_t)fminf(x1 + 1, size),
                  (int32_t)fminf(y1 + 1, size)};
    return out->x0 < out->x1 && out->y0 < out->y1;
}

static float margin(const synth_canvas *c, const synth_shape *p)
{
    return c->moved + fabsf(p->lobe) * 2 + p->ramp + 2 * c->pixel;
}

static void unite(area *a, area b)
{
    if (b.x0 < a->x0) a->x0 = b.x0;
    if (b.y0 < a->y0) a->y0 = b.y0;
    if (b.x1 > a->x1) a->x1 = b.x1;
    if (b.y1 > a->y1) a->y1 = b.y1;
}

/* The cone between two neighbouring points, as a ball that holds it. */
static synth_vec segment_ball(const synth_point *a, const synth_point *b, float *reach)
{
    const synth_vec d = minus(b->at, a->at);
    *reach = 0.5F * sqrtf(dot(d, d)) + fmaxf(a->radius, b->radius);
    return (synth_vec){a->at.x + d.x / 2, a->at.y + d.y / 2, a->at.z + d.z / 2};
}

/* ---- implicit functions ---- */

static float solid_at(const synth_shape *p, synth_vec q, float near)
{
    const float *m = p->to_unit;
    const float a = m[0] * q.x + m[1] * q.y + m[2] * q.z;
    const float b = m[3] * q.x + m[4] * q.y + m[5] * q.z;
    const float d = m[6] * q.x + m[7] * q.y + m[8] * q.z;
    const float r2 = a * a + b * b + d * d;
    if (r2 > near) return far_away;
    float r = sqrtf(r2);
    /* the gradient of the ellipsoid's r turns it into a distance, so that walls have one thickness */
    const float gx = m[0] * a + m[3] * b + m[6] * d;
    const float gy = m[1] * a + m[4] * b + m[7] * d;
    const float gz = m[2] * a + m[5] * b + m[8] * d;
    const float g = sqrtf(gx * gx + gy * gy + gz * gz) / (r + 1e-6F) + 1e-6F;
    if (p->power > 2.5F) { /* boxier: the fourth power is enough and cheap */
        const float r4 = sqrtf(sqrtf(a * a * a * a + b * b * b * b + d * d * d * d));
        r = r4;
    }
    return (r - 1) / g;
}

/* What a plane and a ball leave of it. q from the centre. */
static float cut_away(const synth_shape *p, synth_vec q, float f)
{
    if (p->has_cut) f = fmaxf(f, dot(p->cut, q) - p->cut_at);
    if (p->has_bite) {
        const synth_vec d = minus(q, p->bite);
        f = fmaxf(f, p->bite_radius - sqrtf(dot(d, d)));
    }
    return f;
}

static void solid_field(const synth_canvas *c, const synth_shape *p, area box)
{
    /* beyond that many radii no lobe reaches; a slope is at most that of the shortest axis */
    const float *m = p->to_unit;
    const float steep =
        sqrtf(fmaxf(m[0] * m[0] + m[1] * m[1] + m[2] * m[2],
                    fmaxf(m[3] * m[3] + m[4] * m[4] + m[5] * m[5], m[6] * m[6] + m[7] * m[7] + m[8] * m[8])));
    const float reach = fabsf(p->lobe) * 2 + fabsf(p->inset) + p->wall + 4 * fmaxf(p->ramp, c->pixel);
    const float radii = (p->power > 2.5F ? 1.35F : 1) + steep * reach;
    for (int32_t y = box.y0; y < box.y1; y++)
        for (int32_t x = box.x0; x < box.x1; x++) {
            const int32_t i = y * c->size + x;
            const synth_vec q = {c->x[i] - p->centre.x, c->y[i] - p->centre.y, c->z[i] - p->centre.z};
            const float f = solid_at(p, q, radii * radii);
            c->f[i] = p->wall > 0 ? f : cut_away(p, q, f);
        }
}

static void segment_field(const synth_canvas *c, const synth_point *a, const synth_point *b, area box)
{
    const synth_vec axis = minus(b->at, a->at);
    const float inverse = 1 / (dot(axis, axis) + 1e-12F);
    for (int32_t y = box.y0; y < box.y1; y++)
        for (int32_t x = box.x0; x < box.x1; x++) {
            const int32_t i = y * c->size + x;
            const synth_vec q = {c->x[i] - a->at.x, c->y[i] - a->at.y, c->z[i] - a->at.z};
            float t = dot(q, axis) * inverse;
            t = t < 0 ? 0 : t > 1 ? 1 : t;
            const synth_vec d = {q.x - t * axis.x, q.y - t * axis.y, q.z - t * axis.z};
            const float f = sqrtf(dot(d, d)) - (a->radius + t * (b->radius - a->radius));
            if (f < c->f[i]) c->f[i] = f;
        }
}

/* Tubes: first the box of all their segments, then each segment in its own. */
static bool tube_field(const msa_synth *s, const synth_canvas *c, const synth_shape *p, area *box)
{
    bool any = false;
    for (int pass = 0; pass < 2; pass++) {
        for (int32_t k = p->first; k + 1 < p->first + p->count; k++) {
            const synth_point *a = &s->points[k], *b = a + 1;
            float reach;
            area own;
            if (a->radius < 0 || b->radius < 0) continue;
            const synth_vec middle = segment_ball(a, b, &reach);
            if (!around(c, middle, reach + margin(c, p), &own)) continue;
            if (pass == 1)
                segment_field(c, a, b, own);
            else if (any)
                unite(box, own);
            else
                *box = own;
            any = true;
        }
        if (!any) return false;
        if (pass == 0)
            for (int32_t y = box->y0; y < box->y1; y++)
                for (int32_t x = box->x0; x < box->x1; x++)
                    c->f[y * c->size + x] = far_away;
    }
    return true;
}

/* What solids and tubes have in common: lobes, shells, ridges. */
static void modify_field(const msa_synth *s, const synth_canvas *c, const synth_shape *p, area box)
{
    if (p->lobe == 0 && p->inset == 0 && p->wall <= 0 && p->ridge == 0) return;
    const float near = fabsf(p->lobe) * 2 + fabsf(p->inset) + p->wall + p->ramp + 3 * c->pixel;
    for (int32_t y = box.y0; y < box.y1; y++)
        for (int32_t x = box.x0; x < box.x1; x++) {
            const int32_t i = y * c->size + x;
            float f = c->f[i];
            const bool deep = f < -near && p->wall <= 0;
            if (f > near) continue; /* outside whatever the noise says */
            if (p->lobe != 0 && !deep)
                f += p->lobe * synth_field_at(&s->lobes[p->lobe_field], c->x[i], c->y[i], c->z[i]);
            f += p->inset;
            if (p->wall > 0) { /* cut only now: a part of a shell is open, a plate or a crescent */
                const synth_vec q = {c->x[i] - p->centre.x, c->y[i] - p->centre.y, c->z[i] - p->centre.z};
                f = cut_away(p, q, fabsf(f + p->wall / 2) - p->wall / 2);
            }
            if (p->ridge != 0) {
                const float n = fabsf(synth_field_at(&s->lobes[p->ridge_field], c->x[i], c->y[i], c->z[i]));
                const float side = p->ridge > 0 ? p->ridge - n : n + p->ridge;
                f = fmaxf(f, side * p->ridge_scale);
            }
            c->f[i] = f;
        }
}

/* ---- paint ---- */

static float coverage(const synth_canvas *c, const synth_shape *p, int32_t x, int32_t y, area box)
{
    const int32_t i = y * c->size + x;
    const float f = c->f[i];
    if (f >= far_away / 2) return 0;
    const float width = fmaxf(p->ramp, c->pixel);
    if (fabsf(f) > 3 * width) return f < 0 ? 1 : 0;
    /* f is not quite a distance: its slope says how far the border is */
    float gx = 0, gy = 0;
    if (x > box.x0 && x + 1 < box.x1) gx = (c->f[i + 1] - c->f[i - 1]) * 0.5F;
    if (y > box.y0 && y + 1 < box.y1) gy = (c->f[i + c->size] - c->f[i - c->size]) * 0.5F;
    float slope = sqrtf(gx * gx + gy * gy);
    if (slope > 4 * c->pixel) slope = 4 * c->pixel; /* beside what is far away */
    slope = fmaxf(slope, 0.25F * c->pixel) * (width / c->pixel);
    const float a = 0.5F - f / slope;
    return a < 0 ? 0 : a > 1 ? 1 : a;
}

static void put(synth_canvas *c, const synth_shape *p, int32_t i, float alpha, float value, uint8_t id)
{
    if (c->colour) {
        if (p->texture > 0) value += p->texture * c->texture[p->texture_field][i];
        c->image[i] += alpha * (value - c->image[i]);
    }
    if (alpha >= 0.5F) c->labels[i] = id;
}

static void paint_field(const msa_synth *s, synth_canvas *c, const synth_shape *p, area box)
{
    (void)s;
    for (int32_t y = box.y0; y < box.y1; y++)
        for (int32_t x = box.x0; x < box.x1; x++) {
            const int32_t i = y * c->size + x;
            float alpha = coverage(c, p, x, y, box);
            if (alpha > 0 && p->clip >= 0) alpha *= c->slot[p->clip][i];
            if (p->save >= 0) c->slot[p->save][i] = alpha;
            if (alpha > 0) put(c, p, i, alpha, p->value, p->id);
        }
}

/* Nearest and second nearest seed; a gap of the shape's own value lies between, where it has one. */
static void paint_parts(const msa_synth *s, synth_canvas *c, const synth_shape *p)
{
    for (int32_t i = 0; i < c->size * c->size; i++) {
        const float cover = c->slot[p->clip][i];
        if (cover <= 0) continue;
        float first = far_away, second = far_away;
        synth_vec q = {c->x[i], c->y[i], c->z[i]};
        if (p->lobe > 0) { /* borders between parts are not straight */
            q.x += p->lobe * synth_field_at(&s->lobes[p->lobe_field], q.x, q.y, q.z);
            q.y += p->lobe * synth_field_at(&s->lobes[p->lobe_field], q.x + 3, q.y, q.z);
        }
        int32_t one = p->first, two = p->first;
        for (int32_t k = p->first; k < p->first + p->count; k++) {
            const synth_vec d = {s->cells[k].at.x - q.x, s->cells[k].at.y - q.y,
                                 (s->cells[k].at.z - q.z) * 0.6F};
            const float r = dot(d, d);
            if (r < first) {
                second = first;
                two = one;
                first = r;
                one = k;
            } else if (r < second) {
                second = r;
                two = k;
            }
        }
        const float away = (sqrtf(second) - sqrtf(first)) * 0.5F;
        if (p->gap > 0) {
            float a = 0.5F + (away - p->gap / 2) / c->pixel;
            a = a < 0 ? 0 : a > 1 ? 1 : a;
            put(c, p, i, a * cover, s->cells[one].value, s->cells[one].id);
        } else {
            float a = 0.5F + away / c->pixel;
            a = a > 1 ? 1 : a;
            const float value = a * s->cells[one].value + (1 - a) * s->cells[two].value;
            put(c, p, i, cover, value, s->cells[one].id);
        }
    }
}

static void paint_map(const msa_synth *s, synth_canvas *c, const synth_shape *p)
{
    for (int32_t i = 0; i < c->size * c->size; i++) {
        const float cover = c->slot[p->clip][i];
        float best = -far_away;
        int32_t one = 0;
        if (cover <= 0) continue;
        for (int32_t k = 0; k < p->count; k++) {
            const float n = synth_field_at(&s->maps[k], c->x[i], c->y[i], c->z[i]);
            if (n > best) {
                best = n;
                one = k;
            }
        }
        put(c, p, i, cover, s->cells[p->first + one].value, s->cells[p->first + one].id);
    }
}

static void paint_shape(const msa_synth *s, synth_canvas *c, const synth_shape *p)
{
    area box = {0, 0, 0, 0};
    if (p->save >= 0) memset(c->slot[p->save], 0, (size_t)c->size * (size_t)c->size * sizeof(float));
    switch (p->kind) {
    case SYNTH_SOLID:
        if (!around(c, p->centre, p->reach + margin(c, p), &box)) return;
        solid_field(c, p, box);
        break;
    case SYNTH_TUBE:
        if (!tube_field(s, c, p, &box)) return;
        break;
    case SYNTH_PARTS:
        paint_parts(s, c, p);
        return;
    case SYNTH_MAP:
        paint_map(s, c, p);
        return;
    }
    modify_field(s, c, p, box);
    paint_field(s, c, p, box);
}

void synth_paint(const msa_synth *s, synth_canvas *c)
{
    const size_t n = (size_t)c->size * (size_t)c->size;
    positions(s, c);
    if (c->colour) textures(s, c);
    memset(c->labels, 0, n);
    for (size_t i = 0; c->colour && i < n; i++)
        c->image[i] = s->background;
    for (int32_t k = 0; k < s->n_shapes; k++)
        paint_shape(s, c, &s->shapes[k]);
}
