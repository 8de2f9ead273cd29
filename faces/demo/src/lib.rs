//! The demo: a real service under open-loop load, a good release by canary, control killed on the way, a release that
//! fails one request in twenty, its rollback by the judge, what it cost the error budget, the next deploy that is refused
//! for that and passes with a reason, the pager that is told when it begins and when it ends, and a table of what the
//! promises came to.
//!
//! Everything goes through the command line, as any user's would: this crate starts the same binary with the same
//! verbs, in a home of its own, on free ports. Nothing in the product knows it. Does not live here: any shortcut, any
//! measurement that is not taken from the clients' ledger, the services' ledgers or the journal.

mod figures;
mod pager;
mod shipshape;
mod stage;
mod story;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

/// What can be asked of the demo.
#[derive(Debug, Clone)]
pub struct Options {
    /// The binary to run: the one that is running.
    pub binary: PathBuf,
    /// The hidden verb of that binary that runs the example service.
    pub service_verb: String,
    /// Leave everything running at the end.
    pub keep: bool,
    /// Print the figures as one JSON object on stdout, and everything else on stderr.
    pub json: bool,
    /// Open-loop requests a second.
    pub rate_per_second: f64,
}

/// Runs the demo. The exit code is not zero when a promise broke or something failed.
///
/// # Errors
/// When the stage cannot be set: no directory, no port, the binary cannot be started.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stage = stage::Stage::set(options)?;
    let told = runtime.block_on(async {
        tokio::select! {
            told = story::tell(&stage, options) => told,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        }
    });
    if !options.keep || told.is_err() {
        stage.clear();
    }
    let figures = told?;
    let broken = figures.broken();
    if options.json {
        stage.data(&serde_json::to_string_pretty(&figures)?);
    }
    stage.say(&table::render(&figures, &broken));
    if options.keep {
        stage.keep();
    }
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
