//! The judge on latency in a rollout: what is frozen, what counts, what it makes of a slow release. Not here: how often a
//! healthy release is blamed (`judge`).

use ship::latency::{Baseline, Threshold};
use ship::{Event, RollbackReason};

use super::support::{Change, Scene, canary, given, hold_for, rolling, seen, to};

fn plan() -> super::support::Plan {
    canary([to(10), hold_for(600)]).promptly().judged_on_latency()
}

/// At its first weight, warm.
fn warm() -> Scene {
    given(plan()).when(seen()).then(["4 old, 1 new", "10%", "step 1"]).when(seconds(11, 0, 0)).then([])
}

/// One second in which 100 requests were served at 10 %, so many of them slow.
fn seconds(seconds: u64, slow_new: u64, slow_old: u64) -> Change {
    seen().after(seconds).candidate(10, 0).stable(90, 0).slow(slow_new, slow_old)
}

fn why(scene: &Scene) -> String {
    let reason = scene.fresh().iter().rev().find_map(|event| {
        if let Event::RollbackBegun { reason: RollbackReason::Judge(why) } = event {
            Some(why.clone())
        } else {
            None
        }
    });
    reason.expect("the judge did it")
}

#[test]
fn the_old_releases_latency_is_frozen_before_anything_moves() {
    let scene = given(plan()).when(seen());
    let names: Vec<&str> = scene.fresh().iter().map(Event::name).collect();
    assert_eq!(names[0], "baselineFrozen");
    let Some(Event::BaselineFrozen(Baseline { counts, thresholds })) = scene.fresh().first() else {
        panic!("{names:?}")
    };
    let threshold = |quantile, above_us, slow| Threshold { quantile, above_us, slow };
    assert_eq!(counts.requests, 2_000);
    assert_eq!(
        *thresholds,
        [threshold(0.5, 5_000, 1_000), threshold(0.9, 10_000, 0), threshold(0.99, 10_000, 0)]
    );
    assert_eq!(scene.fresh().iter().filter(|event| event.name() == "baselineFrozen").count(), 1);
}

#[test]
fn a_first_release_has_nothing_to_be_compared_with() {
    let scene = given(plan().first()).when(seen());
    assert!(scene.fresh().iter().all(|event| event.name() != "baselineFrozen"));
}

#[test]
fn a_release_that_is_slow_and_nothing_else_is_rolled_back() {
    let mut scene = warm();
    for _ in 0..60 {
        scene = scene.when(seconds(1, 8, 1));
        if scene.rollout.phase.is_terminal() {
            break;
        }
    }
    let why = why(&scene.is("rolledBack"));
    assert!(why.contains("slower than 10 ms") && why.contains("p9"), "{why}");
}

#[test]
fn one_burst_of_slow_requests_is_no_verdict() {
    warm().when(seen().after(1).candidate(500, 0).stable(4_500, 0).slow(500, 0)).then([]).is("progressing");
}

#[test]
fn the_first_slow_requests_of_new_replicas_do_not_count() {
    let mut scene = given(plan()).when(seen());
    for _ in 0..10 {
        scene = scene.when(seconds(1, 10, 0)).then([]);
    }
    let latency = &scene.report.evidence.latency;
    assert!(latency.iter().all(|it| it.candidate.requests == 0 && it.e == 1.0), "{latency:?}");
}

#[test]
fn a_slowness_that_both_share_does_not_roll_back() {
    let mut scene = warm();
    for _ in 0..120 {
        scene = scene.when(seconds(1, 10, 90)).then([]);
    }
    assert!(scene.report.evidence.against.unwrap().e < 1.0);
}

#[test]
fn fewer_slow_requests_than_the_quantile_promises_are_no_fault() {
    let mut scene = warm();
    // One slow request in 300: far less than one in a hundred, while the old release has none.
    for second in 0..150_u64 {
        scene = scene.when(seconds(1, u64::from(second.is_multiple_of(30)), 0)).then([]);
    }
    let latency = &scene.report.evidence.latency;
    assert!(latency[2].candidate.errors > 0 && latency.iter().all(|it| it.e <= 1.0), "{latency:?}");
}

#[test]
fn too_few_requests_before_are_said_and_leave_latency_unjudged() {
    let mut few = plan();
    few.before.counts.iter_mut().for_each(|count| *count /= 20);
    let scene = given(few).when(seen()).when(seconds(30, 10, 0)).when(seconds(1, 10, 0)).then([]);
    let evidence = &scene.report.evidence;
    assert_eq!(evidence.latency.len(), 2);
    let unjudged = evidence.latency_unjudged.as_ref().unwrap();
    assert_eq!(
        unjudged,
        "p99 of the latency is not judged: the old release had 100 requests before the rollout, 1000 are needed"
    );
}

#[test]
fn latency_takes_little_from_the_evidence_on_errors() {
    let errors = |scene: Scene| {
        let scene = scene.when(seen().after(1).candidate(100, 3).stable(900, 0));
        scene.report.evidence.against.unwrap().e
    };
    let alone = errors(given(canary([to(10), hold_for(600)]).promptly()).when(seen()));
    let together = errors(given(plan()).when(seen()));
    assert!((together - (0.8 * alone + 0.2)).abs() < 1e-9, "{together} {alone}");
}

#[test]
fn counts_of_a_new_life_of_the_agent_are_heard_once() {
    let scene = warm().when(seconds(1, 5, 1));
    let before = scene.report.evidence.latency[2].candidate;
    let scene = scene.when(seen().after(1).agent_restarted()).when(seconds(1, 2, 0));
    let after = scene.report.evidence.latency[2].candidate;
    assert_eq!((after.requests, after.errors), (before.requests + 10, before.errors + 2));
}

#[test]
fn a_rolling_update_is_judged_on_latency_where_it_lasts() {
    let mut scene = given(rolling(1, 0).judged_on_latency())
        .when(seen())
        .when(seen().confirmed().candidate_ready(1))
        .then(["1 ready", "3 old, 2 new", "25%"])
        .when(seen().after(11).candidate(25, 0).stable(75, 0));
    for _ in 0..60 {
        let second = seen().after(1).candidate(25, 0).stable(75, 0);
        scene = scene.when(second.slow(20, 1));
        if scene.rollout.phase.name() == "rollingBack" {
            break;
        }
    }
    assert!(why(&scene.is("rollingBack")).contains("slower than"));
}
