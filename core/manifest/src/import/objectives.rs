//! Objectives of OpenSLO (v1) and Sloth (its own files and its resource of Kubernetes). Does not live here: whether what comes
//! out can be evaluated, which the reader of manifests says.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::Notes;
use super::words::Part;
use crate::node::Node;

/// What was found in the files, each with its path.
#[derive(Default)]
pub(super) struct Found {
    slos: Vec<(String, Node)>,
    sloth: Vec<(String, Node)>,
    /// What others refer to, by kind and name.
    named: BTreeMap<(String, String), Node>,
}

/// Kinds of OpenSLO that have a place in a manifest only through what refers to them.
const REFERRED: [&str; 3] = ["SLI", "AlertPolicy", "AlertCondition"];

impl Found {
    /// Takes a document; `false` when it is none of these.
    pub(super) fn take(&mut self, part: &Part<'_>, node: &Node, notes: &mut Notes) -> bool {
        let kind = part.text("kind").unwrap_or_default();
        let name = part.child("metadata").and_then(|it| it.text("name")).unwrap_or_default();
        let api = part.text("apiVersion").unwrap_or_default();
        let path = format!("{kind} {name}");
        if part.text("version").is_some_and(|version| version.starts_with("prometheus/")) {
            let service = part.text("service").unwrap_or_default();
            self.sloth.push((format!("Sloth {service}"), node.clone()));
        } else if kind == "PrometheusServiceLevel" {
            self.sloth.push((path, node.clone()));
        } else if !api.starts_with("openslo") {
            return false;
        } else if api != "openslo/v1" {
            notes.0.push(format!("{path}: {api} is not known, only openslo/v1"));
        } else if kind == "SLO" {
            self.slos.push((path, node.clone()));
        } else if REFERRED.contains(&kind.as_str()) {
            self.named.insert((kind, name), node.clone());
        } else {
            notes.0.push(format!("{path}: has no place in a manifest"));
        }
        true
    }

    /// The objectives, as the manifest writes them; `None` when there is none.
    pub(super) fn objectives(&self, notes: &mut Notes) -> Option<Value> {
        let mut all = Map::new();
        for (path, node) in &self.slos {
            self.open_slo(&Part::root(node).called(path.clone()), &mut all, notes);
        }
        for (path, node) in &self.sloth {
            let root = Part::root(node).called(path.clone());
            let spec = root.child("spec");
            let known = ["version", "service", "slos", "apiVersion", "kind", "metadata", "spec"];
            notes.others(&root, &known);
            for slo in spec.as_ref().unwrap_or(&root).items("slos") {
                sloth(&slo, &mut all, notes);
            }
        }
        let services = self.services();
        if services.len() > 1 {
            let names = services.into_iter().collect::<Vec<_>>().join(", ");
            notes.0.push(format!("services {names}: a manifest has one service: import each by itself"));
        }
        (!all.is_empty()).then_some(Value::Object(all))
    }

    /// Whose objectives they are.
    fn services(&self) -> BTreeSet<String> {
        let all = self.slos.iter().chain(&self.sloth).map(|(_, node)| Part::root(node));
        all.filter_map(|root| root.child("spec").unwrap_or(root).text("service")).collect()
    }

    fn open_slo(&self, root: &Part<'_>, all: &mut Map<String, Value>, notes: &mut Notes) {
        let Some(spec) = root.child("spec") else { return notes.add(root, "it has no `spec`") };
        let known = [
            "description",
            "service",
            "indicator",
            "indicatorRef",
            "timeWindow",
            "budgetingMethod",
            "objectives",
            "alertPolicies",
        ];
        notes.others(&spec, &known);
        let title = root.child("metadata").and_then(|it| it.text("name")).unwrap_or_default();
        let mut common = Map::new();
        if let Some(description) = spec.text("description") {
            common.insert("description".to_owned(), json!(description));
        }
        if !self.indicator(&spec, &mut common, notes) {
            return;
        }
        if let Some(window) = spec.items("timeWindow").first().and_then(|it| open_window(it, notes)) {
            common.insert("window".to_owned(), window);
        }
        let pairs = self.pairs(&spec, notes);
        if !pairs.is_empty() {
            common.insert("alerts".to_owned(), json!({"pairs": pairs}));
        }
        let objectives = spec.items("objectives");
        for (index, objective) in objectives.iter().enumerate() {
            let known = ["displayName", "target", "targetPercent", "timeSliceTarget", "timeSliceWindow"];
            notes.others(objective, &known);
            let share = objective.text("target").map(|it| percent(&it, 100.0));
            let share = share.or_else(|| objective.text("targetPercent").map(|it| percent(&it, 1.0)));
            let Some(target) = share else {
                notes.add(objective, "it has no `target`");
                continue;
            };
            let mut map = Map::from_iter([("target".to_owned(), json!(target))]);
            map.extend(common.clone());
            match spec.text("budgetingMethod").as_deref() {
                Some("Timeslices") => {
                    let slice = objective.text("timeSliceWindow").unwrap_or_else(|| "1m".to_owned());
                    let good = objective.text("timeSliceTarget").map(|it| percent(&it, 100.0));
                    let slices = json!({"slice": slice, "target": good.unwrap_or_else(|| "95%".to_owned())});
                    map.insert("timeslices".to_owned(), slices);
                }
                Some("Occurrences") | None => {}
                Some(other) => {
                    notes.add(&spec, &format!("budgetingMethod {other}: events are counted instead"))
                }
            }
            let name = match objectives.len() {
                1 => label(&title),
                _ => format!("{}-{}", label(&title), index + 1),
            };
            insert(all, name, map, objective, notes);
        }
    }

    /// What is counted, into the objective; `false` when that cannot be carried over.
    fn indicator(&self, spec: &Part<'_>, map: &mut Map<String, Value>, notes: &mut Notes) -> bool {
        let named = spec.text("indicatorRef").map(|name| ("SLI".to_owned(), name));
        let inline = spec.child("indicator");
        let referred = named.as_ref().and_then(|key| self.named.get(key)).map(Part::root);
        let sli = inline.or(referred).and_then(|it| it.child("spec"));
        let Some(sli) = sli else {
            notes.add(spec, "its indicator is in none of the files: give its file too");
            return false;
        };
        let sli = match named {
            Some((kind, name)) => sli.called(format!("{kind} {name}.spec")),
            None => sli,
        };
        let Some(ratio) = sli.child("ratioMetric") else {
            notes.add(&sli, "only a `ratioMetric` counts good ones of all: write a query for each under `bad` and `total`");
            return false;
        };
        if ratio.child("raw").is_some() {
            notes.add(
                &ratio,
                "`raw` is a ratio without the counts that a budget needs: write `bad` and `total`",
            );
            return false;
        }
        for name in ["good", "bad", "total"] {
            let Some(source) = ratio.child(name).and_then(|it| it.child("metricSource")) else { continue };
            let kind = source.text("type").unwrap_or_default();
            let query = source.child("spec").and_then(|it| it.text("query").or_else(|| it.text("promql")));
            match query {
                Some(query) if kind.is_empty() || kind.eq_ignore_ascii_case("prometheus") => {
                    map.insert(name.to_owned(), json!(counting(&query)));
                }
                Some(_) | None => notes.add(&source, &format!("a query of `{kind}` is no PromQL")),
            }
        }
        true
    }

    /// A pair for each condition on the burn rate: OpenSLO knows one window, the short one is added.
    fn pairs(&self, spec: &Part<'_>, notes: &mut Notes) -> Vec<Value> {
        let mut pairs = Vec::new();
        for policy in spec.items("alertPolicies") {
            let name = policy.text("alertPolicyRef").or_else(|| policy.itself()).unwrap_or_default();
            let referred = self.named.get(&("AlertPolicy".to_owned(), name.clone())).map(Part::root);
            let Some(inside) = policy.child("spec").or(referred.and_then(|it| it.child("spec"))) else {
                notes.add(
                    &policy,
                    &format!("the alert policy `{name}` is in none of the files: give its file too"),
                );
                continue;
            };
            let inside = inside.called(format!("AlertPolicy {name}.spec"));
            notes.others(&inside, &["conditions", "description", "alertWhenBreaching"]);
            for condition in inside.items("conditions") {
                let name = condition.text("conditionRef").unwrap_or_default();
                let referred = self.named.get(&("AlertCondition".to_owned(), name.clone())).map(Part::root);
                match condition.child("spec").or(referred.and_then(|it| it.child("spec"))) {
                    Some(found) => {
                        pairs.extend(pair(&found.called(format!("AlertCondition {name}.spec")), notes))
                    }
                    None => notes.add(&condition, &format!("the condition `{name}` is in none of the files")),
                }
            }
        }
        pairs
    }
}

fn pair(condition: &Part<'_>, notes: &mut Notes) -> Option<Value> {
    let inside = condition.child("condition")?;
    notes.others(&inside, &["kind", "op", "threshold", "lookbackWindow"]);
    let (factor, long) = (inside.text("threshold")?, inside.text("lookbackWindow")?);
    let severity = match condition.text("severity").unwrap_or_default().to_lowercase().as_str() {
        "page" | "critical" | "p1" | "high" => "P1",
        _ => "P3",
    };
    let long = hours(&long);
    Some(json!({"long": long, "factor": super::words::number(&factor), "severity": severity}))
}

/// A window of OpenSLO: `28d` that rolls, or the calendar's.
fn open_window(part: &Part<'_>, notes: &mut Notes) -> Option<Value> {
    notes.others(part, &["duration", "isRolling", "calendar"]);
    let duration = part.text("duration")?;
    if part.text("isRolling").as_deref() == Some("true") {
        let (number, unit) = duration.split_at(duration.trim_end_matches(|c: char| c.is_alphabetic()).len());
        let days = |each: u64| number.parse::<u64>().ok().map(|number| format!("{}d", number * each));
        return match unit {
            "M" => days(30).map(Value::String),
            "Q" => days(91).map(Value::String),
            "Y" => days(365).map(Value::String),
            _ => Some(json!(duration)),
        };
    }
    let unit = match duration.as_str() {
        "1w" | "7d" => "week",
        "1M" => "month",
        "1Q" | "3M" => "quarter",
        "1Y" => "year",
        other => {
            notes.add(part, &format!("the calendar has no period of {other}: a window that rolls is used"));
            return Some(json!(other));
        }
    };
    let calendar = part.child("calendar");
    if let Some(begin) = calendar.as_ref().and_then(|it| it.text("startTime")) {
        notes.add(part, &format!("startTime {begin}: a period begins with the calendar's"));
    }
    let zone = calendar.and_then(|it| it.text("timeZone")).unwrap_or_else(|| "UTC".to_owned());
    Some(json!({"calendar": unit, "timeZone": zone}))
}

fn sloth(slo: &Part<'_>, all: &mut Map<String, Value>, notes: &mut Notes) {
    notes.others(slo, &["name", "objective", "description", "sli", "alerting"]);
    let name = slo.text("name").unwrap_or_default();
    let Some(target) = slo.text("objective").map(|it| percent(&it, 1.0)) else {
        return notes.add(slo, "it has no `objective`");
    };
    let mut map = Map::from_iter([("target".to_owned(), json!(target))]);
    if let Some(description) = slo.text("description") {
        map.insert("description".to_owned(), json!(description));
    }
    let Some(events) = slo.child("sli").and_then(|it| it.child("events")) else {
        return notes
            .add(slo, "its `sli` has no `events`, whose counts a budget needs: write `bad` and `total`");
    };
    for (ours, theirs) in [("bad", ["error_query", "errorQuery"]), ("total", ["total_query", "totalQuery"])] {
        if let Some(query) = theirs.iter().find_map(|name| events.text(name)) {
            map.insert(ours.to_owned(), json!(counting(&query)));
        }
    }
    if let Some(alerting) = slo.child("alerting") {
        let is_off = |names: [&str; 2]| {
            let part = names.into_iter().find_map(|name| alerting.child(name));
            part.and_then(|it| it.text("disable")).is_some_and(|it| it == "true")
        };
        match (is_off(["page_alert", "pageAlert"]), is_off(["ticket_alert", "ticketAlert"])) {
            (true, true) => drop(map.insert("alerts".to_owned(), json!(false))),
            (false, false) => {}
            _ => notes.add(&alerting, "one of its two alerts is off: declare `alerts.pairs` without those"),
        }
        notes.others(&alerting, &["name", "page_alert", "ticket_alert", "pageAlert", "ticketAlert"]);
    }
    insert(all, label(&name), map, slo, notes);
}

fn insert(
    all: &mut Map<String, Value>,
    name: String,
    map: Map<String, Value>,
    part: &Part<'_>,
    notes: &mut Notes,
) {
    if all.contains_key(&name) {
        return notes.add(part, &format!("there is an objective `{name}` already: give it another name"));
    }
    all.insert(name, Value::Object(map));
}

/// A query that counts over the objective's window: a rate per second becomes an increase, any range becomes the window's, and
/// the sum of a selector becomes the selector.
fn counting(query: &str) -> String {
    let query = query.trim();
    let inner = query.strip_prefix("sum(").and_then(|rest| rest.strip_suffix(')'));
    let is_selector = |text: &str| matches!(promql::read(text), Ok(promql::expr::Expr::Instant(_)));
    if let Some(selector) = inner.filter(|inner| is_selector(inner)) {
        return selector.to_owned();
    }
    let mut counted = String::with_capacity(query.len());
    let mut rest = query;
    while let Some(open) = rest.find('[') {
        let Some(close) = rest[open..].find(']') else { break };
        counted.push_str(&rest[..open]);
        let inside = &rest[open + 1..open + close];
        let is_range = inside.contains("window")
            || (inside.ends_with(['s', 'm', 'h', 'd', 'w']) && !inside.contains(':'));
        counted.push_str(if is_range { "[$__window]" } else { &rest[open..=open + close] });
        rest = &rest[open + close + 1..];
    }
    counted.push_str(rest);
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let (mut result, mut rest) = (String::with_capacity(counted.len()), counted.as_str());
    while let Some((before, after)) = rest.split_once("rate(") {
        result.push_str(before);
        result.push_str(if result.ends_with(is_word) { "rate(" } else { "increase(" });
        rest = after;
    }
    result + rest
}

/// A number of other tools as a percentage: 0.999 by a hundred, 99.9 by one.
fn percent(text: &str, by: f64) -> String {
    match text.parse::<f64>() {
        Ok(number) => format!("{}%", (number * by * 1e4).round() / 1e4),
        Err(_) => text.to_owned(),
    }
}

/// A duration in the manifest's units, which end with hours.
fn hours(text: &str) -> String {
    let in_hours =
        |text: &str, each: u64| text.parse::<u64>().ok().map(|number| format!("{}h", number * each));
    let days = text.strip_suffix('d').and_then(|number| in_hours(number, 24));
    let weeks = || text.strip_suffix('w').and_then(|number| in_hours(number, 168));
    days.or_else(weeks).unwrap_or_else(|| text.to_owned())
}

/// A name of one's own as a DNS label.
fn label(name: &str) -> String {
    let simple = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let label: String = name.chars().map(simple).take(60).collect();
    let label = label.trim_matches('-');
    if label.is_empty() { "objective".to_owned() } else { label.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_count_over_the_window() {
        let cases = [
            ("sum(a_total{x=\"1\"})", "a_total{x=\"1\"}"),
            (
                "sum(rate(a_total{route=~\"[ab]+\"}[{{.window}}]))",
                "sum(increase(a_total{route=~\"[ab]+\"}[$__window]))",
            ),
            ("sum(irate(a[5m])) / my_rate(b[1h])", "sum(irate(a[$__window])) / my_rate(b[$__window])"),
            ("rate(a[5m]) - rate(b[5m])", "increase(a[$__window]) - increase(b[$__window])"),
            ("a_total", "a_total"),
        ];
        for (theirs, ours) in cases {
            assert_eq!(counting(theirs), ours);
        }
    }

    #[test]
    fn numbers_and_names_of_other_tools_are_read() {
        assert_eq!(
            (percent("0.9995", 100.0), percent("99.9", 1.0)),
            ("99.95%".to_owned(), "99.9%".to_owned())
        );
        assert_eq!(
            (hours("3d"), hours("1w"), hours("5m")),
            ("72h".to_owned(), "168h".to_owned(), "5m".to_owned())
        );
        assert_eq!(
            (label("Requests_Availability"), label("--")),
            ("requests-availability".to_owned(), "objective".to_owned())
        );
    }
}
