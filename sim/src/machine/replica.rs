//! One replica, from its start to its end; what becomes of the requests is the machine's business.

use std::time::Duration;

use ports::fleet::{GroupId, GroupSeen, ReplicaPhase, ReplicaSeen};

/// Deaths after which a group counts as dying again and again.
const CRASH_LOOP: u32 = 3;
/// How long a dead replica waits before it is started again.
const BACKOFF: Duration = Duration::from_secs(2);
/// How long requests in flight keep a draining replica.
const DRAIN: Duration = Duration::from_secs(2);

/// How a release behaves wherever it runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Behaviour {
    /// How its replicas start.
    pub start: Start,
    /// The share of its requests that fail, 0 to 1.
    pub error_rate: f64,
    /// The share of its requests that take long, 0 to 1.
    pub slow_rate: f64,
    /// The chance of each replica, in each grain of time, to stand still for a moment: all its requests take long then.
    pub stalls: f64,
}

/// How a replica starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It is ready after this time.
    After(Duration),
    /// It runs and is never ready.
    Never,
    /// It dies, again and again.
    Crashes,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { start: Start::After(Duration::from_millis(300)), error_rate: 0.0, slow_rate: 0.0, stalls: 0.0 }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Replica {
    pub(super) ordinal: u32,
    pub(super) phase: ReplicaPhase,
    since: Duration,
    restarts: u32,
    /// A fault keeps it from being ready until then.
    dark_until: Duration,
}

impl Replica {
    pub(super) fn new(ordinal: u32, now: Duration) -> Self {
        Self { ordinal, phase: ReplicaPhase::Starting, since: now, restarts: 0, dark_until: Duration::ZERO }
    }

    pub(super) fn die(&mut self, now: Duration) {
        self.restarts += 1;
        (self.phase, self.since) = (ReplicaPhase::Backoff, now);
    }

    pub(super) fn drain(&mut self, now: Duration) {
        (self.phase, self.since) = (ReplicaPhase::Draining, now);
    }

    pub(super) fn has_drained(&self, now: Duration) -> bool {
        self.phase == ReplicaPhase::Draining && now >= self.since + DRAIN
    }

    /// Keeps it from being ready.
    pub(super) fn darken(&mut self, until: Duration) {
        self.dark_until = until;
        if self.phase == ReplicaPhase::Ready {
            self.phase = ReplicaPhase::Unready;
        }
    }

    pub(super) fn lighten(&mut self, now: Duration) {
        self.dark_until = now;
    }

    /// Returns whether it changed.
    pub(super) fn grow(&mut self, start: Start, now: Duration) -> bool {
        let before = self.phase;
        self.phase = match (self.phase, start) {
            (ReplicaPhase::Draining | ReplicaPhase::Stopping, _) => return false,
            (ReplicaPhase::Backoff, _) if now < self.since + BACKOFF => ReplicaPhase::Backoff,
            (ReplicaPhase::Backoff, _) => ReplicaPhase::Starting,
            (_, Start::Crashes) => {
                self.restarts += 1;
                ReplicaPhase::Backoff
            }
            (phase @ (ReplicaPhase::Starting | ReplicaPhase::Unready), Start::Never) => phase,
            (ReplicaPhase::Starting, Start::After(time)) if now < self.since + time => ReplicaPhase::Starting,
            (ReplicaPhase::Starting, _) if now < self.dark_until => ReplicaPhase::Starting,
            (_, _) if now < self.dark_until => ReplicaPhase::Unready,
            (_, _) => ReplicaPhase::Ready,
        };
        if self.phase != before {
            self.since = now;
        }
        self.phase != before
    }
}

/// What the agent reports of a group.
pub(super) fn group_seen(id: &GroupId, replicas: &[Replica]) -> GroupSeen {
    let deaths: u32 = replicas.iter().map(|replica| replica.restarts).sum();
    let unwell = replicas.iter().any(|replica| replica.phase == ReplicaPhase::Backoff);
    let seen = replicas.iter().map(|replica| ReplicaSeen {
        ordinal: replica.ordinal,
        phase: replica.phase,
        pid: None,
        port: 0,
        restarts: replica.restarts,
        out_of_memory: 0,
        in_flight: 0,
        last_exit: (replica.restarts > 0).then(|| "exit status 1".to_owned()),
        reason: (replica.phase == ReplicaPhase::Starting).then(|| "not ready yet".to_owned()),
    });
    GroupSeen {
        id: id.clone(),
        replicas: seen.collect(),
        crash_loop: (unwell && deaths >= CRASH_LOOP)
            .then(|| format!("died {deaths} times, last with exit status 1")),
    }
}
