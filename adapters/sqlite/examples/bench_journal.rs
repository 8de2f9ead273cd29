//! How much of the disk's speed the journal passes on: durable appends per second by 64 writers that wait for each
//! answer, over those of a bare SQLite loop that commits 64 rows at a time with the same settings. Both run in turns on
//! the same disk in the same minute. Not here: what an entry means, and reading.
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ports::Journal;
use ports::journal::Entry;
use rusqlite::Connection;
use sqlite::{Config, Store};

const WRITERS: usize = 64;
const APPENDS_PER_WRITER: usize = 150;
const APPENDS: usize = WRITERS * APPENDS_PER_WRITER;
const ENTRY_BYTES: usize = 512;
const ROUNDS: usize = 5;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// One turn of both.
struct Round {
    /// Appends per second of the journal.
    ours: f64,
    /// Appends per second of the bare loop.
    bare: f64,
    /// Appends that shared a commit in the journal, on average.
    group: f64,
}

impl Round {
    fn ratio(&self) -> f64 {
        self.ours / self.bare
    }
}

fn main() -> Outcome<()> {
    // Beside the build, not in the folder for temporary files: that may be memory, where durability costs nothing.
    let disk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    let mut rounds = Vec::new();
    println!(
        "{:>5}  {:>12}  {:>12}  {:>10}  {:>5}",
        "round", "journal 1/s", "bare 1/s", "per commit", "ratio"
    );
    for number in 1..=ROUNDS {
        let folder = tempfile::tempdir_in(&disk)?;
        let bare = bare(&folder.path().join("bare"))?;
        let (ours, group) = runtime.block_on(ours(&folder.path().join("journal")))?;
        let round = Round { ours, bare, group };
        println!("{number:>5}  {ours:>12.0}  {bare:>12.0}  {group:>10.1}  {:>5.2}", round.ratio());
        rounds.push(round);
    }
    rounds.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    let median = &rounds[ROUNDS / 2];
    println!(
        "{{\"bench\":\"journal\",\"figure\":\"durable appends by {WRITERS} writers over a bare group commit\",\
         \"ratio\":{:.3},\"lowest\":{:.3},\"highest\":{:.3},\"appends_per_commit\":{:.1}}}",
        median.ratio(),
        rounds[0].ratio(),
        rounds[ROUNDS - 1].ratio(),
        median.group,
    );
    Ok(())
}

/// Appends per second through the journal, and how many shared a commit.
async fn ours(path: &Path) -> Outcome<(f64, f64)> {
    let store = Arc::new(Store::open(path, Config::default())?);
    let last_seq = Arc::new(Mutex::new(0_u64));
    let start = Instant::now();
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (store, last_seq) = (Arc::clone(&store), Arc::clone(&last_seq));
            tokio::spawn(async move {
                for _ in 0..APPENDS_PER_WRITER {
                    // The journal wants its numbers in order: number and queue under one lock, wait outside.
                    let durable = {
                        let mut last_seq = last_seq.lock().unwrap_or_else(PoisonError::into_inner);
                        *last_seq += 1;
                        store.append(vec![Entry { seq: *last_seq, bytes: vec![b'x'; ENTRY_BYTES] }])
                    };
                    durable.await?;
                }
                Outcome::Ok(())
            })
        })
        .collect();
    for writer in writers {
        writer.await??;
    }
    let took = start.elapsed().as_secs_f64();
    let stats = store.stats();
    if stats.entries != APPENDS as u64 {
        return Err(format!("{} of {APPENDS} appends are in the journal", stats.entries).into());
    }
    Ok((APPENDS as f64 / took, APPENDS as f64 / stats.commits.max(1) as f64))
}

/// Appends per second of one loop that inserts as many rows as there are writers, commits, and goes on.
fn bare(path: &Path) -> Outcome<f64> {
    let conn = Connection::open(path)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.execute_batch("CREATE TABLE journal (seq INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT")?;
    let bytes = vec![b'x'; ENTRY_BYTES];
    let start = Instant::now();
    let mut seq = 0_i64;
    let mut insert = conn.prepare("INSERT INTO journal (seq, bytes) VALUES (?1, ?2)")?;
    for _ in 0..APPENDS_PER_WRITER {
        conn.execute_batch("BEGIN IMMEDIATE")?;
        for _ in 0..WRITERS {
            seq += 1;
            insert.execute((seq, &bytes))?;
        }
        conn.execute_batch("COMMIT")?;
    }
    Ok(APPENDS as f64 / start.elapsed().as_secs_f64())
}
