//! What `--output json` prints, compared with `docs/output.md`: the page is the snapshot.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use e2e::{Ran, Stage};
use serde_json::{Value, json};

/// The shapes of the page by name, and which of them were compared.
struct Page(BTreeMap<String, (Value, bool)>);

impl Page {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/output.md");
        let text = fs::read_to_string(path).unwrap();
        let blocks = text.split("```json ").skip(1).map(|block| {
            let (name, rest) = block.split_once('\n').unwrap();
            let shape = serde_json::from_str(rest.split("```").next().unwrap());
            (name.to_owned(), (shape.unwrap_or_else(|error| panic!("{name}: {error}")), false))
        });
        Self(blocks.collect())
    }

    fn fits(&mut self, name: &str, text: &str) -> Value {
        let value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}: {text}"));
        let (shape, compared) = self.0.get_mut(name).unwrap_or_else(|| panic!("the page has no {name}"));
        *compared = true;
        let mut found = Vec::new();
        compare(shape, &value, name, &mut found);
        assert!(found.is_empty(), "docs/output.md says otherwise:\n{}\n{text}", found.join("\n"));
        // What others declared may use the same words.
        if !["journal", "schema", "env show"].contains(&name) {
            self.parts_fit(&value);
        }
        value
    }

    /// What may be absent or `null` has a shape of its own, wherever it stands.
    fn parts_fit(&mut self, value: &Value) {
        let members = value.as_object().into_iter().flatten();
        for (key, part) in members.clone().filter(|(_, part)| part.is_object()) {
            let shape = match key.as_str() {
                "report" | "wait" | "evidence" => key.as_str(),
                "evidenceLastSeen" => "evidence",
                "against" | "forIt" => "level",
                _ => continue,
            };
            let _ = self.fits(shape, &part.to_string());
        }
        for part in members.map(|(_, part)| part).chain(value.as_array().into_iter().flatten()) {
            self.parts_fit(part);
        }
    }

    /// What the last line says, after lines of progress.
    fn ends_with(&mut self, name: &str, ran: &Ran) -> Value {
        let lines: Vec<&str> = ran.stdout.lines().collect();
        let (last, before) = lines.split_last().unwrap_or_else(|| panic!("{name}: {ran:?}"));
        for line in before {
            let _ = self.fits("progress", line);
        }
        self.fits(name, last)
    }

    fn each_line_fits(&mut self, name: &str, ran: &Ran) {
        assert!(!ran.stdout.is_empty(), "{name}: {ran:?}");
        for line in ran.stdout.lines() {
            let _ = self.fits(name, line);
        }
    }

    fn all_were_compared(&self) {
        let left: Vec<&String> =
            self.0.iter().filter(|(_, (_, compared))| !compared).map(|(n, _)| n).collect();
        assert!(left.is_empty(), "nothing was compared with {left:?}");
    }
}

fn compare(shape: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(kinds) = shape.as_str() {
        if !kinds.split(" | ").any(|kind| kind == "any" || kind == kind_of(value)) {
            found.push(format!("{at} is {}, not {kinds}: {value}", kind_of(value)));
        }
    } else if let (Some(shapes), Some(values)) = (shape.as_array(), value.as_array()) {
        for (index, value) in values.iter().enumerate() {
            compare(&shapes[0], value, &format!("{at}[{index}]"), found);
        }
    } else if let (Some(shape), Some(value)) = (shape.as_object(), value.as_object()) {
        for (key, shape) in shape {
            let bare = key.trim_end_matches('?');
            match value.get(bare) {
                Some(value) => compare(shape, value, &format!("{at}.{bare}"), found),
                None if bare != key => {}
                None => found.push(format!("{at}.{key} is missing")),
            }
        }
        let known = |key: &String| shape.contains_key(key) || shape.contains_key(&format!("{key}?"));
        found.extend(
            value.keys().filter(|key| !known(key)).map(|key| format!("{at}.{key} is not on the page")),
        );
    } else {
        found.push(format!("{at} is {}, not {shape}", kind_of(value)));
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

const CANARY: &str = "environments: {staging: {replicas: 1}, production: {}}
notify: {receivers: {nobody: {webhook: http://127.0.0.1:1/}}}
alerts: {Always: {expr: vector(1), runbook: always, annotations: {summary: it holds, description: always}}}
probes: [{name: home, http: {path: /}}]
rollout:
  strategy: canary
  scaleDownDelay: 1s
  canary:
    sessionAffinity: {cookie: {name: shop}}
    steps: [{setHeaderRoute: {name: beta, match: [{headerName: x-beta, headerValue: {exact: yes}}]}}, {setWeight: 20}, {pause: {}}]
  analysis:
    judge: {promotion: evidence, maxErrorRate: 0.05}
    metrics:
      - {name: errors, source: errorRate, interval: 1s, successCondition: result < 0.5, inconclusiveLimit: 100}
      - {name: alive, http: {path: /healthz/live}, interval: 1s, dryRun: true}
";

fn json(stage: &Stage, arguments: &[&str]) -> Ran {
    stage.run(&[arguments, &["--output", "json"]].concat())
}

/// A shop that prints an error when it starts.
fn printing_an_error(stage: &Stage, name: &str) {
    let (shop, real) = (stage.path(name).join("shop"), stage.path(name).join("real"));
    fs::rename(&shop, &real).unwrap();
    let line = r#"{"level":"error","error.type":"Timeout","msg":"no answer"}"#;
    fs::write(&shop, format!("#!/bin/sh\necho '{line}'\nexec ./real\n")).unwrap();
    fs::set_permissions(&shop, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn every_verb_prints_what_the_page_says() {
    let mut page = Page::read();
    let stage = Stage::with(&format!("replicsa: 3\n{CANARY}"));
    let _ = page.fits("check", &json(&stage, &["check"]).exits(1).stdout);
    stage.manifest(CANARY);
    let _ = page.fits("check", &json(&stage, &["check"]).ok().stdout);
    let _ = page.fits("env show", &json(&stage, &["env", "show", "staging"]).ok().stdout);
    let _ = page.fits("env diff", &json(&stage, &["env", "diff", "staging", "production"]).ok().stdout);
    let _ = page.fits("schema", &json(&stage, &["schema"]).ok().stdout);
    let up = ["up", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--api", "127.0.0.1:0"];
    let _ = page.fits("up", &json(&stage, &up).ok().stdout);

    let (first, second) =
        (stage.build("one", &json!({"version": "1"})), stage.build("two", &json!({"version": "2"})));
    printing_an_error(&stage, "two");
    let at = ["-e", "staging"];
    let with = |arguments: &[&str]| json(&stage, &[arguments, &at].concat());
    let refused = with(&["rollback"]).exits(1);
    let failure = page.fits("failure", &refused.stderr);
    assert_eq!(failure["code"], "SHP-API-REFUSED");
    let done = page.ends_with("serves", &with(&["deploy", &first]).ok());
    assert_eq!(done["outcome"], "serves");
    let done = page.ends_with("unchanged", &with(&["deploy", &first]).ok());
    assert_eq!(done["outcome"], "unchanged");
    let done = page.ends_with("paused", &with(&["deploy", &second]).ok());
    assert_eq!(done["outcome"], "paused");
    let _ = page.fits("lock", &with(&["lock", "--reason", "a freeze", "--for", "2h"]).ok().stdout);
    let _ = page.fits("status", &with(&["status"]).ok().stdout);
    let _ = page.fits("probes", &with(&["probes"]).ok().stdout);
    let _ = page.fits("lock", &with(&["unlock"]).ok().stdout);
    let done = page.ends_with("rolledBack", &with(&["abort"]).ok());
    assert_eq!(done["outcome"], "rolledBack");
    let done = page.ends_with("started", &with(&["deploy", &second, "--detach"]).ok());
    assert_eq!(done["outcome"], "started");
    // It needs a second at least until its replica counts.
    let _ = page.fits("pause", &with(&["pause"]).ok().stdout);
    let _ = page.ends_with("rolledBack", &with(&["rollback"]).ok());
    page.each_line_fits("logs", &with(&["logs"]).ok());
    page.each_line_fits("logs record", &with(&["logs", "--level", "trace"]).ok());
    page.each_line_fits("logs platform", &with(&["logs", "--platform"]).ok());
    page.each_line_fits("logs group", &with(&["logs", "--group-by", "level"]).ok());
    let printed = || {
        let told = with(&["errors"]).ok().stdout;
        told.contains("Timeout").then_some(told)
    };
    let found = e2e::eventually("an error is in the inbox", Duration::from_secs(60), printed);
    let found = page.fits("errors", &found);
    let id = found["errors"][0]["id"].as_str().unwrap();
    let _ = page.fits("errors show", &with(&["errors", "show", id]).ok().stdout);
    let known = with(&["errors", "ack", id, "--reason", "it is known"]).ok();
    assert_eq!(page.fits("errors show", &known.stdout)["state"], "acknowledged");
    let _ = page.fits("calendar", &with(&["calendar"]).ok().stdout);
    let _ = page.fits("requests", &with(&["requests", "--all"]).ok().stdout);
    let looked = || {
        let told = with(&["slo"]).ok().stdout;
        (told.trim() != "[]").then_some(told)
    };
    let _ = page.fits("slo", &e2e::eventually("objectives are looked at", Duration::from_secs(60), looked));
    let backtest = || {
        let ran = with(&["slo", "backtest", "availability"]);
        (ran.status == Some(0)).then_some(ran.stdout)
    };
    let found = e2e::eventually("something was counted", Duration::from_secs(120), backtest);
    let _ = page.fits("slo backtest", &found);
    let _ = page.fits("slo report", &with(&["slo", "report"]).ok().stdout);
    alerts(&mut page, &with);
    page.each_line_fits("journal", &json(&stage, &["journal", "list"]).ok());
    page.each_line_fits("journal", &json(&stage, &["journal", "export"]).ok());
    let _ = page.fits("journal", &json(&stage, &["journal", "show", "2"]).ok().stdout);
    let _ = page.fits("journal verify", &json(&stage, &["journal", "verify"]).ok().stdout);
    let _ = page.fits("down", &json(&stage, &["down"]).ok().stdout);
    page.all_were_compared();
}

fn alerts(page: &mut Page, with: &dyn Fn(&[&str]) -> Ran) {
    let fires = || {
        let told = with(&["alerts"]).ok().stdout;
        told.contains("Always").then_some(told)
    };
    let _ = page.fits("alerts", &e2e::eventually("a rule fires", Duration::from_secs(60), fires));
    let _ = page.fits("alerts rules", &with(&["alerts", "rules"]).ok().stdout);
    let tried = || {
        let told = with(&["alerts", "receivers"]).ok().stdout;
        told.contains("\"why\"").then_some(told)
    };
    let told = e2e::eventually("the receiver was tried", Duration::from_secs(60), tried);
    let _ = page.fits("alerts receivers", &told);
}

#[test]
fn the_comparison_finds_what_is_missing_other_and_more() {
    let mut found = Vec::new();
    let shape = json!({"a": "number", "b": "string | null", "c?": "string", "d": [{"e": "boolean"}]});
    compare(&shape, &json!({"a": 1, "b": null, "d": [{"e": true}]}), "x", &mut found);
    assert_eq!(found, [""; 0]);
    compare(&shape, &json!({"b": 2, "d": [{"e": 1}], "f": 1}), "x", &mut found);
    assert_eq!(found.len(), 4, "{found:?}");
}
