/* Private to server/http: a request, its reply, its route, and who waits. */
#ifndef SRV_HTTP_INTERNAL_H
#define SRV_HTTP_INTERNAL_H

#include <jansson.h>
#include <microhttpd.h>

#include "server/core/clock.h"
#include "server/http/http.h"
#include "server/http/token.h"

#define SRV_HTTP_BODY_MAX (1 << 20) /* of a request we read */
#define SRV_HTTP_DRAIN_MAX                                                                                   \
    (16 << 20) /* of a request we refuse: read and dropped, so that the client sees why */
#define SRV_HTTP_CONNECTIONS_MAX 384
#define SRV_HTTP_WAITERS_MAX     256
#define SRV_HTTP_STREAMS_MAX     64 /* with the waiters fewer than connections: health is always served */
#define SRV_HTTP_TICK_MS         250
#define SRV_HTTP_IDLE_S          30    /* a connection on which nothing moves */
#define SRV_HTTP_RECEIVE_MS      60000 /* defaults of srv_http_env */
#define SRV_HTTP_STORE_MS        30000
#define SRV_HTTP_WAIT_MAX_S      60
#define SRV_PARAMS_MAX           4
#define SRV_PARAM_TEXT_MAX       72
#define SRV_MEDIA_JSON           "application/json"
#define SRV_MEDIA_DICOM          "application/dicom"

typedef struct srv_request srv_request;
typedef struct srv_watch srv_watch;
typedef struct srv_stream srv_stream;
typedef struct srv_hub srv_hub;
typedef struct srv_auth srv_auth;

/* What is answered. Plain data plus what it owns (body, fd); `status` 0: nothing yet. */
typedef struct srv_reply {
    int status;
    char *body; /* malloc'ed */
    size_t size;
    int fd;             /* -1: none; else the body is this file of `size` bytes */
    srv_stream *stream; /* else the body never ends: events.c */
    const char *media;
    const char *challenge; /* WWW-Authenticate of 401 and 403; a literal */
    const char *policy;    /* Content-Security-Policy, a literal; NULL: nothing may be loaded */
    const char *allow;     /* the Allow header of 405 and OPTIONS; borrowed from the request */
    char etag[MSA_SHA256_HEX];
    char location[96], disposition[96];
    char detail[MSA_ERROR_WHAT_MAX]; /* of a problem, for the log */
} srv_reply;

void srv_reply_init(srv_reply *r);
void srv_reply_free(srv_reply *r); /* drops what it holds and initialises it again */
/* Takes `json` (NULL: out of memory becomes a 500). */
void srv_reply_json(srv_reply *r, int status, json_t *json);
/* Takes `body`, malloc'ed. */
void srv_reply_body(srv_reply *r, int status, const char *media, char *body, size_t size);
/* RFC 9457. `detail` is one sentence. */
void srv_reply_problem(srv_reply *r, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* status.c: the one table that turns an msa_status into an HTTP status. */
int srv_http_status(msa_status status);
void srv_reply_error(srv_reply *r, const msa_error *err);
/* problem.c: title ("Not Found") and last part of the type ("not-found") of an HTTP status. */
const char *srv_problem_title(int status);
const char *srv_problem_slug(int status);

/* ---- routes ---- */

typedef enum srv_param_kind {
    SRV_PARAM_INT,
    SRV_PARAM_UID,
    SRV_PARAM_OPAQUE, /* an id of ours: 1 to 64 letters, digits, '-' or '_' */
    SRV_PARAM_NAME,   /* of the settings: 1 to 63 letters, digits, '.', '-' or '_' */
    SRV_PARAM_DELIVERY_STATE,
    SRV_PARAM_CURSOR, /* `number` is the id behind it */
    SRV_PARAM_JOB_STATE,
    SRV_PARAM_INSTANCE_STATE, /* rejected or noted: 0 or 1 */
    SRV_PARAM_WAITING,        /* the one word "waiting": 1 */
    SRV_PARAM_INSTANCE,       /* a SOP Instance UID or the SHA-256 of the file */
    SRV_PARAM_EVENT,          /* id of an event, from 0 */
} srv_param_kind;

typedef struct srv_param {
    const char *name;
    srv_param_kind kind;
    bool in_path;
    int64_t min, max, fallback; /* INT; fallback: of all kinds, when it is not given */
    const char *help;
} srv_param;

typedef struct srv_param_value {
    bool given;
    int64_t number;
    char text[SRV_PARAM_TEXT_MAX];
} srv_param_value;

/**
 * on_loop answers at once, or checks and prepares what in_store needs, or parks the request in a watch.
 * in_store runs on the store thread and fills `out` (a failure returned becomes a problem). after: on the
 * loop, once that has been committed, also when the client has gone.
 */
typedef struct srv_route {
    const char *method, *pattern;
    unsigned scopes; /* SRV_SCOPE_*: all of them are needed */
    const char *operation_id, *summary, *tag;
    srv_param params[SRV_PARAMS_MAX];
    const char *body_schema; /* NULL: takes none */
    int success;
    const char *media, *schema; /* of the success; schema NULL: not JSON */
    const char *errors;         /* "400 404": besides those that any route may give */
    void (*on_loop)(srv_request *req);
    msa_status (*in_store)(srv_request *req, srv_reply *out, srv_store *store, msa_error *err);
    void (*after)(srv_request *req);
} srv_route;

extern const srv_route srv_routes[];
extern const size_t srv_n_routes;
#define SRV_ALLOW_MAX 64
/* Finds the route of a request; else fills the reply (404, 405, or 204 for OPTIONS). */
const srv_route *srv_route_find(srv_request *req, const char *method, const char *path);
/* Reads path and query parameters by the route's table; false: the reply says what is wrong. */
bool srv_route_params(srv_request *req);
/* Value of a parameter that the route declares. */
const srv_param_value *srv_param_of(const srv_request *req, const char *name);
/* The whole document, made of the table. NULL: out of memory. */
json_t *srv_openapi(void);
json_t *srv_openapi_schemas(void); /* openapi_schemas.c */

/* ---- requests ---- */

#define SRV_IN_STORE(name) msa_status name(srv_request *req, srv_reply *out, srv_store *store, msa_error *err)

/**
 * Owned together by the connection (until MHD says it has completed) and by the store task while that is
 * under way: a client that leaves takes nothing away from under the store thread. While `in_flight`, only the
 * store thread touches `made` and `prompts`; everything else belongs to the loop.
 */
struct srv_request {
    srv_task task;  /* first: srv_task is cast back */
    srv_http *http; /* NULL once the server has stopped; not for the store thread */
    srv_blobs *blobs;
    const srv_model_table *models; /* does not change while requests are served */
    srv_request *prev, *next;
    struct MHD_Connection *connection; /* NULL once it is gone */
    int refs;
    bool dispatched, suspended, in_flight;
    bool elsewhere; /* between hold and unhold */
    const srv_route *route;
    const srv_token *token; /* only while its head is checked: the table may be read anew */
    char token_sha256[MSA_SHA256_HEX], token_name[SRV_TOKEN_NAME_MAX]; /* ""; shown none */
    unsigned scopes;
    bool guessed; /* it showed a token */
    char allow[SRV_ALLOW_MAX];
    char path_values[SRV_PARAMS_MAX][SRV_PARAM_TEXT_MAX]; /* in the order of the braces of the pattern */
    srv_param_value params[SRV_PARAMS_MAX];
    char if_none_match[128], if_match[128];
    char key_sha256[MSA_SHA256_HEX];  /* repeat.c; "": the request has no Idempotency-Key */
    uint64_t started_ms, deadline_ms; /* uv_now() */
    char *body;
    size_t body_size, body_room, received;
    bool is_upload; /* application/dicom: the body goes into `upload` */
    srv_blob_writer *upload;
    srv_reply reply; /* the loop's: what is sent */
    srv_reply made;  /* the store thread's */
    /* long-poll: watch.c */
    srv_watch *watch;
    srv_request *next_waiter;
    uint64_t wait_until_ms;
    srv_stream *stream; /* events.c; the response owns it */
    /* annotations.c */
    srv_prompt *prompts;
    size_t n_prompts;
    bool has_key, changed;
    /* rules.c */
    struct srv_rule_question *question; /* malloc'ed */
    int32_t told;                       /* series.c */
    char group_id[40], body_sha256[MSA_SHA256_HEX];
};

/* repeat.c: takes the Idempotency-Key; false: the reply says what is wrong with it. */
bool srv_repeat_read_key(srv_request *req);
/* The route's in_store, or the answer that the key had before. Store thread. */
SRV_IN_STORE(srv_repeat_run);
/* Hands the request to the store thread; when that cannot be, the reply says so. Loop thread. */
void srv_request_submit(srv_request *req);
/* For what is answered elsewhere: between these two the request stays, also when its client leaves. */
void srv_request_hold(srv_request *req);
void srv_request_unhold(srv_request *req);
/* The reply is there: wakes the connection, if it slept and is still there. */
void srv_request_resume(srv_request *req);

/* A connection, for its deadlines: MHD's own timeout only sees silence, not slowness. */
typedef struct srv_conn {
    struct srv_conn *prev, *next;
    uint64_t deadline_ms; /* uv_now(); UINT64_MAX while a request is being worked on */
    bool judged, known;   /* its certificate, where one is asked for */
    int fd;
} srv_conn;

/* Texts of the PEM files; all NULL where REST is plain. */
typedef struct srv_tls {
    char *key, *certificate, *client_ca;
} srv_tls;

struct srv_http {
    srv_http_env env;
    struct MHD_Daemon *daemon;
    uv_poll_t poll;
    uv_timer_t run_timer, tick_timer;
    int handles; /* not closed yet */
    int32_t port;
    bool stopping;
    srv_conn *conns;
    srv_request *requests;
    srv_watch *watches;
    int32_t waiters;
    srv_auth *auth;
    srv_tls tls;
    srv_hub *hub;       /* of the event streams */
    int64_t replies[6]; /* by class: 2 is 2xx */
    int64_t started_ms; /* wall clock */
    json_t *openapi;
};

/* Lets MHD run soon. Loop thread, from anywhere. */
void srv_http_kick(srv_http *h);

/* request.c: MHD's callbacks */
enum MHD_Result srv_request_access(void *cls, struct MHD_Connection *connection, const char *url,
                                   const char *method, const char *version, const char *upload,
                                   size_t *upload_size, void **con_cls);
void srv_request_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                           enum MHD_RequestTerminationCode code);
/* Answers those whose time is over. */
void srv_requests_tick(srv_http *h, uint64_t now);
/* Answers all that sleep with 503. */
void srv_requests_release(srv_http *h);

/* watch.c: GET /v1/jobs/{id}?wait= */
void srv_watch_add(srv_request *req, const char *public_id, uint64_t until_ms);
void srv_watch_remove(srv_request *req);
void srv_watch_tick(srv_http *h, uint64_t now);
void srv_watch_abandon(srv_http *h); /* the server stops */

/* events.c: GET /v1/events. The stream becomes the body of the request's reply. */
void srv_get_events(srv_request *req);
/* Takes the stream, also on failure (NULL). */
struct MHD_Response *srv_stream_response(srv_stream *stream);
void srv_stream_free(srv_stream *stream);
void srv_stream_left(srv_request *req); /* its connection ends */
MSA_NODISCARD msa_status srv_hub_new(srv_http *h, msa_error *err);
void srv_hub_look(srv_hub *hub); /* something happened */
void srv_hub_tick(srv_hub *hub, uint64_t now);
void srv_hub_end(srv_hub *hub);     /* every stream ends with what it has */
void srv_hub_abandon(srv_hub *hub); /* after the daemon has stopped: frees it, or lets its task */
int32_t srv_hub_streams(const srv_hub *hub);

/* tls.c. Errors: MSA_E_IO, MSA_E_INVALID. */
extern const char srv_tls_priorities[];
MSA_NODISCARD msa_status srv_tls_load(srv_tls *out, const srv_config *config, msa_error *err);
void srv_tls_free(srv_tls *tls);
/* It has shown a certificate that http.tls_client_ca vouches for. */
bool srv_tls_client_is_known(struct MHD_Connection *connection);

/* auth.c. Errors of new: MSA_E_INVALID when others could reach REST and there is no token. */
MSA_NODISCARD msa_status srv_auth_new(srv_http *h, msa_error *err);
void srv_auth_free(srv_auth *auth);
bool srv_auth_is_for_all(const srv_http *h); /* neither token nor certificate is asked for */
void srv_auth_identify(srv_request *req);    /* by its token, if it shows one */
/* Leaves a refusal in the reply: 401, 403 or 429. route NULL: there is none, which is not told to strangers.
 */
void srv_auth_check(srv_request *req, const srv_route *route);
/* Is what a request began with ("": no token) still good? */
bool srv_auth_still(srv_http *h, const char *token_sha256);

/* ---- JSON ---- */

/* RFC 3339, UTC, milliseconds; null for 0. */
json_t *srv_json_time(int64_t ms);
/* A string, or null when empty; bytes that are no UTF-8 become '?'. */
json_t *srv_json_text(const char *text);
/* Like srv_json_text, but an empty text stays "". */
json_t *srv_json_string(const char *text);
/* json_dumps with our flags; NULL: out of memory. */
char *srv_json_dump(const json_t *json, size_t *size);
/* Opaque page cursor of a row id, and back (false: not one of ours). */
void srv_cursor_make(int64_t id, char out[32]);
bool srv_cursor_read(const char *text, int64_t *id);

/* list.c: a page, filled by a row callback; one row more than `limit` is asked for. */
typedef struct srv_page {
    json_t *list;
    int32_t n, limit;
    int64_t last_id;
} srv_page;
srv_page srv_page_of(const srv_request *req);
bool srv_page_takes(srv_page *page, int64_t id); /* false: the row is only there to be counted */
json_t *srv_page_cursor(const srv_page *page);
/* Takes the list. Gives back `status`. */
msa_status srv_page_answer(srv_page *page, msa_status status, srv_reply *out, const char *name);

/* One job in full. *final: its state is. */
MSA_NODISCARD msa_status srv_job_view(srv_store *store, const srv_job *job, json_t **out, msa_error *err);

/* ---- handlers: on_loop_x, in_store_x ---- */
void srv_get_page(srv_request *req);
void srv_get_healthz(srv_request *req);
void srv_get_readyz(srv_request *req);
void srv_get_openapi(srv_request *req);
void srv_get_destinations(srv_request *req);
void srv_post_destination_echo(srv_request *req);
void srv_get_models(srv_request *req);
SRV_IN_STORE(srv_get_associations);
/* deliveries.c */
json_t *srv_delivery_view(const srv_delivery *d);
SRV_IN_STORE(srv_get_deliveries);
SRV_IN_STORE(srv_post_delivery_requeue);
void srv_post_destination_requeue_check(srv_request *req);
SRV_IN_STORE(srv_post_destination_requeue);
void srv_deliveries_changed(srv_request *req);
SRV_IN_STORE(srv_get_instances);
SRV_IN_STORE(srv_get_instance);
void srv_get_metrics_live(srv_request *req);
SRV_IN_STORE(srv_get_metrics);
SRV_IN_STORE(srv_get_jobs);
void srv_get_job_wait(srv_request *req);
SRV_IN_STORE(srv_get_job);
SRV_IN_STORE(srv_get_job_result);
SRV_IN_STORE(srv_get_job_preview);
SRV_IN_STORE(srv_post_job_cancel);
SRV_IN_STORE(srv_post_job_retry);
void srv_post_job_priority_check(srv_request *req);
SRV_IN_STORE(srv_post_job_priority);
void srv_job_changed_by_hand(srv_request *req);
SRV_IN_STORE(srv_get_job_slices);
SRV_IN_STORE(srv_get_series_list);
SRV_IN_STORE(srv_get_series);
SRV_IN_STORE(srv_post_series_hold);
SRV_IN_STORE(srv_post_series_release);
SRV_IN_STORE(srv_post_series_complete);
void srv_post_series_expected_check(srv_request *req);
SRV_IN_STORE(srv_post_series_expected);
SRV_IN_STORE(srv_get_annotations);
SRV_IN_STORE(srv_get_annotation);
void srv_post_annotations_check(srv_request *req);
SRV_IN_STORE(srv_post_annotations);
SRV_IN_STORE(srv_delete_annotation);
void srv_annotations_changed(srv_request *req);

/* rules.c: the rules in force, and which of them is for what. */
json_t *srv_rules_view(const srv_model_table *t);
void srv_get_rules(srv_request *req);
void srv_post_rules_test_check(srv_request *req);
SRV_IN_STORE(srv_post_rules_test);

/* instances.c: an annotation that comes as a DICOM file. */
void srv_upload_take(srv_request *req, const void *bytes, size_t size);
SRV_IN_STORE(srv_upload_store);
/* This route takes such files. */
static inline bool srv_route_uploads(const srv_route *r)
{
    return r->in_store == srv_post_annotations || r->in_store == srv_post_rules_test;
}

/* annotation_body.c: the JSON of POST /v1/annotations. *prompts: malloc'ed array. Errors: MSA_E_PARSE,
 * MSA_E_UNSUPPORTED (text prompts), MSA_E_NOMEM. */
MSA_NODISCARD msa_status srv_annotation_parse(const json_t *body, srv_prompt **prompts, size_t *n,
                                              msa_error *err);

#endif
