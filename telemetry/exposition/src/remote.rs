//! Remote write 1.0: what Prometheus and other agents send, as protobuf in snappy's block format.

use promql::labels::NAME;
use promql::{Labels, Point, Series};
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// What a message may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes after decompression.
    pub bytes: usize,
    /// Samples.
    pub samples: usize,
    /// Series, labels and samples together: an empty one takes two bytes of the message and 72 of memory.
    pub parts: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 16 << 20, samples: 200_000, parts: 1_000_000 }
    }
}

/// Why a message is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not snappy's block format.
    #[error("the body is not compressed in snappy's block format: {0}")]
    Compression(String),
    /// It is not a write request.
    #[error("the body is no remote-write 1.0 message: {0}")]
    Message(String),
    /// It holds more than it may.
    #[error("the body holds more than {0}")]
    TooMuch(String),
    /// A series makes no sense.
    #[error("the series {series}: {what}")]
    Series {
        /// Which.
        series: String,
        /// What.
        what: String,
    },
}

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(bytes = "vec", repeated, tag = "4")]
    histograms: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

/// A message's series, and how many native histograms were left out.
///
/// # Errors
/// When it cannot be read, or holds more than the limits allow.
pub fn read(body: &[u8], limits: &Limits) -> Result<(Vec<Series>, usize), Error> {
    let length = snap::raw::decompress_len(body).map_err(|error| Error::Compression(error.to_string()))?;
    if length > limits.bytes {
        return Err(Error::TooMuch(format!("{} bytes", limits.bytes)));
    }
    let bytes = snap::raw::Decoder::new().decompress_vec(body);
    let bytes = bytes.map_err(|error| Error::Compression(error.to_string()))?;
    if parts(&bytes)? > limits.parts {
        return Err(Error::TooMuch(format!("{} series, labels and samples", limits.parts)));
    }
    let request =
        WriteRequest::decode(bytes.as_slice()).map_err(|error| Error::Message(error.to_string()))?;
    let samples: usize = request.timeseries.iter().map(|series| series.samples.len()).sum();
    if samples > limits.samples {
        return Err(Error::TooMuch(format!("{} samples", limits.samples)));
    }
    let histograms = request.timeseries.iter().map(|series| series.histograms.len()).sum();
    let series = request.timeseries.into_iter().filter(|series| !series.samples.is_empty()).map(series);
    Ok((series.collect::<Result<_, _>>()?, histograms))
}

/// How many series, and labels, samples and histograms in them, a message would become.
fn parts(message: &[u8]) -> Result<usize, Error> {
    let mut parts = 0;
    each_field(message, |tag, series| {
        if tag != 1 {
            return Ok(());
        }
        parts += 1;
        each_field(series, |_, _| {
            parts += 1;
            Ok(())
        })
    })?;
    Ok(parts)
}

/// Goes over the fields that have a length.
fn each_field<'a>(
    mut message: &'a [u8],
    mut each: impl FnMut(u32, &'a [u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let wrong = |error: prost::DecodeError| Error::Message(error.to_string());
    while !message.is_empty() {
        let (tag, wire) = decode_key(&mut message).map_err(wrong)?;
        if wire != WireType::LengthDelimited {
            skip_field(wire, tag, &mut message, DecodeContext::default()).map_err(wrong)?;
            continue;
        }
        let length = decode_varint(&mut message).map_err(wrong)?;
        let inner = usize::try_from(length).ok().and_then(|length| message.split_at_checked(length));
        let (inner, rest) = inner.ok_or_else(|| Error::Message("a field is cut off".to_owned()))?;
        each(tag, inner)?;
        message = rest;
    }
    Ok(())
}

fn series(from: TimeSeries) -> Result<Series, Error> {
    let labels = Labels::new(from.labels.iter().map(|label| (label.name.as_str(), label.value.as_str())));
    let fail = |what: &str| Error::Series { series: labels.to_string(), what: what.to_owned() };
    if labels.get(NAME).is_empty() {
        return Err(fail("it has no name"));
    }
    let given = from.labels.iter().filter(|label| !label.value.is_empty()).count();
    if labels.iter().count() != given {
        return Err(fail("a label is there twice"));
    }
    let mut points: Vec<Point> =
        from.samples.iter().map(|sample| Point { at: sample.timestamp, value: sample.value }).collect();
    points.sort_by_key(|point| point.at);
    Ok(Series { labels, points })
}

/// A message of these series, as [`read`] takes it.
pub fn write(series: &[Series]) -> Vec<u8> {
    let label = |(name, value): &promql::Label| Label { name: name.to_string(), value: value.to_string() };
    let timeseries = series.iter().map(|series| TimeSeries {
        labels: series.labels.iter().map(label).collect(),
        samples: series.points.iter().map(|it| Sample { value: it.value, timestamp: it.at }).collect(),
        histograms: vec![],
    });
    let bytes = WriteRequest { timeseries: timeseries.collect() }.encode_to_vec();
    // It only fails above 4 GiB, which no caller comes near.
    snap::raw::Encoder::new().compress_vec(&bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(labels: &[(&str, &str)]) -> Vec<Series> {
        let points = vec![Point { at: 1, value: 2.0 }, Point { at: 5, value: promql::STALE }];
        vec![Series { labels: Labels::new(labels.iter().copied()), points }]
    }

    #[test]
    fn what_was_sent_is_read_to_the_bit() {
        let sent = one(&[(NAME, "up"), ("job", "x")]);
        let (received, histograms) = read(&write(&sent), &Limits::default()).unwrap();
        assert_eq!((received[0].labels.to_string(), histograms), ("up{job=\"x\"}".to_owned(), 0));
        assert!(promql::is_stale(received[0].points[1].value));
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_unpacked() {
        let limits = Limits { bytes: 1000, samples: 1, parts: 100 };
        let bomb = snap::raw::Encoder::new().compress_vec(&vec![0; 1 << 20]).unwrap();
        assert_eq!(read(&bomb, &limits), Err(Error::TooMuch("1000 bytes".into())));
        assert_eq!(read(&write(&one(&[(NAME, "up")])), &limits), Err(Error::TooMuch("1 samples".into())));
        assert!(matches!(read(&write(&one(&[("a", "b")])), &Limits::default()), Err(Error::Series { .. })));
        assert!(matches!(
            read(b"not snappy at all", &limits),
            Err(Error::Compression(_) | Error::TooMuch(_))
        ));
    }

    #[test]
    fn a_message_of_many_empty_parts_is_refused_before_it_is_taken_apart() {
        let limits = Limits { bytes: 1 << 20, samples: 10, parts: 1000 };
        let refused = Err(Error::TooMuch("1000 series, labels and samples".into()));
        let series = snap::raw::Encoder::new().compress_vec(&[10, 0].repeat(1001)).unwrap();
        assert_eq!(read(&series, &limits), refused);
        let labels: Vec<u8> = [vec![10, 0xd0, 0x0f], [10, 0].repeat(1000)].concat();
        let labels = snap::raw::Encoder::new().compress_vec(&labels).unwrap();
        assert_eq!(read(&labels, &limits), refused);
        assert_eq!(
            read(&snap::raw::Encoder::new().compress_vec(&[10, 0].repeat(1000)).unwrap(), &limits),
            Ok((vec![], 0))
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes, &Limits::default());
            let packed = snap::raw::Encoder::new().compress_vec(&bytes).unwrap();
            let _ = read(&packed, &Limits::default());
        }
    }
}
