//! Files of other tools in the manifest's words: Argo's `AnalysisTemplate`, `ClusterAnalysisTemplate` and `Rollout`, objectives of
//! OpenSLO and Sloth, and Prometheus' rules become parts of a manifest, and what has no place there is named. Does not live
//! here: reading files, the metrics of a template ([`template`]), [`objectives`], and [`rules`].

mod objectives;
mod rules;
mod template;
mod words;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::Manifest;
use crate::diagnostic::Sink;
use crate::node::Node;
use crate::{render, yaml};
use template::Template;
use words::{Part, seconds};

/// Parts of a manifest, and what could not be carried over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// In YAML: to be put below `service` and `run`.
    pub yaml: String,
    /// Each with where it stood and why.
    pub left_out: Vec<String>,
    /// What was carried over and means something else here, or has another name.
    pub changed: Vec<String>,
}

/// What is collected while files are read.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    fn add(&mut self, part: &Part<'_>, what: &str) {
        self.0.push(format!("{}: {what}", part.path));
    }

    /// Names every field of a part that nobody carries over.
    fn others(&mut self, part: &Part<'_>, known: &[&str]) {
        for name in part.names().filter(|name| !known.contains(name)) {
            self.0.push(format!("{}.{name}: has no place in a manifest", part.path));
        }
    }
}

/// What was found in the files.
#[derive(Default)]
struct Found {
    templates: BTreeMap<String, Template>,
    rollouts: Vec<(String, Node)>,
    slos: objectives::Found,
    rules: rules::Found,
}

impl Found {
    /// Reads a file of several documents.
    fn read(&mut self, name: &str, text: &str, notes: &mut Notes) -> Result<(), String> {
        for (number, (first_line, document)) in documents(text).enumerate() {
            let sink = Sink::new(&document);
            let Some(node) = yaml::parse(&document, &sink) else {
                let found = sink.finish();
                if found.has_errors() && !is_blank(&document) {
                    return Err(format!("{name}, document {}: {found}", number + 1));
                }
                continue;
            };
            let part = Part::root(&node);
            let document = rules::Document { file: name, text: &document, first_line };
            if self.rules.take(&part, &document, notes) || self.slos.take(&part, &node, notes) {
                continue;
            }
            let title = part.child("metadata").and_then(|it| it.text("name")).unwrap_or_default();
            match part.text("kind").as_deref() {
                Some(kind @ ("AnalysisTemplate" | "ClusterAnalysisTemplate")) => {
                    let read = Template::read(&part.called(format!("{kind} {title}")), notes);
                    self.templates.insert(title, read);
                }
                Some("Rollout") => self.rollouts.push((format!("Rollout {title}"), node)),
                kind => notes.0.push(format!(
                    "{name}, document {}: a {} is nothing to import",
                    number + 1,
                    kind.unwrap_or("document without `kind`")
                )),
            }
        }
        Ok(())
    }
}

/// Turns files of Argo, OpenSLO, Sloth and Prometheus into parts of a manifest. Each file may hold several documents.
///
/// # Errors
/// When a file is not YAML, or none holds anything to carry over; in words, with the file's name.
pub fn import(files: &[(String, String)]) -> Result<Imported, String> {
    let (mut notes, mut found) = (Notes::default(), Found::default());
    for (name, text) in files {
        found.read(name, text, &mut notes)?;
    }
    let Found { templates, rollouts, slos, rules } = found;
    let mut root = Map::new();
    if let Some(objectives) = slos.objectives(&mut notes) {
        root.insert("objectives".to_owned(), objectives);
    }
    match rollouts.split_first() {
        Some(((path, node), others)) => {
            for (path, _) in others {
                notes.0.push(format!("{path}: a manifest has one service: import it by itself"));
            }
            let part = Part::root(node).called(path.clone());
            rollout(&part, &templates, &mut root, &mut notes);
        }
        None if templates.is_empty() && root.is_empty() && rules.is_empty() => return Err(nothing(&notes)),
        None if templates.is_empty() => {}
        None => {
            let all: Vec<&Template> = templates.values().collect();
            let analysis = template::analysis(&all, &BTreeMap::new(), &mut root, &mut notes);
            root.insert("rollout".to_owned(), json!({"analysis": analysis}));
        }
    }
    let changed = rules.give(&mut root);
    let yaml = render::part(&root);
    // What is still wrong, the reader of manifests says best.
    if let Err(wrong) = Manifest::parse(&format!("service: imported\nrun: ./imported\n{yaml}")) {
        let errors = wrong.iter().filter(|it| it.severity == crate::Severity::Error);
        notes.0.extend(errors.map(|it| {
            let line = it.line.saturating_sub(2);
            format!("line {line} of the result, to be put right by hand: {}", it.message)
        }));
    }
    Ok(Imported { yaml, left_out: notes.0, changed })
}

/// Why nothing came of files, where something was in them.
fn nothing(notes: &Notes) -> String {
    let told = notes.0.iter().filter(|note| !note.ends_with("is nothing to import"));
    match told.map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => "there is nothing to import".to_owned(),
        [one] => format!("nothing can be imported: {one}"),
        all => format!("nothing can be imported:\n  {}", all.join("\n  ")),
    }
}

fn is_blank(document: &str) -> bool {
    document.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

/// The documents of a file, each with the line that it begins with.
fn documents(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut all = vec![(1, String::new())];
    for (number, line) in text.lines().enumerate() {
        if line.trim_end() == "---" || line.starts_with("--- ") {
            all.push((number + 2, String::new()));
        } else if let Some((_, last)) = all.last_mut() {
            last.push_str(line);
            last.push('\n');
        }
    }
    all.into_iter().filter(|(_, document)| !is_blank(document))
}

fn rollout(
    part: &Part<'_>,
    templates: &BTreeMap<String, Template>,
    root: &mut Map<String, Value>,
    notes: &mut Notes,
) {
    let Some(spec) = part.child("spec") else { return notes.add(part, "it has no `spec`") };
    notes.others(
        &spec,
        &["replicas", "strategy", "minReadySeconds", "progressDeadlineSeconds", "selector", "template"],
    );
    if spec.child("template").is_some() {
        let what = "containers have no place in a manifest: name a program under `run`";
        notes.0.push(format!("{}.template: {what}", spec.path));
    }
    if let Some(replicas) = spec.text("replicas").and_then(|text| text.parse::<u32>().ok()) {
        root.insert("replicas".to_owned(), json!(replicas));
    }
    let mut map = Map::new();
    for (theirs, ours) in [("minReadySeconds", "minReady"), ("progressDeadlineSeconds", "progressDeadline")] {
        if let Some(time) = spec.text(theirs) {
            map.insert(ours.to_owned(), json!(seconds(&time)));
        }
    }
    let strategy = spec.child("strategy");
    let canary = strategy.as_ref().and_then(|it| it.child("canary"));
    let blue_green = strategy.as_ref().and_then(|it| it.child("blueGreen"));
    match (canary, blue_green) {
        (Some(canary), _) => self::canary(&canary, templates, root, &mut map, notes),
        (None, Some(blue_green)) => self::blue_green(&blue_green, templates, root, &mut map, notes),
        (None, None) => notes.add(&spec, "it has no strategy that is known here"),
    }
    root.insert("rollout".to_owned(), Value::Object(map));
}

fn canary(
    canary: &Part<'_>,
    templates: &BTreeMap<String, Template>,
    root: &mut Map<String, Value>,
    map: &mut Map<String, Value>,
    notes: &mut Notes,
) {
    map.insert("strategy".to_owned(), json!("canary"));
    notes.others(canary, &["steps", "analysis", "scaleDownDelaySeconds"]);
    delay(canary, map);
    let mut steps = Vec::new();
    for item in canary.items("steps") {
        steps.extend(step(&item, templates, root, notes));
    }
    if !steps.is_empty() {
        map.insert("canary".to_owned(), json!({"steps": steps}));
    }
    let analysis = canary.child("analysis").and_then(|it| chosen(&it, templates, root, notes));
    map.extend(analysis.map(|read| ("analysis".to_owned(), read)));
}

fn delay(part: &Part<'_>, map: &mut Map<String, Value>) {
    if let Some(time) = part.text("scaleDownDelaySeconds") {
        map.insert("scaleDownDelay".to_owned(), json!(seconds(&time)));
    }
}

fn step(
    step: &Part<'_>,
    templates: &BTreeMap<String, Template>,
    root: &mut Map<String, Value>,
    notes: &mut Notes,
) -> Option<Value> {
    if let Some(weight) = step.text("setWeight") {
        return Some(json!({"setWeight": words::number(&weight)}));
    }
    if let Some(pause) = step.child("pause") {
        let duration = pause.text("duration").map(|time| json!({"duration": seconds(&time)}));
        return Some(json!({"pause": duration.unwrap_or_else(|| json!({}))}));
    }
    if let Some(analysis) = step.child("analysis") {
        return chosen(&analysis, templates, root, notes).map(|read| json!({"analysis": read}));
    }
    for verb in ["setCanaryScale", "setHeaderRoute"] {
        if let Some(part) = step.child(verb) {
            return Some(json!({verb: part.value()}));
        }
    }
    if step.names().any(|name| name == "pause") {
        return Some(json!({"pause": {}}));
    }
    for name in step.names() {
        notes.add(step, &format!("the step `{name}` has no place in a manifest"));
    }
    None
}

fn blue_green(
    blue_green: &Part<'_>,
    templates: &BTreeMap<String, Template>,
    root: &mut Map<String, Value>,
    map: &mut Map<String, Value>,
    notes: &mut Notes,
) {
    map.insert("strategy".to_owned(), json!("blueGreen"));
    let analyses = ["prePromotionAnalysis", "postPromotionAnalysis"];
    let known = [
        "autoPromotionEnabled",
        "autoPromotionSeconds",
        "previewReplicaCount",
        "scaleDownDelaySeconds",
        "activeService",
        "previewService",
    ];
    notes.others(blue_green, &[known.as_slice(), analyses.as_slice()].concat());
    delay(blue_green, map);
    let mut section = Map::new();
    let enabled = blue_green.text("autoPromotionEnabled");
    let delayed = blue_green.text("autoPromotionSeconds");
    if let Some(enabled) = enabled {
        // Argo promotes by itself after so many seconds even when it says it would not.
        section.insert("autoPromotionEnabled".to_owned(), json!(enabled == "true" || delayed.is_some()));
    }
    if let Some(time) = delayed {
        section.insert("autoPromotionDelay".to_owned(), json!(seconds(&time)));
    }
    if let Some(count) = blue_green.text("previewReplicaCount") {
        section.insert("previewReplicaCount".to_owned(), words::number(&count));
    }
    for name in analyses {
        let analysis = blue_green.child(name).and_then(|it| chosen(&it, templates, root, notes));
        section.extend(analysis.map(|read| (name.to_owned(), read)));
    }
    map.insert("blueGreen".to_owned(), Value::Object(section));
}

/// The rules of the templates that an analysis names, with its arguments.
fn chosen(
    analysis: &Part<'_>,
    templates: &BTreeMap<String, Template>,
    root: &mut Map<String, Value>,
    notes: &mut Notes,
) -> Option<Value> {
    notes.others(analysis, &["templates", "args"]);
    let mut named = Vec::new();
    for item in analysis.items("templates") {
        let name = item.text("templateName").unwrap_or_default();
        match templates.get(&name) {
            Some(template) => named.push(template),
            None => {
                notes.add(&item, &format!("the template `{name}` is in none of the files: give its file too"))
            }
        }
    }
    let arguments = template::arguments(analysis, notes);
    (!named.is_empty()).then(|| template::analysis(&named, &arguments, root, notes))
}
