//! Prometheus' rule files, and Kubernetes' `PrometheusRule` with the same inside: `alert` becomes a rule under `alerts`, `record`
//! one under `metrics.rules`. Each is tried with the manifest's own reader: what it would refuse is left out, with its line.
//! Does not live here: templates and durations ([`texts`]).

mod texts;

use std::collections::BTreeMap;

use model::alert::{NAME, ReadyMade, SEVERITY, Template};
use model::objective::Severity;
use model::time::format_duration;
use serde_json::{Map, Value, json};

use super::Notes;
use super::words::Part;
use crate::{Manifest, fields, render};

/// Where a document stands.
pub(super) struct Document<'a> {
    /// Its file.
    pub(super) file: &'a str,
    /// Its text.
    pub(super) text: &'a str,
    /// The line of the file that it begins with, from 1.
    pub(super) first_line: usize,
}

/// What was found in the files.
#[derive(Default)]
pub(super) struct Found {
    alerts: Map<String, Value>,
    records: Vec<Value>,
    /// What became of each severity, and how often.
    severities: BTreeMap<(Severity, String), usize>,
    changed: Vec<String>,
}

/// Annotations that name what to do; the first one that is there is taken.
const RUNBOOKS: [&str; 4] = ["runbook_url", "runbook", "runbookURL", "runbook_link"];
/// Labels that every alert has here, with what they mean.
const OWN_LABELS: [(&str, &str); 3] =
    [(NAME, "the rule's name"), ("app", "the service's name"), ("environment", "the environment's name")];

impl Found {
    /// Takes a document; `false` when it is none of these.
    pub(super) fn take(&mut self, part: &Part<'_>, document: &Document<'_>, notes: &mut Notes) -> bool {
        let rules = |part: &Part<'_>| part.text("kind").as_deref() == Some("PrometheusRule");
        let mut reader = Reader { found: self, document, notes };
        match part.text("kind").as_deref() {
            None if part.names().any(|name| name == "groups") => {
                reader.others(part, &["groups"]);
                reader.groups(part);
            }
            Some("PrometheusRule") => reader.resource(part),
            Some("List" | "PrometheusRuleList") if part.items("items").iter().any(rules) => {
                for item in part.items("items") {
                    match item.text("kind") {
                        Some(kind) if kind != "PrometheusRule" => {
                            reader.note(&item, &format!("a {kind} is nothing to import"));
                        }
                        Some(_) | None => reader.resource(&item),
                    }
                }
            }
            _ => return false,
        }
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.alerts.is_empty() && self.records.is_empty()
    }

    /// Puts what was found into the parts of a manifest, and tells what is different there.
    pub(super) fn give(self, root: &mut Map<String, Value>) -> Vec<String> {
        let mut changed = self.changed;
        if !self.severities.is_empty() {
            let each = self.severities.iter().map(|((ours, theirs), count)| {
                let rules = if *count == 1 { "1 rule".to_owned() } else { format!("{count} rules") };
                format!("{theirs} is {} ({rules})", ours.name())
            });
            let each: Vec<String> = each.collect();
            changed.push(format!("severities: {}", each.join(", ")));
        }
        let has_server = root.get("metrics").is_some_and(|metrics| metrics.get("provider").is_some());
        if !self.alerts.is_empty() {
            if !has_server {
                let what = "alerts ask control's own store: where a Prometheus has their metrics, name it under `metrics` \
                            (`provider: prometheus` and its `address`)";
                changed.push(what.to_owned());
            }
            root.insert("alerts".to_owned(), Value::Object(self.alerts));
        }
        if !self.records.is_empty() {
            let what = "recording rules fill control's own store from what is in it: where a Prometheus that has them answers, \
                        leave `metrics.rules` out";
            changed.push(what.to_owned());
            let metrics = root.entry("metrics").or_insert_with(|| json!({}));
            if let Value::Object(metrics) = metrics {
                metrics.insert("rules".to_owned(), Value::Array(self.records));
            }
        }
        changed
    }
}

/// Reads one document.
struct Reader<'a, 'b> {
    found: &'a mut Found,
    document: &'a Document<'b>,
    notes: &'a mut Notes,
}

impl Reader<'_, '_> {
    fn resource(&mut self, part: &Part<'_>) {
        self.others(part, &["apiVersion", "kind", "metadata", "spec"]);
        let name = part.child("metadata").and_then(|it| it.text("name")).unwrap_or_default();
        match part.child("spec") {
            Some(spec) => {
                let spec = spec.called(format!("PrometheusRule {name}"));
                self.others(&spec, &["groups"]);
                self.groups(&spec);
            }
            None => self.note(part, &format!("PrometheusRule {name} has no `spec`")),
        }
    }

    fn groups(&mut self, part: &Part<'_>) {
        let groups = part.items("groups");
        if groups.is_empty() {
            self.note(part, "it has no groups of rules");
        }
        for group in groups {
            let group_name = group.text("name").unwrap_or_default();
            let group = group.called(format!("group {group_name}"));
            let own_times = "rules of alerts are looked at every 15 seconds, recording rules every `metrics.evaluationInterval`";
            if let Some(interval) = group.text("interval") {
                self.at(&group, "interval", &format!("{interval}: {own_times}"));
            }
            self.others(&group, &["name", "interval", "labels", "rules"]);
            let common = labels(&group);
            for rule in group.items("rules") {
                match (rule.text("alert"), rule.text("record")) {
                    (Some(name), None) => self.alert(&rule.called(format!("alert {name}")), &name, &common),
                    (None, Some(name)) => self.record(&rule.called(format!("record {name}")), &name, &common),
                    (Some(_), Some(_)) | (None, None) => {
                        let what = format!("a rule of group {group_name} needs one of `alert` and `record`");
                        self.note(&rule.called(String::new()), &what);
                    }
                }
            }
        }
    }

    fn alert(&mut self, rule: &Part<'_>, name: &str, common: &[(String, String)]) {
        self.others(rule, &["alert", "expr", "for", "keep_firing_for", "labels", "annotations"]);
        let mut map = Map::new();
        let expr = rule.text("expr").unwrap_or_default();
        map.insert("expr".to_owned(), json!(expr));
        for (theirs, ours) in [("for", "for"), ("keep_firing_for", "keepFiringFor")] {
            let Some(text) = rule.text(theirs) else { continue };
            match texts::duration(&text) {
                Some(time) => drop(map.insert(ours.to_owned(), json!(format_duration(time)))),
                None => {
                    return self.at(
                        rule,
                        theirs,
                        &format!("`{text}` is not a duration, so the rule is left out"),
                    );
                }
            }
        }
        let labels = merged(common, rule);
        let (severity, word) = severity(&labels);
        map.insert("severity".to_owned(), json!(severity.name()));
        let runbook = self.runbook(rule);
        map.extend(runbook.map(|name| ("runbook".to_owned(), json!(name))));
        let kept = self.labels(rule, &labels);
        map.extend((!kept.is_empty()).then(|| ("labels".to_owned(), Value::Object(kept))));
        let kept = self.annotations(rule);
        map.extend((!kept.is_empty()).then(|| ("annotations".to_owned(), Value::Object(kept))));
        let ours = self.name(name, severity);
        if let Err(why) = tried("alerts", &json!({ours.clone(): map.clone()})) {
            return self.note(rule, &why);
        }
        if self.found.alerts.len() >= model::alert::MOST_RULES {
            let most = model::alert::MOST_RULES;
            return self
                .note(rule, &format!("a service has at most {most} rules: choose those that are its own"));
        }
        if ours != name {
            let why = match ReadyMade::named(name) {
                Some(_) => format!("{name} is ready-made, and goes on unless you write `{name}: false`"),
                None => format!("there is a rule {name} already"),
            };
            let line = self.line(rule.start());
            self.found.changed.push(format!("{}:{line}: called {ours} here: {why}", self.document.file));
        }
        if expr == "vector(1)" {
            let line = self.line(rule.start());
            self.found.changed.push(format!(
                "{}:{line}: {ours} fires always: the daily self-test proves the way to receivers without it",
                self.document.file
            ));
        }
        *self.found.severities.entry((severity, word)).or_default() += 1;
        self.found.alerts.insert(ours, Value::Object(map));
    }

    fn record(&mut self, rule: &Part<'_>, name: &str, common: &[(String, String)]) {
        self.others(rule, &["record", "expr", "labels"]);
        let mut map = Map::from_iter([
            ("record".to_owned(), json!(name)),
            ("expr".to_owned(), json!(rule.text("expr").unwrap_or_default())),
        ]);
        let labels: Map<_, _> =
            merged(common, rule).into_iter().map(|(name, text)| (name, json!(text))).collect();
        map.extend((!labels.is_empty()).then(|| ("labels".to_owned(), Value::Object(labels))));
        let map = Value::Object(map);
        let most = fields::MOST_RECORDING_RULES;
        if let Err(why) = tried("metrics", &json!({"rules": [map]})) {
            self.note(rule, &why);
        } else if self.found.records.len() >= most {
            self.note(
                rule,
                &format!("a service has at most {most} recording rules: choose those that are its own"),
            );
        } else {
            self.found.records.push(map);
        }
    }

    /// The name of what to do.
    fn runbook(&mut self, rule: &Part<'_>) -> Option<String> {
        let annotations = rule.child("annotations")?;
        let (mut runbook, mut first) = (None, "");
        for name in RUNBOOKS {
            match annotations.text(name) {
                None => {}
                Some(text) if text.contains("{{") => {
                    self.at(&annotations, name, "the name of a runbook has no blanks: name it by hand");
                }
                Some(text) if runbook.is_none() => (runbook, first) = (Some(text), name),
                Some(_) => self.at(&annotations, name, &format!("a rule has one runbook, and {first} is it")),
            }
        }
        runbook
    }

    fn labels(&mut self, rule: &Part<'_>, all: &[(String, String)]) -> Map<String, Value> {
        let mut kept = Map::new();
        for (name, text) in all.iter().filter(|(name, _)| name != SEVERITY) {
            let place = rule.child("labels").unwrap_or_else(|| rule.same());
            if let Some((_, means)) = OWN_LABELS.iter().find(|(own, _)| own == name) {
                self.at(&place, name, &format!("every alert has this label: it is {means}"));
                continue;
            }
            let read = texts::carried(text);
            match (read.text, read.unknown.first()) {
                (_, Some(unknown)) => self.at(&place, name, &format!("`{unknown}` is not known here")),
                (Some(text), None) if Template::read(&text).is_ok_and(|it| it.has_value()) => {
                    self.at(&place, name, "the value in a label would make another alert of each value");
                }
                (Some(text), None) => drop(kept.insert(name.clone(), json!(text))),
                (None, None) => {}
            }
        }
        kept
    }

    fn annotations(&mut self, rule: &Part<'_>) -> Map<String, Value> {
        let mut kept = Map::new();
        let Some(annotations) = rule.child("annotations") else { return kept };
        for name in annotations.names().filter(|name| !RUNBOOKS.contains(name)) {
            let Some(text) = annotations.text(name) else { continue };
            let read = texts::carried(&text);
            let unknown = read.unknown.join(" and ");
            match read.text {
                Some(text) => {
                    if !unknown.is_empty() {
                        self.at(&annotations, name, &format!("`{unknown}`, which leaves a gap in the text"));
                    }
                    kept.insert(name.to_owned(), json!(text));
                }
                None => self.at(
                    &annotations,
                    name,
                    &format!("`{unknown}` is not known here, so the text is left out"),
                ),
            }
        }
        kept
    }

    /// A name that no other rule has: two of the same name mostly differ in how urgent they are.
    fn name(&self, theirs: &str, severity: Severity) -> String {
        let is_free = |name: &str| !self.found.alerts.contains_key(name) && ReadyMade::named(name).is_none();
        let told_apart = format!("{theirs}{}", severity.name());
        let numbered = (2..).map(|number| format!("{theirs}{number}"));
        let mut all = [theirs.to_owned(), told_apart].into_iter().chain(numbered);
        all.find(|name| is_free(name)).unwrap_or_default()
    }

    /// The line of the file.
    fn line(&self, offset: usize) -> usize {
        let before = self.document.text.get(..offset).unwrap_or(self.document.text);
        self.document.first_line + before.matches('\n').count()
    }

    fn note(&mut self, part: &Part<'_>, what: &str) {
        self.noted(part.start(), &part.path, what);
    }

    /// The same of one of its fields.
    fn at(&mut self, part: &Part<'_>, field: &str, what: &str) {
        let offset = part.key_start(field).unwrap_or_else(|| part.start());
        self.noted(offset, &format!("{}.{field}", part.path), what);
    }

    fn noted(&mut self, offset: usize, path: &str, what: &str) {
        let place = format!("{}:{}", self.document.file, self.line(offset));
        let path = path.trim_start_matches('.');
        let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
        self.notes.0.push(format!("{place}: {path}{what}"));
    }

    /// Names every field of a part that nobody carries over.
    fn others(&mut self, part: &Part<'_>, known: &[&str]) {
        let others: Vec<&str> = part.names().filter(|name| !known.contains(name)).collect();
        for name in others {
            self.at(part, name, "has no place in a manifest");
        }
    }
}

/// Labels as they are written.
fn labels(part: &Part<'_>) -> Vec<(String, String)> {
    let Some(labels) = part.child("labels") else { return vec![] };
    labels.names().filter_map(|name| Some((name.to_owned(), labels.text(name)?))).collect()
}

/// The labels of a group and of a rule; the rule's speak.
fn merged(common: &[(String, String)], rule: &Part<'_>) -> Vec<(String, String)> {
    let own = labels(rule);
    let is_own = |name: &str| own.iter().any(|(each, _)| each == name);
    let common: Vec<_> = common.iter().filter(|(name, _)| !is_own(name)).cloned().collect();
    common.into_iter().chain(own).collect()
}

/// How urgent an alert is by its labels, and the words that say so. A word that nobody knows gives way to Sloth's own label.
fn severity(labels: &[(String, String)]) -> (Severity, String) {
    let said = |label: &str| labels.iter().find(|(name, _)| name == label).map(|(_, text)| text.as_str());
    let known = |text: &str| match text.to_lowercase().as_str() {
        "critical" | "page" | "pager" | "p1" | "emergency" | "fatal" | "disaster" | "high" => {
            Some(Severity::P1)
        }
        "warning" | "warn" | "ticket" | "error" | "major" | "medium" | "p2" => Some(Severity::P2),
        "info" | "informational" | "notice" | "none" | "low" | "minor" | "debug" | "p3" => Some(Severity::P3),
        _ => None,
    };
    let all = [SEVERITY, "sloth_severity"].into_iter().filter_map(said);
    let found = all.clone().find_map(|text| Some((known(text)?, format!("`{text}`"))));
    // Looked at by day: nobody said that it wakes somebody up.
    found.unwrap_or_else(|| {
        let text = all.clone().next();
        (
            Severity::P2,
            text.map_or_else(
                || "no severity".to_owned(),
                |text| format!("`{text}`, which is not known here,"),
            ),
        )
    })
}

/// Whether a manifest may have this.
fn tried(name: &str, part: &Value) -> Result<(), String> {
    let yaml = render::part(&Map::from_iter([(name.to_owned(), part.clone())]));
    let Err(wrong) = Manifest::parse(&format!("service: imported\nrun: ./imported\n{yaml}")) else {
        return Ok(());
    };
    match wrong.iter().find(|it| it.severity == crate::Severity::Error) {
        Some(error) => Err(error.message.clone()),
        None => Ok(()),
    }
}
