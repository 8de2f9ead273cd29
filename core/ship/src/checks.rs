//! Looks at the new release from outside, and hooks beside it: which are wanted now, what their outcome counts for, and how
//! they are told.
//!
//! The planner only says which looks are wanted; whoever carries them out brings the outcome back with its [`Ticket`]. An
//! outcome whose ticket is over (another measurement was taken since, the step or the rollout is over) counts for nothing.
//! Does not live here: carrying them out (`ports::Checks`, `runtime`).

use model::check::{Check, Outcome, Verdict};
use model::hook::Moment;
use model::strategy::{Kind, Metric, Strategy};
use model::time::format_duration;
use model::{RolloutNumber, Timestamp};

use crate::hooks;
use crate::observation::Observation;
use crate::plan::watch::{self, MEASURE_EVERY_PAUSED};
use crate::rollout::{Phase, Rollout};
use crate::rules::{self, Measurement, Reading, Run, State};

/// How many characters of a check's words are written down.
const MOST_CHARACTERS: usize = 1_000;

/// What somebody is to carry out once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ticket {
    /// One measurement. It is over once the rule has taken another.
    Measurement {
        /// For which rollout.
        rollout: RolloutNumber,
        /// For which run.
        run: Run,
        /// For which of its rules.
        rule: u32,
        /// How many measurements were tried before it in its run.
        tries: u32,
        /// When the last of them was tried, or the run began: a run may begin anew.
        after: Timestamp,
    },
    /// One attempt of a hook. No clock is part of it: whoever sets one runs no migration twice.
    Hook {
        /// For which rollout.
        rollout: RolloutNumber,
        /// When in the rollout.
        moment: Moment,
        /// Which of them.
        hook: u32,
        /// Which attempt.
        attempt: u32,
    },
}

impl Ticket {
    /// The next measurement of a rule.
    pub(crate) fn next(rollout: &Rollout, run: Run, rule: u32, state: &State) -> Self {
        let (tries, after) = (state.tries, state.last_at);
        Self::Measurement { rollout: rollout.number, run, rule, tries, after }
    }
}

/// A check that is wanted now, whether it is under way already or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// For what.
    pub ticket: Ticket,
    /// What is to be done.
    pub check: Check,
}

/// A check under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// For what.
    pub ticket: Ticket,
    /// Since when.
    pub since: Timestamp,
}

/// Whether a strategy ever looks from outside.
pub fn looks(strategy: &Strategy) -> bool {
    let of_kind: Vec<&Metric> = match &strategy.kind {
        Kind::Rolling { .. } => vec![],
        Kind::Canary { steps, .. } => steps.iter().flat_map(model::strategy::Step::metrics).collect(),
        Kind::BlueGreen { pre_promotion, post_promotion, .. } => {
            pre_promotion.iter().chain(post_promotion).collect()
        }
    };
    let mut all = strategy.analysis.metrics.iter().chain(of_kind);
    !strategy.hooks.is_empty() || all.any(|metric| metric.source.is_check())
}

/// Every check that is wanted now. One that is under way and not among them is to be ended.
pub fn wanted(rollout: &Rollout, seen: &Observation, at: Timestamp) -> Vec<Wanted> {
    let run = rollout.run().map(|(run, _)| run);
    let mut wanted: Vec<Wanted> = hooks::wanted(rollout).collect();
    for run in std::iter::once(Run::Background).chain(run) {
        let Some((metrics, states)) = rollout.rules_of(run) else { continue };
        let has_baked = rollout.bakes_until().is_some_and(|until| at >= until);
        if !watch::is_open(rollout, run) || (run == Run::Background && has_baked) {
            continue;
        }
        let may_begin = seen.reachable && watch::may_begin(rollout, seen, run);
        for (rule, (metric, state)) in (0..).zip(metrics.iter().zip(states)) {
            if !metric.source.is_check() {
                continue;
            }
            let ticket = Ticket::next(rollout, run, rule, state);
            if is_begun(seen, ticket) || (may_begin && is_due(rollout, metric, state, at)) {
                wanted.extend(metric.source.check().map(|check| Wanted { ticket, check }));
            }
        }
    }
    wanted
}

fn is_due(rollout: &Rollout, metric: &Metric, state: &State, at: Timestamp) -> bool {
    // Whoever could not look for so long is heard no more often than somebody may read it.
    let seldom = matches!(rollout.phase, Phase::Paused(_)) || state.has_failed_to_measure(metric);
    let shortest = if seldom { MEASURE_EVERY_PAUSED } else { std::time::Duration::ZERO };
    state.due(metric, shortest).is_some_and(|due| at >= due)
}

/// Since when the check for the next measurement of a rule is under way.
pub(crate) fn since(
    rollout: &Rollout,
    seen: &Observation,
    run: Run,
    rule: u32,
    state: &State,
) -> Option<Timestamp> {
    let ticket = Ticket::next(rollout, run, rule, state);
    seen.checks.iter().find(|begun| begun.ticket == ticket).map(|begun| begun.since)
}

pub(crate) fn is_begun(seen: &Observation, ticket: Ticket) -> bool {
    seen.checks.iter().any(|begun| begun.ticket == ticket)
}

/// The measurement that an outcome is; `None` when its ticket is over.
pub(crate) fn measured(rollout: &Rollout, ticket: Ticket, outcome: &Outcome) -> Option<Measurement> {
    let Ticket::Measurement { run, rule, .. } = ticket else { return None };
    let (metrics, states) = rollout.rules_of(run)?;
    let index = rule as usize;
    let (metric, state) = (metrics.get(index)?, states.get(index)?);
    let is_over = ticket != Ticket::next(rollout, run, rule, state) || state.is_done(metric);
    if is_over || !metric.source.is_check() || !watch::is_open(rollout, run) {
        return None;
    }
    Some(Measurement {
        run,
        rule,
        value: outcome.value,
        outcome: meaning(metric, outcome),
        detail: Some(shortened(&outcome.detail)),
        reading: Reading::default(),
    })
}

/// As many of these words as are written down.
pub(crate) fn shortened(words: &str) -> String {
    words.chars().take(MOST_CHARACTERS).collect()
}

/// What was found is a success when it was as expected, and when the conditions, if there are any, say so too.
fn meaning(metric: &Metric, outcome: &Outcome) -> rules::Outcome {
    let has_conditions = metric.success_condition.or(metric.failure_condition).is_some();
    match (outcome.verdict, outcome.value) {
        (Verdict::Error, _) => rules::Outcome::Error,
        (Verdict::Failed, _) => rules::Outcome::Failed,
        (Verdict::Inconclusive, _) => rules::Outcome::Inconclusive,
        (Verdict::Passed, _) if !has_conditions => rules::Outcome::Successful,
        (Verdict::Passed, Some(value)) => rules::outcome(metric, value),
        (Verdict::Passed, None) => rules::Outcome::Inconclusive,
    }
}

/// What a rule that somebody waits for is doing, in words. What changes by the second stands in brackets.
pub(crate) fn progress(metric: &Metric, state: &State, since: Option<Timestamp>, at: Timestamp) -> String {
    let (name, count) = (&metric.name, metric.count.unwrap_or_default());
    let check = metric.source.check();
    let Some((check, since)) = check.as_ref().zip(since) else {
        let trouble = match (&state.detail, state.errors_in_a_row) {
            (_, 0) => String::new(),
            (Some(why), errors) => format!(", the last {errors} could not be ({why})"),
            (None, errors) => format!(", the last {errors} could not be"),
        };
        return format!("{name}: {} of {count} measurements are taken{trouble}", state.taken);
    };
    let running = format_duration(std::time::Duration::from_secs(at.since(since).as_secs()));
    let tries = match state.errors_in_a_row {
        0 => String::new(),
        errors => format!(", after {errors} that could not be taken"),
    };
    format!(
        "{name}: {} under way, measurement {} of {count}{tries} (for {running} of at most {})",
        check.name(),
        state.taken + 1,
        format_duration(check.timeout())
    )
}
