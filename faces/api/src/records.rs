//! Asking the records made of the replicas' output: by time, level, field and text; counted, or as they come. Does not live
//! here: how they are found (the crate `logs`), and the output as it is ([`crate::logs`]).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::logs::{Counted, Found, Keep, Level, Limits, Query, Record, Store};
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use http::{StatusCode, header};
use model::time::parse_duration;
use model::{Place, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::problem::{self, Problem};

/// How often new records are looked for.
const LOOK: Duration = Duration::from_millis(100);
/// Records, or groups, of one answer when nobody says how many.
pub const DEFAULT_LINES: usize = 100;
/// And at most.
pub const MOST_LINES: usize = 100_000;
/// Records of one piece of a stream.
const PIECE: usize = 1000;
/// Conditions, texts and fields to group by in one question.
const MOST_PARTS: usize = 16;

/// Which records.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Where.
    pub place: Place,
    /// Which of them.
    pub query: Query,
    /// Whether to go on with those that come, instead of giving those that are there.
    pub follow: bool,
}

impl Ask {
    /// Reads the query of an address. What may come several times is `where`, `text` and `groupBy`.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let pairs: Vec<(String, String)> =
            serde_urlencoded::from_str(text).map_err(|error| format!("the query cannot be read: {error}"))?;
        let (mut service, mut environment, mut follow) = (None, None, false);
        let mut query = Query { most: DEFAULT_LINES, ..Query::default() };
        for (name, value) in pairs {
            let wrong = |error: &dyn std::fmt::Display| format!("{name}={value}: {error}");
            let number = || value.parse::<u64>().map_err(|error| wrong(&error));
            let flag = || value.parse::<bool>().map_err(|error| wrong(&error));
            match name.as_str() {
                "service" => service = Some(value.parse().map_err(|error| wrong(&error))?),
                "environment" => environment = Some(value.parse().map_err(|error| wrong(&error))?),
                "follow" => follow = flag()?,
                "since" => query.from = Some(moment(&value).map_err(|error| wrong(&error))?),
                "until" => query.until = Some(moment(&value).map_err(|error| wrong(&error))?),
                "level" => query.level = Some(value.parse::<Level>().map_err(|error| wrong(&error))?),
                "release" => query.release = Some(number()?),
                "replica" => query.replica = Some(u32::try_from(number()?).map_err(|error| wrong(&error))?),
                "where" => query.conditions.push(value.parse().map_err(|error: String| wrong(&error))?),
                "text" => query.text.push(value),
                "groupBy" => query.group_by.push(value),
                "oldest" => query.oldest = flag()?,
                "after" => query.after = Some(number()?),
                "lines" => query.most = usize::try_from(number()?).unwrap_or(MOST_LINES).min(MOST_LINES),
                _ => return Err(format!("there is no parameter {name}: `GET /v1/openapi.json` lists them")),
            }
        }
        if query.text.iter().any(String::is_empty) || query.group_by.iter().any(String::is_empty) {
            return Err("an empty text or field asks for nothing: leave it out".to_owned());
        }
        if query.conditions.len() + query.text.len() + query.group_by.len() > MOST_PARTS {
            return Err(format!(
                "a question has at most {MOST_PARTS} conditions, texts and fields to group by"
            ));
        }
        let (Some(service), Some(environment)) = (service, environment) else {
            return Err("whose records? say service=NAME and environment=NAME".to_owned());
        };
        Ok(Self { place: Place { service, environment }, query, follow })
    }

    /// The query of an address that asks this.
    pub(crate) fn written(&self) -> Result<String, String> {
        let Query { from, until, level, release, replica, conditions, text, group_by, oldest, after, most } =
            &self.query;
        let moment = |at: &i64| Timestamp::from_micros(*at).to_string();
        let mut pairs = vec![
            ("service", self.place.service.to_string()),
            ("environment", self.place.environment.to_string()),
            ("lines", most.to_string()),
            ("oldest", oldest.to_string()),
            ("follow", self.follow.to_string()),
        ];
        pairs.extend(from.as_ref().map(|at| ("since", moment(at))));
        pairs.extend(until.as_ref().map(|at| ("until", moment(at))));
        pairs.extend(level.map(|level| ("level", level.to_string())));
        pairs.extend(release.map(|release| ("release", release.to_string())));
        pairs.extend(replica.map(|replica| ("replica", replica.to_string())));
        pairs.extend(conditions.iter().map(|condition| ("where", condition.to_string())));
        pairs.extend(text.iter().map(|text| ("text", text.clone())));
        pairs.extend(group_by.iter().map(|field| ("groupBy", field.clone())));
        pairs.extend(after.map(|after| ("after", after.to_string())));
        serde_urlencoded::to_string(pairs).map_err(|error| error.to_string())
    }
}

/// A moment: RFC 3339, or how long ago.
///
/// # Errors
/// When it is neither.
pub fn moment(text: &str) -> Result<i64, String> {
    if let Ok(at) = serde_json::from_value::<Timestamp>(text.into()) {
        return Ok(at.as_micros());
    }
    let ago = parse_duration(text).map_err(|_| {
        format!("{text} is no moment: write how long ago, as in 10m, or 2026-01-31T12:00:00Z")
    })?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = now.saturating_sub(ago).as_micros();
    Ok(i64::try_from(at).unwrap_or(i64::MAX))
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// Its number at its place: later ones are higher.
    pub number: u64,
    /// When it happened: as it says, or else when it was read.
    pub at: Timestamp,
    /// How grave it is.
    pub level: Level,
    /// Which release wrote it.
    pub release: u64,
    /// Which replica of it.
    pub replica: u32,
    /// What it wrote; several lines when they belong together.
    pub line: String,
}

impl From<Record> for Line {
    fn from(record: Record) -> Self {
        let Record { number, at, level, release, replica, line } = record;
        Self { number, at: Timestamp::from_micros(at), level, release, replica, line }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Records, in order of their times.
    pub records: Vec<Line>,
    /// How many have which values, the most frequent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Counted>,
    /// Why this is not all, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<String>,
    /// Blocks that could not be read.
    #[serde(default)]
    pub damaged: u64,
    /// The number behind the newest record that was there: `after` goes on from it.
    pub next: u64,
}

impl From<Found> for Answer {
    fn from(found: Found) -> Self {
        let Found { records, groups, cut, damaged, next } = found;
        Self { records: records.into_iter().map(Line::from).collect(), groups, cut, damaged, next }
    }
}

fn unreadable(error: &dyn std::fmt::Display) -> Problem {
    let what = format!("the records cannot be read: {error}");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, problem::INTERNAL, what)
        .instead("they lie under `records` in the home directory; see that control may read and write it")
}

/// Answers, or begins a stream that ends when `closing` turns true.
pub(crate) async fn answer(
    keep: Arc<Keep>,
    ask: Ask,
    closing: watch::Receiver<bool>,
) -> Result<Response, Problem> {
    let place = ask.place.clone();
    let opening = tokio::task::spawn_blocking(move || {
        keep.store(place.service.as_str(), place.environment.as_str(), ask.follow).map(|store| (store, ask))
    });
    let (store, ask) =
        opening.await.map_err(|error| unreadable(&error))?.map_err(|error| unreadable(&error))?;
    let Some(store) = store else {
        return Ok(Json(Answer::from(Found::default())).into_response());
    };
    if ask.follow {
        let after = ask.query.after.unwrap_or_else(|| store.next());
        let query = Query { most: PIECE, oldest: true, group_by: Vec::new(), ..ask.query };
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let live = Live { store, query, after, tick, closing };
        let body = Body::from_stream(stream::unfold(live, |mut live| async move {
            let piece = live.next().await?;
            Some((Ok::<_, Infallible>(piece), live))
        }));
        return Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response());
    }
    let searching = tokio::task::spawn_blocking(move || store.search(&ask.query, &Limits::default()));
    let found = searching.await.map_err(|error| unreadable(&error))?;
    Ok(Json(Answer::from(found)).into_response())
}

struct Live {
    store: Arc<Store>,
    query: Query,
    after: u64,
    tick: tokio::time::Interval,
    closing: watch::Receiver<bool>,
}

impl Live {
    /// The next piece; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            tokio::select! {
                _ = self.closing.wait_for(|closing| *closing) => return None,
                _ = self.tick.tick() => {}
            }
            if self.store.next() <= self.after {
                continue;
            }
            let (store, query) =
                (Arc::clone(&self.store), Query { after: Some(self.after), ..self.query.clone() });
            let searching = tokio::task::spawn_blocking(move || store.search(&query, &Limits::default()));
            let found = searching.await.ok()?;
            // One that is full, or was cut, goes on behind the last that it has.
            let last = found.records.iter().map(|record| record.number + 1).max();
            let whole = found.cut.is_none() && found.records.len() < self.query.most;
            self.after = if whole { found.next } else { last.unwrap_or(found.next) };
            let mut text = Vec::new();
            for record in found.records {
                // Plain data; a vector takes everything.
                serde_json::to_writer(&mut text, &Line::from(record)).unwrap_or_default();
                text.push(b'\n');
            }
            if !text.is_empty() {
                return Some(Bytes::from(text));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_as_it_is_written() {
        let query = Query {
            from: Some(1_767_323_045_000_000),
            level: Some(Level::Error),
            conditions: vec!["error.type=a&b".parse().unwrap(), "m!~x".parse().unwrap()],
            text: vec!["100 % & more".to_owned()],
            group_by: vec!["error.type".to_owned()],
            after: Some(7),
            most: 3,
            ..Query::default()
        };
        let place = Place { service: "shop".parse().unwrap(), environment: "dev".parse().unwrap() };
        let ask = Ask { place, query, follow: true };
        let written = ask.written().unwrap();
        let back = Ask::read(&written).unwrap();
        assert_eq!(back.written().unwrap(), written);
        assert_eq!((back.query.most, back.query.conditions.len(), back.follow), (3, 2, true));
    }

    #[test]
    fn wrong_questions_are_refused_with_the_way_out() {
        for (text, says) in [
            ("level=error", "say service=NAME"),
            ("service=shop&environment=dev&levle=error", "no parameter levle"),
            ("service=shop&environment=dev&level=loud", "is no level"),
            ("service=shop&environment=dev&since=soon", "is no moment"),
            ("service=shop&environment=dev&where=x", "FIELD=VALUE"),
            ("service=shop&environment=dev&text=", "leave it out"),
        ] {
            let error = Ask::read(text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
