//! How long an answer of the fleet is waited for, and that an order which takes long is said. Does not live here: what follows from
//! an answer that does not come.

use std::pin::pin;
use std::time::Duration;

use ports::fleet;
use tokio::time::Instant;

/// How long the fleet may take to answer, beside the patience it was asked for: longer than any answer that is worth
/// waiting for, and short enough that a hanging fleet does not keep operators from being heard for long.
pub(crate) const FLEET_TIMEOUT: Duration = Duration::from_secs(10);
/// An order that takes so long is said.
const SLOW: Duration = Duration::from_secs(2);
/// The least time between two lines about that.
const AGAIN: Duration = Duration::from_secs(60);

/// An answer of the fleet, or that there was none. Every request to it may be repeated.
pub(crate) async fn in_time<T>(
    answer: impl Future<Output = Result<T, fleet::Error>>,
    limit: Duration,
) -> Result<T, fleet::Error> {
    tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| {
        let limit = model::time::format_duration(limit);
        Err(fleet::Error::Unreachable(format!("the agent did not answer within {limit}")))
    })
}

/// Waits for answers to orders.
#[derive(Debug, Default)]
pub(crate) struct Patience(Option<Instant>);

impl Patience {
    /// The same for an order. One that takes long is said while it does: whoever looks for why nothing moves looks now.
    pub(crate) async fn ordered<T>(
        &mut self,
        answer: impl Future<Output = Result<T, fleet::Error>>,
    ) -> Result<T, fleet::Error> {
        let mut answer = pin!(in_time(answer, FLEET_TIMEOUT));
        tokio::select! {
            biased;
            answered = &mut answer => return answered,
            () = tokio::time::sleep(SLOW) => {}
        }
        if self.may_say(Instant::now()) {
            let ms = u64::try_from(SLOW.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(event = "agent.slow", ms, "the agent has not taken an order yet");
        }
        answer.await
    }

    fn may_say(&mut self, now: Instant) -> bool {
        let may = self.0.is_none_or(|said| now.duration_since(said) >= AGAIN);
        if may {
            self.0 = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slow_order_is_said_once_a_minute_and_answered_all_the_same() {
        let mut patience = Patience::default();
        let order = async |seconds: u64| {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok(seconds)
        };
        assert!(matches!(patience.ordered(order(1)).await, Ok(1)));
        assert_eq!(patience.0, None);
        assert!(matches!(patience.ordered(order(3)).await, Ok(3)));
        let said = patience.0;
        assert!(said.is_some());
        assert!(matches!(patience.ordered(order(11)).await, Err(fleet::Error::Unreachable(_))));
        assert_eq!(patience.0, said, "a minute has not passed");
        tokio::time::advance(AGAIN).await;
        assert!(matches!(patience.ordered(order(3)).await, Ok(3)));
        assert!(patience.0 > said);
    }
}
