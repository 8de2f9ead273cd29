//! A journal that says no, and a control that is stopped.

use std::time::Duration;

use runtime::Error;

use crate::support::{Scene, stable};

#[tokio::test(start_paused = true)]
async fn what_the_journal_does_not_take_did_not_happen() {
    let scene = Scene::start(100).await;
    scene.served("one").await;
    let (world, asked) = (scene.handle().snapshot().world.clone(), scene.fleet.asked());
    scene.journal.fail(1);
    let error = scene.deploy("two").await.unwrap_err();
    assert!(matches!(error, Error::Journal(_)), "{error}");
    assert!(error.to_string().contains("no space left"), "{error}");
    scene.pass(Duration::from_secs(5)).await;
    assert_eq!(scene.handle().snapshot().world, world);
    assert_eq!(scene.fleet.asked(), asked);
    scene.served("two").await;
    assert_eq!(stable(&scene.handle().snapshot()), Some(2));
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_keeps_failing_is_asked_ever_more_rarely_and_told_of() {
    let scene = Scene::start(100).await;
    scene.served("one").await;
    scene.deploy("two").await.unwrap();
    scene.journal.fail(u32::MAX);
    let still =
        |snapshot: &runtime::Snapshot| snapshot.warnings.iter().any(|it| it.contains("rollouts stand still"));
    scene.until(still).await;
    let attempts = scene.journal.attempts();
    scene.pass(Duration::from_secs(60)).await;
    let attempts = scene.journal.attempts() - attempts;
    assert!((5..=25).contains(&attempts), "{attempts} attempts in a minute");
    scene.journal.fail(0);
    scene.until(|snapshot| stable(snapshot) == Some(2) && snapshot.warnings.is_empty()).await;
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_recorded_then_told_to_the_fleet_and_ends_control() {
    let mut scene = Scene::start(0).await;
    scene.served("one").await;
    let handle = scene.handle();
    scene.journal.fail(1);
    let error = handle.stop("ada".to_owned(), None).await.unwrap_err();
    assert!(matches!(error, Error::Journal(_)) && !scene.fleet.stopped(), "{error}");
    handle.stop("ada".to_owned(), Some("the end".to_owned())).await.unwrap();
    assert!(scene.fleet.stopped());
    scene.ended().await;
    let last = scene.records().pop().unwrap();
    assert_eq!((last.kind.as_str(), last.actor.as_str()), ("control.stopped", "ada"));
    let error = handle.stop("ada".to_owned(), None).await.unwrap_err();
    assert!(error.to_string().contains("`shipshape up`"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_is_away_cannot_be_stopped_and_control_goes_on() {
    let scene = Scene::start(100).await;
    scene.served("one").await;
    scene.fleet.set_reachable(false);
    scene.until(|snapshot| !snapshot.reachable).await;
    let error = scene.handle().stop("ada".to_owned(), None).await.unwrap_err();
    assert!(error.to_string().contains("does not answer"), "{error}");
    assert_eq!(scene.count("control.stopped"), 0);
    scene.fleet.set_reachable(true);
    scene.served("two").await;
}
