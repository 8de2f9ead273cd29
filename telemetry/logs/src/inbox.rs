//! Errors gathered by fingerprint, and counts by release and level: what is told of a place's output without reading it
//! again. A fold over records: the same records give the same result. Does not live here: who acknowledged what.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::columns::Source;
use crate::fingerprint;
use crate::level::Level;
use crate::parse::Parsed;

/// Different errors that are kept; those that were seen once make room, and else the one that was not seen for the longest time.
pub const MOST_ERRORS: usize = 500;
/// Releases whose counts are kept, the newest.
const MOST_RELEASES: usize = 50;
/// Releases for which an error's own counts are kept, the newest.
const RELEASES_OF_ERROR: usize = 10;
const HOUR_US: i64 = 3_600_000_000;
/// Below so many an hour, more of the same opens nothing again.
const FEWEST_AN_HOUR: u64 = 10;

/// An error that was seen, once or many times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Its fingerprint.
    pub fingerprint: String,
    /// What kind of error.
    pub kind: String,
    /// Its message without what differs each time.
    pub title: String,
    /// How often it was seen.
    pub count: u64,
    /// When it was seen first, in microseconds since 1970.
    pub first: i64,
    /// And last.
    pub last: i64,
    /// The release in which it was seen first.
    pub first_release: u64,
    /// The newest release in which it was seen.
    pub newest_release: u64,
    /// The number of its last record.
    pub record: u64,
    /// How often in each of the newest releases that have it.
    #[serde(default)]
    pub releases: BTreeMap<u64, u64>,
    hour: i64,
    this_hour: u64,
    hour_before: u64,
}

impl Seen {
    /// How often it was seen in the hour before now: whole in this one, in part of the one before.
    pub fn per_hour(&self, now: i64) -> u64 {
        let (hour, into) = (now.div_euclid(HOUR_US), now.rem_euclid(HOUR_US));
        let (this, before) = match hour - self.hour {
            0 => (self.this_hour, self.hour_before),
            1 => (0, self.this_hour),
            ..0 => (self.this_hour, self.hour_before),
            2.. => (0, 0),
        };
        let part = u128::from(before) * (HOUR_US - into) as u128 / HOUR_US as u128;
        this + u64::try_from(part).unwrap_or(before)
    }
}

/// What whoever decided about an error knew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The newest release in which it had been seen.
    pub release: u64,
    /// How often it was seen in an hour.
    pub per_hour: u64,
    /// The number of its last record.
    pub record: u64,
}

/// What was decided about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stance {
    /// It is known, and may go on as it does.
    Acknowledged,
    /// It does not come any more: from this release on, or nowhere.
    Resolved {
        /// From which.
        from: Option<u64>,
    },
}

/// Why an error that was decided about wants to be looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reopened {
    /// A newer release has it as well.
    NewerRelease,
    /// It comes more than twice as often.
    MoreOften,
    /// It was mended, and came again.
    CameAgain,
}

/// Whether what was decided about an error no longer holds.
pub fn reopened(seen: &Seen, stance: Stance, known: Known, now: i64) -> Option<Reopened> {
    let is_newer = seen.newest_release > known.release;
    match stance {
        Stance::Acknowledged if is_newer => Some(Reopened::NewerRelease),
        Stance::Acknowledged => {
            let often = known.per_hour.saturating_mul(2).max(FEWEST_AN_HOUR);
            (seen.per_hour(now) > often).then_some(Reopened::MoreOften)
        }
        Stance::Resolved { from: None } => (seen.record > known.record).then_some(Reopened::CameAgain),
        Stance::Resolved { from: Some(from) } => {
            (is_newer && seen.newest_release >= from).then_some(Reopened::CameAgain)
        }
    }
}

/// What was told of the records so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tally {
    /// The number of the next record.
    pub(crate) next: u64,
    /// How many of each level, by release.
    pub(crate) counts: BTreeMap<u64, [u64; 7]>,
    pub(crate) errors: BTreeMap<String, Seen>,
    /// Errors that made room for others.
    pub(crate) forgotten: u64,
    /// How far each source was read with these records.
    #[serde(default)]
    pub(crate) marks: BTreeMap<String, String>,
}

impl Tally {
    pub(crate) fn count(&mut self, number: u64, source: Source, at: i64, level: Level, parsed: &Parsed) {
        self.next = number + 1;
        self.counts.entry(source.release).or_default()[level as usize] += 1;
        while self.counts.len() > MOST_RELEASES {
            self.counts.pop_first();
        }
        let Some(found) = fingerprint::of(parsed) else { return };
        if !self.errors.contains_key(&found.id) && self.errors.len() >= MOST_ERRORS {
            // Messages that are never the same must not drive out what comes again and again.
            let least = self.errors.values().min_by_key(|seen| (seen.count > 1, seen.last, seen.record));
            if let Some(oldest) = least.map(|seen| seen.fingerprint.clone()) {
                self.errors.remove(&oldest);
                self.forgotten += 1;
            }
        }
        let hour = at.div_euclid(HOUR_US);
        let seen = self.errors.entry(found.id.clone()).or_insert_with(|| Seen {
            fingerprint: found.id,
            kind: found.kind,
            title: found.title,
            count: 0,
            first: at,
            last: at,
            first_release: source.release,
            newest_release: source.release,
            record: number,
            releases: BTreeMap::new(),
            hour,
            this_hour: 0,
            hour_before: 0,
        });
        seen.count += 1;
        seen.first = seen.first.min(at);
        seen.last = seen.last.max(at);
        seen.newest_release = seen.newest_release.max(source.release);
        seen.record = number;
        *seen.releases.entry(source.release).or_default() += 1;
        while seen.releases.len() > RELEASES_OF_ERROR {
            seen.releases.pop_first();
        }
        match hour - seen.hour {
            0 => seen.this_hour += 1,
            1 => (seen.hour, seen.hour_before, seen.this_hour) = (hour, seen.this_hour, 1),
            2.. => (seen.hour, seen.hour_before, seen.this_hour) = (hour, 0, 1),
            // It came late: the hour before may still be counted, an older one is over.
            -1 => seen.hour_before += 1,
            i64::MIN..=-2 => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    fn seen(tally: &mut Tally, number: u64, release: u64, at: i64, line: &str) {
        let parsed = parse(line, |_, _| {});
        tally.count(number, Source { release, replica: 1 }, at, parsed.level.unwrap(), &parsed);
    }

    #[test]
    fn errors_are_gathered_and_levels_counted() {
        let mut tally = Tally::default();
        seen(&mut tally, 0, 1, 5, "ERROR order 1 failed");
        seen(&mut tally, 1, 2, 9, "ERROR order 2 failed");
        seen(&mut tally, 2, 2, 9, "INFO fine");
        let error = tally.errors.values().next().unwrap();
        assert_eq!(
            (error.count, error.first, error.last, error.first_release, error.newest_release),
            (2, 5, 9, 1, 2)
        );
        assert_eq!(tally.counts[&2][Level::Info as usize], 1);
        assert_eq!(tally.next, 3);
    }

    #[test]
    fn the_errors_that_are_kept_have_a_bound() {
        let mut tally = Tally::default();
        for n in 0..MOST_ERRORS as u64 + 20 {
            let name: String = n.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
            seen(&mut tally, n, n, n as i64, &format!("ERROR {name}"));
        }
        assert_eq!((tally.errors.len(), tally.forgotten), (MOST_ERRORS, 20));
        assert!(tally.errors.values().all(|seen| seen.first >= 20));
        assert!(tally.counts.len() <= MOST_RELEASES);
    }

    #[test]
    fn an_acknowledged_error_opens_again_in_a_newer_release_or_when_it_comes_more_often() {
        let mut tally = Tally::default();
        for n in 0..30 {
            seen(&mut tally, n, 3, HOUR_US + n as i64, "ERROR x");
        }
        let error = tally.errors.values().next().unwrap();
        let now = HOUR_US + 60;
        assert_eq!(error.per_hour(now), 30);
        let known = |release, per_hour| Known { release, per_hour, record: 29 };
        let asked = |known| reopened(error, Stance::Acknowledged, known, now);
        assert_eq!(asked(known(3, 30)), None);
        assert_eq!(asked(known(2, 30)), Some(Reopened::NewerRelease));
        assert_eq!(asked(known(3, 14)), Some(Reopened::MoreOften));
        assert_eq!(error.per_hour(2 * HOUR_US + HOUR_US / 2), 15);
        assert_eq!(error.per_hour(9 * HOUR_US), 0);
    }

    #[test]
    fn a_mended_error_opens_again_when_it_comes_where_it_was_said_to_be_mended() {
        let mut tally = Tally::default();
        seen(&mut tally, 0, 3, 5, "ERROR x");
        let known = Known { release: 3, per_hour: 1, record: 0 };
        let asked = |tally: &Tally, from| {
            reopened(tally.errors.values().next().unwrap(), Stance::Resolved { from }, known, 9)
        };
        assert_eq!((asked(&tally, None), asked(&tally, Some(4))), (None, None));
        seen(&mut tally, 1, 3, 6, "ERROR x");
        assert_eq!(asked(&tally, None), Some(Reopened::CameAgain));
        assert_eq!(asked(&tally, Some(4)), None, "the old release may have it until it is gone");
        seen(&mut tally, 2, 4, 7, "ERROR x");
        assert_eq!(asked(&tally, Some(4)), Some(Reopened::CameAgain));
        assert_eq!(asked(&tally, Some(5)), None);
        assert_eq!(tally.errors.values().next().unwrap().releases, BTreeMap::from([(3, 2), (4, 1)]));
    }

    #[test]
    fn messages_that_are_never_the_same_do_not_drive_out_what_comes_again() {
        let mut tally = Tally::default();
        seen(&mut tally, 0, 1, 0, "ERROR often");
        seen(&mut tally, 1, 1, 1, "ERROR often");
        for n in 0..2 * MOST_ERRORS as u64 {
            let name: String = n.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
            seen(&mut tally, n + 2, 1, n as i64 + 2, &format!("ERROR {name}"));
        }
        assert!(tally.errors.values().any(|seen| seen.title == "ERROR often"));
    }
}
