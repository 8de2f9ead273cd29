//! What objectives mean: short and long forms, defaults, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use std::time::Duration;

use manifest::{Manifest, render};
use model::Objective;
use model::objective::{Action, Alerting, Indicator, Method, Pair, Part, Query, Requests, Severity, Window};

fn parse(more: &str) -> model::Spec {
    let text = format!("service: shop\nrun: ./shop\n{more}");
    let manifest = Manifest::parse(&text).unwrap_or_else(|wrong| panic!("{wrong}"));
    manifest.specs().values().next().unwrap().clone()
}

fn wrong(objective: &str) -> String {
    let text = format!("service: shop\nrun: ./shop\nobjectives:\n  a: {objective}\n");
    Manifest::parse(&text).unwrap_err().to_string()
}

fn objective(text: &str) -> Objective {
    parse(&format!("objectives:\n  a: {text}\n")).objectives().remove(0)
}

#[test]
fn a_manifest_that_says_nothing_has_two_objectives_and_the_digest_that_it_always_had() {
    let spec = parse("");
    assert_eq!(spec.declared_objectives, None);
    let all = spec.objectives();
    let shown: Vec<_> = all.iter().map(|it| (it.name.as_str(), it.target.to_string(), it.declared)).collect();
    assert_eq!(shown, [("availability", "99.9%".to_owned(), false), ("latency", "99%".to_owned(), false)]);
    assert!(all.iter().all(|it| it.policy.iter().all(|step| step.action == Action::Warn)));
    assert!(!serde_json::to_string(&spec).unwrap().contains("objectives"));
    assert_ne!(spec.digest(), parse("objectives: none").digest());
}

#[test]
fn the_short_forms_count_requests_at_the_gateway() {
    let availability = objective("99.95%");
    assert_eq!(availability.indicator, Indicator::Availability(Requests::default()));
    assert_eq!((availability.target.to_string(), availability.declared), ("99.95%".to_owned(), true));
    assert_eq!(availability.policy.len(), 3);
    let within = Duration::from_millis(250);
    let latency = Indicator::Latency { within, requests: Requests::default() };
    assert_eq!(objective("99% within 250ms").indicator, latency);
    assert_eq!(objective("{target: 99%, within: 250ms}"), objective("99% within 250ms"));
}

#[test]
fn none_is_said_by_none_and_by_an_empty_mapping() {
    assert_eq!(parse("objectives: none").objectives(), []);
    assert_eq!(parse("objectives: {}").objectives(), []);
    let text = "objectives: {a: 99%}\nenvironments: {dev: {objectives: none}}";
    assert_eq!(parse(text).objectives(), []);
}

#[test]
fn a_query_is_a_selector_of_counters_or_names_its_window() {
    let read =
        objective("{target: 99%, bad: 'a_total{x=\"1\"}', total: 'sum(increase(b_total[{{ .window }}]))'}");
    let Indicator::Ratio { part: Part::Bad(bad), total } = read.indicator else { panic!("a ratio") };
    assert_eq!(bad, Query::Counter("a_total{x=\"1\"}".to_owned()));
    assert_eq!(total, Query::Windowed("sum(increase(b_total[$__window]))".to_owned()));
}

#[test]
fn a_server_of_ones_own_may_know_more_promql() {
    let metrics = "metrics: {provider: prometheus, address: 'http://127.0.0.1:9090'}\n";
    let query = "objectives: {a: {target: 99%, good: 'sum(histogram_count(increase(a[$__window])))', total: a_total}}";
    assert_eq!(parse(&format!("{metrics}{query}")).objectives().len(), 1);
    assert!(Manifest::parse(&format!("service: a\nrun: b\n{query}")).is_err());
}

#[test]
fn the_long_form_says_everything() {
    let read = objective(
        "{target: 99%, window: {calendar: week}, timeslices: {slice: 1m}, sla: 95%, \
         alerts: {pairs: [{long: 1h, factor: 2.5}], minimumEvents: 1, noData: false}, budget: []}",
    );
    assert!(matches!(&read.window, Window::Calendar { zone, .. } if zone == "UTC"));
    assert!(matches!(read.method, Method::Timeslices { slice, .. } if slice == Duration::from_secs(60)));
    let sla = read.sla.unwrap();
    assert_eq!((sla.target.to_string(), sla.window), ("95%".to_owned(), Window::month()));
    let (hour, five) = (Duration::from_secs(3_600), Duration::from_secs(300));
    let pair = Pair { long: hour, short: five, factor: 2_500, severity: Severity::P1 };
    let defaults = Alerting::default();
    assert_eq!(
        read.alerting,
        Alerting { pairs: Some(vec![pair]), minimum_events: 1, no_data: None, ..defaults }
    );
    assert_eq!(read.policy, []);
}

#[test]
fn a_time_between_two_bounds_names_both() {
    assert!(wrong("99% within 300ms").contains("use 250ms or 350ms"));
    assert!(wrong("99% within 1us").contains("use 250us"));
    assert!(wrong("99% within 2m").contains("use 1m"));
}

#[test]
fn a_pair_that_cannot_fire_is_refused_with_numbers_that_can() {
    let pair = |target: &str, factor: &str| {
        format!("{{target: {target}, alerts: {{pairs: [{{long: 1h, short: 5m, factor: {factor}}}]}}}}")
    };
    let said = wrong(&pair("90%", "14.4"));
    assert!(said.contains("everything failing is 10 times"), "{said}");
    assert!(said.contains("a factor below 10, or a target above 93.0556%"), "{said}");
    assert!(wrong(&pair("90%", "10")).contains("never burns 10 times"));
    // What is proposed is accepted.
    objective(&pair("90%", "9.999"));
    objective(&pair("93.0557%", "14.4"));
}

#[test]
fn what_is_said_by_default_reads_back_as_nothing_said() {
    let spec = parse("");
    let text = render(&spec);
    assert!(text.contains("within: 500ms"), "{text}");
    assert_eq!(Manifest::parse(&text).unwrap().specs().values().next().unwrap().declared_objectives, None);
}

#[test]
fn a_target_as_other_tools_write_it_is_understood() {
    assert!(wrong("99.9").contains("did you mean `99.9%`?"));
    assert!(wrong("{target: 0.9995}").contains("did you mean `99.95%`?"));
    assert!(wrong("100%").contains("leaves nothing to decide"));
}
