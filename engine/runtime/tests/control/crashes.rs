//! Control is killed at every point of a rollout; the next one finishes it, once.

use std::time::Duration;

use lifecycle::World;
use ship::Phase;
use sim::{Behaviour, Crash, Start};

use crate::support::{Scene, phase, rolled_back, stable};

const BAD: Behaviour = Behaviour {
    start: Start::After(Duration::from_millis(300)),
    error_rate: 0.2,
    slow_rate: 0.0,
    stalls: 0.0,
};

fn ended(snapshot: &runtime::Snapshot) -> bool {
    rolled_back(snapshot) || phase(snapshot) == Some(Phase::Completed)
}

/// One release serves, a second is rolled out; control dies at append number `unit` after the deploy, if there is one.
/// Returns the scene, whether it died, and how many units the second rollout took.
async fn rollout(second: Behaviour, die: Option<(usize, Crash)>) -> (Scene, bool, usize) {
    let mut scene = Scene::start(200).await;
    scene.served("one").await;
    scene.fleet.behave(2, second);
    let before = scene.journal.units();
    scene.deploy("two").await.unwrap();
    let mut died = false;
    if let Some((unit, crash)) = die {
        scene.journal.crash_at(before + unit, crash);
        died = tokio::select! {
            () = scene.journal.crashed() => true,
            _ = scene.until(ended) => false,
        };
        scene.journal.stay_up();
    }
    if died {
        scene.kill().await;
        scene.pass(Duration::from_secs(1)).await;
        scene.up().await.unwrap();
    }
    scene.until(ended).await;
    let units = scene.journal.units() - before;
    (scene, died, units)
}

/// What happened, in order, without the counts and these kinds.
fn transitions(scene: &Scene, without: &[&str]) -> Vec<String> {
    scene.kinds().into_iter().filter(|kind| !without.contains(&kind.as_str())).collect()
}

async fn every_death(second: Behaviour, outcome: fn(&Scene) -> bool, without: &[&str]) {
    let transitions = |scene: &Scene| transitions(scene, without);
    let (scene, _, units) = rollout(second, None).await;
    let expected = transitions(&scene);
    assert!(outcome(&scene) && units >= 4, "{expected:?}");
    scene.is_sound();
    let mut deaths = 0;
    for unit in 2..=units {
        for crash in [Crash::BeforeWriting, Crash::AfterWriting] {
            let (scene, died, _) = rollout(second, Some((unit, crash))).await;
            deaths += usize::from(died);
            assert!(outcome(&scene), "killed at append {unit} {crash:?}: {:?}", transitions(&scene));
            assert_eq!(transitions(&scene), expected, "killed at append {unit} {crash:?}");
            let mut replayed = World::default();
            for (record, event) in scene.records().iter().zip(scene.events()) {
                replayed.apply(&event, record.seq, record.at).unwrap();
            }
            assert_eq!(replayed, *scene.handle().snapshot().world);
            scene.is_sound();
        }
    }
    assert!(deaths >= units, "{deaths} deaths in {units} units");
}

#[tokio::test(start_paused = true)]
async fn killed_anywhere_in_a_good_rollout_the_next_control_completes_it() {
    let good = Behaviour::default();
    every_death(good, |scene| stable(&scene.handle().snapshot()) == Some(2), &["control.started"]).await;
}

#[tokio::test(start_paused = true)]
async fn killed_anywhere_in_a_bad_rollout_the_next_control_takes_it_back() {
    // Requests go on while control is dead: how far the steps came when the verdict fell is a matter of time.
    let without = ["control.started", "rollout.stepEntered"];
    every_death(BAD, |scene| rolled_back(&scene.handle().snapshot()), &without).await;
}

#[tokio::test(start_paused = true)]
async fn a_deploy_without_an_answer_is_there_whole_or_not_at_all() {
    for (crash, expected) in [(Crash::BeforeWriting, 0), (Crash::AfterWriting, 1)] {
        let mut scene = Scene::start(50).await;
        scene.journal.crash_at(scene.journal.units() + 1, crash);
        tokio::select! {
            () = scene.journal.crashed() => {}
            answer = scene.deploy("one") => panic!("an answer: {answer:?}"),
        }
        scene.kill().await;
        scene.up().await.unwrap();
        assert_eq!(scene.count("release.registered"), expected);
        assert_eq!(scene.count("rollout.started"), expected);
        if crash == Crash::BeforeWriting {
            scene.deploy("one").await.unwrap();
        }
        scene.until(ended).await;
        assert_eq!(scene.count("release.registered"), 1);
        scene.is_sound();
    }
}

#[tokio::test(start_paused = true)]
async fn every_answered_command_is_known_to_the_next_control() {
    let mut scene = Scene::start(50).await;
    scene.served("one").await;
    let deployed = scene.deploy("two").await.unwrap();
    scene.kill().await;
    scene.up().await.unwrap();
    let lane = scene.handle().snapshot().world.lanes[&crate::support::place()].clone();
    assert_eq!(lane.rollout.map(|it| (Some(it.number), it.to)), Some((deployed.rollout, deployed.release)));
    scene.operate(runtime::Operation::Pause).await.unwrap();
    scene.kill().await;
    scene.up().await.unwrap();
    assert!(matches!(phase(&scene.handle().snapshot()), Some(Phase::Paused(ship::PauseReason::Operator))));
    scene.operate(runtime::Operation::Abort).await.unwrap();
    scene.kill().await;
    scene.up().await.unwrap();
    scene.until(rolled_back).await;
    assert_eq!(scene.count("rollout.rollbackBegun"), 1);
    scene.is_sound();
}
