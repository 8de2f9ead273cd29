//! Who is told of which alerts, and when. From the alerts that fire now, what a team declared, the silences and what was told
//! before, [`plan`] says which notifications are due, to whom, and with which alerts. It keeps nothing: the [`Log`] of what was
//! told is given to it, and moved by whoever sent.
//!
//! Lives here, too: silences and self-tests ([`State`]), which nothing but events moves. Does not live here: when an alert
//! fires, and sending.

mod silence;

mod event;
mod state;

mod decide;

mod inhibit;
mod log;
mod plan;
mod policy;

pub mod selftest;

pub use decide::{Command, LONGEST_SILENCE, Refused, decide};
pub use event::{Event, Way};
pub use log::{Entry, Key, Log};
pub use plan::{Muted, Notification, Plan, Situation, plan};
pub use policy::{Kind, Policy};
pub use silence::{MOST_MATCHERS, Silence, SilenceId, Silences};
pub use state::{IllegalEvent, MOST_SILENCES, State};
