#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/config_json.h"
#include "engine/io/safetensors.h"
#include "engine/model.h"
#include "engine/sam/internal.h"

#define GOLDEN_RATIO 0x9E3779B97F4A7C15ull

uint64_t msa_hash_key(const char *name, uint64_t seed)
{
    uint64_t h = 0xcbf29ce484222325ull;
    for (const char *p = name; *p != '\0'; p++)
        h = (h ^ (unsigned char)*p) * 0x100000001b3ull;
    return h ^ (seed * GOLDEN_RATIO);
}

double msa_hash_unit(uint64_t key, int64_t i)
{
    uint64_t x = key + (uint64_t)(i + 1) * GOLDEN_RATIO;
    x ^= x >> 30;
    x *= 0xBF58476D1CE4E5B9ull;
    x ^= x >> 27;
    x *= 0x94D049BB133111EBull;
    x ^= x >> 31;
    return (double)(x >> 40) / 8388608.0 - 1.0;
}

static bool ends_with(const char *name, const char *end)
{
    const size_t n = strlen(name), k = strlen(end);
    return n >= k && strcmp(name + n - k, end) == 0;
}

/* The first rule that fits, as the reference files' README lists them. */
static void offset_and_scale(const msa_tensor *t, double *offset, double *scale)
{
    static const char *const embeddings[] = {"point_embeddings", "not_a_point_embed", "no_mask_embed",
                                             "iou_token", "mask_tokens"};
    const char *n = t->name;
    *offset = 0.0;
    if (ends_with(n, "positional_encoding_gaussian_matrix")) {
        *scale = 1.7320508075688772;
    } else if (ends_with(n, "pos_embed") || ends_with(n, "rel_pos_h") || ends_with(n, "rel_pos_w") ||
               ends_with(n, "attention_biases")) {
        *scale = 0.25;
    } else if (ends_with(n, "running_mean")) {
        *scale = 0.1;
    } else if (ends_with(n, ".bias")) {
        *scale = 0.05;
    } else if (t->rank == 1) {
        *offset = 1.0;
        *scale = 0.1;
    } else {
        *scale = sqrt(3.0 / (double)(t->count / t->shape[0]));
        for (size_t i = 0; i < sizeof embeddings / sizeof embeddings[0]; i++)
            if (strstr(n, embeddings[i]) != NULL) *scale = 0.5;
    }
}

static void fill_hashed(void *ctx, const msa_tensor *t, int64_t first, int64_t n, float *to)
{
    const uint64_t key = msa_hash_key(t->name, *(const uint64_t *)ctx);
    double offset = 0.0, scale = 0.0;
    offset_and_scale(t, &offset, &scale);
    for (int64_t i = 0; i < n; i++)
        to[i] = (float)(offset + scale * msa_hash_unit(key, first + i));
}

/* ---- the list of tensors of a new model ---- */

typedef struct tensor_list {
    msa_tensor *tensors;
    int32_t n, room;
    int32_t pos_grid; /* 0: the model's own */
} tensor_list;

static void tensor_list_free(tensor_list *l)
{
    for (int32_t i = 0; i < l->n; i++)
        free((char *)(uintptr_t)l->tensors[i].name);
    free(l->tensors);
}

static msa_status append(void *ctx, const msa_weight_spec *spec, msa_error *err)
{
    tensor_list *l = ctx;
    if (l->n == l->room) {
        const int32_t room = l->room == 0 ? 256 : 2 * l->room;
        msa_tensor *grown = realloc(l->tensors, (size_t)room * sizeof *grown);
        if (grown == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for a tensor list");
        l->tensors = grown;
        l->room = room;
    }
    msa_tensor *t = &l->tensors[l->n];
    *t = (msa_tensor){.name = strdup(spec->name), .rank = spec->rank, .count = 1};
    if (t->name == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for a tensor's name");
    l->n++;
    const bool positions = l->pos_grid > 0 && ends_with(spec->name, "pos_embed");
    for (int32_t i = 0, n = 0; i < t->rank; i++) {
        const bool is_free = (spec->free_axes >> i & 1u) != 0;
        t->shape[i] = positions && is_free ? l->pos_grid : spec->shape[i];
        t->count *= t->shape[i];
        if (is_free) *spec->size[n++] = (int32_t)t->shape[i];
    }
    return MSA_OK;
}

msa_status msa_model_write_random(const char *path, const msa_config *config, uint64_t seed, msa_error *err)
{
    return msa_model_write_hashed(path, config, seed, 0, err);
}

msa_status msa_model_write_hashed(const char *path, const msa_config *config, uint64_t seed, int32_t pos_grid,
                                  msa_error *err)
{
    msa_config c = *config;
    __attribute__((cleanup(tensor_list_free))) tensor_list list = {.pos_grid = pos_grid};
    MSA_AUTO_FREE msa_weights *unused = calloc(1, sizeof *unused);
    MSA_AUTO_FREE char *json = NULL;
    char seed_text[24];
    c.untrained = true;
    if (unused == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for a tensor list");
    MSA_TRY(msa_config_check(&c, err));
    MSA_TRY(msa_weights_walk(&c, unused, false, append, &list, err));
    MSA_TRY(msa_config_print(&json, &c, err));
    (void)snprintf(seed_text, sizeof seed_text, "%llu", (unsigned long long)seed);
    const msa_metadata metadata[] = {{"config", json}, {"weights", "hash scheme"}, {"seed", seed_text}};
    return msa_safetensors_write(path, list.tensors, list.n, metadata, 3, fill_hashed, &seed, err);
}
