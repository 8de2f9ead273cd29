//! Lives that somebody wrote down: a few lines that are read aloud, and the same world, faults and referee.
//!
//! `given replicas 2`, `given requests 60`, `given canary 10 50` (each weight for 5 seconds) or `given rolling`,
//! `given asks` (the metrics, which answer well), `given build NAME ready 1s errors 20%`; then `at 5s DO` or `when EVENT DO`, where EVENT is a kind of the journal and,
//! if not the first, its number (`rollout.shifted 3`), and DO is what happens. `#` begins a remark. At the end everything is
//! repaired and comes to rest.

use std::path::Path;
use std::time::Duration;

use model::Place;
use runtime::Operation;
use sim::{Behaviour, Crash, Start};

use crate::acts::{Act, Fault, Wish};
use crate::cast::{Asked, Build, Cast, Service};
use crate::gate::Gate;
use crate::life::{Life, Outcome};
use crate::referee::Referee;

/// How finely `when` looks.
const GRAIN: Duration = Duration::from_millis(100);
/// How long a `when` is waited for.
const PATIENCE: Duration = Duration::from_secs(300);

struct Script {
    replicas: u32,
    requests: u32,
    /// How long a canary that is given afterwards pauses after each weight.
    pause: String,
    /// What a canary that is given afterwards is told beside its steps.
    more: String,
    rollout: String,
    builds: Vec<(String, Behaviour)>,
    /// Whether each rollout asks the metrics, which answer well.
    asks: bool,
    turns: Vec<(Moment, Vec<String>)>,
}

enum Moment {
    At(Duration),
    When { kind: String, number: usize },
}

/// Plays a script.
pub(crate) async fn play(text: &str, gate: Gate) -> Result<Outcome, String> {
    let script = Script::read(text)?;
    let builds = script.builds.iter().map(|(name, behaviour)| Build {
        path: Path::new("/builds").join(name),
        manifest: script.manifest(),
        behaviour: *behaviour,
        smoke: (Duration::ZERO, model::check::Verdict::Passed),
        hooks: vec![],
        asked: script.asks.then(|| Box::new(Asked::well())),
    });
    let builds: Vec<Build> = builds.collect();
    let service = Service {
        name: "shop".to_owned(),
        environments: vec!["production".to_owned()],
        builds: builds.clone(),
    };
    let cast = Cast {
        services: vec![service],
        requests_per_second: script.requests,
        grain: Duration::from_millis(500),
        tick: Duration::from_millis(500),
    };
    let mut life = Life::new(cast, 7, Referee::new(true, true), gate);
    for (moment, words) in &script.turns {
        life.wait_for(moment).await?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        life.act(act(&words, &builds)?).await;
    }
    life.settle().await;
    life.heal().await;
    life.rest().await;
    Ok(life.outcome().await)
}

impl Life {
    async fn wait_for(&mut self, moment: &Moment) -> Result<(), String> {
        match moment {
            Moment::At(time) => self.pass(*time).await,
            Moment::When { kind, number } => {
                let until = self.now() + PATIENCE;
                let line = format!(" {kind} ");
                while self.world.now().referee.trace.iter().filter(|it| it.contains(&line)).count() < *number
                {
                    if self.now() > until {
                        return Err(format!("{kind} {number} never happens"));
                    }
                    let next = self.now() + GRAIN;
                    self.pass(next).await;
                }
            }
        }
        Ok(())
    }

    /// Lets happen what happens before anybody repairs anything.
    async fn settle(&mut self) {
        let next = self.now() + Duration::from_secs(30);
        self.pass(next).await;
    }
}

impl Script {
    fn read(text: &str) -> Result<Self, String> {
        let mut script = Self {
            replicas: 2,
            requests: 60,
            pause: "5s".to_owned(),
            more: String::new(),
            rollout: String::new(),
            builds: vec![],
            asks: false,
            turns: vec![],
        };
        for (index, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
            script.take(&words).map_err(|what| format!("line {}: {what}: `{line}`", index + 1))?;
        }
        Ok(script)
    }

    fn take(&mut self, words: &[&str]) -> Result<(), String> {
        match words {
            [] => {}
            ["given", "replicas", n] => self.replicas = number(n)?,
            ["given", "requests", n] => self.requests = number(n)?,
            ["given", "asks"] => self.asks = true,
            ["given", "rolling"] => self.rollout = "  strategy: rolling\n".to_owned(),
            ["given", "freeze"] => self.more.push_str("  onFailure: freeze\n"),
            ["given", "bake", duration] => self.more.push_str(&format!("  bakeTime: {duration}\n")),
            ["given", "pauses", duration] => self.pause = (*duration).to_owned(),
            ["given", "canary", weights @ ..] => {
                let pause = &self.pause;
                let step =
                    |it: &&str| format!("      - setWeight: {it}\n      - pause: {{ duration: {pause} }}\n");
                let steps: String = weights.iter().map(step).collect();
                self.rollout = format!(
                    "  strategy: canary\n  scaleDownDelay: 3s\n{}  canary:\n    steps:\n{steps}",
                    self.more
                );
            }
            ["given", "build", name, words @ ..] => {
                self.builds.push(((*name).to_owned(), behaviour(words)?));
            }
            ["at", time, act @ ..] => self.turn(Moment::At(duration(time)?), act),
            ["when", kind, n, act @ ..] if n.parse::<usize>().is_ok() => {
                let moment = Moment::When { kind: (*kind).to_owned(), number: number(n)? as usize };
                self.turn(moment, act);
            }
            ["when", kind, act @ ..] => {
                self.turn(Moment::When { kind: (*kind).to_owned(), number: 1 }, act);
            }
            _ => return Err("not understood".to_owned()),
        }
        Ok(())
    }

    fn turn(&mut self, moment: Moment, act: &[&str]) {
        self.turns.push((moment, act.iter().map(|it| (*it).to_owned()).collect()));
    }

    fn manifest(&self) -> String {
        format!(
            "service: shop\nrun: ./shop\nreplicas: {}\nsecrets:\n  TOKEN: {{ environment: TOKEN_OF_SHOP }}\n\
             rollout:\n  progressDeadline: 30s\n{}{}",
            self.replicas,
            self.rollout,
            if self.asks { Asked::well().beside() } else { String::new() }
        )
    }
}

fn behaviour(words: &[&str]) -> Result<Behaviour, String> {
    let mut behaviour = Behaviour {
        start: Start::After(Duration::from_secs(1)),
        error_rate: 0.0,
        slow_rate: 0.0,
        stalls: 0.0,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "ready" => behaviour.start = Start::After(duration(words.next().unwrap_or(&""))?),
            "never-ready" => behaviour.start = Start::Never,
            "crashes" => behaviour.start = Start::Crashes,
            "errors" => behaviour.error_rate = percent(words.next())?,
            "slow" => behaviour.slow_rate = percent(words.next())?,
            other => return Err(format!("a build is not `{other}`")),
        }
    }
    Ok(behaviour)
}

fn percent(word: Option<&&str>) -> Result<f64, String> {
    let digits = word.copied().unwrap_or_default().trim_end_matches('%');
    Ok(f64::from(number(digits)?) / 100.0)
}

fn act(words: &[&str], builds: &[Build]) -> Result<Act, String> {
    let place = || -> Result<Place, String> {
        let service = "shop".parse().map_err(|error| format!("{error}"))?;
        Ok(Place { service, environment: "production".parse().map_err(|error| format!("{error}"))? })
    };
    let operate = |operation| Ok(Wish::Operate { place: place()?, operation }.into());
    let side = |word: &str| match word {
        "before" => Ok(Crash::BeforeWriting),
        "after" => Ok(Crash::AfterWriting),
        other => Err(format!("`{other}` is neither before nor after")),
    };
    match words {
        ["deploy", name] => {
            let build = builds.iter().find(|it| it.path.ends_with(name)).cloned();
            let build = build.ok_or_else(|| format!("no build is called {name}"))?;
            Ok(Wish::Deploy { build, environment: "production".to_owned() }.into())
        }
        ["promote"] => operate(Operation::Promote),
        ["promote", "full"] => operate(Operation::PromoteFull),
        ["pause"] => operate(Operation::Pause),
        ["abort"] => operate(Operation::Abort),
        ["rollback"] => Ok(Wish::Rollback { place: place()?, to: None }.into()),
        ["kill", "control", time] => Ok(Fault::Kill(duration(time)?).into()),
        ["crash", side_of, "the", "next", "append"] => Ok(Fault::CrashAtAppend(0, side(side_of)?).into()),
        ["crash", side_of, "the", "next", "order"] => Ok(Fault::CrashAtOrder(side(side_of)?).into()),
        ["incident", share] => Ok(Fault::Incident(percent(Some(share))?).into()),
        ["agent", "away"] => Ok(Fault::AgentCut(true).into()),
        ["agent", "back"] => Ok(Fault::AgentCut(false).into()),
        ["agent", "restarts"] => Ok(Fault::AgentRestarts.into()),
        ["metrics", "away"] => Ok(Fault::MetricsSilent(true).into()),
        ["metrics", "back"] => Ok(Fault::MetricsSilent(false).into()),
        ["clock", seconds] => {
            let seconds = seconds.parse().map_err(|_| format!("`{seconds}` is no number"))?;
            Ok(Fault::ClockSteps(seconds).into())
        }
        other => Err(format!("nobody can `{}`", other.join(" "))),
    }
}

fn duration(word: &str) -> Result<Duration, String> {
    model::time::parse_duration(word)
}

fn number(word: &str) -> Result<u32, String> {
    word.parse().map_err(|_| format!("`{word}` is no number"))
}
