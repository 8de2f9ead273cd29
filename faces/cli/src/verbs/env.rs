//! `shipshape env`: the effective configuration. Does not live here: how overlays apply (`manifest`).

use manifest::Manifest;
use model::{EnvironmentName, Spec};
use serde_json::json;

use crate::Done;
use crate::context::Context;
use crate::failure::Failure;
use crate::manifest_file;
use crate::words;

/// The effective configuration.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Show the effective configuration of an environment, every default written out
    #[command(after_help = "Example:
  shipshape env show production")]
    Show {
        /// The environment; the manifest's only one by default
        #[arg(value_name = "NAME")]
        name: Option<EnvironmentName>,
    },
    /// Show what differs between two environments
    #[command(after_help = "Example:
  shipshape env diff staging production")]
    Diff {
        /// One environment
        #[arg(value_name = "A")]
        left: EnvironmentName,
        /// The other
        #[arg(value_name = "B")]
        right: EnvironmentName,
    },
}

pub(crate) fn run(args: Args, context: &Context<'_>) -> Result<Done, Failure> {
    let manifest = context.manifest()?;
    match args.what {
        What::Show { name } => {
            let spec = spec(&manifest, name.as_ref().or(context.environment()))?;
            if context.printer.is_json() {
                context.printer.json_pretty(spec);
            } else {
                context.printer.bytes(manifest::render(spec).as_bytes());
            }
        }
        What::Diff { left, right } => diff(context, &manifest, &left, &right)?,
    }
    Ok(Done::Well)
}

fn spec<'a>(manifest: &'a Manifest, asked: Option<&EnvironmentName>) -> Result<&'a Spec, Failure> {
    let name = manifest_file::environment(manifest, asked)?;
    manifest.spec(&name).ok_or_else(|| Failure::new(format!("the manifest declares no environment {name}")))
}

fn diff(
    context: &Context<'_>,
    manifest: &Manifest,
    left: &EnvironmentName,
    right: &EnvironmentName,
) -> Result<(), Failure> {
    let printer = context.printer;
    let found = manifest::diff::diff(spec(manifest, Some(left))?, spec(manifest, Some(right))?);
    if printer.is_json() {
        printer.json_pretty(&json!({"left": left, "right": right, "differences": found}));
        return Ok(());
    }
    if found.is_empty() {
        printer.data(&format!("{left} and {right} have the same configuration"));
        return Ok(());
    }
    let cell = |value: &Option<String>| value.as_deref().map_or_else(|| "-".to_owned(), words::plain);
    let mut rows = vec![vec!["FIELD".to_owned(), left.to_string(), right.to_string()]];
    rows.extend(found.iter().map(|one| vec![one.path.clone(), cell(&one.left), cell(&one.right)]));
    for line in words::table(&rows, "") {
        printer.data(&line);
    }
    Ok(())
}
