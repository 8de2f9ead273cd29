//! What the user types and reads, held by snapshots.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use clap::{CommandFactory as _, Parser as _};
use serde_json::{Value, json};
use views::Status;

use crate::args::{Cli, Verb};
use crate::failure::Failure;
use crate::printer::{Format, Printer};
use crate::{progress, verbs};

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn help(verb: &[&str]) -> String {
    let mut command = Cli::command();
    command.build();
    let mut at = &mut command;
    for name in verb {
        at = at.find_subcommand_mut(name).unwrap();
    }
    // The environment of whoever runs the tests is not part of the help.
    at.clone().mut_args(|arg| arg.hide_env_values(true)).term_width(100).render_help().to_string()
}

fn refused(arguments: &[&str]) -> String {
    let arguments = std::iter::once("shipshape").chain(arguments.iter().copied());
    let told = Cli::try_parse_from(arguments).unwrap_err().to_string();
    // The line of usage depends on the environment of whoever runs the tests.
    told.lines().filter(|line| !line.starts_with("Usage:")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_arguments_fit_together() {
    Cli::command().debug_assert();
}

#[test]
fn help_lists_the_verbs_and_hides_the_processes() {
    insta::assert_snapshot!("help", help(&[]));
}

#[test]
fn each_verb_has_an_example() {
    let mut command = Cli::command();
    command.build();
    let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    for verb in shown.flat_map(|verb| match verb.get_subcommands().next() {
        Some(_) => verb.get_subcommands().collect::<Vec<_>>(),
        None => vec![verb],
    }) {
        let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("Example") && help.contains("shipshape "), "{}: {help}", verb.get_name());
    }
}

#[test]
fn help_of_a_verb_shows_its_options_and_examples() {
    insta::assert_snapshot!("help_deploy", help(&["deploy"]));
    insta::assert_snapshot!("help_logs", help(&["logs"]));
}

#[test]
fn misuse_is_told_with_a_way_out() {
    let cases: [&[&str]; 5] = [
        &["dploy"],
        &["status", "-e", "Bad_Name"],
        &["promote", "--from", "staging"],
        &["promote", "--full", "--from", "staging", "--to", "production"],
        &["journal", "show", "twelve"],
    ];
    let told: Vec<String> =
        cases.iter().map(|case| format!("$ shipshape {}\n{}", case.join(" "), refused(case))).collect();
    insta::assert_snapshot!("misuse", told.join("\n"));
}

#[test]
fn the_short_f_is_the_manifest_everywhere_and_follows_in_logs() {
    let cli = Cli::try_parse_from(["shipshape", "status", "-f", "a.yaml"]).unwrap();
    assert_eq!(cli.common.file.to_str(), Some("a.yaml"));
    let cli = Cli::try_parse_from(["shipshape", "-f", "a.yaml", "logs", "-f"]).unwrap();
    assert_eq!(cli.common.file.to_str(), Some("a.yaml"));
    assert!(matches!(cli.verb, Verb::Logs(_)));
    let cli = Cli::try_parse_from(["shipshape", "logs", "--file", "b.yaml"]).unwrap();
    assert_eq!(cli.common.file.to_str(), Some("b.yaml"));
}

#[test]
fn an_error_says_what_and_the_way_out_on_stderr() {
    let failure = Failure {
        error: "no rollout is under way at shop/production".to_owned(),
        instead: Some("start one:\n\nshipshape deploy ./build/shop".to_owned()),
        code: Some("SHP-API-REFUSED".to_owned()),
    };
    for (format, name) in [(Format::Text, "error_text"), (Format::Json, "error_json")] {
        let (out, err) = (Paper::default(), Paper::default());
        let printer = Printer::into(format, Box::new(out.clone()), Box::new(err.clone()));
        printer.talk("talk is for people");
        printer.failure(&failure);
        assert_eq!(out.text(), "");
        insta::assert_snapshot!(name, err.text());
    }
}

fn place(phase: &str, more: Value) -> Value {
    let mut rollout = json!({
        "number": 3, "from": 2, "to": 3, "cause": "deploy", "strategy": "canary", "phase": phase, "reason": null,
        "step": 1, "steps": 4, "weight": 2000, "startedAt": "2026-01-01T00:00:00Z",
        "phaseSince": "2026-01-01T00:00:10Z", "ended": false,
        "report": {
            "doing": "watching release 3 at 20%",
            "wait": {"what": "the step's time", "until": "2026-01-01T00:01:05Z"},
            "evidence": {
                "candidate": {"requests": 120, "errors": 3}, "stable": {"requests": 480, "errors": 0},
                "against": {"e": 12.5, "threshold": 100.0}, "forIt": null,
                "rules": [{"name": "slow", "lastValue": 0.0123, "taken": 4, "failed": 1, "inconclusive": 0}],
            },
        },
    });
    for (key, value) in more.as_object().unwrap() {
        rollout[key] = value.clone();
    }
    let replica = |ordinal: u32, phase: &str, reason: Option<&str>| {
        json!({
            "ordinal": ordinal, "phase": phase, "pid": 4000 + ordinal, "port": 20000 + ordinal, "restarts": 0,
            "inFlight": ordinal, "lastExit": null, "reason": reason,
        })
    };
    let digest = format!("sha256:{}", "ab".repeat(32));
    json!({
        "service": "shop", "environment": "production", "serving": null, "hosts": ["*"], "pathPrefixes": ["/"],
        "rollout": rollout, "history": [1, 2],
        "releases": [
            {
                "release": 2, "artifact": digest, "configuration": digest, "weight": 8000, "wanted": 2, "ready": 2,
                "replicas": [replica(1, "ready", None), replica(2, "ready", None)], "crashLoop": null,
            },
            {
                "release": 3, "artifact": digest, "configuration": digest, "weight": 2000, "wanted": 2, "ready": 1,
                "replicas": [
                    replica(1, "ready", None),
                    replica(2, "starting", Some("the readiness probe failed:\u{1b}[2J connection refused")),
                ],
                "crashLoop": null,
            },
        ],
    })
}

/// A blue-green rollout whose preview waits for a promotion.
fn previewed() -> Value {
    let mut place = place(
        "paused",
        json!({
            "strategy": "blueGreen", "step": 0, "steps": 1, "weight": 0,
            "reason": "the strategy pauses here until it is promoted",
            "report": {
                "doing": "release 3 is previewed at preview.shop.production.localhost: the strategy pauses here until it \
                          is promoted",
                "wait": {"what": "`shipshape promote` goes on, `shipshape abort` goes back", "until": null},
                "evidence": {
                    "candidate": {"requests": 0, "errors": 0}, "stable": {"requests": 0, "errors": 0},
                    "against": {"e": 1.0, "threshold": 100.0}, "forIt": null, "rules": [],
                },
            },
        }),
    );
    (place["releases"][0]["weight"], place["releases"][1]["weight"]) = (json!(10_000), json!(0));
    place["previewHosts"] = json!(["preview.shop.production.localhost"]);
    place
}

fn status(places: Vec<Value>) -> Status {
    serde_json::from_value(json!({
        "version": "0.1.0", "at": "2026-01-01T00:01:00Z", "agentReachable": true, "gateway": "0.0.0.0:8080",
        "warnings": [], "places": places,
    }))
    .unwrap()
}

fn overview(status: &Status) -> String {
    verbs::overview::lines(status).into_iter().map(|line| line.text + "\n").collect()
}

#[test]
fn nothing_deployed_says_what_to_do_next() {
    insta::assert_snapshot!("status_empty", overview(&status(vec![])));
}

#[test]
fn the_status_says_what_serves_what_moves_and_why_not() {
    insta::assert_snapshot!("status_canary", overview(&status(vec![place("progressing", json!({}))])));
}

#[test]
fn a_preview_says_where_it_is_and_what_it_waits_for() {
    let status = status(vec![previewed()]);
    let place = &status.places[0];
    let rollout = place.rollout.as_ref().unwrap();
    let drawn = progress::lines(place, rollout, status.at).join("\n");
    insta::assert_snapshot!(
        "preview",
        format!("{}\n{drawn}\n\n> {}", overview(&status), progress::line(rollout))
    );
}

#[test]
fn the_status_of_a_rollback_and_of_a_lost_agent_say_so() {
    let ended = json!({"ended": true, "report": null, "reason": "judge: too many errors"});
    let mut seen = place("rolledBack", ended);
    seen["serving"] = json!(2);
    seen["hosts"] = json!(["*.example.org"]);
    seen["releases"].as_array_mut().unwrap().remove(1);
    let mut status = status(vec![seen]);
    status.agent_reachable = false;
    status.warnings = vec!["limits are not enforced".to_owned()];
    insta::assert_snapshot!("status_rolled_back", overview(&status));
}

#[test]
fn progress_is_drawn_on_a_terminal_and_told_in_a_file() {
    let paused = json!({
        "reason": "the strategy pauses here until it is promoted",
        "report": {
            "doing": "paused at 20%: the strategy pauses here until it is promoted",
            "wait": {"what": "`shipshape promote` goes on, `shipshape abort` goes back", "until": null},
            "evidence": {
                "candidate": {"requests": 0, "errors": 0}, "stable": {"requests": 0, "errors": 0},
                "against": null, "forIt": {"e": 1.0, "threshold": 20.0}, "rules": [],
            },
        },
    });
    let rolled_back = json!({"ended": true, "report": null, "reason": "judge: too many errors"});
    let first = json!({"from": null, "steps": 0, "step": 0, "weight": 0, "strategy": "rolling"});
    let phases =
        [("progressing", json!({})), ("paused", paused), ("rolledBack", rolled_back), ("progressing", first)];
    let mut told = String::new();
    for (phase, more) in phases {
        let status = status(vec![place(phase, more)]);
        let place = &status.places[0];
        let rollout = place.rollout.as_ref().unwrap();
        told.push_str(&progress::lines(place, rollout, status.at).join("\n"));
        told.push_str(&format!("\n\n> {}\n\n", progress::line(rollout)));
    }
    insta::assert_snapshot!("progress", told);
}

#[test]
fn the_verb_that_is_a_process_names_it() {
    let cli = Cli::try_parse_from([
        "shipshape",
        "agent",
        "--home",
        "/h",
        "--listen",
        "127.0.0.1:1",
        "--admin",
        "127.0.0.1:2",
    ])
    .unwrap();
    let process = cli.verb.process(&cli.common).unwrap().unwrap();
    assert_eq!((process.name(), process.home().to_str()), ("agent", Some("/h")));
    let cli = Cli::try_parse_from(["shipshape", "status"]).unwrap();
    assert!(cli.verb.process(&cli.common).is_none());
}
