/* A phantom through a service of our own: the same program, model and rules, another folder and other ports.
 */
#include "server/doctor/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <arpa/inet.h>
#include <time.h>
#include <unistd.h>

#include "dicom/phantom.h"
#include "dicom/seg_check.h"
#include "engine/base/cleanup.h"
#include "engine/base/hash.h"

#define START_S 180 /* to load the model */
#define JOB_S   900
#define STOP_S  45
#define AE      "DOCTOR"

extern char **environ;

typedef struct trial {
    srv_doctor *d;
    char root[256];
    char images[280], back[280], log[280], settings[280];
    srv_config config;
    srv_rest rest;
    pid_t service, mirror;
    dicom_phantom phantom;
    char job[64];
} trial;

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void nap(void)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
}

/* ---- the service ---- */

static int32_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    MSA_AUTO_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0)
        return 0;
    return ntohs(address.sin_port);
}

/* The environment may name settings; from here on the file that we write says all. */
static void forget_environment(void)
{
    for (char **e = environ; *e != NULL;) {
        char name[128];
        (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(*e, "="), *e);
        if (strncmp(name, "MSAD_", 5) == 0 && unsetenv(name) == 0)
            e = environ;
        else
            e++;
    }
}

/* What shapes a result is theirs; all else is as built in, or here and now. */
static msa_status make_settings(trial *t, int32_t mirror_port, msa_error *err)
{
    const srv_config *theirs = t->d->config;
    srv_config *c = &t->config;
    forget_environment();
    MSA_TRY(srv_config_load(c, NULL, err));
    (void)snprintf(c->storage_path, sizeof c->storage_path, "%s/data", t->root);
    (void)snprintf(c->dicom_ae_title, sizeof c->dicom_ae_title, AE);
    c->dicom_port = free_port();
    c->http_port = free_port();
    c->work_workers = 1;
    c->work_threads = theirs->work_threads;
    c->work_memory_mib = theirs->work_memory_mib;
    memcpy(c->model_path, theirs->model_path, sizeof c->model_path);
    memcpy(c->model_adapter, theirs->model_adapter, sizeof c->model_adapter);
    memcpy(c->model_precision, theirs->model_precision, sizeof c->model_precision);
    memcpy(c->model_adapters_dir, theirs->model_adapters_dir, sizeof c->model_adapters_dir);
    memcpy(c->rules, theirs->rules, sizeof c->rules);
    c->n_rules = theirs->n_rules;
    for (int32_t i = 0; i < c->n_rules; i++) {
        (void)snprintf(c->rules[i].destinations, sizeof c->rules[i].destinations, "*");
        c->rules[i].settle_ms = c->rules[i].quiet_ms = 0;
    }
    c->completeness_settle_ms = c->completeness_prompt_settle_ms = 200;
    c->result_report = theirs->result_report;
    dicom_destination *to = &c->destinations[0];
    c->n_destinations = 1;
    (void)snprintf(to->name, sizeof to->name, "back");
    (void)snprintf(to->host, sizeof to->host, "127.0.0.1");
    (void)snprintf(to->ae_title, sizeof to->ae_title, AE);
    to->port = mirror_port;
    FILE *f = fopen(t->settings, "we");
    if (f == NULL) return msa_fail(err, MSA_E_IO, "cannot write %s: %s", t->settings, strerror(errno));
    srv_config_print(c, f);
    srv_rest_of(&t->rest, c);
    return fclose(f) == 0 ? MSA_OK : msa_fail(err, MSA_E_IO, "cannot write %s", t->settings);
}

static msa_status start_service(trial *t, msa_error *err)
{
    (void)fflush(NULL);
    t->service = fork();
    if (t->service < 0) return msa_fail(err, MSA_E_IO, "cannot start a process: %s", strerror(errno));
    if (t->service > 0) return MSA_OK;
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    const int log = open(t->log, O_WRONLY | O_CREAT | O_APPEND, 0600), null = open("/dev/null", O_RDONLY);
    if (log >= 0 && null >= 0 && dup2(null, 0) == 0 && dup2(log, 1) == 1 && dup2(log, 2) == 2)
        (void)execl("/proc/self/exe", "msad", "--config", t->settings, (char *)NULL);
    _exit(127);
}

/* What the service's log has to say, without its time: the last error, else the last warning. */
static const char *last_words(const trial *t, char words[512])
{
    char text[1024];
    bool error = false;
    (void)snprintf(words, 512, "the service left no word");
    FILE *f = fopen(t->log, "re");
    while (f != NULL && fgets(text, sizeof text, f) != NULL) {
        const char *said = strchr(text, ' ');
        const bool is_error = said != NULL && strncmp(said, " error ", 7) == 0;
        if ((!is_error && (error || said == NULL || strncmp(said, " warn ", 6) != 0)) ||
            strstr(said, "its own line above") != NULL)
            continue;
        error = is_error;
        text[strcspn(text, "\n")] = '\0';
        (void)snprintf(words, 512, "%.500s", said + 1);
    }
    if (f != NULL) (void)fclose(f);
    return words;
}

static bool service_lives(trial *t)
{
    if (t->service <= 0 || waitpid(t->service, NULL, WNOHANG) == 0) return t->service > 0;
    t->service = 0;
    return false;
}

static bool wait_ready(trial *t)
{
    char words[512], remedy[640];
    msa_error err = MSA_ERROR_INIT;
    json_t *json = NULL;
    const double begun = now_s();
    while (service_lives(t) && now_s() - begun < START_S) {
        err = (msa_error)MSA_ERROR_INIT;
        if (srv_rest_json(&t->rest, "GET", "/v1/models", NULL, &json, &err) == MSA_OK) {
            json_t *base = json_array_get(json_object_get(json, "models"), 0);
            const char *name = json_string_value(json_object_get(base, "name"));
            srv_doctor_ok(t->d, "model", "%s is loaded, with %zu adapters; %.1f s from start to ready",
                          name == NULL ? "?" : name, json_array_size(json_object_get(json, "models")) - 1,
                          now_s() - begun);
            json_decref(json);
            return true;
        }
        if (err.status == MSA_E_UNSUPPORTED) break; /* no curl */
        nap();
    }
    const bool no_curl = err.status == MSA_E_UNSUPPORTED;
    (void)snprintf(remedy, sizeof remedy, "%s",
                   no_curl ? "install the package curl"
                           : "look at model.path, model.adapters_dir and work.memory_mib: the file must be "
                             "there and readable for this user; msa inspect FILE says more");
    srv_doctor_failed(t->d, "model", remedy, "%s", no_curl ? err.what : last_words(t, words));
    return false;
}

/* ---- there and back ---- */

static bool send_images(trial *t)
{
    dicom_destination to = {
        .port = t->config.dicom_port, .timeout_s = 60, .host = "127.0.0.1", .ae_title = AE, .calling_ae = AE};
    const double begun = now_s();
    for (int32_t i = 0; i < t->phantom.slices; i++) {
        char path[320], words[512];
        dicom_send_result result = {.outcome = DICOM_RETRY};
        msa_error err = MSA_ERROR_INIT;
        (void)snprintf(path, sizeof path, "%s/image-%02d.dcm", t->images, i);
        const msa_status status = dicom_send_file(&to, path, &result, &err);
        if (status == MSA_OK && result.outcome == DICOM_DELIVERED) continue;
        srv_doctor_failed(t->d, "listener",
                          "free space in the temporary folder and the log line tell the reason",
                          "image %d was not taken: %s; %s", i + 1,
                          status == MSA_OK ? result.comment : err.what, last_words(t, words));
        return false;
    }
    srv_doctor_ok(t->d, "listener", "%d images sent by C-STORE, each durable before its Success; %.2f s",
                  t->phantom.slices, now_s() - begun);
    return true;
}

static bool annotate(trial *t)
{
    msa_error err = MSA_ERROR_INIT;
    json_t *answer = NULL;
    const double *b = t->phantom.box;
    json_t *body =
        json_pack("{s:s, s:[{s:[f,f,f,f], s:i, s:s}]}", "series_instance_uid", t->phantom.series_uid, "boxes",
                  "box", b[0], b[1], b[2], b[3], "slice", t->phantom.slice, "label", "phantom");
    const msa_status status = srv_rest_json(&t->rest, "POST", "/v1/annotations", body, &answer, &err);
    json_decref(body);
    json_decref(answer);
    if (status != MSA_OK)
        srv_doctor_failed(t->d, "rest", "please report this: it is a fault of msad", "%s", err.what);
    else
        srv_doctor_ok(t->d, "rest", "a box around the object was posted");
    return status == MSA_OK;
}

/* The newest job of the phantom once nothing more happens to it. NULL: it is still under way, or there is
 * none. */
static json_t *ended_job(trial *t)
{
    msa_error err = MSA_ERROR_INIT;
    json_t *list = NULL, *job = NULL;
    char path[128];
    (void)snprintf(path, sizeof path, "/v1/jobs?limit=1&series=%s", t->phantom.series_uid);
    if (srv_rest_json(&t->rest, "GET", path, NULL, &list, &err) != MSA_OK) return NULL;
    json_t *first = json_array_get(json_object_get(list, "jobs"), 0);
    const char *state = json_string_value(json_object_get(first, "state"));
    const char *id = json_string_value(json_object_get(first, "id"));
    if (state != NULL && id != NULL &&
        (strcmp(state, "succeeded") == 0 || strcmp(state, "succeeded_empty") == 0 ||
         strcmp(state, "failed") == 0 || strcmp(state, "cancelled") == 0)) {
        (void)snprintf(t->job, sizeof t->job, "%s", id);
        (void)snprintf(path, sizeof path, "/v1/jobs/%s", t->job);
        (void)!srv_rest_json(&t->rest, "GET", path, NULL, &job, &err);
    }
    json_decref(list);
    return job;
}

static bool judge(trial *t, json_t *job, double took_s)
{
    char words[512];
    const char *state = json_string_value(json_object_get(job, "state"));
    const char *reason = json_string_value(json_object_get(job, "reason"));
    const double found =
        json_number_value(json_object_get(json_array_get(json_object_get(job, "segments"), 0), "volume_ml"));
    if (state == NULL || strncmp(state, "succeeded", 9) != 0) {
        srv_doctor_failed(t->d, "engine", "the reason names the setting or the file to look at",
                          "the job ended as %s: %s; %s", state == NULL ? "?" : state,
                          reason == NULL ? "no reason" : reason, last_words(t, words));
        return false;
    }
    if (!(found > t->phantom.volume_ml / 2 && found < t->phantom.volume_ml * 2)) {
        srv_doctor_failed(
            t->d, "engine",
            "another model, or rules that choose another adapter for CT: see model.path and rules",
            "the model found %.1f ml where %.1f ml are, in a box drawn around it", found,
            t->phantom.volume_ml);
        return true; /* the way back is worth a look all the same */
    }
    srv_doctor_ok(t->d, "engine", "%.1f ml found of %.1f ml in the box; %.1f s", found, t->phantom.volume_ml,
                  took_s);
    return true;
}

static json_t *segment(trial *t)
{
    char words[512];
    const double begun = now_s();
    while (service_lives(t) && now_s() - begun < JOB_S) {
        json_t *job = ended_job(t);
        if (job != NULL) {
            if (judge(t, job, now_s() - begun)) return job;
            json_decref(job);
            return NULL;
        }
        nap();
    }
    srv_doctor_failed(t->d, "engine", "try again on a machine with less to do, or give work.threads more",
                      "the phantom was not segmented within %d s; %s", JOB_S, last_words(t, words));
    return NULL;
}

/* What follows the file meta information (PS3.10 section 7.1), hashed: the part that nobody may change. */
static bool hash_dataset(const char *bytes, size_t size, char hex[MSA_SHA256_HEX])
{
    const unsigned char *b = (const unsigned char *)bytes;
    if (size < 144 || memcmp(bytes + 128, "DICM", 4) != 0) return false;
    const size_t at = 144 + (b[140] | (size_t)b[141] << 8 | (size_t)b[142] << 16 | (size_t)b[143] << 24);
    if (at > size) return false;
    msa_sha256_bytes(bytes + at, size - at, NULL, hex);
    return true;
}

static bool came_back(const trial *t, const char *wanted)
{
    for (int i = 1; i <= 16; i++) {
        char path[320], hex[MSA_SHA256_HEX];
        struct stat st;
        (void)snprintf(path, sizeof path, "%s/%d.dcm", t->back, i);
        MSA_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) != 0) return false;
        MSA_AUTO_FREE char *bytes = malloc((size_t)st.st_size + 1);
        if (bytes == NULL || read(fd, bytes, (size_t)st.st_size) != st.st_size) return false;
        if (hash_dataset(bytes, (size_t)st.st_size, hex) && strcmp(hex, wanted) == 0) return true;
    }
    return false;
}

static void count_defect(void *ctx, const char *sentence)
{
    char *first = ctx;
    if (first[0] == '\0') (void)snprintf(first, 200, "%s", sentence);
}

static void check_segmentation(trial *t, const char *bytes, size_t size)
{
    char path[320], defect[200] = "";
    dicom_seg_summary summary = {0};
    msa_error err = MSA_ERROR_INIT;
    (void)snprintf(path, sizeof path, "%s/result.dcm", t->root);
    FILE *f = fopen(path, "we");
    if (f == NULL || fwrite(bytes, 1, size, f) != size || fclose(f) != 0) return;
    const msa_status status = dicom_seg_check(path, t->images, count_defect, defect, &summary, &err);
    if (status != MSA_OK || summary.defects > 0)
        srv_doctor_failed(t->d, "writer", "please report this: it is a fault of msad",
                          "the segmentation has %zu defects: %s", summary.defects,
                          status != MSA_OK ? err.what : defect);
    else
        srv_doctor_ok(t->d, "writer",
                      "the segmentation is valid and lies on its images; %d frames, %d segments",
                      summary.frames, summary.segments);
}

static void compare(trial *t, const json_t *job)
{
    const json_t *results = json_object_get(job, "results");
    const size_t n = json_array_size(results);
    for (size_t i = 0; i < n; i++) {
        char path[128], hex[MSA_SHA256_HEX];
        msa_error err = MSA_ERROR_INIT;
        MSA_AUTO_FREE char *bytes = NULL;
        size_t size = 0;
        int status = 0;
        (void)snprintf(path, sizeof path, "/v1/jobs/%s/result?number=%zu", t->job, i + 1);
        if (srv_rest_call(&t->rest, "GET", path, NULL, &status, &bytes, &size, &err) != MSA_OK ||
            status != 200 || !hash_dataset(bytes, size, hex)) {
            srv_doctor_failed(t->d, "rest", "please report this: it is a fault of msad",
                              "result %zu cannot be fetched: status %d %s", i + 1, status, err.what);
            return;
        }
        if (i == 0) check_segmentation(t, bytes, size);
        if (!came_back(t, hex)) {
            srv_doctor_failed(t->d, "way back", "please report this: it is a fault of msad",
                              "result %zu did not come back as it was made", i + 1);
            return;
        }
    }
    srv_doctor_ok(t->d, "way back", "%zu objects came back by C-STORE, byte for byte as REST has them", n);
}

/* ---- around it ---- */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static void stop(trial *t)
{
    const double begun = now_s();
    int status = 0;
    bool ended = false;
    if (t->service > 0) {
        (void)kill(t->service, SIGTERM);
        while (!(ended = waitpid(t->service, &status, WNOHANG) != 0) && now_s() - begun < STOP_S)
            nap();
        if (!ended) (void)kill(t->service, SIGKILL);
        if (!ended) (void)waitpid(t->service, NULL, 0);
        if (ended && WIFEXITED(status) && WEXITSTATUS(status) == 0)
            srv_doctor_ok(t->d, "stop", "the service of the trial stopped when told; %.1f s",
                          now_s() - begun);
        else
            srv_doctor_failed(t->d, "stop", "please report this: it is a fault of msad",
                              "the service of the trial did not stop cleanly");
    }
    if (t->mirror > 0) {
        (void)kill(t->mirror, SIGKILL);
        (void)waitpid(t->mirror, NULL, 0);
    }
    (void)nftw(t->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static msa_status prepare(trial *t, msa_error *err)
{
    const char *tmp = getenv("TMPDIR");
    int32_t port = 0;
    (void)snprintf(t->root, sizeof t->root, "%s/msad-doctor-XXXXXX",
                   tmp == NULL || strlen(tmp) > 200 || tmp[0] != '/' ? "/tmp" : tmp);
    if (mkdtemp(t->root) == NULL)
        return msa_fail(err, MSA_E_IO, "no folder can be made as %s: %s", t->root, strerror(errno));
    (void)snprintf(t->images, sizeof t->images, "%s/images", t->root);
    (void)snprintf(t->back, sizeof t->back, "%s/back", t->root);
    (void)snprintf(t->log, sizeof t->log, "%s/log", t->root);
    (void)snprintf(t->settings, sizeof t->settings, "%s/msad.yaml", t->root);
    if (mkdir(t->images, 0700) != 0 || mkdir(t->back, 0700) != 0)
        return msa_fail(err, MSA_E_IO, "no folder can be made in %s: %s", t->root, strerror(errno));
    MSA_TRY(dicom_phantom_write(t->images, "msad-doctor", &t->phantom, err));
    MSA_TRY(srv_mirror_start(t->back, &port, &t->mirror, err));
    MSA_TRY(make_settings(t, port, err));
    return start_service(t, err);
}

void srv_doctor_trial(srv_doctor *d)
{
    static trial t; /* holds a whole srv_config */
    msa_error err = MSA_ERROR_INIT;
    t = (trial){.d = d};
    if (prepare(&t, &err) != MSA_OK) {
        srv_doctor_failed(d, "trial", "set TMPDIR to a folder that this user may write", "%s", err.what);
    } else if (wait_ready(&t) && send_images(&t) && annotate(&t)) {
        json_t *job = segment(&t);
        if (job != NULL) compare(&t, job);
        json_decref(job);
    }
    stop(&t);
}
