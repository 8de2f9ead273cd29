//! Who has the metrics that objectives count: the store in this process, or the server that a place's manifest names. Does
//! not live here: counting (`meter`), and asking a server (`promclient`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
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

/// How long one server may keep a look waiting, with all that it is asked; others are asked after that.
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
    /// What this look has waited for it, at whichever place it is named.
    waited: Arc<Mutex<Duration>>,
}

impl<'a> Everywhere<'a> {
    /// The store, and the servers that the manifests in force name.
    pub(crate) fn of(store: &'a Arc<Store>, world: &World, secrets: &dyn Secrets, runtime: &Handle) -> Self {
        let mut waited: HashMap<String, Arc<Mutex<Duration>>> = HashMap::new();
        let server = |place: &model::Place| {
            let declared = lifecycle::spec_at(world, place)?.metrics.prometheus.clone()?;
            let server = match Declared::resolve(Some(declared), secrets) {
                Ok(Declared::Prometheus(server)) => {
                    let waited = Arc::clone(waited.entry(server.address.to_string()).or_default());
                    Ok(Elsewhere { server, runtime: runtime.clone(), waited })
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
    /// Asks it, with what is left of the time.
    fn wait<T, A>(&self, asking: impl FnOnce(Duration) -> A) -> Result<T, String>
    where
        A: Future<Output = Result<T, String>>,
    {
        let mut waited = self.waited.lock().unwrap_or_else(PoisonError::into_inner);
        let left = PATIENCE.saturating_sub(*waited);
        if left.is_zero() {
            let patience = format_duration(PATIENCE);
            return Err(format!("{} had {patience} for all questions", self.server.address));
        }
        let begun = Instant::now();
        let answer = self.runtime.block_on(asking(left));
        *waited += begun.elapsed();
        answer
    }
}

impl Provider for Elsewhere {
    fn samples(&self, matchers: &[Matcher], after: i64, until: i64) -> Result<Vec<Series>, String> {
        let selector = Matcher::selector(matchers);
        let range = u64::try_from(until - after).unwrap_or(0).max(1);
        let found = self.wait(|left| promclient::samples(&self.server, &selector, range, until, left))?;
        let series = found.into_iter().map(|found| Series {
            labels: Labels::new(found.labels),
            points: found.points.into_iter().map(|(at, value)| Point { at, value }).collect(),
        });
        Ok(series.collect())
    }

    fn ask(&self, query: &str, at: i64) -> Result<Vec<f64>, String> {
        Ok(match self.wait(|left| promclient::ask(&self.server, query, Some(at), left))? {
            Measured::Scalar(number) => vec![number],
            Measured::Vector(numbers) => numbers,
        })
    }

    fn settles(&self) -> i64 {
        SETTLES_ELSEWHERE
    }
}
