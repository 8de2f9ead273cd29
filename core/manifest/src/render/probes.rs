//! Probes back in the manifest's vocabulary. Everything else is the parent's.

use model::probe::{Ask, Expect, Http, Probe, Target, Trust};
use model::spec::Authentication;
use serde_json::{Map, Value, json};

use super::{headers, put, secret, time};

pub(super) fn probe(probe: &Probe) -> Value {
    let mut map = Map::new();
    map.insert("name".to_owned(), json!(probe.name));
    let ask = match &probe.ask {
        Ask::Http(it) => http(it),
        Ask::Tcp(it) => {
            let mut map = Map::new();
            map.insert("address".to_owned(), json!(it.address));
            put(&mut map, "send", it.send.as_ref().map(|text| json!(text)));
            map
        }
        Ask::Tls(it) => {
            let mut map = Map::new();
            map.insert("address".to_owned(), json!(it.address));
            trust(&mut map, &it.trust);
            map
        }
        Ask::Dns(it) => {
            let mut map = Map::new();
            map.insert("name".to_owned(), json!(it.name));
            map.insert("type".to_owned(), json!(it.record_type));
            put(&mut map, "server", it.server.as_ref().map(|server| json!(server)));
            map
        }
    };
    map.insert(probe.ask.kind().to_owned(), Value::Object(ask));
    map.insert("interval".to_owned(), json!(time(probe.interval)));
    map.insert("timeout".to_owned(), json!(time(probe.timeout)));
    let expect = expect(&probe.expect);
    put(&mut map, "expect", (!expect.is_empty()).then_some(Value::Object(expect)));
    Value::Object(map)
}

fn http(http: &Http) -> Map<String, Value> {
    let mut map = Map::new();
    match &http.target {
        Target::Gateway { path, host } => {
            map.insert("path".to_owned(), json!(path));
            put(&mut map, "host", host.as_ref().map(|host| json!(host)));
        }
        Target::Url(url) => put(&mut map, "url", Some(json!(url))),
    }
    map.insert("method".to_owned(), json!(http.method));
    put(&mut map, "headers", headers(&http.headers));
    match &http.authentication {
        None => {}
        Some(Authentication::BearerToken(source)) => put(&mut map, "bearerToken", Some(secret(source))),
        Some(Authentication::BasicAuth { username, password }) => {
            put(&mut map, "basicAuth", Some(json!({"username": username, "password": secret(password)})));
        }
    }
    put(&mut map, "body", http.body.as_ref().map(|body| json!(body)));
    map.insert("followRedirects".to_owned(), json!(http.follow_redirects));
    trust(&mut map, &http.trust);
    map
}

fn trust(map: &mut Map<String, Value>, trust: &Trust) {
    put(map, "serverName", trust.server_name.as_ref().map(|name| json!(name)));
    put(map, "caFile", trust.ca_file.as_ref().map(|path| json!(path)));
}

fn expect(expect: &Expect) -> Map<String, Value> {
    let mut map = Map::new();
    let status: Vec<Value> = expect.status.iter().map(|status| json!(status.to_string())).collect();
    put(&mut map, "status", (!status.is_empty()).then(|| json!(status)));
    put(&mut map, "bodyContains", expect.body_contains.as_ref().map(|text| json!(text)));
    put(&mut map, "bodyMatches", expect.body_matches.as_ref().map(|text| json!(text)));
    put(&mut map, "latency", expect.latency.map(|latency| json!(time(latency))));
    let valid_for = expect.certificate_valid_for.map(|valid| json!(time(valid)));
    put(&mut map, "certificateValidFor", valid_for);
    put(&mut map, "rcode", expect.rcode.as_ref().map(|rcode| json!(rcode)));
    put(&mut map, "answers", (!expect.answers.is_empty()).then(|| json!(expect.answers)));
    map
}
