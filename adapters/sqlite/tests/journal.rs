//! The journal's contract, on a real file: order, group commit, limits, one writer, readers beside it.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod house;

use std::sync::Arc;

use house::{block_on, chain, filled, plain, records};
use ports::Journal;
use ports::journal::{Entry, Error};
use sqlite::{Config, Reader, Store, verify};

#[test]
fn entries_come_back_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let entries = records(25);
    {
        let store = Store::open(&path, Config::default()).unwrap();
        block_on(store.append(entries[..10].to_vec())).unwrap();
        block_on(store.append(Vec::new())).unwrap();
        block_on(store.append(entries[10..].to_vec())).unwrap();
        assert_eq!(store.read(0, 100).unwrap(), entries);
        assert_eq!(store.read(7, 5).unwrap(), entries[7..12]);
        assert_eq!(store.read(25, 5).unwrap(), []);
        assert_eq!(store.read(u64::MAX, usize::MAX).unwrap(), []);
        assert_eq!(store.last_seq(), 25);
    }
    let store = Store::open(&path, Config::default()).unwrap();
    assert_eq!(store.read(0, usize::MAX).unwrap(), entries);
    assert_eq!(store.stats().entries, 25);
}

#[test]
fn entries_that_do_not_follow_are_refused_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("j"), Config::default()).unwrap();
    block_on(store.append(plain(1..4))).unwrap();
    for wrong in [
        plain(5..6),
        plain(3..4),
        plain(0..1),
        [plain(4..6), plain(7..8)].concat(),
        plain(u64::MAX - 1..u64::MAX),
    ] {
        let error = block_on(store.append(wrong)).unwrap_err();
        assert!(
            matches!(&error, Error::Unavailable(text) if text.contains("does not follow the last event")),
            "{error}"
        );
    }
    let error = block_on(store.append(plain(9..10))).unwrap_err().to_string();
    assert!(error.contains("event 9 does not follow the last event 3"), "{error}");
    assert_eq!(store.read(0, 10).unwrap(), plain(1..4));
    block_on(store.append(plain(4..6))).unwrap();
}

#[test]
fn appends_that_wait_together_share_a_commit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    let store = Store::open(&path, Config::default()).unwrap();
    // Somebody holds SQLite's write lock, so the writer gets stuck in its first commit while the rest queues up.
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting: Vec<_> = (1..=200).map(|seq| store.append(plain(seq..seq + 1))).collect();
    other.execute_batch("ROLLBACK").unwrap();
    for append in waiting {
        block_on(append).unwrap();
    }
    assert_eq!(store.last_seq(), 200);
    assert!(store.stats().commits <= 200 / 2, "{:?}", store.stats());
    assert_eq!(store.read(0, 300).unwrap(), plain(1..201));
}

#[test]
fn sixty_four_concurrent_writers_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    let store = Arc::new(Store::open(&path, Config::default()).unwrap());
    let chain = Arc::new(std::sync::Mutex::new(chain()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for writer in 0..64 {
            let (store, chain) = (Arc::clone(&store), Arc::clone(&chain));
            tasks.push(tokio::spawn(async move {
                for n in 0..5 {
                    let append = {
                        let mut chain = chain.lock().unwrap();
                        let record = chain.next(house::draft(&format!("writer {writer}, {n}"))).unwrap();
                        store.append(vec![Entry { seq: record.seq, bytes: record.to_bytes() }])
                    };
                    append.await.unwrap();
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
    let stats = store.stats();
    assert_eq!(stats.entries, 320);
    assert!(stats.commits < 320, "no append shared a commit: {stats:?}");
    let report = verify(&path);
    assert_eq!((report.events, report.problem), (320, None));
}

#[test]
fn a_full_queue_refuses_instead_of_growing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    let store = Store::open(&path, Config { max_waiting: 4, ..Config::default() }).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting: Vec<_> = (1..=300).map(|seq| store.append(plain(seq..seq + 1))).collect();
    other.execute_batch("ROLLBACK").unwrap();
    let results: Vec<_> = waiting.into_iter().map(block_on).collect();
    let written = results.iter().take_while(|result| result.is_ok()).count();
    assert!((4..300).contains(&written), "{written}");
    let refused = results.iter().find_map(|result| result.as_ref().err()).unwrap();
    assert!(refused.to_string().contains("4 appends wait for the disk"), "{refused}");
    assert_eq!(store.last_seq(), written as u64);
}

#[test]
fn a_second_writer_is_told_who_has_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    let store = Store::open(&path, Config::default()).unwrap();
    let link = dir.path().join("other-name");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for name in [&path, &link] {
        let error = Store::open(name, Config::default()).unwrap_err().to_string();
        assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
        assert!(error.contains("shipshape down"), "{error}");
    }
    drop(store);
    Store::open(&path, Config::default()).unwrap();
}

#[test]
fn a_reader_sees_what_the_writer_commits_and_cannot_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    let store = Store::open(&path, Config::default()).unwrap();
    let reader = Reader::open(&path).unwrap();
    assert_eq!(reader.last_seq().unwrap(), 0);
    assert_eq!(reader.entries(0).count(), 0);
    let entries = records(1000);
    for batch in entries.chunks(100) {
        block_on(store.append(batch.to_vec())).unwrap();
        assert_eq!(reader.last_seq().unwrap(), batch.last().unwrap().seq);
    }
    assert_eq!(reader.entries(0).collect::<Result<Vec<_>, _>>().unwrap(), entries);
    assert_eq!(reader.entries(990).count(), 10);
    assert_eq!(reader.read(998, 10).unwrap(), entries[998..]);
    assert_eq!(verify(&path).events, 1000);
    drop(store);
    assert_eq!(Reader::open(&path).unwrap().last_seq().unwrap(), 1000);
}

#[test]
fn the_files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let store = Store::open(&path, Config::default()).unwrap();
    block_on(store.append(plain(1..2))).unwrap();
    let mut seen = 0;
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
        seen += 1;
    }
    assert_eq!(seen, 5, "the journal, -wal, -shm, .lock, .head");
}

#[test]
fn the_size_has_a_limit_that_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    let store = Store::open(&path, Config { max_bytes: 100_000, ..Config::default() }).unwrap();
    let big = |seq| vec![Entry { seq, bytes: vec![7; 10_000] }];
    let written = (1..100).take_while(|seq| block_on(store.append(big(*seq))).is_ok()).count() as u64;
    assert!((5..10).contains(&written), "{written}");
    let error = block_on(store.append(big(written + 1))).unwrap_err().to_string();
    assert!(error.contains("limit of 100000 bytes"), "{error}");
    drop(store);
    let store = Store::open(&path, Config::default()).unwrap();
    block_on(store.append(big(written + 1))).unwrap();
}

#[test]
fn what_is_not_our_journal_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("notes.txt");
    std::fs::write(&text, "these are my notes, and they are longer than SQLite's magic".repeat(20)).unwrap();
    let foreign = dir.path().join("foreign.db");
    rusqlite::Connection::open(&foreign)
        .unwrap()
        .execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1)")
        .unwrap();
    let newer = dir.path().join("newer.db");
    filled(&newer, 3);
    rusqlite::Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
    for (path, says, next) in [
        (&text, "is not a journal", "name another file, or restore a backup"),
        (&foreign, "not a journal of shipshape", "name another file, or restore a backup"),
        (&newer, "newer shipshape (format 99", "use the newer one"),
    ] {
        let before = std::fs::read(path).unwrap();
        let error = Store::open(path, Config::default()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        let error = Reader::open(path).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        let problem = verify(path).problem.unwrap();
        assert!(problem.what.contains(says), "{problem:?}");
        assert_eq!((problem.next.as_str(), problem.to_string()), (next, error));
        assert_eq!(std::fs::read(path).unwrap(), before);
    }
    let missing = dir.path().join("missing.db");
    assert!(Reader::open(&missing).unwrap_err().to_string().contains("there is no journal at"));
    assert!(!missing.exists());
    let nowhere = dir.path().join("no/such/dir/j");
    assert!(matches!(Store::open(&nowhere, Config::default()), Err(Error::Unavailable(_))));
    assert!(matches!(Store::open(dir.path(), Config::default()), Err(Error::Unavailable(_))));
}

#[test]
fn a_creation_that_was_killed_half_way_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    let bare = dir.path().join("bare");
    std::fs::write(&bare, "").unwrap();
    rusqlite::Connection::open(&bare).unwrap().pragma_update(None, "journal_mode", "WAL").unwrap();
    assert!(std::fs::metadata(&bare).unwrap().len() > 0);
    for path in [&empty, &bare] {
        std::fs::write(path.with_extension("lock"), "4711\n").unwrap();
        let store = Store::open(path, Config::default()).unwrap();
        block_on(store.append(plain(1..3))).unwrap();
        drop(store);
        assert_eq!(Reader::open(path).unwrap().last_seq().unwrap(), 2);
    }
}

#[test]
fn an_entry_can_be_neither_changed_nor_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    filled(&path, 3);
    let conn = rusqlite::Connection::open(&path).unwrap();
    for sql in ["DELETE FROM journal WHERE seq = 2", "UPDATE journal SET bytes = x'00'"] {
        assert!(conn.execute(sql, ()).unwrap_err().to_string().contains("append-only"));
    }
}
