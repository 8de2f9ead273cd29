//! What was received, written down before it is answered: one line for each request with a sequence number, appended
//! in one write, so that the replicas of several releases can share a file.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use http::{HeaderMap, Method};

use crate::{Error, Settings};

/// The longest sequence number in bytes.
const MAX_SEQUENCE: usize = 128;

#[derive(Debug)]
pub(crate) struct Ledger {
    file: File,
    /// `<release> <replica>`.
    who: String,
}

impl Ledger {
    pub(crate) fn open(path: &Path, settings: &Settings) -> Result<Self, Error> {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|source| Error::Ledger { path: path.display().to_string(), source })?;
        Ok(Self { file, who: format!("{} {}", settings.release, settings.replica) })
    }

    /// Appends `<sequence> <release> <replica> <method> <path>`; nothing without an `X-Sequence` header.
    pub(crate) fn note(&self, headers: &HeaderMap, method: &Method, path: &str) -> std::io::Result<()> {
        let Some(sequence) = headers.get("x-sequence") else { return Ok(()) };
        let sequence = sequence.to_str().unwrap_or_default();
        let one_word = !sequence.is_empty() && sequence.bytes().all(|b| b.is_ascii_graphic());
        if !one_word || sequence.len() > MAX_SEQUENCE {
            return Err(std::io::Error::other("X-Sequence is not one word of at most 128 characters"));
        }
        let line = format!("{sequence} {} {method} {path}\n", self.who);
        // A partial write would tear the line; write_all only hides that, so it is told as an error.
        match (&self.file).write(line.as_bytes())? {
            n if n == line.len() => Ok(()),
            _ => Err(std::io::Error::other("the line was written only in part")),
        }
    }
}
