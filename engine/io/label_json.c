#include "engine/io/label_json.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

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
