#include "server/roles/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/base/cleanup.h"

/**
 * Debian 12's header describes ABI 2; the kernel that runs may know more. Numbers from the kernel's
 * Documentation/userspace-api/landlock.rst; a kernel takes a longer structure than its own when the rest is
 * zero.
 */
enum {
    FS_FIRST_13 = (1 << 13) - 1, /* ABI 1: execute, write, read, list, remove and make of every kind */
    FS_TRUNCATE = 1 << 14,       /* ABI 3 */
    FS_IOCTL_DEV = 1 << 15,      /* ABI 5 */
    NET_BIND_TCP = 1 << 0,       /* ABI 4 */
    NET_CONNECT_TCP = 1 << 1,
    SCOPE_ABSTRACT_SOCKET = 1 << 0, /* ABI 6 */
    SCOPE_SIGNAL = 1 << 1,
    RULE_NET_PORT = 2,
    /* Without the right to move files between folders (ABI 2) every such move is forbidden: no receiver could
       work. */
    ABI_MIN = 2,
};

typedef struct ruleset_attr {
    uint64_t fs, net, scoped;
} ruleset_attr;

typedef struct port_attr {
    uint64_t allowed, port;
} port_attr;

static uint64_t handled_fs(int abi)
{
    return FS_FIRST_13 | LANDLOCK_ACCESS_FS_REFER | (abi >= 3 ? FS_TRUNCATE : 0) |
           (abi >= 5 ? FS_IOCTL_DEV : 0);
}

static uint64_t rights(srv_reach reach)
{
    const uint64_t move = LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                          LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REFER;
    switch (reach) {
    case SRV_REACH_WRITE:
        return move | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE;
    case SRV_REACH_PLACE:
        return move;
    default:
        return LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    }
}

static msa_status allow_port(const srv_landlock *l, int port, msa_error *err)
{
    const port_attr rule = {NET_CONNECT_TCP, (uint64_t)port};
    if (syscall(SYS_landlock_add_rule, l->rules, RULE_NET_PORT, &rule, 0) == 0) return MSA_OK;
    return msa_fail(err, MSA_E_INTERNAL, "Landlock does not take port %d: %s", port, strerror(errno));
}

msa_status srv_landlock_new(srv_landlock *l, int port, msa_error *err)
{
    *l = (srv_landlock){.rules = -1};
    const long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < ABI_MIN) return MSA_OK;
    l->abi = (int)abi;
    ruleset_attr wanted = {.fs = handled_fs(l->abi)};
    if (l->abi >= 4) wanted.net = NET_BIND_TCP | NET_CONNECT_TCP;
    if (l->abi >= 6) wanted.scoped = SCOPE_ABSTRACT_SOCKET | SCOPE_SIGNAL;
    l->rules = (int)syscall(SYS_landlock_create_ruleset, &wanted, sizeof wanted, 0);
    if (l->rules < 0) return msa_fail(err, MSA_E_INTERNAL, "Landlock does not start: %s", strerror(errno));
    return port > 0 && wanted.net != 0 ? allow_port(l, port, err) : MSA_OK;
}

msa_status srv_landlock_allow(const srv_landlock *l, const char *path, srv_reach reach, msa_error *err)
{
    if (l->rules < 0 || path[0] == '\0') return MSA_OK;
    MSA_AUTO_FD int fd = open(path, O_PATH | O_CLOEXEC);
    struct stat st;
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) return MSA_OK;
    if (fd < 0 || fstat(fd, &st) != 0)
        return msa_fail(err, MSA_E_INTERNAL, "cannot allow a folder in the sandbox: %s", strerror(errno));
    uint64_t allowed = rights(reach) & handled_fs(l->abi);
    if (!S_ISDIR(st.st_mode)) /* the others are rights of folders, which a rule on a file may not name */
        allowed &= LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE;
    const struct landlock_path_beneath_attr rule = {.allowed_access = allowed, .parent_fd = fd};
    if (syscall(SYS_landlock_add_rule, l->rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0) return MSA_OK;
    return msa_fail(err, MSA_E_INTERNAL, "cannot allow a folder in the sandbox: %s", strerror(errno));
}

msa_status srv_landlock_enter(srv_landlock *l, msa_error *err)
{
    if (l->rules < 0) return MSA_OK;
    const long rc = syscall(SYS_landlock_restrict_self, l->rules, 0);
    const int error = errno;
    srv_landlock_clear(l);
    if (rc == 0) return MSA_OK;
    return msa_fail(err, MSA_E_INTERNAL, "Landlock does not take hold: %s", strerror(error));
}

void srv_landlock_clear(srv_landlock *l)
{
    if (l->rules >= 0) (void)close(l->rules);
    l->rules = -1;
}
