//! What Shipshape takes of a machine on which nothing happens: memory and processor time of control, of the agent (with
//! its gateway) and of the shim of the one replica, with nobody asking anything.
//!
//! `bench_idle [SECONDS]`: how long it is watched.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints its figures, and lets time pass"
)]

use std::time::Duration;

use e2e::Stage;
use e2e::figures::{Taken, mebibytes};
use serde_json::json;

const SECONDS: u64 = 45;
/// Until what the start has left behind is done: the scale down of nobody, the first probes, the log's first lines.
const SETTLE: Duration = Duration::from_secs(10);

fn main() {
    let seconds = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(SECONDS);
    let stage = Stage::with("replicas: 1\n");
    stage.up();
    let shop = stage.build("shop", &json!({}));
    let _ = stage.run(&["deploy", &shop]).ok();
    let _ = stage.wait_for_phase("production", "completed");
    let (shim, _) = stage.shims()[0];
    let processes = [("control", stage.pid_of("control")), ("agent", stage.pid_of("agent")), ("shim", shim)];
    std::thread::sleep(SETTLE);
    let before = processes.map(|(_, pid)| Taken::by(pid));
    std::thread::sleep(Duration::from_secs(seconds));
    println!("{:>8}  {:>8}  {:>8}  {:>8}", "", "PSS MiB", "RSS MiB", "CPU %");
    let mut all = [0.0; 2];
    let mut parts = serde_json::Map::new();
    for ((name, pid), before) in processes.into_iter().zip(before) {
        let now = Taken::by(pid);
        let memory = mebibytes(now.proportional_bytes);
        let percent = (now.processor - before.processor).as_secs_f64() / seconds as f64 * 100.0;
        println!("{name:>8}  {memory:>8.1}  {:>8.1}  {percent:>8.2}", mebibytes(now.resident_bytes));
        all = [all[0] + memory, all[1] + percent];
        let part = json!({"pssMiB": memory, "rssMiB": mebibytes(now.resident_bytes), "cpuPercent": percent});
        parts.insert(name.to_owned(), part);
    }
    println!(
        "{}",
        json!({"bench": "idle", "figure": "control, agent and one shim with nothing to do", "bar": "none",
            "pssMiB": all[0], "cpuPercentOfACore": all[1], "parts": parts})
    );
}
