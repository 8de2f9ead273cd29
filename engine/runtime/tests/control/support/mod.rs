//! A simulated place with a control that can be killed and started again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lifecycle::Event;
use model::{Place, ReleaseNumber};
use ports::fleet::GroupId;
use ports::journal::Entry;
use record::Record;
use runtime::{Answer, Config, Deploy, Error, Handle, Operate, Operation, Ports, Rollback, Snapshot};
use ship::Phase;
use sim::{Artifacts, Checks, Clock, Fleet, Journal, Secrets};
use tokio::task::JoinHandle;

/// Longer than any story takes, in simulated time.
const DEADLINE: Duration = Duration::from_secs(600);

pub(crate) const CANARY: &str = "
service: shop
run: ./shop
replicas: 2
secrets:
  TOKEN: { environment: SHOP_TOKEN }
rollout:
  strategy: canary
  scaleDownDelay: 3s
  canary:
    steps:
      - setWeight: 10
      - pause: { duration: 5s }
      - setWeight: 50
      - pause: { duration: 5s }
";

/// A world with one control in it.
pub(crate) struct Scene {
    pub(crate) journal: Journal,
    pub(crate) fleet: Fleet,
    pub(crate) artifacts: Artifacts,
    pub(crate) checks: Checks,
    pub(crate) secrets: Secrets,
    clock: Clock,
    control: Option<(Handle, JoinHandle<()>)>,
}

impl Scene {
    /// A world in which control has just started, with `requests_per_second` from users.
    pub(crate) async fn start(requests_per_second: u32) -> Self {
        let mut scene = Self::without_control(Journal::default(), requests_per_second);
        scene.up().await.expect("control starts");
        scene
    }

    pub(crate) fn without_control(journal: Journal, requests_per_second: u32) -> Self {
        let secrets = Secrets::default();
        secrets.set("SHOP_TOKEN", "swordfish");
        Self {
            journal,
            fleet: Fleet::start(7, requests_per_second),
            artifacts: Artifacts::default(),
            checks: Checks::default(),
            secrets,
            clock: Clock::start(),
            control: None,
        }
    }

    /// Starts a control on what is there.
    pub(crate) async fn up(&mut self) -> Result<(), String> {
        let ports = Ports {
            journal: self.journal.clone(),
            fleet: Arc::new(self.fleet.clone()),
            artifacts: Arc::new(self.artifacts.clone()),
            checks: Arc::new(self.checks.clone()),
            secrets: Arc::new(self.secrets.clone()),
            clock: Arc::new(self.clock),
        };
        self.control = Some(runtime::start(ports, Config::default()).await?);
        Ok(())
    }

    /// Kills control; whatever it was doing ends in the middle.
    pub(crate) async fn kill(&mut self) {
        let (_, task) = self.control.take().expect("a control to kill");
        task.abort();
        let _ = task.await;
    }

    pub(crate) fn handle(&self) -> Handle {
        self.control.as_ref().expect("a control").0.clone()
    }

    /// Waits until control has ended by itself.
    pub(crate) async fn ended(&mut self) {
        let (_, task) = self.control.take().expect("a control");
        tokio::time::timeout(DEADLINE, task).await.expect("control ends").expect("control does not panic");
    }

    pub(crate) async fn deploy(&self, build: &str) -> Result<Answer, Error> {
        self.handle().deploy(deploy(CANARY, build)).await
    }

    pub(crate) async fn operate(&self, operation: Operation) -> Result<Answer, Error> {
        let (actor, reason) = ("ada".to_owned(), None);
        self.handle().operate(Operate { place: place(), operation, actor, reason }).await
    }

    pub(crate) async fn rollback(&self) -> Result<Answer, Error> {
        let (actor, reason) = ("ada".to_owned(), None);
        self.handle()
            .rollback(Rollback { place: place(), to: None, actor, reason, override_lock: false })
            .await
    }

    /// Deploys and waits until it is completed.
    pub(crate) async fn served(&self, build: &str) -> ReleaseNumber {
        let answer = self.deploy(build).await.expect("a deploy");
        self.until(|snapshot| phase(snapshot) == Some(Phase::Completed)).await;
        answer.release
    }

    /// Waits for a snapshot.
    pub(crate) async fn until(&self, is_so: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
        let handle = self.handle();
        let found = tokio::time::timeout(DEADLINE, async {
            while !is_so(&handle.snapshot()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let found = found.await;
        let last = handle.snapshot();
        assert!(found.is_ok(), "never so: {:?} {:?} {:?}", phase(&last), last.reports, last.warnings);
        last
    }

    /// Lets simulated time pass.
    pub(crate) async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        self.journal.entries().iter().map(record).collect()
    }

    /// The kinds of all events, counts left out.
    pub(crate) fn kinds(&self) -> Vec<String> {
        let counts = ["rollout.measured", "rollout.ruleMeasured"];
        self.records().into_iter().map(|r| r.kind).filter(|kind| !counts.contains(&kind.as_str())).collect()
    }

    /// How often an event of this kind was recorded.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.kinds().iter().filter(|it| *it == kind).count()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.records().iter().map(|it| record::event::event(it).expect("a known event")).collect()
    }

    /// What must hold at the end of every story.
    pub(crate) fn is_sound(&self) {
        assert_eq!(self.fleet.broken(), [""; 0]);
        let generations: Vec<_> = self.fleet.orders().iter().map(|order| order.generation).collect();
        assert!(generations.is_sorted(), "{generations:?}");
        assert_eq!(self.fleet.lost(), 0, "requests were lost");
        for entry in self.journal.entries() {
            assert!(!String::from_utf8_lossy(&entry.bytes).contains("swordfish"), "a secret in the journal");
        }
    }
}

pub(crate) fn record(entry: &Entry) -> Record {
    Record::from_bytes(&entry.bytes).expect("a record")
}

pub(crate) fn deploy(manifest: &str, build: &str) -> Deploy {
    Deploy {
        manifest: manifest.to_owned(),
        directory: PathBuf::from("/src"),
        artifact: Some(path(build)),
        environment: None,
        actor: "ada".to_owned(),
        reason: Some("why not".to_owned()),
        override_lock: false,
        override_budget: false,
        override_freeze: false,
        change: runtime::Words::default(),
    }
}

pub(crate) fn path(build: &str) -> PathBuf {
    Path::new("/builds").join(build)
}

pub(crate) fn place() -> Place {
    Place { service: "shop".parse().unwrap(), environment: "production".parse().unwrap() }
}

pub(crate) fn group(release: u64) -> GroupId {
    GroupId { place: place(), release: ReleaseNumber(release) }
}

pub(crate) fn phase(snapshot: &Snapshot) -> Option<Phase> {
    Some(snapshot.world.lanes.get(&place())?.rollout.as_ref()?.phase.clone())
}

pub(crate) fn stable(snapshot: &Snapshot) -> Option<u64> {
    Some(snapshot.world.lanes.get(&place())?.stable?.0)
}

/// Whether the rollout went back, and is done with it.
pub(crate) fn rolled_back(snapshot: &Snapshot) -> bool {
    matches!(phase(snapshot), Some(Phase::RolledBack(_)))
}

/// What a report says: what is done and what is waited for.
pub(crate) fn report(snapshot: &Snapshot) -> String {
    let report = snapshot.reports.get(&place());
    report
        .map(|it| format!("{} {}", it.doing, it.wait.as_ref().map_or("", |wait| &wait.what)))
        .unwrap_or_default()
}
