#include "server/core/notify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int64_t number_of(const char *name)
{
    const char *text = getenv(name);
    return text == NULL ? 0 : strtoll(text, NULL, 10);
}

void srv_notify_open(srv_notify *n)
{
    *n = (srv_notify){.fd = -1, .to.sun_family = AF_UNIX};
    const char *path = getenv("NOTIFY_SOCKET");
    const size_t size = path == NULL ? 0 : strlen(path);
    if (size > 1 && size < sizeof n->to.sun_path && (path[0] == '/' || path[0] == '@')) {
        memcpy(n->to.sun_path, path, size);
        if (path[0] == '@') n->to.sun_path[0] = '\0'; /* the abstract name space */
        n->to_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
        n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    }
    const int64_t pid = number_of("WATCHDOG_PID"), us = number_of("WATCHDOG_USEC");
    if (n->fd >= 0 && us > 0 && (pid == 0 || pid == getpid())) n->watchdog_ms = us < 1000 ? 1 : us / 1000;
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
    (void)unsetenv("WATCHDOG_PID");
}

void srv_notify_send(const srv_notify *n, const char *fmt, ...)
{
    char text[512];
    va_list args;
    if (n->fd < 0) return;
    va_start(args, fmt);
    const int size = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (size <= 0) return;
    (void)sendto(n->fd, text, (size_t)size < sizeof text ? (size_t)size : sizeof text - 1, MSG_NOSIGNAL,
                 (const struct sockaddr *)&n->to, n->to_size);
}

void srv_notify_reloading(const srv_notify *n)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    srv_notify_send(n, "RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\nSTATUS=reading the settings again",
                    (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000);
}

void srv_notify_close(srv_notify *n)
{
    if (n->fd >= 0) (void)close(n->fd);
    n->fd = -1;
}
