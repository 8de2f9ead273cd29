//! Hooks of a rollout: what they are told, that nothing moves before those before it have passed, and what becomes of them
//! when control dies.

use std::time::Duration;

use lifecycle::Event;
use model::check::Verdict;
use runtime::Operation;
use ship::Phase;
use ship::hooks::Outcome;

use crate::support::{CANARY, Scene, deploy, phase, report, rolled_back, stable};

const LONG: Duration = Duration::from_secs(20);

fn hooked() -> String {
    format!(
        "{CANARY}  hooks:\n    before: [{{name: migrate, run: migrate, timeout: 1m}}]\n    \
         after: [{{name: announce, run: announce}}]\nconfig: {{LEVEL: high}}\n"
    )
}

/// Release 1 serves, and the hook before release 2 is running.
async fn migrating(scene: &Scene, manifest: &str, verdict: Verdict) {
    scene.handle().deploy(deploy(manifest, "one")).await.expect("a deploy");
    scene.until(|snapshot| phase(snapshot) == Some(Phase::Completed)).await;
    assert_eq!(scene.checks.begun("migrate").len(), 1, "a first release has its hooks, too");
    scene.checks.find("migrate", LONG, verdict);
    scene.handle().deploy(deploy(manifest, "two")).await.expect("a deploy");
    scene.until(|_| scene.checks.under_way("migrate") == 1).await;
}

fn attempts(scene: &Scene, hook: &str) -> Vec<String> {
    let begun = scene.checks.begun(hook);
    begun.iter().map(|told| told.variables["SHIPSHAPE_ATTEMPT"].clone()).collect()
}

/// What the journal says of the hooks of the last rollout, in order.
fn recorded(scene: &Scene) -> Vec<String> {
    let mut all = Vec::new();
    for event in scene.events() {
        let Event::Rollout { event, .. } = event else { continue };
        if let ship::Event::Started { .. } = event {
            all.clear();
        } else if let ship::Event::HookBegun { hook, attempt, .. } = event {
            all.push(format!("{hook} {attempt} begun"));
        } else if let ship::Event::HookEnded { hook, attempt, outcome, .. } = event {
            all.push(format!("{hook} {attempt} {outcome:?}"));
        } else if let ship::Event::Scaled { candidate: 1.., stable: 1.. } = event {
            all.push("moves".to_owned());
        }
    }
    all.dedup();
    all
}

#[tokio::test(start_paused = true)]
async fn a_hook_has_config_and_secrets_and_runs_before_anything_moves() {
    let scene = Scene::start(300).await;
    migrating(&scene, &hooked(), Verdict::Passed).await;
    scene.until(|snapshot| report(snapshot).contains("hook migrate is running (for 5s of at most 1m)")).await;
    assert_eq!(recorded(&scene), ["migrate 1 begun"], "nothing has moved");
    let snapshot = scene.until(|snapshot| phase(snapshot) == Some(Phase::Completed)).await;
    assert_eq!(stable(&snapshot), Some(2));
    let told = &scene.checks.begun("migrate")[1];
    assert_eq!((told.release.0, told.variables["LEVEL"].as_str()), (2, "high"));
    assert_eq!(
        (told.variables["SHIPSHAPE_ROLLOUT"].as_str(), told.variables["SHIPSHAPE_HOOK"].as_str()),
        ("2", "migrate")
    );
    assert!(told.secrets.contains_key("TOKEN") && told.directory.is_absolute());
    assert_eq!(attempts(&scene, "migrate"), ["1", "1"], "once for each rollout");
    let order = ["migrate 1 begun", "migrate 1 Passed", "moves", "announce 1 begun", "announce 1 Passed"];
    assert_eq!(recorded(&scene), order);
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_leaves_everything_as_it_was() {
    let scene = Scene::start(300).await;
    migrating(&scene, &hooked(), Verdict::Failed).await;
    let snapshot = scene.until(rolled_back).await;
    let why = format!("{:?}", phase(&snapshot));
    assert!(why.contains("migrate: migrate was failed"), "{why}");
    assert_eq!((stable(&snapshot), scene.fleet.served_by(2)), (Some(1), 0));
    assert_eq!(recorded(&scene), ["migrate 1 begun", "migrate 1 Failed"]);
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn the_next_control_runs_a_hook_that_died_with_the_last_as_another_attempt() {
    let mut scene = Scene::start(300).await;
    migrating(&scene, &hooked(), Verdict::Passed).await;
    scene.pass(Duration::from_secs(5)).await;
    scene.kill().await;
    scene.pass(Duration::from_millis(1)).await;
    assert_eq!(scene.checks.under_way("migrate"), 0, "it died with control");
    scene.up().await.expect("control starts");
    let snapshot = scene.until(|snapshot| phase(snapshot) == Some(Phase::Completed)).await;
    assert_eq!(
        (stable(&snapshot), attempts(&scene, "migrate")),
        (Some(2), vec!["1".to_owned(), "1".to_owned(), "2".to_owned()])
    );
    let begins = ["migrate 1 begun", "migrate 1 Lost", "migrate 2 begun", "migrate 2 Passed", "moves"];
    assert_eq!(recorded(&scene)[..5], begins);
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_must_not_run_twice_is_failed_by_the_death_of_control() {
    let mut scene = Scene::start(300).await;
    let once = hooked().replace("timeout: 1m", "timeout: 1m, idempotent: false");
    migrating(&scene, &once, Verdict::Passed).await;
    scene.kill().await;
    scene.up().await.expect("control starts");
    let snapshot = scene.until(rolled_back).await;
    assert_eq!((stable(&snapshot), attempts(&scene, "migrate").len()), (Some(1), 2));
    let why = format!("{:?}", phase(&snapshot));
    assert!(why.contains("must not run again (idempotent: false)"), "{why}");
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn an_abort_ends_a_hook_and_a_return_runs_none() {
    let scene = Scene::start(300).await;
    migrating(&scene, &hooked(), Verdict::Passed).await;
    scene.operate(Operation::Abort).await.expect("an abort");
    scene.until(|_| scene.checks.under_way("migrate") == 0).await;
    let snapshot = scene.until(rolled_back).await;
    assert_eq!((stable(&snapshot), scene.fleet.served_by(2)), (Some(1), 0));
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_after_it_is_warned_of_until_the_next_rollout() {
    let scene = Scene::start(300).await;
    scene.checks.find("announce", Duration::from_secs(1), Verdict::Failed);
    scene.handle().deploy(deploy(&hooked(), "one")).await.expect("a deploy");
    let told = "release 1 serves at shop/production, but its hook announce: announce was failed";
    let snapshot = scene.until(|snapshot| snapshot.warnings.iter().any(|it| it == told)).await;
    assert_eq!(phase(&snapshot), Some(Phase::Completed));
    let ends = scene.events().into_iter().filter_map(|event| {
        let Event::Rollout { event: ship::Event::HookEnded { outcome, .. }, .. } = event else { return None };
        Some(outcome)
    });
    assert_eq!(ends.collect::<Vec<_>>(), [Outcome::Passed, Outcome::Failed]);
    scene.checks.find("announce", Duration::from_secs(1), Verdict::Passed);
    scene.handle().deploy(deploy(&hooked(), "two")).await.expect("a deploy");
    scene.until(|snapshot| stable(snapshot) == Some(2) && snapshot.warnings.is_empty()).await;
    scene.is_sound();
}
