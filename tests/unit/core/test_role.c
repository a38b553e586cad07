/* Core's view of a role: order of events, last words, and what becomes of a role that breaks the rules
 * (invariant 3). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/core/role.h"
#include "server/roles/sandbox.h"

typedef struct seen {
    int messages, exits;
    int64_t last_done;
    srv_role_exit how;
    srv_role *role;
} seen;

static void on_message(void *ctx, srv_ipc_type type, const void *body, size_t size)
{
    seen *s = ctx;
    assert_int_equal(s->exits, 0); /* the exit is always last */
    assert_int_equal(type, SRV_IPC_JOB_PROGRESS);
    assert_int_equal(size, sizeof(srv_ipc_progress));
    s->messages++;
    s->last_done = ((const srv_ipc_progress *)body)->done;
}

static void on_exited(void *ctx, const srv_role_exit *how)
{
    seen *s = ctx;
    s->exits++;
    s->how = *how;
    s->role = NULL;
}

typedef enum pace { AT_ONCE, AFTER_ITS_END } pace;

/* AFTER_ITS_END: core is so slow that it looks at the socket only when the role is dead. */
static void run(const char *name, seen *s, int to_send, pace when)
{
    uv_loop_t loop;
    msa_error err = MSA_ERROR_INIT;
    const srv_role_events events = {.ctx = s, .message = on_message, .exited = on_exited};
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(srv_role_spawn(&s->role, &loop, name, -1, &events, &err), MSA_OK);
    for (int i = 0; i < to_send; i++) {
        const srv_ipc_progress m = {.done = i};
        assert_int_equal(srv_role_send(s->role, SRV_IPC_JOB_PROGRESS, &m, sizeof m, &err), MSA_OK);
    }
    srv_role_finish(s->role);
    assert_int_equal(srv_role_send(s->role, SRV_IPC_JOB_GO, NULL, 0, NULL), MSA_E_IO);
    siginfo_t ended;
    if (when == AFTER_ITS_END) assert_int_equal(waitid(P_ALL, 0, &ended, WEXITED | WNOWAIT), 0);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(s->exits, 1);
    assert_int_equal(uv_loop_close(&loop), 0); /* every handle was closed */
}

static void sends_and_receives_in_order(void **state)
{
    (void)state;
    seen s = {0};
    run("echo", &s, 3000, AT_ONCE); /* far more than the socket holds: the queue carries the rest */
    assert_int_equal(s.messages, 3000);
    assert_int_equal(s.last_done, 2999);
    assert_int_equal(s.how.signal, 0);
    assert_int_equal(s.how.status, 0);
}

static void delivers_last_words_of_a_crash(void **state)
{
    (void)state;
    static const pace paces[] = {AT_ONCE, AFTER_ITS_END};
    for (size_t i = 0; i < sizeof paces / sizeof *paces; i++) {
        seen s = {0};
        run("crash", &s, 1, paces[i]); /* it dies with our message unread */
        assert_int_equal(s.messages, 1);
        assert_int_equal(s.how.signal, SIGKILL);
        assert_false(s.how.broke_protocol);
    }
}

static void ends_a_role_that_breaks_the_rules(void **state)
{
    (void)state;
    static const char *const names[] = {"short", "long", "foreign", "lying", "huge"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        seen s = {0};
        run(names[i], &s, 1, AT_ONCE);
        assert_true(s.how.broke_protocol);
        assert_int_equal(s.how.signal, SIGKILL);
        assert_int_equal(s.messages, 0);
    }
}

/* S5: core says what the sandbox ended a role for. */
static void reports_what_the_sandbox_ended(void **state)
{
    (void)state;
    if (srv_sandbox_missing() != NULL) return;
    seen s = {0};
    char said[SRV_ROLE_END_MAX], wanted[SRV_ROLE_END_MAX];
    run("escaping", &s, 0, AT_ONCE);
    assert_true(s.how.forbidden);
    assert_int_equal(s.how.call, SYS_socket);
    assert_int_equal(s.messages, 0);
    srv_role_end_text(&s.how, said, sizeof said);
    (void)snprintf(wanted, sizeof wanted, "was ended by the sandbox (system call %d, socket)", SYS_socket);
    assert_string_equal(said, wanted);

    static const struct {
        srv_role_exit how;
        const char *said;
    } others[] = {{{.signal = SIGKILL}, "was ended by signal 9 (Killed)"},
                  {{.signal = SIGSYS}, "was ended by the sandbox (a system call of another kind of program)"},
                  {{.forbidden = true, .call = -5}, "was ended by the sandbox (system call -5, of no name)"},
                  {{.status = 3}, "ended early with status 3"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        srv_role_end_text(&others[i].how, said, sizeof said);
        assert_string_equal(said, others[i].said);
    }
}

static void reports_an_exit_status(void **state)
{
    (void)state;
    seen s = {0};
    run("seven", &s, 0, AT_ONCE);
    assert_int_equal(s.how.status, 7);
    assert_int_equal(s.messages, 0);
}

/* ---- the roles that this test re-executes itself as ---- */

static int role_echo(void)
{
    srv_ipc_progress m;
    while (srv_ipc_expect(SRV_IPC_FD, SRV_IPC_JOB_PROGRESS, &m, sizeof m, NULL) == MSA_OK)
        if (srv_ipc_send(SRV_IPC_FD, SRV_IPC_JOB_PROGRESS, &m, sizeof m, NULL) != MSA_OK) return 1;
    return 0;
}

static int role_raw(uint32_t type, uint32_t claimed, size_t body)
{
    static unsigned char bytes[65536];
    const srv_ipc_head head = {.type = type, .size = claimed};
    memcpy(bytes, &head, sizeof head);
    (void)send(SRV_IPC_FD, bytes, sizeof head + body, 0);
    (void)pause();
    return 0;
}

static int be_role(const char *name)
{
    const uint32_t size = sizeof(srv_ipc_progress);
    if (strcmp(name, "echo") == 0) return role_echo();
    if (strcmp(name, "seven") == 0) return 7;
    if (strcmp(name, "escaping") == 0) {
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
            srv_sandbox_receive("/nonexistent", NULL) != MSA_OK)
            return 1;
        return socket(AF_INET, SOCK_STREAM, 0) >= 0 ? 2 : 3; /* it does not come back */
    }
    if (strcmp(name, "crash") == 0) {
        const srv_ipc_progress m = {.done = 1};
        if (srv_ipc_send(SRV_IPC_FD, SRV_IPC_JOB_PROGRESS, &m, sizeof m, NULL) != MSA_OK) return 1;
        return raise(SIGKILL);
    }
    if (strcmp(name, "short") == 0) return role_raw(SRV_IPC_JOB_PROGRESS, size - 1, size - 1);
    if (strcmp(name, "long") == 0) return role_raw(SRV_IPC_JOB_PROGRESS, size + 8, size + 8);
    if (strcmp(name, "foreign") == 0)
        return role_raw(SRV_IPC_COMMITTED, sizeof(srv_ipc_committed), sizeof(srv_ipc_committed));
    if (strcmp(name, "lying") == 0) return role_raw(SRV_IPC_JOB_PROGRESS, size, size - 4);
    if (strcmp(name, "huge") == 0) return role_raw(SRV_IPC_JOB_PROGRESS, 60000, 60000);
    return 99;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--role") == 0) return be_role(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sends_and_receives_in_order),       cmocka_unit_test(delivers_last_words_of_a_crash),
        cmocka_unit_test(ends_a_role_that_breaks_the_rules), cmocka_unit_test(reports_an_exit_status),
        cmocka_unit_test(reports_what_the_sandbox_ended),
    };
    return cmocka_run_group_tests_name("role", tests, NULL, NULL);
}
