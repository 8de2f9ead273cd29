//! The rule about promises: `docs/promises.md` has a row for each, and every test or rule that a row names is there. Not
//! here: whether a test proves what the row says.

use super::{Finding, Tree};

const PAGE: &str = "docs/promises.md";
/// How many promises there are.
const PROMISES: usize = 14;
/// Promise, simulation, end to end, beside them, seen red.
const CELLS: usize = 5;

pub(super) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    let text = tree.texts.get(PAGE).map_or("", String::as_str);
    let mut next = 1;
    for (line, cells) in rows(text) {
        let mut finding = |problem: String, fix: &str| findings.push(Finding::new(PAGE, line, problem, fix));
        if !cells[0].starts_with(&format!("{next}. ")) {
            finding(format!("promise {next} is due here"), "number the promises from 1 without a gap");
        }
        next += 1;
        if cells.len() != CELLS || cells.iter().any(|cell| cell.is_empty()) {
            finding("a promise has an empty cell".to_owned(), "name what holds it, or why nothing can");
        }
        for name in cells.iter().flat_map(|cell| names(cell)) {
            if !is_there(tree, name) {
                finding(format!("{name} is not there"), "name it as `path/to/file.rs::function`");
            }
        }
        let is_tested = cells.get(2).is_some_and(|cell| names(cell).next().is_some());
        if !is_tested {
            finding("a promise without an end-to-end test".to_owned(), "name one in the third column");
        }
    }
    if next != PROMISES + 1 {
        let problem = format!("{} promises of {PROMISES}", next - 1);
        findings.push(Finding::new(PAGE, 1, problem, "write a row `| N. the promise | ... |` for each"));
    }
}

/// The rows of promises, each with its line: those of a table whose first cell starts with a number.
fn rows(text: &str) -> impl Iterator<Item = (usize, Vec<&str>)> {
    text.lines().enumerate().filter_map(|(index, line)| {
        let inner = line.strip_prefix('|')?.strip_suffix('|')?;
        let cells: Vec<&str> = inner.split('|').map(str::trim).collect();
        cells[0].starts_with(|c: char| c.is_ascii_digit()).then_some((index + 1, cells))
    })
}

/// What a cell names: `path.rs::function`, in backticks.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2).filter(|name| name.contains(".rs::"))
}

fn is_there(tree: &Tree, name: &str) -> bool {
    let Some((path, function)) = name.split_once("::") else { return false };
    tree.texts.get(path).is_some_and(|text| text.contains(&format!("fn {function}(")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: (&str, &str) = ("e2e/tests/a.rs", "//! x\nfn nothing_is_lost() {}\n");

    fn findings(rows: &str) -> Vec<String> {
        Tree::of([(PAGE, rows), TEST]).findings(check)
    }

    fn row(number: usize, test: &str) -> String {
        format!("| {number}. x | y | `e2e/tests/a.rs::{test}` | y | y |\n")
    }

    #[test]
    fn a_row_for_each_promise_is_fine() {
        let rows: String = (1..=PROMISES).map(|number| row(number, "nothing_is_lost")).collect();
        assert_eq!(findings(&format!("# x\n\n| promise |\n|---|\n{rows}")), [""; 0]);
    }

    #[test]
    fn a_test_that_is_gone_and_a_promise_that_is_missing_are_found() {
        let rows: String =
            (1..PROMISES).map(|n| row(n, if n == 2 { "nothing" } else { "nothing_is_lost" })).collect();
        assert_eq!(
            findings(&rows),
            [
                "docs/promises.md:2: e2e/tests/a.rs::nothing is not there",
                "docs/promises.md:1: 13 promises of 14"
            ]
        );
    }

    #[test]
    fn a_promise_without_a_test_or_with_an_empty_cell_is_found() {
        let rows: String = (2..=PROMISES).map(|number| row(number, "nothing_is_lost")).collect();
        assert_eq!(
            findings(&format!("| 1. x | | y | y | y |\n{rows}")),
            [
                "docs/promises.md:1: a promise has an empty cell",
                "docs/promises.md:1: a promise without an end-to-end test"
            ]
        );
    }
}
