//! `/api/v1/write`: samples that others send.

use axum::body::Bytes;
use axum::extract::State as Extract;
use axum::http::{HeaderMap, StatusCode};
use promql::Point;
use store::{Appended, SeriesRef};

use crate::State;

/// How far ahead of the clock a sample may be, in milliseconds, as with Prometheus: one of a far future would end its series
/// for everything before.
const MOST_AHEAD: i64 = 10 * 60 * 1000;
/// How often one that was sent is refused before the answer stops listing why.
const LISTED: usize = 5;

/// 204 when all was taken or known. 400 names what was refused: the sender drops that and goes on, as remote write asks.
pub(crate) async fn write(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if header("x-prometheus-remote-write-version").starts_with('2') || header("content-type").contains("v2") {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "remote write 1.0 is served, 2.0 is not\n".to_owned());
    }
    let Ok(turn) = state.writing.clone().acquire_owned().await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "not stored\n".to_owned());
    };
    let stored = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        stored(&state, &body)
    });
    let stored = stored.await;
    match stored {
        Ok(Ok(())) => (StatusCode::NO_CONTENT, String::new()),
        Ok(Err((status, why))) => (status, format!("{why}\n")),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "not stored\n".to_owned()),
    }
}

/// A sender tries again what is refused with 503, and drops what is refused with 400.
fn stored(state: &State, body: &[u8]) -> Result<(), (StatusCode, String)> {
    let (all, histograms) = exposition::remote::read(body, &exposition::remote::Limits::default())
        .map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    let mut refused: Vec<String> = Vec::new();
    let mut count = 0;
    let latest = (state.backend.now)().saturating_add(MOST_AHEAD);
    let mut ahead = 0;
    let mut samples: Vec<(SeriesRef, Point)> = Vec::new();
    for series in all {
        match state.backend.store.series(&series.labels) {
            Ok(known) => {
                let now = series.points.iter().filter(|point| point.at <= latest);
                let before = samples.len();
                samples.extend(now.map(|point| (known, *point)));
                ahead += series.points.len() - (samples.len() - before);
            }
            Err(why) => {
                count += series.points.len();
                if refused.len() < LISTED {
                    refused.push(format!("{}: {why}", series.labels));
                }
            }
        }
    }
    let Appended { out_of_order, contradicting, too_old, unknown, beyond, no_room, .. } =
        state.backend.store.append(&samples);
    if no_room > 0 {
        let why = "the disk takes no samples, and no more can wait for it: free some room";
        return Err((StatusCode::SERVICE_UNAVAILABLE, why.to_owned()));
    }
    let kinds = [
        (histograms, "native histograms, which are not served"),
        (out_of_order, "older than the newest sample of their series"),
        (contradicting, "another value at a time that has one"),
        (too_old, "in a stretch of time that is finished"),
        (ahead, "more than 10 minutes ahead of this machine's clock"),
        (beyond, "at a time before 1970"),
        (unknown, "of series that could not be taken up"),
        (count, "of refused series"),
    ];
    let mut parts: Vec<String> = kinds
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, why)| format!("{count} samples: {why}"))
        .collect();
    if parts.is_empty() {
        return Ok(());
    }
    parts.extend(refused);
    Err((StatusCode::BAD_REQUEST, parts.join("; ")))
}
