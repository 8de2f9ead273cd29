//! Requests for change: where an environment requires a second person, `deploy` asks, others approve, and what was approved begins by
//! itself, as it was approved or not at all. Does not live here: who somebody is (faces), and going back, which waits for nobody.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::change::Approvals;
use model::{Digest, Place, Release, ReleaseNumber, RolloutNumber, Spec, Timestamp};
use serde::{Deserialize, Serialize};
use ship::{Cause, Refusal};

use crate::decide::{Command, decide};
use crate::event::Event;
use crate::lane::Lane;
use crate::world::{Illegal, Passes, World};

/// So many requests may wait at once.
const MOST_OPEN: usize = 100;
/// So many are remembered once they have ended, and so many emergencies that nobody has reviewed.
const MOST_ENDED: usize = 100;
/// The longest text of a request in bytes.
const LONGEST: usize = 2_000;

/// What whoever asks says of a change, and what he takes upon himself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Words {
    /// What will be better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// What can go wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<String>,
    /// How it comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_back: Option<String>,
    /// Whether it begins without approval, to be reviewed afterwards; that needs a reason.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub emergency: bool,
}

/// Who asks for a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Who.
    pub by: String,
    /// What is said of it.
    pub words: Words,
    /// Why, in their words.
    pub reason: Option<String>,
}

/// A request for change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Its number.
    pub number: u64,
    /// Where.
    pub place: Place,
    /// The release that shall serve.
    pub release: ReleaseNumber,
    /// Its artifact's digest.
    pub digest: Digest,
    /// What asked for it.
    pub cause: Cause,
    /// The release that served when it was asked for.
    pub from: Option<ReleaseNumber>,
    /// Who asks.
    pub by: String,
    /// What will be better.
    pub outcome: String,
    /// What can go wrong.
    pub risk: String,
    /// How it comes back.
    pub plan_back: String,
    /// Whether a lock, a spent budget or a freeze is passed: what is approved includes that.
    #[serde(default)]
    pub passes: [bool; 3],
    /// How many have to approve.
    pub required: u32,
    /// Who may; everybody when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<String>,
    /// How long it waits.
    pub until: Timestamp,
}

/// Something that happened to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Change {
    /// Somebody asks.
    Requested(Request),
    /// Somebody else approves.
    Approved {
        /// Which.
        number: u64,
        /// Who.
        by: String,
        /// Why, in their words.
        reason: Option<String>,
    },
    /// What was approved begins: in one unit with its rollout.
    Begun {
        /// Which.
        number: u64,
        /// The rollout that it became.
        rollout: RolloutNumber,
    },
    /// Somebody says no.
    Rejected {
        /// Which.
        number: u64,
        /// Who.
        by: String,
        /// Why, in their words.
        reason: String,
    },
    /// It is over without having begun.
    Voided {
        /// Which.
        number: u64,
        /// Why.
        why: String,
    },
    /// It begins without approval: in one unit with its rollout.
    Emergency {
        /// What would have been asked for.
        request: Request,
        /// The rollout.
        rollout: RolloutNumber,
        /// Why, in their words.
        reason: Option<String>,
    },
    /// Somebody else has looked at an emergency afterwards.
    Reviewed {
        /// Which.
        number: u64,
        /// Who.
        by: String,
        /// What they found, in their words.
        reason: String,
    },
}

impl Change {
    /// The request that it makes.
    pub(crate) fn asks(&self) -> Option<&Request> {
        match self {
            Self::Requested(request) | Self::Emergency { request, .. } => Some(request),
            Self::Approved { .. }
            | Self::Begun { .. }
            | Self::Rejected { .. }
            | Self::Voided { .. }
            | Self::Reviewed { .. } => None,
        }
    }

    /// Its name in the journal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Requested(_) => "requested",
            Self::Approved { .. } => "approved",
            Self::Begun { .. } => "begun",
            Self::Rejected { .. } => "rejected",
            Self::Voided { .. } => "voided",
            Self::Emergency { .. } => "emergency",
            Self::Reviewed { .. } => "reviewed",
        }
    }

    /// Which request.
    pub fn number(&self) -> u64 {
        match self {
            Self::Requested(request) | Self::Emergency { request, .. } => request.number,
            Self::Approved { number, .. }
            | Self::Begun { number, .. }
            | Self::Rejected { number, .. }
            | Self::Voided { number, .. }
            | Self::Reviewed { number, .. } => *number,
        }
    }
}

/// How a request stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stand {
    /// For somebody's approval, or, when it has that, for its time.
    Waiting,
    /// It became this rollout.
    Begun(RolloutNumber),
    /// By whom, and why.
    Rejected(String, String),
    /// Why.
    Voided(String),
    /// It became this rollout without approval, and nobody has looked at it yet.
    Unreviewed(RolloutNumber),
    /// The same, and somebody has: who, and what they say.
    Reviewed(RolloutNumber, String, String),
}

/// A request and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// What is asked for.
    pub request: Request,
    /// The release with all its configurations, as it was then; nothing else begins.
    pub release: Option<Arc<Release>>,
    /// When.
    pub at: Timestamp,
    /// Who approved it, when, and why.
    pub approvals: Vec<(String, Timestamp, Option<String>)>,
    /// How it stands.
    pub stand: Stand,
}

impl Kept {
    /// Whether it waits.
    pub fn waits(&self) -> bool {
        self.stand == Stand::Waiting
    }

    /// Whether enough others have approved.
    pub fn is_approved(&self) -> bool {
        self.approvals.len() >= self.request.required as usize
    }
}

/// The requests that are known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Requests {
    /// By number: those that wait or have to be reviewed, and the last that ended.
    pub all: BTreeMap<u64, Kept>,
    /// The number of the latest.
    pub last: u64,
}

impl World {
    /// Whoever asks for a release asks for it as it is known now.
    pub(crate) fn change(&mut self, change: &Change, at: Timestamp) -> Result<(), Illegal> {
        let asked = change.asks().and_then(|it| self.release(&it.place.service, it.release)).cloned();
        self.requests.apply(change, asked, at)
    }
}

impl Requests {
    /// `release` is the one that is asked for, as it is known now.
    fn apply(
        &mut self,
        change: &Change,
        release: Option<Arc<Release>>,
        at: Timestamp,
    ) -> Result<(), Illegal> {
        let kept = |request: &Request, stand| Kept {
            request: request.clone(),
            release: release.clone(),
            at,
            approvals: vec![],
            stand,
        };
        match change {
            Change::Requested(request) => {
                self.last = self.last.max(request.number);
                self.all.insert(request.number, kept(request, Stand::Waiting));
            }
            Change::Emergency { request, rollout, .. } => {
                self.last = self.last.max(request.number);
                self.all.insert(request.number, kept(request, Stand::Unreviewed(*rollout)));
            }
            Change::Approved { number, by, reason } => {
                self.waiting(*number)?.approvals.push((by.clone(), at, reason.clone()));
            }
            Change::Begun { number, rollout } => self.waiting(*number)?.stand = Stand::Begun(*rollout),
            Change::Rejected { number, by, reason } => {
                self.waiting(*number)?.stand = Stand::Rejected(by.clone(), reason.clone());
            }
            Change::Voided { number, why } => self.waiting(*number)?.stand = Stand::Voided(why.clone()),
            Change::Reviewed { number, by, reason } => {
                let kept = self.all.get_mut(number);
                let Some(Kept { stand, .. }) = kept else {
                    return Err(Illegal(format!("request {number} is reviewed, and is not known")));
                };
                let Stand::Unreviewed(rollout) = stand else {
                    return Err(Illegal(format!("request {number} is reviewed, and was no emergency")));
                };
                *stand = Stand::Reviewed(*rollout, by.clone(), reason.clone());
            }
        }
        self.forget();
        Ok(())
    }

    fn waiting(&mut self, number: u64) -> Result<&mut Kept, Illegal> {
        let kept = self.all.get_mut(&number).filter(|kept| kept.waits());
        kept.ok_or_else(|| Illegal(format!("request {number} does not wait")))
    }

    /// The oldest that have ended are let go, and of the emergencies that nobody reviews as well: the journal has them.
    fn forget(&mut self) {
        let ended = |stand: &Stand| !matches!(stand, Stand::Waiting | Stand::Unreviewed(_));
        self.forget_of(ended);
        self.forget_of(|stand| matches!(stand, Stand::Unreviewed(_)));
    }

    fn forget_of(&mut self, of: impl Fn(&Stand) -> bool) {
        let over: Vec<u64> =
            self.all.iter().filter(|(_, kept)| of(&kept.stand)).map(|(number, _)| *number).collect();
        for number in over.iter().take(over.len().saturating_sub(MOST_ENDED)) {
            self.all.remove(number);
        }
    }
}

/// The approvals that a rollout needs: what the release that serves asks for, or else the one that comes. Whoever goes back needs none.
fn needed(world: &World, place: &Place, spec: &Spec, cause: Cause) -> Option<Approvals> {
    if cause == Cause::Rollback {
        return None;
    }
    let serving = serving(world, place).and_then(|serving| world.spec(place, serving));
    serving.and_then(|spec| spec.changes.approvals.clone()).or_else(|| spec.changes.approvals.clone())
}

fn serving(world: &World, place: &Place) -> Option<ReleaseNumber> {
    world.lanes.get(place).and_then(|lane: &Lane| lane.settled().or(lane.stable))
}

/// What a rollout has to be told of before it begins.
pub(crate) enum Gate {
    /// Nothing.
    Open,
    /// It is asked for instead.
    Asks(Request),
    /// It begins as an emergency.
    Emergency(Request, Option<String>),
}

/// What stands between a command and its rollout.
pub(crate) fn gate(
    world: &World,
    place: &Place,
    release: &Release,
    spec: &Spec,
    cause: Cause,
    at: Timestamp,
) -> Result<Gate, Refusal> {
    let Some(needed) = needed(world, place, spec, cause).filter(|_| !world.passes.approved) else {
        return Ok(Gate::Open);
    };
    let request = request(world, place, release, cause, needed, at)?;
    let asked = world.passes.asked.as_ref();
    if let Some(asked) = asked.filter(|asked| asked.words.emergency) {
        return Ok(Gate::Emergency(request, asked.reason.clone()));
    }
    let same =
        |kept: &&Kept| kept.waits() && kept.request.place == *place && kept.request.release == release.number;
    if let Some(open) = world.requests.all.values().find(same) {
        let number = open.request.number;
        return Err(Refusal::new(
            format!(
                "release {} at {place} is asked for already, as request {number} of {}",
                release.number, open.request.by
            ),
            format!("somebody else approves it: `shipshape approve {number}`; `shipshape requests` shows it"),
        ));
    }
    if world.requests.all.values().filter(|kept| kept.waits()).count() >= MOST_OPEN {
        let what = format!("{MOST_OPEN} requests for change wait already");
        return Err(Refusal::new(what, "`shipshape requests` lists them; approve or reject some"));
    }
    Ok(Gate::Asks(request))
}

fn request(
    world: &World,
    place: &Place,
    release: &Release,
    cause: Cause,
    needed: Approvals,
    at: Timestamp,
) -> Result<Request, Refusal> {
    let asked = world.passes.asked.clone().unwrap_or_default();
    let (from, number) = (serving(world, place), release.number);
    let Words { outcome, risk, plan_back, emergency: _ } = asked.words;
    let back = || match from {
        Some(from) => format!("rollback to release {from}: `shipshape rollback -e {}`", place.environment),
        None => "nothing served before: there is nothing to go back to".to_owned(),
    };
    let texts = [
        outcome.or(asked.reason).unwrap_or_else(|| format!("release {number} serves at {place}")),
        risk.unwrap_or_else(|| "not said".to_owned()),
        plan_back.unwrap_or_else(back),
    ];
    if let Some(long) = texts.iter().find(|text| text.len() > LONGEST) {
        let what = format!("a text of the request has {} bytes, and the most is {LONGEST}", long.len());
        return Err(Refusal::new(what, "say it in fewer words, and link to the rest"));
    }
    let [outcome, risk, plan_back] = texts;
    let Passes { locks, budgets, freezes, .. } = world.passes;
    Ok(Request {
        number: world.requests.last + 1,
        place: place.clone(),
        release: number,
        digest: release.artifact.digest,
        cause,
        from,
        by: asked.by,
        outcome,
        risk,
        plan_back,
        passes: [locks, budgets, freezes],
        required: needed.required,
        approvers: needed.approvers,
        until: at.after(needed.expires),
    })
}

/// Somebody asks, by name.
pub(crate) fn asked(
    world: &World,
    asked: Asked,
    command: Command,
    at: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let passes = Passes { asked: Some(asked), ..world.passes.clone() };
    decide(&World { passes, ..world.clone() }, command, at)
}

/// What somebody else says of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vote {
    /// It may begin.
    Approve,
    /// It may not.
    Reject,
    /// Of an emergency: it was looked at.
    Review,
}

/// Somebody says what they think of a request.
pub(crate) fn vote(
    world: &World,
    (number, vote): (u64, &Vote),
    by: &str,
    reason: Option<String>,
    at: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let kept = world.requests.all.get(&number).ok_or_else(|| unknown(world, number))?;
    let is_open = match vote {
        Vote::Approve | Vote::Reject => kept.waits() && at < kept.request.until,
        Vote::Review => matches!(kept.stand, Stand::Unreviewed(_)),
    };
    if !is_open {
        return Err(over(kept, vote));
    }
    let request = &kept.request;
    let own = person(by) == person(&request.by);
    // Whoever asks may take it back, and nothing else.
    if own && *vote != Vote::Reject {
        return Err(Refusal::new(
            format!("{} asked for request {number}, so somebody else has to look at it", person(by)),
            "four eyes are two persons: ask a colleague, or in need `--emergency --reason TEXT`, which is reviewed afterwards",
        ));
    }
    let may = request.approvers.is_empty() || request.approvers.iter().any(|name| name == person(by));
    if !may && !own {
        return Err(Refusal::new(
            format!("{} is not among those who decide about request {number}", person(by)),
            format!("these are: {}", request.approvers.join(", ")),
        ));
    }
    let (by, need) = (by.to_owned(), |what: &str| {
        Refusal::new(format!("{what} without a reason"), "say why with --reason TEXT; it is recorded")
    });
    let said = reason.clone().filter(|reason| !reason.trim().is_empty());
    let change = match vote {
        Vote::Approve if kept.approvals.iter().any(|(known, ..)| person(known) == person(&by)) => {
            return Ok(vec![]);
        }
        Vote::Approve => Change::Approved { number, by, reason: said },
        Vote::Reject => {
            Change::Rejected { number, by, reason: said.ok_or_else(|| need("nothing is rejected"))? }
        }
        Vote::Review => {
            Change::Reviewed { number, by, reason: said.ok_or_else(|| need("nothing is reviewed"))? }
        }
    };
    Ok(vec![Event::Change(change)])
}

/// Who somebody is, without the way by which they came: `ada (token)` is ada.
fn person(actor: &str) -> &str {
    actor.split(" (").next().unwrap_or(actor)
}

fn unknown(world: &World, number: u64) -> Refusal {
    let open: Vec<String> = world
        .requests
        .all
        .values()
        .filter(|kept| kept.waits())
        .map(|kept| kept.request.number.to_string())
        .collect();
    let open =
        if open.is_empty() { "none waits".to_owned() } else { format!("waiting: {}", open.join(", ")) };
    Refusal::new(format!("there is no request {number}"), format!("{open}; `shipshape requests` lists them"))
}

fn over(kept: &Kept, vote: &Vote) -> Refusal {
    let number = kept.request.number;
    let how = match &kept.stand {
        Stand::Waiting if *vote == Vote::Review => "was no emergency: approve or reject it".to_owned(),
        Stand::Waiting => format!("waited until {}", kept.request.until),
        Stand::Begun(rollout) => format!("has begun, as rollout {rollout}"),
        Stand::Rejected(by, why) => format!("was rejected by {by}: {why}"),
        Stand::Voided(why) => format!("is over: {why}"),
        Stand::Unreviewed(rollout) => format!("began as an emergency, rollout {rollout}: review it"),
        Stand::Reviewed(_, by, _) => format!("was reviewed by {by}"),
    };
    Refusal::new(
        format!("request {number} {how}"),
        "`shipshape requests` shows what waits; ask again by deploying again",
    )
}

/// Moves a request on: what is approved begins as soon as it may, and what is no longer what was asked for is over. Refused where it has
/// to wait.
pub(crate) fn settle(world: &World, number: u64, at: Timestamp) -> Result<Vec<Event>, Refusal> {
    let Some(kept) = world.requests.all.get(&number).filter(|kept| kept.waits()) else { return Ok(vec![]) };
    let Request { place, release, digest, from, passes, until, cause, .. } = &kept.request;
    let void = |why: String| Ok(vec![Event::Change(Change::Voided { number, why })]);
    if at >= *until {
        let lacks = if kept.is_approved() { "it could not begin" } else { "nobody approved it" };
        return void(format!("{lacks} until {until}"));
    }
    let now = serving(world, place);
    if now != *from {
        let serves = now.map_or_else(|| "nothing".to_owned(), |now| format!("release {now}"));
        return void(format!("{serves} serves now, which is not what it was asked for beside"));
    }
    // By number and digest, with every configuration: what somebody looked at is what begins.
    let known = world.release(&place.service, *release);
    let same = known.is_some_and(|known| known.artifact.digest == *digest) && known == kept.release.as_ref();
    if !same {
        return void(format!("release {release} is no longer what it was when it was asked for"));
    }
    if !kept.is_approved() {
        return Ok(vec![]);
    }
    let mut command = Command::Carry { place: place.clone(), release: *release, cause: *cause };
    let despite: [fn(Box<Command>) -> Command; 3] =
        [Command::DespiteLock, Command::DespiteBudget, Command::DespiteFreeze];
    for (_, despite) in passes.iter().zip(despite).filter(|(passes, _)| **passes) {
        command = despite(Box::new(command));
    }
    let approved = World { passes: Passes { approved: true, ..Passes::default() }, ..world.clone() };
    let begun = decide(&approved, command, at)?;
    let rollout = begun.iter().find_map(|event| {
        let Event::Rollout { event: ship::Event::Started { number, .. }, .. } = event else { return None };
        Some(*number)
    });
    let Some(rollout) = rollout else { return void(format!("release {release} serves already")) };
    Ok(std::iter::once(Event::Change(Change::Begun { number, rollout })).chain(begun).collect())
}
