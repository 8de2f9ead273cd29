//! Waiting with an end: a connection's one timer, and its ear for the gateway's phases. Which waits there are, and for
//! how long, is not known here.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::worker::Phase;

/// A timer that stays where it is from one wait to the next, and is moved only when it rings too early or would ring too
/// late: nearly all waits end long before, and moving a timer for each is dear.
#[derive(Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready once it is past `deadline`.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

/// Tells when the gateway drains. Asking costs a look at a number; the channel's lock, which all connections share, is
/// taken only when that has changed.
pub(super) struct Bell {
    phase: watch::Receiver<Phase>,
    ring: Pin<Box<dyn Future<Output = ()> + Send>>,
    heard: bool,
    armed: bool,
}

impl Bell {
    pub(super) fn new(phase: watch::Receiver<Phase>) -> Self {
        let mut waiting = phase.clone();
        // A channel without a sender is a gateway that is gone.
        let ring = Box::pin(async move { _ = waiting.wait_for(|phase| *phase >= Phase::Draining).await });
        Self { phase, ring, heard: false, armed: false }
    }

    /// What it listens to.
    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.clone()
    }

    /// Whether this connection is to end with what it does.
    pub(super) fn rings(&mut self) -> bool {
        self.heard || self.phase.has_changed().unwrap_or(true) && *self.phase.borrow() >= Phase::Draining
    }

    /// The same, and wakes the task when that changes.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.heard && (!self.armed || self.phase.has_changed().unwrap_or(true)) {
            self.armed = true;
            self.phase.mark_unchanged();
            self.heard = self.ring.as_mut().poll(cx).is_ready();
        }
        if self.heard { Poll::Ready(()) } else { Poll::Pending }
    }
}
