//! What can happen in a life: what operators wish, and what goes wrong. What it does to control is the `life`'s business.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use lifecycle::Vote;
use lifecycle::inbox::{Decision, Known, Stance};
use model::{Place, ReleaseNumber};
use paging::SilenceId;
use runtime::{
    Answer, Deploy, DeployGroup, EndSilence, Error, GroupMember, Handle, LiftLock, Operate, Operation, Retry,
    Rollback, Scope, SetLock, SetSilence, Ship, TestReceivers, Words,
};
use sim::Crash;

use crate::cast::Build;
use crate::sky::Weather;

/// What can happen.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Wish(Wish),
    Fault(Fault),
}

/// What an operator asks of control.
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    Deploy {
        build: Build,
        environment: String,
    },
    Ship {
        service: String,
        from: String,
        to: String,
    },
    Rollback {
        place: Place,
        to: Option<u64>,
    },
    /// What went back, once more.
    Retry {
        place: Place,
    },
    Operate {
        place: Place,
        operation: Operation,
    },
    Lock {
        scope: Scope,
        seconds: Option<u64>,
    },
    Unlock {
        scope: Scope,
    },
    /// All of these together.
    Group {
        builds: Vec<Build>,
        environment: String,
    },
    /// This, whatever is locked.
    Urgent(Box<Wish>),
    /// This, in spite of some things, whether or not for a reason.
    Through(Passes, Box<Wish>),
    /// What somebody says of one of the requests for change there are.
    Vote {
        pick: usize,
        vote: Vote,
        by: Voter,
    },
    /// Something that is not about rollouts, which may be so already.
    Say(Said),
}

/// What people say of errors and of who is told.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    /// About one of a few errors.
    Decide {
        place: Place,
        error: u64,
        stance: Stance,
        known: u64,
    },
    Silence {
        seconds: u64,
    },
    EndSilence {
        id: u64,
    },
    Test {
        place: Place,
    },
}

impl Said {
    /// Says it, in the name of `actor`, and waits for the answer.
    pub(crate) async fn say(self, handle: &Handle, actor: String) -> Result<(), Error> {
        let reason = "the fair is over".to_owned();
        match self {
            Self::Decide { place, error, stance, known } => {
                let known = Known { release: ReleaseNumber(known), per_hour: 3, record: known };
                let decision = Decision { stance, known, by: actor, reason: Some(reason) };
                handle.decide_error(place, format!("{error:016x}"), decision).await
            }
            Self::Silence { seconds } => {
                let matchers = vec!["queue=\"a\"".to_owned()];
                let silence = SetSilence { matchers, from: None, for_seconds: seconds, actor, reason };
                handle.silence(silence).await.map(drop)
            }
            Self::EndSilence { id } => {
                handle.end_silence(EndSilence { id: SilenceId(id), actor, reason: None }).await
            }
            Self::Test { place } => {
                let test = TestReceivers { place, receiver: None, actor, reason: None };
                handle.test_receivers(test).await.map(drop)
            }
        }
    }
}

/// What is passed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Passes {
    pub(crate) lock: bool,
    pub(crate) budget: bool,
    pub(crate) freeze: bool,
    pub(crate) emergency: bool,
    pub(crate) reason: bool,
}

impl Passes {
    /// Everything.
    const ALL: Self = Self { lock: true, budget: true, freeze: true, emergency: true, reason: true };
}

/// Who says something of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Voter {
    /// Whoever asked for it.
    Own,
    Named(&'static str),
}

/// What goes wrong, and what ends it.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Control is killed, and comes back after this time.
    Kill(Duration),
    /// Control dies at the append after so many others.
    CrashAtAppend(usize, Crash),
    /// Control dies at its next order to the agent.
    CrashAtOrder(Crash),
    JournalFails(u32),
    JournalSlow(Duration),
    AgentCut(bool),
    AgentRestarts,
    AgentSlow(Duration),
    AgentRefuses(u32),
    AnswersLost(u32),
    OldReports(u32),
    NoTallies(bool),
    ReplicaDies,
    ReplicaUnready(Duration),
    Incident(f64),
    ClockSteps(i64),
    /// A place burns its budget, or no longer; who watches it blames the release that came last.
    Burns {
        place: Place,
        pages: bool,
        blame: watch::Blame,
    },
    /// What is to be seen beside the fleet changes.
    Turns(Weather),
    /// The server of the metrics goes away, or comes back.
    MetricsSilent(bool),
}

impl Wish {
    /// Where that is asked for again which went back, if it is.
    pub(crate) fn asks_again(&self) -> Option<&Place> {
        match self {
            Self::Retry { place } => Some(place),
            Self::Urgent(wish) | Self::Through(_, wish) => wish.asks_again(),
            Self::Deploy { .. }
            | Self::Ship { .. }
            | Self::Rollback { .. }
            | Self::Operate { .. }
            | Self::Lock { .. }
            | Self::Unlock { .. }
            | Self::Vote { .. }
            | Self::Say(_)
            | Self::Group { .. } => None,
        }
    }

    /// Whether it goes back to what was: nothing that a calendar, a budget or a colleague says keeps it from that.
    pub(crate) fn goes_back(&self) -> bool {
        match self {
            Self::Rollback { .. } => true,
            Self::Operate { operation, .. } => matches!(operation, Operation::Abort),
            Self::Urgent(wish) | Self::Through(_, wish) => wish.goes_back(),
            Self::Deploy { .. }
            | Self::Ship { .. }
            | Self::Retry { .. }
            | Self::Lock { .. }
            | Self::Unlock { .. }
            | Self::Vote { .. }
            | Self::Say(_)
            | Self::Group { .. } => false,
        }
    }

    /// Asks, in the name of `actor`, and waits for the answer; `None` where it names no release.
    pub(crate) async fn ask(self, handle: &Handle, actor: String) -> Result<Option<Answer>, Error> {
        let (wish, passes) = self.passing();
        let (override_lock, override_budget, override_freeze) = (passes.lock, passes.budget, passes.freeze);
        let reason = passes.reason.then(|| "urgent".to_owned());
        let change = Words { emergency: passes.emergency, ..Words::default() };
        match wish {
            Self::Deploy { build, environment } => {
                let environment = environment.parse().ok();
                let deploy = Deploy {
                    manifest: build.manifest,
                    directory: PathBuf::from("/src"),
                    artifact: Some(build.path),
                    environment,
                    actor,
                    reason,
                    override_lock,
                    override_budget,
                    override_freeze,
                    change,
                };
                handle.deploy(deploy).await.map(Some)
            }
            Self::Ship { service, from, to } => match (service.parse(), from.parse(), to.parse()) {
                (Ok(service), Ok(from), Ok(to)) => handle
                    .ship(Ship {
                        service,
                        from,
                        to,
                        actor,
                        reason,
                        override_lock,
                        override_budget,
                        override_freeze,
                        change,
                    })
                    .await
                    .map(Some),
                _ => Err(Error::Stopped("names that are none".to_owned())),
            },
            Self::Rollback { place, to } => {
                let to = to.map(ReleaseNumber);
                handle.rollback(Rollback { place, to, actor, reason, override_lock }).await.map(Some)
            }
            Self::Retry { place } => {
                let reason = "the database is back".to_owned();
                let retry =
                    Retry { place, actor, reason, override_lock, override_budget, override_freeze, change };
                handle.retry(retry).await.map(Some)
            }
            Self::Operate { place, operation } => {
                handle.operate(Operate { place, operation, actor, reason }).await.map(Some)
            }
            Self::Lock { scope, seconds } => {
                let reason = Some("the night is for sleeping".to_owned());
                handle.lock(SetLock { scope, for_seconds: seconds, actor, reason }).await.map(|()| None)
            }
            Self::Unlock { scope } => handle.unlock(LiftLock { scope, actor, reason }).await.map(|()| None),
            Self::Group { builds, environment } => {
                together(builds, &environment, handle, (actor, reason, passes)).await
            }
            Self::Urgent(_) | Self::Through(..) => Err(Error::Stopped("urgent is urgent enough".to_owned())),
            Self::Vote { .. } | Self::Say(_) => Err(Error::Stopped("that names no release".to_owned())),
        }
    }

    /// What is asked, and in spite of what.
    fn passing(self) -> (Self, Passes) {
        if let Self::Urgent(wish) = self {
            return (*wish, Passes::ALL);
        }
        if let Self::Through(passes, wish) = self { (*wish, passes) } else { (self, Passes::default()) }
    }
}

/// All of these together.
async fn together(
    builds: Vec<Build>,
    environment: &str,
    handle: &Handle,
    (actor, reason, passes): (String, Option<String>, Passes),
) -> Result<Option<Answer>, Error> {
    let member = |build: Build| GroupMember {
        manifest: build.manifest,
        directory: PathBuf::from("/src"),
        artifact: Some(build.path),
    };
    let group = DeployGroup {
        name: "all".parse().map_err(|_| Error::Stopped("a name that is none".to_owned()))?,
        members: builds.into_iter().map(member).collect(),
        environment: environment.parse().ok(),
        actor,
        reason,
        override_lock: passes.lock,
        override_budget: passes.budget,
        override_freeze: passes.freeze,
        change: Words { emergency: passes.emergency, ..Words::default() },
    };
    handle.deploy_group(group).await.map(Some)
}

impl From<Wish> for Act {
    fn from(wish: Wish) -> Self {
        Self::Wish(wish)
    }
}

impl From<Fault> for Act {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wish(wish) => write!(f, "{wish}"),
            Self::Fault(Fault::Kill(back_after)) => {
                write!(f, "kill control for {}s", back_after.as_secs_f64())
            }
            Self::Fault(fault) => write!(f, "{fault:?}"),
        }
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deploy { build, environment } => {
                write!(f, "deploy {} -e {environment}", build.path.display())
            }
            Self::Ship { service, from, to } => write!(f, "ship {service} {from} -> {to}"),
            Self::Rollback { place, to } => {
                write!(f, "rollback {place} {}", to.map_or(String::new(), |it| it.to_string()))
            }
            Self::Retry { place } => write!(f, "retry {place}"),
            Self::Operate { place, operation } => write!(f, "{operation:?} {place}"),
            Self::Lock { scope, seconds } => {
                let until = seconds.map_or(String::new(), |it| format!(" for {it}s"));
                write!(f, "lock {scope}{until}")
            }
            Self::Unlock { scope } => write!(f, "unlock {scope}"),
            Self::Group { builds, environment } => {
                let names: Vec<_> = builds.iter().map(|build| build.path.display().to_string()).collect();
                write!(f, "deploy together {} -e {environment}", names.join(" "))
            }
            Self::Urgent(wish) => write!(f, "urgent: {wish}"),
            Self::Through(passes, wish) => write!(f, "{passes:?}: {wish}"),
            Self::Say(said) => write!(f, "{said:?}"),
            Self::Vote { pick, vote, by } => write!(f, "{by:?} of request {pick}: {vote:?}"),
        }
    }
}
