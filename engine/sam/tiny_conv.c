#include <string.h>

#include "engine/base/pool.h"
#include "engine/kern/vec.h"
#include "engine/nn/depthwise.h"
#include "engine/sam/tiny_vit.h"

/* Pixels that go through the wide middle of a block together; it never exists as a whole. */
#define STRIP_PIXELS 4096

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

static msa_linear linear_of(const msa_tiny_conv *c)
{
    return (msa_linear){.weight = c->weight, .bias = c->bias, .packed = c->packed, .N = c->N, .K = c->K};
}

static int32_t strip_lines(int32_t w)
{
    return w < STRIP_PIXELS ? STRIP_PIXELS / w : 1;
}

/* ---- the beginning: two convolutions of stride 2 ---- */

/* One line of the output of a 3 x 3 convolution, stride 2, as rows for a matrix product: of planes (C, 2 h,
 * 2 w) in (channel, row, column) order, or of pixels (2 h, 2 w, C) in (row, column, channel) order. */
static void plane_rows(const float *image, int32_t C, int32_t H, int32_t W, int32_t y, float *out)
{
    for (int32_t x = 0; x < W / 2; x++)
        for (int32_t c = 0; c < C; c++)
            for (int32_t i = 2 * y - 1; i <= 2 * y + 1; i++)
                for (int32_t j = 2 * x - 1; j <= 2 * x + 1; j++) /* only -1 is outside: the sides are even */
                    *out++ = i < 0 || j < 0 ? 0.0f : image[((int64_t)c * H + i) * W + j];
}

static void pixel_rows(const float *x, int32_t C, int32_t W, int32_t y, float *out)
{
    const size_t bytes = (size_t)C * sizeof *out;
    for (int32_t ox = 0; ox < W / 2; ox++)
        for (int32_t i = 2 * y - 1; i <= 2 * y + 1; i++)
            for (int32_t j = 2 * ox - 1; j <= 2 * ox + 1; j++, out += C) {
                if (i < 0 || j < 0)
                    memset(out, 0, bytes);
                else
                    memcpy(out, x + ((int64_t)i * W + j) * C, bytes);
            }
}

typedef struct embed_job {
    const msa_tiny_tables *t;
    const float *from;
    float *rows, *to;
    int32_t H, W; /* of the input; the output has half of each */
    int32_t first, which;
} embed_job;

/* A line of a strip: spread out; the strip's product follows. */
static void spread_line(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const embed_job *j = ctx;
    const msa_tiny_conv *c = &j->t->embed[j->which];
    float *out = j->rows + (int64_t)item * (j->W / 2) * c->K;
    if (j->which == 0)
        plane_rows(j->from, 3, j->H, j->W, j->first + item, out);
    else
        pixel_rows(j->from, c->K / 9, j->W, j->first + item, out);
}

static void embed_one(embed_job *j)
{
    const msa_tiny_conv *c = &j->t->embed[j->which];
    const msa_linear l = linear_of(c);
    const int32_t h = j->H / 2, w = j->W / 2, lines = strip_lines(w);
    for (j->first = 0; j->first < h; j->first += lines) {
        const int32_t n = h - j->first < lines ? h - j->first : lines;
        msa_pool_run(spread_line, j, n, MSA_THREADS_MAX);
        msa_linear_forward(&l, (int64_t)n * w, j->rows, c->K, j->to + (int64_t)j->first * w * c->N, c->N,
                           j->which == 0 ? MSA_EPILOGUE_GELU : MSA_EPILOGUE_NONE);
    }
}

static size_t spread_floats(int32_t w, int32_t K)
{
    return (size_t)strip_lines(w) * (size_t)w * (size_t)K;
}

size_t msa_tiny_embed_floats(const msa_config *c, int32_t h, int32_t w)
{
    const int32_t half = c->stage_dims[0] / 2;
    return 4 * (size_t)h * (size_t)w * (size_t)half +
           max_size(spread_floats(2 * w, 27), spread_floats(w, 9 * half));
}

void msa_tiny_embed(const msa_tiny_tables *t, const float *image, int32_t h, int32_t w, float *room, float *x)
{
    float *rows = room + 4 * (int64_t)h * w * t->embed[0].N;
    embed_job first = {.t = t, .from = image, .rows = rows, .to = room, .H = 4 * h, .W = 4 * w, .which = 0};
    embed_job second = {.t = t, .from = room, .rows = rows, .to = x, .H = 2 * h, .W = 2 * w, .which = 1};
    embed_one(&first);
    embed_one(&second);
}

/* ---- 1 x 1, 3 x 3 by channel, 1 x 1 ---- */

/* Lines of the wide grid that are there: enter's results. */
typedef struct strip_job {
    const msa_tiny_conv_block *b;
    const float *zeros;
    float *lines;    /* (lines, w, C): from line `base` on */
    float *each;     /* (lines, across, C) */
    float *left, *x; /* of the sum: leave's results, and the pixels in whose place it goes */
    int32_t h, w, across, stride;
    int32_t base, first;
} strip_job;

static size_t enter_lines(int32_t w)
{
    const size_t lines = (size_t)strip_lines(w);
    return max_size(2 * lines + 1, lines + 2); /* of stride 2; of stride 1 */
}

size_t msa_tiny_conv_floats(int32_t hidden, int32_t N, int32_t w)
{
    const size_t pixels = (size_t)w, C = (size_t)hidden, strip = (size_t)strip_lines(w) * pixels;
    return enter_lines(w) * pixels * C + strip * C + strip * (size_t)N;
}

static void each_line(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const strip_job *j = ctx;
    const msa_tiny_conv *c = &j->b->each;
    const int64_t line = (int64_t)j->w * c->N;
    const float *lines[3];
    float *y = j->each + (int64_t)item * j->across * c->N;
    for (int32_t k = 0; k < 3; k++) {
        const int32_t from = (j->first + item) * j->stride + k - 1;
        lines[k] = from >= 0 && from < j->h ? j->lines + (from - j->base) * line : NULL;
    }
    msa_depthwise3x3_line(lines, j->w, c->N, c->weight, c->bias, j->zeros, j->stride, y);
    msa_gelu((int64_t)j->across * c->N, y, y);
}

static void sum_line(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const strip_job *j = ctx;
    const int64_t n = (int64_t)j->w * j->b->leave.N;
    float *x = j->x + (j->first + item) * n;
    msa_add(n, x, j->left + item * n, x);
    msa_gelu(n, x, x);
}

/* Strip after strip: enter's lines are computed once, the last ones move to the front for the next strip.
 * What a strip writes to x lies above all that is still to be read. */
static void run_strips(strip_job *j, const float *x, float *y)
{
    const msa_linear enter = linear_of(&j->b->enter), leave = linear_of(&j->b->leave);
    const int32_t oh = msa_depthwise3x3_side(j->h, j->stride), lines = strip_lines(j->w);
    const int64_t line = (int64_t)j->w * enter.N;
    int32_t done = 0; /* lines of enter */
    for (j->first = 0; j->first < oh; j->first += lines) {
        const int32_t n = oh - j->first < lines ? oh - j->first : lines;
        const int32_t low = j->first * j->stride - 1, high = (j->first + n - 1) * j->stride + 2;
        const int32_t base = low < 0 ? 0 : low, end = high < j->h ? high : j->h;
        if (done > base)
            memmove(j->lines, j->lines + (base - j->base) * line, (size_t)((done - base) * line) * sizeof *x);
        j->base = base;
        msa_linear_forward(&enter, (int64_t)(end - done) * j->w, x + (int64_t)done * j->w * enter.K, enter.K,
                           j->lines + (done - base) * line, enter.N, MSA_EPILOGUE_GELU);
        done = end;
        msa_pool_run(each_line, j, n, MSA_THREADS_MAX);
        float *to = j->left != NULL ? j->left : y + (int64_t)j->first * j->across * leave.N;
        msa_linear_forward(&leave, (int64_t)n * j->across, j->each, leave.K, to, leave.N, MSA_EPILOGUE_NONE);
        if (j->left != NULL) msa_pool_run(sum_line, j, n, MSA_THREADS_MAX);
    }
}

static strip_job job_of(const msa_tiny_conv_block *b, const float *zeros, int32_t h, int32_t w,
                        int32_t stride, float *room)
{
    const int32_t across = msa_depthwise3x3_side(w, stride);
    return (strip_job){.b = b,
                       .zeros = zeros,
                       .lines = room,
                       .each = room + enter_lines(w) * (size_t)w * (size_t)b->enter.N,
                       .h = h,
                       .w = w,
                       .across = across,
                       .stride = stride};
}

void msa_tiny_conv_forward(const msa_tiny_conv_block *b, const float *zeros, int32_t h, int32_t w,
                           float *room, float *x)
{
    strip_job j = job_of(b, zeros, h, w, 1, room);
    j.left = j.each + (size_t)strip_lines(w) * (size_t)w * (size_t)b->each.N;
    j.x = x;
    run_strips(&j, x, x);
}

void msa_tiny_merge_forward(const msa_tiny_conv_block *b, const float *zeros, int32_t h, int32_t w,
                            int32_t stride, const float *x, float *room, float *y)
{
    strip_job j = job_of(b, zeros, h, w, stride, room);
    run_strips(&j, x, y);
}
