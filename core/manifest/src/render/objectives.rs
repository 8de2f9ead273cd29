//! Objectives back in the manifest's vocabulary, in their long form.

use model::Objective;
use model::objective::{
    Alerting, Indicator, LowTraffic, Method, NoData, Pair, Part, PolicyStep, Requests, Sla, Window,
};
use serde_json::{Map, Value, json};

use super::{number, put, time};

/// What is in force, also where nothing was declared.
pub(super) fn objectives(objectives: &[Objective]) -> Value {
    if objectives.is_empty() {
        return json!("none");
    }
    let all = objectives.iter().map(|it| (it.name.as_str().to_owned(), objective(it)));
    Value::Object(all.collect::<Map<_, _>>())
}

fn objective(objective: &Objective) -> Value {
    let mut map = Map::new();
    put(&mut map, "description", objective.description.as_ref().map(|text| json!(text)));
    map.insert("target".to_owned(), json!(objective.target.to_string()));
    match &objective.indicator {
        Indicator::Availability(requests) => self::requests(&mut map, requests),
        Indicator::Latency { within, requests } => {
            map.insert("within".to_owned(), json!(time(*within)));
            self::requests(&mut map, requests);
        }
        Indicator::Ratio { part, total } => {
            let (name, query) = match part {
                Part::Good(query) => ("good", query),
                Part::Bad(query) => ("bad", query),
            };
            map.insert(name.to_owned(), json!(query.text()));
            map.insert("total".to_owned(), json!(total.text()));
        }
        Indicator::Probe { name } => put(&mut map, "probe", Some(json!(name))),
    }
    map.insert("window".to_owned(), window(&objective.window));
    if let Method::Timeslices { slice, good } = &objective.method {
        map.insert("timeslices".to_owned(), json!({"slice": time(*slice), "target": good.to_string()}));
    }
    let sla = |sla: &Sla| json!({"target": sla.target.to_string(), "window": window(&sla.window)});
    put(&mut map, "sla", objective.sla.as_ref().map(sla));
    map.insert("alerts".to_owned(), alerts(&objective.alerting));
    let step =
        |step: &PolicyStep| json!({"remaining": step.remaining.to_string(), "then": step.action.name()});
    map.insert("budget".to_owned(), objective.policy.iter().map(step).collect());
    Value::Object(map)
}

fn requests(map: &mut Map<String, Value>, requests: &Requests) {
    put(map, "routes", (!requests.routes.is_empty()).then(|| json!(requests.routes)));
    put(map, "methods", (!requests.methods.is_empty()).then(|| json!(requests.methods)));
}

fn window(window: &Window) -> Value {
    match window {
        Window::Rolling(_) => json!(window.to_string()),
        Window::Calendar { unit, zone } => json!({"calendar": unit.name(), "timeZone": zone}),
    }
}

fn alerts(alerting: &Alerting) -> Value {
    if alerting.is_none() {
        return json!(false);
    }
    let mut map = Map::new();
    let pairs = alerting.pairs.as_ref().map(|pairs| pairs.iter().map(pair).collect());
    put(&mut map, "pairs", pairs);
    map.insert("minimumEvents".to_owned(), json!(alerting.minimum_events));
    let low_traffic = |rule: &LowTraffic| json!({"errors": rule.errors.to_string(), "over": time(rule.over), "severity": rule.severity.name()});
    map.insert("lowTraffic".to_owned(), alerting.low_traffic.as_ref().map_or(json!(false), low_traffic));
    let no_data = |rule: &NoData| json!({"after": time(rule.after), "severity": rule.severity.name()});
    map.insert("noData".to_owned(), alerting.no_data.as_ref().map_or(json!(false), no_data));
    map.insert("for".to_owned(), json!(time(alerting.hold)));
    map.insert("keepFiringFor".to_owned(), json!(time(alerting.keep_firing)));
    Value::Object(map)
}

fn pair(pair: &Pair) -> Value {
    json!({
        "long": time(pair.long),
        "short": time(pair.short),
        "factor": number(f64::from(pair.factor) / 1_000.0),
        "severity": pair.severity.name(),
    })
}
