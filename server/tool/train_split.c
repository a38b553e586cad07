/* Which cases are learned from and which only validate: drawn by patient, recorded, compared. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/hash.h"
#include "server/tool/train_cases.h"

MSA_DEFINE_AUTO(json_t, json_decref);

/* ---- making it ---- */

typedef struct ticket {
    char hash[MSA_SHA256_HEX]; /* of seed and patient */
    int32_t patient;           /* 1, 2, ... */
} ticket;

static int by_hash(const void *a, const void *b)
{
    return strcmp(((const ticket *)a)->hash, ((const ticket *)b)->hash);
}

/* drawn[patient - 1]. */
static msa_status draw_patients(const srv_train_cases *c, const srv_split_rule *rule, bool *drawn,
                                msa_error *err)
{
    MSA_AUTO_FREE ticket *tickets = calloc((size_t)c->n_patients, sizeof *tickets);
    int32_t wanted = (int32_t)lround(rule->fraction * c->n_patients);
    if (!tickets) return msa_fail(err, MSA_E_NOMEM, "out of memory for the split");
    if (c->n_patients < 2)
        return msa_fail(err, MSA_E_INVALID,
                        "all cases are of one patient, so that none can be kept for validation");
    wanted = wanted < 1 ? 1 : wanted >= c->n_patients ? c->n_patients - 1 : wanted;
    for (int32_t i = 0; i < c->n_patients; i++) {
        char text[DICOM_PATIENT_KEY + 32];
        (void)snprintf(text, sizeof text, "%llu %s", (unsigned long long)rule->seed, c->patients[i]);
        msa_sha256_bytes(text, strlen(text), NULL, tickets[i].hash);
        tickets[i].patient = i + 1;
    }
    qsort(tickets, (size_t)c->n_patients, sizeof *tickets, by_hash);
    for (int32_t i = 0; i < wanted; i++)
        drawn[tickets[i].patient - 1] = true;
    return MSA_OK;
}

/* The case of that name, or all in the folder of that name. */
static bool named(const srv_train_case *one, const char *name)
{
    size_t n = strlen(name);
    while (n > 1 && name[n - 1] == '/')
        n--;
    return strncmp(one->name, name, n) == 0 && (one->name[n] == '\0' || one->name[n] == '/');
}

static msa_status name_patients(const srv_train_cases *c, const srv_split_rule *rule, bool *drawn,
                                msa_error *err)
{
    for (int32_t k = 0; k < rule->n_cases; k++) {
        bool any = false;
        for (int32_t i = 0; i < c->n; i++)
            if (named(&c->list[i], rule->cases[k])) any = drawn[c->list[i].patient - 1] = true;
        if (!any)
            return msa_fail(err, MSA_E_INVALID, "validation names %.100s, and no case is called so",
                            rule->cases[k]);
    }
    return MSA_OK;
}

msa_status srv_split_make(srv_train_cases *c, const srv_split_rule *rule, msa_error *err)
{
    MSA_AUTO_FREE bool *drawn = calloc((size_t)c->n_patients + 1, sizeof *drawn);
    int32_t kept = 0;
    if (!drawn) return msa_fail(err, MSA_E_NOMEM, "out of memory for the split");
    if (rule->n_cases > 0)
        MSA_TRY(name_patients(c, rule, drawn, err));
    else if (rule->fraction > 0)
        MSA_TRY(draw_patients(c, rule, drawn, err));
    for (int32_t i = 0; i < c->n; i++) {
        c->list[i].validation = drawn[c->list[i].patient - 1];
        kept += c->list[i].validation;
    }
    if (kept == c->n && c->n > 0)
        return msa_fail(err, MSA_E_INVALID, "every case, or another of its patient, is kept for validation");
    return MSA_OK;
}

/* ---- its record ---- */

static const char *side_of(const srv_train_case *one)
{
    return one->validation ? "validation" : "train";
}

static json_t *describe(const srv_train_cases *c, const srv_split_rule *rule)
{
    json_t *list = json_array();
    for (int32_t i = 0; list && i < c->n; i++) {
        const srv_train_case *one = &c->list[i];
        json_t *entry =
            json_pack("{s:s, s:i, s:s}", "name", one->name, "patient", one->patient, "side", side_of(one));
        if (!entry || json_array_append_new(list, entry) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    if (!list) return NULL;
    json_t *root = json_pack("{s:i, s:o}", "patients", c->n_patients, "cases", list);
    if (root && rule->n_cases == 0 && rule->fraction > 0) {
        (void)json_object_set_new(root, "fraction", json_real(rule->fraction));
        (void)json_object_set_new(root, "seed", json_integer((json_int_t)rule->seed));
    }
    return root;
}

msa_status srv_split_write(const srv_train_cases *c, const srv_split_rule *rule, const char *path,
                           msa_error *err)
{
    char part[4096 + 8];
    MSA_AUTO(json_t) root = describe(c, rule);
    /* a name may be bytes of any encoding, which JSON does not hold */
    if (!root) return msa_fail(err, MSA_E_IO, "the split cannot be written: a case's name is not UTF-8");
    (void)snprintf(part, sizeof part, "%.4095s.new", path);
    FILE *to = fopen(part, "w");
    bool good = to != NULL && json_dumpf(root, to, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) == 0 &&
                fputs("\n", to) >= 0;
    good = good && fflush(to) == 0 && fsync(fileno(to)) == 0;
    const int why = errno;
    if (to) good = fclose(to) == 0 && good;
    if (good && rename(part, path) == 0) return MSA_OK;
    return msa_fail(err, MSA_E_IO, "cannot write %.120s: %s", path, strerror(good ? errno : why));
}

static msa_status changed(msa_error *err, const char *name, const char *how)
{
    return msa_fail(
        err, MSA_E_INVALID,
        "the split is not the one that this run began with: case %.60s %s; restore the data, or give "
        "another folder as out",
        name, how);
}

/* The entry of split.json for that name; NULL: none. */
static const json_t *find_entry(const json_t *list, const char *name)
{
    size_t i;
    const json_t *entry;
    json_array_foreach(list, i, entry)
    {
        const char *own = json_string_value(json_object_get(entry, "name"));
        if (own && strcmp(own, name) == 0) return entry;
    }
    return NULL;
}

static const srv_train_case *find_case(const srv_train_cases *c, const char *name)
{
    for (int32_t i = 0; i < c->n; i++)
        if (strcmp(c->list[i].name, name) == 0) return &c->list[i];
    return NULL;
}

msa_status srv_split_check(const srv_train_cases *c, const char *path, msa_error *err)
{
    json_error_t where;
    size_t k;
    const json_t *entry;
    errno = 0;
    MSA_AUTO(json_t) root = json_load_file(path, 0, &where);
    if (!root && errno == ENOENT) return MSA_OK;
    const json_t *list = json_object_get(root, "cases");
    if (!json_is_array(list))
        return msa_fail(err, MSA_E_PARSE, "%.120s is not the record of a split; line %d", path,
                        root ? 1 : where.line);
    for (int32_t i = 0; i < c->n; i++) {
        const json_t *was = find_entry(list, c->list[i].name);
        const char *side = json_string_value(json_object_get(was, "side"));
        if (!was) return changed(err, c->list[i].name, "is new");
        if (!side || strcmp(side, side_of(&c->list[i])) != 0)
            return changed(err, c->list[i].name, "has changed sides");
    }
    json_array_foreach(list, k, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (!name || !find_case(c, name)) return changed(err, name ? name : "", "is gone");
    }
    return MSA_OK;
}
