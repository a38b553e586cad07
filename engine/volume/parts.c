#include "engine/volume/parts.h"

#include <stddef.h>

enum { SEEN = 2 }; /* beside 0 and 1: a bit */

typedef struct grid {
    uint8_t *mask;
    int32_t rows, cols;
    int32_t *list; /* pixels of the part at hand, in the order in which they were reached */
} grid;

static int64_t enter(const grid *g, int32_t y, int32_t x, uint8_t value, int64_t n)
{
    if (y < 0 || y >= g->rows || x < 0 || x >= g->cols) return n;
    const int32_t at = y * g->cols + x;
    if (g->mask[at] != value) return n;
    g->mask[at] = (uint8_t)(value | SEEN);
    g->list[n] = at;
    return n + 1;
}

/* The part of `value` pixels around `start`, marked as seen. Returns its size. */
static int64_t gather(const grid *g, int32_t start, uint8_t value)
{
    int64_t n = enter(g, start / g->cols, start % g->cols, value, 0);
    for (int64_t k = 0; k < n; k++) {
        const int32_t y = g->list[k] / g->cols, x = g->list[k] % g->cols;
        for (int32_t dy = -1; dy <= 1; dy++)
            for (int32_t dx = -1; dx <= 1; dx++)
                n = enter(g, y + dy, x + dx, value, n);
    }
    return n;
}

/* Parts of `value` pixels that are smaller than `least` turn into the other value. */
static void turn_small(const grid *g, uint8_t value, int64_t least)
{
    const int32_t pixels = g->rows * g->cols;
    for (int32_t i = 0; i < pixels; i++) {
        if (g->mask[i] != value) continue;
        const int64_t n = gather(g, i, value);
        for (int64_t k = 0; k < n && n < least; k++)
            g->mask[g->list[k]] = (uint8_t)((1 - value) | SEEN);
    }
    for (int32_t i = 0; i < pixels; i++)
        g->mask[i] &= 1u;
}

void msa_parts_clean(uint8_t *mask, int32_t rows, int32_t cols, int64_t least, int32_t *list)
{
    const grid g = {mask, rows, cols, list};
    if (least <= 1) return;
    turn_small(&g, 0, least);
    turn_small(&g, 1, least);
}

static msa_region box_of_list(const grid *g, int64_t n)
{
    msa_region box = {g->cols, g->rows, 0, 0};
    for (int64_t k = 0; k < n; k++) {
        const int32_t y = g->list[k] / g->cols, x = g->list[k] % g->cols;
        box = (msa_region){x < box.x0 ? x : box.x0, y < box.y0 ? y : box.y0, x >= box.x1 ? x + 1 : box.x1,
                           y >= box.y1 ? y + 1 : box.y1};
    }
    return box;
}

static msa_region both(msa_region a, msa_region b)
{
    return (msa_region){a.x0 < b.x0 ? a.x0 : b.x0, a.y0 < b.y0 ? a.y0 : b.y0, a.x1 > b.x1 ? a.x1 : b.x1,
                        a.y1 > b.y1 ? a.y1 : b.y1};
}

int32_t msa_parts_boxes(const uint8_t *mask, int32_t rows, int32_t cols, msa_region *boxes, int32_t most,
                        uint8_t *work, int32_t *list)
{
    const grid g = {work, rows, cols, list};
    int32_t n = 0;
    for (int32_t i = 0; i < rows * cols; i++)
        work[i] = mask[i] != 0;
    for (int32_t i = 0; i < rows * cols; i++) {
        if (work[i] != 1) continue;
        const msa_region box = box_of_list(&g, gather(&g, i, 1));
        if (n < most)
            boxes[n++] = box;
        else
            boxes[most - 1] = both(boxes[most - 1], box);
    }
    return n;
}
