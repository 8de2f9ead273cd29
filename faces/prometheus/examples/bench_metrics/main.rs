//! What metrics cost: taking them in, keeping them, asking, and coming back after a kill. Beside a real Prometheus where the
//! environment's `PROMETHEUS` names the program of one (`promtool` beside it): the same pages, samples and questions, in
//! the same minute.
//!
//! `cargo xtask bench metrics`; `METRICS=size,query` runs only those parts.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its figures")]
#![allow(clippy::disallowed_methods, reason = "other processes are looked at now and then")]

mod child;
mod disk;
mod ingest;
mod pages;
mod query;
mod restart;
mod rival;
mod world;

use std::error::Error;
use std::path::Path;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Between two samples of a series, in milliseconds.
pub(crate) const STEP: i64 = 15_000;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((verb, rest)) = arguments.split_first() {
        return child::main(verb, rest);
    }
    let wanted = std::env::var("METRICS").unwrap_or_else(|_| "ingest,size,query,restart".to_owned());
    if rival::program().is_none() {
        eprintln!("PROMETHEUS names no program: nothing is compared");
    }
    // Beside the build, not in the folder for temporary files: that may be memory.
    let folder = tempfile::tempdir_in(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"))?;
    for part in wanted.split(',') {
        let folder = folder.path().join(part);
        std::fs::create_dir(&folder)?;
        match part {
            "ingest" => ingest::run(&folder)?,
            "size" => disk::run(&folder)?,
            "query" => query::run(&folder)?,
            "restart" => restart::run(&folder)?,
            other => return Err(format!("{other:?} is no part of this").into()),
        }
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(())
}

/// The middle one; they get sorted.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Now, in milliseconds since 1970.
pub(crate) fn now() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Seconds that this thread has had the processor.
pub(crate) fn thread_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// One figure, as a line of JSON: numbers to three decimals, and whether the bar is met where there is one.
pub(crate) fn figure(name: &str, fields: &[(&str, f64)], bar: Option<(f64, bool)>) {
    let mut line = format!("{{\"bench\":\"metrics\",\"figure\":\"{name}\"");
    for (name, value) in fields {
        let decimals = if value.abs() >= 1000.0 { 0 } else { 3 };
        line.push_str(&format!(",\"{name}\":{value:.decimals$}"));
    }
    if let Some((bar, met)) = bar {
        line.push_str(&format!(",\"bar\":{bar},\"met\":{met}"));
    }
    println!("{line}}}");
}
