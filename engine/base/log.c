#include "engine/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
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

/* ---- a flood must not fill the disk with its own story ---- */

#define SITES 256 /* more than there are calls; beyond them nothing is thinned out */

typedef struct site {
    const char *fmt;
    double tokens;
    struct timespec filled;
    unsigned dropped;
} site;

static site sites[SITES];
static pthread_mutex_t sites_lock = PTHREAD_MUTEX_INITIALIZER;

static site *site_of(const char *fmt)
{
    size_t at = (uintptr_t)fmt * 0x9e3779b97f4a7c15u >> 56;
    for (size_t tries = 0; tries < SITES; tries++, at = (at + 1) % SITES)
        if (sites[at].fmt == fmt || sites[at].fmt == NULL) return &sites[at];
    return NULL;
}

/* Whether this line is written; *dropped: how many like it were not since the last that was. */
static bool passes(msa_log_level level, const char *fmt, unsigned *dropped)
{
    const bool bad = level <= MSA_LOG_WARN;
    const double burst = bad ? 100 : 1000, per_second = bad ? 5 : 50;
    bool yes = true;
    *dropped = 0;
    if (level == MSA_LOG_DEBUG) return true;
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    (void)pthread_mutex_lock(&sites_lock);
    site *s = site_of(fmt);
    if (s != NULL && s->fmt == NULL) *s = (site){.fmt = fmt, .tokens = burst, .filled = now};
    if (s != NULL) {
        s->tokens += per_second * ((double)(now.tv_sec - s->filled.tv_sec) +
                                   1e-9 * (double)(now.tv_nsec - s->filled.tv_nsec));
        if (s->tokens > burst) s->tokens = burst;
        s->filled = now;
        yes = s->tokens >= 1;
        if (yes) {
            s->tokens -= 1;
            *dropped = s->dropped;
            s->dropped = 0;
        } else {
            s->dropped++;
        }
    }
    (void)pthread_mutex_unlock(&sites_lock);
    return yes;
}

void msa_log(msa_log_level level, const char *area, const char *fmt, ...)
{
    if (level > max_level) return;
    const int saved_errno = errno;
    unsigned dropped;
    if (!passes(level, fmt, &dropped)) {
        errno = saved_errno;
        return;
    }
    char line[1001];
    struct timespec now;
    struct tm utc;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &utc);
    int n = snprintf(line + used, sizeof line - used, ".%03ldZ %s %s ", now.tv_nsec / 1000000L,
                     level_names[level], area);
    if (n > 0) used += (size_t)n;
    if (dropped > 0) n = snprintf(line + used, sizeof line - used, "dropped=%u ", dropped);
    if (dropped > 0 && n > 0) used += (size_t)n;
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
