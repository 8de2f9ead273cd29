//! An answer from its head on: to the client with its body, or both sides change protocol. The replica's connection is
//! free for the next request, and the books are closed, before the client has the last byte.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::error::Code;
use crate::notice::Notice;
use crate::pace;
use crate::plain::buffer::Buffer;
use crate::plain::chunked::{Chunks, Coding, TrailerLimits};
use crate::plain::exchange::{Sending, Talk, Upload, poll_gone};
use crate::plain::flow::{Break, Flow, Source, Step, Waits};
use crate::plain::request;
use crate::plain::response::{Answer, Body, Manner};
use crate::plain::{Connection, Next};
use crate::record::Record;
use crate::replica::{InFlight, Replica};
use crate::tunnel::{self, WebSocket};
use crate::upstream::SharedClaim;
use crate::websocket::Frames;
use crate::worker::Worker;

/// An answer on its way.
struct Download {
    flow: Flow,
    /// Until it serves again, or is lost.
    upstream: Option<TcpStream>,
    input: Buffer,
    upload: Upload,
    /// Whether the replica's connection may serve again.
    reusable: bool,
    replica: Arc<Replica>,
    record: Option<Record>,
    /// A replica that still takes a body has a request in flight, even when it has answered already.
    uploading: Option<Arc<InFlight>>,
    idle: Duration,
    /// When something last moved, in whichever direction.
    moved: Instant,
}

impl Connection {
    /// Passes an answer on.
    pub(super) async fn answer(
        &mut self,
        claim: SharedClaim,
        mut record: Record,
        mut talk: Talk,
        answer: Answer,
    ) -> Next {
        record.head(answer.status);
        talk.input.consume(answer.size);
        if answer.status == 101 {
            return self.switch(&claim, record, talk, answer).await;
        }
        let unread = talk.upload.state != Sending::Over;
        // A replica that answers before it has the body, and closes, does not want the rest.
        let unwanted = talk.upload.state == Sending::Broken || (unread && !answer.reusable);
        let (source, coding) = self.framing(answer.body);
        let ends = self.head.http10 && matches!(answer.body, Body::Chunked | Body::Close);
        let leaving = self.is_leaving();
        let keep = self.head.keep && !unwanted && !ends && !leaving;
        let manner = Manner {
            id: &self.head.id,
            chunked: matches!(coding, Some(Coding::Chunked { .. })),
            connection: match (keep, self.head.http10) {
                (false, _) => Some("close"),
                (true, true) => Some("keep-alive"),
                (true, false) => None,
            },
            cookie: claim.cookie.as_ref(),
        };
        answer.finish(&manner, &mut self.reply);
        talk.input.push_front(&self.reply);
        let mut download = Download {
            flow: Flow::new(source, coding, self.reply.len()),
            upstream: Some(talk.upstream),
            input: talk.input,
            upload: talk.upload,
            reusable: answer.reusable,
            replica: claim.replica().clone(),
            record: Some(record),
            uploading: unread.then(|| claim.in_flight.clone()),
            idle: claim.route().timeouts.idle,
            moved: Instant::now(),
        };
        drop(claim);
        if !self.carry(&mut download).await {
            return Next::Close;
        }
        match (keep, download.upload.state) {
            (true, Sending::Over) => Next::Keep,
            (true, Sending::On) if self.finish(download).await => Next::Keep,
            // Unless the client asked for the end, its next request may be on its way.
            (_, Sending::Over) if !leaving && self.inbox.is_empty() => Next::Close,
            (_, Sending::Over | Sending::On | Sending::Broken) => Next::Linger,
        }
    }

    fn framing(&self, body: Body) -> (Source, Option<Coding>) {
        let limits = &self.worker.limits;
        let anew = Coding::Chunked { trailers: self.head.trailers };
        match (body, self.head.http10) {
            (Body::None, _) => (Source::Length(0), None),
            (Body::Length(length), _) => (Source::Length(length), None),
            (Body::Chunked, http10) => {
                let trailers = TrailerLimits { count: limits.headers, bytes: limits.header_bytes };
                let chunks = Box::new(Chunks::new(u64::MAX, trailers));
                (Source::Chunked(chunks), Some(if http10 { Coding::Bare } else { anew }))
            }
            (Body::Close, http10) => (Source::Close, (!http10).then_some(anew)),
        }
    }

    /// Carries the answer, and what is left of the request; false when it broke off.
    async fn carry(&mut self, download: &mut Download) -> bool {
        let Self { worker, socket, inbox, alarm, behind, .. } = self;
        let patience = worker.limits.client_write;
        poll_fn(|cx| {
            if let Err(code) = download.poll_upload(cx, socket, inbox) {
                download.broken(code);
                return Poll::Ready(false);
            }
            if let Poll::Ready(done) = download.poll(cx, socket, worker, behind) {
                return Poll::Ready(done);
            }
            let (patience, code) = match download.flow.waits {
                Waits::Sink => (patience.saturating_sub(*behind), None),
                Waits::Source => {
                    if download.upload.state != Sending::On && poll_gone(cx, socket, inbox).is_ready() {
                        return Poll::Ready(false);
                    }
                    (download.idle, Some(Code::ResponseStalled))
                }
            };
            let mut deadline = download.moved + patience;
            // A replica that is still being told something may listen to the end before it says more.
            if code.is_some() {
                deadline = deadline.max(download.upload.deadline(patience, patience).0);
            }
            alarm.poll(cx, deadline).map(|()| {
                // A client that takes nothing is as good as gone, and booked as that.
                code.into_iter().for_each(|code| download.broken(code));
                false
            })
        })
        .await
    }

    /// Carries the rest of a request that has its answer.
    async fn finish(&mut self, mut download: Download) -> bool {
        let Self { socket, inbox, alarm, .. } = self;
        let idle = download.idle;
        let over = poll_fn(|cx| {
            if download.poll_upload(cx, socket, inbox).is_err() {
                return Poll::Ready(false);
            }
            match download.upload.state {
                Sending::Over => Poll::Ready(true),
                Sending::Broken => Poll::Ready(false),
                Sending::On => alarm.poll(cx, download.upload.deadline(idle, idle).0).map(|()| false),
            }
        })
        .await;
        if over && download.input.is_empty() {
            download.keep(&self.worker);
        }
        over
    }

    /// Both sides change protocol. From here on the gateway carries bytes, and says goodbye where it can.
    async fn switch(&mut self, claim: &SharedClaim, record: Record, mut talk: Talk, answer: Answer) -> Next {
        if !self.head.upgrade || !answer.upgrade || talk.upload.state != Sending::Over {
            record.failed(Code::BackendInvalid);
            return self.refuse(Code::BackendInvalid, self.head.body != request::Body::None).await;
        }
        let (idle, in_flight) = (claim.route().timeouts.idle, claim.in_flight.clone());
        record.complete(None);
        let cookie = claim.cookie.as_ref();
        let manner = Manner { id: &self.head.id, chunked: false, connection: Some("upgrade"), cookie };
        answer.finish(&manner, &mut self.reply);
        let websocket = answer.websocket.then(|| {
            let (mut down, mut up) = (Frames::new(), Frames::new());
            down.pass(talk.input.bytes());
            up.pass(self.inbox.bytes());
            let spread = self.worker.limits.handover_spread;
            let notice = Notice { replica: claim.replica().clone(), phase: self.bell.phase(), spread };
            WebSocket { down, up, notice }
        });
        talk.input.push_front(&self.reply);
        let (client, replica) = ((&mut self.socket, &mut talk.input), (&mut talk.upstream, &mut self.inbox));
        // In a box: connections that never change protocol need no room for it.
        Box::pin(tunnel::join(client, replica, idle, websocket)).await;
        drop(in_flight);
        Next::Close
    }
}

impl Download {
    /// Moves what can be moved of the request.
    fn poll_upload(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut TcpStream,
        inbox: &mut Buffer,
    ) -> Result<(), Code> {
        match &mut self.upstream {
            Some(upstream) => self.upload.poll(cx, client, inbox, upstream),
            None => Ok(()),
        }
    }

    /// Moves what can be moved of the answer. Whether it arrived, once that is certain.
    /// `behind`: how far the client is with taking what it was given.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut TcpStream,
        worker: &Worker,
        behind: &mut Duration,
    ) -> Poll<bool> {
        loop {
            let (waited_for_client, before) = (self.flow.waits == Waits::Sink, self.flow.went);
            let polled = self.flow.poll(cx, self.upstream.as_mut(), &mut self.input, client);
            if std::mem::take(&mut self.flow.moved) {
                let now = Instant::now();
                if waited_for_client {
                    let went = self.flow.went - before;
                    let late = *behind + (now - self.moved);
                    *behind = pace::behind(late, went, worker.limits.download_rate);
                }
                self.moved = now;
            }
            match polled {
                Poll::Ready(Ok(Step::Ended)) => self.complete(worker),
                Poll::Ready(Ok(Step::Done)) => return Poll::Ready(true),
                Poll::Ready(Err(Break::Source | Break::Bad(_))) => {
                    self.broken(Code::ResponseBroken);
                    return Poll::Ready(false);
                }
                Poll::Ready(Err(Break::Sink)) => return Poll::Ready(false),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// The replica has said all it had to say.
    fn complete(&mut self, worker: &Worker) {
        // Bytes behind an answer are nobody's answer: such a connection serves no one else.
        self.reusable &= !self.flow.has_surplus(&self.input);
        if self.upload.state == Sending::Over {
            self.keep(worker);
        }
        if let Some(record) = self.record.take() {
            record.complete(None);
        }
    }

    fn keep(&mut self, worker: &Worker) {
        if let Some(upstream) = self.upstream.take().filter(|_| self.reusable) {
            self.replica.keep_plain(worker.index, upstream, &worker.limits);
        }
        self.uploading = None;
    }

    fn broken(&mut self, code: Code) {
        if let Some(record) = self.record.take() {
            record.broken(code);
        }
    }
}
