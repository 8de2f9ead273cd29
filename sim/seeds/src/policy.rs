//! What careful teams wish: locks, passing them, and services that go together. Drawn beside everything else, so that the rest of a life stays as it
//! was drawn. Does not live here: what must hold of it (`referee/policy`).

use fastrand::Rng;
use runtime::Scope;

use crate::acts::Wish;
use crate::cast::Cast;

/// Two services together, where there are two.
fn group(chance: &mut Rng, cast: &Cast) -> Option<Wish> {
    let builds =
        cast.services.iter().map(|service| service.builds[chance.usize(..service.builds.len())].clone());
    let builds: Vec<_> = builds.collect();
    (builds.len() > 1).then(|| Wish::Group { builds, environment: "production".to_owned() })
}

/// The team of one life.
pub(crate) struct Team(Rng);

impl Team {
    pub(crate) fn of(seed: u64) -> Self {
        Self(Rng::with_seed(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ 0x10CC))
    }

    /// What the team does beside what is wished anyway.
    pub(crate) fn wish(&mut self, cast: &Cast) -> Option<Wish> {
        let chance = &mut self.0;
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
