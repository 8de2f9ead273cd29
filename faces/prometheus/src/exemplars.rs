//! Traces that stand for samples: `/api/v1/query_exemplars`.

use axum::body::Bytes;
use axum::extract::{RawQuery, State as Extract};
use promql::expr::Matcher;
use scrape::Exemplar;

use crate::State;
use crate::answer::{Bad, Good, labels, list, number, seconds};
use crate::params::Params;

/// Those of all series that the query asks for.
pub(crate) async fn query(
    Extract(state): Extract<State>,
    RawQuery(address): RawQuery,
    body: Bytes,
) -> Result<Good, Bad> {
    let params = Params::of(address.as_deref(), &body)?;
    let (from, until) = (params.time("start")?.unwrap_or(i64::MIN), params.time("end")?.unwrap_or(i64::MAX));
    if until < from {
        return Err(Bad::parameter("end", "end timestamp must not be before start timestamp"));
    }
    let expression = promql::read(params.needed("query")?)?;
    let sets: Vec<Vec<Matcher>> =
        expression.selectors().into_iter().map(|selector| selector.matchers.clone()).collect();
    let found = state.backend.catalogue.exemplars(&sets, from, until).into_iter().map(|(series, all)| {
        let all = list(all.iter().map(one));
        format!(r#"{{"seriesLabels":{},"exemplars":{all}}}"#, labels(&series))
    });
    Ok(Good::data(list(found)))
}

fn one(exemplar: &Exemplar) -> String {
    let (labels, at) = (labels(&exemplar.labels), seconds(exemplar.at));
    format!(r#"{{"labels":{labels},"value":"{}","timestamp":{at}}}"#, number(exemplar.value))
}
