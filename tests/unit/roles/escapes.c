#include "tests/unit/roles/escapes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/openat2.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/core/ipc.h"

/* ---- files ---- */

static int result_of(long rc)
{
    return rc >= 0 ? 0 : errno;
}

static int open_at(const char *folder, const char *name, int flags)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return result_of(open(path, flags | O_CLOEXEC, 0600));
}

static int read_passwd(const world *w)
{
    (void)w;
    return result_of(open("/etc/passwd", O_RDONLY | O_CLOEXEC));
}

static int read_environment(const world *w)
{
    (void)w;
    return result_of(open("/proc/self/environ", O_RDONLY | O_CLOEXEC));
}

static int read_catalogue(const world *w)
{
    return open_at(w->storage, "msad.sqlite", O_RDONLY);
}

static int write_catalogue(const world *w)
{
    return open_at(w->storage, "msad.sqlite", O_WRONLY);
}

static int write_outside(const world *w)
{
    return open_at(w->outside, "new", O_WRONLY | O_CREAT);
}

static int write_over_dots(const world *w)
{
    return open_at(w->storage, "jobs/../../outside/new2", O_WRONLY | O_CREAT);
}

static int follow_link(const world *w) /* a link below a folder that is allowed, made beforehand */
{
    return open_at(w->storage, "blobs/aa/link", O_RDONLY);
}

static int list_outside(const world *w)
{
    return open_at(w->outside, "", O_RDONLY | O_DIRECTORY);
}

static int read_blob(const world *w)
{
    return result_of(open(w->blob, O_RDONLY | O_CLOEXEC));
}

static int change_blob(const world *w)
{
    return result_of(open(w->blob, O_WRONLY | O_CLOEXEC));
}

static int make_job_file(const world *w)
{
    return open_at(w->storage, "jobs/1-1/new", O_WRONLY | O_CREAT);
}

static int make_incoming_file(const world *w)
{
    return open_at(w->storage, "incoming/new.part", O_WRONLY | O_CREAT);
}

static int remove_outside(const world *w)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/victim", w->outside);
    return result_of(unlink(path));
}

static int move_blob_out(const world *w)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/stolen", w->outside);
    return result_of(rename(w->blob, path));
}

static int make_folder(const world *w)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/folder", w->outside);
    return result_of(mkdir(path, 0700));
}

static int make_link(const world *w)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/jobs/1-1/link", w->storage);
    return result_of(symlink("/etc/passwd", path));
}

static int make_hard_link(const world *w)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/jobs/1-1/hard", w->storage);
    return result_of(link(w->blob, path));
}

static int make_runnable(const world *w)
{
    return result_of(chmod(w->blob, 0755));
}

static int open_by_openat2(const world *w)
{
    (void)w;
    const struct open_how how = {.flags = O_RDONLY | O_CLOEXEC};
    return result_of(syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", &how, sizeof how));
}

/* ---- network ---- */

static int make_tcp(const world *w)
{
    (void)w;
    return result_of(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

/* Landlock's ports hold for TCP alone. */
static int make_mptcp(const world *w)
{
    (void)w;
    return result_of(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
}

static int make_udp(const world *w)
{
    (void)w;
    return result_of(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

static int make_unix(const world *w)
{
    (void)w;
    return result_of(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static int make_netlink(const world *w)
{
    (void)w;
    return result_of(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0));
}

static int make_pair(const world *w)
{
    (void)w;
    int fds[2];
    return result_of(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
}

static int connect_to(const world *w)
{
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)w->port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return result_of(connect(w->socket_fd, (const struct sockaddr *)&to, sizeof to));
}

static int listen_here(const world *w)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(w->socket_fd, (struct sockaddr *)&at, sizeof at) != 0) return errno;
    return result_of(listen(w->socket_fd, 1));
}

/* ---- programs and processes ---- */

static int run_program(const world *w)
{
    (void)w;
    char name[] = "/bin/true";
    char *const args[] = {name, NULL};
    (void)execv(name, args); /* its exit status is 0 */
    return errno;
}

static int run_program_at(const world *w)
{
    (void)w;
    char name[] = "/bin/true";
    char *const args[] = {name, NULL}, *const none[] = {NULL};
    (void)syscall(SYS_execveat, AT_FDCWD, name, args, none, 0);
    return errno;
}

static int reaped(pid_t child)
{
    if (child < 0) return errno;
    if (child == 0) _exit(0);
    (void)waitpid(child, NULL, 0);
    return 0;
}

static int fork_by_libc(const world *w)
{
    (void)w;
    return reaped(fork());
}

static int fork_by_clone(const world *w)
{
    (void)w;
    return reaped((pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

static int fork_by_clone3(const world *w)
{
    (void)w;
    const struct clone_args {
        uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
    } args = {.exit_signal = SIGCHLD};
    return reaped((pid_t)syscall(SYS_clone3, &args, sizeof args));
}

static void *nothing(void *none)
{
    return none;
}

static int start_thread(const world *w)
{
    (void)w;
    pthread_t t;
    const int rc = pthread_create(&t, NULL, nothing, NULL);
    return rc == 0 ? pthread_join(t, NULL) : rc;
}

static int trace_parent(const world *w)
{
    if (ptrace(PTRACE_SEIZE, w->parent, NULL, NULL) != 0) return errno;
    return 0; /* the kernel lets go of it when this process ends */
}

static int be_traced(const world *w)
{
    (void)w;
    return result_of(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int read_parent(const world *w)
{
    char byte;
    const struct iovec local = {&byte, 1}, remote = {(void *)(uintptr_t)w, 1};
    return result_of(process_vm_readv(w->parent, &local, 1, &remote, 1, 0));
}

static int signal_parent(const world *w)
{
    return result_of(kill(w->parent, 0));
}

static int signal_parent_thread(const world *w)
{
    return result_of(syscall(SYS_tgkill, w->parent, w->parent, 0));
}

static int hold_parent(const world *w)
{
    return result_of(syscall(SYS_pidfd_open, w->parent, 0));
}

static int limit_parent(const world *w)
{
    struct rlimit old;
    return result_of(syscall(SYS_prlimit64, w->parent, RLIMIT_NOFILE, NULL, &old));
}

static int outlive_core(const world *w)
{
    (void)w;
    return result_of(prctl(PR_SET_PDEATHSIG, 0));
}

static int change_limit(const world *w)
{
    (void)w;
    const struct rlimit other = {16, 16};
    return result_of(setrlimit(RLIMIT_NOFILE, &other));
}

static int catch_sigsys(const world *w)
{
    (void)w;
    return signal(SIGSYS, SIG_IGN) == SIG_ERR ? errno : 0;
}

/* ---- memory that runs ---- */

static int map_to_run(const world *w)
{
    (void)w;
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? errno : 0;
}

static int protect_to_run(const world *w)
{
    (void)w;
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? errno : result_of(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}

static int make_memory_file(const world *w)
{
    (void)w;
    return result_of(memfd_create("x", MFD_CLOEXEC));
}

/* ---- the kernel ---- */

static int make_bpf_map(const world *w)
{
    (void)w;
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.map_type = BPF_MAP_TYPE_ARRAY;
    attr.key_size = attr.value_size = 4;
    attr.max_entries = 1;
    return result_of(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr));
}

static int make_ring(const world *w)
{
    (void)w;
    char params[256] = {0};
    return result_of(syscall(SYS_io_uring_setup, 1, params));
}

static int mount_here(const world *w)
{
    if (mount("none", w->outside, "tmpfs", 0, "size=4k") != 0) return errno;
    (void)umount2(w->outside, MNT_DETACH);
    return 0;
}

static int change_root(const world *w)
{
    return result_of(chroot(w->outside));
}

static int new_user_space(const world *w)
{
    (void)w;
    return result_of(unshare(CLONE_NEWUSER));
}

static int join_space(const world *w)
{
    (void)w;
    const int fd = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC); /* Landlock may stop it here already */
    return fd < 0 ? errno : result_of(setns(fd, CLONE_NEWUTS));
}

static int count_events(const world *w)
{
    (void)w;
    const struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
                                         .size = sizeof attr,
                                         .config = PERF_COUNT_SW_TASK_CLOCK,
                                         .exclude_kernel = 1};
    return result_of(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
}

static int handle_faults(const world *w)
{
    (void)w;
    return result_of(syscall(SYS_userfaultfd, O_CLOEXEC | 1 /* UFFD_USER_MODE_ONLY */));
}

static int keep_key(const world *w)
{
    (void)w;
    return result_of(syscall(SYS_add_key, "user", "msad-test", "x", 1, -2 /* of the process */));
}

static int become_other(const world *w)
{
    (void)w;
    return result_of(syscall(SYS_setresuid, 65534, 65534, 65534));
}

static int widen_filter(const world *w)
{
    (void)w;
    return result_of(syscall(SYS_seccomp, 2 /* SECCOMP_GET_ACTION_AVAIL */, 0, &(uint32_t){0x7fff0000U}));
}

#if defined(__x86_64__)
/* The i386 numbers: 20 is getpid. */
static int call_as_i386(const world *w)
{
    (void)w;
    long rc = 20;
    __asm__ volatile("int $0x80" : "+a"(rc) : : "memory", "r8", "r9", "r10", "r11");
    return rc > 0 ? 0 : (int)-rc;
}
#endif

const escape escapes[] = {
    {"open a file of the system", OF_ALL, BY_LANDLOCK, read_passwd},
    {"open the process's environment", OF_ALL, BY_LANDLOCK, read_environment},
    {"open the catalogue", OF_ALL, BY_LANDLOCK, read_catalogue},
    {"open the catalogue for writing", OF_ALL, BY_LANDLOCK, write_catalogue},
    {"write outside", OF_ALL, BY_LANDLOCK, write_outside},
    {"write outside over ..", OF_ALL, BY_LANDLOCK, write_over_dots},
    {"follow a link out", OF_ALL, BY_LANDLOCK, follow_link},
    {"list a folder outside", OF_ALL, BY_LANDLOCK, list_outside},
    {"read a stored object", OF_RECEIVE, BY_LANDLOCK, read_blob},
    {"open a stored object for writing", OF_ALL, BY_LANDLOCK, change_blob},
    {"make a file in a job's folder", OF_RECEIVE | OF_INDEX | OF_SEND, BY_LANDLOCK, make_job_file},
    {"make a file in incoming/", OF_INDEX | OF_WORK | OF_SEND, BY_LANDLOCK, make_incoming_file},
    {"remove a file outside", OF_ALL, BY_LANDLOCK, remove_outside},
    {"move a stored object out", OF_ALL, BY_LANDLOCK, move_blob_out},
    {"make a folder", OF_ALL, BY_CALLS, make_folder},
    {"make a link", OF_ALL, BY_CALLS, make_link},
    {"make a hard link", OF_ALL, BY_CALLS, make_hard_link},
    {"make a stored object a program", OF_ALL, BY_CALLS, make_runnable},
    {"openat2", OF_ALL, BY_CALLS, open_by_openat2},
    {"make a TCP socket", OF_RECEIVE | OF_INDEX | OF_WORK, BY_CALLS, make_tcp},
    {"make an MPTCP socket", OF_ALL, BY_CALLS, make_mptcp},
    {"make a UDP socket", OF_ALL, BY_CALLS, make_udp},
    {"make a Unix socket", OF_ALL, BY_CALLS, make_unix},
    {"make a netlink socket", OF_ALL, BY_CALLS, make_netlink},
    {"make a pair of sockets", OF_ALL, BY_CALLS, make_pair},
    {"connect", OF_RECEIVE | OF_INDEX | OF_WORK, BY_CALLS, connect_to},
    {"connect to another port", OF_SEND, BY_LANDLOCK_PORTS, connect_to},
    {"listen", OF_ALL, BY_CALLS, listen_here},
    {"exec", OF_ALL, BY_CALLS, run_program},
    {"execveat", OF_ALL, BY_CALLS, run_program_at},
    {"fork", OF_ALL, BY_CALLS, fork_by_libc},
    {"fork by clone", OF_ALL, BY_CALLS, fork_by_clone},
    {"fork by clone3", OF_ALL, BY_CALLS, fork_by_clone3},
    {"start a thread", OF_RECEIVE | OF_INDEX | OF_SEND, BY_CALLS, start_thread},
    {"ptrace another process", OF_ALL, BY_CALLS, trace_parent},
    {"ptrace itself", OF_ALL, BY_CALLS, be_traced},
    {"read another process's memory", OF_ALL, BY_CALLS, read_parent},
    {"signal another process", OF_ALL, BY_CALLS, signal_parent},
    {"signal another process's thread", OF_ALL, BY_CALLS, signal_parent_thread},
    {"hold another process", OF_ALL, BY_CALLS, hold_parent},
    {"look at another process's limits", OF_ALL, BY_CALLS, limit_parent},
    {"outlive core", OF_ALL, BY_CALLS, outlive_core},
    {"change a limit", OF_ALL, BY_CALLS, change_limit},
    {"ignore the sandbox's signal", OF_ALL, BY_CALLS, catch_sigsys},
    {"map memory that runs", OF_ALL, BY_CALLS, map_to_run},
    {"make memory run", OF_ALL, BY_CALLS, protect_to_run},
    {"make a file in memory", OF_ALL, BY_CALLS, make_memory_file},
    {"bpf", OF_ALL, BY_CALLS, make_bpf_map},
    {"io_uring", OF_ALL, BY_CALLS, make_ring},
    {"mount", OF_ALL, BY_CALLS, mount_here},
    {"chroot", OF_ALL, BY_CALLS, change_root},
    {"unshare", OF_ALL, BY_CALLS, new_user_space},
    {"setns", OF_ALL, BY_CALLS, join_space},
    {"perf events", OF_ALL, BY_CALLS, count_events},
    {"userfaultfd", OF_ALL, BY_CALLS, handle_faults},
    {"keys", OF_ALL, BY_CALLS, keep_key},
    {"become another user", OF_ALL, BY_CALLS, become_other},
    {"seccomp", OF_ALL, BY_CALLS, widen_filter},
#if defined(__x86_64__)
    {"system calls of i386", OF_ALL, BY_CALLS, call_as_i386},
#endif
};
const size_t n_escapes = sizeof escapes / sizeof *escapes;
