//! The loop: what is due is sent, what was taken is noted, what failed is tried again, later each time.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::alert::Alert;
use model::notify::Notify;
use model::{Place, Timestamp};
use paging::{Key, Log, Notification, Plan, Policy, Silence, SilenceId, Silences, Situation, Way, selftest};
use ports::{Clock, Secrets};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::book::Book;
use crate::report::{Failing, Report};
use crate::send::{Failure, Known, send};

/// So many are under way at once.
const MOST_UNDER_WAY: usize = 16;
/// The first wait after trouble; it doubles.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait after trouble.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How soon a receiver that refused is asked again: somebody has to mend it.
const AFTER_REFUSAL: Duration = Duration::from_secs(300);
/// The least time between two lines about a receiver that fails.
const SAY_AGAIN: Duration = Duration::from_secs(60);
/// The longest sleep: somebody may set the clock meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// What is to be told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wanted {
    /// What fires.
    pub alerts: Vec<Alert>,
    /// Where anything is deployed.
    pub known: BTreeSet<Place>,
    /// Who is told, by place.
    pub declared: BTreeMap<Place, Notify>,
    /// What is not told.
    pub silences: BTreeMap<SilenceId, Silence>,
    /// When tests of ways were passed last.
    pub passed: BTreeMap<Way, Timestamp>,
    /// Where a person finds Shipshape, if anywhere.
    pub external_url: String,
}

/// Tells receivers what they are to be told.
pub struct Notifier {
    /// Nothing until somebody said it: who knows no receivers yet must not forget what they were told.
    wanted: watch::Sender<Option<Arc<Wanted>>>,
    reports: watch::Sender<Arc<Report>>,
    start: Mutex<Option<(Book, Log)>>,
    secrets: Arc<dyn Secrets>,
    clock: Arc<dyn Clock>,
}

impl Notifier {
    /// Opens the log of what was told.
    ///
    /// # Errors
    /// When it cannot be read, with the reason.
    pub fn open(path: &Path, secrets: Arc<dyn Secrets>, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let start = Mutex::new(Some(Book::open(path)?));
        let (wanted, reports) = (watch::Sender::default(), watch::Sender::default());
        Ok(Self { wanted, reports, start, secrets, clock })
    }

    /// Tells what is wanted from now on.
    pub fn follow(&self, wanted: Wanted) {
        self.wanted.send_if_modified(|known| {
            let is_new = known.as_deref() != Some(&wanted);
            if is_new {
                *known = Some(Arc::new(wanted));
            }
            is_new
        });
    }

    /// How telling stands, now and later.
    pub fn reports(&self) -> watch::Receiver<Arc<Report>> {
        self.reports.subscribe()
    }

    /// Sends what is due. Never returns; a second call does nothing.
    pub async fn run(self: Arc<Self>) -> Infallible {
        let start = self.start.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((book, log)) = start else { return std::future::pending().await };
        let mut wanted = self.wanted.subscribe();
        let mut sending = Sending::new(book, log);
        if wanted.wait_for(Option::is_some).await.is_err() {
            return std::future::pending().await;
        }
        loop {
            let latest = wanted.borrow_and_update().clone().unwrap_or_default();
            sending.follow(&latest);
            let next = sending.turn(&latest, &self.secrets, self.clock.now()).await;
            self.publish(&sending);
            let sleep = tokio::time::sleep(next);
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return std::future::pending().await },
                Some(ended) = sending.tasks.join_next(), if !sending.tasks.is_empty() => {
                    let mut ended = Some(ended);
                    // All that ended by now, so that the log is written once.
                    while let Some(one) = ended {
                        match one {
                            Ok((told, outcome)) => sending.take(&told, outcome, self.clock.now()),
                            Err(error) => sending.lost(&error.to_string()),
                        }
                        ended = sending.tasks.try_join_next();
                    }
                }
                () = sleep => {}
            }
        }
    }

    fn publish(&self, sending: &Sending) {
        self.reports.send_if_modified(|known| {
            let is_new = **known != sending.report;
            if is_new {
                *known = Arc::new(sending.report.clone());
            }
            is_new
        });
    }
}

struct Sending {
    book: Book,
    log: Log,
    /// Set while the log on disk is not this one.
    unsaved: bool,
    declared: BTreeMap<Place, Notify>,
    policies: BTreeMap<Place, Policy>,
    silenced: BTreeMap<SilenceId, Silence>,
    silences: Silences,
    under_way: BTreeSet<Key>,
    tasks: JoinSet<(Notification, Result<(), Failure>)>,
    report: Report,
    /// What was said of a receiver's trouble and of its refusals: why, until it was said to be over, and when.
    said: BTreeMap<(Way, bool), (Option<String>, Timestamp)>,
}

impl Sending {
    fn new(book: Book, log: Log) -> Self {
        Self {
            book,
            log,
            unsaved: false,
            declared: BTreeMap::new(),
            policies: BTreeMap::new(),
            silenced: BTreeMap::new(),
            silences: Silences::default(),
            under_way: BTreeSet::new(),
            tasks: JoinSet::new(),
            report: Report::default(),
            said: BTreeMap::new(),
        }
    }

    /// Makes ready what was declared and silenced since.
    fn follow(&mut self, wanted: &Wanted) {
        self.declare(wanted);
        for (way, standing) in &mut self.report.ways {
            standing.passed_at = wanted.passed.get(way).copied();
        }
        if self.silenced != wanted.silences {
            self.silenced = wanted.silences.clone();
            self.silences = Silences::of(&self.silenced);
        }
    }

    fn declare(&mut self, wanted: &Wanted) {
        if self.declared == wanted.declared {
            return;
        }
        self.policies.clear();
        for (place, notify) in &wanted.declared {
            match Policy::of(notify) {
                Ok(policy) => _ = self.policies.insert(place.clone(), policy),
                Err(error) => tracing::error!(%place, error, "nobody is told of alerts"),
            }
        }
        let ways = wanted.declared.iter().flat_map(|(place, notify)| {
            notify.receivers.keys().map(|receiver| Way { place: place.clone(), receiver: receiver.clone() })
        });
        let mut before = std::mem::take(&mut self.report.ways);
        for way in ways {
            let mut standing = before.remove(&way).unwrap_or_default();
            let of = |all: &BTreeMap<Place, Notify>| {
                all.get(&way.place).and_then(|notify| notify.receivers.get(&way.receiver)).cloned()
            };
            if of(&self.declared) != of(&wanted.declared) {
                // It may be mended.
                standing.failing = None;
            }
            self.report.ways.insert(way, standing);
        }
        self.declared = wanted.declared.clone();
        let ways = &self.report.ways;
        self.said.retain(|(way, _), _| ways.contains_key(way));
    }

    /// Sends what is due, and says how long to sleep then.
    async fn turn(&mut self, wanted: &Wanted, secrets: &Arc<dyn Secrets>, at: Timestamp) -> Duration {
        let situation = Situation {
            alerts: &wanted.alerts,
            known: &wanted.known,
            policies: &self.policies,
            silences: &self.silences,
        };
        let Plan { due, forget, next, muted, taken } = paging::plan(situation, &self.log, at);
        (self.report.muted, self.report.taken) = (muted, taken);
        self.report.passed = selftest::passed(&self.log);
        self.unsaved |= self.log.forget(&forget);
        self.save().await;
        self.report.ways.values_mut().for_each(|standing| standing.waiting = 0);
        let mut wake = next;
        for told in due {
            let standing = self.report.ways.entry(told.key.way()).or_default();
            standing.waiting += 1;
            if let Some(failing) = &standing.failing
                && failing.again_at > at
            {
                wake = Some(wake.map_or(failing.again_at, |wake| wake.min(failing.again_at)));
                continue;
            }
            if self.under_way.len() < MOST_UNDER_WAY && self.under_way.insert(told.key.clone()) {
                let (secrets, url) = (Arc::clone(secrets), wanted.external_url.clone());
                self.tasks.spawn(async move {
                    let outcome = tell(&told, secrets, &url, at).await;
                    (told, outcome)
                });
            }
        }
        wake.map_or(LONGEST_SLEEP, |wake| wake.since(at)).clamp(Duration::from_millis(10), LONGEST_SLEEP)
    }

    /// Notes what came of a notification.
    fn take(&mut self, told: &Notification, outcome: Result<(), Failure>, at: Timestamp) {
        self.under_way.remove(&told.key);
        let way = told.key.way();
        let Some(standing) = self.report.ways.get_mut(&way) else { return };
        let Way { place, receiver } = &way;
        match outcome {
            Ok(()) => {
                standing.failing = None;
                let said = [true, false].map(|refused| {
                    let said = self.said.get_mut(&(way.clone(), refused));
                    said.is_some_and(|(why, _)| why.take().is_some())
                });
                if said.contains(&true) {
                    tracing::info!(event = "receiver.recovered", %place, receiver, "the receiver takes alerts again");
                }
                standing.told += 1;
                standing.told_at = Some(at);
                self.unsaved |= self.log.delivered(told, at);
            }
            Err(failure) => {
                standing.failed += 1;
                let before = standing.failing.take();
                let refused = matches!(failure, Failure::Refused(_));
                let attempts = before.as_ref().map_or(0, |failing| failing.attempts).saturating_add(1);
                let doubled = SHORTEST_WAIT.saturating_mul(2u32.saturating_pow(attempts - 1));
                let wait = if refused { AFTER_REFUSAL } else { doubled.min(LONGEST_WAIT) };
                let since = before.as_ref().map_or(at, |failing| failing.since);
                let why = failure.what().to_owned();
                let about = (way.clone(), refused);
                if may_say(self.said.get(&about), &why, at) {
                    self.said.insert(about, (Some(why.clone()), at));
                    match refused {
                        true => {
                            tracing::error!(event = "receiver.refuses", %place, receiver, why, "the receiver refuses alerts: nobody is told by it")
                        }
                        false => {
                            tracing::warn!(event = "receiver.failing", %place, receiver, why, "the receiver does not take alerts; it is tried again")
                        }
                    }
                }
                standing.failing = Some(Failing { since, why, refused, again_at: at.after(wait), attempts });
            }
        }
    }

    /// One that panicked: what it was about is due still, when nothing else is under way.
    fn lost(&mut self, error: &str) {
        tracing::error!(error, "telling broke down; it is tried again");
        if self.tasks.is_empty() {
            self.under_way.clear();
        }
    }

    /// Writes the log, if it changed. What cannot be written now is written with the next change.
    async fn save(&mut self) {
        if !self.unsaved {
            return;
        }
        let (book, log) = (self.book.clone(), self.log.clone());
        let written = tokio::task::spawn_blocking(move || book.write(&log)).await;
        match written {
            Ok(Ok(())) => self.unsaved = false,
            Ok(Err(error)) => {
                tracing::error!(%error, "what was told is not on disk: after a restart it is told again")
            }
            Err(error) => {
                tracing::error!(%error, "what was told is not on disk: after a restart it is told again")
            }
        }
    }
}

/// Whether it is said why a receiver fails: what was not said yet, but not again and again what comes and goes.
fn may_say(said: Option<&(Option<String>, Timestamp)>, why: &str, at: Timestamp) -> bool {
    said.is_none_or(|(known, last)| known.as_deref() != Some(why) && at.since(*last) >= SAY_AGAIN)
}

async fn tell(
    told: &Notification,
    secrets: Arc<dyn Secrets>,
    url: &str,
    at: Timestamp,
) -> Result<(), Failure> {
    let receiver = told.receiver.clone();
    // A reference may name a file.
    let known = tokio::task::spawn_blocking(move || Known::of(&receiver, &*secrets)).await;
    let known = known.map_err(|error| Failure::Trouble(error.to_string()))??;
    send(told, &known, url, at).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_that_comes_and_goes_is_said_to_fail_once_a_minute() {
        let at = |seconds: i64| Timestamp::from_micros(1_000_000 * seconds);
        let said = |why: Option<&str>| (why.map(str::to_owned), at(0));
        assert!(may_say(None, "gone", at(0)));
        assert!(!may_say(Some(&said(Some("late"))), "gone", at(59)), "another reason, too soon");
        assert!(may_say(Some(&said(Some("late"))), "gone", at(60)));
        assert!(!may_say(Some(&said(Some("gone"))), "gone", at(600)), "nothing new");
        assert!(!may_say(Some(&said(None)), "gone", at(1)));
        assert!(may_say(Some(&said(None)), "gone", at(60)), "it was said to be well");
    }
}
