//! Asks a Prometheus server, or whatever answers as one, by its HTTP API.
//!
//! Lives here: one question, asked once and within limits; whatever goes wrong is told in words, without anything secret.
//! Does not live here: when a question is asked, what its answer means, and how a request is carried (`exchange`).

mod answer;

use std::time::Duration;

use answer::Data;
pub use answer::{Samples, Valued};
use exchange::{Ask, exchange};
use hyper::Method;
use model::check::Measured;
use ports::Secret;
use ports::metrics::Server;

/// How large an answer may be: a condition wants numbers, not a copy of the store.
pub const LARGEST_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Asks a server once, as of a time in milliseconds since 1970, or of now.
///
/// # Errors
/// In words, when there is no answer within the timeout, or none that can be used.
pub async fn ask(
    server: &Server,
    query: &str,
    at: Option<i64>,
    timeout: Duration,
) -> Result<Measured, String> {
    told(server, query, at, timeout, |data| answer::numbers(&data)).await
}

/// The series that a server gives for a query as of now, with their values and without their names; a scalar is one without
/// labels.
///
/// # Errors
/// As [`ask`].
pub async fn series(server: &Server, query: &str, timeout: Duration) -> Result<Vec<Valued>, String> {
    told(server, query, None, timeout, |data| answer::series(&data)).await
}

/// The samples, as they were measured, of the series of a selector in the range (in milliseconds) before a time.
///
/// # Errors
/// As [`ask`].
pub async fn samples(
    server: &Server,
    selector: &str,
    range: u64,
    at: i64,
    timeout: Duration,
) -> Result<Vec<Samples>, String> {
    told(server, &format!("{selector}[{range}ms]"), Some(at), timeout, answer::samples).await
}

async fn told<T>(
    server: &Server,
    query: &str,
    at: Option<i64>,
    timeout: Duration,
    read: impl FnOnce(Data) -> Result<T, String>,
) -> Result<T, String> {
    let answer = asked(server, query, at, timeout).await.and_then(read);
    // A server may say in its error what it was sent.
    answer.map_err(|what| {
        let what = server.authorization.as_ref().map_or(what.clone(), |it| it.hide(&what));
        format!("{}: {what}", server.address)
    })
}

async fn asked(server: &Server, query: &str, at: Option<i64>, timeout: Duration) -> Result<Data, String> {
    // The server gives up when nobody waits any more.
    let patience = format!("{}ms", timeout.as_millis().max(1));
    let mut form = vec![("query", query.to_owned()), ("timeout", patience)];
    form.extend(at.map(|at| ("time", format!("{}.{:03}", at.div_euclid(1_000), at.rem_euclid(1_000)))));
    let form = serde_urlencoded::to_string(form)
        .map_err(|error| format!("the question cannot be written: {error}"))?;
    let open = |(name, value): (&str, &str)| (name.to_owned(), Secret::new(value.to_owned()));
    let mut headers: Vec<(String, Secret)> =
        [("accept", "application/json"), ("content-type", "application/x-www-form-urlencoded")]
            .map(open)
            .into();
    headers.extend(server.headers.iter().map(|(name, value)| open((name, value))));
    if let Some(authorization) = &server.authorization {
        headers.push(("authorization".to_owned(), authorization.header()));
    }
    let url = format!("{}/api/v1/query", server.address.trim_end_matches('/'));
    let answer = exchange(Ask {
        method: Method::POST,
        url: &url,
        headers,
        body: form.into_bytes(),
        ca_file: server.ca_file.as_deref(),
        timeout,
        largest_answer_bytes: LARGEST_ANSWER_BYTES,
    });
    let answer = answer.await.map_err(|what| match what.contains("larger than") {
        true => format!("{what}: aggregate more in the query"),
        false => what,
    })?;
    answer::read(answer.status, answer.location.as_deref(), &answer.body)
}
