//! `promotion: evidence`: nothing gives the new release more of the requests before there is evidence for it, or before
//! somebody answers for it. Not here: timed pauses (`canary`), the evidence itself (`judge`).

use model::strategy::{Metric, Step};
use ship::Command;

use super::support::{
    Plan, blue_green, canary, evidence, given, hold_for, led_by, rolling, rule, scaled, seen, to,
};

const PROMOTE: Command = Command::Promote { full: false };
const PROMOTE_FULL: Command = Command::Promote { full: true };

fn steps<const N: usize>(steps: [Step; N]) -> Plan {
    canary(steps).promptly().promoted_by(evidence())
}

fn waves() -> Plan {
    rolling(1, 0).replicas(3, 3).promoted_by(evidence())
}

#[test]
fn a_weight_without_a_pause_waits_for_evidence_before_the_next() {
    given(steps([to(5), to(50)]))
        .when(seen())
        .then(["4 old, 1 new", "5%"])
        .waiting_for("evidence for the release: 0 requests and 0 errors so far, at least 299 without any")
        .when(seen().after(60).candidate(300, 0))
        .then([])
        .when(seen().after(1).candidate(600, 0))
        .then(["step 1", "4 old, 2 new", "50%"])
        .waiting_for("evidence for the release: 0 requests")
        .when(seen().after(1).candidate(900, 0))
        .then(["step 2", "4 old, 4 new", "100%", "promoted"]);
}

#[test]
fn errors_at_the_forbidden_rate_are_no_evidence_however_many_requests() {
    given(steps([to(5), to(50)]))
        .when(seen())
        .when(seen().after(500).candidate(100_000, 1_000).stable(1_900_000, 19_000))
        .then([])
        .waiting_for("100000 requests and 1000 errors");
}

#[test]
fn without_evidence_by_the_progress_deadline_it_is_inconclusive_and_somebody_may_answer_for_it() {
    given(steps([to(5), to(50), hold_for(60)]))
        .when(seen())
        .when(seen().after(599).candidate(200, 0))
        .then([])
        .when(seen().after(1))
        .then(["paused: inconclusive"])
        .operator(PROMOTE)
        .then(["resumed at step 1", "4 old, 2 new", "50%", "step 2"]);
}

#[test]
fn somebody_may_answer_for_it_before_the_deadline() {
    given(steps([to(5), to(50), to(60)]))
        .when(seen())
        .operator(PROMOTE)
        .then(["step 1", "4 old, 2 new", "50%"])
        .waiting_for("evidence")
        .operator(PROMOTE_FULL)
        .then(["step 3", "4 old, 4 new", "100%", "promoted"]);
}

#[test]
fn steps_that_give_no_more_requests_wait_for_nothing() {
    given(steps([to(5), scaled(3), led_by("beta"), to(50)]))
        .when(seen())
        .then(["4 old, 1 new", "5%", "step 1", "4 old, 3 new", "step 2", "led by beta"])
        .waiting_for("evidence for the release")
        .when(seen().after(1).candidate(900, 0))
        .then(["step 3", "50%"]);
}

#[test]
fn an_analysis_is_no_evidence_by_itself() {
    let analysis = Step::Analysis { metrics: vec![Metric { count: Some(1), ..rule() }] };
    given(steps([to(5), analysis]))
        .when(seen())
        .when(seen().after(10).candidate(100, 0))
        .then([])
        .waiting_for("evidence for the release")
        .when(seen().after(1).candidate(900, 0))
        .then(["step 2", "4 old, 4 new", "100%", "promoted"]);
}

#[test]
fn users_are_the_evidence_where_they_keep_their_release() {
    given(steps([to(5), to(50)]).sticky())
        .when(seen())
        .when(seen().after(1).candidate(100_000, 0).users((100, 0), (1_000, 0)))
        .then([])
        .waiting_for("100 users and 0 errors so far")
        .when(seen().after(599))
        .then(["paused: inconclusive"])
        .waiting_for("promote");
    given(steps([to(5), to(50)]).sticky())
        .when(seen())
        .when(seen().after(1).candidate(1_000, 0).users((900, 0), (1_000, 0)))
        .then(["step 1", "4 old, 2 new", "50%"]);
}

#[test]
fn whoever_overruled_a_verdict_needs_no_evidence_after_it() {
    given(steps([to(5), to(50), hold_for(60)]).freezing())
        .when(seen())
        .when(seen().after(1).candidate(100, 50).stable(900, 1))
        .then(["frozen: judge"])
        .operator(PROMOTE)
        .then(["resumed at step 0", "step 1", "4 old, 2 new", "50%", "step 2"]);
}

#[test]
fn each_further_wave_of_a_rolling_update_waits_for_evidence() {
    given(waves())
        .when(seen())
        .then(["3 old, 1 new"])
        .when(seen().confirmed().candidate_ready(1))
        .then(["1 ready", "2 old, 2 new", "33.33%"])
        .when(seen().confirmed().candidate_ready(2))
        .then(["2 ready"])
        .waiting_for("evidence for the release: 0 requests")
        .when(seen().after(1).candidate(900, 0))
        .then(["step 1", "1 old, 3 new", "66.66%"])
        .when(seen().confirmed().candidate_ready(3))
        .then(["3 ready"])
        .waiting_for("evidence for the release: 0 requests")
        .when(seen().after(1).candidate(900, 0))
        .then(["step 2", "0 old, 3 new", "100%"])
        .when(seen().confirmed())
        .then(["promoted", "completed"]);
}

#[test]
fn replicas_that_become_ready_together_are_not_trusted_together() {
    given(rolling(4, 0).promoted_by(evidence()))
        .when(seen())
        .then(["4 old, 4 new"])
        .when(seen().confirmed().candidate_ready(4))
        .then(["4 ready", "3 old, 4 new", "25%"])
        .when(seen().confirmed().after(1).candidate(900, 0))
        .then(["step 1", "0 old, 4 new", "100%"]);
}

#[test]
fn a_wave_without_evidence_stands_still_until_somebody_answers_for_it() {
    given(waves())
        .when(seen())
        .when(seen().confirmed().candidate_ready(1))
        .when(seen().confirmed().candidate_ready(2))
        .when(seen().after(600))
        .then(["paused: inconclusive"])
        .operator(PROMOTE)
        .then(["resumed at step 1", "1 old, 3 new", "66.66%"])
        .when(seen().confirmed().candidate_ready(3))
        .then(["3 ready"])
        .waiting_for("evidence for the release")
        .operator(PROMOTE_FULL)
        .then(["step 3", "0 old, 3 new", "100%"]);
}

#[test]
fn to_go_on_after_a_pause_is_not_to_answer_for_a_wave() {
    given(waves())
        .when(seen())
        .when(seen().confirmed().candidate_ready(1))
        .when(seen().confirmed().candidate_ready(2).candidate(900, 0))
        .then(["2 ready", "step 1", "1 old, 3 new", "66.66%"])
        .when(seen().confirmed().candidate_ready(3))
        .operator(Command::Pause)
        .operator(PROMOTE)
        .then(["resumed at step 1"])
        .waiting_for("evidence for the release");
}

#[test]
fn after_a_switch_the_old_release_is_kept_until_there_is_evidence() {
    given(blue_green().promptly().promoted_by(evidence()))
        .when(seen())
        .then(["4 old, 4 new", "4 ready", "step 1", "100%", "promoted"])
        .waiting_for("evidence for the release: 0 requests")
        .when(seen().after(599).candidate(200, 0))
        .then([])
        .waiting_for("release 1 stays warm until then")
        .when(seen().after(1).candidate(700, 0))
        .then(["0 old, 4 new", "completed"]);
}

#[test]
fn a_switch_without_evidence_in_time_says_that_somebody_has_to_decide() {
    let scene = || {
        given(blue_green().promptly().promoted_by(evidence())).when(seen()).when(seen().after(600)).then([])
    };
    let late = scene().waiting_for("inconclusive: 0 requests at 100% are not enough evidence");
    assert!(late.report.inconclusive.is_some() && late.rollout.is_proving());
    late.operator(PROMOTE).then(["0 old, 4 new", "completed"]);
    scene().when(seen().after(1).candidate(900, 0)).then(["0 old, 4 new", "completed"]);
    scene().operator(Command::Abort).then(["back: an operator asked for it", "0%", "rolledBack"]);
}

#[test]
fn a_first_release_waits_for_no_evidence() {
    for plan in [steps([to(5)]), rolling(1, 0).promptly().promoted_by(evidence()), blue_green().promptly()] {
        given(plan.promoted_by(evidence()).first()).when(seen()).is("completed");
    }
}
