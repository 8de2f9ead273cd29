//! Who answers the questions of rules: the store in this process, or the server that a question names. Does not live here:
//! keeping (`store`), evaluating (`promql`), asking a server (`promclient`), and what an answer means (`checks`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::check::Measured;
use model::time::format_duration;
use ports::metrics::{Asking, Provider, Question};
use promql::{Options, Query, Value};
use store::Store;
use tokio::sync::Semaphore;

use crate::metrics::now;

/// How many questions to the store are answered at once; the others wait for their turn, within their timeouts.
const MOST_AT_ONCE: usize = 2;
/// How many samples one question may read and make.
const MOST_SAMPLES: usize = 50_000_000;

/// Whoever answers.
pub(crate) struct Answers {
    store: Arc<Store>,
    turns: Arc<Semaphore>,
}

impl Answers {
    /// Answers from this store, unless a question names a server.
    pub(crate) fn from(store: Arc<Store>) -> Self {
        Self { store, turns: Arc::new(Semaphore::new(MOST_AT_ONCE)) }
    }
}

impl ports::Metrics for Answers {
    fn ask(&self, question: Question) -> Asking {
        let Question { query, timeout, provider } = question;
        match provider {
            Provider::Embedded => {
                let evaluating = evaluated(Arc::clone(&self.store), Arc::clone(&self.turns), query, timeout);
                Box::pin(async move {
                    let late = || format!("no answer within {}", format_duration(timeout));
                    tokio::time::timeout(timeout, evaluating).await.unwrap_or_else(|_| Err(late()))
                })
            }
            Provider::Prometheus(server) => {
                Box::pin(async move { promclient::ask(&server, &query, None, timeout).await })
            }
        }
    }
}

async fn evaluated(
    store: Arc<Store>,
    turns: Arc<Semaphore>,
    query: String,
    timeout: Duration,
) -> Result<Measured, String> {
    let deadline = Instant::now() + timeout;
    let turn = turns.acquire_owned().await.map_err(|error| error.to_string())?;
    let options =
        Options { deadline: Some((deadline, timeout)), max_samples: MOST_SAMPLES, ..Options::default() };
    let evaluating = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let expression = promql::read(&query)?;
        promql::evaluate(&*store, &expression, Query::Instant(now()), &options)
    });
    let answer = evaluating.await.map_err(|_| "the question was given up".to_owned())?;
    match answer.map_err(|error| error.to_string())?.value {
        Value::Scalar(point) => Ok(Measured::Scalar(point.value)),
        Value::Vector(samples) => {
            Ok(Measured::Vector(samples.iter().map(|sample| sample.point.value).collect()))
        }
        Value::Text { .. } => Err("the answer is a text: ask for numbers".to_owned()),
        Value::Matrix(_) => {
            Err("the answer is a range of each series: use `rate` or `max_over_time`".to_owned())
        }
    }
}
