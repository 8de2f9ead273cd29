//! Checks under way: begun once, recorded once, ended when nobody wants them, begun again by the next control.

use std::time::Duration;

use lifecycle::Event;
use model::check::Verdict;
use runtime::Operation;
use ship::Phase;
use ship::rules::{Outcome, Run};

use crate::support::{CANARY, Scene, deploy, phase, report, rolled_back, stable};

/// The shop with a preview of one replica that has to pass a smoke test.
fn checked() -> String {
    let (before, _) = CANARY.split_once("  strategy: canary").expect("a canary");
    format!(
        "{before}  strategy: blueGreen\n  scaleDownDelay: 3s\n  blueGreen:\n    previewReplicaCount: 1\n    \
         prePromotionAnalysis:\n      metrics:\n        - {{name: smoke, command: {{run: smoke}}}}\n"
    )
}

async fn deployed(scene: &Scene, build: &str) {
    scene.handle().deploy(deploy(&checked(), build)).await.expect("a deploy");
}

/// Release 1 serves, and release 2 is checked.
async fn checking(scene: &Scene, takes: Duration, verdict: Verdict) {
    scene.checks.find("smoke", takes, verdict);
    deployed(scene, "one").await;
    scene.until(|snapshot| phase(snapshot) == Some(Phase::Completed)).await;
    assert_eq!(scene.checks.begun("smoke").len(), 0, "a first release is not previewed");
    deployed(scene, "two").await;
    scene.until(|_| scene.checks.under_way("smoke") == 1).await;
}

/// What was recorded of the preview.
fn recorded(scene: &Scene) -> Vec<(Outcome, Option<String>)> {
    let outcome = |event: Event| {
        if let Event::Rollout { event: ship::Event::RuleMeasured(it), .. } = event {
            (it.run == Run::PrePromotion).then_some((it.outcome, it.detail))
        } else {
            None
        }
    };
    scene.events().into_iter().filter_map(outcome).collect()
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test(start_paused = true)]
async fn a_check_holds_the_switch_and_nothing_else() {
    let scene = Scene::start(300).await;
    checking(&scene, LONG, Verdict::Passed).await;
    scene
        .until(|snapshot| report(snapshot).contains("smoke: command under way, measurement 1 of 1 (for 5s"))
        .await;
    assert_eq!(scene.fleet.served_by(2), 0);
    let snapshot = scene.until(|snapshot| phase(snapshot) == Some(Phase::Completed)).await;
    assert_eq!(stable(&snapshot), Some(2));
    assert_eq!(recorded(&scene), [(Outcome::Successful, Some("smoke was passed".to_owned()))]);
    let told = &scene.checks.begun("smoke")[0];
    assert_eq!(told.preview_host.as_deref(), Some("preview.shop.production.localhost"));
    assert_eq!((told.release.0, told.replicas.len()), (2, 1));
    assert!(told.gateway.is_some() && told.directory.is_absolute());
    assert!(told.secrets.is_empty() && told.variables.is_empty(), "its environment is clean");
    assert_eq!(told.hidden.len(), 1, "what is secret is known, so that nothing shows it");
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn a_check_that_fails_takes_the_preview_back_before_any_request() {
    let scene = Scene::start(300).await;
    checking(&scene, LONG, Verdict::Failed).await;
    let snapshot = scene.until(rolled_back).await;
    assert_eq!((stable(&snapshot), scene.fleet.served_by(2)), (Some(1), 0));
    assert_eq!(recorded(&scene), [(Outcome::Failed, Some("smoke was failed".to_owned()))]);
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn the_next_control_begins_a_check_again_that_was_under_way() {
    let mut scene = Scene::start(300).await;
    checking(&scene, LONG, Verdict::Failed).await;
    scene.pass(Duration::from_secs(5)).await;
    scene.kill().await;
    scene.pass(Duration::from_millis(1)).await;
    assert_eq!(scene.checks.under_way("smoke"), 0, "it died with control");
    scene.up().await.expect("control starts");
    scene.until(rolled_back).await;
    assert_eq!((scene.checks.begun("smoke").len(), recorded(&scene).len()), (2, 1));
    assert_eq!(scene.fleet.served_by(2), 0);
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn a_check_ends_with_the_rollout_that_wanted_it() {
    let scene = Scene::start(300).await;
    checking(&scene, LONG, Verdict::Failed).await;
    scene.operate(Operation::Abort).await.expect("an abort");
    scene.until(|_| scene.checks.under_way("smoke") == 0).await;
    scene.until(rolled_back).await;
    scene.pass(LONG).await;
    assert_eq!(recorded(&scene), []);
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn only_a_full_promotion_skips_a_check() {
    let scene = Scene::start(300).await;
    checking(&scene, LONG, Verdict::Failed).await;
    let refused = scene.operate(Operation::Promote).await.expect_err("it is not passed");
    assert!(refused.to_string().contains("prePromotionAnalysis"), "{refused}");
    scene.operate(Operation::PromoteFull).await.expect("a promotion");
    let snapshot = scene.until(|snapshot| phase(snapshot) == Some(Phase::Completed)).await;
    assert_eq!((stable(&snapshot), recorded(&scene)), (Some(2), vec![]));
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_the_journal_does_not_take_is_recorded_later() {
    let scene = Scene::start(300).await;
    checking(&scene, Duration::from_secs(3), Verdict::Failed).await;
    scene.journal.fail(4);
    scene.until(rolled_back).await;
    assert_eq!((scene.checks.begun("smoke").len(), recorded(&scene).len()), (1, 1), "it is not run again");
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn no_more_than_eight_checks_run_at_once() {
    let scene = Scene::start(300).await;
    let manifest = checked();
    let rule = manifest.lines().last().expect("its rule").to_owned();
    let rules: Vec<String> =
        (0..20).map(|n| rule.replace("name: smoke", &format!("name: smoke{n}"))).collect();
    let manifest = manifest.replace(&rule, &rules.join("\n"));
    scene.checks.find("smoke", Duration::from_secs(5), Verdict::Passed);
    for build in ["one", "two"] {
        scene.handle().deploy(deploy(&manifest, build)).await.expect("a deploy");
        scene.until(|snapshot| phase(snapshot) == Some(Phase::Completed)).await;
    }
    assert_eq!((scene.checks.begun("smoke").len(), scene.checks.most_at_once()), (20, 8));
    scene.is_sound();
}
