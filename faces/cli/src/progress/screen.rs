//! Where progress is shown: redrawn on a terminal, a line for each change in a file, an object for each in JSON. Does
//! not live here: the words.

use std::cell::Cell;
use std::time::{Duration, Instant};

use model::Timestamp;
use serde_json::json;
use views::{PlaceStatus, RolloutStatus};

use super::view::{self, Key};
use crate::printer::Printer;
use crate::words;

/// After so long a smaller change is told in a file, too.
const LULL: Duration = Duration::from_secs(5);

/// Shows a rollout's progress.
pub(super) struct Screen<'a> {
    printer: &'a Printer,
    drawn: Cell<usize>,
    last: Option<(Key, String, Instant)>,
}

impl<'a> Screen<'a> {
    pub(super) fn new(printer: &'a Printer) -> Self {
        Self { printer, drawn: Cell::new(0), last: None }
    }

    pub(super) fn show(&mut self, place: &PlaceStatus, rollout: &RolloutStatus, at: Timestamp) {
        if self.printer.is_terminal() {
            self.redraw(&view::lines(place, rollout, at));
            return;
        }
        let (key, line) = (view::key(place, rollout), view::line(rollout));
        let told = self
            .last
            .as_ref()
            .is_some_and(|(last, text, at)| *last == key && (*text == line || at.elapsed() < LULL));
        if told {
            return;
        }
        self.last = Some((key, line.clone(), Instant::now()));
        if self.printer.is_json() {
            let releases: Vec<_> = place.releases.iter().map(|r| {
                json!({"release": r.release, "weight": r.weight, "wanted": r.wanted, "ready": r.ready})
            }).collect();
            self.printer.json(&json!({
                "at": at,
                "service": place.place.service,
                "environment": place.place.environment,
                "rollout": rollout,
                "releases": releases,
            }));
        } else {
            self.printer.talk(&line);
        }
    }

    /// A line among the progress.
    pub(super) fn say(&self, line: &str) {
        self.printer.talk(line);
        self.drawn.set(0);
    }

    /// Lines are cut before the terminal's edge: one that wraps would be two to go back over.
    fn redraw(&self, lines: &[String]) {
        let columns = self.printer.columns().unwrap_or(usize::MAX);
        let lines: Vec<String> = lines.iter().map(|line| words::cut(line, columns)).collect();
        let back = match self.drawn.get() {
            0 => String::new(),
            drawn => format!("\x1b[{drawn}A"),
        };
        self.printer.draw(&format!("\x1b[?7l{back}\x1b[J{}\n\x1b[?7h", lines.join("\n")));
        self.drawn.set(lines.len());
    }
}
