#include "server/core/model_info.h"

#include <stdio.h>
#include <string.h>

const srv_rule *srv_model_rule_for(const srv_model_table *t, const srv_rule_subject *subject,
                                   const dicom_prompt *prompt)
{
    for (int32_t i = 0; i + 1 < t->n_rules; i++)
        if (srv_rule_fits(&t->rules[i], subject, prompt, NULL)) return &t->rules[i];
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

static void mend_rule(srv_rule *r)
{
    END(r->name);
    END(r->modality);
    END(r->body_part);
    END(r->study);
    END(r->series);
    END(r->protocol);
    END(r->sender);
    END(r->orientation);
    END(r->label);
    END(r->adapter);
    END(r->prompts);
    END(r->regions);
    END(r->contours);
    END(r->pictures);
    END(r->default_label);
    END(r->labels);
    END(r->destinations);
}

void srv_model_table_mend(srv_model_table *t)
{
    for (int32_t i = 0; i < t->n_models; i++)
        mend_model(&t->models[i]);
    for (int32_t i = 0; i < t->n_rules; i++) {
        srv_rule *rule = &t->rules[i];
        mend_rule(rule);
        if (rule->model < 0 || rule->model >= t->n_models || t->models[rule->model].error[0] != '\0')
            rule->model = -1;
    }
    srv_rule *last = &t->rules[t->n_rules - 1];
    if (!srv_rule_is_for_all(last)) *last = (srv_rule){.modality = "*", .body_part = "*", .label = "*"};
}

/* Rules are copied whole, and what follows a text in its array is nothing: bytes tell. */
static bool same_rule(const srv_rule *a, const srv_rule *b)
{
    return memcmp(a, b, sizeof *a) == 0;
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
