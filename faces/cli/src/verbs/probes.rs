//! `shipshape probes`: what the looks from outside found last. Does not live here: the looking.

use model::Timestamp;
use ports::probes::{Found, Look, Report};

use crate::Done;
use crate::context::Context;
use crate::failure::Failure;
use crate::printer::Paint;
use crate::words;

/// How long a line gets of what others wrote.
const WIDTH: usize = 78;

/// Show what the probes from outside found last.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shipshape probes                        those of every service
  shipshape probes -e production          those of one environment
  shipshape query 'probe_success == 0'    which fail, as a metric")]
pub(crate) struct Args {}

pub(crate) async fn run(_: Args, context: &Context<'_>) -> Result<Done, Failure> {
    let service = context.common.service.as_ref();
    let reports = context.client.probes(service, context.environment()).await?;
    let printer = context.printer;
    if printer.is_json() {
        printer.json_pretty(&reports);
        return Ok(Done::Well);
    }
    if reports.probes.is_empty() {
        printer.talk("no probe is in force; `probes:` in the manifest of what serves declares some");
    }
    for (line, paint) in lines(&reports.probes, reports.at) {
        let line = words::plain(&line);
        printer.data(&paint.map_or_else(|| line.clone(), |paint| printer.paint(paint, &line)));
    }
    Ok(Done::Well)
}

/// A table, and below it why some are not good.
fn lines(reports: &[Report], now: Timestamp) -> Vec<(String, Option<Paint>)> {
    if reports.is_empty() {
        return vec![];
    }
    let head = ["PLACE", "PROBE", "RESULT", "FOR", "TOOK", "STATUS", "CERTIFICATE", "FAILED", "INSTANCE"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(reports.iter().map(|report| row(report, now)));
    let paint = |report: &Report| match report.last.as_ref().map(|look| look.result) {
        Some(Found::Bad) => Some(Paint::Bad),
        Some(Found::Unknown) => Some(Paint::Warning),
        Some(Found::Good) | None => None,
    };
    let paints = std::iter::once(Some(Paint::Strong)).chain(reports.iter().map(paint));
    let mut lines: Vec<_> = words::table(&rows, "").into_iter().zip(paints).collect();
    for report in reports {
        let Some(look) = report.last.as_ref().filter(|look| look.result != Found::Good) else { continue };
        let why = format!("{} {}: {}", report.place, report.probe, look.detail);
        lines.extend(words::wrapped(&why, WIDTH).into_iter().map(|line| (line, paint(report))));
    }
    lines
}

fn row(report: &Report, now: Timestamp) -> Vec<String> {
    let dash = || "-".to_owned();
    let of =
        |part: &dyn Fn(&Look) -> Option<String>| report.last.as_ref().and_then(part).unwrap_or_else(dash);
    vec![
        report.place.to_string(),
        report.probe.clone(),
        of(&|look| Some(look.reason.clone().unwrap_or_else(|| look.result.name().to_owned()))),
        of(&|look| Some(words::duration(now.since(look.since)))),
        of(&|look| Some(words::duration(std::time::Duration::try_from_secs_f64(look.seconds).ok()?))),
        of(&|look| look.status.map(|status| status.to_string())),
        of(&|look| {
            let expires = look.certificate_expires?;
            let days = expires.since(now).as_secs() / (24 * 3600);
            Some(if expires < now { "expired".to_owned() } else { words::count(days, "day") })
        }),
        format!("{} of {}", report.failures, report.attempts),
        words::cut(&report.instance, 50),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn report(name: &str, last: Option<Look>) -> Report {
        Report {
            place: model::Place {
                service: "shop".parse().unwrap(),
                environment: "production".parse().unwrap(),
            },
            probe: name.to_owned(),
            kind: "http".to_owned(),
            instance: "https://shop.example.org/".to_owned(),
            attempts: 10,
            failures: 2,
            last,
        }
    }

    #[test]
    fn each_probe_is_a_row_and_what_is_wrong_is_said_below() {
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        let good = Look {
            at: now,
            result: Found::Good,
            since: Timestamp::from_micros(now.as_micros() - 120_000_000),
            seconds: 0.031,
            reason: None,
            detail: String::new(),
            status: Some(200),
            certificate_expires: Some(now.after(Duration::from_secs(20 * 86400 + 5))),
        };
        let bad = Look {
            result: Found::Bad,
            reason: Some("certificate".to_owned()),
            detail: "the certificate has expired".to_owned(),
            status: None,
            certificate_expires: Some(Timestamp::from_micros(0)),
            ..good.clone()
        };
        let all = [report("new", None), report("home", Some(good)), report("old", Some(bad))];
        let lines: Vec<String> = lines(&all, now).into_iter().map(|(line, _)| line).collect();
        assert_eq!(
            lines,
            [
                "PLACE            PROBE  RESULT       FOR        TOOK   STATUS  CERTIFICATE  FAILED   INSTANCE",
                "shop/production  new    -            -          -      -       -            2 of 10  https://shop.example.org/",
                "shop/production  home   good         2 min 0 s  31 ms  200     20 days      2 of 10  https://shop.example.org/",
                "shop/production  old    certificate  2 min 0 s  31 ms  -       expired      2 of 10  https://shop.example.org/",
                "shop/production old: the certificate has expired",
            ]
        );
    }
}
