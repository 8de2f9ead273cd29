//! Commands become events, or are refused with the way out.

use model::assignment::HeaderRoute;
use model::check::Outcome;
use model::hook::Moment;
use model::strategy::{Kind, OnFailure, Step};
use model::{Timestamp, Weight};

use crate::checks::{self, Ticket};
use crate::event::{Event, PauseReason, RollbackReason};
use crate::hooks;
use crate::latency::Baseline;
use crate::observation::EpochTally;
use crate::rollout::{Phase, Rollout};
use crate::rules::{self, Measurement};
use crate::transitions;

/// What a planner or an operator asks of a rollout.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Planner: want these replicas and this weight.
    Move {
        /// Replicas of the old release.
        stable: u32,
        /// Replicas of the new release.
        candidate: u32,
        /// The new release's share of the requests.
        weight: Weight,
    },
    /// Planner: lead these requests to the new release, or no longer.
    LeadByHeader(HeaderRoute),
    /// Planner: more replicas than ever before are ready.
    NoteReady(u32),
    /// Planner: go to this step.
    EnterStep(u32),
    /// Planner: write down what the old release was like.
    FreezeBaseline(Baseline),
    /// Runtime: somebody set the wall clock by so many microseconds.
    StepClock(i64),
    /// Planner: write the counts down.
    Measure {
        /// The counter's life.
        instance: String,
        /// Cumulative counts.
        tallies: Vec<EpochTally>,
    },
    /// Planner: write a rule's measurement down.
    MeasureRule(Measurement),
    /// What a check or a hook found.
    NoteCheck {
        /// For what.
        ticket: Ticket,
        /// What.
        outcome: Outcome,
    },
    /// Planner: run a hook.
    BeginHook {
        /// When in the rollout.
        moment: Moment,
        /// Its index.
        hook: u32,
    },
    /// Runtime: a control begins, and the hooks that the last one ran died with it.
    LoseHooks,
    /// Planner: stand still.
    Hold(PauseReason),
    /// Planner: the new release takes all requests.
    Conclude,
    /// Planner: go back.
    RollBack(RollbackReason),
    /// Planner: no request starts on the new release any more.
    ConfirmRollback,
    /// Planner, or the next rollout: let the old release go.
    Complete,
    /// Operator: go on from a pause, or past the rest of the steps.
    Promote {
        /// Past all steps.
        full: bool,
    },
    /// Operator: stand still.
    Pause,
    /// Operator: go back.
    Abort,
}

/// Why a command is not carried out, and what can be done instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Refusal {
    /// In words.
    pub what: String,
    /// The way out, in words.
    pub instead: String,
}

impl Refusal {
    /// A refusal with its way out.
    pub fn new(what: impl Into<String>, instead: impl Into<String>) -> Self {
        Self { what: what.into(), instead: instead.into() }
    }
}

/// Turns a command into the events that carry it out. No event means that there is nothing to do.
///
/// # Errors
/// When the command makes no sense in this phase.
pub fn decide(rollout: &Rollout, command: Command, _at: Timestamp) -> Result<Vec<Event>, Refusal> {
    let events = match command {
        Command::Move { stable, candidate, weight } => moved(rollout, stable, candidate, weight),
        Command::LeadByHeader(route) if rollout.leads(&route) => vec![],
        Command::LeadByHeader(route) => vec![Event::HeaderRouted { route, epoch: rollout.epoch.next() }],
        Command::NoteReady(ready) if ready > rollout.most_ready => vec![Event::Readied { ready }],
        Command::NoteReady(_) => vec![],
        Command::EnterStep(step) => vec![Event::StepEntered { step }],
        Command::FreezeBaseline(baseline) => vec![Event::BaselineFrozen(baseline)],
        Command::StepClock(by_us) => vec![Event::ClockStepped { by_us }],
        Command::Measure { instance, tallies } => {
            let tallies = rollout.book.news(&instance, &tallies);
            if tallies.is_empty() { vec![] } else { vec![Event::Measured { instance, tallies }] }
        }
        Command::MeasureRule(measurement) => vec![Event::RuleMeasured(measurement)],
        Command::NoteCheck { ticket, outcome } => {
            // One that is over was overtaken: it counts for nothing.
            let measured = || checks::measured(rollout, ticket, &outcome).map(Event::RuleMeasured);
            hooks::ended(rollout, ticket, &outcome).or_else(measured).into_iter().collect()
        }
        Command::BeginHook { moment, hook } => hooks::begun(rollout, moment, hook).into_iter().collect(),
        Command::LoseHooks => hooks::lost(rollout),
        Command::Hold(reason) => vec![Event::Paused { reason }],
        Command::Conclude => vec![Event::Promoted],
        Command::RollBack(reason) => failed(rollout, reason),
        Command::ConfirmRollback => vec![Event::RolledBack],
        Command::Complete => complete(rollout),
        Command::Promote { full } => promote(rollout, full)?,
        Command::Pause => pause(rollout)?,
        Command::Abort => abort(rollout)?,
    };
    let mut phase = rollout.phase.name();
    for event in &events {
        phase = transitions::next(phase, event.name()).ok_or_else(|| {
            Refusal::new(
                format!(
                    "{} makes no sense while the rollout is {}",
                    event.name(),
                    phase_in_words(&rollout.phase)
                ),
                "look at `shipshape status`",
            )
        })?;
    }
    Ok(events)
}

fn moved(rollout: &Rollout, stable: u32, candidate: u32, weight: Weight) -> Vec<Event> {
    let mut events = Vec::new();
    if (stable, candidate) != (rollout.wanted_stable, rollout.wanted_candidate) {
        events.push(Event::Scaled { stable, candidate });
    }
    // The last shift of the way back takes the header routes with it, even where the weight was zero all along.
    let lifts = weight == Weight::NONE
        && matches!(rollout.phase, Phase::RollingBack(_))
        && !rollout.header_routes().is_empty();
    if weight != rollout.weight || lifts {
        events.push(Event::Shifted { weight, epoch: rollout.epoch.next() });
    }
    events
}

/// The way back, or a standstill where that is declared.
fn failed(rollout: &Rollout, reason: RollbackReason) -> Vec<Event> {
    // Before anything has moved, the way back costs nothing.
    if rollout.awaits_hooks() {
        return vec![Event::RollbackBegun { reason }];
    }
    match rollout.strategy.on_failure {
        OnFailure::Rollback => vec![Event::RollbackBegun { reason }],
        OnFailure::Freeze if rollout.is_frozen() => vec![],
        OnFailure::Freeze => vec![Event::Paused { reason: PauseReason::Frozen(reason) }],
    }
}

fn complete(rollout: &Rollout) -> Vec<Event> {
    let mut events = Vec::new();
    if rollout.wanted_stable > 0 {
        events.push(Event::Scaled { stable: 0, candidate: rollout.wanted_candidate });
    }
    events.push(Event::Completed);
    events
}

fn promote(rollout: &Rollout, full: bool) -> Result<Vec<Event>, Refusal> {
    let step = if full { rollout.last_step() } else { rollout.step };
    let at_pause = matches!(rollout.current_step(), Some(Step::Pause { .. } | Step::Analysis { .. }))
        || rollout.is_before_the_switch()
        || rollout.asks_for_evidence();
    match &rollout.phase {
        Phase::Progressing if rollout.awaits_hooks() => Err(Refusal::new(
            "the hooks before the rollout have not passed yet, and nobody goes past them",
            "`shipshape status` says which is running; `shipshape abort` ends it and goes back",
        )),
        Phase::Paused(_) if full => Ok(vec![Event::Resumed { step }]),
        Phase::Paused(PauseReason::Operator | PauseReason::Frozen(_)) => Ok(vec![Event::Resumed { step }]),
        Phase::Paused(PauseReason::Step | PauseReason::Inconclusive(_)) => {
            Ok(vec![Event::Resumed { step: if at_pause { step + 1 } else { step } }])
        }
        Phase::Progressing if full && rollout.step < step => Ok(vec![Event::StepEntered { step }]),
        Phase::Progressing if rollout.is_before_the_switch() && rollout.has_unfinished_run() => {
            Err(Refusal::new(
                "the preview has not passed its prePromotionAnalysis yet",
                "`shipshape status` says what is still measured; `shipshape promote --full` skips the rest of it, \
                 `shipshape abort` goes back",
            ))
        }
        Phase::Progressing if at_pause => Ok(vec![Event::StepEntered { step: step + 1 }]),
        Phase::Progressing => Err(match rollout.strategy.kind {
            Kind::Rolling { .. } => Refusal::new(
                "a rolling update moves by itself: there is nothing to promote",
                "`shipshape status` says what it waits for",
            ),
            Kind::BlueGreen { .. } => Refusal::new(
                "the preview is promoted already: the switch is under way",
                "`shipshape status` says what it waits for",
            ),
            Kind::Canary { .. } if rollout.current_step().is_none() => Refusal::new(
                "no step is left: the canary is on its way to all requests",
                "`shipshape status` says what it waits for",
            ),
            Kind::Canary { .. } => Refusal::new(
                "the canary is on its way to the next weight: there is nothing to promote",
                "wait for a pause, or `shipshape promote --full` to skip the rest of the steps",
            ),
        }),
        // What was inconclusive after the switch is accepted, and what is not measured yet when that is said in full.
        Phase::Promoted if full && rollout.is_proving() => Ok(complete(rollout)),
        Phase::Promoted if rules::inconclusive(rollout.run_states()).is_some() => Ok(accepted(rollout)),
        Phase::Promoted if rollout.has_unfinished_run() => Err(unfinished(rollout)),
        Phase::Promoted if rollout.lacks_evidence() => Ok(accepted(rollout)),
        Phase::Promoted if rollout.has_hooks_to_run() => Err(unfinished(rollout)),
        Phase::Promoted | Phase::Completed => Err(Refusal::new(
            format!("release {} already takes all requests", rollout.to),
            "nothing is left to do",
        )),
        Phase::RollingBack(_) | Phase::RolledBack(_) => Err(Refusal::new(
            format!("release {} is on its way back", rollout.to),
            "deploy it again once the rollback is done",
        )),
    }
}

/// Somebody answers for what was left open: what follows is the rest.
fn accepted(rollout: &Rollout) -> Vec<Event> {
    if rollout.has_hooks_to_run() {
        return vec![Event::Resumed { step: rollout.step }];
    }
    complete(rollout)
}

fn unfinished(rollout: &Rollout) -> Refusal {
    Refusal::new(
        unproved(rollout, ""),
        "`shipshape status` says what it waits for; `shipshape promote --full` accepts it as it is and skips the rest, \
         `shipshape rollback` goes back",
    )
}

/// What a release that takes all requests still lacks, in words; `at` names its place.
pub fn unproved(rollout: &Rollout, at: &str) -> String {
    let to = rollout.to;
    if rollout.has_unfinished_run() {
        format!("release {to}{at} has not passed its postPromotionAnalysis yet")
    } else if rollout.lacks_evidence() {
        format!("there is not enough evidence for release {to}{at} yet")
    } else {
        format!("release {to}{at} has not run its hooks after the rollout yet")
    }
}

fn pause(rollout: &Rollout) -> Result<Vec<Event>, Refusal> {
    match &rollout.phase {
        Phase::Progressing => Ok(vec![Event::Paused { reason: PauseReason::Operator }]),
        Phase::Paused(reason) => Err(Refusal::new(
            format!("the rollout is paused already: {reason}"),
            "`shipshape promote` goes on, `shipshape abort` goes back",
        )),
        Phase::Promoted | Phase::RollingBack(_) | Phase::Completed | Phase::RolledBack(_) => {
            Err(Refusal::new(
                format!("the rollout is {}: there is nothing to pause", phase_in_words(&rollout.phase)),
                "`shipshape status` says where it is",
            ))
        }
    }
}

fn abort(rollout: &Rollout) -> Result<Vec<Event>, Refusal> {
    match &rollout.phase {
        Phase::Progressing | Phase::Paused(_) | Phase::Promoted => {
            Ok(vec![Event::RollbackBegun { reason: RollbackReason::Operator }])
        }
        Phase::RollingBack(reason) => Err(Refusal::new(
            format!("the rollout is on its way back already ({reason})"),
            "`shipshape status` says what it waits for",
        )),
        Phase::Completed | Phase::RolledBack(_) => Err(Refusal::new(
            format!("the rollout is {}: there is nothing to abort", phase_in_words(&rollout.phase)),
            "`shipshape rollback` returns to an earlier release",
        )),
    }
}

/// The phase as people say it.
pub fn phase_in_words(phase: &Phase) -> &'static str {
    match phase {
        Phase::Progressing => "progressing",
        Phase::Paused(_) => "paused",
        Phase::Promoted => "promoted",
        Phase::RollingBack(_) => "rolling back",
        Phase::Completed => "completed",
        Phase::RolledBack(_) => "rolled back",
    }
}
