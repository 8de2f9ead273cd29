//! What can go wrong: for whoever runs the gateway ([`Error`]), and for whoever sends it a request ([`Code`]).

use std::net::SocketAddr;

use http::StatusCode;

/// Why the gateway did not start, or did not take a table.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A number makes no sense.
    #[error("gateway configuration: {0}")]
    Config(&'static str),
    /// An address is not to be had.
    #[error(
        "the gateway cannot listen at {address}: {source}; stop whoever listens there, or choose another address"
    )]
    Listen {
        /// Which.
        address: SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Threads or event loops are not to be had.
    #[error("the gateway cannot start a worker: {0}")]
    Worker(#[source] std::io::Error),
    /// The table contradicts itself. The old one stays in force.
    #[error("the routing table is refused: {0}")]
    Table(#[from] routes::Error),
    /// A backend is listed for a release without a share.
    #[error("{place}: a backend is listed for release {release}, which has no share")]
    Backend {
        /// Where.
        place: model::Place,
        /// Which release.
        release: model::ReleaseNumber,
    },
}

/// Whose fault a failed request was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Client,
    Gateway,
    Backend,
}

macro_rules! codes {
    ($($name:ident $text:literal $status:ident $fault:ident $retry:literal $message:literal;)*) => {
        /// What the gateway says when it answers itself. The text is stable; each has a page in `docs/errors/`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Code { $($name),* }

        impl Code {
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];

            pub(crate) fn text(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            pub(crate) fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status),* }
            }

            pub(crate) fn fault(self) -> Fault {
                match self { $(Self::$name => Fault::$fault),* }
            }

            /// Whether the request has certainly not been acted on.
            pub(crate) fn retry_safe(self) -> bool {
                match self { $(Self::$name => $retry),* }
            }

            pub(crate) fn message(self) -> &'static str {
                match self { $(Self::$name => $message),* }
            }

            /// What the answer with this code says to its reader.
            pub(crate) fn body(self, request_id: &str) -> String {
                let body = serde_json::json!({
                    "code": self.text(),
                    "message": self.message(),
                    "fault": self.fault().text(),
                    "retrySafe": self.retry_safe(),
                    "requestId": request_id,
                });
                body.to_string()
            }
        }
    };
}

codes! {
    BadRequest "SHP-GW-BAD-REQUEST" BAD_REQUEST Client true "the request is malformed, or its host, target or encoding is missing or doubled";
    HeadTooLarge "SHP-GW-HEAD-TOO-LARGE" REQUEST_HEADER_FIELDS_TOO_LARGE Client true "the request's head is larger, or has more lines, than is allowed";
    AmbiguousLength "SHP-GW-AMBIGUOUS-LENGTH" BAD_REQUEST Client true "the request has both Content-Length and Transfer-Encoding";
    DotSegments "SHP-GW-DOT-SEGMENTS" BAD_REQUEST Client true "the path holds a '.' or '..' segment; resolve it before sending";
    Method "SHP-GW-METHOD" NOT_IMPLEMENTED Client true "CONNECT and TRACE are not served here";
    NoRoute "SHP-GW-NO-ROUTE" NOT_FOUND Client true "no service claims this host and path";
    BodyTooLarge "SHP-GW-BODY-TOO-LARGE" PAYLOAD_TOO_LARGE Client true "the request's body is larger than the route allows";
    ClientStalled "SHP-GW-CLIENT-STALLED" REQUEST_TIMEOUT Client false "the request's body stopped coming, or came too slowly";
    ClientBroken "SHP-GW-CLIENT-BROKEN" BAD_REQUEST Client false "the request's body broke off or is malformed";
    InFlightLimit "SHP-GW-IN-FLIGHT-LIMIT" SERVICE_UNAVAILABLE Gateway true "the service has as many requests in flight as its route allows";
    ConnectionLimit "SHP-GW-CONNECTION-LIMIT" SERVICE_UNAVAILABLE Gateway true "the gateway has as many connections as it is allowed";
    NoReplica "SHP-GW-NO-REPLICA" SERVICE_UNAVAILABLE Backend true "no replica of the service is ready";
    NoDescriptors "SHP-GW-NO-DESCRIPTORS" SERVICE_UNAVAILABLE Gateway true "the gateway has no file descriptor left for a connection to a replica";
    ConnectFailed "SHP-GW-CONNECT-FAILED" BAD_GATEWAY Backend true "no connection to a replica could be opened";
    ConnectTimeout "SHP-GW-CONNECT-TIMEOUT" GATEWAY_TIMEOUT Backend true "opening a connection to a replica took too long";
    BackendClosed "SHP-GW-BACKEND-CLOSED" BAD_GATEWAY Backend false "the replica closed the connection before it answered";
    BackendInvalid "SHP-GW-BACKEND-INVALID" BAD_GATEWAY Backend false "the replica's answer is not HTTP, or too large a head";
    ResponseTimeout "SHP-GW-RESPONSE-TIMEOUT" GATEWAY_TIMEOUT Backend false "the replica did not answer in time";
    UploadStalled "SHP-GW-UPLOAD-STALLED" GATEWAY_TIMEOUT Backend false "the replica stopped taking the request's body";
    ResponseBroken "SHP-GW-RESPONSE-BROKEN" BAD_GATEWAY Backend false "the replica's answer broke off in the middle";
    ResponseStalled "SHP-GW-RESPONSE-STALLED" GATEWAY_TIMEOUT Backend false "the replica's answer stopped coming in the middle";
}

impl Fault {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Gateway => "gateway",
            Self::Backend => "backend",
        }
    }
}
