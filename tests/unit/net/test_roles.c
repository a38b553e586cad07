/* The receive and send roles as core sees them: this test is core, and a forked child is the role. */
#include <arpa/inet.h>
#include <ftw.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "dicom/send.h"
#include "server/blob/blob.h"
#include "server/core/ipc.h"
#include "server/roles/roles.h"

typedef struct world {
    char root[64], file[80];
    int listener, port;
} world;

#define CT "1.2.840.10008.5.1.4.1.1.2"

static void element(FILE *f, unsigned group, unsigned number, const char *vr, const char *text)
{
    const size_t n = strlen(text), padded = n + n % 2;
    const unsigned char head[8] = {
        (unsigned char)group,  0, (unsigned char)number, 0, (unsigned char)vr[0], (unsigned char)vr[1],
        (unsigned char)padded, 0};
    assert_int_equal(fwrite(head, 1, 8, f), 8);
    assert_int_equal(fwrite(text, 1, n, f), n);
    if (padded > n) assert_int_equal(fputc(vr[0] == 'U' ? 0 : ' ', f), vr[0] == 'U' ? 0 : ' ');
}

/* Part 10 with a dataset of a few elements. */
static void make_file(const char *path)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    const char prefix[132 + 12] = {[128] = 'D', 'I', 'C', 'M', 2, 0, 0, 0, 'U', 'L', 4, 0, 82};
    assert_int_equal(fwrite(prefix, 1, sizeof prefix, f), sizeof prefix);
    element(f, 2, 2, "UI", CT);                       /* 8 + 26 */
    element(f, 2, 3, "UI", "1.2.3.4");                /* 8 + 8 */
    element(f, 2, 0x10, "UI", "1.2.840.10008.1.2.1"); /* 8 + 20 */
    (void)fseek(f, 0, SEEK_END);
    const long end = ftell(f);
    const unsigned char length = (unsigned char)(end - 144);
    (void)fseek(f, 140, SEEK_SET);
    (void)fputc(length, f);
    (void)fseek(f, 0, SEEK_END);
    element(f, 8, 0x16, "UI", CT);
    element(f, 8, 0x18, "UI", "1.2.3.4");
    element(f, 0x10, 0x20, "LO", "Canary");
    assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
    world *w = calloc(1, sizeof *w);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    if (w == NULL) return -1;
    (void)snprintf(w->root, sizeof w->root, "/tmp/msad-roles-XXXXXX");
    if (mkdtemp(w->root) == NULL) return -1;
    char store[sizeof w->root + 8];
    MSA_AUTO(srv_blobs) blobs = NULL; /* core opens the store before it starts a role */
    (void)snprintf(store, sizeof store, "%s/store", w->root);
    if (srv_blobs_open(&blobs, store, NULL) != MSA_OK) return -1;
    (void)snprintf(w->file, sizeof w->file, "%s/in.dcm", w->root);
    make_file(w->file);
    w->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(w->listener, (struct sockaddr *)&a, sizeof a) != 0 || listen(w->listener, 4) != 0) return -1;
    if (getsockname(w->listener, (struct sockaddr *)&a, &n) != 0) return -1;
    w->port = ntohs(a.sin_port);
    *state = w;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    world *w = *state;
    (void)close(w->listener);
    const int rc = nftw(w->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(w);
    return rc;
}

/* Forks a role with its descriptors where it expects them. Returns core's end of its socket. */
static int start_role(int (*role)(void), int extra_fd, pid_t *pid)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    *pid = fork();
    assert_true(*pid >= 0);
    if (*pid == 0) {
        /* Out of the way of 3 and 4 first. */
        const int ipc = dup2(fds[1], 40), extra = extra_fd >= 0 ? dup2(extra_fd, 41) : -1;
        for (int fd = 3; fd < 40; fd++)
            (void)close(fd);
        if (dup2(ipc, SRV_IPC_FD) < 0 || (extra >= 0 && dup2(extra, SRV_SOCK_FD) < 0)) _exit(9);
        (void)close(ipc);
        if (extra >= 0) (void)close(extra);
        _exit(role());
    }
    (void)close(fds[1]);
    return fds[0];
}

static int end_of(pid_t pid)
{
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* A sender in a process of its own; its exit status is the low byte of 16 * outcome + (answered ? 1 : 0). */
static pid_t start_sender(const world *w)
{
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0) return pid;
    dicom_destination to = {
        .port = w->port, .timeout_s = 10, .host = "127.0.0.1", .ae_title = "MSAD", .calling_ae = "TEST"};
    dicom_send_result r;
    if (dicom_send_file(&to, w->file, &r, NULL) != MSA_OK) _exit(99);
    _exit(16 * r.outcome + (r.dimse_status >= 0));
}

/* Starts a sender and a receive role for it; returns core's end. */
static int start_receive(const world *w, pid_t *role, pid_t *sender)
{
    srv_ipc_receive_start start = {.ae_title = "MSAD",
                                   .associate_timeout_s = 5,
                                   .idle_timeout_s = 10,
                                   .association_max_s = 60,
                                   .object_max_bytes = 1 << 20};
    (void)snprintf(start.storage_path, sizeof start.storage_path, "%s/store", w->root);
    *sender = start_sender(w);
    const int peer = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(peer >= 0);
    const int core = start_role(srv_receive_main, peer, role);
    (void)close(peer);
    assert_int_equal(srv_ipc_send(core, SRV_IPC_RECEIVE_START, &start, sizeof start, NULL), MSA_OK);
    return core;
}

static void expect_commit(const world *w, int core, srv_ipc_commit *m)
{
    dicom_assoc_info info;
    const dicom_verdict welcome = {.admission = DICOM_ADMITTED};
    assert_int_equal(srv_ipc_expect(core, SRV_IPC_ADMIT, &info, sizeof info, NULL), MSA_OK);
    assert_string_equal(info.peer, "127.0.0.1");
    assert_int_equal(srv_ipc_send(core, SRV_IPC_ADMITTED, &welcome, sizeof welcome, NULL), MSA_OK);
    assert_int_equal(srv_ipc_expect(core, SRV_IPC_OPENED, &info, sizeof info, NULL), MSA_OK);
    assert_string_equal(info.calling_ae, "TEST");
    assert_string_equal(info.called_ae, "MSAD");
    assert_string_equal(info.peer, "127.0.0.1");
    assert_int_equal(srv_ipc_expect(core, SRV_IPC_COMMIT, m, sizeof *m, NULL), MSA_OK);
    assert_string_equal(m->info.sop_instance_uid, "1.2.3.4");
    assert_string_equal(m->info.sop_class_uid, CT);
    /* Durable already: the row must never point to nothing. */
    MSA_AUTO(srv_blobs) blobs = NULL;
    char root[96], path[256], sha[MSA_SHA256_HEX];
    (void)snprintf(root, sizeof root, "%s/store", w->root);
    assert_int_equal(srv_blobs_open(&blobs, root, NULL), MSA_OK);
    assert_int_equal(srv_blob_path(blobs, m->sha256, path, sizeof path, NULL), MSA_OK);
    assert_int_equal(msa_sha256_file(path, sha, NULL), MSA_OK);
    assert_string_equal(sha, m->sha256);
}

static void expect_closed(int core, int stored, int failed)
{
    dicom_receive_result r;
    assert_int_equal(srv_ipc_expect(core, SRV_IPC_CLOSED, &r, sizeof r, NULL), MSA_OK);
    assert_int_equal(r.stored, stored);
    assert_int_equal(r.failed, failed);
    assert_string_equal(r.ended, "released");
    (void)close(core);
}

static void test_success_after_core_committed(void **state)
{
    pid_t role, sender;
    srv_ipc_commit m;
    const int core = start_receive(*state, &role, &sender);
    expect_commit(*state, core, &m);
    int status;
    (void)usleep(200000);
    assert_int_equal(waitpid(sender, &status, WNOHANG), 0); /* no answer before core's */
    const srv_ipc_committed yes = {.status = MSA_OK};
    assert_int_equal(srv_ipc_send(core, SRV_IPC_COMMITTED, &yes, sizeof yes, NULL), MSA_OK);
    assert_int_equal(end_of(sender), 16 * DICOM_DELIVERED + 1);
    expect_closed(core, 1, 0);
    assert_int_equal(end_of(role), 0);
}

static void test_core_says_no(void **state)
{
    pid_t role, sender;
    srv_ipc_commit m;
    const int core = start_receive(*state, &role, &sender);
    expect_commit(*state, core, &m);
    const srv_ipc_committed no = {.status = MSA_E_BUSY, .what = "the catalogue is locked"};
    assert_int_equal(srv_ipc_send(core, SRV_IPC_COMMITTED, &no, sizeof no, NULL), MSA_OK);
    assert_int_equal(end_of(sender), 16 * DICOM_RETRY + 1); /* A700 */
    expect_closed(core, 0, 1);
    assert_int_equal(end_of(role), 0);
}

static void test_core_is_gone(void **state)
{
    pid_t role, sender;
    srv_ipc_commit m;
    const int core = start_receive(*state, &role, &sender);
    expect_commit(*state, core, &m);
    (void)close(core);
    assert_int_equal(end_of(sender), 16 * DICOM_RETRY + 1); /* A700, never Success */
    assert_int_equal(end_of(role), 1);
}

static void test_core_answers_nonsense(void **state)
{
    pid_t role, sender;
    srv_ipc_commit m;
    const int core = start_receive(*state, &role, &sender);
    expect_commit(*state, core, &m);
    const srv_ipc_text wrong = {"?"};
    assert_int_equal(srv_ipc_send(core, SRV_IPC_COMMITTED, &wrong, sizeof wrong, NULL), MSA_OK);
    assert_int_equal(end_of(sender), 16 * DICOM_RETRY + 1); /* our fault, not the object's */
    (void)close(core);
    (void)end_of(role);
}

static void test_send(void **state)
{
    const world *w = *state;
    pid_t role, receiver;
    srv_ipc_send_start start = {
        .to = {
            .port = w->port, .timeout_s = 10, .host = "127.0.0.1", .ae_title = "MSAD", .calling_ae = "TEST"}};
    srv_ipc_receive_start receive = {
        .ae_title = "MSAD", .associate_timeout_s = 5, .idle_timeout_s = 5, .association_max_s = 60};
    (void)snprintf(start.path, sizeof start.path, "%s", w->file);
    (void)snprintf(receive.storage_path, sizeof receive.storage_path, "%s/store", w->root);
    const int core = start_role(srv_send_main, -1, &role);
    assert_int_equal(srv_ipc_send(core, SRV_IPC_SEND_START, &start, sizeof start, NULL), MSA_OK);
    const int peer = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC);
    const int other = start_role(srv_receive_main, peer, &receiver);
    (void)close(peer);
    assert_int_equal(srv_ipc_send(other, SRV_IPC_RECEIVE_START, &receive, sizeof receive, NULL), MSA_OK);
    srv_ipc_commit m;
    expect_commit(w, other, &m);
    const srv_ipc_committed yes = {.status = MSA_OK};
    assert_int_equal(srv_ipc_send(other, SRV_IPC_COMMITTED, &yes, sizeof yes, NULL), MSA_OK);
    dicom_send_result r;
    assert_int_equal(srv_ipc_expect(core, SRV_IPC_SENT, &r, sizeof r, NULL), MSA_OK);
    assert_int_equal(r.outcome, DICOM_DELIVERED);
    assert_int_equal(r.dimse_status, 0);
    expect_closed(other, 1, 0);
    assert_int_equal(end_of(role), 0);
    assert_int_equal(end_of(receiver), 0);
    (void)close(core);
}

static void test_send_of_what_is_no_file(void **state)
{
    const world *w = *state;
    pid_t role;
    dicom_send_result r;
    srv_ipc_send_start start = {
        .to = {.port = 104, .timeout_s = 5, .host = "127.0.0.1", .ae_title = "X", .calling_ae = "Y"}};
    (void)snprintf(start.path, sizeof start.path, "%s", w->file);
    assert_int_equal(truncate(w->file, 100), 0);
    const int core = start_role(srv_send_main, -1, &role);
    assert_int_equal(srv_ipc_send(core, SRV_IPC_SEND_START, &start, sizeof start, NULL), MSA_OK);
    assert_int_equal(srv_ipc_expect(core, SRV_IPC_SENT, &r, sizeof r, NULL), MSA_OK);
    assert_int_equal(r.outcome, DICOM_REFUSED);
    assert_string_equal(r.comment, "the file to send does not begin with file meta information");
    assert_int_equal(end_of(role), 0);
    (void)close(core);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_success_after_core_committed), CASE(test_core_says_no), CASE(test_core_is_gone),
        CASE(test_core_answers_nonsense),        CASE(test_send),         CASE(test_send_of_what_is_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
