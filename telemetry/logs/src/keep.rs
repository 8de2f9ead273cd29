//! The stores of all places under one folder. Does not live here: what is in one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::store::{Error, Retention, Store};

/// The stores of all places, opened when they are first asked for.
#[derive(Debug)]
pub struct Keep {
    root: PathBuf,
    open: Mutex<BTreeMap<(String, String), Arc<Store>>>,
}

impl Keep {
    /// Under this folder, which need not be there. Only one may have it.
    pub fn new(root: PathBuf) -> Self {
        Self { root, open: Mutex::default() }
    }

    fn opened(&self) -> MutexGuard<'_, BTreeMap<(String, String), Arc<Store>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder of a place. Names are DNS labels: nothing in them leads elsewhere.
    pub fn folder(root: &Path, service: &str, environment: &str) -> PathBuf {
        root.join(service).join(environment)
    }

    /// The store of a place; with `make`, also when nothing was kept there yet.
    ///
    /// # Errors
    /// When its folder cannot be used.
    pub fn store(&self, service: &str, environment: &str, make: bool) -> Result<Option<Arc<Store>>, Error> {
        let mut open = self.opened();
        let name = (service.to_owned(), environment.to_owned());
        if let Some(store) = open.get(&name) {
            return Ok(Some(Arc::clone(store)));
        }
        let folder = Self::folder(&self.root, service, environment);
        if !make && !folder.is_dir() {
            return Ok(None);
        }
        let store = Arc::new(Store::open(&folder, Retention::default())?);
        open.insert(name, Arc::clone(&store));
        Ok(Some(store))
    }

    /// The places whose stores are open, with them.
    pub fn stores(&self) -> Vec<((String, String), Arc<Store>)> {
        self.opened().iter().map(|(name, store)| (name.clone(), Arc::clone(store))).collect()
    }

    /// Looks at what is kept, while another may have it. Nothing can be added to these stores.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn look_at_all(&self) -> Result<(), Error> {
        for service in names(&self.root) {
            for environment in names(&self.root.join(&service)) {
                let store = Store::look(&Self::folder(&self.root, &service, &environment))?;
                self.opened().insert((service.clone(), environment), Arc::new(store));
            }
        }
        Ok(())
    }

    /// Opens what was kept before.
    ///
    /// # Errors
    /// When a folder cannot be used.
    pub fn open_all(&self) -> Result<(), Error> {
        for service in names(&self.root) {
            for environment in names(&self.root.join(&service)) {
                self.store(&service, &environment, false)?;
            }
        }
        Ok(())
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}
