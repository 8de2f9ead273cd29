//! What carries an idempotency key is done once, also when control dies in between; and the journal is readable beside
//! the loop that writes it.

use model::Digest;
use runtime::{Error, Handle, Once, Rollback};
use sim::Crash;

use crate::support::{CANARY, Scene, deploy, place, stable};

fn once(key: &str) -> Once {
    Once { key: key.to_owned(), request: Digest::of(b"the request") }
}

async fn back(handle: &Handle) -> Result<runtime::Answer, Error> {
    let request =
        Rollback { place: place(), to: None, actor: "ada".to_owned(), reason: None, override_lock: false };
    handle.once(once("back")).rollback(request).await
}

#[tokio::test(start_paused = true)]
async fn a_command_that_arrives_twice_is_done_once() {
    let mut scene = Scene::start(50).await;
    for build in ["one", "two", "three"] {
        let _ = scene.served(build).await;
    }
    let first = back(&scene.handle()).await.unwrap();
    scene.until(|snapshot| stable(snapshot) == Some(2)).await;
    let events = scene.records().len();
    assert_eq!(back(&scene.handle()).await.unwrap(), first);
    scene.kill().await;
    scene.up().await.unwrap();
    assert_eq!(back(&scene.handle()).await.unwrap(), first);
    assert_eq!(scene.records().len(), events + 1, "only the start of the next control");
    let other = Once { request: Digest::of(b"another"), ..once("back") };
    let refused = scene.handle().once(other).deploy(deploy(CANARY, "four")).await.unwrap_err();
    assert!(matches!(refused, Error::KeyReused { .. }), "{refused}");
    scene.is_sound();
}

#[tokio::test(start_paused = true)]
async fn what_was_written_before_the_answer_was_lost_is_answered_after_the_restart() {
    for (crash, deploys) in [(Crash::AfterWriting, 1), (Crash::BeforeWriting, 0)] {
        let mut scene = Scene::start(50).await;
        scene.journal.crash_at(scene.journal.units() + 1, crash);
        let handle = scene.handle().once(once("first"));
        tokio::select! {
            () = scene.journal.crashed() => {}
            answer = handle.deploy(deploy(CANARY, "one")) => panic!("{answer:?}"),
        }
        scene.kill().await;
        assert_eq!(scene.count("release.registered"), deploys);
        scene.up().await.unwrap();
        let again = scene.handle().once(once("first"));
        let answer = again.deploy(deploy(CANARY, "one")).await.unwrap();
        assert_eq!((answer.release.0, scene.count("release.registered")), (1, 1));
        assert_eq!((scene.count("rollout.started"), scene.count("command.answered")), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_changed_nothing_is_not_done_later() {
    let scene = Scene::start(50).await;
    let _ = scene.served("one").await;
    let same = scene.handle().once(once("same"));
    assert_eq!(same.deploy(deploy(CANARY, "one")).await.unwrap().rollout, None);
    let _ = scene.served("two").await;
    let again = same.deploy(deploy(CANARY, "one")).await.unwrap();
    assert_eq!((again.release.0, again.rollout), (1, None));
    assert_eq!(stable(&scene.handle().snapshot()), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_arrives_again_does_not_stop_the_next_control() {
    let mut scene = Scene::start(50).await;
    let stop = |handle: Handle| async move { handle.once(once("stop")).stop("ada".to_owned(), None).await };
    stop(scene.handle()).await.unwrap();
    scene.ended().await;
    scene.up().await.unwrap();
    stop(scene.handle()).await.unwrap();
    let _ = scene.deploy("one").await.unwrap();
    assert_eq!(scene.count("control.stopped"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_journal_is_read_in_pages_while_it_grows() {
    let scene = Scene::start(50).await;
    let handle = scene.handle();
    let mut last = handle.last_event();
    assert_eq!(*last.borrow_and_update(), 1);
    for build in ["one", "two", "three"] {
        let _ = scene.served(build).await;
    }
    assert!(last.has_changed().unwrap());
    let (mut after, mut lines) = (0, Vec::new());
    loop {
        let page = handle.events_after(after, 3).await.unwrap();
        let Some(end) = page.last() else { break };
        assert!(page.len() <= 3);
        after = end.seq;
        lines.extend(page.into_iter().map(|event| event.line.into_bytes()));
    }
    let entries = scene.journal.entries();
    assert_eq!(lines, entries.iter().map(|entry| entry.bytes.clone()).collect::<Vec<_>>());
    assert!(after > 20, "more than one page: {after}");
}
