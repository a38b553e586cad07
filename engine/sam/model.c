#include "engine/model.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/adapt/adapter_file.h"
#include "engine/base/hash.h"
#include "engine/io/config_json.h"
#include "engine/io/safetensors.h"
#include "engine/kern/vec.h"
#include "engine/sam/internal.h"
#include "engine/sam/pack.h"
#include "engine/sam/reduce.h"
#include "engine/sam/spare.h"

#define FREE_AXIS_MAX 16384

struct msa_model {
    msa_config c;
    uint64_t serial;
    msa_safetensors *file; /* of an adapted model: the adapter's */
    const msa_model *base; /* NULL; else it has the weights that the file does not hold */
    msa_model *own_base;   /* the same, when it goes with this model */
    msa_weights w;
    msa_weight_memory memory; /* what the large layers among them are made from */
    msa_tables t;
    msa_arena packed; /* the large layers' weights once more, as products read them */
    int64_t parameters;
    int32_t tensors;
    msa_precision precision;
    msa_reduced_layers reduced;
    char content[MSA_SHA256_HEX], hash[MSA_SHA256_HEX]; /* of the files; of those and the precision */
    char version[sizeof((msa_config *)NULL)->version];  /* c.version tells the precision as well */
};

void msa_model_free(msa_model *m)
{
    if (m == NULL) return;
    msa_spare_drop(m->serial);
    msa_tables_release(&m->t);
    msa_safetensors_free(m->file);
    msa_model_free(m->own_base);
    msa_weight_memory_release(&m->memory);
    msa_reduced_layers_release(&m->reduced);
    msa_arena_release(&m->packed);
    free(m);
}

/* ---- binding names to pointers ---- */

typedef struct binding {
    msa_model *m;
    const char *prefix;
    bool *seen; /* by index in the file */
} binding;

static const msa_tensor *find(const msa_safetensors *f, const char *prefix, const msa_weight_spec *spec)
{
    char name[MSA_TENSOR_NAME_MAX + 64];
    (void)snprintf(name, sizeof name, "%s%s", prefix, spec->name);
    const msa_tensor *t = msa_safetensors_find(f, name);
    const char *part = spec->alias[0] == NULL ? NULL : strstr(spec->name, spec->alias[0]);
    if (t != NULL || part == NULL) return t;
    (void)snprintf(name, sizeof name, "%s%.*s%s%s", prefix, (int)(part - spec->name), spec->name,
                   spec->alias[1], part + strlen(spec->alias[0]));
    return msa_safetensors_find(f, name);
}

static msa_status check_shape(const msa_weight_spec *spec, const msa_tensor *t, msa_error *err)
{
    if (t->rank != spec->rank)
        return msa_fail(err, MSA_E_PARSE, "tensor %.90s has rank %d, not %d", t->name, t->rank, spec->rank);
    for (int32_t i = 0; i < t->rank; i++) {
        const bool is_free = (spec->free_axes >> i & 1u) != 0;
        if (is_free && t->shape[i] > FREE_AXIS_MAX)
            return msa_fail(err, MSA_E_UNSUPPORTED, "tensor %.90s: axis %d is %lld, more than %d", t->name, i,
                            (long long)t->shape[i], FREE_AXIS_MAX);
        if (!is_free && t->shape[i] != spec->shape[i])
            return msa_fail(err, MSA_E_PARSE, "tensor %.90s: axis %d is %lld, the configuration says %lld",
                            t->name, i, (long long)t->shape[i], (long long)spec->shape[i]);
    }
    return MSA_OK;
}

/* What the base computes with, which is not its file where low-rank updates are merged. */
static const float *of_base(const binding *b, const msa_weight_spec *spec)
{
    const size_t at = (size_t)((const char *)spec->to - (const char *)&b->m->w);
    const float *data = NULL;
    memcpy(&data, (const char *)&b->m->base->w + at, sizeof data);
    return data;
}

/* It is packed later, and then wanted once more. */
static bool is_large(msa_model *m, const msa_weight_spec *spec)
{
    msa_linear *list[MSA_LARGE_LAYERS_MAX];
    const int32_t n = msa_large_layers(&m->c, &m->w, list);
    for (int32_t i = 0; i < n; i++)
        if (spec->to == &list[i]->weight) return true;
    return false;
}

static msa_status bind(void *ctx, const msa_weight_spec *spec, msa_error *err)
{
    binding *b = ctx;
    const msa_tensor *t = find(b->m->file, b->prefix, spec);
    const bool own = t != NULL; /* the base's were looked at when it was loaded */
    *spec->to = NULL;
    if (!own && b->m->base != NULL) t = find(b->m->base->file, b->prefix, spec);
    if (t == NULL && spec->optional) return MSA_OK;
    if (t == NULL) return msa_fail(err, MSA_E_PARSE, "tensor %.120s is missing", spec->name);
    MSA_TRY(check_shape(spec, t, err));
    if (own) MSA_TRY(msa_safetensors_want(b->m->file, t, err));
    if (own && !msa_all_finite(t->count, t->data))
        return msa_fail(err, MSA_E_PARSE, "tensor %.120s holds a value that is not finite", t->name);
    for (int32_t i = 0, n = 0; i < t->rank; i++)
        if ((spec->free_axes >> i & 1u) != 0) *spec->size[n++] = (int32_t)t->shape[i];
    *spec->to = own ? t->data : of_base(b, spec);
    if (*spec->to == NULL) return msa_fail(err, MSA_E_PARSE, "tensor %.120s is missing", spec->name);
    if (own) b->seen[t - msa_safetensors_at(b->m->file, 0)] = true;
    if (own && is_large(b->m, spec)) msa_safetensors_leave(b->m->file, t);
    b->m->parameters += t->count;
    b->m->tensors++;
    return MSA_OK;
}

static msa_status bind_all(msa_model *m, const char *prefix, msa_error *err)
{
    const int32_t n = msa_safetensors_count(m->file);
    MSA_AUTO_FREE bool *seen = calloc((size_t)n + 1, sizeof *seen);
    if (seen == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory to load a model");
    binding b = {m, prefix, seen};
    MSA_TRY(msa_weights_walk(&m->c, &m->w, true, bind, &b, err));
    for (int32_t i = 0; i < n; i++) {
        const msa_tensor *t = msa_safetensors_at(m->file, i);
        if (!seen[i] && strncmp(t->name, prefix, strlen(prefix)) == 0)
            return msa_fail(err, MSA_E_UNSUPPORTED, "tensor %.120s is not part of the configuration",
                            t->name);
    }
    return MSA_OK;
}

/* ---- low-rank updates ---- */

/* They become part of the weights, as this model has them: it is then as fast as without them. */
static msa_status merge_updates(msa_model *m, msa_error *err)
{
    m->memory.file = m->file;
    m->memory.base = m->base == NULL ? NULL : &m->base->memory;
    if (m->c.lora_rank == 0) return MSA_OK;
    MSA_TRY(msa_weight_memory_merge(&m->memory, &m->c, &m->w, err));
    m->c.lora_rank = 0;
    m->c.adalora = false;
    return MSA_OK;
}

/* ---- packed weights ---- */

/* Layers that have no other form are packed. */
static msa_status pack(msa_model *m, msa_error *err)
{
    const msa_weights *base = m->base == NULL ? NULL : &m->base->w;
    msa_weights_unpack(&m->packed, &m->c, &m->w);
    return msa_weights_pack(&m->packed, &m->c, &m->w, base, &m->memory, err);
}

/* ---- precision ---- */

/* Whoever compares hashes or reads a result sees that it was not float32. */
static void tell_precision(msa_model *m)
{
    const char *name = msa_precision_name(m->precision);
    char both[MSA_SHA256_HEX + 16], version[sizeof m->c.version + 16];
    memcpy(m->hash, m->content, sizeof m->hash);
    memcpy(m->c.version, m->version, sizeof m->c.version);
    if (m->precision == MSA_PRECISION_FP32) return;
    (void)snprintf(both, sizeof both, "%s%s", m->content, name);
    msa_sha256_bytes(both, strlen(both), NULL, m->hash);
    /* a version that is too long loses its end, not its precision */
    const int room = (int)(sizeof m->c.version - 2 - strlen(name));
    (void)snprintf(version, sizeof version, "%.*s+%s", room, m->version, name);
    (void)snprintf(m->c.version, sizeof m->c.version, "%.*s", (int)sizeof m->c.version - 1, version);
}

static msa_status set_precision(msa_model *m, msa_precision precision, msa_error *err)
{
    const bool shared = m->base != NULL && m->base->precision == precision;
    MSA_TRY(msa_weights_reduce(&m->reduced, &m->c, &m->w, shared ? &m->base->w : NULL, precision, &m->memory,
                               err));
    m->precision = precision;
    tell_precision(m);
    return pack(m, err);
}

/* Models on one base take its weights from it, one after another. */
static pthread_mutex_t taking = PTHREAD_MUTEX_INITIALIZER;

msa_status msa_model_set_precision(msa_model *m, msa_precision precision, msa_error *err)
{
    (void)pthread_mutex_lock(&taking);
    const msa_status status = set_precision(m, precision, err);
    (void)pthread_mutex_unlock(&taking);
    return status;
}

static msa_status want_all(const msa_model *m, msa_error *err)
{
    msa_weights w = m->w;
    msa_linear *layers[MSA_LARGE_LAYERS_MAX];
    const int32_t n = msa_large_layers(&m->c, &w, layers);
    for (int32_t i = 0; i < n; i++)
        MSA_TRY(msa_weight_want(&m->memory, layers[i], err));
    return MSA_OK;
}

msa_status msa_model_whole_weights(const msa_weights **out, const msa_model *m, msa_error *err)
{
    *out = NULL;
    (void)pthread_mutex_lock(&taking);
    const msa_status status = want_all(m, err);
    (void)pthread_mutex_unlock(&taking);
    if (status == MSA_OK) *out = &m->w;
    return status;
}

msa_precision msa_model_precision(const msa_model *m)
{
    return m->precision;
}

/* ---- loading ---- */

/* Whoever can write the file can change every later result. */
static msa_status check_mode(const char *path, msa_error *err)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & S_IWOTH) != 0)
        return msa_fail(err, MSA_E_UNSUPPORTED, "model %s can be written by everybody; run chmod o-w on it",
                        path);
    return MSA_OK;
}

static msa_status open_file(msa_model **out, const char *path, msa_error *err)
{
    static atomic_uint_fast64_t made;
    *out = calloc(1, sizeof **out);
    if (*out == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory to load a model");
    (*out)->serial = ++made;
    return msa_safetensors_open_bare(&(*out)->file, path, err);
}

static msa_status prepare(msa_model *m, const char *prefix, msa_precision precision, msa_error *err)
{
    const int32_t side = m->c.image_size / m->c.patch;
    MSA_TRY(bind_all(m, prefix, err));
    MSA_TRY(merge_updates(m, err));
    MSA_TRY(msa_safetensors_hash(m->file, m->content, err));
    memcpy(m->version, m->c.version, sizeof m->version);
    MSA_TRY(msa_model_set_precision(m, precision, err));
    return msa_tables_make(&m->t, &m->c, &m->w, side, side, err);
}

msa_status msa_model_open(msa_model **out, const char *path, const char *prefix, const msa_config *config,
                          msa_error *err)
{
    MSA_AUTO(msa_model) m = NULL;
    *out = NULL;
    MSA_TRY(msa_config_check(config, err));
    MSA_TRY(open_file(&m, path, err));
    m->c = *config;
    MSA_TRY(prepare(m, prefix, MSA_PRECISION_FP32, err));
    *out = MSA_STEAL(m);
    return MSA_OK;
}

msa_status msa_model_load_in(msa_model **out, const char *path, msa_precision precision, msa_error *err)
{
    MSA_AUTO(msa_model) m = NULL;
    *out = NULL;
    MSA_TRY(check_mode(path, err));
    MSA_TRY(open_file(&m, path, err));
    const char *json = msa_safetensors_metadata(m->file, "config");
    const char *kind = msa_safetensors_metadata(m->file, "kind");
    if (kind != NULL && strcmp(kind, MSA_ADAPTER_KIND) == 0)
        return msa_fail(err, MSA_E_PARSE,
                        "%.120s is an adapter: name its base as the model, and this as the adapter", path);
    if (json == NULL)
        return msa_fail(err, MSA_E_PARSE, "%s carries no configuration: not a model of this program", path);
    MSA_TRY(msa_config_parse(&m->c, json, err));
    MSA_TRY(prepare(m, "", precision, err));
    *out = MSA_STEAL(m);
    return MSA_OK;
}

msa_status msa_model_load(msa_model **out, const char *path, msa_error *err)
{
    return msa_model_load_in(out, path, MSA_PRECISION_FP32, err);
}

/* ---- adapters ---- */

/* "base+adapter"; an adapter without a word of its own goes by `other`. */
static void join(char *out, size_t size, const char *base, const char *adapter, const char *other)
{
    const bool own = adapter[0] != '\0' && strcmp(base, adapter) != 0;
    char both[160];
    (void)snprintf(both, sizeof both, "%s+%s", base, own ? adapter : other);
    (void)snprintf(out, size, "%.*s", (int)size - 1, both);
}

static void tell_both(msa_model *m, const char *adapter_hash)
{
    const msa_config *base = &m->base->c;
    const msa_config adapter = m->c;
    const size_t n = strlen(base->name);
    char both[2 * MSA_SHA256_HEX], mark[9];
    (void)snprintf(mark, sizeof mark, "%.8s", adapter_hash);
    /* "msad-1-ct" on "msad-1" says it already */
    if (n == 0 || strlen(adapter.name) <= n || strncmp(adapter.name, base->name, n) != 0)
        join(m->c.name, sizeof m->c.name, base->name, adapter.name, mark);
    join(m->version, sizeof m->version, m->base->version, m->version, mark);
    m->c.untrained = base->untrained;
    (void)snprintf(both, sizeof both, "%s%s", m->base->content, adapter_hash);
    msa_sha256_bytes(both, strlen(both), NULL, m->content);
    tell_precision(m);
}

msa_status msa_model_adapt(msa_model **out, const msa_model *base, const char *path, msa_error *err)
{
    MSA_AUTO(msa_model) m = NULL;
    char adapter_hash[MSA_SHA256_HEX];
    *out = NULL;
    MSA_TRY(check_mode(path, err));
    MSA_TRY(open_file(&m, path, err));
    MSA_TRY(msa_adapter_file_check(&m->c, m->file, &base->c, base->content, err));
    m->base = base;
    MSA_TRY(prepare(m, "", base->precision, err));
    memcpy(adapter_hash, m->content, sizeof adapter_hash);
    tell_both(m, adapter_hash);
    *out = MSA_STEAL(m);
    return MSA_OK;
}

msa_status msa_model_load_adapted(msa_model **out, const char *path, const char *adapter, msa_error *err)
{
    MSA_AUTO(msa_model) base = NULL;
    *out = NULL;
    MSA_TRY(msa_model_load(&base, path, err));
    if (adapter == NULL || adapter[0] == '\0') {
        *out = MSA_STEAL(base);
        return MSA_OK;
    }
    MSA_TRY(msa_model_adapt(out, base, adapter, err));
    (*out)->own_base = MSA_STEAL(base);
    return MSA_OK;
}

/* ---- asking ---- */

const msa_config *msa_model_config(const msa_model *m)
{
    return &m->c;
}

const char *msa_model_hash(const msa_model *m)
{
    return m->hash;
}

const char *msa_model_file_hash(const msa_model *m)
{
    return m->content;
}

int64_t msa_model_parameters(const msa_model *m)
{
    return m->parameters;
}

const msa_weights *msa_model_weights(const msa_model *m)
{
    return &m->w;
}

uint64_t msa_model_serial(const msa_model *m)
{
    return m->serial;
}

const msa_tables *msa_model_tables(const msa_model *m)
{
    return &m->t;
}

static void describe_stages(const msa_config *c, FILE *to)
{
    fprintf(to, "encoder       TinyViT, neck as SAM's\n");
    for (int32_t i = 0; i < MSA_STAGES; i++) {
        fprintf(to, "  stage %d     width %d, %d blocks", i, c->stage_dims[i], c->stage_depths[i]);
        if (i == 0)
            fprintf(to, " of convolutions\n");
        else
            fprintf(to, ", %d heads, windows of %d\n", c->stage_heads[i], c->stage_windows[i]);
    }
}

static void describe_vit(const msa_model *m, FILE *to)
{
    const msa_config *c = &m->c;
    const msa_encoder_weights *e = &m->w.encoder;
    fprintf(to, "encoder       width %d, %d blocks, %d heads, MLP %d\n", c->dim, c->depth, c->heads,
            c->mlp_dim);
    if (c->window == 0) {
        fprintf(to, "attention     global in every block\n");
    } else {
        fprintf(to, "attention     windows of %d, global in blocks", c->window);
        for (int32_t i = 0; i < c->n_global; i++)
            fprintf(to, " %d", c->global_blocks[i]);
        fprintf(to, "\n");
    }
    if (e->pos_h != m->t.h || e->pos_w != m->t.w)
        fprintf(to, "positions     resized from %d x %d\n", e->pos_h, e->pos_w);
    if (e->blocks[0].rel_h == NULL) fprintf(to, "              no relative positions\n");
    if (c->block_norm_eps > 0.0f)
        fprintf(to, "norms         epsilon %g in the blocks\n", (double)c->block_norm_eps);
}

static void describe_encoder(const msa_model *m, FILE *to)
{
    const msa_config *c = &m->c;
    const msa_encoder_weights *e = &m->w.encoder;
    const bool tiny = c->family == MSA_FAMILY_MOBILE_SAM;
    fprintf(to, "image         %d x %d, patches of %d: %d x %d tokens\n", c->image_size, c->image_size,
            c->patch, m->t.h, m->t.w);
    if (tiny)
        describe_stages(c, to);
    else
        describe_vit(m, to);
    if (c->adapters)
        fprintf(to, "adapters      width %d, %s, MLP scale %g%s\n",
                tiny ? e->tiny.blocks[0].space.down.N : e->blocks[0].space.down.N,
                c->adapter_act == MSA_ACT_RELU ? "relu" : "gelu", (double)c->adapter_mlp_scale,
                c->depth_grouping == MSA_DEPTH_NONE && e->blocks[0].depth.down.weight != NULL
                    ? "; depth adapters present, not used in 2D"
                    : "");
    else
        fprintf(to, "adapters      none\n");
    if (c->depth_grouping == MSA_DEPTH_NONE) return;
    fprintf(to, "depth         %s, on a %s", c->depth_grouping == MSA_DEPTH_RUNS ? "runs" : "volume",
            c->depth_fold == MSA_DEPTH_GRID ? "grid" : "line");
    if (c->depth_grouping == MSA_DEPTH_RUNS && c->depth_chunk > 0)
        fprintf(to, ", runs of %d", c->depth_chunk);
    fprintf(to, ", %d slices at once\n", msa_config_slices(c));
}

void msa_model_describe(const msa_model *m, FILE *to)
{
    static const char *const norms[] = {"sam", "unit", "medsam", "sam_on_unit"};
    const msa_config *c = &m->c;
    fprintf(to, "name          %s\n", c->name[0] != '\0' ? c->name : "(none)");
    fprintf(to, "version       %s\n", c->version[0] != '\0' ? c->version : "(none)");
    fprintf(to, "sha256        %s\n", m->hash);
    fprintf(to, "trained       %s\n",
            c->untrained ? "NO: untrained, random weights; results mean nothing" : "yes");
    fprintf(to, "parameters    %lld in %d tensors, float32", (long long)m->parameters, m->tensors);
    if (m->precision != MSA_PRECISION_FP32)
        fprintf(to, "; %d layers of the encoder in %s, %.1f MB", m->reduced.n,
                msa_precision_name(m->precision), (double)m->reduced.bytes * 1e-6);
    fprintf(to, "\n");
    describe_encoder(m, to);
    if (c->family == MSA_FAMILY_EFFICIENTSAM)
        fprintf(to, "prompts       EfficientSAM's: up to six points, a box counts for two; no mask\n");
    fprintf(to, "decoder       width %d, %d layers, %d heads, MLP %d, %d mask tokens, IoU hidden %d\n",
            c->prompt_dim, c->decoder_depth, c->decoder_heads, c->decoder_mlp_dim, c->mask_tokens,
            c->iou_hidden);
    if (c->decoder_adapters != MSA_DECODER_ADAPTERS_NONE)
        fprintf(to, "              adapters in %s, width %d, %s, %s\n",
                c->decoder_adapters == MSA_DECODER_ADAPTERS_ALL ? "every layer" : "the first layer",
                m->w.decoder.layers[0].adapters.prompt.down.N,
                c->decoder_adapter_mode == MSA_ADAPTER_HYPER ? "hyper-prompting" : "prompt added",
                c->decoder_adapter_act == MSA_ACT_RELU ? "relu" : "gelu");
    fprintf(to,
            "profile       decoder_wiring=%s pad_order=%s mask_select=%s input_norm=%s geometry=%s "
            "point_order=%s\n",
            c->decoder_wiring == MSA_WIRING_ESAM ? "esam" : "sam",
            c->pad_order == MSA_PAD_THEN_NORM ? "pad_then_norm" : "norm_then_pad",
            c->mask_select == MSA_SELECT_FIRST ? "first" : "sam", norms[c->input_norm],
            c->geometry == MSA_GEOMETRY_STRETCH ? "stretch" : "longest_side",
            c->point_order_yx ? "yx" : "xy");
    if (c->crop_margin > 0 || c->box_as_mask || c->box_in_image || c->detail > 0)
        fprintf(to, "box           crop_margin=%g box_as_mask=%s box_in_image=%s detail=%d\n",
                (double)c->crop_margin, c->box_as_mask ? "yes" : "no", c->box_in_image ? "yes" : "no",
                c->detail);
}
