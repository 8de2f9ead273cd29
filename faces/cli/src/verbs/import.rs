//! `shipshape import`: files of Argo Rollouts, OpenSLO, Sloth and Prometheus in the manifest's words. Does not live here: what
//! becomes of what (`manifest`).

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::Done;
use crate::context::Context;
use crate::failure::Failure;
use crate::manifest_file;

/// The largest file.
const LARGEST_BYTES: u64 = 4 * 1024 * 1024;

/// Turn files of Argo, OpenSLO, Sloth and Prometheus into parts of a manifest.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shipshape import rollout.yaml templates.yaml >> shipshape.yaml
  shipshape import rules/*.yaml >> shipshape.yaml
What could not be carried over, and what means something else here, is named on stderr.")]
pub(crate) struct Args {
    /// Files with AnalysisTemplate, ClusterAnalysisTemplate and Rollout, OpenSLO's (v1), Sloth's, Prometheus' rules and PrometheusRule
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<Done, Failure> {
    let mut files = Vec::new();
    for path in &args.files {
        files.push((path.display().to_string(), read(path)?));
    }
    let imported = manifest::import(&files).map_err(Failure::new)?;
    let printer = context.printer;
    if printer.is_json() {
        printer.json_pretty(
            &json!({"yaml": imported.yaml, "leftOut": imported.left_out, "changed": imported.changed}),
        );
        return Ok(Done::Well);
    }
    printer.data(imported.yaml.trim_end());
    for changed in &imported.changed {
        printer.talk(&format!("note: {changed}"));
    }
    for left_out in &imported.left_out {
        printer.talk(&format!("not carried over: {left_out}"));
    }
    Ok(Done::Well)
}

/// The text of a file.
fn read(path: &Path) -> Result<String, Failure> {
    let name = path.display();
    let bytes = manifest_file::bounded(path, LARGEST_BYTES)
        .map_err(|error| Failure::new(format!("{name} cannot be read: {error}")))?
        .ok_or_else(|| {
            Failure::new(format!("{name} is larger than {LARGEST_BYTES} bytes"))
                .instead("is this the right file? give its documents in several files")
        })?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::new(format!("{name} is not UTF-8 text: see byte {at}")).instead("save it as UTF-8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_large_is_refused_and_not_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rollout.yaml");
        let most = usize::try_from(LARGEST_BYTES).unwrap();
        std::fs::write(&path, vec![b'#'; most]).unwrap();
        assert_eq!(read(&path).unwrap().len(), most);
        std::fs::write(&path, vec![b'#'; most + 1]).unwrap();
        let refused = read(&path).unwrap_err();
        assert!(refused.error.contains("larger than"), "{refused:?}");
        std::fs::write(&path, [b'a', 0xff]).unwrap();
        assert!(read(&path).unwrap_err().error.contains("see byte 1"));
    }
}
