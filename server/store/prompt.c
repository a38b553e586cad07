/* Prompts: what an annotation or a POST says, on which series it lies, and what replaces it. */
#include "server/store/internal.h"

#include <math.h>

static void read_code(sqlite3_stmt *q, int column, dicom_code *code)
{
    SRV_TEXT(q, column, code->value);
    SRV_TEXT(q, column + 1, code->scheme);
    SRV_TEXT(q, column + 2, code->meaning);
}

void srv_prompt_read(sqlite3_stmt *q, srv_prompt *out)
{
    dicom_prompt *p = &out->prompt;
    double *const numbers[] = {&p->x0, &p->y0, &p->z0, &p->x1, &p->y1, &p->z1};
    *out = (srv_prompt){.id = sqlite3_column_int64(q, 0),
                        .series_id = sqlite3_column_int64(q, 1),
                        .created_ms = sqlite3_column_int64(q, 2)};
    SRV_TEXT(q, 3, out->group_id);
    SRV_TEXT(q, 4, out->request_sha256);
    p->kind = sqlite3_column_int(q, 5);
    p->space = sqlite3_column_int(q, 6);
    p->frame = sqlite3_column_int(q, 7);
    p->positive = sqlite3_column_int(q, 8);
    p->slice = sqlite3_column_int(q, 9);
    p->region = sqlite3_column_int(q, 10);
    for (int k = 0; k < 6; k++)
        *numbers[k] = sqlite3_column_double(q, 11 + k);
    SRV_TEXT(q, 17, p->sop_instance_uid);
    SRV_TEXT(q, 18, p->series_uid);
    SRV_TEXT(q, 19, p->frame_of_reference_uid);
    SRV_TEXT(q, 20, p->label);
    SRV_TEXT(q, 21, p->tracking_id);
    SRV_TEXT(q, 22, p->tracking_uid);
    read_code(q, 23, &p->category);
    read_code(q, 26, &p->type);
    read_code(q, 29, &p->site);
    SRV_TEXT(q, 32, p->source_class_uid);
    SRV_TEXT(q, 33, p->source_instance_uid);
    SRV_TEXT(q, 34, p->source_sha256);
    SRV_TEXT(q, 35, out->linked_series_uid);
}

/* ---- insert ---- */

/* What the rows of one prompt have in common. */
#define FACTS                                                                                                \
    "source_id, group_id, ordinal, created_ms, authored_ms, study_uid, request_sha256, kind, space, frame,"  \
    " positive, slice, region, x0, y0, z0, x1, y1, z1, sop_instance_uid, series_uid,"                        \
    " frame_of_reference_uid, label, tracking_id, tracking_uid, category_value, category_scheme,"            \
    " category_meaning, type_value, type_scheme, type_meaning, site_value, site_scheme, site_meaning,"       \
    " source_class_uid, source_instance_uid"

typedef struct arrival { /* of a prompt */
    int64_t source_id, ordinal, authored_ms;
    const char *study_uid;
} arrival;

static msa_status insert_on(srv_store *s, const srv_prompt *in, const arrival *a, int64_t series_id,
                            msa_error *err)
{
    const dicom_prompt *p = &in->prompt;
    return SRV_RUN(
        s, NULL, err,
        "INSERT INTO prompt(series_id, " FACTS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
        " ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        srv_ref(series_id), srv_ref(a->source_id), srv_t(in->group_id), srv_i(a->ordinal),
        srv_i(in->created_ms), srv_i(a->authored_ms > 0 ? a->authored_ms : in->created_ms),
        srv_t(a->study_uid), srv_t(in->request_sha256), srv_i(p->kind), srv_i(p->space), srv_i(p->frame),
        srv_i(p->positive), srv_i(p->slice), srv_i(p->region), srv_d(p->x0), srv_d(p->y0), srv_d(p->z0),
        srv_d(p->x1), srv_d(p->y1), srv_d(p->z1), srv_t(p->sop_instance_uid), srv_t(p->series_uid),
        srv_t(p->frame_of_reference_uid), srv_t(p->label), srv_t(p->tracking_id), srv_t(p->tracking_uid),
        srv_t(p->category.value), srv_t(p->category.scheme), srv_t(p->category.meaning), srv_t(p->type.value),
        srv_t(p->type.scheme), srv_t(p->type.meaning), srv_t(p->site.value), srv_t(p->site.scheme),
        srv_t(p->site.meaning), srv_t(p->source_class_uid), srv_t(p->source_instance_uid));
}

/* A row for every CT and MR series of the frame of reference; *n: how many. */
static msa_status insert_in_frame(srv_store *s, const srv_prompt *in, const arrival *a, int *n,
                                  msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool row = false;
    MSA_TRY(
        SRV_OPEN(s, &q, err,
                 "SELECT id FROM series WHERE frame_of_reference_uid = ?1 AND frame_of_reference_uid <> ''"
                 " AND modality IN ('CT', 'MR') AND (?2 = '' OR study_uid = ?2) ORDER BY id",
                 srv_t(in->prompt.frame_of_reference_uid), srv_t(a->study_uid)));
    for (*n = 0;; ++*n) {
        MSA_TRY(srv_sql_step(s, q, &row, err));
        if (!row) return MSA_OK;
        MSA_TRY(insert_on(s, in, a, sqlite3_column_int64(q, 0), err));
    }
}

static bool is_finite(const dicom_prompt *p)
{
    return isfinite(p->x0) && isfinite(p->y0) && isfinite(p->z0) && isfinite(p->x1) && isfinite(p->y1) &&
           isfinite(p->z1);
}

/* On the series that it lies on, or on none, to wait for it. */
static msa_status insert(srv_store *s, const srv_prompt *in, const arrival *a, msa_error *err)
{
    const dicom_prompt *p = &in->prompt;
    int64_t series_id = 0;
    int n = 0;
    if (!is_finite(p))
        return msa_fail(err, MSA_E_INVALID, "a prompt has a coordinate that is not a finite number");
    if (p->sop_instance_uid[0]) {
        MSA_TRY(
            SRV_VALUE(s, &series_id, err,
                      "SELECT series_id FROM instance WHERE sop_instance_uid = ? AND kind = 1 AND state = 1"
                      " AND superseded = 0",
                      srv_t(p->sop_instance_uid)));
    } else if (p->series_uid[0]) {
        MSA_TRY(SRV_VALUE(s, &series_id, err, "SELECT id FROM series WHERE series_uid = ?",
                          srv_t(p->series_uid)));
    } else if (p->frame_of_reference_uid[0]) {
        MSA_TRY(insert_in_frame(s, in, a, &n, err));
        if (n > 0) return MSA_OK;
    } else {
        return msa_fail(err, MSA_E_INVALID,
                        "a prompt names neither its image nor its series nor a frame of reference");
    }
    return insert_on(s, in, a, series_id, err);
}

/* ---- what replaces what ---- */

/*
 * Of one tracking UID on one series the newest annotation counts, whatever object it came as: when it says
 * that it was made, or when it came. Follow-up studies carry the same UID on other series, and keep theirs.
 */
static msa_status retire_older(srv_store *s, int64_t series_id, msa_error *err)
{
    return SRV_RUN(
        s, NULL, err,
        "UPDATE prompt SET current = 0 WHERE series_id = ?1 AND current = 1 AND tracking_uid <> ''"
        " AND EXISTS (SELECT 1 FROM prompt n WHERE n.series_id = ?1 AND n.current = 1"
        " AND n.tracking_uid = prompt.tracking_uid AND n.tracking_uid <> ''"
        " AND (n.source_instance_uid <> prompt.source_instance_uid OR n.group_id <> prompt.group_id)"
        " AND (n.authored_ms, n.created_ms, n.id)"
        " > (prompt.authored_ms, prompt.created_ms, prompt.id))",
        srv_i(series_id));
}

/* sql: a query for series by one text, which lose or gain prompts: each looks again. */
static msa_status touch(srv_store *s, const char *sql, const char *key, int64_t now_ms, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool row = false;
    MSA_TRY(SRV_OPEN(s, &q, err, sql, srv_t(key)));
    for (;;) {
        MSA_TRY(srv_sql_step(s, q, &row, err));
        if (!row) return MSA_OK;
        MSA_TRY(srv_series_prompted(s, sqlite3_column_int64(q, 0), now_ms, err));
        MSA_TRY(retire_older(s, sqlite3_column_int64(q, 0), err));
    }
}

#define SERIES_OF_GROUP                                                                                      \
    "SELECT DISTINCT series_id FROM prompt WHERE group_id = ? AND group_id <> '' AND series_id IS NOT NULL"

/* ---- links ---- */

/* Prompts of the frame of reference that lie on other series of it lie on this one as well. */
static msa_status copy_in_frame(srv_store *s, int64_t series_id, const dicom_header *header, msa_error *err)
{
    return SRV_RUN(
        s, NULL, err,
        "INSERT INTO prompt(series_id, " FACTS ") SELECT ?1, " FACTS " FROM prompt p"
        " WHERE frame_of_reference_uid = ?2 AND frame_of_reference_uid <> '' AND sop_instance_uid = ''"
        " AND series_uid = '' AND current = 1 AND series_id <> ?1 AND (study_uid = '' OR study_uid = ?3)"
        " AND NOT EXISTS (SELECT 1 FROM prompt o WHERE o.series_id = ?1 AND o.source_id IS p.source_id"
        " AND o.group_id = p.group_id AND o.ordinal = p.ordinal)"
        " GROUP BY source_id, group_id, ordinal ORDER BY min(id)",
        srv_i(series_id), srv_t(header->frame_of_reference_uid), srv_t(header->study_uid));
}

msa_status srv_prompts_link_image(srv_store *s, int64_t series_id, const dicom_header *header, msa_error *err)
{
    int64_t in_frame = 0;
    MSA_TRY(SRV_RUN(s, NULL, err,
                    "UPDATE prompt SET series_id = ?1 WHERE sop_instance_uid = ?2 AND sop_instance_uid <> ''"
                    " AND series_id IS NOT ?1",
                    srv_i(series_id), srv_t(header->sop_instance_uid)));
    MSA_TRY(SRV_RUN(s, NULL, err,
                    "UPDATE prompt SET series_id = ?1 WHERE series_uid = ?2 AND series_uid <> ''"
                    " AND sop_instance_uid = '' AND series_id IS NULL",
                    srv_i(series_id), srv_t(header->series_uid)));
    MSA_TRY(SRV_VALUE(s, &in_frame, err,
                      "SELECT 1 FROM series WHERE id = ?1 AND frame_of_reference_uid = ?2"
                      " AND frame_of_reference_uid <> '' AND modality IN ('CT', 'MR')",
                      srv_i(series_id), srv_t(header->frame_of_reference_uid)));
    if (in_frame) {
        MSA_TRY(SRV_RUN(s, NULL, err,
                        "UPDATE prompt SET series_id = ?1 WHERE frame_of_reference_uid = ?2"
                        " AND frame_of_reference_uid <> '' AND sop_instance_uid = '' AND series_uid = ''"
                        " AND series_id IS NULL AND (study_uid = '' OR study_uid = ?3)",
                        srv_i(series_id), srv_t(header->frame_of_reference_uid), srv_t(header->study_uid)));
        MSA_TRY(copy_in_frame(s, series_id, header, err));
    }
    return retire_older(s, series_id, err);
}

/* Places that differ by less than this part of the mean step are one place. */
#define SAME_PLACE "0.02"

msa_status srv_prompts_bind_slices(srv_store *s, int64_t series_id, msa_error *err)
{
    int64_t certain = 0;
    MSA_TRY(
        SRV_VALUE(s, &certain, err,
                  "SELECT count(*) = count(position_mm) AND count(DISTINCT normal) = 1 AND max(normal) <> ''"
                  " AND (count(*) = 1 OR min(step) > " SAME_PLACE
                  " * (max(position_mm) - min(position_mm)) / (count(*) - 1))"
                  " FROM (SELECT position_mm, normal, position_mm - lag(position_mm) OVER"
                  " (ORDER BY position_mm) AS step FROM instance WHERE series_id = ? AND superseded = 0)",
                  srv_i(series_id)));
    if (!certain) return MSA_OK;
    return SRV_RUN(s, NULL, err,
                   "UPDATE prompt SET sop_instance_uid = o.uid FROM (SELECT sop_instance_uid AS uid,"
                   " row_number() OVER (ORDER BY position_mm) - 1 AS place FROM instance"
                   " WHERE series_id = ?1 AND superseded = 0) o WHERE prompt.series_id = ?1"
                   " AND prompt.current = 1 AND prompt.sop_instance_uid = '' AND prompt.space = 0"
                   " AND prompt.kind IN (1, 2) AND prompt.slice = o.place",
                   srv_i(series_id));
}

/* ---- annotations ---- */

/*
 * A newer version of an annotation object replaces all that the older ones said, also where it says less. The
 * series that lose prompts by it look again, as do those that gain some.
 */
msa_status srv_prompts_of_annotation(srv_store *s, int64_t instance_id, const dicom_header *header,
                                     const dicom_prompt *prompts, size_t n, int64_t now_ms, msa_error *err)
{
    arrival a = {
        .source_id = instance_id, .authored_ms = header->authored_ms, .study_uid = header->study_uid};
    for (size_t k = 0; k < n; k++) {
        const srv_prompt p = {.created_ms = now_ms, .prompt = prompts[k]};
        a.ordinal = (int64_t)k;
        MSA_TRY(insert(s, &p, &a, err));
    }
    MSA_TRY(SRV_RUN(s, NULL, err,
                    "UPDATE prompt SET current = 0 WHERE source_id IN"
                    " (SELECT id FROM instance WHERE sop_instance_uid = ?1 AND id < ?2)",
                    srv_t(header->sop_instance_uid), srv_i(instance_id)));
    return touch(s,
                 "SELECT DISTINCT series_id FROM prompt WHERE series_id IS NOT NULL AND source_id IN"
                 " (SELECT id FROM instance WHERE sop_instance_uid = ?)",
                 header->sop_instance_uid, now_ms, err);
}

/* ---- REST ---- */

static msa_status put_body(srv_store *s, const srv_prompt *prompts, size_t n, msa_error *err)
{
    int64_t known = 0;
    if (!prompts[0].group_id[0])
        return msa_fail(err, MSA_E_INVALID, "prompts over REST carry the id of their group");
    MSA_TRY(SRV_VALUE(s, &known, err, "SELECT 1 FROM prompt WHERE group_id = ? AND group_id <> '' LIMIT 1",
                      srv_t(prompts[0].group_id)));
    if (known) return MSA_OK; /* the same POST again */
    for (size_t k = 0; k < n; k++)
        MSA_TRY(insert(s, &prompts[k], &(arrival){.ordinal = (int64_t)k}, err));
    return touch(s, SERIES_OF_GROUP, prompts[0].group_id, prompts[0].created_ms, err);
}

msa_status srv_store_prompts_put(srv_store *s, const srv_prompt *prompts, size_t n, msa_error *err)
{
    if (n == 0) return MSA_OK;
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, put_body(s, prompts, n, err), err);
}

/* The group's rows count no more; what they had replaced by their tracking UIDs does again, the newest of it.
 */
static msa_status revive(srv_store *s, const char *group_id, msa_error *err)
{
    MSA_TRY(SRV_RUN(s, NULL, err, "UPDATE prompt SET current = 0 WHERE group_id = ? AND group_id <> ''",
                    srv_t(group_id)));
    return SRV_RUN(s, NULL, err,
                   "UPDATE prompt SET current = 1 WHERE current = 0 AND tracking_uid <> '' AND group_id <> ?1"
                   " AND EXISTS (SELECT 1 FROM prompt g WHERE g.group_id = ?1 AND g.group_id <> ''"
                   " AND g.series_id = prompt.series_id AND g.tracking_uid = prompt.tracking_uid)"
                   " AND NOT EXISTS"
                   " (SELECT 1 FROM instance i WHERE i.id = prompt.source_id AND i.superseded = 1)",
                   srv_t(group_id));
}

static msa_status delete_body(srv_store *s, const char *group_id, int64_t now_ms, msa_error *err)
{
    int64_t used = 0;
    int changes = 0;
    if (!group_id[0]) return msa_fail(err, MSA_E_NOT_FOUND, "there is no such annotation");
    MSA_TRY(SRV_VALUE(s, &used, err,
                      "SELECT 1 FROM prompt p JOIN job_prompt b ON b.prompt_id = p.id"
                      " WHERE p.group_id = ? AND p.group_id <> '' LIMIT 1",
                      srv_t(group_id)));
    if (used) return msa_fail(err, MSA_E_INVALID, "a job has used this annotation, so it stays on record");
    MSA_TRY(revive(s, group_id, err));
    MSA_TRY(touch(s, SERIES_OF_GROUP, group_id, now_ms, err));
    MSA_TRY(SRV_RUN(s, &changes, err, "DELETE FROM prompt WHERE group_id = ? AND group_id <> ''",
                    srv_t(group_id)));
    return changes ? MSA_OK : msa_fail(err, MSA_E_NOT_FOUND, "there is no such annotation");
}

msa_status srv_store_prompts_delete(srv_store *s, const char *group_id, int64_t now_ms, msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, delete_body(s, group_id, now_ms, err), err);
}

/* ---- lists ---- */

static msa_status each(srv_store *s, sqlite3_stmt *q, srv_prompt_fn *row, void *ctx, msa_error *err)
{
    bool more = false;
    for (;;) {
        srv_prompt prompt;
        MSA_TRY(srv_sql_step(s, q, &more, err));
        if (!more) return MSA_OK;
        srv_prompt_read(q, &prompt);
        row(ctx, &prompt);
    }
}

msa_status srv_store_job_prompts(srv_store *s, int64_t job_id, srv_prompt_fn *row, void *ctx, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    MSA_TRY(SRV_OPEN(s, &q, err,
                     "SELECT " SRV_PROMPT_COLUMNS " FROM job_prompt b JOIN prompt p ON p.id = b.prompt_id"
                     " WHERE b.job_id = ? ORDER BY b.ordinal",
                     srv_i(job_id)));
    return each(s, q, row, ctx, err);
}

msa_status srv_store_prompts(srv_store *s, const char *series_uid, bool waiting, int64_t before_id,
                             int32_t limit, srv_prompt_fn *row, void *ctx, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    const bool all = !series_uid || !series_uid[0];
    const srv_sql_arg before = srv_i(srv_before(before_id));
    if (waiting) {
        MSA_TRY(SRV_OPEN(s, &q, err,
                         "SELECT " SRV_PROMPT_COLUMNS
                         " FROM prompt p WHERE p.series_id IS NULL AND p.current = 1"
                         " AND (?1 = '' OR p.series_uid = ?1) AND p.id < ?3 ORDER BY p.id DESC LIMIT ?2",
                         srv_t(series_uid), srv_i(limit), before));
    } else if (all) {
        MSA_TRY(SRV_OPEN(s, &q, err,
                         "SELECT " SRV_PROMPT_COLUMNS
                         " FROM prompt p WHERE p.current = 1 AND p.id < ? ORDER BY p.id DESC LIMIT ?",
                         before, srv_i(limit)));
    } else {
        MSA_TRY(SRV_OPEN(
            s, &q, err,
            "SELECT " SRV_PROMPT_COLUMNS " FROM prompt p WHERE p.current = 1 AND (p.series_id ="
            " (SELECT id FROM series WHERE series_uid = ?1) OR (p.series_uid = ?1 AND p.series_uid <> ''"
            " AND p.series_id IS NULL)) AND p.id < ?3 ORDER BY p.id DESC LIMIT ?2",
            srv_t(series_uid), srv_i(limit), before));
    }
    return each(s, q, row, ctx, err);
}

msa_status srv_store_prompts_group(srv_store *s, const char *group_id, srv_prompt_fn *row, void *ctx,
                                   msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    MSA_TRY(SRV_OPEN(s, &q, err,
                     "SELECT " SRV_PROMPT_COLUMNS
                     " FROM prompt p WHERE p.group_id = ? AND p.group_id <> '' ORDER BY p.ordinal, p.id",
                     srv_t(group_id)));
    return each(s, q, row, ctx, err);
}
