/* Which object of a scene is the target. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/train/synth_scene.h"

enum { SECTORS = 8 };

/* Of one mask: how large, how much border, and how well that is seen. */
typedef struct measure {
    int32_t area, edge; /* edge: pixel sides that border on something else */
    int32_t box;        /* area of the box around it */
    double noise;       /* deviation inside */
    double contrast;    /* mean over the sectors */
    int32_t sectors, seen;
} measure;

static bool lies_in(const msa_synth *s, uint8_t id, uint8_t ancestor)
{
    for (int32_t guard = 0; id != 0 && guard < 16; guard++) {
        if (id == ancestor) return true;
        id = s->parent[id];
    }
    return false;
}

/* member[id]: belongs to the target. */
static void members(const msa_synth *s, uint8_t id, bool filled, bool member[256])
{
    for (int32_t k = 0; k < 256; k++)
        member[k] = k != 0 && (filled ? lies_in(s, (uint8_t)k, id) : k == id);
}

/* Which eighth of the way around, without a square root or an arc tangent. */
static int32_t sector(double x, double y)
{
    return (x < 0 ? 1 : 0) + (y < 0 ? 2 : 0) + (fabs(x) < fabs(y) ? 4 : 0);
}

/* Where a row's pixels of the mask lie: from .. to - 1; none: empty. */
typedef struct span {
    int32_t from, to;
} span;

static span span_of(const uint8_t *row, int32_t size)
{
    const uint8_t *first = memchr(row, 1, (size_t)size);
    if (!first) return (span){0, 0};
    const uint8_t *last = memrchr(row, 1, (size_t)size);
    return (span){(int32_t)(first - row), (int32_t)(last - row) + 1};
}

/* Border pairs by sector: a border is seen where the averages of its two sides differ. */
static void measure_border(const uint8_t *mask, const float *image, int32_t size, double cx, double cy,
                           measure *m)
{
    double inside[SECTORS] = {0}, out[SECTORS] = {0}, n[SECTORS] = {0};
    for (int32_t y = 1; y + 1 < size; y++) {
        const span in = span_of(mask + (size_t)y * (size_t)size, size);
        for (int32_t x = in.from > 1 ? in.from : 1; x < in.to && x + 1 < size; x++) {
            const int32_t i = y * size + x;
            const int32_t near[4] = {i - 1, i + 1, i - size, i + size};
            if (!mask[i]) continue;
            const int32_t k = sector(x - cx, y - cy);
            for (int j = 0; j < 4; j++)
                if (!mask[near[j]]) {
                    /* a pixel further on each side: the border itself is a mixture of both */
                    const int32_t step = near[j] - i, far = near[j] + step, deep = i - step;
                    const bool has_far = far >= 0 && far < size * size && !mask[far];
                    const bool has_deep = deep >= 0 && deep < size * size && mask[deep];
                    out[k] += (double)image[has_far ? far : near[j]];
                    inside[k] += (double)image[has_deep ? deep : i];
                    n[k]++;
                }
        }
    }
    for (int k = 0; k < SECTORS; k++) {
        if (n[k] <= 0) continue;
        const double contrast = fabs(inside[k] - out[k]) / n[k];
        m->sectors++;
        m->contrast += contrast;
        m->seen += contrast > 0.03 && contrast > 0.5 * m->noise;
    }
    if (m->sectors > 0) m->contrast /= m->sectors;
}

static void measure_mask(const uint8_t *mask, const float *image, int32_t size, measure *m)
{
    double sx = 0, sy = 0, sum = 0, square = 0;
    int32_t left = size, right = 0, top = size, bottom = 0;
    *m = (measure){0};
    for (int32_t y = 0; y < size; y++) {
        const span in = span_of(mask + (size_t)y * (size_t)size, size);
        if (in.from == in.to) continue;
        left = in.from < left ? in.from : left;
        right = in.to > right ? in.to : right;
        top = y < top ? y : top;
        bottom = y + 1;
        for (int32_t x = in.from; x < in.to; x++) {
            const int32_t i = y * size + x;
            if (!mask[i]) continue;
            m->area++;
            m->edge += (x == 0 || !mask[i - 1]) + (x + 1 == size || !mask[i + 1]) +
                       (y == 0 || !mask[i - size]) + (y + 1 == size || !mask[i + size]);
            sx += x;
            sy += y;
            if (!image) continue;
            sum += (double)image[i];
            square += (double)image[i] * (double)image[i];
        }
    }
    if (m->area > 0) m->box = (right - left) * (bottom - top);
    if (!image || m->area == 0) return;
    m->noise = sqrt(fmax(square / m->area - sum / m->area * sum / m->area, 0));
    measure_border(mask, image, size, sx / m->area, sy / m->area, m);
}

/* Flood fill over 4-neighbours: pieces are numbered from 1 in `piece`; returns the area. stack (size * size).
 */
static int32_t flood(const uint8_t *mask, int32_t size, int32_t start, int32_t number, int32_t *piece,
                     int32_t *stack)
{
    int32_t n = 0, area = 0;
    stack[n++] = start;
    piece[start] = number;
    while (n > 0) {
        const int32_t i = stack[--n], x = i % size, y = i / size;
        const int32_t near[4] = {x > 0 ? i - 1 : -1, x + 1 < size ? i + 1 : -1, y > 0 ? i - size : -1,
                                 y + 1 < size ? i + size : -1};
        area++;
        for (int k = 0; k < 4; k++)
            if (near[k] >= 0 && mask[near[k]] && piece[near[k]] == 0) {
                piece[near[k]] = number;
                stack[n++] = near[k];
            }
    }
    return area;
}

/* Leaves the piece at (x, y), or else the largest. */
static bool keep_piece(uint8_t *mask, int32_t size, int32_t x, int32_t y)
{
    const size_t n = (size_t)size * (size_t)size;
    MSA_AUTO_FREE int32_t *piece = calloc(n, sizeof *piece);
    MSA_AUTO_FREE int32_t *stack = malloc(n * sizeof *stack);
    int32_t number = 0, best = 0, best_area = 0;
    if (!piece || !stack) return false;
    for (int32_t i = 0; i < size * size; i++) {
        if (!mask[i] || piece[i] != 0) continue;
        const int32_t area = flood(mask, size, i, ++number, piece, stack);
        if (area > best_area) {
            best_area = area;
            best = number;
        }
    }
    const int32_t here = piece[y * size + x];
    if (here != 0) best = here;
    for (size_t i = 0; i < n; i++)
        mask[i] = mask[i] && piece[i] == best;
    return true;
}

int32_t msa_synth_mask(const msa_synth *s, const msa_synth_target *t, const uint8_t *labels, int32_t size,
                       int32_t seed_x, int32_t seed_y, uint8_t *mask)
{
    bool member[256];
    int32_t area = 0;
    members(s, t->id, t->filled, member);
    for (int32_t i = 0; i < size * size; i++)
        mask[i] = member[labels[i]];
    if (t->piece && !keep_piece(mask, size, seed_x, seed_y)) return -1;
    for (int32_t i = 0; i < size * size; i++)
        area += mask[i];
    return area;
}

/* Small, faint and curved ones come more often than their share of the picture; threads and what is not seen
 * hardly ever.
 */
static double weight_of(const measure *m, int32_t size, bool has_image)
{
    const double part = (double)m->area / ((double)size * size);
    const double thin = (double)m->edge * m->edge / (16.0 * m->area); /* 1 for a square */
    double w = part < 0.003 ? 0.7 : part < 0.03 ? 1.2 : part < 0.15 ? 1 : 0.5;
    if (thin > 6) w *= 0.5;
    /* where something else fills most of the box, there is more to learn than where it is an oval in it */
    if (m->area * 5 < m->box * 2)
        w *= 2;
    else if (m->area * 5 < m->box * 3)
        w *= 1.4;
    if (has_image && m->sectors > 0) {
        if (m->seen * 5 < m->sectors * 3)
            w *= 0.05; /* there is next to nothing to be seen */
        else if (m->contrast < 0.1)
            w *= 1.3;
    }
    return w;
}

bool synth_visible(const uint8_t *mask, const float *image, int32_t size)
{
    measure m;
    measure_mask(mask, image, size, &m);
    return m.area > 0 && weight_of(&m, size, true) >= 0.1;
}

static void describe(const uint8_t *mask, int32_t size, uint64_t which, msa_synth_target *out)
{
    int32_t skip = (int32_t)(which % (uint64_t)out->area);
    out->x0 = out->y0 = size;
    out->x1 = out->y1 = 0;
    for (int32_t y = 0; y < size; y++) {
        const span in = span_of(mask + (size_t)y * (size_t)size, size);
        if (in.from == in.to) continue;
        if (in.from < out->x0) out->x0 = in.from;
        if (in.to > out->x1) out->x1 = in.to;
        if (y < out->y0) out->y0 = y;
        out->y1 = y + 1;
        for (int32_t x = in.from; x < in.to && skip >= 0; x++) {
            if (!mask[y * size + x]) continue;
            if (skip-- > 0) continue;
            out->x = x;
            out->y = y;
        }
    }
}

/* One draw among the ids by weight; total is their sum. */
static uint8_t draw(const double weight[256], double total, float unit)
{
    double left = (double)unit * total;
    int32_t last = 0;
    for (int32_t k = 1; k < 256; k++) {
        if (weight[k] <= 0) continue;
        last = k;
        left -= weight[k];
        if (left < 0) break;
    }
    return (uint8_t)last;
}

msa_status synth_pick_mask(const msa_synth *s, uint64_t salt, const uint8_t *labels, const float *image,
                           int32_t size, int32_t min_area, msa_synth_target *out, uint8_t *chosen,
                           msa_error *err)
{
    const size_t n = (size_t)size * (size_t)size;
    MSA_AUTO_FREE uint8_t *mask = malloc(n);
    int32_t area[256] = {0};
    double weight[256] = {0}, total = 0;
    msa_rng r = msa_rng_key(s->seed ^ 0xB1C4, s->index, salt);
    *out = (msa_synth_target){0};
    if (!mask) return msa_fail(err, MSA_E_NOMEM, "out of memory for a synthetic target");
    for (size_t i = 0; i < n; i++)
        area[labels[i]]++;
    for (int32_t k = 1; k < 256; k++) /* first by area alone: what is left is weighed as it would be seen */
        if (area[k] >= min_area && !s->hidden[k] && (size_t)area[k] * 20 < n * 19)
            total += weight[k] = area[k] < (int32_t)n / 300 ? 1.2 : area[k] < (int32_t)n / 8 ? 1 : 0.5;
    for (int attempt = 0; attempt < 12 && total > 0; attempt++) {
        msa_synth_target t = {.id = draw(weight, total, msa_rng_unit(&r))};
        t.filled = msa_rng_chance(&r, 0.92F);
        t.piece = msa_rng_chance(&r, 0.5F);
        t.x = msa_rng_below(&r, size);
        t.y = msa_rng_below(&r, size);
        const uint64_t where = msa_rng_u64(&r);
        t.area = msa_synth_mask(s, &t, labels, size, t.x, t.y, mask);
        if (t.area < 0) return msa_fail(err, MSA_E_NOMEM, "out of memory for a synthetic target");
        if (t.area < min_area || (size_t)t.area * 20 > n * 19) continue;
        measure m;
        measure_mask(mask, image, size, &m);
        const double worth = weight_of(&m, size, image != NULL);
        if (worth < 0.1) continue;
        describe(mask, size, where, &t);
        *out = t;
        if (chosen) memcpy(chosen, mask, n);
        if (msa_rng_unit(&r) < (float)(worth / 2)) break;
    }
    return MSA_OK;
}

msa_status msa_synth_pick(const msa_synth *s, uint64_t salt, const uint8_t *labels, const float *image,
                          int32_t size, int32_t min_area, msa_synth_target *out, msa_error *err)
{
    return synth_pick_mask(s, salt, labels, image, size, min_area, out, NULL, err);
}
