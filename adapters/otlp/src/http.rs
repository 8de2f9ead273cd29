//! OTLP/HTTP: a `POST` in protobuf. Does not live here: what follows from the answer (`answer`, `exporter`).

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response};

use crate::answer::{self, Refusal, Taken};
use crate::destination::{Address, Destination};

/// Who sends.
pub(crate) const AGENT: &str = concat!("shipshape/", env!("CARGO_PKG_VERSION"));
/// How large an answer may be.
pub(crate) const LARGEST_ANSWER_BYTES: usize = 64 * 1024;

pub(crate) fn request(
    destination: &Destination,
    address: &Address,
    path: &str,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, String> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(format!("{}{path}", address.path))
        .header(HOST, &address.authority)
        .header(USER_AGENT, AGENT)
        .header(CONTENT_TYPE, "application/x-protobuf")
        .body(Full::new(body))
        .map_err(|error| format!("it is no request: {error}"))?;
    destination.put_headers(request.headers_mut())?;
    Ok(request)
}

pub(crate) async fn read(response: Response<Incoming>) -> Result<Taken, Refusal> {
    let status = response.status().as_u16();
    let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = Limited::new(response.into_body(), LARGEST_ANSWER_BYTES).collect().await;
    match body {
        Ok(body) => answer::http(status, after.as_deref(), &body.to_bytes()),
        // What was taken was taken, however the answer ends.
        Err(_) => answer::http(status, after.as_deref(), b""),
    }
}
