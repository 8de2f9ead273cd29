//! The program behind this crate's tests: a guard, and somebody who asks for a command and can be killed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use checks::{Checks, GuardCommand};
use model::ReleaseNumber;
use model::check::{Check, Command};
use ports::Checks as _;
use ports::checks::Context;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next().as_ref().and_then(|verb| verb.to_str()) {
        Some("guard") => checks::guard::main(args),
        Some("ask") => match ask(args.filter_map(|arg| arg.into_string().ok()).collect()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Some(_) | None => ExitCode::from(2),
    }
}

/// Runs a command as a check, in this directory.
fn ask(run: Vec<String>) -> Result<(), Box<dyn std::error::Error>> {
    let guard = GuardCommand { program: "/proc/self/exe".into(), args: vec!["guard".into()] };
    let command = Command { run, timeout: Duration::from_secs(600) };
    let place = model::Place { service: "shop".parse()?, environment: "production".parse()? };
    let context = Context::new(place, ReleaseNumber(1), PathBuf::from("."));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(Checks::new(guard).run(Check::Command(command), context));
    Ok(())
}
