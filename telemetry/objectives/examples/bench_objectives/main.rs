//! What objectives cost: 1,000 of them with four pairs of windows each, looked at every 15 s while 2,000 requests a second are
//! counted, and the first budgets after a restart with 30 days of minutes. Beside it, where the environment's `PROMETHEUS` names
//! the program, a real Prometheus that scrapes the same counters and evaluates the rules that Sloth makes of the same
//! objectives, less one that only scrapes, in the same minutes.
//!
//! `cargo xtask bench objectives`; `MINUTES=5` says how long is measured, after one minute to settle.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its figures")]
#![allow(clippy::disallowed_methods, reason = "time goes by at the pace of looks")]

mod counters;
mod rival;
mod sloth;

use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use counters::Counters;
use lifecycle::{Lane, Service, World};
use meter::{Embedded, Ledger, Provider, Providers, Sums};
use model::release::{Artifact, ArtifactKind};
use model::{Digest, Place, Release, ReleaseNumber, Timestamp};
use objectives::Objectives;
use rival::Rival;
use store::{Config, Store};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

pub(crate) const SERVICES: usize = 20;
/// Of each service: the most that a manifest may have.
pub(crate) const OBJECTIVES: usize = model::objective::MOST;
/// At which pages are read and objectives looked at, on both sides.
pub(crate) const EVERY: Duration = Duration::from_secs(15);
const REQUESTS_A_SECOND: u64 = 2_000;
const DAYS: i64 = 30;
/// At most so much of a core, and so much of what the rival spends.
const BARS: (f64, f64) = (0.1, 0.2);

fn main() -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let minutes: u32 = std::env::var("MINUTES").ok().and_then(|it| it.parse().ok()).unwrap_or(5);
    let world = world()?;
    let file = folder.path().join("objectives.db");
    let began = Instant::now();
    fill(&file, &world)?;
    let size = std::fs::metadata(&file)?.len();
    println!(
        "{} objectives with {DAYS} days of minutes: {:.1} MB, made in {:.1} s",
        SERVICES * OBJECTIVES,
        size as f64 / 1e6,
        began.elapsed().as_secs_f64()
    );
    restart(folder.path(), &file, &world)?;
    running(folder.path(), &file, &world, minutes)
}

struct Here<'a>(Embedded<'a>);

impl Providers for Here<'_> {
    fn of(&self, server: Option<&str>) -> Result<&dyn Provider, String> {
        server.map_or(Ok(&self.0), |server| Err(format!("{server} is not known")))
    }
}

/// Services that serve, with an objective for each of their routes.
fn world() -> Outcome<World> {
    let mut world = World::default();
    for service in 0..SERVICES {
        let templates: Vec<String> = (0..OBJECTIVES).map(|route| format!("/r{route}")).collect();
        let mut text = format!(
            "service: s{service}\nrun: {{command: ./s}}\nroute: {{templates: [{}]}}\nobjectives:\n",
            templates.join(", ")
        );
        for route in &templates {
            text.push_str(&format!("  o{}: {{target: 99.9%, routes: [{route}]}}\n", &route[2..]));
        }
        text.push_str("environments: {production: {}}\n");
        let read = manifest::Manifest::parse(&text).map_err(|wrong| format!("{wrong:?}"))?;
        let specs = read.specs().clone();
        let (name, number) = (format!("s{service}").parse()?, ReleaseNumber(1));
        let (digest, name_of) = (Digest::of(b""), "s".to_owned());
        let artifact = Artifact { digest, name: name_of, kind: ArtifactKind::File, bytes: 0 };
        let place = Place { service: name, environment: "production".parse()? };
        let release = Release { service: place.service.clone(), number, artifact, specs };
        let known = Service { releases: [(number, Arc::new(release))].into(), last_number: number };
        world.services.insert(place.service.clone(), known);
        world.lanes.insert(place, Lane { stable: Some(number), history: vec![number], ..Lane::default() });
    }
    Ok(world)
}

/// The last days, minute by minute.
fn fill(file: &Path, world: &World) -> Outcome<()> {
    let mut ledger = Ledger::open(file)?;
    let end = meter::minute_of(now());
    let names: Vec<String> = world
        .lanes
        .keys()
        .flat_map(|place| lifecycle::objectives_at(world, place).into_iter().map(move |it| (place, it)))
        .map(|(place, objective)| format!("{place}/{}", objective.name))
        .collect();
    let total = REQUESTS_A_SECOND * 60 / names.len() as u64;
    for day in 0..DAYS {
        for name in &names {
            for minute in end - (DAYS - day) * 1_440..end - (DAYS - day - 1) * 1_440 {
                let bad = u64::from(minute % 97 == 0);
                ledger.add(name, minute, Sums { bad, total, measured: 60 })?;
            }
            ledger.count_until(name, end * 60_000)?;
        }
        ledger.pack(0)?;
    }
    Ok(())
}

/// From opening to the first budgets.
fn restart(folder: &Path, file: &Path, world: &World) -> Outcome<()> {
    let mut took = Vec::new();
    for round in 0..5 {
        let store = Store::open(&folder.join(format!("restart-{round}")), Config::default())?;
        let began = Instant::now();
        let mut all = Objectives::new(Ledger::open(file)?);
        let look = all.look(world, &Here(Embedded(&store)), &|_| true, at())?;
        took.push(began.elapsed().as_secs_f64());
        let known = look.standings.iter().filter_map(|it| it.reading.as_ref());
        let right = known.filter(|reading| reading.budget.sums.total > 5_000_000).count();
        if right != SERVICES * OBJECTIVES {
            return Err(format!("{right} budgets are right").into());
        }
    }
    took.sort_by(f64::total_cmp);
    println!("restart: every budget known after {:.2} s (median of {})", took[took.len() / 2], took.len());
    println!(
        "{{\"bench\":\"objectives\",\"figure\":\"seconds from a start to all budgets\",\"ours\":{:.3},\"longest\":{:.3}}}",
        took[took.len() / 2],
        took[took.len() - 1]
    );
    Ok(())
}

/// Both sides at their pace.
fn running(folder: &Path, file: &Path, world: &World, minutes: u32) -> Outcome<()> {
    let counters = Arc::new(Mutex::new(Counters::new()));
    let page = rival::serve(Arc::clone(&counters))?;
    let rivals = rival::program().map(|program| {
        let with = Rival::start(&program, &folder.join("with"), page, &sloth::rules())?;
        Ok::<_, Box<dyn Error + Send + Sync>>((
            with,
            Rival::start(&program, &folder.join("without"), page, "")?,
        ))
    });
    let rivals = rivals.transpose()?;
    if rivals.is_none() {
        eprintln!("PROMETHEUS names no program: nothing to compare with");
    }
    let store = Store::open(&folder.join("metrics"), Config::default())?;
    let series = counters::series(&store)?;
    let mut all = Objectives::new(Ledger::open(file)?);
    let (mut looks, mut before) = (Vec::new(), None);
    let settled = 60 / EVERY.as_secs() as u32;
    for round in 0..settled + minutes * settled {
        let next = Instant::now() + EVERY;
        let samples = {
            let mut counters = counters.lock().unwrap_or_else(PoisonError::into_inner);
            counters.advance(REQUESTS_A_SECOND * EVERY.as_secs());
            counters.samples(&series, now())
        };
        store.append_now(&samples);
        let began = thread_seconds();
        let look = all.look(world, &Here(Embedded(&store)), &|_| true, at())?;
        let took = thread_seconds() - began;
        if let Some(trouble) = look.standings.iter().find_map(|it| it.trouble.as_ref()) {
            return Err(trouble.clone().into());
        }
        if round == settled {
            before = rivals
                .as_ref()
                .map(|(a, b)| Ok::<_, std::io::Error>((a.spent()?, b.spent()?)))
                .transpose()?;
        }
        if round >= settled {
            looks.push(took);
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let measured = f64::from(minutes) * 60.0;
    let ours = looks.iter().sum::<f64>() / measured;
    println!("objectives: {:.1} ms a look, {:.2} % of a core", ours * EVERY.as_secs_f64() * 1e3, ours * 1e2);
    let mut line = format!("\"share_of_a_core\":{ours:.5},\"bar\":{},\"met\":{}", BARS.0, ours < BARS.0);
    if let (Some((with, without)), Some(before)) = (&rivals, before) {
        with.evaluates_all()?;
        let (with, without) = (with.spent()? - before.0, without.spent()? - before.1);
        let theirs = (with - without) / measured;
        println!(
            "prometheus: {:.2} % of a core with the rules, {:.2} % without: {:.2} % for them, of which ours is {:.3}",
            with / measured * 1e2,
            without / measured * 1e2,
            theirs * 1e2,
            ours / theirs
        );
        line.push_str(&format!(
            ",\"prometheus\":{theirs:.5},\"ratio\":{:.4},\"bar_of_ratio\":{},\"ratio_met\":{}",
            ours / theirs,
            BARS.1,
            ours / theirs <= BARS.1
        ));
    }
    println!("{{\"bench\":\"objectives\",\"figure\":\"1,000 objectives\",{line}}}");
    Ok(())
}

/// Now, in milliseconds since 1970.
pub(crate) fn now() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn at() -> Timestamp {
    Timestamp::from_micros(now() * 1_000)
}

/// Seconds that this thread has had the processor.
fn thread_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
