//! The routes: from a request to a question for control, and from its answer to a response. Does not live here: the
//! decision itself.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Query, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use http::{HeaderMap, Method, StatusCode, header};
use runtime::{
    Answer, Ballot, Correct, Deploy, DeployGroup, Handle, LiftLock, Operate, Retry, Rollback, SetLock, Ship,
    Vote,
};
use tokio::sync::watch;

use crate::alerts::{self, Alerts, RuleList, Rules};
use crate::caller::Asked;
use crate::errors::{self, Errors};
use crate::events;
use crate::logs::{self, Format, Logs};
use crate::objectives::{
    AskBacktest, AskReport, BacktestReport, MonthReport, NoAnswer, ObjectiveStatus, Objectives, Which,
};
use crate::paging::{self, Receivers};
use crate::problem::{self, Problem};
use crate::records;
use crate::{Health, Stop};

/// The largest request body in bytes: a manifest fits many times over.
pub(crate) const LARGEST_BODY_BYTES: usize = 2 * 1024 * 1024;

/// What every route can reach.
#[derive(Clone)]
pub(crate) struct Faces {
    pub(crate) control: Handle,
    pub(crate) logs: Arc<dyn Logs>,
    pub(crate) records: Arc<::logs::Keep>,
    pub(crate) objectives: Arc<dyn Objectives>,
    pub(crate) rules: Arc<dyn Rules>,
    pub(crate) receivers: Arc<dyn Receivers>,
    pub(crate) version: String,
    pub(crate) probes: Arc<dyn ports::Probes>,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) closing: watch::Receiver<bool>,
}

type Reached<T> = Result<Json<T>, Problem>;

/// Every route. The OpenAPI document has the same, by a test.
fn routes() -> [(Method, &'static str, MethodRouter<Faces>); 34] {
    [
        (Method::GET, "/v1/health", get(health)),
        (Method::GET, "/v1/status", get(status)),
        (Method::GET, "/v1/probes", get(probes)),
        (Method::GET, "/v1/calendar", get(calendar)),
        (Method::GET, "/v1/changes", get(changes)),
        (Method::POST, "/v1/changes/approve", post(approve)),
        (Method::POST, "/v1/changes/reject", post(reject)),
        (Method::POST, "/v1/changes/review", post(review)),
        (Method::GET, "/v1/logs", get(output)),
        (Method::GET, "/v1/logs/search", get(search)),
        (Method::GET, "/v1/errors", get(all_errors)),
        (Method::POST, "/v1/errors/decide", post(decide_error)),
        (Method::GET, "/v1/events", get(events)),
        (Method::GET, "/v1/alerts", get(all_alerts)),
        (Method::GET, "/v1/alerts/rules", get(rules)),
        (Method::GET, "/v1/objectives", get(all_objectives)),
        (Method::GET, "/v1/objectives/backtest", get(backtest)),
        (Method::GET, "/v1/objectives/report", get(report)),
        (Method::POST, "/v1/objectives/correct", post(correct)),
        (Method::GET, "/v1/silences", get(paging::silences)),
        (Method::POST, "/v1/silences", post(paging::silence)),
        (Method::POST, "/v1/silences/expire", post(paging::expire)),
        (Method::GET, "/v1/receivers", get(paging::receivers)),
        (Method::POST, "/v1/receivers/test", post(paging::test)),
        (Method::GET, "/v1/openapi.json", get(openapi)),
        (Method::POST, "/v1/deploy", post(deploy)),
        (Method::POST, "/v1/deploy-group", post(deploy_group)),
        (Method::POST, "/v1/ship", post(ship)),
        (Method::POST, "/v1/rollback", post(rollback)),
        (Method::POST, "/v1/retry", post(retry)),
        (Method::POST, "/v1/operate", post(operate)),
        (Method::POST, "/v1/lock", post(lock)),
        (Method::POST, "/v1/unlock", post(unlock)),
        (Method::POST, "/v1/stop", post(stop)),
    ]
}

pub(crate) fn router(faces: Faces) -> Router {
    let router =
        routes().into_iter().fold(Router::new(), |router, (_, path, route)| router.route(path, route));
    router
        .fallback(nowhere)
        .method_not_allowed_fallback(otherwise)
        .layer(DefaultBodyLimit::max(LARGEST_BODY_BYTES))
        .with_state(faces)
}

async fn nowhere(uri: http::Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, problem::UNKNOWN, format!("there is no {}", uri.path()))
        .instead("`GET /v1/openapi.json` lists what there is")
}

async fn otherwise(method: http::Method, uri: http::Uri) -> Problem {
    let what = format!("{} does not take {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, problem::MALFORMED, what)
}

async fn health(State(faces): State<Faces>) -> Json<Health> {
    Json(Health {
        version: faces.version,
        pid: std::process::id(),
        agent_reachable: faces.control.snapshot().reachable,
        api: faces.address.map(|address| address.to_string()),
    })
}

/// The change calendar of the next two weeks, of what serves.
async fn calendar(
    State(faces): State<Faces>,
    which: Result<Query<Which>, QueryRejection>,
) -> Reached<Vec<views::Calendar>> {
    let which = asked(which)?;
    let snapshot = faces.control.snapshot();
    Ok(Json(views::calendar(&snapshot.world, snapshot.at, |place| which.holds(place))))
}

/// Requests for change, the newest first.
async fn changes(
    State(faces): State<Faces>,
    which: Result<Query<Which>, QueryRejection>,
) -> Reached<Vec<views::ChangeStatus>> {
    let which = asked(which)?;
    Ok(Json(views::requests(&faces.control.snapshot().world, |place| which.holds(place))))
}

async fn approve(asked: Asked<Ballot>) -> Result<StatusCode, Problem> {
    asked.control.vote(Vote::Approve, asked.request).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn reject(asked: Asked<Ballot>) -> Result<StatusCode, Problem> {
    asked.control.vote(Vote::Reject, asked.request).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn review(asked: Asked<Ballot>) -> Result<StatusCode, Problem> {
    asked.control.vote(Vote::Review, asked.request).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn probes(
    State(faces): State<Faces>,
    which: Result<Query<Which>, QueryRejection>,
) -> Reached<ports::probes::Reports> {
    let which = asked(which)?;
    let mut reports = faces.probes.reports();
    reports.probes.retain(|report| which.holds(&report.place));
    Ok(Json(reports))
}

async fn status(
    State(faces): State<Faces>,
    which: Result<Query<Which>, QueryRejection>,
) -> Reached<views::Status> {
    let which = asked(which)?;
    let snapshot = faces.control.snapshot();
    let mut warnings = snapshot.warnings.clone();
    warnings.extend(views::alert::warnings(&snapshot.world, snapshot.at, |service, environment| {
        alerts::is_of(&which, service, environment)
    }));
    warnings.extend(views::probe_warnings(&faces.probes.reports(), |place| which.holds(place)));
    let now = errors::now();
    warnings.extend(errors::warnings(&snapshot.world, &faces.records, now, |place| which.holds(place)));
    Ok(Json(views::Status {
        version: faces.version,
        at: snapshot.at,
        agent_reachable: snapshot.reachable,
        gateway: snapshot.seen.gateway.clone(),
        warnings,
        locks: views::locks(&snapshot.world, snapshot.at, |scope| {
            let (service, environment) = (&scope.service, &scope.environment);
            let is_of = |asked| service.as_ref().is_none_or(|service| service == asked);
            which.service.as_ref().is_none_or(is_of)
                && which.environment.as_ref().is_none_or(|asked| asked == environment)
        }),
        places: views::status(&snapshot.world, &snapshot.seen, &snapshot.reports, |place| which.holds(place)),
    }))
}

async fn output(
    State(faces): State<Faces>,
    ask: Result<Query<logs::Ask>, QueryRejection>,
) -> Result<Response, Problem> {
    let ask = asked(ask)?;
    let place = ask.place();
    known(&faces, &place)?;
    let kind = match ask.format {
        Format::Json => "application/x-ndjson",
        Format::Text => "text/plain; charset=utf-8",
    };
    let body = logs::stream(faces.logs, ask, faces.closing).await.map_err(|error| {
        let what = format!("the output of {place} cannot be read: {error}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, problem::INTERNAL, what)
            .instead("it lies under `logs` in the home directory; see that control may read it")
    })?;
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

/// Refuses a place where nothing ever was.
fn known(faces: &Faces, place: &model::Place) -> Result<(), Problem> {
    let snapshot = faces.control.snapshot();
    if snapshot.world.lanes.contains_key(place) {
        return Ok(());
    }
    let known: Vec<String> = snapshot.world.lanes.keys().map(ToString::to_string).collect();
    let known = if known.is_empty() { "nothing yet".to_owned() } else { known.join(", ") };
    let what = format!("nothing was ever deployed at {place}");
    Err(Problem::new(StatusCode::NOT_FOUND, problem::UNKNOWN, what)
        .instead(format!("known is {known}; `shipshape deploy ARTIFACT -e {}` starts", place.environment)))
}

async fn search(State(faces): State<Faces>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let ask = records::Ask::read(query.as_deref().unwrap_or_default()).map_err(Problem::malformed)?;
    known(&faces, &ask.place)?;
    records::answer(faces.records, ask, faces.closing).await
}

async fn events(
    State(faces): State<Faces>,
    headers: HeaderMap,
    ask: Result<Query<events::Ask>, QueryRejection>,
) -> Result<Response, Problem> {
    events::answer(faces.control, asked(ask)?, &headers, faces.closing).await
}

async fn all_alerts(
    State(faces): State<Faces>,
    which: Result<Query<Which>, QueryRejection>,
) -> Reached<Alerts> {
    Ok(Json(alerts::alerts(&faces.control.snapshot(), &asked(which)?)))
}

async fn rules(State(faces): State<Faces>, which: Result<Query<Which>, QueryRejection>) -> Reached<RuleList> {
    let which = asked(which)?;
    let at = faces.control.snapshot().at;
    let mut rules = faces.rules.all();
    rules.retain(|rule| alerts::is_of(&which, rule.service.as_ref(), rule.environment.as_ref()));
    Ok(Json(RuleList { at, rules }))
}

async fn all_objectives(
    State(faces): State<Faces>,
    which: Result<Query<Which>, QueryRejection>,
) -> Reached<Vec<ObjectiveStatus>> {
    let which = asked(which)?;
    let mut all = faces.objectives.all();
    all.retain(|it| which.holds(&it.place));
    Ok(Json(all))
}

async fn backtest(
    State(faces): State<Faces>,
    ask: Result<Query<AskBacktest>, QueryRejection>,
) -> Reached<BacktestReport> {
    let ask = asked(ask)?;
    looked_up(move || faces.objectives.backtest(&ask)).await
}

async fn report(
    State(faces): State<Faces>,
    ask: Result<Query<AskReport>, QueryRejection>,
) -> Reached<Vec<MonthReport>> {
    let ask = asked(ask)?;
    looked_up(move || faces.objectives.report(&ask)).await
}

/// Where reading a disk may block.
async fn looked_up<T: Send + 'static>(
    look: impl FnOnce() -> Result<T, NoAnswer> + Send + 'static,
) -> Reached<T> {
    let internal = |what: String| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, problem::INTERNAL, what);
    let found = tokio::task::spawn_blocking(look).await.map_err(|error| internal(error.to_string()))?;
    let none = |NoAnswer { what, instead, unknown }: NoAnswer| match unknown {
        true => Problem::new(StatusCode::NOT_FOUND, problem::UNKNOWN, what).instead(instead),
        false => Problem::malformed(what).instead(instead),
    };
    Ok(Json(found.map_err(none)?))
}

async fn all_errors(
    State(faces): State<Faces>,
    ask: Result<Query<errors::Ask>, QueryRejection>,
) -> Reached<Errors> {
    let ask = asked(ask)?;
    let (world, keep) = (Arc::clone(&faces.control.snapshot().world), faces.records);
    let looking = tokio::task::spawn_blocking(move || errors::answer(&world, &keep, &ask, errors::now()));
    Ok(Json(looking.await.map_err(|error| errors::unreadable(&error))??))
}

async fn decide_error(
    State(faces): State<Faces>,
    asked: Asked<errors::Decide>,
) -> Result<StatusCode, Problem> {
    let Asked { request, control } = asked;
    known(&faces, &request.place)?;
    let world = Arc::clone(&control.snapshot().world);
    let (fingerprint, decision) = errors::decided(&world, &faces.records, &request, errors::now())?;
    control.decide_error(request.place, fingerprint, decision).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn correct(asked: Asked<Correct>) -> Result<StatusCode, Problem> {
    asked.control.correct(asked.request).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], crate::OPENAPI).into_response()
}

async fn deploy(asked: Asked<Deploy>) -> Reached<Answer> {
    let Asked { request, control } = asked;
    absolute(request.artifact.iter().chain([&request.directory]))?;
    Ok(Json(control.deploy(request).await?))
}

async fn deploy_group(asked: Asked<DeployGroup>) -> Reached<Answer> {
    let Asked { request, control } = asked;
    for member in &request.members {
        absolute(member.artifact.iter().chain([&member.directory]))?;
    }
    Ok(Json(control.deploy_group(request).await?))
}

fn absolute<'a>(named: impl Iterator<Item = &'a std::path::PathBuf>) -> Result<(), Problem> {
    for path in named {
        if !path.is_absolute() {
            let what = format!("the path {} is not absolute", path.display());
            return Err(Problem::malformed(what)
                .instead("control runs in a directory of its own: send absolute paths"));
        }
    }
    Ok(())
}

async fn ship(asked: Asked<Ship>) -> Reached<Answer> {
    Ok(Json(asked.control.ship(asked.request).await?))
}

async fn rollback(asked: Asked<Rollback>) -> Reached<Answer> {
    Ok(Json(asked.control.rollback(asked.request).await?))
}

async fn retry(asked: Asked<Retry>) -> Reached<Answer> {
    Ok(Json(asked.control.retry(asked.request).await?))
}

async fn operate(asked: Asked<Operate>) -> Reached<Answer> {
    Ok(Json(asked.control.operate(asked.request).await?))
}

async fn lock(asked: Asked<SetLock>) -> Result<StatusCode, Problem> {
    asked.control.lock(asked.request).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn unlock(asked: Asked<LiftLock>) -> Result<StatusCode, Problem> {
    asked.control.unlock(asked.request).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn stop(asked: Asked<Stop>) -> Result<StatusCode, Problem> {
    asked.control.stop(asked.request.actor, asked.request.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) fn asked<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    let Query(query) = query.map_err(|rejection| Problem::malformed(rejection.body_text()))?;
    Ok(query)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_has_every_route_and_no_other() {
        let document: serde_json::Value = serde_json::from_str(crate::OPENAPI).unwrap();
        let mut described = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                described.insert((method.to_uppercase(), path.clone()));
            }
        }
        let served: BTreeSet<_> =
            routes().iter().map(|(method, path, _)| (method.to_string(), (*path).to_owned())).collect();
        assert_eq!(described, served);
    }
}
