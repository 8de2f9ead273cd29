//! The status in words. Pure, but for the paint. Does not live here: asking for it.

use model::{ReleaseNumber, Timestamp};
use ports::fleet::ReplicaPhase;
use views::{PlaceStatus, RolloutStatus, Status};

use super::lock;
use crate::printer::{Paint, Printer};
use crate::progress;
use crate::words;

/// How long a line gets of what others wrote: a terminal's usual width, less the indentation.
const WIDTH: usize = 78;

/// A line, and how much it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    paint: Option<Paint>,
}

fn plain(text: impl AsRef<str>) -> Line {
    Line { text: words::plain(text.as_ref()), paint: None }
}

fn coloured(paint: Paint, text: impl AsRef<str>) -> Line {
    Line { paint: Some(paint), ..plain(text) }
}

/// The line as stdout takes it.
pub(super) fn painted(printer: &Printer, line: &Line) -> String {
    line.paint.map_or_else(|| line.text.clone(), |paint| printer.paint(paint, &line.text))
}

/// Everything at one glance.
pub(crate) fn lines(status: &Status) -> Vec<Line> {
    let mut lines = Vec::new();
    if !status.agent_reachable {
        let text = "warning: the agent does not answer; replicas are shown as they were last seen. \
                    `shipshape up` starts it again";
        lines.push(coloured(Paint::Warning, text));
    }
    let warnings = status.warnings.iter();
    lines.extend(warnings.map(|warning| coloured(Paint::Warning, format!("warning: {warning}"))));
    let locks = status.locks.iter().map(|it| coloured(Paint::Warning, lock::in_words(it)));
    lines.extend(locks);
    if status.places.is_empty() {
        let gateway =
            status.gateway.as_ref().map_or_else(String::new, |at| format!("; the gateway is at {at}"));
        lines.push(plain(format!("nothing is deployed here{gateway}")));
        lines.push(plain("  try: shipshape deploy PATH, where PATH is the file or directory to run"));
    }
    for place in &status.places {
        if !lines.is_empty() {
            lines.push(plain(""));
        }
        lines.extend(self::place(status, place));
    }
    lines
}

fn place(status: &Status, place: &PlaceStatus) -> Vec<Line> {
    let mut lines = vec![coloured(Paint::Strong, headline(place))];
    if let Some(request) = request(status, place, &place.hosts) {
        lines.push(plain(format!("  try      {request}")));
    }
    if let Some(request) = request(status, place, &place.preview_hosts) {
        lines.push(plain(format!("  preview  {request}")));
    }
    if let Some(rollout) = &place.rollout {
        lines.extend(self::rollout(rollout, status.at));
    }
    lines.extend(place.group.as_ref().map(group));
    if place.history.len() > 1 {
        let earlier: Vec<String> =
            place.history.iter().rev().skip(1).take(5).map(ToString::to_string).collect();
        lines.push(plain(format!("  before   {}", earlier.join(", "))));
    }
    lines.extend(replicas(place));
    lines
}

/// Who goes together, and how far each is.
fn group(group: &views::GroupStatus) -> Line {
    let member = |member: &views::MemberStatus| {
        let stage = match member.stage {
            views::Stage::Underway => "under way",
            views::Stage::AtGate => "one move from all requests",
            views::Stage::Proved => "proved",
        };
        format!("{} ({stage})", member.place)
    };
    let members: Vec<String> = group.members.iter().map(member).collect();
    plain(format!("  group    {} {}: {}", group.name, group.number, members.join(", ")))
}

fn headline(place: &PlaceStatus) -> String {
    let named = |number: ReleaseNumber| {
        let artifact = place.releases.iter().find(|r| r.release == number).and_then(|r| r.artifact);
        let digest = artifact.map_or_else(String::new, |artifact| format!(" ({})", artifact.short()));
        format!("release {number}{digest}")
    };
    let at = &place.place;
    if let Some(serving) = place.serving {
        let ready = place.releases.iter().find(|r| r.release == serving).map_or(0, |r| r.ready);
        let verb = if ready > 0 { "serves all requests" } else { "should serve, but has no ready replica" };
        return format!("{at}  {} {verb}", named(serving));
    }
    let sharing: Vec<String> = place
        .releases
        .iter()
        .filter(|release| release.weight.basis_points() > 0)
        .map(|release| format!("{} serves {}", named(release.release), release.weight))
        .collect();
    if sharing.is_empty() { format!("{at}  nothing serves") } else { format!("{at}  {}", sharing.join(", ")) }
}

/// A request that reaches the place by one of these hosts.
pub(super) fn request(status: &Status, place: &PlaceStatus, hosts: &[String]) -> Option<String> {
    let gateway = status.gateway.as_ref()?;
    let host = hosts.first()?;
    let path = place.path_prefixes.first().map_or("/", String::as_str);
    let (address, port) = gateway.rsplit_once(':')?;
    let address = match address {
        "0.0.0.0" => "127.0.0.1",
        "[::]" => "[::1]",
        other => other,
    };
    Some(match host.as_str() {
        "*" => format!("curl http://{address}:{port}{path}"),
        local if local.ends_with(".localhost") => format!("curl http://{local}:{port}{path}"),
        other => {
            let host =
                other.strip_prefix("*.").map_or_else(|| other.to_owned(), |rest| format!("www.{rest}"));
            format!("curl -H 'Host: {host}' http://{address}:{port}{path}")
        }
    })
}

fn rollout(rollout: &RolloutStatus, at: Timestamp) -> Vec<Line> {
    let from = rollout.from.map_or_else(String::new, |from| format!(" over release {from}"));
    let phase = progress::phase(&rollout.phase);
    let since = words::duration(at.since(rollout.phase_since));
    let step = progress::step(rollout);
    let step = if step.is_empty() || rollout.ended { String::new() } else { format!(", {step}") };
    let head = format!(
        "  rollout  {} of release {}{from}, {}{step}: {phase} for {since}",
        rollout.number, rollout.to, rollout.strategy
    );
    if rollout.ended {
        let reason = rollout.reason.as_ref().map_or_else(String::new, |reason| format!(", {reason}"));
        let bad = rollout.phase == "rolledBack";
        let text = format!("{} of release {}{from}: {phase} {since} ago{reason}", rollout.number, rollout.to);
        let lines = words::wrapped(&text, WIDTH).into_iter().enumerate();
        let indented =
            lines.map(|(index, line)| format!("  {:<9}{line}", if index == 0 { "rollout" } else { "" }));
        return indented.map(|line| if bad { coloured(Paint::Warning, line) } else { plain(line) }).collect();
    }
    let mut lines = vec![plain(head), plain(format!("           {}", progress::doing(rollout, Some(at))))];
    lines.extend(progress::hooks(rollout).map(|hooks| plain(format!("           hooks {hooks}"))));
    if rollout.report.as_ref().is_some_and(|r| r.evidence.candidate.requests + r.evidence.stable.requests > 0)
    {
        lines.push(plain(format!("           {}", progress::requests(rollout))));
    }
    let evidence = progress::evidence(rollout).into_iter();
    lines.extend(evidence.map(|line| plain(format!("           evidence {line}"))));
    lines
}

fn replicas(place: &PlaceStatus) -> Vec<Line> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for release in &place.releases {
        for replica in &release.replicas {
            let why =
                replica.reason.clone().or_else(|| Some(format!("last exit: {}", replica.last_exit.clone()?)));
            rows.push(vec![
                release.release.to_string(),
                replica.ordinal.to_string(),
                phase(replica.phase).to_owned(),
                replica.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
                replica.port.to_string(),
                replica.restarts.to_string(),
                replica.in_flight.to_string(),
                words::cut(&why.unwrap_or_default(), WIDTH),
            ]);
        }
    }
    let mut lines = Vec::new();
    if !rows.is_empty() {
        let head = ["RELEASE", "REPLICA", "PHASE", "PID", "PORT", "RESTARTS", "IN FLIGHT", "WHY"];
        rows.insert(0, head.map(str::to_owned).to_vec());
        lines.extend(words::table(&rows, "  ").into_iter().map(plain));
    }
    for release in &place.releases {
        let (number, missing) = (release.release, release.wanted.saturating_sub(release.ready));
        if let Some(why) = &release.crash_loop {
            let text = format!("release {number} keeps failing: {why}");
            let text = words::wrapped(&text, WIDTH).into_iter();
            lines.extend(text.map(|line| coloured(Paint::Bad, format!("  {line}"))));
            let at = &place.place;
            lines.push(plain(format!(
                "  try      shipshape logs --service {} -e {} --release {number}",
                at.service, at.environment
            )));
        } else if missing > 0 {
            let text = format!("  release {number}: {} of {} replicas ready", release.ready, release.wanted);
            lines.push(coloured(Paint::Warning, text));
        }
    }
    lines
}

fn phase(phase: ReplicaPhase) -> &'static str {
    match phase {
        ReplicaPhase::Starting => "starting",
        ReplicaPhase::Ready => "ready",
        ReplicaPhase::Unready => "unready",
        ReplicaPhase::Backoff => "backoff",
        ReplicaPhase::Draining => "draining",
        ReplicaPhase::Stopping => "stopping",
    }
}
