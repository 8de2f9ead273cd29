//! The TCP door: a loopback address that lets in who shows the token, and nobody sent by another site. Does not live
//! here: what is served behind it.
//!
//! A browser on this machine can be made to send requests here by any page: a page of its own name whose address turns
//! into ours (so `Host` must name us), or a plain cross-site request (so `Origin`, when there is one, must be ours).

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::Error;
use crate::connection::MOST_CONNECTIONS;
use crate::problem::{self, Problem};
use crate::token::Token;

/// An open TCP door.
#[derive(Debug)]
pub struct Door {
    pub(crate) listener: TcpListener,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) guard: Guard,
}

/// Who is let in.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    pub(crate) address: SocketAddr,
    token: Token,
}

impl Door {
    /// Opens a door on a loopback address; port 0 means any. The token is made when the home has none.
    ///
    /// # Errors
    /// When the address is not of this machine alone, is taken, or the token cannot be read or made.
    pub async fn open(home: &Path, address: SocketAddr) -> Result<Self, Error> {
        if !address.ip().is_loopback() {
            return Err(Error::NotLoopback { address });
        }
        let token = Token::read_or_make(home)?;
        let failed = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        Ok(Self { listener, places, guard: Guard { address, token } })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.guard.address
    }
}

/// Refuses who is not to be let in.
pub(crate) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.check(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            let unauthorized = problem.status == StatusCode::UNAUTHORIZED.as_u16();
            let mut response = problem.into_response();
            if unauthorized {
                let how = HeaderValue::from_static("Bearer realm=\"shipshape\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, how);
            }
            response
        }
    }
}

impl Guard {
    fn check(&self, request: &Request) -> Result<(), Problem> {
        let headers = request.headers();
        let host = only(headers, header::HOST)?;
        let named = request.uri().authority().map(http::uri::Authority::as_str);
        if host.is_none() || host.into_iter().chain(named).any(|name| !self.is_our_name(name)) {
            let what = format!("this is http://{}, and the request names another host", self.address);
            return Err(forbidden(what));
        }
        let origin = only(headers, header::ORIGIN)?;
        let is_ours =
            |origin: &str| origin.strip_prefix("http://").is_some_and(|name| self.is_our_name(name));
        if origin.is_some_and(|origin| !is_ours(origin)) {
            return Err(forbidden("the request comes from a page of another site".to_owned()));
        }
        let shown = only(headers, header::AUTHORIZATION)?.and_then(|shown| shown.split_once(' '));
        match shown {
            Some((kind, shown))
                if kind.eq_ignore_ascii_case("bearer") && self.token.is(shown.trim().as_bytes()) =>
            {
                Ok(())
            }
            Some(_) => Err(unauthorized("the token is not control's")),
            None => Err(unauthorized("the request brings no token")),
        }
    }

    /// Whether `name`, a host and its port, is this door and nothing that a name server could have made of it.
    fn is_our_name(&self, name: &str) -> bool {
        let Some((host, port)) = name.rsplit_once(':') else { return false };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_loopback = host.parse::<IpAddr>().is_ok_and(|host| host.is_loopback());
        (is_loopback || host.eq_ignore_ascii_case("localhost")) && port.parse() == Ok(self.address.port())
    }
}

/// The value of a header that may stand once.
fn only(headers: &HeaderMap, name: header::HeaderName) -> Result<Option<&str>, Problem> {
    let mut all = headers.get_all(&name).iter();
    let (first, second) = (all.next(), all.next());
    let malformed = || Problem::malformed(format!("the header {name} stands twice, or is not readable"));
    match (first, second) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| malformed()),
        (Some(_), Some(_)) => Err(malformed()),
    }
}

fn forbidden(what: String) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, problem::FORBIDDEN, what).instead(
        "ask by its address, from a program on this machine, or through a tunnel that keeps the port",
    )
}

fn unauthorized(what: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, problem::UNAUTHORIZED, what)
        .instead("send `Authorization: Bearer` with what the file `token` in control's home holds")
}
