//! What a careful team declared, told apart from what control made of it: by what was written into the manifests, and a fold of its
//! own of which release serves where.

use std::collections::BTreeMap;
use std::time::Duration;

use lifecycle::Event;
use model::{Place, ReleaseNumber, ServiceName, Timestamp};
use watch::Level;

use crate::care::{Declared, Second};

/// What is declared, and by which releases.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// By the name of the artifact; nothing in a life without such a team.
    pub(super) declared: BTreeMap<String, Declared>,
    artifacts: BTreeMap<(ServiceName, ReleaseNumber), String>,
    /// The release that serves when no rollout is under way.
    serves: BTreeMap<Place, ReleaseNumber>,
    /// Where one has taken all requests, and is watched.
    promoted: BTreeMap<Place, ReleaseNumber>,
    coming: BTreeMap<Place, ReleaseNumber>,
}

impl Known {
    /// The release that serves.
    pub(super) fn serving(&self, place: &Place) -> Option<ReleaseNumber> {
        self.promoted.get(place).or_else(|| self.serves.get(place)).copied()
    }

    /// What a release declares.
    pub(super) fn of(&self, place: &Place, release: ReleaseNumber) -> Option<&Declared> {
        self.declared.get(self.artifacts.get(&(place.service.clone(), release))?)
    }

    /// What those declare that have a say in a rollout: the release that serves, and the one that comes.
    fn asked(&self, place: &Place, to: ReleaseNumber) -> impl Iterator<Item = &Declared> {
        let both = [self.serving(place), Some(to)];
        both.into_iter().flatten().filter_map(|release| self.of(place, release))
    }

    /// Whether no rollout to a release begins now.
    pub(super) fn is_closed(&self, place: &Place, to: ReleaseNumber, at: Timestamp) -> bool {
        self.asked(place, to).any(|declared| declared.windows.iter().any(|window| window.holds(at)))
    }

    /// Whose approval a rollout to a release needs.
    pub(super) fn second(&self, place: &Place, to: ReleaseNumber) -> Option<&Second> {
        self.asked(place, to).find_map(|declared| declared.second.as_ref())
    }

    /// Whether a release ever came to serve there.
    pub(super) fn has_served(&self, place: &Place) -> bool {
        self.serves.contains_key(place)
    }

    /// What any release of a service declares: of budgets all say the same, and of rules those that have them.
    fn any<'a>(&'a self, place: &'a Place) -> impl Iterator<Item = &'a Declared> {
        let own = self.artifacts.iter().filter(|((service, _), _)| *service == place.service);
        own.filter_map(|(_, artifact)| self.declared.get(artifact))
    }

    /// From how much of the budget on only so much is allowed.
    pub(super) fn policy<'a>(&'a self, place: &'a Place) -> &'a [(i64, Level)] {
        self.any(place).next().map_or(&[], |declared| &declared.policy)
    }

    /// How long a rule has to hold, and how long its alert goes on.
    pub(super) fn patience(&self, place: &Place, name: &str) -> Option<(Duration, Duration)> {
        let mut rules = self.any(place).flat_map(|declared| &declared.rules);
        rules.find(|rule| rule.name == name).map(|rule| (rule.hold, rule.keep))
    }

    /// Takes in an event.
    pub(super) fn follow(&mut self, event: &Event) {
        if let Event::ReleaseRegistered(release) = event {
            let key = (release.service.clone(), release.number);
            self.artifacts.insert(key, release.artifact.name.clone());
        }
        let Event::Rollout { place, event } = event else { return };
        if let ship::Event::Started { to, .. } = event {
            self.coming.insert(place.clone(), *to);
        }
        let Some(to) = self.coming.get(place).copied() else { return };
        match event {
            ship::Event::Promoted => drop(self.promoted.insert(place.clone(), to)),
            ship::Event::Completed => {
                self.serves.insert(place.clone(), to);
                self.promoted.remove(place);
            }
            // One that stands still while it is watched is in question again.
            ship::Event::Started { .. }
            | ship::Event::Paused { .. }
            | ship::Event::RollbackBegun { .. }
            | ship::Event::RolledBack => {
                self.promoted.remove(place);
            }
            ship::Event::Scaled { .. }
            | ship::Event::Shifted { .. }
            | ship::Event::Readied { .. }
            | ship::Event::StepEntered { .. }
            | ship::Event::Measured { .. }
            | ship::Event::BaselineFrozen(_)
            | ship::Event::HeaderRouted { .. }
            | ship::Event::ClockStepped { .. }
            | ship::Event::RuleMeasured(_)
            | ship::Event::HookBegun { .. }
            | ship::Event::HookEnded { .. }
            | ship::Event::Resumed { .. } => {}
        }
    }
}
