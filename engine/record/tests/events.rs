//! Stored events keep their meaning: every kind reads back, and so does a journal of every version ever written.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::collections::BTreeMap;
use std::time::Duration;

use lifecycle::inbox::{Decision, Known, Stance};
use lifecycle::{Change, Event};
use model::assignment::{HeaderMatch, HeaderRoute, Pattern, SessionAffinity};
use model::check;
use model::hook::{Hook, Hooks, Moment};
use model::release::{Artifact, ArtifactKind};
use model::strategy::{
    Analysis, CanaryScale, Comparison, Condition, Judge, Kind, Latency, Metric, OnFailure, Promotion, Source,
    Step, Strategy,
};
use model::{Digest, Epoch, Place, Release, ReleaseNumber, RolloutNumber, Timestamp, Weight};
use record::event::{Unreadable, draft, event};
use record::{Chain, Record};
use ship::latency::{Baseline, Slow, Threshold};
use ship::rules::{Measurement, Outcome, Reading};
use ship::users::{UserTally, Users};
use ship::{Cause, Counts, EpochTally, PauseReason, RollbackReason};
use watch::alert::To;

fn hooks() -> Hooks {
    let run = vec!["./migrate".to_owned(), "--all".to_owned()];
    let command = model::check::Command { run, timeout: Duration::from_secs(300) };
    let before = Hook {
        name: "migrate".to_owned(),
        command,
        idempotent: false,
        on_failure: model::hook::OnFailure::Rollback,
    };
    let after = Hook { idempotent: true, on_failure: model::hook::OnFailure::Warn, ..before.clone() };
    Hooks { before: vec![before], after: vec![after] }
}

fn strategy() -> Strategy {
    Strategy {
        kind: Kind::Canary {
            steps: vec![
                Step::SetWeight(Weight::from_percent(5.0).unwrap()),
                Step::Pause { duration: Some(Duration::from_secs(30)) },
                Step::Pause { duration: None },
            ],
            session_affinity: None,
        },
        progress_deadline: Duration::from_secs(600),
        min_ready: Duration::from_secs(1),
        scale_down_delay: Duration::from_secs(30),
        bake_time: Duration::ZERO,
        declared_rollback_window: None,
        on_failure: OnFailure::Rollback,
        hooks: model::hook::Hooks::default(),
        analysis: Analysis {
            judge: Some(Judge {
                alpha: 0.01,
                tolerance: 1.0,
                promotion: Promotion::Evidence { max_error_rate: 0.01, beta: 0.05 },
                latency: None,
            }),
            metrics: vec![Metric {
                name: "slow".to_owned(),
                source: Source::Latency(0.99),
                interval: Duration::from_secs(10),
                count: Some(3),
                success_condition: Some(Condition { comparison: Comparison::Less, value: 0.5 }),
                failure_condition: None,
                failure_limit: Some(0),
                inconclusive_limit: None,
                consecutive_error_limit: Some(4),
                dry_run: false,
            }],
        },
    }
}

/// A configuration as version 1 stored it.
fn spec() -> model::Spec {
    serde_json::from_str(include_str!("fixtures/spec-v1.json")).unwrap()
}

/// One event of each kind.
fn events() -> Vec<Event> {
    let counts = Counts { requests: 100, errors: 7 };
    let in_rollout = [
        ship::Event::Started {
            number: RolloutNumber(2),
            from: Some(ReleaseNumber(1)),
            to: ReleaseNumber(2),
            cause: Cause::Deploy,
            strategy: strategy(),
            stable_replicas: 2,
            candidate_replicas: 3,
        },
        ship::Event::Scaled { stable: 2, candidate: 1 },
        ship::Event::Shifted { weight: Weight::from_percent(5.0).unwrap(), epoch: Epoch(4) },
        ship::Event::Readied { ready: 1 },
        ship::Event::StepEntered { step: 1 },
        ship::Event::Measured {
            instance: "a1".to_owned(),
            tallies: vec![EpochTally { epoch: Epoch(4), candidate: counts, ..EpochTally::default() }],
        },
        ship::Event::RuleMeasured(Measurement {
            run: ship::rules::Run::Background,
            rule: 0,
            value: Some(0.123_456_789_012_345_68),
            outcome: Outcome::Successful,
            detail: None,
            reading: Reading {
                instance: "a1".to_owned(),
                counts,
                latency: Default::default(),
                restarts: vec![],
            },
        }),
        ship::Event::Paused { reason: PauseReason::Inconclusive("no data".to_owned()) },
        ship::Event::Paused { reason: PauseReason::Step },
        ship::Event::Resumed { step: 2 },
        ship::Event::Promoted,
        ship::Event::RollbackBegun { reason: RollbackReason::Judge("7 errors".to_owned()) },
        ship::Event::RollbackBegun { reason: RollbackReason::Operator },
        ship::Event::RolledBack,
        ship::Event::Completed,
    ];
    let place = Place { service: "shop".parse().unwrap(), environment: "production".parse().unwrap() };
    let mut events = vec![
        Event::ControlStarted { version: "0.1.0".to_owned() },
        Event::ReleaseRegistered(Release {
            service: "shop".parse().unwrap(),
            number: ReleaseNumber(2),
            artifact: Artifact {
                digest: Digest::of(b"shop"),
                name: "shop".to_owned(),
                kind: ArtifactKind::Directory,
                bytes: 4,
            },
            specs: BTreeMap::from([("production".parse().unwrap(), spec())]),
        }),
        Event::ReleaseRetired { service: "shop".parse().unwrap(), number: ReleaseNumber(1) },
    ];
    events.extend(in_rollout.map(|event| Event::Rollout { place: place.clone(), event }));
    events.push(Event::ControlStopped);
    events
}

fn decided(place: &Place, stance: Stance, reason: Option<&str>) -> Event {
    let known = Known { release: ReleaseNumber(3), per_hour: 40, record: 17 };
    let decision = Decision { stance, known, by: "ada".to_owned(), reason: reason.map(str::to_owned) };
    Event::ErrorDecided { place: place.clone(), fingerprint: "00000000000000aa".to_owned(), decision }
}

/// Events that came after the fixture was written.
fn later() -> Vec<Event> {
    let place = Place { service: "shop".parse().unwrap(), environment: "production".parse().unwrap() };
    let answer = lifecycle::Answer {
        place,
        release: ReleaseNumber(2),
        rollout: Some(RolloutNumber(3)),
        request: None,
        with: vec![],
    };
    let answered = |answer| Event::CommandAnswered {
        key: "4f1c".to_owned(),
        request: Digest::of(b"what was asked"),
        answer,
    };
    let place = answer.place.clone();
    let mut all = changes(&place);
    let scope =
        lifecycle::Scope { service: Some("shop".parse().unwrap()), environment: place.environment.clone() };
    let whole = lifecycle::Scope { service: None, ..scope.clone() };
    let (by, reason) = ("ada".to_owned(), "a freeze".to_owned());
    let drift = model::drift::Drift {
        place: Some(place.clone()),
        kind: model::drift::DriftKind::Replica,
        times: 3,
        found: "replica 1 of release 2 ended by itself".to_owned(),
        done: "it is started again".to_owned(),
    };
    let at = place.clone();
    let until = Some(Timestamp::from_micros(1_700_000_000_000_000));
    all.extend([
        answered(Some(answer)),
        answered(None),
        Event::Locked { scope: scope.clone(), by: by.clone(), reason: reason.clone(), until },
        Event::Locked { scope: whole.clone(), by: by.clone(), reason, until: None },
        Event::LockOverridden { place, scope, by },
        Event::Unlocked { scope: whole },
        Event::GroupBegun {
            number: 2,
            name: "checkout".to_owned(),
            members: vec![(at.clone(), RolloutNumber(3))],
        },
        Event::GroupReached { number: 2, place: at.clone(), stage: lifecycle::Stage::AtGate },
        decided(&at, Stance::Acknowledged, Some("known")),
        decided(&at, Stance::Resolved { from: Some(ReleaseNumber(4)) }, None),
        decided(&at, Stance::Resolved { from: None }, None),
        decided(&at, Stance::Reopened, None),
        Event::DriftCorrected { instance: "a1".to_owned(), drift, new: 2 },
        Event::AlertChanged(alert(Some(at.clone()), To::Pending)),
        Event::AlertChanged(alert(Some(at), To::Firing)),
        Event::AlertChanged(alert(None, To::Firing)),
        Event::AlertChanged(lifecycle::Changed { machine: true, ..alert(None, To::Firing) }),
        Event::AlertChanged(alert(None, To::Resolved)),
        Event::Paging(paging::Event::Silenced { id: paging::SilenceId(3), silence: silence() }),
        Event::Paging(paging::Event::SilenceEnded { id: paging::SilenceId(3), by: "ada".to_owned() }),
        Event::Paging(paging::Event::TestBegun { way: way() }),
        Event::Paging(paging::Event::TestPassed {
            way: way(),
            begun: Timestamp::from_micros(1_600_000_000_000_000),
        }),
        Event::Paging(paging::Event::TestOverdue { way: way() }),
        Event::Paging(paging::Event::TestsEnded { way: way() }),
    ]);
    all
}

/// All that happens to requests for change.
fn changes(place: &Place) -> Vec<Event> {
    let request = lifecycle::Request {
        number: 7,
        place: place.clone(),
        release: ReleaseNumber(2),
        digest: Digest::of(b"a build"),
        cause: ship::Cause::Deploy,
        from: Some(ReleaseNumber(1)),
        by: "ada".to_owned(),
        outcome: "carts are kept".to_owned(),
        risk: "not said".to_owned(),
        plan_back: "rollback to release 1".to_owned(),
        passes: [false, false, true],
        required: 1,
        approvers: vec!["ben".to_owned()],
        until: Timestamp::from_micros(1_600_000_000_000_000),
    };
    let (number, by, reason) = (7, "ben".to_owned(), "looked at it".to_owned());
    let rollout = RolloutNumber(3);
    [
        Change::Requested(request.clone()),
        Change::Approved { number, by: by.clone(), reason: None },
        Change::Begun { number, rollout },
        Change::Rejected { number, by: by.clone(), reason: reason.clone() },
        Change::Voided { number, why: "nobody approved it".to_owned() },
        Change::Emergency { request, rollout, reason: Some(reason.clone()) },
        Change::Reviewed { number, by, reason },
    ]
    .map(Event::Change)
    .to_vec()
}

fn silence() -> paging::Silence {
    let at = Timestamp::from_micros(1_600_000_000_000_000);
    let matchers = vec!["alertname=~\"Disk.*\"".parse().unwrap(), "app!=\"shop\"".parse().unwrap()];
    let (by, reason) = ("ada".to_owned(), "the disk is being replaced".to_owned());
    paging::Silence { matchers, from: at, until: at.after(Duration::from_secs(7_200)), by, reason, made: at }
}

fn way() -> paging::Way {
    let place = Place { service: "shop".parse().unwrap(), environment: "production".parse().unwrap() };
    paging::Way { place, receiver: "pager".to_owned() }
}

fn alert(place: Option<Place>, to: To) -> lifecycle::Changed {
    let labels = [("alertname", "QueueTooLong"), ("severity", "P2")];
    let words =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    let is_outside = place.is_none();
    lifecycle::Changed {
        place,
        machine: false,
        labels: words(&labels),
        annotations: words(if to == To::Resolved { &[] } else { &[("summary", "the queue has 7 jobs")] }),
        to,
        value: (!is_outside).then(|| "7".to_owned()),
        starts_at: is_outside.then(|| Timestamp::from_micros(1_600_000_000_000_000)),
        generator_url: is_outside.then(|| "http://prometheus/graph".to_owned()),
    }
}

fn stored() -> Vec<Record> {
    let mut chain = Chain::new();
    let at = Timestamp::from_micros(1_700_000_000_000_000);
    let all = events().into_iter().chain(later());
    all.map(|event| chain.next(draft(&event, at, "ada", Some("because"))).unwrap()).collect()
}

#[test]
fn every_event_reads_back_as_it_was() {
    for (record, expected) in stored().iter().zip(events().into_iter().chain(later())) {
        let read = Record::from_bytes(&record.to_bytes()).unwrap();
        assert_eq!(event(&read).unwrap(), expected);
    }
}

/// The fixture is what version 1 wrote. It is never rewritten: when this fails, the new form needs a new version and
/// the old one a conversion on read.
#[test]
fn a_journal_of_version_1_keeps_its_meaning() {
    let fixture = include_str!("fixtures/journal-v1.jsonl");
    let mut chain = Chain::new();
    let read: Vec<Event> =
        fixture.lines().map(|line| event(&chain.read(line.as_bytes()).unwrap()).unwrap()).collect();
    assert_eq!(read, events());
}

#[test]
fn an_event_from_a_newer_version_is_told_as_such() {
    let mut record = stored().remove(0);
    record.version = 2;
    assert!(matches!(event(&record), Err(Unreadable::Newer { seq: 1, .. })));
    record.version = 1;
    record.kind = "incident.opened".to_owned();
    assert!(event(&record).unwrap_err().to_string().contains("newer Shipshape"));
}

#[test]
fn a_body_that_does_not_fit_its_kind_says_which() {
    let mut record = stored().remove(0);
    record.kind = "rollout.shifted".to_owned();
    let error = event(&record).unwrap_err().to_string();
    assert!(error.contains("event 1 (rollout.shifted)") && error.contains("place"), "{error}");
}

/// What version 1 learned later: forms that older journals do not have, beside the fixture that must not change.
#[test]
fn later_forms_of_version_1_read_back() {
    let mut dry = strategy();
    dry.analysis.metrics[0].dry_run = true;
    if let Some(judge) = &mut dry.analysis.judge {
        let (quantiles, initial_delay) = (vec![0.5, 0.99], Duration::from_secs(10));
        judge.latency = Some(Latency { quantiles, tolerance: 1.5, initial_delay });
    }
    (dry.bake_time, dry.on_failure) = (Duration::from_secs(600), OnFailure::Freeze);
    dry.hooks = hooks();
    let metrics = dry.analysis.metrics.clone();
    let counts = Counts { requests: 100, errors: 7 };
    let slow = Slow { candidate: [1, 2, 0, 0], stable: [3, 0, 0, 0] };
    let tally =
        EpochTally { epoch: Epoch(4), candidate: counts, stable: counts, slow, ..EpochTally::default() };
    let threshold = Threshold { quantile: 0.99, above_us: 5_000, slow: 1 };
    let started = |kind| ship::Event::Started {
        number: RolloutNumber(4),
        from: Some(ReleaseNumber(1)),
        to: ReleaseNumber(2),
        cause: Cause::Deploy,
        strategy: Strategy { kind, ..dry.clone() },
        stable_replicas: 2,
        candidate_replicas: 2,
    };
    let preview_hosts = vec!["preview.test".to_owned()];
    let later = [
        ship::Event::Paused { reason: PauseReason::Frozen(RollbackReason::Judge("7 errors".to_owned())) },
        ship::Event::BaselineFrozen(Baseline { counts, thresholds: vec![threshold] }),
        ship::Event::ClockStepped { by_us: -3_600_000_000 },
        ship::Event::Measured { instance: "a1".to_owned(), tallies: vec![tally] },
        started(Kind::BlueGreen {
            auto_promotion: Some(Duration::from_secs(60)),
            preview_replicas: Some(1),
            preview_hosts: preview_hosts.clone(),
            pre_promotion: looks(&metrics[0]),
            post_promotion: metrics.clone(),
        }),
        started(Kind::BlueGreen {
            auto_promotion: None,
            preview_replicas: None,
            preview_hosts,
            pre_promotion: vec![],
            post_promotion: vec![],
        }),
        started(led_canary(metrics)),
        ship::Event::HeaderRouted { route: beta(), epoch: Epoch(5) },
        ship::Event::Measured { instance: "a1".to_owned(), tallies: vec![of_users()] },
        rule(ship::rules::Run::Step(3), Outcome::Begun),
        rule(ship::rules::Run::Step(3), Outcome::Error),
        rule(ship::rules::Run::PostPromotion, Outcome::Failed),
        look(),
        ship::Event::HookBegun { moment: Moment::Before, hook: "migrate".to_owned(), attempt: 2 },
        ship::Event::HookEnded {
            moment: Moment::After,
            hook: "announce".to_owned(),
            attempt: 1,
            outcome: ship::hooks::Outcome::Failed,
            detail: "exit status 1".to_owned(),
        },
        ship::Event::RollbackBegun { reason: RollbackReason::Hook("migrate: exit status 1".to_owned()) },
    ];
    let place = Place { service: "shop".parse().unwrap(), environment: "production".parse().unwrap() };
    let mut chain = Chain::new();
    for inner in later {
        let happened = Event::Rollout { place: place.clone(), event: inner };
        let record = chain.next(draft(&happened, Timestamp::from_micros(7), "ada", None)).unwrap();
        let read = Record::from_bytes(&record.to_bytes()).unwrap();
        assert_eq!(event(&read).unwrap(), happened);
    }
}

/// A route with each kind of pattern.
fn beta() -> HeaderRoute {
    let matches =
        [Pattern::Exact("yes".to_owned()), Pattern::Prefix("b".to_owned()), Pattern::Regex("b+".to_owned())]
            .map(|header_value| HeaderMatch { header_name: "x-beta".to_owned(), header_value });
    HeaderRoute { name: "beta".to_owned(), matches: matches.to_vec() }
}

/// A canary with each step that version 1 learned later.
fn led_canary(metrics: Vec<Metric>) -> Kind {
    let affinity = SessionAffinity::Cookie { name: "u".to_owned(), max_age: Duration::from_secs(60) };
    Kind::Canary {
        steps: vec![
            Step::Analysis { metrics },
            Step::SetCanaryScale(CanaryScale::Replicas(3)),
            Step::SetCanaryScale(CanaryScale::MatchTrafficWeight),
            Step::SetHeaderRoute(beta()),
        ],
        session_affinity: Some(affinity),
    }
}

fn of_users() -> EpochTally {
    let candidate = Users { seen: 3, erred: 2, first_erred: 1 };
    EpochTally {
        epoch: Epoch(5),
        aimed: Counts { requests: 3, errors: 1 },
        users: UserTally { candidate, ..UserTally::default() },
        ..EpochTally::default()
    }
}

/// A rule for each source that version 1 learned later.
fn looks(metric: &Metric) -> Vec<Metric> {
    let timeout = Duration::from_secs(9);
    let http = |target| check::Http {
        target,
        method: "GET".to_owned(),
        headers: [("x-smoke".to_owned(), "1".to_owned())].into(),
        expect: check::Expect { status: Some(204), body_contains: Some("ok".to_owned()) },
        timeout,
    };
    let sources = [
        Source::Restarts,
        Source::Http(http(check::Target::Path("/up".to_owned()))),
        Source::Http(http(check::Target::Url("http://a/".to_owned()))),
        Source::Command(check::Command { run: vec!["./smoke".to_owned()], timeout }),
    ];
    sources.into_iter().map(|source| Metric { source, ..metric.clone() }).collect()
}

/// A measurement of the gateway's counts.
fn rule(run: ship::rules::Run, outcome: Outcome) -> ship::Event {
    ship::Event::RuleMeasured(Measurement {
        run,
        rule: 0,
        value: None,
        outcome,
        detail: None,
        reading: Reading {
            instance: "a1".to_owned(),
            counts: Counts::default(),
            latency: Default::default(),
            restarts: vec![(3, 1)],
        },
    })
}

/// What a check found.
fn look() -> ship::Event {
    ship::Event::RuleMeasured(Measurement {
        run: ship::rules::Run::PrePromotion,
        rule: 0,
        value: Some(1.0),
        outcome: Outcome::Failed,
        detail: Some("exit status 1: the cart is empty".to_owned()),
        reading: Reading::default(),
    })
}
