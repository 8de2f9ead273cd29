//! Sends a service's metrics on, as they are in the store: every so often the newest sample of each of its series, in
//! OpenTelemetry's words ([`convert`]); and its records, as they come ([`RecordExports`]). Does not live here: collecting, who is to get them, and sending (`otlp`).

mod convert;
mod records;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use exposition::Family;
use model::Place;
use otlp::proto::metrics::v1::ResourceMetrics;
use otlp::{Counts, Destination, Exporter, Metrics, Pace};
use promql::expr::{Matcher, Test};
use promql::{Series, Source as _};
use store::Store;
use tokio::task::JoinHandle;

pub use records::{Board, RecordExports, Told};

/// As in PromQL: an older sample is not the present.
const LOOKBACK_MS: i64 = 5 * 60 * 1000;
/// How many samples one round may read: 5 minutes of 100,000 series at 15 s are 2 million.
const MOST_SAMPLES: usize = 4_000_000;
/// How long what waits may take to be sent when it goes elsewhere.
const FLUSH: Duration = Duration::from_secs(2);

/// Where a place's metrics go, and how often.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Who gets them.
    pub destination: Destination,
    /// How often.
    pub interval: Duration,
}

/// What metrics mean, asked for anew in each round.
pub type Meanings = Arc<dyn Fn() -> BTreeMap<String, Family> + Send + Sync>;

/// All that is sent on.
pub struct Exports {
    store: Arc<Store>,
    meanings: Meanings,
    now: fn() -> i64,
    lines: BTreeMap<Place, Line>,
}

struct Line {
    order: Order,
    rounds: JoinHandle<()>,
    exporter: Exporter<Metrics>,
}

impl Exports {
    /// Sends nothing yet. `now`: milliseconds since 1970.
    pub fn new(store: Arc<Store>, meanings: Meanings, now: fn() -> i64) -> Self {
        Self { store, meanings, now, lines: BTreeMap::new() }
    }

    /// Sends what these orders say from now on, and nothing else.
    pub fn follow(&mut self, orders: BTreeMap<Place, Order>) {
        let gone: Vec<Place> = self
            .lines
            .iter()
            .filter(|(place, line)| orders.get(place) != Some(&line.order))
            .map(|(place, _)| place.clone())
            .collect();
        for line in gone.iter().filter_map(|place| self.lines.remove(place)) {
            line.rounds.abort();
            tokio::spawn(line.exporter.close(FLUSH));
        }
        for (place, order) in orders {
            if !self.lines.contains_key(&place) {
                let line = self.line(place.clone(), order);
                self.lines.insert(place, line);
            }
        }
    }

    fn line(&self, place: Place, order: Order) -> Line {
        // A round is in several parts, and the next is not worth more than the one before.
        let pace = Pace { queue: 256, batch: 1, delay: Duration::ZERO, ..Pace::default() };
        let exporter = Exporter::start(order.destination.clone(), pace, Arc::new(Counts::default()));
        let (offer, interval) = (exporter.offer(), order.interval);
        let (store, meanings, now) = (Arc::clone(&self.store), Arc::clone(&self.meanings), self.now);
        let rounds = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(interval);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            loop {
                let _ = ticks.tick().await;
                let (store, meanings, place) = (Arc::clone(&store), Arc::clone(&meanings), place.clone());
                let round =
                    tokio::task::spawn_blocking(move || round(&store, &meanings(), &place, now())).await;
                match round {
                    // A full queue counts and tells of itself.
                    Ok(Ok(parts)) => parts.into_iter().for_each(|part| _ = offer.give(part)),
                    Ok(Err(error)) => tracing::warn!(error, "metrics cannot be sent on"),
                    Err(error) => tracing::warn!(%error, "metrics cannot be sent on"),
                }
            }
        });
        Line { order, rounds, exporter }
    }
}

/// The metrics of a place as they are now, in parts.
///
/// # Errors
/// In words, when the store cannot say.
pub fn round(
    store: &Store,
    meanings: &BTreeMap<String, Family>,
    place: &Place,
    now: i64,
) -> Result<Vec<ResourceMetrics>, String> {
    let equal =
        |name: &str, value: &str| Matcher { name: name.to_owned(), test: Test::Equal(value.to_owned()) };
    let matchers = [equal("app", place.service.as_str()), equal("environment", place.environment.as_str())];
    let found = store
        .select(&matchers, now - LOOKBACK_MS, now, MOST_SAMPLES)
        .map_err(|error| format!("the store cannot be read: {error}"))?;
    let newest = |series: Series| {
        let point = series.points.last().copied().filter(|point| !promql::is_stale(point.value))?;
        Some((series.labels, point))
    };
    Ok(convert::parts(found.series.into_iter().filter_map(newest).collect(), meanings, place))
}
