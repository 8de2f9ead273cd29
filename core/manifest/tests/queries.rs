//! What is warned of in a query that a rule asks.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use manifest::Manifest;

/// What is said of a rule with this query.
fn warnings(query: &str) -> Vec<String> {
    let text = format!(
        "service: shop\nrun: ./shop\nrollout:\n  strategy: canary\n  analysis:\n    metrics:\n      - name: errors\n        \
         promql: '{query}'\n        interval: 10s\n        successCondition: result[0] < 1\n"
    );
    Manifest::parse(&text).unwrap().warnings().iter().map(|warning| warning.message.clone()).collect()
}

#[test]
fn a_query_that_is_no_promql_is_a_warning() {
    assert_eq!(warnings("sum(rate(up{version=\"{{args.version}}\"}[1m]))"), [""; 0]);
    let told = warnings("sum(rate(up{version=\"{{args.version}}\"}))");
    assert!(matches!(told.as_slice(), [only] if only.starts_with("the query is not PromQL: ")), "{told:?}");
}

#[test]
fn a_range_that_holds_less_than_two_readings_of_the_gateway_is_a_warning() {
    // Of the gateway there is a reading each 5 s; of others nobody knows.
    let short = "1 - sum(rate(http_requests_total{version=\"{{args.version}}\"}[8s])) / sum(rate(http_requests_total[1m]))";
    let told = "`http_requests_total[8s]` mostly holds less than two readings: they are 5s apart";
    assert_eq!(warnings(short), [told]);
    assert_eq!(warnings("sum(rate(http_requests_total[10s]))"), [""; 0]);
    assert_eq!(warnings("sum(rate(orders_total[5s]))"), [""; 0]);
}
