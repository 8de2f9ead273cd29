//! One body on its way from one socket to the other, piece by piece, never whole. A piece is read only when the one before
//! has been written, so backpressure passes. Which body it is, and what a failure means, is not known here.

use std::io;
use std::task::{Context, Poll, ready};

use tokio::net::TcpStream;

use crate::plain::buffer::Buffer;
use crate::plain::chunked::{Bad, Chunks, Coding};

/// Up to so many bytes of a body are copied behind the head, to leave with it.
const LITTLE_BYTES: usize = 4096;

/// Where a body ends.
pub(super) enum Source {
    /// After so many bytes more.
    Length(u64),
    Chunked(Box<Chunks>),
    /// Where the connection does.
    Close,
}

/// Why a flow ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Break {
    /// The source closed before the end.
    Source,
    /// What came is no body, or too much of one.
    Bad(Bad),
    /// The other side takes no more.
    Sink,
}

/// What a poll came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The source has said all it has to say, which is not all written yet. Told once.
    Ended,
    /// Everything is written.
    Done,
}

/// Whom a flow waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    Source,
    Sink,
}

pub(super) struct Flow {
    source: Source,
    /// How the body goes on; `None`: as it comes.
    coding: Option<Coding>,
    /// What goes first: a head, and what was written anew.
    staged: Buffer,
    /// So many bytes of the input are a head, not body.
    lead: usize,
    ended: bool,
    told: bool,
    pub(super) waits: Waits,
    /// Whether anything moved since this was last set to false.
    pub(super) moved: bool,
    /// How much the source has been read for, in bytes.
    pub(super) came: u64,
    /// How much was written, in bytes.
    pub(super) went: u64,
}

impl Flow {
    /// `lead`: so many bytes at the front of the input are written as they are.
    pub(super) fn new(source: Source, coding: Option<Coding>, lead: usize) -> Self {
        Self {
            source,
            coding,
            staged: Buffer::default(),
            lead,
            ended: false,
            told: false,
            waits: Waits::Source,
            moved: false,
            came: 0,
            went: 0,
        }
    }

    /// Puts a head before everything, and what has come of a short body with it.
    pub(super) fn stage(&mut self, head: &[u8], input: &mut Buffer) {
        self.staged.push(head);
        if let (Source::Length(left), None) = (&mut self.source, self.coding) {
            let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
            if here <= LITTLE_BYTES {
                self.staged.push(&input.bytes()[..here]);
                input.consume(here);
                *left -= here as u64;
            }
        }
    }

    /// Moves what can be moved.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: Option<&mut TcpStream>,
        input: &mut Buffer,
        to: &mut TcpStream,
    ) -> Poll<Result<Step, Break>> {
        let mut from = from;
        loop {
            self.digest(input).map_err(Break::Bad)?;
            if self.ended && !self.told {
                self.told = true;
                return Poll::Ready(Ok(Step::Ended));
            }
            self.waits = Waits::Sink;
            ready!(self.poll_write(cx, input, to)).map_err(|_| Break::Sink)?;
            if self.ended {
                return Poll::Ready(Ok(Step::Done));
            }
            self.waits = Waits::Source;
            let Some(from) = from.as_deref_mut() else { return Poll::Ready(Err(Break::Source)) };
            match ready!(input.poll_fill(cx, from)) {
                Ok(0) | Err(_) => self.end_of_input()?,
                Ok(count) => {
                    self.moved = true;
                    self.came += count as u64;
                }
            }
        }
    }

    /// Writes all there is to write.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut Buffer,
        to: &mut TcpStream,
    ) -> Poll<io::Result<()>> {
        while !self.staged.is_empty() {
            self.went += ready!(self.staged.poll_drain(cx, to, usize::MAX))? as u64;
            self.moved = true;
        }
        loop {
            let upto = self.lead.saturating_add(self.as_is(input));
            if upto == 0 {
                return Poll::Ready(Ok(()));
            }
            let wrote = ready!(input.poll_drain(cx, to, upto))?;
            self.went += wrote as u64;
            self.moved = true;
            let body = wrote.saturating_sub(self.lead);
            self.lead -= wrote - body;
            if let Source::Length(left) = &mut self.source {
                *left -= body as u64;
            }
        }
    }

    /// How much of the input goes on as it is, behind the head.
    fn as_is(&self, input: &Buffer) -> usize {
        let here = input.len() - self.lead;
        match (&self.source, self.coding) {
            (Source::Length(left), _) => usize::try_from(*left).unwrap_or(usize::MAX).min(here),
            (Source::Close, None) => here,
            (Source::Close, Some(_)) | (Source::Chunked(_), _) => 0,
        }
    }

    /// Whether more has come than the body and what goes before it.
    pub(super) fn has_surplus(&self, input: &Buffer) -> bool {
        input.len() > self.lead + self.as_is(input)
    }

    /// Reads what has come as far as it must be read.
    fn digest(&mut self, input: &mut Buffer) -> Result<(), Bad> {
        if self.ended {
            return Ok(());
        }
        match (&mut self.source, self.coding) {
            (Source::Length(left), _) => self.ended = (input.len() - self.lead) as u64 >= *left,
            (Source::Chunked(chunks), coding) => {
                if self.lead > 0 {
                    self.staged.push(&input.bytes()[..self.lead]);
                    input.consume(self.lead);
                    self.lead = 0;
                }
                let coding = coding.unwrap_or(Coding::Bare);
                let used = chunks.read(input.bytes(), coding, &mut self.staged)?;
                input.consume(used);
                self.ended = chunks.is_done();
            }
            (Source::Close, Some(coding)) => {
                let head = &input.bytes()[..self.lead];
                self.staged.push(head);
                coding.data(&input.bytes()[self.lead..], &mut self.staged);
                self.lead = 0;
                input.clear();
            }
            (Source::Close, None) => {}
        }
        Ok(())
    }

    fn end_of_input(&mut self) -> Result<(), Break> {
        match (&self.source, self.coding) {
            (Source::Close, coding) => {
                if let Some(coding) = coding {
                    coding.end(&[], &mut self.staged);
                }
                self.ended = true;
                Ok(())
            }
            (Source::Length(_) | Source::Chunked(_), _) => Err(Break::Source),
        }
    }
}
