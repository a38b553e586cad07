#include "engine/volume/geometry.h"

#include <math.h>

#include "engine/volume/resize8.h"

msa_transform msa_transform_make(msa_geometry geometry, int32_t rows, int32_t cols, int32_t size)
{
    msa_transform t = {.rows = rows, .cols = cols, .in_rows = size, .in_cols = size, .size = size};
    if (geometry == MSA_GEOMETRY_LONGEST_SIDE) {
        msa_longest_side(rows, cols, size, &t.in_rows, &t.in_cols);
        if (t.in_rows < 1) t.in_rows = 1; /* a strip so thin that rounding would lose it */
        if (t.in_cols < 1) t.in_cols = 1;
    }
    return t;
}

msa_transform msa_transform_part(msa_geometry geometry, msa_region part, const float spacing_mm[2],
                                 int32_t size)
{
    msa_transform t = msa_transform_make(geometry, part.y1 - part.y0, part.x1 - part.x0, size);
    t.x0 = part.x0;
    t.y0 = part.y0;
    if (geometry != MSA_GEOMETRY_LONGEST_SIDE || spacing_mm[0] == spacing_mm[1]) return t;
    const float height = (float)t.rows * spacing_mm[0];
    const float width = (float)t.cols * spacing_mm[1];
    const float scale = (float)size / fmaxf(height, width);
    t.in_rows = (int32_t)fminf(fmaxf(height * scale + 0.5F, 1), (float)size);
    t.in_cols = (int32_t)fminf(fmaxf(width * scale + 0.5F, 1), (float)size);
    return t;
}

msa_region msa_transform_region(const msa_transform *t)
{
    return (msa_region){t->x0, t->y0, t->x0 + t->cols, t->y0 + t->rows};
}

/* The offset is whole pixels, so taking it off a coordinate rounds nothing: a part behaves to the bit as an
 * image cut out by hand. */
void msa_transform_to_input(const msa_transform *t, float x, float y, float *in_x, float *in_y)
{
    *in_x = (x - (float)t->x0) * (float)t->in_cols / (float)t->cols - 0.5F;
    *in_y = (y - (float)t->y0) * (float)t->in_rows / (float)t->rows - 0.5F;
}

void msa_transform_to_image(const msa_transform *t, float in_x, float in_y, float *x, float *y)
{
    *x = (in_x + 0.5F) * (float)t->cols / (float)t->in_cols + (float)t->x0;
    *y = (in_y + 0.5F) * (float)t->rows / (float)t->in_rows + (float)t->y0;
}

msa_box msa_box_clip(msa_box b, int32_t rows, int32_t cols)
{
    return msa_box_intersect(b, (msa_box){0, 0, (float)cols, (float)rows});
}

bool msa_box_empty(msa_box b)
{
    return !(b.x0 < b.x1 && b.y0 < b.y1);
}

msa_box msa_box_intersect(msa_box a, msa_box b)
{
    return (msa_box){fmaxf(a.x0, b.x0), fmaxf(a.y0, b.y0), fminf(a.x1, b.x1), fminf(a.y1, b.y1)};
}

msa_box msa_box_union(msa_box a, msa_box b)
{
    return (msa_box){fminf(a.x0, b.x0), fminf(a.y0, b.y0), fmaxf(a.x1, b.x1), fmaxf(a.y1, b.y1)};
}

msa_box msa_box_grow(msa_box b, float fraction, float at_least)
{
    const float by_x = fmaxf((b.x1 - b.x0) * fraction, at_least);
    const float by_y = fmaxf((b.y1 - b.y0) * fraction, at_least);
    return (msa_box){b.x0 - by_x, b.y0 - by_y, b.x1 + by_x, b.y1 + by_y};
}

msa_box msa_box_between(msa_box a, msa_box b, float t)
{
    return (msa_box){a.x0 + (b.x0 - a.x0) * t, a.y0 + (b.y0 - a.y0) * t, a.x1 + (b.x1 - a.x1) * t,
                     a.y1 + (b.y1 - a.y1) * t};
}

msa_region msa_box_region(msa_box b, int32_t rows, int32_t cols)
{
    const msa_box inside = msa_box_clip(b, rows, cols);
    if (msa_box_empty(inside)) return (msa_region){0, 0, 0, 0};
    return (msa_region){(int32_t)floorf(inside.x0), (int32_t)floorf(inside.y0), (int32_t)ceilf(inside.x1),
                        (int32_t)ceilf(inside.y1)};
}

msa_region msa_region_intersect(msa_region a, msa_region b)
{
    return (msa_region){a.x0 > b.x0 ? a.x0 : b.x0, a.y0 > b.y0 ? a.y0 : b.y0, a.x1 < b.x1 ? a.x1 : b.x1,
                        a.y1 < b.y1 ? a.y1 : b.y1};
}

bool msa_region_empty(msa_region r)
{
    return !(r.x0 < r.x1 && r.y0 < r.y1);
}

msa_box msa_region_box(msa_region r)
{
    return (msa_box){(float)r.x0, (float)r.y0, (float)r.x1, (float)r.y1};
}
