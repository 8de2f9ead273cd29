//! Makes the rules happen: decide, append, apply, reconcile.
//!
//! One loop owns the world. A command or a new observation becomes events on a draft of the world; the events are
//! appended to the journal as one unit; only then the draft becomes the world and what is wanted goes to the fleet.
//! Killed anywhere in between, the next control replays the journal and finds the same wanted state: wanting is
//! idempotent, so nothing is done twice.
//!
//! Does not live here: the rules themselves (`lifecycle`, `ship`), any real journal, fleet or clock (`adapters`).

mod answer;
mod checks;
mod control;
mod draft;
mod engine;
mod handle;
mod history;
mod observe;
mod once;
mod paging;
mod patience;
mod questions;
mod request;
mod requests;
mod wanted;

pub use control::{Config, Ports, start};
pub use handle::{Error, Handle, Snapshot};
pub use history::Recorded;
pub use lifecycle::{Answer, Scope, Vote, Words};
pub use once::Once;
pub use paging::{EndSilence, SetSilence, TestReceivers};
pub use request::{
    Ballot, Correct, Deploy, DeployGroup, GroupMember, LiftLock, Operate, Operation, Retry, Rollback,
    SetLock, Ship,
};
