//! Comparing the client's ledger with what the services wrote down. Does not live here: finding and opening the
//! services' ledger files.

use std::str::FromStr;

use serde::Serialize;

use crate::{Error, Outcome, Report};

/// One request as a service noted it: `<sequence> <release> <replica> <method> <path>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedLine {
    /// The run of the sequence number.
    pub run: String,
    /// The number.
    pub number: u64,
    /// The release that received it.
    pub release: String,
    /// The replica that received it.
    pub replica: String,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
}

impl FromStr for ReceivedLine {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self, Error> {
        let bad = || Error::Line { text: line.chars().take(200).collect() };
        let mut words = line.split_ascii_whitespace();
        let mut word = || words.next().map(str::to_owned).ok_or_else(bad);
        let sequence = word()?;
        let (run, number) = sequence.rsplit_once('-').ok_or_else(bad)?;
        let received = Self {
            run: run.to_owned(),
            number: number.parse().map_err(|_| bad())?,
            release: word()?,
            replica: word()?,
            method: word()?,
            path: word()?,
        };
        if words.next().is_some() { Err(bad()) } else { Ok(received) }
    }
}

/// How often one sequence number was received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Received {
    /// The number.
    pub sequence: u64,
    /// How often.
    pub times: u32,
}

/// The comparison. Where every list is empty and `received_once` equals `sent`, no request was lost or repeated.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reconciliation {
    /// Sequence numbers that the client gave out.
    pub sent: u64,
    /// Those that services received exactly once.
    pub received_once: u64,
    /// Those received more than once (a retry by the gateway, where it is safe, or a fault).
    pub duplicated: Vec<Received>,
    /// Those that no service received, whatever the client got.
    pub never_received: Vec<u64>,
    /// Those among them for which the client still got an answer: somebody else answered, or a ledger lost a line.
    pub answered_but_never_received: Vec<u64>,
    /// Those that were answered in the name of a release that did not receive them.
    pub answered_by_another: Vec<u64>,
    /// Lines with a number of this run that the client never gave out.
    pub never_sent: u64,
    /// Lines of other runs, which were left out.
    pub foreign: u64,
}

/// Compares a finished run with the lines that all replicas of all releases wrote.
pub fn reconcile(report: &Report, received: impl Iterator<Item = ReceivedLine>) -> Reconciliation {
    let mut result = Reconciliation { sent: report.sent, ..Reconciliation::default() };
    let mut tallies = vec![Tally::default(); usize::try_from(report.sent).unwrap_or(usize::MAX)];
    for line in received {
        if line.run != report.run {
            result.foreign += 1;
            continue;
        }
        let slot = usize::try_from(line.number).ok().and_then(|index| tallies.get_mut(index));
        let (Some(tally), Some(entry)) = (slot, report.entry(line.number)) else {
            result.never_sent += 1;
            continue;
        };
        tally.times = tally.times.saturating_add(1);
        tally.by_answerer |= answered_by(entry.outcome) == Some(line.release.as_str());
    }
    for (tally, entry) in tallies.iter().zip(report.entries()) {
        let sequence = entry.sequence;
        let answered = answered_by(entry.outcome).is_some();
        match tally.times {
            0 => {
                result.never_received.push(sequence);
                if answered {
                    result.answered_but_never_received.push(sequence);
                }
            }
            1 => result.received_once += 1,
            times => result.duplicated.push(Received { sequence, times }),
        }
        if tally.times > 0 && answered && !tally.by_answerer {
            result.answered_by_another.push(sequence);
        }
    }
    result
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    times: u32,
    by_answerer: bool,
}

fn answered_by(outcome: Outcome<'_>) -> Option<&str> {
    match outcome {
        Outcome::Answered { release, .. } => Some(release),
        Outcome::Open
        | Outcome::Gateway { .. }
        | Outcome::Connection { .. }
        | Outcome::TimedOut
        | Outcome::Unfinished => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::ledger::{End, Ledger};

    #[test]
    fn the_two_ledgers_are_compared_number_by_number() {
        let mut ledger = Ledger::default();
        let answered = |release: &str| End::Answered { status: 200, release: Some(release.into()) };
        let ends = [answered("1"), answered("1"), answered("2"), End::TimedOut, answered("1")];
        for (number, end) in ends.into_iter().enumerate() {
            ledger.open(Duration::ZERO, Duration::ZERO);
            ledger.end(number as u64, Duration::ZERO, end);
        }
        let report = Report::new("ab".into(), Instant::now(), ledger, false);
        let lines = [
            "ab-0 1 a GET /",
            "ab-1 1 a GET /",
            "ab-1 1 b GET /",
            "ab-4 2 b GET /",
            "ab-9 1 a GET /",
            "cd-0 1 a GET /",
        ];
        let result = reconcile(&report, lines.iter().map(|line| line.parse().unwrap()));
        assert_eq!(
            result,
            Reconciliation {
                sent: 5,
                received_once: 2,
                duplicated: vec![Received { sequence: 1, times: 2 }],
                never_received: vec![2, 3],
                answered_but_never_received: vec![2],
                answered_by_another: vec![4],
                never_sent: 1,
                foreign: 1,
            }
        );
    }

    #[test]
    fn a_torn_line_is_refused_and_quoted() {
        for bad in ["", "ab-0", "ab-0 1 a GET", "ab 1 a GET /", "ab-x 1 a GET /", "ab-0 1 a GET / more"] {
            let error = bad.parse::<ReceivedLine>().unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
    }
}
