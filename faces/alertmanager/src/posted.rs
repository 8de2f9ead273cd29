//! `POST /api/v2/alerts`: what is sent becomes alerts, by Alertmanager's rules. Sound ones are taken even when others beside
//! them are not; whoever sent those is told which, and why.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::FromRequest as _;
use axum::extract::{Request, State};
use http::StatusCode;
use lifecycle::Command;
use model::Timestamp;
use model::alert::{Labels, NAME};
use serde::Deserialize;

use crate::intake::{HOLDS, Outside};
use crate::{Backend, Refused};

/// How long a request's body may take.
const BODY: Duration = Duration::from_secs(30);
/// The most labels and the most annotations of an alert.
const MOST_LABELS: usize = 64;
/// The longest name, and the longest value of a label.
const LONGEST_LABEL_BYTES: usize = 1024;
/// The longest annotation and the longest address.
const LONGEST_TEXT_BYTES: usize = 8 * 1024;
/// How many of those that are not taken are told of.
const LISTED: usize = 5;
/// Who acts when somebody outside tells of an alert.
const ACTOR: &str = "outside (alerts)";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Posted {
    #[serde(default)]
    labels: Labels,
    #[serde(default)]
    annotations: Option<Labels>,
    #[serde(default)]
    starts_at: Option<String>,
    #[serde(default)]
    ends_at: Option<String>,
    #[serde(default, rename = "generatorURL")]
    generator_url: Option<String>,
}

pub(crate) async fn post(State(backend): State<Backend>, request: Request) -> Result<StatusCode, Refused> {
    let body = whole(request).await?;
    let posted: Vec<Posted> = serde_json::from_slice(&body).map_err(|error| {
        Refused::new(StatusCode::BAD_REQUEST, format!("this is no list of alerts: {error}"))
    })?;
    let at = backend.clock.now();
    let (mut sound, mut wrong) = (Vec::new(), Vec::new());
    for alert in posted {
        match read(alert, at) {
            Ok(alert) => sound.push(alert),
            Err(what) => wrong.push(what),
        }
    }
    let world = backend.control.snapshot().world.clone();
    let (changes, refused) = backend.intake.take(sound, &world, at);
    if !changes.is_empty() {
        backend.control.carry_out(Command::Alerts(changes), ACTOR.to_owned(), None).await?;
    }
    if refused > 0 {
        tracing::error!(refused, "alerts from outside are not taken: there are too many");
        let what =
            format!("{refused} alerts are not taken: {} is all there is room for", lifecycle::MOST_ALERTS);
        return Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, what));
    }
    if wrong.is_empty() {
        return Ok(StatusCode::OK);
    }
    let more = wrong.len().saturating_sub(LISTED);
    let mut what = wrong.into_iter().take(LISTED).collect::<Vec<_>>().join("; ");
    if more > 0 {
        what.push_str(&format!("; and {more} more"));
    }
    Err(Refused::new(StatusCode::BAD_REQUEST, what))
}

/// The body, when it is neither too large nor too late.
pub(crate) async fn whole(request: Request) -> Result<Bytes, Refused> {
    let body = tokio::time::timeout(BODY, Bytes::from_request(request, &())).await;
    let body = body.map_err(|_| {
        let what = format!("the request's body did not come within {} seconds", BODY.as_secs());
        Refused::new(StatusCode::REQUEST_TIMEOUT, what)
    })?;
    body.map_err(|rejection| Refused::new(rejection.status(), rejection.body_text()))
}

fn read(posted: Posted, at: Timestamp) -> Result<Outside, String> {
    let labels: Labels = posted.labels.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let annotations = posted.annotations.unwrap_or_default();
    let name = labels.get(NAME).map_or("an alert without a name", String::as_str).to_owned();
    let named = |what: String| format!("{}: {what}", name.chars().take(100).collect::<String>());
    if labels.is_empty() {
        return Err(named("at least one label is required: they say which alert it is".to_owned()));
    }
    if labels.len() > MOST_LABELS || annotations.len() > MOST_LABELS {
        return Err(named(format!("more than {MOST_LABELS} labels or annotations")));
    }
    for (label, value) in &labels {
        if !is_name(label) {
            return Err(named(format!("invalid label name {label:?}: use letters, digits and `_`")));
        }
        if label.len() > LONGEST_LABEL_BYTES || value.len() > LONGEST_LABEL_BYTES {
            return Err(named(format!("a label is longer than {LONGEST_LABEL_BYTES} bytes")));
        }
    }
    for (annotation, text) in &annotations {
        if !is_name(annotation) || text.len() > LONGEST_TEXT_BYTES {
            return Err(named(format!(
                "the annotation {annotation:?} is no name, or longer than {LONGEST_TEXT_BYTES} bytes"
            )));
        }
    }
    let generator_url = posted.generator_url.filter(|url| !url.is_empty());
    if generator_url.as_ref().is_some_and(|url| url.len() > LONGEST_TEXT_BYTES) {
        return Err(named("its generatorURL is too long".to_owned()));
    }
    let (starts_at, ends_at) = (time(posted.starts_at).map_err(named)?, time(posted.ends_at).map_err(named)?);
    let starts_at = starts_at.or(ends_at).unwrap_or(at);
    let ends_at = ends_at.unwrap_or_else(|| at.after(HOLDS));
    if ends_at < starts_at {
        return Err(named("start time must be before end time".to_owned()));
    }
    Ok(Outside { labels, annotations, starts_at, ends_at, generator_url })
}

/// A time; the year one, which Go writes for no time, is none.
fn time(text: Option<String>) -> Result<Option<Timestamp>, String> {
    match text.as_deref() {
        None | Some("") => Ok(None),
        Some(text) if text.starts_with("0001-01-01T00:00:00") => Ok(None),
        Some(text) => text.parse().map(Some),
    }
}

fn is_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000).after(Duration::from_secs(seconds))
    }

    fn one(text: &str) -> Result<Outside, String> {
        read(serde_json::from_str(text).unwrap(), at(1_000))
    }

    #[test]
    fn times_that_nobody_names_are_those_of_alertmanager() {
        let none = one(r#"{"labels":{"alertname":"A","empty":""}}"#).unwrap();
        assert_eq!((none.starts_at, none.ends_at), (at(1_000), at(1_300)));
        assert_eq!(none.labels.len(), 1);
        let open =
            format!(r#"{{"labels":{{"a":"b"}},"startsAt":"{}","endsAt":"0001-01-01T00:00:00Z"}}"#, at(0));
        assert_eq!(one(&open).map(|it| (it.starts_at, it.ends_at)), Ok((at(0), at(1_300))));
        let over = format!(r#"{{"labels":{{"a":"b"}},"endsAt":"{}"}}"#, at(500));
        assert_eq!(one(&over).map(|it| (it.starts_at, it.ends_at)), Ok((at(500), at(500))));
        let offset = r#"{"labels":{"a":"b"},"startsAt":"2023-11-14T23:13:20.5+01:00"}"#;
        assert_eq!(one(offset).unwrap().starts_at, at(0).after(Duration::from_millis(500)));
    }

    #[test]
    fn what_is_no_alert_is_named() {
        let backwards = format!(r#"{{"labels":{{"a":"b"}},"startsAt":"{}","endsAt":"{}"}}"#, at(9), at(8));
        for (text, said) in [
            (r#"{"labels":{}}"#, "at least one label"),
            (r#"{"labels":{"a-b":"c"}}"#, "invalid label name"),
            (r#"{"labels":{"alertname":"A"},"startsAt":"noon"}"#, "A: \"noon\" is no time"),
            (&backwards, "start time must be before"),
        ] {
            let error = one(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        let long = format!(r#"{{"labels":{{"a":"{}"}}}}"#, "x".repeat(2_000));
        assert!(one(&long).unwrap_err().contains("longer than"));
    }
}
