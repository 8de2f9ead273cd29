//! One request from its head to its answer's head: admit it, claim a replica, try, try again only where safe, answer.
//!
//! Tried again is: what never left (a connection that could not be opened, or that hyper handed the request back from),
//! on another replica, at most [`TRIES`] times in all; and a bodiless idempotent request that met a closing pooled
//! connection, once, on a fresh one. Each try claims anew under the table then in force, with the same draw.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use crate::body::{Download, Progress, RequestBody, ResponseBody};
use crate::counts;
use crate::error::Code;
use crate::head::{self, Edge, Words};
use crate::live::{Ask, Unclaimed};
use crate::record::Record;
use crate::replica::Replica;
use crate::tunnel;
use crate::upstream::{self, Attempt, Line, SharedClaim};
use crate::worker::Worker;

/// How many replicas a request is offered to.
const TRIES: usize = 3;

/// A request that has been let in.
struct Admitted {
    request: Request<RequestBody>,
    words: Arc<Words>,
    target: PathAndQuery,
    method: usize,
    start: Instant,
    /// Set when the client asked to change protocol.
    upgrade: Option<OnUpgrade>,
}

/// Serves one request. `ambiguous`: its head had two lengths.
pub(crate) async fn serve(
    worker: Arc<Worker>,
    edge: Arc<Edge>,
    ambiguous: bool,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let start = Instant::now();
    let id = head::request_id(request.headers());
    let http1 = request.version() < http::Version::HTTP_2;
    let leftover = !request.body().is_end_stream();
    let answered = match admit(request, ambiguous, &edge, &id, start) {
        Ok(admitted) => exchange(&worker, admitted).await,
        Err(code) => Err(code),
    };
    let mut response = answered.unwrap_or_else(|code| {
        worker.counts.error(code);
        refusal(code, &id, http1 && (leftover || ends(code)))
    });
    response.headers_mut().insert(head::REQUEST_ID, id);
    response
}

fn admit(
    mut request: Request<Incoming>,
    ambiguous: bool,
    edge: &Edge,
    id: &HeaderValue,
    start: Instant,
) -> Result<Admitted, Code> {
    if ambiguous {
        return Err(Code::AmbiguousLength);
    }
    if [Method::CONNECT, Method::TRACE].contains(request.method()) {
        return Err(Code::Method);
    }
    if !head::is_plainly_framed(request.headers()) {
        return Err(Code::BadRequest);
    }
    let words = edge.words(&request)?;
    let target = head::target(request.uri());
    if routes::path::climbs(target.path()) {
        return Err(Code::DotSegments);
    }
    let upgrade = head::upgrade(request.headers()).map(|_| hyper::upgrade::on(&mut request));
    let method = counts::method_index(request.method());
    let (mut parts, body) = request.into_parts();
    head::for_replica(&mut parts.headers, &words, id);
    if !body.is_end_stream() && body.size_hint().exact().is_none() {
        // hyper would otherwise take it that a GET has no body, and drop it.
        parts.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if parts.version == http::Version::HTTP_2 {
        head::join_cookies(&mut parts.headers);
    }
    parts.uri = Uri::from(target.clone());
    parts.version = http::Version::HTTP_11;
    parts.extensions.clear();
    let request = Request::from_parts(parts, RequestBody::new(body, u64::MAX));
    Ok(Admitted { request, words, target, method, start, upgrade })
}

/// Finds a replica that answers, and its answer.
async fn exchange(worker: &Arc<Worker>, admitted: Admitted) -> Result<Response<ResponseBody>, Code> {
    let Admitted { mut request, words, target, method, start, upgrade } = admitted;
    let (draw, luck) = (fastrand::u16(..routes::DRAWS), fastrand::u64(..));
    let mut excluded: Vec<Arc<Replica>> = Vec::new();
    let mut fresh = upgrade.is_some();
    let mut handed_back = 0;
    let mut failed: Option<(Record, Code)> = None;
    loop {
        let ask = Ask { host: &words.host, path: target.path(), draw, luck, excluded: &excluded };
        let claim = match worker.claim(&ask) {
            Ok(claim) => Arc::new(claim),
            Err(unclaimed) => return Err(give_up(worker, failed, &unclaimed, method, start)),
        };
        if let Some((earlier, _)) = failed.take() {
            earlier.discard();
            worker.counts.retries.fetch_add(1, Ordering::Relaxed);
        }
        let mut record = Record::open(worker.clone(), claim.clone(), method, start);
        if request.body().size_hint().lower() > claim.route().limits.body_bytes {
            record.failed(Code::BodyTooLarge);
            return Err(Code::BodyTooLarge);
        }
        let upload = request.body().progress();
        match upstream::attempt(worker, &claim, request, fresh).await {
            Attempt::Answered(response, _) if !head::is_plainly_framed(response.headers()) => {
                record.failed(Code::BackendInvalid);
                return Err(Code::BackendInvalid);
            }
            Attempt::Answered(response, sender) => {
                record.head(response.status().as_u16());
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    sender.hand_over();
                    return switch(worker, &claim, *response, record, upgrade);
                }
                return Ok(answer(&claim, *response, sender, record, upload));
            }
            Attempt::Unsent(unsent, code) => {
                request = *unsent;
                if code == Code::BackendClosed {
                    fresh = true;
                    handed_back += 1;
                } else {
                    excluded.push(claim.replica().clone());
                }
                if excluded.len() + handed_back >= TRIES {
                    record.failed(code);
                    return Err(code);
                }
                failed = Some((record, code));
            }
            Attempt::Stale(again) => {
                request = *again;
                fresh = true;
                failed = Some((record, Code::BackendClosed));
            }
            Attempt::Lost(code) => {
                record.failed(code);
                return Err(code);
            }
        }
    }
}

/// No replica took the request: the failure of the last one tried, if one was, says more than that no other is left.
fn give_up(
    worker: &Worker,
    failed: Option<(Record, Code)>,
    unclaimed: &Unclaimed,
    method: usize,
    start: Instant,
) -> Code {
    if let Some((record, code)) = failed {
        record.failed(code);
        return code;
    }
    if let Some(label) = &unclaimed.label {
        label.observe(worker.index, method, unclaimed.code.status().as_u16(), start.elapsed());
    }
    unclaimed.code
}

fn answer(
    claim: &SharedClaim,
    response: Response<Incoming>,
    sender: Line,
    record: Record,
    upload: Option<Arc<Progress>>,
) -> Response<ResponseBody> {
    let (mut parts, inner) = response.into_parts();
    head::for_client(&mut parts.headers);
    parts.version = http::Version::HTTP_11;
    parts.extensions.clear();
    if inner.is_end_stream() {
        record.complete(Some(sender));
        return Response::from_parts(parts, ResponseBody::Own(None));
    }
    let download = Download::new(inner, sender, record, upload, claim.route().timeouts.idle);
    Response::from_parts(parts, ResponseBody::Stream(Box::new(download)))
}

/// Both sides change protocol. From here on the gateway only carries bytes.
fn switch(
    worker: &Arc<Worker>,
    claim: &SharedClaim,
    mut response: Response<Incoming>,
    record: Record,
    upgrade: Option<OnUpgrade>,
) -> Result<Response<ResponseBody>, Code> {
    let (Some(client), Some(protocol)) = (upgrade, head::upgrade(response.headers())) else {
        record.failed(Code::BackendInvalid);
        return Err(Code::BackendInvalid);
    };
    let replica = hyper::upgrade::on(&mut response);
    let idle = claim.route().timeouts.idle;
    tokio::spawn(tunnel::join(client, replica, idle, claim.in_flight.clone(), worker.open.enter()));
    record.complete(None);
    let (mut parts, _) = response.into_parts();
    head::for_client(&mut parts.headers);
    parts.headers.insert(header::UPGRADE, protocol);
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    parts.extensions.clear();
    Ok(Response::from_parts(parts, ResponseBody::Own(None)))
}

/// Whether a client that sent this is not trusted to agree with us on where its next request starts.
fn ends(code: Code) -> bool {
    [Code::AmbiguousLength, Code::BadRequest, Code::Method].contains(&code)
}

/// The gateway's own answer. `close`: the connection cannot go on, because of what was sent or because it has a body left
/// that nobody will read.
fn refusal(code: Code, id: &HeaderValue, close: bool) -> Response<ResponseBody> {
    let body = serde_json::json!({
        "code": code.text(),
        "message": code.message(),
        "fault": code.fault().text(),
        "retrySafe": code.retry_safe(),
        "requestId": id.to_str().unwrap_or(""),
    });
    let mut response = Response::new(ResponseBody::Own(Some(Bytes::from(body.to_string()))));
    *response.status_mut() = code.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(head::ERROR, HeaderValue::from_static(code.text()));
    if code.status() == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if close {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
