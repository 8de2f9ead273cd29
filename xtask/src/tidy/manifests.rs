//! The rule about each crate's `Cargo.toml`: it carries the license and obeys the workspace's lints. Not here: which
//! crates it may depend on (see `arrows`).

use super::{Finding, Tree};

pub(super) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for (path, text) in tree.with_end("Cargo.toml") {
        let Some(package) = section(text, "package") else { continue };
        let has_license = package.lines.iter().any(|line| {
            setting(line)
                .is_some_and(|(key, value)| matches!(key, "license" | "license.workspace") && value != "\"\"")
        });
        if !has_license {
            findings.push(Finding::new(
                path,
                package.line,
                "the crate has no license",
                "add `license.workspace = true` under [package]",
            ));
        }
        let lints = section(text, "lints");
        let obeys = lints.as_ref().is_some_and(|it| {
            it.lines.iter().any(|line| setting(line).is_some_and(|it| it == ("workspace", "true")))
        });
        if !obeys {
            findings.push(Finding::new(
                path,
                lints.map_or(1, |it| it.line),
                "the crate does not take the workspace's lints",
                "add `[lints]` with `workspace = true`",
            ));
        }
    }
}

struct Section<'a> {
    /// Line of its header, from 1.
    line: usize,
    lines: Vec<&'a str>,
}

/// A table of the file, found by its header alone: our manifests write headers on their own line.
fn section<'a>(text: &'a str, name: &str) -> Option<Section<'a>> {
    let header = format!("[{name}]");
    let line = text.lines().position(|line| line.trim() == header)?;
    let lines = text.lines().skip(line + 1).take_while(|line| !line.trim_start().starts_with('[')).collect();
    Some(Section { line: line + 1, lines })
}

fn setting(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    Some((key.trim(), value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        check(&Tree::of([("a/Cargo.toml", text)]), &mut found);
        found.into_iter().map(|it| format!("{}: {}", it.line, it.problem)).collect()
    }

    #[test]
    fn license_and_lints_of_the_workspace_are_enough() {
        let good = "[package]\nname = \"a\"\nlicense.workspace = true\n\n[lints]\nworkspace = true\n";
        assert_eq!(findings(good), [""; 0]);
    }

    #[test]
    fn a_crate_without_a_license_is_found() {
        let text = "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n";
        assert_eq!(findings(text), ["1: the crate has no license"]);
    }

    #[test]
    fn a_crate_outside_the_lints_is_found() {
        let problem = "the crate does not take the workspace's lints";
        let none = "[package]\nlicense = \"Apache-2.0\"\n[dependencies]\nworkspace = true\n";
        assert_eq!(findings(none), [format!("1: {problem}")]);
        let off = "[package]\nlicense = \"Apache-2.0\"\n[lints]\nworkspace = false\n";
        assert_eq!(findings(off), [format!("3: {problem}")]);
    }

    #[test]
    fn the_root_without_a_package_is_left_alone() {
        assert_eq!(findings("[workspace]\nmembers = []\n"), [""; 0]);
    }
}
