#include "server/core/role.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/cleanup.h"
#include "engine/base/log.h"

typedef struct outgoing {
    struct outgoing *next;
    size_t size;
    unsigned char bytes[]; /* head and body */
} outgoing;

struct srv_role {
    uv_process_t process;
    uv_poll_t socket;
    int fd;
    char name[16];
    srv_role_events events;
    outgoing *first, **last;
    bool finishing; /* no more messages from us once the queue is empty */
    bool exited;    /* the exit callback has run */
    bool eof;       /* the socket holds nothing more */
    bool gone;      /* events.exited has been called, or is never to be */
    int open_handles;
    srv_role_exit how;
};

static bool unconfined;

static void on_closed(uv_handle_t *handle)
{
    srv_role *role = handle->data;
    if (--role->open_handles > 0) return;
    while (role->first != NULL) {
        outgoing *o = role->first;
        role->first = o->next;
        free(o);
    }
    if (role->fd >= 0) (void)close(role->fd);
    free(role);
}

static void end_role(srv_role *role)
{
    if (role->gone || !role->exited || !role->eof) return;
    role->gone = true;
    if (role->events.exited != NULL) role->events.exited(role->events.ctx, &role->how);
    uv_close((uv_handle_t *)&role->socket, on_closed);
    uv_close((uv_handle_t *)&role->process, on_closed);
}

/* Fixed size of each message a role may send to core; 0 is a type that core does not take. */
static size_t body_size(srv_ipc_type type)
{
    switch ((int)type) {
    case SRV_IPC_ADMIT:
    case SRV_IPC_OPENED:
        return sizeof(dicom_assoc_info);
    case SRV_IPC_REFUSED:
        return sizeof(srv_ipc_refused);
    case SRV_IPC_COMMIT:
        return sizeof(srv_ipc_commit);
    case SRV_IPC_BAD_DISK:
        return sizeof(srv_ipc_text);
    case SRV_IPC_CLOSED:
        return sizeof(dicom_receive_result);
    case SRV_IPC_WORK_READY:
        return sizeof(srv_ipc_ready);
    case SRV_IPC_WORK_MODEL:
        return sizeof(srv_model_info);
    case SRV_IPC_WORK_RULE_KNOWN:
        return sizeof(srv_rule);
    case SRV_IPC_INDEX_PROMPT:
        return sizeof(dicom_prompt);
    case SRV_IPC_INDEXED:
    case SRV_IPC_LOOKED:
        return sizeof(srv_ipc_indexed);
    case SRV_IPC_JOB_PROGRESS:
        return sizeof(srv_ipc_progress);
    case SRV_IPC_JOB_SEGMENT:
        return sizeof(srv_ipc_segment);
    case SRV_IPC_JOB_RESULT:
        return sizeof(srv_ipc_result);
    case SRV_IPC_JOB_DONE:
        return sizeof(srv_ipc_job_done);
    case SRV_IPC_FOUND:
        return sizeof(dicom_find_result);
    case SRV_IPC_SENT:
        return sizeof(dicom_send_result);
    case SRV_IPC_FORBIDDEN:
        return sizeof(srv_ipc_forbidden);
    default:
        return 0;
    }
}

/* Its last words: whatever it does now, it has been taken over. */
static void on_forbidden(srv_role *role, const srv_ipc_forbidden *m)
{
    role->how.forbidden = true;
    role->how.call = m->call;
    msa_log(MSA_LOG_ERROR, "role", "name=%s pid=%d forbidden_system_call=%d", role->name, role->process.pid,
            m->call);
    srv_role_kill(role);
}

/* One message, or false when the socket is empty or at its end (role->eof tells which). */
static bool read_one(srv_role *role)
{
    /* max_align_t: callbacks read the body as the struct that it is */
    static alignas(max_align_t) unsigned char buffer[16 + SRV_IPC_BODY_MAX];
    unsigned char *const message = buffer + 8; /* so that the body behind the 8-byte head is aligned to 16 */
    ssize_t n;
    do
        n = recv(role->fd, message, sizeof buffer - 8, MSG_DONTWAIT | MSG_TRUNC);
    /* A role that died with messages from us unread leaves ECONNRESET, once, ahead of its own last words
     * (unix(7)). */
    while (n < 0 && (errno == EINTR || errno == ECONNRESET));
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
    if (n <= 0) {
        role->eof = true;
        return false;
    }
    srv_ipc_head head = {0};
    memcpy(&head, message, (size_t)n < sizeof head ? (size_t)n : sizeof head);
    if ((size_t)n < sizeof head || (size_t)n > sizeof buffer - 8 || (size_t)n != sizeof head + head.size ||
        body_size((srv_ipc_type)head.type) != head.size) {
        if (!role->how.broke_protocol)
            msa_log(MSA_LOG_ERROR, "role", "name=%s pid=%d broke_protocol type=%u bytes=%zd", role->name,
                    role->process.pid, head.type, n);
        role->how.broke_protocol = true;
        srv_role_kill(role);
        return true;
    }
    if (head.type == SRV_IPC_FORBIDDEN)
        on_forbidden(role, (const srv_ipc_forbidden *)(const void *)(message + sizeof head));
    else if (!role->how.broke_protocol)
        role->events.message(role->events.ctx, (srv_ipc_type)head.type, message + sizeof head, head.size);
    return true;
}

static void write_some(srv_role *role)
{
    while (role->first != NULL) {
        outgoing *o = role->first;
        const ssize_t n = send(role->fd, o->bytes, o->size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS)) return;
        /* A role that is gone takes no message; its exit event says so. */
        role->first = o->next;
        if (role->first == NULL) role->last = &role->first;
        free(o);
    }
    if (role->finishing) (void)shutdown(role->fd, SHUT_WR);
}

static void on_socket(uv_poll_t *poll, int status, int events);

static void watch(srv_role *role)
{
    if (role->gone || role->eof) return;
    (void)uv_poll_start(&role->socket, UV_READABLE | (role->first != NULL ? UV_WRITABLE : 0), on_socket);
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    srv_role *role = poll->data;
    if (status < 0) events = UV_READABLE;
    if ((events & UV_WRITABLE) != 0) write_some(role);
    /* Bounded per turn, so that one busy role cannot hold the loop. */
    for (int i = 0; i < 64 && (events & UV_READABLE) != 0 && !role->gone; i++)
        if (!read_one(role)) break;
    if (role->eof)
        (void)uv_poll_stop(poll);
    else
        watch(role);
    end_role(role);
}

static void on_exit_process(uv_process_t *process, int64_t status, int signal)
{
    srv_role *role = process->data;
    role->exited = true;
    role->how.status = (int)status;
    role->how.signal = signal;
    while (!role->eof && read_one(role))
        continue; /* its last words */
    role->eof = true;
    (void)uv_poll_stop(&role->socket);
    end_role(role);
}

static msa_status spawn_process(srv_role *role, uv_loop_t *loop, const char *name, int theirs, int extra_fd,
                                msa_error *err)
{
    char exe[] = "/proc/self/exe", arg0[] = "msad", arg1[] = "--role", arg2[16], arg3[] = "--no-sandbox";
    (void)snprintf(arg2, sizeof arg2, "%s", name);
    char *args[] = {arg0, arg1, arg2, unconfined ? arg3 : NULL, NULL};
    uv_stdio_container_t stdio[5] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = theirs},
        {.flags = UV_INHERIT_FD, .data.fd = extra_fd},
    };
    uv_process_options_t options = {.exit_cb = on_exit_process,
                                    .file = exe,
                                    .args = args,
                                    .stdio_count = extra_fd >= 0 ? 5 : 4,
                                    .stdio = stdio};
    role->process.data = role;
    const int rc = uv_spawn(loop, &role->process, &options);
    role->open_handles++; /* uv_spawn initialises the handle even when it fails */
    if (rc != 0) return msa_fail(err, MSA_E_IO, "cannot start a %s process: %s", name, uv_strerror(rc));
    return MSA_OK;
}

msa_status srv_role_spawn(srv_role **out, uv_loop_t *loop, const char *name, int extra_fd,
                          const srv_role_events *events, msa_error *err)
{
    *out = NULL;
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
        return msa_fail(err, MSA_E_IO, "cannot make a socket for a %s process: %s", name, strerror(errno));
    MSA_AUTO_FD int theirs = fds[1];
    srv_role *role = calloc(1, sizeof *role);
    if (role == NULL) {
        (void)close(fds[0]);
        return msa_fail(err, MSA_E_NOMEM, "out of memory");
    }
    role->fd = fds[0];
    role->last = &role->first;
    role->events = *events;
    (void)snprintf(role->name, sizeof role->name, "%s", name);
    role->socket.data = role;
    if (uv_poll_init(loop, &role->socket, role->fd) != 0) {
        (void)close(role->fd);
        free(role);
        return msa_fail(err, MSA_E_IO, "cannot watch the socket of a %s process", name);
    }
    role->open_handles = 1;
    const msa_status st = spawn_process(role, loop, name, theirs, extra_fd, err);
    if (st != MSA_OK) {
        role->gone = true;
        uv_close((uv_handle_t *)&role->socket, on_closed);
        uv_close((uv_handle_t *)&role->process, on_closed);
        return st;
    }
    watch(role);
    *out = role;
    return MSA_OK;
}

msa_status srv_role_send(srv_role *role, srv_ipc_type type, const void *body, size_t size, msa_error *err)
{
    if (role->gone || role->exited || role->finishing)
        return msa_fail(err, MSA_E_IO, "the %s process is ending", role->name);
    const srv_ipc_head head = {.type = (uint32_t)type, .size = (uint32_t)size};
    outgoing *o = malloc(sizeof *o + sizeof head + size);
    if (o == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    o->next = NULL;
    o->size = sizeof head + size;
    memcpy(o->bytes, &head, sizeof head);
    if (size > 0) memcpy(o->bytes + sizeof head, body, size);
    *role->last = o;
    role->last = &o->next;
    write_some(role);
    watch(role);
    return MSA_OK;
}

void srv_role_finish(srv_role *role)
{
    role->finishing = true;
    write_some(role);
}

void srv_role_kill(srv_role *role)
{
    if (!role->exited) (void)uv_process_kill(&role->process, SIGKILL);
}

void srv_role_end_text(const srv_role_exit *how, char *out, size_t size)
{
    if (how->forbidden) {
        MSA_AUTO_FREE char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, how->call);
        (void)snprintf(out, size, "was ended by the sandbox (system call %d, %s)", how->call,
                       name != NULL ? name : "of no name");
    } else if (how->signal == SIGSYS) {
        (void)snprintf(out, size, "was ended by the sandbox (a system call of another kind of program)");
    } else if (how->signal != 0) {
        (void)snprintf(out, size, "was ended by signal %d (%s)", how->signal, strsignal(how->signal));
    } else {
        (void)snprintf(out, size, "ended early with status %d", how->status);
    }
}

void srv_role_spawn_unconfined(void)
{
    unconfined = true;
}
