//! Prometheus' HTTP API over the embedded store: what Grafana, `promtool` and curl expect, answer for answer. Who may ask
//! is decided before; what is not here answers 404, as Prometheus does for what it does not have.

mod alerting;
mod answer;
mod ask;
mod catalogue;
mod exemplars;
mod params;
mod query;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use alerting::{ActiveAlert, AlertingRule, Words};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
pub use exposition::Family;
use promql::Labels;
use promql::expr::Matcher;
pub use rules::GroupHealth;
pub use scrape::{Exemplar, Health};
use store::Store;
use tokio::sync::Semaphore;

/// How many remote-write bodies are taken apart at the same time: each may take some tens of MB.
const WRITING: usize = 2;

/// What one query may take, and how many may run.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long a query may take; a shorter `timeout` of the asker counts.
    pub timeout: Duration,
    /// How many queries run at the same time; more wait.
    pub concurrent: usize,
    /// How many samples a query may read and make: with 16 bytes each, 20 million are 320 MB, and so many for each query
    /// that runs at the same time.
    pub samples: usize,
    /// Bytes of a remote-write body as it is sent.
    pub write_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(60), concurrent: 4, samples: 20_000_000, write_bytes: 8 << 20 }
    }
}

/// What is known of the metrics of this store beside their samples.
pub trait Catalogue: Send + Sync {
    /// What they mean, as those who were scraped say, by metric.
    fn families(&self) -> BTreeMap<String, Family>;
    /// Who is scraped, and how the last time went, by address.
    fn targets(&self) -> BTreeMap<String, Health>;
    /// Which rules are evaluated, and how the last time went, by group.
    fn rules(&self) -> BTreeMap<String, GroupHealth> {
        BTreeMap::new()
    }
    /// Which rules of alerts are looked at, and how the last time went.
    fn alerting(&self) -> Vec<AlertingRule> {
        vec![]
    }
    /// What is pending and firing.
    fn alerts(&self) -> Vec<ActiveAlert> {
        vec![]
    }
    /// Traces that stand for samples: of the series that one of the sets of matchers selects, between two times in
    /// milliseconds since 1970, by series and in order of time.
    fn exemplars(&self, _sets: &[Vec<Matcher>], _from: i64, _until: i64) -> BTreeMap<Labels, Vec<Exemplar>> {
        BTreeMap::new()
    }
}

/// What the API answers from.
#[derive(Clone)]
pub struct Backend {
    /// The samples.
    pub store: Arc<Store>,
    /// What they mean.
    pub catalogue: Arc<dyn Catalogue>,
    /// What time it is, in milliseconds since 1970.
    pub now: fn() -> i64,
    /// What one query may take.
    pub limits: Limits,
    /// The version of Shipshape.
    pub version: &'static str,
}

#[derive(Clone)]
struct State {
    backend: Backend,
    running: Arc<Semaphore>,
    writing: Arc<Semaphore>,
}

/// The API's routes, from `/api/v1/` on.
pub fn router(backend: Backend) -> Router {
    let running = Arc::new(Semaphore::new(backend.limits.concurrent.max(1)));
    let writing = Arc::new(Semaphore::new(WRITING));
    let write_bytes = backend.limits.write_bytes;
    Router::new()
        .route("/api/v1/query", get(query::instant).post(query::instant))
        .route("/api/v1/query_range", get(query::range).post(query::range))
        .route("/api/v1/query_exemplars", get(exemplars::query).post(exemplars::query))
        .route("/api/v1/series", get(catalogue::series).post(catalogue::series))
        .route("/api/v1/labels", get(catalogue::labels).post(catalogue::labels))
        .route("/api/v1/label/{name}/values", get(catalogue::values))
        .route("/api/v1/metadata", get(catalogue::metadata))
        .route("/api/v1/targets", get(catalogue::targets))
        .route("/api/v1/rules", get(catalogue::rules))
        .route("/api/v1/alerts", get(alerting::alerts))
        .route("/api/v1/status/buildinfo", get(catalogue::build))
        .route("/api/v1/write", post(write::write).layer(DefaultBodyLimit::max(write_bytes)))
        .with_state(State { backend, running, writing })
}
