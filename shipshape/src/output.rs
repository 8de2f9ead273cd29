//! The replicas' output for the API. Does not live here: reading it (`process::logs`).

use std::io;
use std::path::PathBuf;

use api::logs::{Follow, Line, Logs};
use model::{Place, ReleaseNumber};

/// The output under a home directory.
#[derive(Debug)]
pub(crate) struct Output {
    home: PathBuf,
}

impl Output {
    pub(crate) fn new(home: PathBuf) -> Self {
        Self { home }
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
        Ok((last.into_iter().map(line).collect(), Box::new(Growing(follow))))
    }
}

struct Growing(process::logs::Follow);

impl Follow for Growing {
    fn poll(&mut self) -> io::Result<Vec<Line>> {
        Ok(self.0.poll()?.into_iter().map(line).collect())
    }
}

fn line(line: process::logs::Line) -> Line {
    Line {
        release: line.release,
        replica: line.ordinal,
        line: String::from_utf8_lossy(&line.bytes).into_owned(),
    }
}
