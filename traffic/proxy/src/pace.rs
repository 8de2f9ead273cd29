//! What a peer owes that is waited for: bytes. One that moves a little every now and then would otherwise keep a request for
//! ever. Does not live here: who is waited for, and when patience is over.

use std::time::Duration;

/// How far behind a peer is that was so far behind, the time it was waited for included, and then moved so many bytes, of
/// which it owes `rate` a second. Nobody is ahead: what came quickly before is no credit for standing still. At a rate of
/// zero nothing is owed.
pub(crate) fn behind(before: Duration, bytes: u64, rate: u64) -> Duration {
    let worth_us = bytes.saturating_mul(1_000_000).checked_div(rate);
    worth_us.map_or(Duration::ZERO, |us| before.saturating_sub(Duration::from_micros(us)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How often a peer that was waited for so long moves so many bytes before it is a minute behind.
    fn lasts(waited: Duration, bytes: u64, rate: u64) -> Option<u32> {
        let mut so_far = Duration::ZERO;
        (0..10_000).find(|_| {
            let late = so_far + waited > SECOND * 60;
            so_far = behind(so_far + waited, bytes, rate);
            late
        })
    }

    #[test]
    fn who_keeps_the_pace_lasts_and_who_does_not_is_found_out() {
        assert_eq!(lasts(SECOND * 50, 50 * 240, 240), None, "in large pieces");
        assert_eq!(lasts(SECOND / 10, 24, 240), None, "in small ones");
        assert_eq!(lasts(SECOND * 59, 1, 240), Some(1));
        assert_eq!(lasts(SECOND, 1, 240), Some(60));
        assert_eq!(lasts(SECOND, 120, 240), Some(119), "half the pace lasts twice as long");
        assert_eq!(lasts(SECOND * 59, 1, 0), None, "nothing is owed");
    }

    #[test]
    fn what_came_before_is_no_credit() {
        assert_eq!(behind(Duration::ZERO, u64::MAX, 1), Duration::ZERO);
        assert_eq!(behind(SECOND * 3, 240, 240), SECOND * 2);
    }
}
