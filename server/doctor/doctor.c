/* msad doctor: the checks of this machine; the trial is trial.c. */
#include "server/doctor/doctor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "dicom/send.h"
#include "engine/base/cleanup.h"
#include "engine/base/log.h"

#define DISK_MIN_MIB   2048 /* a large study and its results */
#define ECHO_TIMEOUT_S 10

static void line(const char *verdict, const char *step, const char *fmt, va_list args)
{
    (void)printf("%-5s %-14s ", verdict, step);
    (void)vprintf(fmt, args);
    (void)putchar('\n');
}

void srv_doctor_ok(srv_doctor *d, const char *step, const char *fmt, ...)
{
    (void)d;
    va_list args;
    va_start(args, fmt);
    line("ok", step, fmt, args);
    va_end(args);
    (void)fflush(stdout);
}

void srv_doctor_failed(srv_doctor *d, const char *step, const char *remedy, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    line("FAIL", step, fmt, args);
    va_end(args);
    (void)printf("%-20s remedy: %s\n", "", remedy);
    (void)fflush(stdout);
    d->failed++;
}

/* ---- disk ---- */

static msa_status try_folder(const char *root, msa_error *err)
{
    char path[SRV_PATH_MAX + 32];
    (void)snprintf(path, sizeof path, "%s/.doctor-%d", root, (int)getpid());
    MSA_AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return msa_fail(err, MSA_E_IO, "no file can be made in it: %s", strerror(errno));
    const bool good = write(fd, "msad", 4) == 4 && fsync(fd) == 0;
    const int why = errno;
    (void)unlink(path);
    return good ? MSA_OK : msa_fail(err, MSA_E_IO, "no file can be written in it: %s", strerror(why));
}

static const char *user(void)
{
    const struct passwd *p = getpwuid(geteuid());
    return p == NULL ? "this user" : p->pw_name;
}

static void check_disk(srv_doctor *d)
{
    const char *root = d->config->storage_path;
    struct statvfs s;
    msa_error err = MSA_ERROR_INIT;
    char remedy[SRV_PATH_MAX + 128];
    if (access(root, F_OK) != 0 && errno == ENOENT) {
        char parent[SRV_PATH_MAX];
        (void)snprintf(parent, sizeof parent, "%s", root);
        char *slash = strrchr(parent, '/');
        if (slash == NULL)
            (void)snprintf(parent, sizeof parent, ".");
        else
            slash[slash == parent] = '\0';
        if (access(parent, W_OK | X_OK) == 0) {
            srv_doctor_ok(d, "storage", "%s will be made at the first start", root);
            return;
        }
        (void)snprintf(remedy, sizeof remedy, "make it: install -d -o %s -m 700 %s; or set storage.path",
                       user(), root);
        srv_doctor_failed(d, "storage", remedy, "%s is not there, and %s cannot make it", root, user());
        return;
    }
    if (try_folder(root, &err) != MSA_OK || statvfs(root, &s) != 0) {
        (void)snprintf(
            remedy, sizeof remedy,
            "run the doctor as the user of the service, or give that user the folder: chown -R %s %s", user(),
            root);
        srv_doctor_failed(d, "storage", remedy, "%s: %s", root, err.what);
        return;
    }
    const double free_mib = (double)s.f_bavail * (double)s.f_frsize / (1 << 20);
    if (free_mib < DISK_MIN_MIB)
        srv_doctor_failed(d, "storage", "make room on that disk, or set storage.path to a larger one",
                          "%s has %.0f MiB left, which a large study may need alone", root, free_mib);
    else
        srv_doctor_ok(d, "storage", "%s can be written, %.1f GiB are free", root, free_mib / 1024);
}

/* ---- ports ---- */

/* The lock that a service holds on its storage tells whether one runs. */
static bool service_runs(const srv_config *config)
{
    char path[SRV_PATH_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/lock", config->storage_path);
    MSA_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

static int try_port(const char *bind_to, int32_t port)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    const bool is_six = inet_pton(AF_INET6, bind_to, &six.sin6_addr) == 1;
    if (!is_six && inet_pton(AF_INET, bind_to, &four.sin_addr) != 1) return EINVAL;
    MSA_AUTO_FD int fd = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int one = 1;
    if (fd < 0) return errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one); /* as libuv does */
    const int rc = is_six ? bind(fd, (const struct sockaddr *)&six, sizeof six)
                          : bind(fd, (const struct sockaddr *)&four, sizeof four);
    return rc != 0 || listen(fd, 1) != 0 ? errno : 0;
}

static void check_port(srv_doctor *d, const char *section, const char *bind_to, int32_t port)
{
    char remedy[256], step[32];
    const int why = try_port(bind_to, port);
    (void)snprintf(step, sizeof step, "%s port", section);
    if (why == 0) {
        srv_doctor_ok(d, step, "%s port %d is free", bind_to, port);
        return;
    }
    if (why == EADDRINUSE)
        (void)snprintf(remedy, sizeof remedy,
                       "see who has it: ss -ltnp 'sport = :%d'; end that, or set %s.port", port, section);
    else if (why == EACCES)
        (void)snprintf(remedy, sizeof remedy,
                       "ports below 1024 are for root, or for a service with AmbientCapabilities="
                       "CAP_NET_BIND_SERVICE; or set %s.port",
                       section);
    else
        (void)snprintf(remedy, sizeof remedy, "set %s.bind to an address of this machine: see ip address",
                       section);
    srv_doctor_failed(d, step, remedy, "%s port %d cannot be listened on: %s", bind_to, port, strerror(why));
}

static void check_running(srv_doctor *d)
{
    srv_rest rest;
    msa_error err = MSA_ERROR_INIT;
    MSA_AUTO_FREE char *bytes = NULL;
    size_t size = 0;
    int status = 0;
    srv_rest_of(&rest, d->config);
    const bool answers = srv_rest_call(&rest, "GET", "/readyz", NULL, &status, &bytes, &size, &err) == MSA_OK;
    json_t *json = answers ? json_loadb(bytes, size, 0, NULL) : NULL;
    const char *detail = json_string_value(json_object_get(json, "detail"));
    if (detail == NULL) detail = answers ? "it does not say why" : err.what;
    if (status == 200)
        srv_doctor_ok(d, "service", "runs on this storage and is ready; its ports are its own");
    else if (status == 401 || status == 403)
        srv_doctor_failed(d, "service", "put a token with the scope read into MSAD_TOKEN: msad token create",
                          "runs on this storage, but does not tell us whether it is ready: %s", detail);
    else
        srv_doctor_failed(d, "service", "its log says more: journalctl -u msad",
                          "runs on this storage, but is not ready: %s", detail);
    json_decref(json);
}

/* ---- peers ---- */

static void check_peer(srv_doctor *d, const char *step, const dicom_destination *peer)
{
    dicom_destination to = *peer;
    dicom_send_result result = {.outcome = DICOM_RETRY};
    msa_error err = MSA_ERROR_INIT;
    char remedy[512];
    if (to.timeout_s > ECHO_TIMEOUT_S) to.timeout_s = ECHO_TIMEOUT_S;
    const msa_status status = dicom_send_echo(&to, &result, &err);
    if (status == MSA_OK && result.outcome == DICOM_DELIVERED) {
        srv_doctor_ok(d, step, "%s (%s@%s:%d) answers C-ECHO", to.name[0] == '\0' ? to.ae_title : to.name,
                      to.ae_title, to.host, to.port);
        return;
    }
    (void)snprintf(
        remedy, sizeof remedy,
        "compare host, port and AE title with those of the peer, and have it know us: AE title %s, "
        "this machine's address",
        to.calling_ae);
    srv_doctor_failed(d, step, remedy, "%s (%s@%s:%d): %s", to.name[0] == '\0' ? to.ae_title : to.name,
                      to.ae_title, to.host, to.port, status == MSA_OK ? result.comment : err.what);
}

int srv_doctor_run(const srv_config *config, const char *config_path)
{
    srv_doctor d = {.config = config};
    (void)signal(SIGPIPE, SIG_IGN);
    msa_log_set_level(MSA_LOG_ERROR);
    srv_doctor_ok(&d, "settings", "%s: good; destinations %d, sources %d, rules %d",
                  config_path == NULL ? "built-in" : config_path, config->n_destinations, config->n_sources,
                  config->n_rules);
    check_disk(&d);
    if (service_runs(config)) {
        check_running(&d);
    } else {
        check_port(&d, "dicom", config->dicom_bind, config->dicom_port);
        check_port(&d, "http", config->http_bind, config->http_port);
    }
    for (int32_t i = 0; i < config->n_destinations; i++)
        check_peer(&d, "destination", &config->destinations[i]);
    for (int32_t i = 0; i < config->n_sources; i++)
        check_peer(&d, "source", &config->sources[i]);
    srv_doctor_trial(&d);
    if (d.failed == 0)
        (void)puts("all is well");
    else
        (void)printf("%d of these need somebody\n", d.failed);
    return d.failed == 0 ? 0 : 1;
}
