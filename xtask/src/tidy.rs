//! `cargo xtask tidy`: the rules of the house that neither the compiler nor clippy can hold. Here: the tree of files
//! that the rules read, what a finding is, and the run. Each rule lives in the folder beside; none of them reads the
//! disk or starts a program, so that each is tested on a few lines of text.

mod arrows;
mod codes;
mod docs;
mod graph;
mod manifests;
mod promises;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::house::House;

/// What to do with the snapshot of the crate graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Snapshot {
    /// A difference is a finding.
    Compare,
    /// Write the graph as it is now.
    Rewrite,
}

/// One broken rule: where, what, and the way out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    file: String,
    line: usize,
    problem: String,
    fix: String,
}

impl Finding {
    fn new(file: &str, line: usize, problem: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { file: file.to_owned(), line, problem: problem.into(), fix: fix.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}\n    fix: {}", self.file, self.line, self.problem, self.fix)
    }
}

/// The repository's files, by path from its root with `/` between the parts.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Text of the files that the rules read.
    texts: BTreeMap<String, String>,
    /// Every file and folder, read or not.
    paths: BTreeSet<String>,
}

/// Folders that hold nothing of ours.
const FOREIGN: [&str; 5] = [".git", "target", "vendor", "node_modules", ".shipshape"];

impl Tree {
    /// Reads the tree below a folder, without what git, cargo and others put there.
    ///
    /// # Errors
    /// When a folder or a file cannot be read.
    pub(crate) fn read(root: &Path) -> Result<Tree> {
        let mut tree = Tree::default();
        tree.read_folder(root, "")?;
        Ok(tree)
    }

    fn read_folder(&mut self, root: &Path, folder: &str) -> Result<()> {
        let full = root.join(folder);
        for entry in fs::read_dir(&full).with_context(|| format!("cannot list {}", full.display()))? {
            let entry = entry.with_context(|| format!("cannot list {}", full.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let kind = entry.file_type().with_context(|| format!("cannot look at {path}"))?;
            if kind.is_dir() {
                if !FOREIGN.contains(&name.as_str()) {
                    self.read_folder(root, &path)?;
                    self.paths.insert(path);
                }
            } else {
                if is_ours(&path) {
                    let text = fs::read_to_string(root.join(&path))
                        .with_context(|| format!("cannot read {path} as UTF-8 text"))?;
                    self.texts.insert(path.clone(), text);
                }
                self.paths.insert(path);
            }
        }
        Ok(())
    }

    /// The Rust files.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.with_end(".rs")
    }

    fn with_end(&self, end: &str) -> impl Iterator<Item = (&str, &str)> {
        self.texts
            .iter()
            .filter(move |(path, _)| path.ends_with(end))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    fn has(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    #[cfg(test)]
    fn of<const N: usize>(files: [(&str, &str); N]) -> Tree {
        let mut tree = Tree::default();
        for (path, text) in files {
            let mut folder = path;
            while let Some((above, _)) = folder.rsplit_once('/') {
                tree.paths.insert(above.to_owned());
                folder = above;
            }
            tree.paths.insert(path.to_owned());
            tree.texts.insert(path.to_owned(), text.to_owned());
        }
        tree
    }

    /// What a rule says of it.
    #[cfg(test)]
    fn findings(&self, rule: fn(&Tree, &mut Vec<Finding>)) -> Vec<String> {
        let mut found = Vec::new();
        rule(self, &mut found);
        found.into_iter().map(|it| format!("{}:{}: {}", it.file, it.line, it.problem)).collect()
    }
}

/// Whether a rule reads the file's text: written by people, not generated.
fn is_ours(path: &str) -> bool {
    const READ: [&str; 8] = ["rs", "md", "toml", "py", "sh", "css", "js", "yaml"];
    let is_generated = path.split('/').any(|part| part == "generated");
    let is_script = path == ".ci/run";
    !is_generated && (is_script || path.rsplit_once('.').is_some_and(|(_, end)| READ.contains(&end)))
}

/// Applies every rule.
///
/// # Errors
/// When a rule is broken; each finding has been printed.
pub(crate) fn run(house: &House, snapshot: Snapshot) -> Result<()> {
    let tree = Tree::read(&house.root)?;
    let graph = graph::Graph::from_metadata(&house.metadata()?)?;
    if snapshot == Snapshot::Rewrite {
        let path = house.root.join(graph::SNAPSHOT);
        fs::write(&path, graph.to_text()).with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote {}", graph::SNAPSHOT);
    }
    let stored = fs::read_to_string(house.root.join(graph::SNAPSHOT)).unwrap_or_default();

    let mut findings = Vec::new();
    sources::check(&tree, &mut findings);
    manifests::check(&tree, &mut findings);
    codes::check(&tree, &mut findings);
    docs::check(&tree, &mut findings);
    promises::check(&tree, &mut findings);
    graph.compare(&stored, &mut findings);
    arrows::check(&graph, &mut findings);

    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("tidy: {} files, {} crates, nothing to say", tree.texts.len(), graph.members.len());
            Ok(())
        }
        1 => bail!("tidy: 1 rule is broken"),
        many => bail!("tidy: {many} rules are broken"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_skips_what_is_not_ours() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["a/src/lib.rs", "target/debug/x.rs", "a/generated/y.rs", "a/logo.png"] {
            let full = folder.path().join(path);
            fs::create_dir_all(full.parent().unwrap()).unwrap();
            fs::write(full, "//! x\n").unwrap();
        }
        let tree = Tree::read(folder.path()).unwrap();
        assert_eq!(tree.rust().map(|(path, _)| path).collect::<Vec<_>>(), ["a/src/lib.rs"]);
        assert!(tree.has("a/logo.png") && tree.has("a/src") && !tree.has("target"));
    }

    #[test]
    fn a_finding_says_where_what_and_the_way_out() {
        let finding = Finding::new("a/src/lib.rs", 7, "too long", "split it");
        assert_eq!(finding.to_string(), "a/src/lib.rs:7: too long\n    fix: split it");
    }
}
