//! Asking for the status until a rollout ends or stands still. Does not live here: how that looks.

use std::time::{Duration, Instant};

use model::hook::Moment;
use model::{Place, ReleaseNumber, RolloutNumber};
use views::{HookState, HookStatus, RolloutStatus};

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
    Serves {
        /// Which.
        release: ReleaseNumber,
        /// The hooks after the rollout that failed, each with why.
        failed_hooks: Vec<String>,
    },
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
                    if rollout.report.is_some() || last.is_none() {
                        last = Some(Box::new(rollout.clone()));
                    }
                }
                if let Some(end) = end(rollout, number, &last) {
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

/// Whether it has ended or stands still; `last` is how it was last seen with its evidence.
fn end(rollout: &RolloutStatus, number: RolloutNumber, last: &Option<Box<RolloutStatus>>) -> Option<End> {
    if rollout.number != number {
        // The next one began between two looks. It says what had served by then.
        let served = last.as_ref().filter(|last| rollout.from == Some(last.to));
        return Some(served.map_or(End::Overtaken(rollout.number), |last| serves(last)));
    }
    match rollout.phase.as_str() {
        "promoted" if rollout.reason.is_some() => {
            Some(End::Paused { rollout: Box::new(rollout.clone()), inconclusive: true })
        }
        "promoted" if rollout.proving => None,
        "promoted" | "completed" => Some(serves(rollout)),
        "rolledBack" => Some(End::Back {
            from: rollout.to,
            to: rollout.from,
            reason: rollout.reason.clone().unwrap_or_else(|| "no reason was recorded".to_owned()),
            last: last.clone(),
        }),
        "paused" => Some(End::Paused {
            rollout: Box::new(rollout.clone()),
            inconclusive: rollout
                .reason
                .as_ref()
                .is_some_and(|reason| reason.starts_with("inconclusive") || reason.starts_with("frozen")),
        }),
        _ => None,
    }
}

fn serves(rollout: &RolloutStatus) -> End {
    let failed =
        rollout.hooks.iter().filter(|hook| hook.moment == Moment::After && hook.state == HookState::Failed);
    let told = |hook: &HookStatus| {
        format!("{}: {}", hook.name, hook.detail.as_deref().unwrap_or("no reason was recorded"))
    };
    End::Serves { release: rollout.to, failed_hooks: failed.map(told).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rollout(number: u64, from: u64, to: u64, phase: &str, reason: Option<&str>) -> RolloutStatus {
        serde_json::from_value(json!({
            "number": number, "from": from, "to": to, "cause": "deploy", "strategy": "canary", "phase": phase,
            "reason": reason, "step": 0, "steps": 1, "weight": 0, "startedAt": "2026-01-01T00:00:00Z",
            "phaseSince": "2026-01-01T00:00:00Z", "ended": false, "report": null,
        }))
        .unwrap()
    }

    fn ends(seen: &RolloutStatus, last: Option<RolloutStatus>) -> Option<End> {
        end(seen, RolloutNumber(3), &last.map(Box::new))
    }

    fn served() -> End {
        End::Serves { release: ReleaseNumber(2), failed_hooks: vec![] }
    }

    #[test]
    fn a_hook_that_failed_after_the_rollout_is_part_of_its_end() {
        let mut done = rollout(3, 1, 2, "completed", None);
        let hook = |moment, state| HookStatus {
            name: "announce".to_owned(),
            moment,
            state,
            attempt: 1,
            since: None,
            detail: Some("exit status 1".to_owned()),
        };
        done.hooks = vec![hook(Moment::Before, HookState::Passed), hook(Moment::After, HookState::Passed)];
        assert_eq!(ends(&done, None), Some(served()));
        done.hooks.push(hook(Moment::After, HookState::Failed));
        let failed_hooks = vec!["announce: exit status 1".to_owned()];
        assert_eq!(ends(&done, None), Some(End::Serves { release: ReleaseNumber(2), failed_hooks }));
    }

    #[test]
    fn a_rollout_under_way_has_no_end() {
        for phase in ["progressing", "rollingBack"] {
            assert_eq!(ends(&rollout(3, 1, 2, phase, None), None), None, "{phase}");
        }
    }

    #[test]
    fn a_rollout_ends_with_the_release_that_serves() {
        for phase in ["promoted", "completed"] {
            let end = ends(&rollout(3, 1, 2, phase, None), None);
            assert_eq!(end, Some(served()), "{phase}");
        }
        let back = ends(&rollout(3, 1, 2, "rolledBack", Some("judge: worse")), None);
        let expected = End::Back {
            from: ReleaseNumber(2),
            to: Some(ReleaseNumber(1)),
            reason: "judge: worse".to_owned(),
            last: None,
        };
        assert_eq!(back, Some(expected));
    }

    #[test]
    fn a_switch_that_is_still_measured_has_no_end_unless_nobody_else_can_decide() {
        let mut proving = rollout(3, 1, 2, "promoted", None);
        proving.proving = true;
        assert_eq!(ends(&proving, None), None);
        proving.reason = Some("inconclusive: no data".to_owned());
        assert!(matches!(ends(&proving, None), Some(End::Paused { inconclusive: true, .. })));
    }

    #[test]
    fn a_pause_for_want_of_evidence_is_told_from_one_that_was_asked_for() {
        for (reason, expected) in [("inconclusive: no data", true), ("an operator paused it", false)] {
            let Some(End::Paused { inconclusive, .. }) =
                ends(&rollout(3, 1, 2, "paused", Some(reason)), None)
            else {
                panic!("{reason}");
            };
            assert_eq!(inconclusive, expected, "{reason}");
        }
    }

    #[test]
    fn a_rollout_that_was_overtaken_succeeded_when_the_next_one_starts_from_it() {
        let last = || Some(rollout(3, 1, 2, "progressing", None));
        assert_eq!(ends(&rollout(4, 2, 5, "progressing", None), last()), Some(served()));
        let overtaken = Some(End::Overtaken(RolloutNumber(4)));
        assert_eq!(ends(&rollout(4, 1, 5, "progressing", None), last()), overtaken);
        assert_eq!(ends(&rollout(4, 2, 5, "progressing", None), None), overtaken);
    }
}
