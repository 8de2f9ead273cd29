//! The fleet as its callers meet it: the port, and what a test does to it. What happens inside is the [`Machine`]'s business.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::ReleaseNumber;
use ports::fleet::{Error, GroupId, SecretValues, Seen, Wanted};
use tokio::time::Instant;

use crate::machine::{Behaviour, Machine};
use crate::{locked, orders};

/// The grain of simulated time.
const TICK: Duration = Duration::from_millis(100);

/// A simulated machine with its agent; clones are the same one. It moves on by [`TICK`]s whenever somebody looks.
#[derive(Debug, Clone)]
pub struct Fleet {
    world: Arc<Mutex<World>>,
}

#[derive(Debug)]
struct World {
    machine: Machine,
    started: Instant,
    reachable: bool,
    refusal: Option<String>,
    /// Every wanted state that was taken.
    orders: Vec<Wanted>,
    asked: u64,
    broken: Vec<String>,
    lost: u64,
    served: BTreeMap<ReleaseNumber, u64>,
}

impl Fleet {
    /// An empty machine whose places get `requests_per_second` each, drawn from `seed`.
    pub fn start(seed: u64, requests_per_second: u32) -> Self {
        let mut machine = Machine::new(seed, TICK);
        machine.requests_per_second = requests_per_second;
        Self {
            world: Arc::new(Mutex::new(World {
                machine,
                started: Instant::now(),
                reachable: true,
                refusal: None,
                orders: vec![],
                asked: 0,
                broken: vec![],
                lost: 0,
                served: BTreeMap::new(),
            })),
        }
    }

    /// Says how a release behaves wherever it runs; without, as [`Behaviour::default`].
    pub fn behave(&self, release: u64, behaviour: Behaviour) {
        self.moved().machine.releases.insert(ReleaseNumber(release), behaviour);
    }

    /// Cuts or restores the line to the agent; replicas and traffic go on.
    pub fn set_reachable(&self, reachable: bool) {
        self.moved().reachable = reachable;
    }

    /// Lets the agent refuse every wanted state with these words; `None` ends it.
    pub fn refuse(&self, words: Option<&str>) {
        self.moved().refusal = words.map(str::to_owned);
    }

    /// Kills the agent and starts it again: another instance, counters from zero, secrets forgotten; the wanted state
    /// is on its disk and the replicas run on.
    pub fn restart(&self) {
        self.moved().machine.restart_agent();
    }

    /// Every wanted state that was taken, in order.
    pub fn orders(&self) -> Vec<Wanted> {
        self.moved().orders.clone()
    }

    /// How often a wanted state was offered, taken or not.
    pub fn asked(&self) -> u64 {
        self.moved().asked
    }

    /// The names and values of the secrets that the agent holds for a group.
    pub fn secrets_of(&self, group: &GroupId) -> BTreeMap<String, String> {
        self.moved().machine.secrets_of(group)
    }

    /// Whether it was told to stop.
    pub fn stopped(&self) -> bool {
        self.moved().machine.stopped
    }

    /// Requests that a place with a route could not serve at all.
    pub fn lost(&self) -> u64 {
        self.moved().lost
    }

    /// Requests that a release was given in all lives of the agent.
    pub fn served_by(&self, release: u64) -> u64 {
        self.moved().served.get(&ReleaseNumber(release)).copied().unwrap_or_default()
    }

    /// Every promise that a wanted state has broken, in words.
    pub fn broken(&self) -> Vec<String> {
        self.moved().broken.clone()
    }

    /// The world, moved on to this moment.
    fn moved(&self) -> std::sync::MutexGuard<'_, World> {
        let mut world = locked(&self.world);
        let now = world.started.elapsed();
        for served in world.machine.move_to(now) {
            world.lost += u64::from(served.lost);
            for (release, requests) in served.by {
                *world.served.entry(release).or_default() += u64::from(requests);
            }
        }
        world
    }

    fn look(&self) -> Result<Seen, Error> {
        let world = self.moved();
        world.answers()?;
        Ok(world.machine.seen())
    }
}

impl World {
    fn answers(&self) -> Result<(), Error> {
        if self.reachable && !self.machine.stopped {
            return Ok(());
        }
        Err(Error::Unreachable("the simulated agent does not answer".to_owned()))
    }
}

impl ports::Fleet for Fleet {
    async fn want(&self, wanted: Wanted, secrets: SecretValues) -> Result<(), Error> {
        let mut world = self.moved();
        world.asked += 1;
        world.answers()?;
        if let Some(words) = &world.refusal {
            return Err(Error::Refused(words.clone()));
        }
        let has = world.machine.wanted.generation;
        if wanted.generation < has {
            return Err(Error::Stale { has, offered: wanted.generation });
        }
        let broken = orders::broken(&world.machine.wanted, &wanted);
        let early = orders::too_early(&world.machine, &wanted);
        world.broken.extend(broken.into_iter().chain(early));
        world.orders.push(wanted.clone());
        world.machine.take(wanted, secrets);
        Ok(())
    }

    async fn seen(&self, instance: String, after: u64, patience: Duration) -> Result<Seen, Error> {
        let until = Instant::now() + patience;
        loop {
            let seen = self.look()?;
            if seen.instance != instance || seen.version != after || Instant::now() >= until {
                return Ok(seen);
            }
            tokio::time::sleep_until(until.min(Instant::now() + TICK)).await;
        }
    }

    async fn stop(&self) -> Result<(), Error> {
        let mut world = self.moved();
        world.answers()?;
        world.machine.stopped = true;
        Ok(())
    }
}
