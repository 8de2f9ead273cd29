//! The planner: what should happen next, and why it waits. It decides nothing by itself: every command it gives goes
//! through [`crate::decide`], as an operator's would.

mod back;
mod blue_green;
mod canary;
mod evidence;
mod hooks;
mod proof;
mod rolling;
pub(crate) mod watch;

use model::strategy::Kind;
use model::{Timestamp, Weight};

use crate::decide::Command;
use crate::event::{PauseReason, RollbackReason};
use crate::latency::Baseline;
use crate::observation::{GroupState, Observation};
use crate::report::{Report, Wait};
use crate::rollout::{Phase, Rollout};

/// What a part of the planner found out.
struct Next {
    commands: Vec<Command>,
    doing: String,
    wait: Option<Wait>,
    /// Why nobody but an operator can say what becomes of it, though it does not stand still.
    inconclusive: Option<String>,
}

impl Next {
    fn act(doing: impl Into<String>, command: Command) -> Self {
        Self { commands: vec![command], doing: doing.into(), wait: None, inconclusive: None }
    }

    fn wait(doing: impl Into<String>, what: impl Into<String>, until: Option<Timestamp>) -> Self {
        let wait = Some(Wait { what: what.into(), until });
        Self { commands: vec![], doing: doing.into(), wait, inconclusive: None }
    }

    fn done(doing: impl Into<String>) -> Self {
        Self { commands: vec![], doing: doing.into(), wait: None, inconclusive: None }
    }
}

/// Compares a rollout with what is seen. The commands are to be carried out in order; when one is refused, the rest
/// is dropped and the planner asked again.
pub fn plan(rollout: &Rollout, seen: &Observation, at: Timestamp) -> (Vec<Command>, Report) {
    let watched = watch::watch(rollout, seen, at);
    let next =
        if watched.decides { Next::done("acting on the verdict") } else { next(rollout, seen, &watched, at) };
    let mut commands: Vec<Command> = baseline(rollout, seen).into_iter().collect();
    commands.extend(watched.commands);
    let Next { commands: moves, doing, wait, inconclusive } = next;
    commands.extend(moves);
    (commands, Report { doing, wait, inconclusive, evidence: watched.evidence })
}

/// What the old release is like is written down while it takes all requests.
fn baseline(rollout: &Rollout, seen: &Observation) -> Option<Command> {
    let judge = rollout.strategy.analysis.judge.as_ref()?;
    let now = rollout.phase == Phase::Progressing && rollout.weight == Weight::NONE && seen.reachable;
    if rollout.baseline.is_some() || rollout.from.is_none() || !now {
        return None;
    }
    let (counts, latencies) = &seen.before;
    Some(Command::FreezeBaseline(Baseline::freeze(*counts, latencies, judge.latency.as_ref())))
}

fn next(rollout: &Rollout, seen: &Observation, watched: &watch::Watched, at: Timestamp) -> Next {
    if !seen.reachable && !rollout.phase.is_terminal() {
        return Next::wait(
            "standing still",
            "the agent cannot be reached; the gateway and the replicas go on as they are",
            None,
        );
    }
    match &rollout.phase {
        Phase::Progressing | Phase::Paused(_)
            if rollout.awaits_hooks() && hooks::failed(rollout).is_some() =>
        {
            hooks::before(rollout, at)
        }
        Phase::Progressing if rollout.awaits_hooks() => hooks::before(rollout, at),
        Phase::Progressing => match &rollout.strategy.kind {
            Kind::Canary { .. } => canary::next(rollout, seen, watched, at),
            Kind::BlueGreen { auto_promotion, .. } => {
                blue_green::next(rollout, seen, watched, *auto_promotion, at)
            }
            Kind::Rolling { max_surge, max_unavailable } => {
                rolling::next(rollout, seen, watched, (*max_surge, *max_unavailable), at)
            }
        },
        Phase::Paused(PauseReason::Frozen(reason)) => Next::wait(
            format!("FROZEN at {}: {reason}", rollout.weight),
            "it must not go back by itself (onFailure: freeze): `shipshape promote` overrules what was found and goes \
             on, `shipshape abort` goes back; both take a --reason",
            None,
        ),
        Phase::Paused(reason) => Next::wait(
            match blue_green::preview(rollout) {
                Some(previewed) => format!("{previewed}: {reason}"),
                None => format!("paused at {}: {reason}", rollout.weight),
            },
            "`shipshape promote` goes on, `shipshape abort` goes back",
            None,
        ),
        Phase::Promoted => keep_warm(rollout, seen, watched, at),
        Phase::RollingBack(reason) => back::next(rollout, seen, reason),
        Phase::Completed => Next::done(format!("release {} serves", rollout.to)),
        Phase::RolledBack(reason) => Next::done(format!("rolled back ({reason})")),
    }
}

fn keep_warm(rollout: &Rollout, seen: &Observation, watched: &watch::Watched, at: Timestamp) -> Next {
    let bakes_until = rollout.bakes_until();
    let warm_until = rollout.phase_since.after(rollout.strategy.scale_down_delay);
    let until = bakes_until.map_or(warm_until, |baked| baked.max(warm_until));
    let doing = format!("release {} takes all requests", rollout.to);
    let Some(from) = rollout.from.filter(|_| rollout.wanted_stable > 0) else {
        return match bakes_until.filter(|until| at < *until) {
            Some(until) => Next::wait(doing, "it bakes, and goes back when it turns bad", Some(until)),
            None => hooks::after(rollout, &doing, at).unwrap_or_else(|| Next::act(doing, Command::Complete)),
        };
    };
    if let Some(why) = &watched.run_is_inconclusive {
        let what = format!(
            "inconclusive: {why}; release {from} stays warm until `shipshape promote` accepts it or \
             `shipshape rollback` goes back"
        );
        return Next::wait(doing, what, None);
    }
    if let Some(what) = &watched.run_waits_for {
        return Next::wait(doing, format!("{what}; release {from} stays warm until then"), None);
    }
    if let Some(next) = proof::keep_for_evidence(rollout, seen, watched, &doing, at) {
        return next;
    }
    let bakes = bakes_until.is_some_and(|until| at < until);
    if !bakes && let Some(next) = hooks::after(rollout, &doing, at) {
        return next;
    }
    if at < until {
        let bakes = if bakes { "it bakes, and " } else { "" };
        return Next::wait(doing, format!("{bakes}release {from} stays warm for a rollback"), Some(until));
    }
    // Whoever stands ready to help is not let go while the new release limps.
    let (ready, full) = (seen.candidate.ready, rollout.candidate_replicas);
    if ready < full {
        let trouble = trouble(&seen.candidate);
        let what = format!("{ready} of {full} replicas of release {} are ready{trouble}", rollout.to);
        return Next::wait(doing, format!("{what}; release {from} stays warm until all are"), None);
    }
    Next::act(doing, Command::Complete)
}

/// Why a replica is not ready, in brackets, when somebody knows.
fn trouble(group: &GroupState) -> String {
    group.trouble.as_ref().map_or_else(String::new, |trouble| format!(" ({trouble})"))
}

/// Waits until `needed` replicas of the new release are ready, or gives up at the progress deadline.
fn wait_for_ready(rollout: &Rollout, seen: &Observation, needed: u32, at: Timestamp) -> Next {
    let ready = seen.candidate.ready;
    if ready > rollout.most_ready {
        return Next::act("replicas are becoming ready", Command::NoteReady(ready));
    }
    let until = progress_until(rollout, seen);
    let trouble = trouble(&seen.candidate);
    let what = format!("{ready} of {needed} replicas of release {} are ready{trouble}", rollout.to);
    if rollout.overruled {
        return Next::wait(format!("starting release {}", rollout.to), what, None);
    }
    if at >= until {
        let limit = model::time::format_duration(rollout.strategy.progress_deadline);
        let why = format!("{what} and nothing moved for {limit}");
        return Next::act("giving up", Command::RollBack(RollbackReason::ProgressDeadline(why)));
    }
    Next::wait(format!("starting release {}", rollout.to), what, Some(until))
}

/// Until when something has to move.
fn progress_until(rollout: &Rollout, seen: &Observation) -> Timestamp {
    // A measurement of a run that it waits for is progress, too: a replica that is lost in a long one has its time.
    let measured = rollout.run_states().map(|(_, state)| state.last_at).max().unwrap_or_default();
    let moved_at = rollout.progressed_at.max(measured).max(seen.watched_since);
    moved_at.after(rollout.strategy.progress_deadline)
}

fn wait_for_force(rollout: &Rollout) -> Next {
    Next::wait(
        format!("shifting traffic to {}", rollout.weight),
        "the gateway has not confirmed the new routing table",
        None,
    )
}
