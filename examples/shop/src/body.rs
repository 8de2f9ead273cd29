//! Response bodies: whole ones, and ones that come in pieces over time. A body holds its request's place among the
//! requests in flight until its last byte is out.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use crate::server::InFlight;

pub(crate) struct Reply {
    pieces: Pieces,
    _in_flight: Option<InFlight>,
}

enum Pieces {
    Whole(Option<Bytes>),
    Timed { next: u32, count: u32, pause: Duration, sleep: Pin<Box<Sleep>> },
}

impl Reply {
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = Some(bytes.into()).filter(|bytes: &Bytes| !bytes.is_empty());
        Self { pieces: Pieces::Whole(bytes), _in_flight: None }
    }

    /// `count` lines, one after each pause.
    pub(crate) fn timed(count: u32, pause: Duration) -> Self {
        let sleep = Box::pin(tokio::time::sleep(pause));
        Self { pieces: Pieces::Timed { next: 0, count, pause, sleep }, _in_flight: None }
    }

    pub(crate) fn holding(self, in_flight: InFlight) -> Self {
        Self { _in_flight: Some(in_flight), ..self }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match &mut self.pieces {
            Pieces::Whole(bytes) => bytes.take(),
            Pieces::Timed { next, count, .. } if next == count => None,
            Pieces::Timed { next, pause, sleep, .. } => {
                ready!(sleep.as_mut().poll(context));
                *next += 1;
                sleep.as_mut().reset(tokio::time::Instant::now() + *pause);
                Some(Bytes::from(format!("chunk {next}\n")))
            }
        };
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.pieces {
            Pieces::Whole(bytes) => bytes.is_none(),
            Pieces::Timed { next, count, .. } => next == count,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.pieces {
            Pieces::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Pieces::Timed { .. } => SizeHint::default(),
        }
    }
}
