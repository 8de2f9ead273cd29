//! What hooks may do: none runs that the journal does not know, none twice as the same attempt, and nothing of a release is
//! used before those before it have passed. Told from what ran and what it found, not from what control made of it.

use std::collections::BTreeSet;

use lifecycle::Event;
use model::check::Verdict;
use model::hook::{Hook, Moment};
use model::{Place, Weight};
use ports::checks::Context;
use ship::hooks::{MOST_ATTEMPTS, Outcome};
use ship::{Phase, Rollout};

use super::Referee;

/// One attempt of a hook: where, in which rollout, which hook, and which attempt, as its command was told.
type Attempt = (Place, String, String, String);

/// What is known of hooks.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    /// Recorded as begun.
    begun: BTreeSet<Attempt>,
    /// Of those, not recorded as ended.
    open: BTreeSet<Attempt>,
    /// Of those, open when a control began: their command died with the last one.
    lost: BTreeSet<Attempt>,
    /// What really ran.
    ran: BTreeSet<Attempt>,
}

impl Hooks {
    /// A control begins.
    pub(super) fn lose(&mut self) {
        self.lost.extend(self.open.iter().cloned());
    }
}

fn attempt(place: &Place, rollout: &Rollout, hook: &str, attempt: u32) -> Attempt {
    (place.clone(), rollout.number.to_string(), hook.to_owned(), attempt.to_string())
}

impl Referee {
    /// A command is run.
    pub(crate) fn runs(&mut self, context: &Context) {
        let told = |name| context.variables.get(name).cloned();
        let (Some(rollout), Some(hook), Some(attempt)) =
            (told("SHIPSHAPE_ROLLOUT"), told("SHIPSHAPE_HOOK"), told("SHIPSHAPE_ATTEMPT"))
        else {
            return;
        };
        let place = context.place.clone();
        self.tell(|| format!("{place} runs hook {hook}, attempt {attempt}"));
        let it: Attempt = (place.clone(), rollout, hook.clone(), attempt.clone());
        if !self.hooks.open.contains(&it) || self.hooks.lost.contains(&it) {
            self.breaks(format!("{place} runs hook {hook}, and the journal does not say so"));
        }
        if !self.hooks.ran.insert(it) {
            self.breaks(format!("{place} runs hook {hook} twice as attempt {attempt}"));
        }
        let active = self.world.lanes.get(&place).and_then(|lane| lane.active());
        let Some(rollout) = active.cloned() else { return };
        for moment in [Moment::Before, Moment::After] {
            let Some(index) = rollout.strategy.hooks.of(moment).iter().position(|it| it.name == hook) else {
                continue;
            };
            let hooks = &rollout.strategy.hooks;
            if !hooks.of(moment)[index].idempotent && attempt != "1" {
                self.breaks(format!("{place} runs hook {hook} again, which must not be"));
            }
            if moment == Moment::Before {
                self.in_turn(&place, &rollout, index);
            }
        }
    }

    /// One before it runs after all that stand before it, and while nothing has moved.
    fn in_turn(&mut self, place: &Place, rollout: &Rollout, index: usize) {
        let earlier = &rollout.strategy.hooks.before[..index];
        if rollout.wanted_candidate > 0 || earlier.iter().any(|hook| !self.passes(place, rollout, hook)) {
            self.breaks(format!(
                "{place} runs hook {} out of turn",
                rollout.strategy.hooks.before[index].name
            ));
        }
    }

    /// Whether a hook ran in this rollout, and finds what it should.
    fn passes(&self, place: &Place, rollout: &Rollout, hook: &Hook) -> bool {
        let ran = (1..=MOST_ATTEMPTS)
            .any(|number| self.hooks.ran.contains(&attempt(place, rollout, &hook.name, number)));
        ran && self.would_pass(hook)
    }

    fn would_pass(&self, hook: &Hook) -> bool {
        let found = self.checks.finding(&hook.command.run.join(" "));
        found.is_none_or(|(takes, verdict)| verdict == Verdict::Passed && takes <= hook.command.timeout)
    }

    /// Whether each hook before a rollout ran and passed.
    pub(super) fn may_be_used(&self, place: &Place, rollout: &Rollout) -> bool {
        rollout.strategy.hooks.before.iter().all(|hook| self.passes(place, rollout, hook))
    }

    /// Whether a hook gives a reason to go back.
    pub(super) fn hook_fails(&self, place: &Place, rollout: &Rollout) -> bool {
        let hooks = &rollout.strategy.hooks;
        hooks.before.iter().chain(&hooks.after).any(|hook| {
            let lost = |number| self.hooks.lost.contains(&attempt(place, rollout, &hook.name, number));
            let gave_up = lost(if hook.idempotent { MOST_ATTEMPTS } else { 1 });
            !self.would_pass(hook) || gave_up
        })
    }

    /// What the journal says of hooks, before it is applied.
    pub(super) fn hook_recorded(&mut self, event: &Event) {
        let Event::Rollout { place, event } = event else { return };
        let Some(rollout) = self.world.lanes.get(place).and_then(|lane| lane.active()) else { return };
        if let ship::Event::HookBegun { moment, hook, attempt: number, .. } = event {
            // It may run a moment later than somebody goes back, and is ended then; it may not begin then.
            let early = rollout.weight < Weight::ALL || rollout.phase != Phase::Promoted;
            if *moment == Moment::After && early {
                let weight = rollout.weight;
                self.breaks(format!("{place} begins hook {hook} at {weight}, after it"));
                return;
            }
            let it = attempt(place, rollout, hook, *number);
            let follows =
                *number == 1 || self.hooks.lost.contains(&attempt(place, rollout, hook, number - 1));
            self.hooks.open.insert(it.clone());
            if !self.hooks.begun.insert(it) || !follows {
                self.breaks(format!("hook {hook} at {place} is begun as attempt {number} once too often"));
            }
        } else if let ship::Event::HookEnded { moment, hook, attempt: number, outcome, .. } = event {
            let it = attempt(place, rollout, hook, *number);
            let declared = rollout.strategy.hooks.of(*moment).iter().find(|it| it.name == *hook);
            let would_pass = declared.is_some_and(|hook| self.would_pass(hook));
            let (ran, lost) = (self.hooks.ran.contains(&it), self.hooks.lost.contains(&it));
            let fair = match outcome {
                Outcome::Passed => ran && would_pass && !lost,
                Outcome::Failed => (ran && !would_pass) || lost,
                Outcome::Lost => lost,
            };
            if !self.hooks.open.remove(&it) || !fair {
                self.breaks(format!("hook {hook} at {place} is recorded as {outcome:?} on nothing"));
            }
        }
    }
}
