//! From `shipshape up` to the first request that is served, beyond the time that the service itself takes: the same
//! program started by hand answers first. Two ways: a new home with a first deploy, and a home that knows its release
//! and comes back, as after a restart of the machine. In turns.
//!
//! `bench_up [ROUNDS]`
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use e2e::figures::{ms, quantiles};
use e2e::{Stage, eventually};
use serde_json::json;

const ROUNDS: usize = 10;
const PATIENCE: Duration = Duration::from_secs(30);

/// One turn of each.
struct Round {
    by_hand: Duration,
    first: Duration,
    again: Duration,
}

fn main() {
    let rounds = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(ROUNDS);
    println!("{:>5}  {:>10}  {:>18}  {:>14}", "round", "by hand ms", "up and deploy ms", "up again ms");
    let rounds: Vec<Round> = (1..=rounds)
        .map(|number| {
            let round = round();
            let Round { by_hand, first, again } = &round;
            println!("{number:>5}  {:>10.1}  {:>18.1}  {:>14.1}", ms(*by_hand), ms(*first), ms(*again));
            round
        })
        .collect();
    let beyond = |took: fn(&Round) -> Duration| {
        let all: Vec<Duration> =
            rounds.iter().map(|round| took(round).saturating_sub(round.by_hand)).collect();
        quantiles(&all)
    };
    let by_hand: Vec<Duration> = rounds.iter().map(|round| round.by_hand).collect();
    for (figure, beyond) in [
        (
            "up and deploy in a new home to the first served request, beyond the service's own start",
            beyond(|it| it.first),
        ),
        (
            "up in a home with a release to the first served request, beyond the service's own start",
            beyond(|it| it.again),
        ),
    ] {
        let figure = json!({"bench": "up", "figure": figure, "bar": "none", "beyond": beyond,
            "byHand": quantiles(&by_hand)});
        println!("{figure}");
    }
}

fn round() -> Round {
    let stage = Stage::with("replicas: 1\n");
    let shop = stage.build("shop", &json!({}));
    let by_hand = by_hand(&shop);
    let address = free();
    let listen = address.to_string();
    let up = ["up", "--listen", &listen, "--admin", "127.0.0.1:0"];
    let begun = Instant::now();
    let _ = stage.run(&up).ok();
    let _ = stage.run(&["deploy", &shop, "--detach"]).ok();
    served(address);
    let first = begun.elapsed();
    let _ = stage.wait_for_phase("production", "completed");
    let _ = stage.run(&["down"]).ok();
    let begun = Instant::now();
    let _ = stage.run(&up).ok();
    served(address);
    Round { by_hand, first, again: begun.elapsed() }
}

/// Starts the shop as somebody would who has nothing but the shop.
fn by_hand(artifact: &str) -> Duration {
    let address = free();
    let begun = Instant::now();
    let mut shop = Command::new(format!("{artifact}/shop"))
        .current_dir(artifact)
        .env("PORT", address.port().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the shop starts");
    served(address);
    let took = begun.elapsed();
    shop.kill().and_then(|()| shop.wait()).expect("the shop ends");
    took
}

/// An address that nobody listens on now.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}

/// Waits until a request is answered with 200.
fn served(address: SocketAddr) {
    eventually("a request is served", PATIENCE, || {
        let mut stream = TcpStream::connect(address).ok()?;
        stream
            .write_all(format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())
            .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(())
    });
}
