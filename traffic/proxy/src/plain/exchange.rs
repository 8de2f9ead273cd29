//! One request from its head to its answer's head: claim, connect, send, wait. Retries are decided in `tries`; what
//! follows an answer's head is done in `answer`.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{self, Duration};

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::counts::METHODS;
use crate::error::Code;
use crate::live::Claim;
use crate::pace;
use crate::plain::buffer::Buffer;
use crate::plain::chunked::{Bad, Chunks, Coding, TrailerLimits};
use crate::plain::flow::{Break, Flow, Source, Step, Waits};
use crate::plain::request::Body;
use crate::plain::response::{self, Answer, Manner};
use crate::plain::{Connection, Next};
use crate::record::Record;
use crate::trace::trail::Told;
use crate::tries::Tries;
use crate::upstream::{self, SharedClaim};

/// Interim answers that a replica may give before its answer.
const INTERIM: usize = 16;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A connection to a replica with a request on it.
pub(super) struct Talk {
    pub(super) upstream: TcpStream,
    /// What the replica has sent and nobody has read yet.
    pub(super) input: Buffer,
    pub(super) upload: Upload,
    /// Whether the client waits to be told to send its body.
    say_continue: bool,
}

/// The request on its way to the replica.
pub(super) struct Upload {
    flow: Flow,
    pub(super) state: Sending,
    /// When a piece last moved.
    moved: Instant,
    /// How far behind the client was then with what it owes.
    behind: Duration,
    /// What it owes, in bytes a second.
    rate: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sending {
    On,
    /// All of it is written.
    Over,
    /// The replica takes no more of it; it may answer still.
    Broken,
}

/// How an attempt ended.
enum Attempt {
    Answered(Box<Talk>, Answer),
    /// No byte of the request has left: any replica may have it.
    Unsent(Code),
    /// A pooled connection turned out closed before anything came back; the request has no body and may be sent twice.
    Stale,
    /// The request was sent, and is lost; whether all of it was read.
    Lost(Code, bool),
    /// The client went away.
    Gone,
}

/// What a wait for an answer came to.
enum Event {
    Head(Answer),
    /// The head is on its way: the client may send its body.
    Continue,
    Unsent,
    Closed,
    Lost(Code),
    Gone,
}

impl Upload {
    fn new(flow: Flow, rate: u64) -> Self {
        Self { flow, state: Sending::On, moved: Instant::now(), behind: Duration::ZERO, rate }
    }

    /// Moves what can be moved. An error is the client's; what the replica does is in the state.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut TcpStream,
        inbox: &mut Buffer,
        upstream: &mut TcpStream,
    ) -> Result<(), Code> {
        while self.state == Sending::On {
            let (waited_for_client, before) = (self.flow.waits == Waits::Source, self.flow.came);
            let polled = self.flow.poll(cx, Some(client), inbox, upstream);
            if std::mem::take(&mut self.flow.moved) {
                let now = Instant::now();
                if waited_for_client {
                    let came = self.flow.came - before;
                    self.behind = pace::behind(self.behind + (now - self.moved), came, self.rate);
                }
                self.moved = now;
            }
            match polled {
                Poll::Ready(Ok(Step::Ended)) => {}
                Poll::Ready(Ok(Step::Done)) => self.state = Sending::Over,
                Poll::Ready(Err(Break::Sink)) => self.state = Sending::Broken,
                Poll::Ready(Err(Break::Source | Break::Bad(Bad::Malformed))) => {
                    return Err(Code::ClientBroken);
                }
                Poll::Ready(Err(Break::Bad(Bad::TooLarge))) => return Err(Code::BodyTooLarge),
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// When to stop waiting for what comes next, and what it is called: `response` after the last byte of the request, or
    /// `idle` after the last piece of its body that moved, less what the client is behind.
    pub(super) fn deadline(&self, response: Duration, idle: Duration) -> (Instant, Code) {
        let (patience, code) = match (self.state, self.flow.waits) {
            (Sending::Over | Sending::Broken, _) => (response, Code::ResponseTimeout),
            (Sending::On, Waits::Source) => (idle.saturating_sub(self.behind), Code::ClientStalled),
            (Sending::On, Waits::Sink) => (idle, Code::UploadStalled),
        };
        (self.moved + patience, code)
    }

    fn is_untouched(&self) -> bool {
        self.flow.went == 0
    }
}

impl Connection {
    /// Serves the request whose head has come.
    pub(super) async fn exchange(&mut self) -> Next {
        let mut tries = Tries::new(self.head.method, time::Instant::now(), self.head.upgrade);
        // What has come of the body is in here once a try has been made.
        let mut unsent = None;
        loop {
            let (claim, mut record) = match self.claim(&mut tries) {
                Ok(claimed) => claimed,
                Err(code) => return self.refuse(code, self.head.body != Body::None).await,
            };
            let limit = claim.route().limits.body_bytes;
            if matches!(self.head.body, Body::Length(length) if length > limit) {
                record.failed(Code::BodyTooLarge);
                return self.refuse(Code::BodyTooLarge, true).await;
            }
            if let Some(position) = record.attempt() {
                self.head.retrace(&position);
            }
            match self.attempt(&claim, &mut unsent, tries.fresh).await {
                Attempt::Answered(talk, answer) => return self.answer(claim, record, *talk, answer).await,
                Attempt::Unsent(code) => {
                    if let Err(code) = tries.unsent(record, claim.replica(), code) {
                        return self.refuse(code, self.head.body != Body::None).await;
                    }
                }
                Attempt::Stale => tries.stale(record),
                Attempt::Lost(code, all_read) => {
                    record.failed(code);
                    return self.refuse(code, !all_read).await;
                }
                Attempt::Gone => return Next::Close,
            }
        }
    }

    fn claim(&self, tries: &mut Tries) -> Result<(SharedClaim, Record), Code> {
        let told = Told {
            position: self.head.position,
            host: self.edge.host(),
            path: self.head.path(),
            method: METHODS[self.head.method],
            protocol: if self.head.http10 { "1.0" } else { "1.1" },
        };
        tries.claim(&self.worker, told, &self.head)
    }

    async fn attempt(&mut self, claim: &Arc<Claim>, unsent: &mut Option<Flow>, fresh: bool) -> Attempt {
        let limits = &self.worker.limits;
        let timeouts = &claim.route().timeouts;
        let replayable = self.head.body == Body::None && self.head.idempotent;
        let rest = if replayable { limits.pool_idle } else { limits.pool_fresh };
        let pooled = if fresh { None } else { claim.replica().plain.take(self.worker.index, rest) };
        let reused = pooled.is_some();
        let upstream = match pooled {
            Some(upstream) => upstream,
            None => match timeout(timeouts.connect, Box::pin(upstream::open(claim))).await {
                Ok(Ok(upstream)) => upstream,
                Ok(Err(code)) => return Attempt::Unsent(code),
                Err(_) => return Attempt::Unsent(Code::ConnectTimeout),
            },
        };
        let rate = limits.upload_rate;
        let flow = unsent.take().unwrap_or_else(|| self.upload(claim));
        let say_continue = self.head.expects && self.inbox.is_empty();
        let mut talk =
            Talk { upstream, input: Buffer::default(), upload: Upload::new(flow, rate), say_continue };
        let mut interim = 0;
        let lost = loop {
            match self.wait(&mut talk, timeouts.response, timeouts.idle).await {
                Event::Head(answer) if answer.is_interim() && interim < INTERIM => {
                    interim += 1;
                    talk.input.consume(answer.size);
                    if !self.pass_interim(answer).await {
                        return Attempt::Gone;
                    }
                }
                Event::Head(answer) if answer.is_interim() => break Code::BackendInvalid,
                Event::Head(answer) => return Attempt::Answered(Box::new(talk), answer),
                Event::Continue => {
                    talk.say_continue = false;
                    if !self.write(CONTINUE).await {
                        return Attempt::Gone;
                    }
                }
                Event::Unsent => {
                    *unsent = Some(talk.upload.flow);
                    return Attempt::Unsent(Code::BackendClosed);
                }
                Event::Closed if reused && replayable && interim == 0 && talk.input.is_empty() => {
                    return Attempt::Stale;
                }
                Event::Closed => break Code::BackendClosed,
                Event::Lost(code) => break code,
                Event::Gone => return Attempt::Gone,
            }
        };
        Attempt::Lost(lost, talk.upload.state == Sending::Over)
    }

    /// The request, ready to leave.
    fn upload(&mut self, claim: &Claim) -> Flow {
        let limits = &self.worker.limits;
        let (source, coding) = match self.head.body {
            Body::None => (Source::Length(0), None),
            Body::Length(length) => (Source::Length(length), None),
            Body::Chunked => {
                let trailers = TrailerLimits { count: limits.headers, bytes: limits.header_bytes };
                let chunks = Chunks::new(claim.route().limits.body_bytes, trailers);
                (Source::Chunked(Box::new(chunks)), Some(Coding::Chunked { trailers: true }))
            }
        };
        let mut flow = Flow::new(source, coding, 0);
        flow.came = self.inbox.len() as u64;
        let (line, fields) = self.head.text.split_at(self.head.line_end);
        if self.head.hostless {
            let host = format!("host: {}\r\n", claim.replica().identity.addr);
            flow.stage(&[line, host.as_bytes(), fields].concat(), &mut self.inbox);
        } else {
            flow.stage(&self.head.text, &mut self.inbox);
        }
        flow
    }

    /// Sends what is to be sent, and waits for a head.
    async fn wait(&mut self, talk: &mut Talk, response: Duration, idle: Duration) -> Event {
        let Self { worker, socket, inbox, head, reply, alarm, .. } = self;
        let mut parse =
            |input: &mut Buffer| match response::read(input.bytes(), &worker.limits, head.head_only, reply) {
                Ok(Some(answer)) => Some(Event::Head(answer)),
                Ok(None) => {
                    input.settle();
                    None
                }
                Err(response::Invalid) => Some(Event::Lost(Code::BackendInvalid)),
            };
        if !talk.input.is_empty()
            && let Some(event) = parse(&mut talk.input)
        {
            return event;
        }
        poll_fn(|cx| {
            if let Poll::Ready(event) = talk.poll_upload(cx, socket, inbox) {
                return Poll::Ready(event);
            }
            loop {
                match talk.input.poll_fill(cx, &mut talk.upstream) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Event::Closed),
                    Poll::Ready(Ok(_)) => {
                        if let Some(event) = parse(&mut talk.input) {
                            return Poll::Ready(event);
                        }
                    }
                    Poll::Pending => break,
                }
            }
            if talk.upload.state != Sending::On && poll_gone(cx, socket, inbox).is_ready() {
                return Poll::Ready(Event::Gone);
            }
            let (deadline, code) = talk.upload.deadline(response, idle);
            alarm.poll(cx, deadline).map(|()| Event::Lost(code))
        })
        .await
    }

    /// Passes an interim answer on, unless it is ours to give or the client cannot know it.
    async fn pass_interim(&mut self, answer: Answer) -> bool {
        if answer.status == 100 || self.head.http10 {
            return true;
        }
        let mut text = std::mem::take(&mut self.reply);
        let manner = Manner { id: &self.head.id, chunked: false, connection: None, cookie: None };
        answer.finish(&manner, &mut text);
        let wrote = self.write(&text).await;
        self.reply = text;
        wrote
    }
}

impl Talk {
    fn poll_upload(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut TcpStream,
        inbox: &mut Buffer,
    ) -> Poll<Event> {
        if self.say_continue {
            match self.upload.flow.poll_write(cx, inbox, &mut self.upstream) {
                Poll::Ready(Ok(())) => return Poll::Ready(Event::Continue),
                Poll::Ready(Err(_)) => self.upload.state = Sending::Broken,
                Poll::Pending => self.upload.flow.waits = Waits::Sink,
            }
        } else if let Err(code) = self.upload.poll(cx, client, inbox, &mut self.upstream) {
            return Poll::Ready(Event::Lost(code));
        }
        if self.upload.state == Sending::Broken && self.upload.is_untouched() {
            return Poll::Ready(Event::Unsent);
        }
        Poll::Pending
    }
}

/// Ready when the client is gone. What it sends ahead is taken, once.
pub(super) fn poll_gone(cx: &mut Context<'_>, client: &mut TcpStream, inbox: &mut Buffer) -> Poll<()> {
    while inbox.is_empty() {
        match inbox.poll_fill(cx, client) {
            Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
            Poll::Ready(Ok(_)) => inbox.settle(),
            Poll::Pending => break,
        }
    }
    Poll::Pending
}
