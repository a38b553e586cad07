#include "server/segment/models.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct srv_models {
    msa_model *base;
    int32_t n;
    srv_model_info info[SRV_MODELS_MAX];
    const msa_model *model[SRV_MODELS_MAX]; /* the base, or one of those below */
    int32_t n_adapted;
    msa_model *adapted[SRV_MODELS_MAX];
    char adapter[SRV_MODELS_MAX][PATH_MAX]; /* what they came from: two rules may name one file */
};

void srv_models_free(srv_models *m)
{
    if (!m) return;
    for (int32_t i = 0; i < m->n_adapted; i++)
        msa_model_free(m->adapted[i]);
    msa_model_free(m->base);
    free(m);
}

static msa_status load_base(srv_models *m, const char *path, msa_error *err)
{
    char file[PATH_MAX];
    msa_error why = MSA_ERROR_INIT;
    MSA_TRY(srv_model_path(path, file, sizeof file, err));
    const msa_status status = msa_model_load(&m->base, file, &why);
    if (status == MSA_OK) return MSA_OK;
    return msa_fail(err, status, "the model %.80s cannot be used: %.120s", file, why.what);
}

/* file: as srv_model_path() found it. */
static msa_status adapt(srv_models *m, const char *file, const msa_model **out, msa_error *err)
{
    msa_error why = MSA_ERROR_INIT;
    for (int32_t i = 0; i < m->n_adapted; i++) {
        *out = m->adapted[i];
        if (strcmp(m->adapter[i], file) == 0) return MSA_OK;
    }
    const msa_status status = msa_model_adapt(&m->adapted[m->n_adapted], m->base, file, &why);
    if (status != MSA_OK)
        return msa_fail(err, status, "the adapter %.80s cannot be used: %.120s", file, why.what);
    (void)snprintf(m->adapter[m->n_adapted], PATH_MAX, "%s", file);
    *out = m->adapted[m->n_adapted++];
    return MSA_OK;
}

static void add(srv_models *m, const char *modality, const msa_model *model)
{
    const msa_config *config = msa_model_config(model);
    srv_model_info *info = &m->info[m->n];
    (void)snprintf(info->modality, sizeof info->modality, "%s", modality);
    (void)snprintf(info->name, sizeof info->name, "%s", config->name);
    (void)snprintf(info->version, sizeof info->version, "%s", config->version);
    (void)snprintf(info->hash, sizeof info->hash, "%s", msa_model_hash(model));
    info->untrained = config->untrained;
    m->model[m->n++] = model;
}

static msa_status add_rule(srv_models *m, const srv_rule *rule, bool bundled_base, msa_error *err)
{
    const bool bundled = rule->adapter[0] != '\0' && srv_model_is_bundled(rule->adapter);
    const msa_model *model = m->base;
    char file[PATH_MAX];
    msa_error why = MSA_ERROR_INIT;
    if (bundled && !bundled_base) return MSA_OK;
    if (rule->adapter[0] != '\0') {
        const msa_status found = srv_model_path(rule->adapter, file, sizeof file, &why);
        if (found == MSA_E_NOT_FOUND && bundled) return MSA_OK;
        if (found != MSA_OK) return msa_fail(err, found, "the rule for %s: %s", rule->modality, why.what);
        MSA_TRY(adapt(m, file, &model, err));
    }
    add(m, rule->modality, model);
    return MSA_OK;
}

static msa_status load(srv_models *m, const char *path, const char *adapter, const srv_rule *rules,
                       int32_t n_rules, msa_error *err)
{
    MSA_TRY(load_base(m, path, err));
    if (adapter && adapter[0]) {
        const msa_model *model = NULL;
        char file[PATH_MAX];
        MSA_TRY(srv_model_path(adapter, file, sizeof file, err));
        MSA_TRY(adapt(m, file, &model, err));
        add(m, "*", model);
        return MSA_OK;
    }
    for (int32_t i = 0; i < n_rules; i++)
        MSA_TRY(add_rule(m, &rules[i], srv_model_is_bundled(path), err));
    if (m->n == 0 || strcmp(m->info[m->n - 1].modality, "*") != 0) add(m, "*", m->base);
    return MSA_OK;
}

msa_status srv_models_load(srv_models **out, const char *path, const char *adapter, const srv_rule *rules,
                           int32_t n_rules, msa_error *err)
{
    MSA_AUTO(srv_models) m = calloc(1, sizeof *m);
    *out = NULL;
    if (!m) return msa_fail(err, MSA_E_NOMEM, "out of memory for the models");
    MSA_TRY(load(m, path ? path : "", adapter, rules, n_rules, err));
    *out = MSA_STEAL(m);
    return MSA_OK;
}

int32_t srv_models_list(const srv_models *m, const srv_model_info **list)
{
    *list = m->info;
    return m->n;
}

const msa_model *srv_models_at(const srv_models *m, int32_t i)
{
    return i >= 0 && i < m->n ? m->model[i] : NULL;
}

const msa_model *srv_models_for(const srv_models *m, const char *modality)
{
    return srv_models_at(m, srv_model_for(m->info, m->n, modality));
}

const msa_model *srv_models_base(const srv_models *m)
{
    return m->base;
}
