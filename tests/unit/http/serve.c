/**
 * The HTTP server on a real catalogue, for the tests beside it: http_serve DIR [LIMIT_MS], with settings from
 * the environment; http_serve token ... is `msad token ...`. Prints "job NAME ID" lines, then "port N"; then
 * obeys lines: finish HOW     ends the oldest queued job and tells the server touch ID       tells the server
 * that the job has changed hold MS        keeps the store thread busy flood N        writes N events unready,
 * ready changes        prints how often prompts_changed was called stop           (or end of input) ends in
 * order; exit 0
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/http/http.h"
#include "server/http/token.h"
#include "tests/unit/http/seed.h"

typedef struct world {
    uv_loop_t *loop;
    srv_config config;
    srv_http *http;
    srv_store_thread *store;
    srv_blobs *blobs;
    uv_pipe_t in;
    char line[256];
    size_t used;
    bool ready, stopping;
    int changes;
    char cancelled[40];
    srv_job claimed;
    int32_t limit_ms;
} world;

typedef struct command {
    srv_task task;
    world *w;
    char how[16], public_id[33];
    unsigned hold_ms;
    int flood;
} command;

static void live(void *ctx, srv_http_live *out)
{
    const world *w = ctx;
    out->ready = w->ready;
    (void)snprintf(out->not_ready_reason, sizeof out->not_ready_reason, "the model is being loaded");
    out->instances_stored_total = 42;
    out->engine_seconds_total = 1.5;
}

static void prompts_changed(void *ctx)
{
    ((world *)ctx)->changes++;
}

static void job_cancelled(void *ctx, const char *public_id)
{
    world *w = ctx;
    (void)snprintf(w->cancelled, sizeof w->cancelled, "%s", public_id);
}

static msa_status run_command(srv_task *task, srv_store *store, msa_error *err)
{
    command *c = (command *)task;
    if (c->hold_ms > 0) {
        uv_sleep(c->hold_ms);
        return MSA_OK;
    }
    for (int i = 0; i < c->flood; i++) {
        const srv_refusal r = {.at_ms = 1, .count = 1, .calling_ae = "LOUD", .reason = "flood of refusals"};
        MSA_TRY(srv_store_refusal_put(store, &r, err));
    }
    if (c->flood > 0) return MSA_OK;
    if (strcmp(c->how, "claim") == 0) return seed_claim(store, &c->w->claimed, err);
    if (strcmp(c->how, "end") == 0) return seed_end(store, &c->w->claimed, err);
    return seed_finish(store, c->how, c->public_id, err);
}

static void command_done(srv_task *task)
{
    command *c = (command *)task;
    if (task->status != MSA_OK)
        (void)fprintf(stderr, "command: %s\n", task->err.what);
    else if (c->hold_ms == 0 && c->flood == 0 && !c->w->stopping)
        srv_http_job_changed(c->w->http, c->public_id);
    free(c);
}

static void submit(world *w, const char *how, unsigned hold_ms, int flood)
{
    command *c = calloc(1, sizeof *c);
    if (c == NULL) abort();
    c->task.run = run_command;
    c->task.done = command_done;
    c->w = w;
    c->hold_ms = hold_ms;
    c->flood = flood;
    (void)snprintf(c->how, sizeof c->how, "%s", how);
    if (srv_store_thread_submit(w->store, &c->task, NULL) != MSA_OK) abort();
}

static void stop(world *w)
{
    if (w->stopping) return;
    w->stopping = true;
    srv_http_stop(w->http);
    srv_store_thread_stop(w->store);
    uv_close((uv_handle_t *)&w->in, NULL);
}

static void obey(world *w, const char *line)
{
    if (strncmp(line, "finish ", 7) == 0)
        submit(w, line + 7, 0, 0);
    else if (strncmp(line, "hold ", 5) == 0)
        submit(w, "", (unsigned)atoi(line + 5), 0);
    else if (strncmp(line, "flood ", 6) == 0)
        submit(w, "", 0, atoi(line + 6));
    else if (strncmp(line, "touch ", 6) == 0)
        srv_http_job_changed(w->http, line + 6);
    else if (strcmp(line, "claim") == 0 || strcmp(line, "end") == 0)
        submit(w, line, 0, 0);
    else if (strcmp(line, "cancelled") == 0)
        (void)printf("cancelled %s\n", w->cancelled);
    else if (strcmp(line, "unready") == 0)
        w->ready = false;
    else if (strcmp(line, "ready") == 0)
        w->ready = true;
    else if (strcmp(line, "changes") == 0)
        (void)printf("changes %d\n", w->changes);
    else if (strcmp(line, "stop") == 0)
        stop(w);
    else
        (void)fprintf(stderr, "unknown command %s\n", line);
    (void)fflush(stdout);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static char bytes[256];
    (void)handle, (void)suggested;
    *buf = uv_buf_init(bytes, sizeof bytes);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    world *w = stream->data;
    if (n < 0) {
        stop(w);
        return;
    }
    for (ssize_t i = 0; i < n && !w->stopping; i++) {
        if (buf->base[i] != '\n') {
            if (w->used + 1 < sizeof w->line) w->line[w->used++] = buf->base[i];
            continue;
        }
        w->line[w->used] = '\0';
        w->used = 0;
        obey(w, w->line);
    }
}

static msa_status start(world *w, const char *dir, msa_error *err)
{
    char path[SRV_PATH_MAX];
    srv_store *store = NULL;
    int32_t port = 0;
    MSA_TRY(srv_config_load(&w->config, NULL, err));
    w->config.http_port = 0;
    (void)snprintf(w->config.storage_path, sizeof w->config.storage_path, "%s", dir);
    MSA_TRY(srv_blobs_open(&w->blobs, dir, err));
    (void)snprintf(path, sizeof path, "%s/test.db", dir);
    MSA_TRY(srv_store_open(&store, path, err));
    MSA_TRY(srv_store_begin(store, err)); /* one fsync for all rows */
    MSA_TRY(seed_all(store, w->blobs, err));
    MSA_TRY(srv_store_commit(store, err));
    MSA_TRY(srv_store_thread_start(&w->store, w->loop, store, err));
    static const srv_model_table models = {
        .n_models = 3,
        .models = {{.name = "tiny",
                    .version = "1",
                    .hash = "ab12",
                    .untrained = true,
                    .file_sha256 = "ab12",
                    .size_bytes = 1000,
                    .parameters = 200,
                    .config = "{\"image_size\":64,\"dim\":32,\"input_norm\":\"sam\",\"crop_margin\":0.3}",
                    .card_path = "/models/CARD.md",
                    .card_title = "A tiny model"},
                   {.name = "tiny+ct",
                    .version = "1",
                    .hash = "cd34",
                    .untrained = true,
                    .adapter = "liver",
                    .file_sha256 = "ef56",
                    .base_sha256 = "ab12",
                    .config = "{\"image_size\":64}"},
                   {.name = "", .adapter = "broken", .error = "the file is cut short"}},
        .n_rules = 3,
        .rules = {
            {.modality = "CT",
             .body_part = "LIVER",
             .label = "tumour",
             .model = 1,
             .adapter = "liver",
             .number = 1},
            {.modality = "MR", .body_part = "*", .label = "*", .model = -1, .adapter = "broken", .number = 2},
            {.modality = "*", .body_part = "*", .label = "*", .prompts = "auto", .number = 3}}};
    const srv_http_env env = {.loop = w->loop,
                              .config = &w->config,
                              .store = w->store,
                              .blobs = w->blobs,
                              .models = &models,
                              .live = live,
                              .prompts_changed = prompts_changed,
                              .job_cancelled = job_cancelled,
                              .ctx = w,
                              .receive_ms = w->limit_ms,
                              .store_ms = w->limit_ms};
    MSA_TRY(srv_http_start(&w->http, &env, &port, err));
    (void)printf("port %d\n", port);
    (void)fflush(stdout);
    return MSA_OK;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "token") == 0) return srv_token_main(argc - 1, argv + 1);
    world *w = calloc(1, sizeof *w);
    msa_error err = MSA_ERROR_INIT;
    if (argc < 2 || argc > 3 || w == NULL) return 2;
    w->limit_ms = argc == 3 ? atoi(argv[2]) : 0;
    w->loop = uv_default_loop();
    w->ready = true;
    msa_log_set_level(MSA_LOG_ERROR);
    if (start(w, argv[1], &err) != MSA_OK) {
        (void)fprintf(stderr, "%s:%d %s\n", err.file, err.line, err.what);
        return 1;
    }
    (void)uv_pipe_init(w->loop, &w->in, 0);
    w->in.data = w;
    if (uv_pipe_open(&w->in, 0) != 0 || uv_read_start((uv_stream_t *)&w->in, on_alloc, on_read) != 0)
        return 1;
    (void)uv_run(w->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(w->loop) != 0) { /* a handle was left open */
        (void)fprintf(stderr, "the loop is not empty\n");
        return 1;
    }
    srv_blobs_free(w->blobs);
    free(w);
    return 0;
}
