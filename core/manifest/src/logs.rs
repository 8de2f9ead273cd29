//! What the manifest says of captured output: files, records, what is taken out of them, where they go. Does not live here: where
//! OTLP is sent (`traces`).

use model::records::{Records, Retention};
use model::spec::Logs;
use regex::Regex;

use crate::diagnostic::Problem;
use crate::fields;
use crate::read::Mapping;
use crate::{traces, values};

/// The longest pattern, in bytes.
const LONGEST: usize = 500;
/// The largest automaton that a pattern may become, in bytes: it is run over every line.
const LARGEST: usize = 256 << 10;
/// The shortest time that records may be kept.
const SHORTEST: std::time::Duration = std::time::Duration::from_secs(3600);
/// What every line says of itself: a pattern that takes this out leaves nothing to read.
const ORDINARY: &str = r#"{"level":"info","message":"ready"}"#;

pub(crate) fn logs(root: &Mapping<'_>) -> (Logs, Records) {
    let logs = root.child("logs", &fields::LOGS);
    let files = Logs {
        file_bytes: logs.bytes("maxFileSize").unwrap_or_default(),
        files: logs.count("maxFiles").unwrap_or_default(),
    };
    let retention = logs.child("retention", &fields::RETENTION);
    let default = Retention::default();
    let read =
        Retention { time: retention.duration("time"), size: retention.bytes("size").unwrap_or(default.size) };
    if read.time < SHORTEST && retention.entry("time").is_some() {
        let problem = Problem::new("records that go within the hour answer nobody's question");
        retention.error(&retention.place("time"), problem.help("write 1h or more, or limit the `size`"));
    }
    retention.finish();
    let redact = logs.scalars("redact", "a pattern", |scalar| pattern(values::text(scalar)?));
    let export = logs.entry("export").and_then(|_| {
        let export = logs.child("export", &fields::LOGS_EXPORT);
        let otlp = traces::otlp(&export);
        export.finish();
        otlp
    });
    logs.finish();
    (files, Records { retention: read, redact: redact.unwrap_or_default(), export })
}

/// A pattern that may be run over every line: valid, small, and taking out a part of what is there.
fn pattern(text: String) -> Result<String, Problem> {
    if text.len() > LONGEST {
        let problem = Problem::new(format!("a pattern of {} bytes is too long", text.len()));
        return Err(problem.help(format!("{LONGEST} bytes at most: write several patterns")));
    }
    let built = regex::RegexBuilder::new(&text).size_limit(LARGEST).build();
    let pattern = built.map_err(|error| {
        if matches!(error, regex::Error::CompiledTooBig(_)) {
            return Problem::new(format!("the pattern becomes larger than {} KiB", LARGEST >> 10))
                .help("repeat less: `{1,20}` instead of `{1,2000}`, `[0-9]` instead of `\\d`");
        }
        let said = error.to_string();
        let said = said.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Problem::new(format!("the pattern cannot be read: {said}"))
            .help("as in `card=([0-9]{12,19})`; look-around and back references do not exist here")
    })?;
    let nothing =
        taken(&pattern, "").is_some() || taken(&pattern, ORDINARY).is_some_and(|range| range.is_empty());
    if nothing {
        return Err(Problem::new("the pattern finds the empty text, which is everywhere")
            .help("write `+` instead of `*`, or leave out what may be absent"));
    }
    if let Some(range) = taken(&pattern, ORDINARY) {
        let found = ORDINARY.get(range).unwrap_or_default();
        return Err(Problem::new(format!("the pattern takes `{found}` out of `{ORDINARY}`")).help(
            "say what stands before the secret, and put the secret itself into a group: `card=([0-9]+)`",
        ));
    }
    Ok(text)
}

/// What a pattern takes out of a line first.
fn taken(pattern: &Regex, line: &str) -> Option<std::ops::Range<usize>> {
    let found = pattern.captures(line)?;
    found.get(1).or_else(|| found.get(0)).map(|part| part.range())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_that_is_wrong_or_takes_everything_is_refused_with_the_way_out() {
        for (text, says) in [
            ("(", "cannot be read: unclosed group"),
            ("(?=x)y", "look-around"),
            ("x*", "the empty text"),
            ("a|", "the empty text"),
            (".+", "takes `{"),
            (r"\w+", "takes `level`"),
            (r#""message":"(.*?)""#, "takes `ready`"),
            (r"(\pL{1,500}){1,50}", "becomes larger"),
            (&"x".repeat(501), "too long"),
        ] {
            let problem = pattern(text.to_owned()).unwrap_err();
            let said = format!("{problem:?}");
            assert!(said.contains(says), "{text}: {said}");
        }
        for text in ["card=([0-9]{12,19})", "IBAN[A-Z0-9]+", r"(?i)ssn[:=]\s*(\d{3}-\d{2}-\d{4})"] {
            assert!(pattern(text.to_owned()).is_ok(), "{text}");
        }
    }
}
