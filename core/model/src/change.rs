//! When and by whom something may be changed, as a team declares it: freeze windows in civil time, and approvals. Does not live
//! here: what is refused because of them (`core/lifecycle`).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span};
use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::objective::zone;

const MINUTES_OF_A_DAY: u32 = 24 * 60;
/// The week's days as they are written, from Monday on.
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// The most freezes of one service in one environment.
pub const MOST_FREEZES: usize = 50;

/// When and by whom something may be changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    /// When no rollout begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<Freeze>,
    /// Who else has to agree; nobody when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<Approvals>,
}

impl Changes {
    /// Whether everything is as if nothing had been said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Time in which no rollout begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Freeze {
    /// What the team calls it.
    pub name: String,
    /// When.
    pub when: When,
    /// Where the clock hangs that it goes by: a time zone's name in the database of the IANA.
    pub zone: String,
    /// Why; whoever is refused reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// When a freeze holds, by the clock on the wall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum When {
    /// Once.
    Once {
        /// From then on.
        from: DateTime,
        /// Until before then.
        to: DateTime,
    },
    /// In every week.
    Weekly {
        /// From then on.
        from: WeekTime,
        /// Until before then; in the next week when it is not after `from`.
        to: WeekTime,
    },
}

/// A time of the week: minutes since Monday, 00:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WeekTime(u32);

/// Why a text is no time of the week.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no time of the week")]
pub struct InvalidWeekTime(String);

impl FromStr for WeekTime {
    type Err = InvalidWeekTime;

    /// `Fri 16:00`, `Friday 16:00`.
    fn from_str(text: &str) -> Result<Self, InvalidWeekTime> {
        let read = || {
            let (day, time) = text.trim().split_once(' ')?;
            let long = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
            let day = DAYS.iter().zip(long).position(|(short, long)| {
                day.eq_ignore_ascii_case(short) || day.eq_ignore_ascii_case(long)
            })?;
            let (hour, minute) = time.trim().split_once(':')?;
            let two = |text: &str| (text.len() == 2).then(|| text.parse::<u32>().ok())?;
            let (hour, minute) = (two(hour)?, two(minute)?);
            let day = u32::try_from(day).ok()?;
            (hour < 24 && minute < 60).then_some(Self(day * MINUTES_OF_A_DAY + hour * 60 + minute))
        };
        read().ok_or_else(|| InvalidWeekTime(text.to_owned()))
    }
}

impl fmt::Display for WeekTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (day, minute) = (self.0 / MINUTES_OF_A_DAY, self.0 % MINUTES_OF_A_DAY);
        let day = DAYS.get(day as usize).copied().unwrap_or_default();
        write!(f, "{day} {:02}:{:02}", minute / 60, minute % 60)
    }
}

impl Freeze {
    /// When it holds between two instants, in order; parts that begin before or end after are whole.
    ///
    /// A clock that is set never shortens a freeze: of a time that comes twice, the beginning is the first and the end is the second;
    /// one that does not come begins an hour (or as much as is skipped) early, and ends as much late.
    pub fn between(&self, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let tz = zone(&self.zone).unwrap_or(TimeZone::UTC);
        let parts: Vec<(DateTime, DateTime)> = match &self.when {
            When::Once { from, to } => vec![(*from, *to)],
            When::Weekly { from: begin, to: end } => weeks(&tz, (from, to), *begin, *end),
        };
        let instants = parts.into_iter().filter_map(|(begin, end)| {
            let begin = tz.to_ambiguous_timestamp(begin).earlier().ok()?;
            let end = tz.to_ambiguous_timestamp(end).later().ok()?;
            Some((
                Timestamp::from_micros(begin.as_microsecond()),
                Timestamp::from_micros(end.as_microsecond()),
            ))
        });
        instants.filter(|(begin, end)| *begin <= to && from < *end).collect()
    }

    /// Until when it holds, if it does at this instant.
    pub fn holds_until(&self, at: Timestamp) -> Option<Timestamp> {
        let parts = self.between(at, at);
        parts.into_iter().filter(|(begin, end)| *begin <= at && at < *end).map(|(_, end)| end).max()
    }
}

/// The times of a week in every week that touches a span.
fn weeks(
    tz: &TimeZone,
    span: (Timestamp, Timestamp),
    begin: WeekTime,
    end: WeekTime,
) -> Vec<(DateTime, DateTime)> {
    let civil =
        |at: Timestamp| Some(tz.to_datetime(jiff::Timestamp::from_microsecond(at.as_micros()).ok()?).date());
    let Some((first, last)) = civil(span.0).zip(civil(span.1)) else { return vec![] };
    let since_monday = i64::from(first.weekday().to_monday_zero_offset());
    let length = if end > begin { end.0 - begin.0 } else { 7 * MINUTES_OF_A_DAY + end.0 - begin.0 };
    let minutes = |minutes: u32| SignedDuration::from_mins(i64::from(minutes));
    let mut monday = first.checked_sub(Span::new().days(since_monday + 7)).ok();
    let mut all = Vec::new();
    while let Some(day) = monday.filter(|day| *day <= last) {
        let from = day.at(0, 0, 0, 0).checked_add(minutes(begin.0)).ok();
        let to = from.and_then(|from| from.checked_add(minutes(length)).ok());
        all.extend(from.zip(to));
        monday = day.checked_add(Span::new().days(7)).ok();
    }
    all
}

/// Who else has to agree before a rollout begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approvals {
    /// How many others.
    pub required: u32,
    /// Who may approve, by name; everybody when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<String>,
    /// How long a request waits for them.
    #[serde(with = "crate::time::words")]
    pub expires: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_micros(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
    }

    fn weekly(from: &str, to: &str, zone: &str) -> Freeze {
        let when = When::Weekly { from: from.parse().unwrap(), to: to.parse().unwrap() };
        Freeze { name: "weekend".to_owned(), when, zone: zone.to_owned(), reason: None }
    }

    fn once(from: &str, to: &str, zone: &str) -> Freeze {
        let when = When::Once { from: from.parse().unwrap(), to: to.parse().unwrap() };
        Freeze { when, ..weekly("Mon 00:00", "Mon 00:01", zone) }
    }

    fn until(freeze: &Freeze, when: &str) -> Option<Timestamp> {
        freeze.holds_until(at(when))
    }

    #[test]
    fn a_weekend_begins_and_ends_by_the_clock_of_its_place() {
        let weekend = weekly("Fri 16:00", "Mon 08:00", "Europe/Vienna");
        // A Friday in winter: 16:00 is 15:00 UTC.
        assert_eq!(until(&weekend, "2026-11-20T14:59:59Z"), None);
        assert_eq!(until(&weekend, "2026-11-20T15:00:00Z"), Some(at("2026-11-23T07:00:00Z")));
        assert_eq!(until(&weekend, "2026-11-23T06:59:59Z"), Some(at("2026-11-23T07:00:00Z")));
        assert_eq!(until(&weekend, "2026-11-23T07:00:00Z"), None);
        // In summer it is 14:00 UTC, and the weekend of the change is an hour longer or shorter in real time.
        assert_eq!(until(&weekend, "2026-07-03T14:00:00Z"), Some(at("2026-07-06T06:00:00Z")));
        assert_eq!(until(&weekend, "2026-03-27T15:00:00Z"), Some(at("2026-03-30T06:00:00Z")));
    }

    #[test]
    fn a_clock_that_is_set_never_shortens_a_freeze() {
        // 2026-03-29 02:00 to 03:00 does not come in Vienna; 2026-10-25 02:00 to 03:00 comes twice.
        let skipped = once("2026-03-29T02:30", "2026-03-29T05:00", "Europe/Vienna");
        assert_eq!(
            skipped.between(at("2026-03-29T00:00:00Z"), at("2026-03-30T00:00:00Z"))[0].0,
            at("2026-03-29T00:30:00Z")
        );
        let ends_in_the_gap = once("2026-03-29T00:00", "2026-03-29T02:30", "Europe/Vienna");
        assert_eq!(until(&ends_in_the_gap, "2026-03-29T00:00:00Z"), Some(at("2026-03-29T01:30:00Z")));
        let twice = once("2026-10-25T02:30", "2026-10-25T02:45", "Europe/Vienna");
        assert_eq!(until(&twice, "2026-10-25T00:30:00Z"), Some(at("2026-10-25T01:45:00Z")));
        assert_eq!(until(&twice, "2026-10-25T01:00:00Z"), Some(at("2026-10-25T01:45:00Z")));
    }

    #[test]
    fn a_night_that_ends_before_it_begins_ends_in_the_next_week() {
        let most = weekly("Wed 00:00", "Tue 23:00", "UTC");
        assert_eq!(until(&most, "2026-11-24T22:59:00Z"), Some(at("2026-11-24T23:00:00Z")));
        assert_eq!(until(&most, "2026-11-24T23:30:00Z"), None);
    }

    #[test]
    fn times_of_the_week_are_read_as_people_write_them() {
        for (text, shown) in
            [("Fri 16:00", "Fri 16:00"), ("monday 08:05", "Mon 08:05"), ("SUN 00:00", "Sun 00:00")]
        {
            assert_eq!(text.parse::<WeekTime>().unwrap().to_string(), shown);
        }
        for bad in ["", "Fri", "Fri 24:00", "Fri 16", "Fri 1:00", "Foo 16:00", "16:00 Fri"] {
            assert!(bad.parse::<WeekTime>().is_err(), "{bad}");
        }
    }
}
