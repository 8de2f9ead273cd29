//! When a replica is asked about its health, and what its answers mean: Kubernetes' semantics, except that until the
//! first success it asks more often, so that a quick start is seen quickly. Failures then count once a period, so that
//! the budget of a start is still initialDelay + failureThreshold * period. Does not live here: what a restart is.

use std::time::{Duration, Instant};

use model::spec::{Health, Probe};
use tokio::sync::mpsc;

use crate::probe;

const QUICKEST: Duration = Duration::from_millis(50);
const SLOWEST: Duration = Duration::from_secs(1);

/// What the answers mean for a replica.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Not yet ready, for this reason.
    Waiting(String),
    /// It may take requests.
    Ready,
    /// It may still.
    StillReady,
    /// It may no more, for this reason.
    Unready(String),
    /// It must be started again, for this reason.
    Restart(String),
}

/// What one probe's answers add up to.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Passed,
    Failed,
}

/// One probe over time. Pure: time is an argument.
struct Cycle {
    period: Duration,
    success_threshold: u32,
    failure_threshold: u32,
    next: Instant,
    quick: Duration,
    /// Until the first success: when the period ends in which a failure does not count again.
    period_end: Instant,
    ever: bool,
    passing: Option<bool>,
    successes: u32,
    failures: u32,
}

impl Cycle {
    /// `begun` is the start of the replica, `now` the start of the questions: later, when it was adopted.
    fn new(probe: &Probe, begun: Instant, now: Instant, passing: Option<bool>) -> Self {
        let period = probe.period.max(Duration::from_millis(1));
        let next = (begun + probe.initial_delay).max(now);
        Self {
            period,
            success_threshold: probe.success_threshold.max(1),
            failure_threshold: probe.failure_threshold.max(1),
            next,
            quick: QUICKEST.min(period),
            period_end: next + period,
            ever: false,
            passing,
            successes: 0,
            failures: 0,
        }
    }

    fn answer(&mut self, ok: bool, asked: Instant, now: Instant) -> Option<Turn> {
        if ok {
            self.ever = true;
            self.failures = 0;
            self.successes = self.successes.saturating_add(1);
        } else {
            self.successes = 0;
            if self.ever {
                self.failures = self.failures.saturating_add(1);
            } else if now >= self.period_end {
                self.failures = self.failures.saturating_add(1);
                self.period_end = (self.period_end + self.period).max(now);
            }
        }
        let wait = if self.ever { self.period } else { self.quick };
        self.quick = (self.quick * 3 / 2).min(SLOWEST).min(self.period);
        self.next = (asked + wait).max(now);
        if ok && self.successes >= self.success_threshold && self.passing != Some(true) {
            self.passing = Some(true);
            return Some(Turn::Passed);
        }
        if !ok && self.failures >= self.failure_threshold && self.passing != Some(false) {
            self.passing = Some(false);
            return Some(Turn::Failed);
        }
        None
    }
}

/// Asks for as long as somebody listens. `known`: it was ready a moment ago and goes on from there.
pub(crate) async fn watch(
    port: u16,
    health: Health,
    begun: Instant,
    known: bool,
    events: mpsc::Sender<Event>,
) {
    if let Some(startup) = health.startup.as_ref().filter(|_| !known)
        && !started(port, startup, begun, &events).await
    {
        return;
    }
    tokio::join!(
        live(port, health.live.as_ref(), begun, &events),
        ready(port, health.ready.as_ref(), begun, known, &events)
    );
}

async fn next(port: u16, probe: &Probe, cycle: &mut Cycle) -> (Option<Turn>, Option<String>) {
    tokio::time::sleep_until(cycle.next.into()).await;
    let asked = Instant::now();
    let answer = probe::ask(port, &probe.check, probe.timeout).await;
    (cycle.answer(answer.is_ok(), asked, Instant::now()), answer.err())
}

async fn started(port: u16, probe: &Probe, begun: Instant, events: &mpsc::Sender<Event>) -> bool {
    let mut cycle = Cycle::new(probe, begun, Instant::now(), None);
    loop {
        let (turn, failure) = next(port, probe, &mut cycle).await;
        let failure = failure.unwrap_or_default();
        match turn {
            Some(Turn::Passed) => return true,
            Some(Turn::Failed) => {
                let _ = events.send(Event::Restart(format!("the startup probe failed: {failure}"))).await;
                return false;
            }
            None if events.send(Event::Waiting(format!("has not started yet: {failure}"))).await.is_err() => {
                return false;
            }
            None => {}
        }
    }
}

async fn live(port: u16, probe: Option<&Probe>, begun: Instant, events: &mpsc::Sender<Event>) {
    let Some(probe) = probe else { return };
    let mut cycle = Cycle::new(probe, begun, Instant::now(), Some(true));
    loop {
        let (turn, failure) = next(port, probe, &mut cycle).await;
        if turn == Some(Turn::Failed) {
            let why = format!("the liveness probe failed: {}", failure.unwrap_or_default());
            let _ = events.send(Event::Restart(why)).await;
            return;
        }
    }
}

async fn ready(port: u16, probe: Option<&Probe>, begun: Instant, known: bool, events: &mpsc::Sender<Event>) {
    let Some(probe) = probe else {
        let _ = events.send(Event::Ready).await;
        return;
    };
    let mut cycle = Cycle::new(probe, begun, Instant::now(), known.then_some(true));
    cycle.ever = known;
    loop {
        let (turn, failure) = next(port, probe, &mut cycle).await;
        let why = failure.map(|failure| format!("the readiness probe failed: {failure}"));
        let event = match (turn, why) {
            (Some(Turn::Passed), _) => Event::Ready,
            (Some(Turn::Failed), why) => Event::Unready(why.unwrap_or_default()),
            (None, None) if cycle.passing == Some(true) => Event::StillReady,
            (None, Some(why)) if cycle.passing.is_none() => Event::Waiting(why),
            (None, Some(_) | None) => continue,
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::spec::Check;

    fn probe(delay_s: u64, period_s: u64, success: u32, failure: u32) -> Probe {
        Probe {
            check: Check::Tcp,
            initial_delay: Duration::from_secs(delay_s),
            period: Duration::from_secs(period_s),
            timeout: Duration::from_secs(1),
            success_threshold: success,
            failure_threshold: failure,
        }
    }

    /// Answers no at every turn until the verdict; says how long after the start that is, and how often it was asked.
    fn time_to_failure(cycle: &mut Cycle, begun: Instant) -> (Duration, u32) {
        for asks in 1.. {
            let now = cycle.next;
            if cycle.answer(false, now, now) == Some(Turn::Failed) {
                return (now - begun, asks);
            }
        }
        unreachable!("a probe that always fails must fail");
    }

    #[test]
    fn a_start_has_its_whole_budget_though_it_is_asked_often() {
        let begun = Instant::now();
        let mut cycle = Cycle::new(&probe(2, 10, 1, 3), begun, begun, None);
        assert_eq!(cycle.next, begun + Duration::from_secs(2));
        let (took, asks) = time_to_failure(&mut cycle, begun);
        assert!(took >= Duration::from_secs(32) && took < Duration::from_secs(33), "{took:?}");
        assert!(asks > 30, "{asks}");
    }

    #[test]
    fn an_adopted_replica_has_a_budget_of_its_own() {
        let now = Instant::now() + Duration::from_secs(1000);
        let begun = now - Duration::from_secs(900);
        let mut cycle = Cycle::new(&probe(2, 10, 1, 2), begun, now, None);
        assert_eq!(cycle.next, now);
        let (took, _) = time_to_failure(&mut cycle, now);
        assert!(took >= Duration::from_secs(20), "{took:?}");
    }

    #[test]
    fn it_asks_quickly_until_the_first_success_then_by_the_period() {
        let begun = Instant::now();
        let mut cycle = Cycle::new(&probe(0, 10, 2, 3), begun, begun, None);
        let now = cycle.next;
        assert_eq!(cycle.answer(false, now, now), None);
        assert_eq!(cycle.next - now, Duration::from_millis(50));
        let now = cycle.next;
        assert_eq!(cycle.answer(true, now, now), None, "one success of two");
        assert_eq!(cycle.next - now, Duration::from_secs(10));
        let now = cycle.next;
        assert_eq!(cycle.answer(true, now, now), Some(Turn::Passed));
        for expected in [None, None, Some(Turn::Failed), None] {
            let now = cycle.next;
            assert_eq!(cycle.answer(false, now, now), expected);
            assert_eq!(cycle.next - now, Duration::from_secs(10));
        }
    }

    #[test]
    fn a_period_below_the_quickest_wait_is_respected() {
        let begun = Instant::now();
        let short = Probe { period: Duration::from_millis(20), ..probe(0, 1, 1, 3) };
        let mut cycle = Cycle::new(&short, begun, begun, None);
        let now = cycle.next;
        cycle.answer(false, now, now);
        assert_eq!(cycle.next - now, Duration::from_millis(20));
    }
}
