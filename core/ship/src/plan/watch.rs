//! What is watched while both releases serve: the judge, the threshold rules, and replicas that keep dying.

use std::time::Duration;

use model::strategy::{Metric, Promotion};
use model::{Timestamp, Weight};

use crate::book::Book;
use crate::decide::Command;
use crate::event::{PauseReason, RollbackReason};
use crate::judge;
use crate::observation::{Counts, Observation};
use crate::report::{Evidence, Level, RuleEvidence};
use crate::rollout::{Phase, Rollout};
use crate::rules::{self, Reading, Run, Verdict};

/// How often growing counts are written down while a rollout moves; a verdict is written down at once.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// The same while it is paused, which may be for days; rules measure no more often then either.
const MEASURE_EVERY_PAUSED: Duration = Duration::from_secs(30);

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
    /// What an analysis step waits for; `None` when nothing, or in another step.
    pub(super) step_waits_for: Option<String>,
    /// For the report.
    pub(super) evidence: Evidence,
}

pub(super) fn watch(rollout: &Rollout, seen: &Observation, at: Timestamp) -> Watched {
    let mut book = rollout.book.clone();
    book.enter(&seen.instance, &seen.tallies);
    let mut states = rollout.rules.clone();
    let mut step_states = rollout.step_rules.clone();
    let watching = matches!(rollout.phase, Phase::Progressing | Phase::Paused(_));

    let mut commands = Vec::new();
    if watching {
        commands.extend(measure_rules(rollout, seen, &book, Run::Background, &mut states, at));
    }
    if rollout.phase == Phase::Progressing {
        commands.extend(measure_rules(rollout, seen, &book, Run::Step(rollout.step), &mut step_states, at));
    }
    let evidence = evidence(rollout, &book, &states, &step_states);
    let metrics = || rollout.strategy.analysis.metrics.iter().zip(&states);
    let step_metrics = || rollout.step_metrics().iter().zip(&step_states);
    let verdict = if watching {
        verdict(rollout, seen, &evidence, metrics().chain(step_metrics()))
    } else {
        warm_verdict(rollout, seen)
    };
    let step_waits_for = step_metrics().find(|(metric, state)| !metric.dry_run && !state.is_done(metric));
    let step_waits_for = step_waits_for.map(|(Metric { name, count, .. }, state)| {
        format!("{name}: {} of {} measurements are taken", state.taken, count.unwrap_or_default())
    });
    if watching && (verdict.is_some() || counts_are_due(rollout, at)) {
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
        step_waits_for,
        evidence,
    }
}

fn counts_are_due(rollout: &Rollout, at: Timestamp) -> bool {
    let every = match rollout.phase {
        Phase::Paused(_) => MEASURE_EVERY_PAUSED,
        Phase::Progressing
        | Phase::Promoted
        | Phase::RollingBack(_)
        | Phase::Completed
        | Phase::RolledBack(_) => MEASURE_EVERY,
    };
    at.since(rollout.measured_at) >= every
}

fn measure_rules(
    rollout: &Rollout,
    seen: &Observation,
    book: &Book,
    run: Run,
    states: &mut [rules::State],
    at: Timestamp,
) -> Vec<Command> {
    let metrics = match run {
        Run::Background if rollout.weight == Weight::NONE => return Vec::new(),
        Run::Background => rollout.strategy.analysis.metrics.as_slice(),
        Run::Step(_) => rollout.step_metrics(),
    };
    let reading = seen.reachable.then(|| Reading {
        instance: seen.instance.clone(),
        counts: book.candidate_by(&seen.instance),
        latency: seen.candidate_latency.clone(),
    });
    let paused = matches!(rollout.phase, Phase::Paused(_));
    let shortest = if paused { MEASURE_EVERY_PAUSED } else { Duration::ZERO };
    let mut commands = Vec::new();
    for (index, (metric, state)) in metrics.iter().zip(states).enumerate() {
        // An agent that is away may stay so for days: after the verdict, further errors say nothing new.
        let is_told = reading.is_none() && state.has_failed_to_measure(metric);
        let begins = !state.begun && reading.is_some();
        if begins || (!is_told && state.due(metric, shortest).is_some_and(|due| at >= due)) {
            let seconds = at.since(state.read_at).as_secs_f64();
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let measurement = rules::measure((run, index), metric, state, reading.as_ref(), seconds);
            state.apply(&measurement, at);
            commands.push(Command::MeasureRule(measurement));
        }
    }
    commands
}

fn evidence(
    rollout: &Rollout,
    book: &Book,
    states: &[rules::State],
    step_states: &[rules::State],
) -> Evidence {
    let (candidate, stable) = book.totals();
    let judge = rollout.strategy.analysis.judge.as_ref();
    let against = judge
        .map(|judge| Level::new(judge::ln_evidence_against(&book.stretches(), judge.tolerance), judge.alpha));
    let for_it = judge.and_then(|judge| match judge.promotion {
        Promotion::Time => None,
        Promotion::Evidence { max_error_rate, beta } => {
            let counts = book.candidate_in(rollout.epoch);
            Some(Level::new(judge::ln_evidence_for(counts, max_error_rate), beta))
        }
    });
    let told = |step: Option<u32>| {
        move |(metric, state): (&Metric, &rules::State)| RuleEvidence {
            name: metric.name.clone(),
            last_value: state.last_value,
            taken: state.taken,
            failed: state.failed,
            inconclusive: state.inconclusive,
            step,
            dry_run: metric.dry_run,
        }
    };
    let background = rollout.strategy.analysis.metrics.iter().zip(states).map(told(None));
    let of_step = rollout.step_metrics().iter().zip(step_states).map(told(Some(rollout.step)));
    let rules = background.chain(of_step).collect();
    Evidence { candidate, stable, against, for_it, rules }
}

/// While the old release is still warm, a promoted one that keeps dying goes back.
fn warm_verdict(rollout: &Rollout, seen: &Observation) -> Option<Command> {
    let warm = rollout.phase == Phase::Promoted && rollout.from.is_some() && rollout.wanted_stable > 0;
    let why = seen.candidate.crash_loop.as_ref().filter(|_| warm)?;
    Some(Command::RollBack(RollbackReason::CrashLoop(why.clone())))
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
    if let Some(level) = evidence.against.filter(|level| level.decides()) {
        return Some(Command::RollBack(RollbackReason::Judge(judged(evidence, level))));
    }
    let decide = rules.filter(|(metric, _)| !metric.dry_run);
    let verdicts: Vec<Verdict> = decide.map(|(metric, state)| state.verdict(metric)).collect();
    let failed = verdicts.iter().find_map(|verdict| match verdict {
        Verdict::Failed(why) => Some(Command::RollBack(RollbackReason::Rule(why.clone()))),
        Verdict::Fine | Verdict::Inconclusive(_) => None,
    });
    let paused = matches!(rollout.phase, Phase::Paused(_));
    let inconclusive = verdicts.iter().find_map(|verdict| match verdict {
        Verdict::Inconclusive(why) if !paused => Some(Command::Hold(PauseReason::Inconclusive(why.clone()))),
        Verdict::Inconclusive(_) | Verdict::Fine | Verdict::Failed(_) => None,
    });
    failed.or(inconclusive)
}

fn judged(evidence: &Evidence, level: Level) -> String {
    let rate = |counts: Counts| {
        let percent = counts.error_rate().unwrap_or(0.0) * 100.0;
        format!("{} errors in {} requests ({percent:.2}%)", counts.errors, counts.requests)
    };
    format!(
        "new release {}, old release {}: evidence {:.0} against a threshold of {:.0}",
        rate(evidence.candidate),
        rate(evidence.stable),
        level.e,
        level.threshold
    )
}
