/* The operation log: mapped, so that it survives a process that closes every descriptor, and so that the
 * records of several processes have one order. */
#include "tests/faults/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE (64 * 1024) /* larger writes become several records: more states, all of them legal */

static char *map; /* begins with the size that is in use, which counts itself */
static uint64_t map_size;

void shim_log_open(void)
{
    const char *path = getenv("FAULT_LOG");
    struct stat st;
    const int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) return;
    void *at = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (at == MAP_FAILED) abort();
    map = at;
    map_size = (uint64_t)st.st_size;
}

bool shim_logging(void)
{
    return map != NULL;
}

uint64_t shim_log_end(void)
{
    return map == NULL ? 0 : __atomic_load_n((uint64_t *)map, __ATOMIC_SEQ_CST);
}

static void append(shim_op op, const char *path, uint64_t inode, uint64_t offset, const void *bytes,
                   size_t size)
{
    const size_t path_size = path == NULL ? 0 : strlen(path);
    const shim_record head = {.op = op,
                              .pid = (uint32_t)getpid(),
                              .inode = inode,
                              .offset = offset,
                              .path_size = (uint32_t)path_size,
                              .bytes_size = (uint32_t)size};
    const uint64_t whole = sizeof head + path_size + size;
    const uint64_t at = __atomic_fetch_add((uint64_t *)map, whole, __ATOMIC_SEQ_CST);
    if (at + whole > map_size) abort(); /* a log with a hole would prove nothing */
    memcpy(map + at, &head, sizeof head);
    if (path_size > 0) memcpy(map + at + sizeof head, path, path_size);
    if (size > 0) memcpy(map + at + sizeof head + path_size, bytes, size);
}

void shim_log(shim_op op, const char *path, uint64_t inode, uint64_t offset, const void *bytes, size_t size)
{
    if (map == NULL) return;
    const int saved = errno;
    do {
        const size_t piece = op == SHIM_WRITE && size > PIECE ? PIECE : size;
        append(op, path, inode, offset, bytes, piece);
        offset += piece;
        bytes = (const char *)bytes + piece;
        size -= piece;
    } while (op == SHIM_WRITE && size > 0);
    errno = saved;
}
