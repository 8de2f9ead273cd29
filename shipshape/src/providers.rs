//! Who has the metrics that objectives count: the store in this process, or the server that a place's manifest names. Does
//! not live here: counting (`meter`), and asking a server (`promclient`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lifecycle::World;
use meter::{Embedded, Provider, Providers};
use model::check::Measured;
use model::time::format_duration;
use ports::Secrets;
use ports::metrics::{Provider as Declared, Server};
use promql::expr::Matcher;
use promql::{Labels, Point, Series};
use store::Store;
use tokio::runtime::Handle;

/// How long one server may keep a look waiting, with all that it is asked.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long (milliseconds) after a time a server has what was measured until then: others' pages come to it over a network.
const SETTLES_ELSEWHERE: i64 = 20_000;

/// All who have metrics, for one look.
pub(crate) struct Everywhere<'a> {
    here: Embedded<'a>,
    servers: HashMap<String, Result<Elsewhere, String>>,
}

/// A server, asked from a thread that may wait.
struct Elsewhere {
    server: Box<Server>,
    runtime: Handle,
    until: Instant,
}

impl<'a> Everywhere<'a> {
    /// The store, and the servers that the manifests in force name.
    pub(crate) fn of(store: &'a Arc<Store>, world: &World, secrets: &dyn Secrets, runtime: &Handle) -> Self {
        let server = |place: &model::Place| {
            let declared = lifecycle::spec_at(world, place)?.metrics.prometheus.clone()?;
            let server = match Declared::resolve(Some(declared), secrets) {
                Ok(Declared::Prometheus(server)) => {
                    Ok(Elsewhere { server, runtime: runtime.clone(), until: Instant::now() + PATIENCE })
                }
                Ok(Declared::Embedded) => return None,
                Err(what) => Err(what),
            };
            Some((place.to_string(), server))
        };
        Self { here: Embedded(&**store), servers: world.lanes.keys().filter_map(server).collect() }
    }
}

impl Providers for Everywhere<'_> {
    fn of(&self, server: Option<&str>) -> Result<&dyn Provider, String> {
        match server.map(|place| (place, self.servers.get(place))) {
            None => Ok(&self.here),
            Some((_, Some(Ok(server)))) => Ok(server),
            Some((_, Some(Err(what)))) => Err(what.clone()),
            Some((place, None)) => Err(format!("{place} names no server of metrics any more")),
        }
    }
}

impl Elsewhere {
    fn left(&self) -> Result<Duration, String> {
        let left = self.until.saturating_duration_since(Instant::now());
        let spent = || format!("{} had {} for all questions", self.server.address, format_duration(PATIENCE));
        (!left.is_zero()).then_some(left).ok_or_else(spent)
    }
}

impl Provider for Elsewhere {
    fn samples(&self, matchers: &[Matcher], after: i64, until: i64) -> Result<Vec<Series>, String> {
        let selector = Matcher::selector(matchers);
        let range = u64::try_from(until - after).unwrap_or(0).max(1);
        let asking = promclient::samples(&self.server, &selector, range, until, self.left()?);
        let found = self.runtime.block_on(asking)?;
        let series = found.into_iter().map(|found| Series {
            labels: Labels::new(found.labels),
            points: found.points.into_iter().map(|(at, value)| Point { at, value }).collect(),
        });
        Ok(series.collect())
    }

    fn ask(&self, query: &str, at: i64) -> Result<Vec<f64>, String> {
        let asking = promclient::ask(&self.server, query, Some(at), self.left()?);
        Ok(match self.runtime.block_on(asking)? {
            Measured::Scalar(number) => vec![number],
            Measured::Vector(numbers) => numbers,
        })
    }

    fn settles(&self) -> i64 {
        SETTLES_ELSEWHERE
    }
}
