//! `cargo xtask test`: every check of the project in order, from the cheap to the dear. The checks themselves live
//! elsewhere (cargo, `tidy`, the crates' tests); here is their order, their timing and the closing line.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::house::{House, run as run_command, works};
use crate::needs;
use crate::tidy::{self, Tree};

/// One step of the whole check.
struct Stage<'a> {
    name: &'static str,
    work: Box<dyn Fn() -> Result<Outcome> + 'a>,
}

/// How a stage that did not fail ended.
enum Outcome {
    Passed,
    /// There was nothing to do, for this reason.
    Skipped(&'static str),
}

/// Runs all stages.
///
/// # Errors
/// When a stage fails; the stages after it are not run.
pub(crate) fn run(house: &House) -> Result<()> {
    let stages = [
        stage("needs", || needs::check(house).map(passed)),
        stage("format", || run_command(&mut house.cargo(["fmt", "--all", "--check"])).map(passed)),
        stage("clippy", || {
            run_command(&mut house.cargo([
                "clippy",
                "--workspace",
                "--all-targets",
                "--locked",
                "--",
                "-D",
                "warnings",
            ]))
            .map(passed)
        }),
        stage("tidy", || tidy::run(house, tidy::Snapshot::Compare).map(passed)),
        // Binaries, examples and tests in one go: built apart, cargo unifies features differently and compiles
        // the big dependencies twice.
        stage("build", || {
            run_command(&mut house.cargo(["build", "--workspace", "--all-targets", "--locked"])).map(passed)
        }),
        stage("doc tests", || doc_tests(house)),
        // Last, so that the runner's own summary stands at the end of the output.
        stage("tests", || all_tests(house).map(passed)),
    ];
    in_order(&stages)
}

fn stage<'a>(name: &'static str, work: impl Fn() -> Result<Outcome> + 'a) -> Stage<'a> {
    Stage { name, work: Box::new(work) }
}

fn passed((): ()) -> Outcome {
    Outcome::Passed
}

fn in_order(stages: &[Stage<'_>]) -> Result<()> {
    let start = Instant::now();
    let mut done: Vec<String> = Vec::new();
    for (index, stage) in stages.iter().enumerate() {
        println!("==> {} ({} of {})", stage.name, index + 1, stages.len());
        let stage_start = Instant::now();
        let outcome = (stage.work)();
        let took = seconds(stage_start.elapsed());
        match outcome {
            Ok(Outcome::Passed) => {
                println!("<== {}: passed in {took}", stage.name);
                done.push(format!("{} {took}", stage.name));
            }
            Ok(Outcome::Skipped(reason)) => {
                println!("<== {}: nothing to do, {reason}", stage.name);
                done.push(format!("{} none", stage.name));
            }
            Err(error) => {
                let not_run: Vec<&str> = stages[index + 1..].iter().map(|stage| stage.name).collect();
                let rest = if not_run.is_empty() {
                    String::new()
                } else {
                    format!("; not run: {}", not_run.join(", "))
                };
                return Err(error.context(format!(
                    "test: FAILED at {} after {}{rest}",
                    stage.name,
                    seconds(start.elapsed())
                )));
            }
        }
    }
    println!("xtask test: all passed in {} ({})", seconds(start.elapsed()), done.join(", "));
    Ok(())
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn all_tests(house: &House) -> Result<()> {
    let mut command = if works(&mut house.cargo(["nextest", "--version"])) {
        house.cargo(["nextest", "run", "--workspace", "--locked"])
    } else {
        println!(
            "cargo-nextest is not installed: using `cargo test`, which gives the same verdict more slowly"
        );
        house.cargo(["test", "--workspace", "--locked", "--no-fail-fast"])
    };
    let metadata = house.metadata()?;
    let built = metadata.target_directory.join("debug");
    for (variable, binary) in [("SHIPSHAPE_BIN", "shipshape"), ("SHOP_BIN", "shop")] {
        give_binary(&mut command, variable, built.join(binary).as_std_path())?;
    }
    run_command(&mut command)
}

/// Tells the end-to-end tests where the binary is that the build stage made.
fn give_binary(command: &mut Command, variable: &str, path: &Path) -> Result<()> {
    if !path.is_file() {
        bail!(
            "the build made no {}, which the end-to-end tests start; does its crate still have a binary of that name?",
            path.display()
        );
    }
    command.env(variable, path);
    Ok(())
}

/// nextest does not run examples in documentation, and asking cargo for them costs a link per crate: only crates that
/// have such examples are asked.
fn doc_tests(house: &House) -> Result<Outcome> {
    if !works(&mut house.cargo(["nextest", "--version"])) {
        return Ok(Outcome::Skipped("`cargo test` runs them with the tests"));
    }
    let tree = Tree::read(&house.root)?;
    let metadata = house.metadata()?;
    let mut command = house.cargo(["test", "--doc", "--locked"]);
    let mut any = false;
    for package in metadata.workspace_packages() {
        let is_library = package.targets.iter().any(cargo_metadata::Target::is_lib);
        let Some(folder) = package.manifest_path.parent().and_then(|it| it.strip_prefix(&house.root).ok())
        else {
            continue;
        };
        let sources = format!("{folder}/src/");
        let has_example =
            tree.rust().filter(|(path, _)| path.starts_with(&sources)).any(|(_, text)| has_doc_example(text));
        if is_library && has_example {
            command.args(["-p", package.name.as_str()]);
            any = true;
        }
    }
    if !any {
        return Ok(Outcome::Skipped("no documentation has an example that runs"));
    }
    run_command(&mut command).map(passed)
}

/// Whether a doc comment opens a code block that rustdoc compiles.
fn has_doc_example(text: &str) -> bool {
    let mut inside = false;
    for line in text.lines() {
        let line = line.trim_start();
        let Some(doc) = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) else {
            inside = false;
            continue;
        };
        let Some(language) = doc.trim_start().strip_prefix("```") else { continue };
        if !inside
            && language.split(',').map(str::trim).all(|word| {
                matches!(word, "" | "rust" | "no_run" | "should_panic" | "compile_fail" | "edition2024")
            })
        {
            return true;
        }
        inside = !inside;
    }
    false
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn the_first_failure_stops_the_rest_and_is_named() {
        let ran = RefCell::new(Vec::new());
        let note = |name: &'static str, fails: bool| {
            let ran = &ran;
            stage(name, move || {
                ran.borrow_mut().push(name);
                if fails { bail!("broken on purpose") } else { Ok(Outcome::Passed) }
            })
        };
        let error = in_order(&[note("one", false), note("two", true), note("three", false)]).unwrap_err();
        assert_eq!(*ran.borrow(), ["one", "two"]);
        let said = format!("{error:#}");
        assert!(said.contains("FAILED at two"), "{said}");
        assert!(said.contains("not run: three"), "{said}");
        assert!(said.contains("broken on purpose"), "{said}");
    }

    #[test]
    fn stages_that_pass_or_have_nothing_to_do_succeed() {
        assert!(
            in_order(&[
                stage("a", || Ok(Outcome::Passed)),
                stage("b", || Ok(Outcome::Skipped("it is empty")))
            ])
            .is_ok()
        );
    }

    #[test]
    fn a_missing_binary_is_an_error_that_names_it() {
        let error = give_binary(&mut Command::new("true"), "SHIPSHAPE_BIN", Path::new("/nowhere/shipshape"))
            .unwrap_err();
        assert!(error.to_string().contains("/nowhere/shipshape"));
    }

    #[test]
    fn only_documentation_that_compiles_counts_as_an_example() {
        assert!(has_doc_example("/// ```\n/// let a = 1;\n/// ```\nfn f() {}\n"));
        assert!(has_doc_example("//! ```no_run\n//! x();\n//! ```\n"));
        assert!(!has_doc_example("//! ```text\n//! a -> b\n//! ```\n"));
        assert!(!has_doc_example("// ```\nlet a = \"```\";\n"));
    }
}
