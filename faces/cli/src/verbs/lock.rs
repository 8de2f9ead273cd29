//! `shipshape lock` and `shipshape unlock`: no rollout begins there for a while. Does not live here: what a lock keeps from
//! beginning (control).

use std::time::Duration;

use model::EnvironmentName;
use runtime::{LiftLock, Scope, SetLock};
use serde_json::json;
use views::LockStatus;

use crate::Done;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::manifest_file;
use crate::printer::Paint;
use crate::words;

/// Let no rollout begin.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shipshape lock -e production --reason 'the database is being moved' --for 2h
  shipshape lock -e production --all --reason 'change freeze'      every service in production

A rollout under way goes on, and can always be aborted or rolled back. `shipshape unlock` lifts it.")]
pub(crate) struct Lock {
    /// Why; whoever is refused reads it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// For how long, as in 30m or 2h; until it is unlocked by default
    #[arg(long = "for", value_name = "TIME", value_parser = model::time::parse_duration)]
    holds_for: Option<Duration>,
    /// Every service in the environment
    #[arg(long, conflicts_with = "service")]
    all: bool,
}

/// Let rollouts begin again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shipshape unlock -e production
  shipshape unlock -e production --all      what `lock --all` locked")]
pub(crate) struct Unlock {
    /// Why, for the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// The lock of the whole environment
    #[arg(long, conflicts_with = "service")]
    all: bool,
}

/// Passing a lock.
#[derive(Debug, clap::Args)]
pub(crate) struct PassLock {
    /// Go ahead although the place is locked; needs --reason, and is recorded
    #[arg(long, requires = "reason")]
    pub(crate) override_lock: bool,
}

/// Passing a lock, a spent error budget or a freeze.
#[derive(Debug, clap::Args)]
pub(crate) struct Passing {
    #[command(flatten)]
    pub(crate) lock: PassLock,
    /// Go ahead although an error budget is spent; needs --reason, and is recorded
    #[arg(long, requires = "reason")]
    pub(crate) override_budget: bool,
    /// Go ahead although the change calendar says no; needs --reason, and is recorded
    #[arg(long, requires = "reason")]
    pub(crate) override_freeze: bool,
}

pub(crate) async fn lock(args: Lock, context: &Context<'_>) -> Result<Done, Failure> {
    let scope = scope(context, args.all)?;
    let for_seconds = args.holds_for.map(|time| time.as_secs().max(u64::from(!time.is_zero())));
    let (actor, reason) = (context::actor(), Some(args.reason));
    context.client.lock(&SetLock { scope: scope.clone(), for_seconds, actor, reason }).await?;
    let held = held(context, &scope).await?;
    if context.printer.is_json() {
        context.printer.json(&json!({"outcome": "locked", "locks": held}));
        return Ok(Done::Well);
    }
    for lock in &held {
        context.printer.data(&context.printer.paint(Paint::Good, &in_words(lock)));
    }
    context.printer.talk("a rollout under way goes on; `shipshape unlock` lifts the lock");
    Ok(Done::Well)
}

pub(crate) async fn unlock(args: Unlock, context: &Context<'_>) -> Result<Done, Failure> {
    let scope = scope(context, args.all)?;
    let (actor, reason) = (context::actor(), args.reason);
    context.client.unlock(&LiftLock { scope: scope.clone(), actor, reason }).await?;
    let held = held(context, &scope).await?;
    if context.printer.is_json() {
        context.printer.json(&json!({"outcome": "unlocked", "locks": held}));
        return Ok(Done::Well);
    }
    context.printer.data(&format!("{scope} is not locked any more"));
    for lock in &held {
        context.printer.data(&context.printer.paint(Paint::Warning, &format!("still {}", in_words(lock))));
    }
    Ok(Done::Well)
}

/// The locks that hold over what was meant.
async fn held(context: &Context<'_>, scope: &Scope) -> Result<Vec<LockStatus>, Failure> {
    Ok(context.client.status(scope.service.as_ref(), Some(&scope.environment)).await?.locks)
}

fn scope(context: &Context<'_>, all: bool) -> Result<Scope, Failure> {
    if !all {
        let model::Place { service, environment } = context.place()?;
        return Ok(Scope { service: Some(service), environment });
    }
    let environment: EnvironmentName = match context.environment() {
        Some(environment) => environment.clone(),
        None => manifest_file::environment(&context.manifest()?, None)?,
    };
    Ok(Scope { service: None, environment })
}

/// A lock in one line.
pub(super) fn in_words(status: &LockStatus) -> String {
    let LockStatus { scope, lock } = status;
    let until =
        lock.until.map_or_else(|| "until it is unlocked".to_owned(), |until| format!("until {until}"));
    words::plain(&format!("{scope} is locked by {} since {}, {until}: {}", lock.by, lock.since, lock.reason))
}
