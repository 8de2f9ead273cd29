//! The gateway's counters of all services: requests by route, method and class of status.

use std::fmt::Write as _;

use promql::labels::NAME;
use promql::{Labels, Point};
use store::{SeriesRef, Store};

use crate::{OBJECTIVES, Outcome, SERVICES};

const METHODS: [&str; 2] = ["GET", "POST"];
const CLASSES: [&str; 2] = ["2xx", "5xx"];
/// One of so many requests fails.
const FAILS: u64 = 5_003;
/// What says that the gateway counted, though nothing came.
const PULSE: &str = "shipshape_gateway_connections";

/// What was counted so far.
pub(crate) struct Counters {
    values: Vec<u64>,
    requests: u64,
}

/// The labels of every counter.
fn labels() -> impl Iterator<Item = [(&'static str, String); 6]> {
    (0..SERVICES).flat_map(|service| {
        (0..OBJECTIVES).flat_map(move |route| {
            METHODS.into_iter().flat_map(move |method| {
                CLASSES.into_iter().map(move |class| {
                    [
                        ("app", format!("s{service}")),
                        ("environment", "production".to_owned()),
                        ("route", format!("/r{route}")),
                        ("method", method.to_owned()),
                        ("status_class", class.to_owned()),
                        ("version", "1".to_owned()),
                    ]
                })
            })
        })
    })
}

/// The same in a store, and the pulse last.
pub(crate) fn series(store: &Store) -> Outcome<Vec<SeriesRef>> {
    let own = [("instance", "gateway".to_owned())];
    let mut series = Vec::new();
    for labels in labels() {
        let all = labels.into_iter().chain(own.clone()).chain([(NAME, "http_requests_total".to_owned())]);
        series.push(store.series(&Labels::new(all))?);
    }
    series.push(store.series(&Labels::new([(NAME, PULSE), ("instance", "gateway")]))?);
    Ok(series)
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self { values: vec![0; labels().count()], requests: 0 }
    }

    /// So many requests more, dealt evenly.
    pub(crate) fn advance(&mut self, requests: u64) {
        let pairs = self.values.len() as u64 / 2;
        for _ in 0..requests {
            self.requests += 1;
            let failed = usize::from(self.requests.is_multiple_of(FAILS));
            let counter = (self.requests % pairs) as usize * 2 + failed;
            if let Some(value) = self.values.get_mut(counter) {
                *value += 1;
            }
        }
    }

    pub(crate) fn samples(&self, series: &[SeriesRef], at: i64) -> Vec<(SeriesRef, Point)> {
        let values = self.values.iter().map(|value| *value as f64).chain([1.0]);
        series.iter().zip(values).map(|(series, value)| (*series, Point { at, value })).collect()
    }

    /// As text.
    pub(crate) fn page(&self) -> String {
        let mut page = "# TYPE http_requests_total counter\n".to_owned();
        for (labels, value) in labels().zip(&self.values) {
            let labels = labels.map(|(name, value)| format!("{name}=\"{value}\"")).join(",");
            // Writing to a string does not fail.
            let _ = writeln!(page, "http_requests_total{{{labels}}} {value}");
        }
        page
    }
}
