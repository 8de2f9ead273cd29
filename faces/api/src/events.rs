//! The journal's events, in pages and as a stream that is resumed by number. Does not live here: what an event means.
//!
//! A stream reads the journal page by page as its reader takes them: nothing piles up for a slow reader but one page.
//! One that is behind and has not taken a page in time is told so and let go; it resumes with the number it has.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use http::{HeaderMap, StatusCode, header};
use runtime::{Handle, Recorded};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::problem::{self, Problem};

/// How often a stream says that it is still there.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a reader that is behind may take for a page.
const PATIENCE: Duration = Duration::from_secs(30);
/// When a reader that lost its stream may come back, in milliseconds.
const RETRY_MS: u64 = 1000;
/// How many events a stream reads at once.
const PAGE: usize = 64;
/// How many events a page of JSON has at most.
pub const MOST_EVENTS: usize = 1000;
/// How many it has when nobody says how many.
pub const DEFAULT_EVENTS: usize = 100;

/// Which events, and how.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ask {
    after: Option<u64>,
    limit: Option<usize>,
    follow: Option<bool>,
    #[serde(default)]
    format: Format,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Format {
    #[default]
    Sse,
    Json,
}

pub(crate) async fn answer(
    control: Handle,
    ask: Ask,
    headers: &HeaderMap,
    closing: watch::Receiver<bool>,
) -> Result<Response, Problem> {
    let after = resumed(headers)?.or(ask.after).unwrap_or_default();
    let last = *control.last_event().borrow();
    if after > last {
        let what = format!("there is no event {after}: the journal ends with event {last}");
        return Err(Problem::new(StatusCode::NOT_FOUND, problem::UNKNOWN, what)
            .instead("is this the journal you were reading? start anew, with `after=0`"));
    }
    if ask.format == Format::Json {
        let limit = ask.limit.unwrap_or(DEFAULT_EVENTS).clamp(1, MOST_EVENTS);
        let page = control.events_after(after, limit).await?;
        return Ok(([(header::CONTENT_TYPE, "application/json")], json(&page, after, last)).into_response());
    }
    if ask.limit.is_some() {
        return Err(Problem::malformed("a stream has no limit")
            .instead("leave `limit` out, or ask for a page with `format=json`"));
    }
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, stream(control, after, ask.follow.unwrap_or(true), closing)).into_response())
}

/// Where a reader left off. A browser sends it beside the address it began with, so it goes before `after`.
fn resumed(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get("last-event-id").filter(|value| !value.is_empty()) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number
        .map(Some)
        .ok_or_else(|| Problem::malformed("the header Last-Event-ID is not the number of an event"))
}

/// The records as they are stored, to the byte: their hashes hold.
fn json(page: &[Recorded], after: u64, last: u64) -> String {
    let next = page.last().map_or(after, |event| event.seq);
    let lines: Vec<&str> = page.iter().map(|event| event.line.as_str()).collect();
    format!("{{\"events\":[{}],\"next\":{next},\"last\":{}}}", lines.join(","), last.max(next))
}

fn stream(control: Handle, after: u64, follow: bool, closing: watch::Receiver<bool>) -> Body {
    let last = control.last_event();
    let live = Live { control, after, follow, last, closing, given: None, begun: false, over: false };
    Body::from_stream(stream::unfold(live, |mut live| async move {
        let piece = live.next().await?;
        Some((Ok::<_, Infallible>(piece), live))
    }))
}

struct Live {
    control: Handle,
    after: u64,
    follow: bool,
    last: watch::Receiver<u64>,
    closing: watch::Receiver<bool>,
    /// When the piece before was given.
    given: Option<Instant>,
    begun: bool,
    over: bool,
}

impl Live {
    /// The next piece; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        if self.over {
            return None;
        }
        if !std::mem::replace(&mut self.begun, true) {
            return Some(format!("retry: {RETRY_MS}\n\n"));
        }
        let late = self.given.is_some_and(|given| given.elapsed() > PATIENCE);
        if late && *self.last.borrow() > self.after {
            return Some(self.drop(&slow()));
        }
        let piece = self.wait().await;
        self.given = Some(Instant::now());
        piece
    }

    async fn wait(&mut self) -> Option<String> {
        loop {
            // Before reading, so that what is written meanwhile is noticed.
            self.last.mark_unchanged();
            let page = match self.control.events_after(self.after, PAGE).await {
                Ok(page) => page,
                Err(runtime::Error::Stopped(_)) => return None,
                Err(error) => return Some(self.drop(&error.into())),
            };
            if let Some(event) = page.last() {
                self.after = event.seq;
                return Some(written(&page));
            }
            if !self.follow {
                return None;
            }
            tokio::select! {
                _ = self.closing.wait_for(|closing| *closing) => return None,
                changed = self.last.changed() => changed.ok()?,
                () = tokio::time::sleep(HEARTBEAT) => return Some(": still here\n\n".to_owned()),
            }
        }
    }

    /// The last piece. It has no number: a reader resumes with the one before.
    fn drop(&mut self, problem: &Problem) -> String {
        self.over = true;
        format!("event: dropped\ndata: {}\n\n", serde_json::to_string(problem).unwrap_or_default())
    }
}

fn written(page: &[Recorded]) -> String {
    let mut text = String::new();
    for Recorded { seq, kind, line } in page {
        let kind: String = kind.chars().filter(|char| !char.is_control()).collect();
        // Writing into memory does not fail.
        let _ = write!(text, "id: {seq}\nevent: {kind}\ndata: {line}\n\n");
    }
    text
}

fn slow() -> Problem {
    let what = format!("the events were not read within {} s, and there are more", PATIENCE.as_secs());
    Problem::new(StatusCode::REQUEST_TIMEOUT, problem::SLOW, what)
        .instead("resume with the header Last-Event-ID, and read faster")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::BodyExt as _;
    use sim::{Artifacts, Clock, Fleet, Journal, Secrets};

    use super::*;

    async fn piece(body: &mut Body) -> Option<String> {
        let frame = body.frame().await?.unwrap();
        Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stops_reading_is_told_and_let_go_and_one_that_waits_is_not() {
        let ports = runtime::Ports {
            journal: Journal::default(),
            fleet: Arc::new(Fleet::start(7, 0)),
            artifacts: Arc::new(Artifacts::default()),
            checks: Arc::new(sim::Checks::default()),
            secrets: Arc::new(Secrets::default()),
            clock: Arc::new(Clock::start()),
        };
        let (control, _deciding) = runtime::start(ports, runtime::Config::default()).await.unwrap();
        let (_close, closing) = watch::channel(false);
        let open = || stream(control.clone(), 0, true, closing.clone());
        let (mut quick, mut stuck) = (open(), open());
        for body in [&mut quick, &mut stuck] {
            assert_eq!(piece(body).await.unwrap(), "retry: 1000\n\n");
            assert!(piece(body).await.unwrap().starts_with("id: 1\nevent: control.started\ndata: {"));
        }
        assert_eq!(piece(&mut quick).await.unwrap(), ": still here\n\n", "nothing happens, for a while");
        let request = runtime::Deploy {
            manifest: "service: shop\nrun: ./shop\n".to_owned(),
            directory: "/".into(),
            artifact: Some("/one".into()),
            environment: None,
            actor: "ada".to_owned(),
            reason: None,
            override_lock: false,
            override_budget: false,
            override_freeze: false,
            change: runtime::Words::default(),
        };
        let _ = control.deploy(request).await.unwrap();
        assert!(piece(&mut quick).await.unwrap().starts_with("id: 2\nevent: release.registered\n"));
        tokio::time::sleep(PATIENCE * 2).await;
        let last = piece(&mut stuck).await.unwrap();
        assert!(last.starts_with("event: dropped\ndata: {") && last.contains(problem::SLOW), "{last}");
        assert_eq!(piece(&mut stuck).await, None);
    }
}
