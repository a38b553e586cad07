/* The configuration file: two levels of mappings, and lists of maps. Anything else is refused with its
 * line. */
#include "server/core/config_table.h"

#include <string.h>
#include <yaml.h>

#include "server/core/text.h"

typedef struct reader {
    yaml_parser_t parser;
    yaml_event_t event;
    bool has_event;
    const unsigned char *bytes;
    size_t size;
    const char *shown;
    srv_config *config;
    bool seen[128]; /* by index in the table: a key that is there twice is a mistake */
    bool section_seen[32], list_seen[SRV_N_LISTS];
} reader;

static int line_of(const yaml_mark_t *mark)
{
    return (int)mark->line + 1;
}

static void drop(reader *r)
{
    if (r->has_event) yaml_event_delete(&r->event);
    r->has_event = false;
}

/* libyaml gives no mark when the bytes themselves are wrong (encoding), only an offset. */
static int problem_line(const reader *r)
{
    if (r->parser.error != YAML_READER_ERROR) return line_of(&r->parser.problem_mark);
    int line = 1;
    for (size_t i = 0; i < r->size && i < r->parser.problem_offset; i++)
        line += r->bytes[i] == '\n';
    return line;
}

static bool is_tagged(const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        return e->data.scalar.anchor != NULL || e->data.scalar.tag != NULL;
    case YAML_MAPPING_START_EVENT:
        return e->data.mapping_start.anchor != NULL || e->data.mapping_start.tag != NULL;
    case YAML_SEQUENCE_START_EVENT:
        return e->data.sequence_start.anchor != NULL || e->data.sequence_start.tag != NULL;
    default:
        return false;
    }
}

static msa_status next(reader *r, msa_error *err)
{
    drop(r);
    if (!yaml_parser_parse(&r->parser, &r->event))
        return msa_fail(err, r->parser.error == YAML_MEMORY_ERROR ? MSA_E_NOMEM : MSA_E_PARSE,
                        "%s line %d: this is not YAML: %s", r->shown, problem_line(r),
                        r->parser.problem != NULL ? r->parser.problem : "malformed");
    r->has_event = true;
    if (r->event.type == YAML_ALIAS_EVENT || is_tagged(&r->event))
        return msa_fail(err, MSA_E_PARSE,
                        "%s line %d: anchors, aliases and tags are not used here; write the value out",
                        r->shown, line_of(&r->event.start_mark));
    return MSA_OK;
}

static const char *shape(const reader *r)
{
    switch (r->event.type) {
    case YAML_SCALAR_EVENT:
        return "a single value";
    case YAML_MAPPING_START_EVENT:
        return "a map";
    case YAML_SEQUENCE_START_EVENT:
        return "a list";
    default:
        return "nothing";
    }
}

static bool is_null(const reader *r)
{
    const yaml_event_t *e = &r->event;
    return e->type == YAML_SCALAR_EVENT && e->data.scalar.plain_implicit && e->data.scalar.length == 0;
}

/* The current event is a key; copies it. */
static msa_status key(const reader *r, char out[64], msa_error *err)
{
    const yaml_event_t *e = &r->event;
    const int line = line_of(&e->start_mark);
    if (e->type != YAML_SCALAR_EVENT)
        return msa_fail(err, MSA_E_PARSE, "%s line %d: the name of a setting is expected, not %s", r->shown,
                        line, shape(r));
    const char *text = (const char *)e->data.scalar.value;
    if (e->data.scalar.length >= 64 || !srv_text_is_printable(text, e->data.scalar.length, NULL))
        return msa_fail(err, MSA_E_PARSE, "%s line %d: this is not the name of a setting", r->shown, line);
    (void)snprintf(out, 64, "%s", text);
    return MSA_OK;
}

/* The current event is the value of `setting`. */
static msa_status put(const reader *r, const srv_setting *setting, void *base, msa_error *err)
{
    const yaml_event_t *e = &r->event;
    char where[160];
    (void)snprintf(where, sizeof where, "%s line %d: %s.%s", r->shown, line_of(&e->start_mark),
                   setting->section, setting->key);
    if (e->type != YAML_SCALAR_EVENT)
        return msa_fail(err, MSA_E_PARSE, "%s: a single value is expected, not %s", where, shape(r));
    const srv_value value = {(const char *)e->data.scalar.value, e->data.scalar.length,
                             !e->data.scalar.plain_implicit, where};
    return srv_setting_put(setting, base, &value, err);
}

static msa_status read_section(reader *r, size_t section, msa_error *err)
{
    const char *name = srv_sections[section].name;
    char k[64], nearest[64];
    if (is_null(r)) return MSA_OK; /* all of its keys are commented out */
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return msa_fail(err, MSA_E_PARSE, "%s line %d: %s is a section: its settings stand below it, not %s",
                        r->shown, line_of(&r->event.start_mark), name, shape(r));
    for (;;) {
        MSA_TRY(next(r, err));
        if (r->event.type == YAML_MAPPING_END_EVENT) return MSA_OK;
        const int line = line_of(&r->event.start_mark);
        MSA_TRY(key(r, k, err));
        const srv_setting *setting = srv_setting_find(name, k);
        if (setting == NULL) {
            srv_setting_nearest(name, k, nearest);
            return msa_fail(err, MSA_E_PARSE, "%s line %d: there is no setting %s.%s; did you mean %s?",
                            r->shown, line, name, k, nearest);
        }
        bool *seen = &r->seen[setting - srv_settings];
        if (*seen)
            return msa_fail(err, MSA_E_PARSE, "%s line %d: %s.%s is there twice", r->shown, line, name, k);
        *seen = true;
        MSA_TRY(next(r, err));
        MSA_TRY(put(r, setting, r->config, err));
    }
}

static const srv_setting *field_of(const srv_list *list, const char *name)
{
    for (size_t i = 0; i < list->n_fields; i++)
        if (strcmp(list->fields[i].key, name) == 0) return &list->fields[i];
    return NULL;
}

static msa_status read_fields(reader *r, const srv_list *list, void *entry, const char *where, msa_error *err)
{
    bool seen[32] = {false};
    char k[64];
    if (list->n_fields > sizeof seen)
        return msa_fail(err, MSA_E_INTERNAL, "the table of %s has outgrown its reader", list->name);
    for (;;) {
        MSA_TRY(next(r, err));
        if (r->event.type == YAML_MAPPING_END_EVENT) break;
        const int line = line_of(&r->event.start_mark);
        MSA_TRY(key(r, k, err));
        const srv_setting *field = field_of(list, k);
        if (field == NULL)
            return msa_fail(err, MSA_E_PARSE, "%s line %d: %s has no %s; it has %s", r->shown, line,
                            list->entry, k, list->members);
        if (seen[field - list->fields])
            return msa_fail(err, MSA_E_PARSE, "%s line %d: %s.%s is there twice", r->shown, line, list->name,
                            k);
        seen[field - list->fields] = true;
        MSA_TRY(next(r, err));
        MSA_TRY(put(r, field, entry, err));
    }
    for (size_t i = 0; i < list->n_fields; i++) {
        const srv_setting *field = &list->fields[i];
        if (seen[i]) continue;
        if (srv_setting_is_required(field))
            return msa_fail(err, MSA_E_PARSE, "%s: this entry has no %s", where, field->key);
        srv_setting_put_default(field, entry);
    }
    return MSA_OK;
}

static msa_status read_entry(reader *r, const srv_list *list, msa_error *err)
{
    union {
        dicom_destination destination;
        srv_rule rule;
        srv_sender sender;
    } entry;
    char where[160];
    memset(&entry, 0, sizeof entry);
    (void)snprintf(where, sizeof where, "%s line %d: %s", r->shown, line_of(&r->event.start_mark),
                   list->name);
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return msa_fail(err, MSA_E_PARSE, "%s: each entry is a map of %s", where, list->members);
    MSA_TRY(read_fields(r, list, &entry, where, err));
    return srv_list_add(r->config, list, &entry, where, err);
}

static msa_status read_list(reader *r, const srv_list *list, msa_error *err)
{
    srv_list_clear(r->config, list);
    if (is_null(r)) return MSA_OK;
    if (r->event.type != YAML_SEQUENCE_START_EVENT)
        return msa_fail(err, MSA_E_PARSE, "%s line %d: %s is a list of maps, not %s", r->shown,
                        line_of(&r->event.start_mark), list->name, shape(r));
    for (;;) {
        MSA_TRY(next(r, err));
        if (r->event.type == YAML_SEQUENCE_END_EVENT) return MSA_OK;
        MSA_TRY(read_entry(r, list, err));
    }
}

static msa_status read_top(reader *r, msa_error *err)
{
    char name[64], nearest[64];
    for (;;) {
        MSA_TRY(next(r, err));
        if (r->event.type == YAML_MAPPING_END_EVENT) return MSA_OK;
        const int line = line_of(&r->event.start_mark);
        MSA_TRY(key(r, name, err));
        size_t section = 0, list = 0;
        while (section < srv_n_sections && strcmp(srv_sections[section].name, name) != 0)
            section++;
        while (list < SRV_N_LISTS && strcmp(srv_lists[list].name, name) != 0)
            list++;
        const bool is_list = list < SRV_N_LISTS;
        if (!is_list && section == srv_n_sections) {
            srv_setting_nearest(name, NULL, nearest);
            return msa_fail(err, MSA_E_PARSE, "%s line %d: there is no section %s; did you mean %s?",
                            r->shown, line, name, nearest);
        }
        bool *seen = is_list ? &r->list_seen[list] : &r->section_seen[section];
        if (*seen) return msa_fail(err, MSA_E_PARSE, "%s line %d: %s is there twice", r->shown, line, name);
        *seen = true;
        MSA_TRY(next(r, err));
        MSA_TRY(is_list ? read_list(r, &srv_lists[list], err) : read_section(r, section, err));
    }
}

static msa_status read_stream(reader *r, msa_error *err)
{
    MSA_TRY(next(r, err)); /* stream start */
    MSA_TRY(next(r, err));
    if (r->event.type == YAML_STREAM_END_EVENT) return MSA_OK; /* nothing but comments */
    MSA_TRY(next(r, err));
    if (r->event.type == YAML_MAPPING_START_EVENT)
        MSA_TRY(read_top(r, err));
    else if (!is_null(r))
        return msa_fail(err, MSA_E_PARSE, "%s line %d: the file is a map of sections, not %s", r->shown,
                        line_of(&r->event.start_mark), shape(r));
    MSA_TRY(next(r, err)); /* document end */
    MSA_TRY(next(r, err));
    if (r->event.type != YAML_STREAM_END_EVENT)
        return msa_fail(err, MSA_E_PARSE, "%s line %d: a second document begins here; one is expected",
                        r->shown, line_of(&r->event.start_mark));
    return MSA_OK;
}

msa_status srv_config_read_yaml(srv_config *config, const unsigned char *bytes, size_t size,
                                const char *shown, msa_error *err)
{
    reader r = {.bytes = bytes, .size = size, .shown = shown, .config = config};
    _Static_assert(sizeof r.seen / sizeof r.seen[0] >= 64, "room for every setting");
    if (srv_n_settings > sizeof r.seen || srv_n_sections > sizeof r.section_seen)
        return msa_fail(err, MSA_E_INTERNAL, "the table of settings has outgrown its reader");
    if (!yaml_parser_initialize(&r.parser)) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, bytes, size);
    const msa_status status = read_stream(&r, err);
    drop(&r);
    yaml_parser_delete(&r.parser);
    return status;
}
