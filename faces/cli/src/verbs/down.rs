//! `shipshape down`: everything is drained and stopped, and both processes are gone. Does not live here: the draining
//! (the agent).

use std::time::{Duration, Instant};

use ports::Fleet as _;
use ports::fleet::{ReplicaPhase, Seen};
use serde_json::json;

use crate::Done;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::processes::Watched;
use crate::words;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// How long a process may take to end once nothing is left for it to do.
const PATIENCE: Duration = Duration::from_secs(600);

/// Drain and stop everything that `up` started.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  shipshape down --reason 'moving to a larger machine'

Requests in flight are finished first. The journal stays; `shipshape up` brings everything back as it was.")]
pub(crate) struct Args {
    /// Why, for the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context<'_>) -> Result<Done, Failure> {
    stop(context, args.reason).await
}

/// Stops what runs; nothing running is no error.
pub(crate) async fn stop(context: &Context<'_>, reason: Option<String>) -> Result<Done, Failure> {
    let since = Instant::now();
    let agent = agent::Client::new(&context.home);
    let control = context.client.health().await;
    let agent_health = agent.health().await;
    let control_process = control.as_ref().ok().and_then(|control| Watched::new(control.pid));
    let agent_process = agent_health.as_ref().ok().and_then(|agent| Watched::new(agent.pid));
    if control_process.is_none() && agent_process.is_none() {
        let left = agent::left(&context.home);
        if left > 0 {
            let failure = Failure::new(format!("no agent runs, but {} still", words::count(left, "replica")));
            return Err(failure.instead("`shipshape up`, then `shipshape down`, drains and stops them"));
        }
        return Ok(told(context, "nothing is running", since));
    }
    if agent_process.is_some() {
        order(context, &agent, control_process.is_some(), reason).await?;
    }
    if let Some(control) = control_process.as_ref().filter(|_| agent_process.is_none()) {
        control.terminate();
    }
    gone(context, &agent, agent_process.as_ref(), control_process.as_ref()).await?;
    if agent_process.is_none() {
        return Err(Failure::new("control is stopped, but the agent was not running: replicas may be left")
            .instead("`shipshape up`, then `shipshape down`, drains and stops them"));
    }
    Ok(told(context, "everything is stopped", since))
}

/// Control records it and passes it on; without control the agent is told directly.
async fn order(
    context: &Context<'_>,
    agent: &agent::Client,
    has_control: bool,
    reason: Option<String>,
) -> Result<(), Failure> {
    if has_control {
        let request = api::Stop { actor: context::actor(), reason };
        match context.client.stop(&request).await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_absence() => {}
            Err(error) => return Err(error.into()),
        }
    }
    context.printer.warning("control is not running: the agent is told directly, the journal does not know");
    agent.stop().await.map_err(|error| {
        Failure::new(format!("the agent cannot be stopped: {error}"))
            .instead("agent.log in the home says more")
    })
}

async fn gone(
    context: &Context<'_>,
    agent: &agent::Client,
    agent_process: Option<&Watched>,
    control_process: Option<&Watched>,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut said = String::new();
    let lives = |process: Option<&Watched>| process.is_some_and(|process| !process.is_gone());
    loop {
        let (agent_lives, control_lives) = (lives(agent_process), lives(control_process));
        if !agent_lives && !control_lives {
            return Ok(());
        }
        let now = match agent_lives {
            true => match agent.seen(String::new(), 0, Duration::ZERO).await {
                Ok(seen) => remaining(&seen),
                Err(_) => "waiting for the agent to end".to_owned(),
            },
            false => "waiting for control to end".to_owned(),
        };
        if now != said {
            context.printer.talk(&now);
            said = now;
        }
        if begun.elapsed() > PATIENCE {
            return Err(Failure::new(format!("after {} s still {said}", PATIENCE.as_secs()))
                .instead("`shipshape status` shows what is left; agent.log and control.log say why"));
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = tokio::signal::ctrl_c() => {
                return Err(Failure::new("you stopped watching; everything goes on stopping")
                    .instead("`shipshape down` watches again"));
            }
        }
    }
}

fn remaining(seen: &Seen) -> String {
    let replicas = || seen.groups.iter().flat_map(|group| &group.replicas);
    let all = replicas().count() as u64;
    let in_flight: u64 = replicas().map(|replica| u64::from(replica.in_flight)).sum();
    let draining = replicas().filter(|replica| replica.phase == ReplicaPhase::Draining).count();
    match all {
        0 => "waiting for the agent to end".to_owned(),
        _ if draining > 0 || in_flight > 0 => {
            format!("{} left, {} in flight", words::count(all, "replica"), words::count(in_flight, "request"))
        }
        _ => format!("stopping {}", words::count(all, "replica")),
    }
}

fn told(context: &Context<'_>, what: &str, since: Instant) -> Done {
    let took = since.elapsed();
    if context.printer.is_json() {
        context.printer.json(&json!({"outcome": what, "seconds": took.as_secs_f64()}));
    } else {
        context.printer.data(what);
    }
    Done::Well
}
