//! When somebody should know something: ready-made rules switched off or changed, and a team's own in PromQL. Does not live
//! here: what a ready-made rule asks (`telemetry/alerting`), and the alerts of objectives (`objectives`).

use model::alert::{
    Condition, Declared, InvalidTemplate, Labels, NAME, ReadyMade, Rule, SEVERITY, Template, Threshold,
};
use model::objective::{Ratio, Severity};
use model::spec::Metrics;

use crate::diagnostic::Problem;
use crate::fields;
use crate::node::{Entry, Scalar, Value};
use crate::read::{Context, Mapping, mismatch, scalar_in};
use crate::values;

/// The longest expression in bytes: each is asked every few seconds.
const LONGEST: usize = 10_000;
/// The longest name of a rule, in characters.
const LONGEST_NAME: usize = 100;
/// The severities of other tools, which are not known here.
const OTHER_SEVERITIES: [&str; 6] = ["critical", "warning", "info", "page", "ticket", "none"];
/// Labels that alerts have anyway, with where they come from.
const OWN_LABELS: [(&str, &str); 4] = [
    (NAME, "it is the rule's name"),
    (SEVERITY, "write `severity` beside `labels`"),
    ("app", "it is the service's name"),
    ("environment", "it is the environment's name"),
];

/// What is declared of alerts; the default when nothing is said, or just what holds anyway.
pub(crate) fn alerts(root: &Mapping<'_>, metrics: &Metrics) -> Declared {
    let Some(entry) = root.entry("alerts") else { return Declared::default() };
    if let Some(scalar) = entry.value.scalar() {
        if scalar.text == "none" {
            return Declared { none: true, ..Declared::default() };
        }
        let problem = Problem::new(format!("`alerts` is a mapping, and this is `{}`", scalar.text));
        let help = "name each rule, as in `HighErrorRate: false`, or write `alerts: none`";
        root.error(&entry.value.span, problem.help(help));
        return Declared::default();
    }
    let mut declared = Declared::default();
    for entry in root.entries("alerts").iter().filter(|entry| !entry.value.is_null()) {
        let ready_made = ReadyMade::named(&entry.key);
        match &entry.value.value {
            Value::Scalar(scalar) if scalar.text == "false" && !scalar.quoted => match ready_made {
                Some(which) => declared.off.push(which),
                None => root.error(&entry.key_span, unknown(&entry.key)),
            },
            Value::Map(_) => {
                let rule = match ready_made {
                    Some(which) => Some(changed(root.context, entry, which)),
                    None => own(root.context, entry, metrics),
                };
                // One that says what holds anyway says nothing.
                declared.rules.extend(rule.filter(|rule| ready_made.is_none_or(|it| *rule != it.rule())));
            }
            Value::Scalar(_) | Value::Null | Value::List(_) => {
                mismatch(root.context, &entry.value, "`false`, or a mapping with what is different");
            }
        }
    }
    declared.off.sort_unstable();
    declared
}

fn unknown(name: &str) -> Problem {
    let problem = Problem::new(format!("there is no ready-made rule `{name}`"));
    match values::closest(name, ReadyMade::ALL.into_iter().map(ReadyMade::name)) {
        Some(close) => problem.help(format!("did you mean `{close}`?")),
        None => problem.help(format!(
            "give a rule of your own an `expr`; ready-made are {}",
            ReadyMade::ALL.map(ReadyMade::name).join(", ")
        )),
    }
}

/// A ready-made rule with what is different.
fn changed(context: &Context<'_>, entry: &Entry, which: ReadyMade) -> Rule {
    let section = Mapping::open(context, &fields::ALERT_RULE, &entry.value, &entry.key_span);
    let usual = which.rule();
    if let Some(expr) = section.entry("expr") {
        let problem = Problem::new(format!("`{}` is ready-made: what it asks is known", entry.key));
        let help = format!("give the rule another name, and switch this one off by `{}: false`", entry.key);
        section.error(&expr.key_span, problem.help(help));
    }
    let threshold = match which.threshold() {
        Some(usual) => Some(section.read("threshold", |it, _| threshold(it, usual)).unwrap_or(usual)),
        None => {
            if let Some(given) = section.entry("threshold") {
                let problem =
                    Problem::new(format!("`{}` has no threshold: it holds or it does not", entry.key));
                section.error(&given.key_span, problem.help("remove it"));
            }
            None
        }
    };
    let common = common(&section, &usual);
    section.finish();
    Rule { condition: Condition::ReadyMade { which, threshold }, ..common }
}

/// A share, a number of times or a time, as the usual one is.
fn threshold(scalar: &Scalar, usual: Threshold) -> Result<Threshold, Problem> {
    match usual {
        Threshold::Share(_) => match values::ratio(&scalar.text)? {
            all if all == Ratio::ALL => {
                Err(Problem::new("nothing is more than all, so the rule would never hold").help("as in `5%`"))
            }
            share => Ok(Threshold::Share(share)),
        },
        Threshold::Times(_) => {
            let times = values::number(scalar, 0.0, 1_000.0, true)
                .map_err(|problem| problem.help("so many times the latency objective, as in `2` or `1.5`"))?;
            Ok(Threshold::Times((times * 1_000.0).round().max(1.0) as u32))
        }
        Threshold::Time(_) => values::duration(scalar, true).map(Threshold::Time),
    }
}

/// A team's own rule; `None` when it has no expression.
fn own(context: &Context<'_>, entry: &Entry, metrics: &Metrics) -> Option<Rule> {
    if let Err(problem) = named(&entry.key) {
        context.sink.error(&entry.key_span, problem);
    }
    let section = Mapping::open(context, &fields::ALERT_RULE, &entry.value, &entry.key_span);
    let elsewhere = metrics.prometheus.is_some();
    let given = section.entry("expr").is_some();
    let expr = section.read("expr", |scalar, _| expression(values::text(scalar)?, elsewhere));
    if !given && !context.partial {
        section.error(&entry.key_span, unknown(&entry.key));
    }
    if let Some(threshold) = section.entry("threshold") {
        let problem = Problem::new("only ready-made rules have a threshold");
        section.error(&threshold.key_span, problem.help("compare in the `expr`, as in `queue_length > 100`"));
    }
    let usual = Rule {
        name: entry.key.clone(),
        condition: Condition::Expr(String::new()),
        hold: std::time::Duration::ZERO,
        keep_firing: std::time::Duration::ZERO,
        severity: Severity::P2,
        runbook: None,
        labels: Labels::new(),
        annotations: Labels::new(),
    };
    let common = common(&section, &usual);
    section.finish();
    Some(Rule { condition: Condition::Expr(expr?), ..common })
}

fn named(name: &str) -> Result<(), Problem> {
    let is_sound = !name.trim().is_empty()
        && name.chars().count() <= LONGEST_NAME
        && !name.chars().any(|c| c.is_control() || "{}\"\\".contains(c));
    is_sound.then_some(()).ok_or_else(|| {
        Problem::new(format!("`{name}` cannot name a rule"))
            .help(format!("use at most {LONGEST_NAME} letters, digits and the like, as in `QueueTooLong`"))
    })
}

/// An expression that can be evaluated. A server of one's own may know a PromQL that is not served here.
fn expression(text: String, elsewhere: bool) -> Result<String, Problem> {
    if text.len() > LONGEST {
        let problem = Problem::new(format!("it has {} bytes; the most is {LONGEST}", text.len()));
        return Err(problem.help("let a recording rule do a part of the work"));
    }
    match promql::read(&text) {
        Ok(_) => Ok(text),
        Err(promql::Error::Syntax(what)) => Err(Problem::new(format!("it is not PromQL: {what}"))),
        Err(_) if elsewhere => Ok(text),
        Err(error) => Err(Problem::new(format!("it cannot be evaluated: {error}"))),
    }
}

/// What every rule has.
fn common(section: &Mapping<'_>, usual: &Rule) -> Rule {
    let word = section.choice("severity", &OTHER_SEVERITIES);
    let severity = Severity::ALL.into_iter().find(|each| Some(each.name()) == word);
    let hold = section.optional_duration("for");
    let keep_firing = section.optional_duration("keepFiringFor");
    let mut annotations = usual.annotations.clone();
    annotations.extend(templates(section, "annotations", false));
    Rule {
        name: usual.name.clone(),
        condition: usual.condition.clone(),
        hold: hold.unwrap_or(usual.hold),
        keep_firing: keep_firing.unwrap_or(usual.keep_firing),
        severity: severity.unwrap_or(usual.severity),
        runbook: section.text("runbook").or_else(|| usual.runbook.clone()),
        labels: templates(section, "labels", true),
        annotations,
    }
}

/// Labels or annotations, with sound names and texts that can be filled in.
fn templates(section: &Mapping<'_>, name: &'static str, are_labels: bool) -> Labels {
    let mut all = Labels::new();
    for entry in section.entries(name) {
        let is_name = values::is_variable(&entry.key);
        let known = OWN_LABELS.iter().find(|(own, _)| are_labels && *own == entry.key);
        let problem = match known {
            Some((own, instead)) => {
                Some(Problem::new(format!("every alert has the label `{own}`")).help(*instead))
            }
            None if !are_labels && entry.key == model::alert::RUNBOOK => Some(
                Problem::new("a runbook is no annotation here").help("write `runbook` beside `annotations`"),
            ),
            None if !is_name || entry.key.starts_with("__") => Some(
                Problem::new(format!("`{}` is not the name of a label", entry.key))
                    .help("use letters, digits and `_`, starting with a letter"),
            ),
            None => None,
        };
        if let Some(problem) = problem {
            section.error(&entry.key_span, problem);
            continue;
        }
        let text = scalar_in(section.context, &entry.value, "a text", |scalar| {
            let text = values::written(scalar)?;
            match Template::read(&text) {
                Ok(template) if are_labels && template.has_value() => {
                    Err(Problem::new("a label that holds the value would make another alert of each value")
                        .help("put `{{ $value }}` into an annotation"))
                }
                Ok(_) => Ok(text),
                Err(error @ InvalidTemplate::Open) => Err(Problem::new(error.to_string())),
                Err(error @ InvalidTemplate::Unknown(_)) => {
                    Err(Problem::new(error.to_string()).help("write it in these words, or leave it out"))
                }
            }
        });
        all.extend(text.map(|text| (entry.key.clone(), text)));
    }
    all
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Manifest, render};

    fn parse(alerts: &str) -> Result<model::Spec, String> {
        let text = format!("service: shop\nrun: ./shop\n{alerts}\n");
        let manifest =
            Manifest::parse(&text).map_err(|wrong| wrong.render("shipshape.yaml", &text, false))?;
        Ok(manifest.specs().values().next().cloned().unwrap())
    }

    fn rule(alerts: &str, name: &str) -> Option<Rule> {
        parse(&format!("alerts: {{{alerts}}}")).unwrap().alerts().into_iter().find(|rule| rule.name == name)
    }

    #[test]
    fn a_manifest_that_says_nothing_has_the_ready_made_rules_and_the_digest_that_it_always_had() {
        let spec = parse("").unwrap();
        assert_eq!(spec.alerts().len(), ReadyMade::ALL.len());
        assert!(
            !serde_json::to_string(&spec).unwrap().contains("alerts"),
            "the objectives' own stand elsewhere"
        );
        let same = parse("alerts: {HighErrorRate: {threshold: 1%}, DiskFull: {}}").unwrap();
        assert_eq!(same.digest(), spec.digest(), "what holds anyway");
        assert_ne!(parse("alerts: none").unwrap().digest(), spec.digest());
    }

    #[test]
    fn ready_made_rules_are_switched_off_and_changed_by_name() {
        assert_eq!(rule("DiskFull: false", "DiskFull"), None);
        assert_eq!(parse("alerts: none").unwrap().alerts(), []);
        let changed =
            rule("HighLatency: {threshold: 1.5, for: 1m, annotations: {summary: slow}}", "HighLatency");
        let changed = changed.unwrap();
        assert_eq!(
            changed.condition,
            Condition::ReadyMade { which: ReadyMade::Latency, threshold: Some(Threshold::Times(1_500)) }
        );
        assert_eq!((changed.hold, changed.severity), (Duration::from_secs(60), Severity::P2));
        assert_eq!(changed.annotations["summary"], "slow");
        assert!(changed.annotations.contains_key("description"), "what is not said stays");
    }

    #[test]
    fn an_environment_changes_the_rules_of_the_service() {
        let text = "alerts: {A: {expr: up == 0}, DiskFull: false}\nenvironments: {dev: {alerts: {A: null, DiskFull: {}}}}";
        let rules = parse(text).unwrap().alerts();
        assert_eq!(rules.len(), ReadyMade::ALL.len());
        assert_eq!(
            parse("alerts: {A: {expr: up}}\nenvironments: {dev: {alerts: none}}").unwrap().alerts(),
            []
        );
    }

    #[test]
    fn what_is_rendered_reads_back() {
        let text = "alerts: {DiskFull: false, CertificateExpiring: {threshold: 24h}, A: {expr: up == 0, labels: {team: a}}}";
        let spec = parse(text).unwrap();
        let read = Manifest::parse(&render(&spec)).unwrap();
        assert_eq!(read.specs().values().next().unwrap().declared_alerts, spec.declared_alerts);
    }

    #[test]
    fn what_cannot_work_is_refused_with_a_way_out() {
        for (alerts, expected) in [
            ("HighErorRate: false", "did you mean `HighErrorRate`?"),
            ("HighErorRate: {severity: P1}", "did you mean `HighErrorRate`?"),
            ("Mine: false", "ready-made are HighErrorRate, HighLatency"),
            ("Mine: {for: 5m}", "give a rule of your own an `expr`"),
            ("Mine: {expr: 'sum('}", "it is not PromQL"),
            ("Mine: {expr: 'holt_winters(a[5m], 1, 1)'}", "it "),
            ("Mine: {expr: up, threshold: 5}", "only ready-made rules have a threshold"),
            ("Mine: {expr: up, for: -5m}", "`for`"),
            ("Mine: {expr: up, severity: critical}", "severity"),
            ("Mine: {expr: up, labels: {severity: P1}}", "write `severity` beside `labels`"),
            ("Mine: {expr: up, labels: {a-b: c}}", "is not the name of a label"),
            ("Mine: {expr: up, labels: {a: '{{ $value }}'}}", "another alert of each value"),
            ("Mine: {expr: up, annotations: {runbook: x}}", "write `runbook` beside `annotations`"),
            (
                "Mine: {expr: up, annotations: {summary: '{{ query \"up\" }}'}}",
                "`{{ query \"up\" }}` is not understood",
            ),
            ("Mine: {expr: up, annotations: {summary: '{{ $value'}}", "is not closed"),
            ("Mine: {alert: up, expr: up}", "the word before its colon"),
            ("HighErrorRate: {expr: up}", "is ready-made: what it asks is known"),
            ("HighErrorRate: {threshold: 100%}", "the rule would never hold"),
            ("HighErrorRate: {threshold: 2}", "`threshold`"),
            ("CrashLoop: {threshold: 1%}", "has no threshold"),
            ("HighLatency: {threshold: 5%}", "so many times the latency objective"),
        ] {
            let wrong = parse(&format!("alerts: {{{alerts}}}")).unwrap_err();
            assert!(wrong.contains(expected), "{alerts}: {wrong}");
            assert!(wrong.contains("shipshape.yaml:3:"), "{wrong}");
        }
        assert!(parse("alerts: all").unwrap_err().contains("write `alerts: none`"));
    }

    #[test]
    fn a_server_of_ones_own_may_know_more_promql() {
        let server = "metrics: {provider: prometheus, address: 'http://127.0.0.1:9090'}\n";
        let query = "alerts: {A: {expr: 'histogram_fraction(0, 1, a) > 0'}}";
        assert!(parse(query).is_err());
        assert!(parse(&format!("{server}{query}")).is_ok());
    }
}
