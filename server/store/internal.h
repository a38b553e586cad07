/* What the catalogue's files share: how a row becomes a struct, and steps that several calls take. Private to
 * store/. */
#ifndef SRV_STORE_INTERNAL_H
#define SRV_STORE_INTERNAL_H

#include "server/store/sqlite.h"

/* ---- rows: the columns to select, in the order the reader takes them from column 0 on ---- */

#define SRV_INSTANCE_COLUMNS                                                                                 \
    "i.id, i.series_id, i.association_id, i.received_ms, i.size_bytes, i.sha256, i.sop_instance_uid,"        \
    " i.sop_class_uid, i.transfer_syntax_uid, i.state, i.superseded, i.index_attempts, i.reason, "           \
    "i.position_mm, i.note, i.kind,"                                                                         \
    " (SELECT count(*) FROM prompt p WHERE p.source_id = i.id AND p.current = 1)"
void srv_instance_read(sqlite3_stmt *q, srv_instance *out);

#define SRV_PROMPT_COLUMNS                                                                                   \
    "p.id, p.series_id, p.created_ms, p.group_id, p.request_sha256, p.kind, p.space, p.frame, p.positive,"   \
    " p.slice, p.region, p.x0, p.y0, p.z0, p.x1, p.y1, p.z1, p.sop_instance_uid, p.series_uid,"              \
    " p.frame_of_reference_uid, p.label, p.tracking_id, p.tracking_uid,"                                     \
    " p.category_value, p.category_scheme, p.category_meaning, p.type_value, p.type_scheme, p.type_meaning," \
    " p.site_value, p.site_scheme, p.site_meaning, p.source_class_uid, p.source_instance_uid,"               \
    " (SELECT sha256 FROM instance i WHERE i.id = p.source_id),"                                             \
    " (SELECT series_uid FROM series s WHERE s.id = p.series_id)"
#define SRV_PROMPT_N_COLUMNS 36
void srv_prompt_read(sqlite3_stmt *q, srv_prompt *out);

#define SRV_SERIES_COLUMNS                                                                                   \
    "s.id, s.first_ms, s.last_ms, s.closed_ms,"                                                              \
    " (SELECT count(*) FROM instance i WHERE i.series_id = s.id AND i.superseded = 0),"                      \
    " (SELECT count(*) FROM prompt p WHERE p.series_id = s.id AND p.current = 1),"                           \
    " s.expected, s.open, s.study_uid, s.series_uid, s.modality, s.body_part, s.closed_by,"                  \
    " (SELECT sum(frames) FROM instance i WHERE i.series_id = s.id AND i.superseded = 0),"                   \
    " s.told, s.found, s.asked_ms, s.study_expected, s.acquisition_expected, s.held, s.force, s.sender"
#define SRV_SERIES_N_COLUMNS 22
void srv_series_read(sqlite3_stmt *q, srv_series *out);

/* FROM job j JOIN series s ON s.id = j.series_id */
#define SRV_JOB_SELECT                                                                                       \
    "SELECT j.id, j.public_id, j.series_id, j.supersedes, j.state, j.attempt, j.max_attempts, j.token,"      \
    " j.lease_until_ms, j.created_ms, j.queued_ms, j.started_ms, j.finished_ms, j.run_at_ms,"                \
    " j.progress_done, j.progress_total, j.untrained, j.reason, j.warnings, j.input_key, j.model_name,"      \
    " j.model_version, j.model_hash, j.preview_sha256,"                                                      \
    " (SELECT count(*) FROM job_prompt b WHERE b.job_id = j.id), s.study_uid, s.series_uid, s.modality,"     \
    " s.body_part, j.rule, j.priority, j.slices_sha256"                                                      \
    " FROM job j JOIN series s ON s.id = j.series_id "
void srv_job_read(sqlite3_stmt *q, srv_job *out);

#define SRV_RESULT_COLUMNS                                                                                   \
    "r.job_id, r.number, r.size_bytes, r.sha256, r.sop_class_uid, r.sop_instance_uid, r.series_uid, r.form"
#define SRV_RESULT_N_COLUMNS 8
void srv_result_read(sqlite3_stmt *q, int column, srv_result *out);

/* FROM delivery d JOIN result r ON r.job_id = d.job_id AND r.number = d.number */
#define SRV_DELIVERY_SELECT                                                                                  \
    "SELECT " SRV_RESULT_COLUMNS ", d.id, d.token, d.run_at_ms, d.created_ms, d.delivered_ms, d.attempt,"    \
    " d.dimse_status, d.state, d.destination, d.comment"                                                     \
    " FROM delivery d JOIN result r ON r.job_id = d.job_id AND r.number = d.number "
void srv_delivery_read(sqlite3_stmt *q, srv_delivery *out);
MSA_NODISCARD msa_status srv_delivery_get(srv_store *s, int64_t id, srv_delivery *out, msa_error *err);
/* A delivery has come to its end: the job does, too, when it was the last one. */
MSA_NODISCARD msa_status srv_delivery_settle_job(srv_store *s, int64_t job_id, int64_t now_ms,
                                                 msa_error *err);

/* Lists go on before an id; 0 begins at the newest. */
static inline int64_t srv_before(int64_t before_id)
{
    return before_id > 0 ? before_id : INT64_MAX;
}

/* ---- steps inside a caller's transaction ---- */

/* An image of the series has come: the series is made or reopened, and a job gathers its inputs. */
MSA_NODISCARD msa_status srv_series_arrive(srv_store *s, const dicom_header *header, int64_t association_id,
                                           int64_t now_ms, int64_t *series_id, msa_error *err);
/* The series as rules look at it, without its images. */
MSA_NODISCARD msa_status srv_series_text_subject(srv_store *s, int64_t series_id, srv_rule_subject *out,
                                                 msa_error *err);
/* What an image's header says of its series: expected counts, orientation, distance of slices. */
MSA_NODISCARD msa_status srv_series_describe(srv_store *s, int64_t series_id, const dicom_header *header,
                                             msa_error *err);
/* The images of a known series changed: it reopens, with an open job. */
MSA_NODISCARD msa_status srv_series_reopen(srv_store *s, int64_t series_id, int64_t now_ms, msa_error *err);
/* The prompts of a series changed: completeness looks at it again, and a job gathers its inputs. */
MSA_NODISCARD msa_status srv_series_prompted(srv_store *s, int64_t series_id, int64_t now_ms, msa_error *err);

/* Inserts the prompts of an indexed annotation and retires those that it replaces: of its older versions, and
 * of other annotations on the same series that have a tracking UID of it and are not newer. */
MSA_NODISCARD msa_status srv_prompts_of_annotation(srv_store *s, int64_t instance_id,
                                                   const dicom_header *header, const dicom_prompt *prompts,
                                                   size_t n, int64_t now_ms, msa_error *err);
/* Links the prompts that waited for this image, its series or its frame of reference. */
MSA_NODISCARD msa_status srv_prompts_link_image(srv_store *s, int64_t series_id, const dicom_header *header,
                                                msa_error *err);

/* Prompts that name a slice of this closed series get the image that it is: a late image below it would shift
 * the numbers. They are left as they are where the images' order says nothing for certain. */
MSA_NODISCARD msa_status srv_prompts_bind_slices(srv_store *s, int64_t series_id, msa_error *err);

/* Cancels what older jobs of the series still have to deliver. */
MSA_NODISCARD msa_status srv_deliveries_supersede(srv_store *s, int64_t series_id, int64_t job_id,
                                                  int64_t now_ms, msa_error *err);
/* What a job that did its work has come to: SUCCEEDED or SUCCEEDED_EMPTY. */
MSA_NODISCARD msa_status srv_job_success(srv_store *s, int64_t job_id, srv_job_state *state, msa_error *err);
/* *yes: a newer job of the series has its result already, so nothing more comes of this one. */
MSA_NODISCARD msa_status srv_job_is_overtaken(srv_store *s, int64_t job_id, bool *yes, msa_error *err);

/* The median step between sorted positions, and *gap: one is over 1.5 times that. Equal positions count once;
 * overwrites. 0: there is no step. */
double srv_positions_step(double *sorted_mm, size_t n, bool *gap);
/* The same of the images of a series that have a position, at most `room`. */
MSA_NODISCARD msa_status srv_series_step(srv_store *s, int64_t series_id, size_t room, double *step_mm,
                                         bool *gap, msa_error *err);

#define SRV_REPLACED "replaced by a newer job of the same series"

#endif
