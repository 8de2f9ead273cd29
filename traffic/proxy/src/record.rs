//! The books of one request: opened when it is claimed, closed exactly once. Dropped unclosed means that the client went
//! away, which is in neither column of the tally.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::ejection::{self, Outcome};
use crate::error::{Code, Fault};
use crate::live::Claim;
use crate::trace::context;
use crate::trace::trail::{End, Trail};
use crate::upstream::Line;
use crate::worker::Worker;

pub(crate) struct Record {
    worker: Arc<Worker>,
    claim: Arc<Claim>,
    method: usize,
    start: Instant,
    /// The answer's status and how long its head took.
    head: Option<(u16, Duration)>,
    closed: bool,
    /// Where its place is traced.
    trail: Option<Box<Trail>>,
}

impl Record {
    pub(crate) fn open(
        worker: Arc<Worker>,
        claim: Arc<Claim>,
        method: usize,
        start: Instant,
        trail: Option<Box<Trail>>,
    ) -> Self {
        Self { worker, claim, method, start, head: None, closed: false, trail }
    }

    /// The replica is asked now. What its `traceparent` shall say, where that is not what it says already.
    pub(crate) fn attempt(&mut self) -> Option<[u8; context::LENGTH]> {
        self.trail.as_mut().map(|trail| trail.attempt())
    }

    /// No byte of the request has left.
    pub(crate) fn unsent(&mut self) {
        if let Some(trail) = &mut self.trail {
            trail.unsent();
        }
    }

    /// The head of the replica's answer has come.
    pub(crate) fn head(&mut self, status: u16) {
        self.head = Some((status, self.start.elapsed()));
    }

    /// The answer is complete; its connection may serve again.
    pub(crate) fn complete(mut self, sender: Option<Line>) {
        if let Some(sender) = sender {
            self.claim.replica().keep_line(self.worker.index, sender, &self.worker.limits);
        }
        let (status, latency) = self.head.unwrap_or((200, Duration::ZERO));
        self.conclude(if status >= 500 { Outcome::Error } else { Outcome::Good });
        self.close(status, latency, true, None);
    }

    /// The gateway answers instead of the replica.
    pub(crate) fn failed(mut self, code: Code) {
        let latency = self.start.elapsed();
        self.blame(code);
        self.close(code.status().as_u16(), latency, code.fault() == Fault::Backend, Some(code));
    }

    /// The answer broke off after its head.
    pub(crate) fn broken(mut self, code: Code) {
        self.worker.counts.error(code);
        let latency = self.head.map_or_else(|| self.start.elapsed(), |(_, latency)| latency);
        self.blame(code);
        self.close(code.status().as_u16(), latency, code.fault() == Fault::Backend, Some(code));
    }

    /// Another replica gets the request, or another connection: nothing to book here. That a resting connection was
    /// closed says nothing about the replica; that none could be opened does.
    /// The trail goes on.
    pub(crate) fn discard(mut self, code: Code) -> Option<Box<Trail>> {
        self.closed = true;
        if code != Code::BackendClosed {
            self.blame(code);
        }
        let mut trail = self.trail.take();
        if let Some(trail) = &mut trail {
            trail.attempted(&self.claim, None, Some(code));
        }
        trail
    }

    fn blame(&self, code: Code) {
        match code.fault() {
            Fault::Backend if code == Code::ResponseTimeout => self.conclude(Outcome::Error),
            Fault::Backend => self.conclude(Outcome::Lost),
            Fault::Client | Fault::Gateway => {}
        }
    }

    fn conclude(&self, outcome: Outcome) {
        let (replica, bounds) = (self.claim.replica(), &self.worker.limits.ejection);
        if !replica.repute.note(outcome, bounds) {
            return;
        }
        let release = &self.claim.share().replicas;
        if ejection::eject(replica, release, bounds, Instant::now()) {
            self.worker.counts.ejections.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn close(&mut self, status: u16, latency: Duration, judged: bool, code: Option<Code>) {
        self.closed = true;
        let share = self.claim.share();
        let label = &share.labels[self.claim.found.label];
        label.observe(self.worker.index, self.method, status, latency);
        if let Some(trail) = self.trail.take() {
            // What the client saw is what the replica's head said, whatever came after it.
            let seen = self.head.map_or(status, |(status, _)| status);
            let end = End { status: Some(seen), latency, code, aborted: false };
            if let Some(ids) = self.trace(trail, end) {
                label.exemplify(self.method, latency, ids);
            }
        }
        if self.claim.fallback {
            self.worker.counts.fallbacks.fetch_add(1, Ordering::Relaxed);
        } else if judged && self.claim.aimed {
            share.tally.observe_aimed(self.worker.index, status, latency);
        } else if judged && !self.claim.found.preview {
            share.tally.observe(self.worker.index, status, latency);
            if let Some(users) = &share.users {
                share.tally.observe_user(users.note(self.claim.user, status >= 500));
            }
        }
    }
}

impl Record {
    fn trace(&self, mut trail: Box<Trail>, end: End) -> Option<(u128, u64)> {
        trail.attempted(&self.claim, self.head.map(|(status, _)| status), end.code);
        trail.claimed(&self.claim, end)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.closed {
            self.worker.counts.aborts.fetch_add(1, Ordering::Relaxed);
            if let Some(trail) = self.trail.take() {
                let (status, latency) = self.head.unzip();
                let latency = latency.unwrap_or_else(|| self.start.elapsed());
                self.trace(trail, End { status, latency, code: None, aborted: true });
            }
        }
    }
}
