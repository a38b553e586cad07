#include "engine/train/export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/adapt/adapter_file.h"
#include "engine/io/config_json.h"
#include "engine/kern/vec.h"
#include "engine/sam/internal.h"

/* ---- writing ---- */

static msa_tensor tensor_of(const msa_params *p, const msa_param *q, const msa_export_options *o)
{
    const float *from = q->trains && o->trained != NULL ? o->trained : p->values;
    msa_tensor t = {
        .name = q->name, .data = from + q->offset, .rank = q->rank, .count = q->numel, .stored = o->stored};
    for (int32_t i = 0; i < q->rank; i++)
        t.shape[i] = q->shape[i];
    return t;
}

/* The blocks' layers with their low-rank updates in them; room (depth x msa_block_merged_floats()). */
static void merge_updates(const msa_params *p, const msa_export_options *o, msa_tensor *list, int32_t n,
                          float *room)
{
    const size_t each = msa_block_merged_floats(&p->config);
    for (int32_t i = 0; i < p->config.depth; i++) {
        const msa_block_weights *from = &p->weights.encoder.blocks[i];
        msa_block_weights b = *from;
        const float **factors[] = {&b.factors.qkv_a,  &b.factors.qkv_b,  &b.factors.lin1_a,
                                   &b.factors.lin1_b, &b.factors.lin2_a, &b.factors.lin2_b};
        for (size_t k = 0; k < 6 && o->trained != NULL; k++)
            if (msa_grad(p, *factors[k]) != NULL) *factors[k] = o->trained + (*factors[k] - p->values);
        msa_block_merge(&p->config, &b, room + (size_t)i * each);
        const msa_linear *old[] = {&from->qkv, &from->lin1, &from->lin2},
                         *merged[] = {&b.qkv, &b.lin1, &b.lin2};
        for (int32_t t = 0; t < n; t++)
            for (int k = 0; k < 3; k++)
                if (list[t].data == old[k]->weight) list[t].data = merged[k]->weight;
    }
}

static bool is_factor(const msa_param *q)
{
    return strstr(q->name, ".lora_") != NULL;
}

/* A whole model has its low-rank updates in its weights; an adapter is the factors. */
static msa_status write_list(const msa_params *p, const msa_export_options *o, bool trained_only,
                             const char *path, const msa_metadata *metadata, int32_t n_metadata,
                             msa_error *err)
{
    const bool merge = p->config.lora_rank > 0 && !trained_only;
    const size_t room = merge ? (size_t)p->config.depth * msa_block_merged_floats(&p->config) : 1;
    MSA_AUTO_FREE msa_tensor *list = calloc((size_t)p->n_list, sizeof *list);
    MSA_AUTO_FREE float *merged = malloc(room * sizeof *merged);
    int32_t n = 0;
    if (list == NULL || merged == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory to write a model");
    for (int32_t i = 0; i < p->n_list; i++) {
        const bool left_out = trained_only ? !p->list[i].trains : is_factor(&p->list[i]);
        if (left_out) continue;
        list[n] = tensor_of(p, &p->list[i], o);
        if (!msa_all_finite(list[n].count, list[n].data))
            return msa_fail(err, MSA_E_INVALID, "%.120s holds a value that is not finite", list[n].name);
        n++;
    }
    if (merge) merge_updates(p, o, list, n, merged);
    return msa_safetensors_write(path, list, n, metadata, n_metadata, NULL, NULL, err);
}

static msa_status with_notes(msa_metadata *metadata, int32_t *n, const msa_export_options *o, msa_error *err)
{
    if (o->n_notes > MSA_NOTES_MAX)
        return msa_fail(err, MSA_E_INVALID, "a model carries at most %d notes", MSA_NOTES_MAX);
    for (int32_t i = 0; i < o->n_notes; i++)
        metadata[(*n)++] = o->notes[i];
    return MSA_OK;
}

static msa_status print_trained(char **json, const msa_params *p, bool whole, msa_error *err)
{
    msa_config c = p->config;
    c.untrained = false;
    if (whole) c.lora_rank = 0;
    MSA_TRY(msa_config_check(&c, err));
    return msa_config_print(json, &c, err);
}

static const msa_export_options plain = {0};

msa_status msa_export_model(const msa_params *p, const char *path, const msa_export_options *options,
                            msa_error *err)
{
    const msa_export_options *o = options != NULL ? options : &plain;
    MSA_AUTO_FREE char *json = NULL;
    MSA_TRY(print_trained(&json, p, true, err));
    msa_metadata metadata[1 + MSA_NOTES_MAX] = {{"config", json}};
    int32_t n = 1;
    MSA_TRY(with_notes(metadata, &n, o, err));
    return write_list(p, o, false, path, metadata, n, err);
}

msa_status msa_export_adapter(const msa_params *p, const char *base_hash, const char *path,
                              const msa_export_options *options, msa_error *err)
{
    const msa_export_options *o = options != NULL ? options : &plain;
    const msa_param *stem = msa_params_find(p, "image_encoder.patch_embed.proj.weight");
    MSA_AUTO_FREE char *json = NULL;
    if (stem == NULL || stem->trains)
        return msa_fail(err, MSA_E_INVALID, "the whole model was trained: there is no base for an adapter");
    MSA_TRY(print_trained(&json, p, false, err));
    msa_metadata metadata[3 + MSA_NOTES_MAX] = {
        {"kind", MSA_ADAPTER_KIND}, {"config", json}, {"base_sha256", base_hash}};
    int32_t n = 3;
    MSA_TRY(with_notes(metadata, &n, o, err));
    return write_list(p, o, true, path, metadata, n, err);
}

/* ---- reading ---- */

static int32_t width_in(const msa_safetensors *f)
{
    const msa_tensor *t = msa_safetensors_find(f, "image_encoder.blocks.0.Space_Adapter.D_fc1.weight");
    return t != NULL && t->rank == 2 && t->shape[0] <= 16384 ? (int32_t)t->shape[0] : 0;
}

static bool same_shape(const msa_param *q, const msa_tensor *t)
{
    if (q->rank != t->rank) return false;
    for (int32_t i = 0; i < q->rank; i++)
        if (q->shape[i] != t->shape[i]) return false;
    return true;
}

static msa_status copy_tensors(msa_params *p, const msa_safetensors *f, msa_error *err)
{
    int32_t used = 0;
    for (int32_t i = 0; i < p->n_list; i++) {
        const msa_param *q = &p->list[i];
        const msa_tensor *t = msa_safetensors_find(f, q->name);
        if (!q->trains && t != NULL)
            return msa_fail(err, MSA_E_PARSE, "the adapter holds %.120s, which belongs to the base", q->name);
        if (!q->trains) continue;
        if (t == NULL) return msa_fail(err, MSA_E_PARSE, "the adapter lacks %.120s", q->name);
        if (!same_shape(q, t) || !msa_all_finite(t->count, t->data))
            return msa_fail(err, MSA_E_PARSE, "the adapter's %.120s has another shape or is not finite",
                            q->name);
        memcpy(p->values + q->offset, t->data, (size_t)q->numel * sizeof(float));
        used++;
    }
    if (used != msa_safetensors_count(f))
        return msa_fail(err, MSA_E_PARSE, "the adapter holds a tensor that is not part of its configuration");
    return MSA_OK;
}

/* What an adapter of this configuration and with these tensors trains. */
static msa_train_set set_in(const msa_config *c, const msa_safetensors *f)
{
    if (c->lora_rank > 0) return MSA_TRAIN_LORA;
    const bool decoder = msa_safetensors_find(f, "mask_decoder.iou_token.weight") != NULL;
    return decoder ? MSA_TRAIN_ADAPTERS_DECODER : MSA_TRAIN_ADAPTERS;
}

msa_status msa_adapter_apply(msa_params **out, const msa_model *base, const char *path, msa_error *err)
{
    MSA_AUTO(msa_safetensors) f = NULL;
    MSA_AUTO(msa_params) p = NULL;
    const msa_weights *weights = NULL;
    msa_config c;
    *out = NULL;
    MSA_TRY(msa_safetensors_open(&f, path, err));
    MSA_TRY(msa_adapter_file_check(&c, f, msa_model_config(base), msa_model_hash(base), err));
    const msa_params_start start = {.adapter_width = width_in(f)};
    MSA_TRY(msa_model_whole_weights(&weights, base, err));
    MSA_TRY(msa_params_start_new(&p, &c, weights, set_in(&c, f), &start, err));
    MSA_TRY(copy_tensors(p, f, err));
    *out = MSA_STEAL(p);
    return MSA_OK;
}
