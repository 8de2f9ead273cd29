//! What a query may take: each limit holds with an error that says which, and none is met by trying it out first.
#![allow(clippy::unwrap_used, reason = "a test's way to fail")]

use std::time::{Duration, Instant};

use promql::expr::Matcher;
use promql::{Error, Labels, Options, Point, Query, Selected, Series, Source, evaluate, read};

/// So many series with so many samples each, a second apart.
struct Samples {
    series: usize,
    samples: i64,
}

impl Source for Samples {
    fn select(&self, matchers: &[Matcher], after: i64, until: i64, limit: usize) -> Result<Selected, Error> {
        let mut left = limit;
        let mut selected = Vec::new();
        for number in 0..self.series {
            let labels = Labels::new([("__name__", "m".to_owned()), ("number", number.to_string())]);
            if !matchers.iter().all(|matcher| matcher.selects(&labels)) {
                continue;
            }
            let times =
                (0..self.samples).map(|second| second * 1000).filter(|at| *at > after && *at <= until);
            let points: Vec<Point> = times.map(|at| Point { at, value: 1.0 }).collect();
            left = left.checked_sub(points.len()).ok_or_else(|| Error::TooMuch("the source's".to_owned()))?;
            selected.push(Series { labels, points });
        }
        Ok(selected.into())
    }
}

const SMALL: Samples = Samples { series: 10, samples: 1000 };

fn asked(query: &str, options: &Options) -> Result<(), Error> {
    evaluate(&SMALL, &read(query)?, Query::Instant(999_000), options).map(drop)
}

fn too_much(query: &str) -> String {
    match asked(query, &Options::default()) {
        Err(Error::TooMuch(why)) => why,
        other => panic!("{query}: {other:?}"),
    }
}

#[test]
fn what_would_take_all_memory_is_refused_before_it_takes_any() {
    for query in [
        // 3 x 10^12 steps, of something that reads no samples.
        "sum_over_time(vector(1)[100y:1ms] offset 1d)",
        "sum_over_time(vector(1)[100y:1ms])",
        "sum_over_time(vector(time())[100y:1ms])",
        "sum_over_time(m[100y:1ms])",
        "max_over_time(sum_over_time(m[1d:1ms])[1d:1ms])",
        "sum_over_time(vector(time() + time() + time())[6h:1ms])",
    ] {
        let why = too_much(query);
        assert!(why.contains("too many samples") && why.contains("the most is 50000000"), "{why}");
    }
}

#[test]
fn a_label_that_doubles_again_and_again_is_refused() {
    let mut query = "m".to_owned();
    for _ in 0..30 {
        query = format!(r#"label_replace({query}, "number", "$1$1", "number", "(.*)")"#);
    }
    assert!(too_much(&query).contains("label of"), "{}", too_much(&query));
    let mut query = "m".to_owned();
    for _ in 0..30 {
        query = format!(r#"label_join({query}, "number", "-", "number", "number")"#);
    }
    assert!(too_much(&query).contains("label of"));
}

#[test]
fn samples_and_points_and_steps_beyond_the_limits_are_refused() {
    let few = Options { max_samples: 5_000, ..Options::default() };
    assert!(matches!(asked("sum(rate(m[1h]))", &few), Err(Error::TooMuch(_))));
    assert_eq!(asked("sum(rate(m[5m]))", &few), Ok(()));
    // Every part of a query is counted, not each by itself.
    assert!(matches!(asked("sum(rate(m[5m])) + sum(rate(m[5m]))", &few), Err(Error::TooMuch(_))));

    let range = |end, step| Query::Range { start: 0, end, step };
    let at = |query| evaluate(&SMALL, &read("m").unwrap(), query, &Options::default()).map(drop);
    assert_eq!(at(range(10_999_000, 1000)), Ok(()));
    assert!(at(range(11_000_000, 1000)).unwrap_err().to_string().contains("11000 points"));
    assert!(at(range(1, 0)).unwrap_err().to_string().contains("above zero"));
    assert!(at(Query::Instant(i64::MIN)).unwrap_err().to_string().contains("beyond"));
    assert!(at(range(i64::MAX, 1)).unwrap_err().to_string().contains("beyond"));
    assert!(at(range(1, i64::MAX)).unwrap_err().to_string().contains("beyond"));
}

#[test]
fn a_query_that_reads_little_and_takes_long_ends_at_its_deadline() {
    let long = Samples { series: 1, samples: 200_000 };
    // 10,000 windows of up to 200,000 samples: 10^9 values to sort.
    let query = read("quantile_over_time(0.5, m[200000s])").unwrap();
    let limit = Duration::from_millis(300);
    let options = Options { deadline: Some((Instant::now() + limit, limit)), ..Options::default() };
    let range = Query::Range { start: 100_000_000, end: 199_990_000, step: 10_000 };
    let error = evaluate(&long, &query, range, &options).unwrap_err();
    assert_eq!(error, Error::Timeout("300ms".to_owned()));
}

#[test]
fn depth_and_length_are_refused_in_words() {
    let nested = |levels: usize| format!("{}m{}", "abs(".repeat(levels), ")".repeat(levels));
    assert_eq!(asked(&nested(100), &Options::default()), Ok(()));
    assert!(too_much(&nested(300)).contains("deeper than 128 levels"));
    assert!(too_much(&nested(2000)).contains("1024 operators and open brackets"));
    assert!(too_much(&"m+".repeat(40_000)).contains("65536"));
    let chain = vec!["m"; 200].join(" or ");
    assert!(too_much(&chain).contains("deeper than 128 levels"));
}

#[test]
fn durations_and_times_beyond_all_calendars_are_refused() {
    for query in ["m[40000y]", "m offset 40000y", "m offset -40000y", "m @ 1e14", "m[1y:40000y]"] {
        let error = read(query).map(drop).unwrap_err();
        assert!(matches!(error, Error::Syntax(_)), "{query}: {error}");
    }
    assert_eq!(asked("m offset 300y", &Options::default()), Ok(()));
    assert_eq!(asked("last_over_time(m[300y] @ 1e11 offset -300y)", &Options::default()), Ok(()));
}
