//! Commands that span releases, places and rollouts become events, or are refused with the way out.

use std::collections::BTreeMap;
use std::time::Duration;

use model::drift::Drift;
use model::hook::Hooks;
use model::release::Artifact;
use model::strategy::Strategy;
use model::{
    EnvironmentName, ObjectiveName, Place, Release, ReleaseNumber, RolloutNumber, ServiceName, Spec,
    Timestamp,
};
use ship::Refusal;
use ship::{Cause, Phase, Rollout};

use crate::alert::{self, Changed};
use crate::blame;
use crate::calendar;
use crate::claims;
use crate::drift;
use crate::event::Event;
use crate::group;
use crate::inbox;
use crate::lane::{Lane, Rejected, at_once};
use crate::lock::{self, Scope};
use crate::objective;
use crate::request::{self, Asked, Change, Gate, Vote};
use crate::world::{KEPT_RELEASES, Passes, World};

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Make an artifact and its configurations a release, and roll it out at one place.
    Deploy {
        /// The service.
        service: ServiceName,
        /// The artifact, already in the store.
        artifact: Artifact,
        /// The effective configuration for each environment.
        specs: BTreeMap<EnvironmentName, Spec>,
        /// Where it is rolled out.
        environment: EnvironmentName,
    },
    /// Roll out in one environment what serves in another: the same release.
    Ship {
        /// The service.
        service: ServiceName,
        /// Where it serves.
        from: EnvironmentName,
        /// Where it shall serve.
        to: EnvironmentName,
    },
    /// Return to an earlier release, artifact and configuration.
    Rollback {
        /// Where.
        place: Place,
        /// To which; the one before when absent.
        to: Option<ReleaseNumber>,
    },
    /// Try the rollout that was rolled back last again: the same release, by its declared strategy.
    Retry {
        /// Where.
        place: Place,
    },
    /// Move the rollout under way.
    Operate {
        /// Where.
        place: Place,
        /// How.
        command: ship::Command,
    },
    /// Let no rollout begin there.
    Lock {
        /// Where.
        scope: Scope,
        /// Who asks.
        by: String,
        /// Why, in their words.
        reason: String,
        /// For how long; until it is unlocked when absent.
        holds_for: Option<Duration>,
    },
    /// Let rollouts begin there again.
    Unlock {
        /// Where.
        scope: Scope,
    },
    /// These deployments or rollbacks together: all or none, and with one outcome.
    Group {
        /// What its team calls it.
        name: String,
        /// Each member's own command.
        members: Vec<Command>,
    },
    /// Say what was put right, when it is due.
    Notice {
        /// Which life of the agent put it right.
        instance: String,
        /// What it put right.
        drifts: Vec<Drift>,
    },
    /// Something about one objective.
    Objective {
        /// Where.
        place: Place,
        /// Which.
        objective: ObjectiveName,
        /// What.
        command: watch::Command,
    },
    /// Planner: take the release back that a page is to blame on.
    TakeBack {
        /// Where.
        place: Place,
        /// Whose budget burns.
        objective: ObjectiveName,
        /// The rollout that brought the release.
        rollout: RolloutNumber,
        /// What was counted.
        blame: watch::Blame,
    },
    /// What planners of objectives ask, in order; what was overtaken is left out.
    Objectives(Vec<(Place, ObjectiveName, watch::Command)>),
    /// What planners of alerts ask, and whoever tells from outside, in order; what was overtaken is left out.
    Alerts(Vec<Changed>),
    /// Remember what somebody decided about an error.
    DecideError {
        /// Where it is printed.
        place: Place,
        /// Which error.
        fingerprint: String,
        /// What was decided.
        decision: inbox::Decision,
    },
    /// Something about silences, or about tests of who is told, in order: all or nothing.
    Paging(Vec<paging::Command>),
    /// This, though somebody has locked its place.
    DespiteLock(Box<Command>),
    /// This, though an error budget is spent.
    DespiteBudget(Box<Command>),
    /// This, though the change calendar says no.
    DespiteFreeze(Box<Command>),
    /// This, asked for by somebody in particular.
    Asked(Asked, Box<Command>),
    /// What somebody else says of a request for change.
    Vote {
        /// Which.
        number: u64,
        /// What.
        vote: Vote,
        /// Who.
        by: String,
        /// Why, in their words.
        reason: Option<String>,
    },
    /// Planner: move a request for change on.
    SettleRequest(u64),
    /// What a request for change comes to once it is approved.
    Carry {
        /// Where.
        place: Place,
        /// Which release.
        release: ReleaseNumber,
        /// What asked for it.
        cause: Cause,
    },
}

/// Turns a command into the events that carry it out. No event means that everything is as asked already.
///
/// # Errors
/// When the command makes no sense now.
pub fn decide(world: &World, command: Command, at: Timestamp) -> Result<Vec<Event>, Refusal> {
    match command {
        Command::Deploy { service, artifact, specs, environment } => {
            deploy(world, service, artifact, specs, environment, at)
        }
        Command::Ship { service, from, to } => ship_on(world, service, from, to, at),
        Command::Rollback { place, to } => rollback(world, place, to, at),
        Command::Retry { place } => retry(world, place, at),
        Command::Operate { place, command } => operate(world, place, command, at),
        Command::Lock { scope, by, reason, holds_for } => {
            lock::lock(world, lock::Asked { scope, by, reason, holds_for }, at)
        }
        Command::Unlock { scope } => lock::unlock(world, scope, at),
        Command::Notice { instance, drifts } => Ok(drift::notice(world, &instance, &drifts, at)),
        Command::Group { name, members } => group::begin(world, name, members, at),
        Command::Objective { place, objective, command } => {
            objective::decide(world, place, objective, command, at)
        }
        Command::TakeBack { place, objective, rollout, blame } => {
            blame::take_back(world, place, objective, rollout, blame, at)
        }
        Command::Objectives(commands) => Ok(objective::decide_all(world, commands, at)),
        Command::Alerts(changes) => Ok(alert::decide(world, changes)),
        Command::DecideError { place, fingerprint, decision } => {
            inbox::decide(world, place, fingerprint, decision)
        }
        Command::Paging(commands) => paging(world, commands, at),
        Command::DespiteLock(command) => despite_lock(world, *command, at),
        Command::DespiteBudget(command) => despite_budget(world, *command, at),
        Command::DespiteFreeze(command) => despite_freeze(world, *command, at),
        Command::Asked(asked, command) => request::asked(world, asked, *command, at),
        Command::Vote { number, vote, by, reason } => request::vote(world, (number, &vote), &by, reason, at),
        Command::SettleRequest(number) => request::settle(world, number, at),
        Command::Carry { place, release, cause } => {
            let release = known_release(world, &place.service, release)?;
            roll_out(world, place, &release, cause, at)
        }
    }
}

/// Each is decided on what the ones before it left.
fn paging(world: &World, commands: Vec<paging::Command>, at: Timestamp) -> Result<Vec<Event>, Refusal> {
    let mut state = world.paging.clone();
    let mut all = Vec::new();
    for command in commands {
        let events = paging::decide(&state, command, at)
            .map_err(|refused| Refusal::new(refused.what, refused.way_out))?;
        for event in events {
            // What was decided on this state can follow it.
            if state.apply(&event, at).is_ok() {
                all.push(Event::Paging(event));
            }
        }
    }
    Ok(all)
}

/// As if nothing were locked, and every lock that was passed is told before the rollout that passed it.
fn despite_lock(world: &World, command: Command, at: Timestamp) -> Result<Vec<Event>, Refusal> {
    let passes = Passes { locks: true, ..world.passes.clone() };
    let unlocked = World { locks: BTreeMap::new(), passes, ..world.clone() };
    let events = decide(&unlocked, command, at)?;
    Ok(telling(world, events, |place, _, _| {
        let (scope, lock) = lock::on(world, place, at)?;
        Some(Event::LockOverridden { place: place.clone(), scope: scope.clone(), by: lock.by.clone() })
    }))
}

/// As if no budget were spent, and each that was is told before the rollout that passed it.
fn despite_budget(world: &World, command: Command, at: Timestamp) -> Result<Vec<Event>, Refusal> {
    let passes = Passes { budgets: true, ..world.passes.clone() };
    let rich = World { objectives: BTreeMap::new(), passes, ..world.clone() };
    let events = decide(&rich, command, at)?;
    Ok(telling(world, events, |place, spec, cause| {
        let (objective, state) = objective::on(world, place, spec?, cause)?;
        let (place, objective, level) = (place.clone(), objective.clone(), state.level);
        Some(Event::BudgetOverridden { place, objective, level })
    }))
}

/// As if it were open, and each freeze that holds is told before the rollout that passed it.
fn despite_freeze(world: &World, command: Command, at: Timestamp) -> Result<Vec<Event>, Refusal> {
    let free = World { passes: Passes { freezes: true, ..world.passes.clone() }, ..world.clone() };
    let events = decide(&free, command, at)?;
    Ok(telling(world, events, |place, spec, cause| calendar::overridden(world, place, spec?, cause, at)))
}

/// The events, and before each rollout that begins what it passed, by its place, its release's configuration and its cause.
fn telling(
    world: &World,
    events: Vec<Event>,
    passed: impl Fn(&Place, Option<&Spec>, Cause) -> Option<Event>,
) -> Vec<Event> {
    let mut told = Vec::with_capacity(events.len() + 1);
    let mut registered = Vec::new();
    for event in events {
        if let Event::ReleaseRegistered(release) = &event {
            registered.push(release.clone());
        }
        if let Event::Rollout { place, event: ship::Event::Started { to, cause, .. } } = &event {
            told.extend(passed(place, spec_of(world, &registered, place, *to), *cause));
        }
        told.push(event);
    }
    told
}

/// The configuration of a release, which may be registered just now.
fn spec_of<'a>(
    world: &'a World,
    registered: &'a [Release],
    place: &Place,
    number: ReleaseNumber,
) -> Option<&'a Spec> {
    let new = registered.iter().find(|new| new.number == number && new.service == place.service);
    new.map_or_else(|| world.spec(place, number), |new| new.specs.get(&place.environment))
}

fn deploy(
    world: &World,
    service: ServiceName,
    artifact: Artifact,
    specs: BTreeMap<EnvironmentName, Spec>,
    environment: EnvironmentName,
    at: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let place = Place { service: service.clone(), environment };
    let known = world.services.get(&service);
    let same = known.and_then(|known| {
        known.releases.values().rev().find(|release| {
            release.artifact.digest == artifact.digest
                && release.artifact.name == artifact.name
                && same_behaviour(&release.specs, &specs)
        })
    });
    if let Some(release) = same {
        return roll_out(world, place, release, Cause::Deploy, at);
    }
    let number = known.map_or_else(|| ReleaseNumber(1), |known| known.last_number.next());
    let release = Release { service: service.clone(), number, artifact, specs };
    let rollout = roll_out(world, place, &release, Cause::Deploy, at)?;
    let mut events = vec![Event::ReleaseRegistered(release)];
    events.extend(rollout);
    events.extend(retired(world, &service, number));
    Ok(events)
}

fn same_behaviour(a: &BTreeMap<EnvironmentName, Spec>, b: &BTreeMap<EnvironmentName, Spec>) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|((x, a), (y, b))| x == y && a.digest() == b.digest())
}

/// The oldest releases beyond [`KEPT_RELEASES`] that nothing uses, the newest not counted.
fn retired(world: &World, service: &ServiceName, newest: ReleaseNumber) -> Vec<Event> {
    let Some(known) = world.services.get(service) else {
        return vec![];
    };
    let in_use = world.in_use(service);
    let surplus = (known.releases.len() + 1).saturating_sub(KEPT_RELEASES);
    known
        .releases
        .keys()
        .filter(|number| !in_use.contains(number) && **number != newest)
        .take(surplus)
        .map(|number| Event::ReleaseRetired { service: service.clone(), number: *number })
        .collect()
}

fn ship_on(
    world: &World,
    service: ServiceName,
    from: EnvironmentName,
    to: EnvironmentName,
    at: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let source = Place { service: service.clone(), environment: from };
    let lane = world.lanes.get(&source);
    let Some(number) = lane.and_then(Lane::settled) else {
        return Err(match lane.and_then(Lane::active) {
            Some(rollout) => Refusal::new(
                format!("release {} does not take all requests at {source} yet", rollout.to),
                "wait for its rollout to end: `shipshape status` says what it waits for",
            ),
            None => Refusal::new(
                format!("nothing serves at {source}"),
                format!("deploy there first: `shipshape deploy ARTIFACT -e {}`", source.environment),
            ),
        });
    };
    let release = known_release(world, &service, number)?;
    roll_out(world, Place { service, environment: to }, &release, Cause::Promotion, at)
}

fn rollback(
    world: &World,
    place: Place,
    to: Option<ReleaseNumber>,
    at: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let lane = lane(world, &place)?;
    if let Some(active) = lane.active() {
        if to.is_none() || to == active.from {
            return operate(world, place, ship::Command::Abort, at);
        }
        if active.phase != Phase::Promoted {
            return Err(busy(world, &place, lane));
        }
    }
    let number = match to {
        Some(number) => number,
        None => lane.previous().ok_or_else(|| {
            Refusal::new(
                format!("no earlier release served at {place}"),
                "deploy a release that works; `shipshape status` lists what is known",
            )
        })?,
    };
    if !lane.history.contains(&number) && !lane.left.contains(&number) {
        return Err(never_stood_alone(&place, lane, number));
    }
    let release = known_release(world, &place.service, number)?;
    let events = roll_out(world, place.clone(), &release, Cause::Rollback, at)?;
    if events.is_empty() {
        return Err(Refusal::new(
            format!("release {number} serves at {place} already"),
            "name another with `--to`",
        ));
    }
    Ok(events)
}

/// Only a release that took all requests to the end of its rollout is a place to go back to.
fn never_stood_alone(place: &Place, lane: &Lane, number: ReleaseNumber) -> Refusal {
    let served: Vec<String> = lane.history.iter().chain(&lane.left).map(ToString::to_string).collect();
    let what = match lane.rejected.get(&number) {
        Some(Rejected { weight, reason }) => format!(
            "release {number} is no safe target: it got at most {weight} of the requests at {place} and was itself rolled \
             back ({reason}); it never served alone"
        ),
        None => format!("release {number} has not served at {place}"),
    };
    let served = if served.is_empty() { "none".to_owned() } else { served.join(", ") };
    Refusal::new(what, format!("choose one that has served alone: {served}"))
}

/// Never by itself: what took the release back is evidence, and only somebody who knows more can set it aside.
fn retry(world: &World, place: Place, at: Timestamp) -> Result<Vec<Event>, Refusal> {
    let lane = lane(world, &place)?;
    if lane.active().is_some() {
        return Err(busy(world, &place, lane));
    }
    let gone_back = lane.rollout.as_ref().filter(|rollout| matches!(rollout.phase, Phase::RolledBack(_)));
    let Some(rollout) = gone_back else {
        let serves = lane.stable.map_or_else(String::new, |stable| format!(": release {stable} serves"));
        return Err(Refusal::new(
            format!("the last rollout at {place} was not rolled back{serves}"),
            format!(
                "there is nothing to try again; `shipshape deploy ARTIFACT -e {}` starts",
                place.environment
            ),
        ));
    };
    if let Some(group) = &lane.went_with {
        return Err(Refusal::new(
            format!("rollout {} at {place} went with the group {group}: all or none", rollout.number),
            format!("deploy all its members again: `shipshape deploy --group {group} MANIFEST...`"),
        ));
    }
    let release = known_release(world, &place.service, rollout.to)?;
    roll_out(world, place.clone(), &release, rollout.cause, at)
}

pub(crate) fn operate(
    world: &World,
    place: Place,
    command: ship::Command,
    at: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let Some(rollout) = lane(world, &place)?.active() else {
        return Err(Refusal::new(
            format!("no rollout is under way at {place}"),
            "`shipshape deploy` starts one, `shipshape rollback` returns to an earlier release",
        ));
    };
    let events = ship::decide(rollout, command, at)?;
    group::carry(world, &place, events, at)
}

pub(crate) fn roll_out(
    world: &World,
    place: Place,
    release: &Release,
    cause: Cause,
    at: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let spec = release.specs.get(&place.environment).ok_or_else(|| {
        let known: Vec<&str> = release.specs.keys().map(EnvironmentName::as_str).collect();
        Refusal::new(
            format!("release {} has no environment {}", release.number, place.environment),
            format!("it has {}; declare others under `environments` in the manifest", known.join(", ")),
        )
    })?;
    let nothing = Lane::default();
    let lane = world.lanes.get(&place).unwrap_or(&nothing);
    if lane.settled() == Some(release.number) {
        return Ok(vec![]);
    }
    let emergency = match request::gate(world, &place, release, spec, cause, at)? {
        Gate::Open => None,
        Gate::Asks(request) => return Ok(vec![Event::Change(Change::Requested(request))]),
        Gate::Emergency(request, reason) => {
            let rollout = lane.last_rollout.next();
            Some(Event::Change(Change::Emergency { request, rollout, reason }))
        }
    };
    lock::check(world, &place, at)?;
    objective::check(world, &place, spec, cause)?;
    calendar::check(world, &place, spec, cause, at)?;
    let mut events = Vec::new();
    let mut from = lane.stable;
    match lane.active() {
        // A return waits for nobody; a next release would end an analysis that nobody has accepted, or skip hooks.
        Some(active) if active.is_proving() && cause != Cause::Rollback => {
            return Err(unproved(&place, active));
        }
        Some(active) if active.phase == Phase::Promoted && group::of(world, &place).is_none() => {
            // The warm old release makes room: at most two releases run at one place.
            events.extend(ship::decide(active, ship::Command::Complete, at)?);
            from = Some(active.to);
        }
        Some(_) => return Err(busy(world, &place, lane)),
        None => {}
    }
    claims::check(world, spec)?;
    let direct = from.is_none() || cause == Cause::Rollback;
    let stable_replicas = from.and_then(|from| world.spec(&place, from)).map_or(0, |spec| spec.replicas);
    let strategy = if direct { at_once(&spec.rollout) } else { spec.rollout.clone() };
    events.push(ship::Event::Started {
        number: lane.last_rollout.next(),
        from,
        to: release.number,
        cause,
        strategy: if cause == Cause::Rollback { without_hooks(strategy) } else { strategy },
        stable_replicas,
        candidate_replicas: spec.replicas,
    });
    let begun = events.into_iter().map(|event| Event::Rollout { place: place.clone(), event });
    Ok(emergency.into_iter().chain(begun).collect())
}

/// An earlier release had its hooks when it came, and whoever goes back waits for nothing.
fn without_hooks(strategy: Strategy) -> Strategy {
    Strategy { hooks: Hooks::default(), ..strategy }
}

fn busy(world: &World, place: &Place, lane: &Lane) -> Refusal {
    let joint = group::of(world, place);
    let what = lane.active().map_or_else(String::new, |rollout| {
        format!(
            "rollout {} of release {} at {place} is {}",
            rollout.number,
            rollout.to,
            ship::decide::phase_in_words(&rollout.phase)
        )
    });
    let what = match joint {
        Some((_, group)) => format!("{what}, and its group {} is under way", group.name),
        None => what,
    };
    Refusal::new(
        what,
        format!(
            "wait for it (`shipshape status`), or end it with `shipshape promote --full -e {0}` or \
             `shipshape abort -e {0}`",
            place.environment
        ),
    )
}

fn unproved(place: &Place, rollout: &Rollout) -> Refusal {
    Refusal::new(
        ship::decide::unproved(rollout, &format!(" at {place}")),
        format!(
            "wait for it (`shipshape status`), accept it with `shipshape promote --full -e {0}`, or go back with \
             `shipshape rollback -e {0}`",
            place.environment
        ),
    )
}

fn lane<'a>(world: &'a World, place: &Place) -> Result<&'a Lane, Refusal> {
    world.lanes.get(place).ok_or_else(|| {
        let known: Vec<String> = world.lanes.keys().map(ToString::to_string).collect();
        let known = if known.is_empty() { "nothing yet".to_owned() } else { known.join(", ") };
        Refusal::new(
            format!("nothing was ever deployed at {place}"),
            format!("known is {known}; `shipshape deploy ARTIFACT -e {}` starts", place.environment),
        )
    })
}

pub(crate) fn known_release(
    world: &World,
    service: &ServiceName,
    number: ReleaseNumber,
) -> Result<Release, Refusal> {
    world.release(service, number).map(|release| release.as_ref().clone()).ok_or_else(|| {
        Refusal::new(
            format!("release {number} of {service} is not kept any more"),
            format!("the newest {KEPT_RELEASES} and those in use are; deploy its artifact again"),
        )
    })
}
