//! A blue-green rollout: a preview, one swap, a warm way back.

use std::time::Duration;

use model::Weight;
use model::strategy::{Kind, Metric};
use ship::{Command, Phase};

use super::support::{blue_green, given, rule, seen};

#[test]
fn a_blue_green_rollout_switches_in_one_swap_when_all_replicas_are_ready() {
    given(blue_green())
        .when(seen())
        .then(["4 old, 4 new"])
        .when(seen().confirmed().candidate_ready(3))
        .then(["3 ready"])
        .waiting_for("3 of 4 replicas of release 2 are ready")
        .when(seen().candidate_ready(4))
        .then(["4 ready", "step 1", "100%"])
        .when(seen().after(5))
        .then([])
        .waiting_for("the gateway has not confirmed")
        .when(seen().confirmed())
        .then(["promoted"])
        .waiting_for("release 1 stays warm")
        .when(seen().after(29))
        .then([])
        .when(seen().after(1))
        .then(["0 old, 4 new", "completed"]);
}

#[test]
fn the_preview_gets_no_share_of_the_requests_and_waits_for_a_promotion() {
    let scene = given(blue_green().previewed(1, None))
        .when(seen())
        .then(["4 old, 1 new"])
        .when(seen().confirmed().candidate_ready(1))
        .then(["1 ready", "paused: step"])
        .when(seen().after(100_000))
        .then([]);
    assert_eq!((scene.weight(), scene.rollout.previews()), (Weight::NONE, true));
    assert!(scene.report.doing.contains("release 2 is previewed at preview.test"), "{:?}", scene.report);
    scene
        .operator(Command::Promote { full: false })
        .then(["resumed at step 1", "4 old, 4 new"])
        .when(seen().confirmed().candidate_ready(3))
        .then(["3 ready"])
        .when(seen().candidate_ready(4))
        .then(["100%"])
        .when(seen().confirmed())
        .is("promoted");
}

#[test]
fn the_preview_is_held_from_the_moment_that_it_is_ready() {
    given(blue_green().previewed(2, Some(60)))
        .when(seen())
        .then(["4 old, 2 new"])
        .when(seen().after(300).confirmed().candidate_ready(2))
        .then(["2 ready"])
        .waiting_for("the preview's time")
        .when(seen().after(59))
        .then([])
        .when(seen().after(1))
        .then(["step 1", "4 old, 4 new"]);
}

#[test]
fn a_preview_is_no_larger_than_the_release() {
    given(blue_green().previewed(50, None)).when(seen()).then(["4 old, 4 new"]);
}

#[test]
fn the_preview_waits_until_the_gateway_has_its_address() {
    given(blue_green())
        .when(seen())
        .when(seen().candidate_ready(4))
        .then(["4 ready"])
        .waiting_for("the gateway has not confirmed the preview address")
        .when(seen().confirmed())
        .then(["step 1", "100%"]);
}

#[test]
fn a_preview_that_does_not_become_ready_goes_back_at_the_deadline() {
    given(blue_green())
        .when(seen())
        .when(seen().confirmed().after(599))
        .then([])
        .when(seen().after(1))
        .then(["back: progress deadline"])
        .when(seen().confirmed())
        .then(["rolledBack"]);
}

#[test]
fn a_preview_that_keeps_dying_never_gets_a_request() {
    let scene = given(blue_green().previewed(1, None))
        .when(seen())
        .when(seen().confirmed().candidate_ready(1))
        .is("paused")
        .when(seen().crash_loop("exit status 1").candidate_ready(0))
        .then(["back: crash loop"])
        .when(seen().confirmed())
        .then(["rolledBack"]);
    assert_eq!(scene.weight(), Weight::NONE);
}

#[test]
fn an_abort_before_the_switch_closes_the_preview_first() {
    let scene = given(blue_green().previewed(1, None))
        .when(seen())
        .when(seen().confirmed().candidate_ready(1))
        .operator(Command::Abort)
        .then(["back: an operator asked for it"])
        .waiting_for("the gateway has not confirmed");
    assert!(!scene.rollout.previews(), "nobody reaches it while it goes back");
    scene.when(seen().confirmed()).then(["rolledBack"]);
}

#[test]
fn a_rollback_while_the_old_release_is_warm_is_one_swap() {
    given(blue_green().promptly()).when(seen()).is("promoted").operator(Command::Abort).then([
        "back: an operator asked for it",
        "0%",
        "rolledBack",
    ]);
}

#[test]
fn a_pause_before_the_switch_holds_it() {
    given(blue_green())
        .when(seen())
        .operator(Command::Pause)
        .when(seen().confirmed().candidate_ready(4))
        .then([])
        .operator(Command::Promote { full: false })
        .then(["resumed at step 0", "4 ready", "step 1", "100%"]);
}

#[test]
fn promoting_early_skips_the_wait_but_not_the_replicas() {
    given(blue_green().previewed(1, None))
        .when(seen())
        .operator(Command::Promote { full: false })
        .then(["step 1", "4 old, 4 new"])
        .when(seen().confirmed().candidate_ready(1))
        .then(["1 ready"])
        .refused(Command::Promote { full: false }, "promoted already", "shipshape status");
}

#[test]
fn a_first_release_has_nobody_to_stand_beside() {
    let scene = given(blue_green().previewed(1, None).first())
        .when(seen())
        .then(["0 old, 4 new"])
        .when(seen().confirmed().candidate_ready(4))
        .then(["100%"]);
    assert!(!scene.rollout.previews());
    let scene = scene.when(seen().confirmed()).then(["promoted", "completed"]);
    assert_eq!(scene.rollout.phase, Phase::Completed);
    assert!(matches!(scene.rollout.strategy.kind, Kind::BlueGreen { .. }));
}

/// Three measurements after the switch, one each 20 s: longer than the old release would be kept warm without.
fn passed() -> Metric {
    Metric { count: Some(3), interval: Duration::from_secs(20), ..rule() }
}

#[test]
fn the_old_release_stays_warm_until_the_switch_has_passed() {
    let fine = || seen().after(20).candidate(100, 1);
    given(blue_green().passed_by(passed()).promptly())
        .when(seen())
        .is("promoted")
        .waiting_for("errors: 0 of 3 measurements are taken; release 1 stays warm until then")
        .when(fine())
        .then([])
        .when(fine())
        .then([])
        .waiting_for("errors: 2 of 3")
        .when(fine())
        .then(["0 old, 4 new", "completed"]);
}

#[test]
fn a_switch_that_fails_its_analysis_is_switched_back() {
    given(blue_green().passed_by(passed()).promptly())
        .when(seen())
        .when(seen().after(20).candidate(100, 1))
        .then([])
        .when(seen().after(20).candidate(100, 50))
        .then(["back: rule", "0%", "rolledBack"]);
}

#[test]
fn the_last_measurement_after_the_switch_can_still_fail_it() {
    let once = Metric { count: Some(1), interval: Duration::from_secs(60), ..rule() };
    given(blue_green().passed_by(once).promptly())
        .when(seen())
        .when(seen().after(60).candidate(100, 50))
        .then(["back: rule", "0%", "rolledBack"]);
}

#[test]
fn a_switch_without_data_waits_for_somebody_and_a_promotion_accepts_it() {
    let unsure = || {
        given(blue_green().passed_by(passed()).promptly())
            .when(seen())
            .when(seen().after(20))
            .then([])
            .waiting_for("inconclusive")
            .when(seen().after(100_000).candidate(100, 0))
            .then([])
            .waiting_for("release 1 stays warm until `shipshape promote` accepts it")
    };
    unsure().operator(Command::Promote { full: false }).then(["0 old, 4 new", "completed"]);
    unsure().operator(Command::Abort).then(["back: an operator asked for it", "0%", "rolledBack"]);
    given(blue_green().passed_by(passed()).promptly()).when(seen()).refused(
        Command::Promote { full: false },
        "has not passed its postPromotionAnalysis yet",
        "`shipshape promote --full` accepts it",
    );
    given(blue_green().passed_by(passed()).promptly())
        .when(seen())
        .operator(Command::Promote { full: true })
        .then(["0 old, 4 new", "completed"]);
}

#[test]
fn a_dry_run_after_the_switch_holds_and_decides_nothing() {
    let dry = Metric { dry_run: true, ..passed() };
    given(blue_green().passed_by(dry).promptly())
        .when(seen())
        .when(seen().after(20).candidate(100, 100))
        .then([])
        .when(seen().after(10))
        .then(["0 old, 4 new", "completed"]);
}
