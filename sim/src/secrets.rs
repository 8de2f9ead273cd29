//! Secret values by reference, changed by the test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use model::spec::SecretSource;
use ports::Secret;
use ports::secrets::Error;

use crate::locked;

/// The simulated environment and files; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    values: Arc<Mutex<BTreeMap<String, Secret>>>,
}

impl Secrets {
    /// Gives the environment variable or file of this name a value.
    pub fn set(&self, name: &str, value: &str) {
        locked(&self.values).insert(name.to_owned(), Secret::new(value.to_owned()));
    }

    /// Takes the value away.
    pub fn forget(&self, name: &str) {
        locked(&self.values).remove(name);
    }
}

impl ports::Secrets for Secrets {
    fn resolve(&self, source: &SecretSource) -> Result<Secret, Error> {
        let (SecretSource::Environment(name) | SecretSource::File(name)) = source;
        locked(&self.values).get(name).cloned().ok_or_else(|| Error(format!("{name} is not set")))
    }
}
