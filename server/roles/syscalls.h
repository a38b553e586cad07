/* Private to the sandbox: the system calls of each role, as a seccomp filter. */
#ifndef SRV_ROLES_SYSCALLS_H
#define SRV_ROLES_SYSCALLS_H

#include "engine/base/error.h"

typedef enum srv_calls {                        /* sets that a role is made of */
                         SRV_CALLS_OPEN = 1,    /* open, look at and list files that exist */
                         SRV_CALLS_WRITE = 2,   /* make, change, sync, rename and remove them */
                         SRV_CALLS_TALK = 4,    /* on sockets that the role has besides core's */
                         SRV_CALLS_CONNECT = 8, /* make TCP connections */
                         SRV_CALLS_THREADS = 16,
} srv_calls;

/**
 * From here on only `calls` (srv_calls, joined by |) and what every role needs reach the kernel. What no
 * program of ours does (exec, sockets, ptrace, other processes, mounts, ...) ends the process: it tells core
 * SRV_IPC_FORBIDDEN and exits with SRV_EXIT_FORBIDDEN. What is in neither list fails with ENOSYS. For all
 * threads. Errors: MSA_E_INTERNAL.
 */
MSA_NODISCARD msa_status srv_syscalls_restrict(unsigned calls, msa_error *err);

#endif
