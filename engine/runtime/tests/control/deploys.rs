//! Deploys that go well, go badly, collide, and are refused.

use std::collections::BTreeSet;
use std::time::Duration;

use model::ReleaseNumber;
use runtime::Error;
use ship::Phase;
use sim::{Artifacts, Behaviour, Start};

use crate::support::{CANARY, Scene, deploy, path, phase, record, rolled_back, stable};

const BAD: Behaviour = Behaviour {
    start: Start::After(Duration::from_millis(300)),
    error_rate: 0.2,
    slow_rate: 0.0,
    stalls: 0.0,
};

#[tokio::test(start_paused = true)]
async fn a_deploy_is_in_the_journal_before_the_fleet_hears_of_it() {
    let scene = Scene::start(0).await;
    scene.served("one").await;
    let events = scene.records();
    for order in scene.fleet.orders().iter().filter(|order| order.generation.0 > 0) {
        assert!(events.iter().any(|it| it.seq == order.generation.0), "{order:?}");
    }
    // Nothing durable, nothing heard: the fleet is asked for nothing while the append hangs.
    let heard = scene.fleet.asked();
    scene.journal.crash_at(scene.journal.units() + 1, sim::Crash::AfterWriting);
    let handle = scene.handle();
    let asking = tokio::spawn(async move { handle.deploy(deploy(CANARY, "two")).await });
    scene.journal.crashed().await;
    scene.pass(Duration::from_secs(5)).await;
    assert_eq!(scene.fleet.asked(), heard);
    assert!(!asking.is_finished(), "an answer before the event was durable");
}

#[tokio::test(start_paused = true)]
async fn a_healthy_canary_takes_all_steps_and_completes() {
    let scene = Scene::start(200).await;
    scene.served("one").await;
    let two = scene.served("two").await;
    assert_eq!(two, ReleaseNumber(2));
    assert_eq!(stable(&scene.handle().snapshot()), Some(2));
    let last = scene.fleet.orders();
    assert_eq!(last.last().unwrap().groups.len(), 1);
    let mut weights: Vec<u16> = scene
        .fleet
        .orders()
        .iter()
        .filter_map(|order| {
            let share = order.splits.first()?.shares.iter().find(|share| share.release == two)?;
            Some(share.weight.basis_points())
        })
        .collect();
    weights.dedup();
    assert_eq!(weights, [1_000, 5_000, 10_000]);
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn a_bad_release_is_rolled_back_by_the_judge_in_one_append() {
    let scene = Scene::start(500).await;
    scene.served("one").await;
    scene.fleet.behave(2, BAD);
    scene.deploy("two").await.unwrap();
    let snapshot = scene.until(rolled_back).await;
    assert!(matches!(phase(&snapshot), Some(Phase::RolledBack(ship::RollbackReason::Judge(_)))));
    assert_eq!(stable(&snapshot), Some(1));

    let begun = scene.records().into_iter().find(|it| it.kind == "rollout.rollbackBegun").unwrap();
    let unit: Vec<String> = scene.journal.unit_of(begun.seq).iter().map(|it| record(it).kind).collect();
    assert!(unit.contains(&"rollout.shifted".to_owned()), "{unit:?}");
    let served = scene.fleet.served_by(2);
    scene.pass(Duration::from_secs(20)).await;
    assert_eq!(scene.fleet.served_by(2), served, "it is rolled back and got requests");
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn a_release_that_keeps_dying_gets_no_request_and_goes_back() {
    let scene = Scene::start(100).await;
    scene.served("one").await;
    scene.fleet.behave(2, Behaviour { start: Start::Crashes, error_rate: 0.0, ..Behaviour::default() });
    scene.deploy("two").await.unwrap();
    let snapshot = scene.until(rolled_back).await;
    assert!(matches!(phase(&snapshot), Some(Phase::RolledBack(ship::RollbackReason::CrashLoop(_)))));
    assert_eq!(scene.fleet.served_by(2), 0);
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_never_ready_goes_back_at_its_deadline() {
    let scene = Scene::start(100).await;
    scene.served("one").await;
    scene.fleet.behave(2, Behaviour { start: Start::Never, error_rate: 0.0, ..Behaviour::default() });
    let manifest = CANARY.replace("scaleDownDelay: 3s", "progressDeadline: 30s");
    scene.handle().deploy(deploy(&manifest, "two")).await.unwrap();
    let snapshot = scene.until(rolled_back).await;
    assert!(matches!(phase(&snapshot), Some(Phase::RolledBack(ship::RollbackReason::ProgressDeadline(_)))));
    assert_eq!(scene.fleet.served_by(2), 0);
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn an_abort_and_the_shift_back_are_one_append() {
    let scene = Scene::start(100).await;
    scene.served("one").await;
    scene.deploy("two").await.unwrap();
    scene.until(|_| scene.fleet.served_by(2) > 0).await;
    scene.operate(runtime::Operation::Abort).await.unwrap();
    let begun = scene.records().into_iter().find(|it| it.kind == "rollout.rollbackBegun").unwrap();
    let unit: Vec<String> = scene.journal.unit_of(begun.seq).iter().map(|it| record(it).kind).collect();
    assert!(unit.contains(&"rollout.shifted".to_owned()), "{unit:?}");
    scene.until(rolled_back).await;
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn an_operator_takes_a_completed_release_back() {
    let scene = Scene::start(100).await;
    scene.served("one").await;
    scene.served("two").await;
    scene.rollback().await.unwrap();
    scene.until(|snapshot| stable(snapshot) == Some(1)).await;
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn of_two_deploys_at_once_one_wins_and_the_other_learns_the_way_out() {
    let scene = Scene::start(0).await;
    scene.served("one").await;
    let (a, b) = (scene.handle(), scene.handle());
    let (a, b) = tokio::join!(a.deploy(deploy(CANARY, "two")), b.deploy(deploy(CANARY, "three")));
    let (won, lost) = if a.is_ok() { (a, b) } else { (b, a) };
    assert_eq!(won.unwrap().release, ReleaseNumber(2));
    let Err(Error::Refused(refusal)) = lost else { panic!("{lost:?}") };
    assert!(refusal.what.contains("rollout 2 of release 2"), "{refusal:?}");
    assert!(refusal.instead.contains("shipshape abort"), "{refusal:?}");
}

#[tokio::test(start_paused = true)]
async fn what_serves_already_is_deployed_without_a_rollout() {
    let scene = Scene::start(0).await;
    scene.served("one").await;
    let units = scene.journal.units();
    let again = scene.deploy("one").await.unwrap();
    assert_eq!((again.release, again.rollout), (ReleaseNumber(1), None));
    assert_eq!(scene.journal.units(), units);
}

#[tokio::test(start_paused = true)]
async fn a_missing_secret_refuses_the_deploy_by_its_variable() {
    let scene = Scene::start(0).await;
    scene.secrets.forget("SHOP_TOKEN");
    let Err(Error::Refused(refusal)) = scene.deploy("one").await else { panic!("it was deployed") };
    assert!(refusal.what.contains("TOKEN") && refusal.what.contains("SHOP_TOKEN"), "{refusal:?}");
    assert_eq!(scene.kinds(), ["control.started"]);
    assert!(scene.artifacts.held().is_empty());
    scene.secrets.set("SHOP_TOKEN", "swordfish");
    scene.served("one").await;
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn too_long_an_actor_or_reason_is_refused_in_words() {
    let scene = Scene::start(0).await;
    let asked = deploy(CANARY, "one");
    let long_actor = runtime::Deploy { actor: "a".repeat(300), ..asked.clone() };
    let no_actor = runtime::Deploy { actor: String::new(), ..asked.clone() };
    let long_reason = runtime::Deploy { reason: Some("r".repeat(20_000)), ..asked };
    for (request, what) in
        [(long_actor, "actor is 300 bytes"), (no_actor, "actor is empty"), (long_reason, "reason is")]
    {
        let Err(Error::Refused(refusal)) = scene.handle().deploy(request).await else {
            panic!("not refused")
        };
        assert!(refusal.what.contains(what), "{refusal:?}");
    }
    scene.served("one").await;
}

#[tokio::test(start_paused = true)]
async fn a_sweep_keeps_what_is_kept_and_what_is_just_being_stored() {
    let scene = Scene::start(0).await;
    let direct = CANARY.split("  canary:").next().unwrap().replace("strategy: canary", "strategy: rolling");
    let build = |n: usize| format!("build-{n}");
    for n in 1..=lifecycle_kept() {
        scene.handle().deploy(deploy(&direct, &build(n))).await.unwrap();
        scene.until(|snapshot| phase(snapshot) == Some(Phase::Completed)).await;
    }
    let other = direct.replace("service: shop", "service: other\nroute: { hosts: [other.test] }");
    // Both askers go away when their artifacts are stored and nothing is recorded yet.
    scene.journal.slow_down(Duration::from_secs(2));
    for (manifest, build) in [(&direct, build(lifecycle_kept() + 1)), (&other, "concurrent".to_owned())] {
        let (handle, stored) = (scene.handle(), Artifacts::digest_of(&path(&build)));
        let asked = deploy(manifest, &build);
        let asking = tokio::spawn(async move { handle.deploy(asked).await });
        scene.until(|_| scene.artifacts.held().contains(&stored)).await;
        scene.pass(Duration::from_millis(100)).await;
        asking.abort();
    }
    let oldest = Artifacts::digest_of(&path("build-1"));
    scene.until(|_| !scene.artifacts.held().contains(&oldest)).await;
    scene.until(|snapshot| snapshot.world.services.len() == 2).await;
    let expected: BTreeSet<_> = (2..=lifecycle_kept() + 1)
        .map(|n| Artifacts::digest_of(&path(&build(n))))
        .chain([Artifacts::digest_of(&path("concurrent"))])
        .collect();
    assert_eq!(scene.artifacts.held(), expected);
    assert_eq!(scene.count("release.retired"), 1);
    scene.is_sound();
}

fn lifecycle_kept() -> usize {
    lifecycle::KEPT_RELEASES
}
