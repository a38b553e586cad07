/* Preloaded into msad by tests: fsync() and fdatasync() of one file fail once, as a dying disk does it.
 * FAULT_FILE names a file that holds "ENDING ERRNO"; it is removed when the fault has happened. */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fires(int fd)
{
    const char *name = getenv("FAULT_FILE");
    char ending[128], link[40], path[512];
    int error = 0;
    FILE *f = name == NULL ? NULL : fopen(name, "re");
    if (f == NULL) return 0;
    const int read = fscanf(f, "%127s %d", ending, &error);
    (void)fclose(f);
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, path, sizeof path - 1);
    const size_t length = strlen(ending);
    if (read != 2 || n < (ssize_t)length || memcmp(path + n - (ssize_t)length, ending, length) != 0) return 0;
    if (unlink(name) != 0) return 0; /* another process was first */
    errno = error;
    return 1;
}

typedef int sync_fn(int fd);

static int call(const char *name, int fd)
{
    sync_fn *real = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, name);
    return fires(fd) ? -1 : real(fd);
}

int fsync(int fd)
{
    return call("fsync", fd);
}

int fdatasync(int fd)
{
    return call("fdatasync", fd);
}
