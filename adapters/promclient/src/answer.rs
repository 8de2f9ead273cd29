//! What a server answered: numbers, or why there are none.

use model::check::Measured;
use serde::Deserialize;
use serde_json::Value;

/// How much of a server's own words is told.
const MOST_CHARACTERS: usize = 300;

#[derive(Deserialize)]
struct Answer {
    status: String,
    data: Option<Data>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

/// Reads an answer of this status, with this `location`.
pub(crate) fn read(status: u16, location: Option<&str>, body: &[u8]) -> Result<Measured, String> {
    if (300..400).contains(&status) {
        let to = location.map_or_else(String::new, |to| format!(" to {}", shortened(to)));
        return Err(format!(
            "answered {status}, a redirect{to}: redirects are not followed, name the server itself"
        ));
    }
    let answer: Answer = match serde_json::from_slice(body) {
        Ok(answer) => answer,
        Err(_) if status != 200 => return Err(refusal(status, None)),
        Err(error) => return Err(format!("answered what is no answer of Prometheus: {error}")),
    };
    if status != 200 || answer.status != "success" {
        return Err(refusal(status, answer.error.as_deref()));
    }
    let data = answer.data.ok_or("answered without data")?;
    match data.result_type.as_str() {
        "scalar" => number(&data.result).map(Measured::Scalar),
        "vector" => {
            let series = data.result.as_array().ok_or("answered a vector that is no list")?;
            let values = series.iter().map(|series| number(series.get("value").unwrap_or(&Value::Null)));
            values.collect::<Result<_, _>>().map(Measured::Vector)
        }
        "matrix" => Err("the answer is a range of each series: use `rate` or `max_over_time`".to_owned()),
        other => Err(format!("the answer is a {}: ask for numbers", shortened(other))),
    }
}

fn refusal(status: u16, error: Option<&str>) -> String {
    let help = match status {
        401 | 403 => ", so check `metrics.bearerToken` or `metrics.basicAuth`",
        404 => ", so check the path in `metrics.address`",
        _ => "",
    };
    let said = error.map_or_else(String::new, |error| format!(": {}", shortened(error)));
    format!("answered {status}{help}{said}")
}

/// `[seconds, "number"]`.
fn number(pair: &Value) -> Result<f64, String> {
    let text = pair.get(1).and_then(Value::as_str);
    let number = match text {
        Some("NaN") => Some(f64::NAN),
        Some("+Inf" | "Inf") => Some(f64::INFINITY),
        Some("-Inf") => Some(f64::NEG_INFINITY),
        Some(text) => text.parse().ok(),
        None => None,
    };
    number.ok_or_else(|| "answered a value that is no number".to_owned())
}

/// On one line, and not too much of it.
fn shortened(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(MOST_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_prometheus_writes_them() {
        let vector = br#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{},"value":[1.5,"0.25"]},{"metric":{"a":"b"},"value":[1,"+Inf"]}]}}"#;
        assert_eq!(read(200, None, vector), Ok(Measured::Vector(vec![0.25, f64::INFINITY])));
        let scalar = br#"{"status":"success","data":{"resultType":"scalar","result":[1,"3"]}}"#;
        assert_eq!(read(200, None, scalar), Ok(Measured::Scalar(3.0)));
        let nan = br#"{"status":"success","data":{"resultType":"scalar","result":[1,"NaN"]}}"#;
        assert!(matches!(read(200, None, nan), Ok(Measured::Scalar(number)) if number.is_nan()));
        let empty = br#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
        assert_eq!(read(200, None, empty), Ok(Measured::Vector(vec![])));
    }

    #[test]
    fn whatever_is_no_answer_is_told() {
        let matrix = br#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
        let bad = br#"{"status":"error","errorType":"bad_data","error":"parse error"}"#;
        for (status, body, expected) in [
            (200, matrix.as_slice(), "max_over_time"),
            (400, bad, "answered 400: parse error"),
            (200, bad, "parse error"),
            (503, b"<html>", "answered 503"),
            (401, b"", "bearerToken"),
            (404, b"", "metrics.address"),
            (302, b"", "redirects are not followed"),
            (200, b"<html>", "no answer of Prometheus"),
            (200, br#"{"status":"success"}"#, "without data"),
            (200, br#"{"status":"success","data":{"resultType":"scalar","result":[1,"x"]}}"#, "no number"),
            (200, br#"{"status":"success","data":{"resultType":"vector","result":[{}]}}"#, "no number"),
            (200, br#"{"status":"success","data":{"resultType":"string","result":[1,"a"]}}"#, "a string"),
        ] {
            let error = read(status, Some("http://elsewhere/"), body).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
