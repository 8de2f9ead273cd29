//! What control's own log says of requests: who asks for changes, who was not let in, what was refused. Never what they hold. Does not
//! live here: deciding any of it.

use axum::extract::Request;
use axum::extract::connect_info::ConnectInfo;
use axum::middleware::Next;
use axum::response::Response;
use http::StatusCode;

use crate::caller::Caller;

/// How much of a path is told.
const LONGEST_PATH: usize = 200;

/// The code of a problem, on its way out.
#[derive(Debug, Clone)]
pub(crate) struct Code(pub(crate) String);

/// Tells of what was refused, and of who was not let in.
pub(crate) async fn refusals(request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<ConnectInfo<Caller>>().map(|ConnectInfo(caller)| *caller);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let path = &path[..path.floor_char_boundary(LONGEST_PATH)];
    let from = caller.map_or_else(|| "nobody known".to_owned(), |caller| caller.to_string());
    let code = response.extensions().get::<Code>().map_or("", |Code(code)| code.as_str());
    let status_code = status.as_u16();
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            tracing::warn!(event = "auth.refused", from, %method, path, status = status_code, code, "not let in");
        }
        _ if status.is_server_error() => {
            tracing::error!(event = "request.failed", from, %method, path, status = status_code, code, "a request failed");
        }
        _ => {
            tracing::info!(event = "request.refused", from, %method, path, status = status_code, code, "a request was refused");
        }
    }
    response
}
