//! Hostile bytes for whatever reads bytes from outside. Lives here: the targets, each a plain function of bytes that panics
//! when a promise is broken; the mutator; the run. Does not live here: anything that steers by coverage. A target also fits
//! `cargo fuzz` on a nightly toolchain: `fuzz_target!(|data: &[u8]| fuzz::gateway::target(data));`.
//!
//! A number makes an input: the same number, the same corpus, the same bytes. So a finding replays by its number.

pub mod api;
pub mod condition;
mod corpus;
pub mod exposition;
pub mod gateway;
pub mod manifest;
mod mutate;
pub mod promql;
pub mod remote;

use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// What is fed, by its name.
#[derive(Clone, Copy)]
pub struct Target {
    /// As in `cargo xtask fuzz NAME`, and its folder below `corpus`.
    pub name: &'static str,
    feed: fn(&[u8]),
    words: &'static [&'static str],
}

/// All targets.
pub const TARGETS: [Target; 7] = [
    Target { name: "manifest", feed: manifest::target, words: manifest::WORDS },
    Target { name: "gateway", feed: gateway::target, words: gateway::WORDS },
    Target { name: "api", feed: api::target, words: api::WORDS },
    Target { name: "exposition", feed: exposition::target, words: exposition::WORDS },
    Target { name: "remote", feed: remote::target, words: remote::WORDS },
    Target { name: "promql", feed: promql::target, words: promql::WORDS },
    Target { name: "condition", feed: condition::target, words: condition::WORDS },
];

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// An input that broke a promise.
#[derive(Debug)]
pub struct Finding {
    /// The number that makes it; `None` for a piece of the corpus as it is.
    pub seed: Option<u64>,
    /// Where the input was written.
    pub file: PathBuf,
}

impl Target {
    /// The target of a name.
    pub fn named(name: &str) -> Option<Self> {
        TARGETS.into_iter().find(|target| target.name == name)
    }

    /// Feeds the corpus as it is, then an input for each number; ends with the first finding.
    ///
    /// # Errors
    /// The finding. What was broken has been printed by the panic.
    pub fn run(self, seeds: Range<u64>) -> Result<(), Finding> {
        let corpus = corpus::read(self.name);
        for input in &corpus {
            self.feed(input, None)?;
        }
        for seed in seeds {
            self.feed(&mutate::input(&corpus, self.words, seed), Some(seed))?;
        }
        Ok(())
    }

    fn feed(self, input: &[u8], seed: Option<u64>) -> Result<(), Finding> {
        catch_unwind(AssertUnwindSafe(|| (self.feed)(input))).map_err(|_| {
            let name = seed.map_or_else(|| "corpus".to_owned(), |seed| seed.to_string());
            let file = std::env::temp_dir().join(format!("fuzz-{}-{name}", self.name));
            // Best effort: the number alone makes the same input.
            let _ = std::fs::write(&file, input);
            Finding { seed, file }
        })
    }
}
