/*
 * The bodies of kern/vec.h, included once by every vec_<level>.c, which is compiled for that level's
 * instructions and names the table. Plain C in a form that compilers vectorise: every arm of a condition is
 * computed, then selected; sums run in LANES lanes. Contraction stays off, so what is fused is written as
 * MADD and every compiler gives the same bits.
 *
 * Before the include: VEC_TABLE, the table's name; VEC_BYTES, the size of its registers; VEC_FMA, 1 where it
 * has fused multiply-add (used in elementwise parts only: sums are the same bits at every level).
 */
#include "engine/kern/vec_math.h"
#include "engine/kern/vec_table.h"

/* One zmm, two ymm or four xmm registers; the same number everywhere, so that sums have one order. */
#define LANES 16
/*
 * erfc(z) exp(z^2) for z >= 0 as a quotient of polynomials, fitted by weighted least squares on 0 .. 9.5
 * (relative error 5e-9 before rounding). Going by erfc keeps the relative accuracy where GELU is tiny; erf
 * would lose it.
 */
static inline float erfc_scaled1(float z)
{
    float p = 3.225134370e-02f;
    p = MADD(p, z, 2.266155369e-01f);
    p = MADD(p, z, 7.261348272e-01f);
    p = MADD(p, z, 1.233178452e+00f);
    p = MADD(p, z, 1.000000005e+00f);
    float q = 5.716322495e-02f;
    q = MADD(q, z, 4.016946422e-01f);
    q = MADD(q, z, 1.315159956e+00f);
    q = MADD(q, z, 2.390859414e+00f);
    q = MADD(q, z, 2.361558136e+00f);
    q = MADD(q, z, 1.0f);
    return p / q;
}

static inline float gelu1(float x)
{
    const float z = (x < 0.0f ? -x : x) * 0.707106781f;
    /* the normal distribution's upper tail at |x| */
    const float tail = 0.5f * erfc_scaled1(z) * exp1(-0.5f * x * x);
    /* Every arm is computed, then selected: compilers vectorise that, and not a computation inside a
     * condition. */
    const float lower = x * tail, upper = x - lower, far = x < 0.0f ? 0.0f : x;
    const float y = x < 0.0f ? lower : upper;
    return z > 9.5f ? far : y; /* beyond the fit, also +-infinity */
}

/* gelu'(x) = Phi(x) + x phi(x), Phi by the same upper tail as in gelu1(). */
static inline float gelu_slope1(float x)
{
    const float z = (x < 0.0f ? -x : x) * 0.707106781f;
    const float bell = exp1(-0.5f * x * x);
    const float tail = 0.5f * erfc_scaled1(z) * bell;
    const float below = x < 0.0f ? tail : 1.0f - tail;
    const float far = x < 0.0f ? 0.0f : 1.0f;
    const float slope = MADD(x, bell * 0.398942280f, below);
    return z > 9.5f ? far : slope;
}

/* ---- elementwise ---- */

static void vec_exp(int64_t n, const float *x, float *y)
{
    EACH for (int64_t i = 0; i < n; i++) y[i] = exp1(x[i]);
}

static void vec_gelu(int64_t n, const float *x, float *y)
{
    EACH for (int64_t i = 0; i < n; i++) y[i] = gelu1(x[i]);
}

static void vec_relu(int64_t n, const float *x, float *y)
{
    EACH for (int64_t i = 0; i < n; i++) y[i] = x[i] < 0.0f ? 0.0f : x[i];
}

static void vec_gelu_backward(int64_t n, const float *x, const float *dy, float *dx)
{
    EACH for (int64_t i = 0; i < n; i++) dx[i] = dy[i] * gelu_slope1(x[i]);
}

static void vec_relu_backward(int64_t n, const float *x, const float *dy, float *dx)
{
    EACH for (int64_t i = 0; i < n; i++) dx[i] = x[i] > 0.0f ? dy[i] : 0.0f;
}

static void vec_axpy(int64_t n, float s, const float *x, float *y)
{
    EACH for (int64_t i = 0; i < n; i++) y[i] = MADD(s, x[i], y[i]);
}

static void vec_add(int64_t n, const float *x, const float *y, float *z)
{
    EACH for (int64_t i = 0; i < n; i++) z[i] = x[i] + y[i];
}

static void vec_scale(int64_t n, float s, const float *x, float *y)
{
    EACH for (int64_t i = 0; i < n; i++) y[i] = s * x[i];
}

/* ---- sums ---- */

/* Running sums in pieces: compilers keep them in registers only when they are told which. */
#define PIECES (LANES / WIDTH)

static inline piece load(const float *x, int64_t i, int p)
{
    piece v;
    memcpy(&v, x + i + p * WIDTH, sizeof v);
    return v;
}

static inline void spill(const piece sums[PIECES], float part[LANES])
{
    for (int p = 0; p < PIECES; p++)
        memcpy(part + p * WIDTH, &sums[p], sizeof sums[p]);
}

static inline float fold(const float part[LANES])
{
    float eight[8], four[4];
    for (int l = 0; l < 8; l++)
        eight[l] = part[l] + part[l + 8];
    for (int l = 0; l < 4; l++)
        four[l] = eight[l] + eight[l + 4];
    return (four[0] + four[2]) + (four[1] + four[3]);
}

static float vec_sum(int64_t n, const float *x)
{
    piece sums[PIECES] = {0};
    float part[LANES];
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int p = 0; p < PIECES; p++) {
            const piece v = load(x, i, p);
            sums[p] += v;
        }
    spill(sums, part);
    for (int l = 0; i < n; i++, l++)
        part[l] += x[i];
    return fold(part);
}

static float vec_dot(int64_t n, const float *x, const float *y)
{
    piece sums[PIECES] = {0};
    float part[LANES];
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int p = 0; p < PIECES; p++) {
            const piece v = load(x, i, p), w = load(y, i, p);
            sums[p] += v * w;
        }
    spill(sums, part);
    for (int l = 0; i < n; i++, l++)
        part[l] += x[i] * y[i];
    return fold(part);
}

static float vec_squared_distance(int64_t n, const float *x, float mean)
{
    piece sums[PIECES] = {0};
    float part[LANES];
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int p = 0; p < PIECES; p++) {
            const piece v = load(x, i, p);
            sums[p] += (v - mean) * (v - mean);
        }
    spill(sums, part);
    for (int l = 0; i < n; i++, l++)
        part[l] += (x[i] - mean) * (x[i] - mean);
    return fold(part);
}

static bool vec_all_finite(int64_t n, const float *x)
{
    /* x * 0 is 0 for every finite x and NaN for the others; one NaN stays in its sum. */
    piece sums[PIECES] = {0};
    float part[LANES];
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int p = 0; p < PIECES; p++) {
            const piece v = load(x, i, p);
            sums[p] += v * 0.0f;
        }
    spill(sums, part);
    for (int l = 0; i < n; i++, l++)
        part[l] += x[i] * 0.0f;
    const float sum = fold(part);
    return sum == sum;
}

static void vec_depthwise9(int64_t n, const float *const x[9], const float *weight, const float *bias,
                           float *y)
{
    const float *x0 = x[0], *x1 = x[1], *x2 = x[2], *x3 = x[3], *x4 = x[4], *x5 = x[5], *x6 = x[6],
                *x7 = x[7], *x8 = x[8];
    const float *w0 = weight, *w3 = weight + 3 * n, *w6 = weight + 6 * n;
    EACH for (int64_t i = 0; i < n; i++)
    {
        float v = MADD(x0[i], w0[i], bias[i]);
        v = MADD(x1[i], w0[n + i], v);
        v = MADD(x2[i], w0[2 * n + i], v);
        v = MADD(x3[i], w3[i], v);
        v = MADD(x4[i], w3[n + i], v);
        v = MADD(x5[i], w3[2 * n + i], v);
        v = MADD(x6[i], w6[i], v);
        v = MADD(x7[i], w6[n + i], v);
        y[i] = MADD(x8[i], w6[2 * n + i], v);
    }
}

static void vec_column_sums(int64_t rows, int64_t n, const float *x, int64_t ld, double *sum)
{
    for (int64_t row = 0; row < rows; row++, x += ld)
        EACH for (int64_t i = 0; i < n; i++) sum[i] += (double)x[i];
}

/* ---- softmax ---- */

static inline float row_max(int64_t n, const float *x)
{
    piece max[PIECES];
    float part[LANES];
    int64_t i = 0;
    for (int l = 0; l < LANES; l++)
        part[l] = x[0];
    for (int p = 0; p < PIECES; p++)
        max[p] = load(part, 0, p);
    for (; i + LANES <= n; i += LANES)
        for (int p = 0; p < PIECES; p++) {
            const piece v = load(x, i, p);
            const piece_mask more = v > max[p];
            max[p] = (piece)(((piece_mask)v & more) | ((piece_mask)max[p] & ~more));
        }
    spill(max, part);
    for (int l = 0; i < n; i++, l++)
        part[l] = x[i] > part[l] ? x[i] : part[l];
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            part[l] = part[l + half] > part[l] ? part[l + half] : part[l];
    return part[0];
}

/* One value a lane: e^(x - max), in place, then added to the sums. */
static inline void exp_lanes(float *x, float max, piece sums[PIECES])
{
    float y[LANES];
    for (int l = 0; l < LANES; l++)
        y[l] = exp1(x[l] - max);
    memcpy(x, y, sizeof y);
    for (int p = 0; p < PIECES; p++)
        sums[p] += load(y, 0, p);
}

static float vec_softmax_part(int64_t n, float *x, float *sum)
{
    const float max = row_max(n, x);
    piece sums[PIECES] = {0};
    float part[LANES];
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        exp_lanes(x + i, max, sums);
    if (i < n) {
        for (int l = 0; l < LANES; l++)
            part[l] = i + l < n ? x[i + l] : -INFINITY; /* e^-infinity adds nothing */
        exp_lanes(part, max, sums);
        for (int l = 0; i + l < n; l++)
            x[i + l] = part[l];
    }
    spill(sums, part);
    *sum = fold(part);
    return max;
}

static void vec_softmax(int64_t n, float *x)
{
    float sum = 0.0f;
    (void)vec_softmax_part(n, x, &sum);
    vec_scale(n, 1.0f / sum, x, x);
}

/* LANES columns or fewer, row after row. */
static inline void softmax_strip(int64_t rows, int64_t n, float *x, int64_t ld)
{
    float max[LANES], sum[LANES] = {0};
    memcpy(max, x, (size_t)n * sizeof *max);
    for (int64_t r = 1; r < rows; r++)
        EACH for (int64_t i = 0; i < n; i++) max[i] = x[r * ld + i] > max[i] ? x[r * ld + i] : max[i];
    for (int64_t r = 0; r < rows; r++)
        EACH for (int64_t i = 0; i < n; i++)
        {
            const float y = exp1(x[r * ld + i] - max[i]);
            x[r * ld + i] = y;
            sum[i] += y;
        }
    EACH for (int64_t i = 0; i < n; i++) sum[i] = 1.0f / sum[i];
    for (int64_t r = 0; r < rows; r++)
        EACH for (int64_t i = 0; i < n; i++) x[r * ld + i] *= sum[i];
}

static void vec_softmax_columns(int64_t rows, int64_t n, float *x, int64_t ld)
{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        softmax_strip(rows, LANES, x + i, ld);
    if (i < n) softmax_strip(rows, n - i, x + i, ld);
}

static void vec_softmax_backward(int64_t n, const float *p, float *dp)
{
    const float mean = vec_dot(n, p, dp);
    EACH for (int64_t i = 0; i < n; i++) dp[i] = p[i] * (dp[i] - mean);
}

static void vec_add_position(int64_t rows, int64_t n, const float *up, const float *line, float *to)
{
    for (int64_t row = 0; row < rows; row++, to += n) {
        const float height = up[-row];
        EACH for (int64_t i = 0; i < n; i++) to[i] += height + line[i];
    }
}

static void vec_position_sums(int64_t rows, int64_t n, const float *x, float *up, float *line)
{
    memset(line, 0, (size_t)n * sizeof *line);
    for (int64_t row = 0; row < rows; row++, x += n) {
        up[-row] = vec_sum(n, x);
        vec_add(n, line, x, line);
    }
}

/* ---- layer norm ---- */

static void vec_normalise(int64_t n, const float *x, float mean, float scale, const float *weight,
                          const float *bias, float *y)
{
    EACH for (int64_t i = 0; i < n; i++) y[i] = MADD((x[i] - mean) * scale, weight[i], bias[i]);
}

static void vec_normalise_backward(int64_t n, const float *x, float mean, float scale, const float *weight,
                                   const float *dy, bool add, float *dx)
{
    piece sum_u[PIECES] = {0}, sum_uz[PIECES] = {0};
    float u[LANES], uz[LANES];
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int p = 0; p < PIECES; p++) {
            const piece g = load(dy, i, p), w = load(weight, i, p), v = load(x, i, p);
            const piece gw = g * w;
            sum_u[p] += gw;
            sum_uz[p] += gw * ((v - mean) * scale);
        }
    spill(sum_u, u);
    spill(sum_uz, uz);
    for (int l = 0; i < n; i++, l++) {
        const float gw = dy[i] * weight[i];
        u[l] += gw;
        uz[l] += gw * ((x[i] - mean) * scale);
    }
    const float mean_u = fold(u) / (float)n, slope = -(fold(uz) / (float)n) * scale;
    if (add)
        EACH for (i = 0; i < n; i++) dx[i] =
            MADD(scale, MADD(x[i] - mean, slope, MADD(dy[i], weight[i], -mean_u)), dx[i]);
    else
        EACH for (i = 0; i < n; i++) dx[i] =
            scale * MADD(x[i] - mean, slope, MADD(dy[i], weight[i], -mean_u));
}

static void vec_normalise_params(int64_t rows, int64_t n, const float *x, const float *dy, int64_t ld,
                                 const float *mean, const float *scale, double *dweight, double *dbias)
{
    for (int64_t row = 0; row < rows; row++, x += ld, dy += ld)
        EACH for (int64_t i = 0; i < n; i++)
        {
            dweight[i] += (double)(dy[i] * ((x[i] - mean[row]) * scale[row]));
            dbias[i] += (double)dy[i];
        }
}

/* ---- pictures: nothing fused, so that masks and greys are the same bits on every CPU ---- */

static void vec_mix4(int64_t n, const float *const x[4], const float weight[4], float *y)
{
    const float *x0 = x[0], *x1 = x[1], *x2 = x[2], *x3 = x[3];
    const float w0 = weight[0], w1 = weight[1], w2 = weight[2], w3 = weight[3];
    EACH for (int64_t i = 0; i < n; i++) y[i] = ((w0 * x0[i] + w1 * x1[i]) + w2 * x2[i]) + w3 * x3[i];
}

static void vec_grey(int64_t n, const float *x, float low, float high, bool keep_zero, uint8_t *y)
{
    const float range = high - low, zero = keep_zero ? 0.0f : NAN; /* nothing is equal to NaN */
    EACH for (int64_t i = 0; i < n; i++)
    {
        float v = x[i] < low ? low : x[i];
        v = v > high ? high : v;
        const float level = (v - low) / range * 255.0f;
        y[i] = (uint8_t)(int32_t)(x[i] == zero ? 0.0f : level);
    }
}

const msa_vec_table VEC_TABLE = {
    .exp = vec_exp,
    .gelu = vec_gelu,
    .relu = vec_relu,
    .gelu_backward = vec_gelu_backward,
    .relu_backward = vec_relu_backward,
    .axpy = vec_axpy,
    .add = vec_add,
    .scale = vec_scale,
    .sum = vec_sum,
    .dot = vec_dot,
    .softmax = vec_softmax,
    .softmax_part = vec_softmax_part,
    .softmax_columns = vec_softmax_columns,
    .softmax_backward = vec_softmax_backward,
    .all_finite = vec_all_finite,
    .add_position = vec_add_position,
    .position_sums = vec_position_sums,
    .column_sums = vec_column_sums,
    .depthwise9 = vec_depthwise9,
    .mix4 = vec_mix4,
    .grey = vec_grey,
    .squared_distance = vec_squared_distance,
    .normalise = vec_normalise,
    .normalise_backward = vec_normalise_backward,
    .normalise_params = vec_normalise_params,
};
