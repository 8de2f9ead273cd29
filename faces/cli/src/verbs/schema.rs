//! `shipshape schema`: the manifest's JSON schema, for editors. Does not live here: the schema (`manifest`).

use crate::Done;
use crate::context::Context;
use crate::failure::Failure;

/// Print the JSON schema of the manifest.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example, for editors that check YAML:
  shipshape schema > shipshape.schema.json
  and as the manifest's first line: # yaml-language-server: $schema=./shipshape.schema.json")]
pub(crate) struct Args {}

pub(crate) fn run(context: &Context<'_>) -> Result<Done, Failure> {
    context.printer.json_pretty(&manifest::schema());
    Ok(Done::Well)
}
