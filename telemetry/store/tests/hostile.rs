//! Samples that no well-behaved sender sends: clocks that step, times of other ages, numbers that are none, bombs of labels.
#![allow(clippy::unwrap_used, reason = "a test's way to fail")]

use std::time::Duration;

use promql::{Labels, Point, Source, is_stale};
use store::{Appended, Config, Refused, SeriesRef, Store};
use tempfile::TempDir;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const START: i64 = 1_700_000_000_000;

struct World {
    store: Store,
    home: TempDir,
}

impl World {
    fn new() -> Self {
        let home = TempDir::new().unwrap();
        let store = Store::open(home.path(), config()).unwrap();
        Self { store, home }
    }

    fn series(&self, name: &str) -> SeriesRef {
        self.store.series(&Labels::new([("__name__", name)])).unwrap()
    }

    fn push(&self, name: &str, at: i64, value: f64) -> Appended {
        self.store.append(&[(self.series(name), Point { at, value })])
    }

    fn points(&self, name: &str) -> Vec<Point> {
        let promql::expr::Expr::Instant(selector) = promql::read(name).unwrap() else { panic!("a selector") };
        let series = self.store.select(&selector.matchers, i64::MIN, i64::MAX, usize::MAX).unwrap().series;
        series.into_iter().flat_map(|series| series.points).collect()
    }

    fn reopened(self) -> Self {
        let Self { store, home } = self;
        store.flush().unwrap();
        drop(store);
        let store = Store::open(home.path(), config()).unwrap();
        Self { store, home }
    }
}

fn config() -> Config {
    Config { span: Duration::from_secs(3600), ..Config::default() }
}

#[test]
fn a_clock_that_steps_back_loses_only_what_it_says_twice() {
    let world = World::new();
    for minute in 0..30 {
        assert_eq!(world.push("m", START + minute * MINUTE, minute as f64).taken, 1);
    }
    // Ten minutes back: refused by kind until it is where it was, and nothing of before is changed.
    for minute in 20..29 {
        assert_eq!(world.push("m", START + minute * MINUTE, -1.0).out_of_order, 1);
    }
    assert_eq!(world.push("m", START + 29 * MINUTE, -1.0).contradicting, 1);
    assert_eq!(world.push("m", START + 30 * MINUTE, 30.0).taken, 1);
    let world = world.reopened();
    let values: Vec<f64> = world.points("m").iter().map(|point| point.value).collect();
    assert_eq!(values, (0..=30).map(f64::from).collect::<Vec<_>>());
    // Another series, which was not there yet, is free to begin in the past that is still open.
    assert_eq!(world.push("other", START + MINUTE, 1.0).taken, 1);
}

#[test]
fn a_clock_that_steps_forward_and_back_leaves_what_was_before_and_counts_what_it_refuses() {
    let world = World::new();
    for minute in 0..30 {
        world.push("m", START + minute * MINUTE, 1.0);
    }
    // A day ahead for a while: what was before becomes a block.
    for minute in 0..10 {
        assert_eq!(world.push("m", START + 24 * HOUR + minute * MINUTE, 2.0).taken, 1);
    }
    world.store.tidy(START).unwrap();
    // And back: that stretch is finished, for every series.
    assert_eq!(world.push("m", START + 31 * MINUTE, 1.0).too_old, 1);
    assert_eq!(world.push("fresh", START + 31 * MINUTE, 1.0).too_old, 1);
    assert_eq!(world.push("m", START + 24 * HOUR, 1.0).out_of_order, 1);
    let world = world.reopened();
    assert_eq!(world.points("m").len(), 40);
    // The time that it was ahead is over.
    assert_eq!(world.push("m", START + 25 * HOUR, 3.0).taken, 1);
    assert_eq!(world.push("fresh", START + 25 * HOUR, 3.0).taken, 1);
}

#[test]
fn times_that_no_clock_shows_are_refused_and_close_nothing() {
    let world = World::new();
    world.push("m", START, 1.0);
    for at in [i64::MIN, -1, 253_402_300_800_000, i64::MAX] {
        assert_eq!(world.push("m", at, 1.0), Appended { beyond: 1, ..Appended::default() }, "{at}");
    }
    world.store.tidy(START).unwrap();
    assert_eq!(world.push("m", START + MINUTE, 2.0).taken, 1);
    assert_eq!(world.reopened().points("m").len(), 2);
    // The first and the last that one could show.
    let world = World::new();
    assert_eq!(world.push("m", 0, 1.0).taken, 1);
    assert_eq!(world.push("m", 253_402_300_799_999, 1.0).taken, 1);
    world.store.tidy(START).unwrap();
    assert_eq!(world.reopened().points("m").len(), 1);
}

#[test]
fn numbers_that_are_none_come_back_to_the_bit() {
    let world = World::new();
    let values = [
        f64::NAN,
        f64::from_bits(0x7ff8_0000_dead_beef),
        promql::STALE,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -0.0,
        f64::MIN_POSITIVE / 2.0,
        f64::MAX,
        f64::MIN,
        1.0,
    ];
    for (minute, value) in values.into_iter().enumerate() {
        assert_eq!(world.push("m", START + minute as i64 * MINUTE, value).taken, 1);
    }
    // The same once more is known, also when it is not equal to itself.
    assert_eq!(world.push("m", START + 9 * MINUTE, 1.0).known, 1);
    world.push("n", START, f64::NAN);
    assert_eq!(world.push("n", START, f64::NAN).known, 1);
    world.push("m", START + 5 * HOUR, 0.0);
    world.store.tidy(START).unwrap();
    let world = world.reopened();
    let bits: Vec<u64> = world.points("m").iter().map(|point| point.value.to_bits()).collect();
    assert_eq!(bits[..10], values.map(f64::to_bits));
    assert!(is_stale(world.points("m")[2].value) && !is_stale(world.points("m")[0].value));
}

#[test]
fn duplicates_and_disorder_in_one_batch_are_told_apart() {
    let world = World::new();
    let (m, n) = (world.series("m"), world.series("n"));
    let at = |series, minute: i64, value| (series, Point { at: START + minute * MINUTE, value });
    let appended = world.store.append(&[
        at(m, 0, 1.0),
        at(n, 1, 1.0),
        at(m, 0, 1.0),
        at(m, 0, 2.0),
        at(m, 2, 2.0),
        at(m, 1, 2.0),
        at(n, 0, 1.0),
        at(n, 2, 1.0),
    ]);
    let wanted = Appended { taken: 4, known: 1, contradicting: 1, out_of_order: 2, ..Appended::default() };
    assert_eq!(appended, wanted);
}

#[test]
fn bombs_of_labels_are_refused_by_what_is_too_much_and_leave_nothing_behind() {
    let home = TempDir::new().unwrap();
    let config = Config { max_series: 100, ..config() };
    let store = Store::open(home.path(), config).unwrap();
    let refused = |labels: Labels| match store.series(&labels) {
        Err(Refused::Labels(why)) => why,
        other => panic!("{other:?}"),
    };
    let many = (0..65).map(|number| (format!("l{number}"), "x".to_owned()));
    let many = Labels::new(many.chain([("__name__".to_owned(), "m".to_owned())]));
    assert!(refused(many).contains("66 labels; the most is 64"));
    let long = "x".repeat(2049);
    assert!(refused(Labels::new([("__name__", "m"), ("a", &long)])).contains("label a has more than 2048"));
    assert!(refused(Labels::new([("__name__", "m"), (&*long, "a")])).contains("more than 2048"));
    assert!(refused(Labels::new([("a", "b")])).contains("needs a name"));
    assert_eq!(store.stats().series, 0);

    // A value of its own for each request: the limit holds, and those that are known go on.
    let bomb = |number: usize| Labels::new([("__name__", "m".to_owned()), ("id", number.to_string())]);
    let mut refused = 0;
    for number in 0..5000 {
        match store.series(&bomb(number)) {
            Ok(series) => {
                store.append(&[(series, Point { at: START, value: 1.0 })]);
            }
            Err(Refused::TooManySeries(100)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((refused, store.stats().active, store.stats().refused), (4900, 100, 4900));
    let known = store.series(&bomb(3)).unwrap();
    assert_eq!(store.append(&[(known, Point { at: START + MINUTE, value: 1.0 })]).taken, 1);
    assert!(store.label_values("id").len() <= 100);
}

impl World {
    fn now(&self, name: &str, minute: i64, value: f64) -> Appended {
        let point = Point { at: START + minute * MINUTE, value };
        self.store.append_now(&[(self.series(name), point)])
    }

    /// The values of the last five minutes, as a query sees them.
    fn recent(&self, name: &str, minute: i64) -> Vec<f64> {
        let promql::expr::Expr::Instant(selector) = promql::read(name).unwrap() else { panic!("a selector") };
        let now = START + minute * MINUTE;
        let selected = self.store.select(&selector.matchers, now - 5 * MINUTE, now, usize::MAX).unwrap();
        selected.series.iter().flat_map(|series| &series.points).map(|point| point.value).collect()
    }
}

/// A counter that goes up by one each minute, on a clock that is `ahead` minutes ahead from minute 30 to 40.
fn ahead_for_a_while(ahead: i64, until: i64) -> World {
    let mut world = World::new();
    for minute in 0..until {
        let shown = if (30..40).contains(&minute) { minute + ahead } else { minute };
        assert_eq!(world.now("own", shown, minute as f64).taken, 1, "minute {minute}");
        if minute % 7 == 0 {
            world.store.tidy(START).unwrap();
        }
        if minute % 33 == 0 {
            world = world.reopened();
        }
        // What is asked for at the time of the clock that is right shows what was taken last, and no step down.
        if minute >= 46 {
            let recent = world.recent("own", minute);
            let expected: Vec<f64> = (minute - 4..=minute).map(|minute| minute as f64).collect();
            assert_eq!(recent, expected, "minute {minute}, {ahead} ahead");
        }
    }
    world
}

#[test]
fn samples_are_taken_at_once_after_a_clock_that_was_ahead_comes_back() {
    for ahead in [2, 11, 60, 95, 180, 24 * 60] {
        let world = ahead_for_a_while(ahead, 260).reopened();
        let points = world.points("own");
        assert!(points.windows(2).all(|pair| pair[0].at < pair[1].at), "{ahead}");
    }
}

#[test]
fn a_clock_that_showed_the_distant_past_for_a_moment_hides_nothing_of_today() {
    let world = World::new();
    for minute in 0..30 {
        world.now("own", minute, 1.0);
    }
    let long_ago = -20 * 365 * 24 * 60;
    for minute in 0..3 {
        assert_eq!(world.now("own", long_ago + minute, 2.0).taken, 1);
        world.store.tidy(START).unwrap();
    }
    for minute in 33..200 {
        assert_eq!(world.now("own", minute, 1.0).taken, 1);
    }
    world.store.tidy(START).unwrap();
    let world = world.reopened();
    assert_eq!(world.points("own").iter().filter(|point| point.value == 1.0).count(), 30 + 167);
    assert!(world.store.stats().blocks >= 1);
}

#[test]
fn what_is_a_moment_late_is_no_step_of_the_clock() {
    let world = World::new();
    world.now("own", 10, 1.0);
    let late = Point { at: START + 10 * MINUTE - 9_000, value: 2.0 };
    assert_eq!(world.store.append_now(&[(world.series("own"), late)]).out_of_order, 1);
    // A sender elsewhere is not believed that the clock was wrong.
    assert_eq!(world.push("own", START, 1.0).out_of_order, 1);
    assert_eq!(world.points("own").len(), 1);
}
