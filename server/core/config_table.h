/* Private to config*.c: the table of settings and how one value is put. */
#ifndef SRV_CORE_CONFIG_TABLE_H
#define SRV_CORE_CONFIG_TABLE_H

#include "server/core/config.h"

typedef enum srv_setting_kind { SRV_SETTING_INT, SRV_SETTING_BOOL, SRV_SETTING_TEXT } srv_setting_kind;

/* Says what is wrong with a text value, as the end of a sentence ("is not ..."); NULL when it is fine. */
typedef const char *srv_setting_check(const char *text);

typedef struct srv_setting {
    const char *section, *key;
    srv_setting_kind kind;
    size_t offset, size;     /* of the field in its struct; size counts the NUL of a text */
    int32_t value, min, max; /* default and range of numbers; default of booleans */
    const char *text;        /* default of texts; NULL: must be given (fields of a destination) */
    srv_setting_check *check;
    const char *help;
} srv_setting;

typedef struct srv_section {
    const char *name, *help;
} srv_section;

extern const srv_section srv_sections[];
extern const size_t srv_n_sections;
extern const srv_setting srv_settings[];
extern const size_t srv_n_settings;
/* What one entry of `destinations` holds; offsets are into dicom_destination. */
extern const srv_setting srv_destination_fields[];
extern const size_t srv_n_destination_fields;

/* One written value and where it stands. */
typedef struct srv_value {
    const char *text;
    size_t size;
    bool quoted;
    const char *where; /* starts the sentence: "msad.yaml line 7: dicom.port" or "MSAD_DICOM_PORT" */
} srv_value;

/* Puts `value` into its field of `base` (a srv_config or a dicom_destination). Errors: MSA_E_PARSE. */
MSA_NODISCARD msa_status srv_setting_put(const srv_setting *setting, void *base, const srv_value *value,
                                         msa_error *err);
/* Appends; refuses a name that is there already and more than SRV_DESTINATIONS_MAX. */
MSA_NODISCARD msa_status srv_destination_add(srv_config *config, const dicom_destination *to,
                                             const char *where, msa_error *err);
const srv_setting *srv_setting_find(const char *section, const char *key);
/* The known "section.key" (or section, when key is NULL) that reads most like this one. */
void srv_setting_nearest(const char *section, const char *key, char out[64]);
/* "MSAD_DICOM_PORT" */
void srv_setting_env(const srv_setting *setting, char out[64]);

/* config_yaml.c. shown: how sentences name the file. Errors: MSA_E_PARSE. */
MSA_NODISCARD msa_status srv_config_read_yaml(srv_config *config, const unsigned char *bytes, size_t size,
                                              const char *shown, msa_error *err);

#endif
