//! What a success and a failure condition say of one result, with Argo Rollouts' meaning, but for one thing: where there
//! is no data, nothing succeeds and nothing fails.

use model::check::{Measured, Verdict};

use crate::{Condition, MOST_VALUES};

/// How many values are told in words.
const MOST_TOLD: usize = 8;

/// What was found, and the words for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// What it means.
    pub verdict: Verdict,
    /// The number, or the first of them; `None` when there is none, or it is infinite or not a number.
    pub value: Option<f64>,
    /// What the result was, and what could not be told of it.
    pub detail: String,
}

/// Judges a result. Without any condition nothing is told.
///
/// - One condition of success that does not hold is a failure, one of failure that does not hold a success; of both,
///   the failure counts first, and neither is inconclusive.
/// - An empty result is inconclusive whatever the conditions say.
/// - Where a value is not a number (`0/0`: nobody asked), the conditions count only as far as they hold, and where no
///   value is a number not even then, unless one of them says itself what that means, by `isNaN` or `default`.
pub fn judge(success: Option<&Condition>, failure: Option<&Condition>, measured: &Measured) -> Judged {
    let told = |verdict, detail| Judged { verdict, value: first(measured), detail };
    let words = words(measured);
    let values = match measured {
        Measured::Scalar(number) => std::slice::from_ref(number),
        Measured::Vector(numbers) => numbers.as_slice(),
    };
    if values.is_empty() {
        return told(Verdict::Inconclusive, "no data: the result is empty".to_owned());
    }
    if values.len() > MOST_VALUES {
        let what =
            format!("the result has {} values, the most is {MOST_VALUES}: aggregate more", values.len());
        return told(Verdict::Error, what);
    }
    let speaks = [success, failure].into_iter().flatten().any(Condition::speaks_of_absence);
    let unknown = values.iter().filter(|value| value.is_nan()).count();
    let mut missing = if speaks { 0 } else { unknown };
    if missing == values.len() {
        return told(Verdict::Inconclusive, format!("no data: {words}"));
    }
    // Nothing can be compared with what is not a number: whatever breaks by that, does not hold.
    let mut ask = |condition: Option<&Condition>| {
        let holds = condition?.holds(measured);
        if holds.is_err() && unknown > 0 {
            missing = unknown;
            return Some(Ok(false));
        }
        Some(holds)
    };
    let (succeeds, fails) = match (ask(success).transpose(), ask(failure).transpose()) {
        (Ok(succeeds), Ok(fails)) => (succeeds, fails),
        (Err(why), _) | (_, Err(why)) => return told(Verdict::Error, format!("{words}, {why}")),
    };
    let verdict = match (succeeds, fails) {
        (_, Some(true)) => Verdict::Failed,
        (Some(true), _) => Verdict::Passed,
        (Some(false), None) if missing == 0 => Verdict::Failed,
        (None, Some(false)) if missing == 0 => Verdict::Passed,
        (Some(false) | None, Some(false) | None) => Verdict::Inconclusive,
    };
    told(verdict, words)
}

fn first(measured: &Measured) -> Option<f64> {
    let value = match measured {
        Measured::Scalar(number) => Some(*number),
        Measured::Vector(numbers) => numbers.first().copied(),
    };
    value.filter(|value| value.is_finite())
}

fn words(measured: &Measured) -> String {
    match measured {
        Measured::Scalar(number) => format!("result is {}", shown(*number)),
        Measured::Vector(numbers) => {
            let told: Vec<String> = numbers.iter().take(MOST_TOLD).map(|number| shown(*number)).collect();
            let more = numbers.len().saturating_sub(MOST_TOLD);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("result is [{}{more}]", told.join(", "))
        }
    }
}

/// A number with at most six digits that say something.
fn shown(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return format!("{number}");
    }
    let magnitude = number.abs().log10().floor();
    if !(-5.0..15.0).contains(&magnitude) {
        return format!("{number:.3e}");
    }
    let decimals = (5.0 - magnitude).clamp(0.0, 10.0) as usize;
    let text = format!("{number:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}
