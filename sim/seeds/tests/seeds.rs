//! Ten thousand lives, four at a time; the seeds that once found something; and that a seed is a life, byte by byte.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed helper fails its test")]

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use seeds::{Figures, live};

/// The promise of every judge in these lives.
const ALPHA: f64 = 0.05;
/// How often a healthy release may be blamed for its latency alone, or while it bakes.
const RARELY: f64 = ALPHA / 20.0;
/// Lives in all.
const LIVES: u64 = 10_000;

/// Lives all seeds, two at a time.
fn all_keep_their_promises(seeds: Range<u64>) -> Figures {
    let next = AtomicU64::new(seeds.start);
    let worker = || {
        let mut figures = Figures::default();
        let mut broken = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return (figures, broken);
            }
            let outcome = live(seed, false).expect("simulated time");
            figures = figures.plus(outcome.figures);
            if let Some(first) = outcome.broken.first() {
                broken.push(format!("seed {seed}: {first}\n    replay it: cargo xtask sim {seed}"));
            }
        }
    };
    let (a, b) = thread::scope(|scope| {
        let other = scope.spawn(worker);
        (worker(), other.join().expect("a worker does not panic"))
    });
    let broken: Vec<String> = a.1.into_iter().chain(b.1).collect();
    assert!(broken.is_empty(), "{} lives broke a promise:\n{}", broken.len(), broken.join("\n"));
    a.0.plus(b.0)
}

/// Something has to happen in these lives, or nothing was tested.
fn is_eventful(figures: Figures) {
    let lives = LIVES / 4;
    assert!(figures.completed > lives && figures.rolled_back > lives / 2, "{figures:?}");
    assert!(figures.deaths > lives && figures.healthy_judged > lives / 2, "{figures:?}");
    assert!(figures.returns > 100 * lives && figures.retried > lives / 4, "{figures:?}");
    assert!(figures.taken_back > lives / 20, "{figures:?}");
    // Careful teams: one in six.
    assert!(figures.approved > lives / 10 && figures.voided > lives / 10, "{figures:?}");
    assert!(figures.through > lives / 20 && figures.kept_out > lives / 10, "{figures:?}");
    assert!(figures.fired > lives / 5 && figures.resolved > lives / 5, "{figures:?}");
    assert!(figures.levels > lives / 5 && figures.overspent > lives / 50, "{figures:?}");
    assert!(figures.said > lives / 2, "{figures:?}");
    // The bound with four standard deviations of chance; the mean is far below it.
    let judged = figures.healthy_judged as f64;
    let most = ALPHA * judged + 4.0 * (ALPHA * (1.0 - ALPHA) * judged).sqrt();
    assert!((figures.blamed as f64) < most, "{} of {judged} healthy releases were blamed", figures.blamed);
    // Slow requests of one window, and all that happens in one while it bakes, testify as one: far less is found against
    // healthy releases than alpha allows, and whatever finds more than that hears them in another way.
    let rarely = |healthy: u64| RARELY * healthy as f64 + 4.0 * (RARELY * healthy as f64).sqrt();
    let (timed, baked) = (figures.healthy_timed, figures.healthy_baked);
    assert!((figures.blamed_timed as f64) < rarely(timed), "{figures:?}");
    assert!((figures.blamed_baked as f64) < rarely(baked), "{figures:?}");
    assert!(timed > lives / 3 && baked > lives / 5, "{figures:?}");
}

#[test]
fn the_first_quarter_of_ten_thousand_lives_keeps_every_promise() {
    is_eventful(all_keep_their_promises(0..LIVES / 4));
}

#[test]
fn the_second_quarter_of_ten_thousand_lives_keeps_every_promise() {
    is_eventful(all_keep_their_promises(LIVES / 4..LIVES / 2));
}

#[test]
fn the_third_quarter_of_ten_thousand_lives_keeps_every_promise() {
    is_eventful(all_keep_their_promises(LIVES / 2..LIVES / 4 * 3));
}

#[test]
fn the_last_quarter_of_ten_thousand_lives_keeps_every_promise() {
    is_eventful(all_keep_their_promises(LIVES / 4 * 3..LIVES));
}

#[test]
fn seeds_that_once_found_something_find_nothing_now() {
    let text = include_str!("../../seeds.txt");
    let seeds = text.lines().map(|line| line.split('#').next().unwrap().trim()).filter(|it| !it.is_empty());
    let mut count = 0;
    for seed in seeds {
        let seed = seed.parse().expect("a number");
        all_keep_their_promises(seed..seed + 1);
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn the_same_seed_is_the_same_life_byte_by_byte() {
    for seed in 0..60 {
        let (first, second) = (live(seed, true).unwrap(), live(seed, true).unwrap());
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert!(first.journal == second.journal, "seed {seed} wrote two journals");
        assert!(first.journal.len() > 1);
    }
    assert!(live(1, false).unwrap().journal != live(2, false).unwrap().journal);
}
