/* Replays an encoder with low-rank updates: merged as a model is loaded, and apart as they train. */
#include <stdlib.h>
#include <string.h>

#include "engine/sam/internal.h"
#include "engine/train/passes.h"
#include "tests/golden/golden.h"

static void compare_grads(const msa_params *p, golden_report *r, const golden_file *f)
{
    for (int32_t i = 0; i < p->n_list; i++) {
        const msa_param *q = &p->list[i];
        if (golden_findf(f, "grad.%s", q->name) == NULL) continue;
        if (q->trains)
            golden_comparef(r, p->grads + q->offset, q->numel, "grad.%s", q->name);
        else
            golden_fail(r, "a parameter has a gradient in the file and none here");
    }
}

static msa_status copy_factors(msa_params *p, const golden_file *f, msa_error *err)
{
    for (int32_t i = 0; i < p->n_list; i++) {
        const msa_param *q = &p->list[i];
        const msa_tensor *t = golden_findf(f, "w.%s", q->name);
        if (!q->trains) continue;
        if (t == NULL || t->count != q->numel)
            return msa_fail(err, MSA_E_PARSE, "factor %s is missing or of another size", q->name);
        memcpy(p->values + q->offset, t->data, (size_t)t->count * sizeof(float));
    }
    return MSA_OK;
}

static msa_status check_pass(const golden_file *f, golden_report *r, msa_error *err)
{
    MSA_AUTO(msa_model) base = NULL;
    MSA_AUTO(msa_params) p = NULL;
    MSA_AUTO(msa_encoder_pass) pass = NULL;
    msa_config c;
    if (!golden_config(&c, f)) return msa_fail(err, MSA_E_PARSE, "the metadata holds no configuration");
    const msa_params_start start = {.lora_rank = c.lora_rank, .lora_alpha = c.lora_alpha};
    const int64_t side = c.image_size / c.patch, n = side * side * c.prompt_dim;
    const msa_tensor *image = golden_find(f, "in.image"), *dneck = golden_find(f, "in.grad_out_neck");
    if (image == NULL || image->count != 3 * (int64_t)c.image_size * c.image_size || dneck == NULL ||
        dneck->count != n)
        return msa_fail(err, MSA_E_PARSE, "the inputs are missing or of another size");
    MSA_AUTO_FREE float *embedding = calloc((size_t)n, sizeof *embedding);
    if (embedding == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory");
    c.lora_rank = 0;
    MSA_TRY(golden_model(&base, f, &c, err));
    MSA_TRY(msa_params_start_new(&p, &c, msa_model_weights(base), MSA_TRAIN_LORA, &start, err));
    MSA_TRY(copy_factors(p, f, err));
    MSA_TRY(msa_encoder_pass_new(&pass, p, false, err));
    msa_params_zero_grads(p);
    MSA_TRY(msa_encoder_pass_forward(pass, image->data, embedding, err));
    golden_compare(r, "out.neck.3", embedding, n);
    msa_encoder_pass_backward(pass, dneck->data);
    compare_grads(p, r, f);
    return MSA_OK;
}

void golden_check_lora(const golden_file *f, golden_report *r)
{
    msa_error err = MSA_ERROR_INIT;
    golden_check_model(f, r);
    if (check_pass(f, r, &err) != MSA_OK) golden_fail(r, err.what);
}
