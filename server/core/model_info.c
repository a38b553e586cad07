#include "server/core/model_info.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool is_any(const char *text)
{
    return strcmp(text, "*") == 0;
}

static bool fits(const char *wanted, const char *text)
{
    return is_any(wanted) || strcasecmp(wanted, text) == 0;
}

static bool fits_label(const char *wanted, const dicom_prompt *prompt)
{
    char code[sizeof prompt->type.scheme + sizeof prompt->type.value + 1];
    if (is_any(wanted)) return true;
    if (prompt == NULL) return false;
    (void)snprintf(code, sizeof code, "%s:%s", prompt->type.scheme, prompt->type.value);
    return strcasecmp(wanted, prompt->label) == 0 ||
           (prompt->type.value[0] != '\0' && strcasecmp(wanted, code) == 0);
}

const srv_model_rule *srv_model_rule_for(const srv_model_table *t, const srv_model_subject *subject,
                                         const dicom_prompt *prompt)
{
    for (int32_t i = 0; i + 1 < t->n_rules; i++) {
        const srv_model_rule *rule = &t->rules[i];
        if (rule->model >= 0 && fits(rule->modality, subject->modality) &&
            fits(rule->body_part, subject->body_part) && fits_label(rule->label, prompt))
            return rule;
    }
    return &t->rules[t->n_rules - 1];
}

static void join_names(srv_model_info *out, const char *name, const char *version, bool first)
{
    const size_t n = strlen(out->name);
    (void)snprintf(out->name + n, sizeof out->name - n, "%s%s", first ? "" : ", ", name);
    (void)snprintf(out->version, sizeof out->version, "%s", first ? version : "");
}

void srv_model_join(srv_model_info *out, const srv_model_table *t, const bool *used)
{
    char hashes[SRV_MODELS_MAX * MSA_SHA256_HEX];
    size_t n = 0;
    memset(out, 0, sizeof *out);
    for (int32_t i = 0; i < t->n_models; i++) {
        const srv_model_info *m = &t->models[i];
        if (!used[i]) continue;
        join_names(out, m->name, m->version, n == 0);
        out->untrained |= m->untrained;
        memcpy(out->hash, m->hash, sizeof out->hash);
        n += (size_t)snprintf(hashes + n, sizeof hashes - n, "%s", m->hash);
    }
    if (n > strlen(out->hash)) msa_sha256_bytes(hashes, n, NULL, out->hash);
}

#define END(text) ((text)[sizeof(text) - 1] = '\0')

static void mend_model(srv_model_info *m)
{
    END(m->name);
    END(m->version);
    END(m->hash);
    END(m->adapter);
    END(m->file_sha256);
    END(m->base_sha256);
    END(m->config);
    END(m->card_title);
    END(m->card_path);
    END(m->error);
}

void srv_model_table_mend(srv_model_table *t)
{
    for (int32_t i = 0; i < t->n_models; i++)
        mend_model(&t->models[i]);
    for (int32_t i = 0; i < t->n_rules; i++) {
        srv_model_rule *rule = &t->rules[i];
        END(rule->modality);
        END(rule->body_part);
        END(rule->label);
        END(rule->adapter);
        if (rule->model < 0 || rule->model >= t->n_models || t->models[rule->model].error[0] != '\0')
            rule->model = -1;
    }
    srv_model_rule *last = &t->rules[t->n_rules - 1];
    const bool whole =
        last->model >= 0 && is_any(last->modality) && is_any(last->body_part) && is_any(last->label);
    if (!whole) *last = (srv_model_rule){.modality = "*", .body_part = "*", .label = "*"};
}

static bool same_rule(const srv_model_rule *a, const srv_model_rule *b)
{
    return strcmp(a->modality, b->modality) == 0 && strcmp(a->body_part, b->body_part) == 0 &&
           strcmp(a->label, b->label) == 0 && a->model == b->model && a->automatic == b->automatic;
}

bool srv_model_table_same(const srv_model_table *a, const srv_model_table *b)
{
    if (a->n_models != b->n_models || a->n_rules != b->n_rules) return false;
    for (int32_t i = 0; i < a->n_models; i++)
        if (strcmp(a->models[i].hash, b->models[i].hash) != 0 ||
            strcmp(a->models[i].adapter, b->models[i].adapter) != 0)
            return false;
    for (int32_t i = 0; i < a->n_rules; i++)
        if (!same_rule(&a->rules[i], &b->rules[i])) return false;
    return true;
}
