//! Taking in: samples a second on a core, and what an active series takes in memory.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::time::Duration;

use exposition::Limits;
use promql::{Labels, Point};
use scrape::Intake;
use store::{Config, SeriesRef, Store};

use crate::pages::Pages;
use crate::rival::{Prometheus, program, spent, until};
use crate::world::{A_ROUTE, Replica};
use crate::{Outcome, STEP, child, figure, median, now, thread_seconds};

const ROUTES: usize = 400;
const REPLICAS: usize = 2;
const SERIES: usize = ROUTES * REPLICAS * A_ROUTE;
/// More than a chunk holds, so that finished ones count in.
const ROUNDS: usize = 250;
const EVERY: Duration = Duration::from_millis(250);

pub(crate) fn run(folder: &Path) -> Outcome<()> {
    alone(folder)?;
    beside(folder)
}

/// On one thread, with nothing else.
fn alone(folder: &Path) -> Outcome<()> {
    let labels = Labels::new([("job", "shop"), ("instance", "127.0.0.1:1")]);
    let store = Store::open(&folder.join("pages"), Config::default())?;
    let mut intake = Intake::new(labels, Limits { samples: 1 << 20, ..Limits::default() });
    let mut replica = Replica::new(1, ROUTES);
    let start = now() / STEP * STEP;
    let mut rates = Vec::new();
    for round in 0..60 {
        replica.advance();
        let page = replica.page();
        let began = thread_seconds();
        let said = Ok((page.as_str(), exposition::Format::Prometheus));
        let outcome = intake.take(&store, start + round * STEP, said, Duration::ZERO);
        let took = thread_seconds() - began;
        if outcome.samples != replica.values.len() {
            return Err(format!("{outcome:?}").into());
        }
        if round > 0 {
            rates.push(replica.values.len() as f64 / took);
        }
        store.flush()?;
    }
    let parsed = median(&mut rates);
    let store = Store::open(&folder.join("samples"), Config::default())?;
    let series = replica.labels("i")?.iter().map(|it| store.series(it)).collect::<Result<Vec<_>, _>>()?;
    let mut rates = Vec::new();
    for round in 0..240 {
        replica.advance();
        let samples: Vec<(SeriesRef, Point)> = series
            .iter()
            .zip(&replica.values)
            .map(|(series, value)| (*series, Point { at: start + round * STEP, value: *value }))
            .collect();
        let began = thread_seconds();
        let appended = store.append(&samples);
        rates.push(samples.len() as f64 / (thread_seconds() - began));
        if appended.taken != samples.len() {
            return Err(format!("{appended:?}").into());
        }
        if round % 10 == 0 {
            store.flush()?;
        }
    }
    let appended = median(&mut rates);
    println!("samples a second on one core: {parsed:.0} from a page, {appended:.0} appended");
    figure("samples a second on one core", &[("from_a_page", parsed), ("appended", appended)], None);
    Ok(())
}

/// What one side spent.
struct Spent {
    processor: f64,
    memory: f64,
}

/// Both as processes that scrape the same pages at the same time.
fn beside(folder: &Path) -> Outcome<()> {
    let pages = Pages::serve(REPLICAS, ROUTES)?;
    let theirs = folder.join("prometheus");
    std::fs::create_dir(&theirs)?;
    let prometheus = program().map(|program| Prometheus::start(&program, &theirs)).transpose()?;
    if let Some(prometheus) = &prometheus {
        prometheus.wait()?;
    }
    let (paths, every) = (pages.paths(0), EVERY.as_millis().to_string());
    let (home, server) = (folder.join("ours").display().to_string(), pages.address.to_string());
    let mut arguments = vec!["scrape", &home, &server, &every];
    arguments.extend(paths.iter().map(String::as_str));
    let mut ours = child::start(&arguments)?;
    let output = ours.0.stdout.take().ok_or("no output")?;
    BufReader::new(output).read_line(&mut String::new())?;
    let mut sides = vec![(0, ours.0.id(), spent(ours.0.id())?)];
    if let Some(prometheus) = &prometheus {
        let pid = prometheus.process.0.id();
        sides.push((1, pid, spent(pid)?));
        prometheus.scrape(pages.address, &pages.paths(1), EVERY)?;
    }
    ours.0.stdin.take().ok_or("no input")?.write_all(b"go\n")?;
    let mut results: Vec<Option<Spent>> = sides.iter().map(|_| None).collect();
    let mut memory = vec![Vec::new(); sides.len()];
    until(|| {
        for (side, pid, before) in &sides {
            let served = pages.served(*side);
            // Memory goes up and down with the collection of garbage: many looks over the last fifth.
            if results[*side].is_none() && served >= ROUNDS * REPLICAS * 4 / 5 {
                let (processor, bytes) = spent(*pid)?;
                memory[*side].push(bytes - before.1);
                if served >= ROUNDS * REPLICAS {
                    let processor = (processor - before.0) * (ROUNDS * REPLICAS) as f64 / served as f64;
                    let memory = median(&mut memory[*side]) / SERIES as f64;
                    results[*side] = Some(Spent { processor, memory });
                }
            }
        }
        std::thread::sleep(EVERY);
        Ok(results.iter().all(Option::is_some))
    })?;
    let samples = (SERIES * ROUNDS) as f64;
    let results: Vec<Spent> = results.into_iter().flatten().collect();
    let rate = |spent: &Spent| samples / spent.processor;
    println!("{SERIES} series scraped {ROUNDS} times over HTTP, the whole process");
    println!("{:<12}{:>22}{:>18}", "", "samples a core second", "bytes a series");
    for (name, spent) in ["shipshape", "prometheus"].iter().zip(&results) {
        println!("{name:<12}{:>22.0}{:>18.0}", rate(spent), spent.memory);
    }
    if let [ours, theirs] = results.as_slice() {
        figure(
            "samples a core second, scraped by a process",
            &[("ratio", rate(ours) / rate(theirs)), ("ours", rate(ours)), ("prometheus", rate(theirs))],
            None,
        );
        figure(
            "memory of an active series, over Prometheus",
            &[("ratio", ours.memory / theirs.memory), ("ours", ours.memory), ("prometheus", theirs.memory)],
            None,
        );
    }
    Ok(())
}
