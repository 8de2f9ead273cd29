//! Open-loop requests: so many a second, whatever becomes of them, drawn from a seed.

use std::time::Duration;

use model::{ReleaseNumber, Weight};
use ports::fleet::Share;

#[derive(Debug)]
pub(super) struct Traffic {
    chance: fastrand::Rng,
    per_second: u32,
}

impl Traffic {
    pub(super) fn new(seed: u64, per_second: u32) -> Self {
        Self { chance: fastrand::Rng::with_seed(seed), per_second }
    }

    pub(super) fn requests_in(&self, time: Duration) -> u32 {
        (f64::from(self.per_second) * time.as_secs_f64()).round() as u32
    }

    /// The release that a request goes to, by the weights.
    pub(super) fn draw(&mut self, shares: &[Share]) -> ReleaseNumber {
        let mut point = self.chance.u16(..Weight::ALL.basis_points());
        for share in shares {
            match point.checked_sub(share.weight.basis_points()) {
                Some(rest) => point = rest,
                None => return share.release,
            }
        }
        shares.last().map(|share| share.release).unwrap_or_default()
    }

    pub(super) fn happens(&mut self, probability: f64) -> bool {
        self.chance.f64() < probability
    }
}
