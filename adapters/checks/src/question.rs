//! A question to the metrics, and what its conditions say of the answer. Does not live here: who answers
//! (`ports::Metrics`), and what a condition is (`condition`).

use condition::{Condition, judge};
use model::check::{Outcome, Promql};
use ports::Metrics;
use ports::metrics::{Provider, Question};

pub(crate) async fn ask(metrics: &dyn Metrics, promql: Promql, provider: Provider) -> Outcome {
    let read = |text: &Option<String>| text.as_deref().map(Condition::read).transpose();
    // The manifest read them already, by the same rules or by those of an older version.
    let (success, failure) = match (read(&promql.success_condition), read(&promql.failure_condition)) {
        (Ok(success), Ok(failure)) => (success, failure),
        (Err(error), _) | (_, Err(error)) => return Outcome::error(format!("{error}: {}", error.help)),
    };
    let question = Question { query: promql.query, timeout: promql.timeout, provider };
    match metrics.ask(question).await {
        Ok(measured) => {
            let judged = judge(success.as_ref(), failure.as_ref(), &measured);
            Outcome { verdict: judged.verdict, value: judged.value, detail: judged.detail }
        }
        Err(why) => Outcome::error(why),
    }
}
