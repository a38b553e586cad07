/* What is known of the loaded models outside the process that holds them, and which is for what. */
#ifndef SRV_CORE_MODEL_INFO_H
#define SRV_CORE_MODEL_INFO_H

#include <stdbool.h>
#include <stdint.h>

#include "dicom/annotation.h"
#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "server/core/rule.h"

#define SRV_ADAPTERS_MAX    64 /* of a folder */
#define SRV_MODELS_MAX      (1 + SRV_ADAPTERS_MAX + SRV_RULES_MAX)
#define SRV_CONFIG_TEXT_MAX 2560

/* The base, or the base with one adapter on it: plain data, it travels over the role's socket as it is. */
typedef struct srv_model_info {
    char name[64], version[32];
    char hash[MSA_SHA256_HEX]; /* of base and adapter together: what results are bound to */
    int32_t untrained;
    char adapter[256]; /* what rules call it: "" is the base, else a bundled name, one of the folder, or the
                          file */
    char file_sha256[MSA_SHA256_HEX],
        base_sha256[MSA_SHA256_HEX];       /* base: that the adapter was trained on, or "" */
    int64_t size_bytes, parameters;        /* of the file */
    char config[SRV_CONFIG_TEXT_MAX];      /* JSON, the profile among it; "" */
    char card_title[128], card_path[1024]; /* "": there is no card */
    char error[MSA_ERROR_WHAT_MAX];        /* why it cannot be used; "": it can */
} srv_model_info;

typedef struct srv_model_table {
    int32_t n_models, n_rules;
    srv_model_info models[SRV_MODELS_MAX]; /* the base is the first */
    srv_rule rules[SRV_RULES_MAX + 1];     /* in the order in which they are tried; the last fits all */
} srv_model_table;

/**
 * The first rule that is for this series and prompt (srv_rule_fits). prompt NULL: the one for the series as a
 * whole, which says what becomes of it without prompts, when it is complete and where its results go. Never
 * fails: the last rule is for everything.
 */
const srv_rule *srv_model_rule_for(const srv_model_table *t, const srv_rule_subject *subject,
                                   const dicom_prompt *prompt);

/* The one for what no rule is for. */
static inline const srv_model_info *srv_model_any(const srv_model_table *t)
{
    return &t->models[t->rules[t->n_rules - 1].model];
}

/**
 * Several models as one, for what names only one: used (n_models) says which of the table's. One: its name,
 * version and hash; more: the names in the table's order as far as they fit, no version, and the hash of
 * their hashes. Only these and `untrained` are set in *out.
 */
void srv_model_join(srv_model_info *out, const srv_model_table *t, const bool *used);

/* A table that came from elsewhere: texts end, indices are in range, and the last rule is the base for all.
 */
void srv_model_table_mend(srv_model_table *t);
/* The same models under the same rules. */
bool srv_model_table_same(const srv_model_table *a, const srv_model_table *b);

#endif
