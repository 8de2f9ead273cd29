//! The wiring of metrics and records that are sent on: whose, where to, with which secrets. Does not live here: what is sent (`export`),
//! and how (`otlp`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use collector::Collector;
use export::{Board, Exports, Order, RecordExports};
use lifecycle::World;
use logs::Keep;
use model::Place;
use model::otlp::{Export, Otlp};
use model::spec::HeaderValue;
use ports::{Secret, Secrets as _};

use crate::metrics::now;
use crate::records::declared;
use crate::secrets::FromHere;

/// What is sent on follows from what is declared.
pub(crate) struct Following {
    exports: Exports,
    records: RecordExports,
    declared: (BTreeMap<Place, Export>, BTreeMap<Place, Otlp>),
}

impl Following {
    /// Sends nothing yet.
    pub(crate) fn new(collector: &Collector, keep: Arc<Keep>, folder: PathBuf, board: Arc<Board>) -> Self {
        let told = collector.told();
        let meanings = Arc::new(move || told.families());
        let records = RecordExports::new(keep, folder, || now().saturating_mul(1000), board);
        let exports = Exports::new(collector.store(), meanings, now);
        Self { exports, records, declared: Default::default() }
    }

    /// Sends on what is declared now. A secret that cannot be found is told of, and looked up again with the next change.
    pub(crate) fn follow(&mut self, world: &World) {
        let declared = (collector::exports(world), declared::exports(world));
        if declared == self.declared {
            return;
        }
        let orders = found(&declared.0, "metrics", |export| {
            Ok(Order { destination: destination(&export.otlp)?, interval: export.interval })
        });
        self.exports.follow(orders);
        self.records.follow(found(&declared.1, "records", destination));
        self.declared = declared;
    }
}

/// Where each place's goes, as far as every secret is found.
fn found<D, T>(
    declared: &BTreeMap<Place, D>,
    what: &str,
    order: impl Fn(&D) -> Result<T, String>,
) -> BTreeMap<Place, T> {
    let found = |(place, declared): (&Place, &D)| match order(declared) {
        Ok(order) => Some((place.clone(), order)),
        Err(error) => {
            tracing::warn!(%place, error, "{what} are not sent on");
            None
        }
    };
    declared.iter().filter_map(found).collect()
}

fn destination(otlp: &Otlp) -> Result<otlp::Destination, String> {
    let value = |(name, value): (&String, &HeaderValue)| {
        let value = match value {
            HeaderValue::Text(text) => Secret::new(text.clone()),
            HeaderValue::Secret(source) => {
                FromHere.resolve(source).map_err(|error| format!("the header {name}: {error}"))?
            }
        };
        Ok((name.clone(), value))
    };
    Ok(otlp::Destination {
        endpoint: otlp.endpoint.clone(),
        protocol: otlp.protocol,
        headers: otlp.headers.iter().map(value).collect::<Result<_, String>>()?,
        ca_file: otlp.ca_file.clone(),
        timeout: otlp.timeout,
    })
}
