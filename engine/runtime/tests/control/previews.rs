//! Blue-green rollouts: what the fleet is told of a preview, and when.

use std::time::Duration;

use model::{ReleaseNumber, Weight};
use runtime::Operation;
use ship::Phase;

use crate::support::{CANARY, Scene, deploy, phase, rolled_back, stable};

/// The shop with a preview of one replica that waits for a promotion.
fn blue_green() -> String {
    let (before, _) = CANARY.split_once("  strategy: canary").expect("a canary");
    format!(
        "{before}  strategy: blueGreen\n  scaleDownDelay: 3s\n  blueGreen: {{autoPromotionEnabled: false, \
         previewReplicaCount: 1}}\n"
    )
}

/// What each wanted state said since `first`: the previewed release and the new one's share in percent.
fn told(scene: &Scene, first: usize) -> Vec<(Option<u64>, u16)> {
    let orders = scene.fleet.orders();
    let mut told: Vec<_> = orders[first..]
        .iter()
        .filter_map(|order| order.splits.first())
        .map(|split| {
            let share = split.shares.iter().find(|share| share.release == ReleaseNumber(2));
            let weight = share.map_or(Weight::NONE, |share| share.weight);
            let preview = split.preview.as_ref().expect("its hosts are claimed all the time");
            assert_eq!(preview.route.hosts, ["preview.shop.production.localhost"]);
            (preview.release.map(|release| release.0), weight.basis_points() / 100)
        })
        .collect();
    told.dedup();
    told
}

async fn previewed(scene: &Scene) -> usize {
    scene.handle().deploy(deploy(&blue_green(), "one")).await.expect("a deploy");
    scene.until(|snapshot| phase(snapshot) == Some(Phase::Completed)).await;
    let first = scene.fleet.orders().len();
    scene.handle().deploy(deploy(&blue_green(), "two")).await.expect("a deploy");
    scene.until(|snapshot| matches!(phase(snapshot), Some(Phase::Paused(_)))).await;
    first
}

#[tokio::test(start_paused = true)]
async fn a_preview_is_promoted_in_one_swap_and_loses_nothing() {
    let scene = Scene::start(300).await;
    let first = previewed(&scene).await;
    scene.pass(Duration::from_secs(30)).await;
    assert_eq!(scene.fleet.served_by(2), 0, "a preview gets no share of the requests");
    scene.operate(Operation::Promote).await.expect("a promotion");
    let snapshot = scene.until(|snapshot| phase(snapshot) == Some(Phase::Completed)).await;
    assert_eq!(stable(&snapshot), Some(2));
    assert_eq!(told(&scene, first), [(Some(2), 0), (Some(2), 100), (None, 100)]);
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn an_aborted_preview_is_closed_before_it_counts_as_rolled_back() {
    let scene = Scene::start(300).await;
    let first = previewed(&scene).await;
    scene.operate(Operation::Abort).await.expect("an abort");
    scene.until(rolled_back).await;
    let back = scene.records().into_iter().find(|it| it.kind == "rollout.rolledBack").expect("it went back");
    let closed = scene.fleet.orders();
    let closed = closed[first..].iter().find(|order| {
        let split = order.splits.first();
        order.generation.0 > 0
            && split.is_some_and(|s| s.preview.as_ref().is_some_and(|p| p.release.is_none()))
    });
    assert!(
        closed.expect("the preview is closed").generation.0 < back.seq,
        "in force before it was recorded"
    );
    assert_eq!((scene.fleet.served_by(2), told(&scene, first)), (0, vec![(Some(2), 0), (None, 0)]));
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn a_rollback_after_the_switch_is_one_append() {
    let scene = Scene::start(300).await;
    previewed(&scene).await;
    scene.operate(Operation::Promote).await.expect("a promotion");
    scene.until(|snapshot| phase(snapshot) == Some(Phase::Promoted)).await;
    scene.rollback().await.expect("a rollback");
    let served = scene.until(rolled_back).await;
    assert_eq!(stable(&served), Some(1));
    let begun = scene.records().into_iter().find(|it| it.kind == "rollout.rollbackBegun").expect("it began");
    let unit: Vec<String> =
        scene.journal.unit_of(begun.seq).iter().map(|it| crate::support::record(it).kind).collect();
    assert!(unit.contains(&"rollout.shifted".to_owned()), "{unit:?}");
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn the_next_control_goes_on_with_a_preview_where_it_was() {
    let mut scene = Scene::start(300).await;
    let first = previewed(&scene).await;
    scene.kill().await;
    scene.pass(Duration::from_secs(10)).await;
    scene.up().await.expect("control starts");
    scene.pass(Duration::from_secs(10)).await;
    assert_eq!(told(&scene, first), [(Some(2), 0)]);
    scene.operate(Operation::Promote).await.expect("a promotion");
    let snapshot = scene.until(|snapshot| phase(snapshot) == Some(Phase::Completed)).await;
    assert_eq!(stable(&snapshot), Some(2));
    scene.is_sound();
}
