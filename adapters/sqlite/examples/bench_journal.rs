//! How much of the disk's speed the journal passes on: durable appends per second by 64 writers that wait for each
//! answer, over those of a bare SQLite loop that commits 64 rows at a time with the same settings. Not here: what an
//! entry means, and reading.
//!
//! A disk's time for making things durable swings several times over within seconds, so the two take turns that are
//! much shorter than that, each first in every second turn, and the figure is the median of the turns' ratios. The
//! quarters beside it say how much a single turn is worth.
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
/// Appends of each writer in a turn: as many commits of the bare loop.
const APPENDS_PER_WRITER: usize = 20;
const APPENDS: usize = WRITERS * APPENDS_PER_WRITER;
const ENTRY_BYTES: usize = 512;
const TURNS: usize = 101;
const BAR: f64 = 0.7;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Appends per second in one turn.
struct Turn {
    ours: f64,
    bare: f64,
}

impl Turn {
    fn ratio(&self) -> f64 {
        self.ours / self.bare
    }
}

fn main() -> Outcome<()> {
    // Beside the build, not in the folder for temporary files: that may be memory, where durability costs nothing.
    let folder = tempfile::tempdir_in(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    let store = Arc::new(Store::open(&folder.path().join("journal"), Config::default())?);
    let bare_loop = open_bare(&folder.path().join("bare"))?;
    let mut turns = Vec::new();
    println!("{:>5}  {:>12}  {:>12}  {:>5}", "turn", "journal 1/s", "bare 1/s", "ratio");
    for number in 0..=TURNS {
        let first = (number % 2 == 0).then(|| bare(&bare_loop)).transpose()?;
        let ours = runtime.block_on(ours(&store))?;
        let turn = Turn { ours, bare: first.map_or_else(|| bare(&bare_loop), Ok)? };
        // The first turn makes the files.
        if number > 0 {
            if number % 10 == 1 {
                println!("{number:>5}  {ours:>12.0}  {:>12.0}  {:>5.2}", turn.bare, turn.ratio());
            }
            turns.push(turn);
        }
    }
    let stats = store.stats();
    let mut ratios: Vec<f64> = turns.iter().map(Turn::ratio).collect();
    let mut bares: Vec<f64> = turns.iter().map(|turn| turn.bare).collect();
    ratios.sort_by(f64::total_cmp);
    bares.sort_by(f64::total_cmp);
    let median = ratios[TURNS / 2];
    println!(
        "{{\"bench\":\"journal\",\"figure\":\"durable appends by {WRITERS} writers over a bare group commit\",\
         \"ratio\":{median:.3},\"bar\":\"at least {BAR}\",\"met\":{},\"lower_quarter\":{:.3},\"upper_quarter\":{:.3},\
         \"bare_per_second\":{:.0},\"bare_lowest\":{:.0},\"bare_highest\":{:.0},\"appends_per_commit\":{:.1}}}",
        median >= BAR,
        ratios[TURNS / 4],
        ratios[TURNS * 3 / 4],
        bares[TURNS / 2],
        bares[0],
        bares[TURNS - 1],
        stats.entries as f64 / stats.commits.max(1) as f64,
    );
    Ok(())
}

/// Appends per second through the journal.
async fn ours(store: &Arc<Store>) -> Outcome<f64> {
    let before = store.last_seq();
    let last_seq = Arc::new(Mutex::new(before));
    let start = Instant::now();
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (store, last_seq) = (Arc::clone(store), Arc::clone(&last_seq));
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
    let written = store.last_seq() - before;
    if written != APPENDS as u64 {
        return Err(format!("{written} of {APPENDS} appends are in the journal").into());
    }
    Ok(APPENDS as f64 / took)
}

fn open_bare(path: &Path) -> Outcome<Connection> {
    let conn = Connection::open(path)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.execute_batch("CREATE TABLE journal (seq INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT")?;
    Ok(conn)
}

/// Appends per second of one loop that inserts as many rows as there are writers, commits, and goes on.
fn bare(conn: &Connection) -> Outcome<f64> {
    let bytes = vec![b'x'; ENTRY_BYTES];
    let start = Instant::now();
    let mut insert = conn.prepare("INSERT INTO journal (bytes) VALUES (?1)")?;
    for _ in 0..APPENDS_PER_WRITER {
        conn.execute_batch("BEGIN IMMEDIATE")?;
        for _ in 0..WRITERS {
            insert.execute([&bytes])?;
        }
        conn.execute_batch("COMMIT")?;
    }
    Ok(APPENDS as f64 / start.elapsed().as_secs_f64())
}
