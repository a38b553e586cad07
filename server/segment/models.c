#include "server/segment/models.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/file_info.h"

struct srv_models {
    const srv_models_wanted *wanted; /* during loading */
    srv_model_table table;
    msa_model *base;
    msa_model *adapted[SRV_MODELS_MAX]; /* beside the table's models; the first is NULL */
    char path[SRV_MODELS_MAX][PATH_MAX];
    int32_t n_folder; /* models 1 .. n_folder are those of the folder */
};

void srv_models_free(srv_models *m)
{
    if (!m) return;
    for (int32_t i = 0; i < m->table.n_models; i++)
        msa_model_free(m->adapted[i]);
    msa_model_free(m->base);
    free(m);
}

static bool ends_in(const char *text, const char *end)
{
    const size_t n = strlen(text), k = strlen(end);
    return n > k && strcmp(text + n - k, end) == 0;
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

/* ---- describing ---- */

/* Of a long name the end is kept. */
static void put_name(char out[256], const char *name)
{
    const size_t n = strlen(name), kept = n > 255 ? 255 : n;
    memcpy(out, name + n - kept, kept);
    out[kept] = '\0';
}

static void put_config(srv_model_info *info, const msa_config *config)
{
    MSA_AUTO_FREE char *json = NULL;
    if (msa_file_info_config(&json, config, NULL) != MSA_OK || strlen(json) >= sizeof info->config) return;
    (void)snprintf(info->config, sizeof info->config, "%s", json);
}

static void put_identity(srv_model_info *info, const msa_model *model)
{
    const msa_config *config = msa_model_config(model);
    memcpy(info->name, config->name, sizeof info->name);
    memcpy(info->version, config->version, sizeof info->version);
    (void)snprintf(info->hash, sizeof info->hash, "%s", msa_model_hash(model));
    info->untrained = config->untrained;
}

/* What the file itself says: also of one that does not fit the base. */
static msa_status describe_adapter(srv_model_info *info, const char *path, msa_error *err)
{
    msa_file_info file;
    struct stat st;
    srv_model_card(path, info->card_title, info->card_path);
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) return msa_fail(err, MSA_E_PARSE, "it is not a file");
    const msa_status status = msa_file_info_read(&file, path, err);
    memcpy(info->file_sha256, file.sha256, sizeof info->file_sha256);
    memcpy(info->base_sha256, file.base_sha256, sizeof info->base_sha256);
    memcpy(info->name, file.config.name, sizeof info->name);
    memcpy(info->version, file.config.version, sizeof info->version);
    info->size_bytes = file.size_bytes;
    info->parameters = file.parameters;
    if (status == MSA_OK) put_config(info, &file.config);
    return status;
}

/* ---- the base ---- */

static msa_status load_base(srv_models *m, msa_error *err)
{
    srv_model_info *info = &m->table.models[0];
    char *file = m->path[0];
    struct stat st;
    msa_error why = MSA_ERROR_INIT;
    MSA_TRY(srv_model_path(or_empty(m->wanted->path), file, PATH_MAX, err));
    const msa_status status = msa_model_load_in(&m->base, file, m->wanted->precision, &why);
    if (status != MSA_OK)
        return msa_fail(err, status, "the model %.80s cannot be used: %.120s", file, why.what);
    (void)snprintf(info->file_sha256, sizeof info->file_sha256, "%s", msa_model_file_hash(m->base));
    put_identity(info, m->base);
    put_config(info, msa_model_config(m->base));
    if (stat(file, &st) == 0) info->size_bytes = st.st_size;
    info->parameters = msa_model_parameters(m->base);
    srv_model_card(file, info->card_title, info->card_path);
    m->table.n_models = 1;
    return MSA_OK;
}

/* ---- adapters ---- */

/* Adds an adapter to the table. What is wrong with it stands in its error as well. */
static msa_status add_adapter(srv_models *m, const char *name, const char *path, msa_error *err)
{
    const int32_t i = m->table.n_models;
    srv_model_info *info = &m->table.models[i];
    msa_error why = MSA_ERROR_INIT;
    if (i == SRV_MODELS_MAX) return msa_fail(err, MSA_E_INVALID, "there are more than %d adapters", i - 1);
    m->table.n_models++;
    put_name(info->adapter, name);
    (void)snprintf(m->path[i], PATH_MAX, "%s", path);
    msa_status status = describe_adapter(info, path, &why);
    if (status == MSA_OK) status = msa_model_adapt(&m->adapted[i], m->base, path, &why);
    if (status == MSA_OK) {
        put_identity(info, m->adapted[i]);
        return MSA_OK;
    }
    (void)snprintf(info->error, sizeof info->error, "%s", why.what);
    return msa_fail(err, status, "%s", why.what);
}

/* A rule, or the setting for all, calls this adapter of the folder. */
static bool is_called(const srv_models *m, const char *name)
{
    if (or_empty(m->wanted->adapter)[0]) return strcmp(m->wanted->adapter, name) == 0;
    for (int32_t i = 0; i < m->wanted->n_rules; i++)
        if (strcmp(m->wanted->rules[i].adapter, name) == 0) return true;
    return false;
}

static int is_adapter_name(const struct dirent *e)
{
    return e->d_name[0] != '.' && ends_in(e->d_name, ".safetensors");
}

/* By bytes: no locale takes part. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void add_of_folder(srv_models *m, const char *dir, const char *file)
{
    char path[PATH_MAX], name[NAME_MAX + 1];
    const int n = snprintf(path, sizeof path, "%s/%s", dir, file);
    (void)snprintf(name, sizeof name, "%.*s", (int)(strlen(file) - strlen(".safetensors")), file);
    if (n < 0 || (size_t)n >= sizeof path) return;
    if (add_adapter(m, name, path, NULL) != MSA_OK || is_called(m, name)) return;
    const int32_t i = m->table.n_models - 1;
    msa_model_free(m->adapted[i]);
    m->adapted[i] = NULL;
}

static msa_status load_folder(srv_models *m, msa_error *err)
{
    const char *dir = or_empty(m->wanted->adapters_dir);
    struct dirent **list = NULL;
    if (dir[0] == '\0') return MSA_OK;
    const int n = scandir(dir, &list, is_adapter_name, by_name);
    if (n < 0) return msa_fail(err, MSA_E_NOT_FOUND, "the folder of adapters %.120s cannot be read", dir);
    for (int i = 0; i < n; i++) {
        if (i < SRV_ADAPTERS_MAX) add_of_folder(m, dir, list[i]->d_name);
        free(list[i]);
    }
    free(list);
    m->n_folder = m->table.n_models - 1;
    if (n > SRV_ADAPTERS_MAX)
        return msa_fail(err, MSA_E_INVALID, "the folder of adapters %.120s holds %d of them, more than %d",
                        dir, n, SRV_ADAPTERS_MAX);
    return MSA_OK;
}

static msa_status find_in_folder(const srv_models *m, const char *name, int32_t *out, msa_error *err)
{
    for (int32_t i = 1; i <= m->n_folder; i++) {
        if (strcmp(m->table.models[i].adapter, name) != 0) continue;
        *out = m->table.models[i].error[0] ? -1 : i;
        return MSA_OK;
    }
    return msa_fail(err, MSA_E_NOT_FOUND, "there is no adapter %.60s in the folder %.100s", name,
                    m->wanted->adapters_dir);
}

/* Two rules may name one file. */
static msa_status find_file(srv_models *m, const char *name, const char *path, int32_t *out, msa_error *err)
{
    msa_error why = MSA_ERROR_INIT;
    for (int32_t i = m->n_folder + 1; i < m->table.n_models; i++) {
        *out = i;
        if (strcmp(m->path[i], path) == 0) return MSA_OK;
    }
    *out = m->table.n_models;
    const msa_status status = add_adapter(m, name, path, &why);
    if (status == MSA_OK) return MSA_OK;
    return msa_fail(err, status, "the adapter %.80s cannot be used: %.120s", path, why.what);
}

/* The index of the model that an adapter's name makes; -1: it cannot be used. *there: false for a bundled one
 * that does not count. */
static msa_status find_adapter(srv_models *m, const char *name, int32_t *out, bool *there, msa_error *err)
{
    const bool bundled = name[0] != '\0' && srv_model_is_bundled(name);
    const bool in_folder = or_empty(m->wanted->adapters_dir)[0] && !strchr(name, '/') &&
                           !ends_in(name, ".safetensors") && !bundled;
    char file[PATH_MAX];
    msa_error why = MSA_ERROR_INIT;
    *out = 0;
    *there = !bundled || srv_model_is_bundled(or_empty(m->wanted->path));
    if (name[0] == '\0' || !*there) return MSA_OK;
    if (in_folder) return find_in_folder(m, name, out, err);
    const msa_status found = srv_model_path(name, file, sizeof file, &why);
    *there = found != MSA_E_NOT_FOUND || !bundled;
    if (!*there) return MSA_OK;
    if (found != MSA_OK) return msa_fail(err, found, "%s", why.what);
    return find_file(m, name, file, out, err);
}

/* ---- rules ---- */

static void add_rule(srv_models *m, const srv_rule *from, int32_t model)
{
    srv_rule *rule = &m->table.rules[m->table.n_rules++];
    memcpy(rule, from, sizeof *rule); /* also what lies between the fields: tables are compared by bytes */
    rule->model = model;
    if (or_empty(m->wanted->adapter)[0])
        (void)snprintf(rule->adapter, sizeof rule->adapter, "%s", m->wanted->adapter);
}

/* For what no rule is for. */
static void add_last(srv_models *m, int32_t model)
{
    static const srv_rule for_all = {.modality = "*", .body_part = "*", .label = "*"};
    const int32_t n = m->table.n_rules;
    add_rule(m, &for_all, model);
    m->table.rules[n].number = m->wanted->n_rules + 1;
}

static msa_status add_rules(srv_models *m, msa_error *err)
{
    const srv_models_wanted *w = m->wanted;
    const bool one = or_empty(w->adapter)[0] != '\0'; /* for all: rules then say everything else */
    int32_t model = 0;
    bool there = true;
    if (one) {
        MSA_TRY(find_adapter(m, w->adapter, &model, &there, err));
        if (!there || model < 0)
            return msa_fail(err, MSA_E_INVALID, "the adapter %.60s cannot be used: %.120s", w->adapter,
                            there ? "see the list of adapters"
                                  : "it is bundled with another model, or not there");
    }
    for (int32_t i = 0; i < w->n_rules; i++) {
        msa_error why = MSA_ERROR_INIT;
        const msa_status status = one ? MSA_OK : find_adapter(m, w->rules[i].adapter, &model, &there, &why);
        if (status != MSA_OK)
            return msa_fail(err, status, "rule %d, for %s: %.180s", i + 1, w->rules[i].modality, why.what);
        if (there) add_rule(m, &w->rules[i], model);
    }
    if (m->table.n_rules == 0 || !srv_rule_is_for_all(&m->table.rules[m->table.n_rules - 1]))
        add_last(m, one ? model : 0);
    return MSA_OK;
}

msa_status srv_models_load(srv_models **out, const srv_models_wanted *wanted, msa_error *err)
{
    MSA_AUTO(srv_models) m = calloc(1, sizeof *m);
    *out = NULL;
    if (!m) return msa_fail(err, MSA_E_NOMEM, "out of memory for the models");
    m->wanted = wanted;
    MSA_TRY(load_base(m, err));
    MSA_TRY(load_folder(m, err));
    MSA_TRY(add_rules(m, err));
    m->wanted = NULL;
    *out = MSA_STEAL(m);
    return MSA_OK;
}

/* ---- asking ---- */

const srv_model_table *srv_models_table(const srv_models *m)
{
    return &m->table;
}

const msa_model *srv_models_at(const srv_models *m, int32_t i)
{
    if (i < 0 || i >= m->table.n_models) return NULL;
    return i == 0 ? m->base : m->adapted[i];
}

const msa_model *srv_models_for(const srv_models *m, const char *modality, const char *body_part,
                                const dicom_prompt *prompt)
{
    srv_rule_subject subject = {0};
    (void)snprintf(subject.modality, sizeof subject.modality, "%s", modality);
    (void)snprintf(subject.body_part, sizeof subject.body_part, "%s", body_part);
    return srv_models_at(m, srv_model_rule_for(&m->table, &subject, prompt)->model);
}

const msa_model *srv_models_base(const srv_models *m)
{
    return m->base;
}
