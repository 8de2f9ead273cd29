//! Journals that control must not act on.

use model::Timestamp;
use ports::journal::Entry;
use record::{Chain, Draft};
use sim::Journal;

use crate::support::Scene;

fn draft(kind: &str, version: u16, body: serde_json::Value) -> Draft {
    let at = Timestamp::from_micros(1_700_000_000_000_000);
    Draft { at, actor: "ada".to_owned(), kind: kind.to_owned(), version, subject: None, reason: None, body }
}

async fn refusal(drafts: Vec<Draft>, damage: impl Fn(&mut Vec<Entry>)) -> String {
    let mut chain = Chain::new();
    let mut entries: Vec<Entry> = drafts
        .into_iter()
        .map(|draft| chain.next(draft).unwrap())
        .map(|record| Entry { seq: record.seq, bytes: record.to_bytes() })
        .collect();
    damage(&mut entries);
    let mut scene = Scene::without_control(Journal::holding(entries.clone()), 0);
    let error = scene.up().await.unwrap_err();
    assert_eq!(scene.journal.entries(), entries, "it wrote to a journal that it cannot read");
    assert_eq!(scene.fleet.asked(), 0);
    error
}

fn started() -> Draft {
    draft("control.started", 1, serde_json::json!({ "version": "0.1.0" }))
}

#[tokio::test(start_paused = true)]
async fn a_journal_of_a_newer_version_is_left_to_that_version() {
    for newer in
        [draft("control.started", 2, serde_json::json!({})), draft("page.sent", 1, serde_json::json!({}))]
    {
        let error = refusal(vec![started(), newer], |_| {}).await;
        assert!(error.contains("event 2") && error.contains("use that version, or a newer one"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_journal_is_refused_with_the_place_and_what_to_do() {
    let changed = refusal(vec![started(), started()], |entries| {
        let at = entries[1].bytes.len() / 3;
        entries[1].bytes[at] ^= 1;
    });
    let missing = refusal(vec![started(), started(), started()], |entries| {
        entries.remove(1);
    });
    for error in [changed.await, missing.await] {
        assert!(error.contains("event 2") && error.contains("`shipshape journal verify`"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_that_cannot_follow_are_refused_by_number() {
    let retired = draft(
        "rollout.completed",
        1,
        serde_json::json!({
            "place": { "service": "shop", "environment": "production" },
            "event": "completed",
        }),
    );
    let error = refusal(vec![started(), retired], |_| {}).await;
    assert!(error.contains("event 2") && error.contains("`shipshape journal show 2`"), "{error}");
}
