//! The wiring of alerts: their rules are looked at every few seconds, what comes of it goes to control, and how they stand to
//! whoever asks. Does not live here: what rules ask and what answers mean (`alerting`), and who is told.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use alerting::{Answer, Asked, Asks, Blind, Found, Look, Rounds, Series, Standing, State};
use lifecycle::{Alert, Origin};
use model::alert::{NAME, SEVERITY};
use model::spec::Prometheus;
use model::time::format_duration;
use ports::metrics::Provider;
use ports::{Clock as _, Secrets};
use prometheus::{ActiveAlert, AlertingRule};
use promql::Options;
use runtime::{Handle, Snapshot};
use store::Store;
use tokio::sync::Semaphore;
use views::alert::{Phase, RuleHealth, RuleState, RuleStatus};

use crate::clock::SystemClock;
use crate::looks;
use crate::metrics;

/// How long all questions of one look to the store may take together.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may take for one question.
const SERVER_TIMEOUT: Duration = Duration::from_secs(10);
/// How many questions to servers are under way at the same time.
const MOST_AT_ONCE: usize = 8;

/// The rules of alerts, shared between who looks and who asks.
pub(crate) struct Alerts {
    standings: Mutex<Vec<Standing>>,
    control: Handle,
    secrets: Arc<dyn Secrets>,
    servers: Arc<Semaphore>,
}

impl Alerts {
    /// Nothing was looked at yet.
    pub(crate) fn new(control: Handle, secrets: Arc<dyn Secrets>) -> Arc<Self> {
        let servers = Arc::new(Semaphore::new(MOST_AT_ONCE));
        Arc::new(Self { standings: Mutex::default(), control, secrets, servers })
    }

    /// Looks at them again and again. Never returns.
    pub(crate) async fn follow(self: Arc<Self>, store: Arc<Store>) -> Infallible {
        let mut snapshots = self.control.snapshots();
        let (mut rounds, mut series) = (Rounds::default(), Series::default());
        let (mut troubled, mut slow) = (false, looks::Slow::default());
        loop {
            let begun = Instant::now();
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            let rollouts = looks::rollouts(&snapshot);
            let Look { command, standings } = self.look(&mut rounds, &store, &snapshot).await;
            *lock(&self.standings) = standings;
            let failed = match command {
                Some(command) => self.control.watched(command).await.err().map(|error| error.to_string()),
                None => None,
            };
            looks::told(&mut troubled, failed.as_deref(), "alerts");
            series.tell(&self.control.snapshot().world, &store, metrics::now());
            slow.looked("alerts", begun);
            if !looks::next(&mut snapshots, &rollouts).await {
                // Control ends; so will this.
                return std::future::pending().await;
            }
        }
    }

    async fn look(&self, rounds: &mut Rounds, store: &Arc<Store>, snapshot: &Snapshot) -> Look {
        let at = SystemClock.now();
        let seen = snapshot.reachable.then_some(&*snapshot.seen);
        let rules = alerting::rules(&snapshot.world, seen, at);
        let here = rules.iter().map(|ruled| match &ruled.asks {
            Asks::Store(asked) => Some(asked.clone()),
            Asks::Server(..) | Asks::Known(..) => None,
        });
        let here: Vec<Option<Vec<Asked>>> = here.collect();
        let stored = {
            let store = Arc::clone(store);
            let now = at.as_micros() / 1_000;
            tokio::task::spawn_blocking(move || of_store(&store, here, now))
        };
        let servers = rules.iter().map(|ruled| match &ruled.asks {
            Asks::Server(server, asked) => Some(self.ask(server, asked)),
            Asks::Store(_) | Asks::Known(..) => None,
        });
        let servers: Vec<_> = servers.collect();
        let broken = |error: tokio::task::JoinError| (vec![], Err(error.to_string()));
        let (stored, blind) = stored.await.unwrap_or_else(broken);
        let mut stored = stored.into_iter();
        let mut answers = Vec::with_capacity(rules.len());
        for (ruled, server) in rules.iter().zip(servers) {
            let stored = stored.next().flatten();
            answers.push(match (&ruled.asks, server, stored) {
                (Asks::Known(_, answer), ..) => (answer.clone(), Duration::ZERO),
                (_, Some(asking), _) => asking.await.unwrap_or_else(|error| unknown(&error.to_string())),
                (_, None, Some(answer)) => answer,
                (_, None, None) => unknown("the metrics could not be asked"),
            });
        }
        let blind = blind.unwrap_or_else(|_| Blind { agent: true, ..Blind::default() });
        rounds.look(&snapshot.world, rules, answers, &blind, at)
    }

    /// Asks a server, beside the others.
    fn ask(&self, server: &Prometheus, asked: &Asked) -> tokio::task::JoinHandle<(Answer, Duration)> {
        let provider = Provider::resolve(Some(server.clone()), &*self.secrets);
        let (asked, turns) = (asked.clone(), Arc::clone(&self.servers));
        tokio::spawn(async move {
            let begun = Instant::now();
            let asking = async {
                let _turn = turns.acquire_owned().await.map_err(|error| error.to_string())?;
                let Provider::Prometheus(server) = provider? else { return Ok(vec![]) };
                let series = promclient::series(&server, &asked.query, SERVER_TIMEOUT).await?;
                let found = |(labels, value)| Found { labels, value, notes: model::alert::Labels::new() };
                Ok(series.into_iter().map(found).collect())
            };
            let answer = tokio::time::timeout(SERVER_TIMEOUT, asking).await;
            let late = |_| Err(format!("no answer within {}", format_duration(SERVER_TIMEOUT)));
            (answer.unwrap_or_else(late), begun.elapsed())
        })
    }
}

type Timed = (Answer, Duration);

fn unknown(why: &str) -> Timed {
    (Err(why.to_owned()), Duration::ZERO)
}

/// What the store says to each question that is for it, and who does not tell metrics.
fn of_store(
    store: &Store,
    all: Vec<Option<Vec<Asked>>>,
    now: i64,
) -> (Vec<Option<Timed>>, Result<Blind, String>) {
    let deadline = Instant::now() + STORE_TIMEOUT;
    let options = Options { deadline: Some((deadline, STORE_TIMEOUT)), ..Options::default() };
    let one = |asked: Vec<Asked>| {
        let begun = Instant::now();
        let answer = alerting::answer(store, &asked, now, &options);
        (answer, begun.elapsed())
    };
    let answers = all.into_iter().map(|asked| asked.map(one)).collect();
    (answers, alerting::blind(store, now))
}

impl Alerts {
    /// The rules in Prometheus' form.
    pub(crate) fn rules(&self) -> Vec<AlertingRule> {
        let world = Arc::clone(&self.control.snapshot().world);
        let of = |standing: &Standing| {
            let Standing { place, rule, query, at, lasted, trouble, .. } = standing;
            let alerts = world.alerts.values().filter(|alert| {
                let is_of_it = alert.labels.get(NAME) == Some(&rule.name);
                is_of_it && alert.origin.place() == place.as_ref() && alert.origin != Origin::External
            });
            let mut labels = rule.labels.clone();
            labels.insert(SEVERITY.to_owned(), rule.severity.name().to_owned());
            AlertingRule {
                group: place.as_ref().map_or_else(|| "machine".to_owned(), ToString::to_string),
                name: rule.name.clone(),
                query: query.clone(),
                hold: rule.hold,
                keep_firing: rule.keep_firing,
                labels,
                annotations: rule.annotations.clone(),
                alerts: alerts.map(|alert| active(alert)).collect(),
                error: trouble.clone(),
                at: at.as_micros() / 1_000,
                lasted: *lasted,
            }
        };
        lock(&self.standings).iter().map(of).collect()
    }

    /// What is pending and firing, in Prometheus' form.
    pub(crate) fn active(&self) -> Vec<ActiveAlert> {
        lifecycle::alerts(&self.control.snapshot().world).iter().map(|alert| active(alert)).collect()
    }
}

fn active(alert: &Alert) -> ActiveAlert {
    ActiveAlert {
        labels: alert.labels.clone(),
        annotations: alert.annotations.clone(),
        is_firing: alert.phase == Phase::Firing,
        since: alert.active_since.as_micros() / 1_000,
        value: alert.value.as_ref().and_then(|value| value.parse().ok()).unwrap_or(f64::NAN),
    }
}

impl api::alerts::Rules for Alerts {
    fn all(&self) -> Vec<RuleStatus> {
        lock(&self.standings).iter().map(status).collect()
    }
}

fn status(standing: &Standing) -> RuleStatus {
    let Standing { place, rule, query, state, at, lasted, trouble, values } = standing;
    RuleStatus {
        service: place.as_ref().map(|place| place.service.clone()),
        environment: place.as_ref().map(|place| place.environment.clone()),
        name: rule.name.clone(),
        ready_made: matches!(rule.condition, model::alert::Condition::ReadyMade { .. }),
        state: match state {
            State::Inactive => RuleState::Inactive,
            State::Pending => RuleState::Pending,
            State::Firing => RuleState::Firing,
        },
        health: if trouble.is_some() { RuleHealth::Err } else { RuleHealth::Ok },
        last_error: trouble.clone(),
        query: query.clone(),
        hold: format_duration(rule.hold),
        keep_firing_for: format_duration(rule.keep_firing),
        severity: rule.severity,
        runbook: rule.runbook.clone(),
        holding: values.len(),
        last_evaluation: *at,
        evaluation_seconds: lasted.as_secs_f64(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
