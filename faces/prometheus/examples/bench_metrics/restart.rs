//! Coming back after a kill with a day of data: from the start of the process to the first correct answer.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Instant;

use promql::{Point, Series};
use store::{Config, SeriesRef, Store};

use crate::query::{TOPK, in_process};
use crate::rival::{Prometheus, ask, free, get, program, query, until};
use crate::world::{A_ROUTE, Replica};
use crate::{Outcome, STEP, child, figure, median, now};

const ROUTES: usize = 400;
const SERIES: usize = ROUTES * A_ROUTE;
/// A day.
const ROUNDS: i64 = 24 * 3600 * 1000 / STEP;
const INSTANCE: &str = "127.0.0.1:8080";
/// Scrapes in a message to Prometheus.
const TOGETHER: i64 = 12;
const RUNS: usize = 5;

pub(crate) fn run(folder: &Path) -> Outcome<()> {
    let start = now() / STEP * STEP - ROUNDS * STEP;
    let path = query(TOPK, start + (ROUNDS - 1) * STEP);
    let home = folder.join("ours").display().to_string();
    let expected = filled(&home, start)?;
    let mut ours = Vec::new();
    for _ in 0..RUNS {
        let address = free()?.to_string();
        let began = Instant::now();
        let child = child::start(&["serve", &home, &address])?;
        first(address.parse()?, &path, &expected)?;
        ours.push(began.elapsed().as_secs_f64());
        drop(child);
    }
    let ours = median(&mut ours);
    println!(
        "{SERIES} series, a day of samples each 15 s, killed, started: {ours:.2} s to the first correct answer"
    );
    let mut fields = vec![("seconds", ours)];
    if let Some(program) = program() {
        let home = folder.join("prometheus");
        std::fs::create_dir(&home)?;
        feed(&Prometheus::start(&program, &home)?, start)?;
        let mut theirs = Vec::new();
        for _ in 0..RUNS {
            let began = Instant::now();
            let prometheus = Prometheus::start(&program, &home)?;
            first(prometheus.address, &path, &expected)?;
            theirs.push(began.elapsed().as_secs_f64());
        }
        let theirs = median(&mut theirs);
        println!("Prometheus: {theirs:.2} s");
        fields.extend([("prometheus_seconds", theirs), ("ratio", ours / theirs)]);
    }
    figure("from a kill to the first correct answer, a day of data", &fields, None);
    Ok(())
}

fn first(address: std::net::SocketAddr, path: &str, expected: &[String]) -> Outcome<()> {
    until(|| {
        let Ok((200, body)) = get(address, path) else { return Ok(false) };
        let body = String::from_utf8_lossy(&body);
        if expected.iter().all(|route| body.contains(route)) {
            Ok(true)
        } else {
            Err(format!("a wrong answer: {body} has not {expected:?}").into())
        }
    })
}

/// Fills a folder in a process that is killed then; what it answered before.
fn filled(home: &str, start: i64) -> Outcome<Vec<String>> {
    let mut child = child::start(&["fill", home, &start.to_string(), &ROUNDS.to_string()])?;
    let output = child.0.stdout.take().ok_or("no output")?;
    let lines = BufReader::new(output).lines();
    let expected = lines.take_while(|line| line.as_ref().is_ok_and(|it| it != "done"));
    let expected: Vec<String> = expected.collect::<Result<_, _>>()?;
    if expected.len() == 5 { Ok(expected) } else { Err("the child gave no answer".into()) }
}

/// The child: a day of samples, flushed every few scrapes and tidied now and then; then it waits for its end.
pub(crate) fn fill(folder: &Path, start: i64, rounds: i64) -> Outcome<()> {
    let store = Store::open(folder, Config::default())?;
    let mut replica = Replica::new(1, ROUTES);
    let labels = replica.labels(INSTANCE)?;
    let series = labels.iter().map(|it| store.series(it)).collect::<Result<Vec<SeriesRef>, _>>()?;
    for round in 0..rounds {
        replica.advance();
        let samples = series.iter().zip(&replica.values);
        let at = start + round * STEP;
        let samples: Vec<(SeriesRef, Point)> =
            samples.map(|(series, value)| (*series, Point { at, value: *value })).collect();
        store.append(&samples);
        if round % 40 == 0 {
            store.tidy(at)?;
        }
    }
    store.flush()?;
    in_process(&store, start + (rounds - 1) * STEP)?.iter().for_each(|route| println!("{route}"));
    println!("done");
    std::io::stdin().lock().read_line(&mut String::new())?;
    Ok(())
}

/// The same samples by remote write, until it has made its blocks.
fn feed(prometheus: &Prometheus, start: i64) -> Outcome<()> {
    prometheus.wait()?;
    let mut replica = Replica::new(1, ROUTES);
    let mut series: Vec<Series> =
        replica.labels(INSTANCE)?.into_iter().map(|labels| Series { labels, points: vec![] }).collect();
    for round in 0..ROUNDS {
        replica.advance();
        for (series, value) in series.iter_mut().zip(&replica.values) {
            series.points.push(Point { at: start + round * STEP, value: *value });
        }
        if round % TOGETHER == TOGETHER - 1 {
            let message = exposition::remote::write(&series);
            let (status, body) = ask(prometheus.address, "POST", "/api/v1/write", &message)?;
            if status != 204 {
                return Err(format!("{status} {}", String::from_utf8_lossy(&body)).into());
            }
            series.iter_mut().for_each(|series| series.points.clear());
        }
    }
    until(|| {
        let (_, page) = get(prometheus.address, "/metrics")?;
        let page = String::from_utf8_lossy(&page);
        let told = |name: &str| {
            let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|it| it.parse::<f64>().ok()).ok_or("it does not tell")
        };
        Ok(told("prometheus_tsdb_head_max_time")? - told("prometheus_tsdb_head_min_time")? <= 3.0 * 3600e3)
    })
}
