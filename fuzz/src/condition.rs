//! Conditions in CEL, on whatever result: reading one and judging by it end, what fails says why, one that was read is
//! read again from its own words, and where there is no data nothing succeeds or fails.

use ::condition::{Condition, LONGEST, judge};
use model::check::{Measured, Verdict};

/// Words of the language.
pub(crate) const WORDS: &[&str] = &[
    "result",
    "result[0]",
    "result[-1]",
    "result[9223372036854775807]",
    "len(result)",
    "size(result)",
    "isNaN(",
    "isInf(",
    "isNil(",
    "default(",
    ", 0.0)",
    "asInt(",
    "asFloat(",
    "double(",
    "int(",
    "all(result, it, it < 1.0)",
    "result.all(x, x < 0.5)",
    "result.exists(x, x > 0.5)",
    "result.filter(x, x > 0.5)",
    "result.map(x, x * 2.0)",
    " < 0.01",
    " >= 1",
    " == ",
    " != ",
    " && ",
    " || ",
    " ? ",
    " : ",
    " in ",
    "!",
    "-",
    " + ",
    " * ",
    " / ",
    " % ",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "\"a\"",
    ".matches(\"(a+)+$\")",
    "1e308",
    "0.0 / 0.0",
    "9223372036854775807",
    "timestamp(\"2023-01-01T00:00:00Z\")",
    "duration(\"1h\")",
    "true",
    "null",
];

/// # Panics
/// When a promise is broken.
pub fn target(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    // Two conditions, as a rule may have them: the second is the first one's opposite number.
    let mut lines = text.splitn(2, '\n');
    let (first, second) = (lines.next().map(read), lines.next().map(read));
    let (success, failure) = (first.flatten(), second.flatten());
    if success.is_none() && failure.is_none() {
        return;
    }
    for measured in results() {
        let judged = judge(success.as_ref(), failure.as_ref(), &measured);
        assert!(judged.value.is_none_or(f64::is_finite), "{judged:?}");
        assert!(!judged.detail.is_empty(), "{judged:?}");
        if measured == Measured::Vector(vec![]) {
            assert_eq!(judged.verdict, Verdict::Inconclusive, "{success:?} {failure:?} of nothing");
        }
        let again = judge(success.as_ref(), failure.as_ref(), &measured);
        assert_eq!(
            (judged.verdict, &judged.detail),
            (again.verdict, &again.detail),
            "{success:?} {failure:?}"
        );
    }
}

fn read(text: &str) -> Option<Condition> {
    match Condition::read(text) {
        Ok(condition) => {
            assert!(text.trim().chars().count() <= LONGEST);
            let again = Condition::read(&condition.to_string());
            assert!(again.is_ok_and(|again| again.to_string() == condition.to_string()), "{condition:?}");
            Some(condition)
        }
        Err(error) => {
            assert!(!error.what.is_empty() && !error.help.is_empty(), "{error:?}");
            None
        }
    }
}

fn results() -> [Measured; 9] {
    [
        Measured::Scalar(0.005),
        Measured::Scalar(f64::NAN),
        Measured::Scalar(f64::NEG_INFINITY),
        Measured::Vector(vec![]),
        Measured::Vector(vec![0.5]),
        Measured::Vector(vec![f64::NAN, 1.0]),
        Measured::Vector(vec![f64::INFINITY, -0.0, f64::MAX]),
        Measured::Vector(vec![1e-300; 500]),
        Measured::Vector(vec![1.0; 501]),
    ]
}
