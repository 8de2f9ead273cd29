//! The ports of a life: what control calls, with the faults that happen on the way. Every call tells the referee.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::Timestamp;
use model::check::Check;
use ports::checks::{Context, Running};
use ports::fleet::{Error, SecretValues, Seen, Wanted};
use ports::journal::{self, Entry};
use sim::{Crash, Machine};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::gate::Gate;
use crate::referee::Referee;
use crate::sky::Sky;

/// When every life begins: 2023-11-14T22:13:20Z.
const BEGINNING: i64 = 1_700_000_000_000_000;
/// How many old reports of the agent may come again.
const OLD_NEWS: usize = 8;

/// The wall clock: it follows the simulated time, and can be set by hand.
#[derive(Debug, Clone)]
pub(crate) struct Wall {
    started: Instant,
    offset_us: Arc<AtomicI64>,
}

impl Wall {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), offset_us: Arc::default() }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn step(&self, seconds: i64) {
        self.offset_us.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }
}

impl ports::Clock for Wall {
    fn now(&self) -> Timestamp {
        let elapsed = i64::try_from(self.elapsed().as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(BEGINNING + elapsed + self.offset_us.load(Ordering::Relaxed))
    }
}

/// Everything outside of control, behind one lock.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) machine: Machine,
    pub(crate) referee: Referee,
    pub(crate) line: Line,
    pub(crate) sky: Sky,
    journal: sim::Journal,
    wall: Wall,
}

/// What is wrong between control and the agent.
#[derive(Debug, Default)]
pub(crate) struct Line {
    pub(crate) cut: bool,
    /// How long an order is on its way.
    pub(crate) latency: Duration,
    /// So many orders are taken, and the answer does not arrive.
    pub(crate) lost_answers: u32,
    pub(crate) refusals: u32,
    /// On which side of the next order the power of control goes out.
    pub(crate) crash: Option<Crash>,
    /// So many reports are old ones again.
    pub(crate) repeats: u32,
    pub(crate) no_tallies: bool,
    old: VecDeque<Seen>,
}

/// A shared outside.
#[derive(Debug, Clone)]
pub(crate) struct World {
    inner: Arc<Mutex<Outside>>,
    pub(crate) power_cut: Arc<Notify>,
    grain: Duration,
}

impl World {
    pub(crate) fn new(
        machine: Machine,
        referee: Referee,
        journal: sim::Journal,
        wall: Wall,
        grain: Duration,
    ) -> Self {
        let (line, sky) = (Line::default(), Sky::default());
        let outside = Outside { machine, referee, line, sky, journal, wall };
        Self { inner: Arc::new(Mutex::new(outside)), power_cut: Arc::default(), grain }
    }

    /// The outside, moved on to this moment, the referee up to date.
    pub(crate) fn now(&self) -> MutexGuard<'_, Outside> {
        let mut outside = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        outside.catch_up();
        let now = outside.wall.elapsed();
        let Outside { machine, referee, .. } = &mut *outside;
        for served in machine.move_to(now) {
            referee.served(&served);
        }
        referee.now = now;
        if machine.incident > 0.0 {
            referee.incident();
        }
        outside
    }
}

impl Outside {
    /// Lets the referee read what was written since.
    fn catch_up(&mut self) {
        let Self { machine, referee, journal, .. } = self;
        let entries = ports::Journal::read(journal, referee.last_seq(), usize::MAX).unwrap_or_default();
        for entry in entries {
            referee.recorded(&entry, machine);
        }
    }

    fn answers(&self) -> Result<(), Error> {
        if self.line.cut {
            return Err(Error::Unreachable("the simulated agent does not answer".to_owned()));
        }
        Ok(())
    }

    fn look(&mut self, instance: &str, after: u64, last: bool) -> Option<Result<Seen, Error>> {
        if let Err(error) = self.answers() {
            self.referee.sighted(None);
            return Some(Err(error));
        }
        let same = self.machine.version() == after && self.machine.instance() == instance;
        if same && !last {
            return None;
        }
        let mut seen = self.machine.seen();
        if self.line.no_tallies {
            seen.tallies.clear();
        }
        let line = &mut self.line;
        line.old.retain(|old| old.instance == seen.instance);
        if line.repeats > 0 && !line.old.is_empty() {
            line.repeats -= 1;
            seen = line.old[0].clone();
        } else {
            if line.old.len() >= OLD_NEWS {
                line.old.pop_front();
            }
            line.old.push_back(seen.clone());
        }
        self.referee.sighted(Some(&seen));
        Some(Ok(seen))
    }

    /// The order arrives; an answer that is `None` never does.
    fn order(&mut self, wanted: Wanted, secrets: SecretValues) -> (Option<Result<(), Error>>, bool) {
        let crash = self.line.crash.take();
        if crash == Some(Crash::BeforeWriting) {
            return (None, true);
        }
        if let Err(error) = self.answers() {
            return (Some(Err(error)), false);
        }
        if self.line.refusals > 0 {
            self.line.refusals -= 1;
            return (Some(Err(Error::Refused("no room on the simulated machine".to_owned()))), false);
        }
        let has = self.machine.wanted.generation;
        if wanted.generation < has {
            self.referee.refused_as_stale(has, wanted.generation);
            return (Some(Err(Error::Stale { has, offered: wanted.generation })), false);
        }
        self.referee.ordered(&wanted, &self.machine);
        self.machine.take(wanted, secrets);
        if crash == Some(Crash::AfterWriting) {
            return (None, true);
        }
        if self.line.lost_answers > 0 {
            self.line.lost_answers -= 1;
            return (Some(Err(Error::Unreachable("the answer was lost on the way".to_owned()))), false);
        }
        (Some(Ok(())), false)
    }
}

/// As long as control waits for one answer, it looks at nothing else.
struct Busy(World);

impl Busy {
    fn begin(world: &World) -> Self {
        world.now().referee.begins();
        Self(world.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.now().referee.ends();
    }
}

/// The fleet's port.
pub(crate) struct Fleet(pub(crate) World);

impl ports::Fleet for Fleet {
    async fn want(&self, wanted: Wanted, secrets: SecretValues) -> Result<(), Error> {
        let _busy = Busy::begin(&self.0);
        let latency = self.0.now().line.latency;
        if latency > Duration::ZERO {
            tokio::time::sleep(latency).await;
        }
        let (answer, crashed) = self.0.now().order(wanted, secrets);
        if crashed {
            self.0.power_cut.notify_one();
        }
        match answer {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    async fn seen(&self, instance: String, after: u64, patience: Duration) -> Result<Seen, Error> {
        let until = Instant::now() + patience;
        loop {
            let last = Instant::now() >= until;
            let news = self.0.now().look(&instance, after, last);
            if let Some(news) = news {
                return news;
            }
            tokio::time::sleep_until(until.min(Instant::now() + self.0.grain)).await;
        }
    }

    async fn stop(&self) -> Result<(), Error> {
        Err(Error::Refused("nobody stops the simulated machine".to_owned()))
    }
}

/// The checks' port.
pub(crate) struct Checks(pub(crate) sim::Checks, pub(crate) World);

impl ports::Checks for Checks {
    fn run(&self, check: Check, context: Context) -> Running {
        self.1.now().referee.runs(&context);
        self.0.run(check, context)
    }
}

/// The journal's port.
pub(crate) struct Journal {
    pub(crate) inner: sim::Journal,
    pub(crate) world: World,
    pub(crate) gate: Gate,
}

impl ports::Journal for Journal {
    async fn append(&self, entries: Vec<Entry>) -> Result<(), journal::Error> {
        let _busy = Busy::begin(&self.world);
        let written = ports::Journal::append(&self.inner, entries).await;
        drop(self.world.now());
        written
    }

    fn read(&self, after: u64, limit: usize) -> Result<Vec<Entry>, journal::Error> {
        self.gate.pass();
        ports::Journal::read(&self.inner, after, limit)
    }
}
