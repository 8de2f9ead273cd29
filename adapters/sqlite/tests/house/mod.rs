//! What the journal's tests share: chained records, and a journal filled with them.
#![allow(dead_code, clippy::unwrap_used, reason = "each test binary uses a part of it, and a test may fail")]

use std::future::Future;
use std::ops::Range;
use std::path::Path;

use model::Timestamp;
use ports::Journal;
use ports::journal::Entry;
use record::{Chain, Draft};
use serde_json::json;
use sqlite::{Config, Store};

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub(crate) fn chain() -> Chain {
    Chain::new()
}

pub(crate) fn draft(reason: &str) -> Draft {
    Draft {
        at: Timestamp::from_micros(1_700_000_000_000_000),
        actor: "test".to_owned(),
        kind: "rollout.stepped".to_owned(),
        version: 1,
        subject: Some("shop/production".to_owned()),
        reason: Some(reason.to_owned()),
        body: json!({ "weight": 0.25, "padding": "x".repeat(reason.len() % 7 * 100) }),
    }
}

/// The next entry of a chain.
pub(crate) fn entry(chain: &mut Chain) -> Entry {
    let record = chain.next(draft(&format!("step {}", chain.last_seq + 1))).unwrap();
    Entry { seq: record.seq, bytes: record.to_bytes() }
}

/// The first entries of a valid chain.
pub(crate) fn records(count: u64) -> Vec<Entry> {
    let mut chain = chain();
    (0..count).map(|_| entry(&mut chain)).collect()
}

/// Entries without a chain.
pub(crate) fn plain(seqs: Range<u64>) -> Vec<Entry> {
    seqs.map(|seq| Entry { seq, bytes: format!("entry {seq}").into_bytes() }).collect()
}

/// A closed journal with a valid chain of so many records.
pub(crate) fn filled(path: &Path, count: u64) -> Vec<Entry> {
    let store = Store::open(path, Config::default()).unwrap();
    let entries = records(count);
    for batch in entries.chunks(10) {
        block_on(store.append(batch.to_vec())).unwrap();
    }
    entries
}
