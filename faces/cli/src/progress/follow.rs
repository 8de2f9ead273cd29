//! Asking for the status until a rollout ends or stands still. Does not live here: how that looks.

use std::time::{Duration, Instant};

use model::{Place, ReleaseNumber, RolloutNumber};
use views::{PlaceStatus, RolloutStatus};

use super::screen::Screen;
use crate::context::Context;
use crate::failure::Failure;

/// The first wait between two looks; it grows by half each time.
const FIRST_WAIT: Duration = Duration::from_millis(20);
/// The longest wait between two looks.
const LONGEST_WAIT: Duration = Duration::from_millis(200);
/// How long control may be away, while it is started again, before the command gives up watching.
const ABSENCE: Duration = Duration::from_secs(60);

/// How it ended, or why it does not move.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    /// This release takes all requests.
    Serves(ReleaseNumber),
    /// It was rolled back.
    Back {
        /// From this release.
        from: ReleaseNumber,
        /// To this one, if any had served.
        to: Option<ReleaseNumber>,
        /// Why.
        reason: String,
        /// The rollout as it was last seen with its evidence, if it ever was.
        last: Option<Box<RolloutStatus>>,
    },
    /// It stands still until somebody decides.
    Paused {
        /// Where it stands.
        rollout: Box<RolloutStatus>,
        /// Whether that is for want of evidence.
        inconclusive: bool,
    },
    /// The next rollout has begun meanwhile.
    Overtaken(RolloutNumber),
    /// The user does not want to watch any more.
    Left,
}

/// Follows a rollout.
pub(crate) async fn follow(
    context: &Context<'_>,
    place: &Place,
    number: RolloutNumber,
) -> Result<End, Failure> {
    let mut screen = Screen::new(context.printer);
    let mut wait = FIRST_WAIT;
    let mut away: Option<Instant> = None;
    let mut last = None;
    loop {
        match context.client.status(Some(&place.service), Some(&place.environment)).await {
            Ok(status) => {
                if away.take().is_some() {
                    screen.say("control is back");
                }
                let seen = status.places.first();
                let Some((seen, rollout)) = seen.and_then(|seen| Some((seen, seen.rollout.as_ref()?))) else {
                    let what = format!("control knows nothing of rollout {number} at {place} any more");
                    return Err(Failure::new(what).instead("`shipshape journal list` tells what happened"));
                };
                if rollout.number == number {
                    screen.show(seen, rollout, status.at);
                    if rollout.report.is_some() {
                        last = Some(Box::new(rollout.clone()));
                    }
                }
                if let Some(end) = end(seen, rollout, number, &last) {
                    return Ok(end);
                }
            }
            Err(error) if error.is_absence() && away.is_none_or(|since| since.elapsed() < ABSENCE) => {
                if away.is_none() {
                    away = Some(Instant::now());
                    screen
                        .say("control does not answer; the rollout goes on when it is back (`shipshape up`)");
                }
            }
            Err(error) if error.is_absence() => {
                let what = format!("control has not answered for {} s", ABSENCE.as_secs());
                let next =
                    format!("`shipshape up` starts it, and the rollout at {place} goes on where it was");
                return Err(Failure::new(what).instead(next));
            }
            Err(error) => return Err(error.into()),
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = tokio::signal::ctrl_c() => return Ok(End::Left),
        }
        wait = (wait * 3 / 2).min(LONGEST_WAIT);
    }
}

fn end(
    place: &PlaceStatus,
    rollout: &RolloutStatus,
    number: RolloutNumber,
    last: &Option<Box<RolloutStatus>>,
) -> Option<End> {
    if rollout.number != number {
        return Some(match place.serving {
            // Control was away while it ended, and nothing has begun since.
            Some(serving) if rollout.number < number => End::Serves(serving),
            _ => End::Overtaken(rollout.number),
        });
    }
    match rollout.phase.as_str() {
        "promoted" | "completed" => Some(End::Serves(rollout.to)),
        "rolledBack" => Some(End::Back {
            from: rollout.to,
            to: rollout.from,
            reason: rollout.reason.clone().unwrap_or_else(|| "no reason was recorded".to_owned()),
            last: last.clone(),
        }),
        "paused" => Some(End::Paused {
            rollout: Box::new(rollout.clone()),
            inconclusive: rollout.reason.as_ref().is_some_and(|reason| reason.starts_with("inconclusive")),
        }),
        _ => None,
    }
}
