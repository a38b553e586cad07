#include "engine/train/params.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"
#include "engine/train/random.h"

#define ALIGN         16 /* floats: every tensor begins on its own cache line */
#define PURPOSE_START 0x57a27ull
#define LORA_RANK     4 /* as published */
#define LORA_ALPHA    1.0f

void msa_params_free(msa_params *p)
{
    if (p == NULL) return;
    msa_arena_release(&p->arena);
    free(p->list);
    free(p);
}

/* ---- which tensors there are, and which of them train ---- */

typedef struct listing {
    msa_params *p;
    const msa_weights *from; /* NULL: nothing to copy from */
    msa_train_set set;
    const msa_params_start *start;
    int32_t next, room;
} listing;

/* The same place in the other tree of weights. */
static const float *twin(const listing *l, const msa_weight_spec *spec)
{
    if (l->from == NULL) return NULL;
    const size_t at = (size_t)((const char *)spec->to - (const char *)&l->p->weights);
    const float *data = NULL;
    memcpy(&data, (const char *)l->from + at, sizeof data);
    return data;
}

static int32_t twin_size(const listing *l, const int32_t *size)
{
    int32_t n = 0;
    memcpy(&n, (const char *)l->from + ((const char *)size - (const char *)&l->p->weights), sizeof n);
    return n;
}

static bool begins(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

static bool is_adapter(const char *name)
{
    return strstr(name, "Adapter") != NULL;
}

static bool is_factor(const char *name)
{
    return strstr(name, ".lora_") != NULL;
}

/* What a base need not have to go on from it. */
static bool may_be_new(const char *name)
{
    return is_adapter(name) || is_factor(name) || begins(name, "image_encoder.detail.");
}

/* The Fourier matrix is a constant of the model; depth adapters without a depth branch are carried along. */
static bool trains(msa_train_set set, const msa_config *c, const char *name)
{
    const bool unused = strstr(name, "Depth_Adapter") != NULL && c->depth_grouping == MSA_DEPTH_NONE;
    if (strstr(name, "gaussian_matrix") != NULL || unused) return false;
    if (set == MSA_TRAIN_LORA) return is_factor(name);
    if (set == MSA_TRAIN_ALL || is_adapter(name)) return true;
    return set == MSA_TRAIN_ADAPTERS_DECODER && begins(name, "mask_decoder.");
}

static msa_status list_grow(listing *l, msa_error *err)
{
    msa_params *p = l->p;
    if (p->n_list < l->room) return MSA_OK;
    const int32_t room = l->room == 0 ? 256 : 2 * l->room;
    msa_param *list = realloc(p->list, (size_t)room * sizeof *list);
    if (list == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for the list of parameters");
    p->list = list;
    l->room = room;
    return MSA_OK;
}

/* Sizes of a tensor that is copied are those of its source; a new adapter may have a width of its own. */
static void set_shape(const listing *l, const msa_weight_spec *spec, bool copied, msa_param *q)
{
    q->rank = spec->rank;
    q->numel = 1;
    for (int32_t i = 0, n = 0; i < spec->rank; i++) {
        q->shape[i] = spec->shape[i];
        if ((spec->free_axes >> i & 1u) != 0) {
            if (copied)
                q->shape[i] = twin_size(l, spec->size[n]);
            else if (is_adapter(spec->name) && begins(spec->name, "image_encoder.") &&
                     l->start->adapter_width > 0)
                q->shape[i] = l->start->adapter_width;
            *spec->size[n++] = (int32_t)q->shape[i];
        }
        q->numel *= q->shape[i];
    }
}

static msa_status append(void *ctx, const msa_weight_spec *spec, msa_error *err)
{
    listing *l = ctx;
    const float *source = twin(l, spec);
    *spec->to = NULL;
    if (source == NULL && spec->optional) return MSA_OK;
    if (source == NULL && l->from != NULL && !may_be_new(spec->name))
        return msa_fail(err, MSA_E_INVALID, "parameter %.120s has no value to begin with", spec->name);
    MSA_TRY(list_grow(l, err));
    msa_param *q = &l->p->list[l->p->n_list++];
    *q = (msa_param){.trains = trains(l->set, &l->p->config, spec->name)};
    (void)snprintf(q->name, sizeof q->name, "%s", spec->name);
    set_shape(l, spec, source != NULL, q);
    /* The walk goes by this pointer to tell an optional layer that is there; the place follows later. */
    *spec->to = source != NULL ? source : (const float *)(uintptr_t)ALIGN;
    return MSA_OK;
}

static void place(msa_params *p)
{
    int64_t at = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int32_t i = 0; i < p->n_list; i++) {
            msa_param *q = &p->list[i];
            if (q->trains != (pass == 0)) continue;
            q->offset = at;
            at += (q->numel + ALIGN - 1) / ALIGN * ALIGN;
        }
        if (pass == 0) p->n_trained = at;
    }
    p->n_values = at;
}

/* ---- values to begin with ---- */

static bool ends(const char *name, const char *with)
{
    const size_t n = strlen(name), k = strlen(with);
    return n >= k && strcmp(name + n - k, with) == 0;
}

/* Sines and cosines of the place, from two tokens long to four grids: places can be told apart from the first
 * step on (as arXiv:2111.06377 does with other wave lengths). q (1, h, w, C): of each quarter of the channels
 * one. */
static void start_positions(const msa_param *q, float *value)
{
    const double amplitude = 0.5, turn = 6.283185307179586;
    const int64_t h = q->shape[1], w = q->shape[2], C = q->shape[3], n = C / 4;
    const double longest = 2.0 * (double)(h > w ? h : w);
    for (int64_t i = 0; i < h * w * C; i++) {
        const int64_t c = i % C, k = n > 0 ? c % n : 0, part = n > 0 ? c / n : 4;
        const double at = (double)(part < 2 ? i / C % w : i / C / w);
        const double length = 2.0 * pow(longest, n > 1 ? (double)k / (double)(n - 1) : 0.0);
        const double angle = turn * (at + 0.5) / length;
        value[i] = part > 3 ? 0.0f : (float)(amplitude * (part % 2 == 0 ? sin(angle) : cos(angle)));
    }
}

/* What is added to a stream begins small: else patches drown the positions, the first blocks what later ones
 * add, and the tokens, which are few and alike, what is different in the image. */
static double start_part(const msa_params *p, const char *name)
{
    const bool last = ends(name, "proj.weight") || ends(name, "mlp.lin2.weight");
    if (strstr(name, "patch_embed") != NULL) return 0.25;
    if (begins(name, "image_encoder.detail.")) return 1.5; /* a GELU takes as much, and there is no norm */
    if (begins(name, "image_encoder.blocks.") && last) return 1 / sqrt(2.0 * (double)p->config.depth);
    if (begins(name, "mask_decoder.transformer.") &&
        (ends(name, "out_proj.weight") || ends(name, "mlp.lin2.weight")))
        return 0.3;
    return 1;
}

/* How far values spread around zero; 0: all zero. */
static double start_scale(const msa_params *p, const msa_param *q)
{
    static const char *const tokens[] = {"point_embeddings", "not_a_point", "no_mask", "iou_token",
                                         "mask_tokens.weight"};
    if (strstr(q->name, "D_fc2") != NULL || ends(q->name, ".lora_B") ||
        (begins(q->name, "image_encoder.detail.") && ends(q->name, "leave.weight")))
        return 0; /* adds nothing yet */
    if (strstr(q->name, "gaussian_matrix") != NULL) return 1;
    if (strstr(q->name, "rel_pos") != NULL || ends(q->name, ".bias")) return 0;
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++)
        if (strstr(q->name, tokens[i]) != NULL) return 0.5;
    /* Transposed convolutions keep their inputs on the first axis, all others on the second. */
    const bool transposed = begins(q->name, "mask_decoder.output_upscaling");
    const int64_t fan_in = transposed ? q->shape[0] : q->numel / q->shape[0];
    const double part = start_part(p, q->name);
    return part / sqrt((double)fan_in);
}

static void start_values(const msa_params *p, const msa_param *q, uint64_t seed)
{
    float *value = p->values + q->offset;
    const bool norm_weight = q->rank == 1 && ends(q->name, ".weight");
    const double scale = start_scale(p, q);
    uint64_t key = 0;
    uint8_t digest[MSA_SHA256_SIZE];
    msa_sha256_bytes(q->name, strlen(q->name), digest, NULL);
    memcpy(&key, digest, sizeof key);
    msa_random r = msa_random_at(seed, PURPOSE_START, key, 0);
    if (ends(q->name, "pos_embed")) {
        start_positions(q, value);
        return;
    }
    for (int64_t i = 0; i < q->numel; i++)
        value[i] = norm_weight ? 1.0f : scale == 0 ? 0.0f : (float)(scale * msa_random_normal(&r));
}

static msa_status fill(void *ctx, const msa_weight_spec *spec, msa_error *err)
{
    (void)err;
    listing *l = ctx;
    const float *source = twin(l, spec);
    *spec->to = NULL;
    if (source == NULL && spec->optional) return MSA_OK;
    const msa_param *q = &l->p->list[l->next++];
    float *to = l->p->values + q->offset;
    for (int32_t i = 0, n = 0; i < spec->rank; i++)
        if ((spec->free_axes >> i & 1u) != 0) *spec->size[n++] = (int32_t)q->shape[i];
    if (source != NULL)
        memcpy(to, source, (size_t)q->numel * sizeof *to);
    else
        start_values(l->p, q, l->start->seed);
    *spec->to = to;
    return MSA_OK;
}

static void layout(msa_params *p)
{
    p->values = msa_arena_floats(&p->arena, (size_t)p->n_values);
    p->grads = msa_arena_floats(&p->arena, (size_t)p->n_trained);
}

msa_status msa_params_start_new(msa_params **out, const msa_config *config, const msa_weights *from,
                                msa_train_set set, const msa_params_start *start, msa_error *err)
{
    *out = NULL;
    if (config->family != MSA_FAMILY_SAM)
        return msa_fail(err, MSA_E_UNSUPPORTED, "%s models are used here, not trained",
                        config->family == MSA_FAMILY_MOBILE_SAM ? "MobileSAM" : "EfficientSAM");
    if (config->adalora)
        return msa_fail(err, MSA_E_UNSUPPORTED, "AdaLoRA's updates are merged here, not trained");
    MSA_AUTO(msa_params) p = calloc(1, sizeof *p);
    if (p == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for the parameters");
    p->config = *config;
    if (set != MSA_TRAIN_LORA && config->lora_rank > 0)
        return msa_fail(err, MSA_E_INVALID, "where there are low-rank updates, only they train");
    if (set == MSA_TRAIN_LORA && config->lora_rank == 0) {
        p->config.lora_rank = start->lora_rank > 0 ? start->lora_rank : LORA_RANK;
        p->config.lora_alpha = start->lora_alpha != 0 ? start->lora_alpha : LORA_ALPHA;
    }
    listing l = {.p = p, .from = from, .set = set, .start = start};
    MSA_TRY(msa_weights_walk(&p->config, &p->weights, from != NULL, append, &l, err));
    place(p);
    if (p->n_trained == 0)
        return msa_fail(err, MSA_E_INVALID, "nothing would train: the model has no adapters");
    layout(p);
    MSA_TRY(msa_arena_commit(&p->arena, err));
    layout(p);
    MSA_TRY(msa_weights_walk(&p->config, &p->weights, from != NULL, fill, &l, err));
    *out = MSA_STEAL(p);
    return MSA_OK;
}

msa_status msa_params_new(msa_params **out, const msa_config *config, const msa_weights *from,
                          msa_train_set set, msa_error *err)
{
    const msa_params_start start = {0};
    return msa_params_start_new(out, config, from, set, &start, err);
}

/* ---- asking ---- */

void msa_params_zero_grads(msa_params *p)
{
    memset(p->grads, 0, (size_t)p->n_trained * sizeof *p->grads);
}

const msa_param *msa_params_find(const msa_params *p, const char *name)
{
    for (int32_t i = 0; i < p->n_list; i++)
        if (strcmp(p->list[i].name, name) == 0) return &p->list[i];
    return NULL;
}

int64_t msa_params_count(const msa_params *p, bool trained_only)
{
    int64_t n = 0;
    for (int32_t i = 0; i < p->n_list; i++)
        if (p->list[i].trains || !trained_only) n += p->list[i].numel;
    return n;
}
