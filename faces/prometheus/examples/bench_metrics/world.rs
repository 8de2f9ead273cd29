//! What services say: pages of counters that grow unevenly, histograms, and gauges of every temper. The same numbers in every
//! run.

use std::fmt::Write as _;

use promql::Labels;

use crate::Outcome;

/// The same numbers in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// From 0 to 1.
    fn part(&mut self) -> f64 {
        self.below(1 << 30) as f64 / f64::from(1 << 30)
    }

    /// A whole number near `mean`, so that the mean is right.
    fn near(&mut self, mean: f64) -> f64 {
        (mean * (0.8 + 0.4 * self.part()) + self.part()).floor()
    }
}

const CLASSES: [(&str, f64); 5] = [("2xx", 0.94), ("3xx", 0.03), ("4xx", 0.02), ("5xx", 0.001), ("1xx", 0.0)];
const BOUNDS: [(&str, f64); 12] = [
    ("0.005", 0.2),
    ("0.01", 0.2),
    ("0.025", 0.2),
    ("0.05", 0.15),
    ("0.1", 0.1),
    ("0.25", 0.08),
    ("0.5", 0.04),
    ("1", 0.02),
    ("2.5", 0.007),
    ("5", 0.002),
    ("10", 0.0005),
    ("+Inf", 0.0005),
];
/// Series of one route.
pub(crate) const A_ROUTE: usize = CLASSES.len() + BOUNDS.len() + 2 + 6;

/// One replica of a service, with the metrics of its routes.
pub(crate) struct Replica {
    /// As a page names them.
    pub(crate) series: Vec<String>,
    /// One for each.
    pub(crate) values: Vec<f64>,
    random: Random,
    rounds: u64,
}

impl Replica {
    /// With so many routes, [`A_ROUTE`] series each.
    pub(crate) fn new(number: u64, routes: usize) -> Self {
        let mut series = Vec::with_capacity(routes * A_ROUTE);
        for route in 0..routes {
            let route = format!("route=\"/api/v1/things/{route}\"");
            let classes = CLASSES.iter().map(|(class, _)| {
                format!("http_requests_total{{{route},method=\"GET\",status_class=\"{class}\"}}")
            });
            series.extend(classes);
            let buckets = BOUNDS
                .iter()
                .map(|(le, _)| format!("http_request_duration_seconds_bucket{{{route},le=\"{le}\"}}"));
            series.extend(buckets);
            let others = [
                "http_request_duration_seconds_sum",
                "http_request_duration_seconds_count",
                "http_requests_in_flight",
                "cache_bytes",
                "queue_length",
                "cache_hit_ratio",
                "last_success_timestamp_seconds",
                "route_enabled",
            ];
            series.extend(others.map(|name| format!("{name}{{{route}}}")));
        }
        let values = vec![0.0; series.len()];
        let mut replica = Self { series, values, random: Random(number), rounds: 0 };
        replica.advance();
        replica
    }

    /// Fifteen seconds later.
    pub(crate) fn advance(&mut self) {
        self.rounds += 1;
        let (random, rounds) = (&mut self.random, self.rounds);
        for (route, values) in self.values.chunks_mut(A_ROUTE).enumerate() {
            // From a request now and then to hundreds a second.
            let requests = random.near(f64::from(1u32 << (route % 13)));
            let (classes, rest) = values.split_at_mut(CLASSES.len());
            for (value, (_, share)) in classes.iter_mut().zip(CLASSES) {
                *value += if share > 0.0 { random.near(requests * share) } else { 0.0 };
            }
            let (buckets, rest) = rest.split_at_mut(BOUNDS.len());
            let mut sum = 0.0;
            for (value, (_, share)) in buckets.iter_mut().zip(BOUNDS) {
                sum += if share < 0.01 && random.part() > requests * share {
                    0.0
                } else {
                    random.near(requests * share)
                };
                *value += sum;
            }
            let [seconds, count, flying, bytes, queue, ratio, success, enabled] = rest else { continue };
            *seconds += sum * (0.02 + 0.01 * random.part());
            *count += sum;
            *flying = random.near(requests / 100.0);
            *bytes = (*bytes + 4096.0 * (random.below(65) as f64 - 30.0)).max(0.0);
            if random.below(20) == 0 {
                *queue = random.below(10) as f64;
            }
            *ratio = 0.9 + (random.part() * 100.0).round() / 1000.0;
            if random.below(4) == 0 {
                *success = 1_700_000_000.0 + (rounds * 15) as f64 + random.below(1000) as f64 / 1000.0;
            }
            *enabled = 1.0;
        }
    }

    /// As it is said over HTTP.
    pub(crate) fn page(&self) -> String {
        let mut page = String::with_capacity(self.series.len() * 110);
        for (series, value) in self.series.iter().zip(&self.values) {
            // Writing to a string does not fail.
            let _ = writeln!(page, "{series} {value}");
        }
        page
    }

    /// With the labels of the one who asks.
    pub(crate) fn labels(&self, instance: &str) -> Outcome<Vec<Labels>> {
        let own =
            |text: &String| Ok(exposition::labels(text)?.with("job", "shop").with("instance", instance));
        self.series.iter().map(own).collect()
    }
}
