//! The program behind this crate's tests: shim, replica, and a supervisor that can be killed.

mod server;

use std::path::PathBuf;
use std::process::ExitCode;

use process::{Pace, Settings, ShimCommand, Supervisor};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let done = match args.next().as_ref().and_then(|verb| verb.to_str()) {
        Some("shim") => return process::shim::main(args),
        Some("serve") => server::serve(),
        Some("supervise") => {
            let (home, group) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
            supervise(PathBuf::from(home), PathBuf::from(group))
        }
        Some(_) | None => Err(std::io::Error::other("shim, serve or supervise?")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = std::fs::write("/dev/stderr", format!("{error}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Starts one replica of the group in a file, and supervises it until it is killed.
fn supervise(home: PathBuf, group: PathBuf) -> std::io::Result<()> {
    let group = serde_json::from_slice(&std::fs::read(group)?)?;
    let shim = ShimCommand { program: std::env::current_exe()?, args: vec!["shim".into()] };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let settings = Settings { home, shim, pace: Pace::default() };
        let supervisor = Supervisor::open(settings).await.map_err(std::io::Error::other)?;
        supervisor.start(&group).map_err(std::io::Error::other)?;
        std::future::pending().await
    })
}
