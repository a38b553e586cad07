#include "server/core/ipc.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

msa_status srv_ipc_send(int fd, srv_ipc_type type, const void *body, size_t size, msa_error *err)
{
    if (size > SRV_IPC_BODY_MAX)
        return msa_fail(err, MSA_E_INVALID, "a message of %zu bytes is larger than %d", size,
                        SRV_IPC_BODY_MAX);
    srv_ipc_head head = {.type = (uint32_t)type, .size = (uint32_t)size};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)(uintptr_t)body, size}};
    const struct msghdr msg = {.msg_iov = parts, .msg_iovlen = size > 0 ? 2 : 1};
    ssize_t sent;
    do {
        sent = sendmsg(fd, &msg, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) return msa_fail(err, MSA_E_IO, "the other process is gone: %s", strerror(errno));
    if ((size_t)sent != sizeof head + size)
        return msa_fail(err, MSA_E_INTERNAL, "a message was cut: is the socket not SOCK_SEQPACKET?");
    return MSA_OK;
}

msa_status srv_ipc_recv(int fd, srv_ipc_type *type, void *body, size_t cap, size_t *size, msa_error *err)
{
    srv_ipc_head head = {0, 0};
    struct iovec parts[2] = {{&head, sizeof head}, {body, cap}};
    struct msghdr msg = {.msg_iov = parts, .msg_iovlen = cap > 0 ? 2 : 1};
    ssize_t got;
    *size = 0;
    do {
        got = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0) return msa_fail(err, MSA_E_IO, "cannot read from the other process: %s", strerror(errno));
    if (got == 0) return msa_fail(err, MSA_E_IO, "the other process closed its socket");
    if (msg.msg_flags & MSG_TRUNC)
        return msa_fail(err, MSA_E_PARSE, "message of type %u is larger than %zu bytes", head.type, cap);
    if ((size_t)got < sizeof head || head.size != (size_t)got - sizeof head)
        return msa_fail(err, MSA_E_PARSE, "a message of %zd bytes does not match its own length", got);
    *type = (srv_ipc_type)head.type;
    *size = head.size;
    return MSA_OK;
}

msa_status srv_ipc_expect(int fd, srv_ipc_type type, void *body, size_t size, msa_error *err)
{
    srv_ipc_type got_type = 0;
    size_t got_size = 0;
    MSA_TRY(srv_ipc_recv(fd, &got_type, body, size, &got_size, err));
    if (got_type != type || got_size != size)
        return msa_fail(err, MSA_E_PARSE,
                        "message of type %d and %zu bytes where type %d and %zu bytes was due", (int)got_type,
                        got_size, (int)type, size);
    return MSA_OK;
}

void srv_ipc_end_header(dicom_header *h)
{
    SRV_IPC_END(h->sop_class_uid);
    SRV_IPC_END(h->sop_instance_uid);
    SRV_IPC_END(h->study_uid);
    SRV_IPC_END(h->series_uid);
    SRV_IPC_END(h->frame_of_reference_uid);
    SRV_IPC_END(h->transfer_syntax_uid);
    SRV_IPC_END(h->modality);
    SRV_IPC_END(h->body_part);
    SRV_IPC_END(h->study_description);
    SRV_IPC_END(h->series_description);
    SRV_IPC_END(h->protocol);
}

static void end_code(dicom_code *code)
{
    SRV_IPC_END(code->value);
    SRV_IPC_END(code->scheme);
    SRV_IPC_END(code->meaning);
}

void srv_ipc_end_prompt(dicom_prompt *p)
{
    SRV_IPC_END(p->sop_instance_uid);
    SRV_IPC_END(p->series_uid);
    SRV_IPC_END(p->frame_of_reference_uid);
    SRV_IPC_END(p->label);
    SRV_IPC_END(p->tracking_id);
    SRV_IPC_END(p->tracking_uid);
    end_code(&p->category);
    end_code(&p->type);
    end_code(&p->site);
    SRV_IPC_END(p->source_class_uid);
    SRV_IPC_END(p->source_instance_uid);
    SRV_IPC_END(p->source_sha256);
}
