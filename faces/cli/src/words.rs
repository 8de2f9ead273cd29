//! Numbers and times as people read them. Does not live here: anything that knows what they mean.

use std::time::Duration;

/// `240 ms`, `1.2 s`, `12 s`, `3 min 5 s`, `2 h 4 min`.
pub(crate) fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let seconds = duration.as_secs();
    match seconds {
        0 if millis == 0 => "less than 1 ms".to_owned(),
        0 => format!("{millis} ms"),
        1..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Whole seconds, rounded up: what counts down never says 0 before its end.
pub(crate) fn whole(duration: Duration) -> String {
    let up = Duration::from_secs(duration.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX));
    self::duration(up).replace(".0 s", " s")
}

/// `1 replica`, `2 replicas`.
pub(crate) fn count(count: u64, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// `120 requests, 3 errors (2.50%)`.
pub(crate) fn counts(requests: u64, errors: u64) -> String {
    if requests == 0 {
        return "no requests yet".to_owned();
    }
    let rate = errors as f64 * 100.0 / requests as f64;
    let rate = if errors == 0 { String::new() } else { format!(" ({rate:.2}%)") };
    format!("{}, {}{rate}", count(requests, "request"), count(errors, "error"))
}

/// How far a number between 1 and a threshold has come, on a scale where each factor counts the same.
pub(crate) fn bar(value: f64, threshold: f64) -> String {
    const CELLS: usize = 10;
    let far = if threshold > 1.0 { value.max(1.0).ln() / threshold.ln() } else { 1.0 };
    let full = ((far * CELLS as f64).floor() as usize).min(CELLS);
    format!("[{}{}]", "#".repeat(full), ".".repeat(CELLS - full))
}

/// `4.1`, `0.8`, `1`, `120`.
pub(crate) fn number(value: f64) -> String {
    if value >= 1e6 {
        format!("{value:.0e}")
    } else if value >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

/// Text from elsewhere on one line, without what could steer a terminal.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Text of so many columns at most; what is cut off is shown to be.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(columns.saturating_sub(3)).collect();
    cut.push_str("...");
    cut
}

/// Text in lines of so many columns at most, broken between words.
pub(crate) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let fits =
            |line: &String| line.is_empty() || line.chars().count() + 1 + word.chars().count() <= columns;
        match lines.last_mut().filter(|line| fits(line)) {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => line.push_str(&format!(" {word}")),
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Columns side by side, each as wide as its widest cell; the last one is not padded.
pub(crate) fn table(rows: &[Vec<String>], indent: &str) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{indent}{}", cells.collect::<Vec<_>>().join("  ")).trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short_and_exact_enough() {
        let cases = [
            (Duration::from_micros(3), "less than 1 ms"),
            (Duration::from_millis(240), "240 ms"),
            (Duration::from_millis(1240), "1.2 s"),
            (Duration::from_secs(12), "12 s"),
            (Duration::from_secs(185), "3 min 5 s"),
            (Duration::from_secs(7445), "2 h 4 min"),
        ];
        for (given, expected) in cases {
            assert_eq!(duration(given), expected);
        }
        assert_eq!(whole(Duration::from_micros(7_200_001)), "8 s");
    }

    #[test]
    fn the_bar_of_evidence_counts_factors() {
        assert_eq!(bar(1.0, 100.0), "[..........]");
        assert_eq!(bar(10.0, 100.0), "[#####.....]");
        assert_eq!(bar(1e9, 100.0), "[##########]");
        assert_eq!(bar(0.2, 100.0), "[..........]");
    }

    #[test]
    fn what_is_cut_off_is_shown_to_be_and_words_stay_whole() {
        assert_eq!(
            (cut("twelve chars", 12), cut("twelve chars", 9)),
            ("twelve chars".into(), "twelve...".into())
        );
        assert_eq!(wrapped("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrapped("unbreakable", 3), ["unbreakable"]);
    }

    #[test]
    fn text_from_elsewhere_cannot_steer_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\nc"), "a [2Jb c");
    }
}
