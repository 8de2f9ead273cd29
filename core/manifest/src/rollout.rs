//! Rolling updates and canaries, with the words of Kubernetes and Argo Rollouts.

use std::time::Duration;

use model::Weight;
use model::strategy::{Amount, Kind, Step, Strategy};

use crate::analysis;
use crate::diagnostic::Problem;
use crate::fields;
use crate::node::Span;
use crate::read::Mapping;
use crate::service::mappings;

/// A canary without steps of its own.
const DEFAULT_STEPS: [u16; 3] = [500, 2500, 5000];
const DEFAULT_PAUSE: Duration = Duration::from_secs(60);

/// A strategy, and the place of a `canary` section that it leaves unused.
pub(crate) struct Rollout {
    pub(crate) strategy: Strategy,
    pub(crate) unused_canary: Option<Span>,
    pub(crate) used_canary: Option<Span>,
}

pub(crate) fn rollout(root: &Mapping<'_>) -> Rollout {
    let rollout = root.child("rollout", &fields::ROLLOUT);
    let rolling = rolling(&rollout);
    let canary = canary(&rollout);
    let is_canary = rollout.choice("strategy", &fields::STRATEGIES_NOT_YET) == Some("canary");
    let section = rollout.entry("canary").map(|entry| entry.key_span.clone());
    let is_rolling = rollout
        .entry("strategy")
        .is_none_or(|entry| entry.value.scalar().is_some_and(|s| s.text == "rolling"));
    let strategy = Strategy {
        kind: if is_canary { canary } else { rolling },
        progress_deadline: rollout.duration("progressDeadline"),
        min_ready: rollout.duration("minReady"),
        scale_down_delay: rollout.duration("scaleDownDelay"),
        analysis: analysis::analysis(&rollout),
    };
    rollout.finish();
    let (used_canary, unused_canary) = if is_rolling { (None, section) } else { (section, None) };
    Rollout { strategy, unused_canary, used_canary }
}

fn rolling(rollout: &Mapping<'_>) -> Kind {
    let rolling = rollout.child("rolling", &fields::ROLLING);
    let max_surge = rolling.amount("maxSurge").unwrap_or(Amount::Replicas(1));
    let max_unavailable = rolling.amount("maxUnavailable").unwrap_or(Amount::Replicas(0));
    let none = |amount| matches!(amount, Amount::Replicas(0) | Amount::Share(Weight::NONE));
    if none(max_surge) && none(max_unavailable) && !rolling.context.partial {
        let problem =
            Problem::new("`maxSurge` and `maxUnavailable` are both zero, so nothing could ever move");
        rolling.error(&rolling.at, problem.help("allow at least one, as in `maxSurge: 1`"));
    }
    rolling.finish();
    Kind::Rolling { max_surge, max_unavailable }
}

fn canary(rollout: &Mapping<'_>) -> Kind {
    let canary = rollout.child("canary", &fields::CANARY);
    let steps = match canary.list("steps") {
        Some([]) => {
            let problem = Problem::new("a canary needs at least one step");
            canary.error(&canary.place("steps"), problem.help("remove `steps` to get the default"));
            Vec::new()
        }
        Some(items) => {
            let mut heaviest = Weight::NONE;
            let mut steps = Vec::new();
            for item in mappings(&canary, items) {
                let step = Mapping::open(canary.context, &fields::STEP, item, &item.span);
                steps.extend(one_step(&step, &mut heaviest));
                step.finish();
            }
            steps
        }
        None => default_steps(),
    };
    canary.finish();
    Kind::Canary { steps }
}

fn default_steps() -> Vec<Step> {
    let weights = DEFAULT_STEPS.into_iter().filter_map(Weight::from_basis_points);
    weights
        .flat_map(|weight| [Step::SetWeight(weight), Step::Pause { duration: Some(DEFAULT_PAUSE) }])
        .collect()
}

fn one_step(step: &Mapping<'_>, heaviest: &mut Weight) -> Option<Step> {
    let (weight, pause) = (step.entry("setWeight"), step.entry("pause"));
    match (weight, pause) {
        (Some(entry), None) => {
            let weight = step.percent("setWeight")?;
            if weight < *heaviest {
                let problem = Problem::new(format!("the weight goes down, from {heaviest} to {weight}"));
                let help = "a canary usually goes up step by step";
                step.context.sink.warning(&entry.value.span, problem.help(help));
            }
            *heaviest = weight;
            Some(Step::SetWeight(weight))
        }
        (None, Some(entry)) if let Some(scalar) = entry.value.scalar() => {
            let problem = Problem::new("a pause is a mapping");
            let help = format!(
                "write `pause: {{duration: {}}}`, or `pause: {{}}` to wait for a promotion",
                scalar.text
            );
            step.error(&entry.value.span, problem.help(help));
            None
        }
        (None, Some(_)) => {
            let pause = step.child("pause", &fields::PAUSE);
            let duration = pause.optional_duration("duration");
            pause.finish();
            Some(Step::Pause { duration })
        }
        (Some(_), Some(entry)) => {
            let problem = Problem::new("one step sets a weight and pauses");
            step.error(&entry.key_span, problem.help("make it two steps: start a new item with `- pause:`"));
            None
        }
        (None, None) if step.has_unknown() => None,
        (None, None) => {
            let problem = Problem::new("a step needs `setWeight` or `pause`");
            step.error(
                &step.at,
                problem.help("write `setWeight: 5`, `pause: {duration: 1m}` or `pause: {}`"),
            );
            None
        }
    }
}
