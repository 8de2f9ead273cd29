//! What happens in the life of a seed: operators and faults at random moments, some of them right after each other.

use std::time::Duration;

use fastrand::Rng;
use runtime::Operation;
use sim::Crash;

use crate::acts::{Act, Fault, Wish};
use crate::care::Care;
use crate::cast::Cast;
use crate::gate::Gate;
use crate::life::{Life, Outcome};
use crate::policy::Team;
use crate::referee::Referee;
use crate::team::Careful;

/// How long things happen.
const SPAN: Duration = Duration::from_secs(150);

/// Lives one seed.
pub(crate) async fn live(seed: u64, tells: bool, gate: Gate) -> Outcome {
    let mut chance = Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5EED);
    let mut cast = Cast::draw(&mut chance);
    let care = Care::draw(seed, &mut cast);
    let gentle = chance.u32(..3) == 0;
    let referee = Referee::new(gentle, tells).of_careful(care.clone());
    let mut life = Life::new(cast.clone(), chance.u64(..), referee, gate);
    life.begin(&care);
    introduce(&life, &cast, gentle);
    let mut team = Team::of(seed);
    let mut careful = Careful::of(seed, &care);
    let mut silences = silences(seed);
    life.pass(Duration::from_secs(1)).await;
    if let Some(act) = first_deploy(&cast) {
        life.act(act.into()).await;
    }
    let end = SPAN + Duration::from_secs(chance.u64(..60));
    while life.now() < end {
        // Now and then the next thing comes at the worst moment: within the same breath.
        let wait = if chance.u32(..4) == 0 { chance.u64(..300) } else { chance.u64(300..12_000) };
        let next = life.now() + Duration::from_millis(wait);
        life.pass(next).await;
        let act: Act = if chance.u32(..5) < 3 {
            wish(&mut chance, &cast).into()
        } else {
            fault(&mut chance, gentle).into()
        };
        life.act(act).await;
        if let Some(silent) = silences.next().flatten() {
            life.act(Fault::MetricsSilent(silent).into()).await;
        }
        if let Some(burns) = team.burns(&cast, life.wall()) {
            life.act(burns.into()).await;
        }
        if let Some(wish) = team.wish(&cast) {
            life.act(wish.into()).await;
        }
        if let Some(wish) = team.second_thought(&cast) {
            life.act(wish.into()).await;
        }
        for act in careful.acts(&cast) {
            life.act(act).await;
        }
    }
    life.heal().await;
    life.rest().await;
    life.outcome().await
}

/// Now and then the server of the metrics goes away, and comes back. Drawn apart from everything else.
fn silences(seed: u64) -> impl Iterator<Item = Option<bool>> {
    let mut chance = Rng::with_seed(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ 0x51E7);
    let mut silent = false;
    std::iter::repeat_with(move || {
        let turns = chance.u32(..if silent { 3 } else { 8 }) == 0;
        silent ^= turns;
        turns.then_some(silent)
    })
}

fn introduce(life: &Life, cast: &Cast, gentle: bool) {
    let mut outside = life.world.now();
    for build in cast.services.iter().flat_map(|service| &service.builds) {
        outside.referee.tell(|| format!("given {} {:?}", build.path.display(), build.behaviour));
    }
    let rate = cast.requests_per_second;
    outside.referee.tell(|| format!("given {rate} requests/s, replicas left alone: {gentle}"));
}

fn first_deploy(cast: &Cast) -> Option<Wish> {
    let service = cast.services.first()?;
    let environment = service.environments.first()?.clone();
    Some(Wish::Deploy { build: service.builds.first()?.clone(), environment })
}

fn wish(chance: &mut Rng, cast: &Cast) -> Wish {
    let service = &cast.services[chance.usize(..cast.services.len())];
    let places = cast.places();
    let place = places[chance.usize(..places.len())].clone();
    let operate = |operation| Wish::Operate { place: place.clone(), operation };
    match chance.u32(..12) {
        0..=4 => Wish::Deploy {
            build: service.builds[chance.usize(..service.builds.len())].clone(),
            environment: service.environments[chance.usize(..service.environments.len())].clone(),
        },
        5 => operate(Operation::Promote),
        6 => operate(Operation::PromoteFull),
        7 => operate(Operation::Pause),
        8 => operate(Operation::Abort),
        9 | 10 => Wish::Rollback { place, to: (chance.u32(..3) == 0).then(|| chance.u64(1..5)) },
        _ => Wish::Ship {
            service: service.name.clone(),
            from: "production".to_owned(),
            to: "staging".to_owned(),
        },
    }
}

fn fault(chance: &mut Rng, gentle: bool) -> Fault {
    let seconds = |chance: &mut Rng, most: u64| Duration::from_secs(chance.u64(..most));
    let side = |chance: &mut Rng| if chance.bool() { Crash::BeforeWriting } else { Crash::AfterWriting };
    match chance.u32(..if gentle { 17 } else { 24 }) {
        0 | 1 => Fault::CrashAtAppend(chance.usize(..3), side(chance)),
        2 | 3 => Fault::CrashAtOrder(side(chance)),
        4 => Fault::Kill(seconds(chance, 20)),
        5 => Fault::JournalFails(chance.u32(..4)),
        6 => Fault::JournalSlow(Duration::from_millis(chance.u64(..1_500))),
        7 => Fault::JournalSlow(Duration::ZERO),
        8 => Fault::AgentCut(true),
        9 | 10 => Fault::AgentCut(false),
        11 => Fault::AgentRestarts,
        12 => Fault::AgentSlow(Duration::from_millis([0, 0, 200, 1_500, 15_000][chance.usize(..5)])),
        13 => Fault::AnswersLost(chance.u32(1..3)),
        14 => Fault::AgentRefuses(chance.u32(1..4)),
        15 => Fault::ClockSteps([-30, -5, 5, 60, 3_600][chance.usize(..5)]),
        16 => Fault::Incident([0.0, 0.0, 0.2, 0.5][chance.usize(..4)]),
        17 => Fault::OldReports(chance.u32(1..6)),
        18 => Fault::NoTallies(chance.bool()),
        19 | 20 => Fault::ReplicaDies,
        21 | 22 => Fault::ReplicaUnready(seconds(chance, 20)),
        _ => Fault::NoTallies(false),
    }
}
