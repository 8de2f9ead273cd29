//! The commands of a test file.

use std::sync::Arc;

use regex::Regex;

use super::data;
use crate::eval::Query;
use crate::labels::{Labels, NAME};

/// A test file.
#[derive(Debug, Clone, Default)]
pub struct File {
    /// Its commands with their line numbers, from 1.
    pub lines: Vec<(usize, Line)>,
}

/// A command.
#[derive(Debug, Clone)]
pub enum Line {
    /// Forget all samples.
    Clear,
    /// Add samples, so many milliseconds apart. Without the series that the subset does not serve.
    Load {
        /// Between two samples.
        gap: i64,
        /// What.
        series: Vec<(Labels, Vec<Option<f64>>)>,
        /// The series that were left out.
        refused: Vec<Labels>,
    },
    /// Evaluate and compare.
    Eval(Box<Case>),
}

/// A query and what it should give.
#[derive(Debug, Clone)]
pub struct Case {
    /// When.
    pub query: Query,
    /// What.
    pub text: String,
    /// What it should give; `None` when that is outside of the subset.
    pub expected: Option<Expected>,
    /// Whether the order counts.
    pub ordered: bool,
    /// Whether it should fail, and how.
    pub fail: Option<Option<Wording>>,
    /// What it should warn of.
    pub warn: Notes,
    /// What it should inform of.
    pub info: Notes,
}

/// What a query should give.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// A number.
    Scalar(f64),
    /// Series with a value at each step.
    Series(Vec<(Labels, Vec<Option<f64>>)>),
}

/// What should be noted beside an answer.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    /// At least one.
    pub any: bool,
    /// None.
    pub none: bool,
    /// Exactly these.
    pub wordings: Vec<Wording>,
}

/// How a message should read.
#[derive(Debug, Clone)]
pub enum Wording {
    /// So.
    Exactly(String),
    /// So that it matches.
    Like(Arc<Regex>),
}

impl Wording {
    /// Whether a message reads so.
    pub fn fits(&self, message: &str) -> bool {
        match self {
            Self::Exactly(text) => text == message,
            Self::Like(regex) => regex.is_match(message),
        }
    }
}

/// Reads a test file.
///
/// # Errors
/// The line and what is wrong there.
pub fn parse(text: &str) -> Result<File, String> {
    let lines: Vec<&str> =
        text.lines().map(str::trim).map(|l| if l.starts_with('#') { "" } else { l }).collect();
    let mut file = File::default();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        let number = at + 1;
        at += 1;
        if line.is_empty() {
            continue;
        }
        let end =
            lines[at..].iter().position(|line| line.is_empty()).map_or(lines.len(), |offset| at + offset);
        let block = &lines[at..end];
        let word = line.split_whitespace().next().unwrap_or_default();
        let (command, used) = match word {
            "clear" => (Line::Clear, 0),
            "load" | "load_with_nhcb" => {
                let histograms = word == "load_with_nhcb";
                let load = load(line, block, histograms).map_err(|why| format!("line {number}: {why}"))?;
                (load, block.len())
            }
            _ if word == "eval" || word.starts_with("eval_") => {
                let (case, used) = eval(line, block).map_err(|why| format!("line {number}: {why}"))?;
                (Line::Eval(Box::new(case)), used)
            }
            _ => {
                return Err(format!("line {number}: {word:?} is no command; known are clear, load and eval"));
            }
        };
        file.lines.push((number, command));
        at += used;
    }
    Ok(file)
}

/// With `histograms`, classic ones shall be loaded as native ones too, which the subset does not serve.
fn load(line: &str, block: &[&str], histograms: bool) -> Result<Line, String> {
    let gap = line.split_whitespace().nth(1).ok_or("load needs a gap between two samples")?;
    let (mut series, mut refused) = (Vec::new(), Vec::new());
    for text in block {
        let (labels, values) = data::series(text)?;
        if let Some(base) = labels.name().strip_suffix("_bucket").filter(|_| histograms) {
            refused.push(labels.with(NAME, base).with("le", ""));
        }
        match values {
            Some(values) => series.push((labels, values)),
            None => refused.push(labels),
        }
    }
    Ok(Line::Load { gap: duration(gap)?, series, refused })
}

/// A duration such as `1h30m`, or a number of seconds, in milliseconds.
fn duration(text: &str) -> Result<i64, String> {
    let bad = || format!("{text:?} is not a duration");
    if let Ok(seconds) = text.parse::<f64>() {
        return Ok((seconds * 1000.0) as i64);
    }
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let mut total = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let number: i64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += number
            * match &rest[..unit] {
                "ms" => 1,
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                "w" => 7 * 86_400_000,
                "y" => 365 * 86_400_000,
                _ => return Err(bad()),
            };
        rest = &rest[unit..];
    }
    Ok(sign * total)
}

fn eval(line: &str, block: &[&str]) -> Result<(Case, usize), String> {
    let (command, rest) = line.split_once(char::is_whitespace).ok_or("eval needs a query")?;
    let mut rest = rest.trim_start();
    let mut word = |expected: &str| {
        let (found, after) = rest.split_once(char::is_whitespace).ok_or("eval ends early")?;
        if !expected.is_empty() && found != expected {
            return Err(format!("{found:?} stands where {expected:?} should"));
        }
        rest = after.trim_start();
        Ok(found)
    };
    let kind = word("")?;
    let query = match kind {
        "instant" => {
            word("at")?;
            Query::Instant(duration(word("")?)?)
        }
        "range" => {
            word("from")?;
            let start = duration(word("")?)?;
            word("to")?;
            let end = duration(word("")?)?;
            word("step")?;
            Query::Range { start, end, step: duration(word("")?)? }
        }
        _ => return Err(format!("eval {kind}: known are instant and range")),
    };
    let mut case = Case {
        query,
        text: rest.to_owned(),
        expected: Some(Expected::Series(vec![])),
        ordered: command == "eval_ordered",
        fail: (command == "eval_fail").then_some(None),
        warn: Notes { any: command == "eval_warn", ..Notes::default() },
        info: Notes { any: command == "eval_info", ..Notes::default() },
    };
    let mut used = 0;
    for line in block {
        used += 1;
        if let Some(message) = line.strip_prefix("expected_fail_message").filter(|_| case.fail.is_some()) {
            case.fail = Some(Some(Wording::Exactly(message.trim().to_owned())));
            break;
        }
        if let Some(pattern) = line.strip_prefix("expected_fail_regexp").filter(|_| case.fail.is_some()) {
            case.fail = Some(Some(like(pattern.trim())?));
            break;
        }
        if let Some(expect) = line.strip_prefix("expect ") {
            self::expect(&mut case, expect)?;
            continue;
        }
        if let Some(number) = data::number(line) {
            case.expected = Some(Expected::Scalar(number));
            break;
        }
        let (labels, values) = data::series(line)?;
        match (values, &mut case.expected) {
            (Some(values), Some(Expected::Series(series))) => series.push((labels, values)),
            (_, expected) => *expected = None,
        }
    }
    Ok((case, used))
}

fn like(pattern: &str) -> Result<Wording, String> {
    Regex::new(pattern).map(|regex| Wording::Like(Arc::new(regex))).map_err(|error| error.to_string())
}

fn expect(case: &mut Case, text: &str) -> Result<(), String> {
    let (what, wording) = text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), ""));
    let wording = match wording.trim().split_once(':') {
        None => None,
        Some(("msg", text)) => Some(Wording::Exactly(text.trim().to_owned())),
        Some(("regex", pattern)) => Some(like(pattern.trim())?),
        Some((other, _)) => return Err(format!("expect {what} {other}: known are msg and regex")),
    };
    let note = |notes: &mut Notes, wording: Option<Wording>| {
        notes.any = true;
        notes.wordings.extend(wording);
    };
    match what {
        "ordered" => case.ordered = true,
        "fail" => case.fail = Some(wording),
        "warn" => note(&mut case.warn, wording),
        "info" => note(&mut case.info, wording),
        "no_warn" => case.warn.none = true,
        "no_info" => case.info.none = true,
        _ => return Err(format!("expect {what}: known are ordered, fail, warn, info, no_warn and no_info")),
    }
    Ok(())
}
