//! The busiest routes by errors, over a hundred thousand series.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use promql::{Labels, Options, Point, Query, Series, Value, evaluate, read};
use store::{Config, Store};

use crate::rival::{Prometheus, ask, get, program, query};
use crate::world::Random;
use crate::{Outcome, STEP, child, figure, median, now};

pub(crate) const TOPK: &str =
    r#"topk(5, sum by (route) (rate(http_requests_total{status_class="5xx"}[5m])))"#;
const ROUTES: usize = 50;
const INSTANCES: usize = 2000;
/// Ten minutes.
const ROUNDS: i64 = 40;
const RUNS: usize = 21;

pub(crate) fn run(folder: &Path) -> Outcome<()> {
    let start = now() / STEP * STEP - ROUNDS * STEP;
    let at = start + (ROUNDS - 1) * STEP;
    let store = Arc::new(Store::open(&folder.join("ours"), Config::default())?);
    let theirs = folder.join("prometheus");
    std::fs::create_dir(&theirs)?;
    let prometheus = program().map(|program| Prometheus::start(&program, &theirs)).transpose()?;
    if let Some(prometheus) = &prometheus {
        prometheus.wait()?;
    }
    let mut random = Random(11);
    for instance in 0..INSTANCES {
        let all: Vec<Series> = (0..ROUTES).map(|route| series(&mut random, route, instance, start)).collect();
        for series in &all {
            let number = store.series(&series.labels)?;
            let samples: Vec<_> = series.points.iter().map(|point| (number, *point)).collect();
            store.append(&samples);
        }
        if instance % 100 == 0 {
            store.flush()?;
        }
        if let Some(prometheus) = &prometheus {
            let message = exposition::remote::write(&all);
            let (status, body) = ask(prometheus.address, "POST", "/api/v1/write", &message)?;
            if status != 204 {
                return Err(format!("{status} {}", String::from_utf8_lossy(&body)).into());
            }
        }
    }
    store.flush()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    runtime.spawn(child::serve(listener, Arc::clone(&store)));

    let path = query(TOPK, at);
    let (mut inside, mut ours, mut theirs, mut ratios) = (vec![], vec![], vec![], vec![]);
    for run in 0..=RUNS {
        let (inner, routes) = timed(|| in_process(&store, at))?;
        let (over_http, answer) = timed(|| get(address, &path))?;
        if routes.len() != 5 || !routes.iter().all(|it| contains(&answer.1, it)) {
            return Err(format!("{routes:?}, and {}", String::from_utf8_lossy(&answer.1)).into());
        }
        let rival = prometheus.as_ref().map(|it| timed(|| get(it.address, &path))).transpose()?;
        if let Some((_, answer)) = &rival
            && !routes.iter().all(|it| contains(&answer.1, it))
        {
            return Err(format!("{routes:?}, and {}", String::from_utf8_lossy(&answer.1)).into());
        }
        // The first one warms up.
        if run > 0 {
            inside.push(inner);
            ours.push(over_http);
            theirs.extend(rival.as_ref().map(|(took, _)| *took));
            ratios.extend(rival.map(|(took, _)| over_http / took));
        }
    }
    let (inside, ours, theirs) = (median(&mut inside), median(&mut ours), median(&mut theirs));
    println!("{TOPK} over {} series, milliseconds, median of {RUNS}", ROUTES * INSTANCES);
    println!("in process {inside:.1}, over HTTP {ours:.1}, Prometheus over HTTP {theirs:.1}");
    let name = "topk over 100,000 series, time over Prometheus'";
    let fields = [("in_process_ms", inside), ("ours_ms", ours), ("prometheus_ms", theirs)];
    if prometheus.is_some() {
        let ratio = median(&mut ratios);
        figure(name, &[&[("ratio", ratio)], fields.as_slice()].concat(), Some((1.0, ratio <= 1.0)));
    } else {
        figure(name, &fields[..2], None);
    }
    Ok(())
}

fn timed<T>(run: impl FnOnce() -> Outcome<T>) -> Outcome<(f64, T)> {
    let began = Instant::now();
    let result = run()?;
    Ok((began.elapsed().as_secs_f64() * 1000.0, result))
}

fn contains(bytes: &[u8], text: &str) -> bool {
    String::from_utf8_lossy(bytes).contains(text)
}

/// The routes of the answer.
pub(crate) fn in_process(store: &Store, at: i64) -> Outcome<Vec<String>> {
    let answer = evaluate(store, &read(TOPK)?, Query::Instant(at), &Options::default())?;
    let Value::Vector(samples) = answer.value else { return Err("no vector".into()) };
    Ok(samples.iter().map(|sample| format!("{:?}", sample.labels.get("route"))).collect())
}

fn series(random: &mut Random, route: usize, instance: usize, start: i64) -> Series {
    let mut total = random.below(1000);
    let points = (0..ROUNDS).map(|round| {
        total += random.below(2 + route as u64 % 7 * 3 + route as u64 / 3);
        Point { at: start + round * STEP, value: total as f64 }
    });
    let points = points.collect();
    let labels = [
        ("__name__", "http_requests_total".to_owned()),
        ("job", "shop".to_owned()),
        ("instance", format!("10.0.{}.{}:8080", instance / 250, instance % 250)),
        ("route", format!("/api/v1/things/{route}")),
        ("method", "GET".to_owned()),
        ("status_class", "5xx".to_owned()),
    ];
    Series { labels: Labels::new(labels), points }
}
