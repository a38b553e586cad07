/* Private to config*.c: the table of settings and how one value is put. */
#ifndef SRV_CORE_CONFIG_TABLE_H
#define SRV_CORE_CONFIG_TABLE_H

#include "server/core/config.h"

typedef enum srv_setting_kind {
    SRV_SETTING_INT,
    SRV_SETTING_BOOL,
    SRV_SETTING_TEXT,
    SRV_SETTING_NUMBER, /* a double, not negative */
} srv_setting_kind;

/* Says what is wrong with a text value, as the end of a sentence ("is not ..."); NULL when it is fine. */
typedef const char *srv_setting_check(const char *text);

typedef struct srv_setting {
    const char *section, *key;
    srv_setting_kind kind;
    size_t offset, size; /* of the field in its struct; size counts the NUL of a text */
    int32_t value, min,
        max; /* default and range of whole numbers; default of booleans; max of numbers, whose default is 0 */
    const char *text; /* default of texts */
    srv_setting_check *check;
    const char *help;
    bool live; /* SIGHUP brings a change into force; else it needs a restart. Of a field: see its list */
} srv_setting;

typedef struct srv_section {
    const char *name, *help;
} srv_section;

extern const srv_section srv_sections[];
extern const size_t srv_n_sections;
extern const srv_setting srv_settings[];
extern const size_t srv_n_settings;

/* A list of maps; the entries lie in an array of srv_config. No two agree in all fields of the key. */
typedef struct srv_list {
    const char *name, *entry, *members; /* "rules", "a rule", "modality and adapter" */
    const char *twice;                  /* what is wrong when two do */
    const char *help, *example;         /* lines of the printed file; the example may be NULL */
    const srv_setting *fields;          /* offsets are into an entry */
    size_t n_fields, n_key;             /* the first n_key fields are an entry's key */
    size_t n_shown;                     /* the first n_shown are printed also where they have their default */
    size_t count, items, item_size;     /* offsets of the number (int32_t) and of the array */
    int32_t max;
    bool live; /* as srv_setting.live */
} srv_list;

enum { SRV_LIST_DESTINATIONS, SRV_LIST_RULES, SRV_LIST_SOURCES, SRV_LIST_SENDERS, SRV_N_LISTS };
extern const srv_list srv_lists[SRV_N_LISTS];

/* One written value and where it stands. */
typedef struct srv_value {
    const char *text;
    size_t size;
    bool quoted;
    const char *where; /* starts the sentence: "msad.yaml line 7: dicom.port" or "MSAD_DICOM_PORT" */
} srv_value;

/* Puts `value` into its field of `base` (a srv_config or an entry of a list). Errors: MSA_E_PARSE. */
MSA_NODISCARD msa_status srv_setting_put(const srv_setting *setting, void *base, const srv_value *value,
                                         msa_error *err);
/* A field of a list's entry that has no default: NULL as a text, or a number out of its range. */
bool srv_setting_is_required(const srv_setting *setting);
void srv_setting_put_default(const srv_setting *setting, void *base);
bool srv_setting_is_default(const srv_setting *setting, const void *base);
void srv_list_clear(srv_config *config, const srv_list *list);
int32_t srv_list_count(const srv_config *config, const srv_list *list);
const void *srv_list_at(const srv_config *config, const srv_list *list, int32_t i);
/* Appends; refuses a key that is there already and more than list->max. */
MSA_NODISCARD msa_status srv_list_add(srv_config *config, const srv_list *list, const void *entry,
                                      const char *where, msa_error *err);
const srv_setting *srv_setting_find(const char *section, const char *key);
/* The known "section.key" (or section, when key is NULL) that reads most like this one. */
void srv_setting_nearest(const char *section, const char *key, char out[64]);
/* "MSAD_DICOM_PORT" */
void srv_setting_env(const srv_setting *setting, char out[64]);
/* "MSAD_RULES" */
void srv_list_env(const srv_list *list, char out[64]);

/* config_yaml.c. shown: how sentences name the file. Errors: MSA_E_PARSE. */
MSA_NODISCARD msa_status srv_config_read_yaml(srv_config *config, const unsigned char *bytes, size_t size,
                                              const char *shown, msa_error *err);

#endif
