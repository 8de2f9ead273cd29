//! The rules that Sloth 0.11 makes of an objective on events: a ratio of rates for each window, the description of the
//! objective as series, and two alerts over four pairs of windows.

use std::fmt::Write as _;

use crate::{OBJECTIVES, SERVICES};

const WINDOWS: [&str; 7] = ["5m", "30m", "1h", "2h", "6h", "1d", "3d"];
const BUDGET: &str = "(1 - 0.999)";

/// For all objectives, as a file of rules.
pub(crate) fn rules() -> String {
    let mut text = "groups:\n".to_owned();
    for service in 0..SERVICES {
        for route in 0..OBJECTIVES {
            one(&mut text, service, route);
        }
    }
    text
}

fn one(text: &mut String, service: usize, route: usize) {
    let (id, slo) = (format!("s{service}-o{route}"), format!("o{route}"));
    let known = format!("sloth_id=\"{id}\", sloth_service=\"s{service}\", sloth_slo=\"{slo}\"");
    let labels = format!("sloth_id: {id}, sloth_service: s{service}, sloth_slo: {slo}");
    let of = format!("app=\"s{service}\",environment=\"production\",route=\"/r{route}\"");
    let mut group = |name: &str, rules: &[(String, String, String)]| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "- name: sloth-slo-{name}-{id}\n  rules:");
        for (kind, expr, labels) in rules {
            let _ = writeln!(text, "  - {kind}\n    expr: '{expr}'\n    labels: {{{labels}}}");
        }
    };
    let mut ratios: Vec<_> = WINDOWS
        .iter()
        .map(|window| {
            let errors = format!("sum(rate(http_requests_total{{{of},status_class=\"5xx\"}}[{window}]))");
            let expr = format!("({errors}) / (sum(rate(http_requests_total{{{of}}}[{window}])))");
            let record = format!("record: slo:sli_error:ratio_rate{window}");
            (record, expr, format!("{labels}, sloth_window: {window}"))
        })
        .collect();
    let all = format!("slo:sli_error:ratio_rate5m{{{known}}}[30d]");
    let month = format!("sum_over_time({all}) / ignoring (sloth_window) count_over_time({all})");
    ratios.push((
        "record: slo:sli_error:ratio_rate30d".into(),
        month,
        format!("{labels}, sloth_window: 30d"),
    ));
    group("sli-recordings", &ratios);
    let record = |name: &str, expr: String| (format!("record: slo:{name}"), expr, labels.clone());
    let over = |ratio: &str| {
        format!(
            "slo:sli_error:ratio_rate{ratio}{{{known}}} / on(sloth_id, sloth_slo, sloth_service) group_left \
             slo:error_budget:ratio{{{known}}}"
        )
    };
    let left = format!("1 - slo:period_burn_rate:ratio{{{known}}}");
    group(
        "meta-recordings",
        &[
            record("objective:ratio", "vector(0.999)".into()),
            record("error_budget:ratio", format!("vector{BUDGET}")),
            record("time_period:days", "vector(30)".into()),
            record("current_burn_rate:ratio", over("5m")),
            record("period_burn_rate:ratio", over("30d")),
            record("period_error_budget_remaining:ratio", left),
            ("record: sloth_slo_info".into(), "vector(1)".into(), labels.clone()),
        ],
    );
    let burns = |window: &str, factor: f64| {
        format!(
            "max(slo:sli_error:ratio_rate{window}{{{known}}} > ({factor} * {BUDGET})) without (sloth_window)"
        )
    };
    let alert = |severity: &str, pairs: [(&str, &str, f64); 2]| {
        let both = pairs
            .map(|(short, long, factor)| format!("({} and {})", burns(short, factor), burns(long, factor)));
        let labels = format!("sloth_severity: {severity}");
        (format!("alert: {id}-{severity}"), both.join(" or "), labels)
    };
    group(
        "alerts",
        &[
            alert("page", [("5m", "1h", 14.4), ("30m", "6h", 6.0)]),
            alert("ticket", [("2h", "1d", 3.0), ("6h", "3d", 1.0)]),
        ],
    );
}
