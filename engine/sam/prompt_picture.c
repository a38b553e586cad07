#include "engine/sam/prompt_picture.h"

#include <math.h>
#include <string.h>

#define BINS        48
#define RARE        0.002 /* added to both shares: what is seen once says little */
#define MOST        1.5f  /* of the second channel, either way */
#define OUTSIDE_MIN 16    /* pixels; a box around everything has no outside to be told from */
#define NEAR        1.35f /* where the outside ends, in units of the box */
#define SAFE        1.16f /* where it begins for the way in: a box may be a little too small */
#define WAY_MOST    2.0f  /* of the root of a way */
#define WAY_NONE    0.25f /* in the box, where nothing has to be crossed */
#define SWEEPS      16    /* there and back; ways that wind more often are taken for longer than they are */

/* Part of the interval first .. first + 1 that lies in low .. high. */
static float covered(float first, float low, float high)
{
    const float from = fmaxf(first, low), to = fminf(first + 1.0f, high);
    return to > from ? to - from : 0.0f;
}

void msa_draw_box(const float box[4], float scale, int32_t h, int32_t w, float value, float *to)
{
    const float x0 = (box[0] + 0.5f) * scale,
                y0 = (box[1] + 0.5f) * scale; /* half a pixel from the centres */
    const float x1 = (box[2] + 0.5f) * scale, y1 = (box[3] + 0.5f) * scale;
    for (int32_t y = 0; y < h; y++) {
        const float row = covered((float)y, y0, y1);
        for (int32_t x = 0; x < w; x++)
            to[(int64_t)y * w + x] = value * (2.0f * row * covered((float)x, x0, x1) - 1.0f);
    }
}

/* Greys of the inside and of the outside of a box. */
typedef struct histograms {
    float low, step;
    int32_t inside[BINS], outside[BINS], n_inside, n_outside;
} histograms;

static int32_t bin_of(const histograms *h, float grey)
{
    const float at = (grey - h->low) / h->step;
    return at <= 0.0f ? 0 : at >= (float)(BINS - 1) ? BINS - 1 : (int32_t)at;
}

static void find_range(const float *grey, int32_t S, int32_t rows, int32_t cols, histograms *h)
{
    float high = grey[0];
    h->low = grey[0];
    for (int32_t y = 0; y < rows; y++)
        for (int32_t x = 0; x < cols; x++) {
            h->low = fminf(h->low, grey[(int64_t)y * S + x]);
            high = fmaxf(high, grey[(int64_t)y * S + x]);
        }
    h->step = fmaxf((high - h->low) / BINS, 1e-6f);
}

/* How far a pixel is from the middle of a box: 1 on its border. */
static float from_middle(const float box[4], int32_t x, int32_t y)
{
    const float rx = fmaxf(0.5f * (box[2] - box[0]), 0.5f), ry = fmaxf(0.5f * (box[3] - box[1]), 0.5f);
    const float u = ((float)x - 0.5f * (box[0] + box[2])) / rx,
                v = ((float)y - 0.5f * (box[1] + box[3])) / ry;
    return fmaxf(fabsf(u), fabsf(v));
}

/* The outside is what lies near the box: what lies farther away need not be of the same kind. */
static void count(const float *grey, int32_t S, int32_t rows, int32_t cols, const float box[4], histograms *h)
{
    for (int32_t y = 0; y < rows; y++)
        for (int32_t x = 0; x < cols; x++) {
            const float r = from_middle(box, x, y);
            const int32_t bin = bin_of(h, grey[(int64_t)y * S + x]);
            if (r < 1.0f) {
                h->inside[bin]++;
                h->n_inside++;
            } else if (r < NEAR) {
                h->outside[bin]++;
                h->n_outside++;
            }
        }
}

/* Neighbours count as well, the nearer the more. */
static double share(const int32_t *counts, int32_t n, int32_t bin)
{
    static const double weight[5] = {0.1, 0.2, 0.4, 0.2, 0.1};
    double sum = 0;
    for (int32_t i = -2; i <= 2; i++) {
        const int32_t at = bin + i < 0 ? 0 : bin + i >= BINS ? BINS - 1 : bin + i;
        sum += weight[i + 2] * counts[at];
    }
    return sum / n;
}

static void draw_likeness(const float *grey, int32_t S, int32_t rows, int32_t cols, const float box[4],
                          float *to)
{
    histograms h = {0};
    float likeness[BINS];
    memset(to, 0, (size_t)S * (size_t)S * sizeof *to);
    find_range(grey, S, rows, cols, &h);
    count(grey, S, rows, cols, box, &h);
    if (h.n_inside == 0 || h.n_outside < OUTSIDE_MIN) return;
    for (int32_t i = 0; i < BINS; i++) {
        const double in = share(h.inside, h.n_inside, i), out = share(h.outside, h.n_outside, i);
        likeness[i] = (float)(0.5 * log((in + RARE) / (out + RARE)));
    }
    for (int32_t y = 0; y < rows; y++)
        for (int32_t x = 0; x < cols; x++) { /* between the middles of bins */
            const float grade = grey[(int64_t)y * S + x];
            const float at = fminf(fmaxf((grade - h.low) / h.step - 0.5f, 0.0f), (float)(BINS - 1));
            const int32_t i = at >= (float)(BINS - 1) ? BINS - 2 : (int32_t)at;
            const float part = at - (float)i, value = likeness[i] + part * (likeness[i + 1] - likeness[i]);
            to[(int64_t)y * S + x] = fminf(fmaxf(value, -MOST), MOST);
        }
}

/* ---- the way in ---- */

static void shorten(const float *grey, int64_t i, int64_t from, float *way, bool *shorter)
{
    const float over = way[from] + fabsf(grey[i] - grey[from]);
    if (over >= way[i]) return;
    way[i] = over;
    *shorter = true;
}

/* Shortest ways from the seeds (0) to all pixels, a step as long as its change of grey. */
static void find_ways(const float *grey, int32_t S, int32_t rows, int32_t cols, float *way)
{
    bool shorter = true;
    for (int32_t k = 0; k < SWEEPS && shorter; k++) {
        shorter = false;
        for (int32_t y = 0; y < rows; y++) {
            const int64_t row = (int64_t)y * S;
            for (int32_t x = 0; x < cols; x++) {
                if (y > 0) shorten(grey, row + x, row + x - S, way, &shorter);
                if (x > 0) shorten(grey, row + x, row + x - 1, way, &shorter);
            }
            for (int32_t x = cols - 2; x >= 0; x--)
                shorten(grey, row + x, row + x + 1, way, &shorter);
        }
        for (int32_t y = rows - 1; y >= 0; y--) {
            const int64_t row = (int64_t)y * S;
            for (int32_t x = cols - 1; x >= 0; x--) {
                if (y + 1 < rows) shorten(grey, row + x, row + x + S, way, &shorter);
                if (x + 1 < cols) shorten(grey, row + x, row + x + 1, way, &shorter);
            }
            for (int32_t x = 1; x < cols; x++)
                shorten(grey, row + x, row + x - 1, way, &shorter);
        }
    }
}

/* The box, and in it how much has to be crossed to get in. */
static void draw_ways(const float *grey, int32_t S, int32_t rows, int32_t cols, const float box[4], float *to)
{
    const float far = WAY_MOST * WAY_MOST; /* nothing farther is told apart */
    for (int64_t i = 0; i < (int64_t)S * S; i++)
        to[i] = far;
    for (int32_t y = 0; y < rows; y++)
        for (int32_t x = 0; x < cols; x++)
            if (from_middle(box, x, y) > SAFE) to[(int64_t)y * S + x] = 0.0f;
    find_ways(grey, S, rows, cols, to);
    for (int32_t y = 0; y < S; y++) {
        const float row = covered((float)y, box[1] + 0.5f, box[3] + 0.5f);
        for (int32_t x = 0; x < S; x++) {
            const float in = row * covered((float)x, box[0] + 0.5f, box[2] + 0.5f);
            float *at = &to[(int64_t)y * S + x];
            *at = in * (WAY_NONE + sqrtf(*at)) - (1.0f - in);
        }
    }
}

void msa_prompt_into_image(const msa_config *c, const float *box, int32_t rows, int32_t cols, float *image)
{
    const int64_t n = (int64_t)c->image_size * c->image_size;
    if (!c->box_in_image) return;
    if (box == NULL) {
        memset(image + n, 0, 2 * (size_t)n * sizeof *image);
        return;
    }
    draw_likeness(image, c->image_size, rows, cols, box, image + n);
    draw_ways(image, c->image_size, rows, cols, box, image + 2 * n);
}
