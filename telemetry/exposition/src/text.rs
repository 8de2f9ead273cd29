//! The text formats: Prometheus' 0.0.4 and OpenMetrics 1.0.

use std::collections::BTreeMap;

use promql::Labels;
use promql::labels::NAME;

use crate::line::{Cursor, unescaped};

/// Which of the two formats a text is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' own, 0.0.4: times in milliseconds.
    Prometheus,
    /// OpenMetrics 1.0: times in seconds, exemplars, and `# EOF` at the end.
    OpenMetrics,
}

impl Format {
    /// What to ask for in an `Accept` header.
    pub const ACCEPT: &'static str =
        "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5";

    /// By a `Content-Type` header; Prometheus' own when it says nothing else.
    pub fn of(content_type: &str) -> Self {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }
}

/// What a text may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Samples, and as many metrics that are described.
    pub samples: usize,
    /// Bytes of a line.
    pub line_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { samples: 50_000, line_bytes: 64 * 1024 }
    }
}

/// Why a text is refused. Nothing of it counts then: half a page would look like vanished series.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Error {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

/// A sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry<'a> {
    /// Name and labels as they stand; [`labels`] reads them. The same text is the same series.
    pub series: &'a str,
    /// Its value.
    pub value: f64,
    /// When it was taken, in milliseconds since 1970, if the service says so.
    pub at: Option<i64>,
}

/// What a metric is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, but for restarts.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, a sum and a count.
    Histogram,
    /// Quantiles, a sum and a count.
    Summary,
    /// Names things in its labels.
    Info,
    /// States in its labels.
    StateSet,
    /// Buckets that go up and down.
    GaugeHistogram,
    /// Nobody said.
    #[default]
    Unknown,
}

impl Kind {
    /// As `/api/v1/metadata` names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Unknown => "unknown",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "counter" => Self::Counter,
            "gauge" => Self::Gauge,
            "histogram" => Self::Histogram,
            "summary" => Self::Summary,
            "info" => Self::Info,
            "stateset" => Self::StateSet,
            "gaugehistogram" => Self::GaugeHistogram,
            "unknown" | "untyped" => Self::Unknown,
            _ => return None,
        })
    }
}

/// What is said about a metric beside its samples.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Family {
    /// What it is.
    pub kind: Kind,
    /// What it means.
    pub help: String,
    /// In which unit.
    pub unit: String,
}

/// A text that was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page<'a> {
    /// In the text's order.
    pub entries: Vec<Entry<'a>>,
    /// By metric.
    pub families: BTreeMap<&'a str, Family>,
    /// What stands for some of the entries: OpenMetrics alone has them. One that is malformed is left out.
    pub exemplars: Vec<Exemplar<'a>>,
}

/// Something that happened and was counted in a sample: a trace, mostly.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar<'a> {
    /// The text of the sample's series.
    pub series: &'a str,
    /// What it is called, as in `trace_id`.
    pub labels: Labels,
    /// Its own value.
    pub value: f64,
    /// When it happened, in milliseconds since 1970, if that is said.
    pub at: Option<i64>,
}

/// Characters of an exemplar's labels, by the standard.
const EXEMPLAR_CHARACTERS: usize = 128;

/// Reads a text.
///
/// # Errors
/// At the first line that is wrong, or where it holds more than the limits allow.
pub fn read<'a>(text: &'a str, format: Format, limits: &Limits) -> Result<Page<'a>, Error> {
    let mut page = Page::default();
    let mut ended = false;
    for (index, line) in text.split('\n').enumerate() {
        let fail = |what: String| Error { line: index + 1, what };
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.len() > limits.line_bytes {
            return Err(fail(format!("{} bytes; a line may have {}", line.len(), limits.line_bytes)));
        }
        if line.trim().is_empty() {
            continue;
        }
        if ended {
            return Err(fail("something follows `# EOF`".to_owned()));
        }
        if line.starts_with('#') {
            ended = comment(line, format, &mut page).map_err(fail)?;
            if page.families.len() > limits.samples {
                return Err(fail(format!("more than {} metrics", limits.samples)));
            }
            continue;
        }
        if page.entries.len() == limits.samples {
            return Err(fail(format!("more than {} samples", limits.samples)));
        }
        let (entry, rest) = entry(line, format).map_err(fail)?;
        page.exemplars.extend(exemplar(entry.series, rest));
        page.entries.push(entry);
    }
    if format == Format::OpenMetrics && !ended {
        let line = text.lines().count().max(1);
        return Err(Error { line, what: "the text is cut off: OpenMetrics ends with `# EOF`".to_owned() });
    }
    Ok(page)
}

/// Returns whether it is the end.
fn comment<'a>(line: &'a str, format: Format, page: &mut Page<'a>) -> Result<bool, String> {
    if format == Format::OpenMetrics && line == "# EOF" {
        return Ok(true);
    }
    let mut cursor = Cursor(&line[1..]);
    cursor.skip_blanks();
    let keyword = cursor.word();
    if !matches!(keyword, "TYPE" | "HELP" | "UNIT") {
        return Ok(false);
    }
    cursor.skip_blanks();
    let name = if cursor.0.starts_with('"') { cursor.quoted() } else { cursor.name(true) };
    let name = name.ok_or_else(|| format!("{keyword} names no metric"))?;
    cursor.skip_blanks();
    let family = page.families.entry(name).or_default();
    match keyword {
        "TYPE" => {
            let kind = cursor.0.trim();
            family.kind = Kind::named(kind).ok_or_else(|| format!("{kind:?} is no type of metric"))?;
        }
        "HELP" => family.help = unescaped(cursor.0),
        _ => cursor.0.trim().clone_into(&mut family.unit),
    }
    Ok(false)
}

/// A sample, and what follows it.
fn entry(line: &str, format: Format) -> Result<(Entry<'_>, &str), String> {
    let mut cursor = Cursor(line);
    cursor.skip_blanks();
    let start = cursor.0;
    walk(&mut cursor, |_, _| {})?;
    let series = start[..start.len() - cursor.0.len()].trim_end();
    cursor.skip_blanks();
    let value = cursor.word();
    let value = number(value).ok_or_else(|| format!("{value:?} is not a number"))?;
    cursor.skip_blanks();
    let at = match (cursor.0, format) {
        ("", _) => None,
        (rest, Format::OpenMetrics) if rest.starts_with('#') => None,
        (_, format) => Some(time(cursor.word(), format)?),
    };
    cursor.skip_blanks();
    match format {
        Format::Prometheus if !cursor.0.is_empty() => Err(format!("{:?} follows the sample", cursor.0)),
        Format::OpenMetrics if !cursor.0.is_empty() && !cursor.0.starts_with("# {") => {
            Err(format!("{:?} follows the sample and is no exemplar", cursor.0))
        }
        Format::Prometheus | Format::OpenMetrics => Ok((Entry { series, value, at }, cursor.0)),
    }
}

fn exemplar<'a>(series: &'a str, rest: &str) -> Option<Exemplar<'a>> {
    let mut cursor = Cursor(rest.strip_prefix("# {")?);
    let (mut pairs, mut characters) = (Vec::new(), 0);
    cursor.skip_blanks();
    while !cursor.eat('}') {
        let name = cursor.name(false)?;
        cursor.skip_blanks();
        let value = cursor.eat('=').then(|| {
            cursor.skip_blanks();
            cursor.quoted()
        })??;
        let value = unescaped(value);
        characters += name.chars().count() + value.chars().count();
        pairs.push((name, value));
        cursor.skip_blanks();
        if !cursor.eat(',') && !cursor.0.starts_with('}') {
            return None;
        }
        cursor.skip_blanks();
    }
    cursor.skip_blanks();
    let value = number(cursor.word())?;
    cursor.skip_blanks();
    let at = match cursor.word() {
        "" => None,
        text => Some(time(text, Format::OpenMetrics).ok()?),
    };
    (characters <= EXEMPLAR_CHARACTERS).then(|| Exemplar { series, labels: Labels::new(pairs), value, at })
}

fn time(text: &str, format: Format) -> Result<i64, String> {
    let bad = || format!("{text:?} is not a time");
    match format {
        Format::Prometheus => text.parse().map_err(|_| bad()),
        Format::OpenMetrics => {
            let seconds: f64 =
                text.parse().ok().filter(|seconds: &f64| seconds.is_finite()).ok_or_else(bad)?;
            Ok((seconds * 1000.0).round() as i64)
        }
    }
}

/// A number as Go reads it, underscores and words such as `infinity` left out on purpose.
fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" | "Inf" | "+inf" | "inf" => Some(f64::INFINITY),
        "-Inf" | "-inf" => Some(f64::NEG_INFINITY),
        "NaN" | "nan" => Some(f64::NAN),
        _ if text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) => {
            text.parse().ok().filter(|value: &f64| !value.is_nan())
        }
        _ => None,
    }
}

/// The labels of a series' text.
///
/// # Errors
/// What is wrong with it; two labels of one name are.
pub fn labels(series: &str) -> Result<Labels, String> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    walk(&mut Cursor(series), |name, value| pairs.push((unescaped(name), unescaped(value))))?;
    let mut names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("the label {:?} is there twice", twice[0]));
    }
    Ok(Labels::new(pairs))
}

/// Goes over a name and labels: `name{label="value",…}`, or `{"name", label="value",…}` for names that need quotes.
fn walk<'a>(cursor: &mut Cursor<'a>, mut each: impl FnMut(&'a str, &'a str)) -> Result<(), String> {
    let name = cursor.name(true);
    if let Some(name) = name {
        each(NAME, name);
    }
    let before = *cursor;
    cursor.skip_blanks();
    if !cursor.eat('{') {
        *cursor = before;
        return if name.is_some() {
            Ok(())
        } else {
            Err("a line begins with the name of a metric".to_owned())
        };
    }
    let mut named = name.is_some();
    loop {
        cursor.skip_blanks();
        if cursor.eat('}') {
            return if named { Ok(()) } else { Err("a metric without a name".to_owned()) };
        }
        let quoted = cursor.0.starts_with('"');
        let label = if quoted { cursor.quoted() } else { cursor.name(false) };
        let label = label.ok_or_else(|| format!("{:?} does not begin with a label", shown(cursor.0)))?;
        if label.is_empty() {
            return Err("a name of nothing".to_owned());
        }
        cursor.skip_blanks();
        if cursor.eat('=') {
            cursor.skip_blanks();
            let value = cursor.quoted().ok_or_else(|| format!("the value of {label} is not in quotes"))?;
            each(label, value);
        } else if quoted && !named {
            named = true;
            each(NAME, label);
        } else {
            return Err(format!("the label {label} has no value"));
        }
        cursor.skip_blanks();
        if !cursor.eat(',') && !cursor.0.starts_with('}') {
            return Err(format!("a comma or a closing brace is missing before {:?}", shown(cursor.0)));
        }
    }
}

fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entries(text: &str, format: Format) -> Vec<(String, f64, Option<i64>)> {
        let page = read(text, format, &Limits::default()).unwrap();
        page.entries.iter().map(|it| (labels(it.series).unwrap().to_string(), it.value, it.at)).collect()
    }

    #[test]
    fn a_page_of_prometheus_is_read_with_its_times_and_escapes() {
        let text = "# HELP up All \\\\ good.\n# TYPE up gauge\nup 1\n\nrpc{path=\"a\\\"b\\n\\\\c\", code = \"200\",} 1.5e3 1700000000123\n\
                    nan NaN\ninf{} +Inf -5\n# a comment\n{\"with.dots\", a=\"b\"} 3\n";
        assert_eq!(entries(text, Format::Prometheus)[0], ("up".into(), 1.0, None));
        let read_back = entries(text, Format::Prometheus);
        assert_eq!(
            read_back[1],
            ("rpc{code=\"200\", path=\"a\\\"b\\n\\\\c\"}".into(), 1500.0, Some(1_700_000_000_123))
        );
        assert!(read_back[2].1.is_nan());
        assert_eq!(read_back[3], ("inf".into(), f64::INFINITY, Some(-5)));
        assert_eq!(read_back[4], ("with.dots{a=\"b\"}".into(), 3.0, None));
        let page = read(text, Format::Prometheus, &Limits::default()).unwrap();
        assert_eq!(
            page.families["up"],
            Family { kind: Kind::Gauge, help: "All \\ good.".into(), unit: String::new() }
        );
    }

    #[test]
    fn a_page_of_openmetrics_is_read_with_its_exemplars_left_out() {
        let text = "# TYPE http_requests counter\n# UNIT http_requests requests\nhttp_requests_total{a=\"b\"} 17 1700000000.5 # {trace_id=\"x y\"} 1 2\n\
                    lag_bucket{le=\"1.0\"} 3 # {} 0.7\n# EOF\n";
        let read_back = entries(text, Format::OpenMetrics);
        assert_eq!(read_back[0], ("http_requests_total{a=\"b\"}".into(), 17.0, Some(1_700_000_000_500)));
        assert_eq!(read_back[1], ("lag_bucket{le=\"1.0\"}".into(), 3.0, None));
    }

    #[test]
    fn an_exemplar_is_read_and_a_malformed_one_left_out() {
        let text = "a_bucket{le=\"1\"} 3 # {trace_id=\"x y\",span_id=\"\\\"\"} 0.7 1700000000.5\nb 1 # {} 2\nc 1 # {a} 2\n\
                    d 1 # {a=\"b\"} x\ne 1 # {a=\"b\"\nf 1 # {a=\"b\" c=\"d\"} 1\ng 1 # {a=\"b\"} 1 x\n# EOF\n";
        let page = read(text, Format::OpenMetrics, &Limits::default()).unwrap();
        let labels = Labels::new([("trace_id", "x y"), ("span_id", "\"")]);
        let first =
            Exemplar { series: "a_bucket{le=\"1\"}", labels, value: 0.7, at: Some(1_700_000_000_500) };
        let second = Exemplar { series: "b", labels: Labels::default(), value: 2.0, at: None };
        assert_eq!(page.exemplars, [first, second]);
        assert_eq!(page.entries.len(), 7);
        let long = format!("a 1 # {{trace_id=\"{}\"}} 1\n# EOF\n", "x".repeat(121));
        assert!(read(&long, Format::OpenMetrics, &Limits::default()).unwrap().exemplars.is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let wrong = |text: &str, format| read(text, format, &Limits::default()).unwrap_err().to_string();
        let prometheus = |text| wrong(text, Format::Prometheus);
        assert_eq!(prometheus("up 1\nup one\n"), "line 2: \"one\" is not a number");
        assert_eq!(prometheus("up{a=\"b\" 1"), "line 1: a comma or a closing brace is missing before \"1\"");
        assert_eq!(prometheus("up{a=b} 1"), "line 1: the value of a is not in quotes");
        assert_eq!(prometheus("up{a=\"b} 1"), "line 1: the value of a is not in quotes");
        assert_eq!(prometheus("1up 1"), "line 1: a line begins with the name of a metric");
        assert_eq!(prometheus("{\"\"} 1"), "line 1: a name of nothing");
        assert_eq!(prometheus("up{\"\"=\"x\"} 1"), "line 1: a name of nothing");
        assert_eq!(prometheus("up 1 2 3"), "line 1: \"3\" follows the sample");
        assert_eq!(prometheus("{a=\"b\"} 1"), "line 1: a metric without a name");
        assert_eq!(prometheus("# TYPE up sideways\n"), "line 1: \"sideways\" is no type of metric");
        assert!(wrong("up 1\n", Format::OpenMetrics).contains("cut off"));
        assert!(wrong("# EOF\nup 1\n", Format::OpenMetrics).contains("follows"));
        let few = Limits { samples: 1, ..Limits::default() };
        assert_eq!(
            read("a 1\nb 1", Format::Prometheus, &few).unwrap_err().to_string(),
            "line 2: more than 1 samples"
        );
        assert_eq!(
            read("# TYPE a gauge\n# TYPE a gauge\n# HELP b x\n", Format::Prometheus, &few)
                .unwrap_err()
                .to_string(),
            "line 3: more than 1 metrics"
        );
        assert_eq!(labels("up{a=\"1\",a=\"2\"}"), Err("the label \"a\" is there twice".into()));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[ -~\n\t#{}\"\\\\=,]{0,200}") {
            for format in [Format::Prometheus, Format::OpenMetrics] {
                if let Ok(page) = read(&text, format, &Limits::default()) {
                    page.entries.iter().for_each(|entry| { let _ = labels(entry.series); });
                }
            }
        }

        #[test]
        fn any_label_value_comes_back(value in "\\PC{0,20}|[\\\\\"\n]{0,10}", number in any::<f64>()) {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let text = format!("m{{l=\"{escaped}\"}} {number:e}\n");
            let text = text.replace("inf", "Inf");
            let page = read(&text, Format::Prometheus, &Limits::default()).unwrap();
            let read_back = labels(page.entries[0].series).unwrap();
            prop_assert_eq!(read_back.get("l"), value);
            prop_assert!(page.entries[0].value.to_bits() == number.to_bits() || number.is_nan());
        }
    }
}
