//! Answers: what the store says to a question, and whether it can be believed when it says nothing.

use std::collections::BTreeSet;

use model::Place;
use model::alert::Labels;
use promql::labels::NAME;
use promql::{Options, Query, Source, Value, evaluate};

use crate::rules::Asked;

/// Of whom the gateway's page comes that is asked for under the job `shipshape`; the others are control's own.
const OF_CONTROL: [&str; 2] = ["metrics", "records"];

/// Something that holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Of what.
    pub labels: Labels,
    /// How much.
    pub value: f64,
    /// Further annotations.
    pub notes: Labels,
}

/// Everything that holds, or why nobody knows.
pub type Answer = Result<Vec<Found>, String>;

/// Asks the store, as of a time in milliseconds since 1970.
///
/// # Errors
/// When a question cannot be answered, with the reason.
pub fn answer(source: &dyn Source, asked: &[Asked], at: i64, options: &Options) -> Answer {
    let mut all = Vec::new();
    for Asked { query, labels } in asked {
        let expr = promql::read(query).map_err(|error| error.to_string())?;
        let answer =
            evaluate(source, &expr, Query::Instant(at), options).map_err(|error| error.to_string())?;
        match answer.value {
            Value::Vector(samples) => all.extend(samples.into_iter().map(|sample| {
                let own = sample.labels.iter().filter(|(name, _)| &**name != NAME);
                let own = own.map(|(name, value)| (name.to_string(), value.to_string()));
                let labels = own.chain(labels.clone()).collect();
                Found { labels, value: sample.point.value, notes: Labels::new() }
            })),
            Value::Scalar(point) => {
                all.push(Found { labels: labels.clone(), value: point.value, notes: Labels::new() });
            }
            Value::Text { .. } | Value::Matrix(_) => {
                return Err("a rule asks for a vector or a scalar: use `rate` or `max_over_time`".to_owned());
            }
        }
    }
    Ok(all)
}

/// Who does not tell metrics now, so that nothing in an answer may mean anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blind {
    /// The agent does not tell of the gateway, the machine and the replicas.
    pub agent: bool,
    /// Services of which somebody who should tell metrics does not.
    pub places: BTreeSet<(String, String)>,
}

impl Blind {
    /// Whether what is asked about a place, or about the machine, may go unanswered for want of metrics.
    pub fn at(&self, place: Option<&Place>) -> bool {
        let here = |place: &Place| (place.service.to_string(), place.environment.to_string());
        self.agent || place.is_some_and(|place| self.places.contains(&here(place)))
    }
}

/// Who does not tell metrics, as of a time in milliseconds since 1970.
///
/// # Errors
/// When the store cannot be read, with the reason.
pub fn blind(source: &dyn Source, at: i64) -> Result<Blind, String> {
    let all = answer(source, &[Asked::plain("up")], at, &Options::default())?;
    let of = |found: &Found, name: &str| found.labels.get(name).cloned().unwrap_or_default();
    let agent = all.iter().any(|found| {
        of(found, "job") == "shipshape"
            && !OF_CONTROL.contains(&of(found, "instance").as_str())
            && found.value == 1.0
    });
    let silent = all.iter().filter(|found| found.value == 0.0 && found.labels.contains_key("app"));
    let places = silent.map(|found| (of(found, "app"), of(found, "environment"))).collect();
    Ok(Blind { agent: !agent, places })
}
