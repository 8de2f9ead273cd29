//! Seeded lives of control: the real rules and the real runtime in a simulated world, with operators at the worst moment
//! and everything failing that can. The same seed gives the same journal, byte by byte.
//!
//! Lives here: what happens (`acts`, `story`, `script`), to whom (`cast`, `outside`), and who watches over the promises
//! (`referee`). Does not live here: anything that control is made of.

mod acts;
mod care;
mod cast;
mod gate;
mod life;
mod outside;
mod policy;
mod referee;
mod script;
mod sky;
mod story;
mod team;
mod watcher;

pub use life::Outcome;
pub use referee::Figures;

/// Lives one seed; with `tells`, everything that happens is written down.
///
/// # Errors
/// When the runtime for the simulated time cannot be built.
pub fn live(seed: u64, tells: bool) -> std::io::Result<Outcome> {
    gate::simulate(|gate| story::live(seed, tells, gate))
}

/// Plays a scenario: see `sim/scenarios`.
///
/// # Errors
/// When a line is not understood, something that is waited for never happens, or there is no simulated time.
pub fn play(script: &str) -> Result<Outcome, String> {
    gate::simulate(|gate| script::play(script, gate)).map_err(|error| error.to_string())?
}
