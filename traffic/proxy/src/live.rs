//! The routing table in force: bound to replicas and counters, and the claim of a request on it.

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderValue;
use model::route::Route;
use model::{Epoch, Place, ReleaseNumber, Weight};

use crate::counts::{Label, TallyCell};
use crate::error::{Code, Error};
use crate::replica::{Crowd, InFlight, Replica};
use crate::trace::Tracing;
use crate::users::Column;

/// All that a gateway routes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Routing {
    /// Each place once.
    pub places: Vec<PlaceRouting>,
}

/// The requests of one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceRouting {
    /// Where.
    pub place: Place,
    /// Which requests, and within which bounds.
    pub route: Route,
    /// The stretch of time that these weights open; tallies are kept for each apart.
    pub epoch: Epoch,
    /// Each release's share; they add up to all traffic.
    pub shares: Vec<(ReleaseNumber, Weight)>,
    /// The ready replicas, in any order. Who is not ready is not listed.
    pub backends: Vec<Backend>,
    /// The requests that reach one release whatever its share: in the metrics, but in no tally.
    pub preview: Option<routes::Preview>,
    /// The requests that reach one release by their headers: in the metrics, and in a tally of their own.
    pub aim: Option<routes::Aim>,
    /// Whether users keep the release they were given; then users are tallied beside their requests.
    pub affinity: Option<routes::Affinity>,
    /// Whether its requests are traced, and which of the traces are kept.
    pub tracing: Option<Tracing>,
}

/// A ready replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backend {
    /// Of which release; it must have a share, if only of zero.
    pub release: ReleaseNumber,
    /// Unique within its release and place.
    pub ordinal: u32,
    /// Where it listens.
    pub addr: SocketAddr,
}

/// The table with everything a request needs at hand.
#[derive(Default)]
pub(crate) struct Live {
    pub(crate) table: routes::Table,
    pub(crate) places: Vec<LivePlace>,
}

pub(crate) struct LivePlace {
    pub(crate) crowd: Arc<Crowd>,
    pub(crate) shares: Vec<LiveShare>,
    /// Where requests are counted that no release took.
    pub(crate) unserved: Vec<Arc<Label>>,
    pub(crate) tracing: Option<Tracing>,
}

pub(crate) struct LiveShare {
    pub(crate) replicas: Vec<Arc<Replica>>,
    pub(crate) labels: Vec<Arc<Label>>,
    pub(crate) tally: Arc<TallyCell>,
    /// Where its users are noted; `None` when each request is on its own.
    pub(crate) users: Option<Column>,
}

/// A request's place in the table, and its hold on a replica.
pub(crate) struct Claim {
    pub(crate) live: Arc<Live>,
    pub(crate) found: routes::Match,
    pub(crate) share: usize,
    pub(crate) fallback: bool,
    /// Led here by a header route, not by a draw.
    pub(crate) aimed: bool,
    /// Who sent it, as far as that is known.
    pub(crate) user: Option<routes::User>,
    /// What the answer has to set so that a newcomer is known from now on.
    pub(crate) cookie: Option<HeaderValue>,
    pub(crate) in_flight: Arc<InFlight>,
}

/// Why a request was not claimed, and where it belongs as far as that is known.
pub(crate) struct Unclaimed {
    pub(crate) code: Code,
    pub(crate) label: Option<Arc<Label>>,
    /// The place and its tracing, where it is traced.
    pub(crate) traced: Option<(Place, Tracing)>,
}

/// What a claim is made with. The draw and the newcomer stay the same when a request is claimed again, so that its
/// release does.
pub(crate) struct Ask<'a> {
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a dyn routes::Headers,
    pub(crate) draw: u16,
    pub(crate) newcomer: &'a Newcomer,
    pub(crate) luck: u64,
    pub(crate) excluded: &'a [Arc<Replica>],
}

/// The id of a user who has none, made when it is first asked for: most requests need none.
#[derive(Default)]
pub(crate) struct Newcomer(OnceCell<u128>);

impl Newcomer {
    fn id(&self) -> u128 {
        *self.0.get_or_init(|| {
            let mut bytes = [0; 16];
            // The kernel's randomness does not run dry once the machine is up.
            match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
                Ok(got) if got == bytes.len() => u128::from_ne_bytes(bytes),
                Ok(_) | Err(_) => fastrand::u128(..),
            }
        })
    }
}

impl Live {
    /// Routes, draws and counts in one go. The caller holds the worker's lock on the table.
    pub(crate) fn claim(self: &Arc<Self>, ask: &Ask<'_>) -> Result<Claim, Unclaimed> {
        let Some(found) = self.table.find(ask.host, ask.path) else {
            return Err(Unclaimed { code: Code::NoRoute, label: None, traced: None });
        };
        let (entry, place) = (&self.table.entries()[found.entry], &self.places[found.entry]);
        let unserved = |code| Unclaimed {
            code,
            label: Some(place.unserved[found.label].clone()),
            traced: place.tracing.clone().map(|tracing| (entry.place.clone(), tracing)),
        };
        let replica = |share: usize, replica: usize| &place.shares[share].replicas[replica];
        let untried = |replica: &Arc<Replica>| !ask.excluded.iter().any(|tried| Arc::ptr_eq(tried, replica));
        let usable = |share: usize, index: usize| {
            let all = &place.shares[share].replicas;
            // Rather one that is ejected than none.
            let in_service = |other: &Arc<Replica>| !other.repute.is_ejected() && untried(other);
            untried(&all[index]) && (!all[index].repute.is_ejected() || !all.iter().any(in_service))
        };
        let load = |share, index| replica(share, index).in_flight();
        let mut assigned = routes::Assignment { aimed: None, draw: ask.draw, user: None };
        let choice = match &entry.preview {
            Some(preview) if found.preview && preview.release.is_none() => {
                return Err(unserved(Code::NoRoute));
            }
            Some(_) if found.preview => entry.choose_preview(ask.luck, usable, load),
            Some(_) | None => {
                assigned = self.table.assign(found.entry, ask.headers, ask.draw, || ask.newcomer.id());
                match assigned.aimed {
                    Some(share) => entry.choose_from(share, ask.luck, usable, load),
                    None => entry.choose(assigned.draw, ask.luck, usable, load),
                }
            }
        };
        let choice = choice.ok_or_else(|| unserved(Code::NoReplica))?;
        let chosen = replica(choice.share, choice.replica).clone();
        let limit = route(entry, found).limits.in_flight;
        let in_flight = InFlight::enter(chosen, place.crowd.clone(), limit)
            .ok_or_else(|| unserved(Code::InFlightLimit))?;
        Ok(Claim {
            live: self.clone(),
            found,
            share: choice.share,
            fallback: choice.fallback,
            aimed: assigned.aimed.is_some(),
            user: assigned.user,
            cookie: assigned.user.filter(|user| user.newcomer).and_then(|_| {
                let cookie = entry.set_cookie(ask.newcomer.id())?;
                HeaderValue::try_from(cookie).ok()
            }),
            in_flight: Arc::new(in_flight),
        })
    }
}

impl Claim {
    pub(crate) fn entry(&self) -> &routes::Entry {
        &self.live.table.entries()[self.found.entry]
    }

    pub(crate) fn tracing(&self) -> Option<&Tracing> {
        self.live.places[self.found.entry].tracing.as_ref()
    }

    pub(crate) fn route(&self) -> &Route {
        route(self.entry(), self.found)
    }

    pub(crate) fn share(&self) -> &LiveShare {
        &self.live.places[self.found.entry].shares[self.share]
    }

    pub(crate) fn replica(&self) -> &Arc<Replica> {
        self.in_flight.replica()
    }
}

/// The route that a request came in by.
fn route(entry: &routes::Entry, found: routes::Match) -> &Route {
    entry.preview.as_ref().filter(|_| found.preview).map_or(&entry.route, |preview| &preview.route)
}

/// The pure table's entries for a routing.
pub(crate) fn entries(routing: &Routing) -> Result<Vec<routes::Entry>, Error> {
    routing.places.iter().map(entry).collect()
}

fn entry(routing: &PlaceRouting) -> Result<routes::Entry, Error> {
    let mut shares: Vec<routes::Share> = routing
        .shares
        .iter()
        .map(|(release, weight)| routes::Share { release: *release, weight: *weight, replicas: Vec::new() })
        .collect();
    for backend in &routing.backends {
        let Some(share) = shares.iter_mut().find(|share| share.release == backend.release) else {
            return Err(Error::Backend { place: routing.place.clone(), release: backend.release });
        };
        share.replicas.push(routes::Replica { ordinal: backend.ordinal, addr: backend.addr });
    }
    Ok(routes::Entry {
        place: routing.place.clone(),
        route: routing.route.clone(),
        epoch: routing.epoch,
        shares,
        preview: routing.preview.clone(),
        aim: routing.aim.clone(),
        affinity: routing.affinity.clone(),
    })
}
