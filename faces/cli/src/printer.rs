//! Everything that is printed passes here: stdout is data, stderr is talk. Does not live here: what is said.

use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal as _, Write};

use clap::ValueEnum;
use serde::Serialize;

use crate::failure::Failure;

/// The form of data on stdout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// A colour. It never says anything that the words do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    Good,
    Bad,
    Warning,
    Strong,
    Faint,
}

impl Paint {
    fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Bad => "31;1",
            Self::Warning => "33",
            Self::Strong => "1",
            Self::Faint => "2",
        }
    }
}

/// Prints.
pub(crate) struct Printer {
    format: Format,
    out: RefCell<Box<dyn Write>>,
    err: RefCell<Box<dyn Write>>,
    colour_out: bool,
    colour_err: bool,
    terminal: bool,
    redrawable: bool,
    closed: Cell<bool>,
}

impl Printer {
    /// To the process's own streams.
    pub(crate) fn new(format: Format) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Self {
            format,
            out: RefCell::new(Box::new(io::stdout())),
            err: RefCell::new(Box::new(io::stderr())),
            colour_out: wanted && out,
            colour_err: wanted && err,
            terminal: err && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
            redrawable: out && format == Format::Text,
            closed: Cell::new(false),
        }
    }

    /// To memory, without colour, not a terminal.
    #[cfg(test)]
    pub(crate) fn into(format: Format, out: Box<dyn Write>, err: Box<dyn Write>) -> Self {
        Self {
            format,
            out: RefCell::new(out),
            err: RefCell::new(err),
            colour_out: false,
            colour_err: false,
            terminal: false,
            redrawable: false,
            closed: Cell::new(false),
        }
    }

    /// Whether data is for programs.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether stderr is a terminal that can be redrawn.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal && !self.is_json()
    }

    /// How many columns the terminal has that stderr is, if it is one and tells.
    pub(crate) fn columns(&self) -> Option<usize> {
        let size = rustix::termios::tcgetwinsize(io::stderr()).ok()?;
        Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
    }

    /// Whether stdout is a terminal that can be redrawn.
    pub(crate) fn is_redrawable(&self) -> bool {
        self.redrawable
    }

    /// Whether stderr takes colour.
    pub(crate) fn talks_in_colour(&self) -> bool {
        self.colour_err
    }

    /// Whether nobody reads stdout any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Text in a colour, for stdout.
    pub(crate) fn paint(&self, paint: Paint, text: &str) -> String {
        painted(self.colour_out, paint, text)
    }

    /// Text in a colour, for stderr.
    pub(crate) fn paint_talk(&self, paint: Paint, text: &str) -> String {
        painted(self.colour_err, paint, text)
    }

    /// A line of data.
    pub(crate) fn data(&self, line: &str) {
        self.bytes(format!("{line}\n").as_bytes());
    }

    /// Data as it is.
    pub(crate) fn bytes(&self, bytes: &[u8]) {
        let mut out = self.out.borrow_mut();
        if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
            self.closed.set(true);
        }
    }

    /// Data for programs, on one line.
    pub(crate) fn json(&self, data: &impl Serialize) {
        self.data(&serde_json::to_string(data).unwrap_or_default());
    }

    /// Data for programs, for a reader who also has eyes.
    pub(crate) fn json_pretty(&self, data: &impl Serialize) {
        self.data(&serde_json::to_string_pretty(data).unwrap_or_default());
    }

    /// A line of talk; in JSON nobody talks.
    pub(crate) fn talk(&self, line: &str) {
        if !self.is_json() {
            self.draw(&format!("{line}\n"));
        }
    }

    /// Something to look at, although all went well.
    pub(crate) fn warning(&self, text: &str) {
        let label = self.paint_talk(Paint::Warning, "warning:");
        self.talk(&format!("{label} {}", indented(text, "  ")));
    }

    /// Talk as it is, control sequences included.
    pub(crate) fn draw(&self, text: &str) {
        let mut err = self.err.borrow_mut();
        // Talk that nobody hears is not a reason to stop.
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }

    /// Why it did not work, and the way out.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.is_json() {
            self.draw(&format!("{}\n", serde_json::to_string(failure).unwrap_or_default()));
            return;
        }
        let label = match &failure.code {
            Some(code) => format!("error[{code}]:"),
            None => "error:".to_owned(),
        };
        let label = self.paint_talk(Paint::Bad, &label);
        self.draw(&format!("{label} {}\n", failure.error.trim_end()));
        if let Some(instead) = &failure.instead {
            let label = self.paint_talk(Paint::Strong, "try:");
            self.draw(&format!("  {label} {}\n", indented(instead.trim_end(), "       ")));
        }
    }
}

fn painted(colour: bool, paint: Paint, text: &str) -> String {
    if colour { format!("\x1b[{}m{text}\x1b[0m", paint.code()) } else { text.to_owned() }
}

fn indented(text: &str, by: &str) -> String {
    let lines = text.lines().enumerate().map(|(index, line)| match (index, line) {
        (0, line) => line.to_owned(),
        (_, "") => String::new(),
        (_, line) => format!("{by}{line}"),
    });
    lines.collect::<Vec<_>>().join("\n")
}
