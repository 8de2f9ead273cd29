//! The same samples and the same questions to this API and to a real Prometheus: the same answers, text for text but for
//! the last digits of numbers. Runs where `PROMETHEUS` names the program of a Prometheus 3 (`docs/promql.md` says how to get
//! one); elsewhere it says that it did not.
#![allow(clippy::unwrap_used, reason = "a test's way to fail")]
#![allow(clippy::print_stderr, reason = "whoever runs it should know that it did not")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use exposition::Family;
use prometheus::{Backend, Catalogue, Health, Limits, router};
use promql::{Labels, Point, Series};
use serde_json::Value;
use store::{Config, Store};
use tempfile::TempDir;

const STEP: i64 = 15_000;
const STEPS: i64 = 240;

struct Nothing;

impl Catalogue for Nothing {
    fn families(&self) -> BTreeMap<String, Family> {
        BTreeMap::new()
    }

    fn targets(&self) -> BTreeMap<String, Health> {
        BTreeMap::new()
    }
}

/// A Prometheus that ends with the test.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    _home: TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    fn start(program: &str) -> Self {
        let home = TempDir::new().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = home.path().join("prometheus.yml");
        std::fs::write(&config, "global: {}\n").unwrap();
        let child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", home.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--web.enable-remote-write-receiver", "--log.level=error"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let prometheus = Self { child, address, _home: home };
        let deadline = Instant::now() + Duration::from_secs(60);
        while ask(prometheus.address, "GET", "/-/ready", b"").is_none_or(|(status, _)| status != 200) {
            assert!(Instant::now() < deadline, "Prometheus is not ready");
            std::thread::yield_now();
        }
        prometheus
    }
}

/// One request on a connection of its own.
fn ask(address: SocketAddr, method: &str, path: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Encoding: snappy\r\nContent-Type: application/x-protobuf\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    )
    .ok()?;
    stream.write_all(body).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let status = std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()?;
    Some((status, answer.split_off(end + 4)))
}

/// The same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Counters with resets, gauges, gaps, a stale end and histograms, on two jobs.
fn samples(start: i64) -> Vec<Series> {
    let random = &mut Random(42);
    let mut all = Vec::new();
    for job in ["shop", "cart"] {
        for instance in ["i0", "i1", "i2"] {
            for class in ["2xx", "4xx", "5xx"] {
                all.push(counter(random, start, job, instance, class));
            }
            all.push(gauge(random, start, job, instance));
        }
        all.extend(histogram(random, start, job));
    }
    all
}

fn counter(random: &mut Random, start: i64, job: &str, instance: &str, class: &str) -> Series {
    let (mut total, mut points) = (0, Vec::new());
    for step in 0..STEPS {
        total = if random.below(90) == 0 { 0 } else { total + random.below(50) };
        if random.below(20) != 0 {
            points.push(Point { at: start + step * STEP + 7, value: total as f64 });
        }
    }
    let labels =
        [("__name__", "http_requests_total"), ("job", job), ("instance", instance), ("class", class)];
    Series { labels: Labels::new(labels), points }
}

fn gauge(random: &mut Random, start: i64, job: &str, instance: &str) -> Series {
    let value = |step: i64, random: &mut Random| match (step, instance) {
        (100, "i1") => promql::STALE,
        _ => random.below(1000) as f64 / 7.0 - 50.0,
    };
    let points =
        (0..STEPS).map(|step| Point { at: start + step * STEP, value: value(step, random) }).collect();
    let labels = [("__name__", "temperature"), ("job", job), ("instance", instance)];
    Series { labels: Labels::new(labels), points }
}

fn histogram(random: &mut Random, start: i64, job: &str) -> Vec<Series> {
    let mut counts = [0u64; 5];
    let mut buckets = vec![Vec::new(); 5];
    for step in 0..STEPS {
        for _ in 0..random.below(30) {
            let slow = random.below(5) as usize;
            counts[slow..].iter_mut().for_each(|count| *count += 1);
        }
        for (points, count) in buckets.iter_mut().zip(counts) {
            points.push(Point { at: start + step * STEP, value: count as f64 });
        }
    }
    let bounds = ["0.01", "0.1", "0.5", "1", "+Inf"].into_iter().zip(buckets);
    let series = |(le, points)| {
        let labels = [("__name__", "latency_seconds_bucket"), ("job", job), ("le", le)];
        Series { labels: Labels::new(labels), points }
    };
    bounds.map(series).collect()
}

/// The lines of `queries.txt`, for each selector where they name `X`.
fn queries() -> Vec<String> {
    let selectors = [
        "http_requests_total",
        "http_requests_total{class=\"5xx\"}",
        "temperature{job=~\"sh.*\"}",
        "temperature",
    ];
    let lines = include_str!("queries.txt").lines().filter(|line| !line.starts_with('#'));
    let filled = |line: &'static str| match line.contains('X') {
        true => selectors.map(|selector| line.replace('X', selector)).to_vec(),
        false => vec![line.to_owned()],
    };
    lines.flat_map(filled).collect()
}

/// Equal but for the last digits of numbers; where the order is nobody's, it does not count.
fn same(a: &Value, b: &Value, path: &str) -> Result<(), String> {
    let differ = || Err(format!("{path}: {a} and {b}"));
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let keys: std::collections::BTreeSet<&String> = x.keys().chain(y.keys()).collect();
            keys.into_iter()
                .filter(|key| !matches!(key.as_str(), "error" | "infos" | "warnings"))
                .try_for_each(|key| {
                    same(
                        x.get(key).unwrap_or(&Value::Null),
                        y.get(key).unwrap_or(&Value::Null),
                        &format!("{path}.{key}"),
                    )
                })
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => x
            .iter()
            .zip(y)
            .enumerate()
            .try_for_each(|(index, (x, y))| same(x, y, &format!("{path}[{index}]"))),
        (Value::String(x), Value::String(y)) if x != y => match (x.parse::<f64>(), y.parse::<f64>()) {
            (Ok(x), Ok(y)) if (x - y).abs() <= 1e-9 * x.abs().max(y.abs()) => Ok(()),
            _ => differ(),
        },
        _ if a == b => Ok(()),
        _ => differ(),
    }
}

fn sorted(mut answer: Value, ordered: bool) -> Value {
    if let Some(result) =
        answer["data"]["result"].as_array_mut().filter(|it| !ordered && it.iter().all(Value::is_object))
    {
        result.sort_by_key(|it| it["metric"].to_string());
    }
    answer
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}

fn now() -> i64 {
    i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_prometheus_gives_the_same_answers() {
    let Ok(program) = std::env::var("PROMETHEUS") else {
        eprintln!("not run: PROMETHEUS names no program of a Prometheus 3");
        return;
    };
    let start = (now() - STEPS * STEP) / STEP * STEP;
    let home = TempDir::new().unwrap();
    let store = Arc::new(Store::open(home.path(), Config::default()).unwrap());
    let (catalogue, limits) = (Arc::new(Nothing), Limits::default());
    let backend = Backend { store, catalogue, now, limits, version: "0.1.0" };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router(backend)).await });

    let compared = tokio::task::spawn_blocking(move || {
        let theirs = Prometheus::start(&program);
        let message = exposition::remote::write(&samples(start));
        for address in [ours, theirs.address] {
            assert_eq!(
                ask(address, "POST", "/api/v1/write", &message).map(|(status, _)| status),
                Some(204),
                "{address}"
            );
        }
        compare(ours, theirs.address, start)
    });
    let (compared, wrong) = compared.await.unwrap();
    assert!(wrong.is_empty(), "{} of {compared} answers differ:\n{}", wrong.len(), wrong.join("\n"));
    eprintln!("{compared} answers were the same");
}

fn compare(ours: SocketAddr, theirs: SocketAddr, start: i64) -> (usize, Vec<String>) {
    let (mut count, mut wrong) = (0, Vec::new());
    for query in queries() {
        let ordered = ["sort", "topk", "bottomk"].iter().any(|word| query.starts_with(word));
        let (from, to) = ((start / 1000) + 1200, (start / 1000) + 3000);
        for path in [
            format!("/api/v1/query?query={}&time={}.5", encoded(&query), from + 700),
            format!("/api/v1/query?query={}&time={to}", encoded(&query)),
            format!("/api/v1/query_range?query={}&start={from}&end={to}&step=47", encoded(&query)),
        ] {
            let answers = [ours, theirs].map(|address| {
                let (status, body) = ask(address, "GET", &path, b"").unwrap();
                (status, sorted(serde_json::from_slice(&body).unwrap(), ordered && !path.contains("range")))
            });
            count += 1;
            let [(our_status, our_answer), (their_status, their_answer)] = answers;
            if our_status != their_status {
                wrong.push(format!("{path}: {our_status} {our_answer} and {their_status} {their_answer}"));
            } else if let Err(why) = same(&our_answer, &their_answer, "") {
                wrong.push(format!("{query} ({path}): {why}"));
            }
        }
    }
    (count, wrong)
}
