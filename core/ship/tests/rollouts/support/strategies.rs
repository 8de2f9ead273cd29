//! Builders for strategies and for what is seen.

use std::time::Duration;

use model::Weight;
use model::assignment::{HeaderMatch, HeaderRoute, Pattern, SessionAffinity};
use model::check::Command;
use model::hook::{Hook, Moment};
use model::latency::Histogram;
use model::strategy::{
    Amount, Analysis, CanaryScale, Comparison, Condition, Judge, Kind, Latency, Metric, OnFailure, Promotion,
    Source, Step, Strategy,
};
use ship::users::{UserTally, Users};

/// A rollout to be: a strategy and the sizes of both releases.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) strategy: Strategy,
    pub(crate) old: u32,
    pub(crate) new: u32,
    pub(crate) first: bool,
    pub(crate) prompt: bool,
    /// What the old release's requests took before.
    pub(crate) before: Histogram,
}

fn plan(kind: Kind) -> Plan {
    let judge = Judge { alpha: 0.01, tolerance: 1.0, promotion: Promotion::Time, latency: None };
    let strategy = Strategy {
        kind,
        progress_deadline: Duration::from_secs(600),
        min_ready: Duration::ZERO,
        scale_down_delay: Duration::from_secs(30),
        bake_time: Duration::ZERO,
        declared_rollback_window: None,
        on_failure: OnFailure::Rollback,
        hooks: model::hook::Hooks::default(),
        analysis: Analysis { judge: Some(judge), metrics: vec![] },
    };
    Plan { strategy, old: 4, new: 4, first: false, prompt: false, before: Histogram::default() }
}

/// A canary from four old replicas to four new ones.
pub(crate) fn canary<const N: usize>(steps: [Step; N]) -> Plan {
    plan(Kind::Canary { steps: steps.to_vec(), session_affinity: None })
}

/// A step that leads requests with `x-beta: NAME` to the new release.
pub(crate) fn led_by(name: &str) -> Step {
    let header_value = Pattern::Exact(name.to_owned());
    let matches = vec![HeaderMatch { header_name: "x-beta".to_owned(), header_value }];
    Step::SetHeaderRoute(HeaderRoute { name: name.to_owned(), matches })
}

/// A step that ends what [`led_by`] began.
pub(crate) fn not_led_by(name: &str) -> Step {
    Step::SetHeaderRoute(HeaderRoute { name: name.to_owned(), matches: vec![] })
}

/// A step that scales the new release.
pub(crate) fn scaled(replicas: u32) -> Step {
    Step::SetCanaryScale(CanaryScale::Replicas(replicas))
}

/// A rolling update from four old replicas to four new ones.
pub(crate) fn rolling(max_surge: u32, max_unavailable: u32) -> Plan {
    plan(Kind::Rolling {
        max_surge: Amount::Replicas(max_surge),
        max_unavailable: Amount::Replicas(max_unavailable),
    })
}

/// A blue-green rollout from four old replicas to four new ones, previewed with all of them, that switches by itself
/// as soon as they are ready.
pub(crate) fn blue_green() -> Plan {
    plan(Kind::BlueGreen {
        auto_promotion: Some(Duration::ZERO),
        preview_replicas: None,
        preview_hosts: vec!["preview.test".to_owned()],
        pre_promotion: vec![],
        post_promotion: vec![],
    })
}

impl Plan {
    /// Users keep the release they were given.
    pub(crate) fn sticky(mut self) -> Self {
        if let Kind::Canary { session_affinity, .. } = &mut self.strategy.kind {
            *session_affinity = Some(SessionAffinity::Header { name: "x-user".to_owned() });
        }
        self
    }

    /// The preview has so many replicas, and is held so long, or until somebody promotes.
    pub(crate) fn previewed(mut self, replicas: u32, seconds: Option<u64>) -> Self {
        if let Kind::BlueGreen { auto_promotion, preview_replicas, .. } = &mut self.strategy.kind {
            (*auto_promotion, *preview_replicas) = (seconds.map(Duration::from_secs), Some(replicas));
        }
        self
    }

    /// The numbers of old and new replicas.
    pub(crate) fn replicas(self, old: u32, new: u32) -> Self {
        Self { old, new, ..self }
    }

    /// Nothing served before.
    pub(crate) fn first(self) -> Self {
        Self { old: 0, first: true, ..self }
    }

    /// In a place that does at once what is wanted.
    pub(crate) fn promptly(self) -> Self {
        Self { prompt: true, ..self }
    }

    /// These hooks run at this moment.
    pub(crate) fn hooked<const N: usize>(mut self, moment: Moment, names: [&str; N]) -> Self {
        let hooks = names.into_iter().map(hook);
        match moment {
            Moment::Before => self.strategy.hooks.before.extend(hooks),
            Moment::After => {
                let warns = |hook| Hook { on_failure: model::hook::OnFailure::Warn, ..hook };
                self.strategy.hooks.after.extend(hooks.map(warns));
            }
        }
        self
    }

    /// The preview has to pass this rule before the switch.
    pub(crate) fn checked_by(mut self, metric: Metric) -> Self {
        if let Kind::BlueGreen { pre_promotion, .. } = &mut self.strategy.kind {
            pre_promotion.push(metric);
        }
        self
    }

    /// The switch has to pass this rule.
    pub(crate) fn passed_by(mut self, metric: Metric) -> Self {
        if let Kind::BlueGreen { post_promotion, .. } = &mut self.strategy.kind {
            post_promotion.push(metric);
        }
        self
    }

    pub(crate) fn without_judge(mut self) -> Self {
        self.strategy.analysis.judge = None;
        self
    }

    /// Latency is judged against 2,000 requests of the old release, of 1 to 10 ms.
    pub(crate) fn judged_on_latency(mut self) -> Self {
        if let Some(judge) = &mut self.strategy.analysis.judge {
            let (quantiles, initial_delay) = (vec![0.5, 0.9, 0.99], Duration::from_secs(10));
            judge.latency = Some(Latency { quantiles, tolerance: 1.5, initial_delay });
        }
        (1..=10).for_each(|ms| (0..200).for_each(|_| self.before.observe(Duration::from_millis(ms))));
        self
    }

    /// It is watched for so long after it took all requests.
    pub(crate) fn baking(mut self, seconds: u64) -> Self {
        self.strategy.bake_time = Duration::from_secs(seconds);
        self
    }

    /// It stands still when it fails.
    pub(crate) fn freezing(mut self) -> Self {
        self.strategy.on_failure = OnFailure::Freeze;
        self
    }

    pub(crate) fn promoted_by(mut self, promotion: Promotion) -> Self {
        if let Some(judge) = &mut self.strategy.analysis.judge {
            judge.promotion = promotion;
        }
        self
    }

    pub(crate) fn ruled_by(mut self, metric: Metric) -> Self {
        self.strategy.analysis.metrics.push(metric);
        self
    }
}

/// A hook whose failure fails the rollout.
pub(crate) fn hook(name: &str) -> Hook {
    let command = Command { run: vec![format!("./{name}")], timeout: Duration::from_secs(300) };
    let on_failure = model::hook::OnFailure::Rollback;
    Hook { name: name.to_owned(), command, idempotent: true, on_failure }
}

pub(crate) fn weight(percent: u16) -> Weight {
    Weight::from_basis_points(percent * 100).unwrap()
}

pub(crate) fn share(percent: u16) -> Amount {
    Amount::Share(weight(percent))
}

pub(crate) fn to(percent: u16) -> Step {
    Step::SetWeight(weight(percent))
}

pub(crate) fn hold() -> Step {
    Step::Pause { duration: None }
}

pub(crate) fn hold_for(seconds: u64) -> Step {
    Step::Pause { duration: Some(Duration::from_secs(seconds)) }
}

/// Evidence for an error rate below 1 %, with a 5 % risk of being wrong.
pub(crate) fn evidence() -> Promotion {
    Promotion::Evidence { max_error_rate: 0.01, beta: 0.05 }
}

/// An error-rate rule each 10 s with the defaults of Argo: success below 5 %, no failure, no inconclusive
/// measurement, four errors in a row.
pub(crate) fn rule() -> Metric {
    Metric {
        name: "errors".to_owned(),
        source: Source::ErrorRate,
        interval: Duration::from_secs(10),
        count: None,
        success_condition: Some(Condition { comparison: Comparison::Less, value: 0.05 }),
        failure_condition: None,
        failure_limit: Some(0),
        inconclusive_limit: Some(0),
        consecutive_error_limit: Some(4),
        dry_run: false,
    }
}

/// One smoke test with the defaults of Argo.
pub(crate) fn smoke() -> Metric {
    let command = Command { run: vec!["./smoke".to_owned()], timeout: Duration::from_secs(60) };
    Metric {
        name: "smoke".to_owned(),
        source: Source::Command(command),
        count: Some(1),
        success_condition: None,
        ..rule()
    }
}

/// A change of what is seen; what is not named stays as it was.
#[derive(Debug, Clone, Default)]
pub(crate) struct Change {
    pub(crate) seconds: u64,
    pub(crate) confirmed: bool,
    pub(crate) candidate_ready: Option<u32>,
    pub(crate) stable_ready: Option<u32>,
    pub(crate) candidate: (u64, u64),
    pub(crate) stable: (u64, u64),
    pub(crate) reachable: Option<bool>,
    pub(crate) crash_loop: Option<String>,
    pub(crate) agent_restarted: bool,
    pub(crate) latency_ms: Option<u64>,
    pub(crate) restarts: Option<u32>,
    /// Of the new and the old release, slower than every threshold.
    pub(crate) slow: (u64, u64),
    pub(crate) aimed: (u64, u64),
    pub(crate) users: UserTally,
}

/// Nothing has changed.
pub(crate) fn seen() -> Change {
    Change::default()
}

impl Change {
    /// Time has passed.
    pub(crate) fn after(self, seconds: u64) -> Self {
        Self { seconds, ..self }
    }

    /// The gateway confirmed all that was wanted until now.
    pub(crate) fn confirmed(self) -> Self {
        Self { confirmed: true, ..self }
    }

    pub(crate) fn candidate_ready(self, ready: u32) -> Self {
        Self { candidate_ready: Some(ready), ..self }
    }

    pub(crate) fn stable_ready(self, ready: u32) -> Self {
        Self { stable_ready: Some(ready), ..self }
    }

    /// The new release answered so many requests more, so many of them with errors.
    pub(crate) fn candidate(self, requests: u64, errors: u64) -> Self {
        Self { candidate: (requests, errors), ..self }
    }

    /// The same of the old release.
    pub(crate) fn stable(self, requests: u64, errors: u64) -> Self {
        Self { stable: (requests, errors), ..self }
    }

    /// Header routes led so many requests more to the new release.
    pub(crate) fn aimed(self, requests: u64, errors: u64) -> Self {
        Self { aimed: (requests, errors), ..self }
    }

    /// So many users more of the new and of the old release, so many of them with their first error.
    pub(crate) fn users(self, candidate: (u64, u64), stable: (u64, u64)) -> Self {
        let users = |(seen, erred)| Users { seen, erred, first_erred: erred };
        Self { users: UserTally { candidate: users(candidate), stable: users(stable) }, ..self }
    }

    /// The new release's requests took so long.
    pub(crate) fn taking_ms(self, latency_ms: u64) -> Self {
        Self { latency_ms: Some(latency_ms), ..self }
    }

    /// So many requests of the new and the old release were slower than every threshold of the baseline.
    pub(crate) fn slow(self, new: u64, old: u64) -> Self {
        Self { slow: (new, old), ..self }
    }

    pub(crate) fn unreachable(self) -> Self {
        Self { reachable: Some(false), ..self }
    }

    pub(crate) fn reachable_again(self) -> Self {
        Self { reachable: Some(true), ..self }
    }

    pub(crate) fn crash_loop(self, why: &str) -> Self {
        Self { crash_loop: Some(why.to_owned()), ..self }
    }

    /// The new release's first replica was started again so often in all.
    pub(crate) fn restarts(self, times: u32) -> Self {
        Self { restarts: Some(times), ..self }
    }

    /// The agent started again: its counters begin at zero under another name.
    pub(crate) fn agent_restarted(self) -> Self {
        Self { agent_restarted: true, ..self }
    }
}
