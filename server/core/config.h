/* Settings: one table (config_table.c) declares each once: name, type, default, range, help, and whether
 * SIGHUP brings a change into force. */
#ifndef SRV_CORE_CONFIG_H
#define SRV_CORE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "dicom/send.h"
#include "engine/base/error.h"
#include "server/core/model_info.h"
#include "server/core/sender.h"

#define SRV_PATH_MAX         1024
#define SRV_DESTINATIONS_MAX 16
#define SRV_SOURCES_MAX      16

/**
 * YAML names are `section.key`; the environment name of `dicom.port` is MSAD_DICOM_PORT.
 * Order of force: built-in default, file, environment.
 */
typedef struct srv_config {
    int32_t retention_finished_days, retention_waiting_days, retention_max_mib;
    int32_t storage_soft_free_mib, storage_hard_free_mib;
    char storage_path[SRV_PATH_MAX]; /* storage.path: database, blobs, job folders; default "msad-data" */

    char dicom_ae_title[DICOM_AE_MAX];          /* MSAD */
    char dicom_bind[64];                        /* 127.0.0.1 */
    int32_t dicom_port;                         /* 11112; 0 picks a free one */
    bool dicom_plain;                           /* true: listens on that port, without TLS */
    char dicom_tls_certificate[DICOM_PATH_MAX]; /* "": no TLS. Also shown to destinations */
    char dicom_tls_key[DICOM_PATH_MAX], dicom_tls_ca[DICOM_PATH_MAX];
    int32_t dicom_tls_port;                     /* 2762; 0 picks a free one */
    bool dicom_tls_anonymous;                   /* false: senders must show a certificate */
    bool dicom_accept_any_called_ae;            /* false */
    int32_t dicom_max_associations;             /* 32 */
    int32_t dicom_max_associations_per_address; /* 0: as many as that */
    int32_t dicom_associate_timeout_s, dicom_idle_timeout_s, dicom_association_max_s; /* 10, 60, 3600 */
    int32_t dicom_object_max_mib;                                                     /* 4096 */

    char http_bind[64]; /* 127.0.0.1; any other address needs access tokens */
    int32_t http_port;  /* 8090; 0 picks a free one */
    char http_tls_certificate[SRV_PATH_MAX], http_tls_key[SRV_PATH_MAX], http_tls_client_ca[SRV_PATH_MAX];
    int32_t http_requests_per_s; /* 10000 of one client; 0: any number */

    int32_t work_workers;         /* 0: cores / 2, at least 1 */
    int32_t work_threads;         /* engine threads a worker; 0: cores / workers, at least 1 */
    int32_t work_attempts;        /* 3 */
    int32_t work_timeout_s;       /* 1800 a job */
    int32_t work_memory_mib;      /* 16384 of address space a worker */
    int32_t work_jobs_per_worker; /* 100, then the process is replaced */

    int32_t cache_memory_mib; /* 256 a worker */
    int32_t cache_disk_mib;   /* 2048 in all; 0: none */

    char model_path[SRV_PATH_MAX];         /* "": the bundled model beside the program */
    char model_adapter[SRV_PATH_MAX];      /* "": rules choose */
    char model_precision[8];               /* engine/precision.h */
    char model_adapters_dir[SRV_PATH_MAX]; /* "": none */
    int32_t n_rules;
    srv_rule rules[SRV_RULES_MAX]; /* the first that fits; CT default-ct, MR default-mr */

    int32_t automatic_points_per_side, automatic_regions_max, automatic_area_min_mm2;   /* 32, 64, 50 */
    int32_t automatic_iou_percent, automatic_stability_percent, automatic_link_percent; /* 88, 95, 50 */

    int32_t completeness_settle_ms;        /* 2000 after association end, positions without gap */
    int32_t completeness_quiet_ms;         /* 30000 after the last instance, whatever else */
    int32_t completeness_prompt_settle_ms; /* 1000 after the last prompt of a series */

    int32_t delivery_retry_min_s, delivery_retry_max_s, delivery_give_up_h,
        delivery_timeout_s; /* 5 900 72 60 */
    int32_t n_destinations;
    dicom_destination destinations[SRV_DESTINATIONS_MAX]; /* name, host, port, ae_title; calling_ae is ours */

    int32_t n_senders;
    srv_sender senders[SRV_SENDERS_MAX]; /* none: who reaches the port may send */

    int32_t n_sources;
    dicom_destination
        sources[SRV_SOURCES_MAX]; /* ae_title, host, port: archives that say how many images there are */

    int32_t result_series_number;       /* 900 */
    char result_series_description[65]; /* "MSAD segmentation" */
    bool result_report;                 /* true */

    bool security_sandbox; /* true */

    char log_level[8]; /* info */
} srv_config;

/**
 * path NULL: defaults and environment only. `destinations` in the file is a list of maps (name, ae_title,
 * host, port); in MSAD_DESTINATIONS it is "NAME=AE@host:port,...", and `sources` in MSAD_SOURCES
 * "AE@host:port,...". `rules` is one of srv_rule's fields, all of which may be left out; in MSAD_RULES
 * "MODALITY[/BODY_PART[/LABEL]]=[POLICY:]ADAPTER,...". Errors: MSA_E_NOT_FOUND, MSA_E_PARSE: an unknown key
 * names its line and the nearest known one; a value out of range names the range. Never half filled: *out is
 * all or defaults.
 */
MSA_NODISCARD msa_status srv_config_load(srv_config *out, const char *path, msa_error *err);
/* Puts numbers in place of those that are left to us (0: as many as there are cores). */
void srv_config_settle(srv_config *config);
/* The files that they name can be used: keys and certificates. Errors: as dicom_tls_open(). */
MSA_NODISCARD msa_status srv_config_check_files(const srv_config *config, msa_error *err);
/* Of our side of DICOM over TLS, for the listener; .on: there is one. */
dicom_tls srv_config_tls(const srv_config *config);
/* The rules where no configuration says otherwise, as `msa` has none. */
extern const srv_rule srv_rules_built_in[];
extern const int32_t srv_n_rules_built_in;
/* The settings in force as a YAML file with the help texts as comments; it loads again to the same values. */
void srv_config_print(const srv_config *config, FILE *to);

#endif
