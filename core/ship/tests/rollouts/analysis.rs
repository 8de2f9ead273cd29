//! Analysis as a step of a canary, and rules in dry run: who waits, who decides, who only tells.

use std::time::Duration;

use model::strategy::{Metric, Step};
use ship::rules::{Outcome, Run};
use ship::{Command, Event};

use super::support::{Scene, canary, given, hold, rule, seen, to};

/// Three measurements of the error rate, one each 10 s.
fn smoke() -> Metric {
    Metric { name: "smoke".to_owned(), count: Some(3), ..rule() }
}

fn analysis<const N: usize>(metrics: [Metric; N]) -> Step {
    Step::Analysis { metrics: metrics.to_vec() }
}

/// At half of the requests, in an analysis that a pause follows.
fn analysed_by<const N: usize>(metrics: [Metric; N]) -> Scene {
    let plan = canary([to(50), analysis(metrics), hold()]).promptly().without_judge();
    given(plan).when(seen()).is("progressing")
}

fn outcomes(scene: &Scene) -> Vec<(Run, Outcome)> {
    let outcome = |event: &Event| {
        if let Event::RuleMeasured(it) = event { Some((it.run, it.outcome)) } else { None }
    };
    scene.fresh().iter().filter_map(outcome).collect()
}

#[test]
fn a_step_waits_until_its_analysis_is_done() {
    let fine = || seen().after(10).candidate(100, 1);
    analysed_by([smoke()])
        .waiting_for("smoke: 0 of 3 measurements are taken")
        .when(fine())
        .then([])
        .when(fine())
        .then([])
        .waiting_for("smoke: 2 of 3 measurements are taken")
        .when(seen().after(9).candidate(100, 1))
        .then([])
        .when(seen().after(1))
        .then(["step 2", "paused: step"]);
}

#[test]
fn every_rule_of_a_step_is_waited_for() {
    let long = Metric { name: "long".to_owned(), count: Some(5), ..rule() };
    let mut scene = analysed_by([smoke(), long]);
    for _ in 0..4 {
        scene = scene.when(seen().after(10).candidate(100, 0)).then([]);
    }
    scene
        .waiting_for("long: 4 of 5")
        .when(seen().after(10).candidate(100, 0))
        .then(["step 2", "paused: step"]);
}

#[test]
fn a_failed_analysis_rolls_back() {
    analysed_by([smoke()]).when(seen().after(10).candidate(100, 50)).then(["back: rule", "0%", "rolledBack"]);
}

#[test]
fn the_last_measurement_of_a_step_can_still_fail_it() {
    let fine = || seen().after(10).candidate(100, 0);
    analysed_by([smoke()]).when(fine()).when(fine()).when(seen().after(10).candidate(100, 50)).then([
        "back: rule",
        "0%",
        "rolledBack",
    ]);
}

#[test]
fn an_inconclusive_analysis_pauses_and_a_promotion_accepts_it() {
    let scene = analysed_by([smoke()]).when(seen().after(10)).then(["paused: inconclusive"]);
    scene
        .when(seen().after(1_000).candidate(100, 0))
        .then([])
        .operator(Command::Promote { full: false })
        .then(["resumed at step 2", "paused: step"]);
}

#[test]
fn an_analysis_that_cannot_measure_pauses_and_never_rolls_back() {
    let mut scene = analysed_by([smoke()]).when(seen().unreachable());
    for _ in 0..4 {
        scene = scene.when(seen().after(10)).then([]);
    }
    scene.when(seen().after(10)).then(["paused: inconclusive"]);
}

#[test]
fn the_analysis_looks_at_what_happens_in_its_step_alone() {
    // A hundred requests failed before the step began; within it none does.
    let plan = canary([to(50), hold(), analysis([smoke()]), hold()]).promptly().without_judge();
    let scene = given(plan)
        .when(seen())
        .when(seen().after(1).candidate(100, 100))
        .operator(Command::Promote { full: false })
        .is("progressing");
    assert_eq!(outcomes(&scene), [(Run::Step(2), Outcome::Begun)], "nothing is measured yet");
    let scene = scene.when(seen().after(10).candidate(100, 0)).then([]);
    assert_eq!(outcomes(&scene), [(Run::Step(2), Outcome::Successful)]);
}

#[test]
fn an_analysis_entered_again_begins_anew() {
    let scene = analysed_by([smoke()])
        .when(seen().after(10).candidate(100, 0))
        .operator(Command::Pause)
        .when(seen().after(500).candidate(100, 100))
        .then([])
        .operator(Command::Promote { full: false })
        .then(["resumed at step 1"])
        .waiting_for("smoke: 0 of 3");
    assert_eq!(scene.rollout.run_rules.len(), 1);
    scene.when(seen().after(10).candidate(100, 0)).then([]).waiting_for("smoke: 1 of 3");
}

#[test]
fn an_analysis_in_the_first_step_is_one_too() {
    given(canary([analysis([smoke()]), to(50)]).promptly().without_judge())
        .when(seen())
        .waiting_for("smoke: 0 of 3")
        .when(seen().after(10))
        .then(["paused: inconclusive"]);
}

#[test]
fn a_promotion_skips_the_rest_of_an_analysis() {
    analysed_by([smoke()]).operator(Command::Promote { full: false }).then(["step 2", "paused: step"]);
}

#[test]
fn the_background_goes_on_beside_a_step() {
    let slow = Metric { name: "slow".to_owned(), interval: Duration::from_secs(5), ..rule() };
    let plan = canary([to(50), analysis([smoke()]), hold()]).promptly().without_judge().ruled_by(slow);
    let scene = given(plan).when(seen()).when(seen().after(10).candidate(100, 0)).then([]);
    let both = [(Run::Background, Outcome::Successful), (Run::Step(1), Outcome::Successful)];
    assert_eq!(outcomes(&scene), both);
    scene.when(seen().after(5).candidate(100, 50)).then(["back: rule", "0%", "rolledBack"]);
}

#[test]
fn a_dry_run_is_measured_and_decides_nothing() {
    let dry = Metric { dry_run: true, ..smoke() };
    given(canary([to(50), analysis([dry.clone()]), hold()]).promptly().without_judge()).when(seen()).then([
        "4 old, 2 new",
        "50%",
        "step 1",
        "step 2",
        "paused: step",
    ]);
    let scene = analysed_by([smoke(), Metric { name: "dry".to_owned(), failure_limit: Some(0), ..dry }]);
    let scene = scene.when(seen().after(10).candidate(100, 0)).then([]);
    let told: Vec<_> = scene.report.evidence.rules.iter().map(|it| (it.taken, it.step, it.dry_run)).collect();
    assert_eq!(told, [(1, Some(1), false), (1, Some(1), true)]);
}

/// In the background it would roll back and pause; it does neither, and says what it measured.
#[test]
fn a_dry_run_in_the_background_only_tells() {
    let dry = Metric { dry_run: true, ..rule() };
    let plan = canary([to(50), hold()]).promptly().without_judge().ruled_by(dry);
    let mut scene = given(plan).when(seen());
    for _ in 0..3 {
        scene = scene.when(seen().after(30).candidate(100, 100)).then([]).is("paused");
    }
    let told = &scene.report.evidence.rules[0];
    assert_eq!((told.taken, told.failed, told.dry_run, told.step), (3, 3, true, None));
}
