//! Pages of metrics: whatever is exposed, reading ends within its limits, what was understood is a series, the store takes
//! it or says why not, and goes on answering.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ::exposition::{Format, Limits, labels, read};
use promql::{Labels, Options, Query, Value, evaluate};
use scrape::Intake;
use store::{Config, Store};
use tempfile::TempDir;

/// Words of the two formats.
pub(crate) const WORDS: &[&str] = &[
    "# TYPE ",
    "# HELP ",
    "# UNIT ",
    "# EOF\n",
    " counter\n",
    " histogram\n",
    " gauge\n",
    "http_requests_total",
    "_bucket",
    "{",
    "}",
    "{le=\"+Inf\"}",
    "{\"with.dots\",",
    "=\"",
    "\",",
    "\\\"",
    "\\n",
    "\\",
    " # {trace_id=\"x\"} 1 ",
    " NaN",
    " +Inf",
    " -Inf",
    " -0",
    " 1e308",
    " 1e-320",
    " 1700000000000",
    " 9223372036854775807",
    " -9223372036854775808",
    " 1700000000.123",
    "\n",
    "\r\n",
    "\t",
    "\0",
    "\u{e9}",
    "__name__",
    "job=\"x\"",
    "exported_job=\"x\"",
];
/// What a page may hold here.
const LIMITS: Limits = Limits { samples: 500, line_bytes: 4096 };
/// How often the store is tidied, in pages.
const TIDIED: i64 = 50;

struct World {
    store: Store,
    round: AtomicI64,
    _home: TempDir,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let home = TempDir::new().unwrap_or_else(|error| panic!("{error}"));
    let config = Config { max_series: 3000, retention: Duration::from_secs(12 * 3600), ..Config::default() };
    let store = Store::open(home.path(), config).unwrap_or_else(|error| panic!("{error}"));
    World { store, round: AtomicI64::new(0), _home: home }
});

/// # Panics
/// When a promise is broken.
pub fn target(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for format in [Format::Prometheus, Format::OpenMetrics] {
        match read(&text, format, &LIMITS) {
            Ok(page) => {
                assert!(page.entries.len() <= LIMITS.samples && page.families.len() <= LIMITS.samples);
                for entry in &page.entries {
                    assert!(
                        labels(entry.series).is_err_and(|why| why.contains("twice")) || named(entry.series)
                    );
                }
            }
            Err(error) => assert!(error.line >= 1 && !error.what.is_empty(), "{error}"),
        }
        take(&text, format);
    }
}

fn named(series: &str) -> bool {
    labels(series).is_ok_and(|labels| !labels.is_empty())
}

/// A target says it, is silent, says it again, and is gone.
fn take(text: &str, format: Format) {
    let World { store, round, .. } = &*WORLD;
    let number = round.fetch_add(1, Ordering::Relaxed);
    let at = 1_700_000_000_000 + number * 60_000;
    let mut intake = Intake::new(Labels::new([("job", "x"), ("instance", "y")]), LIMITS);
    for (second, said) in [(0, Ok((text, format))), (1, Err("silent".to_owned())), (2, Ok((text, format)))] {
        let said: Result<(&str, Format), String> = said;
        let heard = said.is_ok();
        let at = at + second * 1000;
        let outcome = intake.take(store, at, said, Duration::ZERO);
        let up = f64::from(u8::from(heard && outcome.failure.is_none()));
        assert!(
            instant("up", at) == [up],
            "up at {at} of page {number}: {:?}, {outcome:?}",
            instant("up", at)
        );
    }
    intake.end(store, at + 3000);
    assert!(instant("up", at + 3000).is_empty());
    if number % TIDIED == 0 {
        store.tidy(at).unwrap_or_else(|error| panic!("{error}"));
    }
}

fn instant(query: &str, at: i64) -> Vec<f64> {
    let expr = promql::read(query).unwrap_or_else(|error| panic!("{error}"));
    let answer = evaluate(&WORLD.store, &expr, Query::Instant(at), &Options::default());
    match answer.unwrap_or_else(|error| panic!("{error}")).value {
        // Pages may have their own, with more labels.
        Value::Vector(samples) => {
            let own = samples.iter().filter(|sample| sample.labels.iter().count() == 3);
            own.map(|sample| sample.point.value).collect()
        }
        other @ (Value::Scalar(_) | Value::Text { .. } | Value::Matrix(_)) => panic!("{other:?}"),
    }
}
