//! One request of an HTTP/2 client from its head to its answer's head: admit it, have it tried, answer. Retries are decided
//! in `tries`; plain HTTP/1.1 has a way of its own (`plain`).

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body::Body;
use hyper::body::Incoming;

use crate::body::{Download, Progress, RequestBody, ResponseBody};
use crate::counts;
use crate::error::Code;
use crate::head::{self, Edge, Words};
use crate::record::Record;
use crate::trace::context::Position;
use crate::trace::trail::Told;
use crate::tries::Tries;
use crate::upstream::{self, Attempt, Line, SharedClaim};
use crate::worker::Worker;

/// A request that has been let in.
struct Admitted {
    request: Request<RequestBody>,
    words: Arc<Words>,
    target: PathAndQuery,
    method: usize,
    start: Instant,
    position: Position,
}

/// Serves one request.
pub(crate) async fn serve(
    worker: Arc<Worker>,
    edge: Arc<Edge>,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let start = Instant::now();
    let id = head::request_id(request.headers());
    let answered = match admit(request, &edge, &id, start, worker.limits.upload_rate) {
        Ok(admitted) => exchange(&worker, admitted).await,
        Err(code) => Err(code),
    };
    let mut response = answered.unwrap_or_else(|code| {
        worker.counts.error(code);
        refusal(code, &id)
    });
    response.headers_mut().insert(head::REQUEST_ID, id);
    response
}

fn admit(
    request: Request<Incoming>,
    edge: &Edge,
    id: &HeaderValue,
    start: Instant,
    upload_rate: u64,
) -> Result<Admitted, Code> {
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
    let method = counts::method_index(request.method().as_str());
    let (mut parts, body) = request.into_parts();
    let position = head::for_replica(&mut parts.headers, &words, id);
    if !body.is_end_stream() && body.size_hint().exact().is_none() {
        // hyper would otherwise take it that a GET has no body, and drop it.
        parts.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    head::join_cookies(&mut parts.headers);
    parts.uri = Uri::from(target.clone());
    parts.version = http::Version::HTTP_11;
    parts.extensions.clear();
    // A call that is a stream of messages is quiet when there is nothing to say.
    let rate = if head::is_grpc(&parts.headers) { 0 } else { upload_rate };
    let request = Request::from_parts(parts, RequestBody::new(body, u64::MAX, rate));
    Ok(Admitted { request, words, target, method, start, position })
}

/// Finds a replica that answers, and its answer.
async fn exchange(worker: &Arc<Worker>, admitted: Admitted) -> Result<Response<ResponseBody>, Code> {
    let Admitted { mut request, words, target, method, start, position } = admitted;
    let told = Told {
        position,
        host: &words.host,
        path: target.path(),
        method: counts::METHODS[method],
        protocol: "2",
    };
    let mut tries = Tries::new(method, start, false);
    loop {
        let (claim, mut record) = tries.claim(worker, told, &head::Fields(request.headers()))?;
        if request.body().size_hint().lower() > claim.route().limits.body_bytes {
            record.failed(Code::BodyTooLarge);
            return Err(Code::BodyTooLarge);
        }
        if let Some(position) = record.attempt() {
            head::retrace(request.headers_mut(), &position);
        }
        let upload = request.body().progress();
        match upstream::attempt(worker, &claim, request, tries.fresh).await {
            Attempt::Answered(response, _)
                if response.status() == StatusCode::SWITCHING_PROTOCOLS
                    || !head::is_plainly_framed(response.headers()) =>
            {
                record.failed(Code::BackendInvalid);
                return Err(Code::BackendInvalid);
            }
            Attempt::Answered(response, sender) => {
                record.head(response.status().as_u16());
                return Ok(answer(&claim, *response, sender, record, upload));
            }
            Attempt::Unsent(unsent, code) => {
                request = *unsent;
                tries.unsent(record, claim.replica(), code)?;
            }
            Attempt::Stale(again) => {
                request = *again;
                tries.stale(record);
            }
            Attempt::Lost(code) => {
                record.failed(code);
                return Err(code);
            }
        }
    }
}

fn answer(
    claim: &SharedClaim,
    response: Response<Incoming>,
    sender: Line,
    record: Record,
    upload: Option<Arc<Progress>>,
) -> Response<ResponseBody> {
    let (mut parts, inner) = response.into_parts();
    head::for_client(&mut parts.headers, claim.cookie.as_ref());
    parts.version = http::Version::HTTP_11;
    parts.extensions.clear();
    if inner.is_end_stream() {
        record.complete(Some(sender));
        return Response::from_parts(parts, ResponseBody::Own(None));
    }
    let download = Download::new(inner, sender, record, upload, claim.route().timeouts.idle);
    Response::from_parts(parts, ResponseBody::Stream(Box::new(download)))
}

/// The gateway's own answer.
fn refusal(code: Code, id: &HeaderValue) -> Response<ResponseBody> {
    let body = code.body(id.to_str().unwrap_or(""));
    let mut response = Response::new(ResponseBody::Own(Some(Bytes::from(body))));
    *response.status_mut() = code.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(head::ERROR, HeaderValue::from_static(code.text()));
    if code.status() == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
