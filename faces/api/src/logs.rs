//! The output of replicas as a stream. Does not live here: where it is kept; whoever wires control brings a [`Logs`].

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use model::{EnvironmentName, Place, ReleaseNumber, ServiceName};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// How often growing output is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// The most lines of each replica that are looked back over.
pub const MOST_LINES: usize = 100_000;
/// The lines of each replica that are looked back over when nobody says how many.
pub const DEFAULT_LINES: usize = 100;

/// Which output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ask {
    /// Of which service.
    pub service: ServiceName,
    /// Where.
    pub environment: EnvironmentName,
    /// Of this release alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseNumber>,
    /// Of the replica with this number alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<u32>,
    /// The last lines of each replica; [`DEFAULT_LINES`] when absent, [`MOST_LINES`] at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<usize>,
    /// Whether to go on with what is written from now on.
    #[serde(default)]
    pub follow: bool,
    /// How it is written.
    #[serde(default)]
    pub format: Format,
}

impl Ask {
    /// Where.
    pub fn place(&self) -> Place {
        Place { service: self.service.clone(), environment: self.environment.clone() }
    }
}

/// How output is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Format {
    /// A JSON object for each line.
    #[default]
    Json,
    /// The lines as they are.
    Text,
}

/// A line of output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// Which release wrote it.
    pub release: ReleaseNumber,
    /// Which replica of it.
    pub replica: u32,
    /// What it wrote, without the newline. What is no UTF-8 is replaced.
    pub line: String,
}

/// Where output is kept. The calls may block on the disk.
pub trait Logs: Send + Sync + 'static {
    /// The last `lines` lines of each replica, and what tells of those that are written later.
    ///
    /// # Errors
    /// When the output cannot be read.
    fn open(
        &self,
        place: &Place,
        release: Option<ReleaseNumber>,
        lines: usize,
    ) -> io::Result<(Vec<Line>, Box<dyn Follow>)>;
}

/// Output that grows.
pub trait Follow: Send + 'static {
    /// The lines that were finished since the last call.
    ///
    /// # Errors
    /// When the output cannot be read.
    fn poll(&mut self) -> io::Result<Vec<Line>>;
}

/// Opens the output that is asked for, as a body that ends when `closing` turns true.
pub(crate) async fn stream(
    logs: Arc<dyn Logs>,
    ask: Ask,
    closing: watch::Receiver<bool>,
) -> io::Result<Body> {
    let (place, release) = (ask.place(), ask.release);
    let lines = ask.lines.unwrap_or(DEFAULT_LINES).min(MOST_LINES);
    let opened = tokio::task::spawn_blocking(move || logs.open(&place, release, lines)).await;
    let (first, follow) = opened.map_err(io::Error::other)??;
    let first = written(&ask, first);
    if !ask.follow {
        return Ok(Body::from(first));
    }
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let live = Live { ask, follow: Some(follow), first: Some(first), tick, closing };
    Ok(Body::from_stream(stream::unfold(live, |mut live| async move {
        let piece = live.next().await?;
        Some((Ok::<_, Infallible>(piece), live))
    })))
}

struct Live {
    ask: Ask,
    follow: Option<Box<dyn Follow>>,
    first: Option<Bytes>,
    tick: tokio::time::Interval,
    closing: watch::Receiver<bool>,
}

impl Live {
    /// The next piece; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take().filter(|first| !first.is_empty()) {
            return Some(first);
        }
        loop {
            tokio::select! {
                _ = self.closing.wait_for(|closing| *closing) => return None,
                _ = self.tick.tick() => {}
            }
            let mut follow = self.follow.take()?;
            let polled = tokio::task::spawn_blocking(move || (follow.poll(), follow)).await;
            let (lines, follow) = polled.ok()?;
            match lines {
                Ok(lines) => {
                    self.follow = Some(follow);
                    let piece = written(&self.ask, lines);
                    if !piece.is_empty() {
                        return Some(piece);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the output of replicas cannot be read");
                    return None;
                }
            }
        }
    }
}

fn written(ask: &Ask, lines: Vec<Line>) -> Bytes {
    let mut text = Vec::new();
    for line in lines.into_iter().filter(|line| ask.replica.is_none_or(|wanted| wanted == line.replica)) {
        match ask.format {
            Format::Text => text.extend_from_slice(line.line.as_bytes()),
            // Plain data; a vector takes everything.
            Format::Json => serde_json::to_writer(&mut text, &line).unwrap_or_default(),
        }
        text.push(b'\n');
    }
    Bytes::from(text)
}
