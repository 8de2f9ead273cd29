//! `shipshape import`: files of Argo Rollouts in the manifest's words. Does not live here: what becomes of what (`manifest`).

use std::io::Read as _;
use std::path::PathBuf;

use serde_json::json;

use crate::Done;
use crate::context::Context;
use crate::failure::Failure;

/// The largest file.
const LARGEST_BYTES: u64 = 4 * 1024 * 1024;

/// Turn files of Argo Rollouts into parts of a manifest.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  shipshape import rollout.yaml templates.yaml >> shipshape.yaml
What could not be carried over is named on stderr.")]
pub(crate) struct Args {
    /// Files with AnalysisTemplate, ClusterAnalysisTemplate and Rollout
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<Done, Failure> {
    let mut files = Vec::new();
    for path in &args.files {
        let unreadable =
            |error: std::io::Error| Failure::new(format!("{} cannot be read: {error}", path.display()));
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(LARGEST_BYTES).read_to_string(&mut text).map_err(unreadable)?;
        files.push((path.display().to_string(), text));
    }
    let imported = manifest::import(&files).map_err(Failure::new)?;
    let printer = context.printer;
    if printer.is_json() {
        printer.json_pretty(&json!({"yaml": imported.yaml, "leftOut": imported.left_out}));
        return Ok(Done::Well);
    }
    printer.data(imported.yaml.trim_end());
    for left_out in &imported.left_out {
        printer.talk(&format!("not carried over: {left_out}"));
    }
    Ok(Done::Well)
}
