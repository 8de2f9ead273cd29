//! The wiring of metrics that are sent on: whose, where to, with which secrets. Does not live here: what is sent (`export`),
//! and how (`otlp`).

use std::collections::BTreeMap;
use std::sync::Arc;

use collector::Collector;
use export::{Exports, Order};
use model::Place;
use model::otlp::Export;
use model::spec::HeaderValue;
use ports::{Secret, Secrets as _};

use crate::metrics::now;
use crate::secrets::FromHere;

/// What is sent on follows from what is declared.
pub(crate) struct Following {
    exports: Exports,
    declared: BTreeMap<Place, Export>,
}

impl Following {
    /// Sends nothing yet.
    pub(crate) fn new(collector: &Collector) -> Self {
        let told = collector.told();
        let meanings = Arc::new(move || told.families());
        Self { exports: Exports::new(collector.store(), meanings, now), declared: BTreeMap::new() }
    }

    /// Sends on what is declared now. A secret that cannot be found is told of, and looked up again with the next change.
    pub(crate) fn follow(&mut self, declared: BTreeMap<Place, Export>) {
        if declared == self.declared {
            return;
        }
        let mut orders = BTreeMap::new();
        for (place, export) in &declared {
            match order(export) {
                Ok(order) => _ = orders.insert(place.clone(), order),
                Err(error) => tracing::warn!(%place, error, "metrics are not sent on"),
            }
        }
        self.exports.follow(orders);
        self.declared = declared;
    }
}

fn order(export: &Export) -> Result<Order, String> {
    let otlp = &export.otlp;
    let value = |(name, value): (&String, &HeaderValue)| {
        let value = match value {
            HeaderValue::Text(text) => Secret::new(text.clone()),
            HeaderValue::Secret(source) => {
                FromHere.resolve(source).map_err(|error| format!("the header {name}: {error}"))?
            }
        };
        Ok((name.clone(), value))
    };
    let destination = otlp::Destination {
        endpoint: otlp.endpoint.clone(),
        protocol: otlp.protocol,
        headers: otlp.headers.iter().map(value).collect::<Result<_, String>>()?,
        ca_file: otlp.ca_file.clone(),
        timeout: otlp.timeout,
    };
    Ok(Order { destination, interval: export.interval })
}
