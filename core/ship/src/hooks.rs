//! The hooks of a rollout: how far each has come, and what may follow. Each attempt is begun by an event before it is run,
//! so that none is ever run that the journal does not know, nor a second time under the same number.
//!
//! Does not live here: when the planner wants them (`plan::hooks`), running them, and their environment (`runtime`).

use model::Timestamp;
use model::check::{Outcome as Found, Verdict};
use model::hook::{Hook, Hooks, Moment, OnFailure};
use serde::{Deserialize, Serialize};

use crate::checks::{Ticket, Wanted, shortened};
use crate::event::Event;
use crate::rollout::{Phase, Rollout};

/// How often a hook is begun at most: a command that takes control down with it would do so for ever.
pub const MOST_ATTEMPTS: u32 = 5;

/// How far the hooks of a rollout have come, in the strategy's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Course {
    before: Vec<Progress>,
    after: Vec<Progress>,
}

/// How far one hook has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Where it is.
    pub state: State,
    /// How often it was begun.
    pub attempt: u32,
    /// When it was begun last.
    pub since: Timestamp,
    /// How its last attempt ended, in words.
    pub detail: Option<String>,
}

/// Where a hook is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Its turn has not come, or comes again.
    #[default]
    Waiting,
    /// It was begun and has not ended.
    Running,
    /// It succeeded.
    Passed,
    /// It failed, could not be run, or took too long.
    Failed,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It succeeded.
    Passed,
    /// It failed, could not be run, or took too long: there is no other attempt.
    Failed,
    /// Control died meanwhile, and nobody knows how far it came: it is run again.
    Lost,
}

impl Course {
    pub(crate) fn begin(hooks: &Hooks) -> Self {
        let none = |hooks: &[Hook]| vec![Progress::default(); hooks.len()];
        Self { before: none(&hooks.before), after: none(&hooks.after) }
    }

    fn of(&self, moment: Moment) -> &[Progress] {
        match moment {
            Moment::Before => &self.before,
            Moment::After => &self.after,
        }
    }

    fn of_mut(&mut self, moment: Moment) -> &mut [Progress] {
        match moment {
            Moment::Before => &mut self.before,
            Moment::After => &mut self.after,
        }
    }

    /// Follows the wall clock, which was set.
    pub(crate) fn follow_clock(&mut self, by_us: i64) {
        let all = self.before.iter_mut().chain(&mut self.after);
        all.for_each(|progress| progress.since = progress.since.moved(by_us));
    }
}

impl Rollout {
    /// The hooks of one moment with how far they have come, in order.
    pub fn hooks(&self, moment: Moment) -> impl Iterator<Item = (&Hook, &Progress)> {
        self.strategy.hooks.of(moment).iter().zip(self.course.of(moment))
    }

    /// Whether nothing may move yet.
    pub fn awaits_hooks(&self) -> bool {
        self.hooks(Moment::Before).any(|(_, progress)| progress.state != State::Passed)
    }

    /// Whether a hook after it has not come to its end.
    pub fn has_hooks_to_run(&self) -> bool {
        self.hooks(Moment::After)
            .any(|(_, progress)| matches!(progress.state, State::Waiting | State::Running))
    }

    /// The hooks after it that failed, each with why.
    pub fn failed_hooks(&self) -> impl Iterator<Item = String> {
        self.hooks(Moment::After)
            .filter(|(_, progress)| progress.state == State::Failed)
            .map(|(hook, progress)| told(hook, progress))
    }

    /// Why it cannot go on as it was declared, when a hook says so.
    pub(crate) fn failed_by_hook(&self) -> Option<String> {
        let counts = |moment, hook: &Hook| match moment {
            Moment::Before => true,
            // Without an old release there is nobody to go back to, and whoever was overruled is heard no more.
            Moment::After => hook.on_failure == OnFailure::Rollback && self.from.is_some() && !self.overruled,
        };
        [Moment::Before, Moment::After].into_iter().find_map(|moment| {
            let mut failed = self.hooks(moment).filter(|(_, progress)| progress.state == State::Failed);
            failed.find(|(hook, _)| counts(moment, hook)).map(|(hook, progress)| told(hook, progress))
        })
    }

    /// The hook of this moment that runs, or is the next to run, with its index.
    pub(crate) fn current_hook(&self, moment: Moment) -> Option<(u32, &Hook, &Progress)> {
        let mut unfinished = (0..)
            .zip(self.hooks(moment))
            .filter(|(_, (_, progress))| matches!(progress.state, State::Waiting | State::Running));
        unfinished.next().map(|(index, (hook, progress))| (index, hook, progress))
    }

    pub(crate) fn begin_hook(&mut self, moment: Moment, name: &str, attempt: u32, at: Timestamp) {
        if let Some(progress) = self.progress_mut(moment, name) {
            *progress = Progress { state: State::Running, attempt, since: at, detail: None };
        }
    }

    pub(crate) fn end_hook(&mut self, moment: Moment, name: &str, outcome: Outcome, detail: &str) {
        if let Some(progress) = self.progress_mut(moment, name) {
            progress.state = match outcome {
                Outcome::Passed => State::Passed,
                Outcome::Failed => State::Failed,
                Outcome::Lost => State::Waiting,
            };
            progress.detail = Some(detail.to_owned());
        }
    }

    fn progress_mut(&mut self, moment: Moment, name: &str) -> Option<&mut Progress> {
        let index = self.strategy.hooks.of(moment).iter().position(|hook| hook.name == name)?;
        self.course.of_mut(moment).get_mut(index)
    }

    /// The hooks whose attempt has begun and not ended. A pause lets them run: whoever pauses a rollout does not kill a
    /// migration.
    fn running(&self) -> impl Iterator<Item = (Ticket, &Hook, &Progress)> {
        let is_open = matches!(self.phase, Phase::Progressing | Phase::Paused(_) | Phase::Promoted);
        let moments = [Moment::Before, Moment::After].into_iter().filter(move |_| is_open);
        let all = moments.flat_map(|moment| (0..).zip(self.hooks(moment)).map(move |it| (moment, it)));
        all.filter(|(_, (_, (_, progress)))| progress.state == State::Running).map(
            |(moment, (hook, (declared, progress)))| {
                let (rollout, attempt) = (self.number, progress.attempt);
                (Ticket::Hook { rollout, moment, hook, attempt }, declared, progress)
            },
        )
    }
}

fn told(hook: &Hook, progress: &Progress) -> String {
    format!("{}: {}", hook.name, progress.detail.as_deref().unwrap_or("it failed"))
}

/// What is to run now: what the journal says was begun and has not ended.
pub(crate) fn wanted(rollout: &Rollout) -> impl Iterator<Item = Wanted> {
    rollout
        .running()
        .map(|(ticket, hook, _)| Wanted { ticket, check: model::check::Check::Command(hook.command.clone()) })
}

/// The next attempt of a hook, if it waits for one.
pub(crate) fn begun(rollout: &Rollout, moment: Moment, hook: u32) -> Option<Event> {
    let (index, declared, progress) = rollout.current_hook(moment)?;
    (index == hook && progress.state == State::Waiting).then(|| Event::HookBegun {
        moment,
        hook: declared.name.clone(),
        attempt: progress.attempt + 1,
    })
}

/// What the end of an attempt comes to; `None` when nobody waits for it any more.
pub(crate) fn ended(rollout: &Rollout, ticket: Ticket, found: &Found) -> Option<Event> {
    let (_, hook, progress) = rollout.running().find(|(running, _, _)| *running == ticket)?;
    let Ticket::Hook { moment, .. } = ticket else { return None };
    let outcome = match found.verdict {
        Verdict::Passed => Outcome::Passed,
        Verdict::Failed | Verdict::Inconclusive | Verdict::Error => Outcome::Failed,
    };
    let (hook, attempt, detail) = (hook.name.clone(), progress.attempt, shortened(&found.detail));
    Some(Event::HookEnded { moment, hook, attempt, outcome, detail })
}

/// What becomes of the attempts that the last control had begun: they died with it, wherever they were.
pub(crate) fn lost(rollout: &Rollout) -> Vec<Event> {
    let lost = |(ticket, hook, progress): (Ticket, &Hook, &Progress)| {
        let Ticket::Hook { moment, .. } = ticket else { return None };
        let (outcome, detail) = if !hook.idempotent {
            let what = "control died while it ran, how far it came is not known, and it must not run again \
                        (idempotent: false)";
            (Outcome::Failed, what.to_owned())
        } else if progress.attempt >= MOST_ATTEMPTS {
            (Outcome::Failed, format!("control died while it ran, {MOST_ATTEMPTS} times"))
        } else {
            (Outcome::Lost, "control died while it ran".to_owned())
        };
        let (hook, attempt) = (hook.name.clone(), progress.attempt);
        Some(Event::HookEnded { moment, hook, attempt, outcome, detail })
    };
    rollout.running().filter_map(lost).collect()
}
