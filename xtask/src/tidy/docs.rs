//! Rules about the Markdown files: decision records are numbered without a gap and listed, and links between files
//! lead somewhere. Not here: links to other sites, which would make the check depend on the network.

use super::{Finding, Tree};

const DECISIONS: &str = "docs/decisions/";
const INDEX: &str = "docs/decisions/README.md";

pub(super) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    decisions(tree, findings);
    for (path, text) in tree.with_end(".md") {
        for (line, target) in links(text) {
            findings.extend(broken_link(tree, path, line, target));
        }
    }
}

fn decisions(tree: &Tree, findings: &mut Vec<Finding>) {
    let index = tree.texts.get(INDEX).map_or("", String::as_str);
    let listed: Vec<&str> = links(index).into_iter().map(|(_, target)| target).collect();
    let mut next = 1;
    let records = tree
        .with_end(".md")
        .filter_map(|(path, _)| Some((path, path.strip_prefix(DECISIONS)?)))
        .filter(|(path, _)| *path != INDEX);
    for (path, name) in records {
        let Some(number) = record_number(name) else {
            findings.push(Finding::new(
                path,
                1,
                "a decision record is called NNNN-what-was-decided.md",
                format!("rename it to {next:04}-..."),
            ));
            continue;
        };
        if number != next {
            findings.push(Finding::new(
                path,
                1,
                format!("number {number:04} stands where {next:04} is due"),
                "number the records from 0001 without a gap and without a double",
            ));
        }
        next = number + 1;
        if !listed.contains(&name) {
            findings.push(Finding::new(
                path,
                1,
                format!("{INDEX} does not list this record"),
                format!("add `- [{number:04}]({name}): what was decided` to it"),
            ));
        }
    }
}

/// The number of `0007-some-words.md`.
fn record_number(name: &str) -> Option<u32> {
    let (number, words) = name.strip_suffix(".md")?.split_once('-')?;
    let is_plain =
        words.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') && !words.is_empty();
    if number.len() != 4 || !is_plain {
        return None;
    }
    number.parse().ok()
}

fn broken_link(tree: &Tree, path: &str, line: usize, target: &str) -> Option<Finding> {
    let file = target.split(['#', '?']).next().unwrap_or(target);
    if file.is_empty() || target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let found = resolve(path, file).is_some_and(|it| it.is_empty() || tree.has(&it));
    (!found).then(|| {
        Finding::new(
            path,
            line,
            format!("the link to `{target}` leads nowhere"),
            "write the path from this file's own folder, or take the link out",
        )
    })
}

/// The path from the root that a link in `from` means; `None` when it leaves the repository.
fn resolve(from: &str, target: &str) -> Option<String> {
    if target.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// The targets of a text's links with their line, from 1. Code blocks and code spans hold no links.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("```") || trimmed.starts_with("~~~") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        if let Some(target) = reference(trimmed) {
            found.push((index + 1, target));
        }
        found.extend(inline(line).into_iter().map(|target| (index + 1, target)));
    }
    found
}

/// The target of a line such as `[name]: path`.
fn reference(line: &str) -> Option<&str> {
    let (_, target) = line.strip_prefix('[')?.split_once("]: ")?;
    target.split_whitespace().next()
}

fn inline(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut in_code = false;
    let mut previous = ' ';
    for (at, c) in line.char_indices() {
        if c == '`' {
            in_code = !in_code;
        } else if c == '(' && previous == ']' && !in_code {
            let rest = &line[at + 1..];
            let target = rest.find(')').map(|end| rest[..end].trim());
            found.extend(target.and_then(|it| it.split_whitespace().next()));
        }
        previous = c;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings<const N: usize>(files: [(&str, &str); N]) -> Vec<String> {
        Tree::of(files).findings(check)
    }

    #[test]
    fn records_in_order_and_listed_are_fine() {
        let index = "- [0001](0001-first.md): a\n- [0002](0002-second-one.md): b\n";
        assert_eq!(
            findings([
                (INDEX, index),
                ("docs/decisions/0001-first.md", "# a\n"),
                ("docs/decisions/0002-second-one.md", "# b\n"),
            ]),
            [""; 0]
        );
    }

    #[test]
    fn a_gap_a_double_and_a_wrong_name_are_found() {
        let index = "[a](0001-a.md) [b](0003-b.md) [c](0003-c.md)\n";
        assert_eq!(
            findings([
                (INDEX, index),
                ("docs/decisions/0001-a.md", ""),
                ("docs/decisions/0003-b.md", ""),
                ("docs/decisions/0003-c.md", ""),
                ("docs/decisions/why.md", ""),
            ]),
            [
                "docs/decisions/0003-b.md:1: number 0003 stands where 0002 is due",
                "docs/decisions/0003-c.md:1: number 0003 stands where 0004 is due",
                "docs/decisions/why.md:1: a decision record is called NNNN-what-was-decided.md",
            ]
        );
    }

    #[test]
    fn an_unlisted_record_is_found() {
        assert_eq!(
            findings([(INDEX, "0001-a.md is only named\n"), ("docs/decisions/0001-a.md", "")]),
            ["docs/decisions/0001-a.md:1: docs/decisions/README.md does not list this record"]
        );
    }

    #[test]
    fn links_that_lead_somewhere_are_fine() {
        let text = "[a](docs/x.md#part) [b](docs/) [c](#here) [d](https://example.org/x) ![e](docs/x.md \"t\")\n\
                    [up](.)\n`[x](code)`\n```\n[y](code)\n```\n[ref]: docs/x.md\n";
        let back = "[home](../README.md)\n";
        assert_eq!(findings([("README.md", text), ("docs/x.md", back)]), [""; 0]);
    }

    #[test]
    fn links_that_lead_nowhere_are_found_with_their_line() {
        let text = "fine\n[a](docs/y.md)\n[b](../outside.md)\n[c](/docs/x.md)\n[ref]: gone.md\n";
        let problems = findings([("README.md", text), ("docs/x.md", "")]);
        assert_eq!(
            problems,
            [
                "README.md:2: the link to `docs/y.md` leads nowhere",
                "README.md:3: the link to `../outside.md` leads nowhere",
                "README.md:4: the link to `/docs/x.md` leads nowhere",
                "README.md:5: the link to `gone.md` leads nowhere",
            ]
        );
    }
}
