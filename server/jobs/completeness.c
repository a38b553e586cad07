#include "server/jobs/completeness.h"

/*
 * A number closes at once, but only the first time: a series that reopens has met its number before, and
 * would close again at each of the late instances, with a job each.
 */
static bool expected_count(const srv_series_evidence *e)
{
    const int32_t expected = e->series.told > 0 ? e->series.told : e->series.expected;
    return expected > 0 && e->series.instances == expected && !e->again;
}

/* All of the study is here, so all of this series is. */
static bool study_count(const srv_series_evidence *e)
{
    return e->series.study_expected > 0 && e->study_images == e->series.study_expected && !e->again;
}

/* Nothing is on its way any more, and the stack has no hole. */
static bool has_settled(const srv_series_evidence *e)
{
    return e->open_associations == 0 && e->unindexed == 0 && !e->gap;
}

/* A series may hold several acquisitions, so this number counts only with other evidence beside it. */
static bool acquisition_count(const srv_series_evidence *e)
{
    return e->series.acquisition_expected > 0 && e->series.instances == e->series.acquisition_expected &&
           has_settled(e) && !e->again;
}

/* The source was asked after the last image came, and has no more than these. */
static bool source_count(const srv_series_evidence *e)
{
    return e->series.found > 0 && e->series.asked_ms >= e->series.last_ms &&
           e->series.instances >= e->series.found && e->open_associations == 0 && e->unindexed == 0;
}

/* Then a short quiet time is enough, unless somebody knows of more images. */
static bool association_end(const srv_series_evidence *e)
{
    return has_settled(e) && e->series.found >= 0 && e->series.instances >= e->series.found &&
           e->series.instances >= e->series.told;
}

static void earlier(int64_t *due_ms, int64_t at_ms)
{
    if (at_ms < *due_ms) *due_ms = at_ms;
}

static const char *closing_rule(const srv_series_evidence *e, const srv_job_policy *policy, int64_t now_ms,
                                int64_t *due_ms)
{
    const srv_rule *rule = srv_model_rule_for(policy->models, &e->subject, NULL);
    const int64_t settled_ms =
        e->series.last_ms + (rule->settle_ms > 0 ? rule->settle_ms : policy->settle_ms);
    const int64_t quiet_ms = e->series.last_ms + (rule->quiet_ms > 0 ? rule->quiet_ms : policy->quiet_ms);
    if (e->series.forced) return "forced";
    if (expected_count(e)) return "expected_count";
    if (study_count(e)) return "study_count";
    if (source_count(e)) return "source_count";
    if (acquisition_count(e)) return "acquisition_count";
    if (association_end(e)) {
        if (now_ms >= settled_ms) return "association_end";
        earlier(due_ms, settled_ms);
    }
    if (now_ms >= quiet_ms) return "quiet";
    earlier(due_ms, quiet_ms);
    return NULL;
}

srv_decision srv_series_decide(const srv_series_evidence *evidence, const srv_job_policy *policy,
                               int64_t now_ms)
{
    srv_decision d = {.due_ms = INT64_MAX};
    if (evidence->series.held) return d;
    if (evidence->series.open) {
        d.close_by = closing_rule(evidence, policy, now_ms, &d.due_ms);
        if (!d.close_by) return d;
        d.due_ms = INT64_MAX;
    }
    /* Without a prompt the job is bound to wait for one. A reader draws several boxes in a row: they are one
     * job. */
    const int64_t settled_ms = evidence->last_prompt_ms + policy->prompt_settle_ms;
    d.bind = evidence->series.prompts == 0 || now_ms >= settled_ms;
    if (!d.bind) d.due_ms = settled_ms;
    return d;
}
