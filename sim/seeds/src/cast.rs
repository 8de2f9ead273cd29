//! Who plays in a life: services, environments, builds and their manifests, drawn from the seed. What happens to them is
//! the `story`'s business.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fastrand::Rng;
use model::Place;
use model::check::{Measured, Verdict};

use sim::{Behaviour, Start};

/// The services of one life.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cast {
    pub(crate) services: Vec<Service>,
    pub(crate) requests_per_second: u32,
    /// How time passes on the machine.
    pub(crate) grain: Duration,
    /// How often control looks at its timers.
    pub(crate) tick: Duration,
}

/// One service.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) environments: Vec<String>,
    pub(crate) builds: Vec<Build>,
}

/// What can be deployed.
#[derive(Debug, Clone)]
pub(crate) struct Build {
    pub(crate) path: PathBuf,
    pub(crate) manifest: String,
    pub(crate) behaviour: Behaviour,
    /// How long its smoke test takes, and what it then finds.
    pub(crate) smoke: (Duration, Verdict),
    /// The hooks of its rollout.
    pub(crate) hooks: Vec<Hook>,
    /// What its rollout asks of the metrics.
    pub(crate) asked: Option<Box<Asked>>,
}

/// A question to the metrics, and the answer.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) query: String,
    pub(crate) takes: Duration,
    pub(crate) answer: Measured,
    /// Whether a step waits for it; otherwise it goes on beside them.
    is_step: bool,
    /// How it is declared.
    declared: String,
}

impl Asked {
    /// By a rule that goes on beside the steps, and answered well.
    pub(crate) fn well() -> Self {
        let query = "errors".to_owned();
        let declared =
            declared_question(&query, "successCondition: 'result[0] < 0.2', consecutiveErrorLimit: 1");
        let (takes, answer) = (Duration::from_millis(100), Measured::Vector(vec![0.01]));
        Self { query, takes, answer, is_step: false, declared }
    }

    /// How it is declared by itself.
    pub(crate) fn beside(&self) -> String {
        format!("  analysis:\n    metrics:\n      - {}\n", self.declared)
    }
}

fn declared_question(query: &str, more: &str) -> String {
    format!("{{ name: asked, promql: {{ query: '{query}', timeout: 4s }}, interval: 3s, {more} }}")
}

/// A hook, and how it goes.
#[derive(Debug, Clone)]
pub(crate) struct Hook {
    /// What is run; no other hook is called so.
    pub(crate) run: String,
    pub(crate) takes: Duration,
    pub(crate) verdict: Verdict,
    moment: &'static str,
    /// How it is declared.
    declared: String,
}

impl Cast {
    pub(crate) fn draw(chance: &mut Rng) -> Self {
        let services = (0..chance.u32(1..=2)).map(|index| Service::draw(chance, index)).collect();
        Self {
            services,
            requests_per_second: [0, 5, 20, 20, 60, 60, 60, 120][chance.usize(..8)],
            grain: Duration::from_millis([500, 700, 1_000][chance.usize(..3)]),
            tick: Duration::from_millis([500, 1_000, 1_300][chance.usize(..3)]),
        }
    }

    pub(crate) fn places(&self) -> Vec<Place> {
        let places = self.services.iter().flat_map(|service| {
            service.environments.iter().filter_map(|environment| {
                Some(Place { service: service.name.parse().ok()?, environment: environment.parse().ok()? })
            })
        });
        places.collect()
    }
}

impl Service {
    fn draw(chance: &mut Rng, index: u32) -> Self {
        let name = format!("s{index}");
        let mut environments = vec!["production".to_owned()];
        if chance.u32(..3) == 0 {
            environments.push("staging".to_owned());
        }
        // Every build that is called healthy fails as seldom as the next one.
        let ordinary = [0.0, 0.0, 0.01, 0.03][chance.usize(..4)];
        let stalls = [0.0, 0.02, 0.05][chance.clone().usize(..3)];
        let builds = (0..4).map(|build| {
            let path = Path::new("/builds").join(format!("{name}-{build}"));
            // What else is drawn stays what it was: a seed that once failed goes on to mean the same.
            let mut apart = chance.clone();
            let previewed = apart.u32(..4) == 0;
            let preview = previewed.then(|| blue_green(&mut apart, &smoke_test(&name, build)));
            let smoke = smoke(&mut apart, build);
            let bake = [0, 0, 20, 40][apart.usize(..4)];
            let hooks = hooks(&mut apart, &name, build);
            let asked = asked(&mut apart, &name, build);
            let manifest = manifest(chance, &name, &environments, preview, bake, asked.as_ref());
            let manifest = manifest + &declared(&hooks);
            let behaviour = Behaviour { stalls, ..behaviour(chance, build, ordinary) };
            let asked = asked.map(Box::new);
            Build { path, manifest, behaviour, smoke, hooks, asked }
        });
        let builds = builds.collect();
        Self { name, environments, builds }
    }
}

fn behaviour(chance: &mut Rng, build: u32, ordinary: f64) -> Behaviour {
    let start = Start::After(Duration::from_millis(chance.u64(200..9_000)));
    let healthy = Behaviour { start, error_rate: ordinary, slow_rate: 0.0, stalls: 0.0 };
    // The first build is good, so that there is something to go back to.
    match chance.u32(..10) {
        0 if build > 0 => Behaviour { start: Start::Never, ..healthy },
        1 if build > 0 => Behaviour { start: Start::Crashes, ..healthy },
        2 | 3 if build > 0 => Behaviour { error_rate: [0.1, 0.3, 1.0][chance.usize(..3)], ..healthy },
        4 if build > 0 => Behaviour { slow_rate: 0.4, ..healthy },
        _ => healthy,
    }
}

/// What the smoke test of a build is called.
pub(crate) fn smoke_test(service: &str, build: u32) -> String {
    format!("smoke {service}-{build}")
}

/// Some builds have hooks, and some of those fail, cannot be run, take too long, or must not run again.
fn hooks(chance: &mut Rng, service: &str, build: u32) -> Vec<Hook> {
    let names =
        [("before", "migrate", 4), ("before", "warm", 8), ("after", "announce", 5), ("after", "tidy", 8)];
    let mut hooks = Vec::new();
    for (moment, name, seldom) in names {
        if chance.u32(..seldom) > 0 {
            continue;
        }
        let run = format!("{name} {service}-{build}");
        let (takes, verdict) = smoke(chance, build);
        let once = if chance.u32(..4) == 0 { ", idempotent: false" } else { "" };
        let must = if moment == "after" && chance.u32(..3) == 0 { ", onFailure: rollback" } else { "" };
        let declared = format!("      - {{ name: {name}, run: {run}, timeout: 20s{once}{must} }}\n");
        hooks.push(Hook { run, takes, verdict, moment, declared });
    }
    hooks
}

fn declared(hooks: &[Hook]) -> String {
    let of = |moment: &str| {
        let lines: String =
            hooks.iter().filter(|it| it.moment == moment).map(|it| it.declared.as_str()).collect();
        if lines.is_empty() { lines } else { format!("    {moment}:\n{lines}") }
    };
    let all = of("before") + &of("after");
    if all.is_empty() { all } else { format!("  hooks:\n{all}") }
}

/// Some rollouts ask the metrics, which answer well, badly, neither, nothing, or too late.
fn asked(chance: &mut Rng, service: &str, build: u32) -> Option<Asked> {
    if chance.bool() {
        return None;
    }
    let query = format!("errors{{app=\"{service}\",build=\"{build}\"}}");
    let good = Measured::Vector(vec![0.01]);
    let answer = match chance.u32(..8) {
        0 | 1 if build > 0 => Measured::Vector(vec![0.9]),
        2 if build > 0 => Measured::Vector(vec![0.3]),
        3 if build > 0 => Measured::Vector(vec![]),
        4 if build > 0 => Measured::Vector(vec![f64::NAN]),
        _ => good,
    };
    let takes = match chance.u32(..8) {
        0 if build > 0 => Duration::from_secs(60),
        _ => Duration::from_millis(chance.u64(100..3_000)),
    };
    let is_step = chance.bool();
    let count = if is_step { "count: 2, " } else { "" };
    let fails = if chance.bool() { ", failureCondition: 'result[0] > 0.5'" } else { "" };
    let (failures, others, errors) = (chance.u32(0..2), chance.u32(0..2), chance.u32(0..3));
    let more = format!(
        "{count}successCondition: 'result[0] < 0.2'{fails}, failureLimit: {failures}, inconclusiveLimit: {others}, \
         consecutiveErrorLimit: {errors}"
    );
    let declared = declared_question(&query, &more);
    Some(Asked { query, takes, answer, is_step, declared })
}

fn smoke(chance: &mut Rng, build: u32) -> (Duration, Verdict) {
    let takes = Duration::from_millis(chance.u64(100..15_000));
    match chance.u32(..8) {
        0 | 1 if build > 0 => (takes, Verdict::Failed),
        2 if build > 0 => (takes, Verdict::Error),
        3 if build > 0 => (Duration::from_secs(600), Verdict::Passed),
        _ => (takes, Verdict::Passed),
    }
}

/// A preview that has to pass its smoke test.
fn blue_green(chance: &mut Rng, smoke: &str) -> String {
    let errors = chance.u32(0..3);
    format!(
        "  strategy: blueGreen\n  scaleDownDelay: {}s\n  blueGreen:\n    autoPromotionDelay: {}s\n    \
         previewReplicaCount: {}\n    prePromotionAnalysis:\n      metrics:\n        - name: smoke\n          \
         command: {{ run: {smoke}, timeout: 20s }}\n          count: {}\n          interval: 3s\n          \
         consecutiveErrorLimit: {errors}\n  analysis: {{ {} }}\n",
        chance.u32(1..10),
        chance.u32(0..8),
        chance.u32(1..=3),
        chance.u32(1..=2),
        judge(chance)
    )
}

fn manifest(
    chance: &mut Rng,
    name: &str,
    environments: &[String],
    preview: Option<String>,
    bake: u32,
    asked: Option<&Asked>,
) -> String {
    let hosts = environments.iter().map(|environment| {
        format!("  {environment}:\n    route: {{ hosts: [{environment}.{name}.test] }}\n")
    });
    let declared = |chance: &mut Rng| {
        let drawn = if chance.u32(..3) == 0 { rolling(chance) } else { canary(chance, asked) };
        let declared = preview.unwrap_or(drawn);
        // Some are taken back for a short time only, or never.
        let window = ["", "  rollbackWindow: 15s\n", "  rollbackWindow: 0s\n"][(bake % 5).min(2) as usize];
        let declared = format!("{declared}{window}");
        // Some are watched for longer than the old release would stay warm.
        if bake == 0 || declared.contains("bakeTime") {
            return declared;
        }
        format!("{declared}  bakeTime: {bake}s\n")
    };
    format!(
        "service: {name}\nrun: ./{name}\nreplicas: {}\nsecrets:\n  TOKEN: {{ environment: TOKEN_OF_{} }}\n\
         environments:\n{}rollout:\n  progressDeadline: {}s\n{}",
        chance.u32(1..=4),
        name.to_uppercase(),
        hosts.collect::<String>(),
        chance.u32(15..60),
        declared(chance)
    )
}

fn rolling(chance: &mut Rng) -> String {
    let amounts = [
        "maxSurge: 1, maxUnavailable: 0",
        "maxSurge: 25%, maxUnavailable: 25%",
        "maxSurge: 0, maxUnavailable: 1",
        "maxSurge: 100%, maxUnavailable: 0",
        "maxSurge: 2, maxUnavailable: 100%",
    ];
    format!(
        "  strategy: rolling\n  rolling: {{ {} }}\n  analysis: {{ {} }}\n",
        amounts[chance.usize(..amounts.len())],
        judge(chance)
    )
}

/// Steps beside the weights, before and after them: a scale of its own, and a header route.
fn beside(chance: &mut Rng) -> (String, &'static str) {
    let scale = match chance.u32(..6) {
        0 => format!("      - setCanaryScale: {{ replicas: {} }}\n", chance.u32(1..=3)),
        1 => format!("      - setCanaryScale: {{ weight: {} }}\n", chance.u32(1..=100)),
        _ => String::new(),
    };
    let led = "      - setHeaderRoute: { name: beta, match: [{ headerName: x-beta, headerValue: { exact: yes } }] }\n";
    match chance.u32(..6) {
        0 => (
            scale + led,
            "      - setHeaderRoute: { name: beta }\n      - setCanaryScale: { matchTrafficWeight: true }\n",
        ),
        1 => (format!("{scale}{led}      - pause: {{ duration: 4s }}\n"), ""),
        _ => (scale, ""),
    }
}

/// Users who keep their release, known by a cookie or by a header.
fn affinity(chance: &mut Rng) -> &'static str {
    match chance.u32(..6) {
        0 => "    sessionAffinity: { cookie: { maxAge: 1h } }\n",
        1 => "    sessionAffinity: { header: { name: x-user } }\n",
        _ => "",
    }
}

fn canary(chance: &mut Rng, asked: Option<&Asked>) -> String {
    // What else is drawn stays what it was.
    let mut apart = chance.clone();
    let (mut steps, last) = beside(&mut apart);
    let affinity = affinity(&mut apart);
    let of = |is_step: bool| asked.filter(|asked| asked.is_step == is_step);
    let mut weight = chance.u32(5..30);
    for number in 0..chance.u32(1..=3) {
        steps.push_str(&format!("      - setWeight: {weight}\n"));
        if let Some(asked) = of(true).filter(|_| number == 0) {
            steps.push_str(&format!("      - analysis: {{ metrics: [{}] }}\n", asked.declared));
        }
        steps.push_str(&match chance.u32(..6) {
            0 => "      - pause: {}\n".to_owned(),
            1 => String::new(),
            _ => format!("      - pause: {{ duration: {}s }}\n", chance.u32(3..15)),
        });
        weight = (weight + chance.u32(10..40)).min(100);
    }
    steps.push_str(last);
    let mut rules = String::new();
    if chance.u32(..3) == 0 {
        rules.push_str(
            "      - name: errors\n        source: errorRate\n        interval: 4s\n        \
             successCondition: result < 0.2\n        failureLimit: 1\n        consecutiveErrorLimit: 2\n",
        );
    }
    if let Some(asked) = of(false) {
        rules.push_str(&format!("      - {}\n", asked.declared));
    }
    if !rules.is_empty() {
        rules.insert_str(0, "    metrics:\n");
    }
    let delay = chance.u32(1..10);
    // Some are watched for longer than the old release would stay warm, some must not go back by themselves.
    let bake = if delay.is_multiple_of(3) { format!("  bakeTime: {}s\n", delay * 4) } else { String::new() };
    let freeze = if delay.is_multiple_of(4) { "  onFailure: freeze\n" } else { "" };
    format!(
        "  strategy: canary\n  scaleDownDelay: {delay}s\n{bake}{freeze}  canary:\n{affinity}    steps:\n{steps}  analysis:\n    \
         {}\n{rules}",
        judge(chance)
    )
}

fn judge(chance: &mut Rng) -> &'static str {
    match chance.u32(..5) {
        0 => "judge: false",
        1 => "judge: { alpha: 0.05, tolerance: 1, promotion: evidence, maxErrorRate: 0.1, beta: 0.1 }",
        2 | 3 => "judge: { alpha: 0.05, tolerance: 1, latency: { initialDelay: 1s } }",
        _ => "judge: { alpha: 0.05, tolerance: 1 }",
    }
}
