/* The operation log: one append per record, so that the records of several processes have one order. */
#include "tests/faults/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PIECE (64 * 1024) /* larger writes become several records: more states, all of them legal */

static int log_fd = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char record[sizeof(shim_record) + SHIM_PATH_MAX + PIECE];

void shim_log_open(void)
{
    const char *path = getenv("FAULT_LOG");
    /* Far above what the program opens, so that descriptors are numbered as ever. */
    const int fd = path == NULL ? -1 : open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return;
    log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 900);
    (void)syscall(SYS_close, fd);
}

bool shim_logging(void)
{
    return log_fd >= 0;
}

uint64_t shim_log_end(void)
{
    return log_fd < 0 ? 0 : (uint64_t)lseek(log_fd, 0, SEEK_END);
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
    memcpy(record, &head, sizeof head);
    if (path_size > 0) memcpy(record + sizeof head, path, path_size);
    if (size > 0) memcpy(record + sizeof head + path_size, bytes, size);
    const long whole = (long)(sizeof head + path_size + size);
    if (syscall(SYS_write, log_fd, record, whole) != whole)
        abort(); /* a log with a hole would prove nothing */
}

void shim_log(shim_op op, const char *path, uint64_t inode, uint64_t offset, const void *bytes, size_t size)
{
    if (log_fd < 0) return;
    const int saved = errno;
    (void)pthread_mutex_lock(&lock);
    do {
        const size_t piece = op == SHIM_WRITE && size > PIECE ? PIECE : size;
        append(op, path, inode, offset, bytes, piece);
        offset += piece;
        bytes = (const char *)bytes + piece;
        size -= piece;
    } while (op == SHIM_WRITE && size > 0);
    (void)pthread_mutex_unlock(&lock);
    errno = saved;
}
