//! The rollout machine: how one release replaces another at one place, who judges it, and how it comes back.
//!
//! Pure and synchronous. The shell in `runtime` reads the clock, the fleet and the journal; here stands only what
//! follows from what it read:
//!
//! - [`plan`] compares a rollout with what is seen and says what should happen next, and why it waits;
//! - [`decide`] turns a command into events, or refuses it with the way out;
//! - [`Rollout::apply`] moves the state; replay takes the same road as live.
//!
//! Does not live here: releases and environments (`lifecycle`), replicas and routing tables (`ports`), any clock.

pub mod bake;
pub mod book;
pub mod bound;
pub mod checks;
pub mod decide;
pub mod event;
pub mod hooks;
pub mod judge;
pub mod latency;
pub mod observation;
pub mod plan;
pub mod proof;
pub mod report;
pub mod rollout;
pub mod rules;
pub mod transitions;
pub mod users;

pub use decide::{Command, Refusal, decide};
pub use event::{Cause, Event, PauseReason, RollbackReason};
pub use observation::{Counts, EpochTally, GroupState, Observation};
pub use plan::plan;
pub use report::{Evidence, Report, Wait};
pub use rollout::{IllegalEvent, Phase, Rollout};
