//! Our own cases in Prometheus' format: `cases/*.test`, one file for each area.
#![allow(clippy::unwrap_used, reason = "a test's way to fail")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use promql::Options;
use promql::expr::Function;
use promql::testfile::{Line, Outcome, parse, run};

fn files() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn every_case_of_our_own_passes() {
    let mut wrong = Vec::new();
    let mut cases = 0;
    for (path, text) in files() {
        let file = parse(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        let report = run(&file, &Options::default());
        cases += report.cases.len();
        for (line, query, outcome) in report.cases {
            if outcome != Outcome::Passed {
                wrong.push(format!("{}:{line}: {query}: {outcome:?}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases > 300, "only {cases} cases");
}

#[test]
fn every_function_and_aggregation_has_a_case_and_stands_in_the_docs() {
    let mut used: BTreeSet<String> = BTreeSet::new();
    for (_, text) in files() {
        for (_, line) in parse(&text).unwrap().lines {
            if let Line::Eval(case) = line {
                used.extend(case.text.split(|c: char| !(c.is_alphanumeric() || c == '_')).map(str::to_owned));
            }
        }
    }
    let aggregations =
        "sum avg min max count group stddev stdvar topk bottomk quantile count_values".split(' ');
    let docs = include_str!("../../../docs/promql.md");
    for name in Function::ALL.iter().map(|function| function.name()).chain(aggregations) {
        assert!(used.contains(name), "no case for {name}");
        assert!(docs.contains(&format!("`{name}`")), "docs/promql.md does not name {name}");
    }
}
