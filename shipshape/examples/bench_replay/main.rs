//! How long control takes to come back on a long journal: the real binary on a journal of a million events, from its
//! start to its first answer, over a bare SQLite scan of the same table that reads every byte and looks at none. In
//! turns, so that a slow machine slows both. The journal is built by the rules themselves (`journal`).
//!
//! `bench_replay [EVENTS]`
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints its figures, and waits for another process"
)]

mod journal;

use std::error::Error;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::json;

const EVENTS: u64 = 1_000_000;
const ROUNDS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(120);

type Outcome<T> = Result<T, Box<dyn Error>>;

/// One turn of both.
struct Round {
    control: Duration,
    bare: Duration,
    memory: Memory,
}

/// Of control, in bytes.
struct Memory {
    peak: u64,
    resident: u64,
}

impl Round {
    fn ratio(&self) -> f64 {
        self.control.as_secs_f64() / self.bare.as_secs_f64()
    }
}

fn main() -> Outcome<()> {
    let events = std::env::args().nth(1).map_or(Ok(EVENTS), |word| word.parse())?;
    let binary = binary()?;
    // Beside the build: a journal of this size has no place in a folder for temporary files that may be memory.
    let home = tempfile::tempdir_in(Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"))?;
    let path = home.path().join("journal.db");
    let built = Instant::now();
    journal::build(&path, events)?;
    println!(
        "{events} events, {} MB, built in {:.1} s",
        fs::metadata(&path)?.len() >> 20,
        built.elapsed().as_secs_f64()
    );
    println!(
        "{:>5}  {:>9}  {:>9}  {:>10}  {:>6}  {:>8}",
        "round", "control s", "bare s", "events/s", "ratio", "peak MB"
    );
    let mut rounds = Vec::new();
    for number in 1..=ROUNDS {
        let bare = bare(&path)?;
        let (control, memory) = control(&binary, home.path())?;
        let round = Round { control, bare, memory };
        println!(
            "{number:>5}  {:>9.2}  {:>9.2}  {:>10.0}  {:>6.1}  {:>8}",
            control.as_secs_f64(),
            bare.as_secs_f64(),
            events as f64 / control.as_secs_f64(),
            round.ratio(),
            round.memory.peak >> 20
        );
        rounds.push(round);
    }
    rounds.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    let median = &rounds[ROUNDS / 2];
    println!(
        "{}",
        json!({"bench": "replay", "figure": "control's first answer over a bare scan of the same journal",
            "ratio": median.ratio(), "lowest": rounds[0].ratio(), "highest": rounds[ROUNDS - 1].ratio(),
            "events": events, "seconds": median.control.as_secs_f64(),
            "eventsPerSecond": events as f64 / median.control.as_secs_f64(),
            "peakBytes": median.memory.peak, "residentBytes": median.memory.resident, "bar": "none"})
    );
    Ok(())
}

/// Starts control, and ends it when it has answered once.
fn control(binary: &Path, home: &Path) -> Outcome<(Duration, Memory)> {
    let begun = Instant::now();
    let mut child = Command::new(binary)
        .args(["control", "--home"])
        .arg(home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let answered = first_answer(&mut child, &home.join("control.sock"));
    let took = begun.elapsed();
    let memory = memory(child.id());
    child.kill()?;
    child.wait()?;
    answered?;
    Ok((took, memory?))
}

fn first_answer(child: &mut Child, socket: &Path) -> Outcome<()> {
    let begun = Instant::now();
    loop {
        // Refused and missing alike: it is not that far yet. A socket left behind by the round before refuses.
        if let Ok(mut stream) = UnixStream::connect(socket) {
            stream.write_all(b"GET /v1/health HTTP/1.1\r\nHost: control\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            return if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(answer.into()) };
        }
        if let Some(status) = child.try_wait()? {
            return Err(format!("control ended ({status}) before it answered").into());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("control has not answered in {PATIENCE:?}").into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn memory(pid: u32) -> Outcome<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() * 1024
    };
    Ok(Memory { peak: bytes("VmHWM:"), resident: bytes("VmRSS:") })
}

/// Reads every byte of the journal's table.
fn bare(path: &Path) -> Outcome<Duration> {
    let conn = Connection::open(path)?;
    let begun = Instant::now();
    let mut select = conn.prepare("SELECT seq, bytes FROM journal ORDER BY seq")?;
    let mut rows = select.query(())?;
    let (mut last, mut sum) = (0_i64, 0_u64);
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        sum += row.get_ref(1)?.as_blob()?.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    }
    std::hint::black_box((last, sum));
    Ok(begun.elapsed())
}

/// The product, built beside this program.
fn binary() -> Outcome<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.ancestors().find(|folder| folder.join("shipshape").is_file());
    Ok(folder.ok_or("shipshape is not built: `cargo xtask bench replay` does both")?.join("shipshape"))
}
