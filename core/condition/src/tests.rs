//! What a condition says of a result. Does not live here: what follows from it.

use model::check::Verdict;
use proptest::prelude::*;

use super::*;

fn vector(values: &[f64]) -> Measured {
    Measured::Vector(values.to_vec())
}

fn read(text: &str) -> Condition {
    Condition::read(text).unwrap_or_else(|error| panic!("{text}: {error} ({})", error.help))
}

fn verdict(success: &str, failure: &str, measured: &Measured) -> Verdict {
    let read = |text: &str| (!text.is_empty()).then(|| read(text));
    judge(read(success).as_ref(), read(failure).as_ref(), measured).verdict
}

#[test]
fn conditions_of_argo_are_read_as_they_stand() {
    let bad = vector(&[0.2]);
    for (text, holds) in [
        ("result[0] < 0.05", false),
        ("result[0] >= 0.05 && result[0] <= 1", true),
        ("len(result) == 1", true),
        ("size(result) > 1", false),
        ("result.all(x, x < 1.0)", true),
        ("result.exists(x, x > 0.1)", true),
        ("isNaN(result[0]) || result[0] < 0.5", true),
        ("isInf(result[0])", false),
        ("default(result[0], 0) < 0.5", true),
        ("asInt(result[0]) == 0", true),
        ("asFloat(result[0]) * 100.0 < 30.0", true),
        ("!(result[0] > 0.5)", true),
        ("result[0] in [0.2, 0.3]", true),
        ("(result[0] > 0.1 ? 1.0 : 0.0) == 1", true),
    ] {
        assert_eq!(read(text).holds(&bad), Ok(holds), "{text}");
    }
    assert_eq!(read("result < 0.5").holds(&Measured::Scalar(0.2)), Ok(true));
}

#[test]
fn one_condition_decides_alone_and_two_leave_room_between() {
    use Verdict::{Failed, Inconclusive, Passed};
    for (success, failure, value, expected) in [
        ("result[0] < 0.01", "", 0.0, Passed),
        ("result[0] < 0.01", "", 0.5, Failed),
        ("", "result[0] > 0.1", 0.5, Failed),
        ("", "result[0] > 0.1", 0.05, Passed),
        ("result[0] < 0.01", "result[0] > 0.1", 0.05, Inconclusive),
        ("result[0] < 0.01", "result[0] > 0.1", 0.005, Passed),
        ("result[0] < 0.01", "result[0] >= 0.0", 0.005, Failed),
        ("", "", 0.0, Inconclusive),
    ] {
        assert_eq!(
            verdict(success, failure, &vector(&[value])),
            expected,
            "{success} / {failure} of {value}"
        );
    }
}

#[test]
fn no_data_is_neither_a_success_nor_a_failure() {
    let empty = vector(&[]);
    let idle = vector(&[f64::NAN]);
    for (success, failure) in [
        ("result[0] < 0.01", ""),
        ("", "result[0] > 0.1"),
        ("size(result) == 0 || result[0] < 0.01", ""),
        ("result.all(x, x < 0.01)", ""),
        ("", "result.all(x, x > 0.01)"),
        ("!(result.exists(x, x > 0.01))", ""),
    ] {
        assert_eq!(verdict(success, failure, &empty), Verdict::Inconclusive, "{success} / {failure}");
        assert_eq!(verdict(success, failure, &idle), Verdict::Inconclusive, "{success} / {failure}");
    }
    assert_eq!(verdict("isNaN(result) || result < 0.5", "", &Measured::Scalar(f64::NAN)), Verdict::Passed);
}

#[test]
fn a_series_that_is_not_a_number_hides_no_other_that_is_bad_and_is_not_bad_itself() {
    let mixed = vector(&[0.5, f64::NAN]);
    assert_eq!(verdict("", "result.exists(x, x > 0.1)", &mixed), Verdict::Failed);
    assert_eq!(verdict("result.all(x, x < 0.9)", "", &mixed), Verdict::Inconclusive);
    assert_eq!(verdict("", "result.all(x, x > 0.9)", &mixed), Verdict::Inconclusive);
}

#[test]
fn what_cannot_be_told_is_an_error_that_says_why() {
    let one = vector(&[0.5]);
    let told = judge(Some(&read("result[3] < 1.0")), None, &one);
    assert_eq!(told.verdict, Verdict::Error);
    assert!(told.detail.contains("1 values, so no `result[3]`"), "{}", told.detail);
    let told = judge(Some(&read("result < 1.0")), None, &one);
    assert!(told.detail.contains("write `result[0]`"), "{}", told.detail);
    let told = judge(Some(&read("result[0] < 1.0")), None, &Measured::Scalar(1.0));
    assert!(told.detail.contains("write `result`"), "{}", told.detail);
    let many = vector(&vec![0.0; MOST_VALUES + 1]);
    assert_eq!(judge(Some(&read("result[0] < 1.0")), None, &many).verdict, Verdict::Error);
}

#[test]
fn mistakes_are_found_when_a_condition_is_read() {
    for (text, expected) in [
        ("", "empty"),
        ("result[0] <", "ends too early"),
        ("reslt[0] < 0.1", "`reslt` is not known"),
        ("result[0] + 1.0", "neither true nor false"),
        ("result[0] * 100 < 5", "whole and fractional"),
        ("max(result) < 1.0", "no function `max`"),
        ("result[0] < '1'", "does not take"),
        ("result.all(a, result.all(b, result.all(c, a < b)))", "stand in each other"),
        ("0.5 < 1.0 and true", "cannot be read at character"),
    ] {
        let error = Condition::read(text).unwrap_err();
        assert!(error.what.contains(expected), "{text}: {error}");
    }
    assert!(Condition::read(&"(".repeat(500)).unwrap_err().what.contains("deeper"));
    assert!(Condition::read(&"1".repeat(2_000)).unwrap_err().what.contains("2000 characters"));
}

#[test]
fn values_are_told_shortly() {
    let told = |values: &[f64]| judge(Some(&read("result[0] < 1.0")), None, &vector(values)).detail;
    assert_eq!(told(&[0.1 + 0.2]), "result is [0.3]");
    assert_eq!(told(&[1.0 / 3.0, 1e300, f64::INFINITY]), "result is [0.333333, 1.000e300, inf]");
    assert!(told(&[0.0; 20]).ends_with("and 12 more]"));
}

proptest! {
    #[test]
    fn no_text_breaks_the_reader(text in "[ a-z0-9\\[\\]\\(\\)\\.<>=!&|?:,'\"{}+*/%-]{0,60}") {
        if let Ok(condition) = Condition::read(&text) {
            let _ = condition.holds(&vector(&[0.5, f64::NAN]));
        }
    }

    #[test]
    fn no_two_looks_at_one_result_differ(value in proptest::num::f64::ANY, bound in -10.0..10.0f64) {
        let text = format!("result[0] < {bound:.3}");
        let once = judge(Some(&read(&text)), None, &vector(&[value]));
        prop_assert_eq!(once, judge(Some(&read(&text)), None, &vector(&[value])));
    }
}
