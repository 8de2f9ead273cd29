//! Groups: several services in one rollout, together or not at all. Each member goes at its own pace up to its gate, the
//! last move before the new release takes all requests. The gate opens when all members stand at theirs. No member lets
//! its old release go before all are proved, and when one goes back, all go back.
//!
//! Everything here looks at the events that a member's own rules decided, before they are recorded: whoever caused them,
//! the planner or an operator, the same holds. Does not live here: how a member gets to its gate (`ship`).

use std::collections::BTreeMap;

use model::{Place, RolloutNumber, Timestamp, Weight};
use serde::{Deserialize, Serialize};
use ship::{Refusal, RollbackReason, Rollout};

use crate::decide::{Command, decide};
use crate::event::Event;
use crate::request::Change;
use crate::world::World;

/// The most members of a group.
pub const MOST_MEMBERS: usize = 32;

/// Services that roll out together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What its team calls it.
    pub name: String,
    /// Who belongs to it, and how far each is.
    pub members: BTreeMap<Place, Member>,
    /// When all stood at their gates.
    pub opened_at: Option<Timestamp>,
}

/// One member's rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its number at its place.
    pub rollout: RolloutNumber,
    /// How far it is.
    pub stage: Stage,
}

/// How far a member is on the common way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// Before its gate.
    Underway,
    /// One move from all requests.
    AtGate,
    /// It takes all requests, and needs its old release no more.
    Proved,
}

impl Group {
    fn all(&self, least: Stage) -> bool {
        self.members.values().all(|member| member.stage >= least)
    }

    /// The other members that have not come so far.
    fn behind<'a>(&'a self, place: &'a Place, stage: Stage) -> impl Iterator<Item = &'a Place> {
        self.members.iter().filter(move |(other, it)| *other != place && it.stage < stage).map(|(it, _)| it)
    }
}

/// The group that the rollout under way at a place belongs to.
pub(crate) fn of<'a>(world: &'a World, place: &Place) -> Option<(u64, &'a Group)> {
    let number = world.lanes.get(place)?.active()?.number;
    let is_its = |group: &&Group| group.members.get(place).is_some_and(|member| member.rollout == number);
    world.groups.iter().find(|(_, group)| is_its(group)).map(|(number, group)| (*number, group))
}

/// Begins all or none: each is decided on the world that those before it made.
pub(crate) fn begin(
    world: &World,
    name: String,
    commands: Vec<Command>,
    at: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    if !(2..=MOST_MEMBERS).contains(&commands.len()) {
        return Err(Refusal::new(
            format!("the group {name} has {} members; it needs 2 to {MOST_MEMBERS}", commands.len()),
            "name a manifest for each: shipshape deploy --group NAME shop/shipshape.yaml cart/shipshape.yaml",
        ));
    }
    let mut scratch = world.clone();
    let mut events = Vec::new();
    let mut members = Vec::new();
    let mut asking = Vec::new();
    for command in commands {
        let decided = decide(&scratch, command, at).map_err(|refusal| Refusal {
            what: format!("{}; no member of the group {name} was started", refusal.what),
            ..refusal
        })?;
        for event in decided {
            let seq = world.generation.0 + 1 + events.len() as u64;
            scratch.apply(&event, seq, at).map_err(|illegal| {
                Refusal::new(format!("internal: {illegal}"), "nothing was changed, please report this")
            })?;
            if let Event::Rollout { place, event: ship::Event::Started { number, .. } } = &event {
                members.push((place.clone(), *number));
            }
            if let Event::Change(Change::Requested(request)) = &event {
                asking.push(request.place.to_string());
            }
            events.push(event);
        }
    }
    if !asking.is_empty() {
        return Err(unapproved(&name, &asking));
    }
    // Whoever serves already has nowhere to go; one alone waits for nobody.
    if members.len() > 1 {
        events.push(Event::GroupBegun { number: world.last_group + 1, name, members });
    }
    Ok(events)
}

/// A request is for one release beside the one that serves: decision 30 says why.
fn unapproved(name: &str, asking: &[String]) -> Refusal {
    let ask = if asking.len() == 1 { "asks" } else { "ask" };
    Refusal::new(
        format!(
            "{} {ask} for approvals, and a group is not approved as one; no member of the group {name} was started",
            asking.join(" and ")
        ),
        "deploy them one by one, without --group: each becomes a request of its own. Begin with the one whose new release works beside the old \
         ones of the others. What has to come together can begin with `--emergency --reason TEXT`, which somebody else reviews afterwards",
    )
}

/// What a member's own events come to in its group.
pub(crate) fn carry(
    world: &World,
    place: &Place,
    events: Vec<ship::Event>,
    at: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let own = |events: Vec<ship::Event>| {
        events.into_iter().map(|event| Event::Rollout { place: place.clone(), event }).collect::<Vec<_>>()
    };
    let Some((number, group)) = of(world, place) else { return Ok(own(events)) };
    let rollout = world.lanes.get(place).and_then(|lane| lane.active());
    let (Some(rollout), Some(member)) = (rollout, group.members.get(place)) else { return Ok(own(events)) };
    let reaches = |stage| Event::GroupReached { number, place: place.clone(), stage };

    if let Some(reason) = goes_back(&events) {
        let mut all = own(events);
        all.extend(back_together(world, group, place, &reason));
        return Ok(all);
    }
    if events.contains(&ship::Event::Completed) {
        let mut all = if member.stage < Stage::Proved { vec![reaches(Stage::Proved)] } else { vec![] };
        if group.behind(place, Stage::Proved).next().is_none() {
            all.extend(own(events));
            all.extend(complete_together(world, group, place, at)?);
        }
        return Ok(all);
    }
    if group.opened_at.is_none() && passes_the_gate(rollout, &events) {
        let mut all = if member.stage < Stage::AtGate { vec![reaches(Stage::AtGate)] } else { vec![] };
        if group.behind(place, Stage::AtGate).next().is_none() {
            all.extend(own(events));
        }
        return Ok(all);
    }
    Ok(own(events))
}

fn goes_back(events: &[ship::Event]) -> Option<RollbackReason> {
    events.iter().find_map(|event| {
        let ship::Event::RollbackBegun { reason } = event else { return None };
        Some(reason.clone())
    })
}

/// Whether the new release would take all requests, or the old one would have nobody left to take them.
fn passes_the_gate(rollout: &Rollout, events: &[ship::Event]) -> bool {
    let has_old = rollout.from.is_some() && rollout.wanted_stable > 0;
    let takes_all =
        |event: &ship::Event| matches!(event, ship::Event::Shifted { weight, .. } if *weight == Weight::ALL);
    let leaves_none = |event: &ship::Event| matches!(event, ship::Event::Scaled { stable: 0, .. }) && has_old;
    rollout.phase == ship::Phase::Progressing
        && events.iter().any(|event| takes_all(event) || leaves_none(event))
}

/// The members that are under way beside this one.
fn others<'a>(
    world: &'a World,
    group: &'a Group,
    place: &'a Place,
) -> impl Iterator<Item = (&'a Place, &'a Rollout)> {
    group.members.iter().filter(move |(other, _)| *other != place).filter_map(|(other, member)| {
        let rollout = world.lanes.get(other)?.active()?;
        (rollout.number == member.rollout).then_some((other, rollout))
    })
}

fn back_together(world: &World, group: &Group, place: &Place, reason: &RollbackReason) -> Vec<Event> {
    let why =
        if let RollbackReason::Group(why) = reason { why.clone() } else { format!("{place}: {reason}") };
    let back = |(other, rollout): (&Place, &Rollout)| {
        // One that is on its way back already goes on there.
        let event = ship::Event::RollbackBegun { reason: RollbackReason::Group(why.clone()) };
        ship::transitions::next(rollout.phase.name(), event.name())?;
        Some(Event::Rollout { place: other.clone(), event })
    };
    others(world, group, place).filter_map(back).collect()
}

fn complete_together(
    world: &World,
    group: &Group,
    place: &Place,
    at: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let mut all = Vec::new();
    for (other, rollout) in others(world, group, place) {
        let events = ship::decide(rollout, ship::Command::Complete, at)?;
        all.extend(events.into_iter().map(|event| Event::Rollout { place: other.clone(), event }));
    }
    Ok(all)
}

impl World {
    pub(crate) fn begin_group(&mut self, number: u64, name: &str, members: &[(Place, RolloutNumber)]) {
        for (place, _) in members {
            if let Some(lane) = self.lanes.get_mut(place) {
                lane.went_with = Some(name.to_owned());
            }
        }
        let member = |(place, rollout): &(Place, RolloutNumber)| {
            (place.clone(), Member { rollout: *rollout, stage: Stage::Underway })
        };
        let members = members.iter().map(member).collect();
        self.last_group = self.last_group.max(number);
        self.groups.insert(number, Group { name: name.to_owned(), members, opened_at: None });
    }

    pub(crate) fn reach_in_group(&mut self, number: u64, place: &Place, stage: Stage, at: Timestamp) -> bool {
        let Some(group) = self.groups.get_mut(&number) else { return false };
        let Some(member) = group.members.get_mut(place) else { return false };
        member.stage = member.stage.max(stage);
        if group.opened_at.is_none() && group.all(Stage::AtGate) {
            group.opened_at = Some(at);
        }
        true
    }

    /// Groups whose members have all ended are forgotten.
    pub(crate) fn end_groups(&mut self) {
        let lanes = &self.lanes;
        let moves = |(place, member): (&Place, &Member)| {
            let active = lanes.get(place).and_then(|lane| lane.active());
            active.is_some_and(|rollout| rollout.number == member.rollout)
        };
        self.groups.retain(|_, group| group.members.iter().any(moves));
    }

    /// The group of the rollout under way at a place, with its number.
    pub fn group_of(&self, place: &Place) -> Option<(u64, &Group)> {
        of(self, place)
    }

    /// For whom the rollout at a place waits, in words; `None` when for nobody.
    pub fn group_wait(&self, place: &Place) -> Option<String> {
        let (_, group) = of(self, place)?;
        let (stage, what) = match group.members.get(place)?.stage {
            Stage::AtGate if group.opened_at.is_none() => {
                (Stage::AtGate, "to be one move from all requests, too")
            }
            Stage::Proved => (Stage::Proved, "to prove itself, too"),
            Stage::Underway | Stage::AtGate => return None,
        };
        let behind: Vec<String> = group.behind(place, stage).map(ToString::to_string).collect();
        (!behind.is_empty())
            .then(|| format!("group {}: waits for {} {what}", group.name, behind.join(" and ")))
    }

    /// Since when the rollout at a place is held by nobody but itself: what its deadlines count from.
    pub fn held_until(&self, place: &Place, at: Timestamp) -> Option<Timestamp> {
        let (_, group) = of(self, place)?;
        let waits = group.members.get(place)?.stage == Stage::AtGate && group.opened_at.is_none();
        if waits { Some(at) } else { group.opened_at }
    }
}
