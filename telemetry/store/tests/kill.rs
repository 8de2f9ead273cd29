//! What was flushed stays: a process that appends, flushes and makes blocks is killed with SIGKILL at any moment, again and
//! again, also twice in a row while it opens; and a disk that is full for a while.
#![allow(clippy::unwrap_used, reason = "a test's way to fail")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use promql::{Labels, Point, Source, read};
use store::{Config, SeriesRef, Store};

const HOME: &str = "STORE_TEST_FOLDER";
const ROUNDS: u64 = 16;
const SERIES: usize = 20;
const START: i64 = 1_700_000_000_000;
const STEP: i64 = 15_000;

fn config() -> Config {
    // A block each 40 samples.
    Config { span: Duration::from_secs(600), retention: Duration::from_secs(1 << 30), ..Config::default() }
}

fn labels(number: usize) -> Labels {
    Labels::new([("__name__", "work_total".to_owned()), ("worker", number.to_string())])
}

/// What the sample of a series in a round holds: it can be told from its time.
fn value(number: usize, round: i64) -> f64 {
    (round * (number as i64 + 3)) as f64 + if number.is_multiple_of(3) { 0.25 } else { 0.0 }
}

fn all(store: &Store) -> BTreeMap<Labels, Vec<Point>> {
    let promql::expr::Expr::Instant(selector) = read("work_total").unwrap() else { panic!("a selector") };
    let series = store.select(&selector.matchers, i64::MIN, i64::MAX, usize::MAX).unwrap();
    series.into_iter().map(|series| (series.labels, series.points)).collect()
}

/// How many rounds there are, after looking that each series has all of them, in order, once, with the right values.
fn rounds(store: &Store) -> i64 {
    let kept = all(store);
    let longest = kept.values().map(Vec::len).max().unwrap_or(0);
    for number in 0..if longest == 0 { 0 } else { SERIES } {
        let points = &kept[&labels(number)];
        // A round is one record: it is there for all series or for none.
        assert_eq!(points.len(), longest, "worker {number}");
        for (round, point) in points.iter().enumerate() {
            let expected = Point { at: START + round as i64 * STEP, value: value(number, round as i64) };
            assert_eq!(*point, expected, "worker {number}");
        }
    }
    longest as i64
}

fn append(store: &Store, round: i64) {
    let point = |number| Point { at: START + round * STEP, value: value(number, round) };
    let samples: Vec<(SeriesRef, Point)> =
        (0..SERIES).map(|number| (store.series(&labels(number)).unwrap(), point(number))).collect();
    assert_eq!(store.append(&samples).taken, SERIES);
}

/// Not a test of its own: the process that gets killed. Appends for ever, flushes and tidies, and says which round is durable.
#[test]
fn helper_appends_until_killed() {
    let Some(folder) = std::env::var_os(HOME) else { return };
    let mut out = std::io::stdout();
    writeln!(out, "\nopening").unwrap();
    out.flush().unwrap();
    let store = Store::open(&PathBuf::from(folder), config()).unwrap();
    for round in rounds(&store).. {
        append(&store, round);
        match round % 7 {
            0 => store.tidy(START).unwrap(),
            3 | 5 => store.flush().unwrap(),
            _ => continue,
        }
        writeln!(out, "\nflushed {round}").unwrap();
        out.flush().unwrap();
    }
}

fn start(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["helper_appends_until_killed", "--exact", "--nocapture"])
        .env(HOME, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills the helper once it has said so many lines that begin with `word`, and returns the last round that it called durable.
fn kill_after(mut child: Child, word: &str, count: u64) -> Option<i64> {
    let (mut seen, mut last) = (0, None);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some(round) = line.strip_prefix("flushed ") {
            last = Some(round.parse().unwrap());
        }
        if line.starts_with(word) {
            seen += 1;
            if seen == count {
                child.kill().unwrap();
            }
        }
    }
    let status = child.wait().unwrap();
    assert!(seen >= count, "the helper ended by itself: {status}");
    last
}

#[test]
fn sigkill_loses_nothing_that_was_flushed_and_damages_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mut seed: u64 = 0x5eed;
    let mut durable = -1;
    for round in 0..ROUNDS {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let last = kill_after(start(home.path()), "flushed ", 1 + (seed >> 33) % 60).unwrap();
        assert!(last > durable, "round {round}: the helper went on at {last} after {durable}");
        durable = last;
        if round % 2 == 1 {
            // Once more while it comes back.
            kill_after(start(home.path()), "opening", 1);
        }
        let store = Store::open(home.path(), config()).unwrap();
        let kept = rounds(&store);
        assert!(kept > durable, "round {round}: {kept} rounds, and {durable} was durable");
        let names = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        assert!(!names.iter().any(|name| name.ends_with(".damaged")), "round {round}: {names:?}");
    }
    let store = Store::open(home.path(), config()).unwrap();
    assert!(store.stats().blocks > 0, "{:?}", store.stats());
}
