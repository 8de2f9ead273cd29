//! The probes that are in force, what each found last, and how a look goes from its declaration to its verdict.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::labels::escaped;
use model::probe::{Ask, Http, Probe, pattern};
use model::spec::HeaderValue;
use model::time::format_duration;
use model::{Place, Timestamp};
use ports::authorization::Authorization;
use ports::probes::{Found, Look, Report, Reports};
use ports::{Clock, Secret, Secrets};
use regex_automata::meta;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::connect::Resolver;
use crate::look::{Notes, Reason, Trouble, plain};
use crate::page::{Figures, page};
use crate::{dns, http, tcp};

/// How many looks go on at the same time; others wait for their turn.
const MOST_AT_ONCE: usize = 32;

/// A probe that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// How it is asked for.
    pub key: String,
    /// Who declares it.
    pub place: Place,
    /// What it says.
    pub probe: Probe,
}

/// Looks.
pub struct Prober {
    secrets: Arc<dyn Secrets>,
    clock: Arc<dyn Clock>,
    resolver: Resolver,
    places: Semaphore,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    probes: BTreeMap<String, Arc<Watched>>,
    gateway: Option<String>,
}

/// A probe, and what it found.
struct Watched {
    wanted: Wanted,
    pattern: Option<meta::Regex>,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    attempts: u64,
    failures: BTreeMap<Reason, u64>,
    last: Option<(Look, Duration, Notes)>,
}

impl Prober {
    /// With nothing to look at yet.
    pub fn new(secrets: Arc<dyn Secrets>, clock: Arc<dyn Clock>) -> Self {
        let places = Semaphore::new(MOST_AT_ONCE);
        Self { secrets, clock, resolver: Resolver::default(), places, known: Mutex::default() }
    }

    /// These are in force from now on, and the gateway is there. One that is as it was goes on counting.
    pub fn watch(&self, wanted: Vec<Wanted>, gateway: Option<String>) {
        let mut known = lock(&self.known);
        known.gateway = gateway;
        let mut before = std::mem::take(&mut known.probes);
        for wanted in wanted {
            let same = before.remove(&wanted.key).filter(|it| it.wanted == wanted);
            let watched = same.unwrap_or_else(|| Arc::new(Watched::new(wanted)));
            known.probes.insert(watched.wanted.key.clone(), watched);
        }
    }

    /// Looks once, and tells what that found as a page of metrics.
    ///
    /// # Errors
    /// In words, when it was not possible to look.
    pub async fn look(&self, key: &str) -> Result<String, String> {
        let (watched, gateway) = {
            let known = lock(&self.known);
            let watched = known.probes.get(key).cloned();
            (watched.ok_or("there is no such probe any more")?, known.gateway.clone())
        };
        let Probe { interval, timeout, .. } = watched.wanted.probe;
        let turn = tokio::time::timeout(interval.saturating_sub(timeout), self.places.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(format!("{MOST_AT_ONCE} other looks go on and take long"));
        };
        let (at, begun) = (self.clock.now(), Instant::now());
        let mut notes = Notes::default();
        let looking = self.find(&watched, gateway.as_deref(), begun + timeout, &mut notes);
        let found = tokio::time::timeout(timeout, looking).await;
        let took = begun.elapsed();
        let found = found.unwrap_or_else(|_| {
            let what = format!("not done within {}: {}", format_duration(timeout), notes.doing);
            Err(Trouble::Failed(Reason::Timeout, what))
        });
        let found = found.and_then(|()| self.late(&watched.wanted.probe, took, &notes));
        watched.note(at, took, notes, found)?;
        let figures = watched.figures().ok_or("it has not looked yet")?;
        Ok(page(&[(String::new(), figures)]))
    }

    /// What every probe found last, as one page.
    pub fn page(&self) -> String {
        let all = self.all();
        let labelled = all.iter().filter_map(|it| Some((it.labels(), it.figures()?)));
        page(&labelled.collect::<Vec<_>>())
    }

    fn all(&self) -> Vec<Arc<Watched>> {
        lock(&self.known).probes.values().cloned().collect()
    }

    async fn find(
        &self,
        watched: &Watched,
        gateway: Option<&str>,
        deadline: Instant,
        notes: &mut Notes,
    ) -> Result<(), Trouble> {
        let Probe { ask, expect, .. } = &watched.wanted.probe;
        let pattern = watched.pattern.as_ref();
        let with = (&self.resolver, deadline);
        match ask {
            Ask::Http(request) => {
                let secrets = self.secrets_of(request).await?;
                let resolver = &self.resolver;
                let asking =
                    http::Asking { http: request, expect, pattern, secrets, gateway, resolver, deadline };
                // Boxed, because of what a connection by TLS takes.
                Box::pin(http::ask(&asking, notes)).await
            }
            Ask::Tcp(it) => tcp::greet(it, expect, pattern, with, notes).await,
            Ask::Tls(it) => Box::pin(tcp::shake(it, with, notes)).await,
            Ask::Dns(it) => dns::ask(it, expect, &self.resolver, notes).await,
        }
    }

    /// Looked up anew for each look, off the threads that serve: a file may be slow.
    async fn secrets_of(&self, request: &Http) -> Result<Vec<(String, Secret)>, Trouble> {
        if !request.has_secrets() {
            return Ok(vec![]);
        }
        let secrets = Arc::clone(&self.secrets);
        let (declared, headers) = (request.authentication.clone(), request.headers.clone());
        let resolving = tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            for (name, value) in headers {
                if let HeaderValue::Secret(source) = value {
                    all.push((name, secrets.resolve(&source)?));
                }
            }
            if let Some(declared) = declared {
                let header = Authorization::resolve(&declared, &*secrets)?.header();
                all.push(("authorization".to_owned(), header));
            }
            Ok::<_, ports::secrets::Error>(all)
        });
        match resolving.await {
            Ok(Ok(all)) => Ok(all),
            Ok(Err(error)) => Err(Trouble::Unable(error.to_string())),
            Err(error) => Err(Trouble::Unable(error.to_string())),
        }
    }

    /// What was answered is right: is it in time, and will the certificates be for long?
    fn late(&self, probe: &Probe, took: Duration, notes: &Notes) -> Result<(), Trouble> {
        if let (Some(wanted), Some(expires)) = (probe.expect.certificate_valid_for, notes.expires) {
            let left = expires.saturating_sub(self.clock.now().as_micros() / 1_000_000);
            if left < i64::try_from(wanted.as_secs()).unwrap_or(i64::MAX) {
                let left = Duration::from_secs(u64::try_from(left).unwrap_or(0));
                let (left, wanted) = (format_duration(left), format_duration(wanted));
                let what = format!("a certificate is valid for {left} more, expected {wanted} at least");
                return Err(Trouble::Failed(Reason::Expiry, what));
            }
        }
        match probe.expect.latency.filter(|limit| took > *limit) {
            None => Ok(()),
            Some(limit) => {
                let took = Duration::from_millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
                let (took, limit) = (format_duration(took), format_duration(limit));
                Err(Trouble::Failed(Reason::Latency, format!("it took {took}, expected {limit} at most")))
            }
        }
    }
}

impl ports::Probes for Prober {
    fn reports(&self) -> Reports {
        let probes = self.all().iter().map(|watched| watched.report()).collect();
        Reports { at: self.clock.now(), probes }
    }
}

impl Watched {
    fn new(wanted: Wanted) -> Self {
        // The manifest was refused if it were none.
        let pattern = wanted.probe.expect.body_matches.as_deref().and_then(|text| pattern(text).ok());
        Self { wanted, pattern, told: Mutex::default() }
    }

    /// Notes what a look found, and says so when it is something else than before.
    fn note(
        &self,
        at: Timestamp,
        took: Duration,
        notes: Notes,
        found: Result<(), Trouble>,
    ) -> Result<(), String> {
        let mut told = lock(&self.told);
        let (result, reason, detail) = match found {
            Ok(()) => (Found::Good, None, String::new()),
            Err(Trouble::Failed(reason, detail)) => (Found::Bad, Some(reason), detail),
            Err(Trouble::Unable(detail)) => (Found::Unknown, None, detail),
        };
        let before = told.last.as_ref().map(|(look, ..)| (look.result, look.since));
        let since = before.filter(|(known, _)| *known == result).map_or(at, |(_, since)| since);
        if result != Found::Unknown {
            told.attempts += 1;
        }
        if let Some(reason) = reason {
            *told.failures.entry(reason).or_default() += 1;
        }
        let look = Look {
            at,
            result,
            since,
            seconds: took.as_secs_f64(),
            reason: reason.map(|reason| reason.name().to_owned()),
            detail: plain(&detail),
            status: notes.http.map(|answer| answer.status),
            certificate_expires: notes
                .expires
                .map(|seconds| Timestamp::from_micros(seconds.saturating_mul(1_000_000))),
        };
        let Wanted { place, probe, .. } = &self.wanted;
        let (place, probe, why) = (place.to_string(), probe.name.as_str(), look.detail.clone());
        match (before.map(|(known, _)| known), result) {
            (Some(Found::Good) | None, Found::Good) => {}
            (Some(Found::Bad | Found::Unknown), Found::Good) => {
                tracing::info!(event = "probe.recovered", place, probe, "a probe succeeds again");
            }
            (Some(Found::Bad), Found::Bad) => {}
            (Some(Found::Good | Found::Unknown) | None, Found::Bad) => {
                let reason = look.reason.clone().unwrap_or_default();
                tracing::warn!(event = "probe.failed", place, probe, reason, why, "a probe fails");
            }
            // Whoever asked for it says this, as of any target that cannot be asked.
            (_, Found::Unknown) => {}
        }
        told.last = Some((look, took, notes));
        if result == Found::Unknown { Err(why) } else { Ok(()) }
    }

    /// The metrics of the last look, if it was one.
    fn figures(&self) -> Option<Figures> {
        let told = lock(&self.told);
        let (look, took, notes) = told.last.as_ref().filter(|(look, ..)| look.result != Found::Unknown)?;
        let kind = self.wanted.probe.ask.kind();
        let count = |reason: &Reason| (*reason, told.failures.get(reason).copied().unwrap_or(0));
        Some(Figures {
            kind,
            is_good: look.result == Found::Good,
            took: *took,
            notes: notes.clone(),
            attempts: told.attempts,
            failures: Reason::of(kind).iter().map(count).collect(),
        })
    }

    fn labels(&self) -> String {
        let Wanted { place, probe, .. } = &self.wanted;
        let (name, instance) = (escaped(&probe.name), escaped(probe.instance()));
        format!("{},probe=\"{name}\",instance=\"{instance}\"", place.labels())
    }

    fn report(&self) -> Report {
        let told = lock(&self.told);
        let Wanted { place, probe, .. } = &self.wanted;
        Report {
            place: place.clone(),
            probe: probe.name.clone(),
            kind: probe.ask.kind().to_owned(),
            instance: probe.instance().to_owned(),
            attempts: told.attempts,
            failures: told.failures.values().sum(),
            last: told.last.as_ref().map(|(look, ..)| look.clone()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
