#include "server/store/internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *srv_instance_state_name(srv_instance_state state)
{
    switch (state) {
    case SRV_INSTANCE_RECEIVED:
        return "received";
    case SRV_INSTANCE_INDEXED:
        return "indexed";
    case SRV_INSTANCE_REJECTED:
        return "rejected";
    }
    return "unknown";
}

void srv_instance_read(sqlite3_stmt *q, srv_instance *out)
{
    *out = (srv_instance){.id = sqlite3_column_int64(q, 0),
                          .series_id = sqlite3_column_int64(q, 1),
                          .association_id = sqlite3_column_int64(q, 2),
                          .received_ms = sqlite3_column_int64(q, 3),
                          .size_bytes = sqlite3_column_int64(q, 4),
                          .state = (srv_instance_state)sqlite3_column_int(q, 9),
                          .superseded = sqlite3_column_int(q, 10) != 0,
                          .index_attempts = sqlite3_column_int(q, 11),
                          .position_mm = sqlite3_column_double(q, 13),
                          .kind = sqlite3_column_int(q, 15),
                          .prompts = sqlite3_column_int64(q, 16)};
    SRV_TEXT(q, 5, out->sha256);
    SRV_TEXT(q, 6, out->sop_instance_uid);
    SRV_TEXT(q, 7, out->sop_class_uid);
    SRV_TEXT(q, 8, out->transfer_syntax_uid);
    SRV_TEXT(q, 12, out->reason);
    SRV_TEXT(q, 14, out->note);
}

/* ---- put ---- */

/* A rejected instance that comes again is read again: the machine may have been at fault, and sending it once
 * more is what a person tries. */
static msa_status look_again(srv_store *s, int64_t id, srv_put *outcome, msa_error *err)
{
    int changes = 0;
    MSA_TRY(
        SRV_RUN(s, &changes, err,
                "UPDATE instance SET state = 0, index_attempts = 0, reason = '' WHERE id = ? AND state = 2",
                srv_i(id)));
    if (changes) *outcome = SRV_PUT_NEW;
    return MSA_OK;
}

/* The row of these bytes under this UID, or 0; an upload does not know its UID yet, so its bytes decide. */
static msa_status find_same(srv_store *s, const srv_instance *in, int64_t *id, msa_error *err)
{
    if (!in->sop_instance_uid[0])
        return SRV_VALUE(s, id, err, "SELECT id FROM instance WHERE sha256 = ? ORDER BY id LIMIT 1",
                         srv_t(in->sha256));
    return SRV_VALUE(s, id, err, "SELECT id FROM instance WHERE sop_instance_uid = ? AND sha256 = ?",
                     srv_t(in->sop_instance_uid), srv_t(in->sha256));
}

/*
 * The identity is (UID, bytes). The same bytes again add nothing, also when newer bytes of that UID have come
 * in between: a sender that repeats an old object after a lost response must not undo the newer one.
 */
static msa_status put_body(srv_store *s, const srv_instance *in, srv_put *outcome, int64_t *id,
                           msa_error *err)
{
    int64_t other = 0;
    if (in->association_id)
        MSA_TRY(SRV_RUN(s, NULL, err, "UPDATE association SET instances = instances + 1 WHERE id = ?",
                        srv_i(in->association_id)));
    MSA_TRY(find_same(s, in, id, err));
    *outcome = SRV_PUT_SAME;
    if (*id) return look_again(s, *id, outcome, err);
    MSA_TRY(SRV_VALUE(s, &other, err,
                      "SELECT id FROM instance WHERE sop_instance_uid = ? AND sop_instance_uid <> '' LIMIT 1",
                      srv_t(in->sop_instance_uid)));
    *outcome = other ? SRV_PUT_OTHER_BYTES : SRV_PUT_NEW;
    MSA_TRY(SRV_RUN(s, NULL, err,
                    "INSERT INTO instance(sop_instance_uid, sha256, association_id, received_ms, size_bytes,"
                    " sop_class_uid, transfer_syntax_uid) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    srv_t(in->sop_instance_uid), srv_t(in->sha256), srv_i(in->association_id),
                    srv_i(in->received_ms), srv_i(in->size_bytes), srv_t(in->sop_class_uid),
                    srv_t(in->transfer_syntax_uid)));
    *id = sqlite3_last_insert_rowid(s->db);
    return MSA_OK;
}

msa_status srv_store_instance_put(srv_store *s, const srv_instance *instance, srv_put *outcome, int64_t *id,
                                  msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, put_body(s, instance, outcome, id, err), err);
}

/* ---- what to index next ---- */

static msa_status get(srv_store *s, int64_t id, srv_instance *out, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool row = false;
    MSA_TRY(
        SRV_OPEN(s, &q, err, "SELECT " SRV_INSTANCE_COLUMNS " FROM instance i WHERE i.id = ?", srv_i(id)));
    MSA_TRY(srv_sql_step(s, q, &row, err));
    if (!row) return msa_fail(err, MSA_E_NOT_FOUND, "there is no instance %lld", (long long)id);
    srv_instance_read(q, out);
    return MSA_OK;
}

static msa_status next_body(srv_store *s, int64_t after_id, srv_instance *out, msa_error *err)
{
    int64_t id = 0;
    MSA_TRY(SRV_VALUE(s, &id, err, "SELECT id FROM instance WHERE state = 0 AND id > ? ORDER BY id LIMIT 1",
                      srv_i(after_id)));
    if (!id) return msa_fail(err, MSA_E_NOT_FOUND, "no instance waits to be indexed");
    MSA_TRY(SRV_RUN(s, NULL, err, "UPDATE instance SET index_attempts = index_attempts + 1 WHERE id = ?",
                    srv_i(id)));
    return get(s, id, out, err);
}

msa_status srv_store_instance_next(srv_store *s, int64_t after_id, srv_instance *out, msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, next_body(s, after_id, out, err), err);
}

/* ---- index, reject ---- */

static msa_status reject(srv_store *s, int64_t id, const char *reason, msa_error *err)
{
    return SRV_RUN(s, NULL, err, "UPDATE instance SET state = 2, reason = ?2 WHERE id = ?1", srv_i(id),
                   srv_t(reason));
}

/*
 * Marks which version of a SOP instance counts: the newest received that could be read. An older version can
 * be indexed after the newer one (a retry), then it is the one that is superseded from the start: *newest is
 * false.
 */
static msa_status supersede_versions(srv_store *s, const srv_instance *in, bool *newest, msa_error *err)
{
    int64_t newer = 0;
    MSA_TRY(SRV_VALUE(s, &newer, err,
                      "SELECT id FROM instance WHERE sop_instance_uid = ? AND state = 1 AND id > ? LIMIT 1",
                      srv_t(in->sop_instance_uid), srv_i(in->id)));
    *newest = newer == 0;
    if (newer) return SRV_RUN(s, NULL, err, "UPDATE instance SET superseded = 1 WHERE id = ?", srv_i(in->id));
    return SRV_RUN(s, NULL, err,
                   "UPDATE instance SET superseded = 1 WHERE sop_instance_uid = ? AND state = 1 AND id < ?",
                   srv_t(in->sop_instance_uid), srv_i(in->id));
}

/* The version that this one replaces may have lain in another series, which has one image less now. */
static msa_status reopen_former_series(srv_store *s, const srv_instance *in, int64_t series_id,
                                       int64_t now_ms, msa_error *err)
{
    int64_t former = 0;
    MSA_TRY(SRV_VALUE(s, &former, err,
                      "SELECT series_id FROM instance WHERE sop_instance_uid = ? AND state = 1 AND id < ?"
                      " AND series_id <> ? ORDER BY id DESC LIMIT 1",
                      srv_t(in->sop_instance_uid), srv_i(in->id), srv_i(series_id)));
    return former ? srv_series_reopen(s, former, now_ms, err) : MSA_OK;
}

/* Two decimals: slices of one stack share it, those of another orientation do not. */
static void name_normal(const dicom_header *h, bool placed, char *out, size_t size)
{
    const double *r = h->row_dir, *c = h->col_dir;
    const double n[3] = {r[1] * c[2] - r[2] * c[1], r[2] * c[0] - r[0] * c[2], r[0] * c[1] - r[1] * c[0]};
    out[0] = '\0';
    if (placed)
        (void)snprintf(out, size, "%d %d %d", (int)lround(100 * n[0]), (int)lround(100 * n[1]),
                       (int)lround(100 * n[2]));
}

static msa_status index_image(srv_store *s, const srv_instance *in, const dicom_header *header,
                              int64_t now_ms, msa_error *err)
{
    int64_t series_id = 0;
    bool newest = true;
    char normal[48];
    const bool placed = header->has_plane && isfinite(header->position_mm) && header->frames <= 1;
    name_normal(header, placed, normal, sizeof normal);
    MSA_TRY(supersede_versions(s, in, &newest, err));
    if (!newest) /* kept, but no series changes by it */
        return SRV_RUN(s, NULL, err, "UPDATE instance SET state = 1, kind = 1 WHERE id = ?", srv_i(in->id));
    MSA_TRY(srv_series_arrive(s, header, in->association_id, now_ms, &series_id, err));
    MSA_TRY(SRV_RUN(s, NULL, err,
                    "UPDATE instance SET state = 1, kind = 1, series_id = ?2, position_mm = ?3, normal = ?4,"
                    " frames = ?5 WHERE id = ?1",
                    srv_i(in->id), srv_i(series_id), placed ? srv_d(header->position_mm) : srv_null(),
                    srv_t(normal), srv_i(header->frames > 0 ? header->frames : 1)));
    MSA_TRY(reopen_former_series(s, in, series_id, now_ms, err));
    return srv_prompts_link_image(s, series_id, header, err);
}

/* An annotation belongs to no series of images itself: its prompts do. */
static msa_status index_annotation(srv_store *s, const srv_instance *in, const dicom_header *header,
                                   const dicom_prompt *prompts, size_t n, int64_t now_ms, msa_error *err)
{
    bool newest = true;
    MSA_TRY(supersede_versions(s, in, &newest, err));
    MSA_TRY(SRV_RUN(s, NULL, err, "UPDATE instance SET state = 1, kind = 2 WHERE id = ?", srv_i(in->id)));
    if (!newest) return MSA_OK;
    MSA_TRY(reopen_former_series(s, in, 0, now_ms, err));
    return srv_prompts_of_annotation(s, in->id, header, prompts, n, now_ms, err);
}

/* What was uploaded learns its names. *gone: the same bytes have come by C-STORE meanwhile, and their row
 * stays. */
static msa_status name_upload(srv_store *s, srv_instance *in, const dicom_header *header, bool *gone,
                              msa_error *err)
{
    int64_t other = 0;
    MSA_TRY(SRV_VALUE(s, &other, err, "SELECT id FROM instance WHERE sop_instance_uid = ? AND sha256 = ?",
                      srv_t(header->sop_instance_uid), srv_t(in->sha256)));
    *gone = other != 0;
    if (other) return SRV_RUN(s, NULL, err, "DELETE FROM instance WHERE id = ?", srv_i(in->id));
    memcpy(in->sop_instance_uid, header->sop_instance_uid, sizeof in->sop_instance_uid);
    return SRV_RUN(s, NULL, err,
                   "UPDATE instance SET sop_instance_uid = ?2, sop_class_uid = ?3, transfer_syntax_uid = ?4"
                   " WHERE id = ?1",
                   srv_i(in->id), srv_t(header->sop_instance_uid), srv_t(header->sop_class_uid),
                   srv_t(header->transfer_syntax_uid));
}

static msa_status index_body(srv_store *s, int64_t id, const dicom_header *header,
                             const dicom_prompt *prompts, size_t n_prompts, int64_t now_ms, msa_error *err)
{
    srv_instance in;
    bool gone = false;
    MSA_TRY(get(s, id, &in, err));
    if (in.state == SRV_INSTANCE_INDEXED) return MSA_OK; /* a repeated answer */
    if (in.state == SRV_INSTANCE_REJECTED)
        return msa_fail(err, MSA_E_INVALID, "instance %lld was rejected", (long long)id);
    if (!in.sop_instance_uid[0]) {
        if (header->kind != DICOM_KIND_ANNOTATION)
            return reject(s, id, "it is no annotation; images are sent by C-STORE", err);
        MSA_TRY(name_upload(s, &in, header, &gone, err));
        if (gone) return MSA_OK;
    }
    /* Duplicates are told by the UID in the C-STORE request, so the dataset must not claim to be another
     * object. */
    if (strcmp(header->sop_instance_uid, in.sop_instance_uid) != 0)
        return reject(s, id, "the SOP Instance UID in the dataset is not the one that it was sent under",
                      err);
    if (header->kind == DICOM_KIND_ANNOTATION)
        return index_annotation(s, &in, header, prompts, n_prompts, now_ms, err);
    return index_image(s, &in, header, now_ms, err);
}

msa_status srv_store_instance_index(srv_store *s, int64_t id, const dicom_header *header,
                                    const dicom_prompt *prompts, size_t n_prompts, int64_t now_ms,
                                    msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, index_body(s, id, header, prompts, n_prompts, now_ms, err), err);
}

static msa_status note_body(srv_store *s, int64_t id, const char *note, msa_error *err)
{
    return SRV_RUN(s, NULL, err, "UPDATE instance SET note = ?2 WHERE id = ?1", srv_i(id), srv_t(note));
}

msa_status srv_store_instance_note(srv_store *s, int64_t id, const char *note, msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, note_body(s, id, note, err), err);
}

static msa_status reject_body(srv_store *s, int64_t id, const char *reason, msa_error *err)
{
    srv_instance in;
    MSA_TRY(get(s, id, &in, err));
    if (in.state == SRV_INSTANCE_INDEXED)
        return msa_fail(err, MSA_E_INVALID, "instance %lld is indexed already", (long long)id);
    return reject(s, id, reason, err);
}

msa_status srv_store_instance_reject(srv_store *s, int64_t id, const char *reason, msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, reject_body(s, id, reason, err), err);
}

/* ---- lists ---- */

static msa_status each(srv_store *s, sqlite3_stmt *q, srv_instance_fn *row, void *ctx, msa_error *err)
{
    bool more = false;
    for (;;) {
        srv_instance instance;
        MSA_TRY(srv_sql_step(s, q, &more, err));
        if (!more) return MSA_OK;
        srv_instance_read(q, &instance);
        row(ctx, &instance);
    }
}

msa_status srv_store_series_instances(srv_store *s, int64_t series_id, srv_instance_fn *row, void *ctx,
                                      msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    MSA_TRY(SRV_OPEN(s, &q, err,
                     "SELECT " SRV_INSTANCE_COLUMNS " FROM instance i WHERE i.series_id = ?"
                     " ORDER BY i.position_mm, i.sop_instance_uid, i.id",
                     srv_i(series_id)));
    return each(s, q, row, ctx, err);
}

msa_status srv_store_instances_rejected(srv_store *s, int64_t before_id, int32_t limit, srv_instance_fn *row,
                                        void *ctx, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    MSA_TRY(SRV_OPEN(s, &q, err,
                     "SELECT " SRV_INSTANCE_COLUMNS
                     " FROM instance i WHERE i.state = 2 AND i.id < ? ORDER BY i.id DESC LIMIT ?",
                     srv_i(srv_before(before_id)), srv_i(limit)));
    return each(s, q, row, ctx, err);
}

msa_status srv_store_instances_noted(srv_store *s, int64_t before_id, int32_t limit, srv_instance_fn *row,
                                     void *ctx, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    MSA_TRY(SRV_OPEN(s, &q, err,
                     "SELECT " SRV_INSTANCE_COLUMNS " FROM instance i WHERE i.note <> '' AND i.state = 1"
                     " AND i.superseded = 0 AND i.id < ? ORDER BY i.id DESC LIMIT ?",
                     srv_i(srv_before(before_id)), srv_i(limit)));
    return each(s, q, row, ctx, err);
}

msa_status srv_store_instance_find(srv_store *s, const char *name, srv_instance *out, msa_error *err)
{
    int64_t id = 0;
    MSA_TRY(SRV_VALUE(s, &id, err,
                      "SELECT id FROM instance WHERE sop_instance_uid = ?1 AND sop_instance_uid <> ''"
                      " ORDER BY superseded, id DESC LIMIT 1",
                      srv_t(name)));
    if (!id)
        MSA_TRY(SRV_VALUE(s, &id, err, "SELECT id FROM instance WHERE sha256 = ? ORDER BY id DESC LIMIT 1",
                          srv_t(name)));
    return id ? get(s, id, out, err) : msa_fail(err, MSA_E_NOT_FOUND, "there is no such instance");
}

msa_status srv_store_job_instances(srv_store *s, int64_t job_id, srv_instance_fn *row, void *ctx,
                                   msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    MSA_TRY(SRV_OPEN(s, &q, err,
                     "SELECT " SRV_INSTANCE_COLUMNS
                     " FROM job_instance b JOIN instance i ON i.id = b.instance_id"
                     " WHERE b.job_id = ? ORDER BY b.ordinal",
                     srv_i(job_id)));
    return each(s, q, row, ctx, err);
}
