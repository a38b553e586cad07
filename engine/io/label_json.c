#include "engine/io/label_json.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/base/cleanup.h"

MSA_DEFINE_AUTO(json_t, json_decref);

enum { ENTRIES_MAX = 4096 };

/* A name goes into logs, tables and paths of pictures: one plain line. */
static msa_status copy_name(char *to, size_t room, const char *from, msa_error *err)
{
    const size_t length = strlen(from);
    if (length == 0) return msa_fail(err, MSA_E_PARSE, "a label of labels.json has no name");
    for (size_t i = 0; i < length; i++)
        if (from[i] < ' ' || from[i] > '~')
            return msa_fail(err, MSA_E_PARSE, "a name in labels.json holds other than printable ASCII");
    const size_t kept = length < room ? length : room - 1;
    memcpy(to, from, kept);
    to[kept] = '\0';
    return MSA_OK;
}

static msa_status read_entry(msa_label_entry *to, const char *key, const json_t *name, msa_error *err)
{
    char *end;
    const long value = strtol(key, &end, 10);
    if (end == key || *end != '\0' || value < 1 || value > UINT16_MAX)
        return msa_fail(err, MSA_E_PARSE, "labels.json has a key that is no number in 1..65535");
    if (!json_is_string(name))
        return msa_fail(err, MSA_E_PARSE, "label %ld of labels.json has no name", value);
    to->value = (uint16_t)value;
    return copy_name(to->name, sizeof to->name, json_string_value(name), err);
}

msa_status msa_label_json_read(msa_label_entry **out, int32_t *n, const char *path, msa_error *err)
{
    json_error_t where;
    const char *key;
    json_t *name;
    *out = NULL;
    *n = 0;
    errno = 0;
    MSA_AUTO(json_t) root = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
    if (!root && errno == ENOENT) return msa_fail(err, MSA_E_NOT_FOUND, "there is no labels.json");
    if (!root) return msa_fail(err, MSA_E_PARSE, "labels.json, line %d: %.120s", where.line, where.text);
    if (!json_is_object(root) || json_object_size(root) == 0 || json_object_size(root) > ENTRIES_MAX)
        return msa_fail(err, MSA_E_PARSE, "labels.json does not map 1 to %d values to names",
                        (int)ENTRIES_MAX);
    MSA_AUTO_FREE msa_label_entry *list = calloc(json_object_size(root), sizeof *list);
    if (!list) return msa_fail(err, MSA_E_NOMEM, "out of memory for labels.json");
    int32_t count = 0;
    json_object_foreach(root, key, name)
    {
        MSA_TRY(read_entry(&list[count], key, name, err));
        for (int32_t k = 0; k < count; k++) /* "1" and "01" */
            if (list[k].value == list[count].value)
                return msa_fail(err, MSA_E_PARSE, "label %d stands twice in labels.json", list[k].value);
        count++;
    }
    *out = MSA_STEAL(list);
    *n = count;
    return MSA_OK;
}

/* ---- dataset.json ---- */

typedef struct entries {
    msa_label_entry *list;
    int32_t n, room;
} entries;

static const msa_label_entry *find_value(const entries *e, json_int_t value)
{
    for (int32_t k = 0; k < e->n; k++)
        if (e->list[k].value == value) return &e->list[k];
    return NULL;
}

/* name NULL: "label n". Nothing happens to a value that is there already, to background and to nonsense. */
static void add_value(entries *e, json_int_t value, const char *name)
{
    if (value < 1 || value > UINT16_MAX || e->n == e->room || find_value(e, value)) return;
    msa_label_entry *to = &e->list[e->n++];
    to->value = (uint16_t)value;
    if (name && *name)
        (void)snprintf(to->name, sizeof to->name, "%s", name);
    else
        (void)snprintf(to->name, sizeof to->name, "label %d", (int)value);
    for (char *c = to->name; *c; c++)
        if (*c < ' ' || *c > '~') *c = '?';
}

/* One pair of "labels", either way around. regions: lists of values, else single ones. */
static void add_pair(entries *e, const char *key, const json_t *value, bool regions)
{
    char *end;
    const long number = strtol(key, &end, 10);
    if (!regions && json_is_string(value) && end != key && *end == '\0')
        add_value(e, number, json_string_value(value));
    else if (!regions && json_is_integer(value) && strcasecmp(key, "ignore") != 0)
        add_value(e, json_integer_value(value), key);
    else if (json_is_array(value) && (regions || json_array_size(value) == 1))
        for (size_t k = 0; k < json_array_size(value); k++)
            add_value(e, json_integer_value(json_array_get(value, k)), regions ? NULL : key);
}

static bool is_ct(const json_t *root, int32_t modality)
{
    char key[16];
    const json_t *names = json_object_get(root, "modality");
    if (!names) names = json_object_get(root, "channel_names");
    (void)snprintf(key, sizeof key, "%d", modality);
    const char *name = json_string_value(json_object_get(names, key));
    return name && strcasecmp(name, "CT") == 0;
}

static int by_value(const void *a, const void *b)
{
    return (int)((const msa_label_entry *)a)->value - (int)((const msa_label_entry *)b)->value;
}

msa_status msa_dataset_json_read(msa_label_entry **out, int32_t *n, bool *said_ct, int32_t modality,
                                 const char *path, msa_error *err)
{
    json_error_t where;
    const char *key;
    json_t *value;
    *out = NULL;
    *n = 0;
    errno = 0;
    MSA_AUTO(json_t) root = json_load_file(path, 0, &where);
    if (!root && errno == ENOENT) return msa_fail(err, MSA_E_NOT_FOUND, "there is no dataset.json");
    if (!root) return msa_fail(err, MSA_E_PARSE, "dataset.json, line %d: %.120s", where.line, where.text);
    json_t *labels = json_object_get(root, "labels");
    if (!json_is_object(labels)) return msa_fail(err, MSA_E_PARSE, "dataset.json has no map of labels");
    MSA_AUTO_FREE msa_label_entry *list = calloc(ENTRIES_MAX, sizeof *list);
    if (!list) return msa_fail(err, MSA_E_NOMEM, "out of memory for dataset.json");
    entries e = {.list = list, .room = ENTRIES_MAX};
    for (int regions = 0; regions < 2; regions++)
        json_object_foreach(labels, key, value) add_pair(&e, key, value, regions != 0);
    if (e.n == 0) return msa_fail(err, MSA_E_PARSE, "dataset.json names no label");
    qsort(list, (size_t)e.n, sizeof *list, by_value);
    *said_ct = is_ct(root, modality);
    *out = MSA_STEAL(list);
    *n = e.n;
    return MSA_OK;
}
