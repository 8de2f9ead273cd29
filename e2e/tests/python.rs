//! The Python example, taken through the life that its page describes: a release in staging, production, a change, and
//! back. Does not live here: what a judge says about a bad release (`rollouts`).

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::Stage;

const STAGING: &str = "greeter.staging.localhost";
const PRODUCTION: &str = "localhost";

/// The example as its reader has it, on a stage; the pauses between its steps are left out.
fn example() -> Stage {
    let python = Command::new("python3").arg("--version").stdout(Stdio::null()).status();
    assert!(
        python.is_ok_and(|status| status.success()),
        "the Python example needs python3 on the PATH: install Python 3.9 or later"
    );
    let stage = Stage::with("");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/python");
    let _ = fs::copy(from.join("server.py"), stage.path("server.py")).expect("the example's server");
    let manifest = fs::read_to_string(from.join("shipshape.yaml")).expect("the example's manifest");
    let shorter = manifest.replace("      - pause: { duration: 10s }\n", "");
    assert_ne!(shorter, manifest, "the example has no pauses of 10s any more");
    fs::write(stage.path("shipshape.yaml"), shorter).expect("the manifest can be written");
    stage
}

/// Replaces a text in a file of the stage that has it.
fn edit(path: &PathBuf, from: &str, to: &str) {
    let text = fs::read_to_string(path).expect("the file can be read");
    assert!(text.contains(from), "{} has no {from:?}", path.display());
    fs::write(path, text.replace(from, to)).expect("the file can be written");
}

/// The body of the answer to `GET /?name=Ada` with this host.
fn greeting(gateway: SocketAddr, host: &str) -> String {
    let mut stream = TcpStream::connect(gateway).expect("the gateway takes connections");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit on reading");
    let request = format!("GET /?name=Ada HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the request is sent");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).expect("the answer is read");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    body.to_owned()
}

#[test]
fn the_python_example_is_changed_promoted_and_taken_back() {
    let stage = example();
    let manifest = stage.path("shipshape.yaml");
    let _ = stage.run(&["check"]).ok();
    stage.up();
    let gateway = stage.gateway();

    let _ = stage.run(&["deploy", "./server.py", "-e", "staging"]).ok();
    assert_eq!(greeting(gateway, STAGING), "Hello from staging, Ada!\n");
    let _ = stage.run(&["promote", "--from", "staging", "--to", "production"]).ok();
    assert_eq!(greeting(gateway, PRODUCTION), "Hello, Ada!\n", "production keeps its own configuration");

    edit(&manifest, "GREETING: Hello from staging", "GREETING: Good morning");
    let _ = stage.run(&["deploy", "./server.py", "-e", "staging"]).ok();
    assert_eq!(greeting(gateway, STAGING), "Good morning, Ada!\n");
    assert_eq!(greeting(gateway, PRODUCTION), "Hello, Ada!\n", "nobody promoted the change");

    let _ = stage.run(&["rollback", "-e", "staging"]).ok();
    assert_eq!(greeting(gateway, STAGING), "Hello from staging, Ada!\n", "the configuration came back, too");
}

#[test]
fn down_does_not_claim_to_have_stopped_replicas_that_it_cannot_reach() {
    let stage = example();
    stage.up();
    let _ = stage.run(&["deploy", "./server.py", "-e", "staging"]).ok();
    let _ = stage.kill(stage.pid_of("agent"));

    let ran = stage.run(&["down"]).exits(1);
    assert!(ran.stderr.contains("replicas may be left"), "{ran:?}");
    stage.up();
    assert_eq!(
        greeting(stage.gateway(), STAGING),
        "Hello from staging, Ada!\n",
        "they were, and are adopted"
    );
    let _ = stage.run(&["down"]).ok();
}
