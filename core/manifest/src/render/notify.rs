//! Who is told of alerts, back in the manifest's vocabulary.

use model::matcher::Matcher;
use model::notify::{Grouping, InhibitRule, Notify, Receiver, Route, To};
use model::objective::Severity;
use model::spec::HeaderValue;
use serde_json::{Map, Value, json};

use super::{headers, put, secret, time};

pub(super) fn notify(notify: &Notify) -> Value {
    let mut map = Map::new();
    let receivers = notify.receivers.iter().map(|(name, each)| (name.clone(), receiver(each)));
    map.insert("receivers".to_owned(), Value::Object(receivers.collect()));
    let routes: Vec<Value> = notify.routes.iter().map(route).collect();
    put(&mut map, "routes", (!routes.is_empty()).then(|| json!(routes)));
    grouping(&mut map, &notify.grouping);
    let rule = |rule: &InhibitRule| {
        json!({
            "sourceMatchers": matchers(&rule.source),
            "targetMatchers": matchers(&rule.target),
            "equal": rule.equal,
        })
    };
    let rules: Vec<Value> = notify.inhibit_rules().iter().map(rule).collect();
    map.insert("inhibitRules".to_owned(), json!(rules));
    map.insert("selfTest".to_owned(), json!(notify.self_test));
    Value::Object(map)
}

fn receiver(receiver: &Receiver) -> Value {
    let mut map = Map::new();
    match &receiver.to {
        To::Webhook(HeaderValue::Text(url)) => _ = map.insert("webhook".to_owned(), json!(url)),
        To::Webhook(HeaderValue::Secret(source)) => _ = map.insert("webhook".to_owned(), secret(source)),
        To::Alertmanager(addresses) => _ = map.insert("alertmanager".to_owned(), json!(addresses)),
    }
    put(&mut map, "headers", headers(&receiver.headers));
    put(&mut map, "caFile", receiver.ca_file.as_ref().map(|path| json!(path)));
    map.insert("timeout".to_owned(), json!(time(receiver.timeout)));
    map.insert("sendResolved".to_owned(), json!(receiver.send_resolved));
    Value::Object(map)
}

fn route(route: &Route) -> Value {
    let mut map = Map::new();
    map.insert("receiver".to_owned(), json!(route.receiver));
    let severity: Vec<&str> = route.severity.iter().copied().map(Severity::name).collect();
    put(&mut map, "severity", (!severity.is_empty()).then(|| json!(severity)));
    put(&mut map, "matchers", (!route.matchers.is_empty()).then(|| json!(matchers(&route.matchers))));
    map.insert("continue".to_owned(), json!(route.go_on));
    if let Some(own) = &route.grouping {
        grouping(&mut map, own);
    }
    Value::Object(map)
}

fn grouping(map: &mut Map<String, Value>, grouping: &Grouping) {
    map.insert("groupBy".to_owned(), json!(grouping.by));
    map.insert("groupWait".to_owned(), json!(time(grouping.wait)));
    map.insert("groupInterval".to_owned(), json!(time(grouping.interval)));
    map.insert("repeatInterval".to_owned(), json!(time(grouping.repeat)));
}

fn matchers(matchers: &[Matcher]) -> Vec<String> {
    matchers.iter().map(ToString::to_string).collect()
}
