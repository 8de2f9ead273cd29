//! The API as a client sees it: parameters, envelopes, errors, remote write.
#![allow(clippy::unwrap_used, reason = "a test's way to fail")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use exposition::{Family, Kind};
use http_body_util::BodyExt;
use prometheus::{Backend, Catalogue, GroupHealth, Health, Limits, router};
use promql::{Labels, Point, Series};
use rules::{Group, Rule, RuleHealth};
use serde_json::{Value, json};
use store::{Config, Store};
use tempfile::TempDir;
use tower::ServiceExt;

const NOW: i64 = 1_700_000_000_000;

struct Known;

impl Catalogue for Known {
    fn families(&self) -> BTreeMap<String, Family> {
        let family = Family { kind: Kind::Counter, help: "Requests.".to_owned(), unit: String::new() };
        BTreeMap::from([("http_requests_total".to_owned(), family)])
    }

    fn targets(&self) -> BTreeMap<String, Health> {
        let (labels, second) = (Labels::new([("job", "shop")]), Duration::from_secs(1));
        let trouble = Some("cannot connect".to_owned());
        let health =
            Health { labels, at: NOW, lasted: second, interval: 15 * second, up: false, samples: 0, trouble };
        BTreeMap::from([("127.0.0.1:80/metrics".to_owned(), health)])
    }

    fn rules(&self) -> BTreeMap<String, GroupHealth> {
        let rule = |record: &str| Rule {
            record: record.to_owned(),
            expr: "sum(hits)".to_owned(),
            labels: BTreeMap::from([("team".to_owned(), "a".to_owned())]),
        };
        let (interval, lasted) = (Duration::from_secs(15), Duration::from_millis(250));
        let group = Group { name: "shop".to_owned(), interval, rules: vec![rule("good"), rule("bad")] };
        let was = |error: Option<&str>| RuleHealth { lasted, series: 1, error: error.map(str::to_owned) };
        let rules = vec![was(None), was(Some("too slow"))];
        BTreeMap::from([("shop".to_owned(), GroupHealth { group, at: Some(NOW), lasted, rules })])
    }
}

struct Api {
    router: axum::Router,
    home: TempDir,
    store: Arc<Store>,
}

impl Api {
    /// With a counter for each of two routes, a sample each 15 s over ten minutes up to now.
    fn new() -> Self {
        let home = TempDir::new().unwrap();
        let store = Arc::new(Store::open(home.path(), Config::default()).unwrap());
        for (route, rate) in [("/a", 1.0), ("/b", 3.0)] {
            let labels =
                Labels::new([("__name__", "http_requests_total"), ("route", route), ("app", "shop")]);
            let series = store.series(&labels).unwrap();
            for step in 0..=40 {
                let at = NOW - (40 - step) * 15_000;
                store.append(&[(series, Point { at, value: rate * 15.0 * step as f64 })]);
            }
        }
        let backend = Backend {
            store: Arc::clone(&store),
            catalogue: Arc::new(Known),
            now: || NOW,
            limits: Limits::default(),
            version: "0.1.0",
        };
        Self { router: router(backend), home, store }
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, String) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let (status, body) = self.send(Request::get(path).body(Body::empty()).unwrap()).await;
        (status, serde_json::from_str(&body).unwrap())
    }

    async fn write(&self, body: Vec<u8>) -> (StatusCode, String) {
        self.send(Request::post("/api/v1/write").body(Body::from(body)).unwrap()).await
    }
}

#[tokio::test]
async fn an_instant_query_is_answered_in_the_envelope() {
    let api = Api::new();
    let (status, body) =
        api.get("/api/v1/query?query=topk(1,sum%20by(route)(rate(http_requests_total[5m])))").await;
    let expected = json!({
        "status": "success",
        "data": {"resultType": "vector", "result": [{"metric": {"route": "/b"}, "value": [1_700_000_000, "3"]}]},
    });
    assert_eq!((status, body), (StatusCode::OK, expected));
    let (_, body) = api.get("/api/v1/query?query=1%2B1&time=1.5").await;
    assert_eq!(body["data"], json!({"resultType": "scalar", "result": [1.5, "2"]}));
    let (_, body) = api.get("/api/v1/query?query=http_requests_total%7Broute%3D%22%2Fa%22%7D%5B30s%5D").await;
    assert_eq!(body["data"]["result"][0]["values"], json!([[1_699_999_985, "585"], [1_700_000_000, "600"]]));
}

#[tokio::test]
async fn a_range_query_takes_a_form_and_names_of_time() {
    let api = Api::new();
    let form = "query=count(http_requests_total)&start=2023-11-14T22:12:20Z&end=1700000000&step=1m";
    let request = Request::post("/api/v1/query_range")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(form));
    let (status, body) = api.send(request.unwrap()).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["data"]["result"][0]["values"], json!([[1_699_999_940, "2"], [1_700_000_000, "2"]]));
}

#[tokio::test]
async fn errors_have_prometheus_kinds() {
    let api = Api::new();
    for (path, status, kind, part) in [
        ("/api/v1/query?query=sum(", 400, "bad_data", "query"),
        ("/api/v1/query", 400, "bad_data", "missing"),
        (
            "/api/v1/query?query=histogram_fraction(0,1,x)",
            400,
            "bad_data",
            "histogram_fraction() is not served here",
        ),
        ("/api/v1/query?query=up&time=noon", 400, "bad_data", "time"),
        ("/api/v1/query_range?query=up&start=2&end=1&step=1", 400, "bad_data", "end timestamp"),
        ("/api/v1/query_range?query=up&start=0&end=1&step=0", 400, "bad_data", "step"),
        ("/api/v1/query_range?query=up&start=0&end=1700000000&step=1", 400, "bad_data", "11,000"),
        (
            "/api/v1/query?query=label_replace(http_requests_total,%22route%22,%22%22,%22%22,%22%22)",
            422,
            "execution",
            "same labelset",
        ),
        ("/api/v1/query?query=http_requests_total&timeout=0", 503, "timeout", "timed out"),
        ("/api/v1/series", 400, "bad_data", "no match[] parameter provided"),
    ] {
        let (given, body) = api.get(path).await;
        assert_eq!(
            (given.as_u16(), &body["errorType"], &body["status"]),
            (status, &json!(kind), &json!("error")),
            "{path}: {body}"
        );
        assert!(body["error"].as_str().unwrap().contains(part), "{path}: {body}");
    }
}

#[tokio::test]
async fn the_catalogue_lists_series_labels_values_and_meanings() {
    let api = Api::new();
    let data = async |path: &str| api.get(path).await.1["data"].clone();
    let both = data("/api/v1/series?match[]=http_requests_total&match[]=%7Broute%3D%22%2Fa%22%7D").await;
    assert_eq!(both.as_array().unwrap().len(), 2);
    assert_eq!(both[0], json!({"__name__": "http_requests_total", "app": "shop", "route": "/a"}));
    assert_eq!(data("/api/v1/labels").await, json!(["__name__", "app", "route"]));
    assert_eq!(data("/api/v1/label/route/values").await, json!(["/a", "/b"]));
    assert_eq!(
        data("/api/v1/label/route/values?match[]=%7Broute!%3D%22%2Fa%22%2Capp%3D%22shop%22%7D").await,
        json!(["/b"])
    );
    assert_eq!(data("/api/v1/series?match[]=http_requests_total&end=1600000000").await, json!([]));
    let meaning = json!([{"type": "counter", "help": "Requests.", "unit": ""}]);
    assert_eq!(data("/api/v1/metadata").await, json!({"http_requests_total": meaning}));
    assert_eq!(data("/api/v1/metadata?metric=other").await, json!({}));
    let group = &data("/api/v1/rules").await["groups"][0];
    assert_eq!((&group["name"], &group["interval"]), (&json!("shop"), &json!(15.0)));
    assert_eq!(
        group["rules"][0],
        json!({"name": "good", "query": "sum(hits)", "labels": {"team": "a"}, "health": "ok", "evaluationTime": 0.25,
            "lastEvaluation": "2023-11-14T22:13:20Z", "type": "recording"})
    );
    assert_eq!(
        (&group["rules"][1]["health"], &group["rules"][1]["lastError"]),
        (&json!("err"), &json!("too slow"))
    );
    assert_eq!(data("/api/v1/rules?type=alert").await, json!({"groups": []}));
    assert_eq!(data("/api/v1/alerts").await, json!({"alerts": []}));
    let target = &data("/api/v1/targets").await["activeTargets"][0];
    assert_eq!((&target["health"], &target["lastError"]), (&json!("down"), &json!("cannot connect")));
    assert_eq!((&target["scrapePool"], &target["scrapeInterval"]), (&json!("shop"), &json!("15s")));
    assert_eq!(target["lastScrape"], "2023-11-14T22:13:20Z");
    assert_eq!(data("/api/v1/status/buildinfo").await["version"], "3.5.0");
}

#[tokio::test]
async fn what_is_written_remotely_can_be_queried_and_what_is_refused_is_named() {
    let api = Api::new();
    let series = |at: i64, value: f64| Series {
        labels: Labels::new([("__name__", "temperature"), ("room", "1")]),
        points: vec![Point { at, value }],
    };
    assert_eq!(api.write(exposition::remote::write(&[series(NOW, 21.5)])).await.0, StatusCode::NO_CONTENT);
    // Sent again after a lost answer.
    assert_eq!(api.write(exposition::remote::write(&[series(NOW, 21.5)])).await.0, StatusCode::NO_CONTENT);
    let (_, body) = api.get("/api/v1/query?query=temperature").await;
    assert_eq!(body["data"]["result"][0]["value"][1], "21.5");
    let (status, why) = api.write(exposition::remote::write(&[series(NOW - 1000, 20.0)])).await;
    assert_eq!(
        (status, why.trim()),
        (StatusCode::BAD_REQUEST, "1 samples: older than the newest sample of their series")
    );
    let (status, why) = api.write(b"no snappy".to_vec()).await;
    assert!(status == StatusCode::BAD_REQUEST && why.contains("snappy"), "{why}");
}

#[tokio::test]
async fn a_sample_of_a_far_future_is_refused_and_ends_nothing() {
    let api = Api::new();
    let labels = Labels::new([("__name__", "temperature"), ("room", "lab")]);
    let point = |ahead: i64| Point { at: NOW + ahead, value: 20.0 };
    let points = vec![point(0), point(10 * 60_000), point(10 * 60_000 + 1), point(3_000_000_000_000)];
    let series = Series { labels: labels.clone(), points };
    let (status, why) = api.write(exposition::remote::write(&[series])).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(why.contains("2 samples: more than 10 minutes ahead of this machine's clock"), "{why}");
    let before = Series { labels, points: vec![Point { at: -1, value: 1.0 }, point(10 * 60_000)] };
    let (status, why) = api.write(exposition::remote::write(&[before])).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(why.starts_with("1 samples: at a time before 1970"), "{why}");
    assert_eq!(api.get("/api/v1/query?query=temperature").await.1["data"]["result"][0]["value"][1], "20");
}

#[tokio::test]
async fn damage_on_disk_is_a_warning_and_the_rest_is_answered() {
    let api = Api::new();
    // Long enough after, what is there becomes a block, whose first chunk is damaged then.
    let late = api.store.series(&Labels::new([("__name__", "late")])).unwrap();
    api.store.append(&[(late, Point { at: NOW + 4 * 3_600_000, value: 1.0 })]);
    api.store.tidy(NOW).unwrap();
    let blocks = std::fs::read_dir(api.home.path()).unwrap().map(|entry| entry.unwrap().path());
    let block = blocks.filter(|path| path.to_str().unwrap().contains("/block-")).min().unwrap();
    let path = "/api/v1/query?query=count_over_time(http_requests_total[10m])";
    let (_, whole) = api.get(path).await;
    assert_eq!((whole["data"]["result"].as_array().unwrap().len(), &whole["warnings"]), (2, &Value::Null));
    // The times come first, and both series have the same: the values of the first are behind them.
    let mut bytes = std::fs::read(&block).unwrap();
    let place = bytes.len() / 4;
    bytes[place] ^= 1;
    std::fs::write(&block, bytes).unwrap();
    let (status, body) = api.get(path).await;
    assert_eq!((status.as_u16(), &body["status"]), (200, &Value::from("success")), "{body}");
    assert!(body["warnings"][0].as_str().unwrap().contains("damaged chunks"), "{body}");
    assert!(body["data"]["result"].as_array().unwrap().len() < 2, "{body}");
    assert!(api.store.stats().damaged >= 1);
}
