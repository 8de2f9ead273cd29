//! What careful teams wish: locks, passing them, services that go together, and what went back once more. Drawn beside everything else, so that the rest of a life stays as it
//! was drawn. Does not live here: what must hold of it (`referee/policy`).

use fastrand::Rng;
use model::Timestamp;
use runtime::Scope;
use watch::Blame;

use crate::acts::{Fault, Wish};
use crate::cast::Cast;

/// Two services together, where there are two.
fn group(chance: &mut Rng, cast: &Cast) -> Option<Wish> {
    let builds =
        cast.services.iter().map(|service| service.builds[chance.usize(..service.builds.len())].clone());
    let builds: Vec<_> = builds.collect();
    (builds.len() > 1).then(|| Wish::Group { builds, environment: "production".to_owned() })
}

/// The team of one life.
pub(crate) struct Team {
    chance: Rng,
    /// Who thinks again does so apart: what else is drawn stays what it was.
    again: Rng,
    /// So do budgets.
    burns: Rng,
}

impl Team {
    pub(crate) fn of(seed: u64) -> Self {
        let drawn = seed.wrapping_mul(0x2545_F491_4F6C_DD1D);
        Self {
            chance: Rng::with_seed(drawn ^ 0x10CC),
            again: Rng::with_seed(drawn ^ 0xA6A1),
            burns: Rng::with_seed(drawn ^ 0xB1A5),
        }
    }

    /// Where somebody wants that once more which went back, now and then whatever is locked.
    pub(crate) fn second_thought(&mut self, cast: &Cast) -> Option<Wish> {
        let chance = &mut self.again;
        if chance.u32(..5) != 0 {
            return None;
        }
        let places = cast.places();
        let retry = Wish::Retry { place: places[chance.usize(..places.len())].clone() };
        Some(if chance.u32(..8) == 0 { Wish::Urgent(Box::new(retry)) } else { retry })
    }

    /// Where a budget burns, or no longer: by the fault of what came last, by chance, or since before it came.
    pub(crate) fn burns(&mut self, cast: &Cast, now: Timestamp) -> Option<Fault> {
        let chance = &mut self.burns;
        if chance.u32(..4) != 0 {
            return None;
        }
        let places = cast.places();
        let place = places[chance.usize(..places.len())].clone();
        let bad = [2, 30, 300][chance.usize(..3)];
        let since = now.moved(-chance.i64(0..120) * 1_000_000);
        let blame = Blame { since, bad, total: 1_000, bad_before: 20, total_before: 10_000 };
        Some(Fault::Burns { place, pages: chance.u32(..3) != 0, blame })
    }

    /// What the team does beside what is wished anyway.
    pub(crate) fn wish(&mut self, cast: &Cast) -> Option<Wish> {
        let chance = &mut self.chance;
        if chance.u32(..4) == 0 {
            return group(chance, cast);
        }
        if chance.u32(..6) != 0 {
            return None;
        }
        let service = &cast.services[chance.usize(..cast.services.len())];
        let environment = service.environments[chance.usize(..service.environments.len())].clone();
        let one = (chance.u32(..4) != 0).then(|| service.name.parse().ok()).flatten();
        let scope = Scope { service: one, environment: environment.parse().ok()? };
        Some(match chance.u32(..6) {
            0 | 1 => Wish::Lock { scope, seconds: (chance.u32(..4) != 0).then(|| chance.u64(1..40)) },
            2 | 3 => Wish::Unlock { scope },
            _ => {
                let build = service.builds[chance.usize(..service.builds.len())].clone();
                Wish::Urgent(Box::new(Wish::Deploy { build, environment }))
            }
        })
    }
}
