//! Following a rollout to its end, live. Does not live here: what started it, and what its end means for the exit
//! status.

mod follow;
mod screen;
mod view;

pub(crate) use follow::{End, follow};
pub(crate) use view::{doing, evidence, hooks, phase, requests, step};
#[cfg(test)]
pub(crate) use view::{line, lines};
