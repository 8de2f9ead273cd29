//! One life: control in its world, the things that can be done to it, and what must hold at the end.

use std::sync::Arc;
use std::time::Duration;

use lifecycle::{Kept, Stand, Vote};
use model::{Place, ReleaseNumber, Weight};
use ports::journal::Entry;
use runtime::{Ballot, Config, Handle, Ports};
use ship::{Phase, Report};
use sim::{Machine, Start};
use tokio::task::JoinHandle;

use crate::acts::{Act, Fault, Said, Voter, Wish};
use crate::care::Care;
use crate::cast::{Cast, smoke_test};
use crate::gate::{self, Gate};
use crate::outside::{Checks, Fleet, Journal, Wall, World};
use crate::referee::{Figures, Referee, SECRET};
use crate::watcher::watch;

/// How often the end of everything is looked for.
const PROBE: Duration = Duration::from_secs(4);
/// How often it is looked for, at most: longer than any rollout with its deadlines takes.
const PROBES: u32 = 400;
/// How long a wait may be overdue before it is called stuck.
const OVERDUE: Duration = Duration::from_secs(20);
const OVERDUE_US: i64 = 20_000_000;

/// What became of a life.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Every promise that was broken, in words.
    pub broken: Vec<String>,
    /// The journal, byte by byte.
    pub journal: Vec<Entry>,
    /// What happened, line by line, when it was asked for.
    pub trace: Vec<String>,
    /// What is counted.
    pub figures: Figures,
}

pub(crate) struct Life {
    pub(crate) world: World,
    cast: Cast,
    journal: sim::Journal,
    artifacts: sim::Artifacts,
    checks: sim::Checks,
    secrets: sim::Secrets,
    wall: Wall,
    control: Option<(Handle, JoinHandle<()>)>,
    /// Who watches beside it, where the team is a careful one.
    watcher: Option<JoinHandle<()>>,
    is_careful: bool,
    up_at: Duration,
    journal_armed: bool,
    gate: Gate,
    operators: u32,
    deaths: u64,
}

impl Life {
    pub(crate) fn new(cast: Cast, seed: u64, mut referee: Referee, gate: Gate) -> Self {
        let (wall, journal, artifacts) = (Wall::start(), sim::Journal::default(), sim::Artifacts::default());
        let mut machine = Machine::new(seed, cast.grain);
        machine.requests_per_second = cast.requests_per_second;
        let (secrets, checks) = (sim::Secrets::default(), sim::Checks::default());
        referee.checks = checks.clone();
        for service in &cast.services {
            secrets.set(&format!("TOKEN_OF_{}", service.name.to_uppercase()), SECRET);
            for build in &service.builds {
                let directory =
                    std::path::PathBuf::from("/artifacts").join(sim::Artifacts::digest_of(&build.path).hex());
                machine.builds.insert(directory, build.behaviour);
            }
            for (index, build) in (0..).zip(&service.builds) {
                let (takes, verdict) = build.smoke;
                checks.find(&smoke_test(&service.name, index), takes, verdict);
                if let Some(asked) = &build.asked {
                    checks.answer(&asked.query, asked.takes, asked.answer.clone());
                }
                for hook in &build.hooks {
                    checks.find(&hook.run, hook.takes, hook.verdict);
                }
            }
        }
        let world = World::new(machine, referee, journal.clone(), wall.clone(), cast.grain);
        Self {
            world,
            cast,
            journal,
            artifacts,
            checks,
            secrets,
            wall,
            control: None,
            watcher: None,
            is_careful: false,
            up_at: Duration::ZERO,
            journal_armed: false,
            gate,
            operators: 0,
            deaths: 0,
        }
    }

    /// Sets the clock to when the life of a careful team begins.
    pub(crate) fn begin(&mut self, care: &Care) {
        self.is_careful = care.is_careful();
        let now = self.wall().as_micros() / 1_000_000;
        if let Some(begins) = care.begins {
            self.wall.step(begins - now);
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.wall.elapsed()
    }

    /// What the clock on the wall says.
    pub(crate) fn wall(&self) -> model::Timestamp {
        ports::Clock::now(&self.wall)
    }

    /// Lets the time pass; control dies and comes back meanwhile, when its time has come.
    pub(crate) async fn pass(&mut self, until: Duration) {
        loop {
            if self.control.is_none() && self.now() >= self.up_at {
                self.start().await;
            }
            let wake = if self.control.is_none() { until.min(self.up_at) } else { until };
            let wait = wake.saturating_sub(self.now());
            let died = self.dies_within(wait).await;
            if died {
                self.kill(Duration::from_secs(2)).await;
            }
            self.compare();
            if self.now() >= until {
                return;
            }
        }
    }

    async fn dies_within(&mut self, wait: Duration) -> bool {
        let (journal, armed) = (self.journal.clone(), self.journal_armed);
        let crashed =
            async move { if armed { journal.crashed().await } else { std::future::pending().await } };
        let died = tokio::select! {
            biased;
            () = crashed => true,
            () = self.world.power_cut.notified() => true,
            () = tokio::time::sleep(wait) => false,
        };
        self.journal_armed &= !died;
        died
    }

    async fn start(&mut self) {
        self.world.now().referee.control_starts();
        let (world, gate) = (self.world.clone(), self.gate.clone());
        let journal = Journal { inner: self.journal.clone(), world, gate: gate.clone() };
        let ports = Ports {
            journal,
            fleet: Arc::new(Fleet(self.world.clone())),
            artifacts: Arc::new(gate::Artifacts(self.artifacts.clone(), gate.clone())),
            checks: Arc::new(Checks(self.checks.clone(), self.world.clone())),
            secrets: Arc::new(gate::Secrets(self.secrets.clone(), gate)),
            clock: Arc::new(self.wall.clone()),
        };
        let config = Config {
            tick: self.cast.tick,
            patience: Duration::from_secs(2),
            retry: Duration::from_secs(1),
            queue: 8,
            version: "0".to_owned(),
        };
        // A start that hangs on a dead journal is a start that failed.
        let started = tokio::time::timeout(Duration::from_secs(5), runtime::start(ports, config)).await;
        match started {
            Ok(Ok(control)) => {
                let watching =
                    self.is_careful.then(|| watch(control.0.clone(), self.world.clone(), self.wall.clone()));
                self.watcher = watching.map(tokio::spawn);
                self.control = Some(control);
            }
            Ok(Err(_)) | Err(_) => {
                self.journal.stay_up();
                self.journal_armed = false;
                self.up_at = self.now() + Duration::from_secs(1);
            }
        }
    }

    async fn kill(&mut self, back_after: Duration) {
        if let Some(watcher) = self.watcher.take() {
            watcher.abort();
            let _ = watcher.await;
        }
        if let Some((handle, task)) = self.control.take() {
            drop(handle);
            task.abort();
            let _ = task.await;
            self.deaths += 1;
            self.world.now().referee.tell(|| "control: killed".to_owned());
        }
        // What was to kill this control must not kill the next one.
        self.journal.stay_up();
        self.journal_armed = false;
        self.world.now().line.crash = None;
        self.up_at = self.now() + back_after;
    }

    /// What control shows is what the journal says: live and replayed are the same.
    fn compare(&self) {
        let Some((handle, task)) = &self.control else { return };
        let shown = handle.snapshot().world.clone();
        let mut outside = self.world.now();
        if task.is_finished() {
            outside.referee.breaks("control ended by itself".to_owned());
        } else if *shown != outside.referee.world {
            outside.referee.breaks("control shows another world than the journal".to_owned());
        }
    }

    pub(crate) async fn act(&mut self, act: Act) {
        self.world.now().referee.tell(|| format!("> {act}"));
        match act {
            Act::Wish(Wish::Vote { pick, vote, by }) => self.vote(pick, vote, by),
            Act::Wish(Wish::Say(said)) => self.say(said),
            Act::Wish(wish) => self.operate(wish),
            Act::Fault(fault) => self.suffer(fault).await,
        }
    }

    /// An operator asks and waits for the answer by himself.
    fn operate(&mut self, wish: Wish) {
        let Some((handle, _)) = &self.control else { return };
        self.operators += 1;
        let (handle, world, actor) = (handle.clone(), self.world.clone(), format!("op-{}", self.operators));
        if let Some(place) = wish.asks_again() {
            world.now().referee.asks_again(&actor, place);
        }
        let goes_back = wish.goes_back();
        tokio::spawn(async move {
            let answer = wish.ask(&handle, actor.clone()).await;
            world.now().referee.answered(&actor, &answer);
            if goes_back {
                world.now().referee.went_back(&actor, &answer);
            }
        });
    }

    /// Somebody says what they think of a request for change, and comes by another way each time.
    fn vote(&mut self, pick: usize, vote: Vote, by: Voter) {
        let Some((handle, _)) = &self.control else { return };
        let world = handle.snapshot().world.clone();
        let is_open = |kept: &&Kept| match vote {
            Vote::Approve | Vote::Reject => kept.waits(),
            Vote::Review => matches!(kept.stand, Stand::Unreviewed(_)),
        };
        let open: Vec<&Kept> = world.requests.all.values().filter(is_open).collect();
        let Some(request) = open.get(pick % open.len().max(1)).map(|kept| &kept.request) else { return };
        self.operators += 1;
        let person = match by {
            Voter::Own => request.by.as_str(),
            Voter::Named(name) => name,
        };
        let (number, actor) = (request.number, format!("{person} (uid {})", self.operators));
        let (handle, world) = (handle.clone(), self.world.clone());
        tokio::spawn(async move {
            let reason = Some("looked at it".to_owned());
            let ballot = Ballot { number, actor: actor.clone(), reason };
            let answer = handle.vote(vote.clone(), ballot).await;
            world.now().referee.voted((number, &vote), &actor, &answer);
        });
    }

    /// Somebody says something of errors, or of who is told.
    fn say(&mut self, said: Said) {
        let Some((handle, _)) = &self.control else { return };
        self.operators += 1;
        let (handle, world, actor) = (handle.clone(), self.world.clone(), format!("op-{}", self.operators));
        tokio::spawn(async move {
            let answer = said.say(&handle, actor.clone()).await;
            world.now().referee.heard(&actor, &answer);
        });
    }

    /// Who watches asks twice, as after a crash of his own.
    fn burn(&self, place: Place, pages: bool, blame: watch::Blame) {
        let Some((handle, _)) = &self.control else { return };
        let (handle, asked) =
            (handle.clone(), self.world.now().referee.world.lanes.get(&place).map(|lane| lane.last_rollout));
        let Some((objective, rollout)) = "availability".parse::<model::ObjectiveName>().ok().zip(asked)
        else {
            return;
        };
        tokio::spawn(async move {
            let to = if pages { watch::alert::To::Firing } else { watch::alert::To::Resolved };
            let severity = model::objective::Severity::P1;
            let rule = watch::burn::Rule::Burn(severity);
            let page = watch::Command::ChangeAlert { rule, to, severity, cause: None };
            let told = lifecycle::Command::Objectives(vec![(place.clone(), objective.clone(), page)]);
            let _ = handle.watched(told).await;
            for _ in 0..2 {
                let (place, objective) = (place.clone(), objective.clone());
                let back = lifecycle::Command::TakeBack { place, objective, rollout, blame };
                let _ = handle.watched(back).await;
            }
        });
    }

    async fn suffer(&mut self, fault: Fault) {
        match fault {
            Fault::Kill(back_after) => self.kill(back_after).await,
            Fault::CrashAtAppend(after, crash) => {
                self.journal.crash_at(self.journal.units() + 1 + after, crash);
                self.journal_armed = true;
            }
            Fault::JournalFails(times) => self.journal.fail(times),
            Fault::JournalSlow(delay) => self.journal.slow_down(delay),
            Fault::ClockSteps(seconds) => self.wall.step(seconds),
            Fault::Burns { place, pages, blame } => self.burn(place, pages, blame),
            Fault::Turns(weather) => self.world.now().sky.turns(weather),
            Fault::MetricsSilent(silent) => self.checks.silence(silent),
            Fault::CrashAtOrder(crash) => self.world.now().line.crash = Some(crash),
            Fault::AgentCut(cut) => self.world.now().line.cut = cut,
            Fault::AgentRestarts => self.world.now().machine.restart_agent(),
            Fault::AgentSlow(latency) => self.world.now().line.latency = latency,
            Fault::AgentRefuses(times) => self.world.now().line.refusals = times,
            Fault::AnswersLost(times) => self.world.now().line.lost_answers = times,
            Fault::OldReports(times) => self.world.now().line.repeats = times,
            Fault::NoTallies(none) => self.world.now().line.no_tallies = none,
            Fault::ReplicaDies => self.world.now().machine.kill_one(),
            Fault::ReplicaUnready(time) => self.world.now().machine.darken_one(time),
            Fault::Incident(share) => self.world.now().machine.incident = share,
        }
    }

    /// Ends every fault that somebody would repair.
    pub(crate) async fn heal(&mut self) {
        self.journal.stay_up();
        self.journal_armed = false;
        self.journal.fail(0);
        self.journal.slow_down(Duration::ZERO);
        self.checks.silence(false);
        {
            let mut outside = self.world.now();
            outside.line = crate::outside::Line::default();
            outside.machine.heal();
            outside.sky.clears();
            outside.referee.tell(|| "> everything is repaired".to_owned());
        }
        let soon = self.now() + Duration::from_secs(5);
        self.pass(soon).await;
    }

    /// Lets everything come to rest, and looks whether it is as it must be.
    pub(crate) async fn rest(&mut self) {
        for _ in 0..PROBES {
            let next = self.now() + PROBE;
            self.pass(next).await;
            if !self.is_at_rest() {
                continue;
            }
            // Orders of the last moment arrive; a verdict may still come while the members of a group wait.
            let next = self.now() + PROBE * 2;
            self.pass(next).await;
            if self.is_at_rest() {
                break;
            }
        }
        self.look_back();
    }

    fn look_back(&self) {
        let Some((handle, _)) = &self.control else {
            return self.world.now().referee.breaks("control does not come up".to_owned());
        };
        let snapshot = handle.snapshot();
        let mut outside = self.world.now();
        for (place, lane) in &snapshot.world.lanes {
            if let Some(rollout) = lane.active() {
                let report = snapshot.reports.get(place);
                let healthy = all_start(&outside.machine, &snapshot.world, place, rollout);
                let overdue = report.is_none_or(|report| is_overdue(report, snapshot.at));
                let paused = stands(&snapshot, place, rollout);
                if overdue || (healthy && !paused) {
                    let why = report.map(|report| format!("{}: {:?}", report.doing, report.wait));
                    outside.referee.breaks(format!("{place} never ends: {why:?}"));
                }
            }
        }
        self.last_words(&mut outside, &snapshot);
    }

    fn is_at_rest(&self) -> bool {
        let Some((handle, _)) = &self.control else { return false };
        let snapshot = handle.snapshot();
        let rests = |(place, lane): (&Place, &lifecycle::Lane)| {
            // Beside a member that stands still, those of its group that do not wait for it go on.
            let waits = |rollout: &ship::Rollout| {
                stands(&snapshot, place, rollout) && snapshot.world.group_wait(place).is_some()
            };
            let rests =
                |rollout: &ship::Rollout| is_for_somebody(&snapshot, place, rollout) || waits(rollout);
            lane.active().is_none_or(rests)
        };
        let all_told = untold(&self.world.now().machine, &snapshot.world).is_empty();
        let asked = |kept: &lifecycle::Kept| kept.waits() && kept.is_approved();
        let all_begun = !snapshot.world.requests.all.values().any(asked);
        let is_calm = !self.world.now().referee.is_alarmed();
        snapshot.world.lanes.iter().all(rests) && all_told && all_begun && is_calm
    }

    fn last_words(&self, outside: &mut crate::outside::Outside, snapshot: &runtime::Snapshot) {
        let has = outside.machine.wanted.generation;
        if has != snapshot.world.generation {
            let words = snapshot.warnings.join("; ");
            let want = snapshot.world.generation;
            outside.referee.breaks(format!("the agent stays at generation {has} of {want}: {words}"));
        }
        outside.referee.look_at_watched();
        outside.referee.look_at_requests(snapshot.at.moved(-OVERDUE_US));
        if let Some(drift) = untold(&outside.machine, &snapshot.world).first() {
            outside.referee.breaks(format!("nobody is told: {}", drift.found));
        }
        let serves = outside.referee.serves.clone();
        for (place, lane) in snapshot.world.lanes.iter().filter(|(_, lane)| lane.active().is_none()) {
            let split = outside.machine.wanted.splits.iter().find(|split| split.place == *place);
            let shares: Vec<(ReleaseNumber, Weight)> =
                split.iter().flat_map(|it| &it.shares).map(|it| (it.release, it.weight)).collect();
            let expected: Vec<_> =
                serves.get(place).map(|release| (*release, Weight::ALL)).into_iter().collect();
            if shares != expected || lane.stable != serves.get(place).copied() {
                outside.referee.breaks(format!("{place} is served by {shares:?}, not {expected:?}"));
            }
        }
        if format!("{:?}{:?}", snapshot.reports, snapshot.warnings).contains(SECRET) {
            outside.referee.breaks("a report shows a secret".to_owned());
        }
        let mut chain = record::Chain::new();
        let mut replayed = lifecycle::World::default();
        for entry in self.journal.entries() {
            let event =
                chain.read(&entry.bytes).ok().and_then(|it| Some((record::event::event(&it).ok()?, it)));
            if event.is_none_or(|(event, it)| replayed.apply(&event, it.seq, it.at).is_err()) {
                outside.referee.breaks(format!("event {} cannot be replayed at the end", entry.seq));
            }
        }
        if replayed != *snapshot.world {
            outside.referee.breaks("the journal replayed is another world".to_owned());
        }
    }

    pub(crate) async fn outcome(mut self) -> Outcome {
        self.world.now().referee.tells = false;
        self.kill(Duration::ZERO).await;
        let mut outside = self.world.now();
        let referee = &mut outside.referee;
        let figures = Figures { deaths: self.deaths - 1, ..referee.figures };
        let (broken, trace) = (std::mem::take(&mut referee.broken), std::mem::take(&mut referee.trace));
        Outcome { broken, journal: self.journal.entries(), trace, figures }
    }
}

/// Whether somebody has to decide: it is paused, or there was no evidence for it in time.
fn is_for_somebody(snapshot: &runtime::Snapshot, place: &Place, rollout: &ship::Rollout) -> bool {
    let report = snapshot.reports.get(place);
    matches!(rollout.phase, Phase::Paused(_)) || report.is_some_and(|report| report.inconclusive.is_some())
}

/// Whether it stands until somebody decides: itself, or a member of its group.
fn stands(snapshot: &runtime::Snapshot, place: &Place, rollout: &ship::Rollout) -> bool {
    let world = &snapshot.world;
    let member = |place: &Place| {
        let active = world.lanes.get(place).and_then(lifecycle::Lane::active);
        active.is_some_and(|rollout| is_for_somebody(snapshot, place, rollout))
    };
    is_for_somebody(snapshot, place, rollout)
        || world.group_of(place).is_some_and(|(_, group)| group.members.keys().any(member))
}

/// Whether every release that a rollout moves starts, also those of the members of its group: it waits for them.
fn all_start(
    machine: &sim::Machine,
    world: &lifecycle::World,
    place: &Place,
    rollout: &ship::Rollout,
) -> bool {
    let starts = |place: &Place, rollout: &ship::Rollout| {
        [Some(rollout.to), rollout.from].into_iter().flatten().all(|release| {
            let id = ports::fleet::GroupId { place: place.clone(), release };
            matches!(machine.behaviour(&id).start, Start::After(_))
        })
    };
    let member = |place: &Place| {
        let active = world.lanes.get(place).and_then(lifecycle::Lane::active);
        active.is_none_or(|rollout| starts(place, rollout))
    };
    starts(place, rollout) && world.group_of(place).is_none_or(|(_, group)| group.members.keys().all(member))
}

/// What the agent put right, and the journal does not tell of.
fn untold(machine: &sim::Machine, world: &lifecycle::World) -> Vec<model::drift::Drift> {
    let told = |drift: &model::drift::Drift| {
        let noted = world.drifts.get(&(drift.place.clone(), drift.kind));
        noted.is_some_and(|it| it.instance == machine.instance() && it.drift.times == drift.times)
    };
    machine.seen().drifts.into_iter().filter(|drift| !told(drift)).collect()
}

fn is_overdue(report: &Report, at: model::Timestamp) -> bool {
    report.wait.as_ref().is_none_or(|wait| wait.until.is_some_and(|until| at > until.after(OVERDUE)))
}
