//! What a team declares: the text of a `shipshape.yaml` becomes one [`model::Spec`] for each environment, or a list
//! of everything that is wrong with it, each with line, column and a way out.
//!
//! A manifest passes five rooms: [`yaml`] makes a tree that remembers places, [`overlay`] applies an environment's
//! changes to it, [`read`] reads it against the one table of [`fields`] (which is the JSON [`schema()`] too), the
//! sections give it meaning, and [`diagnostic`] shows what is wrong. Files are not opened here, nor secrets resolved.

mod node;
mod yaml;

mod fields;
mod shape;

mod overlay;
mod read;
mod values;

mod alerts;
mod analysis;
mod assignment;
mod changes;
mod check;
mod environments;
mod headers;
mod health;
mod hooks;
mod logs;
mod metrics;
mod notify;
mod objectives;
mod probes;
mod promotion;
mod promql;
mod rollout;
mod route;
mod service;
mod steps;
mod traces;

mod diagnostic;
pub mod diff;
mod import;
mod render;
mod schema;

use std::collections::BTreeMap;

use model::{EnvironmentName, ServiceName, Spec};

pub use diagnostic::{Diagnostic, Diagnostics, Related, Severity};
pub use import::{Imported, import};
pub use render::render;
pub use schema::schema;

/// A sound manifest: the effective configuration for each of its environments.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    service: ServiceName,
    specs: BTreeMap<EnvironmentName, Spec>,
    warnings: Diagnostics,
}

impl Manifest {
    /// Parses and checks a manifest.
    ///
    /// # Errors
    /// Everything that is wrong, warnings included; never only the first (but at most 100: more help nobody). A text
    /// that is not YAML has one error, at the place where reading stopped.
    pub fn parse(text: &str) -> Result<Self, Diagnostics> {
        environments::read(text)
    }

    /// The service's name.
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// The environments by name; `production` alone when none is declared.
    pub fn environments(&self) -> impl Iterator<Item = &EnvironmentName> {
        self.specs.keys()
    }

    /// The effective configuration for an environment; `None` when it is not declared.
    pub fn spec(&self, environment: &EnvironmentName) -> Option<&Spec> {
        self.specs.get(environment)
    }

    /// The effective configuration for each environment.
    pub fn specs(&self) -> &BTreeMap<EnvironmentName, Spec> {
        &self.specs
    }

    /// What is allowed, but probably not meant.
    pub fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }
}
