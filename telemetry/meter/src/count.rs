//! One objective's counting: which counters it adds up, and what they came to since it looked last.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use promql::expr::Matcher;
use promql::{Labels, Point, Series, is_stale};

use crate::day::Sums;
use crate::line::Line;

/// Events that may be counted as a part before the whole has them: pages are read one after the other.
const MOST_OWED: u64 = 1_000_000;

/// What an objective counts.
#[derive(Debug, Clone)]
pub struct Counted {
    /// Told apart by it.
    pub name: String,
    /// What its events are.
    pub what: What,
    /// Who has the metrics, by a name that [`crate::Providers`] know; control's own store when absent.
    pub server: Option<String>,
    /// From when on it is counted, in milliseconds since 1970; from the first look when absent. What counters had then has
    /// to be in reach still.
    pub since: Option<i64>,
}

/// What events are.
#[derive(Debug, Clone)]
pub enum What {
    /// Increases of counters, to the last one.
    Counters {
        /// A part of the events, counted by these.
        part: Part<Vec<Matcher>>,
        /// All events, counted by these.
        whole: Vec<Matcher>,
        /// A metric whose samples say that all counters were being kept, where they are there only once they have
        /// counted something; without one, the whole's own samples say so.
        pulse: Option<String>,
    },
    /// What two questions are answered at the end of each minute.
    Answers {
        /// A part of the events.
        part: Part<Question>,
        /// All events.
        whole: Question,
    },
}

/// Which events are counted beside all of them.
#[derive(Debug, Clone)]
pub enum Part<T> {
    /// Those that are as they should be.
    Good(T),
    /// Those that are not.
    Bad(T),
}

impl<T> Part<T> {
    /// What counts them.
    pub fn counting(&self) -> &T {
        match self {
            Self::Good(counting) | Self::Bad(counting) => counting,
        }
    }

    pub(crate) fn is_good(&self) -> bool {
        matches!(self, Self::Good(_))
    }
}

/// What is asked for each minute.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// In PromQL, complete; it has one answer.
    pub query: String,
    /// So many events of the minute before is an answer of one.
    pub times: f64,
}

impl Counted {
    /// Whether the same counters are added up.
    pub(crate) fn same(&self, other: &Self) -> bool {
        // Matchers hold compiled expressions; what they were read from tells them apart.
        format!("{self:?}") == format!("{other:?}")
    }
}

/// Counters that are added up, as they were read last.
#[derive(Default)]
pub(crate) struct Lines(HashMap<Labels, Line>);

/// How far samples reach, and whose counters have been read.
#[derive(Debug)]
pub(crate) struct Reach<'a> {
    /// Up to here everything was counted before.
    pub(crate) counted: i64,
    /// Whether anything was: the first time, what counters have is none of ours.
    pub(crate) ever: bool,
    /// Whether every counter is known to begin with nothing when it appears.
    pub(crate) begins_with_nothing: bool,
    /// The instances that were read before: what they begin to count later, they count from nothing.
    pub(crate) instances: &'a HashSet<String>,
    /// When each instance was first read, of those that are read now.
    pub(crate) firsts: &'a HashMap<String, i64>,
}

impl Lines {
    /// Takes in samples; returns from when to when each counter was read.
    pub(crate) fn take(
        &mut self,
        found: &[Series],
        reach: &Reach<'_>,
        deal: &mut impl FnMut(i64, u64),
    ) -> Vec<(i64, i64)> {
        let mut read = Vec::new();
        for Series { labels, points } in found {
            let Some(line) = self.0.get(labels).copied().or_else(|| reach.begin(labels, points)) else {
                continue;
            };
            let mut next = line;
            for point in points {
                next.next(*point, deal);
            }
            if next.at() > line.at() {
                read.push((line.at(), next.at()));
            }
            self.0.insert(labels.clone(), next);
        }
        read
    }

    /// Forgets counters that were not read since a time.
    pub(crate) fn forget(&mut self, before: i64) {
        self.0.retain(|_, line| line.at() >= before);
    }

    /// Whose counters these are.
    pub(crate) fn instances(&self) -> HashSet<String> {
        self.0.keys().map(|labels| labels.get("instance").to_owned()).collect()
    }
}

impl Reach<'_> {
    /// A counter that was not followed. What it had when everything was counted up to then is not new. One that appeared since
    /// has counted from nothing when its instance was there before, or when a replica tells it: it began with nothing too.
    fn begin(&self, labels: &Labels, points: &[Point]) -> Option<Line> {
        let numbers = || points.iter().filter(|point| !is_stale(point.value));
        if let Some(base) = numbers().take_while(|point| point.at <= self.counted).last() {
            return Some(Line::from(*base));
        }
        let first = numbers().next()?;
        let instance = labels.get("instance");
        let is_later = || self.firsts.get(instance).is_some_and(|at| *at < first.at);
        let known = || self.begins_with_nothing || self.instances.contains(instance) || is_later();
        let fresh = self.ever && (known() || !labels.get("replica").is_empty());
        Some(if fresh { Line::since(self.counted) } else { Line::from(*first) })
    }
}

/// When each instance was first read.
pub(crate) fn firsts<'a>(found: impl Iterator<Item = &'a Series>) -> HashMap<String, i64> {
    let mut firsts = HashMap::new();
    for Series { labels, points } in found {
        let Some(first) = points.iter().find(|point| !is_stale(point.value)) else { continue };
        let known = firsts.entry(labels.get("instance").to_owned()).or_insert(first.at);
        *known = first.at.min(*known);
    }
    firsts
}

/// Brings a part and a whole together. The part never exceeds the whole; what it has too much is owed to later minutes.
pub(crate) fn settle(
    part: &BTreeMap<i64, u64>,
    whole: &BTreeMap<i64, u64>,
    owed: &mut u64,
    is_good: bool,
) -> Vec<(i64, Sums)> {
    let mut settled = Vec::with_capacity(whole.len());
    let minutes: BTreeSet<i64> = part.keys().chain(whole.keys()).copied().collect();
    for minute in minutes {
        let of = |counts: &BTreeMap<i64, u64>| counts.get(&minute).copied().unwrap_or(0);
        let (asked, total) = (of(part).saturating_add(*owed), of(whole));
        let held = asked.min(total);
        *owed = (asked - held).min(MOST_OWED);
        let bad = if is_good { total - held } else { held };
        settled.push((minute, Sums { bad, total, measured: 0 }));
    }
    settled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(i64, u64)]) -> BTreeMap<i64, u64> {
        pairs.iter().copied().collect()
    }

    #[test]
    fn a_part_that_is_ahead_of_the_whole_waits_for_it() {
        let mut owed = 0;
        let settled = settle(&counts(&[(1, 5), (2, 1)]), &counts(&[(1, 3), (2, 4)]), &mut owed, true);
        let bad: Vec<u64> = settled.iter().map(|(_, sums)| sums.bad).collect();
        assert_eq!((bad, owed), (vec![0, 1], 0));
    }

    #[test]
    fn bad_events_are_never_more_than_all() {
        let mut owed = 0;
        let settled = settle(&counts(&[(1, 5)]), &counts(&[(1, 3)]), &mut owed, false);
        assert_eq!((settled[0].1.bad, settled[0].1.total, owed), (3, 3, 2));
    }
}
