#include "server/store/internal.h"

#include <math.h>

void srv_prompt_read(sqlite3_stmt *q, srv_prompt *out)
{
    dicom_prompt *p = &out->prompt;
    *out = (srv_prompt){.id = sqlite3_column_int64(q, 0),
                        .series_id = sqlite3_column_int64(q, 1),
                        .created_ms = sqlite3_column_int64(q, 2)};
    SRV_TEXT(q, 3, out->series_uid);
    SRV_TEXT(q, 4, out->group_id);
    p->kind = sqlite3_column_int(q, 5);
    p->frame = sqlite3_column_int(q, 6);
    p->positive = sqlite3_column_int(q, 7);
    p->slice = sqlite3_column_int(q, 8);
    p->x0 = sqlite3_column_double(q, 9);
    p->y0 = sqlite3_column_double(q, 10);
    p->x1 = sqlite3_column_double(q, 11);
    p->y1 = sqlite3_column_double(q, 12);
    SRV_TEXT(q, 13, p->sop_instance_uid);
    SRV_TEXT(q, 14, p->label);
    SRV_TEXT(q, 15, p->tracking_id);
    SRV_TEXT(q, 16, p->tracking_uid);
    dicom_code *const codes[] = {&p->category, &p->type, &p->site};
    for (int k = 0; k < 3; k++) {
        SRV_TEXT(q, 17 + 3 * k, codes[k]->value);
        SRV_TEXT(q, 18 + 3 * k, codes[k]->scheme);
        SRV_TEXT(q, 19 + 3 * k, codes[k]->meaning);
    }
    SRV_TEXT(q, 26, p->source_class_uid);
    SRV_TEXT(q, 27, p->source_instance_uid);
}

/* ---- insert and link ---- */

/* The series that a prompt lies on: that of its image, or the one it names; NULL until the images come. */
static msa_status find_series(srv_store *s, const srv_prompt *p, int64_t *series_id, msa_error *err)
{
    if (p->prompt.sop_instance_uid[0])
        return SRV_VALUE(
            s, series_id, err,
            "SELECT series_id FROM instance WHERE sop_instance_uid = ? AND kind = 1 AND state = 1"
            " AND superseded = 0",
            srv_t(p->prompt.sop_instance_uid));
    return SRV_VALUE(s, series_id, err, "SELECT id FROM series WHERE series_uid = ?", srv_t(p->series_uid));
}

/* *series_id: what it was linked to, 0 when it waits. */
static msa_status insert(srv_store *s, const srv_prompt *in, int64_t source_id, int64_t ordinal,
                         int64_t *series_id, msa_error *err)
{
    const dicom_prompt *p = &in->prompt;
    if (!isfinite(p->x0) || !isfinite(p->y0) || !isfinite(p->x1) || !isfinite(p->y1))
        return msa_fail(err, MSA_E_INVALID, "a prompt has a coordinate that is not a finite number");
    MSA_TRY(find_series(s, in, series_id, err));
    return SRV_RUN(
        s, NULL, err,
        "INSERT INTO prompt(series_id, source_id, group_id, ordinal, created_ms, series_uid,"
        " kind, frame, positive, slice, x0, y0, x1, y1, sop_instance_uid, label, tracking_id, tracking_uid,"
        " category_value, category_scheme, category_meaning, type_value, type_scheme, type_meaning,"
        " site_value, site_scheme, site_meaning, source_class_uid, source_instance_uid)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        srv_ref(*series_id), srv_ref(source_id), srv_t(in->group_id), srv_i(ordinal), srv_i(in->created_ms),
        srv_t(in->series_uid), srv_i(p->kind), srv_i(p->frame), srv_i(p->positive), srv_i(p->slice),
        srv_d(p->x0), srv_d(p->y0), srv_d(p->x1), srv_d(p->y1), srv_t(p->sop_instance_uid), srv_t(p->label),
        srv_t(p->tracking_id), srv_t(p->tracking_uid), srv_t(p->category.value), srv_t(p->category.scheme),
        srv_t(p->category.meaning), srv_t(p->type.value), srv_t(p->type.scheme), srv_t(p->type.meaning),
        srv_t(p->site.value), srv_t(p->site.scheme), srv_t(p->site.meaning), srv_t(p->source_class_uid),
        srv_t(p->source_instance_uid));
}

msa_status srv_prompts_link_image(srv_store *s, int64_t series_id, const dicom_header *header, msa_error *err)
{
    MSA_TRY(SRV_RUN(s, NULL, err,
                    "UPDATE prompt SET series_id = ?1 WHERE sop_instance_uid = ?2 AND sop_instance_uid <> ''"
                    " AND series_id IS NOT ?1",
                    srv_i(series_id), srv_t(header->sop_instance_uid)));
    return SRV_RUN(s, NULL, err,
                   "UPDATE prompt SET series_id = ?1 WHERE series_uid = ?2 AND series_uid <> ''"
                   " AND sop_instance_uid = '' AND series_id IS NULL",
                   srv_i(series_id), srv_t(header->series_uid));
}

/* ---- annotations ---- */

/*
 * A newer version of an annotation object replaces all that the older ones said, also where it says less. The
 * series that lose prompts by it look again, as do those that gain some.
 */
msa_status srv_prompts_of_annotation(srv_store *s, int64_t instance_id, const char *sop_instance_uid,
                                     const dicom_prompt *prompts, size_t n, int64_t now_ms, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool row = false;
    for (size_t k = 0; k < n; k++) {
        int64_t series_id = 0;
        const srv_prompt p = {.created_ms = now_ms, .prompt = prompts[k]};
        if (!prompts[k].sop_instance_uid[0])
            return msa_fail(err, MSA_E_INVALID, "a prompt of the annotation names no image");
        MSA_TRY(insert(s, &p, instance_id, (int64_t)k, &series_id, err));
    }
    MSA_TRY(SRV_OPEN(
        s, &q, err,
        "SELECT DISTINCT series_id FROM prompt WHERE series_id IS NOT NULL AND current = 1 AND source_id IN"
        " (SELECT id FROM instance WHERE sop_instance_uid = ?)",
        srv_t(sop_instance_uid)));
    for (;;) {
        MSA_TRY(srv_sql_step(s, q, &row, err));
        if (!row) break;
        MSA_TRY(srv_series_prompted(s, sqlite3_column_int64(q, 0), now_ms, err));
    }
    return SRV_RUN(s, NULL, err,
                   "UPDATE prompt SET current = 0 WHERE source_id IN"
                   " (SELECT id FROM instance WHERE sop_instance_uid = ?1 AND id < ?2)",
                   srv_t(sop_instance_uid), srv_i(instance_id));
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
    for (size_t k = 0; k < n; k++) {
        const srv_prompt *p = &prompts[k];
        int64_t series_id = 0;
        if (!p->prompt.sop_instance_uid[0] && !p->series_uid[0])
            return msa_fail(err, MSA_E_INVALID, "a prompt names neither its image nor its series");
        MSA_TRY(insert(s, p, 0, (int64_t)k, &series_id, err));
        if (series_id) MSA_TRY(srv_series_prompted(s, series_id, p->created_ms, err));
    }
    return MSA_OK;
}

msa_status srv_store_prompts_put(srv_store *s, const srv_prompt *prompts, size_t n, msa_error *err)
{
    if (n == 0) return MSA_OK;
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, put_body(s, prompts, n, err), err);
}

static msa_status delete_body(srv_store *s, const char *group_id, msa_error *err)
{
    int64_t used = 0;
    int changes = 0;
    MSA_TRY(SRV_VALUE(s, &used, err,
                      "SELECT 1 FROM prompt p JOIN job_prompt b ON b.prompt_id = p.id"
                      " WHERE p.group_id = ? AND p.group_id <> '' LIMIT 1",
                      srv_t(group_id)));
    if (used) return msa_fail(err, MSA_E_INVALID, "a job has used this annotation, so it stays on record");
    MSA_TRY(SRV_RUN(s, &changes, err, "DELETE FROM prompt WHERE group_id = ? AND group_id <> ''",
                    srv_t(group_id)));
    return changes ? MSA_OK : msa_fail(err, MSA_E_NOT_FOUND, "there is no such annotation");
}

msa_status srv_store_prompts_delete(srv_store *s, const char *group_id, msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, delete_body(s, group_id, err), err);
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

msa_status srv_store_prompts(srv_store *s, const char *series_uid, bool waiting, int32_t limit,
                             srv_prompt_fn *row, void *ctx, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    const bool all = !series_uid || !series_uid[0];
    if (waiting) {
        MSA_TRY(SRV_OPEN(s, &q, err,
                         "SELECT " SRV_PROMPT_COLUMNS
                         " FROM prompt p WHERE p.series_id IS NULL AND p.current = 1"
                         " AND (?1 = '' OR p.series_uid = ?1) ORDER BY p.id DESC LIMIT ?2",
                         srv_t(series_uid), srv_i(limit)));
    } else if (all) {
        MSA_TRY(SRV_OPEN(s, &q, err,
                         "SELECT " SRV_PROMPT_COLUMNS
                         " FROM prompt p WHERE p.current = 1 ORDER BY p.id DESC LIMIT ?",
                         srv_i(limit)));
    } else {
        MSA_TRY(SRV_OPEN(
            s, &q, err,
            "SELECT " SRV_PROMPT_COLUMNS " FROM prompt p WHERE p.current = 1 AND (p.series_id ="
            " (SELECT id FROM series WHERE series_uid = ?1) OR (p.series_uid = ?1 AND p.series_uid <> ''"
            " AND p.series_id IS NULL)) ORDER BY p.id DESC LIMIT ?2",
            srv_t(series_uid), srv_i(limit)));
    }
    return each(s, q, row, ctx, err);
}
