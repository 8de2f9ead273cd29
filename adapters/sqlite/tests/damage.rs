//! Damaged, truncated and replaced files: always a report that says what and where, never a panic, never a lie.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod house;

use std::path::{Path, PathBuf};

use house::{block_on, entry, filled};
use ports::Journal;
use ports::journal::{Entry, Error};
use proptest::prelude::*;
use sqlite::{Config, Reader, Report, Store, verify};

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Copies a journal as a crash would leave it.
fn copy(from: &Path, to: &Path) {
    for suffix in ["", "-wal", ".head"] {
        let _ = std::fs::remove_file(beside(to, suffix));
        if beside(from, suffix).exists() {
            std::fs::copy(beside(from, suffix), beside(to, suffix)).unwrap();
        }
    }
    let _ = std::fs::remove_file(beside(to, "-shm"));
}

fn truncate(path: &Path, len: u64) {
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
}

fn flip(path: &Path, at: usize, mask: u8) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= mask;
    std::fs::write(path, bytes).unwrap();
}

/// Whatever was done to the file: the events that the report counts are those that were written, and they can be read.
fn check_honest(path: &Path, written: &[Entry]) -> Report {
    let report = verify(path);
    assert!(report.events <= written.len() as u64, "{report:?}");
    assert!(
        report.problem.is_some() || report.events == written.len() as u64,
        "a loss went unnoticed: {report:?}"
    );
    if let Some(problem) = &report.problem {
        assert!(!problem.what.is_empty() && !problem.next.is_empty());
    }
    if let Ok(reader) = Reader::open(path) {
        let readable: Vec<_> = reader.entries(0).map_while(Result::ok).collect();
        assert!(readable.len() as u64 >= report.events, "{report:?}");
        assert_eq!(readable[..report.events as usize], written[..report.events as usize]);
    } else {
        assert_eq!(report.events, 0);
    }
    report
}

#[test]
fn a_truncated_file_is_noticed_at_every_length() {
    let dir = tempfile::tempdir().unwrap();
    let (good, cut) = (dir.path().join("good"), dir.path().join("cut"));
    let written = filled(&good, 100);
    let len = std::fs::metadata(&good).unwrap().len();
    assert!(!beside(&good, "-wal").exists(), "a closed journal is one file");
    for step in 0..64 {
        copy(&good, &cut);
        truncate(&cut, len * step / 64 + step % 3);
        let report = check_honest(&cut, &written);
        assert!(report.problem.is_some(), "cut to {step}/64");
        match Store::open(&cut, Config::default()) {
            Err(error) => assert!(matches!(error, Error::Damaged(_)), "{error}"),
            Ok(store) => assert!(store.read(0, usize::MAX).is_err(), "cut to {step}/64 and nobody noticed"),
        }
    }
}

#[test]
fn a_truncated_log_leaves_a_valid_prefix_and_the_head_tells_the_loss() {
    let dir = tempfile::tempdir().unwrap();
    let (good, cut) = (dir.path().join("good"), dir.path().join("cut"));
    let store = Store::open(&good, Config::default()).unwrap();
    let mut chain = house::chain();
    let written: Vec<_> = (0..60).map(|_| entry(&mut chain)).collect();
    for entry in &written {
        block_on(store.append(vec![entry.clone()])).unwrap();
    }
    let len = std::fs::metadata(beside(&good, "-wal")).unwrap().len();
    let mut prefixes = std::collections::BTreeSet::new();
    for step in 0..=96 {
        copy(&good, &cut);
        truncate(&beside(&cut, "-wal"), len * step / 96);
        let report = check_honest(&cut, &written);
        prefixes.insert(report.events);
        let opened = Store::open(&cut, Config::default());
        if step == 96 {
            assert_eq!((report.events, report.problem), (60, None));
            assert_eq!(opened.unwrap().read(0, 100).unwrap(), written);
            continue;
        }
        let problem = report.problem.unwrap();
        if report.events > 0 {
            assert_eq!(problem.what, format!("the journal: it ends at event {} but had 60", report.events));
            assert_eq!(problem.seq, Some(report.events + 1));
            let error = opened.unwrap_err().to_string();
            assert!(error.contains(&format!("it ends at event {} but had 60", report.events)), "{error}");
            assert!(error.contains("remove") && error.contains(".head"), "{error}");
        } else {
            assert!(opened.is_err());
        }
    }
    assert!(prefixes.len() > 30, "{prefixes:?}");
}

#[test]
fn giving_up_the_lost_part_is_possible_by_removing_the_head() {
    let dir = tempfile::tempdir().unwrap();
    let (now, old) = (dir.path().join("now"), dir.path().join("old"));
    filled(&now, 20);
    copy(&now, &old);
    let store = Store::open(&now, Config::default()).unwrap();
    let mut chain = house::chain();
    for entry in store.read(0, 100).unwrap() {
        chain.read(&entry.bytes).unwrap();
    }
    let at_20 = chain;
    block_on(store.append((0..5).map(|_| entry(&mut chain)).collect())).unwrap();
    drop(store);
    std::fs::copy(&old, &now).unwrap();
    let problem = verify(&now).problem.unwrap();
    assert!(problem.what.contains("it ends at event 20 but had 25"), "{problem}");
    assert!(Store::open(&now, Config::default()).is_err());
    std::fs::remove_file(beside(&now, ".head")).unwrap();
    assert!(!verify(&now).has_head);
    let store = Store::open(&now, Config::default()).unwrap();
    let mut chain = at_20;
    block_on(store.append(vec![entry(&mut chain)])).unwrap();
    let report = verify(&now);
    assert_eq!((report.events, report.problem, report.has_head), (21, None, true));
}

#[test]
fn another_journal_in_its_place_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (mine, other) = (dir.path().join("mine"), dir.path().join("other"));
    filled(&mine, 5);
    let store = Store::open(&other, Config::default()).unwrap();
    let mut chain = house::chain();
    let foreign = (0..9).map(|n| chain.next(house::draft(&format!("other {n}"))).unwrap());
    block_on(store.append(foreign.map(|r| Entry { seq: r.seq, bytes: r.to_bytes() }).collect())).unwrap();
    drop(store);
    std::fs::copy(&other, &mine).unwrap();
    assert!(verify(&mine).problem.unwrap().what.contains("it is another journal"));
    let error = Store::open(&mine, Config::default()).unwrap_err().to_string();
    assert!(error.contains("its event 5 is not the one that was written"), "{error}");
}

#[test]
fn a_missing_or_emptied_journal_is_not_started_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    filled(&path, 7);
    let backup = std::fs::read(&path).unwrap();
    truncate(&path, 0);
    for state in ["empty", "gone"] {
        let error = Store::open(&path, Config::default()).unwrap_err().to_string();
        assert!(error.contains(&format!("the file is {state}, but it had 7 events")), "{error}");
        assert!(verify(&path).problem.unwrap().what.contains("it had 7 events"));
        let _ = std::fs::remove_file(&path);
    }
    std::fs::write(&path, backup).unwrap();
    assert_eq!(Store::open(&path, Config::default()).unwrap().last_seq(), 7);
}

#[test]
fn a_flipped_byte_in_any_event_is_found_there() {
    let dir = tempfile::tempdir().unwrap();
    let (good, bad) = (dir.path().join("good"), dir.path().join("bad"));
    let written = filled(&good, 30);
    let bytes = std::fs::read(&good).unwrap();
    let mut found = 0;
    for entry in &written {
        // The event's own hash is nowhere else. Copies of it may lie in space that SQLite no longer uses.
        let piece = &entry.bytes[entry.bytes.len() - 75..];
        let places: Vec<_> =
            (0..bytes.len() - piece.len()).filter(|at| &bytes[*at..at + piece.len()] == piece).collect();
        if places.is_empty() {
            continue; // spread over two pages
        }
        copy(&good, &bad);
        for at in places {
            flip(&bad, at + 40, 0x01);
        }
        let report = check_honest(&bad, &written);
        let problem = report.problem.unwrap();
        assert_eq!((report.events, problem.seq), (entry.seq - 1, Some(entry.seq)), "{problem}");
        assert!(problem.what.starts_with(&format!("event {}", entry.seq)), "{problem}");
        found += 1;
    }
    assert!(found > 20, "{found}");
}

#[test]
fn a_removed_event_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    let written = filled(&path, 30);
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch("DROP TRIGGER journal_is_not_cut; DELETE FROM journal WHERE seq = 12").unwrap();
    drop(conn);
    let report = verify(&path);
    assert_eq!((report.events, report.problem.unwrap().seq), (11, Some(12)));
    let reader = Reader::open(&path).unwrap();
    assert!(reader.read(0, 100).unwrap_err().to_string().contains("event 12 is missing"));
    let mut entries = reader.entries(0);
    let before: Vec<_> = entries.by_ref().map_while(Result::ok).collect();
    assert_eq!(before, written[..11]);
    assert!(entries.next().is_none());
    assert_eq!(reader.entries(12).count(), 18, "what is behind the damage can still be exported");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn noise_in_the_file_never_panics_and_never_lies(
        hits in proptest::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..8),
        in_log in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (good, bad) = (dir.path().join("good"), dir.path().join("bad"));
        let store = Store::open(&good, Config::default()).unwrap();
        let written = house::records(12);
        block_on(store.append(written.clone())).unwrap();
        if in_log {
            copy(&good, &bad);
        } else {
            drop(store);
            copy(&good, &bad);
        }
        let target = beside(&bad, if in_log { "-wal" } else { "" });
        let len = std::fs::metadata(&target).unwrap().len() as usize;
        for (index, mask) in hits {
            flip(&target, index.index(len), mask);
        }
        check_honest(&bad, &written);
        if let Ok(store) = Store::open(&bad, Config::default()) {
            let _ = store.read(0, usize::MAX);
            let _ = block_on(store.append(house::plain(13..14)));
        }
    }
}
