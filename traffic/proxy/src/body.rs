//! Bodies on their way through: piece by piece, never whole. A piece is taken from one side only when the other side
//! wants one, so backpressure passes. Limits, stalls and ends are noticed here; what follows from them is not decided here.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use crate::error::Code;
use crate::pace;
use crate::record::Record;
use crate::replica::InFlight;
use crate::sniff::Busy;
use crate::upstream::Line;

/// Why a body ended early. hyper then breaks the connection off, which is how the other side learns of it.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message())]
pub(crate) struct Broken(Code);

/// A client's body on its way to a replica.
pub(crate) enum RequestBody {
    Empty,
    Stream(Box<Upload>),
}

pub(crate) struct Upload {
    inner: Incoming,
    left: u64,
    progress: Arc<Progress>,
    /// A replica that still takes a body has a request in flight, even when it has answered already.
    in_flight: Option<Arc<InFlight>>,
}

/// How far an upload is, for the one who waits for the response.
pub(crate) struct Progress {
    start: Instant,
    /// Since when this phase lasts.
    since_ms: AtomicU64,
    /// How far behind the client was then with what it owes.
    behind_us: AtomicU64,
    /// What it owes, in bytes a second.
    rate: u64,
    phase: AtomicU8,
    /// One more than the code's position in [`Code::ALL`]; zero while all is well.
    failure: AtomicU8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The replica has not asked for the next piece.
    ReplicaBusy,
    /// The client has not sent the next piece.
    ClientBusy,
    /// All of it is on its way.
    Sent,
}

impl Progress {
    fn new(rate: u64) -> Self {
        Self {
            start: Instant::now(),
            since_ms: AtomicU64::new(0),
            behind_us: AtomicU64::new(0),
            rate,
            phase: AtomicU8::new(0),
            failure: AtomicU8::new(0),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A piece went through.
    fn moved(&self, bytes: u64, phase: Phase) {
        let ms = self.now_ms();
        let since = self.since_ms.swap(ms, Ordering::Relaxed);
        if self.phase() == Phase::ClientBusy {
            let late = self.behind() + Duration::from_millis(ms.saturating_sub(since));
            let behind = pace::behind(late, bytes, self.rate);
            self.behind_us.store(u64::try_from(behind.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// The replica wants a piece that the client has not sent.
    fn starve(&self) {
        if self.phase() != Phase::ClientBusy {
            self.since_ms.store(self.now_ms(), Ordering::Relaxed);
            self.phase.store(Phase::ClientBusy as u8, Ordering::Release);
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::ReplicaBusy,
            1 => Phase::ClientBusy,
            _ => Phase::Sent,
        }
    }

    /// Since when this phase lasts: it begins anew with each piece.
    pub(crate) fn since(&self) -> Instant {
        self.start + Duration::from_millis(self.since_ms.load(Ordering::Relaxed))
    }

    /// How far behind the client was with what it owes when this phase began.
    pub(crate) fn behind(&self) -> Duration {
        Duration::from_micros(self.behind_us.load(Ordering::Relaxed))
    }

    fn fail(&self, code: Code) {
        self.failure.store(code as u8 + 1, Ordering::Release);
    }

    /// What the client did wrong.
    pub(crate) fn failure(&self) -> Option<Code> {
        let index = usize::from(self.failure.load(Ordering::Acquire));
        index.checked_sub(1).and_then(|index| Code::ALL.get(index)).copied()
    }
}

impl RequestBody {
    /// `rate`: what the client owes, in bytes a second.
    pub(crate) fn new(inner: Incoming, limit: u64, rate: u64) -> Self {
        if inner.is_end_stream() {
            return Self::Empty;
        }
        Self::Stream(Box::new(Upload {
            inner,
            left: limit,
            progress: Arc::new(Progress::new(rate)),
            in_flight: None,
        }))
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Binds the body to the claim it is sent under.
    pub(crate) fn hold(&mut self, claim: &Arc<InFlight>, limit: u64) {
        if let Self::Stream(upload) = self {
            upload.in_flight = Some(claim.clone());
            upload.left = limit;
        }
    }

    pub(crate) fn progress(&self) -> Option<Arc<Progress>> {
        match self {
            Self::Empty => None,
            Self::Stream(upload) => Some(upload.progress.clone()),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Self::Stream(upload) = &mut *self else { return Poll::Ready(None) };
        let progress = &upload.progress;
        match Pin::new(&mut upload.inner).poll_frame(cx) {
            Poll::Pending => {
                progress.starve();
                Poll::Pending
            }
            Poll::Ready(None) => {
                progress.moved(0, Phase::Sent);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(_))) => {
                progress.fail(Code::ClientBroken);
                Poll::Ready(Some(Err(Broken(Code::ClientBroken))))
            }
            Poll::Ready(Some(Ok(frame))) => {
                let size = frame.data_ref().map_or(0, |data| data.len() as u64);
                let Some(left) = upload.left.checked_sub(size) else {
                    progress.fail(Code::BodyTooLarge);
                    return Poll::Ready(Some(Err(Broken(Code::BodyTooLarge))));
                };
                upload.left = left;
                let last = upload.inner.is_end_stream();
                progress.moved(size, if last { Phase::Sent } else { Phase::ReplicaBusy });
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream(upload) => upload.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream(upload) => upload.inner.size_hint(),
        }
    }
}

/// A body on its way to a client: a replica's, or the gateway's own words.
pub(crate) enum ResponseBody {
    Own(Option<Bytes>),
    Stream(Box<Download>),
}

pub(crate) struct Download {
    inner: Incoming,
    /// The connection it comes by, kept for the next request once this is complete.
    sender: Option<Line>,
    record: Option<Record>,
    upload: Option<Arc<Progress>>,
    idle: Duration,
    stall: Option<Pin<Box<Sleep>>>,
    /// Whether `stall` runs: a piece was asked for and has not come.
    waiting: bool,
    /// The client's connection does not rest while it gets this.
    pub(crate) busy: Option<Busy>,
}

impl Download {
    pub(crate) fn new(
        inner: Incoming,
        sender: Line,
        record: Record,
        upload: Option<Arc<Progress>>,
        idle: Duration,
    ) -> Self {
        let (sender, record) = (Some(sender), Some(record));
        Self { inner, sender, record, upload, idle, stall: None, waiting: false, busy: None }
    }

    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = || Instant::now() + self.idle;
        let stall = match &mut self.stall {
            Some(stall) => {
                if !self.waiting {
                    stall.as_mut().reset(deadline());
                }
                stall
            }
            None => self.stall.insert(Box::pin(tokio::time::sleep_until(deadline()))),
        };
        self.waiting = true;
        stall.as_mut().poll(cx)
    }

    fn complete(&mut self) {
        if let Some(record) = self.record.take() {
            record.complete(self.sender.take());
        }
    }

    fn fail(&mut self, code: Code) -> Broken {
        self.sender = None;
        if let Some(record) = self.record.take() {
            record.broken(self.upload.as_ref().and_then(|upload| upload.failure()).unwrap_or(code));
        }
        Broken(code)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let download = match &mut *self {
            Self::Own(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(download) => download,
        };
        if let Some(busy) = &mut download.busy {
            busy.took();
        }
        match Pin::new(&mut download.inner).poll_frame(cx) {
            Poll::Pending => match download.poll_stall(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) => Poll::Ready(Some(Err(download.fail(Code::ResponseStalled)))),
            },
            Poll::Ready(None) => {
                download.complete();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(download.fail(Code::ResponseBroken)))),
            Poll::Ready(Some(Ok(frame))) => {
                download.waiting = false;
                if download.inner.is_end_stream() {
                    download.complete();
                } else if let Some(busy) = &mut download.busy {
                    busy.gave(frame.data_ref().map_or(0, |data| data.len() as u64));
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Stream(download) => download.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Stream(download) => download.inner.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_makes_up_for_waiting_with_what_it_sends_and_is_not_blamed_for_a_slow_replica() {
        let progress = Progress::new(100);
        progress.starve();
        tokio::time::advance(Duration::from_secs(4)).await;
        progress.moved(300, Phase::ReplicaBusy);
        assert_eq!(progress.behind(), Duration::from_secs(1));
        tokio::time::advance(Duration::from_secs(60)).await;
        progress.starve();
        assert_eq!((progress.behind(), progress.since()), (Duration::from_secs(1), Instant::now()));
        tokio::time::advance(Duration::from_secs(13)).await;
        progress.moved(1, Phase::ReplicaBusy);
        assert_eq!(progress.behind(), Duration::from_millis(13_990));
    }
}
