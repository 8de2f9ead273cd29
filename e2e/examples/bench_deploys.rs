//! A hundred deploys after each other while users send 500 requests a second: how many were lost (none may be: the
//! benchmark fails otherwise), how long `shipshape deploy` took each time, and whether anything grows that should not:
//! the memory of control and agent, and their files.
//!
//! `bench_deploys [TIMES]`
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use e2e::Stage;
use e2e::figures::{Taken, mebibytes, quantiles};
use serde_json::{Value, json};

const RATE_PER_SECOND: f64 = 500.0;
const TIMES: usize = 100;
/// Deploys before the memory is looked at first: until then it grows to its working size.
const WARM_UP: usize = 10;

/// Both replicas at once, and no more proof than a moment: a hundred of them are to fit into two minutes.
const ROLLING: &str = "
replicas: 2
rollout:
  strategy: rolling
  rolling: {maxSurge: 100%, maxUnavailable: 0}
  minReady: 200ms
";

fn main() {
    let times = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(TIMES);
    let stage = Stage::with(ROLLING);
    stage.up();
    let shop = stage.build("shop", &json!({}));
    let _ = deploy(&stage, &shop, 0);
    for number in 1..=WARM_UP {
        let _ = deploy(&stage, &shop, number);
    }
    let before = sizes(&stage);
    let load = stage.load_of(RATE_PER_SECOND, Duration::from_secs(900));
    let took: Vec<Duration> = (1..=times).map(|number| deploy(&stage, &shop, WARM_UP + number)).collect();
    let after = sizes(&stage);
    let report = stage.nothing_lost(load);
    assert_eq!(report.errors(), 0, "the shops are healthy");
    let releases = report.releases.len();
    assert!(releases > times, "{releases} releases answered in {times} deploys");
    println!("{} requests sent, {} lost, {releases} releases answered", report.sent, report.lost);
    println!("{:>8}  {:>12}  {:>12}  {:>10}", "", "control MiB", "agent MiB", "home MiB");
    for (when, sizes) in [("before", &before), ("after", &after)] {
        println!("{when:>8}  {:>12.1}  {:>12.1}  {:>10.1}", sizes.control, sizes.agent, sizes.home);
    }
    println!("each deploy: {}", quantiles(&took));
    println!(
        "{}",
        json!({"bench": "deploys", "figure": format!("{times} consecutive deploys under load"), "bar": "0 lost",
            "met": report.lost == 0, "sent": report.sent, "lost": report.lost, "deploy": quantiles(&took),
            "latencyP99Ms": report.latency.p99_us as f64 / 1e3, "before": before.told(), "after": after.told()})
    );
}

/// Rolls out another configuration of the same shop, to its end.
fn deploy(stage: &Stage, shop: &str, number: usize) -> Duration {
    stage.manifest(&format!("  SHOP_VERSION: v{number}{ROLLING}"));
    let begun = Instant::now();
    let _ = stage.run(&["deploy", shop]).ok();
    let took = begun.elapsed();
    let _ = stage.wait_for_phase("production", "completed");
    took
}

/// What it takes of the machine, in mebibytes.
struct Sizes {
    control: f64,
    agent: f64,
    /// Everything in the home directory.
    home: f64,
}

impl Sizes {
    fn told(&self) -> Value {
        json!({"controlMiB": self.control, "agentMiB": self.agent, "homeMiB": self.home})
    }
}

fn sizes(stage: &Stage) -> Sizes {
    let memory = |process: &str| mebibytes(Taken::by(stage.pid_of(process)).proportional_bytes);
    Sizes { control: memory("control"), agent: memory("agent"), home: mebibytes(size_of(&stage.home())) }
}

/// The bytes of all files below a directory. What goes meanwhile counts nothing.
fn size_of(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => size_of(&entry.path()),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |found| found.len()),
        Ok(_) | Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}
