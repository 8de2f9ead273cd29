//! Single values: sizes, cores, percentages, conditions, paths, names. Each reads a scalar as written and says
//! what to write instead when it cannot. Durations are `model::time`'s; this adds what people forget about them.

use std::time::Duration;

use model::Weight;
use model::objective::{InvalidRatio, Ratio, Target};
use model::strategy::{Amount, Comparison, Condition};

use crate::diagnostic::Problem;
use crate::node::{Scalar, ScalarKind};

/// The longest duration: 30 days.
const MAX_DURATION: Duration = Duration::from_secs(30 * 24 * 3600);
/// The largest size: 1Pi.
const MAX_BYTES: u128 = 1 << 50;
/// The most thousandths of a core.
const MAX_CPU_MILLIS: u128 = 1_024_000;

type Read<T> = Result<T, Problem>;

pub(crate) fn text(scalar: &Scalar) -> Read<String> {
    if scalar.kind() != ScalarKind::String {
        let problem = Problem::new(format!("expected a string, found `{}`", scalar.text));
        return Err(problem.help(format!("put it in quotes: \"{}\"", scalar.text)));
    }
    if scalar.text.trim().is_empty() {
        return Err(Problem::new("the value is empty").help("write a value or remove the field"));
    }
    written(scalar)
}

pub(crate) fn written(scalar: &Scalar) -> Read<String> {
    if scalar.text.contains('\0') {
        return Err(Problem::new("the value holds a NUL character, which no program can be given"));
    }
    Ok(scalar.text.clone())
}

pub(crate) fn integer(scalar: &Scalar, min: i64, max: i64) -> Read<i64> {
    let number = unquoted(scalar, "a whole number")?
        .parse::<i64>()
        .map_err(|_| Problem::new(format!("expected a whole number, found `{}`", scalar.text)))?;
    if (min..=max).contains(&number) {
        return Ok(number);
    }
    Err(Problem::new(format!("{number} is out of range")).help(format!("use {min} to {max}")))
}

pub(crate) fn number(scalar: &Scalar, min: f64, max: f64, open: bool) -> Read<f64> {
    let number = decimal(unquoted(scalar, "a number")?)
        .ok_or_else(|| Problem::new(format!("expected a number, found `{}`", scalar.text)))?;
    let inside = if open { min < number && number < max } else { min <= number && number <= max };
    if inside {
        return Ok(number);
    }
    let help =
        if open { format!("use more than {min} and less than {max}") } else { format!("use {min} to {max}") };
    Err(Problem::new(format!("{number} is out of range")).help(help))
}

fn unquoted<'a>(scalar: &'a Scalar, expected: &str) -> Read<&'a str> {
    if scalar.quoted {
        let problem = Problem::new(format!("expected {expected}, found a string"));
        return Err(if decimal(&scalar.text).is_some() {
            problem.help("remove the quotes")
        } else {
            problem
        });
    }
    Ok(&scalar.text)
}

/// A decimal number, finite; not `inf`, `nan` or hexadecimal.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
    text.parse::<f64>().ok().filter(|number| plain && number.is_finite())
}

pub(crate) fn duration(scalar: &Scalar, positive: bool) -> Read<Duration> {
    let text = scalar.text.trim();
    let is_count = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if is_count && text != "0" {
        let problem = Problem::new(format!("`{text}` has no unit"));
        return Err(problem.help(format!("did you mean `{text}s`? units are h, m, s, ms, us")));
    }
    let problem = || Problem::new(format!("`{text}` is not a duration"));
    if !in_words(text) && text != "0" {
        return Err(problem().help("use numbers with units, as in 250ms, 30s, 5m, 1h30m"));
    }
    let duration = model::time::parse_duration(text).map_err(|_| {
        problem().help("use numbers with units, the largest first, as in 250ms, 30s, 5m, 1h30m")
    })?;
    if positive && duration.is_zero() {
        return Err(Problem::new("this duration must be more than zero"));
    }
    if duration > MAX_DURATION {
        return Err(Problem::new(format!("`{text}` is too long")).help("use at most 720h"));
    }
    if duration.subsec_nanos() % 1000 != 0 {
        return Err(Problem::new(format!("`{text}` is too fine")).help("use whole microseconds"));
    }
    Ok(duration)
}

/// Numbers with the units that the schema's pattern knows.
fn in_words(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (_, after) = rest.split_at(digits);
        let unit = ["ms", "us", "h", "m", "s"].into_iter().find(|unit| after.starts_with(unit));
        match unit {
            Some(unit) if digits > 0 => rest = &after[unit.len()..],
            Some(_) | None => return false,
        }
    }
    !text.is_empty()
}

const UNITS: [(&str, u128); 11] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("", 1),
];

pub(crate) fn bytes(scalar: &Scalar, min: u64) -> Read<u64> {
    let text = scalar.text.as_str();
    let digits = text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let (amount, unit) = text.split_at(digits);
    let invalid = || Problem::new(format!("`{text}` is not a size"));
    let Some((_, size)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        let near = UNITS.iter().map(|(name, _)| *name).find(|name| {
            !name.is_empty()
                && (unit.eq_ignore_ascii_case(name) || unit.eq_ignore_ascii_case(&format!("{name}B")))
        });
        return Err(match near {
            Some(name) => invalid().help(format!("did you mean `{amount}{name}`?")),
            None => invalid().help("use Kubernetes' units, as in 512Ki, 256Mi, 1.5Gi or 512M"),
        });
    };
    let help = "use Kubernetes' units, as in 512Ki, 256Mi, 1.5Gi or 512M";
    let bytes = fixed(amount, *size).filter(|b| *b <= MAX_BYTES).ok_or_else(|| invalid().help(help))?;
    let bytes = u64::try_from(bytes).map_err(|_| invalid())?;
    if bytes < min {
        let problem = Problem::new(format!("`{text}` is {bytes} bytes; the least is {}", format_bytes(min)));
        return Err(if unit.is_empty() {
            problem.help(format!("did you mean `{text}Mi`?"))
        } else {
            problem
        });
    }
    Ok(bytes)
}

/// `amount * unit`, rounded up to a whole number; the amount is digits with at most one point.
fn fixed(amount: &str, unit: u128) -> Option<u128> {
    let (whole, part) = amount.split_once('.').unwrap_or((amount, ""));
    let sound = whole.len() + part.len() > 0 && whole.len() <= 16 && part.len() <= 9;
    if !sound || part.contains('.') || (part.is_empty() && amount.contains('.')) {
        return None;
    }
    let scale = 10u128.pow(u32::try_from(part.len()).ok()?);
    let digits: u128 = format!("{whole}{part}").parse().ok()?;
    Some(digits.checked_mul(unit)?.div_ceil(scale))
}

pub(crate) fn format_bytes(bytes: u64) -> String {
    for (name, size) in UNITS.iter().take(5).rev() {
        let size = u64::try_from(*size).unwrap_or(1);
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("{}{name}", bytes / size);
        }
    }
    bytes.to_string()
}

pub(crate) fn cpu(scalar: &Scalar) -> Read<u32> {
    let text = scalar.text.as_str();
    let (amount, scale) = text.strip_suffix('m').map_or((text, 1000), |millis| (millis, 1));
    let help = "use cores or thousandths of a core, as in 500m, 0.5 or 2";
    let invalid = || Problem::new(format!("`{text}` is not a number of cores")).help(help);
    let millis = fixed(amount, scale).ok_or_else(invalid)?;
    if millis == 0 || millis > MAX_CPU_MILLIS {
        return Err(Problem::new(format!("`{text}` is out of range")).help("use 1m to 1024"));
    }
    u32::try_from(millis).map_err(|_| invalid())
}

pub(crate) fn format_cpu(millis: u32) -> String {
    if millis.is_multiple_of(1000) { (millis / 1000).to_string() } else { format!("{millis}m") }
}

pub(crate) fn percent(scalar: &Scalar) -> Read<Weight> {
    let text = scalar.text.as_str();
    let digits = text.strip_suffix('%').unwrap_or(text);
    let problem = Problem::new(format!("`{text}` is not a percentage"));
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number = decimal(digits).filter(|_| plain && (text.len() > digits.len() || !scalar.quoted));
    number.and_then(Weight::from_percent).ok_or_else(|| problem.help("use 0 to 100, as in 5, 0.5 or 5%"))
}

/// An exact share: `99.95%`.
pub(crate) fn ratio(text: &str) -> Read<Ratio> {
    text.parse().map_err(|error| share_problem(text, &error))
}

/// A share that can be missed and can be kept.
pub(crate) fn target(text: &str) -> Read<Target> {
    text.parse().map_err(|error| share_problem(text, &error))
}

fn share_problem(text: &str, error: &InvalidRatio) -> Problem {
    let meant = |text: &str| decimal(text).filter(|number| *number > 0.0 && *number < 100.0);
    match (error, meant(text.trim())) {
        (InvalidRatio::Malformed(_), Some(number)) => {
            // Other tools write 0.999 or 99.9 for it.
            let percent = if number < 1.0 { (number * 1e8).round() / 1e6 } else { number };
            let problem = Problem::new(format!("`{}` is not a percentage", text.trim()));
            problem.help(format!("did you mean `{percent}%`?"))
        }
        (InvalidRatio::Malformed(_), None) => {
            Problem::new(format!("`{text}` is not a percentage")).help("as in 99.9%")
        }
        (InvalidRatio::Extreme(_), _) => Problem::new(error.to_string())
            .help("nothing is good all of the time: use 99.9% or what users would miss"),
        (InvalidRatio::TooFine(_) | InvalidRatio::Outside(_), _) => Problem::new(error.to_string()),
    }
}

pub(crate) fn amount(scalar: &Scalar) -> Read<Amount> {
    if scalar.text.ends_with('%') {
        return percent(scalar).map(Amount::Share);
    }
    let help = "use a number of replicas, as in 1, or a percentage, as in 25%";
    let count = integer(scalar, 0, 100).map_err(|problem| problem.help(help))?;
    Ok(Amount::Replicas(u32::try_from(count).unwrap_or(0)))
}

pub(crate) fn condition(scalar: &Scalar) -> Read<Condition> {
    let text = scalar.text.trim();
    let invalid = || {
        Problem::new(format!("`{text}` is not a condition"))
            .help("compare `result` with a number by <, <=, > or >=, as in `result < 0.05`")
    };
    let rest = text.strip_prefix("result").ok_or_else(invalid)?;
    let rest = rest.strip_prefix("[0]").unwrap_or(rest).trim_start();
    let signs = [
        ("<=", Comparison::LessOrEqual),
        (">=", Comparison::GreaterOrEqual),
        ("<", Comparison::Less),
        (">", Comparison::Greater),
    ];
    let found = signs.into_iter().find_map(|(sign, comparison)| Some((rest.strip_prefix(sign)?, comparison)));
    let (number, comparison) = found.ok_or_else(invalid)?;
    let value = decimal(number.trim()).ok_or_else(invalid)?;
    Ok(Condition { comparison, value })
}

pub(crate) fn path(scalar: &Scalar) -> Read<String> {
    let path = text(scalar)?;
    if !path.starts_with('/') {
        return Err(Problem::new(format!("`{path}` is not a path")).help(format!("did you mean `/{path}`?")));
    }
    if path.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#') {
        return Err(
            Problem::new("a path holds no blanks, control characters or `#`").help("encode them, as in %20")
        );
    }
    Ok(path)
}

/// A word out of several; `not_yet` are words that deserve another answer than "did you mean".
pub(crate) fn choice(scalar: &Scalar, choices: &[&'static str], not_yet: &[&str]) -> Read<&'static str> {
    if let Some(choice) = choices.iter().find(|choice| **choice == scalar.text) {
        return Ok(choice);
    }
    let all = choices.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", ");
    if not_yet.iter().any(|word| word.eq_ignore_ascii_case(&scalar.text)) {
        let problem = Problem::new(format!("`{}` is not supported yet", scalar.text));
        return Err(problem.help(format!("use one of {all}")));
    }
    let problem = Problem::new(format!("`{}` is none of {all}", scalar.text));
    Err(match closest(&scalar.text, choices.iter().copied()) {
        Some(close) => problem.help(format!("did you mean `{close}`?")),
        None => problem,
    })
}

/// The known word that was probably meant.
pub(crate) fn closest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let simple = |text: &str| text.to_lowercase().replace(['_', '-', ' '], "");
    let word = simple(word);
    known
        .map(|name| (strsim::damerau_levenshtein(&word, &simple(name)), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The name of an environment variable.
pub(crate) fn is_variable(name: &str) -> bool {
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    first && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Scalar {
        Scalar::plain(text)
    }

    #[test]
    fn sizes_are_kubernetes_quantities() {
        let cases =
            [("256Mi", 268_435_456), ("1.5Gi", 1_610_612_736), ("512M", 512_000_000), ("1048576", 1 << 20)];
        for (text, expected) in cases {
            assert_eq!(bytes(&plain(text), 0), Ok(expected), "{text}");
        }
        for bad in ["", "Mi", "1..5Gi", "5 Mi", "-1Mi", "1.", "9999999Pi", "1e3"] {
            assert!(bytes(&plain(bad), 0).is_err(), "{bad}");
        }
        assert_eq!(bytes(&plain("256mb"), 0).unwrap_err().help.unwrap(), "did you mean `256M`?");
        assert_eq!(bytes(&plain("256"), 1 << 20).unwrap_err().help.unwrap(), "did you mean `256Mi`?");
        assert_eq!(format_bytes(10 << 20), "10Mi");
        assert_eq!(format_bytes(512_000_001), "512000001");
    }

    #[test]
    fn cores_may_be_whole_broken_or_thousandths() {
        assert_eq!((cpu(&plain("500m")), cpu(&plain("0.5")), cpu(&plain("2"))), (Ok(500), Ok(500), Ok(2000)));
        assert!(cpu(&plain("0")).is_err());
        assert!(cpu(&plain("half")).is_err());
        assert_eq!((format_cpu(2000), format_cpu(250)), ("2".to_owned(), "250m".to_owned()));
    }

    #[test]
    fn a_bare_number_is_no_duration() {
        assert_eq!(
            duration(&plain("5"), true).unwrap_err().help.unwrap(),
            "did you mean `5s`? units are h, m, s, ms, us"
        );
        assert_eq!(duration(&plain("0"), false), Ok(Duration::ZERO));
        assert!(duration(&plain("0s"), true).is_err());
        for bad in ["", "PT5S", "5 seconds", "-1s", "1s1h", "5ns", "99999h", "s"] {
            assert!(duration(&plain(bad), false).is_err(), "{bad}");
        }
        assert_eq!(duration(&plain("1m30s"), true), Ok(Duration::from_secs(90)));
    }

    #[test]
    fn conditions_compare_the_result_with_a_number() {
        assert_eq!(
            condition(&plain("result[0] <= 5e-2")).unwrap(),
            Condition { comparison: Comparison::LessOrEqual, value: 0.05 }
        );
        for bad in ["result == 1", "result < inf", "0.05 > result", "result <", "results < 1"] {
            assert!(condition(&plain(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn words_are_found_despite_case_and_typing() {
        let known = ["replicas", "resources", "maxSurge"];
        assert_eq!(closest("replcas", known.into_iter()), Some("replicas"));
        assert_eq!(closest("max_surge", known.into_iter()), Some("maxSurge"));
        assert_eq!(closest("banana", known.into_iter()), None);
    }
}
