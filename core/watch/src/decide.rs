//! Commands become events, or are refused with the way out.

use model::objective::Severity;
use model::{ReleaseNumber, RolloutNumber, Timestamp};

use crate::alert::{To, can_become};
use crate::burn::{Cause, Rule};
use crate::charge::Charge;
use crate::event::Event;
use crate::exclusion::MOST;
use crate::level::Level;
use crate::minutes::{Range, begin_of, minute_of};
use crate::state::State;

/// The longest correction in minutes: a week. More at once is a mistake, or another target.
const LONGEST_CORRECTION: u64 = 7 * 1_440;
/// The longest reason in bytes.
const LONGEST_REASON: usize = 1_000;

/// What a planner or an operator asks of an objective.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Planner: its budget allows something else.
    ChangeLevel {
        /// What it allows now.
        level: Level,
        /// What is left, in parts of a million.
        remaining: i64,
        /// Why, in words.
        why: String,
    },
    /// Planner: an alert comes to stand elsewhere.
    ChangeAlert {
        /// Which.
        rule: Rule,
        /// Where.
        to: To,
        /// How urgent.
        severity: Severity,
        /// Why.
        cause: Option<Cause>,
    },
    /// Operator: these minutes do not count.
    Correct {
        /// Which.
        range: Range,
        /// Who asks.
        by: String,
        /// Why.
        reason: String,
    },
    /// Operator: these minutes count again.
    Restore {
        /// Which.
        range: Range,
        /// Who asks.
        by: String,
        /// Why.
        reason: String,
    },
    /// Runtime: a rollout and its bake are over.
    Charge {
        /// Which rollout.
        rollout: RolloutNumber,
        /// To which release.
        release: ReleaseNumber,
        /// What it burned.
        charge: Charge,
    },
}

/// Why a command is not carried out, and what can be done instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Refusal {
    /// In words.
    pub what: String,
    /// What to do.
    pub way_out: String,
}

fn refuse(what: impl Into<String>, way_out: impl Into<String>) -> Refusal {
    Refusal { what: what.into(), way_out: way_out.into() }
}

/// What a command makes happen; nothing when it has happened already.
///
/// # Errors
/// When it cannot be carried out.
pub fn decide(state: &State, command: Command, at: Timestamp) -> Result<Vec<Event>, Refusal> {
    match command {
        Command::ChangeLevel { level, .. } if level == state.level => Ok(vec![]),
        Command::ChangeLevel { level, remaining, why } => {
            Ok(vec![Event::LevelChanged { level, remaining, why }])
        }
        Command::ChangeAlert { rule, to, severity, cause } => {
            let from = state.alerts.get(&rule).map(|alert| alert.phase);
            if !can_become(from, to) {
                let what = format!("the alert {} cannot become {to:?} from {from:?}", rule.name());
                return Err(refuse(what, "plan again from the state as it is"));
            }
            Ok(vec![Event::AlertChanged { rule, to, severity, cause }])
        }
        Command::Correct { range, by, reason } => {
            sound(range, &reason, at)?;
            let mut after = state.exclusions.clone();
            after.exclude(range);
            if after.ranges().len() > MOST {
                let what = format!("an objective has at most {MOST} corrections");
                return Err(refuse(what, "correct one longer time instead of many short ones"));
            }
            let is_new = after != state.exclusions;
            Ok(is_new.then_some(Event::Corrected { range, by, reason }).into_iter().collect())
        }
        Command::Restore { range, by, reason } => {
            sound(range, &reason, at)?;
            let mut after = state.exclusions.clone();
            after.restore(range);
            let is_new = after != state.exclusions;
            Ok(is_new.then_some(Event::Restored { range, by, reason }).into_iter().collect())
        }
        Command::Charge { rollout, .. } if state.charges.contains_key(&rollout) => Ok(vec![]),
        Command::Charge { rollout, release, charge } => Ok(vec![Event::Charged { rollout, release, charge }]),
    }
}

/// Whether minutes can be corrected.
fn sound(range: Range, reason: &str, at: Timestamp) -> Result<(), Refusal> {
    if range.is_empty() {
        return Err(refuse(
            "a correction of no minute",
            "name an end after the beginning, a minute later or more",
        ));
    }
    if range.len() > LONGEST_CORRECTION {
        let what = format!("a correction has at most 7 days, and this one has {} minutes", range.len());
        return Err(refuse(what, "correct each week by itself, or declare another target"));
    }
    // The future is not known: maintenance is planned by the change calendar, and corrected when it is over.
    if range.to > minute_of(at) + 1 {
        let what = format!("the correction ends in the future, at {}", begin_of(range.to));
        return Err(refuse(what, format!("end it at {at} or before, and correct the rest when it is over")));
    }
    if reason.trim().is_empty() {
        return Err(refuse(
            "a correction without a reason",
            "say why these minutes do not count: `--reason ...`",
        ));
    }
    if reason.len() > LONGEST_REASON {
        let what = format!("the reason has {} bytes, and the most is {LONGEST_REASON}", reason.len());
        return Err(refuse(what, "say it in a sentence, with a link to the rest"));
    }
    Ok(())
}
