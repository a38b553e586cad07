/* A series as rules look at it. */
#include "server/store/internal.h"

#include <math.h>

/* ---- what a header says ---- */

msa_status srv_series_describe(srv_store *s, int64_t series_id, const dicom_header *h, msa_error *err)
{
    const char *orientation = h->has_plane ? srv_orientation_of(h->row_dir, h->col_dir) : "";
    const double slice_mm = isfinite(h->slice_mm) ? h->slice_mm : 0;
    /* Most images say what the former one said: then nothing is written. */
    return SRV_RUN(s, NULL, err,
                   "UPDATE series SET"
                   " expected = CASE WHEN ?2 > 0 THEN ?2 ELSE expected END,"
                   " study_expected = CASE WHEN ?3 > 0 THEN ?3 ELSE study_expected END,"
                   " acquisition_expected = CASE WHEN ?4 > 0 THEN ?4 ELSE acquisition_expected END,"
                   " slice_mm = CASE WHEN slice_mm = 0 THEN ?5 ELSE slice_mm END,"
                   " orientation = CASE WHEN orientation IN ('', ?6) OR ?6 = '' THEN max(orientation, ?6) "
                   "ELSE 'mixed' END"
                   " WHERE id = ?1 AND ((?2 > 0 AND expected <> ?2) OR (?3 > 0 AND study_expected <> ?3)"
                   " OR (?4 > 0 AND acquisition_expected <> ?4) OR (slice_mm = 0 AND ?5 > 0)"
                   " OR (?6 <> '' AND orientation NOT IN ('mixed', ?6)))",
                   srv_i(series_id), srv_i(h->expected_instances), srv_i(h->study_instances),
                   srv_i(h->acquisition_images), srv_d(slice_mm), srv_t(orientation));
}

/* ---- positions ---- */

/* q: sorted positions, at most `room`. */
static msa_status step_of(srv_store *s, sqlite3_stmt *q, size_t room, double *step_mm, bool *gap,
                          msa_error *err)
{
    bool row = false;
    size_t n = 0;
    MSA_AUTO_FREE double *positions = calloc(room + 1, sizeof *positions);
    if (!positions) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    for (;;) {
        MSA_TRY(srv_sql_step(s, q, &row, err));
        if (!row || n >= room) break;
        positions[n++] = sqlite3_column_double(q, 0);
    }
    *step_mm = srv_positions_step(positions, n, gap);
    return MSA_OK;
}

msa_status srv_series_step(srv_store *s, int64_t series_id, size_t room, double *step_mm, bool *gap,
                           msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    MSA_TRY(SRV_OPEN(s, &q, err,
                     "SELECT position_mm FROM instance WHERE series_id = ? AND superseded = 0"
                     " AND position_mm IS NOT NULL ORDER BY position_mm",
                     srv_i(series_id)));
    return step_of(s, q, room, step_mm, gap, err);
}

static msa_status job_step(srv_store *s, int64_t job_id, size_t room, double *step_mm, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool gap = false;
    MSA_TRY(SRV_OPEN(s, &q, err,
                     "SELECT i.position_mm FROM job_instance j JOIN instance i ON i.id = j.instance_id"
                     " WHERE j.job_id = ? AND i.position_mm IS NOT NULL ORDER BY i.position_mm",
                     srv_i(job_id)));
    return step_of(s, q, room, step_mm, &gap, err);
}

/* ---- the subject ---- */

msa_status srv_series_text_subject(srv_store *s, int64_t series_id, srv_rule_subject *out, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool row = false;
    *out = (srv_rule_subject){0};
    MSA_TRY(SRV_OPEN(s, &q, err,
                     "SELECT modality, body_part, study_description, series_description, protocol, sender,"
                     " orientation, slice_mm FROM series WHERE id = ?",
                     srv_i(series_id)));
    MSA_TRY(srv_sql_step(s, q, &row, err));
    if (!row) return msa_fail(err, MSA_E_NOT_FOUND, "there is no such series");
    SRV_TEXT(q, 0, out->modality);
    SRV_TEXT(q, 1, out->body_part);
    SRV_TEXT(q, 2, out->study);
    SRV_TEXT(q, 3, out->series);
    SRV_TEXT(q, 4, out->protocol);
    SRV_TEXT(q, 5, out->sender);
    SRV_TEXT(q, 6, out->orientation);
    out->spacing_mm = sqlite3_column_double(q, 7);
    return MSA_OK;
}

/* Where positions tell the distance, a header's word for it does not count. */
static void put_images(srv_rule_subject *out, int64_t slices, double step_mm)
{
    out->slices = slices < INT32_MAX ? (int32_t)slices : INT32_MAX;
    if (step_mm > 0) out->spacing_mm = step_mm;
}

msa_status srv_store_series_subject(srv_store *s, int64_t series_id, srv_rule_subject *out, msa_error *err)
{
    double step_mm = 0;
    bool gap = false;
    int64_t slices = 0, images = 0;
    MSA_TRY(srv_series_text_subject(s, series_id, out, err));
    MSA_TRY(SRV_VALUE(s, &images, err, "SELECT count(*) FROM instance WHERE series_id = ? AND superseded = 0",
                      srv_i(series_id)));
    MSA_TRY(SRV_VALUE(s, &slices, err,
                      "SELECT sum(frames) FROM instance WHERE series_id = ? AND superseded = 0",
                      srv_i(series_id)));
    MSA_TRY(srv_series_step(s, series_id, (size_t)images, &step_mm, &gap, err));
    put_images(out, slices, step_mm);
    return MSA_OK;
}

msa_status srv_store_job_subject(srv_store *s, int64_t job_id, srv_rule_subject *out, msa_error *err)
{
    double step_mm = 0;
    int64_t series_id = 0, slices = 0, images = 0;
    MSA_TRY(SRV_VALUE(s, &series_id, err, "SELECT series_id FROM job WHERE id = ?", srv_i(job_id)));
    MSA_TRY(SRV_VALUE(s, &images, err, "SELECT count(*) FROM job_instance WHERE job_id = ?", srv_i(job_id)));
    if (images == 0) return srv_store_series_subject(s, series_id, out, err); /* not bound yet */
    MSA_TRY(srv_series_text_subject(s, series_id, out, err));
    MSA_TRY(SRV_VALUE(s, &slices, err,
                      "SELECT sum(i.frames) FROM job_instance j JOIN instance i ON i.id = j.instance_id"
                      " WHERE j.job_id = ?",
                      srv_i(job_id)));
    MSA_TRY(job_step(s, job_id, (size_t)images, &step_mm, err));
    put_images(out, slices, step_mm);
    return MSA_OK;
}
