//! Functions of a range vector, each on one window of one series. `docs/promql.md` says what each means.

use super::numbers::{Mean, Sum, Variance, quantile};
use super::windows::Window;
use crate::expr::Function;
use crate::value::Point;

/// What a function makes of a window that holds at least one sample; `None` where it gives nothing, or is not one of a
/// window alone.
#[expect(clippy::wildcard_enum_match_arm, reason = "all other functions are not of this sort")]
pub(super) fn of_window(function: Function, window: &Window<'_>, range: i64) -> Option<f64> {
    let points = window.points;
    let last = *points.last()?;
    Some(match function {
        Function::Rate => extrapolated(window, true)? / (range as f64 / 1000.0),
        Function::Increase => extrapolated(window, true)?,
        Function::Delta => extrapolated(window, false)?,
        Function::Irate => newest_step(points, true)?,
        Function::Idelta => newest_step(points, false)?,
        Function::Changes => count_pairs(points, |a, b| a != b && !(a.is_nan() && b.is_nan())),
        Function::Resets => count_pairs(points, |a, b| b < a),
        Function::Deriv => regression(points, points[0].at)?.0,
        Function::AvgOverTime => folded(points, Mean::default(), Mean::add).mean(),
        Function::SumOverTime => folded(points, Sum::default(), Sum::add).total(),
        Function::StdvarOverTime => folded(points, Variance::default(), Variance::add).variance(),
        Function::StddevOverTime => folded(points, Variance::default(), Variance::add).variance().sqrt(),
        Function::MinOverTime => extreme(points, |value, best| value < best),
        Function::MaxOverTime => extreme(points, |value, best| value > best),
        Function::CountOverTime => points.len() as f64,
        Function::LastOverTime => last.value,
        Function::PresentOverTime => 1.0,
        _ => return None,
    })
}

/// The quantile of a window's values.
pub(super) fn quantile_of(window: &Window<'_>, wanted: f64) -> f64 {
    let mut values: Vec<f64> = window.points.iter().map(|point| point.value).collect();
    quantile(wanted, &mut values)
}

/// What the straight line through a window reaches `ahead` seconds after `at`.
pub(super) fn predicted(window: &Window<'_>, at: i64, ahead: f64) -> Option<f64> {
    let (slope, intercept) = regression(window.points, at)?;
    Some(slope * ahead + intercept)
}

fn folded<T>(points: &[Point], mut into: T, add: impl Fn(&mut T, f64)) -> T {
    points.iter().for_each(|point| add(&mut into, point.value));
    into
}

fn extreme(points: &[Point], better: impl Fn(f64, f64) -> bool) -> f64 {
    let mut values = points.iter().map(|point| point.value);
    let first = values.next().unwrap_or(f64::NAN);
    values.fold(first, |best, value| if better(value, best) || best.is_nan() { value } else { best })
}

fn count_pairs(points: &[Point], counts: impl Fn(f64, f64) -> bool) -> f64 {
    points.windows(2).filter(|pair| counts(pair[0].value, pair[1].value)).count() as f64
}

/// The difference over a window, carried on to its edges as far as the samples' spacing allows. A counter's resets add
/// what it had counted before, and it is not carried back to below zero.
fn extrapolated(window: &Window<'_>, counter: bool) -> Option<f64> {
    let (first, last) = (window.points.first()?, window.points.last()?);
    let pairs = window.points.len() - 1;
    if pairs == 0 {
        return None;
    }
    let mut difference = last.value - first.value;
    if counter {
        let resets = window.points.windows(2).filter(|pair| pair[1].value < pair[0].value);
        difference += resets.map(|pair| pair[0].value).sum::<f64>();
    }
    let seconds = |from: i64, to: i64| (to - from) as f64 / 1000.0;
    let sampled = seconds(first.at, last.at);
    let spacing = sampled / pairs as f64;
    let reach = |gap: f64| if gap >= spacing * 1.1 { spacing / 2.0 } else { gap };
    let mut to_start = reach(seconds(window.after, first.at));
    if counter && difference > 0.0 && first.value >= 0.0 {
        to_start = to_start.min(sampled * (first.value / difference));
    }
    let to_end = reach(seconds(last.at, window.until));
    Some(difference * ((sampled + to_start + to_end) / sampled))
}

/// The difference between the two newest samples; of a counter by the second.
fn newest_step(points: &[Point], counter: bool) -> Option<f64> {
    let [.., before, last] = points else { return None };
    let seconds = (last.at - before.at) as f64 / 1000.0;
    if seconds == 0.0 {
        return None;
    }
    if !counter {
        return Some(last.value - before.value);
    }
    let step = if last.value < before.value { last.value } else { last.value - before.value };
    Some(step / seconds)
}

/// The slope by the second and the value at `at` of the straight line with the least squares.
fn regression(points: &[Point], at: i64) -> Option<(f64, f64)> {
    let first = points.first().filter(|_| points.len() > 1)?.value;
    if points.iter().all(|point| point.value == first) {
        return Some(if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) });
    }
    let (mut x, mut y, mut xy, mut xx) = (Sum::default(), Sum::default(), Sum::default(), Sum::default());
    for point in points {
        let seconds = (point.at - at) as f64 / 1000.0;
        x.add(seconds);
        y.add(point.value);
        xy.add(seconds * point.value);
        xx.add(seconds * seconds);
    }
    let count = points.len() as f64;
    let (x, y) = (x.total(), y.total());
    let slope = (xy.total() - x * y / count) / (xx.total() - x * x / count);
    Some((slope, y / count - slope * x / count))
}
