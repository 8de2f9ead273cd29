//! Acknowledged means durable: a process that appends is killed with SIGKILL, again and again, and every entry that
//! it acknowledged is there afterwards.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod house;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ports::Journal;
use sqlite::{Config, Reader, Store, verify};

const HELPER: &str = "SQLITE_TEST_JOURNAL";
const ROUNDS: u64 = 20;

/// Not a test of its own: the process that gets killed. Appends for ever, several at a time, and says what is
/// acknowledged.
#[test]
fn helper_appends_until_killed() {
    let Some(path) = std::env::var_os(HELPER) else { return };
    let path = PathBuf::from(path);
    let store = Store::open(&path, Config::default()).unwrap();
    let mut chain = record::Chain::new();
    for entry in store.read(0, usize::MAX).unwrap() {
        chain.read(&entry.bytes).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut out = std::io::stdout();
    loop {
        let waiting: Vec<_> = (0..chain.last_seq % 5 + 1)
            .map(|_| {
                let entry = house::entry(&mut chain);
                (entry.seq, store.append(vec![entry]))
            })
            .collect();
        for (seq, append) in waiting {
            runtime.block_on(append).unwrap();
            writeln!(out, "\nack {seq}").unwrap();
            out.flush().unwrap();
        }
    }
}

/// Runs the helper, kills it after so many acknowledgements, and returns the last one that it got out.
fn run_and_kill(journal: &Path, acks: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["helper_appends_until_killed", "--exact", "--nocapture"])
        .env(HELPER, journal)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut seen, mut last) = (0, 0);
    for line in lines {
        let line = line.unwrap();
        if let Some(seq) = line.strip_prefix("ack ") {
            last = seq.parse().unwrap();
            seen += 1;
            if seen == acks {
                child.kill().unwrap();
            }
        }
    }
    let status = child.wait().unwrap();
    assert!(seen >= acks, "the helper ended by itself: {status}");
    last
}

#[test]
fn sigkill_loses_no_acknowledged_entry() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let mut seed: u64 = 0x5eed;
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let last = run_and_kill(&path, 1 + (seed >> 33) % 40);
        assert!(last > acknowledged, "round {round}: the helper went on at {last} after {acknowledged}");
        acknowledged = last;
        // Read-only first: what the dead process left behind is verified as it is.
        let report = verify(&path);
        assert_eq!(report.problem, None, "round {round}");
        assert!(report.events >= acknowledged, "round {round}: {} of {acknowledged}", report.events);
        let reader = Reader::open(&path).unwrap();
        assert_eq!(reader.last_seq().unwrap(), report.events);
    }
    let store = Store::open(&path, Config::default()).unwrap();
    assert!(store.last_seq() >= acknowledged);
}
