//! What was flushed stays: a process that appends, flushes, makes blocks and lets go of old ones is killed with SIGKILL at any
//! moment, again and again, also twice in a row while it opens; and a disk that is full for a while loses nothing.
#![allow(clippy::unwrap_used, reason = "a test's way to fail")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use promql::{Labels, Point, Source, read};
use store::{Config, SeriesRef, Store};

const HOME: &str = "STORE_TEST_FOLDER";
const ROUNDS: u64 = 16;
const WORKERS: usize = 20;
const START: i64 = 1_700_000_000_000;
const STEP: i64 = 15_000;
/// A block each 40 rounds.
const SPAN: i64 = 40;
/// Rounds that are kept at least.
const KEPT: i64 = 5 * SPAN;

fn config() -> Config {
    let seconds = |rounds: i64| Duration::from_secs((rounds * STEP / 1000) as u64);
    let (span, longest) = (seconds(SPAN), seconds(2 * SPAN));
    Config { span, longest, retention: seconds(KEPT), ..Config::default() }
}

fn worker(number: usize) -> Labels {
    Labels::new([("__name__", "work_total".to_owned()), ("worker", number.to_string())])
}

/// One sample each: most series that the store knows are gone, and their places in it are used again.
fn job(round: i64) -> Labels {
    Labels::new([("__name__", "job_done".to_owned()), ("job", round.to_string())])
}

/// What the sample of a series in a round is: it can be told from its time.
fn point(number: usize, round: i64) -> Point {
    let part = if number.is_multiple_of(3) { 0.25 } else { 0.0 };
    Point { at: START + round * STEP, value: (round * (number as i64 + 3)) as f64 + part }
}

fn all(store: &Store, metric: &str) -> BTreeMap<Labels, Vec<Point>> {
    let promql::expr::Expr::Instant(selector) = read(metric).unwrap() else { panic!("a selector") };
    let series = store.select(&selector.matchers, i64::MIN, i64::MAX, usize::MAX).unwrap().series;
    series.into_iter().map(|series| (series.labels, series.points)).collect()
}

/// How many rounds there were, after looking that each series has all from the oldest to the newest, in order, once, with
/// the right values, and that no more of the old ones are gone than may be since the round `told`.
fn rounds(store: &Store, told: i64) -> i64 {
    let (workers, jobs) = (all(store, "work_total"), all(store, "job_done"));
    let Some(points) = workers.get(&worker(0)) else {
        assert!(workers.is_empty() && jobs.is_empty(), "a round is there for all series or for none");
        return 0;
    };
    let round = |point: &Point| (point.at - START) / STEP;
    let (oldest, newest) = (round(&points[0]), round(points.last().unwrap()));
    assert!(oldest == 0 || oldest <= newest.max(told) - KEPT, "{oldest} to {newest}, {told} told");
    for number in 0..WORKERS {
        let expected: Vec<Point> = (oldest..=newest).map(|round| point(number, round)).collect();
        assert_eq!(workers[&worker(number)], expected, "worker {number}");
    }
    assert_eq!(jobs.len() as i64, newest - oldest + 1);
    for round in oldest..=newest {
        assert_eq!(jobs[&job(round)], [point(0, round)], "job {round}");
    }
    newest + 1
}

fn append(store: &Store, round: i64) {
    let workers = (0..WORKERS).map(|number| (worker(number), point(number, round)));
    let samples: Vec<(SeriesRef, Point)> = workers
        .chain([(job(round), point(0, round))])
        .map(|(labels, point)| (store.series(&labels).unwrap(), point))
        .collect();
    assert_eq!(store.append(&samples).taken, samples.len());
}

/// Not a test of its own: the process that gets killed. Appends for ever, flushes and tidies, and says which rounds are durable
/// and which the disk did not take.
#[test]
fn helper_appends_until_killed() {
    let Some(folder) = std::env::var_os(HOME) else { return };
    let mut out = std::io::stdout();
    let mut say = |word: &str, round: i64| {
        writeln!(out, "\n{word} {round}").unwrap();
        out.flush().unwrap();
    };
    say("opening", 0);
    let store = Store::open(&PathBuf::from(folder), config()).unwrap();
    for round in rounds(&store, i64::MAX).. {
        append(&store, round);
        let kept = match round % 7 {
            0 => store.tidy(START + round * STEP),
            3 | 5 => store.flush(),
            _ => continue,
        };
        say(if kept.is_ok() { "flushed" } else { "refused" }, round);
    }
}

/// A running helper.
struct Helper {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    said: Said,
}

/// What a helper said, by the number of the round.
#[derive(Debug, Clone, Copy)]
struct Said {
    /// The last one that it called durable.
    durable: i64,
    /// The last one that it may have reached.
    told: i64,
}

impl Helper {
    fn start(folder: &Path) -> Self {
        let mut command = Command::new("sh");
        // A limit on the size of files stands for a full disk; its signal must not end the process, as a full disk would not.
        let mut child = command
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args(["helper_appends_until_killed", "--exact", "--nocapture"])
            .env(HOME, folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, said: Said { durable: -1, told: 0 } }
    }

    /// Waits until it has said so many lines that begin with this word.
    fn said(&mut self, word: &str, count: u64) {
        let mut left = count;
        while left > 0 {
            let line = self.lines.next().expect("the helper ended by itself").unwrap();
            self.note(&line);
            left -= u64::from(line.starts_with(word));
        }
    }

    fn note(&mut self, line: &str) {
        let durable = line.strip_prefix("flushed ");
        if let Some(round) = durable.or(line.strip_prefix("refused ")) {
            let round: i64 = round.parse().unwrap();
            // It is silent for a few.
            self.said.told = round + 7;
            if durable.is_some() {
                self.said.durable = round;
            }
        }
    }

    /// Kills it. What it said before its end counts.
    fn kill(mut self) -> Said {
        self.child.kill().unwrap();
        while let Some(line) = self.lines.next() {
            self.note(&line.unwrap());
        }
        self.child.wait().unwrap();
        self.said
    }

    fn limit(&self, bytes: &str) {
        let (pid, range) = (self.child.id().to_string(), format!("--fsize={bytes}:"));
        assert!(Command::new("prlimit").args(["--pid", &pid, &range]).status().unwrap().success());
    }
}

/// Nothing is damaged or left over.
fn look(folder: &Path, Said { durable, told }: Said) {
    let store = Store::open(folder, config()).unwrap();
    let kept = rounds(&store, told);
    assert!(kept > durable, "{kept} rounds, and {durable} was durable");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    assert!(!names.iter().any(|name| name.ends_with(".damaged")), "{names:?}");
}

#[test]
fn sigkill_loses_nothing_that_was_flushed_and_damages_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mut seed: u64 = 0x5eed;
    let mut durable = -1;
    for round in 0..ROUNDS {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut helper = Helper::start(home.path());
        helper.said("flushed", 1 + (seed >> 33) % 60);
        let mut last = helper.kill();
        assert!(last.durable > durable, "round {round}: the helper went on at {last:?} after {durable}");
        if round % 2 == 1 {
            // Once more while it comes back.
            let mut helper = Helper::start(home.path());
            helper.said("opening", 1);
            last.durable = helper.kill().durable.max(last.durable);
            last.told += 7;
        }
        look(home.path(), last);
        durable = last.durable;
    }
    let store = Store::open(home.path(), config()).unwrap();
    assert!(store.stats().blocks > 0, "{:?}", store.stats());
}

#[test]
fn a_disk_that_is_full_for_a_while_loses_nothing_even_when_it_ends_in_a_kill() {
    let home = tempfile::tempdir().unwrap();
    // Neither the list of series nor a block nor the log may grow beyond this: some records are cut off in the middle. And
    // what is durable right after has to stay, before a block takes the log's place.
    for (bytes, count, after) in
        [("9000", 3, 1), ("2000", 40, 1), ("0", 60, 1), ("5000", 5, 50), ("1000", 30, 0)]
    {
        let mut helper = Helper::start(home.path());
        helper.said("flushed", 50);
        helper.limit(bytes);
        helper.said("refused", count);
        if after > 0 {
            helper.limit("unlimited");
            helper.said("flushed", after);
        }
        look(home.path(), helper.kill());
    }
}
