//! `/api/v1/query` and `/api/v1/query_range`.

use axum::body::Bytes;
use axum::extract::{RawQuery, State as Extract};
use promql::Query;

use crate::State;
use crate::answer::{Bad, Good, value};
use crate::params::Params;

pub(crate) async fn instant(
    Extract(state): Extract<State>,
    RawQuery(address): RawQuery,
    body: Bytes,
) -> Result<Good, Bad> {
    let params = Params::of(address.as_deref(), &body)?;
    let at = params.time("time")?.unwrap_or_else(state.backend.now);
    ask(&state, &params, Query::Instant(at)).await
}

pub(crate) async fn range(
    Extract(state): Extract<State>,
    RawQuery(address): RawQuery,
    body: Bytes,
) -> Result<Good, Bad> {
    let params = Params::of(address.as_deref(), &body)?;
    let needed = |name: &str| params.time(name)?.ok_or_else(|| Bad::parameter(name, "it is missing"));
    let (start, end) = (needed("start")?, needed("end")?);
    if end < start {
        return Err(Bad::parameter("end", "end timestamp must not be before start time"));
    }
    let step = params.duration("step")?.ok_or_else(|| Bad::parameter("step", "it is missing"))?;
    if step <= 0 {
        let why = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(Bad::parameter("step", why));
    }
    if (end - start) / step > 11_000 {
        return Err(Bad::parameter(
            "step",
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    ask(&state, &params, Query::Range { start, end, step }).await
}

async fn ask(state: &State, params: &Params, query: Query) -> Result<Good, Bad> {
    let limit = params.limit()?;
    let mut answer = state.ask(params.needed("query")?, query, params.duration("timeout")?).await?;
    let cut = match (&mut answer.value, limit) {
        (promql::Value::Vector(samples), Some(limit)) if samples.len() > limit => {
            samples.truncate(limit);
            true
        }
        (promql::Value::Matrix(series), Some(limit)) if series.len() > limit => {
            series.truncate(limit);
            true
        }
        _ => false,
    };
    if cut {
        answer.warnings.push("results truncated due to limit".to_owned());
    }
    Ok(Good { data: value(&answer.value), warnings: answer.warnings, infos: answer.infos })
}
