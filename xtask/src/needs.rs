//! What must be on the machine before the checks can run, and how to get it. Not here: Rust itself, which
//! `rust-toolchain.toml` pins and rustup fetches.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::house::{self, House, works};

/// A program that the checks cannot do without.
struct Need {
    /// What to start to see whether it is there.
    probe: &'static [&'static str],
    /// What it is for.
    reason: &'static str,
    source: Source,
}

/// Where a missing program comes from.
enum Source {
    /// Packages of Debian.
    Debian(&'static [&'static str]),
    /// A component of the pinned toolchain.
    Rustup(&'static str),
}

const NEEDS: &[Need] = &[
    Need {
        probe: &["cc", "--version"],
        reason: "SQLite is compiled from its C source",
        source: Source::Debian(&["gcc", "libc6-dev"]),
    },
    Need {
        probe: &["python3", "--version"],
        reason: "one of the examples is a Python service, and its test runs it",
        source: Source::Debian(&["python3"]),
    },
    Need {
        probe: &["cargo", "fmt", "--version"],
        reason: "the format check",
        source: Source::Rustup("rustfmt"),
    },
    Need { probe: &["cargo", "clippy", "--version"], reason: "the lints", source: Source::Rustup("clippy") },
];

impl Need {
    fn is_met(&self, house: &House) -> bool {
        match self.probe {
            ["cargo", verb, flag] => works(&mut house.cargo([verb, flag])),
            [program, args @ ..] => works(Command::new(program).args(args)),
            [] => true,
        }
    }

    fn name(&self) -> &'static str {
        match self.source {
            Source::Debian(_) => self.probe[0],
            Source::Rustup(component) => component,
        }
    }

    fn install_line(&self) -> String {
        match self.source {
            Source::Debian(packages) => format!("apt-get install -y {}", packages.join(" ")),
            Source::Rustup(component) => format!("rustup component add {component}"),
        }
    }
}

/// Checks every need, installs what is missing where that is possible without asking, and else says what to install.
///
/// # Errors
/// Names all that is missing, each with what it is for and the command that brings it.
pub(crate) fn check(house: &House) -> Result<()> {
    let mut missing: Vec<&Need> = NEEDS.iter().filter(|need| !need.is_met(house)).collect();
    for need in &missing {
        install(house, need);
    }
    missing.retain(|need| !need.is_met(house));
    if !missing.is_empty() {
        bail!("{}", explain(&missing));
    }
    Ok(())
}

fn explain(missing: &[&Need]) -> String {
    let mut text = String::from("the machine lacks:");
    for need in missing {
        text.push_str(&format!("\n  {}: {}; get it by `{}`", need.name(), need.reason, need.install_line()));
    }
    text
}

/// A failed attempt is not an error here: the second look at the needs reports what is still missing.
fn install(house: &House, need: &Need) {
    println!("missing: {} ({}); trying `{}`", need.name(), need.reason, need.install_line());
    let attempt = match need.source {
        Source::Debian(packages) => apt_get(packages),
        Source::Rustup(component) => {
            house::run(Command::new("rustup").current_dir(&house.root).args(["component", "add", component]))
        }
    };
    if let Err(error) = attempt {
        println!("could not install it: {error:#}");
    }
}

fn apt_get(packages: &[&str]) -> Result<()> {
    if !Path::new("/etc/debian_version").exists() {
        bail!("not a Debian machine; install {} in its way", packages.join(" "));
    }
    let prefix: &[&str] = if is_root() {
        &[]
    } else if works(Command::new("sudo").args(["-n", "true"])) {
        &["sudo", "-n"]
    } else {
        bail!("neither root nor allowed to use sudo without a password");
    };
    let apt = |args: &[&str]| {
        let words: Vec<&str> =
            prefix.iter().copied().chain(["apt-get"]).chain(args.iter().copied()).collect();
        house::run(Command::new(words[0]).args(&words[1..]).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    apt(&["update"])?;
    let install: Vec<&str> =
        ["install", "-y", "--no-install-recommends"].into_iter().chain(packages.iter().copied()).collect();
    apt(&install)
}

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| effective_uid(&status) == Some(0))
}

/// The second number of the `Uid:` line of `/proc/self/status`.
fn effective_uid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_user_decides_who_may_install() {
        assert_eq!(effective_uid("Name:\txtask\nUid:\t1000\t0\t0\t0\n"), Some(0));
        assert_eq!(effective_uid("Uid:\t0\t1000\t0\t0\n"), Some(1000));
        assert_eq!(effective_uid("Name:\txtask\n"), None);
    }

    #[test]
    fn every_missing_thing_is_named_with_its_reason_and_its_command() {
        let all: Vec<&Need> = NEEDS.iter().collect();
        let text = explain(&all);
        for part in [
            "cc: SQLite is compiled from its C source; get it by `apt-get install -y gcc libc6-dev`",
            "python3: ",
            "rustup component add rustfmt",
            "rustup component add clippy",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
    }
}
