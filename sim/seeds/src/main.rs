//! `seeds SEED` tells one life line by line; `seeds FROM..TO` lives many and tells which broke a promise.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a tool for people at a terminal")]

use std::process::ExitCode;
use std::time::Instant;

use seeds::{Figures, live};

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    match asked.as_slice() {
        [seed] => match (seed.parse(), seed.split_once("..")) {
            (Ok(seed), _) => one(seed),
            (_, Some((from, to))) => match (from.parse(), to.parse()) {
                (Ok(from), Ok(to)) => many(from, to),
                _ => misuse(),
            },
            _ => misuse(),
        },
        _ => misuse(),
    }
}

fn misuse() -> ExitCode {
    eprintln!("say a seed, as in `cargo xtask sim 4711`, or a range, as in `cargo xtask sim 0..1000`");
    ExitCode::from(2)
}

fn one(seed: u64) -> ExitCode {
    match live(seed, true) {
        Ok(outcome) => {
            outcome.trace.iter().for_each(|line| println!("{line}"));
            println!("{:?}", outcome.figures);
            outcome.broken.iter().for_each(|line| println!("{line}"));
            if outcome.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("seeds: {error}");
            ExitCode::FAILURE
        }
    }
}

fn many(from: u64, to: u64) -> ExitCode {
    let began = Instant::now();
    let mut figures = Figures::default();
    let mut broken = 0;
    for seed in from..to {
        match live(seed, false) {
            Ok(outcome) => {
                figures = figures.plus(outcome.figures);
                if let Some(first) = outcome.broken.first() {
                    broken += 1;
                    println!("seed {seed}: {first}");
                }
            }
            Err(error) => {
                eprintln!("seeds: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    let rate = (to - from) as f64 / began.elapsed().as_secs_f64();
    println!("{broken} of {} lives broke a promise; {rate:.0} lives/s; {figures:?}", to.saturating_sub(from));
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
