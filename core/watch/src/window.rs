//! Where a window begins and ends at a given time: rolling ones by the minute, those of the calendar by the civil time of a
//! place, with its summer time. Does not live here: which windows there are (`model::objective`).

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use model::Timestamp;
use model::objective::{CalendarUnit, Window, zone};

use crate::minutes::{Range, SECONDS, minute_of};

/// The whole window that an instant is in: a rolling one ends with the running minute, one of the calendar where the
/// period ends. A zone that is not known (the manifest refuses it) counts as UTC.
pub fn whole(window: &Window, at: Timestamp) -> Range {
    let now = minute_of(at);
    match window {
        Window::Rolling(length) => Range::last(length.as_secs() / SECONDS, now + 1),
        Window::Calendar { unit, zone: name } => {
            let zone = zone(name).unwrap_or(TimeZone::UTC);
            period(*unit, &zone, at)
                .unwrap_or_else(|| Range::last(window.nominal().as_secs() / SECONDS, now + 1))
        }
    }
}

/// The part of a window that has begun: up to and with the running minute.
pub fn begun(window: &Window, at: Timestamp) -> Range {
    let whole = whole(window, at);
    Range { from: whole.from, to: whole.to.min(minute_of(at) + 1) }
}

/// A month by its name, as `2026-11`, in a time zone; the one that an instant is in when none is named.
///
/// # Errors
/// When it is no month, or has not begun at that instant.
pub fn month(name: Option<&str>, zone_name: &str, at: Timestamp) -> Result<(String, Range), String> {
    let zone = zone(zone_name).unwrap_or(TimeZone::UTC);
    let instant = jiff::Timestamp::from_microsecond(at.as_micros()).map_err(|error| error.to_string())?;
    let today = zone.to_datetime(instant).date();
    let first = match name {
        None => today.first_of_month(),
        Some(name) => format!("{name}-01").parse::<Date>().map_err(|_| format!("{name:?} is no month"))?,
    };
    let text = format!("{:04}-{:02}", first.year(), first.month());
    if first > today {
        return Err(format!("{text} has not begun"));
    }
    let noon = zone.to_ambiguous_timestamp(first.at(12, 0, 0, 0)).compatible().ok();
    let range = noon
        .and_then(|noon| period(CalendarUnit::Month, &zone, Timestamp::from_micros(noon.as_microsecond())));
    range.map(|range| (text.clone(), range)).ok_or_else(|| format!("{text} is outside of the calendar"))
}

/// `None` at the ends of the calendar.
fn period(unit: CalendarUnit, zone: &TimeZone, at: Timestamp) -> Option<Range> {
    let instant = jiff::Timestamp::from_microsecond(at.as_micros()).ok()?;
    let first = first_day(unit, zone.to_datetime(instant).date())?;
    let next = match unit {
        CalendarUnit::Week => first.checked_add(jiff::Span::new().days(7)),
        CalendarUnit::Month => first.checked_add(jiff::Span::new().months(1)),
        CalendarUnit::Quarter => first.checked_add(jiff::Span::new().months(3)),
        CalendarUnit::Year => first.checked_add(jiff::Span::new().years(1)),
    };
    let minute = |date: Date| {
        let midnight = DateTime::from_parts(date, Time::midnight());
        // A midnight that summer time skips is the instant after the gap.
        let instant = zone.to_ambiguous_timestamp(midnight).compatible().ok()?;
        Some(u64::try_from(instant.as_second()).unwrap_or(0) / SECONDS)
    };
    Some(Range { from: minute(first)?, to: minute(next.ok()?)? })
}

fn first_day(unit: CalendarUnit, date: Date) -> Option<Date> {
    match unit {
        CalendarUnit::Week => {
            let since_monday = i64::from(date.weekday().since(Weekday::Monday));
            date.checked_sub(jiff::Span::new().days(since_monday)).ok()
        }
        CalendarUnit::Month => Some(date.first_of_month()),
        CalendarUnit::Quarter => Date::new(date.year(), (date.month() - 1) / 3 * 3 + 1, 1).ok(),
        CalendarUnit::Year => Some(date.first_of_year()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_micros(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
    }

    fn shown(range: Range) -> [String; 2] {
        [range.from, range.to].map(|minute| {
            jiff::Timestamp::from_second(i64::try_from(minute).unwrap() * 60).unwrap().to_string()
        })
    }

    fn calendar(unit: CalendarUnit, zone: &str, when: &str) -> [String; 2] {
        shown(whole(&Window::Calendar { unit, zone: zone.to_owned() }, at(when)))
    }

    #[test]
    fn a_month_is_known_by_its_name_in_its_own_zone() {
        let at = Timestamp::from_micros(1_763_700_000_000_000); // 2025-11-21
        let (name, november) = month(None, "UTC", at).unwrap();
        assert_eq!((name.as_str(), november.len()), ("2025-11", 30 * 1_440));
        let (_, october) = month(Some("2025-10"), "Europe/Vienna", at).unwrap();
        assert_eq!(october.len(), 31 * 1_440 + 60, "the hour that comes twice");
        for bad in ["2025-12", "2025-13", "2025", "x", "2025-1"] {
            assert!(month(Some(bad), "UTC", at).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_rolling_window_ends_with_the_running_minute() {
        let range = whole(&Window::Rolling(Duration::from_secs(86_400)), at("2026-03-02T10:00:30Z"));
        assert_eq!(shown(range), ["2026-03-01T10:01:00Z", "2026-03-02T10:01:00Z"]);
        assert_eq!(range.len(), 1_440);
    }

    #[test]
    fn a_month_is_that_of_the_place_with_its_summer_time() {
        // Vienna goes from UTC+1 to UTC+2 on the 29th of March 2026.
        let march = calendar(CalendarUnit::Month, "Europe/Vienna", "2026-03-15T00:00:00Z");
        assert_eq!(march, ["2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"]);
        // One minute before the month ends there, it is still the 31st in UTC.
        let before = calendar(CalendarUnit::Month, "Europe/Vienna", "2026-03-31T21:59:59Z");
        let after = calendar(CalendarUnit::Month, "Europe/Vienna", "2026-03-31T22:00:00Z");
        assert_eq!((&before, after[0].as_str()), (&march, "2026-03-31T22:00:00Z"));
    }

    #[test]
    fn february_weeks_quarters_and_years_are_those_of_the_calendar() {
        let leap = calendar(CalendarUnit::Month, "UTC", "2028-02-29T23:59:59Z");
        assert_eq!(leap, ["2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"]);
        let week = calendar(CalendarUnit::Week, "UTC", "2026-01-01T12:00:00Z");
        assert_eq!(week, ["2025-12-29T00:00:00Z", "2026-01-05T00:00:00Z"]);
        let quarter = calendar(CalendarUnit::Quarter, "UTC", "2026-12-31T23:59:00Z");
        assert_eq!(quarter, ["2026-10-01T00:00:00Z", "2027-01-01T00:00:00Z"]);
        let year = calendar(CalendarUnit::Year, "Asia/Tokyo", "2026-12-31T15:00:00Z");
        assert_eq!(year, ["2026-12-31T15:00:00Z", "2027-12-31T15:00:00Z"]);
    }

    #[test]
    fn a_midnight_that_does_not_exist_is_the_first_instant_after_it() {
        // In Asuncion the first of October 2017 began at one o'clock.
        let month = calendar(CalendarUnit::Month, "America/Asuncion", "2017-10-15T12:00:00Z");
        assert_eq!(month[0], "2017-10-01T04:00:00Z");
    }

    #[test]
    fn what_has_begun_of_a_month_ends_now() {
        let now = at("2026-03-02T10:00:30Z");
        let range = begun(&Window::month(), now);
        assert_eq!(shown(range), ["2026-03-01T00:00:00Z", "2026-03-02T10:01:00Z"]);
    }
}
