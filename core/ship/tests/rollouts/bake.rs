//! What is watched after the new release took all requests, and what it makes of it. And failures that freeze.

use std::time::Duration;

use ship::bake::{Bake, allowed_errors};
use ship::latency::Baseline;
use ship::{Command, Counts, Event, RollbackReason};

use super::support::{
    Plan, Random, Scene, blue_green, canary, given, hold, hold_for, rolling, rule, seen, to,
};

const PROMOTE: Command = Command::Promote { full: false };
const PROMOTE_FULL: Command = Command::Promote { full: true };

fn plan() -> Plan {
    canary([]).promptly().judged_on_latency().baking(600)
}

fn promoted() -> Scene {
    given(plan()).when(seen()).is("promoted")
}

/// So many seconds, 100 requests in each, so many of them with errors.
fn serving(mut scene: Scene, seconds: u64, errors: u64) -> Scene {
    for _ in 0..seconds {
        scene = scene.when(seen().after(1).candidate(100, errors));
        if scene.rollout.phase.name() != "promoted" {
            break;
        }
    }
    scene
}

#[test]
fn a_release_that_turns_bad_after_it_took_all_requests_goes_back() {
    let scene = serving(serving(promoted(), 60, 0), 30, 20).is("rolledBack");
    let why = scene.fresh().iter().find_map(|event| {
        if let Event::RollbackBegun { reason: RollbackReason::Judge(why) } = event { Some(why) } else { None }
    });
    assert!(why.unwrap().contains("worse than the old release was before"), "{why:?}");
}

#[test]
fn a_release_that_turns_bad_late_is_not_saved_by_its_good_time() {
    let _ = serving(serving(promoted(), 560, 0).is("promoted"), 39, 20).is("rolledBack");
}

#[test]
fn a_healthy_release_bakes_to_its_end() {
    let scene = serving(promoted(), 599, 0).is("promoted").waiting_for("it bakes");
    serving(scene, 1, 0).is("completed");
}

#[test]
fn a_bad_second_is_no_reason_to_go_back() {
    let _ = serving(serving(serving(promoted(), 60, 0), 1, 100), 60, 0).is("promoted");
}

#[test]
fn without_a_bake_nothing_is_judged_after_the_last_step() {
    let plan = canary([]).promptly().judged_on_latency();
    let _ = serving(given(plan).when(seen()), 20, 50).is("promoted");
}

#[test]
fn a_warm_release_that_is_not_ready_itself_takes_nobodys_place() {
    let mut scene = promoted();
    scene.seen.stable.ready = 3;
    let scene = serving(scene, 60, 50).is("promoted");
    assert!(scene.report.evidence.against.unwrap().decides());
    scene.when(seen().after(1).stable_ready(4)).is("rolledBack");
}

#[test]
fn after_a_rolling_update_the_old_replicas_are_started_before_traffic_goes_back() {
    let scene = given(rolling(1, 0).judged_on_latency().baking(600));
    let mut scene = scene.when(seen());
    for ready in 1..=4 {
        scene = scene.when(seen().confirmed().candidate_ready(ready));
    }
    let scene = scene.when(seen().confirmed()).is("promoted");
    assert_eq!(scene.rollout.wanted_stable, 0);
    serving(scene, 60, 30)
        .then(["back: judge", "4 old, 4 new"])
        .is("rollingBack")
        .when(seen().confirmed().stable_ready(4))
        .then(["0%"])
        .when(seen().confirmed())
        .then(["rolledBack"]);
}

#[test]
fn a_rule_goes_on_while_it_bakes() {
    let plan = canary([]).promptly().baking(600).ruled_by(rule());
    let scene = given(plan).when(seen()).when(seen().after(10).candidate(100, 0)).is("promoted");
    scene.when(seen().after(10).candidate(100, 6)).is("rolledBack");
}

#[test]
fn a_blue_green_switch_is_judged_while_it_bakes() {
    let plan = blue_green().promptly().judged_on_latency().baking(60);
    let _ = serving(given(plan).when(seen()).is("promoted"), 15, 20).is("rolledBack");
}

#[test]
fn an_old_release_that_nobody_knows_is_no_measure() {
    let mut plan = plan();
    plan.before.counts.iter_mut().for_each(|count| *count /= 50);
    let scene = serving(given(plan).when(seen()), 60, 50).is("promoted");
    assert_eq!(scene.report.evidence.after, None);
}

#[test]
fn a_release_at_the_allowed_rate_goes_back_at_most_with_probability_alpha() {
    let judge = plan().strategy.analysis.judge.unwrap();
    let baseline = Baseline { counts: Counts { requests: 5_000, errors: 100 }, thresholds: vec![] };
    let allowed = allowed_errors(&baseline, &judge).unwrap();
    assert!((0.05..0.06).contains(&allowed), "{allowed}");
    let mut random = Random::new(11);
    let bake_time = Duration::from_secs(300);
    let mut back = 0;
    for _ in 0..1_000 {
        let mut bake = Bake::begin(&baseline, &judge);
        for second in 0..300 {
            let errors = (0..30).filter(|_| random.unit() < allowed).count() as u64;
            bake.hear(Counts { requests: 30, errors }, &[], Duration::from_secs(second), bake_time);
            if bake.ln_evidence() >= (1.0_f64 / judge.alpha).ln() {
                back += 1;
                break;
            }
        }
    }
    assert!(f64::from(back) / 1_000.0 <= judge.alpha, "{back}");
}

fn frozen() -> Scene {
    given(canary([to(10), hold_for(600), to(50), hold()]).promptly().freezing())
        .when(seen())
        .when(seen().after(1).candidate(100, 50).stable(900, 1))
        .then(["frozen: judge"])
        .is("paused")
}

#[test]
fn a_failure_that_must_not_go_back_stands_still_and_says_so() {
    let scene = frozen().waiting_for("onFailure: freeze");
    assert!(
        scene.report.doing.starts_with("FROZEN at 10%: judge: new release 50 errors"),
        "{:?}",
        scene.report
    );
    scene
        .when(seen().after(10_000).candidate(1_000, 900).stable(9_000, 0))
        .then([])
        .when(seen().crash_loop("it exits with status 1"))
        .then([])
        .refused(Command::Pause, "paused already", "promote");
}

#[test]
fn an_operator_takes_a_frozen_rollout_back() {
    frozen().operator(Command::Abort).then(["back: an operator asked for it", "0%", "rolledBack"]);
}

#[test]
fn an_operator_who_promotes_a_frozen_rollout_overrules_what_was_found() {
    frozen()
        .operator(PROMOTE)
        .then(["resumed at step 1"])
        .when(seen().after(1).candidate(100, 60).stable(900, 0))
        .then([])
        .operator(PROMOTE_FULL)
        .then(["step 4", "4 old, 4 new", "100%", "promoted"]);
}

#[test]
fn a_full_promotion_ends_a_freeze_and_still_waits_for_ready_replicas() {
    given(canary([to(50), hold()]).freezing())
        .when(seen())
        .when(seen().confirmed().after(600))
        .then(["frozen: progress deadline"])
        .operator(PROMOTE_FULL)
        .then(["resumed at step 2", "4 old, 4 new"])
        .when(seen().confirmed().after(10_000).candidate_ready(3))
        .then(["3 ready"])
        .when(seen().candidate_ready(4))
        .then(["100%"])
        .when(seen().confirmed())
        .is("promoted");
}

#[test]
fn a_release_that_turns_bad_while_it_bakes_freezes_with_the_old_one_warm() {
    let scene = serving(given(plan().freezing()).when(seen()), 60, 30).is("paused");
    assert_eq!((scene.rollout.wanted_stable, scene.rollout.weight), (4, model::Weight::ALL));
    let scene = scene.when(seen().after(10_000)).is("paused");
    scene.operator(PROMOTE).then(["resumed at step 0", "promoted"]).when(seen().after(600)).is("completed");
}
