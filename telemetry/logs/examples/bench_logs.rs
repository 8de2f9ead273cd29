//! Taking in lines and searching them, beside `grep` on the bare file in the same run. `LOG_BYTES` says how much (1 GB).
#![allow(clippy::print_stdout, reason = "a benchmark talks")]

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use logs::{Level, Limits, Line, Query, Redactor, Retention, Source, Store};
use serde_json::json;

const BATCH: usize = 2000;
const ROUNDS: usize = 5;

/// A line of a service, the same for the same number: one in a hundred is an error.
fn line(n: u64) -> String {
    let mut seed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678;
    let mut draw = |most: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % most
    };
    let (trace, user, took) = (format!("{:016x}{:016x}", draw(u64::MAX), n), draw(100_000), draw(5000));
    let at = 1_767_323_045_000_000 + n as i64 * 500;
    if draw(100) == 0 {
        let kind = ["Timeout", "ConnectionRefused", "OutOfStock", "PaymentDeclined"][draw(4) as usize];
        return format!(
            r#"{{"ts":{at},"level":"error","msg":"order of user {user} failed","error.type":"{kind}","trace_id":"{trace}","path":"/checkout","took_ms":{took}}}"#
        );
    }
    let path = ["/cart", "/catalogue", "/checkout", "/static/app.js"][draw(4) as usize];
    format!(
        r#"{{"ts":{at},"level":"info","msg":"request served","method":"GET","path":"{path}","status":200,"user":{user},"trace_id":"{trace}","took_ms":{took}}}"#
    )
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bytes: u64 =
        std::env::var("LOG_BYTES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000_000);
    let home = tempfile::tempdir()?;
    let (bare, folder) = (home.path().join("bare.log"), home.path().join("records"));
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&bare)?);
    let store =
        Store::open(&folder, Retention { bytes: u64::MAX, age: Duration::from_secs(u64::MAX / 4_000_000) })?;
    let redactor = Redactor::new(["a secret of this service", "another-one-0123456789"], [])?;
    let source = Source { release: 1, replica: 1 };
    let (mut n, mut written, mut taking) = (0u64, 0u64, Duration::ZERO);
    while written < bytes {
        let batch: Vec<String> = (n..n + BATCH as u64).map(line).collect();
        n += BATCH as u64;
        for text in &batch {
            written += text.len() as u64 + 1;
            file.write_all(text.as_bytes())?;
            file.write_all(b"\n")?;
        }
        let begun = Instant::now();
        let at = 1_767_323_045_000_000 + n as i64 * 500;
        let lines: Vec<Line> =
            batch.iter().map(|text| Line { at, text: redactor.redact(text).into_owned() }).collect();
        store.append("1/1", "mark", source, &lines)?;
        taking += begun.elapsed();
    }
    file.flush()?;
    store.flush()?;
    let rate = n as f64 / taking.as_secs_f64();
    let ratio = written as f64 / store.bytes() as f64;
    println!("taken in: {n} lines, {written} bytes: {rate:.0} lines/s on one core, {ratio:.1} times smaller");
    println!("{}", json!({"figure": "logs_taken_in_per_s", "value": rate.round()}));
    println!("{}", json!({"figure": "logs_bytes_over_bare", "ratio": 1.0 / ratio}));
    compare(&store, &bare, questions(n)?)
}

/// A question, and how `grep` is asked the same.
type Asked = (&'static str, Query, Vec<String>);

fn questions(n: u64) -> Result<Vec<Asked>, String> {
    let trace = line(n / 2)
        .split("trace_id\":\"")
        .nth(1)
        .and_then(|rest| rest.get(..32))
        .unwrap_or_default()
        .to_owned();
    // One that is there: the first error behind the middle.
    let failed = (n / 2..n).map(line).find_map(|line| {
        let (_, rest) = line.split_once("order ")?;
        Some(rest.split_once('"')?.0.to_owned())
    });
    let failed = failed.ok_or("LOG_BYTES is too little: no line is an error")?;
    let some = || Query { most: usize::MAX, ..Query::default() };
    let condition = |text: &str| text.parse::<logs::Condition>();
    let grep = |arguments: &[&str]| arguments.iter().map(|it| (*it).to_owned()).collect::<Vec<String>>();
    Ok(vec![
        (
            "level and field",
            Query {
                level: Some(Level::Error),
                conditions: vec![condition("error.type=OutOfStock")?],
                group_by: vec!["level".to_owned()],
                ..some()
            },
            grep(&["-c", r#""level":"error".*"error.type":"OutOfStock""#]),
        ),
        (
            "one trace",
            Query { conditions: vec![condition(&format!("trace_id={trace}"))?], ..some() },
            grep(&["-c", &trace]),
        ),
        ("a text, few", Query { text: vec![failed.clone()], ..some() }, grep(&["-c", "-F", &failed])),
        ("a text, none", Query { text: vec!["xyzzy".to_owned()], ..some() }, grep(&["-c", "-F", "xyzzy"])),
        (
            "group by",
            Query { level: Some(Level::Error), group_by: vec!["error.type".to_owned()], ..some() },
            grep(&["-o", r#""error.type":"[A-Za-z]*""#]),
        ),
    ])
}

fn compare(store: &Store, bare: &Path, questions: Vec<Asked>) -> Result<(), Box<dyn std::error::Error>> {
    let limits = Limits { time: Duration::from_secs(600), bytes: 1 << 30, ..Limits::default() };
    println!("{:<18} {:>10} {:>10} {:>8}   found", "question", "ours ms", "grep ms", "ratio");
    for (name, query, grep) in questions {
        let mut times: Vec<(f64, f64)> = Vec::new();
        let mut found = 0;
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            let answer = store.search(&query, &limits);
            let ours = begun.elapsed().as_secs_f64() * 1e3;
            assert_eq!(answer.cut, None);
            found = answer.records.len() as u64 + answer.groups.iter().map(|group| group.count).sum::<u64>();
            times.push((ours, grep_ms(&grep, bare)?));
        }
        let median = |of: fn(&(f64, f64)) -> f64| {
            let mut all: Vec<f64> = times.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        let (ours, theirs) = (median(|both| both.0), median(|both| both.1));
        println!("{name:<18} {ours:>10.1} {theirs:>10.1} {:>8.2}   {found}", ours / theirs);
        println!("{}", json!({"figure": format!("logs {name}, over grep"), "ratio": ours / theirs}));
    }
    Ok(())
}

/// Its output is read: `grep` stops at the first hit when it writes to nowhere.
fn grep_ms(arguments: &[String], file: &Path) -> std::io::Result<f64> {
    let begun = Instant::now();
    let _ = Command::new("grep").args(arguments).arg(file).env("LC_ALL", "C").output()?;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}
