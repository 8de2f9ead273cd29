//! What can happen in a life: what operators wish, and what goes wrong. What it does to control is the `life`'s business.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use model::{Place, ReleaseNumber};
use runtime::{
    Answer, Deploy, DeployGroup, Error, GroupMember, Handle, LiftLock, Operate, Operation, Retry, Rollback,
    Scope, SetLock, Ship, Words,
};
use sim::Crash;

use crate::cast::Build;

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
    /// The server of the metrics goes away, or comes back.
    MetricsSilent(bool),
}

impl Wish {
    /// Where that is asked for again which went back, if it is.
    pub(crate) fn asks_again(&self) -> Option<&Place> {
        match self {
            Self::Retry { place } => Some(place),
            Self::Urgent(wish) => wish.asks_again(),
            Self::Deploy { .. }
            | Self::Ship { .. }
            | Self::Rollback { .. }
            | Self::Operate { .. }
            | Self::Lock { .. }
            | Self::Unlock { .. }
            | Self::Group { .. } => None,
        }
    }

    /// Asks, in the name of `actor`, and waits for the answer; `None` where it names no release.
    pub(crate) async fn ask(self, handle: &Handle, actor: String) -> Result<Option<Answer>, Error> {
        let (wish, urgent) = if let Self::Urgent(wish) = self { (*wish, true) } else { (self, false) };
        let (override_lock, override_budget, override_freeze) = (urgent, urgent, urgent);
        let reason = urgent.then(|| "urgent".to_owned());
        let change = Words { emergency: urgent, ..Words::default() };
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
                together(builds, &environment, handle, (actor, reason, urgent)).await
            }
            Self::Urgent(_) => Err(Error::Stopped("urgent is urgent enough".to_owned())),
        }
    }
}

/// All of these together.
async fn together(
    builds: Vec<Build>,
    environment: &str,
    handle: &Handle,
    (actor, reason, urgent): (String, Option<String>, bool),
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
        override_lock: urgent,
        override_budget: urgent,
        override_freeze: urgent,
        change: Words { emergency: urgent, ..Words::default() },
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
        }
    }
}
