//! The table at the end.

use crate::figures::Figures;
use crate::pager::Told;

/// The figures as a table, and the promises that broke.
pub(crate) fn render(figures: &Figures, broken: &[String]) -> String {
    let mut rows: Vec<(&str, String)> = vec![
        ("requests sent", figures.sent.to_string()),
        ("requests lost", figures.lost.to_string()),
        ("answered while control was dead", figures.answered_without_control.to_string()),
        (
            "served by the bad release",
            format!("{}, of which {} failed", figures.served_by_bad, figures.failed_by_bad),
        ),
        ("to the verdict", format!("{:.1} s", figures.seconds_to_verdict)),
        (
            "",
            format!(
                "{} requests (on average no test with this guarantee needs fewer than {:.0})",
                figures.requests_to_verdict, figures.lower_bound_requests
            ),
        ),
        ("from verdict to last request on it", format!("{:.1} ms", figures.rollback_ms)),
        ("started on it after that", figures.started_on_bad_after_acknowledgement.to_string()),
        (
            "charged to its error budget",
            format!("{} failed requests, {:.0} % of it", figures.budget.charged, figures.budget.percent),
        ),
        ("the next deploy", if figures.budget.next_refused { "refused" } else { "not refused" }.to_owned()),
    ];
    rows.extend(pager(figures));
    rows.extend([
        ("99th percentile of the latency", format!("{:.1} ms", figures.p99_ms)),
        ("the whole demo", format!("{:.0} s", figures.seconds_in_all)),
    ]);
    let mut text = String::new();
    for (name, value) in rows {
        text.push_str(&format!("   {name:<36}{value}\n"));
    }
    text.push_str(&format!("\n   verdict: {}\n\n", figures.verdict));
    if broken.is_empty() {
        text.push_str("   Every promise was kept.");
    } else {
        text.push_str("   BROKEN:");
        for promise in broken {
            text.push_str(&format!("\n   - {promise}"));
        }
    }
    text
}

/// How often the pager was told of what.
fn pager(figures: &Figures) -> Vec<(&'static str, String)> {
    let all: u64 = figures.told.values().map(|told| told.fires + told.over).sum();
    let times = |count: u64| match count {
        0 => "not yet".to_owned(),
        1 => "once".to_owned(),
        _ => format!("{count} times"),
    };
    let of_one = |(name, told): (&String, &Told)| {
        ("", format!("{name} ({}): fires {}, over {}", told.severity, times(told.fires), times(told.over)))
    };
    let first = (
        "the pager was told",
        format!("{all} times, of the failure {:.1} s after the rollback", figures.seconds_to_pager),
    );
    [first].into_iter().chain(figures.told.iter().map(of_one)).collect()
}
