//! Analysis as a step: what is recorded of it, and what a crash leaves of it.

use std::time::Duration;

use lifecycle::Event;
use ship::Phase;
use ship::rules::{Outcome, Run};
use sim::{Behaviour, Start};

use crate::support::{CANARY, Scene, deploy, phase, report, rolled_back, stable};

/// The shop with an analysis of three measurements at half of the requests, and without the judge.
fn analysed() -> String {
    let (before, _) = CANARY.split_once("    steps:").expect("steps");
    format!(
        "{before}    steps:\n      - setWeight: 50\n      - analysis:\n          metrics:\n            - {{name: errors, \
         source: errorRate, interval: 2s, count: 3, successCondition: result < 0.05}}\n  analysis: {{judge: false}}\n"
    )
}

async fn deployed(scene: &Scene, build: &str) {
    scene.handle().deploy(deploy(&analysed(), build)).await.expect("a deploy");
}

/// The outcomes that were recorded for step 1.
fn recorded(scene: &Scene) -> Vec<Outcome> {
    let outcome = |event: Event| {
        if let Event::Rollout { event: ship::Event::RuleMeasured(it), .. } = event {
            (it.run == Run::Step(1)).then_some(it.outcome)
        } else {
            None
        }
    };
    scene.events().into_iter().filter_map(outcome).collect()
}

async fn first(scene: &Scene) {
    deployed(scene, "one").await;
    scene.until(|snapshot| phase(snapshot) == Some(Phase::Completed)).await;
}

#[tokio::test(start_paused = true)]
async fn an_analysis_is_recorded_measurement_by_measurement() {
    let scene = Scene::start(300).await;
    first(&scene).await;
    deployed(&scene, "two").await;
    let snapshot = scene.until(|snapshot| phase(snapshot) == Some(Phase::Completed)).await;
    assert_eq!(stable(&snapshot), Some(2));
    let good = Outcome::Successful;
    assert_eq!(recorded(&scene), [Outcome::Begun, good, good, good]);
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn the_next_control_goes_on_with_an_analysis_where_it_was() {
    let mut scene = Scene::start(300).await;
    first(&scene).await;
    deployed(&scene, "two").await;
    scene.until(|snapshot| report(snapshot).contains("errors: 1 of 3 measurements")).await;
    scene.kill().await;
    scene.up().await.expect("control starts");
    scene.until(|snapshot| phase(snapshot) == Some(Phase::Completed)).await;
    let good = Outcome::Successful;
    assert_eq!(recorded(&scene), [Outcome::Begun, good, good, good], "nothing is measured twice");
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn an_analysis_that_fails_takes_the_release_back() {
    let scene = Scene::start(300).await;
    first(&scene).await;
    let bad = Behaviour {
        start: Start::After(Duration::from_millis(300)),
        error_rate: 0.3,
        ..Behaviour::default()
    };
    scene.fleet.behave(2, bad);
    deployed(&scene, "two").await;
    let snapshot = scene.until(rolled_back).await;
    assert!(matches!(phase(&snapshot), Some(Phase::RolledBack(ship::RollbackReason::Rule(_)))));
    assert_eq!((stable(&snapshot), recorded(&scene)), (Some(1), vec![Outcome::Begun, Outcome::Failed]));
    scene.is_sound();
}
