//! What careful teams declare beside their services, in every sixth life: freezes by a clock that is being set, approvals,
//! budgets that act and rules of alerts. Drawn apart from everything else. Does not live here: what must hold of it (`referee`),
//! and what such a team does (`team`).

mod scene;

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use watch::Level;

use crate::cast::Cast;
pub(crate) use scene::{Scene, Window};

/// One life in so many has a careful team.
const EVERY: u64 = 6;
/// Who may decide about changes, where not everybody may.
pub(crate) const APPROVERS: [&str; 2] = ["ben", "cid"];
/// The objective whose budget acts.
pub(crate) const OBJECTIVE: &str = "kept";
/// What may fail of it, in parts of a million.
pub(crate) const BUDGET: u64 = 100_000;
/// Fewer bad events forbid nothing.
pub(crate) const MINIMUM: u64 = 5;

/// What one build declares.
#[derive(Debug, Clone, Default)]
pub(crate) struct Declared {
    /// When no rollout begins.
    pub(crate) windows: Vec<Window>,
    /// Whose approval it needs.
    pub(crate) second: Option<Second>,
    /// From how much of the budget on, in parts of a million, only so much is allowed.
    pub(crate) policy: Vec<(i64, Level)>,
    /// Its own rules of alerts.
    pub(crate) rules: Vec<Rule>,
}

/// Who else has to agree.
#[derive(Debug, Clone)]
pub(crate) struct Second {
    pub(crate) required: u32,
    /// Whether only [`APPROVERS`] may.
    pub(crate) named: bool,
    pub(crate) expires: Duration,
}

/// A rule of alerts.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    pub(crate) hold: Duration,
    pub(crate) keep: Duration,
}

/// What is declared in a life, by the name of the artifact.
#[derive(Debug, Clone, Default)]
pub(crate) struct Care {
    pub(crate) declared: BTreeMap<String, Declared>,
    /// When the life begins, in seconds since 1970.
    pub(crate) begins: Option<i64>,
}

impl Care {
    /// Adds to the manifests of a life what its team declares, where it is a careful one.
    pub(crate) fn draw(seed: u64, cast: &mut Cast) -> Self {
        if seed % EVERY != EVERY - 1 {
            return Self::default();
        }
        let mut chance = Rng::with_seed(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ 0xCA4E);
        let scene = Scene::draw(&mut chance);
        let begins = scene.turns_at() - chance.i64(20..280);
        let mut declared = BTreeMap::new();
        for service in &mut cast.services {
            let team = Declared::draw(&mut chance, scene);
            for build in &mut service.builds {
                let own = team.changed(&mut chance);
                build.manifest.push_str(&own.in_yaml());
                let name = build.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                declared.insert(name, own);
            }
        }
        Self { declared, begins: Some(begins) }
    }

    pub(crate) fn is_careful(&self) -> bool {
        self.begins.is_some()
    }
}

impl Declared {
    fn draw(chance: &mut Rng, scene: &'static Scene) -> Self {
        let windows = match chance.u32(..3) {
            0 => vec![],
            _ => (0..chance.u32(1..=2)).map(|_| Window::draw(chance, scene)).collect(),
        };
        let second = (chance.u32(..3) != 0).then(|| Second {
            required: [1, 1, 2][chance.usize(..3)],
            named: chance.bool(),
            expires: Duration::from_secs([20, 120, 300][chance.usize(..3)]),
        });
        let policy = match chance.u32(..4) {
            0 => vec![(250_000, Level::Warn)],
            1 => vec![(500_000, Level::CanaryOnly), (0, Level::Freeze)],
            2 => vec![(0, Level::Freeze)],
            _ => vec![(250_000, Level::Warn), (100_000, Level::CanaryOnly), (0, Level::Freeze)],
        };
        let seconds = |chance: &mut Rng| Duration::from_secs([0, 10, 30, 90][chance.usize(..4)]);
        let rules = ["Queue", "Backlog"]
            .map(|name| Rule { name, hold: seconds(chance), keep: seconds(chance) })
            .into_iter()
            .take(chance.usize(1..=2))
            .collect();
        Self { windows, second, policy, rules }
    }

    /// What a build of the team declares: now and then somebody leaves something out.
    fn changed(&self, chance: &mut Rng) -> Self {
        let mut own = self.clone();
        match chance.u32(..8) {
            0 => own.windows.clear(),
            1 => own.second = None,
            2 => drop(own.rules.pop()),
            _ => {}
        }
        own
    }

    fn in_yaml(&self) -> String {
        let mut text = String::new();
        if !self.windows.is_empty() || self.second.is_some() {
            text.push_str("changes:\n");
        }
        if !self.windows.is_empty() {
            text.push_str("  freeze:\n");
        }
        for (number, window) in self.windows.iter().enumerate() {
            text.push_str(&format!("    - {{name: f{number}, {}}}\n", window.in_yaml()));
        }
        if let Some(second) = &self.second {
            let named =
                if second.named { format!(", approvers: [{}]", APPROVERS.join(", ")) } else { String::new() };
            let expires = second.expires.as_secs();
            text.push_str(&format!(
                "  approvals: {{required: {}, expires: {expires}s{named}}}\n",
                second.required
            ));
        }
        let steps: Vec<String> = self
            .policy
            .iter()
            .map(|(left, level)| format!("{{remaining: {}%, then: {}}}", left / 10_000, level.name()))
            .collect();
        let target = 100 - BUDGET / 10_000;
        text.push_str(&format!(
            "objectives:\n  availability: 99.9%\n  latency: 99% within 500ms\n  {OBJECTIVE}:\n    target: {target}%\n    budget: [{}]\n",
            steps.join(", ")
        ));
        text.push_str("notify:\n  receivers:\n    pager: {webhook: 'http://127.0.0.1:9/'}\n");
        if !self.rules.is_empty() {
            text.push_str("alerts:\n");
        }
        for Rule { name, hold, keep } in &self.rules {
            let (hold, keep) = (hold.as_secs(), keep.as_secs());
            text.push_str(&format!("  {name}: {{expr: length > 1, for: {hold}s, keepFiringFor: {keep}s}}\n"));
        }
        text
    }
}
