//! How answers are written: Prometheus' envelope, its kinds of error, its numbers.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use promql::{Labels, Point, Value};
use serde_json::json;

/// An answer with data, as JSON text.
pub(crate) struct Good {
    pub(crate) data: String,
    pub(crate) warnings: Vec<String>,
    pub(crate) infos: Vec<String>,
}

impl Good {
    pub(crate) fn data(data: String) -> Self {
        Self { data, warnings: vec![], infos: vec![] }
    }
}

impl IntoResponse for Good {
    fn into_response(self) -> Response {
        let mut body = format!(r#"{{"status":"success","data":{}"#, self.data);
        for (name, notes) in [("warnings", self.warnings), ("infos", self.infos)] {
            if !notes.is_empty() {
                body.push_str(&format!(r#","{name}":{}"#, json!(notes)));
            }
        }
        body.push('}');
        ([(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Bad {
    status: StatusCode,
    kind: &'static str,
    why: String,
}

impl Bad {
    /// A parameter is missing or makes no sense.
    pub(crate) fn parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "bad_data",
            why: format!("invalid parameter {name:?}: {why}"),
        }
    }

    pub(crate) fn unavailable(why: &str) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, kind: "unavailable", why: why.to_owned() }
    }
}

impl From<promql::Error> for Bad {
    fn from(error: promql::Error) -> Self {
        let why = error.to_string();
        match error {
            promql::Error::Syntax(_) | promql::Error::Refused(_) => Self::parameter("query", why),
            promql::Error::Execution(_) | promql::Error::TooMuch(_) => {
                Self { status: StatusCode::UNPROCESSABLE_ENTITY, kind: "execution", why }
            }
            promql::Error::Timeout(_) => {
                Self { status: StatusCode::SERVICE_UNAVAILABLE, kind: "timeout", why }
            }
            promql::Error::Storage(_) => {
                Self { status: StatusCode::INTERNAL_SERVER_ERROR, kind: "internal", why }
            }
        }
    }
}

impl IntoResponse for Bad {
    fn into_response(self) -> Response {
        let body = json!({"status": "error", "errorType": self.kind, "error": self.why});
        (self.status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
    }
}

/// A query's value.
pub(crate) fn value(value: &Value) -> String {
    let (kind, result) = match value {
        Value::Scalar(at) => ("scalar", point(*at)),
        Value::Text { at, text } => ("string", format!("[{},{}]", seconds(*at), json!(text))),
        Value::Vector(samples) => {
            let one = |it: &promql::Sample| {
                format!(r#"{{"metric":{},"value":{}}}"#, labels(&it.labels), point(it.point))
            };
            ("vector", list(samples.iter().map(one)))
        }
        Value::Matrix(series) => {
            let one = |it: &promql::Series| {
                let points = list(it.points.iter().map(|at| point(*at)));
                format!(r#"{{"metric":{},"values":{points}}}"#, labels(&it.labels))
            };
            ("matrix", list(series.iter().map(one)))
        }
    };
    format!(r#"{{"resultType":"{kind}","result":{result}}}"#)
}

/// Labels as an object.
pub(crate) fn labels(labels: &Labels) -> String {
    let pairs = labels.iter().map(|(name, value)| format!("{}:{}", json!(&**name), json!(&**value)));
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
}

pub(crate) fn list(items: impl Iterator<Item = String>) -> String {
    let mut text = String::from("[");
    for (index, item) in items.enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&item);
    }
    text.push(']');
    text
}

fn point(point: Point) -> String {
    format!(r#"[{},"{}"]"#, seconds(point.at), number(point.value))
}

/// Seconds with as many of three decimals as are needed.
pub(crate) fn seconds(millis: i64) -> String {
    let (sign, millis) = (if millis < 0 { "-" } else { "" }, millis.unsigned_abs());
    match millis % 1000 {
        0 => format!("{sign}{}", millis / 1000),
        rest => format!("{sign}{}.{rest:03}", millis / 1000),
    }
}

/// The shortest text that is this number, with an exponent below 1e-6 and from 1e21 on.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if size == 0.0 || size.is_nan() || (1e-6..1e21).contains(&size) {
        return value.to_string();
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_read_as_prometheus_writes_them() {
        assert_eq!(point(Point { at: 1_435_781_430_781, value: 1.0 }), r#"[1435781430.781,"1"]"#);
        assert_eq!(point(Point { at: 1_435_781_451_000, value: f64::NAN }), r#"[1435781451,"NaN"]"#);
        assert_eq!(point(Point { at: -1500, value: f64::NEG_INFINITY }), r#"[-1.500,"-Inf"]"#);
        assert_eq!(number(1e21), "1e+21");
        assert_eq!(number(-1.5e300), "-1.5e+300");
        assert_eq!(number(2.5e-7), "2.5e-07");
        assert_eq!((number(1e-6), number(-0.0)), ("0.000001".to_owned(), "-0".to_owned()));
        assert_eq!(number(123_456_789_012_345_680_000.0), "123456789012345680000");
        assert_eq!(number(0.1), "0.1");
    }
}
