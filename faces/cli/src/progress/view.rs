//! A rollout in words: a few lines to redraw, or one line for a file. Pure. Does not live here: when it is shown.

use model::{Timestamp, Weight};
use views::{HookState, HookStatus, PlaceStatus, RolloutStatus};

use crate::words;

/// What has to change for a new line in a file at once. Counts grow all the time and are left out, and so is what
/// stands in brackets: a replica that is not ready in its first moments is no news.
pub(crate) type Key = (String, u32, Weight, Vec<(u64, u32, u32)>, String);

pub(crate) fn key(place: &PlaceStatus, rollout: &RolloutStatus) -> Key {
    let replicas = place.releases.iter().map(|r| (r.release.0, r.ready, r.wanted)).collect();
    let mut doing = doing(rollout, None);
    doing.truncate(doing.find(" (").unwrap_or(doing.len()));
    (rollout.phase.clone(), rollout.step, rollout.weight, replicas, doing)
}

/// The rollout on several lines.
pub(crate) fn lines(place: &PlaceStatus, rollout: &RolloutStatus, at: Timestamp) -> Vec<String> {
    let mut rows = vec![
        row("traffic", format!("{} {}", share_bar(rollout.weight), share(rollout))),
        row("replicas", replicas(place, rollout)),
    ];
    rows.extend(hooks(rollout).map(|hooks| row("hooks", hooks)));
    if !place.preview_hosts.is_empty() {
        rows.push(row("preview", format!("release {} at {}", rollout.to, place.preview_hosts.join(", "))));
    }
    if let Some(report) = &rollout.report {
        if report.evidence.candidate.requests + report.evidence.stable.requests > 0 {
            rows.push(row("requests", requests(rollout)));
        }
        rows.extend(evidence(rollout).into_iter().map(|line| row("evidence", line)));
    }
    // Why it was taken back follows as the error; twice would be in its way.
    let now = if rollout.ended { phase(&rollout.phase).to_owned() } else { doing(rollout, Some(at)) };
    rows.push(row("now", now));
    let lines = std::iter::once(title(place, rollout)).chain(words::table(&rows, "  "));
    lines.map(|line| words::plain(&line)).collect()
}

/// The rollout on one line.
pub(crate) fn line(rollout: &RolloutStatus) -> String {
    if rollout.ended {
        return words::plain(phase(&rollout.phase));
    }
    let counts = rollout.report.as_ref().map(|report| &report.evidence.candidate);
    let counts = counts.filter(|counts| counts.requests > 0);
    let counts = counts.map_or_else(String::new, |c| format!(", {}", words::counts(c.requests, c.errors)));
    let parts = [step(rollout), share(rollout) + &counts, doing(rollout, None)];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    words::plain(&parts.join("; "))
}

/// The evidence, a line for each judge and rule.
pub(crate) fn evidence(rollout: &RolloutStatus) -> Vec<String> {
    let mut lines = Vec::new();
    let Some(evidence) = rollout.report.as_ref().map(|report| &report.evidence) else { return lines };
    // Before the first request the numbers are those of nobody's evidence.
    let counted = evidence.candidate.requests + evidence.stable.requests > 0;
    let levels = [("against it", evidence.against), ("for it", evidence.for_it)];
    let levels = levels.into_iter().filter(|_| counted);
    for (side, level) in levels.filter_map(|(side, level)| Some((side, level?))) {
        let bar = words::bar(level.e, level.threshold);
        lines.push(format!("{side} {bar} {} of {}", words::number(level.e), words::number(level.threshold)));
    }
    if let Some(after) = evidence.after {
        lines.push(format!("since it takes all requests: {}", words::number(after)));
    }
    for it in evidence.latency.iter().filter(|it| it.candidate.requests > 0) {
        lines.push(format!(
            "over {} ms (p{} before): {} of {} new requests, {} of {} old ones; {}",
            words::number(it.slower_than_ms),
            (it.quantile * 1e6).round() / 1e4,
            it.candidate.errors,
            it.candidate.requests,
            it.stable.errors,
            it.stable.requests,
            words::number(it.e)
        ));
    }
    lines.extend(evidence.latency_unjudged.clone());
    if evidence.aimed.requests > 0 {
        let aimed = evidence.aimed;
        lines.push(format!(
            "led by headers: {} requests, {} errors, not compared",
            aimed.requests, aimed.errors
        ));
    }
    if let Some(users) = evidence.users {
        let (new, old) = (users.candidate, users.stable);
        lines.push(format!(
            "users with an error: {} of {} on the new release, {} of {} on the old one",
            new.first_erred, new.seen, old.first_erred, old.seen
        ));
    }
    for rule in &evidence.rules {
        let value = rule.last_value.map_or_else(|| "no data".to_owned(), |value| format!("{value:.4}"));
        let step = rule.step.map_or_else(String::new, |step| format!(" of step {}", step + 1));
        let dry = if rule.dry_run { ", dry run" } else { "" };
        lines.push(format!(
            "rule {}{step}: {value}, {} measured, {} failed, {} inconclusive{dry}",
            rule.name, rule.taken, rule.failed, rule.inconclusive
        ));
    }
    lines
}

/// The requests of both releases.
pub(crate) fn requests(rollout: &RolloutStatus) -> String {
    let Some(evidence) = rollout.report.as_ref().map(|report| &report.evidence) else { return String::new() };
    let new = words::counts(evidence.candidate.requests, evidence.candidate.errors);
    let old = words::counts(evidence.stable.requests, evidence.stable.errors);
    match rollout.from {
        Some(from) => format!("release {}: {new}; release {from}: {old}", rollout.to),
        None => format!("release {}: {new}", rollout.to),
    }
}

/// The hooks and how far each is; `None` without any.
pub(crate) fn hooks(rollout: &RolloutStatus) -> Option<String> {
    let told = |hook: &HookStatus| {
        let state = match hook.state {
            HookState::Waiting => "waits",
            HookState::Running => "is running",
            HookState::Passed => "passed",
            HookState::Failed => "failed",
        };
        let again = if hook.attempt > 1 { format!(" (attempt {})", hook.attempt) } else { String::new() };
        format!("{} {state}{again}", hook.name)
    };
    let all: Vec<String> = rollout.hooks.iter().map(told).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// Which step of how many, when there are steps.
pub(crate) fn step(rollout: &RolloutStatus) -> String {
    match rollout.steps {
        0 => String::new(),
        // Its waves are as many as its replicas allow.
        _ if rollout.strategy == "rolling" => String::new(),
        steps if rollout.strategy == "blueGreen" => {
            if rollout.step < steps { "preview" } else { "after the preview" }.to_owned()
        }
        steps if rollout.step >= steps => format!("after the last of {steps} steps"),
        steps => format!("step {} of {steps}", rollout.step + 1),
    }
}

/// What it does and what it waits for; with a time, until when.
pub(crate) fn doing(rollout: &RolloutStatus, at: Option<Timestamp>) -> String {
    let Some(report) = &rollout.report else {
        let reason = rollout.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        return format!("{}{reason}", phase(&rollout.phase));
    };
    let Some(wait) = &report.wait else { return report.doing.clone() };
    let until = wait.until.zip(at).map_or_else(String::new, |(until, at)| {
        // What waits for a verdict or for replicas says how long it may; what waits for time alone, how long it does.
        format!(" ({} left)", words::whole(until.since(at)))
    });
    // A pause waits for somebody to choose between the two commands that it names.
    let waits = if rollout.phase == "paused" { "" } else { "waits: " };
    format!("{}; {waits}{}{until}", report.doing, wait.what)
}

/// A phase in words.
pub(crate) fn phase(phase: &str) -> &str {
    match phase {
        "rollingBack" => "rolling back",
        "rolledBack" => "rolled back",
        other => other,
    }
}

fn title(place: &PlaceStatus, rollout: &RolloutStatus) -> String {
    let over = rollout.from.map_or_else(String::new, |from| format!(" over release {from}"));
    let step = step(rollout);
    let step = if step.is_empty() { step } else { format!(", {step}") };
    format!("{}: release {}{over}, {}{step}", place.place, rollout.to, rollout.strategy)
}

fn row(name: &str, text: String) -> Vec<String> {
    vec![name.to_owned(), text]
}

fn share(rollout: &RolloutStatus) -> String {
    format!("{} of the requests to release {}", rollout.weight, rollout.to)
}

fn share_bar(weight: Weight) -> String {
    let full = usize::from(weight.basis_points()) / 500;
    format!("[{}{}]", "#".repeat(full), ".".repeat(20 - full))
}

fn replicas(place: &PlaceStatus, rollout: &RolloutStatus) -> String {
    let one = |number| {
        let release = place.releases.iter().find(|release| release.release == number);
        let (ready, wanted) = release.map_or((0, 0), |release| (release.ready, release.wanted));
        format!("release {number}: {ready} of {wanted} ready")
    };
    let all: Vec<String> = std::iter::once(rollout.to).chain(rollout.from).map(one).collect();
    all.join("; ")
}
