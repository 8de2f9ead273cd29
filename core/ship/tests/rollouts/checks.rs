//! Looks from outside: when they are wanted, what their outcome counts for, and whom it stops.

use std::time::Duration;

use model::Weight;
use model::check::{Check, Expect, Http, Target, Verdict};
use model::strategy::{Comparison, Condition, Metric, Source, Step};
use ship::checks::{Ticket, wanted};
use ship::rules::{Outcome, Run};
use ship::{Command, Event};

use super::support::{Scene, blue_green, canary, given, hold, rule, seen, smoke, to};

/// A preview of one replica whose smoke test is about to begin.
fn previewed(smoke: Metric) -> Scene {
    given(blue_green().previewed(1, Some(0)).checked_by(smoke))
        .when(seen())
        .when(seen().confirmed().candidate_ready(1))
        .then(["1 ready"])
}

fn request() -> Metric {
    let http = Http {
        target: Target::Path("/".to_owned()),
        method: "GET".to_owned(),
        headers: [].into(),
        expect: Expect::default(),
        timeout: Duration::from_secs(10),
    };
    Metric { name: "answers".to_owned(), source: Source::Http(http), ..smoke() }
}

fn checks(scene: &Scene) -> usize {
    wanted(&scene.rollout, &scene.seen, scene.now).len()
}

fn last(scene: &Scene) -> (Run, Outcome, Option<String>) {
    let measured = scene.fresh().iter().rev().find_map(|event| {
        let Event::RuleMeasured(it) = event else { return None };
        Some((it.run, it.outcome, it.detail.clone()))
    });
    measured.expect("something was measured")
}

#[test]
fn a_preview_that_passes_its_smoke_test_is_switched_to() {
    let scene = previewed(smoke()).waiting_for("smoke: 0 of 1 measurements are taken").begin();
    assert!(matches!(wanted(&scene.rollout, &scene.seen, scene.now)[0].check, Check::Command(_)));
    let scene = scene
        .when(seen().after(3))
        .then([])
        .waiting_for("smoke: command under way, measurement 1 of 1 (for 3s of at most 1m)")
        .found(Verdict::Passed, Some(0.0))
        .then(["step 1", "4 old, 4 new"]);
    let ended = (Run::PrePromotion, Outcome::Successful, Some("it was passed".to_owned()));
    assert_eq!(last(&scene), ended);
    scene.when(seen().confirmed().candidate_ready(4)).then(["100%"]);
}

#[test]
fn a_preview_that_fails_its_smoke_test_never_gets_a_request() {
    let scene = previewed(smoke()).found(Verdict::Failed, Some(1.0)).then(["back: rule"]);
    assert!(scene.report.doing.contains("(last: it was failed)"), "{:?}", scene.report);
    assert_eq!((scene.weight(), checks(&scene)), (Weight::NONE, 0));
    scene.when(seen().confirmed()).then(["rolledBack"]);
}

#[test]
fn a_smoke_test_begins_when_the_preview_stands_and_can_be_reached() {
    let scene = given(blue_green().previewed(2, Some(0)).checked_by(smoke())).when(seen());
    assert_eq!(checks(&scene), 0, "nothing is ready");
    let scene = scene.when(seen().confirmed().candidate_ready(1));
    assert_eq!(checks(&scene), 0, "half of it is ready");
    let scene = scene.when(seen().candidate_ready(2));
    assert_eq!(checks(&scene), 1);
    let scene = scene.when(seen().unreachable());
    assert_eq!(checks(&scene), 0, "nobody knows where it is");
}

#[test]
fn a_smoke_test_that_shakes_the_preview_is_heard_to_its_end() {
    let scene = previewed(smoke()).begin().when(seen().candidate_ready(0).after(1_000)).then([]);
    assert_eq!(checks(&scene), 1);
    scene.waiting_for("smoke: command under way").found(Verdict::Failed, None).then(["back: rule"]);
}

#[test]
fn a_check_that_cannot_be_taken_is_tried_again_and_then_somebody_decides() {
    let mut scene = previewed(smoke());
    for _ in 0..4 {
        scene = scene.found(Verdict::Error, None).then([]).waiting_for("(it was error)");
        assert_eq!(checks(&scene), 0, "not at once");
        scene = scene.when(seen().after(10));
        assert_eq!(checks(&scene), 1, "after ten seconds");
    }
    let scene = scene.found(Verdict::Error, None).then(["paused: inconclusive"]);
    assert!(scene.report.doing.contains("could not be taken (it was error)"), "{:?}", scene.report);
    scene.operator(Command::Promote { full: false }).then(["resumed at step 1", "4 old, 4 new"]);
}

#[test]
fn a_running_smoke_test_is_skipped_only_in_full() {
    let scene = previewed(smoke()).begin().refused(
        Command::Promote { full: false },
        "has not passed its prePromotionAnalysis",
        "`shipshape promote --full` skips the rest",
    );
    let ticket = scene.seen.checks[0].ticket;
    let mut scene = scene.operator(Command::Promote { full: true }).then(["step 1", "4 old, 4 new"]);
    assert_eq!(checks(&scene), 0, "it is ended");
    assert!(!scene.ends(ticket, Verdict::Failed, None), "what it says now counts for nothing");
    assert_eq!(scene.rollout.phase.name(), "progressing");
}

#[test]
fn an_outcome_counts_once() {
    let mut scene = given(canary([to(50), hold()]).promptly().ruled_by(Metric { count: None, ..smoke() }));
    scene = scene.when(seen()).is("paused").begin();
    let ticket = scene.seen.checks[0].ticket;
    assert!(scene.ends(ticket, Verdict::Passed, None));
    assert!(!scene.ends(ticket, Verdict::Failed, None));
    assert_eq!((scene.rollout.rules[0].taken, scene.rollout.rules[0].failed), (1, 0));
}

#[test]
fn an_outcome_of_another_rollout_counts_for_nothing() {
    let mut scene = previewed(smoke()).begin();
    let mut ticket = scene.seen.checks[0].ticket;
    let Ticket::Measurement { rollout, .. } = &mut ticket else { panic!("{ticket:?}") };
    *rollout = rollout.next();
    assert!(!scene.ends(ticket, Verdict::Failed, None));
}

#[test]
fn a_failed_check_is_borne_within_the_limit() {
    let metric =
        Metric { count: Some(5), failure_limit: Some(1), interval: Duration::from_secs(5), ..smoke() };
    let scene = previewed(metric).found(Verdict::Failed, Some(1.0)).then([]);
    assert_eq!(checks(&scene), 0);
    let scene = scene.when(seen().after(5)).found(Verdict::Passed, Some(0.0)).then([]);
    scene.when(seen().after(5)).found(Verdict::Failed, Some(1.0)).then(["back: rule"]);
}

#[test]
fn conditions_judge_the_seconds_of_a_request_that_was_answered_well() {
    let quick = Some(Condition { comparison: Comparison::Less, value: 0.5 });
    let metric = || Metric { success_condition: quick, ..request() };
    previewed(metric()).found(Verdict::Passed, Some(0.2)).then(["step 1", "4 old, 4 new"]);
    let slow = previewed(metric()).found(Verdict::Passed, Some(0.7)).then(["back: rule"]);
    assert!(
        slow.report.doing.contains("it was passed, 0.7000, success is result < 0.5"),
        "{:?}",
        slow.report
    );
    previewed(metric()).found(Verdict::Failed, Some(0.2)).then(["back: rule"]);
}

#[test]
fn a_step_of_a_canary_waits_for_its_checks() {
    let analysis = Step::Analysis { metrics: vec![smoke(), request()] };
    let scene = given(canary([to(50), analysis, hold()]).promptly()).when(seen()).is("progressing");
    assert_eq!(checks(&scene), 2);
    scene.found(Verdict::Passed, None).then(["step 2", "paused: step"]);
}

#[test]
fn a_switch_is_checked_while_the_old_release_is_warm() {
    let switched = || given(blue_green().passed_by(smoke()).promptly()).when(seen()).is("promoted");
    switched().found(Verdict::Failed, None).then(["back: rule", "0%", "rolledBack"]);
    let scene = switched().when(seen().after(100)).then([]).waiting_for("smoke: 0 of 1");
    scene.found(Verdict::Passed, None).then(["0 old, 4 new", "completed"]);
}

#[test]
fn a_check_in_dry_run_decides_nothing() {
    let dry = Metric { dry_run: true, ..smoke() };
    let scene = given(canary([to(50), hold()]).promptly().ruled_by(dry)).when(seen());
    scene.found(Verdict::Failed, None).then([]).is("paused");
}

#[test]
fn without_the_agent_a_check_in_the_background_cannot_be_taken() {
    let checked = Metric { count: None, consecutive_error_limit: Some(0), ..smoke() };
    let scene = given(
        canary([to(50), Step::Pause { duration: Some(Duration::from_secs(99)) }])
            .promptly()
            .ruled_by(checked),
    );
    let scene = scene.when(seen()).begin();
    // One that is under way says more than that nobody answers.
    let scene = scene.when(seen().unreachable()).then([]);
    scene.found(Verdict::Passed, None).then([]).when(seen().after(10)).then(["paused: inconclusive"]);
}

#[test]
fn the_progress_deadline_does_not_count_the_time_of_an_analysis() {
    let metric = Metric { count: Some(2), interval: Duration::from_secs(900), ..smoke() };
    let scene = previewed(metric).when(seen().after(800)).found(Verdict::Passed, None).then([]);
    let scene = scene.when(seen().after(500).candidate_ready(0)).then([]);
    scene.when(seen().after(100)).then(["back: progress deadline"]);
}

#[test]
fn restarts_are_counted_since_the_last_measurement() {
    let none = Some(Condition { comparison: Comparison::Less, value: 1.0 });
    let metric = Metric {
        name: "restarts".to_owned(),
        source: Source::Restarts,
        count: Some(3),
        success_condition: none,
        ..rule()
    };
    let step = Step::Analysis { metrics: vec![metric] };
    // What was started again before the step says nothing about it.
    let plan = canary([to(50), step, hold()]).promptly();
    let scene = given(plan).when(seen().restarts(2)).is("progressing");
    let scene = scene.when(seen().after(10)).then([]).when(seen().after(10)).then([]);
    scene.when(seen().after(10).restarts(3)).then(["back: rule", "0%", "rolledBack"]);
}
