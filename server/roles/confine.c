#include "server/roles/confine.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static msa_status limit(int resource, rlim_t value, msa_error *err)
{
    struct rlimit now;
    if (getrlimit(resource, &now) == 0 && now.rlim_max != RLIM_INFINITY && now.rlim_max < value)
        value = now.rlim_max; /* a stricter limit of the administrator stands */
    const struct rlimit wanted = {value, value};
    if (setrlimit(resource, &wanted) == 0) return MSA_OK;
    return msa_fail(err, MSA_E_INTERNAL, "cannot set a resource limit: %s", strerror(errno));
}

/**
 * Counted from what is mapped at start: OpenBLAS, which is linked into the same program, reserves memory for
 * every core of the machine before main().
 */
static rlim_t mapped_bytes(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL) return 0;
    if (fscanf(f, "%lu", &pages) != 1) pages = 0;
    (void)fclose(f);
    return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

#if defined(__SANITIZE_ADDRESS__)
#define HAS_SHADOW_MEMORY 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_SHADOW_MEMORY 1
#endif
#endif

msa_status srv_role_confine(int memory_mib, unsigned lifetime_s, msa_error *err)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return msa_fail(err, MSA_E_INTERNAL, "cannot confine the process: %s", strerror(errno));
    MSA_TRY(limit(RLIMIT_CORE, 0, err));
    MSA_TRY(limit(RLIMIT_NOFILE, 64, err));
#ifndef HAS_SHADOW_MEMORY /* which is terabytes of address space */
    const rlim_t mapped = mapped_bytes();
    if (mapped > 0) MSA_TRY(limit(RLIMIT_AS, mapped + (rlim_t)memory_mib * 1024 * 1024, err));
#else
    (void)memory_mib;
    (void)mapped_bytes;
#endif
    (void)alarm(lifetime_s); /* its default action ends the process */
    return MSA_OK;
}
