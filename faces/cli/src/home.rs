//! The home directory: where it is by default, and what lies in it. Does not live here: what the files hold.

use std::env;
use std::path::{Path, PathBuf};

/// The journal of a home directory.
pub fn journal(home: &Path) -> PathBuf {
    home.join("journal.db")
}

/// The artifacts of a home directory.
pub fn artifacts(home: &Path) -> PathBuf {
    home.join("artifacts")
}

/// What objectives counted.
pub fn objectives(home: &Path) -> PathBuf {
    home.join("objectives.db")
}

/// The metrics of a home directory.
pub fn metrics(home: &Path) -> PathBuf {
    home.join("metrics")
}

/// The replicas' output as records, in a home directory.
pub fn records(home: &Path) -> PathBuf {
    home.join("records")
}

/// What was told of alerts, and to whom.
pub fn told(home: &Path) -> PathBuf {
    home.join("told.json")
}

/// The log of one of the two processes.
pub fn log(home: &Path, process: &str) -> PathBuf {
    home.join(format!("{process}.log"))
}

/// Where `up` remembers its addresses.
pub(crate) fn addresses(home: &Path) -> PathBuf {
    home.join("up.json")
}

/// The home directory that is meant when nobody names one.
pub(crate) fn default() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
    Some(state.join("shipshape"))
}
