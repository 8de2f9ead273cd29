//! What operators ask for, what they get, and what they are refused.

use ship::Command;

use super::support::{canary, evidence, given, hold, hold_for, rolling, seen, to};

const PROMOTE: Command = Command::Promote { full: false };
const PROMOTE_FULL: Command = Command::Promote { full: true };

#[test]
fn promote_ends_a_manual_pause() {
    given(canary([to(25), hold(), to(50), hold()]).promptly())
        .when(seen())
        .is("paused")
        .operator(PROMOTE)
        .then(["resumed at step 2", "4 old, 2 new", "50%", "step 3", "paused: step"])
        .operator(PROMOTE)
        .then(["resumed at step 4", "4 old, 4 new", "100%", "promoted"]);
}

#[test]
fn promote_ends_a_timed_pause_early() {
    given(canary([to(25), hold_for(600), hold()]).promptly())
        .when(seen())
        .operator(PROMOTE)
        .then(["step 2", "paused: step"]);
}

#[test]
fn promote_overrules_an_inconclusive_pause() {
    given(canary([to(25), hold_for(60), to(50), hold()]).promptly().promoted_by(evidence()))
        .when(seen())
        .when(seen().after(60))
        .then(["paused: inconclusive"])
        .operator(PROMOTE)
        .then(["resumed at step 2", "4 old, 2 new", "50%", "step 3", "paused: step"]);
}

#[test]
fn promote_full_skips_the_rest_of_the_steps() {
    given(canary([to(25), hold(), to(50), hold()]).promptly()).when(seen()).operator(PROMOTE_FULL).then([
        "resumed at step 4",
        "4 old, 4 new",
        "100%",
        "promoted",
    ]);
}

#[test]
fn promote_full_while_it_moves_still_waits_for_every_replica() {
    given(canary([to(25), hold(), to(50)]))
        .when(seen())
        .then(["4 old, 1 new"])
        .operator(PROMOTE_FULL)
        .then(["step 3", "4 old, 4 new"])
        .refused(PROMOTE_FULL, "no step is left", "status")
        .refused(PROMOTE, "no step is left", "status")
        .when(seen().confirmed().candidate_ready(3))
        .then(["3 ready"])
        .when(seen().candidate_ready(4))
        .then(["100%"])
        .when(seen().confirmed())
        .then(["promoted"]);
}

#[test]
fn an_operators_pause_goes_on_at_the_same_step() {
    given(canary([to(25), hold_for(60), hold()]).promptly())
        .when(seen())
        .operator(Command::Pause)
        .then(["paused: operator"])
        .when(seen().after(10_000).candidate(100, 0))
        .then([])
        .refused(Command::Pause, "paused already: an operator paused it", "`shipshape promote` goes on")
        .operator(PROMOTE)
        .then(["resumed at step 1"])
        .when(seen().after(59))
        .then([])
        .when(seen().after(1))
        .then(["step 2", "paused: step"]);
}

#[test]
fn a_rolling_update_pauses_and_goes_on() {
    given(rolling(1, 0))
        .when(seen())
        .then(["4 old, 1 new"])
        .operator(Command::Pause)
        .then(["paused: operator"])
        .when(seen().confirmed().candidate_ready(1).after(10_000))
        .then([])
        .operator(PROMOTE)
        .then(["resumed at step 0", "1 ready", "3 old, 2 new", "25%"]);
}

#[test]
fn promote_is_refused_with_the_way_out_where_it_is_senseless() {
    given(rolling(1, 0)).when(seen()).refused(PROMOTE, "a rolling update moves by itself", "status").refused(
        PROMOTE_FULL,
        "a rolling update moves by itself",
        "status",
    );
    given(canary([to(25), hold()])).when(seen()).refused(
        PROMOTE,
        "on its way to the next weight",
        "promote --full",
    );
    given(canary([]).promptly())
        .when(seen())
        .is("promoted")
        .refused(PROMOTE, "release 2 already takes all requests", "nothing is left")
        .refused(Command::Pause, "the rollout is promoted", "status")
        .when(seen().after(30))
        .is("completed")
        .refused(PROMOTE_FULL, "release 2 already takes all requests", "nothing is left")
        .refused(Command::Pause, "the rollout is completed", "status")
        .refused(Command::Abort, "the rollout is completed", "`shipshape rollback`");
}

#[test]
fn nothing_is_granted_on_the_way_back() {
    given(canary([to(25), hold()]).promptly())
        .when(seen())
        .when(seen().stable_ready(0))
        .operator(Command::Abort)
        .then(["back: an operator asked for it"])
        .is("rollingBack")
        .refused(PROMOTE, "on its way back", "deploy it again")
        .refused(PROMOTE_FULL, "on its way back", "deploy it again")
        .refused(Command::Pause, "rolling back", "status")
        .refused(Command::Abort, "on its way back already (an operator asked for it)", "status")
        .when(seen().stable_ready(4))
        .is("rolledBack")
        .refused(PROMOTE, "on its way back", "deploy it again")
        .refused(Command::Abort, "rolled back", "`shipshape rollback`");
}

#[test]
fn the_planners_commands_are_refused_where_they_make_no_sense() {
    let scene = given(canary([to(25), hold()]).promptly()).when(seen()).is("paused");
    for command in [Command::EnterStep(0), Command::Conclude, Command::ConfirmRollback, Command::Complete] {
        let refusal = ship::decide(&scene.rollout, command, scene.now).unwrap_err();
        assert!(refusal.what.contains("makes no sense while the rollout is paused"), "{refusal:?}");
    }
}

#[test]
fn the_next_rollout_may_let_the_warm_release_go_at_once() {
    given(canary([]).promptly())
        .when(seen())
        .is("promoted")
        .operator(Command::Complete)
        .then(["0 old, 4 new", "completed"]);
}
