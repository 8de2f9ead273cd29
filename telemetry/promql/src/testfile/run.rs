//! Runs a test file against the evaluator, as Prometheus' own runner does: an instant query is also asked as a range, and
//! both have to agree.

use std::collections::BTreeMap;

use super::parse::{Case, Expected, File, Line, Notes};
use crate::eval::{Answer, Options, Query, evaluate};
use crate::expr::Matcher;
use crate::labels::Labels;
use crate::source::Selected;
use crate::value::{Point, Series, Value};
use crate::{Error, Source, read};

/// How one case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Passed,
    /// The subset does not serve it; names what.
    Refused(String),
    /// Not as it should; in words.
    Failed(String),
}

/// How a file's cases ended, with their line numbers and queries.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// In the file's order.
    pub cases: Vec<(usize, String, Outcome)>,
}

impl Report {
    /// How many passed, were refused, and failed.
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |wanted: fn(&Outcome) -> bool| self.cases.iter().filter(|(.., it)| wanted(it)).count();
        (
            count(|it| *it == Outcome::Passed),
            count(|it| matches!(it, Outcome::Refused(_))),
            count(|it| matches!(it, Outcome::Failed(_))),
        )
    }
}

/// Samples in memory.
#[derive(Default)]
struct Samples {
    series: BTreeMap<Labels, BTreeMap<i64, f64>>,
    /// Those that the subset does not serve.
    refused: Vec<Labels>,
}

impl Source for Samples {
    fn select(&self, matchers: &[Matcher], after: i64, until: i64, limit: usize) -> Result<Selected, Error> {
        let matching = |labels: &&Labels| matchers.iter().all(|matcher| matcher.selects(labels));
        if let Some(labels) = self.refused.iter().find(matching) {
            return Err(Error::Refused(format!("the native histogram {}", labels.name())));
        }
        let mut left = limit;
        let mut selected = Vec::new();
        for (labels, points) in self.series.iter().filter(|(labels, _)| matching(labels)) {
            let points: Vec<Point> = points
                .range((std::ops::Bound::Excluded(after.min(until)), std::ops::Bound::Included(until)))
                .map(|(at, value)| Point { at: *at, value: *value })
                .collect();
            left = left
                .checked_sub(points.len())
                .ok_or_else(|| Error::TooMuch("too many samples".to_owned()))?;
            if !points.is_empty() {
                selected.push(Series { labels: labels.clone(), points });
            }
        }
        Ok(selected.into())
    }
}

/// Runs every case of a file.
pub fn run(file: &File, options: &Options) -> Report {
    let mut samples = Samples::default();
    let mut report = Report::default();
    for (number, line) in &file.lines {
        match line {
            Line::Clear => samples = Samples::default(),
            Line::Load { gap, series, refused } => {
                samples.refused.extend(refused.iter().cloned());
                for (labels, values) in series {
                    let known = samples.series.entry(labels.clone()).or_default();
                    for (index, value) in values.iter().enumerate() {
                        let at = gap * i64::try_from(index).unwrap_or(i64::MAX);
                        known.extend(value.map(|value| (at, value)));
                    }
                }
            }
            Line::Eval(case) => {
                report.cases.push((*number, case.text.clone(), outcome(case, &samples, options)))
            }
        }
    }
    report
}

fn outcome(case: &Case, samples: &Samples, options: &Options) -> Outcome {
    match check(case, samples, options) {
        Ok(()) => Outcome::Passed,
        Err(Problem::Refused(what)) => Outcome::Refused(what),
        Err(Problem::Wrong(why)) => Outcome::Failed(why),
    }
}

enum Problem {
    Refused(String),
    Wrong(String),
}

impl From<String> for Problem {
    fn from(why: String) -> Self {
        Self::Wrong(why)
    }
}

fn ask(case: &Case, query: Query, samples: &Samples, options: &Options) -> Result<Answer, Error> {
    evaluate(samples, &read(&case.text)?, query, options)
}

fn check(case: &Case, samples: &Samples, options: &Options) -> Result<(), Problem> {
    let answer = match (ask(case, case.query, samples, options), &case.fail) {
        (Err(error @ Error::Refused(_)), Some(Some(wording))) if wording.fits(&error.to_string()) => {
            return Ok(());
        }
        (Err(Error::Refused(what)), _) => return Err(Problem::Refused(what)),
        (Err(_), Some(None)) => return Ok(()),
        (Err(error), Some(Some(wording))) if wording.fits(&error.to_string()) => return Ok(()),
        (Err(error), Some(Some(wording))) => {
            return Err(format!("failed with {error:?} instead of {wording:?}").into());
        }
        (Err(error), None) => return Err(format!("failed: {error}").into()),
        (Ok(answer), Some(_)) => return Err(format!("should fail, gave {answer:?}").into()),
        (Ok(answer), None) => answer,
    };
    let Some(expected) = &case.expected else {
        return Err(Problem::Refused("a native histogram".to_owned()));
    };
    noted("warnings", &case.warn, &answer.warnings)?;
    noted("infos", &case.info, &answer.infos)?;
    compare(case, &answer.value, expected)?;
    let Query::Instant(at) = case.query else { return Ok(()) };
    if case.ordered {
        return Ok(());
    }
    // As a range around it, the middle step has to give the same.
    let minute = 60_000;
    let range = Query::Range { start: at - minute, end: at + minute, step: minute };
    let answer = ask(case, range, samples, options).map_err(|error| format!("as a range: {error}"))?;
    let Value::Matrix(series) = answer.value else {
        return Err("as a range it gives no matrix".to_owned().into());
    };
    let middle = series.into_iter().filter_map(|series| {
        let point = series.points.into_iter().find(|point| point.at == at)?;
        Some(Series { labels: series.labels, points: vec![point] })
    });
    let middle: Vec<Series> = middle.collect();
    let value = match expected {
        Expected::Scalar(_) => middle.first().map(|series| Value::Scalar(series.points[0])),
        Expected::Series(_) => Some(Value::Matrix(middle)),
    };
    let value = value.ok_or_else(|| "as a range it gives nothing".to_owned())?;
    compare(case, &value, expected).map_err(|why| format!("as a range: {why}").into())
}

fn noted(what: &str, wanted: &Notes, given: &[String]) -> Result<(), String> {
    let all_known = given.iter().all(|note| wanted.wordings.iter().any(|wording| wording.fits(note)));
    let all_given = wanted.wordings.iter().all(|wording| given.iter().any(|note| wording.fits(note)));
    let good = (!wanted.any || !given.is_empty())
        && (!wanted.none || given.is_empty())
        && (wanted.wordings.is_empty() || (all_known && all_given));
    if good { Ok(()) } else { Err(format!("{what}: {given:?} instead of {wanted:?}")) }
}

fn compare(case: &Case, value: &Value, expected: &Expected) -> Result<(), String> {
    let wanted = match (value, expected) {
        (Value::Scalar(point), Expected::Scalar(wanted)) => {
            return if near(point.value, *wanted) {
                Ok(())
            } else {
                Err(format!("{} is not {wanted}", point.value))
            };
        }
        (Value::Vector(_) | Value::Matrix(_), Expected::Series(wanted)) => wanted,
        (Value::Scalar(_) | Value::Text { .. } | Value::Vector(_) | Value::Matrix(_), _) => {
            return Err(format!("{value:?} is of another kind than {expected:?}"));
        }
    };
    let given: Vec<(Labels, Vec<Point>)> = match value {
        Value::Vector(samples) => samples.iter().map(|it| (it.labels.clone(), vec![it.point])).collect(),
        Value::Matrix(series) => series.iter().map(|it| (it.labels.clone(), it.points.clone())).collect(),
        Value::Scalar(_) | Value::Text { .. } => vec![],
    };
    let (start, step) = match case.query {
        Query::Instant(at) => (at, 1),
        Query::Range { start, step, .. } => (start, step),
    };
    for (place, (labels, points)) in given.iter().enumerate() {
        let Some(position) = wanted.iter().position(|(known, _)| known == labels) else {
            return Err(format!("{labels} was not expected, with {points:?}"));
        };
        if case.ordered && position != place {
            return Err(format!("{labels} is at position {place} instead of {position}"));
        }
        let times = wanted[position].1.iter().enumerate();
        let values: Vec<(i64, f64)> = times
            .filter_map(|(index, value)| Some((start + step * i64::try_from(index).ok()?, (*value)?)))
            .collect();
        let same = values.len() == points.len()
            && values
                .iter()
                .zip(points)
                .all(|((at, value), point)| *at == point.at && near(*value, point.value));
        if !same {
            return Err(format!("{labels}: {points:?} instead of {values:?}"));
        }
    }
    match wanted.iter().find(|(labels, values)| {
        values.iter().any(Option::is_some) && !given.iter().any(|(given, _)| given == labels)
    }) {
        Some((labels, _)) => Err(format!("{labels} is missing")),
        None => Ok(()),
    }
}

/// Equal but for what floating point loses (a relative difference of 1e-6, as Prometheus' runner allows).
fn near(a: f64, b: f64) -> bool {
    if crate::is_stale(a) || crate::is_stale(b) {
        return crate::is_stale(a) && crate::is_stale(b);
    }
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let difference = (a - b).abs();
    if a == 0.0 || b == 0.0 || a.abs() + b.abs() < f64::MIN_POSITIVE {
        return difference < 1e-6 * f64::MIN_POSITIVE;
    }
    difference / (a.abs() + b.abs()).min(f64::MAX) < 1e-6
}
