//! The rules of watching: what is left of an objective's budget, how fast it burns, who is told, what may still be
//! deployed, and what a rollout burned. All of it follows from counts by the minute and from the time it is asked at.
//!
//! Lives here: [`minutes`] and what is taken out of them, [`window`]s, [`budget`]s, [`burn`] rates, [`alert`]s, the
//! [`level`] that a budget allows, a rollout's [`charge`], and the [`backtest`] of an objective. Does not live here:
//! counting and keeping counts (`telemetry/meter`), who asks when (`engine/runtime`), how somebody is told (`adapters`).

pub mod alert;
pub mod backtest;
pub mod blame;
mod bound;
pub mod budget;
pub mod burn;
pub mod charge;
mod decide;
mod event;
pub mod exclusion;
pub mod forecast;
pub mod history;
pub mod level;
pub mod minutes;
mod plan;
mod state;
pub mod window;

pub use alert::Memory;
pub use blame::Blame;
pub use budget::Budget;
pub use decide::{Command, Refusal, decide};
pub use event::Event;
pub use exclusion::Exclusions;
pub use history::History;
pub use level::Level;
pub use minutes::{Counts, Minute, Range, Sums};
pub use plan::{Reading, Report, next_deadline, plan, retire};
pub use state::{IllegalEvent, State};
