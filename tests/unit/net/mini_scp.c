/**
 * A receiver for the tests: accepts connections, one process each, and runs dicom_receive_run() into a blob
 * store. Prints its port, then one line an event. Ends when standard input ends.
 *
 *   mini_scp ROOT [--ae AE] [--any-called] [--busy] [--commit ok|fail|parse] [--associate-s N] [--idle-s N]
 *            [--max-s N] [--max-bytes N] [--tls FOLDER[?]]
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dicom/receive.h"
#include "server/blob/blob.h"

typedef struct scp {
    srv_blobs *blobs;
    srv_blob_writer *writer;
    msa_status commit_status;
} scp;

/* One write(2) a line: the processes of all associations share the pipe. */
__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    if (n < 0) return;
    if ((size_t)n > sizeof line - 2) n = (int)sizeof line - 2;
    line[n++] = '\n';
    if (write(STDOUT_FILENO, line, (size_t)n) < 0) _exit(3);
}

/* Who calls itself NOBODY or LATER is not let in. */
static void on_admit(void *ctx, const dicom_assoc_info *a, dicom_verdict *verdict)
{
    (void)ctx;
    if (strcmp(a->calling_ae, "NOBODY") == 0) verdict->admission = DICOM_NOT_CALLING;
    if (strcmp(a->calling_ae, "LATER") == 0) verdict->admission = DICOM_NOT_NOW;
    (void)snprintf(verdict->why, sizeof verdict->why, "the test said so");
    if (a->tls[0] != '\0') say("secured %s %s %s", a->tls, a->certificate, a->subject);
}

static void on_opened(void *ctx, const dicom_assoc_info *a)
{
    (void)ctx;
    say("opened %s %s %s", a->calling_ae, a->called_ae, a->peer);
}

static void on_refused(void *ctx, const dicom_assoc_info *a, const char *what, const char *reason)
{
    (void)ctx;
    say("refused %s|%s|%s", a->calling_ae, what, reason);
}

static void drop(scp *s)
{
    srv_blob_writer_free(s->writer);
    s->writer = NULL;
}

static void on_abort(void *ctx)
{
    drop(ctx);
    say("abort");
}

static msa_status on_begin(void *ctx, const dicom_store_info *info, msa_error *err)
{
    scp *s = ctx;
    (void)info;
    if (s->writer != NULL) return msa_fail(err, MSA_E_INTERNAL, "an object is under way");
    return srv_blob_writer_new(&s->writer, s->blobs, err);
}

static msa_status on_write(void *ctx, const void *bytes, size_t size, msa_error *err)
{
    scp *s = ctx;
    return srv_blob_writer_write(s->writer, bytes, size, err);
}

static msa_status on_commit(void *ctx, const dicom_store_info *info, msa_error *err)
{
    scp *s = ctx;
    char sha256[MSA_SHA256_HEX];
    int64_t size = 0;
    msa_status st = s->commit_status;
    if (st != MSA_OK)
        st = msa_fail(err, st, "the test said so");
    else
        st = srv_blob_writer_commit(s->writer, sha256, &size, err);
    drop(s);
    if (st == MSA_OK)
        say("commit %s %s %lld %s", info->sop_instance_uid, sha256, (long long)size,
            info->transfer_syntax_uid);
    return st;
}

static int serve(int fd, const char *root, const dicom_receive_options *options, msa_status commit_status)
{
    msa_error err = MSA_ERROR_INIT;
    scp s = {.commit_status = commit_status};
    dicom_receive_result result;
    if (srv_blobs_open(&s.blobs, root, &err) != MSA_OK) {
        say("closed lost stored=0 failed=0 echoed=0 io|%s", err.what);
        return 1;
    }
    const dicom_receive_sink sink = {&s,       on_admit,  on_opened, on_begin,
                                     on_write, on_commit, on_abort,  on_refused, NULL};
    const msa_status st = dicom_receive_run(fd, options, &sink, &result, &err);
    say("closed %s stored=%d failed=%d echoed=%d %s|%s", result.ended, result.stored, result.failed,
        result.echoed, msa_status_name(st), err.what);
    drop(&s);
    srv_blobs_free(s.blobs);
    return 0;
}

/* FOLDER has key.pem, cert.pem and ca.pem; a "?" at its end: peers may be anonymous. */
static void open_tls(dicom_receive_options *o, const char *folder)
{
    static dicom_tls_context *context;
    const int n = (int)strcspn(folder, "?");
    dicom_tls tls = {.on = true, .peer_may_be_anonymous = folder[n] == '?'};
    msa_error err = MSA_ERROR_INIT;
    (void)snprintf(tls.key, sizeof tls.key, "%.*s/key.pem", n, folder);
    (void)snprintf(tls.certificate, sizeof tls.certificate, "%.*s/cert.pem", n, folder);
    (void)snprintf(tls.ca, sizeof tls.ca, "%.*s/ca.pem", n, folder);
    if (dicom_tls_open(&context, &tls, true, &err) != MSA_OK) {
        say("tls %s", err.what);
        exit(4);
    }
    o->tls = context;
}

static int listen_anywhere(void)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 64) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &n) != 0)
        return -1;
    say("port %u", ntohs(a.sin_port));
    return fd;
}

static msa_status parse_commit(const char *name)
{
    return strcmp(name, "fail") == 0 ? MSA_E_IO : strcmp(name, "parse") == 0 ? MSA_E_PARSE : MSA_OK;
}

int main(int argc, char **argv)
{
    dicom_receive_options o = {.ae_title = "MSAD",
                               .associate_timeout_s = 5,
                               .idle_timeout_s = 10,
                               .association_max_s = 120,
                               .object_max_bytes = 1 << 30};
    msa_status commit_status = MSA_OK;
    if (argc < 2) return 2;
    for (int i = 2; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--any-called") == 0)
            o.accept_any_called = true;
        else if (strcmp(argv[i], "--busy") == 0)
            o.busy = true;
        else if (strcmp(argv[i], "--ae") == 0)
            o.ae_title = value, i++;
        else if (strcmp(argv[i], "--commit") == 0)
            commit_status = parse_commit(value), i++;
        else if (strcmp(argv[i], "--associate-s") == 0)
            o.associate_timeout_s = atoi(value), i++;
        else if (strcmp(argv[i], "--tls") == 0)
            open_tls(&o, value), i++;
        else if (strcmp(argv[i], "--idle-s") == 0)
            o.idle_timeout_s = atoi(value), i++;
        else if (strcmp(argv[i], "--max-s") == 0)
            o.association_max_s = atoi(value), i++;
        else if (strcmp(argv[i], "--max-bytes") == 0)
            o.object_max_bytes = atoll(value), i++;
        else
            return 2;
    }
    const int listener = listen_anywhere();
    if (listener < 0) return 1;
    for (;;) {
        struct pollfd p[2] = {{listener, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
        if (poll(p, 2, 500) < 0) return 1;
        int status;
        pid_t child;
        while ((child = waitpid(-1, &status, WNOHANG)) > 0)
            if (!WIFEXITED(status) || WEXITSTATUS(status) > 1) say("crashed status=%x", (unsigned)status);
        if (p[1].revents != 0) return 0;
        if ((p[0].revents & POLLIN) == 0) continue;
        const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) continue;
        child = fork();
        if (child == 0) {
            (void)close(listener);
            _exit(serve(fd, argv[1], &o, commit_status));
        }
        (void)close(fd);
    }
}
