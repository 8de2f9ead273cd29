//! What is good enough, as plain data: an indicator, a target, a window, and what follows from burning the budget. Does
//! not live here: counting (`telemetry/meter`), and everything that follows from counts (`core/watch`).

mod alerting;
mod ratio;
mod window;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use alerting::{Alerting, LowTraffic, NoData, Pair, Severity};
pub use ratio::{InvalidRatio, Ratio, Target};
pub use window::{CalendarUnit, InvalidWindow, MINUTE, Window, zone};

use crate::ObjectiveName;

/// The most objectives of a service in one environment.
pub const MOST: usize = 50;
/// What stands in a query for the range that it is asked for.
pub const WINDOW_PLACEHOLDER: &str = "$__window";

/// What a service promises itself: so large a share of something is good, over so long a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Objective {
    /// Its name, one of its kind in a service.
    pub name: ObjectiveName,
    /// What it means to users, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What is counted.
    pub indicator: Indicator,
    /// How much of it has to be good. The rest is the error budget.
    pub target: Target,
    /// Over how long.
    #[serde(default)]
    pub window: Window,
    /// In which unit the budget is counted.
    #[serde(default)]
    pub method: Method,
    /// What customers were promised, which is looser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sla: Option<Sla>,
    /// Who is told that the budget burns, and when.
    #[serde(default)]
    pub alerting: Alerting,
    /// What may still be deployed while so much of the budget is left, in descending order of what is left.
    #[serde(default)]
    pub policy: Vec<PolicyStep>,
    /// Whether the team declared it; otherwise it is the product's own.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub declared: bool,
}

const fn yes() -> bool {
    true
}

impl Objective {
    /// An objective with every setting's default.
    pub fn new(name: ObjectiveName, indicator: Indicator, target: Target) -> Self {
        Self {
            name,
            description: None,
            indicator,
            target,
            window: Window::default(),
            method: Method::default(),
            sla: None,
            alerting: Alerting::default(),
            policy: PolicyStep::defaults(),
            declared: true,
        }
    }

    /// The objectives of a service that declares none: 99.9 % of the requests answered without a fault of the service, and
    /// 99 % within 500 ms, over 30 days. Their budgets warn and stop nobody.
    pub fn defaults() -> Vec<Self> {
        let availability = Indicator::Availability(Requests::default());
        let latency =
            Indicator::Latency { within: Duration::from_millis(500), requests: Requests::default() };
        let all = [("availability", availability, 999_000), ("latency", latency, 990_000)];
        let objective = |(name, indicator, parts): (&str, Indicator, u32)| {
            let objective = Self::new(name.parse().ok()?, indicator, Target::from_parts(parts)?);
            let warn = PolicyStep { remaining: Ratio::percent(25), action: Action::Warn };
            Some(Self { policy: vec![warn], declared: false, ..objective })
        };
        all.into_iter().filter_map(objective).collect()
    }
}

/// What is counted: good ones of all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Indicator {
    /// Requests at the gateway. Bad is an answer of 5xx, and a request that the gateway could not have answered through
    /// the service's fault.
    Availability(Requests),
    /// Requests at the gateway. Good is an answer within a time; all requests count, also those that fail: a failure is
    /// availability's business, however quick.
    Latency {
        /// The time: a bound of [`crate::latency::BOUNDS_US`], so that the count is exact.
        #[serde(with = "crate::time::words")]
        within: Duration,
        /// Which requests.
        #[serde(default, flatten)]
        requests: Requests,
    },
    /// Whatever is counted in the metrics: good ones or bad ones of all.
    Ratio {
        /// What is good, or what is bad.
        part: Part,
        /// All.
        total: Query,
    },
    /// Attempts of a probe from outside; bad is a failed one.
    Probe {
        /// The probe.
        name: String,
    },
}

/// Which requests of a service are counted; empty lists mean all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// With one of these `route` labels: a template, or a path prefix of the route.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
    /// With one of these methods, in capitals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
}

impl Requests {
    /// Whether a request is one of them.
    pub fn hold(&self, route: &str, method: &str) -> bool {
        let is_in = |list: &[String], what: &str| list.is_empty() || list.iter().any(|each| each == what);
        is_in(&self.routes, route) && is_in(&self.methods, method)
    }
}

/// Which part of the total a query counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// The good ones.
    Good(Query),
    /// The bad ones.
    Bad(Query),
}

/// How a number of events is asked of the metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Query {
    /// A selector of counters: the increases of all its series are added.
    Counter(String),
    /// PromQL with one result, with [`WINDOW_PLACEHOLDER`] for the range: `sum(increase(jobs_total[$__window]))`.
    Windowed(String),
}

impl Query {
    /// The text, as it is written.
    pub fn text(&self) -> &str {
        match self {
            Self::Counter(text) | Self::Windowed(text) => text,
        }
    }

    /// The PromQL that gives the number of events in the range before the time it is asked for.
    pub fn over(&self, range: Duration) -> String {
        let range = crate::time::format_duration(range);
        match self {
            Self::Counter(selector) => format!("sum(increase({selector}[{range}]))"),
            Self::Windowed(text) => text.replace(WINDOW_PLACEHOLDER, &range),
        }
    }
}

/// In which unit a budget is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Method {
    /// In events: a busy minute counts for more than a quiet one.
    #[default]
    Occurrences,
    /// In time: a slice of time in which enough is good is good as a whole, one without events too.
    Timeslices {
        /// How long a slice is: whole minutes, of which a day has a whole number.
        #[serde(with = "crate::time::words")]
        slice: Duration,
        /// How much has to be good in a good slice.
        good: Ratio,
    },
}

/// What customers were promised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sla {
    /// How much has to be good.
    pub target: Target,
    /// Over how long.
    pub window: Window,
}

/// What follows when so little of the budget is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStep {
    /// The action begins when this share of the budget or less is left.
    pub remaining: Ratio,
    /// What follows.
    pub action: Action,
}

impl PolicyStep {
    /// The steps of an objective that names none: a warning at a quarter, canaries only at a tenth, nothing at zero.
    pub fn defaults() -> Vec<Self> {
        let step = |percent, action| Self { remaining: Ratio::percent(percent), action };
        vec![step(25, Action::Warn), step(10, Action::CanaryOnly), step(0, Action::Freeze)]
    }
}

/// What follows from a budget that runs out, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Whoever deploys is told.
    Warn,
    /// Only by canary: a strategy that moves all traffic at once is refused.
    CanaryOnly,
    /// Nothing but what goes back, or what somebody takes upon himself.
    Freeze,
}

impl Action {
    /// Every action, in ascending order.
    pub const ALL: [Self; 3] = [Self::Warn, Self::CanaryOnly, Self::Freeze];

    /// Its word in the manifest.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::CanaryOnly => "canaryOnly",
            Self::Freeze => "freeze",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_objective_reads_back_and_leaves_defaults_out() {
        for objective in Objective::defaults() {
            let json = serde_json::to_string(&objective).unwrap();
            assert_eq!(serde_json::from_str::<Objective>(&json).unwrap(), objective, "{json}");
        }
        let least = r#"{"name":"a","indicator":{"availability":{}},"target":999000}"#;
        let read: Objective = serde_json::from_str(least).unwrap();
        assert_eq!((read.window.clone(), read.declared), (Window::default(), true));
        let latency = r#"{"latency":{"within":"300ms","routes":["/a"]}}"#;
        let read: Indicator = serde_json::from_str(latency).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), latency);
    }

    #[test]
    fn a_query_is_asked_for_a_range() {
        let minute = Duration::from_secs(60);
        assert_eq!(Query::Counter("jobs_total".into()).over(minute), "sum(increase(jobs_total[1m]))");
        let windowed = Query::Windowed("sum(rate(a[$__window])) * 60".into());
        assert_eq!(windowed.over(minute), "sum(rate(a[1m])) * 60");
    }

    #[test]
    fn requests_without_lists_are_all_requests() {
        assert!(Requests::default().hold("/a", "GET"));
        let some = Requests { routes: vec!["/a".into()], methods: vec!["GET".into()] };
        assert!(some.hold("/a", "GET") && !some.hold("/b", "GET") && !some.hold("/a", "POST"));
    }
}
