//! The referee: reads the journal on its own, watches what control was told and what it orders, and knows the promises.
//! What one event may be is `rules`' business.

mod approvals;
mod blame;
mod calendar;
mod careful;
mod evidence;
mod figures;
mod hooks;
mod known;
mod metrics;
mod policy;
mod rules;
mod said;
mod users;
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lifecycle::{Event, World};
use model::strategy::{Kind, Step};
use model::{Epoch, Generation, Place, ReleaseNumber, Weight};
use ports::fleet::{GroupId, ReplicaPhase, Seen, Wanted};
use ports::journal::Entry;
use record::{Chain, Record};
use ship::{PauseReason, Phase, RollbackReason};

use sim::{Machine, Served};

pub use figures::Figures;

/// What stands in for every secret; it must be found nowhere.
pub(crate) const SECRET: &str = "swordfish";
/// Reports of broken promises that are kept; the first says most.
const MAX_BROKEN: usize = 20;

/// What control was told about the fleet at one time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sighting {
    reachable: bool,
    instance: String,
    version: u64,
    ready: BTreeMap<GroupId, u32>,
    crash_loops: Vec<GroupId>,
}

#[derive(Debug, Default)]
pub(crate) struct Referee {
    pub(crate) now: Duration,
    /// Whether replicas are left alone in this life: then no request may be lost at all.
    pub(crate) gentle: bool,
    /// Whether everything is told line by line.
    pub(crate) tells: bool,
    pub(crate) trace: Vec<String>,
    pub(crate) broken: Vec<String>,
    pub(crate) figures: Figures,
    /// The world as the journal alone gives it.
    pub(crate) world: World,
    /// The release that serves each place when no rollout is under way, by a fold of its own.
    pub(crate) serves: BTreeMap<Place, ReleaseNumber>,
    chain: Chain,
    policy: policy::Policy,
    approvals: approvals::Approvals,
    calendar: calendar::Calendar,
    said: said::Said,
    watched: watched::Watched,
    /// What a careful team declared.
    known: known::Known,
    users: users::Users,
    hooks: hooks::Hooks,
    /// What the checks of this life find.
    pub(crate) checks: sim::Checks,
    /// How many events each actor caused.
    actors: BTreeMap<String, u64>,
    /// What control was told, the last before the latest order and everything since.
    told: Vec<Sighting>,
    /// What control may have had in mind when it last decided.
    in_mind: Vec<Sighting>,
    /// The most requests that control was told of.
    counted: BTreeMap<(Place, Epoch, ReleaseNumber), BTreeMap<String, u64>>,
    /// Until when control was busy with what it last began: so long it looks at nothing new.
    busy_until: Duration,
    /// When control was last told of one more ready replica.
    grown: BTreeMap<GroupId, Duration>,
    /// The rollouts that counted for the judge's figures.
    judged: BTreeMap<Place, bool>,
    /// The places whose healthy release is watched after it took all requests.
    baked: BTreeSet<Place>,
    /// What speaks for releases, and who answered for them.
    evidence: evidence::Evidence,
}

impl Referee {
    pub(crate) fn new(gentle: bool, tells: bool) -> Self {
        Self { gentle, tells, ..Self::default() }
    }

    pub(crate) fn last_seq(&self) -> u64 {
        self.chain.last_seq
    }

    pub(crate) fn breaks(&mut self, what: String) {
        let line = format!("[{:9.3}s] BROKEN {what}", self.now.as_secs_f64());
        if self.tells {
            self.trace.push(line.clone());
        }
        if self.broken.len() < MAX_BROKEN {
            self.broken.push(line);
        }
    }

    pub(crate) fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.tells {
            self.trace.push(format!("[{:9.3}s] {}", self.now.as_secs_f64(), what()));
        }
    }

    /// A new control knows nothing yet.
    pub(crate) fn control_starts(&mut self) {
        self.told.clear();
        self.in_mind.clear();
        self.hooks.lose();
    }

    /// Control is given a report, or none.
    pub(crate) fn sighted(&mut self, seen: Option<&Seen>) {
        let last = self.told.last();
        let Some(seen) = seen else {
            if last.is_none_or(|last| last.reachable) {
                let sighting = Sighting { reachable: false, ..last.cloned().unwrap_or_default() };
                self.told.push(sighting);
                self.tell(|| "agent: does not answer".to_owned());
            }
            return;
        };
        if last.is_some_and(|last| last.instance == seen.instance && last.version > seen.version) {
            // Old news: whoever knows better must not fall for it.
            let reachable = Sighting { reachable: true, ..last.cloned().unwrap_or_default() };
            self.told.push(reachable);
            self.tell(|| "agent: an old report again".to_owned());
            return;
        }
        for tally in &seen.tallies {
            let lane = self.world.lanes.get(&tally.place).and_then(|lane| lane.active());
            if let Some(rollout) = lane.filter(|it| (it.epoch, it.to) == (tally.epoch, tally.release)) {
                self.evidence.counted(rollout, tally);
            }
            let key = (tally.place.clone(), tally.epoch, tally.release);
            let lives = self.counted.entry(key).or_default();
            let most = lives.entry(seen.instance.clone()).or_default();
            *most = (*most).max(tally.requests);
        }
        let ready = |group: &ports::fleet::GroupSeen| {
            let ready = group.replicas.iter().filter(|it| it.phase == ReplicaPhase::Ready).count();
            (group.id.clone(), u32::try_from(ready).unwrap_or(u32::MAX))
        };
        for (id, count) in seen.groups.iter().map(ready) {
            let before = self.told.last().and_then(|last| last.ready.get(&id)).copied().unwrap_or_default();
            if count > before {
                self.grown.insert(id, self.now);
            }
        }
        let dying = seen.groups.iter().filter(|group| group.crash_loop.is_some());
        self.told.push(Sighting {
            reachable: true,
            instance: seen.instance.clone(),
            version: seen.version,
            ready: seen.groups.iter().map(ready).collect(),
            crash_loops: dying.map(|group| group.id.clone()).collect(),
        });
    }

    /// Control begins to write or to order something, on one of the things that it may have in mind: what it was told
    /// last when it had nothing to do, or anything since.
    pub(crate) fn begins(&mut self) {
        if self.now > self.busy_until {
            let keep = self.told.len().saturating_sub(1);
            self.told.drain(..keep);
        }
        self.in_mind = self.told.clone();
    }

    pub(crate) fn ends(&mut self) {
        self.busy_until = self.now;
    }

    /// Something became durable.
    pub(crate) fn recorded(&mut self, entry: &Entry, machine: &Machine) {
        if find(&entry.bytes, SECRET.as_bytes()) {
            self.breaks(format!("event {} holds a secret", entry.seq));
        }
        let record = match self.chain.read(&entry.bytes) {
            Ok(record) => record,
            Err(error) => return self.breaks(format!("event {}: {error}", entry.seq)),
        };
        let event = match record::event::event(&record) {
            Ok(event) => event,
            Err(error) => return self.breaks(format!("event {}: {error}", entry.seq)),
        };
        self.figures.events += 1;
        *self.actors.entry(record.actor.clone()).or_default() += 1;
        self.tell(|| told(&record, &event));
        self.check(&record, &event, machine);
        self.hook_recorded(&event);
        if let Some(broken) = self.policy.follow(&event, &record.actor, record.at) {
            self.breaks(broken);
        }
        self.watch_team(&event, &record);
        self.figures.retried = self.policy.retried;
        self.figures.taken_back = self.policy.pages.taken;
        let before = self.world.generation;
        if let Err(illegal) = self.world.apply(&event, record.seq, record.at) {
            self.breaks(format!("event {} cannot be replayed: {illegal}", record.seq));
        }
        if self.world.generation < before {
            self.breaks(format!("the generation goes back from {before}"));
        }
        if let Event::Rollout { place, .. } = &event
            && let Some(rollout) = self.world.lanes.get(place).and_then(|lane| lane.rollout.as_ref())
        {
            self.users.learn(place, rollout);
        }
        self.keep_score(&event, machine);
    }

    /// All requests fail alike now: nobody can tell whose fault it is, where one release serves alone.
    pub(crate) fn incident(&mut self) {
        self.figures.healthy_baked -= std::mem::take(&mut self.baked).len() as u64;
    }

    fn is_healthy(place: &Place, rollout: &ship::Rollout, machine: &Machine) -> bool {
        let behaviour = |release| machine.behaviour(&GroupId { place: place.clone(), release });
        let Some(old) = rollout.from.map(behaviour) else { return false };
        let new = behaviour(rollout.to);
        new.error_rate <= old.error_rate && new.slow_rate <= old.slow_rate && new.stalls <= old.stalls
    }

    fn keep_score(&mut self, event: &Event, machine: &Machine) {
        let Event::Rollout { place, event } = event else { return };
        let Some(rollout) = self.world.lanes.get(place).and_then(|lane| lane.rollout.as_ref()) else {
            return;
        };
        match event {
            ship::Event::Started { .. } => {
                self.baked.remove(place);
                self.judged.insert(place.clone(), false);
            }
            ship::Event::Promoted => {
                let judged = rollout.strategy.analysis.judge.is_some() && rollout.bakes_until().is_some();
                if judged && machine.incident == 0.0 && Self::is_healthy(place, rollout, machine) {
                    self.baked.insert(place.clone());
                    self.figures.healthy_baked += 1;
                }
            }
            ship::Event::RollbackBegun { reason: RollbackReason::Judge(_) }
            | ship::Event::Paused { reason: PauseReason::Frozen(RollbackReason::Judge(_)) }
                if self.baked.remove(place) =>
            {
                self.figures.blamed_baked += 1;
            }
            ship::Event::Shifted { weight, .. } => {
                let healthy = Self::is_healthy(place, rollout, machine);
                let first = self.judged.get(place) == Some(&false);
                let watched = rollout.strategy.analysis.judge.is_some() && *weight < Weight::ALL;
                if healthy && first && watched && rollout.phase == Phase::Progressing {
                    self.judged.insert(place.clone(), true);
                    self.figures.healthy_judged += 1;
                    let timed = rollout.baseline.as_ref().is_some_and(|it| !it.thresholds.is_empty());
                    self.figures.healthy_timed += u64::from(timed);
                }
            }
            // After the last shift nobody serves beside it, and an incident that hits all is held against it, as documented.
            ship::Event::RollbackBegun { reason: RollbackReason::Judge(why) }
            | ship::Event::Paused { reason: PauseReason::Frozen(RollbackReason::Judge(why)) }
                if rollout.weight < Weight::ALL =>
            {
                let blamed = self.judged.get(place) == Some(&true);
                self.figures.blamed += u64::from(blamed);
                self.figures.blamed_timed += u64::from(blamed && why.contains("slower than"));
            }
            ship::Event::Completed => {
                self.baked.remove(place);
                self.figures.completed += 1;
                let to = rollout.to;
                self.serves.insert(place.clone(), to);
            }
            ship::Event::RolledBack => self.figures.rolled_back += 1,
            ship::Event::Scaled { .. }
            | ship::Event::HeaderRouted { .. }
            | ship::Event::Readied { .. }
            | ship::Event::StepEntered { .. }
            | ship::Event::BaselineFrozen(_)
            | ship::Event::ClockStepped { .. }
            | ship::Event::Measured { .. }
            | ship::Event::RuleMeasured(_)
            | ship::Event::HookBegun { .. }
            | ship::Event::HookEnded { .. }
            | ship::Event::Paused { .. }
            | ship::Event::Resumed { .. }
            | ship::Event::RollbackBegun { .. } => {}
        }
    }

    /// The fleet holds something newer than what is offered: no journal here was ever set back.
    pub(crate) fn refused_as_stale(&mut self, has: Generation, offered: Generation) {
        self.breaks(format!("generation {offered} is ordered after {has}"));
    }

    /// Control orders what is in the journal, nothing else, and nothing that breaks a promise.
    pub(crate) fn ordered(&mut self, wanted: &Wanted, machine: &Machine) {
        if wanted.generation != machine.wanted.generation {
            self.tell(|| ordered(wanted));
        }
        if wanted.generation != self.world.generation {
            self.breaks(format!(
                "generation {} is ordered, {} is recorded",
                wanted.generation, self.world.generation
            ));
        }
        for what in sim::orders::broken(&machine.wanted, wanted) {
            self.breaks(what);
        }
        let mut groups = Vec::new();
        let mut splits = Vec::new();
        for place in self.world.lanes.keys() {
            let Some(serving) = self.world.serving(place) else { continue };
            let id = |release| GroupId { place: place.clone(), release };
            groups.extend(serving.groups.iter().map(|(release, n)| (id(*release), *n)));
            if !serving.shares.is_empty() {
                splits.push((place.clone(), serving.epoch, serving.shares));
            }
        }
        let has: Vec<_> = wanted.groups.iter().map(|it| (it.id.clone(), it.replicas)).collect();
        let shares = |split: &ports::fleet::Split| {
            let shares = split.shares.iter().map(|it| (it.release, it.weight)).collect();
            (split.place.clone(), split.epoch, shares)
        };
        let shared: Vec<_> = wanted.splits.iter().map(shares).collect();
        if (&has, &shared) != (&groups, &splits) {
            self.breaks(format!("generation {} orders other than what is recorded", wanted.generation));
        }
    }

    /// Requests were served, or were not.
    pub(crate) fn served(&mut self, served: &Served) {
        let lane = self.world.lanes.get(&served.place);
        // Where one replica is all that ever fits, there is a time without, as declared.
        let declared =
            lane.and_then(|lane| lane.active()).is_some_and(|rollout| match rollout.strategy.kind {
                Kind::Rolling { max_surge, .. } => {
                    let full = rollout.candidate_replicas;
                    full + max_surge.rounded_up(full) <= 1
                }
                Kind::Canary { .. } | Kind::BlueGreen { .. } => false,
            });
        if self.gentle && served.lost > 0 && served.needlessly && !declared {
            self.breaks(format!(
                "{} requests at {} are lost beside a ready replica",
                served.lost, served.place
            ));
        }
        if let Some(broken) = self.users.follow(served) {
            self.breaks(broken);
        }
        self.figures.returns = self.users.returns;
        let Some(rollout) = self.world.lanes.get(&served.place).and_then(|lane| lane.rollout.as_ref()) else {
            return;
        };
        let back = matches!(rollout.phase, Phase::RolledBack(_));
        let used = served.by.contains_key(&rollout.to);
        if used && !rollout.phase.is_terminal() && !self.may_be_used(&served.place, rollout) {
            self.breaks(format!("{}/{} gets requests before its hooks", served.place, rollout.to));
            return;
        }
        if back && served.by.contains_key(&rollout.to) {
            let id = format!("{}/{}", served.place, rollout.to);
            self.breaks(format!("{id} is rolled back and gets requests"));
        }
    }

    /// An operator asks for that again which went back.
    pub(crate) fn asks_again(&mut self, actor: &str, place: &Place) {
        self.policy.asks_again(actor, place);
    }

    /// An operator has an answer: what it says must be in the journal, and what it denies must not.
    pub(crate) fn answered(&mut self, actor: &str, answer: &Result<Option<runtime::Answer>, runtime::Error>) {
        let events = self.actors.get(actor).copied().unwrap_or_default();
        match answer {
            Ok(answer) if events == 0 && answer.as_ref().is_none_or(|it| it.rollout.is_some()) => {
                self.breaks(format!("{actor} was told yes, and nothing is recorded"));
            }
            Ok(Some(answer)) => self.tell(|| format!("{actor}: release {}", answer.release)),
            Ok(None) => self.tell(|| format!("{actor}: done")),
            // Whoever hears that control has stopped knows nothing.
            Err(runtime::Error::Stopped(_)) => {}
            Err(error) if events > 0 => {
                self.breaks(format!("{actor} was told no, and {events} events are recorded: {error}"));
            }
            Err(error) => {
                self.figures.kept_out += u64::from(error.to_string().contains("no change is to begin"));
                self.tell(|| format!("{actor}: refused: {error}"));
            }
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

fn told(record: &Record, event: &Event) -> String {
    let subject = record.subject.clone().unwrap_or_default();
    let detail = match event {
        Event::Rollout { event, .. } => match event {
            ship::Event::Started { from, to, .. } => {
                format!("{} -> {to}", from.map_or_else(|| "nothing".to_owned(), |from| from.to_string()))
            }
            ship::Event::Scaled { stable, candidate } => format!("{stable} old, {candidate} new"),
            ship::Event::Shifted { weight, epoch } => format!("{weight} (epoch {epoch})"),
            ship::Event::HeaderRouted { route, epoch } => {
                format!("{} by {} matches (epoch {epoch})", route.name, route.matches.len())
            }
            ship::Event::Readied { ready } => ready.to_string(),
            ship::Event::StepEntered { step } | ship::Event::Resumed { step } => format!("step {step}"),
            ship::Event::Paused { reason } => reason.to_string(),
            ship::Event::RollbackBegun { reason } => reason.to_string(),
            ship::Event::ClockStepped { by_us } => format!("{by_us} us"),
            ship::Event::HookBegun { hook, attempt, .. } => format!("{hook}, attempt {attempt}"),
            ship::Event::HookEnded { hook, attempt, outcome, detail, .. } => {
                format!("{hook}, attempt {attempt}: {outcome:?}: {detail}")
            }
            ship::Event::BaselineFrozen(_)
            | ship::Event::Measured { .. }
            | ship::Event::RuleMeasured(_)
            | ship::Event::Promoted
            | ship::Event::RolledBack
            | ship::Event::Completed => String::new(),
        },
        Event::ReleaseRegistered(release) => format!("{} {}", release.number, release.artifact.name),
        Event::ReleaseRetired { number, .. } => number.to_string(),
        Event::Locked { by, reason, .. } => format!("{by}: {reason}"),
        Event::LockOverridden { by, .. } => format!("of {by}"),
        Event::BudgetOverridden { objective, level, .. } => format!("{objective}: {}", level.name()),
        Event::Change(change) => format!("{} {}", change.name(), change.number()),
        Event::FreezeOverridden { freeze, until, .. } => format!("{freeze} until {until}"),
        Event::TakenBack { objective, release, .. } => format!("{release}: {objective}"),
        Event::Objective { objective, event, .. } => format!("{objective}: {event:?}"),
        Event::Paging(event) => event.subject(),
        Event::AlertChanged(changed) => format!("{:?}", changed.labels),
        Event::ErrorDecided { fingerprint, decision, .. } => {
            format!("{fingerprint}: {}", decision.stance.name())
        }
        Event::GroupBegun { name, members, .. } => format!("{name}: {} members", members.len()),
        Event::GroupReached { stage, .. } => format!("{stage:?}"),
        Event::DriftCorrected { drift, new, .. } => format!("{} {new}x: {}", drift.kind.name(), drift.found),
        Event::ControlStarted { .. }
        | Event::ControlStopped
        | Event::CommandAnswered { .. }
        | Event::Unlocked { .. } => String::new(),
    };
    let line = format!("#{} {} {subject} {detail}", record.seq, record.kind);
    format!("{} by {}", line.trim_end(), record.actor)
}

fn ordered(wanted: &Wanted) -> String {
    let groups: Vec<_> = wanted.groups.iter().map(|it| format!("{} x{}", it.id, it.replicas)).collect();
    let share = |it: &ports::fleet::Share| format!("{} {}", it.release, it.weight);
    let splits = wanted.splits.iter().flat_map(|split| split.shares.iter().map(share));
    format!(
        "agent: takes generation {}: {}; {}",
        wanted.generation,
        groups.join(", "),
        splits.collect::<Vec<_>>().join(", ")
    )
}

fn is_timed_pause(step: Option<&Step>) -> bool {
    matches!(step, Some(Step::Pause { duration: Some(_) }))
}
