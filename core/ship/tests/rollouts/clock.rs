//! Somebody sets the wall clock: no wait gets shorter or longer by that.

use ship::Command;

use super::support::{Scene, canary, given, hold, hold_for, rule, seen, to};

/// Sets the clock, and tells the rollout, as the runtime does.
fn set(mut scene: Scene, seconds: i64) -> Scene {
    scene.now = scene.now.moved(seconds * 1_000_000);
    scene.seen.watched_since = scene.seen.watched_since.moved(seconds * 1_000_000);
    let expected = format!("clock: {} us", seconds * 1_000_000);
    scene.operator(Command::StepClock(seconds * 1_000_000)).then([expected.as_str()])
}

fn pausing() -> Scene {
    given(canary([to(10), hold_for(60), to(50), hold()]).promptly())
        .when(seen())
        .when(seen().after(20).candidate(100, 0).stable(900, 0))
}

#[test]
fn a_timed_pause_lasts_as_long_as_it_says_whatever_the_clock_says() {
    for hours in [-48, -1, 1, 48] {
        set(pausing(), hours * 3_600).when(seen().after(39)).then([]).when(seen().after(1)).then([
            "step 2",
            "4 old, 2 new",
            "50%",
            "step 3",
            "paused: step",
        ]);
    }
}

#[test]
fn a_clock_that_is_set_does_not_use_up_the_progress_deadline_nor_hold_it_off() {
    for hours in [-48, 48] {
        let starting = given(canary([to(10)])).when(seen()).when(seen().confirmed().after(100));
        set(starting, hours * 3_600)
            .when(seen().after(499))
            .then([])
            .when(seen().after(1))
            .then(["back: progress deadline", "rolledBack"]);
    }
}

#[test]
fn a_release_stays_warm_for_as_long_as_was_said() {
    for hours in [-48, 48] {
        let promoted = given(canary([]).promptly()).when(seen()).is("promoted").when(seen().after(10));
        set(promoted, hours * 3_600)
            .when(seen().after(19))
            .is("promoted")
            .when(seen().after(1))
            .is("completed");
    }
}

#[test]
fn a_rule_is_measured_when_its_interval_has_passed() {
    for hours in [-48, 48] {
        let ruled = given(canary([to(10), hold_for(600)]).promptly().ruled_by(rule())).when(seen());
        let scene = set(ruled.when(seen().after(4).candidate(10, 0)), hours * 3_600);
        let taken = |scene: &Scene| scene.rollout.rules[0].taken;
        let scene = scene.when(seen().after(5).candidate(10, 0));
        assert_eq!(taken(&scene), 0);
        let scene = scene.when(seen().after(1));
        assert_eq!(taken(&scene), 1);
    }
}
