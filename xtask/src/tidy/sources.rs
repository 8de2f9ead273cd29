//! Rules about source files, one file at a time: how they open, how long they are, and which words never reach the
//! main branch. Not here: what rustfmt and clippy already see.

use super::{Finding, Tree};

/// Past this many lines a file wants to be two.
const MAX_LINES: usize = 600;

/// A file whose first line holds this was written by a program.
const GENERATED_MARK: &str = "@generated";

/// Words for work that is not done, in two halves, or this file would break its own rule.
const UNFINISHED: [&str; 3] = [concat!("FIX", "ME"), concat!("X", "XX"), concat!("HA", "CK")];

pub(super) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for (path, text) in &tree.texts {
        if text.lines().next().is_some_and(|line| line.contains(GENERATED_MARK)) {
            continue;
        }
        findings.extend(length(path, text));
        findings.extend(unfinished(path, text));
        if path.ends_with(".rs") {
            findings.extend(opening(path, text));
            findings.extend(ignored_tests(path, text));
            findings.extend(unwrap_allowed(path, text));
        }
    }
}

fn length(path: &str, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    (lines > MAX_LINES).then(|| {
        Finding::new(
            path,
            MAX_LINES + 1,
            format!("{lines} lines, and nobody holds more than {MAX_LINES} in the head"),
            "split the file along what it is about",
        )
    })
}

fn opening(path: &str, text: &str) -> Option<Finding> {
    (!text.starts_with("//!")).then(|| {
        Finding::new(
            path,
            1,
            "the file does not open with `//!`",
            "say in the first lines what lives here and what deliberately does not",
        )
    })
}

fn unfinished(path: &str, text: &str) -> Vec<Finding> {
    numbered(text)
        .filter_map(|(line, content)| {
            let word = content
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .find(|word| UNFINISHED.contains(word))?;
            Some(Finding::new(
                path,
                line,
                format!("`{word}` marks work that is not done"),
                "do the work, or open an issue and take the note out",
            ))
        })
        .collect()
}

fn ignored_tests(path: &str, text: &str) -> Vec<Finding> {
    numbered(text)
        .filter(|(_, content)| {
            let code = content.trim_start();
            ["#[ignore]", "#[ignore ", "#[ignore="].iter().any(|it| code.starts_with(it))
                || (code.starts_with("#[cfg_attr") && code.trim_end().ends_with("ignore)]"))
        })
        .map(|(line, _)| {
            Finding::new(
                path,
                line,
                "an ignored test proves nothing",
                "make it quick and deterministic, or delete it",
            )
        })
        .collect()
}

/// Finds `unwrap_used` switched off for a whole file or crate outside tests.
fn unwrap_allowed(path: &str, text: &str) -> Option<Finding> {
    let is_test = path.split('/').any(|part| matches!(part, "tests" | "tests.rs"));
    if is_test {
        return None;
    }
    let mut inside = None;
    for (line, content) in numbered(text) {
        let code = content.trim_start();
        if code.starts_with("#![allow(") || code.starts_with("#![expect(") {
            inside = Some(line);
        }
        if let Some(opened) = inside {
            if code.contains("clippy::unwrap_used") {
                return Some(Finding::new(
                    path,
                    opened,
                    "`unwrap` is allowed for everything below this line",
                    "return an error; where a value is provably there, `expect` with the proof",
                ));
            }
            if code.contains(")]") {
                inside = None;
            }
        }
    }
    None
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        check(&Tree::of([(path, text)]), &mut found);
        found.into_iter().map(|it| (it.line, it.problem)).collect()
    }

    #[test]
    fn a_clean_file_has_no_finding() {
        assert_eq!(findings("a/src/lib.rs", "//! Here: x.\n\nfn ignore() {}\n"), []);
    }

    #[test]
    fn a_file_without_an_opening_is_found() {
        assert_eq!(
            findings("a/src/lib.rs", "fn main() {}\n"),
            [(1, "the file does not open with `//!`".to_owned())]
        );
    }

    #[test]
    fn the_line_after_the_limit_is_one_too_many() {
        let at_limit = "//! x\n".repeat(MAX_LINES);
        assert_eq!(findings("a/src/lib.rs", &at_limit), []);
        let above = format!("{at_limit}//! x\n");
        assert_eq!(findings("a/src/lib.rs", &above)[0].0, MAX_LINES + 1);
        assert_eq!(findings("a/src/lib.rs", &format!("// {GENERATED_MARK}\n{above}")), []);
    }

    #[test]
    fn unfinished_work_is_found_by_the_whole_word() {
        for word in UNFINISHED {
            let text = format!("//! x\n// {word}: later\n");
            assert_eq!(findings("a/src/lib.rs", &text)[0].0, 2, "{word}");
            assert_eq!(findings("docs/x.md", &format!("{word}\n"))[0].0, 1, "{word}");
            assert_eq!(findings("a/src/lib.rs", &format!("//! x\n// {word}S\n")), [], "{word}");
        }
    }

    #[test]
    fn an_ignored_test_is_found_in_each_of_its_forms() {
        for attribute in ["#[ignore]", "#[ignore = \"slow\"]", "#[cfg_attr(linux, ignore)]"] {
            let text = format!("//! x\n#[test]\n    {attribute}\nfn t() {{}}\n");
            assert_eq!(findings("a/src/lib.rs", &text)[0].0, 3, "{attribute}");
        }
    }

    #[test]
    fn unwrap_allowed_for_a_whole_file_is_found_outside_tests() {
        let one_line = "//! x\n#![allow(clippy::unwrap_used)]\n";
        let split = "//! x\n#![allow(\n    clippy::print_stdout,\n    clippy::unwrap_used,\n)]\n";
        for text in [one_line, split] {
            assert_eq!(findings("a/src/lib.rs", text)[0].0, 2);
            assert_eq!(findings("a/tests/it.rs", text), []);
        }
        assert_eq!(findings("a/src/lib.rs", "//! x\n#![allow(dead_code)]\n// clippy::unwrap_used\n"), []);
    }
}
