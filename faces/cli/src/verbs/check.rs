//! `shipshape check`: everything that is wrong with the manifest. Does not live here: what is right (`manifest`).

use crate::Done;
use crate::context::Context;
use crate::failure::Failure;
use crate::words;

/// Check the manifest.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  shipshape check --file deploy/shipshape.yaml")]
pub(crate) struct Args {}

pub(crate) fn run(context: &Context<'_>) -> Result<Done, Failure> {
    let printer = context.printer;
    let text = context.text()?;
    let parsed = text.parse();
    let found = match &parsed {
        Ok(manifest) => manifest.warnings(),
        Err(errors) => errors,
    };
    if printer.is_json() {
        printer.json_pretty(found);
        return Ok(if parsed.is_ok() { Done::Well } else { Done::Badly });
    }
    if !found.is_empty() {
        let shown = found.render(&text.name, &text.text, printer.talks_in_colour());
        printer.talk(&format!("{}\n", shown.trim_end()));
    }
    let errors = found.iter().filter(|one| one.severity == manifest::Severity::Error).count();
    let warnings = found.len() - errors;
    let count = |n: usize, one: &str| words::count(n as u64, one);
    match parsed {
        Ok(manifest) => {
            let environments: Vec<String> = manifest.environments().map(ToString::to_string).collect();
            let more =
                if warnings == 0 { String::new() } else { format!(", {}", count(warnings, "warning")) };
            printer.data(&format!(
                "{} is sound{more}: service {}, {} {}",
                text.name,
                manifest.service(),
                if environments.len() == 1 { "environment" } else { "environments" },
                environments.join(", ")
            ));
            Ok(Done::Well)
        }
        Err(_) => {
            printer.data(&format!(
                "{} has {} and {}",
                text.name,
                count(errors, "error"),
                count(warnings, "warning")
            ));
            Ok(Done::Badly)
        }
    }
}
