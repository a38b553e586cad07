/* Replays a training file end to end: loss, gradients, one step, the loss over several steps. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/nn/interp.h"
#include "engine/sam/internal.h"
#include "engine/train/loss.h"
#include "engine/train/optimizer.h"
#include "engine/train/passes.h"
#include "tests/golden/golden.h"

#define NOTICEABLE 1e-5f /* Adam makes a full step of a gradient that is nothing but rounding */

typedef struct training {
    const golden_file *f;
    golden_report *r;
    const char *loss_name;
    msa_loss_options loss;
    msa_optimizer_options adam;
    msa_config c;
    msa_train_set set;
    const msa_model *model;
    msa_params *params;
    msa_encoder_pass *encoder;
    msa_decoder_pass *decoder;
    const msa_tensor *image, *target, *points, *labels;
    int32_t slices;                             /* of the stack; 1 in 2D */
    int64_t side, pixels, values;               /* 4 g; S S; g g P */
    float *embedding, *logits, *pred;           /* (slices, P, g, g); (mask_tokens, 4g, 4g); (slices, S, S) */
    float *dembedding, *dlogits, *dpred, *copy; /* as those; copy: room for the largest parameter */
    float iou[MSA_MASK_TOKENS_MAX];
} training;

/* ---- what the file says ---- */

static bool begins(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

/* What has gradients is what trained. */
static msa_train_set set_of(const golden_file *f)
{
    msa_train_set set = MSA_TRAIN_ADAPTERS;
    for (int32_t i = 0; i < golden_count(f); i++) {
        const char *name = golden_at(f, i)->name;
        if (!begins(name, "grad.") || strstr(name, "Adapter") != NULL) continue;
        if (strstr(name, ".image_encoder.") != NULL) return MSA_TRAIN_ALL;
        if (strstr(name, ".mask_decoder.") != NULL) set = MSA_TRAIN_ADAPTERS_DECODER;
    }
    return set;
}

static bool read_adam(msa_optimizer_options *o, const char *text)
{
    *o = msa_optimizer_defaults(1);
    return sscanf(text, "Adam lr=%lf betas=%lf,%lf eps=%lf", &o->lr, &o->beta1, &o->beta2, &o->eps) == 4;
}

static bool read_loss(msa_loss_options *o, const char *name)
{
    static const struct {
        const char *name;
        msa_loss_kind kind;
        double positive_weight;
    } losses[] = {
        {"bce", MSA_LOSS_BCE, 2}, {"dicece_v11", MSA_LOSS_DICE, 1}, {"dicece_v13", MSA_LOSS_DICE_BCE, 1}};
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++)
        if (strcmp(losses[i].name, name) == 0) {
            *o = msa_loss_defaults(losses[i].kind);
            o->positive_weight = losses[i].positive_weight;
            return true;
        }
    return false;
}

/* kind.loss.name, under our name or what eras B to D call it. */
static const msa_tensor *reference(const training *t, const char *kind, const char *name)
{
    static const char *const aliases[][2] = {
        {"attn.rel_pos_", "attn.rel_"}, {"mlp.lin1", "mlp.layers.0.0"}, {"mlp.lin2", "mlp.fc"}};
    const msa_tensor *found = golden_findf(t->f, "%s.%s.%s", kind, t->loss_name, name);
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases && found == NULL; i++) {
        const char *part = strstr(name, aliases[i][0]);
        if (part == NULL) continue;
        found = golden_findf(t->f, "%s.%s.%.*s%s%s", kind, t->loss_name, (int)(part - name), name,
                             aliases[i][1], part + strlen(aliases[i][0]));
    }
    return found;
}

/* ---- one loss ---- */

static msa_status begin(training *t, msa_error *err)
{
    msa_params_free(t->params);
    msa_encoder_pass_free(t->encoder);
    msa_decoder_pass_free(t->decoder);
    t->params = NULL;
    t->encoder = NULL;
    t->decoder = NULL;
    MSA_TRY(msa_params_new(&t->params, &t->c, msa_model_weights(t->model), t->set, err));
    MSA_TRY(msa_encoder_pass_new_stack(&t->encoder, t->params, t->slices, false, err));
    return msa_decoder_pass_new(&t->decoder, t->params, t->set == MSA_TRAIN_ALL, err);
}

/* Every slice has its own prompt. */
static msa_status decode(training *t, int32_t slice, msa_error *err)
{
    const int32_t n = (int32_t)(t->labels->count / t->slices), S = t->c.image_size, side = (int32_t)t->side;
    const msa_prompt_set prompt = {.points = t->points->data + (size_t)slice * 2 * (size_t)n,
                                   .labels = t->labels->data + (size_t)slice * (size_t)n,
                                   .n_points = n};
    MSA_TRY(msa_decoder_pass_forward(t->decoder, t->embedding + slice * t->values, &prompt, t->logits, t->iou,
                                     err));
    msa_resize_bilinear(t->logits, side, side, 1, t->pred + slice * t->pixels, S, S);
    return MSA_OK;
}

static msa_status forward(training *t, double *loss, msa_error *err)
{
    MSA_TRY(msa_encoder_pass_forward(t->encoder, t->image->data, t->embedding, err));
    for (int32_t s = 0; s < t->slices; s++)
        MSA_TRY(decode(t, s, err));
    *loss = msa_loss(&t->loss, t->pred, t->target->data, t->slices, t->pixels, 1, NULL);
    return MSA_OK;
}

/* The decoder's pass holds one slice; the others are decoded again. */
static msa_status backward(training *t, msa_error *err)
{
    const int32_t S = t->c.image_size, side = (int32_t)t->side;
    memset(t->dpred, 0, (size_t)(t->slices * t->pixels) * sizeof *t->dpred);
    memset(t->dembedding, 0, (size_t)(t->slices * t->values) * sizeof *t->dembedding);
    msa_params_zero_grads(t->params);
    (void)msa_loss(&t->loss, t->pred, t->target->data, t->slices, t->pixels, 1, t->dpred);
    for (int32_t s = 0; s < t->slices; s++) {
        MSA_TRY(decode(t, s, err));
        memset(t->dlogits, 0, (size_t)(t->c.mask_tokens * t->side * t->side) * sizeof *t->dlogits);
        msa_resize_bilinear_backward(t->dpred + s * t->pixels, S, S, 1, t->dlogits, side, side);
        msa_decoder_pass_backward(t->decoder, t->dlogits, NULL, t->dembedding + s * t->values);
    }
    msa_encoder_pass_backward(t->encoder, t->dembedding);
    return MSA_OK;
}

static void compare_grads(training *t)
{
    golden_comparef(t->r, t->dpred, t->slices * t->pixels, "grad.%s.__pred", t->loss_name);
    for (int32_t i = 0; i < t->params->n_list; i++) {
        const msa_param *q = &t->params->list[i];
        const msa_tensor *ref = reference(t, "grad", q->name);
        if (ref != NULL && q->trains)
            golden_compare(t->r, ref->name, t->params->grads + q->offset, q->numel);
        else if (ref != NULL)
            golden_fail(t->r, "a parameter has a gradient in the file and none here");
    }
}

/* From our own gradients: only where these are more than rounding; elsewhere the reference stands for itself.
 */
static void compare_own_steps(training *t)
{
    for (int32_t i = 0; i < t->params->n_list; i++) {
        const msa_param *q = &t->params->list[i];
        const msa_tensor *grad = reference(t, "grad", q->name), *step = reference(t, "step", q->name);
        if (grad == NULL || step == NULL || step->count != q->numel) continue;
        for (int64_t k = 0; k < q->numel; k++)
            t->copy[k] = fabsf(grad->data[k]) > NOTICEABLE ? t->params->values[q->offset + k] : step->data[k];
        golden_compare(t->r, step->name, t->copy, q->numel);
    }
}

/* The stored weights and gradients through one step of the optimiser alone. */
static msa_status check_stored_steps(training *t, msa_error *err)
{
    MSA_AUTO(msa_optimizer) adam = NULL;
    MSA_TRY(begin(t, err));
    MSA_TRY(msa_optimizer_new(&adam, t->params, &t->adam, err));
    msa_params_zero_grads(t->params);
    for (int32_t i = 0; i < t->params->n_list; i++) {
        const msa_param *q = &t->params->list[i];
        const msa_tensor *grad = reference(t, "grad", q->name);
        if (grad != NULL && q->trains && grad->count == q->numel)
            memcpy(t->params->grads + q->offset, grad->data, (size_t)q->numel * sizeof(float));
    }
    MSA_TRY(msa_optimizer_step(adam, err));
    for (int32_t i = 0; i < t->params->n_list; i++) {
        const msa_param *q = &t->params->list[i];
        const msa_tensor *step = reference(t, "step", q->name);
        if (step != NULL) golden_compare(t->r, step->name, t->params->values + q->offset, q->numel);
    }
    return MSA_OK;
}

static msa_status check_descent(training *t, const msa_tensor *trajectory, msa_error *err)
{
    MSA_AUTO(msa_optimizer) adam = NULL;
    double loss = 0;
    float *losses = calloc((size_t)trajectory->count, sizeof *losses);
    if (losses == NULL) abort();
    msa_status status = begin(t, err);
    if (status == MSA_OK) status = msa_optimizer_new(&adam, t->params, &t->adam, err);
    for (int64_t n = 0; n < trajectory->count && status == MSA_OK; n++) {
        status = forward(t, &loss, err);
        if (status != MSA_OK) break;
        losses[n] = (float)loss;
        status = backward(t, err);
        if (status != MSA_OK) break;
        if (n == 0) {
            golden_comparef(t->r, losses, 1, "out.%s.loss", t->loss_name);
            golden_comparef(t->r, t->pred, t->slices * t->pixels, "out.%s.pred", t->loss_name);
            compare_grads(t);
        }
        status = msa_optimizer_step(adam, err);
        if (n == 0 && status == MSA_OK) compare_own_steps(t);
    }
    if (status == MSA_OK) golden_compare(t->r, trajectory->name, losses, trajectory->count);
    free(losses);
    return status;
}

/* ---- the file ---- */

static float *floats(int64_t n)
{
    float *x = calloc((size_t)n, sizeof *x);
    if (x == NULL) abort();
    return x;
}

static bool prepare(training *t)
{
    const int64_t g = t->c.image_size / t->c.patch, S = t->c.image_size;
    t->image = golden_find(t->f, "in.image");
    t->target = golden_find(t->f, "in.target");
    t->points = golden_find(t->f, "in.point_coords");
    t->labels = golden_find(t->f, "in.point_labels");
    t->side = 4 * g;
    t->pixels = S * S;
    t->values = g * g * t->c.prompt_dim;
    if (t->image == NULL || t->target == NULL || t->points == NULL || t->labels == NULL ||
        t->image->rank != 4 || t->image->shape[0] > MSA_STACK_MAX)
        return false;
    t->slices = (int32_t)t->image->shape[0];
    if (t->image->count != t->slices * 3 * S * S || t->target->count != t->slices * S * S ||
        t->labels->count % t->slices != 0 || t->points->count != 2 * t->labels->count)
        return false;
    t->embedding = floats(t->slices * t->values);
    t->dembedding = floats(t->slices * t->values);
    t->logits = floats(t->c.mask_tokens * t->side * t->side);
    t->dlogits = floats(t->c.mask_tokens * t->side * t->side);
    t->pred = floats(t->slices * S * S);
    t->dpred = floats(t->slices * S * S);
    return true;
}

static msa_status check_losses(training *t, msa_error *err)
{
    t->set = set_of(t->f);
    for (int32_t i = 0; i < golden_count(t->f); i++) {
        const msa_tensor *trajectory = golden_at(t->f, i);
        char name[64];
        int end = 0;
        if (sscanf(trajectory->name, "out.%63[^.].loss_traj%n", name, &end) != 1 || end == 0) continue;
        t->loss_name = name;
        if (!read_loss(&t->loss, name)) return msa_fail(err, MSA_E_UNSUPPORTED, "no loss is called %s", name);
        if (t->copy == NULL) {
            MSA_TRY(begin(t, err));
            t->copy = floats(t->params->n_values);
        }
        MSA_TRY(check_stored_steps(t, err));
        MSA_TRY(check_descent(t, trajectory, err));
    }
    return MSA_OK;
}

void golden_check_train(const golden_file *f, golden_report *r)
{
    msa_error err = MSA_ERROR_INIT;
    MSA_AUTO(msa_model) m = NULL;
    training t = {.f = f, .r = r};
    if (!golden_config(&t.c, f) || !read_adam(&t.adam, golden_meta(f, "optimizer")))
        golden_fail(r, "the metadata holds no configuration or no optimiser");
    else if (golden_model(&m, f, &t.c, &err) != MSA_OK)
        golden_fail(r, err.what);
    else if (!prepare(&t))
        golden_fail(r, "the inputs are missing or of another size");
    else {
        t.model = m;
        if (check_losses(&t, &err) != MSA_OK) golden_fail(r, err.what);
    }
    msa_decoder_pass_free(t.decoder);
    msa_encoder_pass_free(t.encoder);
    msa_params_free(t.params);
    float *owned[] = {t.embedding, t.logits, t.pred, t.dembedding, t.dlogits, t.dpred, t.copy};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
}
