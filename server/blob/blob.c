#include "server/blob/blob.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define PART_SUFFIX   ".part"
#define PART_NAME_MAX 48
#define SHARDS        256
#define COPY_BYTES    (256 * 1024)
#define ROOM_STEP     (4 << 20) /* bytes of an object between two looks at the room that is left */

struct srv_blobs {
    int root_fd, incoming_fd, blobs_fd;
    bool bad;
    int64_t keep_free; /* bytes of the volume that objects leave to others */
    char root[PATH_MAX];
};

struct srv_blob_writer {
    srv_blobs *blobs;
    msa_sha256 *hash;
    int64_t size, room_seen; /* at how many bytes it was last looked whether there is room */
    int fd;                  /* -1 once closed */
    bool there;              /* the part file exists */
    char name[PART_NAME_MAX];
};

/* Full or over quota is the sender's turn to wait; everything else is a fault of the volume. */
static msa_status io_status(int error)
{
    return error == ENOSPC || error == EDQUOT ? MSA_E_BUSY : MSA_E_IO;
}

static msa_status fail_io(msa_error *err, int error, const char *what)
{
    if (io_status(error) == MSA_E_BUSY)
        return msa_fail(err, MSA_E_BUSY, "cannot %s: the storage volume is full (%s)", what, strerror(error));
    return msa_fail(err, MSA_E_IO, "cannot %s: %s", what, strerror(error));
}

/**
 * After a failed sync nobody knows what of the volume's recent writes is on disk, so the store is bad for
 * good (invariant 1). A full disk is the exception: the file at hand is dropped unacknowledged, and nothing
 * else is in doubt.
 */
static msa_status fail_sync(srv_blobs *b, msa_error *err, int error, const char *what)
{
    if (io_status(error) != MSA_E_BUSY) b->bad = true;
    return fail_io(err, error, what);
}

static msa_status open_dir(int *fd, int parent, const char *name, bool make, const char *what, msa_error *err)
{
    if (make && mkdirat(parent, name, 0700) != 0 && errno != EEXIST) return fail_io(err, errno, what);
    *fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *fd < 0 ? fail_io(err, errno, what) : MSA_OK;
}

/* All shards exist before the first put, so that a put has one folder less to make durable. */
static msa_status make_shards(srv_blobs *b, msa_error *err)
{
    for (unsigned i = 0; i < SHARDS; i++) {
        char name[3];
        (void)snprintf(name, sizeof name, "%02x", i & 0xffU);
        if (mkdirat(b->blobs_fd, name, 0700) != 0 && errno != EEXIST)
            return fail_io(err, errno, "make a folder in blobs/");
    }
    return MSA_OK;
}

static msa_status open_folders(srv_blobs **out, const char *root, bool make, msa_error *err)
{
    MSA_AUTO(srv_blobs) b = calloc(1, sizeof *b);
    *out = NULL;
    if (b == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    b->root_fd = b->incoming_fd = b->blobs_fd = -1;
    if ((size_t)snprintf(b->root, sizeof b->root, "%s", root) >= sizeof b->root)
        return msa_fail(err, MSA_E_INVALID, "the storage path is too long");
    MSA_TRY(open_dir(&b->root_fd, AT_FDCWD, root, make, "open the storage folder", err));
    MSA_TRY(open_dir(&b->incoming_fd, b->root_fd, "incoming", make, "open incoming/", err));
    MSA_TRY(open_dir(&b->blobs_fd, b->root_fd, "blobs", make, "open blobs/", err));
    *out = MSA_STEAL(b);
    return MSA_OK;
}

msa_status srv_blobs_attach(srv_blobs **out, const char *root, msa_error *err)
{
    return open_folders(out, root, false, err);
}

/* The storage folder itself is an entry of its parent. Who may not read that did not make the folder either.
 */
static msa_status sync_parent(srv_blobs *b, msa_error *err)
{
    MSA_AUTO_FD int fd = openat(b->root_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && (errno == EACCES || errno == EPERM)) return MSA_OK;
    if (fd < 0 || fsync(fd) != 0) return fail_io(err, errno, "sync the folder that holds the storage folder");
    return MSA_OK;
}

msa_status srv_blobs_open(srv_blobs **out, const char *root, msa_error *err)
{
    MSA_AUTO(srv_blobs) b = NULL;
    *out = NULL;
    MSA_TRY(open_folders(&b, root, true, err));
    MSA_TRY(make_shards(b, err));
    /* Also when nothing was made: whoever made it may have died before its own sync. */
    if (fsync(b->blobs_fd) != 0) return fail_io(err, errno, "sync blobs/");
    if (fsync(b->root_fd) != 0) return fail_io(err, errno, "sync the storage folder");
    MSA_TRY(sync_parent(b, err));
    *out = MSA_STEAL(b);
    return MSA_OK;
}

void srv_blobs_free(srv_blobs *b)
{
    if (b == NULL) return;
    const int fds[] = {b->incoming_fd, b->blobs_fd, b->root_fd};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0) (void)close(fds[i]);
    free(b);
}

static bool is_part(const char *name)
{
    const size_t n = strlen(name), suffix = strlen(PART_SUFFIX);
    return n > suffix && strcmp(name + n - suffix, PART_SUFFIX) == 0;
}

msa_status srv_blobs_clean_incoming(srv_blobs *b, int32_t *removed, msa_error *err)
{
    *removed = 0;
    const int fd = openat(b->incoming_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        const int error = errno;
        if (fd >= 0) (void)close(fd);
        return fail_io(err, error, "list incoming/");
    }
    msa_status status = MSA_OK;
    const struct dirent *entry;
    while (errno = 0, (entry = readdir(dir)) != NULL) {
        if (!is_part(entry->d_name)) continue;
        if (unlinkat(b->incoming_fd, entry->d_name, 0) != 0) {
            status = fail_io(err, errno, "remove a left-over of incoming/");
            break;
        }
        ++*removed;
    }
    if (status == MSA_OK && errno != 0) status = fail_io(err, errno, "list incoming/");
    (void)closedir(dir);
    return status;
}

/* Names are random: never from the network, and never the same in two processes. */
static msa_status random_part_name(char name[PART_NAME_MAX], msa_error *err)
{
    unsigned char bytes[16];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return msa_fail(err, MSA_E_IO, "no random numbers: %s", strerror(errno));
    for (size_t i = 0; i < sizeof bytes; i++)
        (void)snprintf(name + 2 * i, 3, "%02x", bytes[i]);
    (void)snprintf(name + 2 * sizeof bytes, PART_NAME_MAX - 2 * sizeof bytes, PART_SUFFIX);
    return MSA_OK;
}

static msa_status refuse_when_bad(const srv_blobs *b, msa_error *err)
{
    if (!b->bad) return MSA_OK;
    return msa_fail(err, MSA_E_IO,
                    "the storage volume failed to sync and takes nothing until it is repaired");
}

void srv_blobs_keep_free(srv_blobs *b, int64_t bytes)
{
    b->keep_free = bytes;
}

/* Not counted on where it cannot be asked: a write that finds the disk full says so as well. */
static msa_status look_for_room(const srv_blobs *b, msa_error *err)
{
    struct statvfs v;
    if (b->keep_free <= 0 || fstatvfs(b->root_fd, &v) != 0) return MSA_OK;
    if ((int64_t)v.f_bavail * (int64_t)v.f_frsize >= b->keep_free) return MSA_OK;
    return msa_fail(err, MSA_E_BUSY,
                    "the storage volume is nearly full: what is left is kept for the catalogue and results");
}

msa_status srv_blob_writer_new(srv_blob_writer **out, srv_blobs *b, msa_error *err)
{
    *out = NULL;
    MSA_TRY(refuse_when_bad(b, err));
    MSA_TRY(look_for_room(b, err));
    MSA_AUTO(srv_blob_writer) w = calloc(1, sizeof *w);
    if (w == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    w->blobs = b;
    w->fd = -1;
    w->hash = msa_sha256_new();
    if (w->hash == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    MSA_TRY(random_part_name(w->name, err));
    w->fd = openat(b->incoming_fd, w->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (w->fd < 0) return fail_io(err, errno, "make a file in incoming/");
    w->there = true;
    *out = MSA_STEAL(w);
    return MSA_OK;
}

msa_status srv_blob_writer_write(srv_blob_writer *w, const void *bytes, size_t size, msa_error *err)
{
    const char *at = bytes;
    size_t left = size;
    if (w->fd < 0) return msa_fail(err, MSA_E_INVALID, "write after commit");
    if (w->size - w->room_seen >= ROOM_STEP) {
        MSA_TRY(look_for_room(w->blobs, err));
        w->room_seen = w->size;
    }
    while (left > 0) {
        const ssize_t n = write(w->fd, at, left);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return fail_io(err, n < 0 ? errno : EIO, "write to incoming/");
        at += n;
        left -= (size_t)n;
    }
    msa_sha256_update(w->hash, bytes, size);
    w->size += (int64_t)size;
    return MSA_OK;
}

msa_status srv_blob_writer_path(const srv_blob_writer *w, char *path, size_t path_size, msa_error *err)
{
    const int n = snprintf(path, path_size, "%s/incoming/%s", w->blobs->root, w->name);
    return n > 0 && (size_t)n < path_size ? MSA_OK
                                          : msa_fail(err, MSA_E_INVALID, "the path of a file is too long");
}

/* Every byte on the disk, and every error of getting it there seen. */
static msa_status make_durable(srv_blob_writer *w, msa_error *err)
{
    struct stat st;
    if (fstat(w->fd, &st) != 0) return fail_io(err, errno, "look at the file in incoming/");
    if (st.st_size != w->size)
        return msa_fail(err, MSA_E_IO, "incoming/ holds %lld bytes of %lld", (long long)st.st_size,
                        (long long)w->size);
    if (fdatasync(w->fd) != 0) return fail_sync(w->blobs, err, errno, "sync the file in incoming/");
    const int fd = w->fd;
    w->fd = -1; /* closed even when close() fails */
    if (close(fd) != 0) return fail_sync(w->blobs, err, errno, "close the file in incoming/");
    return MSA_OK;
}

/* Over whatever has the name: our bytes are the ones just hashed and synced, and those there may have rotted,
 * so that sending again repairs. Who has the old file open keeps reading it. */
static msa_status move_into(srv_blob_writer *w, int shard_fd, const char *name, msa_error *err)
{
    if (renameat(w->blobs->incoming_fd, w->name, shard_fd, name) != 0)
        return fail_io(err, errno, "move a file into blobs/");
    w->there = false;
    return MSA_OK;
}

static msa_status publish(srv_blob_writer *w, const char *sha256, msa_error *err)
{
    char shard[3] = {sha256[0], sha256[1], '\0'};
    MSA_AUTO_FD int shard_fd = openat(w->blobs->blobs_fd, shard, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (shard_fd < 0) return fail_io(err, errno, "open a folder of blobs/");
    MSA_TRY(move_into(w, shard_fd, sha256, err));
    /* incoming/ needs no sync: should the old name come back after a power cut, it is a left-over like any
     * other. */
    if (fsync(shard_fd) != 0) return fail_sync(w->blobs, err, errno, "sync a folder of blobs/");
    return MSA_OK;
}

msa_status srv_blob_writer_commit(srv_blob_writer *w, char sha256[MSA_SHA256_HEX], int64_t *size_bytes,
                                  msa_error *err)
{
    sha256[0] = '\0';
    *size_bytes = 0;
    if (w->fd < 0) return msa_fail(err, MSA_E_INVALID, "commit after commit");
    MSA_TRY(refuse_when_bad(w->blobs, err));
    MSA_TRY(make_durable(w, err));
    char hex[MSA_SHA256_HEX];
    msa_sha256_hex(w->hash, hex);
    MSA_TRY(publish(w, hex, err));
    memcpy(sha256, hex, sizeof hex);
    *size_bytes = w->size;
    return MSA_OK;
}

void srv_blob_writer_free(srv_blob_writer *w)
{
    if (w == NULL) return;
    if (w->fd >= 0) (void)close(w->fd);
    if (w->there) (void)unlinkat(w->blobs->incoming_fd, w->name, 0);
    msa_sha256_free(w->hash);
    free(w);
}

msa_status srv_blob_put_file(srv_blobs *b, const char *path, char sha256[MSA_SHA256_HEX], int64_t *size_bytes,
                             msa_error *err)
{
    sha256[0] = '\0';
    *size_bytes = 0;
    /* O_NOFOLLOW, O_NONBLOCK: the name may have been made by a worker that hostile bytes have taken over. */
    MSA_AUTO_FD int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    if (fd < 0)
        return msa_fail(err, errno == ENOENT ? MSA_E_NOT_FOUND : MSA_E_IO,
                        "cannot open the file to store: %s", strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return msa_fail(err, MSA_E_IO, "the file to store is not a regular file");
    MSA_AUTO(srv_blob_writer) w = NULL;
    MSA_TRY(srv_blob_writer_new(&w, b, err));
    MSA_AUTO_FREE char *buffer = malloc(COPY_BYTES);
    if (buffer == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    for (;;) {
        const ssize_t n = read(fd, buffer, COPY_BYTES);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return msa_fail(err, MSA_E_IO, "cannot read the file to store: %s", strerror(errno));
        if (n == 0) break;
        MSA_TRY(srv_blob_writer_write(w, buffer, (size_t)n, err));
    }
    return srv_blob_writer_commit(w, sha256, size_bytes, err);
}

static bool is_sha256(const char *hex)
{
    const size_t n = strspn(hex, "0123456789abcdef");
    return n == MSA_SHA256_HEX - 1 && hex[n] == '\0';
}

msa_status srv_blob_path(const srv_blobs *b, const char *sha256, char *path, size_t path_size, msa_error *err)
{
    if (path_size > 0) path[0] = '\0';
    if (!is_sha256(sha256)) return msa_fail(err, MSA_E_INVALID, "not the name of a blob");
    const int n = snprintf(path, path_size, "%s/blobs/%.2s/%s", b->root, sha256, sha256);
    if (n < 0 || (size_t)n >= path_size) {
        if (path_size > 0) path[0] = '\0';
        return msa_fail(err, MSA_E_INVALID, "the path of a blob is too long");
    }
    return MSA_OK;
}

msa_status srv_blob_remove(srv_blobs *b, const char *sha256, msa_error *err)
{
    char path[3 + MSA_SHA256_HEX];
    if (!is_sha256(sha256)) return msa_fail(err, MSA_E_INVALID, "not the name of a blob");
    (void)snprintf(path, sizeof path, "%.2s/%s", sha256, sha256);
    if (unlinkat(b->blobs_fd, path, 0) == 0 || errno == ENOENT) return MSA_OK;
    return fail_io(err, errno, "remove a file of blobs/");
}

bool srv_blob_exists(const srv_blobs *b, const char *sha256)
{
    char path[3 + MSA_SHA256_HEX];
    struct stat st;
    if (!is_sha256(sha256)) return false;
    (void)snprintf(path, sizeof path, "%.2s/%s", sha256, sha256);
    return fstatat(b->blobs_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

bool srv_blobs_space(const srv_blobs *b, int64_t *free_bytes, int64_t *size_bytes)
{
    struct statvfs s;
    if (fstatvfs(b->root_fd, &s) != 0) return false;
    *free_bytes = (int64_t)(s.f_bavail * s.f_frsize);
    *size_bytes = (int64_t)(s.f_blocks * s.f_frsize);
    return true;
}

bool srv_blobs_bad(const srv_blobs *b)
{
    return b->bad;
}
