//! A fleet that is away, begins anew, knows better, or cannot have what it needs.

use std::time::Duration;

use model::Generation;
use ports::Fleet as _;
use ports::fleet::{SecretValues, Wanted};
use runtime::Operation;
use ship::Phase;
use sim::Behaviour;

use crate::support::{CANARY, Scene, deploy, group, path, phase, place, report, rolled_back, stable};

#[tokio::test(start_paused = true)]
async fn nothing_moves_while_the_fleet_is_away_and_it_says_so() {
    let scene = Scene::start(100).await;
    scene.served("one").await;
    scene.deploy("two").await.unwrap();
    scene.fleet.set_reachable(false);
    let snapshot =
        scene.until(|snapshot| !snapshot.reachable && report(snapshot).contains("cannot be reached")).await;
    let (units, orders) = (scene.journal.units(), scene.fleet.orders().len());
    scene.pass(Duration::from_secs(120)).await;
    assert_eq!(
        (scene.journal.units(), scene.fleet.orders().len()),
        (units, orders),
        "{:?}",
        phase(&snapshot)
    );
    scene.fleet.set_reachable(true);
    scene.until(|snapshot| stable(snapshot) == Some(2)).await;
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn counts_of_two_lives_add_up_and_secrets_come_again() {
    let scene = Scene::start(100).await;
    scene.served("one").await;
    // Nobody is judged here: only the counting is looked at.
    let manual = CANARY.replace("pause: { duration: 5s }", "pause: {}");
    scene.handle().deploy(deploy(&manual, "two")).await.unwrap();
    scene.until(|snapshot| matches!(phase(snapshot), Some(Phase::Paused(_)))).await;
    let counted = |snapshot: &runtime::Snapshot| snapshot.reports[&place()].evidence.candidate.requests;
    // Paused, counts are written down every half minute.
    scene.pass(Duration::from_secs(70)).await;
    let before = counted(&scene.handle().snapshot());
    assert!(before > 300, "{before}");
    let written =
        scene.handle().snapshot().world.lanes[&place()].rollout.as_ref().unwrap().book.totals().0.requests;
    scene.fleet.restart();
    assert!(scene.fleet.secrets_of(&group(1)).is_empty());
    scene
        .until(|_| scene.fleet.secrets_of(&group(2)).get("TOKEN").map(String::as_str) == Some("swordfish"))
        .await;
    scene.pass(Duration::from_secs(70)).await;
    let after = counted(&scene.handle().snapshot());
    assert!(after >= written + 300, "{after} after {before}, {written} of them written down");
    assert!(after <= scene.fleet.served_by(2), "{after} counted, {} served", scene.fleet.served_by(2));
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn a_fleet_with_a_newer_state_is_left_alone_with_a_way_out() {
    let scene = Scene::start(100).await;
    scene.served("one").await;
    scene
        .fleet
        .want(
            Wanted { generation: Generation(900), ..scene.fleet.orders().pop().unwrap() },
            SecretValues::default(),
        )
        .await
        .unwrap();
    scene.deploy("two").await.unwrap();
    let snapshot = scene.until(|snapshot| !snapshot.warnings.is_empty()).await;
    let warning = snapshot.warnings.join("\n");
    assert!(warning.contains("generation 900") && warning.contains("`shipshape up`"), "{warning}");
    let orders = scene.fleet.orders().len();
    scene.pass(Duration::from_secs(20)).await;
    assert_eq!(scene.fleet.orders().len(), orders);
    // What the agent reports of its own history confirms nothing of ours.
    scene.operate(Operation::Abort).await.unwrap();
    scene.pass(Duration::from_secs(20)).await;
    let snapshot = scene.handle().snapshot();
    assert!(!rolled_back(&snapshot) && report(&snapshot).contains("not confirmed"), "{}", report(&snapshot));
}

#[tokio::test(start_paused = true)]
async fn without_an_artifact_nothing_is_pushed_until_it_is_back() {
    let mut scene = Scene::start(100).await;
    scene.served("one").await;
    scene.kill().await;
    scene.artifacts.lose(&path("one"));
    let asked = scene.fleet.asked();
    scene.up().await.unwrap();
    let snapshot = scene.until(|snapshot| !snapshot.warnings.is_empty()).await;
    let warning = snapshot.warnings.join("\n");
    assert!(warning.contains("release 1 at shop/production cannot run"), "{warning}");
    scene.pass(Duration::from_secs(20)).await;
    assert_eq!(scene.fleet.asked(), asked);
    ports::Artifacts::put(&scene.artifacts, &path("one")).unwrap();
    scene.until(|snapshot| snapshot.warnings.is_empty()).await;
    assert!(scene.fleet.asked() > asked);
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_went_missing_is_told_and_comes_when_it_is_back() {
    let mut scene = Scene::start(100).await;
    scene.served("one").await;
    scene.kill().await;
    scene.secrets.forget("SHOP_TOKEN");
    scene.fleet.restart();
    scene.up().await.unwrap();
    let snapshot = scene.until(|snapshot| !snapshot.warnings.is_empty()).await;
    assert!(snapshot.warnings.join("\n").contains("TOKEN"), "{:?}", snapshot.warnings);
    scene.secrets.set("SHOP_TOKEN", "swordfish");
    scene.until(|snapshot| snapshot.warnings.is_empty()).await;
    assert!(!scene.fleet.secrets_of(&group(1)).is_empty());
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_refuses_is_asked_again_with_pauses() {
    let scene = Scene::start(100).await;
    scene.served("one").await;
    scene.fleet.refuse(Some("no room on the machine"));
    scene.fleet.behave(2, Behaviour::default());
    scene.deploy("two").await.unwrap();
    let snapshot = scene.until(|snapshot| !snapshot.warnings.is_empty()).await;
    assert!(snapshot.warnings.join("\n").contains("no room"), "{:?}", snapshot.warnings);
    let asked = scene.fleet.asked();
    scene.pass(Duration::from_secs(10)).await;
    let asked = scene.fleet.asked() - asked;
    assert!((5..=41).contains(&asked), "asked {asked} times in ten seconds");
    scene.fleet.refuse(None);
    scene.until(|snapshot| stable(snapshot) == Some(2)).await;
    scene.is_sound();
}
