//! The store against a slow list, and against crashes at every byte.

use proptest::prelude::*;

use super::*;
use crate::columns::Record;

const REPLICA: Source = Source { release: 1, replica: 1 };

fn line(at: i64, text: &str) -> Line {
    Line { at, text: text.to_owned() }
}

fn open(folder: &Path) -> Store {
    Store::open(folder, Retention::default()).unwrap()
}

fn all(store: &Store) -> Vec<Record> {
    let mut records =
        store.search(&Query { most: usize::MAX, ..Query::default() }, &Limits::default()).records;
    records.sort_by_key(|record| record.number);
    records
}

fn texts(store: &Store) -> Vec<String> {
    all(store).into_iter().map(|record| record.line).collect()
}

/// A line of a service: JSON or text, with few different values.
fn lines() -> impl Strategy<Value = Vec<(i64, String)>> {
    let object = (0usize..4, 0u32..4, "[a-c ]{0,6}").prop_map(|(level, kind, message)| {
        let level = ["debug", "info", "warn", "error"][level];
        format!(r#"{{"level":"{level}","error":{{"type":"E{kind}"}},"msg":"{message}","n":{kind}}}"#)
    });
    let text = "(INFO|ERROR|) ?[a-c]{0,3} [a-c]{1,3} [x-z]{0,3}";
    proptest::collection::vec((0i64..1000, prop_oneof![object, text.prop_map(|text: String| text)]), 0..30)
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<(i64, String)>, u64, u32),
    Flush,
    Seal,
    Tidy,
    Reopen,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (lines(), 1u64..3, 1u32..3).prop_map(|(lines, release, replica)| Step::Append(lines, release, replica)),
        1 => Just(Step::Flush),
        2 => Just(Step::Seal),
        1 => Just(Step::Tidy),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ];
    proptest::collection::vec(step, 0..25)
}

fn queries() -> impl Strategy<Value = Query> {
    let level = proptest::option::of(prop_oneof![Just(Level::Warn), Just(Level::Error), Just(Level::Info)]);
    let condition = prop_oneof![
        Just("error.type=E1"),
        Just("error.type!=E1"),
        Just("n=2"),
        Just("msg~^a"),
        Just("level=info"),
        Just("msg=ab"),
        Just("absent="),
        Just("release!~2"),
    ];
    let text = proptest::option::of("[a-c]{1,2}|[a-c] [a-c]{1,2} ");
    let window = (proptest::option::of(0i64..1000), proptest::option::of(0i64..1000));
    (level, proptest::option::of(condition), text, window, any::<bool>(), proptest::option::of(1u64..3))
        .prop_map(|(level, condition, text, (from, until), oldest, release)| Query {
            from,
            until,
            level,
            release,
            conditions: condition.into_iter().map(|text| text.parse().unwrap()).collect(),
            text: text.into_iter().collect(),
            oldest,
            most: usize::MAX,
            ..Query::default()
        })
}

/// Whether a record is asked for, understood slowly.
fn wanted(record: &Record, query: &Query) -> bool {
    let fields: BTreeMap<String, String> = {
        let mut fields = BTreeMap::new();
        crate::fields::walk(&record.line, &mut |path, value| {
            drop(fields.insert(path.to_owned(), value.text().into_owned()))
        });
        fields.insert("level".to_owned(), record.level.to_string());
        fields.insert("release".to_owned(), record.release.to_string());
        fields
    };
    query.from.is_none_or(|from| record.at >= from)
        && query.until.is_none_or(|until| record.at < until)
        && query.level.is_none_or(|level| record.level >= level)
        && query.release.is_none_or(|release| record.release == release)
        && query.text.iter().all(|text| record.line.contains(text))
        && query.conditions.iter().all(|condition| {
            let value = fields.get(&condition.field).map_or("", String::as_str);
            match &condition.test {
                crate::query::Test::Is(wanted) => value == wanted,
                crate::query::Test::IsNot(unwanted) => value != unwanted,
                crate::query::Test::Matches(pattern) => pattern.is_match(value),
                crate::query::Test::MatchesNot(pattern) => !pattern.is_match(value),
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_store_answers_as_a_list_would(steps in steps(), asked in proptest::collection::vec(queries(), 1..6)) {
        let home = tempfile::tempdir().unwrap();
        let mut store = open(home.path());
        let (mut list, mut durable): (Vec<Record>, usize) = (Vec::new(), 0);
        for step in steps {
            match step {
                Step::Append(lines, release, replica) => {
                    let source = Source { release, replica };
                    let kept: Vec<Line> = lines.iter().map(|(at, text)| line(*at, text)).collect();
                    store.append("a", &(list.len() + kept.len()).to_string(), source, &kept).unwrap();
                    for (at, text) in lines {
                        let level = parse(&text, |_, _| {}).level.unwrap_or(Level::Unknown);
                        list.push(Record { number: list.len() as u64, at, level, release, replica, line: text });
                    }
                }
                Step::Flush => store.flush().unwrap(),
                Step::Seal => store.inner().seal(home.path()).unwrap(),
                Step::Tidy => store.tidy(0).unwrap(),
                Step::Reopen => {
                    store.flush().unwrap();
                    drop(store);
                    store = open(home.path());
                }
                Step::Crash => {
                    drop(store);
                    store = open(home.path());
                    list.truncate(durable);
                }
            }
            durable = match step_is_durable(&store, list.len()) { true => list.len(), false => durable };
            let mark = store.marks().get("a").and_then(|mark| mark.parse().ok()).unwrap_or(0);
            prop_assert_eq!(list.len(), mark, "what was read and what is there belong together");
        }
        prop_assert_eq!(all(&store), list.clone());
        for query in asked {
            let mut expected: Vec<Record> = list.iter().filter(|record| wanted(record, &query)).cloned().collect();
            expected.sort_by_key(|record| (record.at, record.number));
            let found = store.search(&query, &Limits::default());
            prop_assert_eq!(&found.records, &expected, "{:?}", query);
            let grouped = Query { group_by: vec!["level".to_owned()], ..query.clone() };
            let sum: u64 = store.search(&grouped, &Limits::default()).groups.iter().map(|group| group.count).sum();
            prop_assert_eq!(sum, expected.len() as u64);
            let few = Query { most: 3, ..query.clone() };
            let found = store.search(&few, &Limits::default()).records;
            let mut by_number: Vec<u64> = expected.iter().map(|record| record.number).collect();
            by_number.sort_unstable();
            if !query.oldest { by_number.reverse(); }
            by_number.truncate(3);
            by_number.sort_unstable();
            let mut numbers: Vec<u64> = found.iter().map(|record| record.number).collect();
            numbers.sort_unstable();
            prop_assert_eq!(numbers, by_number);
        }
        let counted: u64 = store.counts().values().flatten().sum();
        prop_assert_eq!(counted, list.len() as u64, "each record is counted once");
    }
}

/// Whether nothing waits to be written.
fn step_is_durable(store: &Store, _all: usize) -> bool {
    store.inner().wal.as_ref().is_some_and(|wal| !wal.is_waiting())
}

/// A folder with two blocks and two batches behind them, one line a number.
fn filled(folder: &Path) -> Store {
    let store = open(folder);
    for n in 0..8 {
        store.append("a", &(n + 1).to_string(), REPLICA, &[line(n, &format!("line {n}"))]).unwrap();
        if n == 2 || n == 5 {
            store.inner().seal(folder).unwrap();
        }
        store.flush().unwrap();
    }
    store
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// Reads on from the mark, as whoever feeds the store does, and expects each line once.
fn goes_on(folder: &Path) {
    let store = open(folder);
    let mark = store.marks().get("a").map_or(0, |mark| mark.parse::<i64>().unwrap());
    assert_eq!(texts(&store), (0..mark).map(|n| format!("line {n}")).collect::<Vec<_>>());
    for n in mark..10 {
        store.append("a", &(n + 1).to_string(), REPLICA, &[line(n, &format!("line {n}"))]).unwrap();
    }
    store.flush().unwrap();
    drop(store);
    let store = open(folder);
    assert_eq!(texts(&store), (0..10).map(|n| format!("line {n}")).collect::<Vec<_>>());
    assert_eq!(store.counts()[&1].iter().sum::<u64>(), 10);
}

#[test]
fn a_crash_at_any_byte_of_the_newest_batches_loses_and_doubles_nothing() {
    let home = tempfile::tempdir().unwrap();
    drop(filled(home.path()));
    let length = fs::metadata(home.path().join(WAL)).unwrap().len();
    assert!(length > 40);
    for keep in 0..length {
        let crashed = tempfile::tempdir().unwrap();
        copy(home.path(), crashed.path());
        fs::File::options().write(true).open(crashed.path().join(WAL)).unwrap().set_len(keep).unwrap();
        goes_on(crashed.path());
    }
}

#[test]
fn a_crash_at_any_byte_of_a_block_loses_and_doubles_nothing() {
    let home = tempfile::tempdir().unwrap();
    let store = filled(home.path());
    let before = tempfile::tempdir().unwrap();
    copy(home.path(), before.path());
    store.inner().seal(home.path()).unwrap();
    drop(store);
    let segment = home.path().join(format!("segment-{:020}", 0));
    let bytes = fs::read(&segment).unwrap();
    let begin = fs::metadata(before.path().join(segment.file_name().unwrap())).unwrap().len() as usize;
    for keep in begin..=bytes.len() {
        let crashed = tempfile::tempdir().unwrap();
        copy(before.path(), crashed.path());
        fs::write(crashed.path().join(segment.file_name().unwrap()), &bytes[..keep]).unwrap();
        goes_on(crashed.path());
    }
}

#[test]
fn a_damaged_block_is_left_out_and_said_and_its_neighbours_are_found() {
    let home = tempfile::tempdir().unwrap();
    drop(filled(home.path()));
    let segment = home.path().join(format!("segment-{:020}", 0));
    let whole = fs::read(&segment).unwrap();
    for at in [3, 20, 200, 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        fs::write(&segment, &bytes).unwrap();
        let store = open(home.path());
        let found = store.search(&Query { most: 100, ..Query::default() }, &Limits::default());
        assert!(found.records.iter().any(|record| record.line == "line 4"));
        assert!(found.records.iter().any(|record| record.line == "line 7"));
        drop(store);
    }
}

#[test]
fn retention_lets_the_oldest_go_and_forgets_no_mark_and_no_number() {
    let home = tempfile::tempdir().unwrap();
    let retention = Retention { bytes: 1 << 20, age: Duration::from_secs(80) };
    let store = Store::open(home.path(), retention).unwrap();
    for n in 0..20i64 {
        store.append("a", &n.to_string(), REPLICA, &[line(n * 10_000_000, &format!("line {n}"))]).unwrap();
        store.tidy(n * 10_000_000).unwrap();
    }
    let kept = texts(&store);
    assert!(kept.len() < 12 && kept.last().unwrap() == "line 19", "{kept:?}");
    store.tidy(1_000_000_000).unwrap();
    store.tidy(2_000_000_000).unwrap();
    assert_eq!(store.bytes(), 0);
    drop(store);
    let store = Store::open(home.path(), retention).unwrap();
    assert_eq!((store.marks()["a"].as_str(), store.next()), ("19", 20));
    assert_eq!(store.counts()[&1].iter().sum::<u64>(), 20);
}

#[test]
fn a_store_keeps_within_its_bytes() {
    let home = tempfile::tempdir().unwrap();
    let store =
        Store::open(home.path(), Retention { bytes: 64 << 10, age: Duration::from_secs(1000) }).unwrap();
    let mut seed = 1u64;
    for n in 0..60 {
        let text: String = (0..400)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                format!("{:x}", seed >> 32)
            })
            .collect();
        store.append("a", "x", REPLICA, &[line(n, &text)]).unwrap();
        store.inner().seal(home.path()).unwrap();
        store.tidy(n).unwrap();
        assert!(store.bytes() <= 64 << 10);
    }
    assert!(texts(&store).len() > 5);
}

#[test]
fn a_question_says_when_it_was_cut() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let lines: Vec<Line> = (0..2000).map(|n| line(n, &format!(r#"{{"id":"{n}"}}"#))).collect();
    store.append("a", "x", REPLICA, &lines).unwrap();
    let query = Query { most: 5000, ..Query::default() };
    let limits = Limits { bytes: 100, ..Limits::default() };
    assert!(store.search(&query, &limits).cut.unwrap().contains("MiB"));
    let limits = Limits { time: Duration::ZERO, ..Limits::default() };
    assert!(store.search(&query, &limits).cut.unwrap().contains("longer than"));
    let grouped = Query { group_by: vec!["id".to_owned()], ..query };
    let limits = Limits { groups: 10, ..Limits::default() };
    assert!(store.search(&grouped, &limits).cut.unwrap().contains("more than 10 groups"));
    let few = Query { most: 3, ..grouped };
    assert!(store.search(&few, &Limits::default()).cut.unwrap().contains("most frequent"));
}

#[test]
fn another_may_look_while_it_is_open() {
    let home = tempfile::tempdir().unwrap();
    let store = filled(home.path());
    let looked = Store::look(home.path()).unwrap();
    assert_eq!(texts(&looked), texts(&store));
    looked.append("a", "99", REPLICA, &[line(1, "no")]).unwrap();
    looked.flush().unwrap();
    assert_eq!(open(home.path()).marks()["a"], "8");
}

#[test]
fn a_line_that_is_too_long_says_what_is_missing() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    store.append("a", "1", REPLICA, &[line(1, &"é".repeat(LONGEST_RECORD))]).unwrap();
    assert!(texts(&store)[0].ends_with("[shipshape: 65536 bytes of this line are left out]"));
}
