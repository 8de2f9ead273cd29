//! A release that burns an error budget after its rollout is taken back by itself: when a page comes, its rollout is not long
//! over, the counts blame it, and nothing speaks against going back. Once for a rollout, and never the release that was gone
//! back to. Does not live here: whether counts blame a release (`watch::blame`), and when pages come (`watch`).

use model::objective::{Indicator, Objective, Severity};
use model::probe::{Ask, Target};
use model::strategy::OnFailure;
use model::{ObjectiveName, Place, RolloutNumber, Spec, Timestamp};
use ship::{Cause, Phase, Refusal, RollbackReason, Rollout};
use watch::alert::Phase as Alert;
use watch::burn::Rule;
use watch::minutes::{begin_of, minute_of};
use watch::{Blame, State};

use crate::decide::{known_release, operate, roll_out};
use crate::event::Event;
use crate::lock;
use crate::objective::declared;
use crate::world::World;

/// The rollout whose release could be taken back at this time, if there is one: it takes all requests and was completed less
/// than its rollback window ago. A return to an earlier release is the cure, and before a first release was none.
pub fn suspect<'a>(world: &'a World, place: &Place, at: Timestamp) -> Option<&'a Rollout> {
    let rollout = world.lanes.get(place)?.rollout.as_ref()?;
    let window = rollout.strategy.rollback_window();
    let fresh = match rollout.phase {
        Phase::Promoted => !window.is_zero(),
        Phase::Completed => at.since(rollout.phase_since) < window,
        Phase::Progressing | Phase::Paused(_) | Phase::RollingBack(_) | Phase::RolledBack(_) => false,
    };
    // What somebody let go on after a failure is his.
    (fresh && !rollout.overruled && rollout.cause != Cause::Rollback && rollout.from.is_some())
        .then_some(rollout)
}

/// Whether somebody is paged for an objective now.
pub fn pages(state: &State) -> bool {
    state.alerts.get(&Rule::Burn(Severity::P1)).is_some_and(|alert| alert.phase == Alert::Firing)
}

/// Whether a page of an objective can take a release back. One that nobody declared says nothing of how fast is fast enough,
/// but everybody's requests are to be answered; a probe may look at others.
pub fn can_blame(objective: &Objective) -> bool {
    match objective.indicator {
        Indicator::Availability(_) => true,
        Indicator::Latency { .. } | Indicator::Ratio { .. } => objective.declared,
        Indicator::Probe { .. } => false,
    }
}

/// Why a suspect is not taken back by itself although it is to blame, in words; nothing when it is.
pub fn spared(world: &World, place: &Place, rollout: &Rollout, at: Timestamp) -> Option<String> {
    // One that still watches its release goes back as after any failure, whatever is locked.
    if rollout.phase == Phase::Completed {
        if let Some((scope, lock)) = lock::on(world, place, at) {
            return Some(format!("{scope} is locked by {}: {}", lock.by, lock.reason));
        }
        if rollout.strategy.on_failure == OnFailure::Freeze {
            return Some("its manifest says `onFailure: freeze`".to_owned());
        }
        if let Some(group) = world.lanes.get(place).and_then(|lane| lane.went_with.as_ref()) {
            return Some(format!("it came with the group {group}, all or none"));
        }
    }
    trouble_elsewhere(world, place, rollout)
}

/// What was in trouble before the release took all requests and may be why it is: another service of the environment, or what a
/// probe of its own looks at beside the service.
fn trouble_elsewhere(world: &World, place: &Place, rollout: &Rollout) -> Option<String> {
    let here = |other: &Place| other.environment == place.environment && other != place;
    for (other, states) in world.objectives.iter().filter(|(other, _)| here(other)) {
        let paged = |state: &State| state.alerts.get(&Rule::Burn(Severity::P1)).map(|alert| alert.since);
        let since = states.values().filter(|state| pages(state)).filter_map(paged).min();
        if let Some(since) = since.filter(|since| *since < rollout.started_at) {
            return Some(format!("{other} has burned since {since}, before its rollout began"));
        }
    }
    let spec = world.spec(place, rollout.to)?;
    let states = world.objectives.get(place)?;
    let fails = |objective: &Objective| {
        let Indicator::Probe { name } = &objective.indicator else { return None };
        let burns = states
            .get(&objective.name)?
            .alerts
            .iter()
            .any(|(rule, alert)| matches!(rule, Rule::Burn(_)) && alert.phase == Alert::Firing);
        (burns && looks_elsewhere(spec, name))
            .then(|| format!("the probe {name}, which looks elsewhere, fails as well"))
    };
    declared(world, place).iter().find_map(fails)
}

/// Whether a probe looks at something else than the service itself.
fn looks_elsewhere(spec: &Spec, name: &str) -> bool {
    let probe = spec.probes.iter().find(|probe| probe.name == name);
    probe.is_some_and(|probe| match &probe.ask {
        Ask::Http(http) => !matches!(http.target, Target::Gateway { .. }),
        Ask::Tcp(_) | Ask::Tls(_) | Ask::Dns(_) => true,
    })
}

/// Takes the release of a rollout back. What was overtaken, or is not sure, is nothing.
pub(crate) fn take_back(
    world: &World,
    place: Place,
    objective: ObjectiveName,
    rollout: RolloutNumber,
    blame: Blame,
    at: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let Some(suspect) = suspect(world, &place, at).filter(|suspect| suspect.number == rollout) else {
        return Ok(vec![]);
    };
    let state = world.objectives.get(&place).and_then(|states| states.get(&objective));
    let is_due = state.is_some_and(pages)
        && declared(world, &place).iter().any(|known| known.name == objective && can_blame(known));
    let since_it_came = blame.since >= begin_of(minute_of(suspect.started_at));
    if !is_due || !since_it_came || !blame.is_sure() {
        return Ok(vec![]);
    }
    if let Some(why) = spared(world, &place, suspect, at) {
        let what = format!(
            "release {} at {place} burns the error budget of {objective}, and stays: {why}",
            suspect.to
        );
        return Err(Refusal::new(what, format!("`shipshape rollback -e {}` goes back", place.environment)));
    }
    let (from, release) = (suspect.from, suspect.to);
    if suspect.phase == Phase::Promoted {
        let reason = RollbackReason::Burn(format!("{objective}: {}", blame.in_words()));
        return operate(world, place, ship::Command::RollBack(reason), at);
    }
    let Some(from) = from else { return Ok(vec![]) };
    let earlier = known_release(world, &place.service, from)?;
    let begun = roll_out(world, place.clone(), &earlier, Cause::Rollback, at)?;
    if begun.is_empty() {
        return Ok(vec![]);
    }
    let told = Event::TakenBack { place, objective, release, rollout, blame };
    Ok(std::iter::once(told).chain(begun).collect())
}
