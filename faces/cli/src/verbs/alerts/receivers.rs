//! `shipshape alerts receivers` and `alerts test`: who is told, whether they take it, and whether the way to them works. Does
//! not live here: telling (control), and which alerts there are.

use std::time::Duration;

use api::objectives::Which;
use api::paging::ReceiverStatus;
use model::Timestamp;
use runtime::TestReceivers;

use super::{Line, WIDTH};
use crate::Done;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::printer::Paint;
use crate::words;

/// How often it is looked whether a test is passed.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shipshape alerts test -e production
  shipshape alerts test -e production --receiver on-call --reason 'a new token'")]
pub(crate) struct Test {
    /// Only this one; by default all of the place
    #[arg(long, value_name = "NAME")]
    receiver: Option<String>,
    /// How long to wait for their answers
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = model::time::parse_duration)]
    wait: Duration,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Shows who is told.
pub(super) async fn list(context: &Context<'_>, which: &Which) -> Result<Done, Failure> {
    let all = context.client.receivers(which).await?;
    let printer = context.printer;
    if printer.is_json() {
        printer.json_pretty(&all);
        return Ok(Done::Well);
    }
    if all.is_empty() {
        printer.talk(
            "nobody is told of alerts: declare receivers under `notify` in the manifest, and deploy it",
        );
    }
    for (line, paint) in lines(&all, Timestamp::from_micros(api::errors::now())) {
        let line = words::plain(&line);
        printer.data(&paint.map_or_else(|| line.clone(), |paint| printer.paint(paint, &line)));
    }
    Ok(Done::Well)
}

/// Sends each receiver an alert that says it is a test, and waits until they took it.
pub(super) async fn test(args: Test, context: &Context<'_>) -> Result<Done, Failure> {
    let place = context.place()?;
    let which = Which { service: Some(place.service.clone()), environment: Some(place.environment.clone()) };
    let (receiver, actor, reason) = (args.receiver, context::actor(), args.reason);
    let tested = context.client.test_receivers(&TestReceivers { place, receiver, actor, reason }).await?;
    let is_tested = |it: &ReceiverStatus| tested.iter().any(|way| way.receiver == it.receiver);
    let is_open = |it: &ReceiverStatus| it.test.as_ref().is_none_or(|test| test.open);
    let deadline = tokio::time::Instant::now() + args.wait;
    let all = loop {
        let mut all = context.client.receivers(&which).await?;
        all.retain(is_tested);
        if !all.iter().any(is_open) || tokio::time::Instant::now() >= deadline {
            break all;
        }
        tokio::time::sleep(LOOK).await;
    };
    let printer = context.printer;
    let late = all.iter().filter(|it| is_open(it)).count();
    if printer.is_json() {
        printer.json_pretty(&all);
    }
    for it in all.iter().filter(|_| !printer.is_json()) {
        let (said, paint) = match (is_open(it), &it.failing) {
            (false, _) => ("took the test".to_owned(), Paint::Good),
            (true, Some(failing)) => (format!("does not take it: {}", failing.why), Paint::Bad),
            (true, None) => ("has not answered yet".to_owned(), Paint::Warning),
        };
        printer.data(&printer.paint(paint, &words::plain(&format!("{} {said}", it.receiver))));
    }
    if late == 0 {
        return Ok(Done::Well);
    }
    let waited = model::time::format_duration(args.wait);
    let what = format!("{late} of {} receivers did not take the test within {waited}", all.len());
    Err(Failure::new(what).instead("`shipshape alerts receivers` says why; it is tried on until it is taken"))
}

/// A table, and below it why some take nothing.
fn lines(all: &[ReceiverStatus], now: Timestamp) -> Vec<Line> {
    if all.is_empty() {
        return vec![];
    }
    let head = ["PLACE", "RECEIVER", "KIND", "TOOK", "WAITING", "LAST TEST PASSED"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(all.iter().map(|it| row(it, now)));
    let is_proved = |it: &ReceiverStatus| !it.test.as_ref().is_some_and(|test| test.overdue);
    let paint = |it: &ReceiverStatus| match (&it.failing, is_proved(it)) {
        (Some(_), _) => Some(Paint::Bad),
        (None, false) => Some(Paint::Warning),
        (None, true) => None,
    };
    let paints = std::iter::once(Some(Paint::Strong)).chain(all.iter().map(paint));
    let mut lines: Vec<Line> = words::table(&rows, "").into_iter().zip(paints).collect();
    for it in all {
        let Some(failing) = &it.failing else { continue };
        let how = if failing.refused { "refuses" } else { "does not answer well" };
        let since = words::duration(now.since(failing.since));
        let why = format!("{} {how} since {since}: {}", it.receiver, failing.why);
        lines.extend(words::wrapped(&why, WIDTH).into_iter().map(|line| (line, Some(Paint::Bad))));
    }
    lines
}

fn row(it: &ReceiverStatus, now: Timestamp) -> Vec<String> {
    let ago = |at: Timestamp| format!("{} ago", words::duration(now.since(at)));
    let test = match &it.test {
        None => "never tested".to_owned(),
        Some(test) => test.passed_at.map_or_else(|| "never".to_owned(), ago),
    };
    vec![
        it.place.to_string(),
        it.receiver.clone(),
        it.kind.clone(),
        it.told.to_string(),
        it.waiting.to_string(),
        test,
    ]
}

#[cfg(test)]
mod tests {
    use views::paging::{FailingStatus, TestStatus};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn receiver(failing: Option<FailingStatus>, passed: Option<i64>) -> ReceiverStatus {
        ReceiverStatus {
            place: model::Place {
                service: "shop".parse().unwrap(),
                environment: "production".parse().unwrap(),
            },
            receiver: "on-call".to_owned(),
            kind: "webhook".to_owned(),
            told_at: None,
            told: 3,
            failed: 1,
            waiting: 2,
            failing,
            test: Some(TestStatus { begun: at(0), open: false, passed_at: passed.map(at), overdue: false }),
        }
    }

    #[test]
    fn a_receiver_that_takes_nothing_says_why_and_since_when() {
        let failing = FailingStatus {
            since: at(40),
            why: "answered 503".to_owned(),
            refused: false,
            again_at: at(110),
        };
        let told = lines(&[receiver(Some(failing), None)], at(100));
        let text: Vec<&str> = told.iter().map(|(line, _)| line.trim_end()).collect();
        assert_eq!(text[2], "on-call does not answer well since 1 min 0 s: answered 503");
        assert!(text[1].ends_with("never") && told[1].1 == Some(Paint::Bad), "{text:?}");
    }

    #[test]
    fn a_receiver_that_is_proved_stands_in_one_quiet_line() {
        let told = lines(&[receiver(None, Some(40))], at(100));
        assert!(told.len() == 2 && told[1].1.is_none(), "{told:?}");
        assert!(told[1].0.contains("1 min 0 s ago"), "{told:?}");
    }
}
