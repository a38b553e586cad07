/* The decision about a series, without a store: a table of evidence and what follows from it. */
#include "tests/unit/store/fixture.h"

#include <stdio.h>
#include <string.h>

#include "server/jobs/completeness.h"
#include "server/store/internal.h"

/* An open series of 10 images, the last at 10 s, its association closed, nothing unread, no gap. */
static srv_series_evidence arrived(void)
{
    srv_series_evidence e = {0};
    e.series.open = true;
    e.series.instances = 10;
    e.series.last_ms = 10000;
    return e;
}

static void check(srv_series_evidence e, int64_t now_ms, const char *rule, bool bind, int64_t due_ms,
                  int line)
{
    const srv_decision d = srv_series_decide(&e, &fx_policy, now_ms);
    if (!d.close_by != !rule || (rule && strcmp(d.close_by, rule) != 0))
        fail_msg("line %d: closed by %s, wanted %s", line, d.close_by ? d.close_by : "-", rule ? rule : "-");
    if (d.bind != bind) fail_msg("line %d: bind %d, wanted %d", line, d.bind, bind);
    if (d.due_ms != due_ms)
        fail_msg("line %d: due %lld, wanted %lld", line, (long long)d.due_ms, (long long)due_ms);
}
#define CHECK(...) check(__VA_ARGS__, __LINE__)
#define NEVER      INT64_MAX

static void rules(void **state)
{
    (void)state;
    srv_series_evidence e = arrived();
    CHECK(e, 11999, NULL, false, 12000);
    CHECK(e, 12000, "association_end", true, NEVER);
    e.open_associations = 1;
    CHECK(e, 12000, NULL, false, 40000);
    CHECK(e, 40000, "quiet", true, NEVER);
    e = arrived();
    e.unindexed = 1;
    CHECK(e, 12000, NULL, false, 40000);
    e = arrived();
    e.gap = true;
    CHECK(e, 12000, NULL, false, 40000);
    CHECK(e, 39999, NULL, false, 40000);
    CHECK(e, 40000, "quiet", true, NEVER);
}

static void the_expected_number_closes_at_once_but_once(void **state)
{
    (void)state;
    srv_series_evidence e = arrived();
    e.open_associations = 1;
    e.series.expected = 11;
    CHECK(e, 10000, NULL, false, 40000);
    e.series.instances = 11;
    CHECK(e, 10000, "expected_count", true, NEVER);
    e.series.instances = 12; /* more than expected: the number was wrong */
    CHECK(e, 10000, NULL, false, 40000);
    e.series.instances = 11;
    e.again = true;
    CHECK(e, 10000, NULL, false, 40000);
}

/* Further numbers: what each needs beside it. */
static void other_counts(void **state)
{
    (void)state;
    srv_series_evidence e = arrived();
    e.series.study_expected = 25;
    e.study_images = 24;
    CHECK(e, 10000, NULL, false, 12000);
    e.study_images = 25;
    e.open_associations = 1;
    CHECK(e, 10000, "study_count", true, NEVER);
    e.again = true;
    CHECK(e, 10000, NULL, false, 40000);
    e = arrived();
    e.series.acquisition_expected = 10;
    CHECK(e, 10000, "acquisition_count", true, NEVER);
    e.gap = true; /* half of an interleaved stack is an acquisition too */
    CHECK(e, 10000, NULL, false, 40000);
    e = arrived();
    e.series.acquisition_expected = 10;
    e.open_associations = 1;
    CHECK(e, 10000, NULL, false, 40000);
    e = arrived(); /* the source has more: the end of the association says nothing */
    e.series.found = 12;
    e.series.asked_ms = 10500;
    CHECK(e, 13000, NULL, false, 40000);
    CHECK(e, 40000, "quiet", true, NEVER);
    e.series.instances = 12;
    e.gap = true;
    CHECK(e, 10600, "source_count", true, NEVER);
    e.series.last_ms = 10550; /* one has come since it was asked */
    CHECK(e, 10600, NULL, false, 40550);
    e = arrived(); /* somebody has told that there are more */
    e.series.told = 11;
    e.series.expected = 10;
    CHECK(e, 13000, NULL, false, 40000);
    e.series.instances = 11;
    CHECK(e, 10000, "expected_count", true, NEVER);
}

static void held_and_forced(void **state)
{
    (void)state;
    srv_series_evidence e = arrived();
    e.series.held = true;
    CHECK(e, 99000, NULL, false, NEVER);
    e.series.open = false;
    CHECK(e, 99000, NULL, false, NEVER);
    e = arrived();
    e.series.forced = true;
    e.open_associations = e.unindexed = 1;
    e.gap = true;
    CHECK(e, 10000, "forced", true, NEVER);
    e.series.prompts = 1;
    e.last_prompt_ms = 9900;
    CHECK(e, 10000, "forced", false, 10900);
}

static void a_rule_has_its_own_times(void **state)
{
    (void)state;
    static srv_model_table table = {
        .n_models = 1,
        .n_rules = 2,
        .rules = {{.series = "*long*", .settle_ms = 7000, .quiet_ms = 60000}, {.modality = "*"}}};
    srv_job_policy policy = fx_policy;
    srv_series_evidence e = arrived();
    policy.models = &table;
    (void)snprintf(e.subject.series, sizeof e.subject.series, "very long scan");
    assert_null(srv_series_decide(&e, &policy, 16999).close_by);
    assert_int_equal(srv_series_decide(&e, &policy, 16999).due_ms, 17000);
    assert_string_equal(srv_series_decide(&e, &policy, 17000).close_by, "association_end");
    e.gap = true;
    assert_null(srv_series_decide(&e, &policy, 69999).close_by);
    assert_string_equal(srv_series_decide(&e, &policy, 70000).close_by, "quiet");
    e.subject.series[0] = '\0';
    assert_string_equal(srv_series_decide(&e, &policy, 40000).close_by, "quiet");
}

static void prompts_settle_before_the_job_is_bound(void **state)
{
    (void)state;
    srv_series_evidence e = arrived();
    e.series.prompts = 2;
    e.last_prompt_ms = 11500;
    CHECK(e, 12000, "association_end", false, 12500);
    e.series.open = false; /* closed by that, or before */
    CHECK(e, 12000, NULL, false, 12500);
    CHECK(e, 12499, NULL, false, 12500);
    CHECK(e, 12500, NULL, true, NEVER);
    e.last_prompt_ms = 99000;
    CHECK(e, 99500, NULL, false, 100000);
    CHECK(e, 100000, NULL, true, NEVER);
}

static bool gap_of(const double *sorted, size_t n)
{
    double copy[16];
    bool gap = false;
    memcpy(copy, sorted, n * sizeof *copy);
    (void)srv_positions_step(copy, n, &gap);
    return gap;
}

static void gaps(void **state)
{
    (void)state;
    const double even[] = {-10, -5, 0, 5, 10};
    const double hole[] = {-10, -5, 0, 10, 15};
    const double jitter[] = {0, 5, 10.001, 14.999, 20, 27.4}; /* 7.4 < 1.5 * 5 */
    const double phases[] = {0, 0, 0, 5, 5, 5, 10, 10, 10};
    const double phases_hole[] = {0, 0, 5, 5, 10, 10, 20, 20};
    assert_false(gap_of(even, 0));
    assert_false(gap_of(even, 1));
    assert_false(gap_of(even, 2));
    assert_false(gap_of(even, 5));
    assert_true(gap_of(hole, 5));
    assert_false(gap_of(jitter, 6));
    assert_false(gap_of(phases, 9));
    assert_true(gap_of(phases_hole, 8));
    double own[8];
    bool gap = true;
    memcpy(own, phases_hole, sizeof own);
    assert_true(srv_positions_step(own, 8, &gap) == 5);
    assert_true(srv_positions_step(own, 1, &gap) == 0);
    assert_false(gap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules),
        cmocka_unit_test(the_expected_number_closes_at_once_but_once),
        cmocka_unit_test(other_counts),
        cmocka_unit_test(held_and_forced),
        cmocka_unit_test(a_rule_has_its_own_times),
        cmocka_unit_test(prompts_settle_before_the_job_is_bound),
        cmocka_unit_test(gaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
