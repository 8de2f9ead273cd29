//! When hooks run: those before it one after the other while nothing has moved, those after it once nothing is left to be
//! watched that would take the release back. Does not live here: what an attempt is ([`crate::hooks`]).

use std::time::Duration;

use model::Timestamp;
use model::hook::{Hook, Moment};
use model::time::format_duration;

use super::Next;
use crate::decide::Command;
use crate::event::RollbackReason;
use crate::hooks::{Progress, State};
use crate::rollout::Rollout;

/// Runs the hooks before it.
pub(super) fn before(rollout: &Rollout, at: Timestamp) -> Next {
    let doing = format!("before release {} starts", rollout.to);
    step(rollout, Moment::Before, &doing, at).unwrap_or_else(|| Next::done(doing))
}

/// Runs the hooks after it; `None` when none is left.
pub(super) fn after(rollout: &Rollout, doing: &str, at: Timestamp) -> Option<Next> {
    step(rollout, Moment::After, doing, at)
}

fn step(rollout: &Rollout, moment: Moment, doing: &str, at: Timestamp) -> Option<Next> {
    if let Some(failed) = failed(rollout) {
        return Some(failed);
    }
    let (index, hook, progress) = rollout.current_hook(moment)?;
    Some(match progress.state {
        State::Waiting => {
            let doing = format!("{doing}, hook {}", hook.name);
            Next::act(doing, Command::BeginHook { moment, hook: index })
        }
        State::Running | State::Passed | State::Failed => {
            Next::wait(doing, running(hook, progress, at), None)
        }
    })
}

/// Goes back when a hook says so.
pub(super) fn failed(rollout: &Rollout) -> Option<Next> {
    let why = rollout.failed_by_hook()?;
    Some(Next::act("acting on what a hook found", Command::RollBack(RollbackReason::Hook(why))))
}

/// What is running, in words. What changes by the second stands in brackets.
fn running(hook: &Hook, progress: &Progress, at: Timestamp) -> String {
    let attempt = match progress.attempt {
        0 | 1 => String::new(),
        attempt => format!(", attempt {attempt}"),
    };
    let running = format_duration(Duration::from_secs(at.since(progress.since).as_secs()));
    let limit = format_duration(hook.command.timeout);
    format!("hook {} is running{attempt} (for {running} of at most {limit})", hook.name)
}
