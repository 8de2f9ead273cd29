//! The rule about error codes: a code that the product can print has a page that explains it, and no page explains a
//! code that is gone. Not here: what a page says.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Tree};

const PREFIX: &str = "SHP-";
const PAGES: &str = "docs/errors/";

pub(super) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    let mut first_use: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
    // This crate speaks about codes but never prints one.
    for (path, text) in tree.rust().filter(|(path, _)| !path.starts_with("xtask/")) {
        for (index, line) in text.lines().enumerate() {
            for code in codes_in(line) {
                first_use.entry(code).or_insert((path, index + 1));
            }
        }
    }
    let pages: BTreeSet<&str> = tree
        .with_end(".md")
        .filter_map(|(path, _)| path.strip_prefix(PAGES)?.strip_suffix(".md"))
        .filter(|name| name.starts_with(PREFIX))
        .collect();

    for (code, (path, line)) in &first_use {
        if !pages.contains(code) {
            findings.push(Finding::new(
                path,
                *line,
                format!("{code} has no page"),
                format!("write {PAGES}{code}.md: what it means, the usual causes, what to do"),
            ));
        }
    }
    for page in pages.iter().filter(|page| !first_use.contains_key(**page)) {
        findings.push(Finding::new(
            &format!("{PAGES}{page}.md"),
            1,
            format!("no code mentions {page}"),
            "write the code out in full where it is printed, or delete the page",
        ));
    }
}

/// The codes in a line: the prefix and what follows it of capitals, digits and hyphens.
fn codes_in(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices(PREFIX).filter_map(|(start, _)| {
        let rest = &line[start + PREFIX.len()..];
        let end = rest
            .find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-'))
            .unwrap_or(rest.len());
        let code = line[start..start + PREFIX.len() + end].trim_end_matches('-');
        (code.len() > PREFIX.len()).then_some(code)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings<const N: usize>(files: [(&str, &str); N]) -> Vec<String> {
        Tree::of(files).findings(check)
    }

    #[test]
    fn a_code_with_its_page_is_fine() {
        let code = "//! x\nconst A: &str = \"SHP-G502\";\n";
        assert_eq!(findings([("a/src/lib.rs", code), ("docs/errors/SHP-G502.md", "# x\n")]), [""; 0]);
    }

    #[test]
    fn a_code_without_a_page_is_found_once_where_it_is_first_used() {
        let code = "//! x\nlet a = \"SHP-G502-X\";\nlet b = \"SHP-G502-X.\";\n";
        assert_eq!(findings([("a/src/lib.rs", code)]), ["a/src/lib.rs:2: SHP-G502-X has no page"]);
    }

    #[test]
    fn a_page_without_its_code_is_found() {
        assert_eq!(
            findings([("docs/errors/SHP-G1.md", "# x\n"), ("docs/errors/README.md", "index\n")]),
            ["docs/errors/SHP-G1.md:1: no code mentions SHP-G1"]
        );
    }

    #[test]
    fn the_bare_prefix_is_no_code() {
        assert_eq!(codes_in("`SHP-...` and SHP-{number}").count(), 0);
        assert_eq!(codes_in("SHP-M1, SHP-M2").collect::<Vec<_>>(), ["SHP-M1", "SHP-M2"]);
    }
}
