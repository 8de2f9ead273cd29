//! `cargo xtask bench`: the list of benchmarks and how one is run. What a benchmark measures lives beside what it
//! measures, as `examples/bench_NAME.rs` of that crate.
//!
//! A benchmark prints a table for people and, per figure, one line that is a JSON object. A figure is a ratio of two
//! things measured in the same run (ours against a bare loop, requests against a lower bound), because seconds from two
//! machines or two days do not compare.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::house::{self, House, show};

/// A registered benchmark.
pub(crate) struct Benchmark {
    name: &'static str,
    package: &'static str,
    /// Whether it runs the product, which is then built before.
    of_the_whole: bool,
    measures: &'static str,
}

const fn of_a_part(name: &'static str, package: &'static str, measures: &'static str) -> Benchmark {
    Benchmark { name, package, of_the_whole: false, measures }
}

const fn of_the_whole(name: &'static str, package: &'static str, measures: &'static str) -> Benchmark {
    Benchmark { name, package, of_the_whole: true, measures }
}

const BENCHMARKS: &[Benchmark] = &[
    of_the_whole(
        "deploys",
        "e2e",
        "a hundred deploys under load: requests sent and lost, time of each, what grows",
    ),
    of_a_part(
        "gateway",
        "proxy",
        "requests per second, p99 and memory of the gateway on one core, over nginx; beside HAProxy",
    ),
    of_the_whole("idle", "e2e", "memory and processor time of control, agent and one replica's shim at rest"),
    of_a_part(
        "journal",
        "sqlite",
        "durable appends per second by 64 writers, over a bare SQLite loop with the same group commit",
    ),
    of_a_part(
        "judge",
        "ship",
        "mean requests to the verdict, over the lower bound for a test with the same error rates",
    ),
    of_a_part(
        "logs",
        "logs",
        "lines taken in a second on one core, bytes kept, and questions to 1 GB over grep",
    ),
    of_a_part(
        "metrics",
        "prometheus",
        "samples a second, bytes a sample, memory of a series, a query, a restart, beside the real Prometheus of $PROMETHEUS",
    ),
    of_a_part(
        "objectives",
        "objectives",
        "1,000 objectives looked at beside Sloth's rules on the real Prometheus of $PROMETHEUS; a restart with 30 days",
    ),
    of_the_whole(
        "replay",
        "shipshape",
        "control's first answer on a million events, over a bare scan of them",
    ),
    of_the_whole(
        "rollback",
        "e2e",
        "the accepted command to the last request started on the bad release; `shipshape rollback` as a process",
    ),
    of_the_whole("up", "e2e", "`shipshape up` to the first served request, beyond the service's own start"),
];

/// The benchmarks with what they measure, one a line.
pub(crate) fn list() -> String {
    BENCHMARKS.iter().map(|it| format!("  {:<10} {}\n", it.name, it.measures)).collect()
}

/// The benchmark of this name.
pub(crate) fn find(name: &str) -> Option<&'static Benchmark> {
    BENCHMARKS.iter().find(|it| it.name == name)
}

/// Runs every benchmark, also after one has failed.
///
/// # Errors
/// Names those that failed.
pub(crate) fn run_all(house: &House) -> Result<()> {
    let mut failed = Vec::new();
    for benchmark in BENCHMARKS {
        if let Err(error) = run_one(house, benchmark) {
            eprintln!("{}: {error:#}", benchmark.name);
            failed.push(benchmark.name);
        }
    }
    if !failed.is_empty() {
        bail!("bench: failed: {}", failed.join(", "));
    }
    Ok(())
}

/// Runs one benchmark in release mode and passes its output on.
///
/// # Errors
/// When it fails, or ends without a figure.
pub(crate) fn run_one(house: &House, benchmark: &Benchmark) -> Result<()> {
    eprintln!("==> {}: {}", benchmark.name, benchmark.measures);
    if benchmark.of_the_whole {
        house::run(&mut house.cargo([
            "build",
            "--release",
            "--quiet",
            "--locked",
            "-p",
            "shipshape",
            "-p",
            "shop",
        ]))?;
    }
    let example = format!("bench_{}", benchmark.name);
    let mut command = house.cargo([
        "run",
        "--release",
        "--quiet",
        "--locked",
        "-p",
        benchmark.package,
        "--example",
        &example,
    ]);
    let figures = forward(&mut command)?;
    if figures == 0 {
        bail!(
            "{example} printed no figure: print one JSON object a line, such as {{\"figure\":\"NAME\",\"ratio\":1.2}}"
        );
    }
    Ok(())
}

/// Runs the command, passes its lines on and counts the figures among them.
fn forward(command: &mut Command) -> Result<usize> {
    let shown = show(command);
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start `{shown}`"))?;
    let mut figures = 0;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line.with_context(|| format!("cannot read what `{shown}` prints"))?;
            println!("{line}");
            figures += usize::from(is_figure(&line));
        }
    }
    let status = child.wait().with_context(|| format!("cannot wait for `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(figures)
}

fn is_figure(line: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(line).is_ok_and(|value| value.is_object())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_not_found_and_the_list_has_the_known_ones() {
        assert!(find("no-such-benchmark").is_none());
        assert!(find("judge").is_some());
        assert!(list().contains("judge"));
    }

    #[test]
    fn only_json_objects_count_as_figures() {
        let mut command = Command::new("printf");
        command.arg("error rate  ratio\n5 %%  1.2\n7\n{\"figure\":\"errors 5 %%\",\"ratio\":1.2}\n");
        assert_eq!(forward(&mut command).unwrap(), 1);
    }

    #[test]
    fn a_failing_benchmark_is_an_error() {
        assert!(forward(&mut Command::new("false")).is_err());
    }
}
