#include "engine/volume/embedding_disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/log.h"

#define PART_STALE_S 3600 /* a file being written that is older was left by a process that died */

typedef struct file_head {
    char magic[8];
    uint64_t floats;
    uint8_t sha256[MSA_SHA256_SIZE]; /* of the key, then the values */
} file_head;

static const char magic[8] = {'m', 's', 'a', 'd', 'e', 'm', 'b', '1'};

static void complain(msa_embedding_disk *d, const char *what, int why)
{
    if (!d->complained)
        msa_log(MSA_LOG_WARN, "cache", "%s what=\"%s\"", what, why != 0 ? strerror(why) : "not ours alone");
    d->complained = true;
}

static void name_of(const msa_embedding_key *key, char name[MSA_SHA256_HEX])
{
    for (size_t i = 0; i < MSA_SHA256_SIZE; i++)
        (void)snprintf(name + 2 * i, 3, "%02x", key->digest[i]);
}

static void digest_of(const msa_embedding_key *key, const float *values, size_t floats,
                      uint8_t digest[MSA_SHA256_SIZE])
{
    uint8_t both[2 * MSA_SHA256_SIZE];
    memcpy(both, key->digest, MSA_SHA256_SIZE);
    msa_sha256_bytes(values, floats * sizeof *values, both + MSA_SHA256_SIZE, NULL);
    msa_sha256_bytes(both, sizeof both, digest, NULL);
}

/* ---- opening ---- */

void msa_embedding_disk_open(msa_embedding_disk *d, const char *folder, uint64_t limit)
{
    struct stat st;
    *d = (msa_embedding_disk){.folder_fd = -1, .limit = limit, .used = limit}; /* the first write counts */
    if (folder == NULL || folder[0] == '\0' || limit == 0) return;
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        complain(d, "no_folder", errno);
        return;
    }
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        complain(d, "no_folder", errno);
    } else if (st.st_uid != geteuid() || (st.st_mode & 022) != 0) {
        complain(d, "no_folder", 0); /* who may write there may say what an image looks like */
    } else {
        d->folder_fd = fd;
        return;
    }
    if (fd >= 0) (void)close(fd);
}

void msa_embedding_disk_close(msa_embedding_disk *d)
{
    if (d->folder_fd >= 0) (void)close(d->folder_fd);
    d->folder_fd = -1;
}

/* ---- reading ---- */

static bool read_all(int fd, void *to, size_t size)
{
    char *at = to;
    while (size > 0) {
        const ssize_t n = read(fd, at, size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

static bool read_file(int fd, const msa_embedding_key *key, float *to, size_t floats)
{
    file_head head;
    uint8_t digest[MSA_SHA256_SIZE];
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) ||
        st.st_size != (off_t)(sizeof head + floats * sizeof *to))
        return false;
    if (!read_all(fd, &head, sizeof head) || memcmp(head.magic, magic, sizeof magic) != 0) return false;
    if (head.floats != floats || !read_all(fd, to, floats * sizeof *to)) return false;
    digest_of(key, to, floats, digest);
    return memcmp(digest, head.sha256, sizeof digest) == 0;
}

msa_disk_found msa_embedding_disk_read(msa_embedding_disk *d, const msa_embedding_key *key, float *to,
                                       size_t floats)
{
    char name[MSA_SHA256_HEX];
    if (d->folder_fd < 0) return MSA_DISK_ABSENT;
    name_of(key, name);
    MSA_AUTO_FD int fd = openat(d->folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return MSA_DISK_ABSENT;
    if (!read_file(fd, key, to, floats)) {
        (void)unlinkat(d->folder_fd, name, 0);
        return MSA_DISK_DAMAGED;
    }
    (void)futimens(fd, NULL); /* read last: goes last */
    return MSA_DISK_FOUND;
}

/* ---- making room ---- */

typedef struct kept_file {
    char name[MSA_SHA256_HEX];
    uint64_t size;
    struct timespec used;
} kept_file;

typedef struct kept_list {
    kept_file *files;
    size_t n, room;
    uint64_t bytes;
} kept_list;

static int by_use(const void *a, const void *b)
{
    const kept_file *x = a, *y = b;
    if (x->used.tv_sec != y->used.tv_sec) return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
    if (x->used.tv_nsec != y->used.tv_nsec) return x->used.tv_nsec < y->used.tv_nsec ? -1 : 1;
    return strcmp(x->name, y->name);
}

static bool is_key(const char *name)
{
    return strlen(name) == MSA_SHA256_HEX - 1 && strspn(name, "0123456789abcdef") == MSA_SHA256_HEX - 1;
}

/* Only names of ours are looked at. */
static bool list_add(kept_list *l, int folder, const char *name)
{
    struct stat st;
    const bool part = strncmp(name, "part-", 5) == 0;
    if (!part && !is_key(name)) return true;
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return true; /* another process was faster */
    if (part) {
        if (time(NULL) - st.st_mtim.tv_sec > PART_STALE_S) (void)unlinkat(folder, name, 0);
        return true;
    }
    if (l->n == l->room) {
        const size_t room = l->room > 0 ? 2 * l->room : 64;
        kept_file *grown = realloc(l->files, room * sizeof *grown);
        if (grown == NULL) return false;
        l->files = grown;
        l->room = room;
    }
    kept_file *f = &l->files[l->n++];
    memcpy(f->name, name, sizeof f->name);
    f->size = (uint64_t)st.st_size;
    f->used = st.st_mtim;
    l->bytes += f->size;
    return true;
}

static bool list_folder(kept_list *l, int folder)
{
    const int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    bool ok = dir != NULL;
    if (dir == NULL && fd >= 0) (void)close(fd);
    for (const struct dirent *e = ok ? readdir(dir) : NULL; e != NULL && ok; e = readdir(dir))
        ok = list_add(l, folder, e->d_name);
    if (dir != NULL) (void)closedir(dir);
    return ok;
}

/* Counts, and removes until `size` more fit with a sixteenth to spare. False: they do not. */
static bool make_room(msa_embedding_disk *d, uint64_t size)
{
    kept_list l = {0};
    bool ok = size <= d->limit;
    if (!ok || (d->used + d->news + size <= d->limit && d->news < d->limit / 16)) return ok;
    ok = list_folder(&l, d->folder_fd);
    if (ok && l.bytes + size > d->limit) {
        const uint64_t spare = d->limit / 16, wanted = size + spare > d->limit ? 0 : d->limit - size - spare;
        qsort(l.files, l.n, sizeof *l.files, by_use);
        for (size_t i = 0; i < l.n && l.bytes > wanted; i++) {
            (void)unlinkat(d->folder_fd, l.files[i].name, 0);
            l.bytes -= l.files[i].size;
        }
    }
    d->used = l.bytes;
    d->news = 0;
    free(l.files);
    return ok;
}

/* ---- writing ---- */

static bool write_all(int fd, const void *from, size_t size)
{
    const char *at = from;
    while (size > 0) {
        const ssize_t n = write(fd, at, size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

void msa_embedding_disk_write(msa_embedding_disk *d, const msa_embedding_key *key, const float *from,
                              size_t floats)
{
    char name[MSA_SHA256_HEX], part[64];
    file_head head = {.floats = floats};
    const uint64_t size = sizeof head + floats * sizeof *from;
    if (d->folder_fd < 0 || !make_room(d, size)) return;
    memcpy(head.magic, magic, sizeof magic);
    digest_of(key, from, floats, head.sha256);
    name_of(key, name);
    (void)snprintf(part, sizeof part, "part-%ld-%" PRIu64, (long)getpid(), d->serial++);
    const int fd = openat(d->folder_fd, part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool ok = fd >= 0 && write_all(fd, &head, sizeof head) && write_all(fd, from, floats * sizeof *from);
    int why = ok ? 0 : errno;
    if (fd >= 0 && close(fd) != 0 && ok) {
        ok = false;
        why = errno;
    }
    /* Not synced: what a loss of power leaves is recognised by its hash. */
    if (ok && renameat(d->folder_fd, part, d->folder_fd, name) == 0) {
        d->news += size;
        return;
    }
    if (ok) why = errno;
    if (fd >= 0) (void)unlinkat(d->folder_fd, part, 0);
    complain(d, "not_written", why);
}
