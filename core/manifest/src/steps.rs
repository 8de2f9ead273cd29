//! The steps of a canary: each item is one step, and together they have to make sense. Does not live here: what a step
//! says of headers and scales (`assignment`), nor the rules that it waits for (`analysis`).

use std::time::Duration;

use model::Weight;
use model::strategy::Step;

use crate::diagnostic::Problem;
use crate::node::Entry;
use crate::read::Mapping;
use crate::service::mappings;
use crate::{analysis, assignment, fields};

/// A canary without steps of its own.
const DEFAULT_STEPS: [u16; 3] = [500, 2500, 5000];
const DEFAULT_PAUSE: Duration = Duration::from_secs(60);
/// What a step can do; one thing each.
const VERBS: [&str; 5] = ["setWeight", "pause", "analysis", "setCanaryScale", "setHeaderRoute"];

/// What the steps before have left behind.
#[derive(Default)]
struct Before {
    heaviest: Weight,
    /// The header routes in force, by name.
    routes: Vec<String>,
}

pub(crate) fn steps(canary: &Mapping<'_>) -> Vec<Step> {
    match canary.list("steps") {
        Some([]) => {
            let problem = Problem::new("a canary needs at least one step");
            canary.error(&canary.place("steps"), problem.help("remove `steps` to get the default"));
            Vec::new()
        }
        Some(items) => {
            let mut before = Before::default();
            let mut steps = Vec::new();
            for item in mappings(canary, items) {
                let step = Mapping::open(canary.context, &fields::STEP, item, &item.span);
                steps.extend(one(&step, &mut before));
                step.finish();
            }
            steps
        }
        None => default_steps(),
    }
}

fn default_steps() -> Vec<Step> {
    let weights = DEFAULT_STEPS.into_iter().filter_map(Weight::from_basis_points);
    weights
        .flat_map(|weight| [Step::SetWeight(weight), Step::Pause { duration: Some(DEFAULT_PAUSE) }])
        .collect()
}

fn one(step: &Mapping<'_>, before: &mut Before) -> Option<Step> {
    let mut given: Vec<&Entry> = VERBS.into_iter().filter_map(|verb| step.entry(verb)).collect();
    given.sort_by_key(|entry| entry.key_span.start);
    if let [first, second, ..] = given.as_slice() {
        let problem = Problem::new(format!("one step has `{}` and `{}`", first.key, second.key));
        let help = format!("make it two steps: start a new item with `- {}:`", second.key);
        step.error(&second.key_span, problem.help(help));
        return None;
    }
    let Some(entry) = given.first() else {
        if !step.has_unknown() {
            let problem = Problem::new(
                "a step needs one of `setWeight`, `pause`, `analysis`, `setCanaryScale` and `setHeaderRoute`",
            );
            let help = "write `setWeight: 5`, `pause: {duration: 1m}` or `pause: {}`";
            step.error(&step.at, problem.help(help));
        }
        return None;
    };
    match entry.key.as_str() {
        "setWeight" => set_weight(step, entry, &mut before.heaviest),
        "pause" => pause(step, entry),
        "analysis" => {
            let analysis = step.child("analysis", &fields::STEP_ANALYSIS);
            let metrics = analysis::waited_for(&analysis);
            analysis.finish();
            Some(Step::Analysis { metrics })
        }
        "setCanaryScale" => assignment::scale(step, entry).map(Step::SetCanaryScale),
        _ => assignment::header_route(step, entry, &mut before.routes).map(Step::SetHeaderRoute),
    }
}

fn set_weight(step: &Mapping<'_>, entry: &Entry, heaviest: &mut Weight) -> Option<Step> {
    let weight = step.percent("setWeight")?;
    if weight < *heaviest {
        let problem = Problem::new(format!("the weight goes down, from {heaviest} to {weight}"));
        let help = "a canary usually goes up step by step";
        step.context.sink.warning(&entry.value.span, problem.help(help));
    }
    *heaviest = weight;
    Some(Step::SetWeight(weight))
}

fn pause(step: &Mapping<'_>, entry: &Entry) -> Option<Step> {
    if let Some(scalar) = entry.value.scalar() {
        let problem = Problem::new("a pause is a mapping");
        let help =
            format!("write `pause: {{duration: {}}}`, or `pause: {{}}` to wait for a promotion", scalar.text);
        step.error(&entry.value.span, problem.help(help));
        return None;
    }
    let pause = step.child("pause", &fields::PAUSE);
    let duration = pause.optional_duration("duration");
    pause.finish();
    Some(Step::Pause { duration })
}
