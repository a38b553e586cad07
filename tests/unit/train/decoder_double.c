#include "tests/unit/train/decoder_double.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sam/position_code.h"
#include "tests/unit/engine/cm.h"

typedef struct run {
    const decoder_double *d;
    const msa_config *c;
    int64_t used, n, T;
    int32_t g;
    double *tokens, *pe;
} run;

decoder_double decoder_double_new(const msa_params *p, const float *embedding, const msa_prompt_set *prompt,
                                  const float *logits_factor, const float *iou_factor)
{
    const msa_config *c = &p->config;
    const int64_t g = c->image_size / c->patch, n = g * g, M = c->mask_tokens;
    const size_t floats = msa_embedding_floats(c);
    decoder_double d = {.p = p,
                        .prompt = prompt,
                        .logits_factor = logits_factor,
                        .iou_factor = iou_factor,
                        .values = calloc((size_t)p->n_values, sizeof(double)),
                        .embedding = calloc(floats, sizeof(double)),
                        .logits = calloc((size_t)(16 * n * M), sizeof(double)),
                        .iou = calloc((size_t)M, sizeof(double)),
                        .room = 400000};
    d.memory = calloc((size_t)d.room, sizeof(double));
    if (d.values == NULL || d.embedding == NULL || d.logits == NULL || d.iou == NULL || d.memory == NULL)
        abort();
    for (int64_t i = 0; i < p->n_values; i++)
        d.values[i] = (double)p->values[i];
    for (size_t i = 0; i < floats; i++)
        d.embedding[i] = (double)embedding[i];
    return d;
}

void decoder_double_free(decoder_double *d)
{
    free(d->values);
    free(d->embedding);
    free(d->logits);
    free(d->iou);
    free(d->memory);
}

/* ---- layers ---- */

static double *take(run *r, int64_t n)
{
    double *piece = r->d->memory + r->used;
    r->used += n;
    assert_true(r->used <= r->d->room);
    memset(piece, 0, (size_t)n * sizeof *piece);
    return piece;
}

static const double *at(const run *r, const float *value)
{
    return r->d->values + (value - r->d->p->values);
}

static double *dense(run *r, const msa_linear *l, int64_t rows, const double *x)
{
    const double *w = at(r, l->weight), *b = at(r, l->bias);
    double *y = take(r, rows * l->N);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t n = 0; n < l->N; n++) {
            double sum = b[n];
            for (int64_t k = 0; k < l->K; k++)
                sum += x[i * l->K + k] * w[n * l->K + k];
            y[i * l->N + n] = sum;
        }
    return y;
}

static double *norm(run *r, const msa_norm *n, double eps, int64_t rows, const double *x)
{
    const double *w = at(r, n->weight), *b = at(r, n->bias);
    double *y = take(r, rows * n->C);
    for (int64_t i = 0; i < rows; i++) {
        const double *row = x + i * n->C;
        double mean = 0.0, variance = 0.0;
        for (int32_t k = 0; k < n->C; k++)
            mean += row[k] / n->C;
        for (int32_t k = 0; k < n->C; k++)
            variance += (row[k] - mean) * (row[k] - mean) / n->C;
        for (int32_t k = 0; k < n->C; k++)
            y[i * n->C + k] = (row[k] - mean) / sqrt(variance + eps) * w[k] + b[k];
    }
    return y;
}

static void activate(bool relu, int64_t n, double *x)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = relu ? fmax(x[i], 0.0) : 0.5 * x[i] * (1.0 + erf(x[i] * M_SQRT1_2));
}

/* x + scale * y */
static double *sum(run *r, int64_t n, const double *x, double scale, const double *y)
{
    double *z = take(r, n);
    for (int64_t i = 0; i < n; i++)
        z[i] = x[i] + scale * y[i];
    return z;
}

static double *attention(run *r, const msa_decoder_attention *a, const double *q_in, int64_t nq,
                         const double *k_in, const double *v_in, int64_t nk)
{
    const double *q = dense(r, &a->q, nq, q_in), *k = dense(r, &a->k, nk, k_in),
                 *v = dense(r, &a->v, nk, v_in);
    const int64_t width = a->q.N, heads = r->c->decoder_heads, d = width / heads;
    double *mixed = take(r, nq * width), *score = take(r, nk);
    for (int64_t h = 0; h < heads; h++)
        for (int64_t i = 0; i < nq; i++) {
            double total = 0.0;
            for (int64_t j = 0; j < nk; j++) {
                double dot = 0.0;
                for (int64_t c = h * d; c < (h + 1) * d; c++)
                    dot += q[i * width + c] * k[j * width + c];
                score[j] = exp(dot / sqrt((double)d));
                total += score[j];
            }
            for (int64_t j = 0; j < nk; j++)
                for (int64_t c = h * d; c < (h + 1) * d; c++)
                    mixed[i * width + c] += score[j] / total * v[j * width + c];
        }
    return dense(r, &a->out, nq, mixed);
}

/* Kernel 2, stride 2: x (2h, 2w, C) to (h, w, N). */
static double *conv2x2(run *r, const msa_linear *l, int32_t h, int32_t w, const double *x)
{
    const double *weight = at(r, l->weight), *bias = at(r, l->bias);
    const int32_t C = l->K / 4;
    double *y = take(r, (int64_t)h * w * l->N);
    for (int32_t i = 0; i < h; i++)
        for (int32_t j = 0; j < w; j++)
            for (int32_t o = 0; o < l->N; o++) {
                double s = bias[o];
                for (int32_t c = 0; c < C; c++)
                    for (int32_t k = 0; k < 4; k++)
                        s += weight[(o * C + c) * 4 + k] *
                             x[((2 * i + k / 2) * 2 * w + 2 * j + k % 2) * C + c];
                y[(i * w + j) * l->N + o] = s;
            }
    return y;
}

/* Transposed, kernel 2, stride 2: x (h, w, C) to (2h, 2w, N). */
static double *spread2x2(run *r, const float *weight_at, const float *bias_at, int32_t C, int32_t N,
                         int32_t h, int32_t w, const double *x)
{
    const double *weight = at(r, weight_at), *bias = at(r, bias_at);
    double *y = take(r, (int64_t)4 * h * w * N);
    for (int32_t i = 0; i < 2 * h; i++)
        for (int32_t j = 0; j < 2 * w; j++)
            for (int32_t o = 0; o < N; o++) {
                double s = bias[o];
                for (int32_t c = 0; c < C; c++)
                    s += weight[(c * N + o) * 4 + i % 2 * 2 + j % 2] * x[((i / 2) * w + j / 2) * C + c];
                y[(i * 2 * w + j) * N + o] = s;
            }
    return y;
}

/* ---- prompt ---- */

static void put_token(run *r, double x, double y, int label)
{
    const msa_prompt_weights *w = &r->d->p->weights.prompt;
    const int32_t P = r->c->prompt_dim;
    const double *of = at(r, label < 0 ? w->not_a_point : w->point[label]), S = r->c->image_size;
    float code[256] = {0};
    if (label >= 0) msa_position_code(w->gaussian, P, (x + 0.5) / S, (y + 0.5) / S, code);
    for (int32_t i = 0; i < P; i++)
        r->tokens[r->T * P + i] = of[i] + (double)code[i];
    r->T++;
}

static void gather_tokens(run *r)
{
    const msa_decoder_weights *w = &r->d->p->weights.decoder;
    const msa_prompt_set *s = r->d->prompt;
    const int64_t P = r->c->prompt_dim, M = r->c->mask_tokens;
    r->tokens = take(r, (1 + M + s->n_points + 2) * P);
    memcpy(r->tokens, at(r, w->iou_token), (size_t)P * sizeof(double));
    memcpy(r->tokens + P, at(r, w->mask_tokens), (size_t)(M * P) * sizeof(double));
    r->T = 1 + M;
    for (int32_t i = 0; i < s->n_points; i++)
        put_token(r, (double)s->points[2 * i], (double)s->points[2 * i + 1], (int)s->labels[i]);
    if (s->box != NULL) {
        put_token(r, (double)s->box[0], (double)s->box[1], 2);
        put_token(r, (double)s->box[2], (double)s->box[3], 3);
    } else if (s->n_points > 0) {
        put_token(r, 0, 0, -1);
    }
}

static const double *dense_prompt(run *r)
{
    const msa_prompt_weights *w = &r->d->p->weights.prompt;
    const int64_t P = r->c->prompt_dim, pixels = 16 * r->n;
    double *x = NULL;
    if (r->d->prompt->mask == NULL) {
        x = take(r, r->n * P);
        for (int64_t t = 0; t < r->n; t++)
            memcpy(x + t * P, at(r, w->no_mask), (size_t)P * sizeof *x);
        return x;
    }
    x = take(r, pixels);
    for (int64_t i = 0; i < pixels; i++)
        x[i] = (double)r->d->prompt->mask[i];
    x = norm(r, &w->norm1, 1e-6, 4 * r->n, conv2x2(r, &w->conv1, 2 * r->g, 2 * r->g, x));
    activate(false, 4 * r->n * w->conv1.N, x);
    x = norm(r, &w->norm2, 1e-6, r->n, conv2x2(r, &w->conv2, r->g, r->g, x));
    activate(false, r->n * w->conv2.N, x);
    return dense(r, &w->conv3, r->n, x);
}

/* ---- transformer ---- */

static const double *bottleneck(run *r, const msa_adapter *a, int64_t rows, const double *x)
{
    double *h = dense(r, &a->down, rows, x);
    activate(r->c->decoder_adapter_act == MSA_ACT_RELU, rows * a->down.N, h);
    return dense(r, &a->up, rows, h);
}

static const double *prompt_adapter(run *r, const msa_prompt_adapter *a, const double *x)
{
    const int64_t width = a->down.N;
    double *h = dense(r, &a->down, r->T, x), *p = dense(r, &a->prompt, r->T, r->tokens);
    if (r->c->decoder_adapter_mode == MSA_ADAPTER_HYPER) {
        const double *w = dense(r, &a->generate, r->T, p);
        double *product = take(r, r->T * width);
        for (int64_t t = 0; t < r->T; t++)
            for (int64_t i = 0; i < width; i++)
                for (int64_t j = 0; j < width; j++)
                    product[t * width + j] += h[t * width + i] * w[(t * width + i) * width + j];
        h = norm(r, &a->norm, 1e-5, r->T, product);
    } else {
        h = sum(r, r->T * width, h, 1.0, p);
    }
    activate(r->c->decoder_adapter_act == MSA_ACT_RELU, r->T * width, h);
    return sum(r, r->T * a->up.N, x, 1.0, dense(r, &a->up, r->T, h));
}

static const double *look(run *r, const msa_decoder_attention *a, const msa_norm *after,
                          const msa_prompt_adapter *adapter, const double *queries, const double *keys)
{
    const int64_t P = r->c->prompt_dim;
    const double *x = attention(r, a, sum(r, r->T * P, queries, 1.0, r->tokens), r->T,
                                sum(r, r->n * P, keys, 1.0, r->pe), keys, r->n);
    if (adapter != NULL) x = prompt_adapter(r, adapter, x);
    return norm(r, after, 1e-5, r->T, sum(r, r->T * P, queries, 1.0, x));
}

static const double *attend_self(run *r, const msa_two_way_weights *l, int32_t i, const double *queries)
{
    const int64_t T = r->T, n = T * r->c->prompt_dim;
    const bool sam = r->c->decoder_wiring == MSA_WIRING_SAM;
    const double *x = queries, *with = i > 0 ? sum(r, n, queries, 1.0, r->tokens) : queries;
    if (sam && i == 0) {
        x = attention(r, &l->self_attn, queries, T, queries, queries, T);
    } else if (sam) {
        x = sum(r, n, queries, 1.0, attention(r, &l->self_attn, with, T, with, queries, T));
    } else {
        x = sum(r, n, with, 1.0, attention(r, &l->self_attn, with, T, with, with, T));
    }
    return norm(r, &l->norm1, 1e-5, T, x);
}

static const double *transform(run *r, const double **keys)
{
    const msa_decoder_weights *w = &r->d->p->weights.decoder;
    const int64_t P = r->c->prompt_dim, T = r->T;
    const double *q = r->tokens;
    for (int32_t i = 0; i < r->c->decoder_depth; i++) {
        const msa_two_way_weights *l = &w->layers[i];
        const bool adapted = l->adapters.mlp.down.weight != NULL;
        q = attend_self(r, l, i, q);
        q = look(r, &l->token_to_image, &l->norm2, adapted ? &l->adapters.prompt : NULL, q, *keys);
        double *h = dense(r, &l->lin1, T, q);
        activate(true, T * l->lin1.N, h);
        const double *x = sum(r, T * P, q, 1.0, dense(r, &l->lin2, T, h));
        if (adapted)
            x = sum(r, T * P, x, (double)r->c->adapter_mlp_scale, bottleneck(r, &l->adapters.mlp, T, q));
        q = norm(r, &l->norm3, 1e-5, T, x);
        x = attention(r, &l->image_to_token, sum(r, r->n * P, *keys, 1.0, r->pe), r->n,
                      sum(r, T * P, q, 1.0, r->tokens), q, T);
        x = sum(r, r->n * P, *keys, 1.0, x);
        if (adapted) x = sum(r, r->n * P, x, 1.0, bottleneck(r, &l->adapters.image, r->n, x));
        *keys = norm(r, &l->norm4, 1e-5, r->n, x);
    }
    return look(r, &w->final_attn, &w->norm_final, NULL, q, *keys);
}

/* ---- heads ---- */

static const double *mlp3(run *r, const msa_mlp3_weights *m, const double *x)
{
    double *h = dense(r, &m->layer[0], 1, x);
    activate(true, m->layer[0].N, h);
    h = dense(r, &m->layer[1], 1, h);
    activate(true, m->layer[1].N, h);
    return dense(r, &m->layer[2], 1, h);
}

static void heads(run *r, const double *queries, const double *keys)
{
    const msa_decoder_weights *w = &r->d->p->weights.decoder;
    const int32_t P = r->c->prompt_dim, M = r->c->mask_tokens;
    /* (4g, 4g, P / 8), then (2g, 2g, P / 4) */
    const double *detail = r->d->embedding + r->n * P, *coarse = detail + 16 * r->n * (P / 8);
    double *up = spread2x2(r, w->up1_weight, w->up1_bias, P, P / 4, r->g, r->g, keys);
    if (r->c->detail > 0) up = sum(r, 4 * r->n * (P / 4), up, 1.0, coarse);
    up = norm(r, &w->up_norm, 1e-6, 4 * r->n, up);
    activate(false, 4 * r->n * (P / 4), up);
    up = spread2x2(r, w->up2_weight, w->up2_bias, P / 4, P / 8, 2 * r->g, 2 * r->g, up);
    if (r->c->detail > 0) up = sum(r, 16 * r->n * (P / 8), up, 1.0, detail);
    activate(false, 16 * r->n * (P / 8), up);
    for (int32_t m = 0; m < M; m++) {
        const double *hyper = mlp3(r, &w->hyper[m], queries + (1 + m) * P);
        for (int64_t i = 0; i < 16 * r->n; i++) {
            double s = 0.0;
            for (int32_t c = 0; c < P / 8; c++)
                s += hyper[c] * up[i * (P / 8) + c];
            r->d->logits[m * 16 * r->n + i] = s;
        }
    }
    memcpy(r->d->iou, mlp3(r, &w->iou, queries), (size_t)M * sizeof(double));
}

double decoder_double_value(const void *ctx)
{
    const decoder_double *d = ctx;
    run r = {.d = d, .c = &d->p->config};
    r.g = r.c->image_size / r.c->patch;
    r.n = (int64_t)r.g * r.g;
    const int64_t P = r.c->prompt_dim, M = r.c->mask_tokens;
    float pe[4096];
    assert_true(r.n * P <= 4096);
    msa_position_grid(d->p->weights.prompt.gaussian, r.c->prompt_dim, r.g, r.g, pe);
    r.pe = take(&r, r.n * P);
    for (int64_t i = 0; i < r.n * P; i++)
        r.pe[i] = (double)pe[i];
    gather_tokens(&r);
    double *keys = take(&r, r.n * P);
    const double *dense_part = dense_prompt(&r), *image = keys;
    for (int64_t t = 0; t < r.n; t++)
        for (int64_t c = 0; c < P; c++)
            keys[t * P + c] = d->embedding[c * r.n + t] + dense_part[t * P + c];
    const double *queries = transform(&r, &image);
    heads(&r, queries, image);
    double value = 0.0;
    for (int64_t i = 0; i < 16 * r.n * M; i++)
        value += (double)d->logits_factor[i] * d->logits[i];
    for (int64_t i = 0; i < M; i++)
        value += (double)d->iou_factor[i] * d->iou[i];
    return value;
}
