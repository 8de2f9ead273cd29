//! A command beside the artifact: started in a clean environment, read to its end, killed with everything it started
//! when its time is over. Does not live here: what keeps it from outliving us ([`crate::guard`]).

use std::collections::BTreeMap;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use model::check::{Command, Outcome, Verdict};
use ports::Secret;
use ports::checks::Context;
use process::launch;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Child;

use crate::GuardCommand;
use crate::guard::{NOT_STARTED, SIGNALLED};
use crate::output::Tail;

/// How long output is still read after the end while a process that left the command's group holds it open.
const LINGER: Duration = Duration::from_millis(500);
/// How long a guard may take to end what it guards.
const PATIENCE: Duration = Duration::from_secs(5);
/// What shells exit with when they may not execute what they found.
const NOT_EXECUTABLE: i32 = 126;

pub(crate) async fn run(guard: &GuardCommand, command: &Command, context: &Context) -> Outcome {
    let secrets: Vec<&Secret> = context.secrets.values().chain(&context.hidden).collect();
    let mut child = match start(guard, command, context) {
        Ok(child) => child,
        Err(what) => return Outcome::error(what),
    };
    let mut tail = Tail::default();
    let read = read_to_end(&mut child, &mut tail, command.timeout).await;
    let Some(status) = read else {
        // Without its input the guard ends the command and itself.
        drop(child.stdin.take());
        if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
        let limit = model::time::format_duration(command.timeout);
        let detail = told(format!("killed after {limit}, its timeout"), &tail, &secrets);
        return Outcome { verdict: Verdict::Failed, value: None, detail };
    };
    match status {
        Ok(status) => outcome(status, &tail, &secrets),
        Err(error) => Outcome::error(format!("its exit status is not known: {error}")),
    }
}

fn start(guard: &GuardCommand, command: &Command, context: &Context) -> Result<Child, String> {
    let (program, args) = command.run.split_first().ok_or("it names no program")?;
    let environment = environment(context);
    let path = environment.get("PATH").map_or(launch::DEFAULT_PATH, String::as_str);
    let program = launch::find(program, &context.directory, path)?;
    tokio::process::Command::new(&guard.program)
        .args(&guard.args)
        .arg(program)
        .args(args)
        .current_dir(&context.directory)
        .env_clear()
        .envs(&environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("it cannot be started: {error}"))
}

fn environment(context: &Context) -> BTreeMap<String, String> {
    let mut all = launch::inherited();
    all.extend(context.variables.clone());
    let secrets = context.secrets.iter();
    all.extend(secrets.map(|(name, value)| (name.clone(), value.reveal().to_owned())));
    let replicas: Vec<String> = context.replicas.iter().map(ToString::to_string).collect();
    let gateway = context.gateway.as_deref().map(crate::request::reachable);
    let mut told = vec![
        ("SHIPSHAPE_SERVICE", context.place.service.to_string()),
        ("SHIPSHAPE_ENVIRONMENT", context.place.environment.to_string()),
        ("SHIPSHAPE_RELEASE", context.release.to_string()),
        ("SHIPSHAPE_REPLICAS", replicas.join(" ")),
    ];
    if let Some(gateway) = &gateway {
        told.push(("SHIPSHAPE_GATEWAY", gateway.clone()));
    }
    if let (Some(host), Some(gateway)) = (&context.preview_host, &gateway) {
        let port = gateway.rsplit(':').next().unwrap_or_default();
        told.push(("SHIPSHAPE_PREVIEW_HOST", host.clone()));
        told.push(("SHIPSHAPE_PREVIEW_URL", format!("http://{host}:{port}")));
    }
    all.extend(told.into_iter().map(|(name, value)| (name.to_owned(), value)));
    all
}

/// Reads the output until the command exits; `None` when its time is over before.
async fn read_to_end(
    child: &mut Child,
    tail: &mut Tail,
    timeout: Duration,
) -> Option<std::io::Result<ExitStatus>> {
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = ([0; 4096], [0; 4096]);
    let deadline = tokio::time::Instant::now() + timeout;
    // `wait` would close the input, and the guard would take that for the end.
    let input = child.stdin.take();
    let mut status = None;
    let mut until = deadline;
    let ended = loop {
        tokio::select! {
            biased;
            read = read(&mut stdout, &mut out), if stdout.is_some() => match read {
                0 => stdout = None,
                read => tail.push(&out[..read]),
            },
            read = read(&mut stderr, &mut err), if stderr.is_some() => match read {
                0 => stderr = None,
                read => tail.push(&err[..read]),
            },
            ended = child.wait(), if status.is_none() => {
                status = Some(ended);
                until = deadline.min(tokio::time::Instant::now() + LINGER);
            }
            () = tokio::time::sleep_until(until) => break status,
            else => break status,
        }
        if stdout.is_none() && stderr.is_none() && status.is_some() {
            break status;
        }
    };
    child.stdin = input;
    ended
}

async fn read(stream: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> usize {
    match stream {
        // A stream that cannot be read has ended for us.
        Some(stream) => stream.read(buffer).await.unwrap_or(0),
        None => 0,
    }
}

fn outcome(status: ExitStatus, tail: &Tail, secrets: &[&Secret]) -> Outcome {
    let Some(code) = status.code() else {
        return Outcome::error(told(format!("its guard was killed: {status}"), tail, secrets));
    };
    let (verdict, what) = match code {
        0 => (Verdict::Passed, "exit status 0".to_owned()),
        NOT_EXECUTABLE => (Verdict::Error, "it could not be run (exit status 126)".to_owned()),
        code if code == i32::from(NOT_STARTED) => {
            (Verdict::Error, "it could not be run (exit status 127)".to_owned())
        }
        code if code > SIGNALLED => {
            (Verdict::Failed, format!("exit status {code}, as of signal {}", code - SIGNALLED))
        }
        code => (Verdict::Failed, format!("exit status {code}")),
    };
    Outcome { verdict, value: Some(f64::from(code)), detail: told(what, tail, secrets) }
}

fn told(what: String, tail: &Tail, secrets: &[&Secret]) -> String {
    let said = tail.last_lines(secrets);
    if said.is_empty() { what } else { format!("{what}: {said}") }
}
