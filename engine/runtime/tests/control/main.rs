//! Control in a simulated world: what it promises, told as stories. Does not test the rules themselves (`core/`).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed helper fails its test")]

mod analyses;
mod previews;
mod support;

mod checks;
mod crashes;
mod deploys;
mod faults;
mod fleet;
mod hooks;
mod journal;
mod once;
