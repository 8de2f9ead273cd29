//! What is watched while both releases serve: the judge, the threshold rules, and replicas that keep dying.

use std::time::Duration;

use model::Timestamp;
use model::strategy::{Metric, Source};

use super::evidence::{evidence, judged};
use crate::book::Book;
use crate::checks::{self, Ticket};
use crate::decide::Command;
use crate::event::{PauseReason, RollbackReason};
use crate::observation::{Counts, Observation};
use crate::report::{Evidence, Level};
use crate::rollout::{Phase, Rollout};
use crate::rules::{self, Reading, Run};
use crate::users;

/// How often growing counts are written down while a rollout moves; a verdict is written down at once.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// The same while it is paused, which may be for days; rules measure no more often then either.
pub(crate) const MEASURE_EVERY_PAUSED: Duration = Duration::from_secs(30);

/// What watching found.
pub(super) struct Watched {
    /// Measurements to write down, then at most one verdict.
    pub(super) commands: Vec<Command>,
    /// Whether there is a verdict.
    pub(super) decides: bool,
    /// Whether the positive evidence at this weight suffices.
    pub(super) promotable: bool,
    /// The new release's counts at this weight.
    pub(super) at_this_weight: Counts,
    /// What speaks for the release at this weight, and what is counted there.
    pub(super) in_favour: Counts,
    pub(super) unit: &'static str,
    /// What is still to be measured of the run that the rollout waits for; `None` when nothing is.
    pub(super) run_waits_for: Option<String>,
    /// Why that run is inconclusive, when it is.
    pub(super) run_is_inconclusive: Option<String>,
    /// For the report.
    pub(super) evidence: Evidence,
}

pub(super) fn watch(rollout: &Rollout, seen: &Observation, at: Timestamp) -> Watched {
    let mut book = rollout.book.clone();
    book.enter(&seen.instance, &seen.tallies);
    let mut states = rollout.rules.clone();
    let mut run_states = rollout.run_rules.clone();
    let bakes = rollout.bakes_until().is_some_and(|until| at < until);
    let watching = matches!(rollout.phase, Phase::Progressing | Phase::Paused(_)) || bakes;

    let mut commands = Vec::new();
    if watching {
        commands.extend(measure_rules(rollout, seen, &book, Run::Background, &mut states, at));
    }
    let runs = |run| is_open(rollout, run) && may_begin(rollout, seen, run);
    if let Some((run, _)) = rollout.run().filter(|(run, _)| runs(*run)) {
        commands.extend(measure_rules(rollout, seen, &book, run, &mut run_states, at));
    }
    let evidence = evidence(rollout, seen, &book, &states, &run_states);
    let metrics = || rollout.strategy.analysis.metrics.iter().zip(&states);
    let run_metrics = rollout.run().map_or(&[][..], |(_, metrics)| metrics);
    let of_run = || run_metrics.iter().zip(&run_states);
    // While hooks run, nothing has moved: what there is to say is theirs.
    let verdict = if rollout.overruled || rollout.is_frozen() || rollout.awaits_hooks() {
        None
    } else if watching {
        verdict(rollout, seen, &evidence, metrics().chain(of_run()))
    } else {
        warm_verdict(rollout, seen, of_run())
    };
    let run_waits_for =
        (0..).zip(of_run()).find(|(_, (metric, state))| !metric.dry_run && !state.is_done(metric));
    let run = rollout.run().map_or(Run::Background, |(run, _)| run);
    let run_waits_for = run_waits_for.map(|(rule, (metric, state))| {
        checks::progress(metric, state, checks::since(rollout, seen, run, rule, state), at)
    });
    let counting = watching || rollout.is_kept_for_evidence();
    if counting && (verdict.is_some() || counts_are_due(rollout, seen, at)) {
        let tallies = rollout.book.news(&seen.instance, &seen.tallies);
        if !tallies.is_empty() {
            commands.push(Command::Measure { instance: seen.instance.clone(), tallies });
        }
    }
    let decides = verdict.is_some();
    commands.extend(verdict);
    Watched {
        commands,
        decides,
        promotable: evidence.for_it.is_some_and(Level::decides),
        at_this_weight: book.candidate_in(rollout.epoch),
        in_favour: users::in_favour(rollout, &book),
        unit: if rollout.session_affinity().is_some() { "users" } else { "requests" },
        run_waits_for,
        run_is_inconclusive: rules::inconclusive(of_run()),
        evidence,
    }
}

fn counts_are_due(rollout: &Rollout, seen: &Observation, at: Timestamp) -> bool {
    // Each life has its own part of alpha where users are counted, so none may go by unnoticed.
    if rollout.session_affinity().is_some() && !rollout.book.is_of(&seen.instance) {
        return true;
    }
    let every = match rollout.phase {
        Phase::Paused(_) => MEASURE_EVERY_PAUSED,
        // It may wait for evidence for days.
        Phase::Promoted if rollout.bakes_until().is_none_or(|until| at >= until) && is_late(rollout, at) => {
            MEASURE_EVERY_PAUSED
        }
        Phase::Progressing
        | Phase::Promoted
        | Phase::RollingBack(_)
        | Phase::Completed
        | Phase::RolledBack(_) => MEASURE_EVERY,
    };
    at.since(rollout.measured_at) >= every
}

fn is_late(rollout: &Rollout, at: Timestamp) -> bool {
    at >= rollout.progressed_at.after(rollout.strategy.progress_deadline)
}

fn measure_rules(
    rollout: &Rollout,
    seen: &Observation,
    book: &Book,
    run: Run,
    states: &mut [rules::State],
    at: Timestamp,
) -> Vec<Command> {
    let Some((metrics, _)) = rollout.rules_of(run).filter(|_| is_open(rollout, run)) else {
        return Vec::new();
    };
    let reading = seen.reachable.then(|| Reading {
        instance: seen.instance.clone(),
        counts: book.candidate_by(&seen.instance),
        latency: seen.candidate_latency.clone(),
        restarts: Vec::new(),
    });
    let paused = matches!(rollout.phase, Phase::Paused(_));
    let shortest = if paused { MEASURE_EVERY_PAUSED } else { Duration::ZERO };
    let mut commands = Vec::new();
    for (index, (metric, state)) in metrics.iter().zip(states).enumerate() {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let ticket = Ticket::next(rollout, run, index, state);
        // A check brings its own measurement; only that nobody can be asked is said here, unless it asks already.
        if metric.source.is_check() && (reading.is_some() || checks::is_begun(seen, ticket)) {
            continue;
        }
        // An agent that is away may stay so for days: after the verdict, further errors say nothing new.
        let is_told = reading.is_none() && state.has_failed_to_measure(metric);
        let begins = !state.begun && reading.is_some();
        if begins || (!is_told && state.due(metric, shortest).is_some_and(|due| at >= due)) {
            let seconds = at.since(state.read_at).as_secs_f64();
            let mut reading = reading.clone();
            if let (Some(reading), Source::Restarts) = (&mut reading, &metric.source) {
                reading.restarts.clone_from(&seen.candidate_restarts);
            }
            let measurement = rules::measure((run, index), metric, state, reading.as_ref(), seconds);
            state.apply(&measurement, at);
            commands.push(Command::MeasureRule(measurement));
        }
    }
    commands
}

/// Whether the rules of a run are measured in this phase of the rollout.
pub(crate) fn is_open(rollout: &Rollout, run: Run) -> bool {
    match run {
        Run::Background => {
            let moves = matches!(rollout.phase, Phase::Progressing | Phase::Paused(_));
            (moves || rollout.bakes_until().is_some()) && rollout.is_used()
        }
        Run::Step(_) | Run::PrePromotion => rollout.phase == Phase::Progressing,
        Run::PostPromotion => is_warm(rollout),
    }
}

/// Whether there is something to measure yet: of a preview, once it stands and can be reached.
pub(crate) fn may_begin(rollout: &Rollout, seen: &Observation, run: Run) -> bool {
    match run {
        Run::Background | Run::Step(_) | Run::PostPromotion => true,
        Run::PrePromotion => {
            seen.reachable && seen.in_force && seen.candidate.ready >= rollout.preview_size()
        }
    }
}

/// Whether the old release is kept for a way back from the promoted one.
fn is_warm(rollout: &Rollout) -> bool {
    rollout.phase == Phase::Promoted && rollout.from.is_some() && rollout.wanted_stable > 0
}

/// While the old release is still warm, a promoted one goes back that keeps dying or fails its analysis.
fn warm_verdict<'a>(
    rollout: &Rollout,
    seen: &Observation,
    run: impl Iterator<Item = (&'a Metric, &'a rules::State)>,
) -> Option<Command> {
    if !is_warm(rollout) {
        return None;
    }
    let crash_loop = seen.candidate.crash_loop.clone().map(RollbackReason::CrashLoop);
    crash_loop.or_else(|| rules::failed(run).map(RollbackReason::Rule)).map(Command::RollBack)
}

/// Whether somebody can take over when the judge decides: a warm release that is not ready itself suffers from the same
/// trouble, as far as anybody can tell.
fn may_judge(rollout: &Rollout, seen: &Observation) -> bool {
    !is_warm(rollout) || seen.stable.ready >= rollout.stable_replicas
}

/// At most one verdict: what rolls back goes before what pauses.
fn verdict<'a>(
    rollout: &Rollout,
    seen: &Observation,
    evidence: &Evidence,
    rules: impl Iterator<Item = (&'a Metric, &'a rules::State)>,
) -> Option<Command> {
    if let Some(why) = &seen.candidate.crash_loop {
        return Some(Command::RollBack(RollbackReason::CrashLoop(why.clone())));
    }
    if let Some(level) = evidence.against.filter(|level| level.decides() && may_judge(rollout, seen)) {
        return Some(Command::RollBack(RollbackReason::Judge(judged(evidence, level))));
    }
    let rules: Vec<_> = rules.collect();
    if let Some(why) = rules::failed(rules.iter().copied()) {
        return Some(Command::RollBack(RollbackReason::Rule(why)));
    }
    // While it bakes, what is inconclusive is in the report and stops nothing: all requests are shifted already.
    if rollout.phase != Phase::Progressing {
        return None;
    }
    rules::inconclusive(rules.into_iter()).map(|why| Command::Hold(PauseReason::Inconclusive(why)))
}
