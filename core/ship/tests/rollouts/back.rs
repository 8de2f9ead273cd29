//! The way back: capacity first, then traffic. Not here: what starts it.

use ship::Command;

use super::support::{canary, given, hold, rolling, seen, to};

#[test]
fn a_rollback_to_a_warm_release_is_one_shift() {
    given(canary([to(25), hold()]).promptly()).when(seen()).operator(Command::Abort).then([
        "back: an operator asked for it",
        "0%",
        "rolledBack",
    ]);
}

#[test]
fn a_rollback_is_done_when_the_gateway_confirmed() {
    let scene = given(canary([to(25), hold()]))
        .when(seen())
        .when(seen().confirmed().candidate_ready(1))
        .when(seen().confirmed())
        .operator(Command::Abort)
        .then(["back: an operator asked for it", "0%"])
        .waiting_for("the gateway has not confirmed")
        .is("rollingBack");
    assert_eq!(scene.rollout.wanted_candidate, 1, "the new replicas stay until no request can start on them");
    let scene = scene.when(seen().confirmed()).then(["rolledBack"]);
    assert_eq!((scene.rollout.wanted_stable, scene.rollout.wanted_candidate), (4, 0));
}

#[test]
fn a_rollback_waits_for_warm_capacity() {
    given(canary([]).promptly())
        .when(seen())
        .is("promoted")
        .when(seen().stable_ready(0))
        .operator(Command::Abort)
        .then(["back: an operator asked for it"])
        .waiting_for("0 of 4 replicas of release 1 are ready to take the traffic back")
        .when(seen().stable_ready(4))
        .then(["0%", "rolledBack"]);
}

#[test]
fn partial_capacity_takes_its_part() {
    given(canary([]))
        .when(seen())
        .when(seen().candidate_ready(4))
        .when(seen().confirmed())
        .is("promoted")
        .when(seen().stable_ready(1))
        .operator(Command::Abort)
        .then(["back: an operator asked for it", "75%"])
        .when(seen().stable_ready(2))
        .then(["50%"])
        .when(seen().stable_ready(1))
        .then([])
        .waiting_for("1 of 4 replicas")
        .when(seen().stable_ready(4))
        .then(["0%"])
        .when(seen().confirmed())
        .then(["rolledBack"]);
}

#[test]
fn a_promoted_release_comes_back_while_the_old_one_is_warm() {
    given(canary([]).promptly())
        .when(seen())
        .when(seen().after(29))
        .is("promoted")
        .operator(Command::Abort)
        .then(["back: an operator asked for it", "0%", "rolledBack"]);
}

#[test]
fn a_rolling_update_midway_scales_the_old_release_up_first() {
    given(rolling(1, 0))
        .when(seen())
        .when(seen().confirmed().candidate_ready(1))
        .then(["1 ready", "3 old, 2 new", "25%"])
        .when(seen().confirmed().candidate_ready(2))
        .then(["2 ready", "2 old, 3 new", "50%"])
        .operator(Command::Abort)
        .then(["back: an operator asked for it", "4 old, 3 new"])
        .when(seen().stable_ready(4))
        .then([])
        .waiting_for("the agent has not taken the replicas that are wanted")
        .when(seen().confirmed().stable_ready(2))
        .then([])
        .waiting_for("2 of 4 replicas of release 1")
        .when(seen().confirmed().stable_ready(3))
        .then(["25%"])
        .when(seen().confirmed().stable_ready(4))
        .then(["0%"])
        .is("rollingBack")
        .when(seen().confirmed())
        .then(["rolledBack"]);
}

#[test]
fn an_old_release_without_full_capacity_beats_a_new_one_without_any() {
    given(canary([]).promptly())
        .when(seen())
        .when(seen().stable_ready(1).candidate_ready(0))
        .operator(Command::Abort)
        .then(["back: an operator asked for it", "0%", "rolledBack"]);
}

#[test]
fn when_neither_release_has_a_ready_replica_the_traffic_stays() {
    given(canary([]))
        .when(seen())
        .when(seen().candidate_ready(4))
        .when(seen().confirmed())
        .when(seen().stable_ready(0).candidate_ready(0))
        .operator(Command::Abort)
        .then(["back: an operator asked for it"])
        .waiting_for("0 of 4 replicas");
}

#[test]
fn a_first_release_that_fails_leaves_nothing_behind() {
    given(canary([]).first())
        .when(seen())
        .when(seen().confirmed().crash_loop("it exits with status 1"))
        .then(["back: crash loop", "rolledBack"]);
    given(canary([]).first().promptly())
        .when(seen().unreachable())
        .operator(Command::Abort)
        .when(seen().reachable_again())
        .then(["rolledBack"]);
}

#[test]
fn a_rollback_before_the_first_shift_moves_no_traffic() {
    given(canary([to(25)]))
        .when(seen())
        .operator(Command::Abort)
        .then(["back: an operator asked for it"])
        .waiting_for("not confirmed")
        .when(seen().confirmed())
        .then(["rolledBack"]);
}

#[test]
fn an_unreachable_agent_freezes_the_way_back_too() {
    given(canary([to(25), hold()]).promptly())
        .when(seen())
        .when(seen().unreachable())
        .operator(Command::Abort)
        .then(["back: an operator asked for it"])
        .waiting_for("the agent cannot be reached")
        .when(seen().reachable_again())
        .then(["0%", "rolledBack"]);
}
