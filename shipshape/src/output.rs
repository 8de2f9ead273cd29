//! The replicas' output for the API, without secrets. Does not live here: reading it (`process::logs`), and which secrets there
//! are (`records`).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use api::logs::{Follow, Line, Logs};
use model::{Place, ReleaseNumber};

use crate::records::Known;

/// The output under a home directory.
pub(crate) struct Output {
    home: PathBuf,
    known: Arc<Known>,
}

impl Output {
    pub(crate) fn new(home: PathBuf, known: Arc<Known>) -> Self {
        Self { home, known }
    }
}

impl Logs for Output {
    fn open(
        &self,
        place: &Place,
        release: Option<ReleaseNumber>,
        lines: usize,
    ) -> io::Result<(Vec<Line>, Box<dyn Follow>)> {
        let (follow, last) = process::logs::Follow::new(&self.home, place, release, lines)?;
        let growing = Growing { follow, place: place.clone(), known: Arc::clone(&self.known) };
        Ok((growing.clean(last)?, Box::new(growing)))
    }
}

struct Growing {
    follow: process::logs::Follow,
    place: Place,
    known: Arc<Known>,
}

impl Growing {
    fn clean(&self, lines: Vec<process::logs::Line>) -> io::Result<Vec<Line>> {
        let redactor = self.known.redactor(&self.place).map_err(io::Error::other)?;
        let clean = |line: process::logs::Line| Line {
            release: line.release,
            replica: line.ordinal,
            line: redactor.redact(&String::from_utf8_lossy(&line.bytes)).into_owned(),
        };
        Ok(lines.into_iter().map(clean).collect())
    }
}

impl Follow for Growing {
    fn poll(&mut self) -> io::Result<Vec<Line>> {
        let lines = self.follow.poll()?;
        self.clean(lines)
    }
}
