//! What a server answered: numbers or samples, or why there are none.

use std::collections::BTreeMap;

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

/// The samples of a series: times in milliseconds since 1970, ascending, and values.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// The labels of the series, its name among them.
    pub labels: BTreeMap<String, String>,
    /// Each time with its value.
    pub points: Vec<(i64, f64)>,
}

#[derive(Deserialize)]
struct Row {
    metric: BTreeMap<String, String>,
    values: Vec<Value>,
}

/// What was asked for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Data {
    result_type: String,
    result: Value,
}

/// Reads an answer of this status, with this `location`.
pub(crate) fn read(status: u16, location: Option<&str>, body: &[u8]) -> Result<Data, String> {
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
    answer.data.ok_or_else(|| "answered without data".to_owned())
}

/// As numbers.
pub(crate) fn numbers(data: &Data) -> Result<Measured, String> {
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

/// A series without its name: its labels and its value.
pub type Valued = (BTreeMap<String, String>, f64);

/// As series; a scalar is one without labels.
pub(crate) fn series(data: &Data) -> Result<Vec<Valued>, String> {
    if data.result_type != "vector" {
        return match numbers(data)? {
            Measured::Scalar(value) => Ok(vec![(BTreeMap::new(), value)]),
            Measured::Vector(_) => Err("answered a vector that is none".to_owned()),
        };
    }
    let all = data.result.as_array().ok_or("answered a vector that is no list")?;
    let one = |series: &Value| {
        let metric = series.get("metric").and_then(Value::as_object).into_iter().flatten();
        let label = |(name, value): (&String, &Value)| {
            let value = value.as_str().filter(|_| name != "__name__")?;
            Some((name.clone(), value.to_owned()))
        };
        Ok((metric.filter_map(label).collect(), number(series.get("value").unwrap_or(&Value::Null))?))
    };
    all.iter().map(one).collect()
}

/// As the samples of a range.
pub(crate) fn samples(data: Data) -> Result<Vec<Samples>, String> {
    if data.result_type != "matrix" {
        return Err(format!("answered a {} where samples were asked for", shortened(&data.result_type)));
    }
    let rows: Vec<Row> = serde_json::from_value(data.result)
        .map_err(|error| format!("answered a range that is none: {}", shortened(&error.to_string())))?;
    let point = |pair: &Value| {
        let seconds = pair.get(0).and_then(Value::as_f64).filter(|seconds| seconds.is_finite());
        let seconds = seconds.ok_or("answered a time that is none")?;
        Ok(((seconds * 1_000.0).round() as i64, number(pair)?))
    };
    let series = rows.into_iter().map(|Row { metric, values }| {
        let points: Result<Vec<_>, String> = values.iter().map(point).collect();
        Ok(Samples { labels: metric, points: points? })
    });
    series.collect()
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
    fn samples_are_read_with_their_times_and_labels() {
        let range = br#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"__name__":"a","b":"c"},"values":[[1.25,"0"],[2,"7.5"]]}]}}"#;
        let labels =
            BTreeMap::from([("__name__".to_owned(), "a".to_owned()), ("b".to_owned(), "c".to_owned())]);
        let found = samples(super::read(200, None, range).unwrap());
        assert_eq!(found, Ok(vec![Samples { labels, points: vec![(1_250, 0.0), (2_000, 7.5)] }]));
        let vector = br#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
        assert!(
            samples(super::read(200, None, vector).unwrap()).unwrap_err().contains("a vector where samples")
        );
        let broken = br#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[["x","1"]]}]}}"#;
        assert!(samples(super::read(200, None, broken).unwrap()).is_err());
    }

    #[test]
    fn series_come_with_their_labels_but_for_the_name() {
        let of = |body: &[u8]| super::read(200, None, body).and_then(|data| series(&data));
        let vector = br#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"__name__":"up","a":"b"},"value":[1.5,"0.25"]},{"metric":{},"value":[1,"3"]}]}}"#;
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        assert_eq!(of(vector), Ok(vec![(labels, 0.25), (BTreeMap::new(), 3.0)]));
        let scalar = br#"{"status":"success","data":{"resultType":"scalar","result":[1,"3"]}}"#;
        assert_eq!(of(scalar), Ok(vec![(BTreeMap::new(), 3.0)]));
        let matrix = br#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
        assert!(of(matrix).unwrap_err().contains("max_over_time"));
    }

    fn read(status: u16, location: Option<&str>, body: &[u8]) -> Result<Measured, String> {
        numbers(&super::read(status, location, body)?)
    }

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
