//! The routing table and its decisions: which service a request belongs to, which release serves it, which replica.
//!
//! Pure and synchronous: random numbers, headers and in-flight counts are arguments. Does not live here: sockets, connections,
//! counters, time, and who is ready (a replica that is listed is ready; one that is not, is not listed).
//!
//! Paths are matched as they were sent, segment by segment, and never rewritten. A doubled slash is an empty segment,
//! `%2f` is part of its segment, not a separator. Dot segments (`.`, `..`, however encoded) are the one thing that
//! cannot be matched literally in safety, because whoever resolves them later leaves the prefix that was matched:
//! [`path::climbs`] tells, and the gateway refuses them.

mod assign;
mod choice;
mod host;
pub mod path;
mod sip;
mod table;
mod template;

pub use assign::{Affinity, Aim, Assignment, Headers, User};
pub use choice::{Choice, DRAWS};
pub use table::{Conflict, Entry, Error, Match, Preview, Replica, Share, Table};
pub use template::Template;
