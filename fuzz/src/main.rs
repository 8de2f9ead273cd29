//! `cargo xtask fuzz TARGET [SEED | FROM..TO]`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool for people at a terminal")]

use std::ops::Range;
use std::process::ExitCode;

use fuzz::{TARGETS, Target};

/// Without numbers.
const DEFAULT: Range<u64> = 0..10_000;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let target = words.first().and_then(|name| Target::named(name));
    let seeds = words.get(1).map_or(Some(DEFAULT), |text| seeds(text));
    let (Some(target), Some(seeds), true) = (target, seeds, words.len() <= 2) else {
        eprintln!("fuzz TARGET [SEED | FROM..TO], with one of {TARGETS:?}");
        return ExitCode::from(2);
    };
    match target.run(seeds.clone()) {
        Ok(()) => {
            println!("{target:?} kept its promises on {seeds:?} and its corpus");
            ExitCode::SUCCESS
        }
        Err(found) => {
            let again = found.seed.map_or_else(|| "0..0".to_owned(), |seed| seed.to_string());
            println!("{target:?} broke a promise; the input is in {}", found.file.display());
            println!("again: cargo xtask fuzz {target:?} {again}");
            ExitCode::FAILURE
        }
    }
}

fn seeds(text: &str) -> Option<Range<u64>> {
    match text.split_once("..") {
        Some((from, to)) => Some(from.parse().ok()?..to.parse().ok()?),
        None => text.parse().ok().map(|seed: u64| seed..seed + 1),
    }
}
