#include "server/core/config_table.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/precision.h"
#include "server/core/text.h"

static const char *check_ae(const char *text)
{
    const size_t n = strlen(text);
    if (n == 0) return "is empty; an AE title has 1 to 16 characters";
    for (size_t i = 0; i < n; i++)
        if (text[i] < 0x20 || text[i] > 0x7e || text[i] == '\\')
            return "is not an AE title: printable ASCII without backslash (PS3.5 section 6.2)";
    if (text[0] == ' ' || text[n - 1] == ' ') return "begins or ends with a space, which AE titles ignore";
    return NULL;
}

static const char *check_address(const char *text)
{
    unsigned char bytes[16];
    if (inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1) return NULL;
    return "is not a numeric address; write 127.0.0.1 (this machine only), 0.0.0.0 (all IPv4) or :: (all)";
}

static const char *check_loopback(const char *text)
{
    unsigned char bytes[16];
    if (inet_pton(AF_INET, text, bytes) == 1 && bytes[0] == 127) return NULL;
    if (inet_pton(AF_INET6, text, bytes) == 1 && memcmp(bytes, &in6addr_loopback, sizeof bytes) == 0)
        return NULL;
    return "is not a loopback address; this version has no access tokens yet, so REST listens on 127.0.0.1 "
           "or ::1 only";
}

static const char *check_host(const char *text)
{
    if (text[0] == '\0') return "is empty; write a host name or an address";
    for (const char *c = text; *c != '\0'; c++)
        if (!isalnum((unsigned char)*c) && strchr(".-_:", *c) == NULL)
            return "is not a host name or address (letters, digits, dots and hyphens)";
    return NULL;
}

static const char *check_name(const char *text)
{
    if (text[0] == '\0') return "is empty; give the destination a short name";
    for (const char *c = text; *c != '\0'; c++)
        if (!isalnum((unsigned char)*c) && strchr(".-_", *c) == NULL)
            return "has a character other than letters, digits, dot, hyphen and underscore";
    return NULL;
}

static const char *check_given(const char *text)
{
    return text[0] == '\0' ? "is empty" : NULL;
}

static const char *check_lo(const char *text)
{
    return strchr(text, '\\') != NULL ? "holds a backslash, which separates values in DICOM" : NULL;
}

static const char *check_level(const char *text)
{
    msa_log_level level;
    return msa_log_level_parse(text, &level) == 0 ? NULL : "is not a log level: error, warn, info or debug";
}

static const char *check_precision(const char *text)
{
    msa_precision precision;
    return msa_precision_named(text, &precision) ? NULL : "is not a precision: fp32, fp16, bf16 or int8";
}

static const char *check_code_string(const char *text)
{
    if (text[0] == '\0') return "is empty; write what the header of the series has, or \"*\" for any";
    if (strcmp(text, "*") == 0) return NULL;
    for (const char *c = text; *c != '\0'; c++)
        if (!isupper((unsigned char)*c) && !isdigit((unsigned char)*c) && strchr(" _", *c) == NULL)
            return "is not a code string as DICOM writes it (capital letters and digits), nor \"*\"";
    return NULL;
}

static const char *check_label(const char *text)
{
    return text[0] == '\0' ? "is empty; write a label, a finding as SCHEME:VALUE, or \"*\" for any" : NULL;
}

static const char *check_prompts(const char *text)
{
    return strcmp(text, "given") == 0 || strcmp(text, "auto") == 0 ? NULL : "is neither given nor auto";
}

const srv_section srv_sections[] = {
    {"storage", "Where everything that must survive a restart is kept."},
    {"dicom", "The DICOM node: who we are and whom we listen to."},
    {"http", "REST and metrics."},
    {"work", "Worker processes: they run the model."},
    {"cache", "What the model makes of a slice, kept for further prompts on it; a cache changes no bit of a result."},
    {"model", "The model."},
    {"automatic", "Series that a rule segments without prompts: a grid of points over every slice, and what "
                  "is kept of what they find."},
    {"completeness", "When a series counts as complete."},
    {"delivery", "Sending results: retries and when to give up."},
    {"result", "The DICOM-SEG that is made."},
    {"log", "Events go to standard error, one a line."},
};
const size_t srv_n_sections = sizeof srv_sections / sizeof srv_sections[0];

#define FIELD(name)          offsetof(srv_config, name), sizeof(((srv_config *)NULL)->name)
#define FIELD_OF(type, name) offsetof(type, name), sizeof(((type *)NULL)->name)
#define INT(section, key, field, value, min, max, help)                                                      \
    {                                                                                                        \
        section, key, SRV_SETTING_INT, FIELD(field), value, min, max, NULL, NULL, help                       \
    }
#define BOOL(section, key, field, value, help)                                                               \
    {                                                                                                        \
        section, key, SRV_SETTING_BOOL, FIELD(field), value, 0, 1, NULL, NULL, help                          \
    }
#define TEXT(section, key, field, text, check, help)                                                         \
    {                                                                                                        \
        section, key, SRV_SETTING_TEXT, FIELD(field), 0, 0, 0, text, check, help                             \
    }

/* Every setting, once. Order is that of the printed file. */
/* clang-format off */
const srv_setting srv_settings[] = {
    TEXT("storage", "path", storage_path, "msad-data", check_given, "folder of the database, the stored objects and the job folders; relative to where msad starts"),

    TEXT("dicom", "ae_title", dicom_ae_title, "MSAD", check_ae, "our AE title: called by the PACS, and calling when results are sent"),
    TEXT("dicom", "bind", dicom_bind, "127.0.0.1", check_address, "numeric address to listen on; 0.0.0.0 for all of IPv4. DICOM without TLS is open to whoever reaches it"),
    INT("dicom", "port", dicom_port, 11112, 0, 65535, "port to listen on; 0 picks a free one"),
    BOOL("dicom", "accept_any_called_ae", dicom_accept_any_called_ae, false, "accept associations that call another AE title than ours"),
    INT("dicom", "max_associations", dicom_max_associations, 32, 1, 1024, "associations at the same time; more are refused with \"local limit exceeded\""),
    INT("dicom", "associate_timeout_s", dicom_associate_timeout_s, 10, 1, 300, "seconds until a connection must have asked for an association"),
    INT("dicom", "idle_timeout_s", dicom_idle_timeout_s, 60, 1, 3600, "seconds of silence after which an association is aborted"),
    INT("dicom", "association_max_s", dicom_association_max_s, 3600, 10, 86400, "seconds an association may last in all"),
    INT("dicom", "object_max_mib", dicom_object_max_mib, 4096, 1, 65536, "largest object taken, in MiB"),

    TEXT("http", "bind", http_bind, "127.0.0.1", check_loopback, "numeric loopback address: 127.0.0.1 or ::1"),
    INT("http", "port", http_port, 8090, 0, 65535, "port to listen on; 0 picks a free one"),

    INT("work", "workers", work_workers, 0, 0, 256, "worker processes; 0: half the cores, at least 1"),
    INT("work", "threads", work_threads, 0, 0, 256, "engine threads of a worker; 0: cores divided by workers, at least 1"),
    INT("work", "attempts", work_attempts, 3, 1, 20, "times a job is tried before it has failed"),
    INT("work", "timeout_s", work_timeout_s, 1800, 10, 86400, "seconds a job may take"),
    INT("work", "memory_mib", work_memory_mib, 16384, 512, 1048576, "address space of a worker, in MiB"),
    INT("work", "jobs_per_worker", work_jobs_per_worker, 100, 1, 1000000, "jobs after which a worker process is replaced"),

    INT("cache", "memory_mib", cache_memory_mib, 256, 0, 1048576, "image embeddings that a worker keeps in memory, in MiB; the last one always stays"),
    INT("cache", "disk_mib", cache_disk_mib, 2048, 0, 16777216, "image embeddings that all workers keep in the folder embeddings below storage.path, in MiB; 0: none. They may be deleted at any time, and need no backup"),

    TEXT("model", "path", model_path, "", NULL, "model file (safetensors); empty: the bundled model beside the program"),
    TEXT("model", "adapter", model_adapter, "", NULL, "adapter file (safetensors) that goes on it for every series; empty: chosen by the rules below"),
    TEXT("model", "precision", model_precision, "fp32", check_precision, "fp32, fp16, bf16 or int8: what the image encoder computes with; int8 is the fastest, and masks may differ from those of fp32 at their borders"),
    TEXT("model", "adapters_dir", model_adapters_dir, "", NULL, "folder of adapters (NAME.safetensors, with a card NAME.md beside it): rules call them by NAME; empty: none"),

    INT("automatic", "points_per_side", automatic_points_per_side, 32, 1, 64, "points of the grid along each side of a slice: each is a click, so time grows with its square"),
    INT("automatic", "regions_max", automatic_regions_max, 64, 1, 256, "regions in a result, the largest first"),
    INT("automatic", "area_min_mm2", automatic_area_min_mm2, 50, 0, 1000000, "smaller masks are dropped, smaller holes filled, in square millimetres"),
    INT("automatic", "iou_percent", automatic_iou_percent, 88, 0, 100, "masks of which the model predicts a lower IoU are dropped"),
    INT("automatic", "stability_percent", automatic_stability_percent, 95, 0, 100, "masks that a stricter and a laxer cut change by more than this leaves are dropped"),
    INT("automatic", "link_percent", automatic_link_percent, 50, 0, 100, "IoU from which masks of neighbouring slices are one region"),

    INT("completeness", "settle_ms", completeness_settle_ms, 2000, 0, 600000, "quiet milliseconds after the association has ended, when no slice is missing"),
    INT("completeness", "quiet_ms", completeness_quiet_ms, 30000, 100, 86400000, "quiet milliseconds after the last instance, whatever else is known"),
    INT("completeness", "prompt_settle_ms", completeness_prompt_settle_ms, 1000, 0, 600000, "quiet milliseconds after the last annotation of a series"),

    INT("delivery", "retry_min_s", delivery_retry_min_s, 5, 1, 3600, "seconds before the second try; doubled each time"),
    INT("delivery", "retry_max_s", delivery_retry_max_s, 900, 1, 86400, "longest pause between tries, in seconds"),
    INT("delivery", "give_up_h", delivery_give_up_h, 72, 1, 8760, "hours after which a delivery is given up"),
    INT("delivery", "timeout_s", delivery_timeout_s, 60, 1, 3600, "seconds without an answer after which one try has failed"),

    INT("result", "series_number", result_series_number, 900, 1, 2147483647, "Series Number (0020,0011) of results"),
    TEXT("result", "series_description", result_series_description, "MSAD segmentation", check_lo, "Series Description (0008,103E) of results"),

    TEXT("log", "level", log_level, "info", check_level, "error, warn, info or debug"),
};
const size_t srv_n_settings = sizeof srv_settings / sizeof srv_settings[0];

static const srv_setting destination_fields[] = {
    {"destinations", "name", SRV_SETTING_TEXT, FIELD_OF(dicom_destination, name), 0, 0, 0, NULL, check_name, "short name, unique: letters, digits, dot, hyphen, underscore"},
    {"destinations", "ae_title", SRV_SETTING_TEXT, FIELD_OF(dicom_destination, ae_title), 0, 0, 0, NULL, check_ae, "its AE title"},
    {"destinations", "host", SRV_SETTING_TEXT, FIELD_OF(dicom_destination, host), 0, 0, 0, NULL, check_host, "host name or address"},
    {"destinations", "port", SRV_SETTING_INT, FIELD_OF(dicom_destination, port), 0, 1, 65535, NULL, NULL, "its DICOM port"},
};
static const srv_setting rule_fields[] = {
    {"rules", "modality", SRV_SETTING_TEXT, FIELD_OF(srv_rule, modality), 0, 0, 0, NULL, check_code_string, "of the series: CT, MR, ...; \"*\": any"},
    {"rules", "body_part", SRV_SETTING_TEXT, FIELD_OF(srv_rule, body_part), 0, 0, 0, "*", check_code_string, "Body Part Examined of the series: LIVER, HEAD, ...; \"*\", or left out: any"},
    {"rules", "label", SRV_SETTING_TEXT, FIELD_OF(srv_rule, label), 0, 0, 0, "*", check_label, "of the prompt, letters of either case, or its finding as SCHEME:VALUE; \"*\", or left out: any. No two rules agree in modality, body part and label"},
    {"rules", "adapter", SRV_SETTING_TEXT, FIELD_OF(srv_rule, adapter), 0, 0, 0, NULL, NULL, "NAME of model.adapters_dir, or a file (with a slash, or ending in .safetensors); default-ct, default-mr: those bundled with the bundled model, where there are any; \"\": the model alone"},
    {"rules", "prompts", SRV_SETTING_TEXT, FIELD_OF(srv_rule, prompts), 0, 0, 0, "given", check_prompts, "given, or left out: a series waits for boxes or points; auto: one that nobody annotated is segmented without, as set under automatic"},
};

const srv_list srv_lists[SRV_N_LISTS] = {
    [SRV_LIST_DESTINATIONS] = {
        .name = "destinations", .entry = "a destination", .members = "name, ae_title, host and port",
        .help = "Where results are sent by C-STORE; MSAD_DESTINATIONS=\"NAME=AE@host:port,...\".",
        .example = "# An entry:\n#   - name: \"pacs\"\n#     ae_title: \"PACS\"\n#     host: \"pacs.example\"\n#     port: 104\n",
        .fields = destination_fields, .n_fields = sizeof destination_fields / sizeof *destination_fields, .n_key = 1,
        .count = offsetof(srv_config, n_destinations), .items = offsetof(srv_config, destinations),
        .item_size = sizeof(dicom_destination), .max = SRV_DESTINATIONS_MAX},
    [SRV_LIST_RULES] = {
        .name = "rules", .entry = "a rule", .members = "modality, body_part, label, adapter and prompts",
        .help = "Which adapter goes on the model, by modality, body part and label: the first that fits, else the model alone; model.adapter goes before them. MSAD_RULES=\"MODALITY[/BODY_PART[/LABEL]]=[auto:]ADAPTER,...\".",
        .example = "# An entry:\n#   - modality: \"CT\"\n#     body_part: \"LIVER\"\n#     label: \"tumour\"\n#     adapter: \"liver-tumour\"\n",
        .fields = rule_fields, .n_fields = sizeof rule_fields / sizeof *rule_fields, .n_key = 3,
        .count = offsetof(srv_config, n_rules), .items = offsetof(srv_config, rules),
        .item_size = sizeof(srv_rule), .max = SRV_RULES_MAX},
};

#define BUILT_IN(of, which) {.modality = of, .body_part = "*", .label = "*", .adapter = which, .prompts = "given"}
const srv_rule srv_rules_built_in[] = {BUILT_IN("CT", "default-ct"), BUILT_IN("MR", "default-mr")};
const int32_t srv_n_rules_built_in = sizeof srv_rules_built_in / sizeof *srv_rules_built_in;
/* clang-format on */

const srv_setting *srv_setting_find(const char *section, const char *key)
{
    for (size_t i = 0; i < srv_n_settings; i++)
        if (strcmp(srv_settings[i].section, section) == 0 && strcmp(srv_settings[i].key, key) == 0)
            return &srv_settings[i];
    return NULL;
}

static void keep_nearer(const char *wanted, const char *candidate, size_t *best, char out[64])
{
    const size_t d = srv_text_distance(wanted, candidate);
    if (d >= *best) return;
    *best = d;
    (void)snprintf(out, 64, "%s", candidate);
}

void srv_setting_nearest(const char *section, const char *key, char out[64])
{
    char wanted[128], candidate[64];
    size_t best = SIZE_MAX;
    (void)snprintf(wanted, sizeof wanted, key == NULL ? "%s" : "%s.%s", section, key);
    if (key == NULL) {
        for (size_t i = 0; i < srv_n_sections; i++)
            keep_nearer(wanted, srv_sections[i].name, &best, out);
        for (size_t i = 0; i < SRV_N_LISTS; i++)
            keep_nearer(wanted, srv_lists[i].name, &best, out);
        return;
    }
    for (size_t i = 0; i < srv_n_settings; i++) {
        (void)snprintf(candidate, sizeof candidate, "%s.%s", srv_settings[i].section, srv_settings[i].key);
        keep_nearer(wanted, candidate, &best, out);
    }
}

static void to_upper(char *text)
{
    for (char *c = text; *c != '\0'; c++)
        *c = (char)toupper((unsigned char)*c);
}

void srv_setting_env(const srv_setting *setting, char out[64])
{
    (void)snprintf(out, 64, "MSAD_%s_%s", setting->section, setting->key);
    to_upper(out);
}

void srv_list_env(const srv_list *list, char out[64])
{
    (void)snprintf(out, 64, "MSAD_%s", list->name);
    to_upper(out);
}

static msa_status put_int(const srv_setting *s, void *field, const srv_value *v, msa_error *err)
{
    char *end = NULL;
    const bool digits = v->size > 0 && v->size <= 18 &&
                        strspn(v->text + (v->text[0] == '-'), "0123456789") == v->size - (v->text[0] == '-');
    const long long n = digits ? strtoll(v->text, &end, 10) : 0;
    if (v->quoted || !digits || end == v->text || *end != '\0')
        return msa_fail(err, MSA_E_PARSE, "%s: %s%.40s%s is not a whole number in %d..%d", v->where,
                        v->quoted ? "the text \"" : "", v->text, v->quoted ? "\"" : "", s->min, s->max);
    if (n < s->min || n > s->max)
        return msa_fail(err, MSA_E_PARSE, "%s: %lld is not in %d..%d", v->where, n, s->min, s->max);
    const int32_t value = (int32_t)n;
    memcpy(field, &value, sizeof value);
    return MSA_OK;
}

static msa_status put_bool(void *field, const srv_value *v, msa_error *err)
{
    const bool yes = strcmp(v->text, "true") == 0, no = strcmp(v->text, "false") == 0;
    if (v->quoted || (!yes && !no))
        return msa_fail(err, MSA_E_PARSE, "%s: %s%.40s%s is neither true nor false", v->where,
                        v->quoted ? "the text \"" : "", v->text, v->quoted ? "\"" : "");
    memcpy(field, &yes, sizeof yes);
    return MSA_OK;
}

static msa_status put_text(const srv_setting *s, char *field, const srv_value *v, msa_error *err)
{
    if (!v->quoted && (v->size == 0 || strcmp(v->text, "~") == 0 || strcmp(v->text, "null") == 0))
        return msa_fail(err, MSA_E_PARSE, "%s: has no value; write \"\" for an empty text", v->where);
    if (!srv_text_is_printable(v->text, v->size, NULL))
        return msa_fail(err, MSA_E_PARSE, "%s: holds a control character or is not UTF-8", v->where);
    if (v->size >= s->size)
        return msa_fail(err, MSA_E_PARSE, "%s: is %zu bytes long, at most %zu fit", v->where, v->size,
                        s->size - 1);
    const char *wrong = s->check == NULL ? NULL : s->check(v->text);
    if (wrong != NULL)
        return v->size == 0 ? msa_fail(err, MSA_E_PARSE, "%s: %s", v->where, wrong)
                            : msa_fail(err, MSA_E_PARSE, "%s: %.40s %s", v->where, v->text, wrong);
    memset(field, 0, s->size);
    memcpy(field, v->text, v->size);
    return MSA_OK;
}

msa_status srv_setting_put(const srv_setting *s, void *base, const srv_value *v, msa_error *err)
{
    char *field = (char *)base + s->offset;
    if (strlen(v->text) != v->size) return msa_fail(err, MSA_E_PARSE, "%s: holds a NUL character", v->where);
    if (s->kind == SRV_SETTING_INT) return put_int(s, field, v, err);
    if (s->kind == SRV_SETTING_BOOL) return put_bool(field, v, err);
    return put_text(s, field, v, err);
}

void srv_list_clear(srv_config *config, const srv_list *list)
{
    memset((char *)config + list->count, 0, sizeof(int32_t));
    memset((char *)config + list->items, 0, (size_t)list->max * list->item_size);
}

int32_t srv_list_count(const srv_config *config, const srv_list *list)
{
    int32_t n = 0;
    memcpy(&n, (const char *)config + list->count, sizeof n);
    return n;
}

const void *srv_list_at(const srv_config *config, const srv_list *list, int32_t i)
{
    return (const char *)config + list->items + (size_t)i * list->item_size;
}

static bool same_key(const srv_list *list, const char *a, const char *b)
{
    for (size_t i = 0; i < list->n_key; i++)
        if (strcmp(a + list->fields[i].offset, b + list->fields[i].offset) != 0) return false;
    return true;
}

msa_status srv_list_add(srv_config *config, const srv_list *list, const void *entry, const char *where,
                        msa_error *err)
{
    const int32_t n = srv_list_count(config, list), more = n + 1;
    for (int32_t i = 0; i < n; i++)
        if (same_key(list, srv_list_at(config, list, i), entry))
            return msa_fail(err, MSA_E_PARSE, "%s: the %s %s is there twice%s", where, list->fields[0].key,
                            (const char *)entry + list->fields[0].offset,
                            list->n_key > 1 ? " for the same body part and label" : "");
    if (n == list->max)
        return msa_fail(err, MSA_E_PARSE, "%s: more than %d %s", where, list->max, list->name);
    memcpy((char *)config + list->items + (size_t)n * list->item_size, entry, list->item_size);
    memcpy((char *)config + list->count, &more, sizeof more);
    return MSA_OK;
}
