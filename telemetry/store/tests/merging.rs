//! Many blocks become one, and nothing changes for whoever asks: also when the process is killed in between, once or twice,
//! and when a part of them is damaged.
#![allow(clippy::unwrap_used, reason = "a test's way to fail")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use promql::{Labels, Options, Point, Query, Selected, Source, evaluate, read};
use store::{Config, SeriesRef, Store};
use tempfile::TempDir;

const MINUTE: i64 = 60_000;
/// The beginning of a day.
const START: i64 = 1_699_920_000_000;
const SERIES: usize = 70;

type Samples = BTreeMap<Labels, Vec<(i64, u64)>>;

fn merging() -> Config {
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    Config { span: hours(1), longest: hours(12), retention: hours(24 * 30), ..Config::default() }
}

/// The same without merging.
fn apart() -> Config {
    Config { longest: Duration::from_secs(3600), ..merging() }
}

fn selected(store: &Store) -> Selected {
    let promql::expr::Expr::Instant(selector) = read("{__name__=~\".+\"}").unwrap() else {
        panic!("a selector")
    };
    store.select(&selector.matchers, i64::MIN, i64::MAX, usize::MAX).unwrap()
}

fn all(store: &Store) -> Samples {
    let Selected { series, warnings } = selected(store);
    assert_eq!(warnings, Vec::<String>::new());
    let bits = |points: Vec<Point>| points.iter().map(|point| (point.at, point.value.to_bits())).collect();
    series.into_iter().map(|series| (series.labels, bits(series.points))).collect()
}

/// Some series that are always there, some that come and go, on their own times.
fn fill(store: &Store, minutes: std::ops::Range<i64>) {
    let named = |name: &str, number: usize| {
        let labels = Labels::new([("__name__", name.to_owned()), ("number", number.to_string())]);
        store.series(&labels).unwrap()
    };
    let always: Vec<SeriesRef> = (0..SERIES).map(|it| named("always", it)).collect();
    for minute in minutes {
        let at = START + minute * MINUTE;
        let point = |it: usize| Point { at, value: minute as f64 / 4.0 + it as f64 };
        let mut samples: Vec<_> =
            always.iter().enumerate().map(|(it, series)| (*series, point(it))).collect();
        let pod = usize::try_from(minute / 90).unwrap();
        samples.push((named("pod", pod), Point { at: at + 7, value: 0.1 * minute as f64 }));
        assert_eq!(store.append(&samples).taken, samples.len());
    }
}

fn blocks(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut blocks: Vec<PathBuf> = paths.filter(|path| name(path).starts_with("block-")).collect();
    blocks.sort();
    blocks
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn copied(from: &Path) -> TempDir {
    let to = TempDir::new().unwrap();
    fs::read_dir(from).unwrap().for_each(|entry| {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
    });
    to
}

/// A folder with a block for each hour, and what is in it.
fn a_day() -> (TempDir, Samples) {
    let home = TempDir::new().unwrap();
    let store = Store::open(home.path(), apart()).unwrap();
    for hour in 0..26 {
        fill(&store, hour * 60..hour * 60 + 60);
        store.tidy(START).unwrap();
    }
    let samples = all(&store);
    drop(store);
    assert!(blocks(home.path()).len() >= 24, "{:?}", blocks(home.path()));
    (home, samples)
}

#[test]
fn a_day_of_hours_becomes_two_blocks_and_no_query_sees_it() {
    let (home, samples) = a_day();
    let bytes =
        |folder: &Path| -> u64 { blocks(folder).iter().map(|path| fs::metadata(path).unwrap().len()).sum() };
    let before = bytes(home.path());
    let store = Store::open(home.path(), merging()).unwrap();
    store.tidy(START).unwrap();
    assert_eq!(all(&store), samples);
    let names: Vec<String> = blocks(home.path()).iter().map(|path| name(path)).collect();
    assert!(names.len() <= 4 && names.len() == store.stats().blocks, "{names:?}");
    assert!(bytes(home.path()) < before * 3 / 4, "{} of {before}", bytes(home.path()));
    // What has become one stays so, and what comes later is merged with its own.
    store.tidy(START).unwrap();
    assert_eq!(blocks(home.path()).iter().map(|path| name(path)).collect::<Vec<_>>(), names);
    drop(store);
    let store = Store::open(home.path(), merging()).unwrap();
    assert_eq!(all(&store), samples);
    fill(&store, 26 * 60..50 * 60);
    let samples = all(&store);
    store.tidy(START).unwrap();
    assert_eq!(all(&store), samples);
    assert!(store.stats().blocks <= 6, "{:?}", blocks(home.path()));
}

#[test]
fn a_store_that_closes_gives_up_merging_and_keeps_everything() {
    let (home, samples) = a_day();
    let parts = blocks(home.path());
    let store = Store::open(home.path(), merging()).unwrap();
    store.close().unwrap();
    store.tidy(START).unwrap();
    assert_eq!(all(&store), samples);
    assert_eq!(blocks(home.path()), parts);
}

#[test]
fn killed_at_any_step_of_merging_a_store_has_every_sample_once() {
    let (home, samples) = a_day();
    let merged = copied(home.path());
    let store = Store::open(merged.path(), merging()).unwrap();
    store.tidy(START).unwrap();
    drop(store);
    let parts = blocks(home.path());
    let fresh: Vec<PathBuf> =
        blocks(merged.path()).into_iter().filter(|path| !home.path().join(name(path)).exists()).collect();
    assert_eq!(fresh.len(), 2, "{fresh:?}");
    for block in &fresh {
        // While it is written.
        let crashed = copied(home.path());
        let half = fs::read(block).unwrap();
        fs::write(crashed.path().join(name(block)).with_extension("new"), &half[..half.len() / 2]).unwrap();
        assert_eq!(all(&Store::open(crashed.path(), apart()).unwrap()), samples);
        assert_eq!(blocks(crashed.path()).len(), parts.len());
        // When it has its name, and after each of its parts that went.
        for gone in 0..=parts.len() {
            let crashed = copied(home.path());
            fs::copy(block, crashed.path().join(name(block))).unwrap();
            let held: Vec<&PathBuf> = parts.iter().filter(|part| within(part, block)).collect();
            if gone > held.len() {
                break;
            }
            for part in &held[..gone] {
                fs::remove_file(crashed.path().join(name(part))).unwrap();
            }
            // Killed once more, in the middle of the mending.
            let again = copied(crashed.path());
            if let Some(part) = held.get(gone) {
                fs::remove_file(again.path().join(name(part))).unwrap();
            }
            for folder in [crashed.path(), again.path()] {
                let store = Store::open(folder, merging()).unwrap();
                assert_eq!(all(&store), samples, "{gone} of the parts were gone");
                assert_eq!(blocks(folder).len(), parts.len() - held.len() + 1);
                store.tidy(START).unwrap();
                assert_eq!(all(&store), samples);
            }
        }
    }
}

/// Whether the stretch of one block is within that of another.
fn within(part: &Path, whole: &Path) -> bool {
    let times = |path: &Path| {
        let parts: Vec<i64> =
            name(path).split('-').skip(1).take(2).map(|part| part.parse().unwrap()).collect();
        (parts[0], parts[1])
    };
    times(whole).0 <= times(part).0 && times(part).1 <= times(whole).1
}

/// Flips a bit in the middle of a block, where chunks are.
fn damage(block: &Path, place: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(block).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).unwrap();
    file.write_all_at(&[byte[0] ^ 0x04], place).unwrap();
}

#[test]
fn a_damaged_chunk_is_left_out_with_a_warning_and_everything_else_is_there() {
    let (home, samples) = a_day();
    let block = blocks(home.path())[3].clone();
    let length = fs::metadata(&block).unwrap().len();
    let mut lost = 0;
    // Every so many bytes of what stands before the index, one at a time.
    for place in (8..length / 2).step_by(331) {
        let crashed = copied(home.path());
        damage(&crashed.path().join(name(&block)), place);
        let store = Store::open(crashed.path(), apart()).unwrap();
        let Selected { series, warnings } = selected(&store);
        assert!(warnings.len() == 1 && warnings[0].contains(&name(&block)), "{warnings:?}");
        assert_eq!(series.len(), samples.len());
        for series in &series {
            let whole = &samples[&series.labels];
            let kept: Vec<_> = series.points.iter().map(|point| (point.at, point.value.to_bits())).collect();
            assert!(kept.iter().all(|point| whole.contains(point)), "no sample that was never taken");
            assert!(kept.len() + 60 >= whole.len(), "only those of one chunk are missing");
            lost += whole.len() - kept.len();
        }
        let damaged = store.stats().damaged;
        assert!(damaged >= 1 && selected(&store).warnings == warnings && store.stats().damaged == damaged);
        // Through PromQL, too: an answer with a warning, no error.
        let at = START + 4 * 60 * MINUTE - MINUTE;
        let answer = evaluate(
            &store,
            &read("count_over_time(always[3h])").unwrap(),
            Query::Instant(at),
            &Options::default(),
        );
        assert!(answer.unwrap().warnings.len() <= 1);
        let of_another_time = Query::Instant(START + 90 * MINUTE);
        let answer =
            evaluate(&store, &read("always").unwrap(), of_another_time, &Options::default()).unwrap();
        assert!(answer.warnings.is_empty());
    }
    assert!(lost > 0);
}

#[test]
fn a_block_with_damage_is_not_merged_and_the_others_are() {
    let (home, samples) = a_day();
    damage(&blocks(home.path())[3], 100);
    let store = Store::open(home.path(), merging()).unwrap();
    store.tidy(START).unwrap();
    let there: usize = selected(&store).series.iter().map(|series| series.points.len()).sum();
    let before: usize = samples.values().map(Vec::len).sum();
    assert!(there < before && there + 60 * (SERIES + 1) >= before);
    assert_eq!(selected(&store).warnings.len(), 1);
    let left = blocks(home.path());
    assert!(left.len() < 15 && left.len() > 3, "{left:?}");
    assert!(!left.iter().any(|path| path.extension().is_some()), "{left:?}");
}
