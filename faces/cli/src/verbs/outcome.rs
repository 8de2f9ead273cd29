//! How a rollout that somebody asked for ended: in words, in JSON, and as an exit status. Does not live here: following
//! it there.

use std::time::{Duration, Instant};

use model::{Place, ReleaseNumber};
use runtime::Answer;
use serde_json::{Value, json};
use views::RolloutStatus;

use crate::Done;
use crate::context::Context;
use crate::failure::Failure;
use crate::printer::Paint;
use crate::progress::{self, End};
use crate::words;

/// What was asked for, as far as the exit status is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// The new release serves; being taken back is a failure.
    Forward,
    /// The old release serves.
    Back,
}

/// What the answer came to: follows the rollout, if there is one, and tells its end.
pub(super) async fn see(
    context: &Context<'_>,
    answer: &Answer,
    wish: Wish,
    since: Instant,
    detach: bool,
) -> Result<Done, Failure> {
    if let Some(number) = answer.request {
        return super::requests::wait(context, answer, number, since, detach).await;
    }
    let Some(number) = answer.rollout else {
        tell(
            context,
            &json!({"outcome": "unchanged", "place": answer.place, "release": answer.release}),
            &format!(
                "release {} serves all requests at {} already: nothing to do",
                answer.release, answer.place
            ),
        );
        return Ok(Done::Well);
    };
    if detach {
        tell(
            context,
            &json!({
                "outcome": "started", "place": answer.place, "release": answer.release, "rollout": number,
            }),
            &format!("rollout {number} of release {} at {} goes on by itself", answer.release, answer.place),
        );
        context.printer.talk("`shipshape status` shows how far it is");
        return Ok(Done::Well);
    }
    let end = progress::follow(context, &answer.place, number).await?;
    let took = since.elapsed();
    ended(context, &answer.place, end, wish, took)
}

fn ended(
    context: &Context<'_>,
    place: &Place,
    end: End,
    wish: Wish,
    took: Duration,
) -> Result<Done, Failure> {
    let seconds = seconds(took);
    let time = words::duration(took);
    match end {
        End::Serves { release, failed_hooks } => {
            let again = if wish == Wish::Back { " again" } else { "" };
            let mut data =
                json!({"outcome": "serves", "place": place, "release": release, "seconds": seconds});
            let what = format!("release {release} serves all requests{again} at {place}, after {time}");
            if failed_hooks.is_empty() {
                tell(context, &data, &what);
                return Ok(Done::Well);
            }
            data["failedHooks"] = json!(failed_hooks);
            let why = words::plain(&failed_hooks.join("; hook "));
            let next = "the release stays where it is (onFailure: warn): do by hand what the hook did not, or mend it and \
                        deploy again";
            badly(context, &data, Failure::new(format!("{what}, but hook {why}")).instead(next))
        }
        End::Back { from, to, reason, last } => {
            let back = Back { from, to, reason: words::plain(&reason), last };
            went_back(context, place, &back, wish, took)
        }
        End::Paused { rollout, inconclusive } => {
            let reason = rollout.reason.clone().unwrap_or_default();
            let data = json!({
                "outcome": "paused", "place": place, "release": rollout.to, "weight": rollout.weight,
                "reason": reason, "inconclusive": inconclusive, "seconds": seconds,
            });
            let what = format!(
                "release {} stands at {} of the requests at {place}: {}",
                rollout.to,
                rollout.weight,
                words::plain(&reason)
            );
            let at = here(context, place);
            let next = format!("`shipshape promote {at}` goes on, `shipshape abort {at}` goes back");
            if inconclusive {
                return badly(context, &data, Failure::new(what).instead(next));
            }
            tell(context, &data, &what);
            context.printer.talk(&next);
            Ok(Done::Well)
        }
        End::Overtaken(by) => {
            let data = json!({"outcome": "overtaken", "place": place, "by": by, "seconds": seconds});
            let what = format!("rollout {by} has begun at {place} meanwhile");
            let next = "`shipshape status` shows it, `shipshape journal list` tells what happened";
            badly(context, &data, Failure::new(what).instead(next))
        }
        End::Left => {
            let data = json!({"outcome": "left", "place": place, "seconds": seconds});
            let what = format!("you stopped watching; the rollout at {place} goes on");
            let at = here(context, place);
            let next =
                format!("`shipshape status {at} --watch` shows it, `shipshape abort {at}` takes it back");
            badly(context, &data, Failure::new(what).instead(next))
        }
    }
}

/// A release that was taken back.
struct Back {
    from: ReleaseNumber,
    to: Option<ReleaseNumber>,
    reason: String,
    last: Option<Box<RolloutStatus>>,
}

fn went_back(
    context: &Context<'_>,
    place: &Place,
    back: &Back,
    wish: Wish,
    took: Duration,
) -> Result<Done, Failure> {
    let Back { from, to, reason, last } = back;
    let data = json!({
        "outcome": "rolledBack", "place": place, "from": from, "to": to, "reason": reason,
        "evidenceLastSeen": last.as_ref().and_then(|last| Some(&last.report.as_ref()?.evidence)),
        "seconds": seconds(took),
    });
    let serves = to.map_or_else(
        || "nothing serves there now".to_owned(),
        |to| format!("release {to} serves all requests again"),
    );
    if wish == Wish::Back {
        tell(context, &data, &format!("{serves} at {place}, after {}", words::duration(took)));
        return Ok(Done::Well);
    }
    // The reason holds the evidence that decided; what was seen last before that was less, and stays in the data.
    let what = format!("release {from} was rolled back at {place}: {reason}");
    let instead = format!(
        "{serves}; `shipshape logs {} --release {from}` shows what release {from} said",
        here(context, place)
    );
    badly(context, &data, Failure::new(what).instead(instead))
}

fn seconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1000.0).round() / 1000.0
}

/// The options that mean this place to a user who typed what they typed.
fn here(context: &Context<'_>, place: &Place) -> String {
    let environment = format!("-e {}", place.environment);
    let file = &context.common.file;
    match context.common.service {
        Some(_) => format!("--service {} {environment}", place.service),
        None if file.as_os_str() != "shipshape.yaml" => format!("{environment} --file {}", file.display()),
        None => environment,
    }
}

fn tell(context: &Context<'_>, data: &Value, text: &str) {
    if context.printer.is_json() {
        context.printer.json(data);
    } else {
        context.printer.data(&context.printer.paint(Paint::Good, text));
    }
}

fn badly(context: &Context<'_>, data: &Value, failure: Failure) -> Result<Done, Failure> {
    if context.printer.is_json() {
        context.printer.json(data);
        return Ok(Done::Badly);
    }
    Err(failure)
}
