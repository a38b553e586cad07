#include "engine/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static msa_log_level max_level = MSA_LOG_INFO;
static const char *const level_names[] = {"error", "warn", "info", "debug"};

void msa_log_set_level(msa_log_level level)
{
    max_level = level;
}

int msa_log_level_parse(const char *name, msa_log_level *out)
{
    for (int i = 0; i < 4; i++)
        if (strcmp(name, level_names[i]) == 0) {
            *out = (msa_log_level)i;
            return 0;
        }
    return -1;
}

void msa_log(msa_log_level level, const char *area, const char *fmt, ...)
{
    if (level > max_level) return;
    const int saved_errno = errno;
    char line[1001];
    struct timespec now;
    struct tm utc;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &utc);
    int n = snprintf(line + used, sizeof line - used, ".%03ldZ %s %s ", now.tv_nsec / 1000000L,
                     level_names[level], area);
    if (n > 0) used += (size_t)n;
    if (used >= sizeof line - 1) return;
    va_list args;
    va_start(args, fmt);
    n = vsnprintf(line + used, sizeof line - 1 - used, fmt, args);
    va_end(args);
    if (n > 0) used += (size_t)n < sizeof line - 1 - used ? (size_t)n : sizeof line - 2 - used;
    for (size_t i = 0; i < used; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) line[i] = '?';
    line[used++] = '\n';
    if (write(STDERR_FILENO, line, used) < 0) { /* nowhere left to say so */
    }
    errno = saved_errno;
}
