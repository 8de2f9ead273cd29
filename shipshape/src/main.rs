//! The one binary: the command line, and the processes that it starts. Lives here: wiring. Does not live here: anything
//! else.

mod activation;
mod agent;
mod alerts;
mod answers;
mod clock;
mod control;
mod exports;
mod log;
mod looks;
mod metrics;
mod objectives;
mod output;
mod providers;
mod records;
mod resources;
mod secrets;
mod telling;

use std::process::ExitCode;

use cli::Process;

/// The hidden verb of the process between control and a check's command.
const GUARD: &str = "guard";

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    match arguments.nth(1) {
        Some(verb) if verb == "shim" => return process::shim::main(arguments),
        Some(verb) if verb == GUARD => return checks::guard::main(arguments),
        Some(verb) if verb == cli::EXAMPLE_SERVICE => return shop::main(),
        Some(_) | None => {}
    }
    cli::main(std::env::args_os(), &run)
}

fn run(process: Process) -> Result<(), String> {
    // Fails only for the leader of a process group, as when somebody runs it by hand in a shell.
    let _ = rustix::process::setsid();
    log::start(&process);
    match process {
        Process::Agent { home, listen, admin, succeeds } => agent::run(home, listen, admin, succeeds),
        Process::Control { home, api } => control::run(&home, api),
    }
}
