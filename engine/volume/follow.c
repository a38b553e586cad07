#include "engine/volume/follow.h"

#include <math.h>
#include <stdlib.h>

#include "engine/base/pool.h"
#include "engine/kern/vec.h"

enum {
    SIDE = 128,               /* cells of the grid, at most; a cell is one pixel or several */
    PATCH = 1,                /* cells on each side of the one compared */
    RADIUS_MIN = 2,           /* of the search, cells */
    RADIUS_MAX = 5,           /* 121 comparisons a cell */
    PAD = RADIUS_MAX + PATCH, /* around the grid */
    ROOM = SIDE + 2 * PAD,    /* of a row */
    PATCH_CELLS = (2 * PATCH + 1) * (2 * PATCH + 1),
    BAND = 16,   /* rows of cells or pixels that one thread takes at a time */
    CHUNK = 128, /* pixels of a row whose greys are looked at together */
};
#define NOISE       (0.002F * PATCH_CELLS) /* of greys 0..1, squared: what differs by less is alike */
#define STAY        0.4F /* what the pixel itself was counts so much more: where all is alike, nothing moves */
#define NEAR        1.0F /* of the radius: standard deviation of how distance counts */
#define VOTE_LIMIT  4.0F /* log odds */
#define GREY_LIMIT  2.5F
#define GREY_WEIGHT 0.5F
#define RARE        0.002F /* added to shares: what is seen once says little */
#define RING        0.25F  /* of the object's box: how far what is around it reaches */
#define RING_PIXELS 4.0F

struct msa_follow {
    const msa_volume *v;
    float low, scale;                         /* of the grey window */
    int32_t cell, rows, cols, radius;         /* of the guess at hand */
    float from[ROOM * ROOM], to[ROOM * ROOM]; /* greys 0..1 with padding */
    float label[ROOM * ROOM];                 /* share of a cell of `from` that is the object's */
    float least[SIDE * SIDE], sum[SIDE * SIDE], vote[SIDE * SIDE];
};

msa_status msa_follow_new(msa_follow **out, const msa_volume *v, const msa_window *window, msa_error *err)
{
    msa_follow *f = malloc(sizeof *f); /* written before it is read */
    *out = f;
    if (!f) return msa_fail(err, MSA_E_NOMEM, "out of memory for following an object");
    f->v = v;
    f->low = window->lo;
    f->scale = 1.0F / (window->hi - window->lo);
    return MSA_OK;
}

void msa_follow_free(msa_follow *f)
{
    free(f);
}

/* ---- greys ---- */

static int32_t inside(int32_t i, int32_t n)
{
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

/* 0..1; what is not a number is black here, and an error where the network is shown it. */
static float grey_at(const msa_follow *f, const float *slice, int32_t y, int32_t x)
{
    const size_t at = (size_t)inside(y, f->v->H) * (size_t)f->v->W + (size_t)inside(x, f->v->W);
    const float grey = (slice[at] - f->low) * f->scale;
    return grey > 0 ? grey < 1 ? grey : 1 : 0;
}

static const float *slice_of(const msa_follow *f, int32_t slice)
{
    return f->v->voxels + (size_t)slice * (size_t)f->v->H * (size_t)f->v->W;
}

/* Mean of 3 x 3: single pixels are noise. */
static int32_t bin_at(const msa_follow *f, const float *slice, int32_t y, int32_t x)
{
    float sum = 0;
    for (int32_t dy = -1; dy <= 1; dy++)
        for (int32_t dx = -1; dx <= 1; dx++)
            sum += grey_at(f, slice, y + dy, x + dx);
    return inside((int32_t)(sum / 9 * MSA_GREYS), MSA_GREYS);
}

/* The bins of n pixels of a row, n at most CHUNK; the same bits as bin_at(). */
static void bins_at(const msa_follow *f, const float *slice, int32_t y, int32_t x, int32_t n, int32_t *bins)
{
    float grey[3][CHUNK + 2];
    for (int32_t dy = 0; dy < 3; dy++)
        for (int32_t i = 0; i < n + 2; i++)
            grey[dy][i] = grey_at(f, slice, y + dy - 1, x + i - 1);
    for (int32_t i = 0; i < n; i++) {
        float sum = 0;
        for (int32_t dy = 0; dy < 3; dy++)
            for (int32_t dx = 0; dx < 3; dx++)
                sum += grey[dy][i + dx];
        bins[i] = inside((int32_t)(sum / 9 * MSA_GREYS), MSA_GREYS);
    }
}

/* Counts to shares; neighbours count as well, the nearer the more. */
static void shares(const int64_t *counts, float *to)
{
    static const double weight[5] = {0.1, 0.2, 0.4, 0.2, 0.1};
    int64_t n = 0;
    for (int32_t i = 0; i < MSA_GREYS; i++)
        n += counts[i];
    for (int32_t i = 0; i < MSA_GREYS; i++) {
        double sum = 0;
        for (int32_t k = -2; k <= 2; k++)
            sum += weight[k + 2] * (double)counts[inside(i + k, MSA_GREYS)];
        to[i] = n > 0 ? (float)(sum / (double)n) : 0;
    }
}

void msa_follow_learn(const msa_follow *f, int32_t slice, const uint8_t *mask, const msa_mask_stats *stats,
                      msa_greys *out)
{
    const msa_region r =
        msa_box_region(msa_box_grow(msa_region_box(stats->box), RING, RING_PIXELS), f->v->H, f->v->W);
    int64_t object[MSA_GREYS] = {0}, around[MSA_GREYS] = {0};
    for (int32_t y = r.y0; y < r.y1; y++)
        for (int32_t x = r.x0; x < r.x1; x++) {
            const bool in = x >= stats->box.x0 && x < stats->box.x1 && y >= stats->box.y0 &&
                            y < stats->box.y1 && mask[(size_t)y * (size_t)f->v->W + (size_t)x];
            (in ? object : around)[bin_at(f, slice_of(f, slice), y, x)]++;
        }
    shares(object, out->object);
    shares(around, out->around);
}

double msa_follow_fit(const msa_follow *f, const msa_greys *greys, int32_t slice, const uint8_t *mask,
                      msa_region region)
{
    double sum = 0;
    int64_t n = 0;
    for (int32_t y = region.y0; y < region.y1; y++)
        for (int32_t x = region.x0; x < region.x1; x++) {
            if (!mask[(size_t)y * (size_t)f->v->W + (size_t)x]) continue;
            const int32_t bin = bin_at(f, slice_of(f, slice), y, x);
            const double in = (double)greys->object[bin], out = (double)greys->around[bin];
            sum += (in + (double)RARE / 2) / (in + out + (double)RARE);
            n++;
        }
    return n > 0 ? sum / (double)n : 0;
}

/* ---- votes ---- */

static void lay_grid(msa_follow *f, int32_t from, int32_t to, msa_region r)
{
    const int32_t rows = r.y1 - r.y0, cols = r.x1 - r.x0, longer = rows > cols ? rows : cols;
    const float apart_mm = fabsf(f->v->position_mm[to] - f->v->position_mm[from]);
    f->cell = (longer + SIDE - 1) / SIDE;
    f->rows = (rows + f->cell - 1) / f->cell;
    f->cols = (cols + f->cell - 1) / f->cell;
    const float cell_mm = (float)f->cell * fminf(f->v->spacing_mm[0] > 0 ? f->v->spacing_mm[0] : 1,
                                                 f->v->spacing_mm[1] > 0 ? f->v->spacing_mm[1] : 1);
    const float radius = roundf(apart_mm / cell_mm);
    f->radius = radius > RADIUS_MIN ? (int32_t)fminf(radius, RADIUS_MAX) : RADIUS_MIN;
}

/* Means over cells, padding included: of the greys of a slice or, where `mask` is given, of the mask. */
static void fill_grid(const msa_follow *f, const float *slice, const uint8_t *mask, msa_region r, float *to)
{
    const int32_t k = f->cell;
    for (int32_t i = 0; i < f->rows + 2 * PAD; i++)
        for (int32_t j = 0; j < f->cols + 2 * PAD; j++) {
            float sum = 0;
            for (int32_t n = 0; n < k * k; n++) {
                const int32_t y = r.y0 + (i - PAD) * k + n / k, x = r.x0 + (j - PAD) * k + n % k;
                sum +=
                    !mask
                        ? grey_at(f, slice, y, x)
                        : (float)
                              mask[(size_t)inside(y, f->v->H) * (size_t)f->v->W + (size_t)inside(x, f->v->W)];
            }
            to[i * ROOM + j] = sum / (float)(k * k);
        }
}

/* Squared differences between `to` and `from` moved by (dx, dy), summed along rows of patches: of n rows of
 * cells from `first` on, and PATCH on each side. */
static void compare_rows(const msa_follow *f, int32_t first, int32_t n, int32_t dx, int32_t dy,
                         float *squares)
{
    float square[ROOM];
    for (int32_t i = first + PAD - PATCH; i < first + n + PAD + PATCH; i++, squares += SIDE) {
        const float *a = f->from + (i + dy) * ROOM + dx, *b = f->to + i * ROOM;
        for (int32_t j = PAD - PATCH; j < f->cols + PAD + PATCH; j++)
            square[j] = (a[j] - b[j]) * (a[j] - b[j]);
        for (int32_t j = 0; j < f->cols; j++)
            squares[j] = square[PAD + j - 1] + square[PAD + j] + square[PAD + j + 1];
    }
}

/* i: from the first of the rows compared. */
static float patch_distance(const float *squares, int32_t i, int32_t j)
{
    const float *s = squares + i * SIDE + j;
    return s[0] + s[SIDE] + s[2 * SIDE];
}

/* How unlike the best match is: what counts as alike is relative to it. */
static void find_least(msa_follow *f, int32_t first, int32_t n, const float *squares)
{
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = 0; j < f->cols; j++) {
            float *least = &f->least[(first + i) * SIDE + j];
            const float distance = patch_distance(squares, i, j);
            if (distance < *least) *least = distance;
        }
}

static void add_votes(msa_follow *f, int32_t first, int32_t n, int32_t dx, int32_t dy, const float *squares)
{
    const float sigma = NEAR * (float)f->radius;
    const float far = (float)(dx * dx + dy * dy) / (2 * sigma * sigma);
    float weight[SIDE];
    for (int32_t i = 0; i < n; i++) {
        const float *label = f->label + (first + i + PAD + dy) * ROOM + PAD + dx;
        const int32_t row = (first + i) * SIDE;
        for (int32_t j = 0; j < f->cols; j++)
            weight[j] = -patch_distance(squares, i, j) / (f->least[row + j] + NOISE) - far;
        msa_exp(f->cols, weight, weight);
        for (int32_t j = 0; j < f->cols; j++) {
            f->sum[row + j] += weight[j];
            f->vote[row + j] += weight[j] * label[j];
        }
    }
}

static void vote_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    msa_follow *f = ctx;
    const int32_t first = item * BAND, n = f->rows - first < BAND ? f->rows - first : BAND;
    const int32_t r = f->radius, side = 2 * r + 1;
    float squares[(BAND + 2 * PATCH) * SIDE];
    for (int32_t i = first * SIDE; i < (first + n) * SIDE; i++) {
        f->least[i] = HUGE_VALF;
        f->sum[i] = f->vote[i] = 0;
    }
    for (int32_t k = 0; k < side * side; k++) {
        compare_rows(f, first, n, k % side - r, k / side - r, squares);
        find_least(f, first, n, squares);
    }
    for (int32_t k = 0; k < side * side; k++) {
        compare_rows(f, first, n, k % side - r, k / side - r, squares);
        add_votes(f, first, n, k % side - r, k / side - r, squares);
    }
    for (int32_t i = first; i < first + n; i++)
        for (int32_t j = 0; j < f->cols; j++) {
            const float stay = STAY * f->label[(i + PAD) * ROOM + j + PAD];
            f->vote[i * SIDE + j] = (f->vote[i * SIDE + j] / f->sum[i * SIDE + j] + stay) / (1 + STAY);
        }
}

static float limited(float x, float most)
{
    return x < -most ? -most : x > most ? most : x;
}

/* Between the middles of cells. y, x: from the region's corner. */
static float vote_at(const msa_follow *f, int32_t y, int32_t x)
{
    const float k = (float)f->cell;
    const float v = fmaxf(((float)y + 0.5F) / k - 0.5F, 0), u = fmaxf(((float)x + 0.5F) / k - 0.5F, 0);
    const int32_t i = inside((int32_t)v, f->rows), j = inside((int32_t)u, f->cols);
    const int32_t below = inside(i + 1, f->rows), right = inside(j + 1, f->cols);
    const float down = v - (float)i, across = u - (float)j;
    const float upper = f->vote[i * SIDE + j] * (1 - across) + f->vote[i * SIDE + right] * across;
    const float lower = f->vote[below * SIDE + j] * (1 - across) + f->vote[below * SIDE + right] * across;
    return upper * (1 - down) + lower * down;
}

typedef struct guess_job {
    const msa_follow *f;
    const float *slice; /* the one that is asked about */
    msa_region region;
    float by_grey[MSA_GREYS]; /* what a bin says */
    float *out;
} guess_job;

static void guess_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const guess_job *g = ctx;
    const msa_region r = g->region;
    const int32_t first = r.y0 + item * BAND, last = first + BAND < r.y1 ? first + BAND : r.y1;
    float *out = g->out + (size_t)(first - r.y0) * (size_t)(r.x1 - r.x0);
    for (int32_t y = first; y < last; y++)
        for (int32_t x0 = r.x0; x0 < r.x1; x0 += CHUNK) {
            const int32_t n = r.x1 - x0 < CHUNK ? r.x1 - x0 : CHUNK;
            int32_t bins[CHUNK];
            bins_at(g->f, g->slice, y, x0, n, bins);
            for (int32_t i = 0; i < n; i++) {
                const float vote = limited(vote_at(g->f, y - r.y0, x0 + i - r.x0) - 0.5F, 0.499F) + 0.5F;
                *out++ = limited(logf(vote / (1 - vote)), VOTE_LIMIT) + g->by_grey[bins[i]];
            }
        }
}

static int32_t bands(int32_t rows)
{
    return (rows + BAND - 1) / BAND;
}

void msa_follow_guess(msa_follow *f, int32_t from, int32_t to, const uint8_t *mask, msa_region region,
                      const msa_greys *greys, float *out)
{
    guess_job g = {.f = f, .slice = slice_of(f, to), .region = region, .out = out};
    for (int32_t i = 0; i < MSA_GREYS; i++)
        g.by_grey[i] =
            GREY_WEIGHT * limited(logf((greys->object[i] + RARE) / (greys->around[i] + RARE)), GREY_LIMIT);
    lay_grid(f, from, to, region);
    fill_grid(f, slice_of(f, from), NULL, region, f->from);
    fill_grid(f, slice_of(f, to), NULL, region, f->to);
    fill_grid(f, NULL, mask, region, f->label);
    msa_pool_run(vote_item, f, bands(f->rows), MSA_THREADS_MAX);
    msa_pool_run(guess_item, &g, bands(region.y1 - region.y0), MSA_THREADS_MAX);
}
