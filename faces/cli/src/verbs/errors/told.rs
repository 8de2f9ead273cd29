//! Errors in words. Pure, but for the paint.

use api::errors::{ErrorGroup, InRelease, Reopened, Stance, State};
use model::{Place, Timestamp};

use crate::printer::{Paint, Printer};
use crate::words;

/// Digits of an identifier that are shown in a list.
const DIGITS: usize = 8;
/// Columns of a title in a list.
const TITLE: usize = 100;

/// A line, and how much it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line(String, Option<Paint>);

impl Line {
    /// As stdout takes it.
    pub(super) fn painted(&self, printer: &Printer) -> String {
        let Self(text, paint) = self;
        paint.map_or_else(|| text.clone(), |paint| printer.paint(paint, text))
    }
}

fn plain(text: impl AsRef<str>) -> Line {
    Line(words::plain(text.as_ref()), None)
}

fn coloured(paint: Paint, text: impl AsRef<str>) -> Line {
    Line(words::plain(text.as_ref()), Some(paint))
}

/// How long before `now`, in microseconds since 1970.
fn ago(at: Timestamp, now: i64) -> String {
    let micros = u64::try_from(now.saturating_sub(at.as_micros())).unwrap_or_default();
    match micros / 1_000_000 {
        0 => "now".to_owned(),
        seconds @ 1..60 => format!("{seconds} s ago"),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

/// What kind, and what it says: once when both are the same.
fn title(error: &ErrorGroup) -> String {
    let ErrorGroup { kind, title, .. } = error;
    if kind == "error" || title.starts_with(kind.as_str()) {
        return title.clone();
    }
    format!("{kind}: {title}")
}

fn seen_in(error: &ErrorGroup) -> String {
    let (first, newest) = (error.first_release, error.newest_release);
    if first == newest { format!("release {first}") } else { format!("releases {first} to {newest}") }
}

/// All, place by place, in the order in which they came.
pub(super) fn list(errors: &[ErrorGroup], now: i64) -> Vec<Line> {
    let mut places: Vec<&Place> = Vec::new();
    for error in errors {
        if !places.contains(&&error.place) {
            places.push(&error.place);
        }
    }
    let mut lines = Vec::new();
    for place in places {
        if !lines.is_empty() {
            lines.push(plain(""));
        }
        lines.push(coloured(Paint::Strong, place.to_string()));
        for error in errors.iter().filter(|error| error.place == *place) {
            lines.extend(short(error, now));
        }
    }
    lines
}

fn short(error: &ErrorGroup, now: i64) -> Vec<Line> {
    let id = error.id.get(..DIGITS).unwrap_or(&error.id);
    let is_open = error.state == State::Open;
    let mark = if error.is_new { "NEW" } else { "" };
    let text = format!("  {mark:<3} {id}  {}", words::cut(&title(error), TITLE));
    let paint = match error.is_new && is_open {
        true => Some(Paint::Bad),
        false => None,
    };
    let rate =
        if error.per_hour > 0 { format!(", {} in the last hour", error.per_hour) } else { String::new() };
    let counts = format!(
        "{} times{rate}; {}; first {}, last {}",
        error.count,
        seen_in(error),
        ago(error.first_seen, now),
        ago(error.last_seen, now)
    );
    let mut lines = vec![Line(words::plain(&text), paint), coloured(Paint::Faint, format!("      {counts}"))];
    lines.extend(standing(error, now).map(|standing| plain(format!("      {standing}"))));
    lines
}

/// What was decided, and whether it holds.
fn standing(error: &ErrorGroup, now: i64) -> Option<String> {
    let said = error.decided.as_ref()?;
    let reason = said.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    let what = match said.stance {
        Stance::Acknowledged => "acknowledged".to_owned(),
        Stance::Resolved { from: Some(from) } => format!("resolved in release {from}"),
        Stance::Resolved { from: None } => "resolved".to_owned(),
        Stance::Reopened => "opened again".to_owned(),
    };
    let what = format!("{what} by {} {}{reason}", said.by, ago(said.at, now));
    Some(match error.reopened {
        Some(Reopened::NewerRelease) => {
            format!("open again, release {} has it; it was {what}", error.newest_release)
        }
        Some(Reopened::MoreOften) => format!("open again, it comes more than twice as often; it was {what}"),
        Some(Reopened::CameAgain) => format!("open again, it came again; it was {what}"),
        None => what,
    })
}

/// One, with all that is known of it.
pub(super) fn whole(error: &ErrorGroup, now: i64) -> Vec<Line> {
    let mut lines = vec![coloured(Paint::Strong, format!("{}  {}", error.id, title(error)))];
    let state = match error.state {
        State::Open => "open",
        State::Acknowledged => "acknowledged",
        State::Resolved => "resolved",
    };
    let new = if error.is_new { ", NEW in the newest release" } else { "" };
    lines.push(plain(format!("  {} at {}{new}", state, error.place)));
    lines.extend(standing(error, now).map(|standing| plain(format!("  {standing}"))));
    lines.push(plain(format!(
        "  first  {} ({}), in release {}",
        error.first_seen,
        ago(error.first_seen, now),
        error.first_release
    )));
    lines.push(plain(format!("  last   {} ({})", error.last_seen, ago(error.last_seen, now))));
    lines.push(plain(format!("  seen   {} times, {} in the last hour", error.count, error.per_hour)));
    lines.extend(
        error
            .releases
            .iter()
            .map(|InRelease { release, count }| plain(format!("         release {release}: {count} times"))),
    );
    match &error.sample {
        Some(sample) => {
            let (release, replica) = (sample.release, sample.replica);
            lines.push(plain(format!("  its last record, of {release}/{replica} at {}:", sample.at)));
            lines.extend(sample.line.lines().map(|line| plain(format!("    {line}"))));
        }
        None => lines.push(plain("  its last record is too old to be kept")),
    }
    let Place { service, environment } = &error.place;
    lines.push(coloured(
        Paint::Faint,
        format!(
            "  all of them: shipshape logs --service {service} -e {environment} --where fingerprint={}",
            error.id
        ),
    ));
    lines
}

/// How it stands after a decision, for whoever made it.
pub(super) fn decided(error: &ErrorGroup) -> String {
    let id = error.id.get(..DIGITS).unwrap_or(&error.id);
    match error.state {
        State::Open => format!("{id} is open"),
        State::Acknowledged => format!(
            "{id} is acknowledged: it opens again when a release after {} has it, or it comes more than twice as often",
            error.newest_release
        ),
        State::Resolved => format!("{id} is resolved: it opens again when it comes again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> ErrorGroup {
        let at = Timestamp::from_micros;
        serde_json::from_value(serde_json::json!({
            "place": {"service": "shop", "environment": "dev"}, "id": "3fa1c0de00000000", "kind": "Timeout",
            "title": "charge of order # failed", "state": "open", "isNew": true, "count": 412, "perHour": 86,
            "firstSeen": at(1_000_000), "lastSeen": at(700_000_000), "firstRelease": 12, "newestRelease": 12,
            "releases": [{"release": 12, "count": 412}],
        }))
        .unwrap()
    }

    #[test]
    fn what_is_new_stands_out_without_colour_too() {
        let lines: Vec<String> =
            list(&[error()], 721_000_000).into_iter().map(|Line(text, _)| text).collect();
        assert_eq!(
            lines,
            [
                "shop/dev",
                "  NEW 3fa1c0de  Timeout: charge of order # failed",
                "      412 times, 86 in the last hour; release 12; first 12 min ago, last 21 s ago",
            ]
        );
    }

    #[test]
    fn who_looks_again_reads_who_decided_what_and_why_it_no_longer_holds() {
        let mut error = error();
        let at = Timestamp::from_micros(1_000_000);
        error.decided = Some(api::errors::Said {
            stance: Stance::Acknowledged,
            by: "ada".to_owned(),
            at,
            reason: Some("the bank is down".to_owned()),
        });
        error.reopened = Some(Reopened::NewerRelease);
        let lines = whole(&error, 121_000_000);
        let text: Vec<&str> = lines.iter().map(|Line(text, _)| text.as_str()).collect();
        let standing =
            "  open again, release 12 has it; it was acknowledged by ada 2 min ago: the bank is down";
        assert_eq!(text[2], standing);
        assert!(text.contains(&"         release 12: 412 times"), "{text:?}");
        assert!(text.last().unwrap().contains("--where fingerprint=3fa1c0de00000000"));
    }
}
