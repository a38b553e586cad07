/* What the service manager is told, by hand: sd_notify(3) is one datagram on $NOTIFY_SOCKET. */
#ifndef SRV_CORE_NOTIFY_H
#define SRV_CORE_NOTIFY_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

typedef struct srv_notify {
    int fd; /* -1: nobody wants to know */
    struct sockaddr_un to;
    socklen_t to_size;
    int64_t watchdog_ms; /* WATCHDOG=1 must come at least this often; 0: it need not */
} srv_notify;

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and takes them out of the environment: roles say
 * nothing. */
void srv_notify_open(srv_notify *n);
/* Lines as in sd_notify(3), for example "READY=1\nSTATUS=...". Never blocks; what is not taken is lost. */
void srv_notify_send(const srv_notify *n, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* RELOADING=1 with the time that systemd asks for beside it. */
void srv_notify_reloading(const srv_notify *n);
void srv_notify_close(srv_notify *n);

#endif
