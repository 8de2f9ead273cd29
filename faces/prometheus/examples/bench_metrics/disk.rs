//! Bytes a sample on disk, of finished stretches of time.

use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Command;

use promql::{Labels, Point};
use store::{Config, SeriesRef, Store};

use crate::rival::{program, size};
use crate::world::{A_ROUTE, Random, Replica};
use crate::{Outcome, STEP, figure, now};

const ROUTES: usize = 80;
const SERIES: usize = ROUTES * A_ROUTE;
const STRETCH: i64 = 2 * 3600 * 1000;
/// Two stretches, whole.
const ROUNDS: i64 = 2 * STRETCH / STEP;
const BAR: f64 = 1.5;

pub(crate) fn run(folder: &Path) -> Outcome<()> {
    println!(
        "bytes a sample, {SERIES} series, {ROUNDS} samples each: all that is on disk but the log; chunks with index"
    );
    for (name, jitter) in
        [("exactly 15 s apart", 0), ("15 s apart, up to 3 ms early or late", 3), ("up to 50 ms", 50)]
    {
        let ours = ours(&folder.join(format!("ours-{jitter}")), jitter)?;
        println!("{name:<40} shipshape {ours:.3}");
        let mut fields = vec![("ours", ours)];
        if let Some(program) = program() {
            let theirs = theirs(&program.with_file_name("promtool"), &folder.join("theirs"), jitter)?;
            println!("{name:<40} prometheus {theirs:.3}");
            fields.extend([("prometheus", theirs), ("ratio", ours / theirs)]);
        }
        figure(&format!("bytes a sample, {name}"), &fields, Some((BAR, ours <= BAR)));
    }
    Ok(())
}

/// Gives each round's samples with their time.
fn rounds(count: i64, jitter: u64, mut each: impl FnMut(i64, &Replica) -> Outcome<()>) -> Outcome<()> {
    let start = now() / STRETCH * STRETCH - 4 * STRETCH;
    let (mut replica, mut random) = (Replica::new(1, ROUTES), Random(7));
    for round in 0..count {
        replica.advance();
        // All of a page have the time at which it was asked for.
        let late = if jitter == 0 { 0 } else { random.below(2 * jitter) as i64 };
        each(start + round * STEP + late, &replica)?;
    }
    Ok(())
}

fn ours(folder: &Path, jitter: u64) -> Outcome<f64> {
    let store = Store::open(folder, Config::default())?;
    let labels: Vec<Labels> = Replica::new(1, ROUTES).labels("127.0.0.1:8080")?;
    let series = labels.iter().map(|it| store.series(it)).collect::<Result<Vec<SeriesRef>, _>>()?;
    // An hour more, so that the stretches before are finished.
    rounds(ROUNDS + 3600 * 1000 / STEP + 1, jitter, |at, replica| {
        let samples = series.iter().zip(&replica.values);
        let samples: Vec<(SeriesRef, Point)> =
            samples.map(|(series, value)| (*series, Point { at, value: *value })).collect();
        store.append(&samples);
        Ok(())
    })?;
    store.tidy(now())?;
    if store.stats().blocks != 2 {
        return Err(format!("{:?}", store.stats()).into());
    }
    let log =
        |path: &Path| path.file_name().and_then(|it| it.to_str()).is_some_and(|it| it.starts_with("log"));
    let bytes = size(folder, &|path| !log(path))?;
    Ok(bytes as f64 / (ROUNDS as f64 * SERIES as f64))
}

fn theirs(promtool: &Path, folder: &Path, jitter: u64) -> Outcome<f64> {
    std::fs::create_dir(folder)?;
    let text = folder.join("text");
    let mut file = BufWriter::new(std::fs::File::create(&text)?);
    let own = "job=\"shop\",instance=\"127.0.0.1:8080\"}";
    let mut lines = String::new();
    rounds(ROUNDS, jitter, |at, replica| {
        lines.clear();
        for (series, value) in replica.series.iter().zip(&replica.values) {
            let series = series.trim_end_matches('}');
            writeln!(lines, "{series},{own} {value} {}.{:03}", at / 1000, at % 1000)?;
        }
        Ok(file.write_all(lines.as_bytes())?)
    })?;
    file.write_all(b"# EOF\n")?;
    file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    let blocks = folder.join("blocks");
    let made = Command::new(promtool)
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([&text, &blocks])
        .output()?;
    if !made.status.success() {
        return Err(String::from_utf8_lossy(&made.stderr).into());
    }
    let bytes = size(&blocks, &|path| {
        path.ends_with("index") || path.parent().is_some_and(|it| it.ends_with("chunks"))
    })?;
    std::fs::remove_dir_all(folder)?;
    Ok(bytes as f64 / (ROUNDS as f64 * SERIES as f64))
}
