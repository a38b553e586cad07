/* Replays a file about the decoder's adapters: every out.MODE.WHERE.ACT, and its gradients where it has some.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/io/config_json.h"
#include "engine/nn/conv.h"
#include "engine/sam/mask_decoder.h"
#include "engine/sam/position_code.h"
#include "engine/sam/prompt_encoder.h"
#include "engine/train/loss.h"
#include "engine/train/passes.h"
#include "tests/golden/golden.h"

#define POSITIVE_WEIGHT 2 /* of the loss whose gradients such a file holds */

typedef struct replay {
    const golden_file *f;
    golden_report *r;
    msa_config c;
    msa_weights w;
    const float *zeros; /* stands for the encoder, which such a file does not have */
    int64_t n_zeros;
    char scope[48]; /* "add.all.relu" */
    msa_prompt_set prompt;
    const msa_tensor *embedding, *target;
    int32_t grid;
} replay;

static void *need(size_t count, size_t size)
{
    void *block = calloc(count + 1, size);
    if (block == NULL) abort();
    return block;
}

/* ---- what the file says ---- */

static bool pick(const char *text, const char *const *names, int *to)
{
    for (int i = 0; names[i] != NULL; i++)
        if (strcmp(text, names[i]) == 0) {
            *to = i;
            return true;
        }
    return false;
}

/* "add.all.relu" into the configuration. */
static bool read_scope(replay *p)
{
    static const char *const modes[] = {"add", "hyper", NULL},
                             *const wheres[] = {"none", "first", "all", NULL},
                             *const acts[] = {"gelu", "relu", NULL};
    char mode[16], where[16], act[16];
    int m = 0, w = 0, a = 0;
    if (sscanf(p->scope, "%15[^.].%15[^.].%15s", mode, where, act) != 3) return false;
    if (!pick(mode, modes, &m) || !pick(where, wheres, &w) || !pick(act, acts, &a)) return false;
    p->c.decoder_adapter_mode = (msa_decoder_adapter_mode)m;
    p->c.decoder_adapters = (msa_decoder_adapters)w;
    p->c.decoder_adapter_act = (msa_activation)a;
    return true;
}

static msa_status bind(void *ctx, const msa_weight_spec *spec, msa_error *err)
{
    replay *p = ctx;
    const msa_tensor *t = golden_findf(p->f, "w.%s", spec->name);
    const bool encoder = strncmp(spec->name, "image_encoder.", 14) == 0;
    int64_t count = 1;
    if (t == NULL && !encoder) return msa_fail(err, MSA_E_PARSE, "w.%s is missing", spec->name);
    for (int32_t i = 0, n = 0; i < spec->rank; i++) {
        const bool is_free = (spec->free_axes >> i & 1u) != 0;
        const int64_t size = is_free && t != NULL ? t->shape[i] : spec->shape[i];
        if (t != NULL && (t->rank != spec->rank || t->shape[i] != size))
            return msa_fail(err, MSA_E_PARSE, "w.%s has another shape", spec->name);
        if (is_free) *spec->size[n++] = (int32_t)size;
        count *= size;
    }
    if (t == NULL && count > p->n_zeros) return msa_fail(err, MSA_E_PARSE, "the encoder is too large");
    *spec->to = t == NULL ? p->zeros : t->data;
    return MSA_OK;
}

static bool read_inputs(replay *p)
{
    const msa_tensor *points = golden_find(p->f, "in.point_coords"),
                     *labels = golden_find(p->f, "in.point_labels"), *boxes = golden_find(p->f, "in.boxes");
    const int64_t side = 4 * (int64_t)p->grid;
    p->embedding = golden_find(p->f, "in.image_embedding");
    p->target = golden_find(p->f, "in.target");
    if (p->embedding == NULL || p->embedding->count != (int64_t)p->grid * p->grid * p->c.prompt_dim)
        return false;
    if (p->target != NULL && p->target->count != side * side) return false;
    if (points != NULL && (labels == NULL || labels->count * 2 != points->count)) return false;
    if (boxes != NULL && boxes->count != 4) return false;
    p->prompt = (msa_prompt_set){.box = boxes == NULL ? NULL : boxes->data};
    if (points == NULL) return true;
    p->prompt.points = points->data;
    p->prompt.labels = labels->data;
    p->prompt.n_points = (int32_t)labels->count;
    return true;
}

/* ---- as in inference ---- */

static void compare(const replay *p, const char *name, const float *got, int64_t n)
{
    if (golden_findf(p->f, "out.%s.%s", p->scope, name) != NULL)
        golden_comparef(p->r, got, n, "out.%s.%s", p->scope, name);
}

static void see(void *ctx, const char *name, const float *data, int64_t rows, int64_t C)
{
    if (strcmp(name, "tokens") == 0 || strcmp(name, "src") == 0) compare(ctx, name, data, rows * C);
}

static void lay_out(const replay *p, msa_decoder_work *work, msa_upscale_weights *upscale, msa_arena *arena)
{
    msa_upscale_weights_layout(upscale, arena, &p->c, &p->w.decoder);
    msa_decoder_work_layout(work, arena, &p->c, &p->w.decoder, p->grid, p->grid, false, 1);
}

static msa_status infer(replay *p, float *logits, float *iou, msa_error *err)
{
    const size_t P = (size_t)p->c.prompt_dim, n = (size_t)p->grid * (size_t)p->grid;
    const msa_tap tap = {see, p};
    float *pe = need(n * P, sizeof *pe), *dense = need(n * P, sizeof *dense);
    float *sparse = need(MSA_SPARSE_MAX * P, sizeof *sparse);
    float *scratch = need(msa_prompt_scratch(p->grid, p->grid), sizeof *scratch);
    float *pixels = need(n * P, sizeof *pixels);
    const msa_decoder_image image = {.grid_h = p->grid, .grid_w = p->grid, .dense_pe = pe, .pixels = pixels};
    msa_decoder_prompt prompt = {.sparse = sparse, .dense = dense};
    msa_arena arena = {0};
    msa_decoder_work *work = need(1, sizeof *work);
    msa_upscale_weights upscale = {0};
    lay_out(p, work, &upscale, &arena);
    msa_status status = msa_arena_commit(&arena, err);
    msa_transpose(p->embedding->data, (int64_t)P, (int64_t)n, pixels);
    msa_position_grid(p->w.prompt.gaussian, p->c.prompt_dim, p->grid, p->grid, pe);
    if (status == MSA_OK) {
        lay_out(p, work, &upscale, &arena);
        msa_upscale_weights_fill(&upscale, &p->c, &p->w.decoder);
        status = msa_prompt_encode(&p->c, &p->w.prompt, p->grid, p->grid, &p->prompt, scratch, sparse,
                                   &prompt.n_sparse, dense, &prompt.dense_step, err);
    }
    if (status == MSA_OK)
        status =
            msa_mask_decode(&p->c, &p->w.decoder, &upscale, &image, &prompt, work, logits, iou, &tap, err);
    msa_arena_release(&arena);
    free(work);
    free(pixels);
    free(pe);
    free(dense);
    free(sparse);
    free(scratch);
    return status;
}

/* ---- as in training ---- */

static void compare_gradients(const replay *p, const msa_params *params)
{
    for (int32_t i = 0; i < params->n_list; i++) {
        const msa_param *q = &params->list[i];
        if (q->trains && golden_findf(p->f, "grad.%s.%s", p->scope, q->name) != NULL)
            golden_comparef(p->r, params->grads + q->offset, q->numel, "grad.%s.%s", p->scope, q->name);
    }
}

/* The pass must give what inference gave, which sums in another order: logits (n) holds that. */
static void compare_pass(const replay *p, const float *logits, const float *from_pass, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!(logits[i] - from_pass[i] <= 5e-6F && from_pass[i] - logits[i] <= 5e-6F)) {
            golden_fail(p->r, "the training pass yields other logits than inference");
            return;
        }
}

static msa_status train(replay *p, const float *logits, int64_t n, msa_error *err)
{
    MSA_AUTO(msa_params) params = NULL;
    MSA_AUTO(msa_decoder_pass) pass = NULL;
    const int64_t pixels = p->target->count; /* of mask 0, on which the loss is */
    MSA_TRY(msa_params_new(&params, &p->c, &p->w, MSA_TRAIN_ADAPTERS, err));
    MSA_TRY(msa_decoder_pass_new(&pass, params, false, err));
    float *again = need((size_t)n, sizeof *again), *dlogits = need((size_t)n, sizeof *dlogits);
    float iou[MSA_MASK_TOKENS_MAX];
    const msa_status status = msa_decoder_pass_forward(pass, p->embedding->data, &p->prompt, again, iou, err);
    if (status == MSA_OK) {
        const float loss = (float)msa_loss_bce(again, p->target->data, 1, pixels, POSITIVE_WEIGHT);
        compare_pass(p, logits, again, n);
        compare(p, "loss", &loss, 1);
        msa_loss_bce_backward(again, p->target->data, 1, pixels, POSITIVE_WEIGHT, 1, dlogits);
        msa_decoder_pass_backward(pass, dlogits, NULL, NULL);
        compare_gradients(p, params);
    }
    free(again);
    free(dlogits);
    return status;
}

/* ---- all of it ---- */

static msa_status replay_scope(replay *p, const msa_tensor *low_res, msa_error *err)
{
    const int64_t n = 16 * (int64_t)p->grid * p->grid * p->c.mask_tokens;
    p->w = (msa_weights){0};
    if (!read_scope(p)) return msa_fail(err, MSA_E_PARSE, "%s is not mode, place and activation", p->scope);
    MSA_TRY(msa_weights_walk(&p->c, &p->w, false, bind, p, err));
    if (low_res->count != n) return msa_fail(err, MSA_E_PARSE, "%s has another size", low_res->name);
    float *logits = need((size_t)n, sizeof *logits), iou[MSA_MASK_TOKENS_MAX];
    msa_status status = infer(p, logits, iou, err);
    if (status == MSA_OK) {
        compare(p, "low_res", logits, n);
        compare(p, "iou", iou, p->c.mask_tokens);
        if (p->target != NULL) status = train(p, logits, n, err);
    }
    free(logits);
    return status;
}

static msa_status replay_all(replay *p, msa_error *err)
{
    MSA_TRY(msa_config_check(&p->c, err));
    if (!read_inputs(p)) return msa_fail(err, MSA_E_PARSE, "the inputs do not fit the configuration");
    for (int32_t i = 0; i < golden_count(p->f); i++) {
        const msa_tensor *t = golden_at(p->f, i);
        const size_t length = strlen(t->name);
        if (strncmp(t->name, "out.", 4) != 0 || length < 13 || length > 50 ||
            strcmp(t->name + length - 8, ".low_res") != 0)
            continue;
        (void)snprintf(p->scope, sizeof p->scope, "%.*s", (int)(length - 12), t->name + 4);
        MSA_TRY(replay_scope(p, t, err));
    }
    return MSA_OK;
}

void golden_check_decoder_adapters(const golden_file *f, golden_report *r)
{
    msa_error err = MSA_ERROR_INIT;
    replay *p = need(1, sizeof *p);
    const char *scale = golden_meta(f, "mlp_scale");
    p->f = f;
    p->r = r;
    if (!golden_config(&p->c, f) || p->c.patch <= 0 || p->c.image_size < p->c.patch) {
        golden_fail(r, "the metadata holds no configuration");
        free(p);
        return;
    }
    p->c.adapters = false;
    if (scale != NULL) p->c.adapter_mlp_scale = strtof(scale, NULL);
    p->grid = p->c.image_size / p->c.patch;
    p->n_zeros = 1 << 20;
    float *zeros = need((size_t)p->n_zeros, sizeof *zeros);
    p->zeros = zeros;
    if (replay_all(p, &err) != MSA_OK) golden_fail(r, err.what);
    free(zeros);
    free(p);
}
