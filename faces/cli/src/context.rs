//! What a verb works with: the home, the manifest, the place that is meant, control's client. Does not live here: any
//! verb.

use std::path::{Path, PathBuf};

use api::{Client, Token};
use model::{EnvironmentName, Place};

use crate::args::Common;
use crate::failure::Failure;
use crate::manifest_file::{self, Named, Text};
use crate::printer::Printer;

/// What a verb works with.
pub(crate) struct Context<'a> {
    pub(crate) printer: &'a Printer,
    pub(crate) common: Common,
    pub(crate) home: PathBuf,
    pub(crate) client: Client,
}

impl<'a> Context<'a> {
    /// `is_here` means the control of this home, wherever `--api` points.
    pub(crate) fn new(common: Common, printer: &'a Printer, is_here: bool) -> Result<Self, Failure> {
        let home = common.home()?;
        let client = match common.api.as_deref().filter(|api| !is_here && !api.is_empty()) {
            Some(url) => Client::at(url, token(&home)?).map_err(Failure::new)?,
            None => Client::new(&home),
        };
        Ok(Self { printer, client, home, common })
    }

    /// Whether the control that is asked is the one of this home.
    pub(crate) fn is_here(&self) -> bool {
        self.common.api.as_deref().is_none_or(str::is_empty)
    }

    /// The manifest's text.
    pub(crate) fn text(&self) -> Result<Text, Failure> {
        Text::read(&self.common.file, Named::File)
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

/// What opens the API's door: from the environment, or else from the home of a control on this machine.
fn token(home: &Path) -> Result<Token, Failure> {
    const VARIABLE: &str = "SHIPSHAPE_TOKEN";
    match std::env::var(VARIABLE).ok().filter(|token| !token.trim().is_empty()) {
        Some(token) => Token::new(&token).map_err(|error| Failure::new(format!("{VARIABLE}: {error}"))),
        None => Token::read(home).map_err(|error| {
            Failure::new(format!("no token for --api: {error}"))
                .instead(format!("set {VARIABLE} to what the file `token` in control's home holds"))
        }),
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
