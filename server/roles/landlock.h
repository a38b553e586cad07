/* Private to the sandbox: the files and ports that a process may still reach (Landlock, by raw system calls).
 */
#ifndef SRV_ROLES_LANDLOCK_H
#define SRV_ROLES_LANDLOCK_H

#include <stdbool.h>

#include "engine/base/error.h"

typedef enum srv_reach {
    SRV_REACH_READ,  /* files below, or this file */
    SRV_REACH_WRITE, /* and make, change, rename and remove them */
    SRV_REACH_PLACE, /* files may be renamed into the folders below, over others, and not be opened there */
} srv_reach;

typedef struct srv_landlock {
    int abi;   /* 0: this kernel has none that serves */
    int rules; /* descriptor; -1 once entered */
} srv_landlock;

/* Nothing is reachable but what srv_landlock_allow() adds. port: the only one that may be connected to, 0:
 * none (ABI 4). */
MSA_NODISCARD msa_status srv_landlock_new(srv_landlock *l, int port, msa_error *err);
/* Does nothing where there is no Landlock, nor for a path that is not there: nothing can be opened there
 * either. */
MSA_NODISCARD msa_status srv_landlock_allow(const srv_landlock *l, const char *path, srv_reach reach,
                                            msa_error *err);
/* From here on for this thread and those it starts. Needs no_new_privs. */
MSA_NODISCARD msa_status srv_landlock_enter(srv_landlock *l, msa_error *err);
void srv_landlock_clear(srv_landlock *l);

#endif
