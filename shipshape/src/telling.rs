//! The wiring of who is told of alerts: what fires and what was declared go to the notifier; what it says goes to whoever asks;
//! tests of the ways, and alerts from outside that are over, go to control. Does not live here: what is due (`paging`), sending
//! (`notify`), and the API (`alertmanager`).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alertmanager::{Backend, Intake, Told};
use api::paging::{FailingStatus, ReceiverStatus};
use lifecycle::{Command, World};
use model::Timestamp;
use model::notify::To;
use notify::{Failing, Notifier, Wanted};
use paging::{Way, selftest};
use ports::{Clock as _, Secrets};
use runtime::Handle;

use crate::clock::SystemClock;

/// How often it is looked for tests that are due, when nothing else happens.
const LOOKS: Duration = Duration::from_secs(60);

/// Who is told, and what came in from outside.
pub(crate) struct Telling {
    notifier: Arc<Notifier>,
    intake: Arc<Intake>,
    control: Handle,
    since: Timestamp,
}

/// Opens the log of what was told.
pub(crate) fn open(home: &Path, secrets: Arc<dyn Secrets>) -> Result<Arc<Notifier>, String> {
    Notifier::open(&cli::home::told(home), secrets, Arc::new(SystemClock)).map(Arc::new)
}

/// When tests of ways were passed last.
fn passed(world: &World) -> BTreeMap<Way, Timestamp> {
    let tests = world.paging.tests.iter();
    tests.filter_map(|(way, test)| Some((way.clone(), test.passed?))).collect()
}

impl api::paging::Receivers for Telling {
    fn all(&self) -> Vec<ReceiverStatus> {
        let (world, report) =
            (Arc::clone(&self.control.snapshot().world), self.notifier.reports().borrow().clone());
        let declared = lifecycle::told(&world);
        let mut all = Vec::new();
        for (place, notify) in &declared {
            for (name, receiver) in &notify.receivers {
                let way = Way { place: place.clone(), receiver: name.clone() };
                let standing = report.ways.get(&way).cloned().unwrap_or_default();
                all.push(ReceiverStatus {
                    place: place.clone(),
                    receiver: name.clone(),
                    kind: match receiver.to {
                        To::Webhook(_) => "webhook".to_owned(),
                        To::Alertmanager(_) => "alertmanager".to_owned(),
                    },
                    told_at: standing.told_at,
                    told: standing.told,
                    failed: standing.failed,
                    waiting: u64::try_from(standing.waiting).unwrap_or(u64::MAX),
                    failing: standing.failing.map(
                        |Failing { since, why, refused, again_at, attempts: _ }| FailingStatus {
                            since,
                            why,
                            refused,
                            again_at,
                        },
                    ),
                    test: views::paging::test(&world, place, name),
                });
            }
        }
        all
    }
}

impl Telling {
    /// Tells by this notifier.
    pub(crate) fn new(notifier: Arc<Notifier>, control: Handle) -> Arc<Self> {
        Arc::new(Self { notifier, intake: Arc::default(), control, since: SystemClock.now() })
    }

    /// Alertmanager's API.
    pub(crate) fn router(&self, version: &'static str) -> axum::Router {
        let reports = self.notifier.reports();
        let told = move || {
            let report = reports.borrow();
            Told { muted: report.muted.clone(), taken: report.taken.clone() }
        };
        alertmanager::router(Backend {
            control: self.control.clone(),
            intake: Arc::clone(&self.intake),
            told: Arc::new(told),
            clock: Arc::new(SystemClock),
            since: self.since,
            version,
        })
    }

    /// Tells whoever is to be told. Never returns; whoever drops it lets go of control.
    pub(crate) async fn follow(self: Arc<Self>, url: String) -> Infallible {
        let intake = self.intake.follow(self.control.clone(), &SystemClock);
        tokio::select! {
            never = Arc::clone(&self.notifier).run() => never,
            never = self.inform(url) => never,
            never = self.test() => never,
            never = intake => never,
        }
    }

    /// Gives the notifier what fires and who is told, as it changes.
    async fn inform(&self, external_url: String) -> Infallible {
        let mut snapshots = self.control.snapshots();
        let mut before: Option<Arc<World>> = None;
        loop {
            let world = Arc::clone(&snapshots.borrow_and_update().world);
            if !before.as_ref().is_some_and(|before| Arc::ptr_eq(before, &world)) {
                self.notifier.follow(Wanted {
                    alerts: lifecycle::firing(&world),
                    known: world.lanes.keys().cloned().collect(),
                    declared: lifecycle::told(&world),
                    silences: world.paging.silences.clone(),
                    passed: passed(&world),
                    external_url: external_url.clone(),
                });
                before = Some(world);
            }
            if snapshots.changed().await.is_err() {
                // Control ends; so will this.
                return std::future::pending().await;
            }
        }
    }

    /// Asks for tests that are due, and notes those that were passed.
    async fn test(&self) -> Infallible {
        let (mut snapshots, mut reports) = (self.control.snapshots(), self.notifier.reports());
        loop {
            let world = Arc::clone(&snapshots.borrow_and_update().world);
            let passed = reports.borrow_and_update().passed.clone();
            let declared = lifecycle::told(&world);
            let mut failed = false;
            let due = selftest::tests(&world.paging, &declared, &passed, SystemClock.now());
            if !due.is_empty()
                && let Err(error) = self.control.watched(Command::Paging(due)).await
            {
                tracing::warn!(%error, "a test of who is told is not recorded; it is tried again");
                failed = true;
            }
            let later = tokio::time::Instant::now() + LOOKS;
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(later) => break,
                    changed = reports.changed() => if changed.is_err() || !failed { break },
                    changed = snapshots.changed() => {
                        if changed.is_err() {
                            // Control ends; so will this.
                            return std::future::pending().await;
                        }
                        let now = Arc::clone(&snapshots.borrow_and_update().world);
                        if !Arc::ptr_eq(&now, &world) && !failed {
                            break;
                        }
                    }
                }
            }
        }
    }
}
