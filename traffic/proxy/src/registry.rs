//! What outlives a routing table: replicas with their counts, tallies of past epochs, metric labels of past releases.
//! Touched at a swap and by readers, never by a request. Everything here has a bound.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};

use model::latency::Histogram;
use model::{Epoch, Place, ReleaseNumber};

use crate::counts::{Budget, Label, TallyCell};
use crate::error::Error;
use crate::live::{self, Live, LivePlace, LiveShare, Routing};
use crate::replica::{Crowd, Identity, Replica, lock};
use crate::users::{Ledger, Users};

/// Epochs kept for each place, the current one included.
const EPOCHS: usize = 80;
/// Releases out of the table whose metrics are kept, over all places.
const RETIRED_VERSIONS: usize = 64;
/// Places out of the table whose tallies are kept.
const RETIRED_PLACES: usize = 64;
/// The version label of requests that no release took.
const UNSERVED: &str = "none";

/// Requests that were assigned in one epoch and have finished. Those that had to go to another release than the one
/// drawn, and those that the client broke off, are in no tally.
#[derive(Debug, Clone, PartialEq)]
pub struct Tally {
    /// Where.
    pub place: Place,
    /// When.
    pub epoch: Epoch,
    /// Which release.
    pub release: ReleaseNumber,
    /// Finished requests.
    pub requests: u64,
    /// Of those: answered 5xx, or failed by the fault of the replica.
    pub errors: u64,
    /// Their latencies, from the request's head to the response's head.
    pub latency: Histogram,
    /// What header routes led to this release, in none of the above.
    pub aimed: Aimed,
    /// With session affinity, the users behind `requests`; else all zero.
    pub users: UserTally,
}

/// Finished requests that a header route led to a release.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Aimed {
    /// Finished requests.
    pub requests: u64,
    /// Of those, errors.
    pub errors: u64,
    /// Their latencies.
    pub latency: Histogram,
}

/// Users, or what counts as one: those who share a seat in the gateway's books count once, and a request whose user nobody
/// knows counts as one of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UserTally {
    /// Seen in this epoch.
    pub seen: u64,
    /// Of those, with an error in this epoch.
    pub erred: u64,
    /// Of those, with their first error since the users were dealt, on any release.
    pub first_erred: u64,
}

/// More for the metrics page: whole families in Prometheus' text format 0.0.4, made when somebody asks.
pub type Page = Arc<dyn Fn() -> String + Send + Sync>;

pub(crate) struct Registry {
    workers: usize,
    pub(crate) budget: Arc<Budget>,
    /// What else the metrics tell of.
    pub(crate) also: OnceLock<Page>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    swaps: u64,
    replicas: BTreeMap<Identity, Arc<Replica>>,
    crowds: BTreeMap<Place, Arc<Crowd>>,
    tallies: BTreeMap<Place, Epochs>,
    /// Of the places that deal users now.
    users: BTreeMap<Place, (Arc<Users>, Ledger)>,
    versions: BTreeMap<(Place, String), Version>,
}

#[derive(Default)]
struct Epochs {
    used: u64,
    cells: BTreeMap<Epoch, BTreeMap<ReleaseNumber, Arc<TallyCell>>>,
}

struct Version {
    /// The last swap that named it.
    used: u64,
    labels: BTreeMap<String, Arc<Label>>,
    other: Arc<Label>,
}

impl Registry {
    pub(crate) fn new(workers: usize, series: usize) -> Self {
        let budget = Arc::new(Budget { limit: series, ..Budget::default() });
        Self { workers, budget, also: OnceLock::new(), inner: Mutex::default() }
    }

    /// Binds a routing to replicas and counters. Nothing is forgotten yet: the old table is still in force.
    pub(crate) fn bind(&self, routing: &Routing) -> Result<Live, Error> {
        let table = routes::Table::build(live::entries(routing)?)?;
        let mut inner = lock(&self.inner);
        inner.swaps += 1;
        let places = (0..table.entries().len())
            .map(|index| self.bind_place(&mut inner, &table, index, routing))
            .collect();
        Ok(Live { table, places })
    }

    fn bind_place(
        &self,
        inner: &mut Inner,
        table: &routes::Table,
        index: usize,
        routing: &Routing,
    ) -> LivePlace {
        let entry = &table.entries()[index];
        let now = inner.swaps;
        let names = table.labels(index);
        let crowd = inner.crowds.entry(entry.place.clone()).or_default().clone();
        deal(inner, entry);
        let mut shares = Vec::with_capacity(entry.shares.len());
        for share in &entry.shares {
            let labels = self.labels(inner, &entry.place, &share.release.to_string(), names);
            let epochs = inner.tallies.entry(entry.place.clone()).or_default();
            epochs.used = now;
            let cells = epochs.cells.entry(entry.epoch).or_default();
            let tally =
                cells.entry(share.release).or_insert_with(|| Arc::new(TallyCell::new(self.workers))).clone();
            let identity = |replica: &routes::Replica| Identity {
                place: entry.place.clone(),
                release: share.release,
                ordinal: replica.ordinal,
                addr: replica.addr,
            };
            let replicas =
                share.replicas.iter().map(|replica| self.replica(inner, identity(replica))).collect();
            let users = inner.users.get_mut(&entry.place);
            let users = users.map(|(users, ledger)| ledger.column(users, entry.epoch, share.release));
            shares.push(LiveShare { replicas, labels, tally, users });
        }
        let unserved = self.labels(inner, &entry.place, UNSERVED, names);
        let traced = routing.places.iter().find(|place| place.place == entry.place);
        let tracing = traced.and_then(|place| place.tracing.clone());
        LivePlace { crowd, shares, unserved, tracing }
    }

    fn replica(&self, inner: &mut Inner, identity: Identity) -> Arc<Replica> {
        let make = || Arc::new(Replica::new(identity.clone(), self.workers));
        inner.replicas.entry(identity.clone()).or_insert_with(make).clone()
    }

    fn labels(&self, inner: &mut Inner, place: &Place, version: &str, names: &[String]) -> Vec<Arc<Label>> {
        let label = |route: &str, other| {
            Arc::new(Label::new(route.to_owned(), self.workers, self.budget.clone(), other))
        };
        let now = inner.swaps;
        let version = inner.versions.entry((place.clone(), version.to_owned())).or_insert_with(|| Version {
            used: now,
            labels: BTreeMap::new(),
            other: label("other", None),
        });
        version.used = now;
        let other = version.other.clone();
        let mut get = |name: &String| {
            let make = || label(name, Some(other.clone()));
            version.labels.entry(name.clone()).or_insert_with(make).clone()
        };
        names.iter().map(&mut get).collect()
    }

    /// After a swap: replicas out of the table lose their resting connections, and what is beyond the bounds is forgotten.
    pub(crate) fn settle(&self, live: &Live) {
        let mut inner = lock(&self.inner);
        let listed: std::collections::BTreeSet<*const Replica> = live
            .places
            .iter()
            .flat_map(|place| &place.shares)
            .flat_map(|share| &share.replicas)
            .map(Arc::as_ptr)
            .collect();
        inner.replicas.retain(|_, replica| {
            let listed = listed.contains(&Arc::as_ptr(replica));
            replica.set_retired(!listed);
            listed || replica.in_flight() > 0
        });
        inner.crowds.retain(|_, crowd| Arc::strong_count(crowd) > 1);
        inner.users.retain(|place, _| live.table.entries().iter().any(|entry| entry.place == *place));
        forget_epochs(&mut inner);
        forget_versions(&mut inner);
    }

    pub(crate) fn replicas(&self, place: &Place, release: ReleaseNumber, ordinal: u32) -> Vec<Arc<Replica>> {
        let matches = |id: &Identity| id.place == *place && id.release == release && id.ordinal == ordinal;
        let inner = lock(&self.inner);
        inner.replicas.iter().filter(|(id, _)| matches(id)).map(|(_, replica)| replica.clone()).collect()
    }

    pub(crate) fn all_replicas(&self) -> Vec<Arc<Replica>> {
        lock(&self.inner).replicas.values().cloned().collect()
    }

    /// The requests in flight of each place.
    pub(crate) fn crowds(&self) -> Vec<(Place, u32)> {
        lock(&self.inner).crowds.iter().map(|(place, crowd)| (place.clone(), crowd.size())).collect()
    }

    pub(crate) fn tallies(&self) -> Vec<Tally> {
        let inner = lock(&self.inner);
        let mut tallies = Vec::new();
        for (place, epochs) in &inner.tallies {
            for (epoch, cells) in &epochs.cells {
                for (release, cell) in cells {
                    let (sum, aimed, [seen, erred, first_erred]) = (cell.sum(), cell.aimed(), cell.users());
                    tallies.push(Tally {
                        place: place.clone(),
                        epoch: *epoch,
                        release: *release,
                        requests: sum.requests(),
                        errors: sum.classes[4],
                        latency: sum.latency,
                        aimed: Aimed {
                            requests: aimed.requests(),
                            errors: aimed.classes[4],
                            latency: aimed.latency,
                        },
                        users: UserTally { seen, erred, first_erred },
                    });
                }
            }
        }
        tallies
    }

    /// Every label with its place and version.
    pub(crate) fn series(&self) -> Vec<(Place, String, Arc<Label>)> {
        let inner = lock(&self.inner);
        let all = inner.versions.iter().flat_map(|((place, name), version)| {
            let labels = version.labels.values().chain([&version.other]);
            labels.map(move |label| (place.clone(), name.clone(), label.clone()))
        });
        all.collect()
    }
}

/// Keeps who was seen as long as the same salt deals the users.
fn deal(inner: &mut Inner, entry: &routes::Entry) {
    let Some(affinity) = &entry.affinity else {
        inner.users.remove(&entry.place);
        return;
    };
    let known = inner.users.get(&entry.place).is_some_and(|(users, _)| users.salt() == affinity.salt);
    if !known {
        let fresh = (Arc::new(Users::new(&affinity.salt)), Ledger::default());
        inner.users.insert(entry.place.clone(), fresh);
    }
}

fn forget_epochs(inner: &mut Inner) {
    for epochs in inner.tallies.values_mut() {
        while epochs.cells.len() > EPOCHS {
            epochs.cells.pop_first();
        }
    }
    let now = inner.swaps;
    let mut retired: Vec<(u64, Place)> = inner
        .tallies
        .iter()
        .filter(|(_, epochs)| epochs.used < now)
        .map(|(place, epochs)| (epochs.used, place.clone()))
        .collect();
    retired.sort();
    for (_, place) in retired.iter().take(retired.len().saturating_sub(RETIRED_PLACES)) {
        inner.tallies.remove(place);
    }
}

fn forget_versions(inner: &mut Inner) {
    let now = inner.swaps;
    let mut retired: Vec<_> = inner
        .versions
        .iter()
        .filter(|(_, version)| version.used < now)
        .map(|(key, version)| (version.used, key.clone()))
        .collect();
    retired.sort();
    for (_, key) in retired.iter().take(retired.len().saturating_sub(RETIRED_VERSIONS)) {
        if let Some(version) = inner.versions.remove(key) {
            version.labels.values().chain([&version.other]).for_each(|label| label.release_budget());
        }
    }
}

impl Budget {
    pub(crate) fn collapsed(&self) -> u64 {
        self.collapsed.load(Ordering::Relaxed)
    }
}
