/**
 * Invariant 1, the catalogue's half: a child stores, indexes, queues, claims and finishes, and is killed with
 * SIGKILL at a random moment. Whatever it reported as done (through a pipe, after the call returned) is there
 * after reopening, the database is sound, and the next life goes on from there. Argument 1: rounds; argument
 * 2: seed.
 */
#include "tests/unit/store/fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int rounds = 100;
static unsigned seed = 1;

typedef struct report { /* what the child has been told stands */
    enum { STORED = 1, INDEXED, FINISHED } what;
    int64_t id;
} report;

static void tell(int fd, int what, int64_t id)
{
    const report r = {.what = what, .id = id};
    if (write(fd, &r, sizeof r) != (ssize_t)sizeof r) _exit(3);
}

/* One life of the service; leaves by _exit on any failure (cmocka does not live here). */
static void live(const char *path, int round, int fd)
{
#define MUST(call)                                                                                           \
    do {                                                                                                     \
        msa_error err = MSA_ERROR_INIT;                                                                      \
        if ((call) != MSA_OK) {                                                                              \
            (void)fprintf(stderr, "child: %s: %s\n", #call, err.what);                                       \
            _exit(2);                                                                                        \
        }                                                                                                    \
    } while (0)
    srv_store *s = NULL;
    int32_t n = 0;
    int64_t due = 0, now = 1000000LL * (round + 1);
    MUST(srv_store_open(&s, path, &err));
    MUST(srv_store_recover(s, now, &n, &err));
    for (int k = 0;; k++, now += 10) {
        char series[32], uid[48];
        srv_instance in = {.received_ms = now, .size_bytes = 1};
        srv_put outcome;
        int64_t id = 0;
        (void)snprintf(series, sizeof series, "1.%d.%d", round + 1, k / 4);
        (void)snprintf(uid, sizeof uid, "%s.%d", series, k);
        (void)snprintf(in.sop_instance_uid, sizeof in.sop_instance_uid, "%s", uid);
        (void)snprintf(in.sha256, sizeof in.sha256, "%064d", k);
        MUST(srv_store_instance_put(s, &in, &outcome, &id, &err));
        tell(fd, STORED, id);
        const dicom_header header = fx_header(series, uid, k);
        MUST(srv_store_instance_index(s, id, &header, NULL, 0, now, &err));
        tell(fd, INDEXED, id);
        if (k % 4 != 3) continue;
        srv_prompt p = {.created_ms = now, .prompt = fx_box("", "liver")};
        (void)snprintf(p.group_id, sizeof p.group_id, "%s", series);
        (void)snprintf(p.prompt.series_uid, sizeof p.prompt.series_uid, "%s", series);
        MUST(srv_store_prompts_put(s, &p, 1, &err));
        now += 40000;
        MUST(srv_jobs_tick(s, &fx_policy, now, &n, &due, &err));
        srv_job job;
        if (srv_store_job_claim(s, now, 1000, &job, NULL) != MSA_OK) continue;
        const srv_result result = {.number = 1, .sop_instance_uid = "2.25.1"};
        MUST(srv_store_job_done(s, job.id, job.token, &result, 1, NULL, 0, "", "", NULL, 0, now, &err));
        tell(fd, FINISHED, job.id);
    }
}

static int64_t states_seen[3];

static void check(srv_store *s, const report *reports, size_t n)
{
    srv_store_counts counts;
    size_t stored = 0;
    assert_ok(srv_store_count(s, &counts, &err));
    for (size_t k = 0; k < n; k++) {
        states_seen[reports[k].what - 1]++;
        if (reports[k].what == STORED) stored++;
        if (reports[k].what == FINISHED) {
            const srv_job job = fx_job(s, reports[k].id);
            assert_int_equal(job.state, SRV_JOB_SUCCEEDED);
        }
    }
    /* ids grow by one and nothing is ever deleted: all up to the last one reported are there */
    assert_true((size_t)counts.instances >= stored);
    for (size_t k = n; k-- > 0;) {
        if (reports[k].what != STORED) continue;
        assert_true(counts.instances >= reports[k].id);
        break;
    }
    /* what is stored and not indexed is waiting, each once: at most the one that was under way */
    int waiting = 0;
    int64_t after = 0;
    srv_instance in;
    while (srv_store_instance_next(s, after, &in, NULL) == MSA_OK) {
        after = in.id;
        waiting++;
        for (size_t k = 0; k < n; k++)
            assert_false(reports[k].what == INDEXED && reports[k].id == in.id);
        assert_ok(srv_store_instance_reject(s, in.id, "left over", &err));
    }
    assert_in_range(waiting, 0, 1);
}

static void everything_reported_survives_kill_9(void **state)
{
    fixture *f = *state;
    report reports[4096];
    (void)printf("kill -9: %d rounds, seed %u\n", rounds, seed);
    srand(seed);
    srv_store_free(f->store);
    f->store = NULL;
    for (int round = 0; round < rounds; round++) {
        int fds[2];
        size_t n = 0;
        assert_int_equal(pipe(fds), 0);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            (void)close(fds[0]);
            live(f->path, round, fds[1]);
            _exit(1);
        }
        (void)close(fds[1]);
        /* The moment: some reports into its life, which suits slow and fast machines, then any instant of the
         * next. */
        const size_t wait_for = (size_t)(rand() % 20);
        while (n < wait_for && read(fds[0], &reports[n], sizeof *reports) == (ssize_t)sizeof *reports)
            n++;
        const struct timespec pause = {0, (long)(rand() % (wait_for ? 3000 : 15000)) * 1000L};
        (void)nanosleep(&pause, NULL);
        assert_int_equal(kill(child, SIGKILL), 0);
        while (n < sizeof reports / sizeof *reports &&
               read(fds[0], &reports[n], sizeof *reports) == (ssize_t)sizeof *reports)
            n++;
        (void)close(fds[0]);
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));                    /* the child itself found nothing wrong */
        assert_ok(srv_store_open(&f->store, f->path, &err)); /* quick_check is in there */
        check(f->store, reports, n);
        srv_store_free(f->store);
        f->store = NULL;
    }
    (void)printf("reported and found: %lld stored, %lld indexed, %lld finished\n", (long long)states_seen[0],
                 (long long)states_seen[1], (long long)states_seen[2]);
    assert_true(states_seen[2] > 0); /* the moments were not all too early to mean anything */
}

int main(int argc, char **argv)
{
    if (argc > 1) rounds = atoi(argv[1]);
    if (argc > 2) seed = (unsigned)strtoul(argv[2], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everything_reported_survives_kill_9, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
