//! `cargo xtask promqltest DIR`: runs every `*.test` file of a folder and prints how its cases ended.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::path::PathBuf;
use std::process::ExitCode;

use promql::Options;
use promql::testfile::{Outcome, parse, run};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(folder), verbose) = (args.next(), args.next().is_some_and(|flag| flag == "--verbose")) else {
        println!("usage: promqltest DIR [--verbose]");
        return ExitCode::from(2);
    };
    let mut paths: Vec<PathBuf> = match std::fs::read_dir(&folder) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(error) => {
            println!("{folder}: {error}");
            return ExitCode::from(2);
        }
    };
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "test"));
    paths.sort();
    // Prometheus runs its own files with names dropped at the end of a query.
    let options = Options { delayed_name_removal: true, ..Options::default() };
    let (mut passed, mut refused, mut failed) = (0, 0, 0);
    println!("{:<28} {:>7} {:>7} {:>7}", "file", "passed", "refused", "failed");
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let read = std::fs::read_to_string(&path).map_err(|error| error.to_string());
        let report = match read.and_then(|text| parse(&text)) {
            Ok(file) => run(&file, &options),
            Err(why) => {
                println!("{name:<28} not read: {why}");
                failed += 1;
                continue;
            }
        };
        let (p, r, f) = report.counts();
        println!("{name:<28} {p:>7} {r:>7} {f:>7}");
        for (line, query, outcome) in &report.cases {
            match outcome {
                Outcome::Failed(why) => println!("    line {line}: {query}: {why}"),
                Outcome::Refused(what) if verbose => println!("    line {line}: {query}: refused: {what}"),
                Outcome::Refused(_) | Outcome::Passed => {}
            }
        }
        (passed, refused, failed) = (passed + p, refused + r, failed + f);
    }
    println!("{:<28} {passed:>7} {refused:>7} {failed:>7}", "all");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
