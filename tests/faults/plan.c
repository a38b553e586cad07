/* The one fault that is to happen, and when. */
#include "tests/faults/shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static shim_plan *plan;
static const char *skip;
static char process[16] = "core";
static atomic_uint seen_generation, count;

/* msad's roles say what they are: msad --role NAME. */
static void name_process(void)
{
    char line[256] = "";
    const int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? 0 : read(fd, line, sizeof line - 1);
    if (fd >= 0) (void)close(fd);
    for (ssize_t i = 0; i < n; i += (ssize_t)strlen(line + i) + 1)
        if (strcmp(line + i, "--role") == 0 && i + 7 < n)
            (void)snprintf(process, sizeof process, "%s", line + i + 7);
}

void shim_plan_open(void)
{
    const char *path = getenv("FAULT_PLAN");
    skip = getenv("FAULT_SKIP");
    const int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    name_process();
    void *at = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED) plan = at;
    (void)close(fd);
}

static bool ends(const char *path, const char *ending)
{
    const size_t n = strlen(path), m = strlen(ending);
    return strcmp(ending, "*") == 0 || (n >= m && memcmp(path + n - m, ending, m) == 0);
}

static bool is_call(const char *wanted, const char *call)
{
    if (strcmp(wanted, call) == 0) return true;
    if (strcmp(wanted, "sync") == 0) return strcmp(call, "fsync") == 0 || strcmp(call, "fdatasync") == 0;
    return strcmp(wanted, "any") == 0 && strcmp(call, "malloc") != 0;
}

/* Only one process may be the first. */
static bool claim(void)
{
    uint32_t none = 0;
    return __atomic_compare_exchange_n(&plan->fired, &none, 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

int shim_plan_fires(const char *call, const char *path, void (*half)(void *ctx), void *ctx)
{
    char wanted[16], ending[96], action[16], where[16];
    unsigned k = 0;
    if (plan == NULL || __atomic_load_n(&plan->fired, __ATOMIC_SEQ_CST) != 0) return 0;
    const unsigned generation = __atomic_load_n(&plan->generation, __ATOMIC_SEQ_CST);
    if (generation == 0) return 0;
    if (atomic_exchange(&seen_generation, generation) != generation) atomic_store(&count, 0);
    if (sscanf(plan->text, "%15s %95s %u %15s %15s", wanted, ending, &k, action, where) != 5) return 0;
    if (!is_call(wanted, call) || !ends(path, ending) || !ends(process, where)) return 0;
    if (atomic_fetch_add(&count, 1) + 1 != k || !claim()) return 0;
    if (strcmp(action, "half") == 0 && half != NULL) half(ctx);
    if (strcmp(action, "kill") == 0 || strcmp(action, "half") == 0) {
        (void)raise(SIGKILL);
        for (;;)
            (void)pause();
    }
    return atoi(action);
}

bool shim_plan_skips(const char *path, const void *from)
{
    Dl_info info;
    if (skip == NULL || dladdr(from, &info) == 0) return false;
    const char *colon = strchr(skip, ':'), *name = strrchr(info.dli_fname, '/');
    name = name == NULL ? info.dli_fname : name + 1;
    return colon != NULL && strncmp(name, skip, (size_t)(colon - skip)) == 0 &&
           fnmatch(colon + 1, path, 0) == 0;
}
