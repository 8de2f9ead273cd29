//! Which rules hold, and what each asks. They are those of the release that serves in a place, until another takes all
//! requests.

use lifecycle::World;
use model::alert::{Condition, Labels, ReadyMade, Rule, Threshold};
use model::spec::Prometheus;
use model::{Place, Spec, Timestamp};
use ports::fleet::Seen;

use crate::answer::Answer;
use crate::{facts, ready};

/// A rule where it holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruled {
    /// Where; `None` of one about the machine.
    pub place: Option<Place>,
    /// The rule.
    pub rule: Rule,
    /// What it asks.
    pub asks: Asks,
}

/// What a rule asks, and whom.
#[derive(Debug, Clone, PartialEq)]
pub enum Asks {
    /// Control's own store: each of these, and all that they give together.
    Store(Vec<Asked>),
    /// A server of the team's.
    Server(Box<Prometheus>, Asked),
    /// Nobody: it is known already. In words what it is about, and the answer.
    Known(&'static str, Answer),
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// In PromQL.
    pub query: String,
    /// Labels that everything in its answer gets.
    pub labels: Labels,
}

impl Asked {
    pub(crate) fn plain(query: impl Into<String>) -> Self {
        Self { query: query.into(), labels: Labels::new() }
    }
}

impl Asks {
    /// The question as people read it.
    pub fn in_words(&self) -> String {
        match self {
            Self::Store(all) => {
                let queries: Vec<&str> = all.iter().map(|asked| asked.query.as_str()).collect();
                queries.join(" or ")
            }
            Self::Server(_, asked) => asked.query.clone(),
            Self::Known(what, _) => (*what).to_owned(),
        }
    }
}

/// Every rule that holds now. `seen` is what is known of the fleet, `None` when it does not answer.
pub fn rules(world: &World, seen: Option<&Seen>, at: Timestamp) -> Vec<Ruled> {
    let mut all = Vec::new();
    let mut of_machine: Vec<Rule> = Vec::new();
    for (place, lane) in &world.lanes {
        let Some(spec) = lifecycle::spec_at(world, place) else { continue };
        for rule in spec.alerts() {
            if let Condition::ReadyMade { which: ReadyMade::Disk | ReadyMade::NoData, .. } = rule.condition {
                of_machine.push(rule.clone());
            }
            let asks = match &rule.condition {
                Condition::Expr(expr) => asked(spec, expr),
                Condition::ReadyMade { which: ReadyMade::Deployment, .. } => {
                    Asks::Known("the last rollout failed", facts::failed_rollout(place, lane, at))
                }
                Condition::ReadyMade { which: ReadyMade::CrashLoop, .. } => {
                    Asks::Known("replicas die soon after they start", facts::crash_loops(place, seen))
                }
                Condition::ReadyMade { which, threshold } => {
                    let queries = ready::queries(place, spec, lane.stable.is_some(), *which, *threshold);
                    if queries.is_empty() {
                        continue;
                    }
                    Asks::Store(queries)
                }
            };
            all.push(Ruled { place: Some(place.clone()), rule, asks });
        }
    }
    // However many services want to know of the machine, it is told once: as the most anxious of them asks.
    for which in [ReadyMade::Disk, ReadyMade::NoData] {
        let name = which.name();
        let anxious = of_machine.iter().filter(|rule| rule.name == name).min_by_key(|rule| {
            let least = match rule.condition {
                Condition::ReadyMade { threshold: Some(Threshold::Share(share)), .. } => share.parts(),
                Condition::ReadyMade { .. } | Condition::Expr(_) => 0,
            };
            (rule.severity, least, rule.hold)
        });
        all.extend(anxious.map(|rule| Ruled {
            place: None,
            rule: rule.clone(),
            asks: Asks::Store(ready::of_machine(rule)),
        }));
    }
    all
}

fn asked(spec: &Spec, expr: &str) -> Asks {
    match &spec.metrics.prometheus {
        Some(server) => Asks::Server(Box::new(server.clone()), Asked::plain(expr)),
        None => Asks::Store(vec![Asked::plain(expr)]),
    }
}
