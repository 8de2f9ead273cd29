//! Runs one query where it may take its time, with those before it.

use std::time::{Duration, Instant};

use promql::{Answer, Options, Query};

use crate::State;
use crate::answer::Bad;

impl State {
    /// Evaluates a query within the limits.
    pub(crate) async fn ask(&self, text: &str, query: Query, timeout: Option<i64>) -> Result<Answer, Bad> {
        let text = text.to_owned();
        let longest = self.backend.limits.timeout;
        let asked = timeout.and_then(|millis| u64::try_from(millis).ok()).map(Duration::from_millis);
        let limit = asked.unwrap_or(longest).min(longest);
        let deadline = Instant::now() + limit;
        let waiting = tokio::time::timeout(limit, self.running.clone().acquire_owned());
        let Ok(Ok(turn)) = waiting.await else {
            return Err(promql::Error::Timeout(format!("{limit:?}, while others ran")).into());
        };
        let store = self.backend.store.clone();
        let max_samples = self.backend.limits.samples;
        let options = Options { deadline: Some((deadline, limit)), max_samples, ..Options::default() };
        let evaluated = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            promql::evaluate(&*store, &promql::read(&text)?, query, &options)
        });
        match evaluated.await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Bad::unavailable("the query was given up")),
        }
    }
}
