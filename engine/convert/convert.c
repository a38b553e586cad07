#include "engine/convert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/adapt/adapter_file.h"
#include "engine/convert/detect.h"
#include "engine/convert/plan.h"
#include "engine/convert/profile.h"
#include "engine/io/config_json.h"

enum { NOTES_MAX = 32, PIECE = 4096 };

/* One conversion, from opening to writing. */
typedef struct job {
    const char *in, *out;
    const msa_convert_options *o;
    msa_checkpoint *file, *base;
    msa_names names;
    msa_plan plan;
    msa_config config;
    char base_sha256[65];
    msa_convert_report *report;
    msa_error *err;
} job;

static void job_clear(job *j)
{
    msa_plan_release(&j->plan);
    msa_names_release(&j->names);
    msa_checkpoint_free(j->file);
    msa_checkpoint_free(j->base);
}

/* ---- opening ---- */

/* Of two files, a sentence must say which it is about. */
static msa_status open_file(msa_checkpoint **c, const char *path, const char *role, msa_error *err)
{
    msa_error why = MSA_ERROR_INIT;
    const msa_status status = msa_checkpoint_open(c, path, &why);
    if (status == MSA_OK) return MSA_OK;
    return msa_fail(err, status, "%s%.217s", role, why.what);
}

static bool is_adapter(const msa_checkpoint *c)
{
    const char *kind = msa_checkpoint_metadata(c, "kind");
    return kind != NULL && strcmp(kind, MSA_ADAPTER_KIND) == 0;
}

static msa_status open_files(job *j)
{
    const msa_convert_options *o = j->o;
    MSA_TRY(open_file(&j->file, j->in, "", j->err));
    if (is_adapter(j->file))
        return msa_fail(j->err, MSA_E_INVALID, "%.150s is an adapter of this program already", j->in);
    j->report->format = msa_checkpoint_format(j->file);
    msa_checkpoint_hash(j->file, j->report->source_sha256);
    if (o->base != NULL) {
        MSA_TRY(open_file(&j->base, o->base, "--base: ", j->err));
        msa_checkpoint_hash(j->base, j->base_sha256);
    }
    if (o->adapter &&
        (j->base == NULL || msa_checkpoint_metadata(j->base, "config") == NULL || is_adapter(j->base)))
        return msa_fail(
            j->err, MSA_E_INVALID,
            "an adapter needs --base, a model of this program: convert the base first, with the same "
            "--profile");
    MSA_TRY(msa_names_make(&j->names, j->file, j->base, o->prefix, j->err));
    for (int32_t i = 0; i < j->names.n; i++)
        j->report->tensors += !j->names.list[i].of_base;
    if (j->report->tensors == 0)
        return msa_fail(j->err, MSA_E_INVALID, "no name in the file begins with %.60s", o->prefix);
    return MSA_OK;
}

/* ---- the configuration ---- */

/* A name of the model from that of its file. */
static void name_after(msa_config *c, const char *path)
{
    const char *slash = strrchr(path, '/'), *stem = slash == NULL ? path : slash + 1,
               *dot = strrchr(stem, '.');
    const size_t length = dot == NULL || dot == stem ? strlen(stem) : (size_t)(dot - stem);
    (void)msa_printable(c->name, sizeof c->name, stem, length);
}

static bool is_set(const msa_convert_options *o, const char *key)
{
    for (int32_t i = 0; i < o->n_settings; i++)
        if (strcmp(o->settings[i].key, key) == 0) return true;
    return false;
}

static msa_status set_all(job *j)
{
    for (int32_t i = 0; i < j->o->n_settings; i++)
        MSA_TRY(msa_config_set(&j->config, j->o->settings[i].key, j->o->settings[i].value, j->err));
    return MSA_OK;
}

/* What could be seen in other files and cannot in this one. */
static msa_status check_complete(const job *j)
{
    const msa_config *c = &j->config;
    if (c->image_size == 0)
        return msa_fail(j->err, MSA_E_INVALID,
                        "the size of images cannot be seen in the tensors: give --image-size");
    if (c->n_global < 0)
        return msa_fail(
            j->err, MSA_E_INVALID,
            "which blocks have windows cannot be seen in the tensors: give --window and --global-blocks");
    if (c->depth_grouping == MSA_DEPTH_RUNS && !is_set(j->o, "depth_chunk"))
        return msa_fail(
            j->err, MSA_E_INVALID,
            "how many slices saw each other cannot be seen in the tensors: give --depth-chunk, as in "
            "training (0: all)");
    return MSA_OK;
}

/* What cannot be seen starts as the published models have it, or the base where that is a model of ours. */
static msa_status start_config(job *j, bool of_base)
{
    const char *json = j->base == NULL ? NULL : msa_checkpoint_metadata(j->base, "config");
    j->config = (msa_config){.decoder_heads = 8, .adapter_mlp_scale = 0.5f, .lora_alpha = 1.0f};
    if (of_base && json == NULL)
        return msa_fail(j->err, MSA_E_INVALID,
                        "--profile base needs a --base that is a model of this program");
    if (json == NULL) return MSA_OK;
    MSA_TRY(msa_config_parse(&j->config, json, j->err));
    j->config.version[0] = '\0';
    return MSA_OK;
}

static msa_status find_config(job *j)
{
    const char *own = msa_checkpoint_metadata(j->file, "config"), *profile = j->o->profile;
    const bool of_base = profile != NULL && strcmp(profile, "base") == 0;
    msa_seen seen;
    if (own != NULL && profile != NULL)
        return msa_fail(j->err, MSA_E_INVALID,
                        "the file carries its configuration: --profile is for those that do not");
    if (own != NULL) {
        MSA_TRY(msa_config_parse(&j->config, own, j->err));
        return set_all(j);
    }
    MSA_TRY(start_config(j, of_base));
    MSA_TRY(msa_detect(&j->config, &j->names, &seen, j->err));
    if (!of_base) MSA_TRY(msa_profile_apply(&j->config, profile, &seen, j->err));
    j->report->base_decoder = !seen.own_decoder;
    name_after(&j->config, j->in);
    MSA_TRY(set_all(j));
    return check_complete(j);
}

/* ---- which tensors ---- */

/* What networks carry that no result depends on. */
static bool is_harmless(const msa_named *n)
{
    static const char *const parts[] = {"image_encoder.head.", "image_encoder.norm_head."};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (strncmp(n->name, parts[i], strlen(parts[i])) == 0) return true;
    return !n->known || n->tensor->element >= MSA_ELEMENT_WHOLE8;
}

static msa_status count_names(job *j)
{
    msa_convert_report *r = j->report;
    for (int32_t i = 0; i < j->names.n; i++) {
        const msa_named *n = &j->names.list[i];
        if (n->of_base || n->used) continue;
        if (!is_harmless(n) && !j->o->drop_unknown)
            return msa_fail(
                j->err, MSA_E_UNSUPPORTED,
                "tensor %.110s is not part of this network; --drop-unknown leaves such tensors out",
                n->tensor->name);
        if (r->unexpected++ == 0)
            (void)snprintf(r->unexpected_name, sizeof r->unexpected_name, "%.120s", n->tensor->name);
    }
    for (int32_t i = 0; i < j->plan.n; i++) {
        if (j->plan.sources[i]->of_base)
            r->missing++;
        else
            r->matched++;
        r->parameters += j->plan.tensors[i].count;
    }
    r->written = j->plan.n;
    if (r->matched == 0)
        return msa_fail(j->err, MSA_E_INVALID, "none of the file's tensors belongs to the base");
    return MSA_OK;
}

static msa_status make_plan(job *j)
{
    MSA_TRY(msa_config_check(&j->config, j->err));
    MSA_TRY(msa_plan_make(&j->plan, &j->config, &j->names, j->o->half, j->err));
    if (j->plan.missing > 0)
        return msa_fail(j->err, MSA_E_PARSE, "%d tensors are missing, the first is %.110s%s", j->plan.missing,
                        j->plan.first_missing,
                        j->base == NULL ? "; name the model that it was trained on with --base" : "");
    if (j->o->adapter) MSA_TRY(msa_plan_keep_adapter(&j->plan, &j->config, j->base, j->err));
    return count_names(j);
}

/* ---- every byte once, before anything is written ---- */

static bool is_zero(const msa_checkpoint_tensor *t)
{
    float piece[PIECE];
    for (int64_t first = 0; first < t->count; first += PIECE) {
        const int64_t n = t->count - first < PIECE ? t->count - first : PIECE;
        msa_checkpoint_read(t, first, n, piece);
        for (int64_t i = 0; i < n; i++)
            if (piece[i] != 0.0f) return false;
    }
    return true;
}

static bool is_table(const msa_named *n)
{
    return strstr(n->name, ".rel_pos_") != NULL;
}

static msa_status check_values(job *j)
{
    uint64_t bytes = 0, held = msa_checkpoint_bytes(j->file);
    if (j->base != NULL) held += msa_checkpoint_bytes(j->base);
    for (int32_t i = 0; i < j->plan.n; i++)
        bytes +=
            (uint64_t)(j->plan.tensors[i].count * msa_element_bytes(j->plan.sources[i]->tensor->element));
    if (bytes > 2 * held) /* tied weights are few */
        return msa_fail(j->err, MSA_E_PARSE,
                        "the tensors are views of the same bytes: this is no checkpoint");
    for (int32_t i = 0; i < j->plan.n; i++) {
        const msa_named *s = j->plan.sources[i];
        msa_checkpoint *of = s->of_base ? j->base : j->file;
        MSA_TRY(msa_checkpoint_check(of, s->tensor, j->err));
        if (is_table(s)) j->report->zero_tables += j->o->zero_tables || is_zero(s->tensor);
        msa_checkpoint_drop(of, s->tensor);
    }
    return MSA_OK;
}

/* ---- writing ---- */

static void fill(void *ctx, const msa_tensor *t, int64_t first, int64_t n, float *to)
{
    const job *j = ctx;
    const msa_named *s = j->plan.sources[t - j->plan.tensors];
    if (j->o->zero_tables && is_table(s))
        memset(to, 0, (size_t)n * sizeof *to);
    else
        msa_checkpoint_read(s->tensor, first, n, to);
    if (first + n == t->count) msa_checkpoint_drop(s->of_base ? j->base : j->file, s->tensor);
}

static bool is_ours(const char *key)
{
    return strcmp(key, "config") == 0 || strcmp(key, "source_sha256") == 0 ||
           strcmp(key, "completed_by_sha256") == 0;
}

static int32_t make_metadata(const job *j, msa_metadata *m, const char *json)
{
    const char *key = NULL, *value = NULL;
    int32_t n = 0;
    if (j->o->adapter) m[n++] = (msa_metadata){"kind", MSA_ADAPTER_KIND};
    m[n++] = (msa_metadata){"config", json};
    if (j->o->adapter) m[n++] = (msa_metadata){"base_sha256", j->base_sha256};
    m[n++] = (msa_metadata){"source_sha256", j->report->source_sha256};
    if (j->report->missing > 0) m[n++] = (msa_metadata){"completed_by_sha256", j->base_sha256};
    if (msa_checkpoint_metadata(j->file, "config") == NULL) return n;
    for (int32_t i = 0; n < NOTES_MAX && (key = msa_checkpoint_metadata_at(j->file, i, &value)) != NULL; i++)
        if (!is_ours(key)) m[n++] = (msa_metadata){key, value};
    return n;
}

/* What msa_model_adapt() will ask of the file. */
static msa_status check_adapter(const job *j)
{
    msa_config base = {0};
    MSA_TRY(msa_config_parse(&base, msa_checkpoint_metadata(j->base, "config"), j->err));
    if (msa_adapter_config_check(&j->config, &base, NULL) == MSA_OK) return MSA_OK;
    return msa_fail(
        j->err, MSA_E_INVALID,
        "the adapter and its base enter images or clicks differently: convert the base with the same "
        "--profile and --image-size");
}

static msa_status write_model(job *j)
{
    msa_metadata metadata[NOTES_MAX];
    MSA_AUTO_FREE char *json = NULL;
    if (j->o->adapter) MSA_TRY(check_adapter(j));
    MSA_TRY(msa_config_print(&json, &j->config, j->err));
    const int32_t n = make_metadata(j, metadata, json);
    return msa_safetensors_write(j->out, j->plan.tensors, j->plan.n, metadata, n, fill, j, j->err);
}

msa_status msa_convert_check_setting(const msa_convert_setting *setting, msa_error *err)
{
    msa_config unused = {0};
    return msa_config_set(&unused, setting->key, setting->value, err);
}

msa_status msa_convert(const char *in, const char *out, const msa_convert_options *options,
                       msa_convert_report *report, msa_error *err)
{
    __attribute__((cleanup(job_clear)))
    job j = {.in = in, .out = out, .o = options, .report = report, .err = err};
    *report = (msa_convert_report){0};
    MSA_TRY(open_files(&j));
    MSA_TRY(find_config(&j));
    MSA_TRY(make_plan(&j));
    MSA_TRY(check_values(&j));
    MSA_TRY(write_model(&j));
    report->config = j.config;
    return MSA_OK;
}
