//! The parameters of a request: of its address and of its form.

use axum::body::Bytes;
use promql::expr::{Expr, Matcher};

use crate::answer::Bad;

/// The parameters of a request.
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Of the address and, of a POST, of the body.
    pub(crate) fn of(address: Option<&str>, body: &Bytes) -> Result<Self, Bad> {
        let parse = |bytes: &[u8]| serde_urlencoded::from_bytes::<Vec<(String, String)>>(bytes);
        let mut all = parse(body).map_err(|error| Bad::parameter("body", error))?;
        all.extend(
            parse(address.unwrap_or_default().as_bytes()).map_err(|error| Bad::parameter("query", error))?,
        );
        Ok(Self(all))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    pub(crate) fn needed(&self, name: &str) -> Result<&str, Bad> {
        self.get(name).ok_or_else(|| Bad::parameter(name, "it is missing"))
    }

    /// A time in milliseconds since 1970.
    pub(crate) fn time(&self, name: &str) -> Result<Option<i64>, Bad> {
        self.get(name).map(|text| time(text).ok_or_else(|| not(name, text, "time"))).transpose()
    }

    /// A duration in milliseconds.
    pub(crate) fn duration(&self, name: &str) -> Result<Option<i64>, Bad> {
        self.get(name).map(|text| duration(text).ok_or_else(|| not(name, text, "duration"))).transpose()
    }

    /// How many results are wanted; `None` = all.
    pub(crate) fn limit(&self) -> Result<Option<usize>, Bad> {
        let Some(text) = self.get("limit") else { return Ok(None) };
        let limit: usize = text.parse().map_err(|_| not("limit", text, "number"))?;
        Ok(Some(limit).filter(|limit| *limit > 0))
    }

    /// The selectors of `match[]`.
    pub(crate) fn selectors(&self) -> Result<Vec<Vec<Matcher>>, Bad> {
        let texts = self.0.iter().filter(|(name, _)| name == "match[]");
        let selector = |(_, text): &(String, String)| match promql::read(text) {
            Ok(Expr::Instant(selector)) => Ok(selector.matchers),
            Ok(_) => Err(Bad::parameter("match[]", format!("{text} is not a selector"))),
            Err(error) => Err(Bad::parameter("match[]", error)),
        };
        texts.map(selector).collect()
    }
}

fn not(name: &str, text: &str, what: &str) -> Bad {
    Bad::parameter(name, format!("cannot parse {text:?} to a valid {what}"))
}

/// Seconds since 1970, or a date and time of RFC 3339.
fn time(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        let millis = (seconds * 1000.0).round();
        return (millis.abs() < 9e15).then_some(millis as i64);
    }
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

/// Seconds, or a duration as PromQL writes it.
fn duration(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        let millis = (seconds * 1000.0).round();
        return (millis.abs() < 9e15).then_some(millis as i64);
    }
    match promql::read(text) {
        Ok(Expr::Number(seconds)) => Some((seconds * 1000.0).round() as i64),
        Ok(_) | Err(_) => None,
    }
}
