//! Where a service's traces and metrics are sent by OpenTelemetry's protocol, and which traces are. Does not live here:
//! sending, and the protocol.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::spec::HeaderValue;

/// What becomes of the gateway's traces of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Traces {
    /// Who gets them.
    pub otlp: Otlp,
    /// Which are kept.
    #[serde(default)]
    pub sample: Sample,
}

/// Whoever takes OTLP: a collector, or a backend itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Otlp {
    /// Its address. For `http/protobuf` up to where `/v1/traces` or `/v1/metrics` begins.
    pub endpoint: String,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Headers that it asks for, by their names in small letters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, HeaderValue>,
    /// A file with the certificates that are trusted, instead of the machine's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// How long it may take to answer one request.
    #[serde(with = "crate::time::words")]
    pub timeout: Duration,
}

/// How OTLP is carried; the names are those of `OTEL_EXPORTER_OTLP_PROTOCOL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Protocol {
    /// Over HTTP/1.1, in protobuf.
    #[default]
    #[serde(rename = "http/protobuf")]
    Http,
    /// By gRPC.
    #[serde(rename = "grpc")]
    Grpc,
}

impl Protocol {
    /// As the manifest says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http/protobuf",
            Self::Grpc => "grpc",
        }
    }
}

/// Which traces are kept, decided when a request ends: all that failed, all that were slow, and a share of the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// The share of those that neither failed nor were slow, from 0 to 1.
    pub ratio: f64,
    /// A request is slow when the head of its answer takes longer than this.
    #[serde(with = "crate::time::words")]
    pub slower_than: Duration,
    /// How many traces are kept in one second at most, failed and slow ones included.
    pub limit: u32,
}

impl Default for Sample {
    fn default() -> Self {
        Self { ratio: 0.01, slower_than: Duration::from_secs(1), limit: 50 }
    }
}

/// Metrics of a service that are sent on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Export {
    /// Who gets them.
    pub otlp: Otlp,
    /// How often.
    #[serde(with = "crate::time::words")]
    pub interval: Duration,
}
