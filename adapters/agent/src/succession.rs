//! How an agent is followed by another one while both live: what they say on the socket `hand.sock`.
//!
//! ```text
//! heir                         predecessor
//!   connect                ->
//!                          <-  Offer, then one socket or file after the other (SCM_RIGHTS)
//!   Take                   ->    stops its API, its executor and its supervision: nobody acts on replicas now
//!                          <-  Released: which replicas leave, are ready, are ejected; the secrets
//!     adopts, builds its table, starts to accept
//!   Serving                ->    leaves new connections to the heir
//!   Swap, InFlight, End    ->    for as long as it has connections to finish
//!                          <-  InFlight
//! ```
//!
//! Up to `Serving` the predecessor takes everything back when the heir goes away, or does not get there in time. The lock
//! of the directory is one open file that both hold, so no third one gets in between. Does not live here: adopting
//! replicas and finishing connections.

mod carry;
mod heir;
mod predecessor;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use model::route::Route;
use model::{Epoch, Place, ReleaseNumber, Weight};
use ports::fleet::{GroupId, SecretValues};
use process::ReplicaId;
use serde::{Deserialize, Serialize};

pub(crate) use heir::{Heir, Wish};
pub(crate) use predecessor::{Predecessor, receive};

/// Grows when what is said changes; an heir that speaks another version is refused before anything is released.
const VERSION: u32 = 1;
/// How long either side may take for what it does at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an heir may take from the release to the first accepted connection.
const TAKING_OVER: Duration = Duration::from_secs(60);

/// Requests in flight by replica.
pub(crate) type InFlight = BTreeMap<ReplicaId, u32>;

/// Everything that is an open file.
pub(crate) struct Estate {
    pub(crate) listeners: proxy::Listeners,
    /// The agent's REST socket.
    pub(crate) socket: UnixListener,
    /// The socket of the next succession.
    pub(crate) hand: UnixListener,
    pub(crate) lock: File,
}

/// What an heir must know to go on.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Released {
    /// Out of the routing table for good, and draining.
    pub(crate) leaving: BTreeSet<ReplicaId>,
    /// Ready a moment ago.
    pub(crate) ready: BTreeSet<ReplicaId>,
    /// They are on no disk.
    pub(crate) secrets: Option<SecretValues>,
    /// Left out of the gateway because they failed their requests.
    #[serde(default)]
    pub(crate) ejected: Vec<LeftOut>,
}

/// An ejected replica. The two clocks have no beginning in common, so times are told from now.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LeftOut {
    id: ReplicaId,
    for_ms: u64,
    left_ms: u64,
    times: u32,
    why: String,
}

impl LeftOut {
    pub(crate) fn new(ejected: &proxy::Ejected, now: Instant) -> Self {
        let group = GroupId { place: ejected.place.clone(), release: ejected.release };
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            id: ReplicaId { group, ordinal: ejected.ordinal },
            for_ms: ms(now.saturating_duration_since(ejected.since)),
            left_ms: ms(ejected.until.saturating_duration_since(now)),
            times: ejected.times,
            why: ejected.why.clone(),
        }
    }

    pub(crate) fn ejected(self, now: Instant) -> proxy::Ejected {
        let ReplicaId { group, ordinal } = self.id;
        proxy::Ejected {
            place: group.place,
            release: group.release,
            ordinal,
            since: now.checked_sub(Duration::from_millis(self.for_ms)).unwrap_or(now),
            until: now.checked_add(Duration::from_millis(self.left_ms)).unwrap_or(now),
            times: self.times,
            why: self.why,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Offer {
    version: u32,
    traffic: usize,
    admin: bool,
}

#[derive(Serialize, Deserialize)]
enum Ask {
    Take { version: u32 },
    Serving,
    Swap(Vec<Entry>),
    InFlight,
    End,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    place: Place,
    route: Route,
    epoch: Epoch,
    shares: Vec<Share>,
    preview: Option<Preview>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aim: Option<ports::fleet::Aim>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    affinity: Option<ports::fleet::Affinity>,
}

#[derive(Serialize, Deserialize)]
struct Preview {
    route: Route,
    release: Option<ReleaseNumber>,
}

#[derive(Serialize, Deserialize)]
struct Share {
    release: ReleaseNumber,
    weight: Weight,
    replicas: Vec<(u32, SocketAddr)>,
}

impl From<&routes::Entry> for Entry {
    fn from(entry: &routes::Entry) -> Self {
        let share = |share: &routes::Share| Share {
            release: share.release,
            weight: share.weight,
            replicas: share.replicas.iter().map(|replica| (replica.ordinal, replica.addr)).collect(),
        };
        Self {
            place: entry.place.clone(),
            route: entry.route.clone(),
            epoch: entry.epoch,
            shares: entry.shares.iter().map(share).collect(),
            preview: entry
                .preview
                .as_ref()
                .map(|preview| Preview { route: preview.route.clone(), release: preview.release }),
            aim: entry
                .aim
                .as_ref()
                .map(|aim| ports::fleet::Aim { release: aim.release, routes: aim.routes.clone() }),
            affinity: entry
                .affinity
                .as_ref()
                .map(|it| ports::fleet::Affinity { by: it.by.clone(), salt: it.salt.clone() }),
        }
    }
}

impl From<Entry> for routes::Entry {
    fn from(entry: Entry) -> Self {
        let replica = |(ordinal, addr)| routes::Replica { ordinal, addr };
        let share = |share: Share| routes::Share {
            release: share.release,
            weight: share.weight,
            replicas: share.replicas.into_iter().map(replica).collect(),
        };
        Self {
            place: entry.place,
            route: entry.route,
            epoch: entry.epoch,
            shares: entry.shares.into_iter().map(share).collect(),
            preview: entry
                .preview
                .map(|preview| routes::Preview { route: preview.route, release: preview.release }),
            aim: entry.aim.map(|aim| routes::Aim { release: aim.release, routes: aim.routes }),
            affinity: entry.affinity.map(|it| routes::Affinity { by: it.by, salt: it.salt }),
        }
    }
}
