#include <endian.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/checkpoint_parts.h"

static inline void json_put(json_t **j)
{
    json_decref(*j);
}
#define AUTO_JSON __attribute__((cleanup(json_put))) json_t *

static bool find_element(msa_element *e, const char *dtype)
{
    static const struct {
        const char *name;
        msa_element element;
    } known[] = {{"F32", MSA_ELEMENT_F32},     {"F16", MSA_ELEMENT_F16},     {"BF16", MSA_ELEMENT_BF16},
                 {"F64", MSA_ELEMENT_F64},     {"I64", MSA_ELEMENT_WHOLE64}, {"U64", MSA_ELEMENT_WHOLE64},
                 {"I32", MSA_ELEMENT_WHOLE32}, {"U32", MSA_ELEMENT_WHOLE32}, {"I16", MSA_ELEMENT_WHOLE16},
                 {"U16", MSA_ELEMENT_WHOLE16}, {"I8", MSA_ELEMENT_WHOLE8},   {"U8", MSA_ELEMENT_WHOLE8},
                 {"BOOL", MSA_ELEMENT_WHOLE8}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, dtype) == 0) {
            *e = known[i].element;
            return true;
        }
    return false;
}

/* Row-major; *empty when an axis has no elements. */
static msa_status read_shape(msa_checkpoint_tensor *t, const json_t *shape, bool *empty, msa_error *err)
{
    int64_t stride = 1;
    if (!json_is_array(shape)) return msa_fail(err, MSA_E_PARSE, "tensor %.80s has no shape", t->name);
    t->rank = (int32_t)json_array_size(shape);
    for (int32_t i = t->rank - 1; i >= 0; i--) {
        const json_t *side = json_array_get(shape, (size_t)i);
        t->shape[i] = json_is_integer(side) ? (int64_t)json_integer_value(side) : -1;
        t->stride[i] = stride;
        *empty = *empty || t->shape[i] == 0;
        if (t->shape[i] < 0 || (!*empty && __builtin_mul_overflow(stride, t->shape[i], &stride)))
            return msa_fail(err, MSA_E_PARSE, "tensor %.80s has an impossible shape", t->name);
    }
    return MSA_OK;
}

static msa_status read_tensor(msa_checkpoint *c, size_t start, const char *name, const json_t *entry,
                              msa_error *err)
{
    msa_checkpoint_tensor t = {.name = name};
    bool empty = false;
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    const json_t *shape = json_object_get(entry, "shape"), *range = json_object_get(entry, "data_offsets");
    const json_t *from = json_array_get(range, 0), *to = json_array_get(range, 1);
    if (name[0] == '\0' || strlen(name) > MSA_TENSOR_NAME_MAX)
        return msa_fail(err, MSA_E_PARSE, "a tensor's name is empty or longer than %d", MSA_TENSOR_NAME_MAX);
    if (dtype == NULL || !json_is_integer(from) || !json_is_integer(to))
        return msa_fail(err, MSA_E_PARSE, "tensor %.80s has no dtype or no data_offsets", name);
    const int64_t first = (int64_t)json_integer_value(from), last = (int64_t)json_integer_value(to);
    if (first < 0 || last < first || (uint64_t)last > c->size - start)
        return msa_fail(err, MSA_E_PARSE, "tensor %.80s lies outside the file", name);
    if (json_array_size(shape) > MSA_TENSOR_RANK_MAX || !find_element(&t.element, dtype)) return MSA_OK;
    MSA_TRY(read_shape(&t, shape, &empty, err));
    if (empty) return MSA_OK;
    const int64_t bytes = msa_element_bytes(t.element), held = (last - first) / bytes;
    const int64_t rows = t.rank == 0 ? 1 : t.shape[0], row = t.rank == 0 ? 1 : t.stride[0];
    if ((last - first) % bytes != 0 || held % row != 0 || held / row != rows)
        return msa_fail(err, MSA_E_PARSE, "tensor %.80s has %lld bytes, its shape asks for another number",
                        name, (long long)(last - first));
    const msa_checkpoint_storage s = {.bytes = c->bytes + start + first, .size = (size_t)(last - first)};
    MSA_TRY(msa_checkpoint_add_storage(c, s, &t.storage, err));
    return msa_checkpoint_add(c, t, 0, err);
}

static msa_status read_metadata(msa_checkpoint *c, const json_t *metadata, msa_error *err)
{
    const char *key = NULL;
    json_t *value = NULL;
    c->metadata = calloc(json_object_size(metadata) + 1, sizeof *c->metadata);
    if (c->metadata == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for the metadata");
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value)
    {
        if (!json_is_string(value)) continue;
        const int32_t i = c->n_metadata++;
        c->metadata[i].key = strdup(key);
        c->metadata[i].value = strdup(json_string_value(value));
        if (c->metadata[i].key == NULL || c->metadata[i].value == NULL)
            return msa_fail(err, MSA_E_NOMEM, "no memory for the metadata");
    }
    return MSA_OK;
}

msa_status msa_checkpoint_read_safetensors(msa_checkpoint *c, msa_error *err)
{
    uint64_t n = 0;
    const char *name = NULL;
    json_t *entry = NULL;
    json_error_t problem;
    c->format = "safetensors";
    memcpy(&n, c->bytes, sizeof n);
    n = le64toh(n);
    if (n < 2 || n > MSA_SAFETENSORS_HEADER_MAX || n > c->size - 8)
        return msa_fail(err, MSA_E_PARSE,
                        "a header of %llu bytes does not fit the file, or is larger than %u",
                        (unsigned long long)n, MSA_SAFETENSORS_HEADER_MAX);
    AUTO_JSON header = json_loadb((const char *)c->bytes + 8, (size_t)n, JSON_REJECT_DUPLICATES, &problem);
    if (!json_is_object(header))
        return msa_fail(err, MSA_E_PARSE, "header is not a JSON object: %s", problem.text);
    json_object_foreach(header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0)
            MSA_TRY(read_metadata(c, entry, err));
        else
            MSA_TRY(read_tensor(c, 8 + (size_t)n, name, entry, err));
    }
    return MSA_OK;
}
