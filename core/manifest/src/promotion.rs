//! Whether `promotion: evidence` has anything to wait for, and could ever come. Does not live here: the waiting (`ship`).

use std::time::Duration;

use model::Weight;
use model::strategy::{Bounds, Kind, Promotion, Step, Strategy};

use crate::diagnostic::Problem;
use crate::node::Entry;
use crate::read::Mapping;

/// More requests a second than any one machine's gateway serves.
const MOST_PER_SECOND: f64 = 100_000.0;

pub(crate) fn check(rollout: &Mapping<'_>, strategy: &Strategy, replicas: u32) {
    let judge = strategy.analysis.judge.as_ref();
    let Some(promotion) = judge.map(|judge| &judge.promotion) else { return };
    let Some(entry) = declared(rollout).filter(|_| *promotion != Promotion::Time) else { return };
    if rollout.context.partial {
        return;
    }
    let sink = rollout.context.sink;
    if let Some((why, help)) = nothing_to_wait_for(&strategy.kind, replicas) {
        let problem = Problem::new(format!("`promotion: evidence` has nothing to wait for: {why}"));
        sink.warning(&entry.value.span, problem.help(help));
    }
    if let Kind::Canary { steps, session_affinity } = &strategy.kind
        && let Some((weight, within)) = hopeless(steps, promotion.least_needed())
    {
        let unit = if session_affinity.is_some() { "users" } else { "requests" };
        let problem = Problem::new(format!(
            "evidence could never come at {weight}: it takes at least {} {unit} of the new release within {}",
            promotion.least_needed(),
            model::time::format_duration(within)
        ));
        let help = "pause longer, or allow more with `maxErrorRate` or `beta`";
        rollout.error(&entry.value.span, problem.help(help));
    }
}

fn declared<'a>(rollout: &Mapping<'a>) -> Option<&'a Entry> {
    let judge = rollout.entry("analysis")?.value.map()?.get("judge")?;
    judge.value.map()?.get("promotion")
}

/// Why, and what to do instead.
fn nothing_to_wait_for(kind: &Kind, replicas: u32) -> Option<(&'static str, &'static str)> {
    match kind {
        Kind::Canary { steps, .. } => (!steps.iter().any(Step::shares)).then_some((
            "no step gives the new release a part of the requests",
            "add a step such as `setWeight: 5`, or use `promotion: time`",
        )),
        Kind::Rolling { max_surge, max_unavailable } => {
            let bounds = Bounds::of(replicas, *max_surge, *max_unavailable);
            (bounds.least_ready <= 1).then_some((
                "the first new replica takes all requests",
                "run more replicas, allow less with `maxUnavailable`, or use `strategy: canary`",
            ))
        }
        Kind::BlueGreen { .. } => None,
    }
}

/// The first weight that is left too soon for so many requests, whatever the traffic, and how soon.
fn hopeless(steps: &[Step], least: u64) -> Option<(Weight, Duration)> {
    let mut weight = Weight::NONE;
    let mut stays = Duration::ZERO;
    for step in steps {
        match step {
            Step::SetWeight(next) => (weight, stays) = (*next, Duration::ZERO),
            Step::Pause { duration: Some(duration) } => {
                stays += *duration;
                let most = MOST_PER_SECOND * weight.fraction() * stays.as_secs_f64();
                if weight > Weight::NONE && most < least as f64 {
                    return Some((weight, stays));
                }
            }
            // It takes its time at this weight.
            Step::Pause { duration: None } | Step::Analysis { .. } => weight = Weight::NONE,
            Step::SetCanaryScale(_) | Step::SetHeaderRoute(_) => {}
        }
    }
    None
}
