//! Texts with blanks for an alert's labels and value, as Prometheus' users write them. A small part of Go's templates, on
//! purpose: what is not understood is refused by name when it is read, so that filling in cannot fail at night.

use super::Labels;

/// The longest text that comes of a template, in characters: what is longer is cut.
pub const LONGEST: usize = 2_000;

/// A text with blanks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Label(String),
    Value(Form),
}

/// How the value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As Prometheus writes numbers.
    Plain,
    /// `1.234k`
    Humanize,
    /// `12.34%`
    Percentage,
    /// `1h 2m 3s`
    Duration,
    /// With so many digits after the point.
    Fixed(usize),
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// A brace is left open.
    #[error("`{{{{` is not closed by `}}}}`")]
    Open,
    /// What stands between the braces is not known here.
    #[error(
        "`{{{{ {0} }}}}` is not understood: there are `{{{{ $labels.NAME }}}}` and `{{{{ $value }}}}`, and of the value \
         `| humanize`, `| humanizePercentage`, `| humanizeDuration` and `| printf \"%.2f\"`"
    )]
    Unknown(String),
}

impl Template {
    /// Reads a text.
    ///
    /// # Errors
    /// When something between braces is not understood, with its words.
    pub fn read(text: &str) -> Result<Self, InvalidTemplate> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (inside, after) = after.split_once("}}").ok_or(InvalidTemplate::Open)?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts
                .push(part(inside.trim()).ok_or_else(|| InvalidTemplate::Unknown(inside.trim().to_owned()))?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// Whether it asks for the value.
    pub fn has_value(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Value(_)))
    }

    /// The text with its blanks filled in; a label that is not there is nothing.
    pub fn fill(&self, labels: &Labels, value: f64) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(words) => text.push_str(words),
                Part::Label(name) => text.push_str(labels.get(name).map_or("", String::as_str)),
                Part::Value(form) => text.push_str(&form.write(value)),
            }
        }
        match text.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
            None => text,
        }
    }
}

fn part(inside: &str) -> Option<Part> {
    let mut steps = inside.split('|').map(str::trim);
    let first = steps.next()?;
    let last = steps.next();
    if steps.next().is_some() {
        return None;
    }
    let label = first.strip_prefix("$labels.").or_else(|| first.strip_prefix(".Labels."));
    if let Some(name) = label.filter(|name| last.is_none() && is_label(name)) {
        return Some(Part::Label(name.to_owned()));
    }
    let of_value = |word: &str| word == "$value" || word == ".Value";
    if let Some(rest) = first.strip_prefix("printf ") {
        let (format, what) = rest.rsplit_once(' ')?;
        return (last.is_none() && of_value(what)).then(|| fixed(format)).flatten().map(Part::Value);
    }
    if !of_value(first) {
        return None;
    }
    let form = match last {
        None => Form::Plain,
        Some("humanize") => Form::Humanize,
        Some("humanizePercentage") => Form::Percentage,
        Some("humanizeDuration") => Form::Duration,
        Some(printf) => fixed(printf.strip_prefix("printf ")?)?,
    };
    Some(Part::Value(form))
}

/// `"%.2f"`.
fn fixed(format: &str) -> Option<Form> {
    let format = format.trim().strip_prefix("\"%.")?.strip_suffix("f\"")?;
    format.parse().ok().filter(|digits| *digits <= 10).map(Form::Fixed)
}

fn is_label(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}

impl Form {
    fn write(self, value: f64) -> String {
        if !value.is_finite() {
            return plain(value);
        }
        match self {
            Self::Plain => plain(value),
            Self::Humanize => humanized(value),
            Self::Percentage => format!("{}%", significant(value * 100.0)),
            Self::Duration => duration(value),
            Self::Fixed(digits) => format!("{value:.digits$}"),
        }
    }
}

/// A number as Prometheus writes it.
pub fn plain(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    value.to_string()
}

/// Four digits that matter, as Go's `%.4g` writes them.
fn significant(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let rounded: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    let exponent = rounded.abs().log10().floor() as i32;
    if !(-4..4).contains(&exponent) {
        let text = format!("{rounded:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    rounded.to_string()
}

fn humanized(value: f64) -> String {
    const LARGE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
    const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];
    let (mut value, mut unit) = (value, "");
    if value.abs() >= 1.0 {
        for next in LARGE {
            if value.abs() < 1_000.0 {
                break;
            }
            (value, unit) = (value / 1_000.0, next);
        }
    } else if value != 0.0 {
        for next in SMALL {
            if value.abs() >= 1.0 {
                break;
            }
            (value, unit) = (value * 1_000.0, next);
        }
    }
    format!("{}{unit}", significant(value))
}

/// Days to seconds in whole numbers; less than a second with its unit.
fn duration(seconds: f64) -> String {
    if seconds == 0.0 {
        return "0s".to_owned();
    }
    if seconds.abs() < 1.0 {
        return format!("{}s", humanized(seconds));
    }
    let (sign, size) = if seconds < 0.0 { ("-", -seconds) } else { ("", seconds) };
    let whole = size as u64;
    let (days, hours, minutes, rest) =
        (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60, size - (whole - whole % 60) as f64);
    if days > 0 {
        return format!("{sign}{days}d {hours}h {minutes}m {}s", whole % 60);
    }
    if hours > 0 {
        return format!("{sign}{hours}h {minutes}m {}s", whole % 60);
    }
    if minutes > 0 {
        return format!("{sign}{minutes}m {}s", whole % 60);
    }
    format!("{sign}{}s", significant(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str, value: f64) -> String {
        let labels = Labels::from([("queue".to_owned(), "mails".to_owned())]);
        Template::read(text).unwrap().fill(&labels, value)
    }

    #[test]
    fn labels_and_the_value_are_filled_in() {
        assert_eq!(filled("{{ $labels.queue }} has {{$value}} jobs", 7.0), "mails has 7 jobs");
        assert_eq!(filled("{{ .Labels.queue }}: {{ .Value }}", 0.5), "mails: 0.5");
        assert_eq!(filled("{{ $labels.nothing }}!", 1.0), "!");
        assert_eq!(filled("no blanks }} here {", 1.0), "no blanks }} here {");
    }

    #[test]
    fn values_are_written_as_prometheus_does() {
        // Each as promtool writes it.
        let expected = [
            (1e21, "1e+21", ""),
            (1234.5678, "1234.5678", "1.235k"),
            (0.00001, "1e-05", "10u"),
            (0.0, "0", "0"),
            (-2_500_000.0, "-2500000", "-2.5M"),
            (0.25, "0.25", "250m"),
        ];
        for (value, plain, humanized) in expected.into_iter().skip(1) {
            assert_eq!(filled("{{ $value }}", value), plain);
            assert_eq!(filled("{{ $value | humanize }}", value), humanized);
        }
        assert_eq!(filled("{{ $value }}", 1e21), expected[0].1);
        assert_eq!(filled("{{ $value }} {{ $value | humanize }}", f64::NAN), "NaN NaN");
        assert_eq!(filled("{{ $value | humanizePercentage }}", 0.0123456), "1.235%");
        assert_eq!(filled("{{ $value | humanizeDuration }}", 90_061.5), "1d 1h 1m 1s");
        assert_eq!(filled("{{ $value | humanizeDuration }}", 1.5), "1.5s");
        assert_eq!(filled("{{ $value | humanizeDuration }}", 0.25), "250ms");
        assert_eq!(filled("{{ printf \"%.2f\" $value }}", 1.0 / 3.0), "0.33");
        assert_eq!(filled("{{ $value | printf \"%.1f\" }}", 2.0), "2.0");
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        assert_eq!(Template::read("a {{ $value"), Err(InvalidTemplate::Open));
        for text in [
            "query \"up\" | first",
            "if gt $value 1.0",
            "$labels",
            "$externalLabels.cluster",
            "$value | toUpper",
            "$labels.queue | title",
            "printf \"%s\" $labels.queue",
            "",
        ] {
            let error = Template::read(&format!("{{{{ {text} }}}}")).unwrap_err();
            assert!(error.to_string().contains(&format!("`{{{{ {text} }}}}` is not understood")), "{error}");
        }
    }

    #[test]
    fn a_long_text_is_cut() {
        let labels = Labels::from([("a".to_owned(), "ü".repeat(3_000))]);
        let text = Template::read("{{ $labels.a }}").unwrap().fill(&labels, 1.0);
        assert_eq!(text.chars().count(), LONGEST + 1);
    }
}
