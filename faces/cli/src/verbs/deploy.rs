//! `shipshape deploy`: an artifact becomes a release and is rolled out. Does not live here: any of the steps (control).

use std::path::PathBuf;
use std::time::Instant;

use runtime::Deploy;

use super::lock::Override;
use super::outcome::{self, Wish};
use crate::Done;
use crate::args;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::manifest_file;

/// Make a file or directory a release and roll it out.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  shipshape deploy ./build/shop -e production --reason 'faster checkout'

The same artifact with the same configuration is the same release; deploying it again changes nothing.")]
pub(crate) struct Args {
    /// The file or directory to run; what the manifest names by default
    #[arg(value_name = "PATH")]
    artifact: Option<PathBuf>,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Return when the rollout has begun
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    lock: Override,
}

pub(crate) async fn run(arguments: Args, context: &Context<'_>) -> Result<Done, Failure> {
    let since = Instant::now();
    let text = context.text()?;
    let manifest = text.sound(context.printer.talks_in_colour())?;
    if let Some(asked) = context.common.service.as_ref().filter(|asked| *asked != manifest.service()) {
        let what =
            format!("the manifest {} declares the service {}, not {asked}", text.name, manifest.service());
        return Err(
            Failure::new(what).instead("name the right manifest with --file PATH, or leave out --service")
        );
    }
    let environment = manifest_file::environment(&manifest, context.environment())?;
    if !manifest.warnings().is_empty() && !context.printer.is_json() {
        let shown = manifest.warnings().render(&text.name, &text.text, context.printer.talks_in_colour());
        context.printer.talk(&format!("{}\n", shown.trim_end()));
    }
    let artifact = arguments.artifact.as_deref().map(args::absolute).transpose()?;
    let request = Deploy {
        manifest: text.text,
        directory: text.directory,
        artifact,
        environment: Some(environment),
        actor: context::actor(),
        reason: arguments.reason,
        override_lock: arguments.lock.override_lock,
    };
    let answer = context.client.deploy(&request).await?;
    outcome::see(context, &answer, Wish::Forward, since, arguments.detach).await
}
