//! What is known of silences and self-tests: nothing but events moves it.

use std::collections::BTreeMap;

use model::Timestamp;

use crate::event::{Event, Way};
use crate::selftest::Test;
use crate::silence::{Silence, SilenceId};

/// The most silences that are not over.
pub const MOST_SILENCES: usize = 500;

/// What is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Those that are not over, and some that ended lately.
    pub silences: BTreeMap<SilenceId, Silence>,
    /// The number of the latest silence.
    pub last_silence: SilenceId,
    /// The tests of ways.
    pub tests: BTreeMap<Way, Test>,
}

/// Why an event cannot have happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalEvent {
    /// There is no such silence.
    #[error("silence {0} is ended, and is not known")]
    Silence(SilenceId),
    /// There is no such test.
    #[error("the way to {} of {} is not tested", .0.receiver, .0.place)]
    Test(Way),
}

impl State {
    /// Moves it by an event of a time.
    ///
    /// # Errors
    /// When the event cannot have happened; then nothing is moved.
    pub fn apply(&mut self, event: &Event, at: Timestamp) -> Result<(), IllegalEvent> {
        match event {
            Event::Silenced { id, silence } => {
                self.silences.retain(|_, silence| silence.is_open(at));
                self.silences.insert(*id, silence.clone());
                self.last_silence = self.last_silence.max(*id);
            }
            Event::SilenceEnded { id, by: _ } => {
                self.silences.remove(id).map(drop).ok_or(IllegalEvent::Silence(*id))?;
            }
            Event::TestBegun { way } => match self.tests.get_mut(way) {
                Some(test) => (test.begun, test.open) = (at, true),
                None => {
                    let test = Test { begun: at, since: at, open: true, passed: None, overdue: false };
                    self.tests.insert(way.clone(), test);
                }
            },
            Event::TestPassed { way, begun: _ } => {
                let test = self.test(way)?;
                (test.open, test.passed, test.overdue) = (false, Some(at), false);
            }
            Event::TestOverdue { way } => self.test(way)?.overdue = true,
            Event::TestsEnded { way } => {
                self.tests.remove(way).map(drop).ok_or_else(|| IllegalEvent::Test(way.clone()))?;
            }
        }
        Ok(())
    }

    fn test(&mut self, way: &Way) -> Result<&mut Test, IllegalEvent> {
        self.tests.get_mut(way).ok_or_else(|| IllegalEvent::Test(way.clone()))
    }
}
