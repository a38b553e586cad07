#include "server/segment/naming.h"

#include <stdio.h>
#include <string.h>

static bool is_taken(const srv_objects *o, const char *label)
{
    for (size_t i = 0; i < o->n; i++)
        if (strcmp(o->names[i].label, label) == 0) return true;
    return false;
}

static void take_label(srv_objects *o, size_t at, const char *label)
{
    char name[DICOM_LABEL_MAX];
    (void)snprintf(name, sizeof name, "%s", label);
    for (size_t k = 2; is_taken(o, name); k++) /* room for " 256" is kept */
        (void)snprintf(name, sizeof name, "%.*s %zu", DICOM_LABEL_MAX - 8, label, k);
    memcpy(o->names[at].label, name, sizeof name);
}

static const srv_rule *rule_of(const srv_objects *o, size_t i, const srv_segment_request *q)
{
    return q->prompt_rules != NULL ? q->prompt_rules[o->origin[i]] : q->rule;
}

void srv_objects_take_rules(srv_objects *o, const srv_segment_request *q)
{
    for (size_t i = 0; i < o->n; i++) {
        dicom_segment *name = &o->names[i];
        const srv_rule *rule = rule_of(o, i, q);
        char asked[DICOM_LABEL_MAX]; /* a number behind a default label says nothing to the table */
        name->automatic = name->automatic || q->by_itself;
        if (rule == NULL) continue;
        const bool nameless = strcmp(name->label, "Object") == 0 || srv_label_is_invented(name->label);
        memcpy(asked, name->label, sizeof asked);
        if (nameless && rule->default_label[0] != '\0') {
            (void)snprintf(asked, sizeof asked, "%s", rule->default_label);
            take_label(o, i, asked);
        }
        if (name->type.value[0] == '\0') (void)srv_rule_code_of(rule, asked, &name->type);
    }
}
