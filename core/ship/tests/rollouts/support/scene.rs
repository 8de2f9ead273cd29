//! A rollout and a simulated place, driven as the runtime drives them: plan, decide, apply, until nothing is left to do.
//! Each look also checks what must hold always: no command of the planner is refused, no event is illegal, the journal
//! told again gives the same state.

use std::time::Duration;

use model::check::{Outcome, Verdict};
use model::latency::Histogram;
use model::{Epoch, ReleaseNumber, RolloutNumber, Timestamp, Weight};
use ship::checks::{Begun, Ticket};
use ship::{
    Cause, Command, Counts, EpochTally, Event, GroupState, Observation, PauseReason, Refusal, Report,
    Rollout, decide, plan,
};

use super::strategies::{Change, Plan};

/// Far more rounds than any rollout needs; beyond it the planner goes in circles.
const MOST_ROUNDS: usize = 200;

/// One rollout at one simulated place.
pub(crate) struct Scene {
    pub(crate) rollout: Rollout,
    pub(crate) seen: Observation,
    pub(crate) now: Timestamp,
    pub(crate) report: Report,
    /// `(phase, event, phase)` of all that happened.
    pub(crate) walked: Vec<(&'static str, &'static str, &'static str)>,
    journal: Vec<(String, Timestamp)>,
    fresh: Vec<Event>,
    prompt: bool,
    lives: u32,
}

/// A rollout that has just begun, in a place whose old replicas are ready.
pub(crate) fn given(plan: Plan) -> Scene {
    let now = Timestamp::from_micros(1_700_000_000_000_000);
    let started = Event::Started {
        number: RolloutNumber(1),
        from: (!plan.first).then_some(ReleaseNumber(1)),
        to: ReleaseNumber(2),
        cause: Cause::Deploy,
        strategy: plan.strategy,
        stable_replicas: plan.old,
        candidate_replicas: plan.new,
    };
    let rollout = Rollout::begin(&started, Epoch(7), now).unwrap();
    let seen = Observation {
        reachable: true,
        in_force: true,
        stable: GroupState { ready: plan.old, existing: plan.old, ..GroupState::default() },
        instance: "life 0".to_owned(),
        before: (Counts { requests: plan.before.total(), errors: 0 }, plan.before),
        ..Observation::default()
    };
    let report = ship::plan(&rollout, &seen, now).1;
    Scene {
        rollout,
        seen,
        now,
        report,
        walked: vec![],
        journal: vec![(serde_json::to_string(&started).unwrap(), now)],
        fresh: vec![],
        prompt: plan.prompt,
        lives: 0,
    }
}

impl Scene {
    /// Something is seen; the planner acts until nothing is left to do.
    pub(crate) fn when(mut self, change: Change) -> Self {
        self.fresh.clear();
        self.sees(&change);
        self.settle();
        self
    }

    /// An operator asks for something that is granted; the planner then acts.
    pub(crate) fn operator(mut self, command: Command) -> Self {
        self.fresh.clear();
        self.carry_out(command).unwrap();
        self.settle();
        self
    }

    /// An operator asks for something that is refused.
    pub(crate) fn refused(self, command: Command, what: &str, instead: &str) -> Self {
        let refusal = decide(&self.rollout, command, self.now).unwrap_err();
        assert!(refusal.what.contains(what), "{refusal:?}");
        assert!(refusal.instead.contains(instead), "{refusal:?}");
        self
    }

    /// Exactly these events followed, counts and measurements left out.
    #[track_caller]
    pub(crate) fn then<const N: usize>(self, expected: [&str; N]) -> Self {
        let quiet = |event: &&Event| !{
            matches!(event, Event::Measured { .. } | Event::RuleMeasured(_) | Event::BaselineFrozen(_))
        };
        let happened: Vec<String> = self.fresh.iter().filter(quiet).map(line).collect();
        assert_eq!(happened, expected, "it says: {:?}", self.report);
        self
    }

    /// It waits, and says why.
    #[track_caller]
    pub(crate) fn waiting_for(self, what: &str) -> Self {
        let wait = self.report.wait.as_ref().expect("it waits for something");
        assert!(wait.what.contains(what), "{wait:?}");
        self
    }

    #[track_caller]
    pub(crate) fn is(self, phase: &str) -> Self {
        assert_eq!(self.rollout.phase.name(), phase, "{:?}", self.report);
        self
    }

    /// The place changes, the planner is not asked yet.
    pub(crate) fn sees(&mut self, change: &Change) {
        self.now = self.now.after(Duration::from_secs(change.seconds));
        if change.agent_restarted {
            self.lives += 1;
            self.seen.instance = format!("life {}", self.lives);
            self.seen.tallies.clear();
            self.seen.candidate_latency = Histogram::default();
        }
        self.seen.reachable = change.reachable.unwrap_or(self.seen.reachable);
        self.seen.in_force |= change.confirmed;
        if let Some(ready) = change.candidate_ready {
            self.seen.candidate.ready = ready;
        }
        if let Some(ready) = change.stable_ready {
            self.seen.stable.ready = ready;
        }
        if change.crash_loop.is_some() {
            self.seen.candidate.crash_loop.clone_from(&change.crash_loop);
        }
        if let Some(times) = change.restarts {
            self.seen.candidate_restarts = vec![(1, times)];
        }
        self.counts(change);
    }

    /// The checks that are wanted now begin, if they have not.
    pub(crate) fn begin(mut self) -> Self {
        let since = self.now;
        let begun = |ticket| Begun { ticket, since };
        let wanted = ship::checks::wanted(&self.rollout, &self.seen, self.now);
        let before = std::mem::take(&mut self.seen.checks);
        self.seen.checks = wanted
            .into_iter()
            .map(|it| before.iter().find(|old| old.ticket == it.ticket).copied().unwrap_or(begun(it.ticket)))
            .collect();
        self.fresh.clear();
        self.settle();
        self
    }

    /// The checks under way end like this; the planner then acts.
    pub(crate) fn found(mut self, verdict: Verdict, value: Option<f64>) -> Self {
        self = self.begin();
        assert!(!self.seen.checks.is_empty(), "no check is wanted: {:?}", self.report);
        for begun in std::mem::take(&mut self.seen.checks) {
            self.ends(begun.ticket, verdict, value);
        }
        self.settle();
        self
    }

    /// One check ends, whether anybody still wants it or not.
    pub(crate) fn ends(&mut self, ticket: Ticket, verdict: Verdict, value: Option<f64>) -> bool {
        let outcome = Outcome { verdict, value, detail: format!("it was {verdict:?}").to_lowercase() };
        self.carry_out(Command::NoteCheck { ticket, outcome }).is_ok_and(|moved| moved)
    }

    fn counts(&mut self, change: &Change) {
        let epoch = self.rollout.epoch;
        if !self.seen.tallies.iter().any(|tally| tally.epoch == epoch) {
            self.seen.tallies.push(EpochTally { epoch, ..EpochTally::default() });
        }
        let counts = |(requests, errors)| Counts { requests, errors };
        for tally in self.seen.tallies.iter_mut().filter(|tally| tally.epoch == epoch) {
            tally.candidate = tally.candidate.plus(counts(change.candidate));
            tally.stable = tally.stable.plus(counts(change.stable));
            for index in 0..3 {
                tally.slow.candidate[index] += change.slow.0;
                tally.slow.stable[index] += change.slow.1;
            }
            tally.aimed = tally.aimed.plus(counts(change.aimed));
            tally.users = tally.users.plus(change.users);
        }
        if let Some(latency) = change.latency_ms {
            for _ in 0..change.candidate.0 {
                self.seen.candidate_latency.observe(Duration::from_millis(latency));
            }
        }
    }

    /// Plan, decide, apply, until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        for _ in 0..MOST_ROUNDS {
            let (commands, report) = plan(&self.rollout, &self.seen, self.now);
            self.report = report;
            let mut moved = false;
            for command in commands {
                moved |= self.carry_out(command).expect("the planner asks for nothing senseless");
            }
            if !moved {
                self.check_replay();
                return;
            }
        }
        panic!("the planner goes in circles: {:?}", self.report);
    }

    /// Decides and applies one command; whether anything happened.
    pub(crate) fn carry_out(&mut self, command: Command) -> Result<bool, Refusal> {
        let events = decide(&self.rollout, command, self.now)?;
        for event in &events {
            let beside = |rollout: &Rollout| (rollout.previews(), rollout.header_routes().len());
            let (before, was_beside) = (self.rollout.phase.name(), beside(&self.rollout));
            self.rollout.apply(event, self.now).expect("what was decided is legal");
            self.walked.push((before, event.name(), self.rollout.phase.name()));
            self.journal.push((serde_json::to_string(event).unwrap(), self.now));
            if event.changes_wanted_state() || beside(&self.rollout) != was_beside {
                self.follow();
            }
        }
        let moved = !events.is_empty();
        self.fresh.extend(events);
        Ok(moved)
    }

    /// The place follows what is wanted: replicas go at once, come when told, unless the place is a prompt one.
    fn follow(&mut self) {
        let (stable, candidate) = (self.rollout.wanted_stable, self.rollout.wanted_candidate);
        self.seen.in_force = self.prompt;
        if self.prompt {
            (self.seen.stable.ready, self.seen.candidate.ready) = (stable, candidate);
        }
        self.seen.stable.ready = self.seen.stable.ready.min(stable);
        self.seen.candidate.ready = self.seen.candidate.ready.min(candidate);
    }

    /// Tells the journal again, from its stored text.
    fn check_replay(&self) {
        let mut told =
            self.journal.iter().map(|(text, at)| (serde_json::from_str::<Event>(text).unwrap(), *at));
        let (started, at) = told.next().unwrap();
        let mut again = Rollout::begin(&started, Epoch(7), at).unwrap();
        for (event, at) in told {
            again.apply(&event, at).unwrap();
        }
        assert_eq!(again, self.rollout, "replay takes the same road");
    }

    pub(crate) fn weight(&self) -> Weight {
        self.rollout.weight
    }

    /// What followed the last change.
    pub(crate) fn fresh(&self) -> &[Event] {
        &self.fresh
    }
}

/// An event as one reads it aloud.
fn line(event: &Event) -> String {
    match event {
        Event::Scaled { stable, candidate } => format!("{stable} old, {candidate} new"),
        Event::Shifted { weight, .. } => format!("{weight}"),
        Event::HeaderRouted { route, .. } => {
            let name = &route.name;
            if route.matches.is_empty() { format!("not led by {name}") } else { format!("led by {name}") }
        }
        Event::Readied { ready } => format!("{ready} ready"),
        Event::StepEntered { step } => format!("step {step}"),
        Event::Paused { reason: PauseReason::Step } => "paused: step".to_owned(),
        Event::Paused { reason: PauseReason::Operator } => "paused: operator".to_owned(),
        Event::Paused { reason: PauseReason::Inconclusive(_) } => "paused: inconclusive".to_owned(),
        Event::Paused { reason: PauseReason::Frozen(why) } => {
            let why = why.to_string();
            format!("frozen: {}", why.split(':').next().unwrap_or_default())
        }
        Event::Resumed { step } => format!("resumed at step {step}"),
        Event::RollbackBegun { reason } => {
            let reason = reason.to_string();
            format!("back: {}", reason.split(':').next().unwrap_or_default())
        }
        Event::ClockStepped { by_us } => format!("clock: {by_us} us"),
        Event::HookBegun { hook, attempt, .. } => format!("{hook} begins: {attempt}"),
        Event::HookEnded { hook, attempt, outcome, .. } => {
            format!("{hook} {}: {attempt}", format!("{outcome:?}").to_lowercase())
        }
        Event::Started { .. }
        | Event::BaselineFrozen(_)
        | Event::Measured { .. }
        | Event::RuleMeasured(_)
        | Event::Promoted
        | Event::RolledBack
        | Event::Completed => event.name().to_owned(),
    }
}
