//! The stream of events as its reader sees it. Does not live here: coming back when it is lost.

use std::collections::VecDeque;

use super::{Error, Output};
use crate::problem::Problem;

/// The most that one event may have, in bytes: the journal's largest, and its frame.
const LARGEST_EVENT_BYTES: usize = 2 * 1024 * 1024;

/// An event of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number: what a reader resumes with.
    pub seq: u64,
    /// What happened, as `rollout.started`.
    pub kind: String,
    /// Its stored form: one line of JSON.
    pub line: String,
}

/// The stream of events.
#[derive(Debug)]
pub struct Events {
    output: Output,
    rest: Vec<u8>,
    whole: VecDeque<Event>,
}

impl Events {
    pub(super) fn new(output: Output) -> Self {
        Self { output, rest: Vec::new(), whole: VecDeque::new() }
    }

    /// The next event; `None` when control ended the stream.
    ///
    /// # Errors
    /// When control went away, or let this reader go: it may resume with the last number it has.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.whole.pop_front() {
                return Ok(Some(event));
            }
            let Some(piece) = self.output.next().await? else { return Ok(None) };
            self.rest.extend_from_slice(&piece);
            while let Some(end) = self.rest.windows(2).position(|two| two == b"\n\n") {
                let frame: Vec<u8> = self.rest.drain(..end + 2).collect();
                if let Some(event) = event(&String::from_utf8_lossy(&frame))? {
                    self.whole.push_back(event);
                }
            }
            if self.rest.len() > LARGEST_EVENT_BYTES {
                return Err(Error::Strange("an event without an end".to_owned()));
            }
        }
    }
}

fn event(frame: &str) -> Result<Option<Event>, Error> {
    let field = |name: &str| {
        frame.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
    };
    let (Some(kind), Some(line)) = (field("event"), field("data")) else { return Ok(None) };
    match field("id").map(|id| id.parse()) {
        Some(Ok(seq)) => Ok(Some(Event { seq, kind, line })),
        Some(Err(_)) => Err(Error::Strange("an event without a number".to_owned())),
        None => match serde_json::from_str::<Problem>(&line) {
            Ok(problem) if kind == "dropped" => Err(Error::Said(problem)),
            Ok(_) | Err(_) => Ok(None),
        },
    }
}
