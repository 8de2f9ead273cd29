//! `shipshape deploy`: an artifact becomes a release and is rolled out. Does not live here: any of the steps (control).

use std::path::{Path, PathBuf};
use std::time::Instant;

use manifest::Manifest;
use model::{EnvironmentName, ServiceName};
use runtime::{Deploy, DeployGroup, GroupMember};

use super::lock::Passing;
use super::outcome::{self, Wish};
use super::requests::Told;
use crate::Done;
use crate::args;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::manifest_file::{self, Named, Text};

/// Make a file or directory a release and roll it out.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shipshape deploy ./build/shop -e production --reason 'faster checkout'
  shipshape deploy -e production --group checkout shop/shipshape.yaml=./build/shop cart/shipshape.yaml=./build/cart

A group begins together, takes all requests only when every member can, and goes back together.
A PATH that is a link is followed; links inside of a directory are shipped as links, and must not lead out of it.
The same artifact with the same configuration is the same release; deploying it again changes nothing.")]
pub(crate) struct Args {
    /// The file or directory to run; what the manifest names by default
    #[arg(value_name = "PATH")]
    artifacts: Vec<PathBuf>,
    /// Several services as one: each PATH is a manifest, or MANIFEST=PATH
    #[arg(long, value_name = "NAME", conflicts_with_all = ["service", "file"])]
    group: Option<ServiceName>,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Return when the rollout has begun
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    passing: Passing,
    #[command(flatten)]
    told: Told,
}

pub(crate) async fn run(arguments: Args, context: &Context<'_>) -> Result<Done, Failure> {
    if let Some(name) = &arguments.group {
        let name = name.clone();
        return together(arguments, name, context).await;
    }
    if arguments.artifacts.len() > 1 {
        return Err(Failure::new("one artifact becomes one release, and several are named")
            .instead("--group NAME deploys several services as one, a manifest each"));
    }
    let artifact = arguments.artifacts.first().map(|path| args::absolute(path)).transpose()?;
    one(arguments, artifact, context).await
}

async fn one(arguments: Args, artifact: Option<PathBuf>, context: &Context<'_>) -> Result<Done, Failure> {
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
    tell_link(context, artifact.as_deref(), &manifest, &text, &environment);
    let request = Deploy {
        manifest: text.text,
        directory: text.directory,
        artifact,
        environment: Some(environment),
        actor: context::actor(),
        reason: arguments.reason,
        override_lock: arguments.passing.lock.override_lock,
        override_budget: arguments.passing.override_budget,
        override_freeze: arguments.passing.override_freeze,
        change: arguments.told.into(),
    };
    let answer = context.client.deploy(&request).await?;
    outcome::see(context, &answer, Wish::Forward, since, arguments.detach).await
}

/// Says what is shipped when the artifact is a link: what it points to now, under the link's name.
fn tell_link(
    context: &Context<'_>,
    named: Option<&Path>,
    manifest: &Manifest,
    text: &Text,
    environment: &EnvironmentName,
) {
    let declared = manifest.spec(environment).and_then(|spec| spec.artifact.as_ref());
    let path = named.map(Path::to_owned).or_else(|| Some(text.directory.join(declared?)));
    if let Some(said) = path.as_deref().and_then(followed)
        && !context.printer.is_json()
    {
        context.printer.talk(&format!("{said}\n"));
    }
}

fn followed(path: &Path) -> Option<String> {
    // A slash at the end would have the system follow the link before we see it.
    let path: PathBuf = path.components().collect();
    let end = path.is_symlink().then(|| path.canonicalize().ok()).flatten()?;
    Some(format!("{} is a link: what is shipped is {}, as it is now", path.display(), end.display()))
}

/// Several services as one; each member is followed to the end that all share.
async fn together(arguments: Args, name: ServiceName, context: &Context<'_>) -> Result<Done, Failure> {
    let since = Instant::now();
    let members = arguments.artifacts.iter().map(|named| member(named, context));
    let request = DeployGroup {
        name,
        members: members.collect::<Result<_, _>>()?,
        environment: context.environment().cloned(),
        actor: context::actor(),
        reason: arguments.reason.clone(),
        override_lock: arguments.passing.lock.override_lock,
        override_budget: arguments.passing.override_budget,
        override_freeze: arguments.passing.override_freeze,
        change: arguments.told.into(),
    };
    let first = context.client.deploy_group(&request).await?;
    let mut end = Ok(Done::Well);
    for answer in std::iter::once(&first).chain(&first.with) {
        match outcome::see(context, answer, Wish::Forward, since, arguments.detach).await {
            Ok(Done::Well) => {}
            Ok(Done::Badly) => end = end.and(Ok(Done::Badly)),
            // All end alike: the first says why, and the last is the exit status.
            Err(failure) => {
                if let Err(earlier) = std::mem::replace(&mut end, Err(failure)) {
                    context.printer.failure(&earlier);
                }
            }
        }
    }
    end
}

/// `MANIFEST` or `MANIFEST=ARTIFACT`.
fn member(named: &Path, context: &Context<'_>) -> Result<GroupMember, Failure> {
    let named = named.to_string_lossy();
    let (manifest, artifact) = match named.split_once('=') {
        Some((manifest, artifact)) => (manifest, Some(artifact)),
        None => (&*named, None),
    };
    let text = Text::read(Path::new(manifest), Named::Member)?;
    let sound = text.sound(context.printer.talks_in_colour())?;
    let artifact = artifact.map(|path| args::absolute(Path::new(path))).transpose()?;
    let environment = manifest_file::environment(&sound, context.environment())?;
    tell_link(context, artifact.as_deref(), &sound, &text, &environment);
    Ok(GroupMember { manifest: text.text, directory: text.directory, artifact })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_is_named_with_what_it_points_to_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        std::fs::create_dir(dir.join("build-7")).unwrap();
        symlink("build-7", dir.join("build")).unwrap();
        symlink("build", dir.join("latest")).unwrap();
        symlink("nowhere", dir.join("broken")).unwrap();
        let end = format!("what is shipped is {}", dir.join("build-7").display());
        for link in ["build", "latest", "latest/"] {
            assert!(followed(&dir.join(link)).unwrap().contains(&end), "{link}");
        }
        for other in ["build-7", "broken", "missing"] {
            assert_eq!(followed(&dir.join(other)), None, "{other}");
        }
    }
}
