//! Which crate may need which, and what a pure crate never needs: the design's arrows as a table with a reason each.
//! A crate that has no row fails the check, so that its place in the house is decided when it is made.

use super::Finding;
use super::graph::Graph;

const THIS_FILE: &str = "xtask/src/tidy/arrows.rs";

/// What one crate may need of the others.
struct Row {
    name: &'static str,
    may_need: &'static [&'static str],
    reason: &'static str,
}

const fn row(name: &'static str, may_need: &'static [&'static str], reason: &'static str) -> Row {
    Row { name, may_need, reason }
}

/// Names of packages never mean "all"; only the binary that wires everything is without a limit.
const ANYTHING: &[&str] = &["*"];

const ROWS: &[Row] = &[
    row("model", &[], "the shared nouns stand at the bottom: what they needed, everybody would need"),
    row("condition", &["model"], "a condition says the same to whoever declares it and to whoever asks"),
    row(
        "manifest",
        &["condition", "model", "promql"],
        "what a team declares is read without knowing what is done with it; only that an expression can be evaluated",
    ),
    row("ship", &["model"], "the acts never need each other; they meet in lifecycle"),
    row("watch", &["model"], "objectives are judged from counts, whoever counted them"),
    row("paging", &["model"], "who is told follows from alerts, whoever raised them"),
    row("lifecycle", &["model", "manifest", "paging", "ship", "watch"], "the one place where the acts meet"),
    row("ports", &["model"], "a trait for the outside speaks the shared nouns, never the rules behind it"),
    row(
        "record",
        &["model", "paging", "ship", "lifecycle", "watch"],
        "the stored form knows the events it stores and nothing that stores it",
    ),
    row(
        "views",
        &["model", "paging", "ship", "watch", "lifecycle", "ports"],
        "read models follow from events and never act",
    ),
    row(
        "runtime",
        &["model", "manifest", "paging", "ship", "watch", "lifecycle", "ports", "record", "views"],
        "makes the rules happen through ports, so it runs the same on a laptop, on a cluster and in a simulation",
    ),
    row("routes", &["model"], "the routing decision is pure, so that it can be tested without a socket"),
    row(
        "proxy",
        &["model", "routes"],
        "the gateway serves when everything else is dead, so it needs nothing else",
    ),
    row("load", &["model"], "the load generator judges the gateway from outside and shares no code with it"),
    row("sqlite", &["model", "ports", "record"], "an adapter knows its port and the stored form"),
    row("artifacts", &["model", "ports"], "an adapter knows its port"),
    row(
        "process",
        &["machine", "model", "ports"],
        "an adapter knows its port; what the system says of a process is read in one place",
    ),
    row(
        "checks",
        &["condition", "model", "ports", "process"],
        "an adapter knows its port; a check's command finds its program and its environment as a replica does",
    ),
    row("tls", &[], "how a server is trusted is the same for whoever speaks to one"),
    row("prober", &["model", "ports", "tls"], "an adapter knows its port"),
    row(
        "exchange",
        &["model", "ports", "tls"],
        "how one request is carried is the same for whoever sends one",
    ),
    row(
        "notify",
        &["exchange", "model", "paging", "ports"],
        "an adapter sends what is due; what is due it asks the rules, which know nothing of sending",
    ),
    row("promclient", &["exchange", "model", "ports"], "an adapter knows its port"),
    row("otlp", &["model", "ports", "tls"], "an adapter knows its port; what it sends is OpenTelemetry's"),
    row("machine", &["model"], "figures of the system are read for whoever shows them"),
    row(
        "agent",
        &["machine", "model", "otlp", "ports", "process", "proxy", "routes"],
        "acts on one machine and holds no policy: no rule, no journal",
    ),
    row("promql", &[], "a query language over any source of samples knows nothing of this product"),
    row("exposition", &["promql"], "formats of metrics are the field's own; labels are the language's"),
    row("store", &["promql"], "samples are kept without knowing who measured them"),
    row(
        "export",
        &["exposition", "logs", "model", "otlp", "promql", "store"],
        "samples and records are sent on without knowing who asked for it; the words are OpenTelemetry's",
    ),
    row("logs", &[], "lines are understood, kept and searched without knowing who wrote them"),
    row(
        "objectives",
        &["lifecycle", "meter", "model", "promql", "ship", "watch"],
        "what is counted follows from what is deployed, and what is asked of control from what was counted",
    ),
    row(
        "alerting",
        &["lifecycle", "model", "ports", "promql", "ship", "store", "watch"],
        "what a rule asks follows from what is deployed, and what is asked of control from the answers",
    ),
    row("meter", &["promql"], "counting needs samples, and nobody's meaning of them"),
    row("rules", &["promql", "store"], "expressions become series without knowing who declared them"),
    row("scrape", &["exposition", "promql", "store"], "a target is asked without knowing what it is"),
    row(
        "collector",
        &["exposition", "lifecycle", "model", "ports", "promql", "rules", "scrape", "store"],
        "who is asked follows from what runs; it decides nothing",
    ),
    row(
        "prometheus",
        &["exposition", "promql", "rules", "scrape", "store"],
        "a face answers from the store and of who fills it, whoever that is",
    ),
    row(
        "alertmanager",
        &["lifecycle", "model", "paging", "ports", "runtime", "watch"],
        "a face takes alerts in, shows who is told, and hands commands to the runtime",
    ),
    row(
        "api",
        &["lifecycle", "logs", "model", "manifest", "paging", "ports", "runtime", "views"],
        "a face shows views and records, and hands commands to the runtime",
    ),
    row(
        "cli",
        &[
            "logs",
            "model",
            "manifest",
            "paging",
            "ports",
            "runtime",
            "views",
            "record",
            "sqlite",
            "artifacts",
            "process",
            "agent",
            "api",
            "demo",
        ],
        "the command line is the API's client and starts the two processes",
    ),
    row(
        "demo",
        &["model", "ship", "load"],
        "the demo runs the binary as any user would and knows the bound that it compares with; nothing knows the demo",
    ),
    row("shipshape", ANYTHING, "the one binary wires everything"),
    row(
        "sim",
        &["condition", "model", "ports", "routes"],
        "the simulated world stands outside of control, so it knows the ports alone; its users are dealt releases by the \
         gateway's own rules, and its metrics are judged by the conditions' own; runtime's tests bring world and control together",
    ),
    row(
        "seeds",
        &["alerting", "model", "paging", "ship", "watch", "lifecycle", "ports", "record", "runtime", "sim"],
        "seeded lives run the real control, and who looks at alerts beside it, in the simulated world and judge them by the \
         journal; a crate of its own, because runtime's tests need sim",
    ),
    row("shop", &[], "an example is a service like any user's: it knows nothing of the product"),
    row(
        "fuzz",
        &[
            "api",
            "condition",
            "exposition",
            "logs",
            "manifest",
            "model",
            "ports",
            "promql",
            "proxy",
            "runtime",
            "scrape",
            "sim",
            "store",
            "views",
        ],
        "hostile bytes go where bytes from outside go; nothing knows the fuzz targets",
    ),
    row(
        "e2e",
        &["load", "model"],
        "end-to-end tests drive the binary from outside; linking it would prove less",
    ),
    row("xtask", &[], "the tasks build the product and must work when it does not compile"),
];

/// Packages that bring IO, time, chance or logging, which the pure crates get as arguments or leave to others.
const IMPURE: [&str; 10] =
    ["tokio", "hyper", "rusqlite", "axum", "rustix", "socket2", "mio", "tracing", "fastrand", "rand"];

fn is_pure(folder: &str) -> bool {
    folder.starts_with("core/") || folder == "traffic/routes"
}

pub(super) fn check(graph: &Graph, findings: &mut Vec<Finding>) {
    for (name, member) in &graph.members {
        let manifest = format!("{}/Cargo.toml", member.folder);
        match ROWS.iter().find(|row| row.name == name) {
            Some(row) => forbidden(graph, row, &manifest, findings),
            None => findings.push(Finding::new(
                &manifest,
                1,
                format!("the crate `{name}` has no place in the table of arrows"),
                format!("add its row to {THIS_FILE}, with the reason"),
            )),
        }
        if is_pure(&member.folder) {
            findings.extend(IMPURE.iter().filter_map(|impure| {
                let road = graph.road(name, impure)?;
                Some(Finding::new(
                    &manifest,
                    1,
                    format!("a pure crate needs `{impure}`: {}", road.join(" -> ")),
                    "take it as an argument, or move what needs it to engine/ or adapters/",
                ))
            }));
        }
    }
    for row in ROWS.iter().filter(|row| !graph.members.contains_key(row.name)) {
        findings.push(Finding::new(
            THIS_FILE,
            1,
            format!("the table has a row for `{}`, which is no crate of the workspace", row.name),
            "delete the row",
        ));
    }
}

fn forbidden(graph: &Graph, row: &Row, manifest: &str, findings: &mut Vec<Finding>) {
    if row.may_need == ANYTHING {
        return;
    }
    for to in graph.arrows(row.name).filter(|to| !row.may_need.contains(to)) {
        findings.push(Finding::new(
            manifest,
            1,
            format!("`{}` needs `{to}`, against the arrows: {}", row.name, row.reason),
            format!(
                "take the dependency out; if the design is wrong, change {THIS_FILE} and record the decision"
            ),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::super::graph::tests::graph;
    use super::*;

    /// A graph with every crate of the table and no arrow, then these lines.
    fn findings(lines: &[&str]) -> Vec<String> {
        let mut all: Vec<String> = ROWS.iter().map(|row| format!("{} x/{}:", row.name, row.name)).collect();
        all.extend(lines.iter().map(|line| (*line).to_owned()));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let mut found = Vec::new();
        check(&graph(&all), &mut found);
        found.into_iter().map(|it| format!("{}: {}", it.file, it.problem)).collect()
    }

    #[test]
    fn allowed_arrows_are_fine_and_the_binary_may_need_anything() {
        assert_eq!(
            findings(&["ship core/ship: model serde", "shipshape shipshape: cli agent proxy"]),
            [""; 0]
        );
    }

    #[test]
    fn an_arrow_against_the_design_is_found_with_its_reason() {
        assert_eq!(
            findings(&["ship core/ship: manifest"]),
            ["core/ship/Cargo.toml: `ship` needs `manifest`, against the arrows: \
                 the acts never need each other; they meet in lifecycle"]
        );
    }

    #[test]
    fn only_the_binary_may_need_the_faces() {
        for row in ROWS.iter().filter(|row| row.may_need != ANYTHING) {
            for face in ["api", "cli"] {
                let is_client = row.name == "cli" && face == "api";
                // It feeds the API hostile bytes, and nothing needs it.
                let is_fuzzer = row.name == "fuzz";
                assert!(
                    is_client || is_fuzzer || !row.may_need.contains(&face),
                    "{} may need {face}",
                    row.name
                );
            }
        }
    }

    #[test]
    fn the_table_has_no_circle() {
        for (index, row) in ROWS.iter().enumerate() {
            let doubles = ROWS.iter().skip(index + 1).filter(|it| it.name == row.name);
            assert_eq!(doubles.count(), 0, "{} has two rows", row.name);
        }
        let lines: Vec<String> = ROWS
            .iter()
            .filter(|row| row.may_need != ANYTHING)
            .map(|row| format!("{} x/{}: {}", row.name, row.name, row.may_need.join(" ")))
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let graph = graph(&lines);
        for row in ROWS {
            for next in row.may_need {
                assert_eq!(graph.road(next, row.name), None, "{} and {next} may need each other", row.name);
            }
        }
    }

    #[test]
    fn a_crate_without_a_row_and_a_row_without_a_crate_are_found() {
        assert_eq!(
            findings(&["respond core/respond: model"]),
            ["core/respond/Cargo.toml: the crate `respond` has no place in the table of arrows"]
        );
        let mut found = Vec::new();
        check(&graph(&["model core/model:"]), &mut found);
        assert!(found.iter().any(|it| it.problem.contains("a row for `ship`")));
    }

    #[test]
    fn a_pure_crate_that_reaches_io_is_found_with_the_road() {
        assert_eq!(
            findings(&["ship core/ship: model helper", "helper: tokio", "tokio: mio"]),
            [
                "core/ship/Cargo.toml: a pure crate needs `tokio`: ship -> helper -> tokio",
                "core/ship/Cargo.toml: a pure crate needs `mio`: ship -> helper -> tokio -> mio",
            ]
        );
    }
}
