//! Series as the format writes them: `name{label="value"} 1+2x3 _ stale`.

use crate::labels::{Labels, NAME};
use crate::value::STALE;

/// One value of a series; `None` where none was taken.
pub(super) type Values = Vec<Option<f64>>;

/// A series' labels and values. `None` instead of values when there are native histograms among them, which the subset
/// does not serve.
///
/// # Errors
/// What is wrong with it.
pub(super) fn series(text: &str) -> Result<(Labels, Option<Values>), String> {
    let (labels, rest) = labels(text)?;
    if rest.contains("{{") {
        return Ok((labels, None));
    }
    let mut values = Vec::new();
    for word in rest.split_whitespace() {
        word_into(word, &mut values).ok_or_else(|| format!("{word:?} is not a value"))?;
    }
    Ok((labels, Some(values)))
}

fn word_into(word: &str, values: &mut Values) -> Option<()> {
    let (word, times) = match word.rsplit_once('x') {
        Some((word, times))
            if !word.is_empty() && !word.ends_with('0') || times.chars().all(|c| c.is_ascii_digit()) =>
        {
            (word, times.parse::<usize>().ok()?)
        }
        Some(_) | None => (word, 0),
    };
    let repeated = |value: Option<f64>, times: usize| std::iter::repeat_n(value, times);
    match word {
        // A gap repeated is that many gaps; a value repeated is one more than that.
        "_" => values.extend(repeated(None, times.max(1))),
        "stale" => values.extend(repeated(Some(STALE), times + 1)),
        _ => {
            let (start, step) = sequence(word)?;
            let mut value = start;
            for _ in 0..=times {
                values.push(Some(value));
                value += step;
            }
        }
    }
    Some(())
}

/// `start+step` or `start-step`, or a number alone.
fn sequence(word: &str) -> Option<(f64, f64)> {
    if let Some(value) = number(word) {
        return Some((value, 0.0));
    }
    let splits = word.char_indices().skip(1).filter(|(_, c)| matches!(c, '+' | '-'));
    splits.map(|(at, _)| at).find_map(|at| {
        let step = word[at..].strip_prefix('+').map_or_else(|| number(&word[at..]), number);
        Some((number(&word[..at])?, step?))
    })
}

/// A number as Go reads it.
pub(super) fn number(text: &str) -> Option<f64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    if let Some(hex) = lower.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok().map(|value| sign * value as f64);
    }
    if !lower.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && !matches!(&*lower, "inf" | "infinity" | "nan")
    {
        return None;
    }
    lower.parse::<f64>().ok().map(|value| sign * value)
}

/// The labels at the start of a text, and what follows them.
fn labels(text: &str) -> Result<(Labels, &str), String> {
    let text = text.trim_start();
    let end = text.find(|c: char| c == '{' || c.is_whitespace()).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let mut pairs: Vec<(String, String)> = Vec::new();
    if !name.is_empty() {
        pairs.push((NAME.to_owned(), name.to_owned()));
    }
    let Some(mut rest) = rest.strip_prefix('{').filter(|rest| !rest.starts_with('{')) else {
        return Ok((Labels::new(pairs), rest));
    };
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((Labels::new(pairs), after));
        }
        let (name, after) = if rest.starts_with(['"', '\'', '`']) {
            quoted(rest)?
        } else {
            let end =
                rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
            (rest[..end].to_owned(), &rest[end..])
        };
        let after = after.trim_start();
        let Some(after) = after.strip_prefix('=') else {
            // A quoted name alone is the metric's.
            pairs.push((NAME.to_owned(), name));
            rest = after;
            continue;
        };
        let (value, after) = quoted(after.trim_start())?;
        pairs.push((name, value));
        rest = after;
    }
}

fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut chars = text.char_indices();
    let quote = match chars.next() {
        Some((_, quote @ ('"' | '\'' | '`'))) => quote,
        Some(_) | None => return Err(format!("a quoted text is missing before {text:?}")),
    };
    let mut value = String::new();
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Ok((value, &text[at + 1..])),
            '\\' if quote != '`' => match chars.next().map(|(_, c)| c) {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some('r') => value.push('\r'),
                Some(c @ ('x' | 'u' | 'U')) => {
                    let digits = match c {
                        'x' => 2,
                        'u' => 4,
                        _ => 8,
                    };
                    let hex: String = chars.by_ref().take(digits).map(|(_, c)| c).collect();
                    let code = u32::from_str_radix(&hex, 16).map_err(|error| error.to_string())?;
                    value.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                Some(c) => value.push(c),
                None => break,
            },
            _ => value.push(c),
        }
    }
    Err(format!("the text {text:?} does not end"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_read_with_gaps_repeats_and_steps() {
        let (labels, values) = series(r#"up{job="a\"b", "x.y"='z'} 1+1x2 _ -1-1x1 3x1 stale NaN"#).unwrap();
        let values = values.unwrap();
        assert_eq!(labels.to_string(), r#"up{job="a\"b", x.y="z"}"#);
        let shown: Vec<String> = values.iter().map(|v| v.map_or("_".to_owned(), |v| v.to_string())).collect();
        assert_eq!(shown.join(" "), "1 2 3 _ -1 -2 3 3 NaN NaN");
        assert!(crate::is_stale(values[8].unwrap()) && !crate::is_stale(values[9].unwrap()));
        assert_eq!(series("h {{schema:0}}").unwrap().1, None);
    }
}
