//! What happened in a rollout, in past tense: its whole history and its only source of truth.

use std::fmt;

use model::assignment::HeaderRoute;
use model::hook::Moment;
use model::strategy::Strategy;
use model::{Epoch, ReleaseNumber, RolloutNumber, Weight};
use serde::{Deserialize, Serialize};

use crate::hooks;
use crate::latency::Baseline;
use crate::observation::EpochTally;
use crate::rules::Measurement;

/// One thing that happened in a rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[allow(clippy::large_enum_variant, reason = "events are handled one by one and kept nowhere but as bytes")]
pub enum Event {
    /// It began. No replica and no traffic has moved yet.
    Started {
        /// Its number at this place.
        number: RolloutNumber,
        /// The release that serves now, if any.
        from: Option<ReleaseNumber>,
        /// The release that shall serve.
        to: ReleaseNumber,
        /// What asked for it.
        cause: Cause,
        /// How it shall go.
        strategy: Strategy,
        /// The full number of replicas of the old release.
        stable_replicas: u32,
        /// The full number of replicas of the new release.
        candidate_replicas: u32,
    },
    /// So many replicas are wanted of each release from now on.
    Scaled {
        /// Of the old release.
        stable: u32,
        /// Of the new release.
        candidate: u32,
    },
    /// The new release is wanted to get this share of the requests from now on.
    Shifted {
        /// Its share.
        weight: Weight,
        /// The epoch that begins.
        epoch: Epoch,
    },
    /// From now on, these requests reach the new release whatever its share; without matches, no longer.
    HeaderRouted {
        /// What it is called and which requests it leads.
        route: HeaderRoute,
        /// The epoch that begins: other requests are drawn from here on.
        epoch: Epoch,
    },
    /// More replicas of the new release were ready than ever before in this rollout.
    Readied {
        /// How many.
        ready: u32,
    },
    /// A step of the canary began; one past the last is the full promotion.
    StepEntered {
        /// Its index, from 0.
        step: u32,
    },
    /// What the old release was like was written down, before the new one got its first request.
    BaselineFrozen(Baseline),
    /// Somebody set the wall clock: every wait goes on as if nobody had.
    ClockStepped {
        /// How far it was set forward, in microseconds; negative when it was set back.
        by_us: i64,
    },
    /// The counts grew.
    Measured {
        /// The counter's life.
        instance: String,
        /// Cumulative counts of the epochs that changed.
        tallies: Vec<EpochTally>,
    },
    /// A threshold rule took a measurement.
    RuleMeasured(Measurement),
    /// A hook is run from now on. Recorded before it is: what is not in the journal never ran.
    HookBegun {
        /// When in the rollout.
        moment: Moment,
        /// Its name.
        hook: String,
        /// Which attempt this is, from 1.
        attempt: u32,
    },
    /// An attempt of a hook ended.
    HookEnded {
        /// When in the rollout.
        moment: Moment,
        /// Its name.
        hook: String,
        /// Which attempt it was.
        attempt: u32,
        /// How it ended.
        outcome: hooks::Outcome,
        /// The same in words, with the end of what it printed.
        detail: String,
    },
    /// It stands still until somebody or something moves it.
    Paused {
        /// Why.
        reason: PauseReason,
    },
    /// It goes on; of one that takes all requests: somebody answers for what its analysis or the evidence left open.
    Resumed {
        /// At this step.
        step: u32,
    },
    /// The new release takes all requests.
    Promoted,
    /// The way back began.
    RollbackBegun {
        /// Why.
        reason: RollbackReason,
    },
    /// No request starts on the new release any more.
    RolledBack,
    /// The old release was let go; the new one stands alone.
    Completed,
}

impl Event {
    /// Its name in the journal, in the table of transitions and in the diagram.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Scaled { .. } => "scaled",
            Self::Shifted { .. } => "shifted",
            Self::HeaderRouted { .. } => "headerRouted",
            Self::Readied { .. } => "readied",
            Self::StepEntered { .. } => "stepEntered",
            Self::BaselineFrozen(_) => "baselineFrozen",
            Self::ClockStepped { .. } => "clockStepped",
            Self::Measured { .. } => "measured",
            Self::RuleMeasured(_) => "ruleMeasured",
            Self::HookBegun { .. } => "hookBegun",
            Self::HookEnded { .. } => "hookEnded",
            Self::Paused { .. } => "paused",
            Self::Resumed { .. } => "resumed",
            Self::Promoted => "promoted",
            Self::RollbackBegun { .. } => "rollbackBegun",
            Self::RolledBack => "rolledBack",
            Self::Completed => "completed",
        }
    }

    /// Whether it changes what the fleet should look like.
    pub fn changes_wanted_state(&self) -> bool {
        match self {
            Self::Scaled { .. }
            | Self::Shifted { .. }
            | Self::HeaderRouted { .. }
            | Self::RolledBack
            | Self::Completed => true,
            Self::Started { .. }
            | Self::Readied { .. }
            | Self::StepEntered { .. }
            | Self::Measured { .. }
            | Self::RuleMeasured(_)
            | Self::HookBegun { .. }
            | Self::HookEnded { .. }
            | Self::Paused { .. }
            | Self::Resumed { .. }
            | Self::BaselineFrozen(_)
            | Self::ClockStepped { .. }
            | Self::Promoted
            | Self::RollbackBegun { .. } => false,
        }
    }
}

/// What asked for a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// A new artifact or configuration.
    Deploy,
    /// A release that served in another environment.
    Promotion,
    /// A return to an earlier release after the rollout had ended.
    Rollback,
}

/// Why a rollout stands still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "detail", rename_all = "camelCase")]
pub enum PauseReason {
    /// The strategy says so: a pause without a duration.
    Step,
    /// Somebody paused it.
    Operator,
    /// The evidence speaks neither for nor against; in words.
    Inconclusive(String),
    /// It failed, and must not go back by itself.
    Frozen(RollbackReason),
}

impl fmt::Display for PauseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step => f.write_str("the strategy pauses here until it is promoted"),
            Self::Operator => f.write_str("an operator paused it"),
            Self::Inconclusive(why) => write!(f, "inconclusive: {why}"),
            Self::Frozen(why) => write!(f, "frozen: {why}"),
        }
    }
}

/// Why a rollout goes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "detail", rename_all = "camelCase")]
pub enum RollbackReason {
    /// The judge's verdict, in words.
    Judge(String),
    /// A threshold rule failed, in words.
    Rule(String),
    /// The new release's replicas keep dying, in words.
    CrashLoop(String),
    /// The new release did not become ready in time, in words.
    ProgressDeadline(String),
    /// Somebody asked for it.
    Operator,
    /// A hook failed: which, and why.
    Hook(String),
    /// Another member of its group goes back: which, and why.
    Group(String),
    /// It burns the error budget of an objective: which, and why it is to blame.
    Burn(String),
}

impl fmt::Display for RollbackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Judge(why) => write!(f, "judge: {why}"),
            Self::Rule(why) => write!(f, "rule: {why}"),
            Self::CrashLoop(why) => write!(f, "crash loop: {why}"),
            Self::ProgressDeadline(why) => write!(f, "progress deadline: {why}"),
            Self::Operator => f.write_str("an operator asked for it"),
            Self::Hook(why) => write!(f, "hook {why}"),
            Self::Group(why) => write!(f, "its group goes back: {why}"),
            Self::Burn(why) => write!(f, "it burns the error budget of {why}"),
        }
    }
}
