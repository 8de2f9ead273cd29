//! `shipshape up`: the agent and control, started when they are missing. Does not live here: what they do.

use std::fs::{self, File, TryLockError};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{down, overview};
use crate::context::Context;
use crate::failure::Failure;
use crate::processes::{self, Started, Watched};
use crate::{Done, Process, home};

const LISTEN: &str = "127.0.0.1:8080";
const ADMIN: &str = "127.0.0.1:9464";
/// How long both may take to answer: a long journal is replayed first.
const PATIENCE: Duration = Duration::from_secs(120);
/// After this long it is said what is waited for.
const SILENCE: Duration = Duration::from_secs(2);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(25);

/// Start the gateway, and control that decides about releases.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shipshape up --listen 0.0.0.0:80
  shipshape up --api 127.0.0.1:9465      the API on TCP, for programs that bring the token of the home

Both run in the background until `shipshape down`. What runs already is left alone, unless --upgrade puts the program of
this command in its place: the gateway's sockets are handed over, replicas run on, requests in flight are finished.")]
pub(crate) struct Args {
    /// Where the gateway takes requests; as the last time by default, and 127.0.0.1:8080 the first time
    #[arg(long, env = "SHIPSHAPE_LISTEN", value_name = "ADDRESS", value_parser = address)]
    listen: Option<SocketAddr>,
    /// Where metrics are served; as the last time by default, and 127.0.0.1:9464 the first time
    #[arg(long, env = "SHIPSHAPE_ADMIN", value_name = "ADDRESS", value_parser = address)]
    admin: Option<SocketAddr>,
    /// Replace what runs by this program without losing a request
    #[arg(long)]
    upgrade: bool,
    /// Stay until Ctrl-C or SIGTERM, then do what `down` does
    #[arg(long)]
    foreground: bool,
}

/// What is remembered for the next time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Addresses {
    listen: SocketAddr,
    admin: SocketAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    api: Option<SocketAddr>,
}

impl Addresses {
    fn agent(self, home: &Path, succeeds: bool) -> Process {
        Process::Agent { home: home.to_owned(), listen: self.listen, admin: self.admin, succeeds }
    }
}

pub(crate) async fn run(args: Args, context: &Context<'_>) -> Result<Done, Failure> {
    let home = &context.home;
    make_home(home)?;
    let turn = turn(context).await?;
    let before = remembered(home);
    let asked_api = asked_api(context)?;
    let addresses = addresses(&args, asked_api, before)?;
    let agent = agent::Client::new(home);
    let mut started = Vec::new();
    match agent.health().await {
        Ok(_) => refuse_to_move(&args, before)?,
        Err(_) => started.push(processes::start(&addresses.agent(home, false))?),
    }
    let upgraded = args.upgrade && started.is_empty();
    if upgraded {
        succeed(context, &agent, processes::start(&addresses.agent(home, true))?).await?;
        end_control(context).await?;
    }
    match context.client.health().await {
        Ok(control) => say_if_api_moved(context, asked_api, &control),
        Err(_) => {
            let api = addresses.api;
            started.push(processes::start(&Process::Control { home: home.clone(), api })?);
        }
    }
    let fresh = !started.is_empty() || upgraded;
    if let Err(failure) = ready(context, &agent, &mut started).await {
        // Half of it would be in the way of the next try.
        started.into_iter().for_each(Started::stop);
        return Err(failure);
    }
    if fresh {
        remember(context, addresses, &agent).await?;
    }
    drop(turn);
    let state = match (upgraded, fresh) {
        (true, _) => "Shipshape is upgraded",
        (false, true) => "Shipshape is up",
        (false, false) => "Shipshape was up already",
    };
    tell(context, &agent, state).await?;
    if args.foreground {
        return stay(context, &agent, started).await;
    }
    Ok(Done::Well)
}

fn make_home(home: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(home).map_err(|error| {
        Failure::new(format!("cannot make the home directory {}: {error}", home.display()))
            .instead("name another with --home DIR, or the environment variable SHIPSHAPE_HOME")
    })
}

/// Two that start the same thing at once would take each other's half for a failure.
async fn turn(context: &Context<'_>) -> Result<File, Failure> {
    let path = context.home.join("up.lock");
    let failed = |error: std::io::Error| Failure::new(format!("cannot lock {}: {error}", path.display()));
    let file =
        File::options().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(failed)?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) if begun.elapsed() > PATIENCE => {
                return Err(Failure::new(format!("another `shipshape up` holds {}", path.display()))
                    .instead("end it, then try again"));
            }
            Err(TryLockError::WouldBlock) => tokio::time::sleep(LOOK).await,
        }
    }
}

fn remembered(home: &Path) -> Option<Addresses> {
    serde_json::from_slice(&fs::read(home::addresses(home)).ok()?).ok()
}

fn addresses(
    args: &Args,
    api: Option<Option<SocketAddr>>,
    before: Option<Addresses>,
) -> Result<Addresses, Failure> {
    let parsed = |text: &str| -> Result<SocketAddr, Failure> {
        text.parse().map_err(|error| Failure::new(format!("{text}: {error}")))
    };
    let first = Addresses { listen: parsed(LISTEN)?, admin: parsed(ADMIN)?, api: None };
    let before = before.unwrap_or(first);
    Ok(Addresses {
        listen: args.listen.unwrap_or(before.listen),
        admin: args.admin.unwrap_or(before.admin),
        api: api.unwrap_or(before.api),
    })
}

/// Where the API shall be, or that it shall not; `None` when nothing is said.
fn asked_api(context: &Context<'_>) -> Result<Option<Option<SocketAddr>>, Failure> {
    match context.common.api.as_deref() {
        None | Some("") => Ok(None),
        Some("off") => Ok(Some(None)),
        Some(url) => {
            let bare = url.strip_prefix("http://").unwrap_or(url);
            let asked = address(bare.strip_suffix('/').unwrap_or(bare));
            let asked = asked.map_err(|error| Failure::new(format!("--api {url}")).instead(error))?;
            if !asked.ip().is_loopback() {
                return Err(Failure::new(format!("--api {url} can be reached from other machines"))
                    .instead("the API listens on this machine alone: 127.0.0.1:PORT; a tunnel leads there"));
            }
            Ok(Some(Some(asked)))
        }
    }
}

fn say_if_api_moved(context: &Context<'_>, asked: Option<Option<SocketAddr>>, control: &api::Health) {
    let Some(asked) = asked else { return };
    let is = control.api.as_ref().and_then(|at| at.parse::<SocketAddr>().ok());
    let is_as_asked = match (asked, is) {
        // Port 0 means any.
        (Some(asked), Some(is)) => asked == is || asked.port() == 0,
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    if !is_as_asked {
        context.printer.warning(
            "control runs already and keeps its API where it is; `shipshape down` first, then `up` with --api",
        );
    }
}

/// What was asked for is not what would be.
fn refuse_to_move(args: &Args, before: Option<Addresses>) -> Result<(), Failure> {
    let Some(before) = before else { return Ok(()) };
    // Port 0 means any.
    let moved = |asked: Option<SocketAddr>, is: SocketAddr| {
        asked.is_some_and(|asked| asked.port() != 0 && asked != is)
    };
    if moved(args.listen, before.listen) || moved(args.admin, before.admin) {
        let is =
            format!("the agent runs already: requests at {}, metrics at {}", before.listen, before.admin);
        return Err(Failure::new(is).instead("`shipshape down` first, then `up` with the new addresses"));
    }
    Ok(())
}

/// Waits until both answer. One that dies meanwhile is told with the end of its log.
async fn ready(context: &Context<'_>, agent: &agent::Client, started: &mut [Started]) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut quiet = true;
    loop {
        let agent_is_there = agent.health().await.is_ok();
        let control = context.client.health().await;
        if agent_is_there && control.as_ref().is_ok_and(|control| control.agent_reachable) {
            return Ok(());
        }
        for one in started.iter_mut() {
            one.check(&context.home)?;
        }
        let missing = match (agent_is_there, &control) {
            (false, _) => "the agent to answer",
            (true, Err(_)) => "control to answer",
            (true, Ok(_)) => "control to find the agent",
        };
        if begun.elapsed() > PATIENCE {
            let seconds = PATIENCE.as_secs();
            return Err(Failure::new(format!("waited {seconds} s in vain for {missing}")).instead(format!(
                "{} and control.log there say why",
                home::log(&context.home, "agent").display()
            )));
        }
        if quiet && begun.elapsed() > SILENCE {
            quiet = false;
            context.printer.talk(&format!("waiting for {missing} ..."));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until a new agent has taken over from the one that runs.
async fn succeed(context: &Context<'_>, agent: &agent::Client, mut heir: Started) -> Result<(), Failure> {
    let begun = Instant::now();
    context.printer.talk("the new agent takes over from the one that runs ...");
    while !agent.health().await.is_ok_and(|health| health.pid == heir.pid()) {
        heir.check(&context.home)?;
        if begun.elapsed() > PATIENCE {
            return Err(Failure::new("the new agent does not take over").instead(format!(
                "{} says why; the one before goes on meanwhile",
                home::log(&context.home, "agent").display()
            )));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Control is renewed by an end and a start: nobody notices, and it goes on where it was.
async fn end_control(context: &Context<'_>) -> Result<(), Failure> {
    let Ok(health) = context.client.health().await else { return Ok(()) };
    let Some(control) = Watched::new(health.pid) else { return Ok(()) };
    control.terminate();
    let begun = Instant::now();
    while !control.is_gone() {
        if begun.elapsed() > PATIENCE {
            let failure = Failure::new("the agent is upgraded, but the control that runs does not end");
            return Err(failure.instead(format!("end process {}, then `shipshape up`", health.pid)));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Keeps the ports that the system chose, so that the gateway comes back on the same ones.
async fn remember(context: &Context<'_>, asked: Addresses, agent: &agent::Client) -> Result<(), Failure> {
    let home = &context.home;
    let control = context.client.health().await?;
    let health = agent.health().await.map_err(|error| Failure::new(error.to_string()))?;
    let chosen = |at: Option<String>, asked| at.and_then(|at| at.parse().ok()).unwrap_or(asked);
    let listen = chosen(health.gateway, asked.listen);
    let admin = chosen(health.admin, asked.admin);
    let api = control.api.and_then(|at| at.parse().ok());
    let path = home::addresses(home);
    let written = serde_json::to_vec(&Addresses { listen, admin, api })
        .map_err(std::io::Error::other)
        .and_then(|bytes| fs::write(&path, bytes));
    written.map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
}

async fn tell(context: &Context<'_>, agent: &agent::Client, state: &str) -> Result<(), Failure> {
    let printer = context.printer;
    let health = agent.health().await.map_err(|error| Failure::new(error.to_string()))?;
    let control = context.client.health().await?;
    let status = context.client.status(None, None).await?;
    if printer.is_json() {
        printer.json(&json!({
            "home": context.home,
            "gateway": health.gateway,
            "admin": health.admin,
            "api": control.api,
            "agentPid": health.pid,
            "controlPid": control.pid,
            "version": control.version,
        }));
        return Ok(());
    }
    let gateway = health.gateway.unwrap_or_else(|| "an unknown address".to_owned());
    printer.data(&format!("{state}: the gateway takes requests at http://{gateway}"));
    if let Some(admin) = health.admin {
        printer.data(&format!("metrics are at http://{admin}/metrics"));
    }
    if let Some(api) = &control.api {
        let token = context.home.join(api::TOKEN);
        printer.data(&format!("the API is at http://{api}, for who has the token in {}", token.display()));
    }
    if control.version != env!("CARGO_PKG_VERSION") {
        printer.warning(&format!(
            "control is of version {}, this is {}; `shipshape up --upgrade` renews it",
            control.version,
            env!("CARGO_PKG_VERSION")
        ));
    }
    for place in &status.places {
        let count = |of: fn(&views::ReleaseStatus) -> u32| place.releases.iter().map(of).sum::<u32>();
        let (ready, wanted) = (count(|release| release.ready), count(|release| release.wanted));
        if ready < wanted {
            printer
                .talk(&format!("{}: {ready} of {wanted} replicas are ready, the others start", place.place));
        }
    }
    let request = status.places.first().and_then(|place| overview::request(&status, place, &place.hosts));
    printer.talk(&match request {
        Some(request) => format!("next: {request}, or `shipshape status`"),
        None if context.common.file.exists() => "next: shipshape deploy PATH".to_owned(),
        None => "next: write a shipshape.yaml (two lines: `service: NAME` and `run: COMMAND`), then \
                 `shipshape deploy PATH`"
            .to_owned(),
    });
    Ok(())
}

async fn stay(
    context: &Context<'_>,
    agent: &agent::Client,
    mut started: Vec<Started>,
) -> Result<Done, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate())
        .map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))?;
    let agent = agent.health().await.ok().and_then(|agent| Watched::new(agent.pid));
    let control = context.client.health().await.ok().and_then(|control| Watched::new(control.pid));
    context.printer.talk("Ctrl-C drains and stops everything");
    let mut look = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            _ = term.recv() => break,
            _ = look.tick() => {
                for one in &mut started {
                    one.check(&context.home)?;
                }
                for (name, process) in [("the agent", &agent), ("control", &control)] {
                    if process.as_ref().is_none_or(Watched::is_gone) {
                        return Err(Failure::new(format!("{name} has ended"))
                            .instead("`shipshape up` starts what is missing; agent.log and control.log say why"));
                    }
                }
            }
        }
    }
    down::stop(context, None).await
}

/// An address with a port, in the forms that people type.
fn address(text: &str) -> Result<SocketAddr, String> {
    let bare = text.strip_prefix(':').unwrap_or(text);
    let full = match bare.parse::<u16>() {
        Ok(port) => format!("127.0.0.1:{port}"),
        Err(_) => text.replacen("localhost:", "127.0.0.1:", 1),
    };
    full.parse()
        .map_err(|_| "write ADDRESS:PORT, as in 127.0.0.1:8080, or 0.0.0.0:80 for every interface".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_as_people_type_it() {
        for text in ["8080", ":8080", "localhost:8080", "127.0.0.1:8080"] {
            assert_eq!(address(text).unwrap().to_string(), "127.0.0.1:8080", "{text}");
        }
        assert_eq!(address("[::1]:80").unwrap().to_string(), "[::1]:80");
        for text in ["", "host", "example.org:80", "127.0.0.1", "127.0.0.1:99999"] {
            assert!(address(text).unwrap_err().contains("ADDRESS:PORT"), "{text}");
        }
    }
}
