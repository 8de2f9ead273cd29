//! The wiring of metrics: the store in the home, what is asked of whom, who is looked at from outside, and Prometheus' API
//! in front of it. Does not live here: collecting (`collector`), looking (`prober`), keeping (`store`), and answering
//! (`prometheus`).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use axum::routing::get;
use collector::{AgentPage, Collector, Fetcher, ProbePage, Probing, RecordsPage};
use notify::Notifier;
use ports::Clock as _;
use prober::{Prober, Wanted};
use prometheus::{
    ActiveAlert, AlertingRule, Backend, Catalogue, Exemplar, Family, GroupHealth, Health, Limits,
};
use promql::Labels;
use promql::expr::Matcher;
use runtime::Snapshot;
use tokio::sync::watch;

use crate::alerts::Alerts;
use crate::clock::SystemClock;
use crate::exports::Following;

/// Whoever in this process counts something.
pub(crate) struct Told {
    records: Arc<logs::Keep>,
    board: Arc<export::Board>,
    notifier: Arc<Notifier>,
}

impl Told {
    pub(crate) fn new(
        records: &Arc<logs::Keep>,
        board: &Arc<export::Board>,
        notifier: &Arc<Notifier>,
    ) -> Self {
        Self { records: Arc::clone(records), board: Arc::clone(board), notifier: Arc::clone(notifier) }
    }
}

/// Opens what was collected before, and collects on.
pub(crate) fn open(
    home: &Path,
    agent: Arc<agent::Client>,
    prober: &Arc<Prober>,
    told: Told,
) -> Result<Collector, String> {
    let page: AgentPage = Arc::new(move || {
        let agent = Arc::clone(&agent);
        Box::pin(async move { agent.metrics().await.map_err(|error| error.to_string()) })
    });
    let prober = Arc::clone(prober);
    let looks: ProbePage = Arc::new(move |key| {
        let prober = Arc::clone(&prober);
        Box::pin(async move { prober.look(&key).await })
    });
    let counts: RecordsPage = Arc::new(move || {
        let notified = told.notifier.reports().borrow().page();
        format!("{}{notified}", crate::records::page(&told.records, &told.board))
    });
    let folder = cli::home::metrics(home);
    Collector::open(&folder, store::Config::default(), Fetcher::new(page, looks, counts), now)
        .map_err(|error| error.to_string())
}

/// Asks those who are there, as they come and go. Never returns.
pub(crate) async fn follow(
    collector: &Collector,
    prober: &Prober,
    mut exports: Following,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
) -> Infallible {
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        // Before it is asked for them.
        let wanted = |Probing { key, place, probe }| Wanted { key, place, probe };
        let probes = collector::probes(&snapshot.world).into_iter().map(wanted).collect();
        prober.watch(probes, snapshot.seen.gateway.clone());
        collector.ask(collector::targets(&snapshot.world, &snapshot.seen));
        collector.rule(collector::groups(&snapshot.world));
        exports.follow(&snapshot.world);
        if snapshots.changed().await.is_err() {
            // Control ends; so will this.
            return std::future::pending().await;
        }
    }
}

/// Prometheus' API, and a page for a Prometheus that wants what the probes found.
pub(crate) fn router(
    collector: &Collector,
    prober: &Arc<Prober>,
    alerts: Arc<Alerts>,
    version: &'static str,
) -> axum::Router {
    let catalogue = Arc::new(Known { told: collector.told(), ruled: collector.ruled(), alerts });
    let prober = Arc::clone(prober);
    let page = move || {
        let page = prober.page();
        async move { ([(axum::http::header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page) }
    };
    prometheus::router(Backend {
        store: collector.store(),
        catalogue,
        now,
        limits: Limits::default(),
        version,
    })
    .route("/metrics", get(page))
}

struct Known {
    told: Arc<scrape::Told>,
    ruled: Arc<rules::Told>,
    alerts: Arc<Alerts>,
}

impl Catalogue for Known {
    fn families(&self) -> BTreeMap<String, Family> {
        self.told.families()
    }

    fn targets(&self) -> BTreeMap<String, Health> {
        self.told.health()
    }

    fn exemplars(&self, sets: &[Vec<Matcher>], from: i64, until: i64) -> BTreeMap<Labels, Vec<Exemplar>> {
        self.told.exemplars().select(sets, from, until)
    }

    fn rules(&self) -> BTreeMap<String, GroupHealth> {
        self.ruled.groups()
    }

    fn alerting(&self) -> Vec<AlertingRule> {
        self.alerts.rules()
    }

    fn alerts(&self) -> Vec<ActiveAlert> {
        self.alerts.active()
    }
}

/// Milliseconds since 1970.
pub(crate) fn now() -> i64 {
    SystemClock.now().as_micros() / 1_000
}
