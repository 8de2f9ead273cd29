//! What the store keeps: everything that was flushed, through crashes, damage, retention and its limits.
#![allow(clippy::unwrap_used, reason = "a test's way to fail")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use promql::{Labels, Point, Query, Source, Value, evaluate, read};
use proptest::prelude::*;
use store::{Config, Refused, SeriesRef, Store};
use tempfile::TempDir;

const MINUTE: i64 = 60_000;
const START: i64 = 1_700_000_000_000;

fn labels(name: &str, number: usize) -> Labels {
    Labels::new([("__name__", name.to_owned()), ("instance", format!("i{number}"))])
}

fn small() -> Config {
    Config { span: Duration::from_secs(3600), ..Config::default() }
}

fn all(store: &Store) -> BTreeMap<Labels, Vec<(i64, u64)>> {
    let promql::expr::Expr::Instant(selector) = read("{__name__=~\".+\"}").unwrap() else {
        panic!("a selector")
    };
    let series = store.select(&selector.matchers, i64::MIN, i64::MAX, usize::MAX).unwrap().series;
    let bits = |points: Vec<Point>| points.iter().map(|point| (point.at, point.value.to_bits())).collect();
    series.into_iter().map(|series| (series.labels, bits(series.points))).collect()
}

fn copied(from: &Path) -> TempDir {
    let to = TempDir::new().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
    }
    to
}

/// Appends a sample a minute to each of `count` series.
fn fill(store: &Store, count: usize, minutes: std::ops::Range<i64>) {
    let series: Vec<SeriesRef> =
        (0..count).map(|it| store.series(&labels("requests_total", it)).unwrap()).collect();
    for minute in minutes {
        let at = START + minute * MINUTE;
        let value = |it: usize| (minute * (it as i64 + 1)) as f64;
        let samples: Vec<(SeriesRef, Point)> =
            series.iter().enumerate().map(|(it, series)| (*series, Point { at, value: value(it) })).collect();
        assert_eq!(store.append(&samples).taken, count);
    }
}

#[test]
fn what_was_flushed_is_there_after_a_crash_at_any_byte_of_the_log() {
    let home = TempDir::new().unwrap();
    let store = Store::open(home.path(), small()).unwrap();
    fill(&store, 3, 0..10);
    store.flush().unwrap();
    let flushed = all(&store);
    fill(&store, 3, 10..20);
    let everything = all(&store);
    store.flush().unwrap();

    let log = fs::read_dir(home.path()).unwrap().map(|it| it.unwrap().path());
    let log =
        log.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("log-")).max().unwrap();
    let length = fs::metadata(&log).unwrap().len();
    let mut whole = 0;
    for cut in (0..=length).rev().step_by(7) {
        let crashed = copied(home.path());
        let log = crashed.path().join(log.file_name().unwrap());
        fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(cut).unwrap();
        let again = Store::open(crashed.path(), small()).unwrap();
        let kept = all(&again);
        for (labels, points) in &kept {
            assert!(everything[labels].starts_with(points), "cut at {cut}");
        }
        whole += usize::from(kept == flushed || kept == everything);
        // It takes samples again at once.
        let last = kept.values().flatten().map(|(at, _)| *at).max().unwrap_or(START);
        let series = again.series(&labels("requests_total", 0)).unwrap();
        assert_eq!(again.append(&[(series, Point { at: last + MINUTE, value: 1e6 })]).taken, 1);
    }
    assert!(whole >= 1);
}

#[test]
fn stretches_become_blocks_and_nothing_changes_for_a_query() {
    let home = TempDir::new().unwrap();
    let store = Store::open(home.path(), small()).unwrap();
    for hour in 0..6 {
        fill(&store, 20, hour * 60..hour * 60 + 60);
        let before = all(&store);
        store.tidy(START).unwrap();
        assert_eq!(all(&store), before, "hour {hour}");
    }
    assert!(store.stats().blocks >= 4, "{:?}", store.stats());
    let before = all(&store);
    drop(store);
    let store = Store::open(home.path(), small()).unwrap();
    assert_eq!(all(&store), before);
    let query = read("sum(increase(requests_total[2h]))").unwrap();
    let at = Query::Instant(START + 359 * MINUTE);
    let Value::Vector(samples) = evaluate(&store, &query, at, &promql::Options::default()).unwrap().value
    else {
        panic!("a vector");
    };
    // Each series i grows by i + 1 a minute.
    assert!((samples[0].point.value - 120.0 * 210.0).abs() < 1e-6, "{samples:?}");
}

#[test]
fn a_crash_while_a_block_is_made_loses_and_doubles_nothing() {
    let home = TempDir::new().unwrap();
    let store = Store::open(home.path(), small()).unwrap();
    fill(&store, 5, 0..130);
    store.flush().unwrap();
    let before = all(&store);
    let crashed = copied(home.path());
    store.tidy(START).unwrap();
    // The block is there, and the log is still the old one.
    for entry in fs::read_dir(home.path()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_str().unwrap().starts_with("block-") {
            fs::copy(entry.path(), crashed.path().join(entry.file_name())).unwrap();
        }
    }
    fs::write(crashed.path().join("block-half.new"), b"half").unwrap();
    let again = Store::open(crashed.path(), small()).unwrap();
    assert_eq!(all(&again), before);
    assert!(again.stats().blocks >= 1);
}

#[test]
fn a_damaged_block_is_set_aside_and_the_rest_serves() {
    let home = TempDir::new().unwrap();
    let store = Store::open(home.path(), small()).unwrap();
    fill(&store, 2, 0..300);
    store.tidy(START).unwrap();
    drop(store);
    let block = fs::read_dir(home.path()).unwrap().map(|it| it.unwrap().path());
    let block = block.filter(|path| path.to_str().unwrap().contains("block-")).min().unwrap();
    let mut bytes = fs::read(&block).unwrap();
    // In the index, which stands before the last forty bytes.
    let middle = bytes.len() - 42;
    bytes[middle] ^= 0x10;
    fs::write(&block, bytes).unwrap();
    let store = Store::open(home.path(), small()).unwrap();
    assert!(!block.exists() && block.with_extension("damaged").exists());
    assert!(all(&store).values().all(|points| points.len() < 300 && !points.is_empty()));
}

#[test]
fn more_series_than_allowed_are_refused_and_the_others_live() {
    let home = TempDir::new().unwrap();
    let store = Store::open(home.path(), Config { max_series: 3, ..small() }).unwrap();
    fill(&store, 3, 0..2);
    assert_eq!(store.series(&labels("requests_total", 3)), Err(Refused::TooManySeries(3)));
    fill(&store, 3, 2..4);
    assert_eq!(store.stats().refused, 1);
    assert!(matches!(store.series(&Labels::new([("a", "b")])), Err(Refused::Labels(_))));
    let bomb = labels("x", 0).with("text", &"x".repeat(5000));
    assert!(store.series(&bomb).unwrap_err().to_string().contains("2048"));
}

#[test]
fn samples_that_do_not_follow_are_refused_by_kind() {
    let home = TempDir::new().unwrap();
    let store = Store::open(home.path(), small()).unwrap();
    let series = store.series(&labels("up", 0)).unwrap();
    let at = |minute: i64, value: f64| (series, Point { at: START + minute * MINUTE, value });
    let appended = store.append(&[at(5, 1.0), at(5, 1.0), at(5, 2.0), at(4, 1.0), at(6, f64::NAN)]);
    assert_eq!((appended.taken, appended.known, appended.contradicting, appended.out_of_order), (2, 1, 1, 1));
    fill(&store, 1, 6..200);
    store.tidy(START).unwrap();
    let late = store.series(&labels("late", 0)).unwrap();
    assert_eq!(store.append(&[(late, Point { at: START, value: 1.0 })]).too_old, 1);
}

#[test]
fn what_waits_for_the_disk_has_a_limit() {
    let home = TempDir::new().unwrap();
    let store = Store::open(home.path(), Config { max_waiting_bytes: 500, ..small() }).unwrap();
    let series = store.series(&labels("up", 0)).unwrap();
    let append = |minute| store.append(&[(series, Point { at: START + minute * MINUTE, value: 1.0 })]);
    let refused = (0..100).find(|minute| append(*minute).no_room == 1).unwrap();
    assert!(refused > 5, "{refused}");
    store.flush().unwrap();
    assert_eq!(append(refused).taken, 1);
}

#[test]
fn old_blocks_go_and_their_series_with_them() {
    let home = TempDir::new().unwrap();
    let config = Config { retention: Duration::from_secs(3 * 3600), ..small() };
    let store = Store::open(home.path(), config.clone()).unwrap();
    for day in 0..5 {
        for it in 0..10 {
            let series = store.series(&labels("pod", day * 10 + it)).unwrap();
            for minute in 0..180 {
                let at = START + (day as i64 * 180 + minute) * MINUTE;
                store.append(&[(series, Point { at, value: 1.0 })]);
            }
        }
        store.tidy(START + (day as i64 + 1) * 180 * MINUTE).unwrap();
    }
    let stats = store.stats();
    assert!(stats.series <= 30, "{stats:?}");
    let known = all(&store);
    drop(store);
    let store = Store::open(home.path(), config).unwrap();
    assert_eq!(all(&store), known);
    // A number is never given again: the new series has none of the old samples.
    let fresh = store.series(&labels("fresh", 0)).unwrap();
    store.append(&[(fresh, Point { at: START + 10_000 * MINUTE, value: 7.0 })]);
    assert_eq!(all(&store)[&labels("fresh", 0)].len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_store_is_a_map_of_what_it_took(
        steps in prop::collection::vec((0usize..6, 0i64..90, -50.0f64..50.0, 0u8..12), 1..200),
    ) {
        let home = TempDir::new().unwrap();
        let mut store = Store::open(home.path(), small()).unwrap();
        let mut model: BTreeMap<Labels, Vec<(i64, u64)>> = BTreeMap::new();
        let mut clock = START;
        for (number, minutes, value, act) in steps {
            let labels = labels("m", number);
            let series = store.series(&labels).unwrap();
            clock += minutes * MINUTE / 3;
            let value = if act % 2 == 0 { value.trunc() } else { value };
            if store.append(&[(series, Point { at: clock, value })]).taken == 1 {
                model.entry(labels).or_default().push((clock, value.to_bits()));
            }
            if act == 0 {
                store.tidy(START).unwrap();
            }
            if act == 1 {
                store.flush().unwrap();
                drop(store);
                store = Store::open(home.path(), small()).unwrap();
            }
        }
        prop_assert_eq!(all(&store), model);
    }
}
