//! The program behind this crate's tests: shim and replica.

#[path = "../../process/double/server.rs"]
mod server;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next().as_ref().and_then(|verb| verb.to_str()) {
        Some("shim") => process::shim::main(args),
        Some("serve") => match server::serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Some(_) | None => ExitCode::from(2),
    }
}
