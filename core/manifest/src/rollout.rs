//! Rolling updates, canaries and blue-green switches, with the words of Kubernetes and Argo Rollouts. Does not live
//! here: the steps of a canary (`steps`), and hooks (`hooks`).

use std::time::Duration;

use model::route::Route;
use model::strategy::{Amount, Kind, Metric, OnFailure, ROLLBACK_WINDOW, Strategy};
use model::{EnvironmentName, ServiceName, Weight};

use crate::analysis;
use crate::assignment;
use crate::diagnostic::Problem;
use crate::fields;
use crate::hooks;
use crate::node::Span;
use crate::promotion;
use crate::read::Mapping;
use crate::route;
use crate::steps;

/// A release is taken back by itself for no longer than this.
const LONGEST_ROLLBACK_WINDOW: Duration = Duration::from_secs(24 * 3_600);

/// A strategy, and what becomes of the sections that belong to one strategy alone.
pub(crate) struct Rollout {
    pub(crate) strategy: Strategy,
    pub(crate) sections: Vec<Section>,
}

/// A section that belongs to one strategy alone, or to one kind of steps.
pub(crate) struct Section {
    pub(crate) span: Span,
    /// What is wrong where no environment uses it; `None` when it is used, or when nobody can tell.
    pub(crate) unused: Option<Unused>,
}

/// What is said of a section that nobody uses.
pub(crate) enum Unused {
    /// It may be kept for another day.
    Warning(Problem),
    /// It promises users what nobody keeps.
    Error(Problem),
}

/// Where the rollout happens, which requests the service itself answers there, and how many replicas do.
pub(crate) struct At<'a> {
    pub(crate) service: &'a ServiceName,
    pub(crate) environment: &'a EnvironmentName,
    pub(crate) route: &'a Route,
    pub(crate) replicas: u32,
}

pub(crate) fn rollout(root: &Mapping<'_>, at: &At<'_>) -> Rollout {
    let rollout = root.child("rollout", &fields::ROLLOUT);
    let rolling = rolling(&rollout);
    let canary = canary(&rollout);
    let strategy = rollout.choice("strategy", &fields::STRATEGIES_NOT_YET);
    let chosen = strategy == Some("blueGreen");
    let blue_green = blue_green(&rollout, at, chosen);
    let is_known = rollout
        .entry("strategy")
        .is_none_or(|entry| entry.value.scalar().is_some_and(|s| Some(s.text.as_str()) == strategy));
    let sections = ["canary", "blueGreen"].into_iter().filter_map(|name| {
        let span = rollout.entry(name)?.key_span.clone();
        let unused_by = strategy.filter(|strategy| is_known && *strategy != name);
        let unused = unused_by.map(|strategy| {
            let message = format!("the settings of `{name}` are not used: the strategy is `{strategy}`");
            Unused::Warning(Problem::new(message).help(format!("make it `strategy: {name}`, or remove them")))
        });
        Some(Section { span, unused })
    });
    let kept = assignment::kept(&rollout, strategy.filter(|_| is_known), &canary);
    let sections = sections.chain(kept).collect();
    let strategy = Strategy {
        kind: match strategy {
            Some("canary") => canary,
            Some("blueGreen") => blue_green,
            _ => rolling,
        },
        progress_deadline: rollout.duration("progressDeadline"),
        min_ready: rollout.duration("minReady"),
        scale_down_delay: rollout.duration("scaleDownDelay"),
        bake_time: rollout.duration("bakeTime"),
        declared_rollback_window: rollback_window(&rollout),
        on_failure: match rollout.choice("onFailure", &[]) {
            Some("freeze") => OnFailure::Freeze,
            Some(_) | None => OnFailure::Rollback,
        },
        analysis: analysis::analysis(&rollout),
        hooks: hooks::hooks(&rollout),
    };
    promotion::check(&rollout, &strategy, at.replicas);
    rollout.finish();
    Rollout { strategy, sections }
}

/// What is declared, where it is not what holds anyway: then the same manifest keeps its digest.
fn rollback_window(rollout: &Mapping<'_>) -> Option<Duration> {
    let window = rollout.duration("rollbackWindow");
    if window > LONGEST_ROLLBACK_WINDOW {
        let problem = Problem::new("`rollbackWindow` is at most 24h");
        let help = "later, going back would undo a day of other changes: somebody has to decide (`shipshape rollback`)";
        rollout.error(&rollout.place("rollbackWindow"), problem.help(help));
    }
    Some(window).filter(|window| *window != ROLLBACK_WINDOW)
}

fn blue_green(rollout: &Mapping<'_>, at: &At<'_>, chosen: bool) -> Kind {
    let section = rollout.child("blueGreen", &fields::BLUE_GREEN);
    let automatic = section.flag("autoPromotionEnabled").unwrap_or(true);
    let delay = section.duration("autoPromotionDelay");
    if let Some(entry) = section.entry("autoPromotionDelay").filter(|_| !automatic) {
        let problem = Problem::new("`autoPromotionDelay` has no effect");
        let help = "it needs `autoPromotionEnabled: true`; without it somebody promotes";
        section.context.sink.warning(&entry.key_span, problem.help(help));
    }
    let hosts = section.scalars("previewHosts", "a host name", route::host).map(route::unique);
    if hosts.as_ref().is_some_and(Vec::is_empty) && section.list("previewHosts").is_some_and(<[_]>::is_empty)
    {
        let problem = Problem::new("`previewHosts` is empty, so nobody could look at the preview");
        section.error(&section.place("previewHosts"), problem.help("remove it to get the default"));
    }
    let hosts = hosts.unwrap_or_else(|| vec![format!("preview.{}.{}.localhost", at.service, at.environment)]);
    let both = hosts.iter().find(|host| at.route.hosts.contains(host));
    if let Some(host) = both.filter(|_| chosen && !section.context.partial) {
        let problem = Problem::new(format!("the preview and the service itself both answer {host}"));
        let help = "give the preview hosts of its own under `rollout.blueGreen.previewHosts`";
        section.error(&section.place("previewHosts"), problem.help(help));
    }
    let run = |name, object, rules: fn(&Mapping<'_>) -> Vec<Metric>| {
        section.entry(name)?;
        let analysis = section.child(name, object);
        let metrics = rules(&analysis);
        analysis.finish();
        Some(metrics)
    };
    let pre_promotion = run("prePromotionAnalysis", &fields::PRE_PROMOTION, analysis::of_a_preview);
    let post_promotion = run("postPromotionAnalysis", &fields::POST_PROMOTION, analysis::waited_for);
    let kind = Kind::BlueGreen {
        auto_promotion: automatic.then_some(delay),
        preview_replicas: section.count("previewReplicaCount"),
        preview_hosts: hosts,
        pre_promotion: pre_promotion.unwrap_or_default(),
        post_promotion: post_promotion.unwrap_or_default(),
    };
    section.finish();
    kind
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
    let steps = steps::steps(&canary);
    let session_affinity = assignment::affinity(&canary);
    canary.finish();
    Kind::Canary { steps, session_affinity }
}
