/* Replays blocks with AdaLoRA's updates: merged as a model is loaded; the gradients of the factors, by the
 * chain rule from those of the merged weights; the term that keeps the factors orthogonal. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sam/internal.h"
#include "engine/train/encoder_pass.h"
#include "tests/golden/golden.h"

#define ORTHOGONAL_WEIGHT 0.1

/* The factors of one update, as stored. */
typedef struct update {
    const msa_tensor *a, *e, *b;
    double scale;
    int64_t N, K, r;
} update;

static bool find_update(update *u, const golden_file *f, int32_t block, const char *layer)
{
    const msa_tensor *ranks = golden_findf(f, "w.blocks.%d.%s.ranknum", block, layer);
    u->a = golden_findf(f, "w.blocks.%d.%s.lora_A", block, layer);
    u->e = golden_findf(f, "w.blocks.%d.%s.lora_E", block, layer);
    u->b = golden_findf(f, "w.blocks.%d.%s.lora_B", block, layer);
    if (u->a == NULL || u->e == NULL || u->b == NULL || ranks == NULL) return false;
    u->r = u->a->shape[0];
    u->K = u->a->shape[1];
    u->N = u->b->shape[0];
    u->scale = 1.0 / ((double)ranks->data[0] + 1e-5);
    return u->b->shape[1] == u->r && u->e->count == u->r;
}

/* dw (N, K) of W + scale B diag(e) A, to the factors. */
static void compare_gradients(const update *u, const float *dw, golden_report *r, int32_t block,
                              const char *layer)
{
    const int64_t N = u->N, K = u->K, R = u->r;
    MSA_AUTO_FREE float *da = calloc((size_t)(R * K), sizeof *da);
    MSA_AUTO_FREE float *de = calloc((size_t)R, sizeof *de);
    MSA_AUTO_FREE float *db = calloc((size_t)(N * R), sizeof *db);
    if (da == NULL || de == NULL || db == NULL) abort();
    for (int64_t c = 0; c < R; c++) {
        const double e = (double)u->e->data[c];
        double sum_e = 0.0;
        for (int64_t k = 0; k < K; k++) { /* (B^T dW) of rank c, column k */
            double sum = 0.0;
            for (int64_t n = 0; n < N; n++)
                sum += (double)u->b->data[n * R + c] * (double)dw[n * K + k];
            da[c * K + k] = (float)(u->scale * e * sum);
            sum_e += sum * (double)u->a->data[c * K + k];
        }
        de[c] = (float)(u->scale * sum_e);
        for (int64_t n = 0; n < N; n++) {
            double sum = 0.0;
            for (int64_t k = 0; k < K; k++)
                sum += (double)dw[n * K + k] * (double)u->a->data[c * K + k];
            db[n * R + c] = (float)(u->scale * e * sum);
        }
    }
    golden_comparef(r, da, R * K, "grad.blocks.%d.%s.lora_A", block, layer);
    golden_comparef(r, de, R, "grad.blocks.%d.%s.lora_E", block, layer);
    golden_comparef(r, db, N * R, "grad.blocks.%d.%s.lora_B", block, layer);
}

/* Frobenius norm of M M^T - I, M (rows, n) with elements step apart in a row. */
static double defect(const float *m, int64_t rows, int64_t n, int64_t row_step, int64_t step)
{
    double sum = 0.0;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < rows; j++) {
            double dot = i == j ? -1.0 : 0.0;
            for (int64_t k = 0; k < n; k++)
                dot += (double)m[i * row_step + k * step] * (double)m[j * row_step + k * step];
            sum += dot * dot;
        }
    return sqrt(sum);
}

/* ---- the blocks ---- */

static void see(void *ctx, const char *name, const float *data, int64_t rows, int64_t C)
{
    const void *const *both = ctx;
    if (golden_findf(both[0], "out.%s", name) != NULL)
        golden_comparef((golden_report *)(uintptr_t)both[1], data, rows * C, "out.%s", name);
}

/* As inference runs them, on a model whose patches are zero and whose positions are in.x. */
static msa_status check_forward(const msa_model *m, const golden_file *f, golden_report *r,
                                const float *image, float *embedding, msa_error *err)
{
    MSA_AUTO(msa_predictor) p = NULL;
    const void *both[2] = {f, r};
    const msa_tap tap = {see, both};
    MSA_TRY(msa_predictor_new_watched(&p, m, 1, &tap, err));
    return msa_predictor_encode(p, image, embedding, err);
}

static msa_status check_backward(const msa_model *m, const golden_file *f, golden_report *r,
                                 const float *image, float *embedding, msa_error *err)
{
    static const char *const layers[3] = {"attn.qkv", "mlp.lin1", "mlp.lin2"};
    MSA_AUTO(msa_params) params = NULL;
    MSA_AUTO(msa_encoder_pass) pass = NULL;
    const msa_config *c = msa_model_config(m);
    const msa_weights *merged = NULL;
    const msa_tensor *dy = golden_find(f, "in.grad_out");
    double orthogonal = 0.0;
    int32_t n = 0;
    if (dy == NULL) return msa_fail(err, MSA_E_PARSE, "the file has no in.grad_out");
    MSA_TRY(msa_model_whole_weights(&merged, m, err));
    MSA_TRY(msa_params_new(&params, c, merged, MSA_TRAIN_ALL, err));
    MSA_TRY(msa_encoder_pass_new(&pass, params, false, err));
    msa_params_zero_grads(params);
    MSA_TRY(msa_encoder_pass_forward(pass, image, embedding, err));
    if (dy->count != pass->tokens * c->dim) return msa_fail(err, MSA_E_PARSE, "in.grad_out has another size");
    memcpy(pass->dx, dy->data, (size_t)dy->count * sizeof *pass->dx);
    for (int32_t i = c->depth - 1; i >= 0; i--) {
        const msa_block_weights *b = &params->weights.encoder.blocks[i];
        const float *weights[3] = {b->qkv.weight, b->lin1.weight, b->lin2.weight};
        msa_encoder_block_backward(pass, i);
        for (int k = 0; k < 3; k++) {
            update u;
            if (!find_update(&u, f, i, layers[k]))
                return msa_fail(err, MSA_E_PARSE, "the factors of block %d are missing", i);
            compare_gradients(&u, msa_grad(params, weights[k]), r, i, layers[k]);
            orthogonal += defect(u.a->data, u.r, u.K, u.K, 1) + defect(u.b->data, u.r, u.N, 1, u.r);
            n += 2;
        }
    }
    const float term = (float)(ORTHOGONAL_WEIGHT * orthogonal / n);
    golden_compare(r, "out.orth_regu_0.1", &term, 1);
    return MSA_OK;
}

static msa_status check(const golden_file *f, golden_report *r, msa_error *err)
{
    MSA_AUTO(msa_model) m = NULL;
    msa_config c;
    if (!golden_config(&c, f)) return msa_fail(err, MSA_E_PARSE, "the metadata holds no configuration");
    const size_t g = (size_t)(c.image_size / c.patch);
    MSA_AUTO_FREE float *image = calloc(3 * (size_t)c.image_size * (size_t)c.image_size, sizeof *image);
    MSA_AUTO_FREE float *embedding = calloc(g * g * (size_t)c.prompt_dim, sizeof *embedding);
    if (image == NULL || embedding == NULL) abort();
    MSA_TRY(golden_model(&m, f, &c, err));
    MSA_TRY(check_forward(m, f, r, image, embedding, err));
    return check_backward(m, f, r, image, embedding, err);
}

void golden_check_adalora(const golden_file *f, golden_report *r)
{
    msa_error err = MSA_ERROR_INIT;
    if (check(f, r, &err) != MSA_OK) golden_fail(r, err.what);
}
