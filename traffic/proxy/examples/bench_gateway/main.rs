//! What the gateway costs beside nginx and HAProxy: each alone on one core, load and backends on the other, the same
//! requests to the same backends, in turns. A figure is the median of the ratios of each round, so that a machine that
//! slows down slows both sides of a ratio. Here: scenarios, rounds and figures; each of the parts has its own file.
//!
//! `bench_gateway [SCENARIO [ROUNDS [SECONDS]]]`; this program is also the gateway, the backends and the open-loop load
//! (`server`, `backend`, `open-loop`), as child processes that it pins to their cores.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints its figures, and waits beside the load"
)]

mod backend;
mod open_loop;
mod peers;
mod server;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use peers::Peer;

/// As in the product's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 7;
const SECONDS: u64 = 4;
const OPEN_LOOP_CONNECTIONS: usize = 64;

struct Scenario {
    name: &'static str,
    connections: usize,
    body_bytes: usize,
    /// Requests per second that come due whatever the answers do; without it, each connection sends as fast as it can.
    rate: Option<u32>,
    bars: &'static [Bar],
}

/// What must hold of ours over nginx.
struct Bar {
    figure: &'static str,
    of: fn(&Sample) -> f64,
    holds: fn(f64) -> bool,
    says: &'static str,
}

const RATE: fn(&Sample) -> f64 = |sample| sample.rate;
const P99: fn(&Sample) -> f64 = |sample| sample.p99_us;
const MEMORY: fn(&Sample) -> f64 = |sample| sample.resident_bytes;
const CPU: fn(&Sample) -> f64 = |sample| sample.cpu_us;
const TOLD: Bar = Bar { figure: "processor time per request", of: CPU, holds: |_| true, says: "no bar" };
const TOLD_P99: Bar = Bar { figure: "p99", of: P99, holds: |_| true, says: "no bar" };

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "c64",
        connections: 64,
        body_bytes: 100,
        rate: None,
        bars: &[
            Bar { figure: "requests/s", of: RATE, holds: |ratio| ratio >= 1.0, says: "at least 1.0" },
            Bar { figure: "p99", of: P99, holds: |ratio| ratio <= 1.15, says: "at most 1.15" },
            TOLD,
        ],
    },
    Scenario {
        name: "c512",
        connections: 512,
        body_bytes: 100,
        rate: None,
        bars: &[
            Bar { figure: "requests/s", of: RATE, holds: |ratio| ratio >= 0.9, says: "at least 0.9" },
            Bar { figure: "memory", of: MEMORY, holds: |ratio| ratio <= 2.0, says: "at most 2.0" },
            TOLD_P99,
            TOLD,
        ],
    },
    Scenario {
        name: "16k",
        connections: 64,
        body_bytes: 16 * 1024,
        rate: None,
        bars: &[
            Bar { figure: "requests/s", of: RATE, holds: |ratio| ratio >= 1.1, says: "at least 1.1" },
            TOLD_P99,
            TOLD,
        ],
    },
    Scenario {
        name: "open",
        connections: OPEN_LOOP_CONNECTIONS,
        body_bytes: 100,
        rate: Some(25_000),
        bars: &[TOLD_P99, TOLD],
    },
];

/// One turn of one of the three.
#[derive(Clone, Copy)]
struct Sample {
    rate: f64,
    p99_us: f64,
    cpu_us: f64,
    resident_bytes: f64,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["backend", body_bytes] => Ok(backend::run(body_bytes.parse()?)?),
        ["server", nine, one] => server::run([nine.parse()?, one.parse()?]),
        ["open-loop", addr, rate, seconds] => {
            let lasts = Duration::from_secs(seconds.parse()?);
            let outcome = open_loop::run(addr.parse()?, rate.parse()?, OPEN_LOOP_CONNECTIONS, lasts)?;
            // As wrk says it.
            println!("Requests/sec: {}\n99% {}us", outcome.rate, outcome.p99_us);
            Ok(())
        }
        [] => bench(SCENARIOS.iter(), ROUNDS, SECONDS),
        [name, rest @ ..] => {
            let known = SCENARIOS.iter().filter(|it| it.name == *name);
            let number = |at: usize| rest.get(at).map(|text| text.parse::<u64>()).transpose();
            let rounds = usize::try_from(number(0)?.unwrap_or(ROUNDS as u64))?;
            bench(known, rounds.max(1), number(1)?.unwrap_or(SECONDS))
        }
    }
}

fn bench<'a>(scenarios: impl Iterator<Item = &'a Scenario>, rounds: usize, seconds: u64) -> Result<()> {
    peers::have_tools()?;
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        bail!("this needs two cores: one for the proxy, one for load and backends");
    }
    let mut run = 0;
    for scenario in scenarios {
        run += 1;
        one(scenario, rounds, seconds)?;
    }
    if run == 0 {
        bail!("no scenario of that name; known: c64, c512, 16k, open");
    }
    Ok(())
}

/// All rounds of a scenario, then its figures.
fn one(scenario: &Scenario, rounds: usize, seconds: u64) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (_backends, addresses) = peers::backends(scenario.body_bytes)?;
    let peers = [
        peers::nginx(folder.path(), addresses, scenario.connections)?,
        peers::haproxy(folder.path(), addresses)?,
        peers::gateway(addresses)?,
    ];
    println!(
        "{:<5} {:>5}  {:<10} {:>9}  {:>9}  {:>9}  {:>7}",
        "case", "round", "proxy", "req/s", "p99 us", "cpu us/rq", "MB"
    );
    let mut samples: [Vec<Sample>; 3] = Default::default();
    for round in 0..rounds {
        // Who goes first changes, so that no one is always measured in another's wake.
        for turn in 0..peers.len() {
            let at = (round + turn) % peers.len();
            let sample = measure(scenario, &peers[at], seconds)?;
            println!(
                "{:<5} {:>5}  {:<10} {:>9.0}  {:>9.0}  {:>9.2}  {:>7.1}",
                scenario.name,
                round + 1,
                peers[at].name,
                sample.rate,
                sample.p99_us,
                sample.cpu_us,
                sample.resident_bytes / 1e6
            );
            samples[at].push(sample);
        }
    }
    let [nginx, haproxy, ours] = &samples;
    for bar in scenario.bars {
        let ratio = ratios(bar.of, ours, nginx);
        let theirs = ratios(bar.of, haproxy, nginx);
        let middle = ratio[ratio.len() / 2];
        println!(
            "{{\"bench\":\"gateway\",\"case\":\"{}\",\"figure\":\"{} over nginx\",\"ratio\":{:.3},\"lowest\":{:.3},\
             \"highest\":{:.3},\"haproxy\":{:.3},\"ours\":{:.1},\"nginx\":{:.1},\"bar\":\"{}\",\"holds\":{}}}",
            scenario.name,
            bar.figure,
            middle,
            ratio[0],
            ratio[ratio.len() - 1],
            theirs[theirs.len() / 2],
            median(ours.iter().map(bar.of)),
            median(nginx.iter().map(bar.of)),
            bar.says,
            (bar.holds)(middle),
        );
    }
    Ok(())
}

fn ratios(of: fn(&Sample) -> f64, ours: &[Sample], theirs: &[Sample]) -> Vec<f64> {
    let mut all: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| of(ours) / of(theirs)).collect();
    all.sort_by(f64::total_cmp);
    all
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn measure(scenario: &Scenario, peer: &Peer, seconds: u64) -> Result<Sample> {
    // The first opens the connections to the backends, and brings the processor to its pace.
    load(scenario, peer, 1)?;
    load(scenario, peer, seconds)
}

fn load(scenario: &Scenario, peer: &Peer, seconds: u64) -> Result<Sample> {
    let before = peer.cpu_seconds()?;
    let mut command = match scenario.rate {
        None => closed_loop(scenario, peer.addr, seconds),
        Some(rate) => open_loop(peer.addr, rate, seconds)?,
    };
    let child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {command:?}"))?;
    std::thread::sleep(Duration::from_millis(seconds * 700));
    let resident_bytes = peer.resident_bytes()?;
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!("the load on {} saw errors:\n{text}", peer.name);
    }
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
        line.map(str::trim).with_context(|| format!("the load says no {name}\n{text}"))
    };
    let (rate, p99) = (value("Requests/sec:")?.parse()?, value("99%")?);
    let p99_us = microseconds(p99).with_context(|| format!("{p99:?} is no time"))?;
    let cpu_us = (peer.cpu_seconds()? - before) * 1e6 / (rate * seconds as f64);
    Ok(Sample { rate, p99_us, cpu_us, resident_bytes })
}

/// Each connection sends as soon as it has its answer.
fn closed_loop(scenario: &Scenario, addr: SocketAddr, seconds: u64) -> Command {
    let mut command = peers::pinned(peers::LOAD_CORE, Path::new("wrk"));
    command.args(["-t1", "--latency", &format!("-c{}", scenario.connections), &format!("-d{seconds}s")]);
    command.arg(format!("http://{addr}/"));
    command
}

/// Requests come due at a fixed rate.
fn open_loop(addr: SocketAddr, rate: u32, seconds: u64) -> Result<Command> {
    let mut command = peers::pinned(peers::LOAD_CORE, &std::env::current_exe()?);
    command.args(["open-loop", &addr.to_string(), &rate.to_string(), &seconds.to_string()]);
    Ok(command)
}

fn microseconds(text: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    units.iter().find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
}
