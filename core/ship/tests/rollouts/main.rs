//! The rollout machine, told as given, when, then. One binary, so that it links once; each part in its own file.

#![allow(clippy::unwrap_used, reason = "a test may panic: it says so")]

mod analysis;
mod back;
mod bake;
mod blue_green;
mod canary;
mod checks;
mod clock;
mod counts;
mod everywhere;
mod evidence;
mod hooks;
mod judge;
mod latency;
mod operators;
mod promises;
mod rolling;
mod routing;
mod rules;
mod support;
mod table;
mod verdicts;
