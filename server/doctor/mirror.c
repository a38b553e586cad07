/* A destination for the doctor: takes what comes by C-STORE and keeps it as files. */
#include "server/doctor/doctor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dicom/receive.h"
#include "engine/base/cleanup.h"

typedef struct mirror {
    const char *dir;
    int taken;
    FILE *file;
} mirror;

static void path_of(const mirror *m, int number, char path[SRV_PATH_MAX + 32])
{
    (void)snprintf(path, SRV_PATH_MAX + 32, number == 0 ? "%s/part" : "%s/%d.dcm", m->dir, number);
}

static msa_status on_begin(void *ctx, const dicom_store_info *info, msa_error *err)
{
    (void)info;
    mirror *m = ctx;
    char path[SRV_PATH_MAX + 32];
    path_of(m, 0, path);
    m->file = fopen(path, "we");
    return m->file != NULL ? MSA_OK : msa_fail(err, MSA_E_IO, "cannot make %s: %s", path, strerror(errno));
}

static msa_status on_write(void *ctx, const void *bytes, size_t size, msa_error *err)
{
    const mirror *m = ctx;
    return fwrite(bytes, 1, size, m->file) == size ? MSA_OK : msa_fail(err, MSA_E_IO, "cannot write");
}

static void on_abort(void *ctx)
{
    mirror *m = ctx;
    if (m->file != NULL) (void)fclose(m->file);
    m->file = NULL;
}

static msa_status on_commit(void *ctx, const dicom_store_info *info, msa_error *err)
{
    (void)info;
    mirror *m = ctx;
    char part[SRV_PATH_MAX + 32], whole[SRV_PATH_MAX + 32];
    const int closed = fclose(m->file);
    m->file = NULL;
    path_of(m, 0, part);
    path_of(m, m->taken + 1, whole);
    if (closed != 0 || rename(part, whole) != 0) return msa_fail(err, MSA_E_IO, "cannot write %s", whole);
    m->taken++;
    return MSA_OK;
}

static _Noreturn void serve(int listener, const char *dir)
{
    mirror m = {.dir = dir};
    const dicom_receive_options options = {.ae_title = "DOCTOR",
                                           .accept_any_called = true,
                                           .associate_timeout_s = 30,
                                           .idle_timeout_s = 60,
                                           .association_max_s = 600,
                                           .object_max_bytes = 1 << 30};
    const dicom_receive_sink sink = {
        .ctx = &m, .begin = on_begin, .write = on_write, .commit = on_commit, .abort = on_abort};
    for (;;) {
        const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        dicom_receive_result result;
        if (fd < 0 && errno == EINTR) continue;
        if (fd < 0 || dicom_receive_run(fd, &options, &sink, &result, NULL) == MSA_E_NOMEM) _exit(1);
        on_abort(&m);
    }
}

msa_status srv_mirror_start(const char *dir, int32_t *port, int *pid, msa_error *err)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    MSA_AUTO_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 8) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0)
        return msa_fail(err, MSA_E_IO, "no port can be had on 127.0.0.1: %s", strerror(errno));
    *port = ntohs(address.sin_port);
    (void)fflush(NULL);
    *pid = fork();
    if (*pid < 0) return msa_fail(err, MSA_E_IO, "cannot start a process: %s", strerror(errno));
    if (*pid > 0) return MSA_OK;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == 1) _exit(1);
    serve(fd, dir);
}
