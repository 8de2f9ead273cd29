//! The one binary: the command line, and the processes that it starts. Lives here: wiring. Does not live here: anything
//! else.

mod agent;
mod clock;
mod control;
mod log;
mod output;
mod secrets;

use std::process::ExitCode;

use cli::Process;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if arguments.nth(1).is_some_and(|verb| verb == "shim") {
        return process::shim::main(arguments);
    }
    cli::main(std::env::args_os(), &run)
}

fn run(process: Process) -> Result<(), String> {
    // Fails only for the leader of a process group, as when somebody runs it by hand in a shell.
    let _ = rustix::process::setsid();
    log::start(&process);
    match process {
        Process::Agent { home, listen, admin } => agent::run(home, listen, admin),
        Process::Control { home } => control::run(&home),
    }
}
