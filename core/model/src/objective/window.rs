//! Over how long an objective is judged: a rolling window, or a period of the calendar somewhere on earth. Does not live
//! here: where a window begins at a given time (`core/watch`).

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

/// The grain of all counting.
pub const MINUTE: Duration = Duration::from_secs(60);
const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// Over how long an objective is judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Window {
    /// The last so many minutes.
    Rolling(#[serde(with = "crate::time::words")] Duration),
    /// The week, month, quarter or year that is running.
    Calendar {
        /// Which.
        unit: CalendarUnit,
        /// Where: a time zone's name in the database of the IANA.
        zone: String,
    },
}

impl Default for Window {
    fn default() -> Self {
        Self::Rolling(Duration::from_secs(30 * DAY))
    }
}

impl Window {
    /// The shortest rolling window: below it, no pair of alert windows is left that means anything.
    pub const SHORTEST: Duration = Duration::from_secs(DAY);
    /// The longest rolling window.
    pub const LONGEST: Duration = Duration::from_secs(366 * DAY);

    /// The month that is running, in UTC.
    pub fn month() -> Self {
        Self::Calendar { unit: CalendarUnit::Month, zone: "UTC".to_owned() }
    }

    /// A rolling window.
    ///
    /// # Errors
    /// When it is no whole number of minutes, or outside of the bounds.
    pub fn rolling(length: Duration) -> Result<Self, InvalidWindow> {
        if !length.as_secs().is_multiple_of(60) || length.subsec_nanos() != 0 {
            return Err(InvalidWindow::Broken(words(length)));
        }
        if !(Self::SHORTEST..=Self::LONGEST).contains(&length) {
            return Err(InvalidWindow::Outside(words(length)));
        }
        Ok(Self::Rolling(length))
    }

    /// How long it is for the scaling of alerts: a month has 30 days, a quarter 91 and a year 365, so that rules do not
    /// change from one February to the next March.
    pub fn nominal(&self) -> Duration {
        match self {
            Self::Rolling(length) => *length,
            Self::Calendar { unit, .. } => Duration::from_secs(DAY * unit.nominal_days()),
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rolling(length) => f.write_str(&words(*length)),
            Self::Calendar { unit, zone } => write!(f, "calendar {} ({zone})", unit.name()),
        }
    }
}

impl FromStr for Window {
    type Err = InvalidWindow;

    /// A rolling window: `30d`, `4w`, `36h`, `1d12h`.
    fn from_str(text: &str) -> Result<Self, InvalidWindow> {
        let malformed = || InvalidWindow::Malformed(text.to_owned());
        let mut rest = text.trim();
        let mut seconds = 0u64;
        let mut smallest = u64::MAX;
        if rest.is_empty() {
            return Err(malformed());
        }
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = rest.split_at(digits);
            let number: u64 = number.parse().map_err(|_| malformed())?;
            let units = [("w", 7 * DAY), ("d", DAY), ("h", HOUR), ("m", 60)];
            let found = units.into_iter().find(|(unit, _)| after.starts_with(unit));
            let (unit, size) = found.filter(|(_, size)| *size < smallest).ok_or_else(malformed)?;
            let part = number.checked_mul(size).ok_or_else(malformed)?;
            seconds = seconds.checked_add(part).ok_or_else(malformed)?;
            smallest = size;
            rest = &after[unit.len()..];
        }
        Self::rolling(Duration::from_secs(seconds))
    }
}

/// A length in the words that a window is declared with: `30d`, `1d12h`.
fn words(length: Duration) -> String {
    let (days, rest) = (length.as_secs() / DAY, length - Duration::from_secs(length.as_secs() / DAY * DAY));
    match (days, rest.is_zero()) {
        (0, _) => crate::time::format_duration(rest),
        (days, true) => format!("{days}d"),
        (days, false) => format!("{days}d{}", crate::time::format_duration(rest)),
    }
}

/// Why something is no window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWindow {
    /// It cannot be read.
    #[error("{0:?} is not a window: use weeks, days and hours, as in 30d, 4w or 36h")]
    Malformed(String),
    /// It is no whole number of minutes.
    #[error("{0} is no whole number of minutes, which is how events are counted")]
    Broken(String),
    /// It is too short or too long.
    #[error("a window has 1 to 366 days, and {0} is outside of that")]
    Outside(String),
}

/// A period of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CalendarUnit {
    /// From Monday.
    Week,
    /// From its first day.
    Month,
    /// From January, April, July and October.
    Quarter,
    /// From the first of January.
    Year,
}

impl CalendarUnit {
    /// Every period.
    pub const ALL: [Self; 4] = [Self::Week, Self::Month, Self::Quarter, Self::Year];

    /// Its word in the manifest.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }

    const fn nominal_days(self) -> u64 {
        match self {
            Self::Week => 7,
            Self::Month => 30,
            Self::Quarter => 91,
            Self::Year => 365,
        }
    }
}

/// The database that is part of the program: the same rules on every machine, and nothing is read.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A time zone by its name in the database of the IANA; `None` when there is none of that name.
pub fn zone(name: &str) -> Option<TimeZone> {
    ZONES.get(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_declared_in_days_and_weeks() {
        let days = |days: u64| Ok(Window::Rolling(Duration::from_secs(days * DAY)));
        assert_eq!(("30d".parse(), "4w".parse(), "720h".parse()), (days(30), days(28), days(30)));
        assert_eq!("1d12h".parse::<Window>().unwrap().to_string(), "1d12h");
        for bad in ["", "30", "d", "30 d", "1h1d", "30s", "12h", "367d", "99999999999999999999d", "1M"] {
            assert!(bad.parse::<Window>().is_err(), "{bad}");
        }
        assert!(Window::rolling(Duration::from_secs(DAY + 1)).is_err());
    }

    #[test]
    fn zones_are_known_without_the_machine() {
        assert!(zone("Europe/Vienna").is_some() && zone("UTC").is_some());
        assert!(zone("Europe/Atlantis").is_none());
    }

    #[test]
    fn a_stored_window_reads_back() {
        for window in [Window::default(), Window::month()] {
            let json = serde_json::to_string(&window).unwrap();
            assert_eq!(serde_json::from_str::<Window>(&json).unwrap(), window);
        }
    }
}
