/* Small words to tell a series' story with: every helper checks that the call succeeded. */
#ifndef TESTS_UNIT_STORE_FIXTURE_H
#define TESTS_UNIT_STORE_FIXTURE_H

/* clang-format off: cmocka wants these four first */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "server/jobs/jobs.h"
#include "server/store/store.h"

#define CT_CLASS "1.2.840.10008.5.1.4.1.1.2"
#define SR_CLASS "1.2.840.10008.5.1.4.1.1.88.33"

typedef struct fixture {
    char dir[64], path[96];
    srv_store *store;
} fixture;

/* cmocka setup and teardown: a fresh store in a folder of its own. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
void fixture_reopen(fixture *f); /* as after a clean stop */

#define assert_ok(call)                                                                                      \
    do {                                                                                                     \
        msa_error err = MSA_ERROR_INIT;                                                                      \
        const msa_status got_ = (call);                                                                      \
        if (got_ != MSA_OK)                                                                                  \
            fail_msg("%s: status %d: %s (%s:%d)", #call, got_, err.what, err.file, err.line);                \
    } while (0)
/* The call fails with this status, and says so in a sentence that holds `words`. */
#define assert_fails(wanted, words, call)                                                                    \
    do {                                                                                                     \
        msa_error err = MSA_ERROR_INIT;                                                                      \
        const msa_status got_ = (call);                                                                      \
        if (got_ != (wanted)) fail_msg("%s: wanted status %d, got %d: %s", #call, (wanted), got_, err.what); \
        if (!strstr(err.what, (words))) fail_msg("%s: \"%s\" lacks \"%s\"", #call, err.what, (words));       \
    } while (0)

extern const srv_job_policy fx_policy; /* settle 2 s, quiet 30 s, prompt settle 1 s, 3 attempts */

/* C-STORE: the row. `bytes` stands for the content: same string, same hash. */
int64_t fx_put(srv_store *s, const char *sop_uid, const char *bytes, int64_t association, int64_t now_ms,
               srv_put *outcome);
dicom_header fx_header(const char *series_uid, const char *sop_uid, double position_mm);
/* C-STORE and index of one image. */
int64_t fx_image(srv_store *s, const char *series_uid, const char *sop_uid, const char *bytes,
                 double position_mm, int64_t association, int64_t now_ms);
/* Images SERIES.1 .. SERIES.n, 5 mm apart, association 0. */
void fx_series(srv_store *s, const char *series_uid, int n, int64_t now_ms);
dicom_prompt fx_box(const char *sop_uid, const char *label);
/* C-STORE and index of one SR. */
int64_t fx_annotation(srv_store *s, const char *sop_uid, const char *bytes, const dicom_prompt *prompts,
                      size_t n, int64_t now_ms);
/* POST of one box on a slice of a series. */
void fx_post(srv_store *s, const char *group_id, const char *series_uid, int slice, const char *label,
             int64_t now_ms);

int32_t fx_tick(srv_store *s, int64_t now_ms);           /* returns how many were queued */
srv_job fx_newest(srv_store *s, const char *series_uid); /* id 0: none */
int fx_count_jobs(srv_store *s, const char *series_uid);
srv_job fx_job(srv_store *s, int64_t id);
srv_job fx_claim(srv_store *s, int64_t now_ms); /* lease 60 s */
/* The job's work is done with one result and these destinations ("" or NULL ends). */
void fx_done(srv_store *s, const srv_job *job, const char *a, const char *b, int64_t now_ms);
int fx_bound_prompts(srv_store *s, int64_t job_id);
int fx_bound_instances(srv_store *s, int64_t job_id);
void fx_delivery_states(srv_store *s, int64_t job_id, char *out, size_t size); /* "pending dead" */

#endif
