/* The calls: each asks the plan, does the real thing, and writes down what has changed. */
#include "tests/faults/shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define FDS 1024

static char root[PATH_MAX];
static size_t root_size;
static char labels[FDS][SHIM_PATH_MAX]; /* path below the root of what is open */
static bool ours[FDS];
static bool ready;

/* The real one, looked up at its first use: constructors of libraries call before ours. */
static void find(void **real, const char *name)
{
    if (*real == NULL) *real = dlsym(RTLD_NEXT, name);
}
#define DECLARE(name) static __typeof__(&(name)) real_##name
#define REAL(name)    (find((void **)&real_##name, #name), real_##name)
DECLARE(openat);
DECLARE(close);
DECLARE(write);
DECLARE(pwrite);
DECLARE(ftruncate);
DECLARE(fsync);
DECLARE(fdatasync);
DECLARE(renameat);
DECLARE(linkat);
DECLARE(unlinkat);
DECLARE(mkdirat);
DECLARE(send);

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FAULT_ROOT");
    if (path != NULL) root_size = (size_t)snprintf(root, sizeof root, "%s", path);
    shim_log_open();
    shim_plan_open();
    ready = true;
}

/* The path below the root, or false when it is elsewhere. */
static bool label_of(int dir, const char *path, char out[SHIM_PATH_MAX])
{
    int n;
    if (root_size == 0 || path == NULL) return false;
    if (path[0] == '/') {
        if (strncmp(path, root, root_size) != 0 || (path[root_size] != '/' && path[root_size] != '\0'))
            return false;
        path += root_size;
        while (*path == '/')
            path++;
        n = snprintf(out, SHIM_PATH_MAX, "%s", path);
    } else {
        if (dir < 0 || dir >= FDS || !ours[dir]) return false;
        n = snprintf(out, SHIM_PATH_MAX, "%s%s%s", labels[dir], labels[dir][0] ? "/" : "", path);
    }
    if (n < 0 || n >= SHIM_PATH_MAX) abort();
    for (n = (int)strlen(out); n > 0 && out[n - 1] == '/'; n--)
        out[n - 1] = '\0';
    if (n > 3 && strcmp(path, "..") == 0) { /* the one other form in use: the parent of a folder */
        out[n -= 3] = '\0';
        while (n > 0 && out[n - 1] != '/')
            n--;
        out[n > 0 ? n - 1 : 0] = '\0';
    }
    return true;
}

static const char *label(int fd)
{
    return fd >= 0 && fd < FDS && ours[fd] ? labels[fd] : NULL;
}

static uint64_t inode(int fd, bool *folder)
{
    struct stat st;
    if (fstat(fd, &st) != 0) abort();
    *folder = S_ISDIR(st.st_mode);
    return st.st_ino;
}

static bool fails(const char *call, const char *path, void (*half)(void *), void *ctx)
{
    const int error = shim_plan_fires(call, path, half, ctx);
    if (error != 0) errno = error;
    return error != 0;
}

/* ---- opening and closing ---- */

static int opened(int fd, const char *path, int flags, bool was_there)
{
    bool folder = false;
    if (fd < 0 || fd >= FDS) return fd;
    memcpy(labels[fd], path, strlen(path) + 1);
    ours[fd] = true;
    const uint64_t number = inode(fd, &folder);
    if (!folder && !was_there) shim_log(SHIM_CREATE, path, number, 0, NULL, 0);
    if (was_there && (flags & O_TRUNC) != 0) shim_log(SHIM_TRUNCATE, NULL, number, 0, NULL, 0);
    return fd;
}

static int open_at(int dir, const char *path, int flags, mode_t mode)
{
    char name[SHIM_PATH_MAX];
    struct stat st;
    if (!ready || !label_of(dir, path, name)) return REAL(openat)(dir, path, flags, mode);
    const bool there = (flags & O_CREAT) == 0 || fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if ((flags & O_CREAT) != 0 && fails("open", name, NULL, NULL)) return -1;
    return opened(REAL(openat)(dir, path, flags, mode), name, flags, there);
}

static mode_t mode_of(int flags, va_list *rest)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(*rest, mode_t) : 0;
}

#define OPEN(name, dir_parameter, dir)                                                                       \
    int name(dir_parameter const char *path, int flags, ...)                                                 \
    {                                                                                                        \
        va_list rest;                                                                                        \
        va_start(rest, flags);                                                                               \
        const mode_t mode = mode_of(flags, &rest);                                                           \
        va_end(rest);                                                                                        \
        return open_at(dir, path, flags, mode);                                                              \
    }
#define NOTHING
#define COMMA ,
OPEN(open, NOTHING, AT_FDCWD)
OPEN(open64, NOTHING, AT_FDCWD)
OPEN(openat, int dir COMMA, dir)
OPEN(openat64, int dir COMMA, dir)

int close(int fd)
{
    char name[SHIM_PATH_MAX];
    const char *known = label(fd);
    if (known == NULL) return REAL(close)(fd);
    memcpy(name, known, sizeof name);
    ours[fd] = false;
    const bool bad = fails("close", name, NULL, NULL);
    const int error = errno, done = REAL(close)(fd);
    if (bad) errno = error;
    return bad ? -1 : done;
}

/* ---- writing ---- */

typedef struct pending {
    int fd;
    const void *bytes;
    size_t size;
    off_t at; /* -1: where the descriptor stands */
} pending;

static ssize_t write_now(const pending *p, size_t size)
{
    bool folder = false;
    off_t at = p->at;
    if (at < 0) {
        const int flags = fcntl(p->fd, F_GETFL);
        at = lseek(p->fd, 0, flags >= 0 && (flags & O_APPEND) != 0 ? SEEK_END : SEEK_CUR);
    }
    const ssize_t n =
        p->at < 0 ? REAL(write)(p->fd, p->bytes, size) : REAL(pwrite)(p->fd, p->bytes, size, p->at);
    if (n > 0) shim_log(SHIM_WRITE, NULL, inode(p->fd, &folder), (uint64_t)at, p->bytes, (size_t)n);
    return n;
}

static void write_half(void *ctx)
{
    const pending *p = ctx;
    (void)write_now(p, p->size / 2);
}

static ssize_t write_checked(const char *call, pending p)
{
    if (fails(call, labels[p.fd], write_half, &p)) return -1;
    return write_now(&p, p.size);
}

static bool is_network(int fd)
{
    int domain = 0;
    socklen_t size = sizeof domain;
    return shim_logging() && getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
           (domain == AF_INET || domain == AF_INET6);
}

/* What a peer, or who started us, is told. */
static void said(int fd, const void *bytes, size_t size)
{
    if ((fd == STDOUT_FILENO && shim_logging()) || is_network(fd))
        shim_log(SHIM_SAID, NULL, 0, 0, bytes, size < 4096 ? size : 4096);
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    if (label(fd) != NULL) return write_checked("write", (pending){fd, bytes, size, -1});
    said(fd, bytes, size);
    return REAL(write)(fd, bytes, size);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at)
{
    if (label(fd) != NULL) return write_checked("write", (pending){fd, bytes, size, at});
    return REAL(pwrite)(fd, bytes, size, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at)
{
    return pwrite(fd, bytes, size, at);
}

int ftruncate(int fd, off_t size)
{
    bool folder = false;
    if (label(fd) == NULL) return REAL(ftruncate)(fd, size);
    if (fails("ftruncate", labels[fd], NULL, NULL)) return -1;
    const int done = REAL(ftruncate)(fd, size);
    if (done == 0) shim_log(SHIM_TRUNCATE, NULL, inode(fd, &folder), (uint64_t)size, NULL, 0);
    return done;
}

int ftruncate64(int fd, off64_t size)
{
    return ftruncate(fd, size);
}

ssize_t send(int fd, const void *bytes, size_t size, int flags)
{
    said(fd, bytes, size);
    return REAL(send)(fd, bytes, size, flags);
}

/* ---- syncing ---- */

static int sync_one(const char *call, int (*real)(int), int fd, const void *from)
{
    bool folder = false;
    const char *name = label(fd);
    if (name == NULL) return real(fd);
    if (shim_plan_skips(name, from)) return 0;
    if (fails(call, name, NULL, NULL)) return -1;
    const uint64_t begun = shim_log_end();
    const int done = real(fd);
    const uint64_t number = inode(fd, &folder);
    if (done == 0) shim_log(folder ? SHIM_SYNC_DIR : SHIM_SYNC, folder ? name : NULL, number, begun, NULL, 0);
    return done;
}

int fsync(int fd)
{
    return sync_one("fsync", REAL(fsync), fd, __builtin_return_address(0));
}

int fdatasync(int fd)
{
    return sync_one("fdatasync", REAL(fdatasync), fd, __builtin_return_address(0));
}

/* ---- names ---- */

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    char a[SHIM_PATH_MAX], b[SHIM_PATH_MAX];
    if (!label_of(from_dir, from, a) || !label_of(to_dir, to, b))
        return REAL(renameat)(from_dir, from, to_dir, to);
    if (fails("rename", b, NULL, NULL)) return -1;
    const int done = REAL(renameat)(from_dir, from, to_dir, to);
    if (done == 0) shim_log(SHIM_RENAME, a, 0, 0, b, strlen(b));
    return done;
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    char a[SHIM_PATH_MAX], b[SHIM_PATH_MAX];
    if (!label_of(from_dir, from, a) || !label_of(to_dir, to, b))
        return REAL(linkat)(from_dir, from, to_dir, to, flags);
    if (fails("link", b, NULL, NULL)) return -1;
    const int done = REAL(linkat)(from_dir, from, to_dir, to, flags);
    if (done == 0) shim_log(SHIM_LINK, a, 0, 0, b, strlen(b));
    return done;
}

int unlinkat(int dir, const char *path, int flags)
{
    char name[SHIM_PATH_MAX];
    if (!label_of(dir, path, name)) return REAL(unlinkat)(dir, path, flags);
    if (fails("unlink", name, NULL, NULL)) return -1;
    const int done = REAL(unlinkat)(dir, path, flags);
    if (done == 0) shim_log(SHIM_UNLINK, name, 0, 0, NULL, 0);
    return done;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
    char name[SHIM_PATH_MAX];
    if (!label_of(dir, path, name)) return REAL(mkdirat)(dir, path, mode);
    if (fails("mkdir", name, NULL, NULL)) return -1;
    const int done = REAL(mkdirat)(dir, path, mode);
    if (done == 0) shim_log(SHIM_MKDIR, name, 0, 0, NULL, 0);
    return done;
}

int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

/* ---- memory ---- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);

static bool no_memory(void)
{
    static _Thread_local bool inside; /* the plan must not ask for itself */
    if (!ready || inside) return false;
    inside = true;
    const bool none = shim_plan_fires("malloc", "", NULL, NULL) != 0;
    inside = false;
    if (none) errno = ENOMEM;
    return none;
}

void *malloc(size_t size)
{
    return no_memory() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    return no_memory() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
    return no_memory() ? NULL : __libc_realloc(old, size);
}
