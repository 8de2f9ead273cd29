//! The REST interface on the agent's socket: `PUT /wanted`, `GET /seen`, `POST /stop`, `GET /health`, `GET /metrics`.
//! Whoever can open the socket may do everything; its file mode is the guard. Does not live here: any decision.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Json, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use ports::fleet::Error as Refusal;
use tokio::net::UnixListener;

use crate::client::HealthReport;
use crate::executor::Executor;
use crate::gateway::Gateway;
use crate::wire::{Ask, LARGEST_BODY_BYTES, Problem, Want};

/// The longest that a request for what is seen is kept waiting.
const LONGEST_PATIENCE: Duration = Duration::from_secs(60);

type Shared<G> = State<Arc<Executor<G>>>;

/// Serves until the executor closes.
pub(crate) async fn serve<G: Gateway>(listener: UnixListener, executor: Arc<Executor<G>>) {
    let mut closed = executor.closed();
    let routes = Router::new()
        .route("/wanted", put(want::<G>))
        .route("/seen", get(seen::<G>))
        .route("/stop", post(stop::<G>))
        .route("/health", get(health::<G>))
        .route("/metrics", get(metrics::<G>))
        .layer(DefaultBodyLimit::max(LARGEST_BODY_BYTES))
        .with_state(executor);
    let over = async move {
        let _ = closed.wait_for(|closed| *closed).await;
    };
    if let Err(error) = axum::serve(listener, routes).with_graceful_shutdown(over).await {
        tracing::error!(%error, "the agent's socket is closed");
    }
}

fn problem(status: StatusCode, error: &Refusal) -> Response {
    let has = match error {
        Refusal::Stale { has, .. } => Some(*has),
        Refusal::Unreachable(_) | Refusal::Refused(_) => None,
    };
    (status, Json(Problem { message: error.to_string(), has })).into_response()
}

async fn want<G: Gateway>(State(executor): Shared<G>, Json(body): Json<Want>) -> Response {
    match executor.want(body.wanted, body.secrets).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error @ Refusal::Stale { .. }) => problem(StatusCode::CONFLICT, &error),
        Err(error @ (Refusal::Refused(_) | Refusal::Unreachable(_))) => {
            problem(StatusCode::UNPROCESSABLE_ENTITY, &error)
        }
    }
}

async fn seen<G: Gateway>(State(executor): Shared<G>, Query(ask): Query<Ask>) -> Response {
    let patience = Duration::from_millis(ask.patience_ms).min(LONGEST_PATIENCE);
    Json(executor.seen(&ask.instance, ask.after, patience).await.as_ref()).into_response()
}

async fn stop<G: Gateway>(State(executor): Shared<G>) -> StatusCode {
    executor.stop();
    StatusCode::ACCEPTED
}

async fn health<G: Gateway>(State(executor): Shared<G>) -> Json<HealthReport> {
    let seen = executor.seen("", 0, Duration::ZERO).await;
    Json(HealthReport {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: seen.instance.clone(),
        generation: seen.generation,
        gateway: seen.gateway.clone(),
        admin: executor.gateway().admin_address(),
    })
}

/// In the text format, or in OpenMetrics for whoever names that.
async fn metrics<G: Gateway>(State(executor): Shared<G>, headers: HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    if accepts.is_some_and(|accepts| accepts.contains("application/openmetrics-text")) {
        let kind = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
        return (kind, executor.gateway().open_metrics()).into_response();
    }
    executor.gateway().metrics_text().into_response()
}
