#include "server/http/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/base/cleanup.h"

typedef struct page {
    srv_job *jobs;
    int32_t n, room;
} page;

static void add_row(void *ctx, const srv_job *job)
{
    page *p = ctx;
    if (p->n < p->room) p->jobs[p->n++] = *job;
}

/* One row more than asked for tells whether there is a next page. */
SRV_IN_STORE(srv_get_jobs)
{
    const int32_t limit = (int32_t)srv_param_of(req, "limit")->number;
    MSA_AUTO_FREE srv_job *rows = calloc((size_t)limit + 1, sizeof *rows);
    page p = {rows, 0, limit + 1};
    if (rows == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    MSA_TRY(srv_store_jobs(store, (int)srv_param_of(req, "state")->number, srv_param_of(req, "series")->text,
                           srv_param_of(req, "cursor")->number, limit + 1, add_row, &p, err));
    json_t *list = json_array();
    char cursor[32] = "";
    if (p.n > limit) srv_cursor_make(rows[limit - 1].id, cursor);
    msa_status status = MSA_OK;
    for (int32_t i = 0; i < p.n && i < limit && status == MSA_OK; i++) {
        json_t *job = NULL;
        status = srv_job_view(store, &rows[i], &job, err);
        if (status == MSA_OK) (void)json_array_append_new(list, job);
    }
    if (status != MSA_OK) {
        json_decref(list);
        return status;
    }
    srv_reply_json(out, MHD_HTTP_OK,
                   json_pack("{s:o, s:o}", "jobs", list, "next_cursor", srv_json_text(cursor)));
    return MSA_OK;
}

void srv_get_job_wait(srv_request *req)
{
    const int64_t wait_s = srv_param_of(req, "wait")->number;
    if (wait_s > 0)
        srv_watch_add(req, srv_param_of(req, "id")->text,
                      uv_now(req->http->env.loop) + (uint64_t)wait_s * 1000);
}

SRV_IN_STORE(srv_get_job)
{
    srv_job job;
    json_t *json = NULL;
    MSA_TRY(srv_store_job_get(store, srv_param_of(req, "id")->text, &job, err));
    MSA_TRY(srv_job_view(store, &job, &json, err));
    srv_reply_json(out, MHD_HTTP_OK, json);
    return MSA_OK;
}

/* ---- what a job has made ---- */

/* Opened here, on the store thread, so that the loop never waits for a path; read later by sendfile. */
static msa_status open_blob(const srv_request *req, const char *sha256, const char *media, srv_reply *out,
                            msa_error *err)
{
    char path[SRV_PATH_MAX];
    struct stat st;
    MSA_TRY(srv_blob_path(req->blobs, sha256, path, sizeof path, err));
    MSA_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        return msa_fail(err, MSA_E_IO, "the stored object cannot be opened: %s", strerror(errno));
    out->status = MHD_HTTP_OK;
    out->media = media;
    out->fd = fd;
    out->size = (size_t)st.st_size;
    memcpy(out->etag, sha256, sizeof out->etag);
    fd = -1;
    return MSA_OK;
}

/* Why there is nothing to fetch. */
static void nothing_yet(srv_reply *out, const srv_job *job, const char *what)
{
    switch (job->state) {
    case SRV_JOB_FAILED:
        srv_reply_problem(out, MHD_HTTP_CONFLICT, "the job has failed and has no %s: %s", what, job->reason);
        break;
    case SRV_JOB_CANCELLED:
        srv_reply_problem(out, MHD_HTTP_CONFLICT, "the job was cancelled and has no %s", what);
        break;
    case SRV_JOB_SUCCEEDED_EMPTY:
        srv_reply_problem(out, MHD_HTTP_NOT_FOUND, "the job found nothing, so there is no %s", what);
        break;
    case SRV_JOB_DELIVERING:
    case SRV_JOB_SUCCEEDED:
        srv_reply_problem(out, MHD_HTTP_NOT_FOUND, "the job has no such %s", what);
        break;
    default:
        srv_reply_problem(out, MHD_HTTP_NOT_FOUND, "the job is %s; it has no %s yet",
                          srv_job_state_name(job->state), what);
    }
}

typedef struct wanted_result {
    int64_t number;
    bool found;
    srv_result result;
} wanted_result;

static void pick_result(void *ctx, const srv_result *r)
{
    wanted_result *wanted = ctx;
    if (r->number != wanted->number) return;
    wanted->result = *r;
    wanted->found = true;
}

SRV_IN_STORE(srv_get_job_result)
{
    srv_job job;
    wanted_result wanted = {.number = srv_param_of(req, "number")->number};
    MSA_TRY(srv_store_job_get(store, srv_param_of(req, "id")->text, &job, err));
    MSA_TRY(srv_store_job_results(store, job.id, pick_result, &wanted, err));
    if (!wanted.found) {
        nothing_yet(out, &job, "result");
        return MSA_OK;
    }
    MSA_TRY(open_blob(req, wanted.result.sha256, "application/dicom", out, err));
    (void)snprintf(out->disposition, sizeof out->disposition, "attachment; filename=\"%s-%d.dcm\"",
                   job.public_id, wanted.result.number);
    return MSA_OK;
}

SRV_IN_STORE(srv_get_job_preview)
{
    srv_job job;
    MSA_TRY(srv_store_job_get(store, srv_param_of(req, "id")->text, &job, err));
    if (job.preview_sha256[0] == '\0') {
        nothing_yet(out, &job, "preview");
        return MSA_OK;
    }
    return open_blob(req, job.preview_sha256, "image/png", out, err);
}

SRV_IN_STORE(srv_get_job_slices)
{
    srv_job job;
    MSA_TRY(srv_store_job_get(store, srv_param_of(req, "id")->text, &job, err));
    if (job.slices_sha256[0] == '\0') {
        nothing_yet(out, &job, "picture of slices");
        return MSA_OK;
    }
    return open_blob(req, job.slices_sha256, "image/png", out, err);
}
