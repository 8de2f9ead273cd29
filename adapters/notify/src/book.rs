//! The log of what was told, in a file: written whole beside the old one, synced, then renamed.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use paging::Log;

/// The largest file that is read: thousands of alerts fit.
const LARGEST_BYTES: u64 = 64 * 1024 * 1024;

/// Where the log is kept.
#[derive(Debug, Clone)]
pub(crate) struct Book {
    path: PathBuf,
}

impl Book {
    /// Opens the log; a missing one is empty. One that cannot be read is put aside and told: then what fires is told again,
    /// which is better than silence.
    pub(crate) fn open(path: &Path) -> Result<(Self, Log), String> {
        let book = Self { path: path.to_owned() };
        let log = match book.read() {
            Ok(log) => log,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Log::default(),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let aside = path.with_extension("damaged");
                let put = std::fs::rename(path, &aside);
                put.map_err(|error| format!("cannot put {} aside: {error}", path.display()))?;
                tracing::error!(%error, aside = %aside.display(), "the log of what was told is damaged: what fires is told again");
                Log::default()
            }
            Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
        };
        Ok((book, log))
    }

    fn read(&self) -> io::Result<Log> {
        let mut bytes = Vec::new();
        File::open(&self.path)?.take(LARGEST_BYTES).read_to_end(&mut bytes)?;
        serde_json::from_slice(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Writes the log. It blocks on the disk.
    pub(crate) fn write(&self, log: &Log) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(log)?)?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_log_is_put_aside_and_what_fires_is_told_again() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("told.json");
        std::fs::write(&path, "{\"entries\":[[").unwrap();
        let (book, log) = Book::open(&path).unwrap();
        assert_eq!(log, Log::default());
        assert!(path.with_extension("damaged").exists() && !path.exists());
        book.write(&log).unwrap();
        assert_eq!(Book::open(&path).unwrap().1, log);
    }
}
