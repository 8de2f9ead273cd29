//! What a careful team does beside everything else: asks a second person, approves, rejects, looks at emergencies afterwards, and
//! goes through freezes and spent budgets, with a reason or without. Does not live here: what it declares (`care`), and what
//! must hold of it (`referee`).

use fastrand::Rng;
use lifecycle::Vote;
use lifecycle::inbox::Stance;
use sim::Crash;

use crate::acts::{Act, Fault, Passes, Said, Voter, Wish};
use crate::care::Care;
use crate::cast::Cast;
use crate::sky::{Finds, Weather};

/// Who says something of requests.
const VOTERS: [&str; 3] = ["ben", "cid", "dan"];

/// The careful team of one life; in most lives there is none.
pub(crate) struct Careful {
    votes: Option<Rng>,
    passes: Option<Rng>,
    sky: Option<Rng>,
    says: Option<Rng>,
}

impl Careful {
    pub(crate) fn of(seed: u64, care: &Care) -> Self {
        let drawn = seed.wrapping_mul(0x2545_F491_4F6C_DD1D);
        let apart = |of: u64| care.is_careful().then(|| Rng::with_seed(drawn ^ of));
        Self { votes: apart(0x0F0E), passes: apart(0x9A55), sky: apart(0x5C1E), says: apart(0x5A1D) }
    }

    /// What it does next.
    pub(crate) fn acts(&mut self, cast: &Cast) -> Vec<Act> {
        let mut acts = Vec::new();
        acts.extend(self.passes.as_mut().and_then(|chance| through(chance, cast)).map(Act::from));
        if let Some(chance) = &mut self.votes {
            acts.extend(vote(chance));
        }
        acts.extend(
            self.sky.as_mut().and_then(|chance| weather(chance, cast)).map(Fault::Turns).map(Act::from),
        );
        acts.extend(self.says.as_mut().and_then(|chance| say(chance, cast)).map(Wish::Say).map(Act::from));
        acts
    }
}

/// Now and then control dies on either side of the vote's event, or of the one that follows from it.
fn vote(chance: &mut Rng) -> Vec<Act> {
    if chance.u32(..3) == 0 {
        return vec![];
    }
    let crash = (chance.u32(..5) == 0).then(|| {
        let side = if chance.bool() { Crash::BeforeWriting } else { Crash::AfterWriting };
        Act::Fault(Fault::CrashAtAppend(chance.usize(..3), side))
    });
    let mut votes = Vec::new();
    for _ in 0..chance.usize(1..=3) {
        let vote = match chance.u32(..10) {
            0 => Vote::Reject,
            1 | 2 => Vote::Review,
            _ => Vote::Approve,
        };
        let by = match chance.u32(..4) {
            0 => Voter::Own,
            _ => Voter::Named(VOTERS[chance.usize(..VOTERS.len())]),
        };
        votes.push(Act::Wish(Wish::Vote { pick: chance.usize(..4), vote, by }));
    }
    crash.into_iter().chain(votes).collect()
}

/// Somebody wants to begin in spite of something, or without approval, with a reason or without.
fn through(chance: &mut Rng, cast: &Cast) -> Option<Wish> {
    if chance.u32(..4) != 0 {
        return None;
    }
    let passes = Passes {
        lock: chance.u32(..4) == 0,
        budget: chance.bool(),
        freeze: chance.u32(..4) != 0,
        emergency: chance.u32(..4) == 0,
        reason: chance.u32(..5) != 0,
    };
    let service = &cast.services[chance.usize(..cast.services.len())];
    let build = service.builds[chance.usize(..service.builds.len())].clone();
    let environment = service.environments[chance.usize(..service.environments.len())].clone();
    Some(Wish::Through(passes, Box::new(Wish::Deploy { build, environment })))
}

/// What is to be seen beside the fleet changes.
fn weather(chance: &mut Rng, cast: &Cast) -> Option<Weather> {
    let places = cast.places();
    let place = places[chance.usize(..places.len())].clone();
    Some(match chance.u32(..12) {
        0..=4 => {
            let finds = match chance.u32(..6) {
                0 | 1 => Finds::Queues(true, chance.bool()),
                2 => Finds::Queues(false, true),
                3 => Finds::Nobody,
                _ => Finds::Nothing,
            };
            Weather::Rule { place, name: ["Queue", "Backlog"][chance.usize(..2)], finds }
        }
        5..=8 => {
            let percent = [Some(0), Some(0), Some(1), Some(15), Some(60), None][chance.usize(..6)];
            Weather::Fails { place, percent }
        }
        9 => Weather::Blind(chance.u32(..3) == 0),
        10 => Weather::Takes(chance.bool()),
        _ => return None,
    })
}

/// Somebody decides about an error, or about who is told.
fn say(chance: &mut Rng, cast: &Cast) -> Option<Said> {
    let places = cast.places();
    let place = places[chance.usize(..places.len())].clone();
    let stance = match chance.u32(..4) {
        0 => Stance::Reopened,
        1 => Stance::Resolved { from: None },
        _ => Stance::Acknowledged,
    };
    Some(match chance.u32(..12) {
        0..=2 => Said::Decide { place, error: chance.u64(..2), stance, known: chance.u64(1..3) },
        3 => Said::Silence { seconds: chance.u64(..60) },
        4 => Said::EndSilence { id: chance.u64(1..4) },
        5 => Said::Test { place },
        _ => return None,
    })
}
