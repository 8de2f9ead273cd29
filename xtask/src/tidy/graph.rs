//! The crate graph as cargo sees it, and its snapshot: a new arrow is a line in a review, not an accident. Which arrows
//! are allowed is in `arrows`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata};

use super::Finding;

/// Where the snapshot lives.
pub(crate) const SNAPSHOT: &str = "xtask/graph.txt";

/// All packages that the workspace's crates are built from.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    /// The crates of the workspace, by name.
    pub(crate) members: BTreeMap<String, Member>,
    /// What each package, ours or not, needs in the product; packages of one name in several versions share an entry.
    pub(crate) needs: BTreeMap<String, BTreeSet<String>>,
}

/// A crate of the workspace.
#[derive(Debug, Default)]
pub(crate) struct Member {
    /// Its folder, from the root.
    pub(crate) folder: String,
    /// Packages that only its tests need.
    pub(crate) test_needs: BTreeSet<String>,
}

impl Graph {
    /// Takes the graph out of what cargo says.
    ///
    /// # Errors
    /// When cargo left out the resolved dependencies.
    pub(crate) fn from_metadata(metadata: &Metadata) -> Result<Graph> {
        let resolve = metadata.resolve.as_ref().context("`cargo metadata` resolved no dependencies")?;
        let names: BTreeMap<_, _> =
            metadata.packages.iter().map(|package| (&package.id, package.name.to_string())).collect();
        let mut graph = Graph::default();
        for package in metadata.workspace_packages() {
            let folder = package.manifest_path.parent().unwrap_or(&package.manifest_path);
            let folder = folder.strip_prefix(&metadata.workspace_root).unwrap_or(folder).to_string();
            graph.members.insert(package.name.to_string(), Member { folder, test_needs: BTreeSet::new() });
        }
        for node in &resolve.nodes {
            let Some(from) = names.get(&node.id) else { continue };
            for dependency in &node.deps {
                let Some(to) = names.get(&dependency.pkg) else { continue };
                let has = |kind| dependency.dep_kinds.iter().any(|it| it.kind == kind);
                if has(DependencyKind::Normal) {
                    graph.needs.entry(from.clone()).or_default().insert(to.clone());
                } else if has(DependencyKind::Development)
                    && let Some(member) = graph.members.get_mut(from)
                {
                    member.test_needs.insert(to.clone());
                }
            }
        }
        Ok(graph)
    }

    /// The crates of the workspace that this one needs in the product.
    pub(crate) fn arrows(&self, from: &str) -> impl Iterator<Item = &str> {
        self.needs
            .get(from)
            .into_iter()
            .flatten()
            .map(String::as_str)
            .filter(|to| self.members.contains_key(*to))
    }

    /// The shortest road from one package to another through what the product needs, both ends included.
    pub(crate) fn road(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            if at == to {
                let mut road = vec![at.to_owned()];
                let mut here = at;
                while here != from {
                    here = came_from.get(here).copied()?;
                    road.push(here.to_owned());
                }
                road.reverse();
                return Some(road);
            }
            for next in self.needs.get(at).into_iter().flatten() {
                if next != from && !came_from.contains_key(next.as_str()) {
                    came_from.insert(next, at);
                    queue.push_back(next);
                }
            }
        }
        None
    }

    /// The snapshot's text: a line per crate, and one more where its tests need other crates of ours.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::from(
            "# The crates of the workspace and what each needs of the others.\n\
             # Written by `cargo xtask tidy --bless`; a changed line belongs into the review.\n",
        );
        for (name, member) in &self.members {
            let arrows: Vec<&str> = self.arrows(name).collect();
            text.push_str(format!("{name} -> {}", arrows.join(", ")).trim_end());
            text.push('\n');
            let ours: Vec<&str> = member
                .test_needs
                .iter()
                .filter(|it| self.members.contains_key(*it))
                .map(String::as_str)
                .collect();
            if !ours.is_empty() {
                text.push_str(&format!("{name} (tests) -> {}\n", ours.join(", ")));
            }
        }
        text
    }

    /// Compares the graph with the stored snapshot.
    pub(crate) fn compare(&self, stored: &str, findings: &mut Vec<Finding>) {
        let now = self.to_text();
        let new: BTreeSet<&str> = now.lines().collect();
        let old: BTreeSet<&str> = stored.lines().collect();
        for (index, line) in stored.lines().enumerate().filter(|(_, line)| !new.contains(line)) {
            findings.push(snapshot_finding(index + 1, format!("the graph has no longer `{line}`")));
        }
        for line in new.difference(&old) {
            findings.push(snapshot_finding(1, format!("the graph has now `{line}`")));
        }
    }
}

fn snapshot_finding(line: usize, problem: String) -> Finding {
    Finding::new(
        SNAPSHOT,
        line,
        problem,
        "take the dependency back, or `cargo xtask tidy --bless` and say in the commit why",
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A graph of `name folder: needs` lines; a name without a folder is a package from elsewhere.
    pub(crate) fn graph(lines: &[&str]) -> Graph {
        let mut graph = Graph::default();
        for line in lines {
            let (head, needs) = line.split_once(':').unwrap();
            let needs: BTreeSet<String> = needs.split_whitespace().map(str::to_owned).collect();
            let mut head = head.split_whitespace();
            let name = head.next().unwrap().to_owned();
            if let Some(folder) = head.next() {
                let member = Member { folder: folder.to_owned(), test_needs: BTreeSet::new() };
                graph.members.insert(name.clone(), member);
            }
            graph.needs.insert(name, needs);
        }
        graph
    }

    fn differences(graph: &Graph, stored: &str) -> Vec<String> {
        let mut found = Vec::new();
        graph.compare(stored, &mut found);
        found.into_iter().map(|it| format!("{}: {}", it.line, it.problem)).collect()
    }

    #[test]
    fn the_blessed_snapshot_has_no_difference() {
        let mut graph = graph(&["ship core/ship: model serde", "model core/model:", "serde:"]);
        graph.members.get_mut("model").unwrap().test_needs.extend(["ship".to_owned(), "proptest".to_owned()]);
        let text = graph.to_text();
        assert_eq!(differences(&graph, &text), [""; 0]);
        let crates: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(crates, ["model ->", "model (tests) -> ship", "ship -> model"]);
    }

    #[test]
    fn a_new_arrow_and_a_lost_one_are_found() {
        let before = graph(&["a x/a: b", "b x/b:"]).to_text();
        let after = graph(&["a x/a:", "b x/b:"]);
        assert_eq!(
            differences(&after, &before),
            ["3: the graph has no longer `a -> b`", "1: the graph has now `a ->`"]
        );
        assert!(!differences(&after, "").is_empty());
    }

    #[test]
    fn the_road_is_the_shortest_and_ends_where_there_is_none() {
        let graph = graph(&["a x/a: b c", "b x/b: c", "c: d", "d: a"]);
        assert_eq!(graph.road("a", "d").unwrap(), ["a", "c", "d"]);
        assert_eq!(graph.road("c", "e"), None);
    }
}
