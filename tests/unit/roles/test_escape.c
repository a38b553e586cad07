/* The escape suite: inside the sandbox of each role nothing of escapes.c succeeds, and without it all of it
 * does, so that the attempts are known to be real. What the role is for still works. Prints one line a role;
 * with --list every attempt. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <iconv.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dicom/init.h"
#include "engine/base/cleanup.h"
#include "server/blob/blob.h"
#include "server/core/ipc.h"
#include "server/roles/confine.h"
#include "server/roles/sandbox.h"
#include "tests/unit/roles/escapes.h"

#define OTHER_PORT 104 /* of the destination that send is allowed; nobody listens there */

typedef enum fate { GOT_OUT, REFUSED, ENDED, BROKEN } fate;

static bool list_all;
static long landlock_abi;

/* ---- the world ---- */

static bool make_file(const char *folder, const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    return fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0;
}

static bool make_folder(const char *root, const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    return mkdir(path, 0700) == 0;
}

static bool open_network(world *w, int *listener)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    *listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(*listener, (struct sockaddr *)&at, sizeof at) != 0 || listen(*listener, 512) != 0) return false;
    if (getsockname(*listener, (struct sockaddr *)&at, &size) != 0) return false;
    w->port = ntohs(at.sin_port);
    return true;
}

/* Fresh for every attempt, so that one that succeeds does not help the next. */
static bool make_world(world *w)
{
    char link_path[192];
    (void)snprintf(w->root, sizeof w->root, "/tmp/msad-escape-XXXXXX");
    if (mkdtemp(w->root) == NULL || chmod(w->root, 0755) != 0) return false;
    (void)snprintf(w->storage, sizeof w->storage, "%s/storage", w->root);
    (void)snprintf(w->outside, sizeof w->outside, "%s/outside", w->root);
    (void)snprintf(w->blob, sizeof w->blob, "%s/blobs/aa/blob", w->storage);
    (void)snprintf(link_path, sizeof link_path, "%s/blobs/aa/link", w->storage);
    return make_folder(w->root, "storage") && make_folder(w->root, "outside") &&
           make_folder(w->storage, "blobs") && make_folder(w->storage, "blobs/aa") &&
           make_folder(w->storage, "incoming") && make_folder(w->storage, "jobs") &&
           make_folder(w->storage, "jobs/1-1") && make_folder(w->storage, "embeddings") &&
           make_file(w->storage, "msad.sqlite") && make_file(w->outside, "victim") &&
           make_file(w->storage, "blobs/aa/blob") && symlink("/etc/passwd", link_path) == 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

/* ---- a role ---- */

static msa_status enter(unsigned role, const world *w, int port, msa_error *err)
{
    srv_ipc_work_start start = {.index_only = role == OF_INDEX,
                                .model_path = "/nonexistent/model.safetensors"};
    (void)snprintf(start.storage_path, sizeof start.storage_path, "%s", w->storage);
    if (role == OF_RECEIVE) return srv_sandbox_receive(w->storage, err);
    if (role == OF_SEND) return srv_sandbox_send(w->blob, &(dicom_destination){.port = port}, err);
    return srv_sandbox_work(&start, NULL, err);
}

/* In the child: core's socket where a role has it, then the attempt. Never returns. */
static void be_hostile(unsigned role, const escape *e, world *w, int core_fd)
{
    msa_error err = MSA_ERROR_INIT;
    w->parent = getppid();
    if (dup2(core_fd, SRV_IPC_FD) != SRV_IPC_FD) _exit(9);
    w->socket_fd = fcntl(socket(AF_INET, SOCK_STREAM, 0), F_DUPFD_CLOEXEC, 10);
    if (srv_role_confine(1024, 60, &err) != MSA_OK) _exit(9);
    if (role != 0 && enter(role, w, OTHER_PORT, &err) != MSA_OK) {
        (void)fprintf(stderr, "%s\n", err.what);
        _exit(9);
    }
    const int rc = e->attempt(w);
    _exit(rc == 0 ? 0 : 1);
}

/* Role 0: without a sandbox. */
static fate suffer(unsigned role, const escape *e, world *w)
{
    int fds[2], status = 0;
    struct {
        srv_ipc_head head;
        srv_ipc_forbidden body;
    } words;
    memset(&words, 0, sizeof words);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) return BROKEN;
    (void)fflush(NULL);
    const pid_t child = fork();
    if (child == 0) be_hostile(role, e, w, fds[1]);
    (void)close(fds[1]);
    if (child < 0 || waitpid(child, &status, 0) != child) return BROKEN;
    const ssize_t n = recv(fds[0], &words, sizeof words, MSG_DONTWAIT);
    (void)close(fds[0]);
    if (WIFSIGNALED(status)) return WTERMSIG(status) == SIGSYS ? ENDED : BROKEN;
    if (WEXITSTATUS(status) == SRV_EXIT_FORBIDDEN)
        return n == (ssize_t)sizeof words && words.head.type == SRV_IPC_FORBIDDEN && words.body.call > 0
                   ? ENDED
                   : BROKEN;
    return WEXITSTATUS(status) == 0 ? GOT_OUT : WEXITSTATUS(status) == 1 ? REFUSED : BROKEN;
}

static fate suffer_afresh(unsigned role, const escape *e)
{
    world w = {.socket_fd = -1};
    int listener = -1;
    fate f = BROKEN;
    if (make_world(&w) && open_network(&w, &listener)) f = suffer(role, e, &w);
    if (listener >= 0) (void)close(listener);
    (void)nftw(w.root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return f;
}

/* ---- what must hold ---- */

static bool holds_here(const escape *e)
{
    const long needed = e->by == BY_LANDLOCK ? 2 : e->by == BY_LANDLOCK_PORTS ? 4 : 0;
    return landlock_abi >= needed;
}

/* All that hold fail, each for a reason that the suite knows. */
static int check_role(unsigned role, const char *name)
{
    int tried = 0, refused = 0, ended = 0, not_here = 0, wrong = 0;
    for (size_t i = 0; i < n_escapes; i++) {
        const escape *e = &escapes[i];
        if ((e->of & role) == 0) continue;
        if (!holds_here(e)) {
            not_here++;
            continue;
        }
        static const char *const fates[] = {"GOT OUT", "refused", "ended", "BROKEN"};
        const fate f = suffer_afresh(role, e);
        tried++;
        refused += f == REFUSED;
        ended += f == ENDED;
        wrong += f == GOT_OUT || f == BROKEN;
        if (list_all || f == GOT_OUT || f == BROKEN) (void)printf("  %s: %s: %s\n", name, e->name, fates[f]);
    }
    (void)printf("%s: %d attempts, %d refused, %d ended the role, %d GOT OUT or broke the test; %d need a "
                 "newer kernel\n",
                 name, tried, refused, ended, wrong, not_here);
    return wrong;
}

/* An attempt that fails without a sandbox proves nothing: which ones those are depends on user and kernel. */
static int check_attempts(void)
{
    int succeeded = 0, wrong = 0;
    for (size_t i = 0; i < n_escapes; i++) {
        const fate f = suffer_afresh(0, &escapes[i]);
        succeeded += f == GOT_OUT;
        wrong += f == ENDED || f == BROKEN;
        if (f != GOT_OUT) (void)printf("  no sandbox: %s: fails here anyway\n", escapes[i].name);
    }
    (void)printf("no sandbox: %d of %zu attempts succeed\n", succeeded, n_escapes);
    /* What any user may do on any kernel is three quarters of the list. */
    return wrong + (succeeded * 4 < (int)n_escapes * 3);
}

/* ---- what each is for ---- */

static bool stores_an_object(const world *w, srv_blobs *blobs)
{
    (void)w;
    char sha256[MSA_SHA256_HEX];
    int64_t size = 0;
    MSA_AUTO(srv_blob_writer) writer = NULL;
    for (int i = 0; i < 2; i++) { /* the second time over the first */
        if (srv_blob_writer_new(&writer, blobs, NULL) != MSA_OK ||
            srv_blob_writer_write(writer, "abc", 3, NULL) != MSA_OK ||
            srv_blob_writer_commit(writer, sha256, &size, NULL) != MSA_OK)
            return false;
        srv_blob_writer_free(writer);
        writer = NULL;
    }
    return size == 3 && srv_blob_exists(blobs, sha256);
}

static bool reads_the_blob(const world *w)
{
    char byte = 0;
    MSA_AUTO_FD int fd = open(w->blob, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && read(fd, &byte, 1) == 1 && byte == 'x';
}

/* The tables of glibc are out of reach: those that dicom_charsets_load() brought serve. */
static bool converts(void)
{
    static const char *const names[] = {"ISO-8859-2", "ISO-8859-5", "ISO-8859-9", "TIS-620", "EUC-JP",
                                        "EUC-KR",     "EUC-CN",     "GB18030",    "GBK"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const iconv_t cd = iconv_open(names[i], "UTF-8");
        if (cd == (iconv_t)-1) {
            (void)fprintf(stderr, "no table for %s\n", names[i]);
            return false;
        }
        (void)iconv_close(cd);
    }
    return true;
}

static bool writes_a_result(const world *w)
{
    char from[256], to[256];
    (void)snprintf(from, sizeof from, "%s/jobs/1-1/seg.part", w->storage);
    (void)snprintf(to, sizeof to, "%s/jobs/1-1/seg.dcm", w->storage);
    const int fd = open(from, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return fd >= 0 && write(fd, "abc", 3) == 3 && fdatasync(fd) == 0 && close(fd) == 0 &&
           rename(from, to) == 0 && unlink(to) == 0;
}

static void *convert_in_thread(void *none)
{
    return converts() ? none : NULL;
}

static bool has_threads(void)
{
    pthread_t t[4];
    void *said = NULL;
    for (int i = 0; i < 4; i++)
        if (pthread_create(&t[i], NULL, convert_in_thread, &t) != 0) return false;
    for (int i = 0; i < 4; i++)
        if (pthread_join(t[i], &said) != 0 || said == NULL) return false;
    return true;
}

static bool reaches_its_destination(const world *w)
{
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)w->port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    MSA_AUTO_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    return fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) == 0 &&
           connect(fd, (const struct sockaddr *)&to, sizeof to) == 0 && send(fd, "x", 1, MSG_NOSIGNAL) == 1;
}

static bool does_its_work(unsigned role, const world *w, srv_blobs *blobs)
{
    switch (role) {
    case OF_RECEIVE:
        return stores_an_object(w, blobs);
    case OF_INDEX:
        return reads_the_blob(w) && converts();
    case OF_WORK:
        return reads_the_blob(w) && converts() && writes_a_result(w) && has_threads();
    default:
        return reads_the_blob(w) && reaches_its_destination(w);
    }
}

static bool works(unsigned role)
{
    world w = {.socket_fd = -1};
    int listener = -1, status = 1;
    if (!make_world(&w) || !open_network(&w, &listener)) return false;
    (void)fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        MSA_AUTO(srv_blobs) blobs = NULL;
        msa_error err = MSA_ERROR_INIT;
        if (srv_blobs_open(&blobs, w.storage, &err) != MSA_OK || srv_role_confine(1024, 60, &err) != MSA_OK ||
            enter(role, &w, w.port, &err) != MSA_OK)
            _exit(9);
        _exit(does_its_work(role, &w, blobs) ? 0 : 1);
    }
    const bool good =
        child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    (void)close(listener);
    (void)nftw(w.root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    if (!good) (void)printf("role %u cannot do its own work in its sandbox: wait status %d\n", role, status);
    return good;
}

int main(int argc, char **argv)
{
    static const struct {
        unsigned role;
        const char *name;
    } roles[] = {{OF_RECEIVE, "receive"}, {OF_INDEX, "index"}, {OF_WORK, "work"}, {OF_SEND, "send"}};
    int wrong = 0;
    list_all = argc > 1 && strcmp(argv[1], "--list") == 0;
    if (srv_sandbox_missing() != NULL) {
        (void)printf("skipped: %s\n", srv_sandbox_missing());
        return 77;
    }
    if (dicom_init(NULL) != MSA_OK || dicom_charsets_load(NULL) != MSA_OK)
        return 1; /* once, as it takes time */
    landlock_abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    (void)printf("Landlock ABI %ld\n", landlock_abi);
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        wrong += check_role(roles[i].role, roles[i].name);
        wrong += works(roles[i].role) ? 0 : 1;
    }
    wrong += check_attempts();
    return wrong != 0;
}
