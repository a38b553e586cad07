#include "server/roles/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/core/ipc.h"
#include "server/roles/sandbox.h"

/* What every process of ours needs: memory, its own descriptors, time, locks. Found by running the tests
 * under strace; glibc's wrappers choose between old and new calls by architecture, so both are here. */
static const int basic[] = {
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(pread64),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(pwrite64),
    SCMP_SYS(close),
    SCMP_SYS(lseek),
    SCMP_SYS(fstat),
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(futex),
    SCMP_SYS(sched_yield),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
    SCMP_SYS(getrusage),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
};
static const int opening[] = {
    SCMP_SYS(open),       SCMP_SYS(openat),     SCMP_SYS(stat),      SCMP_SYS(lstat),
    SCMP_SYS(newfstatat), SCMP_SYS(statx),      SCMP_SYS(access),    SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2), SCMP_SYS(getdents64), SCMP_SYS(fadvise64),
};
static const int writing[] = {
    SCMP_SYS(rename),    SCMP_SYS(renameat),  SCMP_SYS(renameat2), SCMP_SYS(unlink),
    SCMP_SYS(unlinkat),  SCMP_SYS(ftruncate), SCMP_SYS(fallocate), SCMP_SYS(fsync),
    SCMP_SYS(fdatasync), SCMP_SYS(statfs),    SCMP_SYS(fstatfs),   SCMP_SYS(utimensat),
};
static const int talking[] = {
    SCMP_SYS(recvfrom),    SCMP_SYS(sendto),     SCMP_SYS(recvmsg),    SCMP_SYS(sendmsg),
    SCMP_SYS(shutdown),    SCMP_SYS(select),     SCMP_SYS(pselect6),   SCMP_SYS(getsockname),
    SCMP_SYS(getpeername), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(times),
};
static const int of_threads[] = {
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_getaffinity),
};
/* Nothing that we or our libraries do: whoever asks for these has taken the process over. */
static const int dangerous[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(kill),
    SCMP_SYS(tkill),
    SCMP_SYS(rt_sigqueueinfo),
    SCMP_SYS(rt_tgsigqueueinfo),
    SCMP_SYS(pidfd_open),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(pidfd_send_signal),
    SCMP_SYS(bpf),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(io_uring_enter),
    SCMP_SYS(io_uring_register),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(move_mount),
    SCMP_SYS(open_tree),
    SCMP_SYS(fsopen),
    SCMP_SYS(fsconfig),
    SCMP_SYS(fsmount),
    SCMP_SYS(mount_setattr),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(keyctl),
    SCMP_SYS(openat2),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(memfd_create),
    SCMP_SYS(memfd_secret),
    SCMP_SYS(symlink),
    SCMP_SYS(symlinkat),
    SCMP_SYS(link),
    SCMP_SYS(linkat),
    SCMP_SYS(mknod),
    SCMP_SYS(mknodat),
    SCMP_SYS(setuid),
    SCMP_SYS(setgid),
    SCMP_SYS(setreuid),
    SCMP_SYS(setregid),
    SCMP_SYS(setresuid),
    SCMP_SYS(setresgid),
    SCMP_SYS(setgroups),
    SCMP_SYS(capset),
    SCMP_SYS(personality),
    SCMP_SYS(seccomp),
    SCMP_SYS(bind),
    SCMP_SYS(listen),
    SCMP_SYS(accept),
    SCMP_SYS(accept4),
    SCMP_SYS(socketpair),
    SCMP_SYS(reboot),
    SCMP_SYS(acct),
    SCMP_SYS(swapon),
    SCMP_SYS(iopl),
    SCMP_SYS(ioperm),
    SCMP_SYS(modify_ldt),
    SCMP_SYS(chmod),
    SCMP_SYS(fchmod),
    SCMP_SYS(fchmodat),
    SCMP_SYS(chown),
    SCMP_SYS(fchown),
    SCMP_SYS(fchownat),
    SCMP_SYS(truncate),
};
static const int dangerous_but_for_senders[] = {SCMP_SYS(socket), SCMP_SYS(connect)};

typedef struct filter {
    scmp_filter_ctx rules;
    int failed; /* the first error: a negative errno */
} filter;

static void add(filter *f, uint32_t action, int call, unsigned n, const struct scmp_arg_cmp *args)
{
    const int rc = seccomp_rule_add_array(f->rules, action, call, n, args);
    if (rc != 0 && f->failed == 0) f->failed = rc;
}

#define RULE_IF(f, action, call, ...)                                                                        \
    do {                                                                                                     \
        const struct scmp_arg_cmp args_[] = {__VA_ARGS__};                                                   \
        add((f), (action), SCMP_SYS(call), sizeof args_ / sizeof *args_, args_);                             \
    } while (0)

#define ALLOW_IF(f, call, ...) RULE_IF(f, SCMP_ACT_ALLOW, call, __VA_ARGS__)
#define END_IF(f, call, ...)   RULE_IF(f, SCMP_ACT_TRAP, call, __VA_ARGS__)
#define ARG(n, test, value)    ((struct scmp_arg_cmp){.arg = (n), .op = SCMP_CMP_##test, .datum_a = (value)})

static void rule_for_each(filter *f, uint32_t action, const int *calls, size_t n)
{
    for (size_t i = 0; i < n; i++)
        add(f, action, calls[i], 0, NULL);
}
#define RULE_ALL(f, action, calls) rule_for_each((f), (action), (calls), sizeof(calls) / sizeof *(calls))
#define ALLOW_ALL(f, calls)        RULE_ALL(f, SCMP_ACT_ALLOW, calls)

/* Memory that can be run is made by nobody after start. */
static void allow_memory(filter *f)
{
    ALLOW_IF(f, mmap, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    ALLOW_IF(f, mprotect, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
}

static void allow_own_process(filter *f)
{
    const scmp_datum_t us = (scmp_datum_t)getpid();
    ALLOW_IF(f, tgkill, ARG(0, EQ, us)); /* abort() and raise() */
    END_IF(f, tgkill, ARG(0, NE, us));
    ALLOW_IF(f, rt_sigaction, ARG(0, NE, SIGSYS)); /* the handler of what is forbidden stays ours */
    ALLOW_IF(f, prctl, ARG(0, EQ, PR_SET_NAME));
    ALLOW_IF(f, prlimit64, ARG(0, EQ, 0), ARG(2, EQ, 0)); /* getrlimit() */
    ALLOW_IF(f, fcntl, ARG(1, EQ, F_GETFL));
    ALLOW_IF(f, fcntl, ARG(1, EQ, F_SETFL));
    ALLOW_IF(f, fcntl, ARG(1, EQ, F_GETFD));
    ALLOW_IF(f, fcntl, ARG(1, EQ, F_SETFD));
}

/* To core, and to nobody by name. */
static void allow_core(filter *f)
{
    ALLOW_IF(f, recvmsg, ARG(0, EQ, SRV_IPC_FD));
    ALLOW_IF(f, sendmsg, ARG(0, EQ, SRV_IPC_FD));
    ALLOW_IF(f, sendto, ARG(0, EQ, SRV_IPC_FD), ARG(4, EQ, 0));
}

/* Threads by the flags that glibc gives them; processes by none. */
static void allow_threads(filter *f)
{
    const scmp_datum_t thread = CLONE_VM | CLONE_THREAD | CLONE_SIGHAND;
    const scmp_datum_t new_spaces = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |
                                    CLONE_NEWNET | CLONE_NEWCGROUP;
    ALLOW_ALL(f, of_threads);
    ALLOW_IF(f, clone, SCMP_A0(SCMP_CMP_MASKED_EQ, thread | new_spaces, thread));
    END_IF(f, clone, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
}

/* TCP alone, which DCMTK asks for as protocol 0: Landlock's ports do not hold for its relatives (MPTCP). */
static void allow_connect(filter *f)
{
    const scmp_datum_t kind = 0xf; /* without SOCK_CLOEXEC and SOCK_NONBLOCK */
    ALLOW_IF(f, socket, ARG(0, EQ, AF_INET), SCMP_A1(SCMP_CMP_MASKED_EQ, kind, SOCK_STREAM), ARG(2, EQ, 0));
    ALLOW_IF(f, socket, ARG(0, EQ, AF_INET6), SCMP_A1(SCMP_CMP_MASKED_EQ, kind, SOCK_STREAM), ARG(2, EQ, 0));
    add(f, SCMP_ACT_ALLOW, SCMP_SYS(connect), 0, NULL);
}

static void fill(filter *f, unsigned calls)
{
    /* Programs of other architectures (i386 and x32 on x86-64) have other numbers: none of them is ours. */
    f->failed = seccomp_attr_set(f->rules, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    const int tsync = seccomp_attr_set(f->rules, SCMP_FLTATR_CTL_TSYNC, 1);
    const int tree = seccomp_attr_set(f->rules, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* in place of a long list */
    if (f->failed == 0) f->failed = tsync != 0 ? tsync : tree;
    ALLOW_ALL(f, basic);
    allow_memory(f);
    allow_own_process(f);
    if ((calls & SRV_CALLS_OPEN) != 0) ALLOW_ALL(f, opening);
    if ((calls & SRV_CALLS_WRITE) != 0) ALLOW_ALL(f, writing);
    if ((calls & SRV_CALLS_TALK) != 0)
        ALLOW_ALL(f, talking);
    else
        allow_core(f);
    RULE_ALL(f, SCMP_ACT_TRAP, dangerous);
    if ((calls & SRV_CALLS_CONNECT) != 0)
        allow_connect(f);
    else
        RULE_ALL(f, SCMP_ACT_TRAP, dangerous_but_for_senders);
    if ((calls & SRV_CALLS_THREADS) != 0)
        allow_threads(f);
    else
        add(f, SCMP_ACT_TRAP, SCMP_SYS(clone), 0, NULL);
}

/* The call has not happened. Whatever state the process is in: one message from the stack, and out. */
static void on_forbidden(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    struct {
        srv_ipc_head head;
        srv_ipc_forbidden body;
    } message = {{SRV_IPC_FORBIDDEN, sizeof message.body}, {info->si_syscall}};
    /* A core that is gone is told nothing. */
    if (send(SRV_IPC_FD, &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        _exit(SRV_EXIT_FORBIDDEN);
    _exit(SRV_EXIT_FORBIDDEN);
}

msa_status srv_syscalls_restrict(unsigned calls, msa_error *err)
{
    const struct sigaction action = {.sa_sigaction = on_forbidden, .sa_flags = SA_SIGINFO};
    if (sigaction(SIGSYS, &action, NULL) != 0)
        return msa_fail(err, MSA_E_INTERNAL, "cannot catch SIGSYS: %s", strerror(errno));
    /* What is neither allowed nor dangerous looks as if the kernel did not have it: libraries that try new
     * calls then take the old ones (clone3 and clone, say, since a filter cannot see the flags of the first).
     */
    filter f = {.rules = seccomp_init(SCMP_ACT_ERRNO(ENOSYS))};
    if (f.rules == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    fill(&f, calls);
    if (f.failed == 0) f.failed = seccomp_load(f.rules);
    seccomp_release(f.rules);
    if (f.failed == 0) return MSA_OK;
    return msa_fail(err, MSA_E_INTERNAL, "the kernel does not take the filter of system calls: %s",
                    strerror(-f.failed));
}
