//! The promise of zero loss over every strategy and every way a rollout ends: requests of all kinds go on all the time,
//! and a ledger of sequence numbers on both sides says what became of each.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use e2e::clients::{Http2, Tunnel, long, upload};
use e2e::{Stage, eventually};
use load::{Config, Load, Mix, Running, Shape};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(60);

const ROLLING: &str = "replicas: 3\nrollout: {scaleDownDelay: 0s}\n";

const CANARY: &str = "
rollout:
  strategy: canary
  canary: {steps: [{setWeight: 30}, {pause: {duration: 6s}}, {setWeight: 60}, {pause: {duration: 1s}}]}
  scaleDownDelay: 1s
";

/// Each switch waits for a promotion, and then for a rule.
const BLUE_GREEN: &str = "
rollout:
  strategy: blueGreen
  blueGreen:
    autoPromotionEnabled: false
    postPromotionAnalysis:
      metrics: [{name: errors, source: errorRate, interval: 1s, count: 2, successCondition: result < 0.05}]
  scaleDownDelay: 1s
";

/// All that goes on while releases come and go.
struct Traffic {
    load: Running,
    http2: Http2,
    long: Vec<JoinHandle<String>>,
}

impl Traffic {
    fn start(stage: &Stage) -> Self {
        let gateway = stage.gateway();
        let mut config = Config::new(gateway, 150.0, Duration::from_secs(280));
        let body = "x".repeat(100_000);
        config.mix.every = vec![
            (5, Shape::post("/orders", r#"{"item":"anchor","quantity":1}"#)),
            (7, Shape::post("/upload", &body)),
            (11, Shape::get("/slow?ms=700")),
            (13, Shape::get("/stream?chunks=5&ms=100")),
        ];
        let load = Load::start(config).unwrap();
        Self { load, http2: Http2::start(gateway), long: Vec::new() }
    }

    /// Requests that last longer than a rollout, beginning now.
    fn lasting(&mut self, stage: &Stage) {
        let gateway = stage.gateway();
        self.long.push(long(gateway, "/slow?ms=12000"));
        self.long.push(long(gateway, "/stream?chunks=60&ms=200"));
        self.long.push(upload(gateway, 600, Duration::from_millis(20)));
    }

    fn reaches(&self, release: &str) {
        eventually(&format!("release {release} answers"), PATIENCE, || {
            self.load.snapshot().releases.contains_key(release).then_some(())
        });
    }

    /// Requests go on well past this moment.
    fn goes_on(&self) {
        let goal = self.load.snapshot().finished + 150;
        eventually("more requests are answered", PATIENCE, || {
            (self.load.snapshot().finished >= goal).then_some(())
        });
    }

    fn nothing_lost(self, stage: &Stage) -> load::Report {
        for long in self.long {
            let answer = long.join().unwrap();
            let whole = answer.contains("\"waitedMs\":12000")
                || answer.ends_with("\r\n0\r\n\r\n")
                || answer.contains("\"bytes\":6000");
            assert!(answer.starts_with("HTTP/1.1 200") && whole, "{answer}");
        }
        let answered = self.http2.stop().unwrap();
        assert!(answered > 100, "{answered} requests over HTTP/2");
        stage.nothing_lost(self.load)
    }
}

/// Deploys well, aborts, deploys badly and rolls back, all under one load. The shops give up what is open as soon as they are
/// told to stop: only the draining before that can save it.
fn every_way(rollout: &str) {
    let blue_green = rollout.contains("blueGreen");
    let stage = Stage::with(rollout);
    stage.up();
    let one = stage.build("one", &json!({"version": "1", "stopLimitMs": 0}));
    let _ = stage.run(&["deploy", &one]).ok();
    let mut traffic = Traffic::start(&stage);

    // A good release.
    traffic.lasting(&stage);
    let two = stage.build("two", &json!({"version": "2", "stopLimitMs": 0}));
    let _ = stage.run(&["deploy", &two]).ok();
    if blue_green {
        let _ = stage.run(&["promote"]).ok();
    }
    let _ = stage.wait_for_phase("production", "completed");
    traffic.reaches("2");

    // One that somebody thinks better of.
    let three = stage.build("three", &json!({"version": "3", "startDelayMs": 1500, "stopLimitMs": 0}));
    let _ = stage.run(&["deploy", &three, "--detach"]).ok();
    if blue_green {
        let _ = stage.wait_for_phase("production", "paused");
    } else {
        traffic.reaches("3");
    }
    let _ = stage.run(&["abort", "--reason", "second thoughts"]).ok();
    let aborted = Instant::now();
    assert_eq!(stage.wait_for_phase("production", "rolledBack")["serving"], 2);
    traffic.goes_on();

    // One that fails, and is taken back by itself.
    let four = stage
        .build("four", &json!({"version": "4", "failureRate": 0.4, "startDelayMs": 1500, "stopLimitMs": 0}));
    let _ = stage.run(&["deploy", &four, "--detach"]).ok();
    if blue_green {
        let _ = stage.wait_for_phase("production", "paused");
        let _ = stage.run(&["promote"]);
    }
    traffic.reaches("4");
    assert_eq!(stage.wait_for_phase("production", "rolledBack")["serving"], 2);
    let taken_back = Instant::now();
    traffic.goes_on();

    // Back to the first, on demand.
    traffic.lasting(&stage);
    let _ = stage.run(&["rollback"]).ok();
    let rolled_back = Instant::now();
    assert_eq!(stage.place("production")["serving"], 1);
    traffic.goes_on();

    let report = traffic.nothing_lost(&stage);
    for (release, since) in [("3", aborted), ("4", taken_back), ("2", rolled_back)] {
        let late = report.started_after(since, release);
        assert!(late.is_empty(), "release {release} got {late:?} after it was taken back");
    }
}

#[test]
fn rolling_updates_lose_nothing_whichever_way_they_end() {
    every_way(ROLLING);
}

#[test]
fn canaries_lose_nothing_whichever_way_they_end() {
    every_way(CANARY);
}

#[test]
fn blue_green_switches_lose_nothing_whichever_way_they_end() {
    every_way(BLUE_GREEN);
}

#[test]
fn a_drain_cuts_what_exceeds_its_limit_and_nothing_else() {
    let stage = Stage::with("shutdown: {drainTimeout: 4s, gracePeriod: 1s}\nrollout: {scaleDownDelay: 0s}\n");
    stage.up();
    let one = stage.build("one", &json!({"version": "1"}));
    let _ = stage.run(&["deploy", &one]).ok();
    let gateway = stage.gateway();
    let load = {
        let mut config = Config::new(gateway, 150.0, Duration::from_secs(120));
        config.mix = Mix::default();
        Load::start(config).unwrap()
    };
    // Within the limit: it began before the drain and lasts shorter than it.
    let within = long(gateway, "/slow?ms=3500");
    let within_too = upload(gateway, 100, Duration::from_millis(30));
    // Beyond it.
    let beyond = long(gateway, "/slow?ms=120000");
    let mut tunnel = Tunnel::open(gateway);
    assert!(tunnel.works());
    let two = stage.build("two", &json!({"version": "2"}));
    let _ = stage.run(&["deploy", &two]).ok();
    let (within, within_too) = (within.join().unwrap(), within_too.join().unwrap());
    assert!(within.starts_with("HTTP/1.1 200") && within.contains("waitedMs"), "{within}");
    assert!(within_too.contains("\"bytes\":1000"), "{within_too}");
    assert!(tunnel.ends(), "a tunnel gets the end that the shop's stop gives it");
    let beyond = beyond.join().unwrap();
    assert!(beyond.starts_with("HTTP/1.1 502") && beyond.contains("SHP-GW-BACKEND-CLOSED"), "{beyond}");
    assert!(Tunnel::open(gateway).works(), "the new release takes new ones");
    let report = stage.nothing_lost(load);
    assert_eq!(report.errors(), 0);
}
