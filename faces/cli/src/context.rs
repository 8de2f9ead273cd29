//! What a verb works with: the home, the manifest, the place that is meant, control's client. Does not live here: any
//! verb.

use std::path::PathBuf;

use api::Client;
use model::{EnvironmentName, Place};

use crate::args::Common;
use crate::failure::Failure;
use crate::manifest_file::{self, Text};
use crate::printer::Printer;

/// What a verb works with.
pub(crate) struct Context<'a> {
    pub(crate) printer: &'a Printer,
    pub(crate) common: Common,
    pub(crate) home: PathBuf,
    pub(crate) client: Client,
}

impl<'a> Context<'a> {
    pub(crate) fn new(common: Common, printer: &'a Printer) -> Result<Self, Failure> {
        let home = common.home()?;
        Ok(Self { printer, client: Client::new(&home), home, common })
    }

    /// The manifest's text.
    pub(crate) fn text(&self) -> Result<Text, Failure> {
        Text::read(&self.common.file)
    }

    /// The manifest.
    pub(crate) fn manifest(&self) -> Result<manifest::Manifest, Failure> {
        self.text()?.sound(self.printer.talks_in_colour())
    }

    /// The place that is meant, by `--service` and `-e`, and by the manifest for what they leave open.
    pub(crate) fn place(&self) -> Result<Place, Failure> {
        let (service, environment) = (self.common.service.as_ref(), self.common.environment.as_ref());
        if let (Some(service), Some(environment)) = (service, environment) {
            return Ok(Place { service: service.clone(), environment: environment.clone() });
        }
        let manifest = self.manifest().map_err(|failure| Failure {
            error: format!("which service and environment? {}", failure.error),
            instead: Some(
                "say it with --service NAME -e NAME, or name the manifest with --file PATH".to_owned(),
            ),
            ..failure
        })?;
        let service = service.unwrap_or_else(|| manifest.service()).clone();
        // An environment that left the manifest may still have something to roll back or to show.
        let environment = match environment {
            Some(environment) => environment.clone(),
            None => manifest_file::environment(&manifest, None)?,
        };
        Ok(Place { service, environment })
    }

    /// The service that is meant.
    pub(crate) fn service(&self) -> Result<model::ServiceName, Failure> {
        match &self.common.service {
            Some(service) => Ok(service.clone()),
            None => Ok(self.manifest()?.service().clone()),
        }
    }

    /// The environment option alone.
    pub(crate) fn environment(&self) -> Option<&EnvironmentName> {
        self.common.environment.as_ref()
    }
}

/// Who asks: the user's name, or else their number.
pub(crate) fn actor() -> String {
    let named = |variable: &str| std::env::var(variable).ok().filter(|name| !name.trim().is_empty());
    named("USER")
        .or_else(|| named("LOGNAME"))
        .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
        .chars()
        .take(64)
        .collect()
}
