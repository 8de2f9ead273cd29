//! The ledger: one compact record for each sequence number, and running counts. Times are microseconds since the
//! request was due; 71 minutes is the latest they can tell, later ones are cut to that. Does not live here: what is
//! computed from the finished ledger.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// Distinct texts of one kind (releases, gateway codes, error messages) before further ones become "(other)".
const MAX_NAMES: usize = 256;
/// The longest text kept, in characters.
const MAX_NAME: usize = 200;
/// A time that has not come.
const NEVER: u32 = u32::MAX;
/// The release of a response without a release header.
const UNNAMED: &str = "(none)";

/// What became of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// It is queued or in flight.
    Open,
    /// A service answered.
    Answered {
        /// The status code.
        status: u16,
        /// The release that the response names; `(none)` without the header.
        release: &'a str,
    },
    /// The gateway answered in the service's place.
    Gateway {
        /// The status code.
        status: u16,
        /// The gateway's stable error code.
        code: &'a str,
    },
    /// No connection, or no complete response on it.
    Connection {
        /// What went wrong.
        error: &'a str,
    },
    /// No complete response in time.
    TimedOut,
    /// The run ended (its drain time was over) before the request was done.
    Unfinished,
}

impl Outcome<'_> {
    /// Whether no response came that a service produced.
    pub fn is_lost(&self) -> bool {
        match self {
            Outcome::Open | Outcome::Answered { .. } => false,
            Outcome::Gateway { .. }
            | Outcome::Connection { .. }
            | Outcome::TimedOut
            | Outcome::Unfinished => true,
        }
    }
}

/// One request as the ledger has it. Offsets count from the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its number.
    pub sequence: u64,
    /// When it was due.
    pub intended: Duration,
    /// How late the dispatcher queued it.
    pub lag: Duration,
    /// When it was written to a connection, if it was.
    pub sent: Option<Duration>,
    /// From when it was due to its end, once it has ended.
    pub latency: Option<Duration>,
    /// From when it was written to its end, if both happened.
    pub service: Option<Duration>,
    /// What became of it.
    pub outcome: Outcome<'a>,
}

/// Responses that one release produced.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseCounts {
    /// All of them.
    pub answered: u64,
    /// Those with a status of 500 or above.
    pub errors: u64,
    /// By the first digit of the status: 1xx to 5xx.
    pub by_class: [u64; 5],
}

/// The counts at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Sequence numbers that were due and given out.
    pub sent: u64,
    /// Those with an outcome.
    pub finished: u64,
    /// Those that a service answered.
    pub answered: u64,
    /// Those that got no response that a service produced.
    pub lost: u64,
    /// Answers by release.
    pub releases: BTreeMap<String, ReleaseCounts>,
}

/// How an exchange ended, in the words of the client.
#[derive(Debug)]
pub(crate) enum End {
    Answered { status: u16, release: Option<String> },
    Gateway { status: u16, code: String },
    Connection { error: String },
    TimedOut,
    Unfinished,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Open,
    Answered { status: u16, release: u16 },
    Gateway { status: u16, code: u16 },
    Connection { error: u16 },
    TimedOut,
    Unfinished,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    intended_us: u64,
    lag_us: u32,
    sent_us: u32,
    end_us: u32,
    state: State,
}

/// The records of a run; the index is the sequence number.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    records: Vec<Record>,
    names: Names,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    finished: u64,
    lost: u64,
    /// By index of the release's name.
    releases: BTreeMap<u16, ReleaseCounts>,
}

impl Ledger {
    /// Opens the record of the next number.
    pub(crate) fn open(&mut self, intended: Duration, lag: Duration) {
        let intended_us = u64::try_from(intended.as_micros()).unwrap_or(u64::MAX);
        let lag_us = offset_us(lag);
        self.records.push(Record { intended_us, lag_us, sent_us: NEVER, end_us: NEVER, state: State::Open });
    }

    /// Notes that a request is being written; the offset counts from the start of the run.
    pub(crate) fn sent(&mut self, number: u64, at: Duration) {
        if let Some(record) = self.record(number) {
            record.sent_us = record.since_intended(at);
        }
    }

    /// Closes a record; the offset counts from the start of the run. The first end counts.
    pub(crate) fn end(&mut self, number: u64, at: Duration, end: End) {
        let state = match end {
            End::Answered { status, release } => {
                let release = self.names.intern(release.as_deref().unwrap_or(UNNAMED));
                State::Answered { status, release }
            }
            End::Gateway { status, code } => State::Gateway { status, code: self.names.intern(&code) },
            End::Connection { error } => State::Connection { error: self.names.intern(&error) },
            End::TimedOut => State::TimedOut,
            End::Unfinished => State::Unfinished,
        };
        let Some(record) = self.record(number) else { return };
        if !matches!(record.state, State::Open) {
            return;
        }
        record.end_us = record.since_intended(at);
        record.state = state;
        self.counts.add(state);
    }

    /// Closes what is still open.
    pub(crate) fn end_all(&mut self, at: Duration) {
        for number in 0..self.records.len() as u64 {
            self.end(number, at, End::Unfinished);
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let releases =
            self.counts.releases.iter().map(|(i, counts)| (self.names.get(*i).to_owned(), counts.clone()));
        Snapshot {
            sent: self.records.len() as u64,
            finished: self.counts.finished,
            answered: self.counts.finished - self.counts.lost,
            lost: self.counts.lost,
            releases: releases.collect(),
        }
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.records.iter().enumerate().map(|(number, record)| self.entry(number as u64, record))
    }

    pub(crate) fn get(&self, number: u64) -> Option<Entry<'_>> {
        let record = self.records.get(usize::try_from(number).ok()?)?;
        Some(self.entry(number, record))
    }

    fn entry(&self, sequence: u64, record: &Record) -> Entry<'_> {
        let intended = Duration::from_micros(record.intended_us);
        let after = |us: u32| (us != NEVER).then(|| Duration::from_micros(us.into()));
        let (sent, latency) = (after(record.sent_us), after(record.end_us));
        Entry {
            sequence,
            intended,
            lag: Duration::from_micros(record.lag_us.into()),
            sent: sent.map(|offset| intended + offset),
            latency,
            service: latency.zip(sent).map(|(latency, sent)| latency.saturating_sub(sent)),
            outcome: match record.state {
                State::Open => Outcome::Open,
                State::Answered { status, release } => {
                    Outcome::Answered { status, release: self.names.get(release) }
                }
                State::Gateway { status, code } => Outcome::Gateway { status, code: self.names.get(code) },
                State::Connection { error } => Outcome::Connection { error: self.names.get(error) },
                State::TimedOut => Outcome::TimedOut,
                State::Unfinished => Outcome::Unfinished,
            },
        }
    }

    fn record(&mut self, number: u64) -> Option<&mut Record> {
        self.records.get_mut(usize::try_from(number).ok()?)
    }
}

impl Record {
    fn since_intended(&self, at: Duration) -> u32 {
        offset_us(at.saturating_sub(Duration::from_micros(self.intended_us)))
    }
}

impl Counts {
    fn add(&mut self, state: State) {
        self.finished += 1;
        let State::Answered { status, release } = state else {
            self.lost += 1;
            return;
        };
        let counts = self.releases.entry(release).or_default();
        counts.answered += 1;
        counts.errors += u64::from(status >= 500);
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        counts.by_class[class] += 1;
    }
}

fn offset_us(offset: Duration) -> u32 {
    u32::try_from(offset.as_micros()).unwrap_or(NEVER).min(NEVER - 1)
}

/// Texts by a small number. Few are distinct, so a search is cheaper than a map.
#[derive(Debug, Default)]
struct Names(Vec<String>);

impl Names {
    fn intern(&mut self, text: &str) -> u16 {
        let text = match text.char_indices().nth(MAX_NAME) {
            Some((end, _)) => &text[..end],
            None => text,
        };
        let known = self.0.iter().position(|name| name == text);
        let index = known.unwrap_or_else(|| {
            let full = self.0.len() >= MAX_NAMES;
            if self.0.len() <= MAX_NAMES {
                self.0.push(if full { "(other)".to_owned() } else { text.to_owned() });
            }
            self.0.len() - 1
        });
        // At most MAX_NAMES + 1 of them, so it always fits.
        u16::try_from(index).unwrap_or(u16::MAX)
    }

    fn get(&self, index: u16) -> &str {
        self.0.get(usize::from(index)).map_or("(other)", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn latency_counts_from_the_intended_time_and_service_from_the_write() {
        let mut ledger = Ledger::default();
        ledger.open(ms(100), ms(1));
        ledger.sent(0, ms(150));
        ledger.end(0, ms(170), End::Answered { status: 200, release: Some("2".into()) });
        let entry = ledger.get(0).unwrap();
        assert_eq!(
            (entry.intended, entry.lag, entry.sent, entry.latency, entry.service),
            (ms(100), ms(1), Some(ms(150)), Some(ms(70)), Some(ms(20)))
        );
        assert_eq!(entry.outcome, Outcome::Answered { status: 200, release: "2" });
    }

    #[test]
    fn an_error_of_the_service_is_not_lost_and_one_of_the_gateway_is() {
        let mut ledger = Ledger::default();
        for _ in 0..6 {
            ledger.open(ms(0), ms(0));
        }
        ledger.end(0, ms(1), End::Answered { status: 500, release: Some("1".into()) });
        ledger.end(1, ms(1), End::Gateway { status: 503, code: "no-ready-replica".into() });
        ledger.end(2, ms(1), End::Connection { error: "refused".into() });
        ledger.end(3, ms(1), End::TimedOut);
        ledger.end(4, ms(1), End::Answered { status: 204, release: None });
        let seen = ledger.snapshot();
        assert_eq!((seen.sent, seen.finished, seen.answered, seen.lost), (6, 5, 2, 3));
        assert_eq!(seen.releases["1"], ReleaseCounts { answered: 1, errors: 1, by_class: [0, 0, 0, 0, 1] });
        assert_eq!(seen.releases["(none)"].by_class, [0, 1, 0, 0, 0]);
        ledger.end_all(ms(2));
        assert_eq!((ledger.snapshot().finished, ledger.snapshot().lost), (6, 4));
        assert_eq!(ledger.get(5).unwrap().outcome, Outcome::Unfinished);
    }

    #[test]
    fn a_record_is_small_and_names_are_limited() {
        assert!(size_of::<Record>() <= 32);
        let mut names = Names::default();
        for n in 0..1_000 {
            names.intern(&n.to_string());
        }
        assert_eq!(names.0.len(), MAX_NAMES + 1);
        let late = names.intern("late");
        assert_eq!(names.get(late), "(other)");
        let early = names.intern("3");
        assert_eq!(names.get(early), "3");
        let long = Names::default().intern(&"é".repeat(10_000));
        assert_eq!(long, 0);
    }
}
