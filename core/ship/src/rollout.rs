//! The state of a rollout, moved by events alone.

use model::assignment::{HeaderRoute, SessionAffinity};
use model::hook::Moment;
use model::strategy::{Kind, Metric, Step, Strategy};
use model::{Epoch, ReleaseNumber, RolloutNumber, Timestamp, Weight};

use crate::bake::Bake;
use crate::book::Book;
use crate::event::{Cause, Event, PauseReason, RollbackReason};
use crate::hooks::{self, Course};
use crate::latency::{Baseline, Trial};
use crate::observation::EpochTally;
use crate::rules::{self, Measurement, Run};
use crate::transitions;

/// One rollout at one place.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    /// Its number at its place.
    pub number: RolloutNumber,
    /// The release that served before, if any.
    pub from: Option<ReleaseNumber>,
    /// The release that shall serve.
    pub to: ReleaseNumber,
    /// What asked for it.
    pub cause: Cause,
    /// How it goes.
    pub strategy: Strategy,
    /// The full number of replicas of the old release.
    pub stable_replicas: u32,
    /// The full number of replicas of the new release.
    pub candidate_replicas: u32,
    /// Where it is.
    pub phase: Phase,
    /// The canary's step, from 0; one past the last is the full promotion. Of a blue-green rollout: 0 is the preview.
    /// Of a rolling update by evidence: how many waves it was let go on with.
    pub step: u32,
    /// The epoch in which it last went to a further step; `None` before it did.
    pub let_on_in: Option<Epoch>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it entered its phase.
    pub phase_since: Timestamp,
    /// When it entered its step.
    pub step_since: Timestamp,
    /// When anything last moved forward: what the progress deadline counts from.
    pub progressed_at: Timestamp,
    /// The new release's share of the requests.
    pub weight: Weight,
    /// The epoch in force.
    pub epoch: Epoch,
    /// Replicas wanted of the old release.
    pub wanted_stable: u32,
    /// Replicas wanted of the new release.
    pub wanted_candidate: u32,
    /// The most replicas of the new release that were ever ready.
    pub most_ready: u32,
    /// The header routes that were set, each by its name once. In force while [`Rollout::header_routes`] says so.
    pub led: Vec<HeaderRoute>,
    /// What was counted.
    pub book: Book,
    /// What the old release was like before; `None` until it is written down, which is before the first shift.
    pub baseline: Option<Baseline>,
    /// The evidence on latency, in the order of the baseline's thresholds.
    pub trials: Vec<Trial>,
    /// The evidence since the new release takes all requests.
    pub bake: Bake,
    /// Whether somebody let it go on after it had failed: nothing but an operator stops it any more.
    pub overruled: bool,
    /// When the traffic was last shifted.
    pub shifted_at: Timestamp,
    /// When the counts were last written down.
    pub measured_at: Timestamp,
    /// The threshold rules, in the strategy's order.
    pub rules: Vec<rules::State>,
    /// Those of the run that it waits for ([`Rollout::run`]): each begins anew.
    pub run_rules: Vec<rules::State>,
    /// How far the hooks have come.
    pub course: Course,
    /// Whether somebody answers for what its analysis or the evidence left open after its switch: neither is asked for any more.
    pub accepted: bool,
}

/// Where a rollout is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Replicas and traffic move to the new release.
    Progressing,
    /// It stands still, still watched.
    Paused(PauseReason),
    /// The new release takes all requests; the old one is kept warm.
    Promoted,
    /// Traffic goes back to the old release.
    RollingBack(RollbackReason),
    /// The new release stands alone.
    Completed,
    /// The old release serves again.
    RolledBack(RollbackReason),
}

impl Phase {
    /// Its name in the table of transitions and in every report.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Progressing => "progressing",
            Self::Paused(_) => "paused",
            Self::Promoted => "promoted",
            Self::RollingBack(_) => "rollingBack",
            Self::Completed => "completed",
            Self::RolledBack(_) => "rolledBack",
        }
    }

    /// Whether nothing can happen any more.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Completed | Self::RolledBack(_))
    }
}

/// Why an event cannot follow. Only a damaged or foreign journal gives one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the event {event} cannot follow in phase {phase}")]
pub struct IllegalEvent {
    /// The phase.
    pub phase: &'static str,
    /// The event.
    pub event: &'static str,
}

impl Rollout {
    /// The rollout that a [`Event::Started`] begins, at a place whose traffic is in `epoch`. `None` for another event.
    pub fn begin(event: &Event, epoch: Epoch, at: Timestamp) -> Option<Self> {
        let Event::Started { number, from, to, cause, strategy, stable_replicas, candidate_replicas } = event
        else {
            return None;
        };
        Some(Self {
            number: *number,
            from: *from,
            to: *to,
            cause: *cause,
            strategy: strategy.clone(),
            stable_replicas: *stable_replicas,
            candidate_replicas: *candidate_replicas,
            phase: Phase::Progressing,
            step: 0,
            let_on_in: None,
            started_at: at,
            phase_since: at,
            step_since: at,
            progressed_at: at,
            weight: Weight::NONE,
            epoch,
            wanted_stable: *stable_replicas,
            wanted_candidate: 0,
            most_ready: 0,
            led: vec![],
            book: Book::default(),
            baseline: None,
            trials: vec![],
            bake: Bake::default(),
            overruled: false,
            shifted_at: at,
            measured_at: at,
            rules: vec![rules::State::default(); strategy.analysis.metrics.len()],
            run_rules: vec![],
            course: Course::begin(&strategy.hooks),
            accepted: false,
        })
        .map(|mut rollout: Self| {
            rollout.begin_run(at);
            rollout
        })
    }

    /// Moves the state.
    ///
    /// # Errors
    /// When the event cannot follow in this phase; the state is unchanged.
    pub fn apply(&mut self, event: &Event, at: Timestamp) -> Result<(), IllegalEvent> {
        let illegal = IllegalEvent { phase: self.phase.name(), event: event.name() };
        let next = transitions::next(self.phase.name(), event.name()).ok_or(illegal)?;
        let changes_phase = next != self.phase.name();
        match event {
            Event::Started { .. } => {}
            Event::Scaled { stable, candidate } => {
                (self.wanted_stable, self.wanted_candidate) = (*stable, *candidate);
                self.progressed_at = at;
            }
            Event::Shifted { weight, epoch } => self.shift(*weight, *epoch, at),
            Event::HeaderRouted { route, epoch } => self.lead(route, *epoch, at),
            Event::Readied { ready } => {
                self.most_ready = *ready;
                self.progressed_at = at;
            }
            Event::StepEntered { step } => self.enter_step(*step, at),
            Event::BaselineFrozen(baseline) => {
                self.trials = vec![Trial::default(); baseline.thresholds.len()];
                self.baseline = Some(baseline.clone());
            }
            Event::ClockStepped { by_us } => self.follow_clock(*by_us),
            Event::Measured { instance, tallies } => {
                self.hear(instance, tallies, at);
                self.book.enter(instance, tallies);
                self.measured_at = at;
            }
            Event::RuleMeasured(measurement) => self.hear_rule(measurement, at),
            Event::HookBegun { moment, hook, attempt } => self.begin_hook(*moment, hook, *attempt, at),
            Event::HookEnded { moment, hook, outcome, detail, .. } => {
                self.hear_hook(*moment, hook, *outcome, detail, at);
            }
            Event::Paused { reason } => self.phase = Phase::Paused(reason.clone()),
            Event::Resumed { .. } if self.phase == Phase::Promoted => {
                self.accepted = true;
                self.begin_run(at);
            }
            Event::Resumed { step } => {
                self.overruled |= self.is_frozen();
                self.phase = Phase::Progressing;
                self.rules.iter_mut().for_each(rules::State::forgive);
                self.enter_step(*step, at);
            }
            Event::Promoted => {
                self.phase = Phase::Promoted;
                self.led.clear();
                self.begin_run(at);
                self.begin_bake();
            }
            Event::RollbackBegun { reason } => self.phase = Phase::RollingBack(reason.clone()),
            Event::RolledBack => {
                if let Phase::RollingBack(reason) = &self.phase {
                    self.phase = Phase::RolledBack(reason.clone());
                }
                (self.wanted_stable, self.wanted_candidate) = (self.stable_replicas, 0);
            }
            Event::Completed => {
                self.phase = Phase::Completed;
                self.wanted_stable = 0;
            }
        }
        if changes_phase {
            self.phase_since = at;
        }
        Ok(())
    }

    /// Moves every instant that something is counted from, so that no wait gets shorter or longer.
    fn follow_clock(&mut self, by_us: i64) {
        let instants = [
            &mut self.phase_since,
            &mut self.step_since,
            &mut self.progressed_at,
            &mut self.shifted_at,
            &mut self.measured_at,
        ];
        instants.into_iter().for_each(|instant| *instant = instant.moved(by_us));
        self.rules.iter_mut().chain(&mut self.run_rules).for_each(|rule| rule.follow_clock(by_us));
        self.course.follow_clock(by_us);
    }

    /// The latest instant that something is counted from: no clock that goes right is behind it.
    pub fn last_moved(&self) -> Timestamp {
        self.phase_since.max(self.step_since).max(self.progressed_at).max(self.measured_at)
    }

    fn begin_bake(&mut self) {
        let judge = self.strategy.analysis.judge.as_ref().filter(|_| !self.strategy.bake_time.is_zero());
        self.bake = match (judge, &self.baseline) {
            (Some(judge), Some(baseline)) => Bake::begin(baseline, judge),
            (None, _) | (_, None) => Bake::default(),
        };
    }

    /// The window since the last measurement testifies on latency, unless it began while new replicas were cold.
    fn hear(&mut self, instance: &str, tallies: &[EpochTally], at: Timestamp) {
        if self.phase == Phase::Promoted {
            let (window, slow) = self.book.candidate_growth(instance, tallies);
            let into = at.since(self.phase_since);
            return self.bake.hear(window, &slow, into, self.strategy.bake_time);
        }
        let judge = self.strategy.analysis.judge.as_ref();
        let Some(latency) = judge.and_then(|judge| judge.latency.as_ref()) else { return };
        if self.measured_at < self.shifted_at.after(latency.initial_delay) {
            return;
        }
        let lasted = at.since(self.measured_at);
        for (index, trial) in self.trials.iter_mut().enumerate() {
            let window = self.book.slow_growth(instance, tallies, index);
            trial.hear(&window, lasted, latency.tolerance);
        }
    }

    fn shift(&mut self, weight: Weight, epoch: Epoch, at: Timestamp) {
        if !self.is_used() {
            // The rules begin to watch with the first request that the new release may get.
            self.rules.iter_mut().for_each(|rule| rule.begin(at));
        }
        (self.weight, self.epoch, self.shifted_at) = (weight, epoch, at);
        self.book.open(epoch, weight);
        if weight == Weight::NONE && matches!(self.phase, Phase::RollingBack(_)) {
            self.led.clear();
        }
        self.progressed_at = at;
    }

    fn lead(&mut self, route: &HeaderRoute, epoch: Epoch, at: Timestamp) {
        self.shift(self.weight, epoch, at);
        self.led.retain(|known| known.name != route.name);
        if !route.matches.is_empty() {
            self.led.push(route.clone());
        }
    }

    /// The header routes in force: none before the first is set, and none once it is promoted. On the way back they stay
    /// until the old release can take everything: what they lead is traffic like any other.
    pub fn header_routes(&self) -> &[HeaderRoute] {
        let moves = matches!(self.phase, Phase::Progressing | Phase::Paused(_) | Phase::RollingBack(_));
        let on = moves && self.from.is_some();
        if on { &self.led } else { &[] }
    }

    /// Whether this header route is set as it stands, or is as absent as it asks to be.
    pub fn leads(&self, route: &HeaderRoute) -> bool {
        match self.led.iter().find(|known| known.name == route.name) {
            Some(known) => known == route,
            None => route.matches.is_empty(),
        }
    }

    /// Whether the new release may get requests, by its share or by a header route.
    pub fn is_used(&self) -> bool {
        self.weight > Weight::NONE || !self.header_routes().is_empty()
    }

    /// By what users are known who keep the release they were given; `None` when each request is on its own.
    pub fn session_affinity(&self) -> Option<&SessionAffinity> {
        match &self.strategy.kind {
            Kind::Canary { session_affinity, .. } if self.from.is_some() => session_affinity.as_ref(),
            Kind::Canary { .. } | Kind::Rolling { .. } | Kind::BlueGreen { .. } => None,
        }
    }

    fn enter_step(&mut self, step: u32, at: Timestamp) {
        if step != self.step {
            self.let_on_in = Some(self.epoch);
        }
        self.step = step;
        self.step_since = at;
        self.progressed_at = at;
        self.begin_run(at);
    }

    fn hear_rule(&mut self, measurement: &Measurement, at: Timestamp) {
        let states = match measurement.run {
            Run::Background => &mut self.rules,
            run if self.run().is_some_and(|(now, _)| now == run) => &mut self.run_rules,
            Run::Step(_) | Run::PrePromotion | Run::PostPromotion => return,
        };
        if let Some(state) = states.get_mut(measurement.rule as usize) {
            state.apply(measurement, at);
        }
    }

    /// What waits for the hooks begins when the last has passed.
    fn hear_hook(
        &mut self,
        moment: Moment,
        hook: &str,
        outcome: hooks::Outcome,
        detail: &str,
        at: Timestamp,
    ) {
        let waited = self.awaits_hooks();
        self.end_hook(moment, hook, outcome, detail);
        if waited && !self.awaits_hooks() {
            self.enter_step(self.step, at);
        }
    }

    fn begin_run(&mut self, at: Timestamp) {
        let fresh = rules::State { last_at: at, read_at: at, ..rules::State::default() };
        self.run_rules = vec![fresh; self.run().map_or(0, |(_, metrics)| metrics.len())];
    }

    /// The run that it waits for, if any, and its rules: an analysis step's, a preview's, or a switch's while the old
    /// release is warm.
    pub fn run(&self) -> Option<(Run, &[Metric])> {
        if self.awaits_hooks() || self.accepted {
            return None;
        }
        if let Some(Step::Analysis { metrics }) = self.current_step() {
            return Some((Run::Step(self.step), metrics));
        }
        match &self.strategy.kind {
            Kind::BlueGreen { post_promotion, .. }
                if self.phase == Phase::Promoted && self.from.is_some() =>
            {
                Some((Run::PostPromotion, post_promotion))
            }
            Kind::BlueGreen { pre_promotion, .. }
                if self.is_before_the_switch() && !pre_promotion.is_empty() =>
            {
                Some((Run::PrePromotion, pre_promotion))
            }
            Kind::BlueGreen { .. } | Kind::Canary { .. } | Kind::Rolling { .. } => None,
        }
    }

    /// The rules of a run with what they found; `None` when it is not the one that is waited for.
    pub fn rules_of(&self, run: Run) -> Option<(&[Metric], &[rules::State])> {
        match run {
            Run::Background => Some((&self.strategy.analysis.metrics, &self.rules)),
            Run::Step(_) | Run::PrePromotion | Run::PostPromotion => {
                let (_, metrics) = self.run().filter(|(now, _)| *now == run)?;
                Some((metrics, &self.run_rules))
            }
        }
    }

    /// Its rules with what they found. Those in dry run are among them.
    pub fn run_states(&self) -> impl Iterator<Item = (&Metric, &rules::State)> {
        self.run().map_or(&[][..], |(_, metrics)| metrics).iter().zip(&self.run_rules)
    }

    /// Whether it failed and stands still until somebody decides.
    pub fn is_frozen(&self) -> bool {
        matches!(self.phase, Phase::Paused(PauseReason::Frozen(_)))
    }

    /// Until when it is watched after it took all requests; `None` when it is not, or not yet.
    pub fn bakes_until(&self) -> Option<Timestamp> {
        let bakes =
            self.phase == Phase::Promoted && self.from.is_some() && !self.strategy.bake_time.is_zero();
        bakes.then(|| self.phase_since.after(self.strategy.bake_time))
    }

    /// Whether it is promoted and still has to pass its analysis, to be shown to be good, or to run its hooks.
    pub fn is_proving(&self) -> bool {
        let lacks = self.has_unfinished_run() || self.lacks_evidence() || self.has_hooks_to_run();
        self.phase == Phase::Promoted && lacks
    }

    /// Whether a rule of the run that it waits for has not taken all its measurements.
    pub fn has_unfinished_run(&self) -> bool {
        self.run_states().any(|(metric, state)| !metric.dry_run && !state.is_done(metric))
    }

    /// How many replicas the preview of a blue-green rollout has; all, of another.
    pub fn preview_size(&self) -> u32 {
        let full = self.candidate_replicas;
        match self.strategy.kind {
            Kind::BlueGreen { preview_replicas: Some(size), .. } => size.clamp(1, full.max(1)),
            Kind::BlueGreen { preview_replicas: None, .. } | Kind::Canary { .. } | Kind::Rolling { .. } => {
                full.max(1)
            }
        }
    }

    /// Whether the new release is reachable at its preview address: from its first wanted replica until the rollout
    /// ends or goes back.
    pub fn previews(&self) -> bool {
        let on = matches!(self.phase, Phase::Progressing | Phase::Paused(_) | Phase::Promoted);
        let previewed = matches!(self.strategy.kind, Kind::BlueGreen { .. }) && self.from.is_some();
        on && previewed && self.wanted_candidate > 0
    }

    /// Whether the new release is still looked at before it gets its first request.
    pub fn is_before_the_switch(&self) -> bool {
        matches!(self.strategy.kind, Kind::BlueGreen { .. }) && self.step < self.last_step()
    }

    /// The canary's steps; none for a rolling update, nor for a first release: there is nobody to compare it with.
    pub fn steps(&self) -> &[Step] {
        match &self.strategy.kind {
            Kind::Canary { steps, .. } if self.from.is_some() => steps,
            Kind::Canary { .. } | Kind::Rolling { .. } | Kind::BlueGreen { .. } => &[],
        }
    }

    /// The step that it is in; `None` in the full promotion and in a rolling update.
    pub fn current_step(&self) -> Option<&Step> {
        self.steps().get(self.step as usize)
    }

    /// The number of the step after the last one: the full promotion. A blue-green rollout has one before it: the
    /// preview, unless there is no old release to serve meanwhile. A rolling update by evidence has no more waves than
    /// replicas.
    pub fn last_step(&self) -> u32 {
        match self.strategy.kind {
            Kind::BlueGreen { .. } => u32::from(self.from.is_some()),
            Kind::Rolling { .. } if self.declared_proof().is_some() => self.candidate_replicas,
            Kind::Canary { .. } | Kind::Rolling { .. } => {
                u32::try_from(self.steps().len()).unwrap_or(u32::MAX)
            }
        }
    }
}
