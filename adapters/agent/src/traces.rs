//! The gateway's traces on their way out: for each traced place a queue to its destination, for as long as the wanted state
//! says so. Does not live here: which are kept (`proxy`), what is said of one ([`span`]), and sending (`otlp`).

mod span;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::Place;
use model::otlp::Traces as Declared;
use model::spec::HeaderValue;
use otlp::{Counts, Destination, Exporter, Pace, Spans};
use ports::Secret;
use ports::fleet::Split;
use proxy::Tracing;

/// How long what waits may take to be sent when the gateway ends, or its traces go elsewhere.
const FLUSH: Duration = Duration::from_secs(5);

/// Values of secret headers, by place and name.
pub(crate) type Headers = BTreeMap<Place, BTreeMap<String, Secret>>;

/// That a place is traced, with all that sending takes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order {
    declared: Declared,
    destination: Destination,
}

/// What is wanted: an order for each place that is traced.
pub(crate) type Orders = BTreeMap<Place, Order>;

/// The orders that follow from a wanted state, and the secret headers that they lack.
pub(crate) fn orders(splits: &[Split], headers: &Headers) -> (Orders, Vec<String>) {
    let (mut orders, mut missing) = (Orders::new(), Vec::new());
    for split in splits {
        let Some(declared) = &split.traces else { continue };
        let known = headers.get(&split.place);
        let value = |(name, value): (&String, &HeaderValue)| {
            let value = match value {
                HeaderValue::Text(text) => Some(Secret::new(text.clone())),
                HeaderValue::Secret(_) => known.and_then(|known| known.get(name)).cloned(),
            };
            value.map(|value| (name.clone(), value)).ok_or_else(|| name.clone())
        };
        match declared.otlp.headers.iter().map(value).collect::<Result<BTreeMap<_, _>, _>>() {
            Ok(headers) => {
                let otlp = &declared.otlp;
                let destination = Destination {
                    endpoint: otlp.endpoint.clone(),
                    protocol: otlp.protocol,
                    headers,
                    ca_file: otlp.ca_file.clone(),
                    timeout: otlp.timeout,
                };
                orders.insert(split.place.clone(), Order { declared: declared.clone(), destination });
            }
            Err(name) => missing.push(format!(
                "{} sends no traces until control sends the value of the header {name}",
                split.place
            )),
        }
    }
    (orders, missing)
}

/// The queues there are.
#[derive(Debug, Default)]
pub(crate) struct Traces(Mutex<BTreeMap<Place, Line>>);

/// What one place has.
#[derive(Debug)]
struct Line {
    order: Order,
    tracing: Tracing,
    exporter: Exporter<Spans>,
    counts: Arc<Counts>,
    /// What earlier tracings of this place left out.
    limited_before: u64,
}

impl Traces {
    /// Makes the queues those that are wanted. One whose order stays is left alone; what waits in another is sent where it
    /// was to go.
    pub(crate) fn follow(&self, mut orders: Orders) {
        let mut lines = self.lines();
        let gone: Vec<Place> = lines
            .iter()
            .filter(|(place, line)| orders.get(place) != Some(&line.order))
            .map(|(place, _)| place.clone())
            .collect();
        let mut before = BTreeMap::new();
        for place in gone {
            if let Some(line) = lines.remove(&place) {
                before
                    .insert(place, (Arc::clone(&line.counts), line.limited_before + line.tracing.limited()));
                tokio::spawn(line.exporter.close(FLUSH));
            }
        }
        orders.retain(|place, _| !lines.contains_key(place));
        for (place, order) in orders {
            let (counts, limited_before) = before.remove(&place).unwrap_or_default();
            let exporter = Exporter::start(order.destination.clone(), Pace::default(), Arc::clone(&counts));
            let offer = exporter.offer();
            let sink = move |trace| _ = offer.give(span::spans(trace));
            let tracing = Tracing::new(&order.declared.sample, Arc::new(sink));
            lines.insert(place, Line { order, tracing, exporter, counts, limited_before });
        }
    }

    /// How a place is traced, if it is.
    pub(crate) fn tracing(&self, place: &Place) -> Option<Tracing> {
        self.lines().get(place).map(|line| line.tracing.clone())
    }

    /// Sends what waits; what cannot be sent in time is lost.
    pub(crate) async fn close(&self) {
        let lines = std::mem::take(&mut *self.lines());
        let closing: Vec<_> =
            lines.into_values().map(|line| tokio::spawn(line.exporter.close(FLUSH))).collect();
        for line in closing {
            let _ = line.await;
        }
    }

    /// What became of the spans, as metrics in Prometheus' text format.
    pub(crate) fn page(&self) -> String {
        const SPANS: &str = "shipshape_traces_spans_total";
        const LIMITED: &str = "shipshape_traces_limited_total";
        let lines = self.lines();
        let mut out = String::new();
        if lines.is_empty() {
            return out;
        }
        // Writing to a String does not fail.
        let _ = writeln!(
            out,
            "# HELP {SPANS} Spans that were kept, by what became of them.\n# TYPE {SPANS} counter"
        );
        for (Place { service, environment }, Line { counts, .. }) in lines.iter() {
            for (outcome, count) in [
                ("sent", &counts.sent),
                ("overflowed", &counts.overflowed),
                ("refused", &counts.refused),
                ("undelivered", &counts.undelivered),
            ] {
                let count = count.load(Ordering::Relaxed);
                let _ = writeln!(
                    out,
                    "{SPANS}{{app=\"{service}\",environment=\"{environment}\",outcome=\"{outcome}\"}} {count}"
                );
            }
        }
        let help = "Traces that were left out because the second had as many as its limit.";
        let _ = writeln!(out, "# HELP {LIMITED} {help}\n# TYPE {LIMITED} counter");
        for (Place { service, environment }, line) in lines.iter() {
            let count = line.limited_before + line.tracing.limited();
            let _ = writeln!(out, "{LIMITED}{{app=\"{service}\",environment=\"{environment}\"}} {count}");
        }
        out
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<Place, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
