//! The stage: a directory with a home, a manifest and four artifacts, gone when the demo is over.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use tempfile::TempDir;

use crate::Options;
use crate::pager::Pager;
use crate::shipshape::Shipshape;

/// Steps with evidence: a weight is left when the evidence for the release is in, not when time has passed. The budget is that
/// of a service that is half a minute old: a few requests, so each that fails counts. Who is told of alerts does not wait for more of them, as it
/// would on a quiet night.
const MANIFEST: &str = "\
service: shop
description: The example service of the demo
owner: team-shop
run: ./shop VERB
config:
  SHOP_LEDGER: WRITTEN_DOWN
replicas: 2
health:
  ready: {http: /healthz/ready, period: 1s}
  live: {http: /healthz/live, period: 1s}
objectives:
  availability: {target: 99.99%, alerts: {minimumEvents: 1}}
rollout:
  strategy: canary
  canary:
    steps:
      - setWeight: 10
      - pause: {duration: 2m}
      - setWeight: 50
      - pause: {duration: 2m}
  scaleDownDelay: 5s
  analysis:
    judge: {alpha: 0.01, promotion: evidence, maxErrorRate: 0.01, beta: 0.05}
notify:
  receivers:
    pager: {webhook: PAGER}
  groupWait: 1s
  groupInterval: 1s
";

/// The weight that the manifest gives a new release first.
pub(crate) const FIRST_WEIGHT: f64 = 0.1;
/// The manifest's alpha.
pub(crate) const ALPHA: f64 = 0.01;
/// How often the bad release fails.
pub(crate) const FAILURE_RATE: f64 = 0.05;

/// The demo's directory and the binary to run in it.
pub(crate) struct Stage {
    directory: TempDir,
    pub(crate) shipshape: Shipshape,
    pub(crate) pager: Pager,
    quiet: bool,
}

impl Stage {
    pub(crate) fn set(options: &Options) -> anyhow::Result<Self> {
        let directory =
            tempfile::Builder::new().prefix("shipshape-demo-").tempdir().context("no temporary directory")?;
        let path = directory.path();
        let pager = Pager::bind()?;
        let manifest = MANIFEST
            .replace("VERB", &options.service_verb)
            .replace("PAGER", &pager.url())
            .replace("WRITTEN_DOWN", &path.join("received.ledger").display().to_string());
        fs::write(path.join("shipshape.yaml"), manifest)?;
        let shipshape = Shipshape::new(options.binary.clone(), path.to_owned(), options.json);
        let stage = Self { directory, shipshape, pager, quiet: options.json };
        stage.artifact(options, "shop-1", r#"{"version": "1"}"#)?;
        stage.artifact(options, "shop-2", r#"{"version": "2"}"#)?;
        let bad = format!(r#"{{"version": "3", "failureRate": {FAILURE_RATE}}}"#);
        stage.artifact(options, "shop-3", &bad)?;
        stage.artifact(options, "shop-4", r#"{"version": "4"}"#)?;
        Ok(stage)
    }

    /// A directory with the service's program and its settings: what a build would leave.
    fn artifact(&self, options: &Options, name: &str, settings: &str) -> anyhow::Result<()> {
        let directory = self.directory.path().join(name);
        fs::create_dir(&directory)?;
        let program = directory.join("shop");
        // A link costs nothing; across file systems only a copy works.
        if fs::hard_link(&options.binary, &program).is_err() {
            fs::copy(&options.binary, &program)
                .with_context(|| format!("{} cannot be copied", options.binary.display()))?;
        }
        fs::write(directory.join("settings.json"), settings)?;
        Ok(())
    }

    /// What the services wrote down.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.directory.path().join("received.ledger")
    }

    /// Talk.
    pub(crate) fn say(&self, text: &str) {
        // A closed terminal is no reason to stop half-way with processes running.
        let _ = if self.quiet {
            writeln!(std::io::stderr(), "{text}")
        } else {
            writeln!(std::io::stdout(), "{text}")
        };
    }

    /// Data.
    pub(crate) fn data(&self, text: &str) {
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    /// Leaves everything running and says how to go on.
    pub(crate) fn keep(self) {
        let path = self.directory.path().display().to_string();
        self.say(&format!(
            "\nStill running, as you asked. Play with it:\n\n  cd {path}\n  export SHIPSHAPE_HOME={path}/home\n  \
             shipshape status\n  shipshape deploy ./shop-2\n  shipshape down"
        ));
        let _ = self.directory.keep();
    }

    /// Stops everything and removes the directory.
    pub(crate) fn clear(&self) {
        self.shipshape.quietly(&["down"]);
    }
}
