//! Objectives and minutes for the tests of watching. No test of its own.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::time::Duration;

use model::Timestamp;
use model::objective::{Indicator, Method, Objective, Requests, Window};
use watch::minutes::begin_of;
use watch::{Exclusions, History, Minute};

/// A minute of March 2026, at the beginning of a UTC day.
pub(crate) const FIRST: u64 = 29_540_160;
pub(crate) const HOUR: usize = 60;
pub(crate) const DAY: usize = 24 * HOUR;

pub(crate) fn objective(target: &str) -> Objective {
    let indicator = Indicator::Availability(Requests::default());
    Objective::new("availability".parse().unwrap(), indicator, target.parse().unwrap())
}

pub(crate) fn over(target: &str, days: u64) -> Objective {
    let window = Window::rolling(Duration::from_secs(days * 86_400)).unwrap();
    Objective { window, ..objective(target) }
}

pub(crate) fn slices(target: &str, minutes: u64, good: u32) -> Objective {
    let slice = Duration::from_secs(minutes * 60);
    let good = model::objective::Ratio::percent(good);
    Objective { method: Method::Timeslices { slice, good }, ..objective(target) }
}

pub(crate) fn history(objective: &Objective, minutes: Vec<Minute>) -> History {
    History::of(FIRST, minutes, objective.method.clone(), Exclusions::default())
}

/// Minutes with so many events each, all good.
pub(crate) fn good(events: u64, minutes: usize) -> Vec<Minute> {
    vec![Minute::new(events, events, 60); minutes]
}

/// The end of the minute with this index.
pub(crate) fn end_of(index: usize) -> Timestamp {
    Timestamp::from_micros(begin_of(FIRST + index as u64 + 1).as_micros() - 1)
}
