//! The story, act by act.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use load::{Config, Load, ReceivedLine, Running};

use crate::Options;
use crate::figures::{Budget, FAILURE, Figures};
use crate::pager::Told;
use crate::stage::Stage;

/// Longer than the demo ever takes: the ledger's limit, not its length.
const LOAD_LIMIT: Duration = Duration::from_secs(900);
/// How long the demo waits for something that should happen within seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tells the story and returns what it came to.
pub(crate) async fn tell(stage: &Stage, options: &Options) -> anyhow::Result<Figures> {
    let begun = Instant::now();
    stage.pager.listen()?;
    chapter(stage, 1, "A service goes live", "shipshape up; shipshape deploy ./shop-1");
    success(stage, &["up", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).await?;
    success(stage, &["deploy", "./shop-1"]).await?;

    let gateway = stage.shipshape.status()?["gateway"].as_str().context("no gateway")?.parse()?;
    let load = Load::start(Config::new(gateway, options.rate_per_second, LOAD_LIMIT))?;
    stage.say(&format!(
        "\nFrom now on {} requests a second arrive on an open-loop schedule: they wait for nobody.",
        options.rate_per_second
    ));

    chapter(stage, 2, "A good release, and control is killed on the way", "shipshape deploy ./shop-2");
    let answered_without_control = good_release(stage, &load).await?;

    chapter(
        stage,
        3,
        "A bad release: one request in twenty fails",
        "shipshape deploy ./shop-3   # exits with 1 when it is taken back",
    );
    let status = stage.shipshape.show(&["deploy", "./shop-3"]).await?;
    let acknowledged = Instant::now();
    let taken_back = status.code() == Some(1) && serving(stage)? == Some(2);

    more_requests(&load, options.rate_per_second).await?;
    chapter(
        stage,
        4,
        "Who was told, what it cost, and what follows",
        "shipshape alerts   # and the pager was told",
    );
    told_of_it(stage).await?;
    let budget = spent_budget(stage).await?;
    let mended = mended_release(stage).await?;

    let report = load.stop().await?;
    chapter(stage, 5, "What it came to", "shipshape journal verify");
    let journal_is_whole = stage.shipshape.show(&["journal", "verify"]).await?.success();
    let ledger = fs::read_to_string(stage.ledger()).context("the services kept no ledger")?;
    let received = ledger.lines().map(str::parse::<ReceivedLine>).collect::<Result<Vec<_>, _>>()?;
    let reconciled = load::reconcile(&report, received.into_iter());
    let mut figures = Figures::new(&report, &reconciled, &stage.shipshape.journal()?)?;
    figures.answered_without_control = answered_without_control;
    figures.bad_release_taken_back = taken_back;
    figures.started_on_bad_after_acknowledgement = report.started_after(acknowledged, "3").len();
    figures.budget = budget;
    figures.mended = mended;
    figures.seconds_to_pager = seconds_to_pager(stage, acknowledged);
    figures.told = stage.pager.told();
    figures.journal_is_whole = journal_is_whole;
    figures.seconds_in_all = begun.elapsed().as_secs_f64();
    Ok(figures)
}

fn chapter(stage: &Stage, number: u32, title: &str, command: &str) {
    stage.say(&format!("\n== {number}. {title}\n   $ {command}\n"));
}

async fn success(stage: &Stage, arguments: &[&str]) -> anyhow::Result<()> {
    let status = stage.shipshape.show(arguments).await?;
    if !status.success() {
        bail!("shipshape {} failed ({status})", arguments.join(" "));
    }
    Ok(())
}

fn serving(stage: &Stage) -> anyhow::Result<Option<u64>> {
    Ok(stage.shipshape.status()?["places"][0]["serving"].as_u64())
}

/// Deploys the good release, kills control while the canary serves, starts it again. Returns how many requests were
/// answered while there was no control.
async fn good_release(stage: &Stage, load: &Running) -> anyhow::Result<u64> {
    let mut deploy = stage.shipshape.start(&["deploy", "./shop-2"])?;
    until("the canary serves", || load.snapshot().releases.contains_key("2")).await?;
    stage.shipshape.kill_control()?;
    stage.say("\n   $ kill -KILL (control)   # nobody decides now; the gateway and the replicas go on");
    let before = load.snapshot().answered;
    until("requests are answered without control", || load.snapshot().answered > before + 100).await?;
    let answered = load.snapshot().answered - before;
    stage.say("   $ shipshape up            # the next control goes on where the last one was\n");
    success(stage, &["up"]).await?;
    let status = deploy.wait().await?;
    if !status.success() || serving(stage)? != Some(2) {
        bail!("the good release was not promoted ({status})");
    }
    Ok(answered)
}

/// Waits until the bad release was charged with what it burned, and tries the next deploy.
async fn spent_budget(stage: &Stage) -> anyhow::Result<Budget> {
    stage.say("\n   $ shipshape slo\n   (half a minute after a rollout its last requests have been told, and it is charged)\n");
    let asked = Instant::now();
    let charge = loop {
        let known = stage.shipshape.objective()?;
        let charges = known["charges"].as_array().into_iter().flatten();
        let of_the_bad = charges.into_iter().find(|charge| charge["rollout"] == 3);
        if let (Some(charge), true) = (of_the_bad, known["level"] == "freeze") {
            break charge.clone();
        }
        if asked.elapsed() > PATIENCE {
            bail!("waited {PATIENCE:?} in vain for the charge of the bad release: {known}");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    success(stage, &["slo"]).await?;
    stage.say("\n   $ shipshape deploy ./shop-4   # refused: the budget is spent\n");
    let next = stage.shipshape.show(&["deploy", "./shop-4"]).await?;
    Ok(Budget {
        charged: charge["bad"].as_u64().context("a charge without a number")?,
        percent: charge["budgetPercent"].as_f64().context("a charge without its part of the budget")?,
        next_refused: next.code() == Some(1) && serving(stage)? == Some(2),
    })
}

/// Waits until the pager was told of the failed deployment.
async fn told_of_it(stage: &Stage) -> anyhow::Result<()> {
    until("the pager is told that DeploymentFailed fires", || of_the_failure(stage).is_some()).await?;
    success(stage, &["alerts"]).await
}

/// Deploys what mends it, with a reason why the budget does not count, and waits until the pager was told that it is over.
async fn mended_release(stage: &Stage) -> anyhow::Result<bool> {
    let deploy = ["deploy", "./shop-4", "--override-budget", "--reason", "mends what release 3 broke"];
    stage.say("\n   $ shipshape deploy ./shop-4 --override-budget --reason 'mends what release 3 broke'\n");
    let mut deploy = stage.shipshape.start(&deploy)?;
    let is_over = || of_the_failure(stage).is_some_and(|told| told.over > 0);
    until("the pager is told that DeploymentFailed is over", is_over).await?;
    stage.say(
        "\n   $ shipshape promote --full   # the pager knows that it is over; past the steps that are left\n",
    );
    success(stage, &["promote", "--full", "--detach"]).await?;
    Ok(deploy.wait().await?.success() && serving(stage)? == Some(4))
}

/// What the pager was told of the failed deployment.
fn of_the_failure(stage: &Stage) -> Option<Told> {
    stage.pager.told().remove(FAILURE)
}

fn seconds_to_pager(stage: &Stage, acknowledged: Instant) -> f64 {
    of_the_failure(stage).map_or(0.0, |told| told.since.saturating_duration_since(acknowledged).as_secs_f64())
}

/// Lets the old release answer for a while after the rollback: a request that went astray would show now.
async fn more_requests(load: &Running, rate_per_second: f64) -> anyhow::Result<()> {
    let enough = load.snapshot().finished + (rate_per_second * 2.0) as u64;
    until("more requests are answered", || load.snapshot().finished >= enough).await
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        if Instant::now() > deadline {
            bail!("waited {PATIENCE:?} in vain until {what}");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
