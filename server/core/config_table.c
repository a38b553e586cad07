#include "server/core/config_table.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "dicom/seg.h"
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
    if (text[0] == '\0') return "is empty; give it a short name";
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

static const char *check_format(const char *text)
{
    dicom_seg_form form;
    return dicom_seg_form_parse(&form, text, "", "", false)
               ? NULL
               : "is not a format: binary, fractional or labelmap";
}

static const char *check_profile(const char *text)
{
    dicom_seg_form form;
    return dicom_seg_form_parse(&form, "", text, "", false)
               ? NULL
               : "is not a profile: strict, ohif, slicer or weasis";
}

static const char *check_compression(const char *text)
{
    dicom_seg_form form; /* of a format that takes them all */
    return dicom_seg_form_parse(&form, "labelmap", "", text, false)
               ? NULL
               : "is not a compression: none, rle or deflate";
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

static const char *check_any(const char *text)
{
    return text[0] == '\0' ? "is empty; write \"*\" for any" : NULL;
}

static const char *check_orientation(const char *text)
{
    static const char *const known[] = {"*", "axial", "sagittal", "coronal", "oblique"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(text, known[i]) == 0) return NULL;
    return "is not an orientation: axial, sagittal, coronal, oblique, or \"*\" for any";
}

static const char *check_prompts(const char *text)
{
    srv_policy policy;
    return srv_policy_named(text, &policy) ? NULL : "is not one of wait, auto, default-box and skip";
}

static const char *check_regions(const char *text)
{
    return strcmp(text, "box") == 0 || strcmp(text, "mask") == 0 ? NULL : "is neither box nor mask";
}

static const char *check_contours(const char *text)
{
    return strcmp(text, "none") == 0 || strcmp(text, "rtstruct") == 0 ? NULL : "is neither none nor rtstruct";
}

static const char *check_pictures(const char *text)
{
    return strcmp(text, "none") == 0 || strcmp(text, "capture") == 0 ? NULL : "is neither none nor capture";
}

static const char *check_rule_name(const char *text)
{
    return text[0] == '\0' ? NULL : check_name(text);
}

static const char *check_host_or_none(const char *text)
{
    return text[0] == '\0' ? NULL : check_host(text);
}

static const char *check_tls_name(const char *text)
{
    return strcmp(text, "*") == 0 ? NULL : check_host_or_none(text);
}

static const char *check_list_of_names(const char *text)
{
    return text[0] == '\0' ? "is empty; write names with commas between, \"none\", or \"*\" for all" : NULL;
}

const srv_section srv_sections[] = {
    {"storage", "Where everything that must survive a restart is kept."},
    {"dicom", "The DICOM node: who we are and whom we listen to."},
    {"http", "REST and metrics."},
    {"work", "Worker processes: they run the model."},
    {"cache",
     "What the model makes of a slice, kept for further prompts on it; a cache changes no bit of a result."},
    {"model", "The model."},
    {"automatic", "Series that a rule segments without prompts: a grid of points over every slice, and what "
                  "is kept of what they find."},
    {"completeness", "When a series counts as complete."},
    {"retention", "How long what is done is kept."},
    {"delivery", "Sending results: retries and when to give up."},
    {"result", "The DICOM-SEG that is made."},
    {"security", "What keeps a hostile file or peer from the rest of the machine."},
    {"log", "Events go to standard error, one a line."},
};
const size_t srv_n_sections = sizeof srv_sections / sizeof srv_sections[0];

#define FIELD(name)          offsetof(srv_config, name), sizeof(((srv_config *)NULL)->name)
#define FIELD_OF(type, name) offsetof(type, name), sizeof(((type *)NULL)->name)
/* Whether a SIGHUP brings a change into force: then it is read from core->config each time that it is needed.
 */
enum { RESTART = false, RELOAD = true };
#define INT(when, section, key, field, value, min, max, help)                                                \
    {                                                                                                        \
        section, key, SRV_SETTING_INT, FIELD(field), value, min, max, NULL, NULL, help, when                 \
    }
#define BOOL(when, section, key, field, value, help)                                                         \
    {                                                                                                        \
        section, key, SRV_SETTING_BOOL, FIELD(field), value, 0, 1, NULL, NULL, help, when                    \
    }
#define TEXT(when, section, key, field, text, check, help)                                                   \
    {                                                                                                        \
        section, key, SRV_SETTING_TEXT, FIELD(field), 0, 0, 0, text, check, help, when                       \
    }

/* Every setting, once. Order is that of the printed file. */
/* clang-format off */
const srv_setting srv_settings[] = {
    TEXT(RESTART, "storage", "path", storage_path, "msad-data", check_given, "folder of the database, the stored objects and the job folders; relative to where msad starts"),
    INT(RELOAD, "storage", "soft_free_mib", storage_soft_free_mib, 4096, 0, 16777216, "when less is free on the volume of storage.path, in MiB, a quarter of dicom.max_associations are taken; never more than a tenth of the volume; 0: never"),
    INT(RELOAD, "storage", "hard_free_mib", storage_hard_free_mib, 1024, 0, 16777216, "when less is free, nothing more is received until there is room again: the rest is for the database and for results; never more than a twentieth of the volume; 0: never"),

    INT(RELOAD, "retention", "finished_days", retention_finished_days, 0, 0, 36500, "days after its last job ended until a series is forgotten, with its images, annotations and results; not while a result has not reached its destination; 0: never"),
    INT(RELOAD, "retention", "waiting_days", retention_waiting_days, 0, 0, 36500, "days after its last image until a series that nobody has annotated is forgotten; 0: never"),
    INT(RELOAD, "retention", "max_mib", retention_max_mib, 0, 0, 2147483647, "MiB of images, annotations and results to keep: above it, finished series are forgotten, the oldest first; 0: no limit"),

    TEXT(RELOAD, "dicom", "ae_title", dicom_ae_title, "MSAD", check_ae, "our AE title: called by the PACS, and calling when results are sent"),
    TEXT(RELOAD, "dicom", "bind", dicom_bind, "127.0.0.1", check_address, "numeric address to listen on; 0.0.0.0 for all of IPv4. DICOM without TLS is open to whoever reaches it"),
    INT(RELOAD, "dicom", "port", dicom_port, 11112, 0, 65535, "port to listen on; 0 picks a free one"),
    BOOL(RELOAD, "dicom", "plain", dicom_plain, true, "listen on that port, without TLS; false where every sender uses TLS"),
    TEXT(RELOAD, "dicom", "tls_certificate", dicom_tls_certificate, "", NULL, "our certificate for DICOM over TLS (PEM, with the chain), for the listener on tls_port and towards destinations; empty: no TLS"),
    TEXT(RELOAD, "dicom", "tls_key", dicom_tls_key, "", NULL, "its key (PEM, without a password, mode 0600)"),
    TEXT(RELOAD, "dicom", "tls_ca", dicom_tls_ca, "", NULL, "certificates that vouch for those of our peers, or these themselves (PEM)"),
    INT(RELOAD, "dicom", "tls_port", dicom_tls_port, 2762, 0, 65535, "port to listen on for DICOM over TLS, where tls_certificate is set; 0 picks a free one"),
    BOOL(RELOAD, "dicom", "tls_anonymous", dicom_tls_anonymous, false, "let senders without a certificate use TLS as well; one that shows a wrong one never may"),
    BOOL(RELOAD, "dicom", "accept_any_called_ae", dicom_accept_any_called_ae, false, "accept associations that call another AE title than ours"),
    INT(RELOAD, "dicom", "max_associations", dicom_max_associations, 32, 1, 1024, "associations at the same time; more are refused with \"local limit exceeded\""),
    INT(RELOAD, "dicom", "max_associations_per_address", dicom_max_associations_per_address, 0, 0, 1024, "of these, from one address; 0: all of them. A sender's own limit is max_associations under senders"),
    INT(RELOAD, "dicom", "associate_timeout_s", dicom_associate_timeout_s, 10, 1, 300, "seconds until a connection must have asked for an association"),
    INT(RELOAD, "dicom", "idle_timeout_s", dicom_idle_timeout_s, 60, 1, 3600, "seconds of silence after which an association is aborted"),
    INT(RELOAD, "dicom", "association_max_s", dicom_association_max_s, 3600, 10, 86400, "seconds an association may last in all"),
    INT(RELOAD, "dicom", "object_max_mib", dicom_object_max_mib, 4096, 1, 65536, "largest object taken, in MiB"),

    TEXT(RESTART, "http", "bind", http_bind, "127.0.0.1", check_address, "numeric address to listen on: 127.0.0.1 or ::1 for this machine only; any other only with access tokens (msad token create), or with http.tls_client_ca"),
    INT(RESTART, "http", "port", http_port, 8090, 0, 65535, "port to listen on; 0 picks a free one"),
    TEXT(RESTART, "http", "tls_certificate", http_tls_certificate, "", NULL, "PEM file of our certificate, with those that it depends on: REST is HTTPS (TLS 1.2 or 1.3); empty: plain HTTP. Read at start"),
    TEXT(RESTART, "http", "tls_key", http_tls_key, "", NULL, "PEM file of its key, which nobody but its owner may read"),
    TEXT(RESTART, "http", "tls_client_ca", http_tls_client_ca, "", NULL, "PEM file of certificates that vouch for clients: every request but /healthz and the files of the dashboard needs a client certificate, and a token where there are any; empty: none is asked for"),
    INT(RESTART, "http", "requests_per_s", http_requests_per_s, 10000, 0, 1000000, "requests a second from one client, by token and address; more are answered 429; 0: any number"),

    INT(RESTART, "work", "workers", work_workers, 0, 0, 256, "worker processes; 0: half the cores, at least 1"),
    INT(RESTART, "work", "threads", work_threads, 0, 0, 256, "engine threads of a worker; 0: cores divided by workers, at least 1"),
    INT(RELOAD, "work", "attempts", work_attempts, 3, 1, 20, "times a job is tried before it has failed"),
    INT(RELOAD, "work", "timeout_s", work_timeout_s, 1800, 10, 86400, "seconds a job may take"),
    INT(RESTART, "work", "memory_mib", work_memory_mib, 16384, 512, 1048576, "address space of a worker, in MiB"),
    INT(RELOAD, "work", "jobs_per_worker", work_jobs_per_worker, 100, 1, 1000000, "jobs after which a worker process is replaced"),

    INT(RESTART, "cache", "memory_mib", cache_memory_mib, 256, 0, 1048576, "image embeddings that a worker keeps in memory, in MiB; the last one always stays"),
    INT(RESTART, "cache", "disk_mib", cache_disk_mib, 2048, 0, 16777216, "image embeddings that all workers keep in the folder embeddings below storage.path, in MiB; 0: none. They may be deleted at any time, and need no backup"),

    TEXT(RESTART, "model", "path", model_path, "", NULL, "model file (safetensors); empty: the bundled model beside the program"),
    TEXT(RESTART, "model", "adapter", model_adapter, "", NULL, "adapter file (safetensors) that goes on it for every series; empty: chosen by the rules below"),
    TEXT(RESTART, "model", "precision", model_precision, "fp32", check_precision, "fp32, fp16, bf16 or int8: what the image encoder computes with; int8 is the fastest, and masks may differ from those of fp32 at their borders"),
    TEXT(RESTART, "model", "adapters_dir", model_adapters_dir, "", NULL, "folder of adapters (NAME.safetensors, with a card NAME.md beside it): rules call them by NAME; empty: none"),

    INT(RESTART, "automatic", "points_per_side", automatic_points_per_side, 32, 1, 64, "points of the grid along each side of a slice: each is a click, so time grows with its square"),
    INT(RESTART, "automatic", "regions_max", automatic_regions_max, 64, 1, 256, "regions in a result, the largest first"),
    INT(RESTART, "automatic", "area_min_mm2", automatic_area_min_mm2, 50, 0, 1000000, "smaller masks are dropped, smaller holes filled, in square millimetres"),
    INT(RESTART, "automatic", "iou_percent", automatic_iou_percent, 88, 0, 100, "masks of which the model predicts a lower IoU are dropped"),
    INT(RESTART, "automatic", "stability_percent", automatic_stability_percent, 95, 0, 100, "masks that a stricter and a laxer cut change by more than this leaves are dropped"),
    INT(RESTART, "automatic", "link_percent", automatic_link_percent, 50, 0, 100, "IoU from which masks of neighbouring slices are one region"),

    INT(RELOAD, "completeness", "settle_ms", completeness_settle_ms, 2000, 0, 600000, "quiet milliseconds after the association has ended, when no slice is missing"),
    INT(RELOAD, "completeness", "quiet_ms", completeness_quiet_ms, 30000, 100, 86400000, "quiet milliseconds after the last instance, whatever else is known"),
    INT(RELOAD, "completeness", "prompt_settle_ms", completeness_prompt_settle_ms, 1000, 0, 600000, "quiet milliseconds after the last annotation of a series"),

    INT(RELOAD, "delivery", "retry_min_s", delivery_retry_min_s, 5, 1, 3600, "seconds before the second try; doubled each time"),
    INT(RELOAD, "delivery", "retry_max_s", delivery_retry_max_s, 900, 1, 86400, "longest pause between tries, in seconds"),
    INT(RELOAD, "delivery", "give_up_h", delivery_give_up_h, 72, 1, 8760, "hours after which a delivery is given up"),
    INT(RELOAD, "delivery", "timeout_s", delivery_timeout_s, 60, 1, 3600, "seconds without an answer after which one try has failed"),

    INT(RESTART, "result", "series_number", result_series_number, 900, 1, 2147483647, "Series Number (0020,0011) of results"),
    TEXT(RESTART, "result", "series_description", result_series_description, "MSAD segmentation", check_lo, "Series Description (0008,103E) of results"),
    BOOL(RESTART, "result", "report", result_report, true, "send a structured report (TID 1500) of the measurements beside the segmentation, and of what was not found"),

    BOOL(RESTART, "security", "sandbox", security_sandbox, true, "every process that touches foreign bytes is held in a sandbox; false only to debug: then a hostile file can do whatever the service may"),

    TEXT(RELOAD, "log", "level", log_level, "info", check_level, "error, warn, info or debug"),
};
const size_t srv_n_settings = sizeof srv_settings / sizeof srv_settings[0];

/* Of a peer that we call. */
#define TLS_FIELDS(section)                                                                                                                                                                                                   \
    {section, "tls", SRV_SETTING_BOOL, FIELD_OF(dicom_destination, tls.on), 0, 0, 1, NULL, NULL, "true: over TLS, with dicom.tls_certificate as ours (default false)", false},                                                     \
    {section, "tls_ca", SRV_SETTING_TEXT, FIELD_OF(dicom_destination, tls.ca), 0, 0, 0, "", NULL, "certificates that vouch for its, or its own (PEM); empty: dicom.tls_ca", false},                                                  \
    {section, "tls_name", SRV_SETTING_TEXT, FIELD_OF(dicom_destination, tls.name), 0, 0, 0, "", check_tls_name, "the name that its certificate must be for; empty: host; \"*\": any that tls_ca vouches for", false}

static const srv_setting destination_fields[] = {
    {"destinations", "name", SRV_SETTING_TEXT, FIELD_OF(dicom_destination, name), 0, 0, 0, NULL, check_name, "short name, unique: letters, digits, dot, hyphen, underscore", false},
    {"destinations", "ae_title", SRV_SETTING_TEXT, FIELD_OF(dicom_destination, ae_title), 0, 0, 0, NULL, check_ae, "its AE title", false},
    {"destinations", "host", SRV_SETTING_TEXT, FIELD_OF(dicom_destination, host), 0, 0, 0, NULL, check_host, "host name or address", false},
    {"destinations", "port", SRV_SETTING_INT, FIELD_OF(dicom_destination, port), 0, 1, 65535, NULL, NULL, "its DICOM port", false},
    {"destinations", "format", SRV_SETTING_TEXT, FIELD_OF(dicom_destination, format), 0, 0, 0, "binary", check_format, "of the segmentations that it gets: binary, which every reader takes; fractional, probabilities in a byte each; labelmap, one frame a slice, for new archives and viewers", false},
    {"destinations", "profile", SRV_SETTING_TEXT, FIELD_OF(dicom_destination, profile), 0, 0, 0, "strict", check_profile, "the viewer behind it: strict, ohif, slicer or weasis; docs/seg.md says what each changes", false},
    {"destinations", "compression", SRV_SETTING_TEXT, FIELD_OF(dicom_destination, compression), 0, 0, 0, "none", check_compression, "none, deflate or rle (not of binary), where it takes that transfer syntax; else it is sent plain", false},
    {"destinations", "empty_frames", SRV_SETTING_BOOL, FIELD_OF(dicom_destination, empty_frames), 0, 0, 1, NULL, NULL, "true: a frame for every slice, also where nothing is, for viewers that count frames (default false)", false},
    TLS_FIELDS("destinations"),
};
static const srv_setting source_fields[] = {
    {"sources", "ae_title", SRV_SETTING_TEXT, FIELD_OF(dicom_destination, ae_title), 0, 0, 0, NULL, check_ae, "its AE title, as it calls us when it sends", false},
    {"sources", "host", SRV_SETTING_TEXT, FIELD_OF(dicom_destination, host), 0, 0, 0, NULL, check_host, "host name or address", false},
    {"sources", "port", SRV_SETTING_INT, FIELD_OF(dicom_destination, port), 0, 1, 65535, NULL, NULL, "its DICOM port", false},
    TLS_FIELDS("sources"),
};
#define SENDER_TEXT(key, field, text, check, help)                                                           \
    {                                                                                                        \
        "senders", key, SRV_SETTING_TEXT, FIELD_OF(srv_sender, field), 0, 0, 0, text, check, help, false     \
    }
static const srv_setting sender_fields[] = {
    SENDER_TEXT("name", name, NULL, check_name, "short name, unique: letters, digits, dot, hyphen, underscore"),
    SENDER_TEXT("ae_title", ae_title, NULL, check_ae, "its AE title; \"*\": any"),
    SENDER_TEXT("addresses", addresses, "*", srv_sender_addresses_wrong, "where it calls from: addresses and ranges, as \"10.1.0.0/16, 10.2.3.4\"; \"*\": anywhere"),
    SENDER_TEXT("certificate", certificate, "", srv_sender_certificate_wrong, "the one it must show (then TLS is a must): its SHA-256 fingerprint, \"subject:CN=...\", or \"*\" for any that dicom.tls_ca vouches for; empty: not looked at"),
    {"senders", "max_associations", SRV_SETTING_INT, FIELD_OF(srv_sender, max_associations), 0, 0, 1024, NULL, NULL, "at once, and so objects on their way at once; 0: no limit of its own", false},
    {"senders", "object_max_mib", SRV_SETTING_INT, FIELD_OF(srv_sender, object_max_mib), 0, 0, 65536, NULL, NULL, "largest object taken from it, in MiB; 0: dicom.object_max_mib", false},
};
#define RULE_TEXT(key, field, text, check, help)                                                             \
    {                                                                                                        \
        "rules", key, SRV_SETTING_TEXT, FIELD_OF(srv_rule, field), 0, 0, 0, text, check, help, false         \
    }
#define RULE_INT(key, field, value, min, max, help)                                                          \
    {                                                                                                        \
        "rules", key, SRV_SETTING_INT, FIELD_OF(srv_rule, field), value, min, max, NULL, NULL, help, false   \
    }
static const srv_setting rule_fields[] = {
    RULE_TEXT("modality", modality, "*", check_code_string, "for series of this one: CT, MR, ..."),
    RULE_TEXT("body_part", body_part, "*", check_code_string, "for this Body Part Examined: LIVER, HEAD, ..."),
    RULE_TEXT("label", label, "*", check_label, "for prompts of this label, letters of either case, or of this finding as SCHEME:VALUE. Such a rule chooses adapter, names and regions of those prompts; what concerns the whole series comes from the first rule that fits it and is for no label"),
    RULE_TEXT("study", study, "*", check_any, "for a Study Description like this: a glob, letters of either case, as \"*abdomen*\""),
    RULE_TEXT("series", series, "*", check_any, "the same of the Series Description"),
    RULE_TEXT("protocol", protocol, "*", check_any, "the same of the Protocol Name"),
    RULE_TEXT("sender", sender, "*", check_any, "the same of the AE title that sent the series"),
    RULE_TEXT("orientation", orientation, "*", check_orientation, "for slices that are axial, sagittal, coronal (up to 30 degrees off) or oblique; images that differ are none of these"),
    RULE_INT("slices_min", slices_min, 0, 0, 1000000, "for series of so many slices or more"),
    RULE_INT("slices_max", slices_max, 0, 0, 1000000, "for series of so many slices or fewer; 0: any"),
    {"rules", "spacing_max_mm", SRV_SETTING_NUMBER, FIELD_OF(srv_rule, spacing_max_mm), 0, 0, 1000, NULL, NULL, "for slices so far apart or less, in millimetres; 0: any", false},
    RULE_TEXT("name", name, "", check_rule_name, "short name, unique, that jobs and answers show: letters, digits, dot, hyphen, underscore; without one, its number serves"),
    RULE_TEXT("adapter", adapter, "", NULL, "goes on the model: NAME of model.adapters_dir, or a file (with a slash, or ending in .safetensors); default-ct, default-mr: those bundled with the bundled model, where there are any; left out: the model alone"),
    RULE_TEXT("prompts", prompts, "wait", check_prompts, "what becomes of a series that nobody annotated. wait: it waits for boxes or points; auto: it is segmented without, as set under automatic; default-box: a box in its middle is the prompt; skip: nothing, until somebody does"),
    RULE_INT("box_percent", box_percent, 50, 5, 100, "of default-box: its sides, as a part of those of the body on the middle slice"),
    RULE_TEXT("regions", regions, "box", check_regions, "how areas that structure sets and segmentations draw become prompts: box, around them; mask, as they are"),
    RULE_TEXT("default_label", default_label, "", NULL, "what objects that nobody named are called"),
    RULE_TEXT("labels", labels, "", srv_rule_labels_wrong, "codes of labels that come without one, as \"tumour=SCT:108369006:Neoplasm; liver=SCT:10200004\"; others are looked up by their name"),
    RULE_INT("settle_ms", settle_ms, 0, 0, 600000, "in place of completeness.settle_ms; 0: as there"),
    RULE_INT("quiet_ms", quiet_ms, 0, 0, 86400000, "in place of completeness.quiet_ms; 0: as there"),
    RULE_TEXT("contours", contours, "none", check_contours, "rtstruct: results go out as the contours of an RT Structure Set as well, for systems that plan radiotherapy"),
    RULE_TEXT("pictures", pictures, "none", check_pictures, "capture: key slices with what was found drawn into them go out as Secondary Capture images as well, for viewers that show no segmentations"),
    RULE_TEXT("destinations", destinations, "*", check_list_of_names, "names of those that results go to, with commas between; none"),
};

const srv_list srv_lists[SRV_N_LISTS] = {
    [SRV_LIST_DESTINATIONS] = {
        .name = "destinations", .entry = "a destination", .live = true, .members = "name, ae_title, host and port, and perhaps format, profile, compression, empty_frames, tls, tls_ca and tls_name", .twice = "two are called the same",
        .help = "Where results are sent by C-STORE; MSAD_DESTINATIONS=\"NAME=AE@host:port,...\".",
        .example = "# An entry:\n#   - name: \"pacs\"\n#     ae_title: \"PACS\"\n#     host: \"pacs.example\"\n#     port: 104\n",
        .fields = destination_fields, .n_fields = sizeof destination_fields / sizeof *destination_fields, .n_key = 1, .n_shown = 4,
        .count = offsetof(srv_config, n_destinations), .items = offsetof(srv_config, destinations),
        .item_size = sizeof(dicom_destination), .max = SRV_DESTINATIONS_MAX},
    [SRV_LIST_RULES] = {
        .name = "rules", .entry = "a rule",
        .members = "name, modality, body_part, label, study, series, protocol, sender, orientation, slices_min, slices_max, spacing_max_mm, adapter, prompts and more (see --print-config)",
        .twice = "two rules are for exactly the same series and labels, so that one is for none",
        .help = "What is done with a series and its prompts: the first rule that fits, else the model alone, and series wait for prompts. What a rule does not name may be anything. model.adapter goes before the adapters here. MSAD_RULES=\"MODALITY[/BODY_PART[/LABEL]]=[wait:|auto:|default-box:|skip:]ADAPTER,...\".",
        .example = "# Entries:\n#   - name: \"scouts\"\n#     series: \"*localizer*\"\n#     prompts: \"skip\"\n#   - name: \"liver-tumours\"\n#     modality: \"CT\"\n#     body_part: \"LIVER\"\n#     label: \"tumour\"\n#     adapter: \"liver-tumour\"\n",
        .fields = rule_fields, .n_fields = sizeof rule_fields / sizeof *rule_fields, .n_key = 11, .n_shown = 1,
        .count = offsetof(srv_config, n_rules), .items = offsetof(srv_config, rules),
        .item_size = sizeof(srv_rule), .max = SRV_RULES_MAX},
    [SRV_LIST_SOURCES] = {
        .name = "sources", .entry = "a source", .live = true, .members = "ae_title, host and port, and perhaps tls, tls_ca and tls_name", .twice = "two are called the same",
        .help = "Archives that send us series and can be asked by C-FIND how many images these have: then a series is complete when all are here, and not before, unless completeness.quiet_ms are over. MSAD_SOURCES=\"AE@host:port,...\".",
        .example = "# An entry:\n#   - ae_title: \"PACS\"\n#     host: \"pacs.example\"\n#     port: 104\n",
        .fields = source_fields, .n_fields = sizeof source_fields / sizeof *source_fields, .n_key = 1, .n_shown = 3,
        .count = offsetof(srv_config, n_sources), .items = offsetof(srv_config, sources),
        .item_size = sizeof(dicom_destination), .max = SRV_SOURCES_MAX},
    [SRV_LIST_SENDERS] = {
        .name = "senders", .entry = "a sender", .live = true, .members = "name, ae_title, addresses, certificate, max_associations and object_max_mib", .twice = "two are called the same",
        .help = "Who may send to us: an association must fit an entry in AE title, address and certificate. Without entries everyone who reaches the port may. MSAD_SENDERS=\"NAME=AE@ADDRESS,...\".",
        .example = "# Entries:\n#   - name: \"ct1\"\n#     ae_title: \"CT1\"\n#     addresses: \"10.1.2.3\"\n#   - name: \"pacs\"\n#     ae_title: \"PACS\"\n#     addresses: \"10.1.0.0/16\"\n#     certificate: \"subject:CN=pacs.example\"\n#     max_associations: 8\n",
        .fields = sender_fields, .n_fields = sizeof sender_fields / sizeof *sender_fields, .n_key = 1, .n_shown = 3,
        .count = offsetof(srv_config, n_senders), .items = offsetof(srv_config, senders),
        .item_size = sizeof(srv_sender), .max = SRV_SENDERS_MAX},
};

#define BUILT_IN(at, of, which)                                                                              \
    {                                                                                                        \
        .modality = of, .body_part = "*", .label = "*", .study = "*", .series = "*", .protocol = "*",        \
        .sender = "*", .orientation = "*", .adapter = which, .prompts = "wait", .box_percent = 50,           \
        .regions = "box", .contours = "none", .pictures = "none", .destinations = "*", .number = at           \
    }
const srv_rule srv_rules_built_in[] = {BUILT_IN(1, "CT", "default-ct"), BUILT_IN(2, "MR", "default-mr")};
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

/* Digits with at most one dot: no sign, no exponent, no locale. */
static msa_status put_number(const srv_setting *s, void *field, const srv_value *v, msa_error *err)
{
    const size_t whole = strspn(v->text, "0123456789");
    const char *dot = v->text + whole;
    const size_t part = *dot == '.' ? strspn(dot + 1, "0123456789") : 0;
    const bool digits = whole + part > 0 && dot[*dot == '.' ? part + 1 : 0] == '\0' && v->size <= 18;
    double value = 0, place = 1;
    if (v->quoted || !digits)
        return msa_fail(err, MSA_E_PARSE, "%s: %s%.40s%s is not a number in 0..%d", v->where,
                        v->quoted ? "the text \"" : "", v->text, v->quoted ? "\"" : "", s->max);
    for (const char *c = v->text; *c != '\0'; c++) {
        if (*c == '.') continue;
        value = 10 * value + (*c - '0');
        place *= c > dot ? 10 : 1;
    }
    value /= place;
    if (value > s->max)
        return msa_fail(err, MSA_E_PARSE, "%s: %.40s is not in 0..%d", v->where, v->text, s->max);
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
    if (s->kind == SRV_SETTING_NUMBER) return put_number(s, field, v, err);
    return put_text(s, field, v, err);
}

void srv_setting_put_default(const srv_setting *s, void *base)
{
    char *field = (char *)base + s->offset;
    const bool yes = s->value != 0;
    memset(field, 0, s->size);
    if (s->kind == SRV_SETTING_INT) memcpy(field, &s->value, sizeof s->value);
    if (s->kind == SRV_SETTING_BOOL) memcpy(field, &yes, sizeof yes);
    if (s->kind == SRV_SETTING_TEXT && s->text != NULL) (void)snprintf(field, s->size, "%s", s->text);
}

bool srv_setting_is_required(const srv_setting *s)
{
    return s->kind == SRV_SETTING_TEXT ? s->text == NULL : s->kind == SRV_SETTING_INT && s->value < s->min;
}

bool srv_setting_is_default(const srv_setting *s, const void *base)
{
    int32_t number = 0;
    bool yes = false;
    double real = 0;
    const char *field = (const char *)base + s->offset;
    switch (s->kind) {
    case SRV_SETTING_INT:
        memcpy(&number, field, sizeof number);
        return number == s->value;
    case SRV_SETTING_BOOL:
        memcpy(&yes, field, sizeof yes);
        return yes == (s->value != 0);
    case SRV_SETTING_NUMBER:
        memcpy(&real, field, sizeof real);
        return !(real > 0);
    case SRV_SETTING_TEXT:
        return s->text != NULL && strcmp(field, s->text) == 0;
    }
    return false;
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

/* Fields hold nothing behind the end of a text, so bytes tell. */
static bool same_key(const srv_list *list, const char *a, const char *b)
{
    for (size_t i = 0; i < list->n_key; i++) {
        const srv_setting *field = &list->fields[i];
        if (memcmp(a + field->offset, b + field->offset, field->size) != 0) return false;
    }
    return true;
}

msa_status srv_list_add(srv_config *config, const srv_list *list, const void *entry, const char *where,
                        msa_error *err)
{
    const int32_t n = srv_list_count(config, list), more = n + 1;
    for (int32_t i = 0; i < n; i++)
        if (same_key(list, srv_list_at(config, list, i), entry))
            return msa_fail(err, MSA_E_PARSE, "%s: %s (%s %s)", where, list->twice, list->fields[0].key,
                            (const char *)entry + list->fields[0].offset);
    if (n == list->max)
        return msa_fail(err, MSA_E_PARSE, "%s: more than %d %s", where, list->max, list->name);
    memcpy((char *)config + list->items + (size_t)n * list->item_size, entry, list->item_size);
    memcpy((char *)config + list->count, &more, sizeof more);
    return MSA_OK;
}
