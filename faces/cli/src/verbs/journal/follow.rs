//! `shipshape journal follow`: events as they happen, over control's restarts. Does not live here: the stream (`api`).

use std::time::{Duration, Instant};

use api::client::{Error, Event, Events};
use ports::journal::Entry;

use crate::Done;
use crate::context::Context;
use crate::failure::Failure;

/// Between two tries to come back.
const WAIT: Duration = Duration::from_millis(250);
/// The code of a stream that was not read in time.
const SLOW: &str = "SHP-API-SLOW";
/// How long control may be away, while it is started again.
const ABSENCE: Duration = Duration::from_secs(60);

/// A reader's place in the journal.
struct Reader<'a> {
    context: &'a Context<'a>,
    after: u64,
    away: Option<Instant>,
}

pub(super) async fn follow(context: &Context<'_>, after: Option<u64>) -> Result<Done, Failure> {
    let after = match after {
        Some(after) => after,
        None => context.client.last_event().await?,
    };
    // Whoever asks in vain is told at once.
    let mut events = context.client.events(after, true).await?;
    let mut reader = Reader { context, after, away: None };
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(Done::Well),
            printed = reader.print(&mut events) => printed?,
        }
        if context.printer.is_closed() {
            return Ok(Done::Well);
        }
        events = tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(Done::Well),
            events = reader.come_back() => events?,
        };
    }
}

impl Reader<'_> {
    /// Prints until the stream ends or nobody reads any more.
    async fn print(&mut self, events: &mut Events) -> Result<(), Failure> {
        loop {
            match events.next().await {
                Ok(Some(event)) => {
                    self.after = event.seq;
                    self.show(event);
                    if self.context.printer.is_closed() {
                        return Ok(());
                    }
                }
                // It ended, or the terminal was too slow for it: the next one begins where this one was.
                Ok(None) => break,
                Err(Error::Said(problem)) if problem.code == SLOW => break,
                Err(error) if error.is_absence() => break,
                Err(error) => return Err(error.into()),
            }
        }
        tokio::time::sleep(WAIT).await;
        Ok(())
    }

    fn show(&self, event: Event) {
        let printer = self.context.printer;
        if printer.is_json() {
            printer.data(&event.line);
            return;
        }
        let entry = Entry { seq: event.seq, bytes: event.line.into_bytes() };
        let row = super::row(&entry);
        printer.data(
            row.iter().filter(|cell| !cell.is_empty()).cloned().collect::<Vec<_>>().join("  ").trim_end(),
        );
    }

    async fn come_back(&mut self) -> Result<Events, Failure> {
        loop {
            match self.context.client.events(self.after, true).await {
                Ok(events) => {
                    if self.away.take().is_some() {
                        self.context.printer.talk("control is back");
                    }
                    return Ok(events);
                }
                Err(error) if error.is_absence() => self.wait(&error).await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn wait(&mut self, error: &Error) -> Result<(), Failure> {
        let since = *self.away.get_or_insert_with(|| {
            self.context.printer.talk(&format!("{error}; waiting for it after event {}", self.after));
            Instant::now()
        });
        if since.elapsed() > ABSENCE {
            let what = format!("control has not answered for {} s", ABSENCE.as_secs());
            return Err(Failure::new(what).instead(format!(
                "`shipshape up` starts it; `shipshape journal follow --after {}` goes on",
                self.after
            )));
        }
        tokio::time::sleep(WAIT).await;
        Ok(())
    }
}
