#include "engine/nn/depth_groups.h"

#include "engine/nn/depth_fold.h"

/* Adds `n` sequences of `length`, when there are any. */
static void add_part(msa_depth_groups *g, msa_depth_layout layout, int64_t n, int64_t length)
{
    if (n == 0 || length == 0) return;
    int32_t rows = (int32_t)length, cols = 1;
    if (layout == MSA_DEPTH_GRID) msa_depth_fold((int32_t)length, &rows, &cols);
    g->part[g->n_parts++] =
        (msa_depth_part){.fold = {rows, cols, rows, cols, (int32_t)n, 1}, .first = g->slots};
    g->slots += n * length;
}

/* Places of a slice that have rows of their own. */
static int64_t places(const msa_stack_rows *r)
{
    return r->split ? msa_windows_tokens(&r->windows) : (int64_t)r->windows.h * r->windows.w;
}

static int64_t window_area(const msa_stack_rows *r)
{
    return (int64_t)r->windows.win_h * r->windows.win_w;
}

/* Of runs: (slice, window) pairs, and how many of them make a run. */
static int64_t items(const msa_stack_rows *r)
{
    return r->slices * msa_windows_count(&r->windows);
}

static int64_t run_length(const msa_config *c, const msa_stack_rows *r)
{
    const int64_t all = items(r);
    return c->depth_chunk == 0 || c->depth_chunk > all ? all : c->depth_chunk;
}

msa_depth_groups msa_depth_groups_make(const msa_config *c, const msa_stack_rows *rows)
{
    msa_depth_groups g = {0};
    if (c->depth_grouping == MSA_DEPTH_VOLUME) {
        add_part(&g, c->depth_fold, places(rows), rows->slices);
    } else if (c->depth_grouping == MSA_DEPTH_RUNS) {
        const int64_t all = items(rows), length = run_length(c, rows), area = window_area(rows);
        add_part(&g, c->depth_fold, all / length * area, length);
        add_part(&g, c->depth_fold, area, all % length);
    }
    return g;
}

/* Row of a place in a window of a slice; item counts (slice, window) pairs. */
static int64_t row_in_window(const msa_stack_rows *r, int64_t item, int64_t place)
{
    const int64_t windows = msa_windows_count(&r->windows), first = item / windows * r->stride;
    const int64_t window = item % windows;
    if (r->split) return first + window * window_area(r) + place;
    const int64_t source = msa_windows_source(&r->windows, window, place);
    return source < 0 ? r->pad_row : first + source;
}

void msa_depth_groups_map(const msa_depth_groups *g, const msa_config *c, const msa_stack_rows *rows,
                          int32_t *row_of)
{
    const bool volume = c->depth_grouping == MSA_DEPTH_VOLUME;
    const int64_t area = window_area(rows), full = volume ? rows->slices : run_length(c, rows);
    for (int32_t p = 0; p < g->n_parts; p++) {
        const msa_windows *fold = &g->part[p].fold;
        const int64_t length = (int64_t)fold->win_h * fold->win_w, begin = p == 0 ? 0 : items(rows) - length;
        for (int64_t s = 0; s < msa_windows_count(fold); s++)
            for (int64_t i = 0; i < length; i++)
                *row_of++ = (int32_t)(volume ? i * rows->stride + s
                                             : row_in_window(rows, begin + s / area * full + i, s % area));
    }
}
