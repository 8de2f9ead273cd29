//! A canary walks its steps. Not here: verdicts, operators, the way back.

use super::support::{canary, evidence, given, hold, hold_for, rolling, seen, to};

#[test]
fn a_first_release_goes_straight_to_all_requests() {
    given(canary([to(25), hold()]).first())
        .when(seen())
        .then(["0 old, 4 new"])
        .when(seen().confirmed().candidate_ready(3))
        .then(["3 ready"])
        .waiting_for("3 of 4 replicas of release 2 are ready")
        .when(seen().candidate_ready(4))
        .then(["100%"])
        .when(seen().confirmed())
        .then(["promoted", "completed"]);
}

#[test]
fn a_first_release_by_a_rolling_update_is_completed_too() {
    given(rolling(1, 0).first().promptly()).when(seen()).is("completed");
}

#[test]
fn a_canary_walks_its_steps() {
    given(canary([to(25), hold_for(60), to(50)]))
        .when(seen())
        .then(["4 old, 1 new"])
        .when(seen().confirmed().candidate_ready(1))
        .then(["25%"])
        .when(seen().confirmed())
        .then(["step 1"])
        .when(seen().after(59).candidate(10, 0))
        .then([])
        .waiting_for("the step's time")
        .when(seen().after(1))
        .then(["step 2", "4 old, 2 new", "1 ready"])
        .when(seen().confirmed().candidate_ready(2))
        .then(["50%"])
        .when(seen().confirmed())
        .then(["step 3", "4 old, 4 new", "2 ready"])
        .when(seen().confirmed().candidate_ready(4))
        .then(["100%"])
        .when(seen().confirmed())
        .then(["promoted"])
        .waiting_for("release 1 stays warm")
        .when(seen().after(29))
        .then([])
        .when(seen().after(1))
        .then(["0 old, 4 new", "completed"])
        .when(seen().after(1_000))
        .then([]);
}

#[test]
fn traffic_never_shifts_before_the_replicas_are_ready() {
    given(canary([to(75)]))
        .when(seen())
        .then(["4 old, 3 new"])
        .when(seen().confirmed().candidate_ready(2))
        .then(["2 ready"])
        .waiting_for("2 of 3 replicas of release 2 are ready")
        .when(seen().after(500))
        .then([])
        .when(seen().candidate_ready(3))
        .then(["75%"]);
}

#[test]
fn nothing_moves_before_the_gateway_confirmed() {
    given(canary([to(25), to(50)]))
        .when(seen())
        .then(["4 old, 1 new"])
        .when(seen().candidate_ready(1))
        .then(["25%"])
        .when(seen().after(10_000))
        .then([])
        .waiting_for("the gateway has not confirmed")
        .when(seen().confirmed())
        .then(["step 1", "4 old, 2 new", "1 ready"]);
}

#[test]
fn a_full_canary_is_not_promoted_before_the_gateway_confirmed() {
    given(canary([]))
        .when(seen())
        .when(seen().candidate_ready(4))
        .then(["100%"])
        .when(seen().after(100))
        .then([])
        .is("progressing")
        .when(seen().confirmed())
        .then(["promoted"]);
}

#[test]
fn a_timed_pause_without_a_request_is_inconclusive() {
    given(canary([to(25), hold_for(60)]).promptly())
        .when(seen())
        .when(seen().after(60).stable(1_000, 0))
        .then(["paused: inconclusive"]);
}

#[test]
fn a_timed_pause_without_a_judge_ends_by_time_alone() {
    given(canary([to(25), hold_for(60)]).promptly().without_judge())
        .when(seen())
        .when(seen().after(60))
        .is("promoted");
}

#[test]
fn requests_at_an_earlier_weight_do_not_speak_for_this_one() {
    given(canary([to(25), hold_for(60), to(50), hold_for(60)]).promptly())
        .when(seen())
        .when(seen().after(60).candidate(100, 0))
        .then(["step 2", "4 old, 2 new", "50%", "step 3"])
        .when(seen().after(60))
        .then(["paused: inconclusive"]);
}

#[test]
fn a_pause_before_the_first_weight_asks_for_no_evidence() {
    for plan in [canary([hold_for(60), to(25)]), canary([hold_for(60), to(25)]).promoted_by(evidence())] {
        given(plan).when(seen().after(60)).then(["step 1", "4 old, 1 new"]);
    }
}

#[test]
fn evidence_ends_a_timed_pause_early() {
    given(canary([to(25), hold_for(600), hold()]).promptly().promoted_by(evidence()))
        .when(seen())
        .then(["4 old, 1 new", "25%", "step 1"])
        .when(seen().after(1).candidate(300, 0))
        .then([])
        .waiting_for("evidence for the release")
        .when(seen().after(1).candidate(600, 0))
        .then(["step 2", "paused: step"]);
}

#[test]
fn evidence_is_asked_for_at_each_weight_anew() {
    given(canary([to(25), hold_for(600), to(50), hold_for(600)]).promptly().promoted_by(evidence()))
        .when(seen())
        .when(seen().after(1).candidate(900, 0))
        .then(["step 2", "4 old, 2 new", "50%", "step 3"])
        .when(seen().after(1).candidate(300, 0))
        .then([])
        .when(seen().after(1).candidate(600, 0))
        .then(["step 4", "4 old, 4 new", "100%", "promoted"]);
}

#[test]
fn without_evidence_by_the_deadline_it_is_inconclusive() {
    given(canary([to(25), hold_for(600)]).promptly().promoted_by(evidence()))
        .when(seen())
        .when(seen().after(599).candidate(300, 0))
        .then([])
        .when(seen().after(1))
        .then(["paused: inconclusive"])
        .waiting_for("promote");
}

#[test]
fn a_manual_pause_waits_for_days() {
    given(canary([to(25), hold()]).promptly())
        .when(seen())
        .then(["4 old, 1 new", "25%", "step 1", "paused: step"])
        .when(seen().after(1_000_000).candidate(1_000_000, 10).stable(9_000_000, 90))
        .then([])
        .waiting_for("`shipshape promote` goes on");
}

#[test]
fn a_smaller_weight_keeps_the_replicas() {
    given(canary([to(50), to(25), hold()]).promptly()).when(seen()).then([
        "4 old, 2 new",
        "50%",
        "step 1",
        "25%",
        "step 2",
        "paused: step",
    ]);
}

#[test]
fn an_unreachable_agent_freezes_everything() {
    given(canary([to(25), hold_for(60)]))
        .when(seen().unreachable())
        .then([])
        .waiting_for("the agent cannot be reached")
        .when(seen().reachable_again())
        .then(["4 old, 1 new"])
        .when(seen().unreachable().confirmed().candidate_ready(1).after(10_000))
        .then([])
        .is("progressing")
        .when(seen().reachable_again())
        .then(["25%"]);
}

#[test]
fn the_old_release_stays_warm_while_the_agent_cannot_be_reached() {
    given(canary([]).promptly())
        .when(seen())
        .is("promoted")
        .when(seen().unreachable().after(100))
        .then([])
        .when(seen().reachable_again())
        .then(["0 old, 4 new", "completed"]);
}

#[test]
fn the_old_release_is_not_let_go_before_every_new_replica_is_ready() {
    given(canary([]).promptly())
        .when(seen())
        .is("promoted")
        .when(seen().after(1_000).candidate_ready(3))
        .then([])
        .waiting_for("3 of 4 replicas of release 2 are ready; release 1 stays warm until all are")
        .when(seen().candidate_ready(4))
        .then(["0 old, 4 new", "completed"]);
}

#[test]
fn even_no_share_gets_one_replica() {
    given(canary([to(0), hold()]))
        .when(seen())
        .then(["4 old, 1 new"])
        .when(seen().confirmed())
        .then(["step 1", "paused: step"]);
}
