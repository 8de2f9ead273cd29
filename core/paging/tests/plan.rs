//! Who is told of what and when, as sentences and as properties over random lives.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::alert::{Alert, Fingerprint, Labels};
use model::matcher::Matcher;
use model::notify::{Grouping, InhibitRule, Notify, Receiver, Route, SELF_TEST, To};
use model::objective::Severity;
use model::spec::HeaderValue;
use model::{Place, Timestamp};
use paging::{Log, Muted, Notification, Plan, Policy, Silence, SilenceId, Silences, Situation, plan};
use proptest::prelude::*;

const WAIT: u64 = 30;
const INTERVAL: u64 = 300;
const REPEAT: u64 = 14_400;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(1_000_000_000_000_000).after(Duration::from_secs(seconds))
}

fn place(name: &str) -> Place {
    Place { service: name.parse().unwrap(), environment: "production".parse().unwrap() }
}

fn alert(labels: &str, since: u64) -> Alert {
    let labels: Labels = labels
        .split(',')
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Alert { labels, annotations: Labels::new(), starts_at: at(since), ends_at: None, generator_url: None }
}

fn own(name: &str, severity: &str, since: u64) -> Alert {
    alert(&format!("alertname={name},severity={severity},app=shop,environment=production"), since)
}

fn receiver(to: To) -> Receiver {
    let timeout = Duration::from_secs(10);
    Receiver { to, headers: BTreeMap::new(), ca_file: None, timeout, send_resolved: true }
}

fn hook(url: &str) -> Receiver {
    receiver(To::Webhook(HeaderValue::Text(url.to_owned())))
}

fn route(receiver: &str, severity: &[Severity], go_on: bool) -> Route {
    let receiver = receiver.to_owned();
    Route { receiver, severity: severity.to_vec(), matchers: vec![], go_on, grouping: None }
}

fn notify(receivers: &[(&str, Receiver)], routes: Vec<Route>) -> Notify {
    let receivers = receivers.iter().map(|(name, it)| ((*name).to_owned(), it.clone())).collect();
    Notify { receivers, routes, grouping: Grouping::default(), inhibit: None, self_test: true }
}

/// One service or more, and whoever is told.
struct Stage {
    policies: BTreeMap<Place, Policy>,
    known: BTreeSet<Place>,
    silences: BTreeMap<SilenceId, Silence>,
    alerts: Vec<Alert>,
    log: Log,
}

impl Stage {
    fn new(all: &[(&str, Notify)]) -> Self {
        let policies: BTreeMap<Place, Policy> =
            all.iter().map(|(name, notify)| (place(name), Policy::of(notify).unwrap())).collect();
        let known = policies.keys().cloned().collect();
        Self { policies, known, silences: BTreeMap::new(), alerts: vec![], log: Log::default() }
    }

    fn shop() -> Self {
        Self::new(&[("shop", notify(&[("pager", hook("http://a"))], vec![]))])
    }

    fn plan(&self, seconds: u64) -> Plan {
        let silences = Silences::of(&self.silences);
        let Self { alerts, known, policies, .. } = self;
        plan(Situation { alerts, known, policies, silences: &silences }, &self.log, at(seconds))
    }

    /// Sends what is due.
    fn send(&mut self, seconds: u64) -> Vec<Notification> {
        let Plan { due, forget, .. } = self.plan(seconds);
        self.log.forget(&forget);
        for told in &due {
            self.log.delivered(told, at(seconds));
        }
        due
    }

    fn silence(&mut self, matchers: &[&str], from: u64, until: u64) {
        let matchers = matchers.iter().map(|it| it.parse::<Matcher>().unwrap()).collect();
        let (by, reason) = ("ada".to_owned(), "a test".to_owned());
        let silence = Silence { matchers, from: at(from), until: at(until), by, reason, made: at(from) };
        self.silences.insert(SilenceId(self.silences.len() as u64 + 1), silence);
    }
}

fn names(alerts: &[Alert]) -> Vec<&str> {
    alerts.iter().map(|alert| alert.labels["alertname"].as_str()).collect()
}

#[test]
fn a_group_waits_for_others_and_is_told_news_no_sooner_than_its_interval() {
    let mut stage = Stage::shop();
    stage.alerts.push(own("Slow", "P2", 0));
    let plan = stage.plan(10);
    assert!(plan.due.is_empty());
    assert_eq!(plan.next, Some(at(WAIT)));
    let told = stage.send(WAIT);
    assert_eq!(told.len(), 1);
    assert_eq!(names(&told[0].firing), ["Slow"]);
    assert!(stage.send(WAIT + 1).is_empty());
    stage.alerts.clear();
    assert_eq!(stage.plan(40).next, Some(at(WAIT + INTERVAL)));
    let told = stage.send(WAIT + INTERVAL);
    assert_eq!((told[0].firing.len(), names(&told[0].resolved)), (0, vec!["Slow"]));
    assert_eq!(told[0].resolved[0].ends_at, Some(at(WAIT + INTERVAL)));
    assert!(stage.send(100_000).is_empty());
    assert_eq!(stage.log, Log::default());
}

#[test]
fn what_still_fires_is_told_again_after_the_repeat_interval() {
    let mut stage = Stage::shop();
    stage.alerts.push(own("Slow", "P2", 0));
    assert_eq!(stage.send(WAIT).len(), 1);
    assert!(stage.send(WAIT + REPEAT - 1).is_empty());
    assert_eq!(stage.plan(WAIT + 1).next, Some(at(WAIT + REPEAT)));
    assert_eq!(stage.send(WAIT + REPEAT).len(), 1);
}

#[test]
fn alerts_of_one_name_are_told_together_and_others_apart() {
    let mut stage = Stage::shop();
    let of = |route: &str| alert(&format!("alertname=Slow,app=shop,environment=production,route={route}"), 0);
    stage.alerts = vec![of("/a"), of("/b"), own("Full", "P3", 0)];
    let told = stage.send(WAIT);
    assert_eq!(told.iter().map(|told| told.firing.len()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(
        told[1].key.to_string(),
        "{app=\"shop\", environment=\"production\"}/pager:{alertname=\"Slow\", app=\"shop\", environment=\"production\"}"
    );
}

#[test]
fn routes_are_taken_in_order_until_one_does_not_go_on() {
    let routes =
        vec![route("log", &[], true), route("pager", &[Severity::P1], false), route("chat", &[], false)];
    let receivers = [("pager", hook("http://a")), ("chat", hook("http://b")), ("log", hook("http://c"))];
    let mut stage = Stage::new(&[("shop", notify(&receivers, routes))]);
    stage.alerts = vec![own("Down", "P1", 0), own("Full", "P3", 0)];
    let told = stage.send(WAIT);
    let who = |name: &str| {
        let of = told.iter().filter(|told| names(&told.firing) == [name]);
        of.map(|told| told.key.receiver.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(who("Down"), ["log", "pager"]);
    assert_eq!(who("Full"), ["chat", "log"]);
}

#[test]
fn the_urgent_alert_speaks_for_those_with_its_cause() {
    let mut stage = Stage::shop();
    let objective = |name: &str, severity: &str| {
        let labels = "app=shop,environment=production,objective=latency";
        alert(&format!("alertname={name},severity={severity},{labels}"), 0)
    };
    stage.alerts = vec![own("Errors", "P1", 0), own("Errors", "P3", 0), own("Full", "P3", 0)];
    stage.alerts.extend([objective("Burn", "P1"), objective("NoData", "P2")]);
    let plan = stage.plan(WAIT);
    let told: Vec<&str> = plan.due.iter().flat_map(|told| names(&told.firing)).collect();
    assert_eq!(told, ["Burn", "Errors", "Full"]);
    let by = stage.alerts[0].fingerprint();
    assert_eq!(plan.muted[&stage.alerts[1].fingerprint()], Muted::Inhibited(by));
    assert_eq!(plan.muted.len(), 2);
}

#[test]
fn two_alerts_that_could_mute_each_other_are_both_told() {
    let any: Vec<Matcher> = vec!["severity=~\"P.\"".parse().unwrap()];
    let rule = InhibitRule { source: any.clone(), target: any, equal: vec!["app".to_owned()] };
    let declared = notify(&[("pager", hook("http://a"))], vec![]);
    let mut stage = Stage::new(&[("shop", Notify { inhibit: Some(vec![rule]), ..declared })]);
    stage.alerts = vec![own("A", "P1", 0), own("B", "P2", 0)];
    assert_eq!(stage.send(WAIT).len(), 2);
}

#[test]
fn a_silence_mutes_until_it_ends_and_what_ended_meanwhile_is_told_all_the_same() {
    let mut stage = Stage::shop();
    stage.alerts = vec![own("Slow", "P2", 0), own("Full", "P2", 0)];
    stage.silence(&["alertname=Slow"], 0, 1_000);
    let told = stage.send(WAIT);
    assert_eq!(names(&told[0].firing), ["Full"]);
    assert_eq!(stage.plan(WAIT).next, Some(at(WAIT + REPEAT)).min(Some(at(1_000))));
    assert_eq!(stage.send(1_000).iter().flat_map(|told| names(&told.firing)).collect::<Vec<_>>(), ["Slow"]);
    stage.silence(&["alertname=~\"Slow|Full\""], 1_001, 9_000);
    stage.alerts.clear();
    let told = stage.send(2_000);
    assert_eq!(told.iter().map(|told| told.resolved.len()).sum::<usize>(), 2);
}

#[test]
fn a_receiver_that_wants_no_ends_is_told_none() {
    let quiet = Receiver { send_resolved: false, ..hook("http://a") };
    let mut stage = Stage::new(&[("shop", notify(&[("pager", quiet)], vec![]))]);
    stage.alerts = vec![own("Slow", "P2", 0)];
    assert_eq!(stage.send(WAIT).len(), 1);
    stage.alerts.clear();
    assert!(stage.send(5_000).is_empty());
    assert_eq!(stage.log, Log::default());
}

#[test]
fn an_alertmanager_is_told_at_once_every_minute_and_for_a_quarter_of_an_hour_after_the_end() {
    let to = receiver(To::Alertmanager(vec!["http://a".to_owned()]));
    let mut stage = Stage::new(&[("shop", notify(&[("am", to)], vec![]))]);
    stage.alerts = vec![own("Slow", "P2", 0), own("Full", "P3", 0)];
    assert_eq!(stage.send(0)[0].firing.len(), 2);
    assert!(stage.send(59).is_empty());
    assert_eq!(stage.send(60)[0].firing.len(), 2);
    stage.alerts.clear();
    let told = stage.send(61);
    assert_eq!((told[0].firing.len(), told[0].resolved.len()), (0, 2));
    let later = stage.send(121);
    assert_eq!(later[0].resolved, told[0].resolved);
    let last = (3..30).filter(|minute| !stage.send(minute * 60 + 1).is_empty()).max();
    assert_eq!(last, Some(15), "the end is told for 15 minutes");
    assert!(stage.send(2_000).is_empty());
    assert_eq!(stage.log, Log::default());
}

#[test]
fn an_alert_of_nobody_in_particular_is_told_once_to_each_receiver() {
    let both = notify(&[("pager", hook("http://a"))], vec![]);
    let other = notify(&[("pager", hook("http://a")), ("chat", hook("http://b"))], vec![]);
    let mut stage = Stage::new(&[("bank", both), ("shop", other)]);
    stage.alerts = vec![alert("alertname=DiskFull,instance=db1", 0), own("Slow", "P2", 0)];
    let told = stage.send(WAIT);
    let who = |name: &str| {
        let of = told.iter().filter(|told| names(&told.firing) == [name]);
        of.map(|told| (told.key.place.service.as_str(), told.key.receiver.as_str())).collect::<Vec<_>>()
    };
    assert_eq!(who("DiskFull"), [("bank", "pager"), ("shop", "chat")]);
    assert_eq!(who("Slow"), [("shop", "chat"), ("shop", "pager")]);
}

#[test]
fn what_no_route_takes_is_known() {
    let routes = vec![route("pager", &[Severity::P1], false)];
    let mut stage = Stage::new(&[("shop", notify(&[("pager", hook("http://a"))], routes))]);
    stage.alerts = vec![own("Full", "P3", 0)];
    let plan = stage.plan(WAIT);
    assert!(plan.due.is_empty() && plan.taken[&stage.alerts[0].fingerprint()].is_empty());
}

#[test]
fn a_self_test_goes_to_its_receiver_alone_whatever_the_routes() {
    let routes = vec![route("chat", &[], false)];
    let receivers = [("pager", hook("http://a")), ("chat", hook("http://b"))];
    let mut stage = Stage::new(&[("shop", notify(&receivers, routes))]);
    let labels = "severity=P3,app=shop,environment=production,receiver=pager";
    stage.alerts = vec![alert(&format!("alertname={SELF_TEST},{labels}"), 0)];
    let told = stage.send(WAIT);
    assert_eq!(told.iter().map(|told| told.key.receiver.as_str()).collect::<Vec<_>>(), ["pager"]);
}

#[test]
fn who_is_no_receiver_any_more_is_forgotten() {
    let mut stage = Stage::shop();
    stage.alerts = vec![own("Slow", "P2", 0)];
    stage.send(WAIT);
    let other = Policy::of(&notify(&[("chat", hook("http://b"))], vec![])).unwrap();
    stage.policies.insert(place("shop"), other);
    let told = stage.send(WAIT + 1);
    assert_eq!(told.iter().map(|told| told.key.receiver.as_str()).collect::<Vec<_>>(), ["chat"]);
    assert_eq!(stage.log.entries().count(), 1);
}

#[test]
fn a_clock_that_was_set_back_delays_nothing() {
    let mut stage = Stage::shop();
    stage.alerts = vec![own("Slow", "P2", 10_000)];
    assert_eq!(stage.send(0).len(), 1);
    stage.alerts.push(alert("alertname=Slow,app=shop,environment=production", 0));
    let told = stage.log.clone();
    assert_eq!(stage.send(INTERVAL).len(), 1);
    assert_ne!(stage.log, told);
}

#[test]
fn a_log_reads_back() {
    let mut stage = Stage::shop();
    stage.alerts = vec![own("Slow", "P2", 0)];
    stage.send(WAIT);
    let json = serde_json::to_string(&stage.log).unwrap();
    assert_eq!(serde_json::from_str::<Log>(&json).unwrap(), stage.log);
}

/// What may happen in a random life, at one of its steps.
#[derive(Debug, Clone)]
enum Act {
    Fire(usize),
    End(usize),
    Silence(usize, u64),
    /// The receiver does not answer for so many steps.
    Down(u64),
    /// The sender dies after the receiver took everything and before it is noted.
    Die,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..6usize).prop_map(Act::Fire),
        3 => (0..6usize).prop_map(Act::End),
        1 => (0..6usize, 1..3_000u64).prop_map(|(which, time)| Act::Silence(which, time)),
        1 => (1..20u64).prop_map(Act::Down),
        1 => Just(Act::Die),
    ]
}

fn some_alert(which: usize, since: u64) -> Alert {
    let (name, severity) =
        [("A", "P1"), ("A", "P2"), ("B", "P2"), ("B", "P3"), ("C", "P3"), ("D", "P1")][which];
    own(name, severity, since)
}

/// What a webhook learns: what it was told fires, and how often it was told nothing new.
#[derive(Default)]
struct Told {
    firing: BTreeMap<paging::Key, BTreeSet<Fingerprint>>,
    last: BTreeMap<paging::Key, u64>,
}

impl Told {
    fn hear(&mut self, told: &Notification, seconds: u64, may_repeat: bool) {
        let known = self.firing.entry(told.key.clone()).or_default();
        let fresh = told.firing.iter().any(|alert| !known.contains(&alert.fingerprint()));
        let quiet = self.last.get(&told.key).is_none_or(|last| seconds - last >= REPEAT);
        assert!(fresh || !told.resolved.is_empty() || quiet || may_repeat, "told twice: {told:?}");
        for alert in &told.resolved {
            let was_known = known.remove(&alert.fingerprint());
            assert!(was_known || may_repeat, "an end of what it never heard of: {alert:?}");
        }
        known.extend(told.firing.iter().map(Alert::fingerprint));
        self.last.insert(told.key.clone(), seconds);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nobody_is_told_twice_and_nothing_stays_untold(steps in prop::collection::vec((act(), 1..400u64), 1..60)) {
        let mut stage = Stage::shop();
        let (mut told, mut now, mut down_until) = (Told::default(), 0u64, 0u64);
        for (act, pass) in steps {
            now += pass;
            let mut dies = false;
            match act {
                Act::Fire(which) => {
                    let alert = some_alert(which, now);
                    if !stage.alerts.iter().any(|known| known.labels == alert.labels) {
                        stage.alerts.push(alert);
                    }
                }
                Act::End(which) => stage.alerts.retain(|known| known.labels != some_alert(which, 0).labels),
                Act::Silence(which, time) => {
                    let name = some_alert(which, 0).labels["alertname"].clone();
                    stage.silence(&[&format!("alertname={name}")], now, now + time);
                }
                Act::Down(steps) => down_until = now + steps * 100,
                Act::Die => dies = true,
            }
            let Plan { due, forget, .. } = stage.plan(now);
            stage.log.forget(&forget);
            for notification in due.iter().filter(|_| now >= down_until) {
                told.hear(notification, now, false);
                // It is sent again, and the receiver knows it by its key and its alerts.
                if dies {
                    let again = stage.plan(now).due;
                    let again = again.iter().find(|it| it.key == notification.key).unwrap();
                    prop_assert_eq!(again, notification);
                }
                stage.log.delivered(notification, at(now));
            }
        }
        // Quiet, and everybody answers: what is to be told is told within a wait and an interval.
        for _ in 0..3 {
            now = now.max(down_until) + WAIT + INTERVAL;
            for notification in stage.send(now) {
                told.hear(&notification, now, false);
            }
        }
        let plan = stage.plan(now);
        for alert in stage.alerts.iter().filter(|alert| !plan.muted.contains_key(&alert.fingerprint())) {
            let heard = told.firing.values().any(|known| known.contains(&alert.fingerprint()));
            prop_assert!(heard, "untold: {:?}", alert);
        }
        stage.alerts.clear();
        now += INTERVAL;
        for notification in stage.send(now) {
            told.hear(&notification, now, false);
        }
        prop_assert!(told.firing.values().all(BTreeSet::is_empty), "an end was never told");
        prop_assert_eq!(stage.log, Log::default());
    }
}
