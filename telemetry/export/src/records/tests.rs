//! Records that are sent on: what they say, and that none is left out.

use logs::{Line as Printed, Retention, Source};

use super::*;

fn place() -> Place {
    Place { service: "shop".parse().unwrap(), environment: "dev".parse().unwrap() }
}

fn attribute(record: &LogRecord, key: &str) -> Option<String> {
    let found = record.attributes.iter().find(|attribute| attribute.key == key)?;
    Some(format!("{:?}", found.value.as_ref()?.value.as_ref()?))
}

#[test]
fn a_record_keeps_its_severity_trace_and_fields() {
    let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let line = format!(
        r#"{{"level":"error","msg":"no answer","error.type":"Timeout","trace_id":"{trace}","span_id":"{span}","cart":17}}"#
    );
    let record = Record { number: 3, at: 1_000_001, level: Level::Error, release: 2, replica: 1, line };
    let parts = parts(&place(), &[record]);
    let about: Vec<&str> =
        parts[0].resource.as_ref().unwrap().attributes.iter().map(|it| it.key.as_str()).collect();
    let wanted = ["service.name", "service.version", "service.instance.id", "deployment.environment.name"];
    assert_eq!(about, wanted);
    let said = &parts[0].scope_logs[0].log_records[0];
    assert_eq!((said.severity_number, said.severity_text.as_str()), (17, "ERROR"));
    assert_eq!((said.time_unix_nano, said.trace_id[0], said.span_id.len()), (1_000_001_000, 0x0a, 8));
    assert_eq!(attribute(said, "error.type").unwrap(), r#"StringValue("Timeout")"#);
    assert_eq!(attribute(said, "cart").unwrap(), "IntValue(17)");
    assert_eq!(attribute(said, "log.record.uid").unwrap(), r#"StringValue("shop/dev/3")"#);
    let Some(any_value::Value::StringValue(body)) = said.body.as_ref().unwrap().value.as_ref() else {
        panic!()
    };
    assert_eq!(body, "no answer");
}

#[test]
fn a_trace_that_is_no_id_of_open_telemetry_stays_as_it_was() {
    let line = r#"{"msg":"x","trace_id":"1-5759e988-bd862e3fe1be46a994272793"}"#.to_owned();
    let record = Record { number: 0, at: 1, level: Level::Info, release: 1, replica: 1, line };
    let said = said(&place(), &record);
    assert!(said.trace_id.is_empty() && attribute(&said, "trace_id").unwrap().contains("1-5759e988"));
}

#[test]
fn batches_follow_each_other_without_a_gap() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), Retention::default()).unwrap();
    let now = 10 * FIRST_US;
    let lines: Vec<Printed> =
        (0..2000).map(|n| Printed { at: now + n % 7, text: format!("line {n}") }).collect();
    store
        .append("1/1", "m", Source { release: 1, replica: 1 }, &[Printed { at: 1, text: "old".to_owned() }])
        .unwrap();
    store.append("1/1", "n", Source { release: 1, replica: 1 }, &lines).unwrap();
    let (mut next, mut all) = (None, Vec::new());
    while next.is_none_or(|next| next < store.next()) {
        let (records, then) = read(&store, next, now);
        assert!(records.len() <= MOST_RECORDS);
        all.extend(records.into_iter().map(|record| record.number));
        next = Some(then);
    }
    assert_eq!(
        all,
        (1..=2000).collect::<Vec<u64>>(),
        "it begins with the last minutes, and goes on without a gap"
    );
}

#[test]
fn how_far_was_sent_is_known_again() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(SENT);
    assert_eq!(sent(&path), None);
    write(&path, 17).unwrap();
    assert_eq!(sent(&path), Some(17));
    fs::write(&path, "{").unwrap();
    assert_eq!(sent(&path), None, "it begins with the last minutes");
}
