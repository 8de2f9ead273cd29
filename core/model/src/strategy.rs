//! How a new release replaces an old one, as declared: the vocabulary of Kubernetes and Argo Rollouts.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Weight;
use crate::assignment::{HeaderRoute, SessionAffinity};
use crate::check::{self, Check};
use crate::hook::Hooks;

/// A declared rollout: how, how fast, and who judges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Strategy {
    /// The order in which replicas and traffic move.
    pub kind: Kind,
    /// How long the rollout may go without progress (replicas becoming ready) before it fails and rolls back.
    #[serde(with = "crate::time::words")]
    pub progress_deadline: Duration,
    /// How long a replica of the new release must have been ready before it counts: one that dies at once never does.
    #[serde(with = "crate::time::words")]
    pub min_ready: Duration,
    /// How long the old release stays warm after the new one took all traffic. A rolling update keeps none.
    #[serde(with = "crate::time::words")]
    pub scale_down_delay: Duration,
    /// How long the new release is watched, and taken back by itself, after it took all traffic. The old one stays
    /// warm meanwhile, but after a rolling update.
    #[serde(default, with = "crate::time::words", skip_serializing_if = "Duration::is_zero")]
    pub bake_time: Duration,
    /// For how long after the rollout was completed a release that burns an error budget is taken back by itself; not stored
    /// where it is [`ROLLBACK_WINDOW`]: [`Strategy::rollback_window`] knows what holds then.
    #[serde(
        default,
        rename = "rollbackWindow",
        with = "crate::time::optional_words",
        skip_serializing_if = "Option::is_none"
    )]
    pub declared_rollback_window: Option<Duration>,
    /// What becomes of a rollout that fails by itself.
    #[serde(default, skip_serializing_if = "OnFailure::is_rollback")]
    pub on_failure: OnFailure,
    /// What is watched while both releases serve.
    pub analysis: Analysis,
    /// Commands that run beside it.
    #[serde(default, skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
}

/// For how long a release is taken back where nobody says otherwise: as long as the pages that come soonest look back.
pub const ROLLBACK_WINDOW: Duration = Duration::from_secs(3_600);

impl Strategy {
    /// For how long after the rollout was completed a release that burns an error budget is taken back by itself; zero: never.
    pub fn rollback_window(&self) -> Duration {
        self.declared_rollback_window.unwrap_or(ROLLBACK_WINDOW)
    }
}

/// What becomes of a rollout that fails by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnFailure {
    /// It goes back.
    #[default]
    Rollback,
    /// It stands still where it is, until somebody decides: a migration may forbid to go back.
    Freeze,
}

impl OnFailure {
    fn is_rollback(&self) -> bool {
        *self == Self::Rollback
    }

    /// Its name in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rollback => "rollback",
            Self::Freeze => "freeze",
        }
    }
}

/// The order in which replicas and traffic move.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Kind {
    /// Replica by replica; traffic follows the ready replicas.
    Rolling {
        /// How many replicas more than wanted may exist, rounded up.
        max_surge: Amount,
        /// How many replicas fewer than wanted may be ready, rounded down.
        max_unavailable: Amount,
    },
    /// By steps of traffic beside a full-sized stable release.
    Canary {
        /// The steps; after the last one the new release takes all traffic.
        steps: Vec<Step>,
        /// By what a user is known who shall keep the release once given; `None` = each request is on its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session_affinity: Option<SessionAffinity>,
    },
    /// Whole beside the old release, reachable at a preview address alone, then all requests in one swap.
    BlueGreen {
        /// How long the ready preview is held before the switch; `None` = until somebody promotes.
        #[serde(with = "crate::time::optional_words")]
        auto_promotion: Option<Duration>,
        /// How many replicas the preview has; `None` = all. All are ready before the switch in any case.
        preview_replicas: Option<u32>,
        /// The hosts at which the new release is previewed.
        preview_hosts: Vec<String>,
        /// Rules that the preview has to pass before the switch, each with a count.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pre_promotion: Vec<Metric>,
        /// Rules that the switch has to pass while the old release is warm, each with a count.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        post_promotion: Vec<Metric>,
    },
}

impl Kind {
    /// Its name in the manifest and in every report.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rolling { .. } => "rolling",
            Self::Canary { .. } => "canary",
            Self::BlueGreen { .. } => "blueGreen",
        }
    }
}

/// A number of replicas, or a share of the wanted number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Amount {
    /// So many.
    Replicas(u32),
    /// This share.
    Share(Weight),
}

impl Amount {
    /// Of `replicas`, rounded up.
    pub fn rounded_up(self, replicas: u32) -> u32 {
        match self {
            Self::Replicas(n) => n,
            Self::Share(share) => share.of_replicas(replicas),
        }
    }

    /// Of `replicas`, rounded down.
    pub fn rounded_down(self, replicas: u32) -> u32 {
        match self {
            Self::Replicas(n) => n,
            Self::Share(share) => replicas - share.rest().of_replicas(replicas),
        }
    }
}

/// Between which numbers of replicas a rolling update keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The most that exist, old and new.
    pub most: u32,
    /// The least that are ready, old and new.
    pub least_ready: u32,
}

impl Bounds {
    /// Of `replicas` wanted. When both amounts round to zero nothing could ever move: as in Kubernetes, one may then be
    /// unavailable.
    pub fn of(replicas: u32, max_surge: Amount, max_unavailable: Amount) -> Self {
        let most = replicas.saturating_add(max_surge.rounded_up(replicas));
        let may_miss = max_unavailable.rounded_down(replicas).max(u32::from(most == replicas));
        Self { most, least_ready: replicas.saturating_sub(may_miss) }
    }
}

/// One step of a canary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Give the new release this share of the traffic.
    SetWeight(Weight),
    /// Wait for a time, or without one until somebody promotes.
    Pause {
        /// How long.
        #[serde(with = "crate::time::optional_words")]
        duration: Option<Duration>,
    },
    /// Hold until these rules have taken all their measurements.
    Analysis {
        /// Each with a count.
        metrics: Vec<Metric>,
    },
    /// From here on, keep this many replicas of the new release, or as many as its traffic needs if that is more.
    SetCanaryScale(CanaryScale),
    /// From here on, send the requests that match to the new release whatever its weight.
    SetHeaderRoute(HeaderRoute),
}

/// How many replicas of the new release a canary keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CanaryScale {
    /// So many.
    Replicas(u32),
    /// This share of the full number, rounded up.
    Weight(Weight),
    /// As many as its share of the traffic needs: what it is without such a step, but it goes down as well.
    MatchTrafficWeight,
}

impl Step {
    /// Whether it gives both releases a part of the requests.
    pub fn shares(&self) -> bool {
        matches!(self, Self::SetWeight(weight) if weight.is_part())
    }

    /// The rules that it waits for.
    pub fn metrics(&self) -> &[Metric] {
        match self {
            Self::Analysis { metrics } => metrics,
            Self::SetWeight(_) | Self::Pause { .. } | Self::SetCanaryScale(_) | Self::SetHeaderRoute(_) => {
                &[]
            }
        }
    }
}

/// What is watched while both releases serve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Analysis {
    /// The always-valid comparison of errors; `None` when switched off.
    pub judge: Option<Judge>,
    /// Threshold rules with Argo's semantics.
    pub metrics: Vec<Metric>,
}

/// The judge's settings. The formulas stand in `ship::judge`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judge {
    /// The probability of rolling back a healthy release that is accepted, over the whole rollout.
    pub alpha: f64,
    /// The ratio of the new release's error rate to the old one's that is still tolerated (rho0).
    pub tolerance: f64,
    /// What lets the new release have more of the requests.
    pub promotion: Promotion,
    /// The same comparison of slow requests; `None` when switched off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
}

/// The most quantiles that are judged.
pub const MAX_QUANTILES: usize = 4;

/// The judge's settings for latency. The formulas stand in `ship::latency`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// A request is slow when it takes longer than this quantile (0 to 1) of the old release's requests did before the
    /// rollout; at most [`MAX_QUANTILES`], each judged.
    pub quantiles: Vec<f64>,
    /// The ratio of the new release's slow requests to the old one's that is still tolerated (rho0).
    pub tolerance: f64,
    /// How long after each shift of traffic nothing is compared: new replicas are cold.
    #[serde(with = "crate::time::words")]
    pub initial_delay: Duration,
}

/// What lets the new release have more of the requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Promotion {
    /// Its time, if at least one request was judged and nothing speaks against the release.
    Time,
    /// Positive evidence, at each weight anew; without it by the end of the time the rollout is inconclusive. Where all
    /// requests move in one swap, it is what lets the old release go.
    Evidence {
        /// The error rate that the new release must be shown to stay below (p*).
        max_error_rate: f64,
        /// The probability of promoting a release at or above that rate that is accepted.
        beta: f64,
    },
}

impl Promotion {
    /// How many requests, or users where they keep their release, it takes at each weight at the least: not even
    /// faultless ones are evidence earlier (`n ln(1/(1-p*)) >= ln(1/beta)`).
    pub fn least_needed(&self) -> u64 {
        match self {
            Self::Time => 1,
            Self::Evidence { max_error_rate, beta } => {
                (beta.ln() / (-max_error_rate).ln_1p()).ceil().max(1.0) as u64
            }
        }
    }
}

/// A threshold rule, with the meaning of Argo Rollouts' fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// Its name in reports.
    pub name: String,
    /// What is measured of the new release.
    pub source: Source,
    /// How long between two measurements; each looks at the time since the one before.
    #[serde(with = "crate::time::words")]
    pub interval: Duration,
    /// How many measurements; `None` = until the rollout leaves the canary's steps.
    pub count: Option<u32>,
    /// What makes a measurement a success; of a question in PromQL it stands there.
    pub success_condition: Option<Condition>,
    /// What makes a measurement a failure.
    pub failure_condition: Option<Condition>,
    /// The rule fails when *more* measurements than this failed; `None` = never.
    pub failure_limit: Option<u32>,
    /// The rule is inconclusive when *more* measurements than this were neither.
    pub inconclusive_limit: Option<u32>,
    /// The rule errs when *more* measurements in a row than this could not be taken.
    pub consecutive_error_limit: Option<u32>,
    /// Whether it is measured and reported, but decides nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

impl Metric {
    /// What makes a measurement a success, and what a failure, as declared.
    pub fn conditions(&self) -> (Option<String>, Option<String>) {
        match &self.source {
            Source::Promql(promql) => (promql.success_condition.clone(), promql.failure_condition.clone()),
            Source::ErrorRate
            | Source::Latency(_)
            | Source::RequestRate
            | Source::Restarts
            | Source::Http(_)
            | Source::Command(_) => {
                let compared = |condition: Option<Condition>| condition.map(|it| it.to_string());
                (compared(self.success_condition), compared(self.failure_condition))
            }
        }
    }
}

/// What a threshold rule measures of the new release: in the gateway's own counts since the last measurement, of its
/// processes, or by a look at it from outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// Errors / requests, 0 to 1.
    ErrorRate,
    /// This quantile (0 to 1) of the latency, in seconds.
    Latency(f64),
    /// Requests a second.
    RequestRate,
    /// How often its processes were started again.
    Restarts,
    /// An answer; without conditions it passes when it is as expected.
    Http(check::Http),
    /// A program's exit status.
    Command(check::Command),
    /// An answer of the metrics; its conditions stand with it, because they are expressions.
    Promql(check::Promql),
}

impl Source {
    /// The look that it takes; `None` when nobody has to look from outside.
    pub fn check(&self) -> Option<Check> {
        match self {
            Self::ErrorRate | Self::Latency(_) | Self::RequestRate | Self::Restarts => None,
            Self::Http(http) => Some(Check::Http(http.clone())),
            Self::Command(command) => Some(Check::Command(command.clone())),
            Self::Promql(promql) => Some(Check::Promql(promql.clone())),
        }
    }

    /// Whether somebody has to look from outside.
    pub fn is_check(&self) -> bool {
        matches!(self, Self::Http(_) | Self::Command(_) | Self::Promql(_))
    }
}

/// A comparison of the measured `result` with a number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// How.
    pub comparison: Comparison,
    /// With what.
    pub value: f64,
}

impl Condition {
    /// Whether `result` meets it. Not a number never does.
    pub fn holds(self, result: f64) -> bool {
        match self.comparison {
            Comparison::Less => result < self.value,
            Comparison::LessOrEqual => result <= self.value,
            Comparison::Greater => result > self.value,
            Comparison::GreaterOrEqual => result >= self.value,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.comparison {
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        };
        write!(f, "result {sign} {}", self.value)
    }
}

/// How a result is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surge_rounds_up_and_unavailable_rounds_down() {
        let quarter = Amount::Share(Weight::from_percent(25.0).unwrap());
        assert_eq!((quarter.rounded_up(2), quarter.rounded_down(2)), (1, 0));
        assert_eq!((quarter.rounded_up(8), quarter.rounded_down(8)), (2, 2));
        assert_eq!(Amount::Replicas(3).rounded_down(8), 3);
        assert_eq!(Bounds::of(8, quarter, quarter), Bounds { most: 10, least_ready: 6 });
    }

    #[test]
    fn a_rolling_update_without_room_may_miss_one() {
        let none = Amount::Replicas(0);
        assert_eq!(Bounds::of(3, none, none), Bounds { most: 3, least_ready: 2 });
        assert_eq!(Bounds::of(3, Amount::Replicas(1), none), Bounds { most: 4, least_ready: 3 });
    }

    #[test]
    fn no_condition_holds_for_what_is_not_a_number() {
        for comparison in
            [Comparison::Less, Comparison::LessOrEqual, Comparison::Greater, Comparison::GreaterOrEqual]
        {
            assert!(!Condition { comparison, value: 0.0 }.holds(f64::NAN));
        }
    }
}
