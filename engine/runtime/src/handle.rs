//! The handle that faces hold: commands in, answers and snapshots out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use lifecycle::inbox::Decision;
use lifecycle::{Answer, Command, Refusal, Vote, Words, World};
use manifest::Manifest;
use model::spec::SecretSource;
use model::{EnvironmentName, Place, Spec, Timestamp};
use ports::fleet::Seen;
use ports::{Artifacts, Secrets};
use ship::Report;
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, oneshot};

use crate::draft::PLANNER;
use crate::history::{self, History, Recorded};
use crate::once::{Answers, Once};
use crate::request::{
    Ballot, Correct, Deploy, DeployGroup, GroupMember, LiftLock, Operate, Operation, Retry, Rollback,
    SetLock, Ship,
};

/// Why something that was asked for was not done. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It makes no sense now; the refusal knows the way out.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The manifest has errors: all of them, rendered with line and column.
    #[error("the manifest has errors\n{0}")]
    Manifest(String),
    /// The artifact could not be stored.
    #[error(transparent)]
    Artifact(#[from] ports::artifacts::Error),
    /// The journal did not take it.
    #[error("not recorded, so not done: {0}")]
    Journal(String),
    /// The idempotency key belongs to another request.
    #[error("the idempotency key {key} was used for another request: event {seq} tells which")]
    KeyReused {
        /// The key.
        key: String,
        /// The event that says so.
        seq: u64,
    },
    /// The journal cannot be read.
    #[error("the journal cannot be read: {0}")]
    Unread(String),
    /// Control is stopping or cannot go on.
    #[error("control has stopped: {0}")]
    Stopped(String),
}

/// What control knows at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When.
    pub at: Timestamp,
    /// Services, releases and rollouts.
    pub world: Arc<World>,
    /// The last that was seen of the fleet.
    pub seen: Arc<Seen>,
    /// Whether the fleet answers.
    pub reachable: bool,
    /// Why each rollout under way stands where it stands.
    pub reports: Arc<BTreeMap<Place, Report>>,
    /// What needs somebody's attention.
    pub warnings: Vec<String>,
}

pub(crate) enum Message {
    Command(Box<Asked>),
    Stop { actor: String, reason: Option<String>, once: Option<Once>, reply: Reply<()> },
}

pub(crate) struct Asked {
    pub(crate) command: Command,
    pub(crate) actor: String,
    pub(crate) reason: Option<String>,
    pub(crate) once: Option<Once>,
    /// Nothing for what names no release.
    pub(crate) reply: Reply<Option<Answer>>,
    /// Keeps the store from being swept until the command is recorded, even if whoever asked has gone away.
    pub(crate) not_swept: Option<OwnedMutexGuard<()>>,
}

pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// Asks control. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) messages: mpsc::Sender<Message>,
    pub(crate) snapshots: tokio::sync::watch::Receiver<Arc<Snapshot>>,
    pub(crate) artifacts: Arc<dyn Artifacts>,
    pub(crate) secrets: Arc<dyn Secrets>,
    /// Held while an artifact is in the store but not yet in the journal, and while the store is swept.
    pub(crate) storing: Arc<Mutex<()>>,
    pub(crate) answers: Answers,
    pub(crate) journal: Weak<dyn History>,
    pub(crate) last_seq: tokio::sync::watch::Receiver<u64>,
    pub(crate) once: Option<Once>,
}

impl Handle {
    /// What control knows now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.borrow().clone()
    }

    /// What control knows, as it changes. Its sender goes when control ends.
    pub fn snapshots(&self) -> tokio::sync::watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    /// The handle for one request that is to be done once, however often it arrives: whoever asks again gets the
    /// answer that was given, also from a later control on the same journal.
    #[must_use]
    pub fn once(&self, once: Once) -> Self {
        Self { once: Some(once), ..self.clone() }
    }

    /// Up to `limit` events with a number above `after`, in order; fewer when they are large, none at the end.
    ///
    /// # Errors
    /// When the journal cannot be read, or control has ended.
    pub async fn events_after(&self, after: u64, limit: usize) -> Result<Vec<Recorded>, Error> {
        let journal = self.journal.upgrade().ok_or_else(stopped)?;
        let reading = tokio::task::spawn_blocking(move || history::page(&*journal, after, limit));
        reading.await.map_err(|error| Error::Stopped(error.to_string()))?.map_err(Error::Unread)
    }

    /// The number of the last event, as it grows. Its sender goes when control ends.
    pub fn last_event(&self) -> tokio::sync::watch::Receiver<u64> {
        self.last_seq.clone()
    }

    /// Stores the artifact, makes it a release and starts its rollout. The answer is durable.
    ///
    /// # Errors
    /// See [`Error`]; nothing has changed then, but that the artifact may be in the store.
    pub async fn deploy(&self, request: Deploy) -> Result<Answer, Error> {
        // Before the artifact is looked at: it may be another by now, or gone.
        if let Some(answer) = self.given()? {
            return Ok(answer);
        }
        let not_swept = self.storing.clone().lock_owned().await;
        let member = GroupMember {
            manifest: request.manifest,
            directory: request.directory,
            artifact: request.artifact,
        };
        let command = self.store(member, request.environment).await?;
        let passed = [request.override_lock, request.override_budget, request.override_freeze];
        let command = asked(command, passed, &request.actor, request.change, request.reason.as_deref())?;
        let answer = self.send_storing(command, request.actor, request.reason, Some(not_swept)).await?;
        answer.ok_or_else(unanswered)
    }

    /// Stores the artifacts, makes them releases and starts their rollouts as one: all or none. The answer is durable.
    ///
    /// # Errors
    /// See [`Error`]; nothing has changed then, but that artifacts may be in the store.
    pub async fn deploy_group(&self, request: DeployGroup) -> Result<Answer, Error> {
        if let Some(answer) = self.given()? {
            return Ok(answer);
        }
        // Before anything is copied: the rules say the same, of what was copied then.
        if request.members.len() > lifecycle::MOST_MEMBERS {
            let what = format!("the group {} has {} members", request.name, request.members.len());
            return Err(Refusal::new(what, format!("at most {} go together", lifecycle::MOST_MEMBERS)).into());
        }
        let not_swept = self.storing.clone().lock_owned().await;
        let mut members = Vec::with_capacity(request.members.len());
        for member in request.members {
            members.push(self.store(member, request.environment.clone()).await?);
        }
        let command = Command::Group { name: request.name.to_string(), members };
        let passed = [request.override_lock, request.override_budget, request.override_freeze];
        let command = asked(command, passed, &request.actor, request.change, request.reason.as_deref())?;
        let answer = self.send_storing(command, request.actor, request.reason, Some(not_swept)).await?;
        answer.ok_or_else(unanswered)
    }

    /// The command that deploys it, its artifact in the store. No sweep of the store may run meanwhile.
    async fn store(&self, member: GroupMember, asked: Option<EnvironmentName>) -> Result<Command, Error> {
        let manifest = Manifest::parse(&member.manifest)
            .map_err(|errors| Error::Manifest(errors.render("shipshape.yaml", &member.manifest, false)))?;
        let environment = environment(&manifest, asked)?;
        let Some(spec) = manifest.spec(&environment) else {
            return Err(unknown_environment(&manifest, &environment).into());
        };
        self.check_secrets(spec.secrets.clone()).await?;
        let path = artifact_path(spec, &member.directory, member.artifact)?;
        let store = self.artifacts.clone();
        let artifact = tokio::task::spawn_blocking(move || store.put(&path))
            .await
            .map_err(|error| Error::Stopped(error.to_string()))??;
        Ok(Command::Deploy {
            service: manifest.service().clone(),
            artifact,
            specs: manifest.specs().clone(),
            environment,
        })
    }

    /// References are looked up where reading a file may block.
    async fn check_secrets(&self, references: BTreeMap<String, SecretSource>) -> Result<(), Error> {
        let secrets = self.secrets.clone();
        let missing = tokio::task::spawn_blocking(move || {
            references
                .iter()
                .find_map(|(variable, source)| Some((variable.clone(), secrets.resolve(source).err()?)))
        });
        match missing.await.map_err(|error| Error::Stopped(error.to_string()))? {
            None => Ok(()),
            Some((variable, error)) => Err(Error::Refused(Refusal::new(
                format!("the secret {variable} has no value: {error}"),
                "make it readable for the control process, then deploy again",
            ))),
        }
    }

    /// Rolls out in one environment what serves in another. The answer is durable.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn ship(&self, request: Ship) -> Result<Answer, Error> {
        let command = Command::Ship { service: request.service, from: request.from, to: request.to };
        let passed = [request.override_lock, request.override_budget, request.override_freeze];
        let command = asked(command, passed, &request.actor, request.change, request.reason.as_deref())?;
        self.send(command, request.actor, request.reason).await
    }

    /// Returns to an earlier release. The answer is durable; the snapshot tells when traffic is back.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn rollback(&self, request: Rollback) -> Result<Answer, Error> {
        let command = Command::Rollback { place: request.place, to: request.to };
        let command = passing(command, [request.override_lock, false, false], request.reason.as_deref())?;
        self.send(command, request.actor, request.reason).await
    }

    /// Tries the rollout that was rolled back last again. The answer is durable.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn retry(&self, request: Retry) -> Result<Answer, Error> {
        if request.reason.trim().is_empty() {
            return Err(Refusal::new(
                "what was rolled back is not tried again without a reason",
                "say with --reason TEXT why it shall go better; it is recorded beside the rollout",
            )
            .into());
        }
        let command = Command::Retry { place: request.place };
        let passed = [request.override_lock, request.override_budget, request.override_freeze];
        let command = asked(command, passed, &request.actor, request.change, Some(&request.reason))?;
        self.send(command, request.actor, Some(request.reason)).await
    }

    /// Moves the rollout under way. The answer is durable.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn operate(&self, request: Operate) -> Result<Answer, Error> {
        let command = match request.operation {
            Operation::Promote => ship::Command::Promote { full: false },
            Operation::PromoteFull => ship::Command::Promote { full: true },
            Operation::Pause => ship::Command::Pause,
            Operation::Abort => ship::Command::Abort,
        };
        let command = Command::Operate { place: request.place, command };
        self.send(command, request.actor, request.reason).await
    }

    /// Lets no rollout begin there. The answer is durable; the snapshot has the lock then.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn lock(&self, request: SetLock) -> Result<(), Error> {
        let command = Command::Lock {
            scope: request.scope,
            by: request.actor.clone(),
            reason: request.reason.clone().unwrap_or_default(),
            holds_for: request.for_seconds.map(Duration::from_secs),
        };
        self.send_storing(command, request.actor, request.reason, None).await.map(drop)
    }

    /// Lets rollouts begin there again. The answer is durable.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn unlock(&self, request: LiftLock) -> Result<(), Error> {
        let command = Command::Unlock { scope: request.scope };
        self.send_storing(command, request.actor, request.reason, None).await.map(drop)
    }

    /// Approves, rejects or reviews a request for change. The answer is durable; what is approved begins by itself.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn vote(&self, vote: Vote, request: Ballot) -> Result<(), Error> {
        let Ballot { number, actor, reason } = request;
        let command = Command::Vote { number, vote, by: actor.clone(), reason: reason.clone() };
        self.send_storing(command, actor, reason, None).await.map(drop)
    }

    /// Takes minutes out of an objective's counts, or lets them count again. The answer is durable.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn correct(&self, request: Correct) -> Result<(), Error> {
        let Correct { place, objective, from, to, restore, actor, reason } = request;
        // Whole minutes: those that the time touches.
        let range = watch::Range {
            from: watch::minutes::minute_of(from),
            to: watch::minutes::minute_of(to.moved(-1)) + 1,
        };
        let (by, why) = (actor.clone(), reason.clone());
        let command = match restore {
            true => watch::Command::Restore { range, by, reason: why },
            false => watch::Command::Correct { range, by, reason: why },
        };
        let command = Command::Objective { place, objective, command };
        self.send_storing(command, actor, Some(reason), None).await.map(drop)
    }

    /// Remembers what somebody decided about an error. The answer is durable.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn decide_error(
        &self,
        place: Place,
        fingerprint: String,
        decision: Decision,
    ) -> Result<(), Error> {
        let (actor, reason) = (decision.by.clone(), decision.reason.clone());
        let command = Command::DecideError { place, fingerprint, decision };
        self.send_storing(command, actor, reason, None).await.map(drop)
    }

    /// Carries out what the planners of objectives ask. The answer is durable.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn watched(&self, command: Command) -> Result<(), Error> {
        let reason = if let Command::TakeBack { objective, blame, .. } = &command {
            Some(format!("{objective}: {}", blame.in_words()))
        } else {
            None
        };
        self.send_storing(command, PLANNER.to_owned(), reason, None).await.map(drop)
    }

    /// Carries out what names no release. The answer is durable.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn carry_out(
        &self,
        command: Command,
        actor: String,
        reason: Option<String>,
    ) -> Result<(), Error> {
        self.send_storing(command, actor, reason, None).await.map(drop)
    }

    /// Drains and stops every replica, the gateway and control itself.
    ///
    /// # Errors
    /// When the journal did not take it or the agent cannot be reached.
    pub async fn stop(&self, actor: String, reason: Option<String>) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        let once = self.once.clone();
        self.deliver(Message::Stop { actor, reason, once, reply }).await?;
        answer.await.map_err(|_| stopped())?
    }

    fn given(&self) -> Result<Option<Answer>, Error> {
        Ok(self.answers.to(self.once.as_ref())?.and_then(|answered| answered.answer))
    }

    async fn send(&self, command: Command, actor: String, reason: Option<String>) -> Result<Answer, Error> {
        self.send_storing(command, actor, reason, None).await?.ok_or_else(unanswered)
    }

    async fn send_storing(
        &self,
        command: Command,
        actor: String,
        reason: Option<String>,
        not_swept: Option<OwnedMutexGuard<()>>,
    ) -> Result<Option<Answer>, Error> {
        let (reply, answer) = oneshot::channel();
        let asked = Asked { command, actor, reason, once: self.once.clone(), reply, not_swept };
        self.deliver(Message::Command(Box::new(asked))).await?;
        answer.await.map_err(|_| stopped())?
    }

    async fn deliver(&self, message: Message) -> Result<(), Error> {
        self.messages.send(message).await.map_err(|_| stopped())
    }
}

fn stopped() -> Error {
    Error::Stopped("`shipshape up` starts it again".to_owned())
}

fn unanswered() -> Error {
    Error::Stopped("internal: a command that names a release was answered without one".to_owned())
}

/// Whoever passes a lock, a spent budget or a freeze owes the others a reason.
fn passing(
    command: Command,
    [lock, budget, freeze]: [bool; 3],
    reason: Option<&str>,
) -> Result<Command, Refusal> {
    if !lock && !budget && !freeze {
        return Ok(command);
    }
    if reason.is_none_or(|reason| reason.trim().is_empty()) {
        return Err(Refusal::new(
            "neither a lock nor a spent budget nor a freeze is passed without a reason",
            "say why with --reason TEXT; it is recorded beside what was passed",
        ));
    }
    let command = if lock { Command::DespiteLock(Box::new(command)) } else { command };
    let command = if budget { Command::DespiteBudget(Box::new(command)) } else { command };
    Ok(if freeze { Command::DespiteFreeze(Box::new(command)) } else { command })
}

/// Whoever asks for a change does so by name, and owes the others a reason for not waiting for them.
fn asked(
    command: Command,
    passed: [bool; 3],
    by: &str,
    words: Words,
    reason: Option<&str>,
) -> Result<Command, Refusal> {
    let command = passing(command, passed, reason)?;
    if words.emergency && reason.is_none_or(|reason| reason.trim().is_empty()) {
        return Err(Refusal::new(
            "nothing is an emergency without a reason",
            "say why with --reason TEXT; somebody else reviews it afterwards",
        ));
    }
    let asked = lifecycle::Asked { by: by.to_owned(), words, reason: reason.map(str::to_owned) };
    Ok(Command::Asked(asked, Box::new(command)))
}

fn environment(manifest: &Manifest, asked: Option<EnvironmentName>) -> Result<EnvironmentName, Refusal> {
    if let Some(asked) = asked {
        return Ok(asked);
    }
    let mut all = manifest.environments();
    match (all.next(), all.next()) {
        (Some(only), None) => Ok(only.clone()),
        _ => Err(Refusal::new("which environment?", format!("say one with -e: {}", environments(manifest)))),
    }
}

fn unknown_environment(manifest: &Manifest, asked: &EnvironmentName) -> Refusal {
    Refusal::new(
        format!("the manifest declares no environment {asked}"),
        format!("it declares {}", environments(manifest)),
    )
}

fn environments(manifest: &Manifest) -> String {
    manifest.environments().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn artifact_path(
    spec: &Spec,
    directory: &std::path::Path,
    asked: Option<PathBuf>,
) -> Result<PathBuf, Refusal> {
    let path = match (asked, &spec.artifact) {
        (Some(asked), _) => asked,
        (None, Some(declared)) => directory.join(declared),
        (None, None) => {
            return Err(Refusal::new(
                "what shall be deployed?",
                "name the artifact, a file or directory: `shipshape deploy PATH`, or set `artifact:` in the manifest",
            ));
        }
    };
    if path.is_absolute() {
        return Ok(path);
    }
    Err(Refusal::new(
        format!("the path {} is relative to nothing that control knows", path.display()),
        "send absolute paths",
    ))
}
