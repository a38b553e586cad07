/* Commits and jobs per second on this disk: one instance a commit, grouped by the store thread, and whole
 * jobs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/jobs/jobs.h"
#include "server/store/store.h"
#include "server/store/store_thread.h"

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void must(msa_status status, const msa_error *err)
{
    if (status == MSA_OK) return;
    (void)fprintf(stderr, "%s\n", err->what);
    exit(1);
}

static msa_status put(srv_store *s, int n, msa_error *err)
{
    srv_instance in = {.received_ms = 1, .size_bytes = 524288};
    srv_put outcome;
    int64_t id = 0;
    (void)snprintf(in.sop_instance_uid, sizeof in.sop_instance_uid, "1.2.826.0.1.3680043.8.498.%d", n);
    (void)snprintf(in.sha256, sizeof in.sha256, "%064d", n);
    return srv_store_instance_put(s, &in, &outcome, &id, err);
}

/* ---- whole jobs ---- */

static void queue_job(srv_store *s, int n)
{
    msa_error err = MSA_ERROR_INIT;
    dicom_header header = {.kind = DICOM_KIND_IMAGE, .modality = "CT"};
    srv_prompt prompt = {.created_ms = 1,
                         .prompt = {.kind = DICOM_PROMPT_BOX, .x1 = 9, .y1 = 9, .label = "liver"}};
    srv_instance in = {.received_ms = 1};
    srv_put outcome;
    int64_t id = 0;
    (void)snprintf(in.sop_instance_uid, sizeof in.sop_instance_uid, "1.3.%d", n);
    (void)snprintf(in.sha256, sizeof in.sha256, "%064d", n);
    must(srv_store_instance_put(s, &in, &outcome, &id, &err), &err);
    memcpy(header.sop_instance_uid, in.sop_instance_uid, sizeof header.sop_instance_uid);
    (void)snprintf(header.series_uid, sizeof header.series_uid, "1.4.%d", n);
    must(srv_store_instance_index(s, id, &header, NULL, 0, 1, &err), &err);
    (void)snprintf(prompt.group_id, sizeof prompt.group_id, "g%d", n);
    memcpy(prompt.prompt.series_uid, header.series_uid, sizeof prompt.prompt.series_uid);
    must(srv_store_prompts_put(s, &prompt, 1, &err), &err);
}

static void queue_jobs(srv_store *s, int first, int n)
{
    msa_error err = MSA_ERROR_INIT;
    static const srv_model_table any = {.n_models = 1,
                                        .models = {{.hash = "00"}},
                                        .n_rules = 1,
                                        .rules = {{.modality = "*", .body_part = "*", .label = "*"}}};
    const srv_job_policy policy = {.settings = "bench", .automatic = "", .models = &any, .max_attempts = 3};
    int32_t queued = 0;
    int64_t due = 0;
    must(srv_store_begin(s, &err), &err);
    for (int k = first; k < first + n; k++)
        queue_job(s, k);
    must(srv_store_commit(s, &err), &err);
    must(srv_store_begin(s, &err), &err);
    must(srv_jobs_tick(s, &policy, 1000, &queued, &due, &err), &err);
    must(srv_store_commit(s, &err), &err);
    if (queued != n) exit(1);
}

static msa_status finish_job(srv_store *s, const srv_job *job, msa_error *err)
{
    const char *to[] = {"PACS"};
    const srv_result result = {.number = 1, .size_bytes = 40000, .sop_instance_uid = "2.25.1"};
    const srv_segment segment = {.number = 1, .voxels = 100, .label = "liver"};
    return srv_store_job_done(s, job->id, job->token, &result, 1, &segment, 1, "", "", to, 1, 3000, err);
}

static void jobs_one_by_one(srv_store *s, int n)
{
    msa_error err = MSA_ERROR_INIT;
    queue_jobs(s, 0, n);
    const double start = seconds();
    for (int k = 0; k < n; k++) {
        srv_job job;
        must(srv_store_job_claim(s, 2000, 60000, &job, &err), &err);
        must(finish_job(s, &job, &err), &err);
    }
    (void)printf("claim and done, 1 worker %7.0f jobs/s      (%d jobs, a commit each step)\n",
                 n / (seconds() - start), n);
}

/* As core has it: workers side by side, whose steps share commits. */
typedef struct worker {
    srv_task task;
    srv_store_thread *thread;
    srv_job job;
    bool claimed;
    int *left, *to_claim;
} worker;

static msa_status run_step(srv_task *task, srv_store *s, msa_error *err)
{
    worker *w = (worker *)task;
    return w->claimed ? finish_job(s, &w->job, err) : srv_store_job_claim(s, 2000, 60000, &w->job, err);
}

static void done_step(srv_task *task)
{
    worker *w = (worker *)task;
    must(task->status, &task->err);
    if (w->claimed) --*w->left;
    w->claimed = !w->claimed;
    if (!w->claimed && *w->to_claim == 0) return;
    if (!w->claimed) --*w->to_claim;
    must(srv_store_thread_submit(w->thread, task, &task->err), &task->err);
}

static void jobs_side_by_side(srv_store *s, int first, int n, int n_workers)
{
    msa_error err = MSA_ERROR_INIT;
    uv_loop_t loop;
    srv_store_thread *t = NULL;
    int left = n, to_claim = n - n_workers;
    worker *workers = calloc((size_t)n_workers, sizeof *workers);
    if (!workers || uv_loop_init(&loop) != 0) exit(1);
    queue_jobs(s, first, n);
    must(srv_store_thread_start(&t, &loop, s, &err), &err);
    const double start = seconds();
    for (int k = 0; k < n_workers; k++) {
        workers[k] = (worker){
            .task = {.run = run_step, .done = done_step}, .thread = t, .left = &left, .to_claim = &to_claim};
        must(srv_store_thread_submit(t, &workers[k].task, &err), &err);
    }
    while (left > 0)
        (void)uv_run(&loop, UV_RUN_ONCE);
    (void)printf("claim and done, %d workers %6.0f jobs/s\n", n_workers, n / (seconds() - start));
    srv_store_thread_stop(t);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&loop);
    free(workers);
}

/* ---- grouped ---- */

typedef struct bench_task {
    srv_task task;
    int number, *left;
} bench_task;

static msa_status run_put(srv_task *task, srv_store *s, msa_error *err)
{
    return put(s, ((bench_task *)task)->number, err);
}

static void done_put(srv_task *task)
{
    must(task->status, &task->err);
    --*((bench_task *)task)->left;
    free(task);
}

static void grouped(srv_store *s, int first, int n, int at_once)
{
    msa_error err = MSA_ERROR_INIT;
    uv_loop_t loop;
    srv_store_thread *t = NULL;
    int left = 0, sent = 0;
    if (uv_loop_init(&loop) != 0) exit(1);
    must(srv_store_thread_start(&t, &loop, s, &err), &err);
    const double start = seconds();
    while (sent < n || left > 0) {
        for (; sent < n && left < at_once; sent++, left++) {
            bench_task *task = calloc(1, sizeof *task);
            if (!task) exit(1);
            *task = (bench_task){{.run = run_put, .done = done_put}, first + sent, &left};
            must(srv_store_thread_submit(t, &task->task, &err), &err);
        }
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    (void)printf("instances, %3d waiting  %8.0f per s\n", at_once, n / (seconds() - start));
    srv_store_thread_stop(t);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&loop);
}

int main(void)
{
    msa_error err = MSA_ERROR_INIT;
    char dir[] = "/tmp/msad-bench-XXXXXX", path[64];
    srv_store *s = NULL;
    if (!mkdtemp(dir)) return 1;
    (void)snprintf(path, sizeof path, "%s/db", dir);
    must(srv_store_open(&s, path, &err), &err);
    const double start = seconds();
    for (int k = 0; k < 2000; k++)
        must(put(s, k, &err), &err);
    (void)printf("instances, one a commit %8.0f per s\n", 2000 / (seconds() - start));
    jobs_one_by_one(s, 1000);
    jobs_side_by_side(s, 1000, 4000, 16);
    must(srv_store_open(&s, path, &err), &err);
    grouped(s, 100000, 4000, 16);
    must(srv_store_open(&s, path, &err), &err);
    grouped(s, 200000, 40000, 256);
    (void)unlink(path);
    return rmdir(dir);
}
