//! The program behind this crate's tests: agent, shim and replica.

#[path = "../../process/double/server.rs"]
mod server;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let done = match args.next().as_ref().and_then(|verb| verb.to_str()) {
        Some("shim") => return process::shim::main(args),
        Some("serve") => server::serve(),
        Some("agent") => {
            let home = PathBuf::from(args.next().unwrap_or_default());
            let listen = args.next().and_then(|listen| listen.to_str()?.parse().ok());
            let succeeds = args.next().is_some();
            run(home, listen.unwrap_or_else(|| ([127, 0, 0, 1], 0).into()), succeeds)
        }
        Some("false-heir") => false_heir(&PathBuf::from(args.next().unwrap_or_default())),
        Some(_) | None => Err(std::io::Error::other("agent, shim or serve?")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = std::fs::write("/dev/stderr", format!("{error}\n"));
            ExitCode::FAILURE
        }
    }
}

fn run(home: PathBuf, listen: std::net::SocketAddr, succeeds: bool) -> std::io::Result<()> {
    let mut gateway = proxy::Config::new(listen);
    gateway.limits.ejection.first = Duration::from_millis(500);
    let config = agent::Config {
        home,
        gateway,
        shim: process::ShimCommand { program: std::env::current_exe()?, args: vec!["shim".into()] },
        pace: process::Pace::default(),
        patience: Duration::from_secs(10),
        farewell: Duration::from_secs(2),
    };
    let start = if succeeds { agent::Start::Succeed } else { agent::Start::Fresh };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(agent::run(config, start)).map_err(std::io::Error::other)
}

/// Takes everything over, as far as the release, and ends.
fn false_heir(home: &std::path::Path) -> std::io::Result<()> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::os::unix::net::UnixStream::connect(home.join("hand.sock"))?;
    let take = br#"{"Take":{"version":1}}"#;
    stream.write_all(&u32::try_from(take.len()).map_err(std::io::Error::other)?.to_be_bytes())?;
    stream.write_all(take)?;
    let mut text = Vec::new();
    while !text.windows(7).any(|window| window == b"leaving") {
        let mut bytes = [0; 512];
        let size = stream.read(&mut bytes)?;
        if size == 0 {
            return Err(std::io::Error::other("nothing was released"));
        }
        text.extend_from_slice(&bytes[..size]);
    }
    // Closed only by the end of the process: whoever hangs up before that is ended by the agent, and not with success.
    std::mem::forget(stream);
    Ok(())
}
