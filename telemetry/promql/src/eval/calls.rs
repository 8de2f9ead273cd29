//! Function calls: which arguments a function takes, and what it makes of them.

use std::f64::consts::PI;

use jiff::civil::DateTime;

use super::Evaluator;
use super::over_time;
use super::rows::{ABSENT, Cells, Row, merged};
use crate::Error;
use crate::expr::{Expr, Function, Kind, Test};
use crate::guard::anchored;
use crate::labels::{Labels, NAME};

impl Evaluator<'_> {
    pub(super) fn call(&self, function: Function, args: &[Expr]) -> Result<Cells, Error> {
        let rows = match (function, args) {
            (Function::Time, []) => return Ok(Cells::Scalar(self.times()?)),
            (Function::Pi, []) => return self.constant(PI),
            (Function::Scalar, [vector]) => return Ok(Cells::Scalar(self.only(vector)?)),
            (Function::Vector, [scalar]) => {
                vec![Row { labels: Labels::default(), drop_name: false, values: self.scalar(scalar)? }]
            }
            (Function::Timestamp, [Expr::Instant(selector)]) => self.timestamps(selector)?,
            (Function::Timestamp, [vector]) => {
                let times = self.times()?;
                self.mapped(self.rows(vector)?, |_, index| times[index])?
            }
            (Function::Absent, [vector]) => self.absent(vector)?,
            (Function::AbsentOverTime, [range]) => self.absent_over_time(range)?,
            (Function::HistogramQuantile, [quantile, buckets]) => {
                self.histogram_quantile(quantile, buckets)?
            }
            (Function::LabelReplace, [vector, rest @ ..]) => self.label_replace(vector, rest)?,
            (Function::LabelJoin, [vector, rest @ ..]) => self.label_join(vector, rest)?,
            (Function::Sort, [vector]) => self.sorted(vector, false)?,
            (Function::SortDesc, [vector]) => self.sorted(vector, true)?,
            (Function::QuantileOverTime | Function::PredictLinear, [first, second]) => {
                self.over_with(function, first, second)?
            }
            (_, [range]) if range.kind() == Kind::Matrix => self.over_time(function, range)?,
            _ => self.by_value(function, args)?,
        };
        Ok(Cells::Rows(rows))
    }

    /// The times of the steps, in seconds.
    fn times(&self) -> Result<Vec<f64>, Error> {
        self.shared.charge(self.steps.count)?;
        Ok(self.steps.iter().map(|at| at as f64 / 1000.0).collect())
    }

    /// The value of a vector of one; not a number for any other.
    fn only(&self, vector: &Expr) -> Result<Vec<f64>, Error> {
        let rows = self.rows(vector)?;
        let only = |index| {
            let mut present = rows.iter().filter_map(|row: &Row| row.present(index));
            match (present.next(), present.next()) {
                (Some(value), None) => value,
                (Some(_) | None, _) => f64::NAN,
            }
        };
        self.shared.charge(self.steps.count)?;
        Ok((0..self.steps.count).map(only).collect())
    }

    fn over_time(&self, function: Function, range: &Expr) -> Result<Vec<Row>, Error> {
        let windows = self.windows(range)?;
        let length = windows.range;
        let counter = matches!(function, Function::Rate | Function::Increase);
        let rows = self.over(windows, |labels, window, _| {
            let value = over_time::of_window(function, window, length);
            if counter && value.is_some() {
                self.check_counter(labels);
            }
            value
        })?;
        if function == Function::LastOverTime { Ok(rows) } else { self.unnamed(rows) }
    }

    fn check_counter(&self, labels: &Labels) {
        let name = labels.name();
        let counts = ["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| name.ends_with(suffix));
        if !name.is_empty() && !counts {
            self.shared.inform(&format!(
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {name:?}"
            ));
        }
    }

    fn over_with(&self, function: Function, first: &Expr, second: &Expr) -> Result<Vec<Row>, Error> {
        let rows = if function == Function::QuantileOverTime {
            let quantiles = self.scalar(first)?;
            let windows = self.windows(second)?;
            if !windows.series.is_empty() {
                quantiles.iter().for_each(|quantile| self.shared.check_quantile(*quantile));
            }
            self.over(windows, |_, window, index| Some(over_time::quantile_of(window, quantiles[index])))?
        } else {
            let ahead = self.scalar(second)?;
            self.over(self.windows(first)?, |_, window, index| {
                over_time::predicted(window, self.steps.at(index), ahead[index])
            })?
        };
        self.unnamed(rows)
    }

    fn absent(&self, vector: &Expr) -> Result<Vec<Row>, Error> {
        let rows = self.rows(vector)?;
        self.one_where(named_by(vector), |index| rows.iter().all(|row| row.present(index).is_none()))
    }

    fn absent_over_time(&self, range: &Expr) -> Result<Vec<Row>, Error> {
        let found = self.over(self.windows(range)?, |_, _, _| Some(1.0))?;
        self.one_where(named_by(range), |index| found.iter().all(|row| row.present(index).is_none()))
    }

    fn one_where(&self, labels: Labels, holds: impl Fn(usize) -> bool) -> Result<Vec<Row>, Error> {
        let mut row = self.blank(labels)?;
        for (index, value) in row.values.iter_mut().enumerate() {
            *value = if holds(index) { 1.0 } else { ABSENT };
        }
        Ok(vec![row])
    }

    /// Functions of each value by itself.
    fn by_value(&self, function: Function, args: &[Expr]) -> Result<Vec<Row>, Error> {
        if let Some(part) = date_part(function) {
            let rows = match args.first() {
                Some(vector) => self.rows(vector)?,
                None => vec![Row { labels: Labels::default(), drop_name: false, values: self.times()? }],
            };
            return self.mapped(rows, |value, _| in_date(value, part));
        }
        let Some((vector, rest)) = args.split_first() else {
            return Err(Error::Syntax(format!("{}() needs an argument", function.name())));
        };
        let rows = self.rows(vector)?;
        let rest = rest.iter().map(|arg| self.scalar(arg)).collect::<Result<Vec<_>, _>>()?;
        match (function, rest.as_slice()) {
            (Function::Clamp, [least, most]) => {
                let mut rows = self.mapped(rows, |value, at| clamped(value, least[at], most[at]))?;
                for row in &mut rows {
                    for (index, value) in row.values.iter_mut().enumerate() {
                        if least[index] > most[index] {
                            *value = ABSENT;
                        }
                    }
                }
                Ok(rows)
            }
            (Function::ClampMin, [least]) => {
                self.mapped(rows, |value, at| clamped(value, least[at], f64::INFINITY))
            }
            (Function::ClampMax, [most]) => {
                self.mapped(rows, |value, at| clamped(value, f64::NEG_INFINITY, most[at]))
            }
            (Function::Round, []) => self.mapped(rows, |value, _| (value + 0.5).floor()),
            (Function::Round, [to]) => self.mapped(rows, |value, at| {
                let inverse = 1.0 / to[at];
                (value * inverse + 0.5).floor() / inverse
            }),
            (_, []) => match plain(function) {
                Some(change) => self.mapped(rows, |value, _| change(value)),
                None => Err(Error::Syntax(format!("{}() needs a range vector", function.name()))),
            },
            _ => Err(Error::Syntax(format!("{}() has too many arguments", function.name()))),
        }
    }

    /// In order of the values at the only step; a range query is sorted by labels in any case.
    fn sorted(&self, vector: &Expr, descending: bool) -> Result<Vec<Row>, Error> {
        let mut rows = self.rows(vector)?;
        if self.shared.instant && self.steps.count == 1 {
            rows.sort_by(|a, b| {
                let (a, b) = (a.values[0], b.values[0]);
                let order = if descending { b.total_cmp(&a) } else { a.total_cmp(&b) };
                a.is_nan().cmp(&b.is_nan()).then(if a == b { std::cmp::Ordering::Equal } else { order })
            });
        }
        Ok(rows)
    }

    fn label_replace(&self, vector: &Expr, rest: &[Expr]) -> Result<Vec<Row>, Error> {
        let [into, replacement, from, pattern] = texts(rest)?;
        let regex = anchored(pattern).map_err(|_| {
            Error::Execution(format!("invalid regular expression in label_replace(): {pattern}"))
        })?;
        if into.is_empty() {
            let what = format!("invalid destination label name in label_replace(): {into}");
            return Err(Error::Execution(what));
        }
        let mut rows = self.rows(vector)?;
        for row in &mut rows {
            let said = row.labels.get(from);
            self.shared.spend(said.len() + 1)?;
            let Some(found) = regex.captures(said) else { continue };
            self.shared.charge_label(replacement.len() + replacement.matches('$').count() * said.len())?;
            let mut value = String::new();
            found.expand(replacement, &mut value);
            row.labels = row.labels.with(into, &value);
            row.drop_name &= into != NAME;
        }
        self.distinct(rows)
    }

    fn label_join(&self, vector: &Expr, rest: &[Expr]) -> Result<Vec<Row>, Error> {
        let texts: Vec<&str> = rest.iter().map(text).collect::<Result<_, _>>()?;
        let [into, separator, from @ ..] = texts.as_slice() else {
            return Err(Error::Syntax("label_join() needs a label and a separator".to_owned()));
        };
        for (name, role) in from.iter().map(|name| (name, "source")).chain([(into, "destination")]) {
            if name.is_empty() {
                return Err(Error::Execution(format!("invalid {role} label name in label_join(): {name}")));
            }
        }
        let mut rows = self.rows(vector)?;
        for row in &mut rows {
            let values: Vec<&str> = from.iter().map(|name| row.labels.get(name)).collect();
            let length: usize = values.iter().map(|value| value.len() + separator.len()).sum();
            self.shared.charge_label(length)?;
            row.labels = row.labels.with(into, &values.join(separator));
            row.drop_name &= *into != NAME;
        }
        self.distinct(rows)
    }

    /// Rows whose labels were changed: no two may be the same at the same step, unless names are still to go.
    fn distinct(&self, rows: Vec<Row>) -> Result<Vec<Row>, Error> {
        if self.shared.options.delayed_name_removal { Ok(rows) } else { merged(rows) }
    }
}

fn text(expr: &Expr) -> Result<&str, Error> {
    if let Expr::Text(text) = expr {
        return Ok(text);
    }
    Err(Error::Syntax("a text is needed here".to_owned()))
}

fn texts<const N: usize>(args: &[Expr]) -> Result<[&str; N], Error> {
    let texts: Vec<&str> = args.iter().map(text).collect::<Result<_, _>>()?;
    texts.try_into().map_err(|_| Error::Syntax(format!("{N} texts are needed here")))
}

/// The labels that a selector's series would surely have.
fn named_by(expr: &Expr) -> Labels {
    let (Expr::Instant(selector) | Expr::Range(selector, _)) = expr else {
        return Labels::default();
    };
    let mut labels = Labels::default();
    for matcher in selector.matchers.iter().filter(|matcher| matcher.name != NAME) {
        let once = selector.matchers.iter().filter(|other| other.name == matcher.name).count() == 1;
        if let (Test::Equal(value), true) = (&matcher.test, once) {
            labels = labels.with(&matcher.name, value);
        }
    }
    labels
}

fn clamped(value: f64, least: f64, most: f64) -> f64 {
    if least.is_nan() || most.is_nan() || value.is_nan() {
        return f64::NAN;
    }
    value.min(most).max(least)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all other functions are not of this sort")]
fn plain(function: Function) -> Option<fn(f64) -> f64> {
    Some(match function {
        Function::Abs => f64::abs,
        Function::Ceil => f64::ceil,
        Function::Floor => f64::floor,
        Function::Exp => f64::exp,
        Function::Sqrt => f64::sqrt,
        Function::Ln => f64::ln,
        Function::Log2 => f64::log2,
        Function::Log10 => f64::log10,
        Function::Sgn => |value| if value == 0.0 || value.is_nan() { value } else { value.signum() },
        Function::Deg => f64::to_degrees,
        Function::Rad => f64::to_radians,
        Function::Sin => f64::sin,
        Function::Cos => f64::cos,
        Function::Tan => f64::tan,
        Function::Asin => f64::asin,
        Function::Acos => f64::acos,
        Function::Atan => f64::atan,
        Function::Sinh => f64::sinh,
        Function::Cosh => f64::cosh,
        Function::Tanh => f64::tanh,
        Function::Asinh => f64::asinh,
        Function::Acosh => f64::acosh,
        Function::Atanh => f64::atanh,
        _ => return None,
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all other functions are not of this sort")]
fn date_part(function: Function) -> Option<fn(DateTime) -> f64> {
    Some(match function {
        Function::Minute => |date| f64::from(date.minute()),
        Function::Hour => |date| f64::from(date.hour()),
        Function::DayOfWeek => |date| f64::from(date.weekday().to_sunday_zero_offset()),
        Function::DayOfMonth => |date| f64::from(date.day()),
        Function::DayOfYear => |date| f64::from(date.day_of_year()),
        Function::DaysInMonth => |date| f64::from(date.days_in_month()),
        Function::Month => |date| f64::from(date.month()),
        Function::Year => |date| f64::from(date.year()),
        _ => return None,
    })
}

/// A part of the date at a time in seconds since 1970, in UTC; not a number when there is no such date.
fn in_date(seconds: f64, part: fn(DateTime) -> f64) -> f64 {
    if seconds.is_nan() {
        return f64::NAN;
    }
    let timestamp = jiff::Timestamp::from_second(seconds as i64);
    timestamp.map_or(f64::NAN, |timestamp| part(timestamp.to_zoned(jiff::tz::TimeZone::UTC).datetime()))
}
