/* Messages of the roles: whole, or refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/core/ipc.h"

static int fds[2];

static int setup(void **state)
{
    (void)state;
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds);
}

static int teardown(void **state)
{
    (void)state;
    (void)close(fds[0]);
    return fds[1] >= 0 ? close(fds[1]) : 0;
}

static void test_round_trip(void **state)
{
    (void)state;
    srv_ipc_commit sent = {.sha256 = "ab", .size_bytes = 1LL << 40, .info = {.sop_instance_uid = "1.2.3"}},
                   got;
    srv_ipc_type type = 0;
    size_t size = 99;
    unsigned char body[SRV_IPC_BODY_MAX];
    assert_int_equal(srv_ipc_send(fds[0], SRV_IPC_COMMIT, &sent, sizeof sent, NULL), MSA_OK);
    assert_int_equal(srv_ipc_send(fds[0], SRV_IPC_JOB_GO, NULL, 0, NULL), MSA_OK);
    memset(body, 3, sizeof body);
    assert_int_equal(srv_ipc_send(fds[0], SRV_IPC_JOB, body, sizeof body, NULL), MSA_OK);
    assert_int_equal(srv_ipc_expect(fds[1], SRV_IPC_COMMIT, &got, sizeof got, NULL), MSA_OK);
    assert_memory_equal(&sent, &got, sizeof got);
    assert_int_equal(srv_ipc_recv(fds[1], &type, body, sizeof body, &size, NULL), MSA_OK);
    assert_int_equal(type, SRV_IPC_JOB_GO);
    assert_int_equal(size, 0);
    assert_int_equal(srv_ipc_recv(fds[1], &type, body, sizeof body, &size, NULL), MSA_OK);
    assert_int_equal(size, sizeof body);
    assert_int_equal(body[SRV_IPC_BODY_MAX - 1], 3);
}

static void test_too_large(void **state)
{
    (void)state;
    static unsigned char body[SRV_IPC_BODY_MAX + 1];
    srv_ipc_type type;
    size_t size;
    assert_int_equal(srv_ipc_send(fds[0], SRV_IPC_JOB, body, sizeof body, NULL), MSA_E_INVALID);
    assert_int_equal(srv_ipc_send(fds[0], SRV_IPC_JOB, body, 100, NULL), MSA_OK);
    assert_int_equal(srv_ipc_recv(fds[1], &type, body, 99, &size, NULL), MSA_E_PARSE);
    assert_int_equal(srv_ipc_send(fds[0], SRV_IPC_JOB, body, 8, NULL),
                     MSA_OK); /* the next one is whole again */
    assert_int_equal(srv_ipc_recv(fds[1], &type, body, 99, &size, NULL), MSA_OK);
    assert_int_equal(size, 8);
}

static void test_not_a_message(void **state)
{
    (void)state;
    const srv_ipc_head lies = {.type = SRV_IPC_JOB, .size = 77};
    unsigned char body[128];
    srv_ipc_type type;
    size_t size;
    assert_int_equal(send(fds[0], "abc", 3, 0), 3);
    assert_int_equal(srv_ipc_recv(fds[1], &type, body, sizeof body, &size, NULL), MSA_E_PARSE);
    assert_int_equal(send(fds[0], &lies, sizeof lies, 0), (int)sizeof lies);
    assert_int_equal(srv_ipc_recv(fds[1], &type, body, sizeof body, &size, NULL), MSA_E_PARSE);
    assert_int_equal(srv_ipc_send(fds[0], SRV_IPC_JOB_GO, NULL, 0, NULL), MSA_OK);
    assert_int_equal(
        srv_ipc_expect(fds[1], SRV_IPC_COMMITTED, body, sizeof(srv_ipc_committed) < 128 ? 0 : 128, NULL),
        MSA_E_PARSE);
}

static void test_other_end_gone(void **state)
{
    (void)state;
    srv_ipc_type type;
    size_t size;
    msa_error err = MSA_ERROR_INIT;
    (void)close(fds[1]);
    fds[1] = -1;
    assert_int_equal(srv_ipc_recv(fds[0], &type, NULL, 0, &size, &err), MSA_E_IO);
    assert_string_equal(err.what, "the other process closed its socket");
    assert_int_equal(srv_ipc_send(fds[0], SRV_IPC_JOB_GO, NULL, 0, NULL), MSA_E_IO); /* and no SIGPIPE */
}

/* What a role that was taken over sends ends nowhere; nothing of it is read beyond its field. */
static void test_texts_end(void **state)
{
    (void)state;
    dicom_header h;
    dicom_prompt p;
    memset(&h, 'x', sizeof h);
    memset(&p, 'x', sizeof p);
    srv_ipc_end_header(&h);
    srv_ipc_end_prompt(&p);
#define TEXT(field)                                                                                          \
    {                                                                                                        \
#field, field, sizeof(field)                                                                         \
    }
    const struct {
        const char *name, *text;
        size_t size;
    } texts[] = {TEXT(h.sop_class_uid),
                 TEXT(h.sop_instance_uid),
                 TEXT(h.study_uid),
                 TEXT(h.series_uid),
                 TEXT(h.frame_of_reference_uid),
                 TEXT(h.transfer_syntax_uid),
                 TEXT(h.modality),
                 TEXT(h.body_part),
                 TEXT(h.study_description),
                 TEXT(h.series_description),
                 TEXT(h.protocol),
                 TEXT(p.sop_instance_uid),
                 TEXT(p.series_uid),
                 TEXT(p.frame_of_reference_uid),
                 TEXT(p.label),
                 TEXT(p.tracking_id),
                 TEXT(p.tracking_uid),
                 TEXT(p.category.value),
                 TEXT(p.category.scheme),
                 TEXT(p.category.meaning),
                 TEXT(p.type.value),
                 TEXT(p.type.scheme),
                 TEXT(p.type.meaning),
                 TEXT(p.site.value),
                 TEXT(p.site.scheme),
                 TEXT(p.site.meaning),
                 TEXT(p.source_class_uid),
                 TEXT(p.source_instance_uid),
                 TEXT(p.source_sha256)};
#undef TEXT
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (memchr(texts[i].text, '\0', texts[i].size) == NULL) fail_msg("%s does not end", texts[i].name);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {CASE(test_round_trip), CASE(test_too_large), CASE(test_not_a_message),
                                       CASE(test_other_end_gone), cmocka_unit_test(test_texts_end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
