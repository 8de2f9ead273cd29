//! `shipshape logs` with a question: the records made of the output, asked of control; read from its stores while there is no
//! control. Does not live here: the output as it is (the verb itself).

use api::records::{Answer, Ask, Line, moment};
use logs::{Condition, Counted, Keep, Level, Limits, Query, Store};

use crate::Done;
use crate::context::Context;
use crate::failure::Failure;
use crate::printer::Paint;

/// Records that are asked for at once when every one is wanted.
const PIECE: usize = 10_000;

/// A question.
#[derive(Debug, clap::Args)]
pub(crate) struct Question {
    /// As grave as this or graver: trace, debug, info, warn, error or fatal
    #[arg(long, value_name = "LEVEL", help_heading = "Records")]
    pub(crate) level: Option<Level>,
    /// Not before this moment, or not longer ago
    #[arg(long, value_name = "AGO|TIME", value_parser = moment, help_heading = "Records")]
    pub(crate) since: Option<i64>,
    /// Before this moment
    #[arg(long, value_name = "AGO|TIME", value_parser = moment, help_heading = "Records")]
    pub(crate) until: Option<i64>,
    /// A field that must be so: FIELD=VALUE, FIELD!=VALUE, FIELD~PATTERN or FIELD!~PATTERN; may be given several times
    #[arg(long = "where", value_name = "CONDITION", help_heading = "Records")]
    pub(crate) conditions: Vec<Condition>,
    /// A text that must be in it; may be given several times
    #[arg(long, value_name = "TEXT", help_heading = "Records")]
    pub(crate) text: Vec<String>,
    /// Count by this field instead of showing; may be given several times
    #[arg(long, value_name = "FIELD", help_heading = "Records", conflicts_with = "follow")]
    pub(crate) group_by: Vec<String>,
    /// The first instead of the last
    #[arg(long, help_heading = "Records", conflicts_with = "follow")]
    pub(crate) oldest: bool,
    /// Every one of them, the first first: nothing is left out, however many there are
    #[arg(long, help_heading = "Records", conflicts_with_all = ["follow", "oldest", "group_by"])]
    pub(crate) all: bool,
}

impl Question {
    /// Whether anything is asked that the bare output does not answer.
    pub(crate) fn asks(&self) -> bool {
        let Self { level, since, until, conditions, text, group_by, oldest, all } = self;
        level.is_some()
            || since.is_some()
            || until.is_some()
            || !(conditions.is_empty() && text.is_empty() && group_by.is_empty())
            || *oldest
            || *all
    }

    /// What is asked, of so many lines at most.
    pub(super) fn query(self, lines: usize) -> Query {
        let Self { level, since, until, conditions, text, group_by, oldest, all } = self;
        Query {
            from: since,
            until,
            level,
            release: None,
            replica: None,
            conditions,
            text,
            group_by,
            oldest: oldest || all,
            after: None,
            most: lines,
        }
    }
}

pub(crate) async fn run(
    question: Question,
    (release, replica, lines, follow): (Option<u64>, Option<u32>, usize, bool),
    context: &Context<'_>,
) -> Result<Done, Failure> {
    let all = question.all;
    let query = Query { release, replica, ..question.query(if all { PIECE } else { lines }) };
    let ask = Ask { place: context.place()?, query, follow: false };
    if all {
        return export(ask, context).await;
    }
    let answer = match context.client.search(&ask).await {
        Ok(answer) => answer,
        Err(error) if error.is_absence() && context.is_here() => {
            context
                .printer
                .talk("control does not answer; these are the records that it had made when it ended");
            from_store(&ask, context)?
        }
        Err(error) => return Err(error.into()),
    };
    show(context, &ask, &answer);
    if !follow {
        return Ok(if answer.damaged > 0 { Done::Badly } else { Done::Well });
    }
    let query = Query { after: Some(answer.next), ..ask.query };
    let mut output = context.client.follow_records(&Ask { query, follow: true, ..ask }).await?;
    let mut held = Vec::new();
    loop {
        let piece = tokio::select! {
            piece = output.next() => piece?,
            _ = tokio::signal::ctrl_c() => return Ok(Done::Well),
        };
        let Some(piece) = piece else { return Ok(Done::Well) };
        held.extend_from_slice(&piece);
        let Some(end) = held.iter().rposition(|byte| *byte == b'\n') else { continue };
        let rest = held.split_off(end + 1);
        for line in std::mem::replace(&mut held, rest).split(|byte| *byte == b'\n') {
            if let Ok(line) = serde_json::from_slice(line) {
                one(context, &line);
            }
        }
        if context.printer.is_closed() {
            return Ok(Done::Well);
        }
    }
}

/// Prints every record, piece by piece.
async fn export(mut ask: Ask, context: &Context<'_>) -> Result<Done, Failure> {
    let (mut damaged, mut alone) = (0, false);
    loop {
        let answer = match context.client.search(&ask).await {
            Err(error) if error.is_absence() && context.is_here() => {
                if !alone {
                    let what =
                        "control does not answer; these are the records that it had made when it ended";
                    context.printer.talk(what);
                }
                alone = true;
                from_store(&ask, context)?
            }
            answer => answer?,
        };
        answer.records.iter().for_each(|line| one(context, line));
        damaged = answer.damaged.max(damaged);
        let is_whole = answer.cut.is_none() && answer.records.len() < ask.query.most;
        if context.printer.is_closed() || is_whole {
            break;
        }
        let Some(behind) = answer.records.iter().map(|line| line.number + 1).max() else {
            let cut = answer.cut.unwrap_or_default();
            return Err(Failure::new(format!("not all could be read: {cut}")));
        };
        ask.query.after = Some(behind);
    }
    if damaged > 0 {
        let what = format!("{damaged} blocks of records are damaged and left out; control's log names them");
        context.printer.talk(&what);
        return Ok(Done::Badly);
    }
    Ok(Done::Well)
}

fn from_store(ask: &Ask, context: &Context<'_>) -> Result<Answer, Failure> {
    let (service, environment) = (ask.place.service.as_str(), ask.place.environment.as_str());
    let folder = Keep::folder(&crate::home::records(&context.home), service, environment);
    if !folder.is_dir() {
        return Err(Failure::new(format!("there are no records of {}", ask.place))
            .instead("`shipshape up` starts control, which makes them; without a question, `logs` shows the bare output"));
    }
    let store = Store::look(&folder).map_err(|error| Failure::new(error.to_string()))?;
    Ok(store.search(&ask.query, &Limits::default()).into())
}

fn show(context: &Context<'_>, ask: &Ask, answer: &Answer) {
    let printer = context.printer;
    for line in &answer.records {
        one(context, line);
    }
    groups(context, &ask.query.group_by, &answer.groups);
    if let Some(cut) = &answer.cut {
        printer.talk(&format!("this is not all: {cut}"));
    }
    if answer.damaged > 0 {
        printer.talk(&format!(
            "{} blocks of records are damaged and left out; control's log names them",
            answer.damaged
        ));
    }
    if answer.records.is_empty() && answer.groups.is_empty() && !printer.is_json() {
        printer.talk("no record is like that");
    }
}

/// Prints how many have which values.
pub(super) fn groups(context: &Context<'_>, by: &[String], groups: &[Counted]) {
    let printer = context.printer;
    for group in groups {
        if printer.is_json() {
            let values: serde_json::Map<String, serde_json::Value> =
                by.iter().cloned().zip(group.values.iter().cloned().map(Into::into)).collect();
            let text = serde_json::json!({"count": group.count, "values": values}).to_string();
            printer.bytes(format!("{text}\n").as_bytes());
            continue;
        }
        let values: Vec<&str> =
            group.values.iter().map(|value| if value.is_empty() { "-" } else { value.as_str() }).collect();
        printer.bytes(format!("{:>9}  {}\n", group.count, values.join("  ")).as_bytes());
    }
}

fn one(context: &Context<'_>, line: &Line) {
    let printer = context.printer;
    if printer.is_json() {
        // Plain data.
        let text = serde_json::to_string(line).unwrap_or_default();
        printer.bytes(format!("{text}\n").as_bytes());
        return;
    }
    let Line { at, level, release, replica, line, .. } = line;
    let who = printer.paint(Paint::Faint, &format!("{at} {release}/{replica}"));
    let level = if *level >= Level::Error {
        printer.paint(Paint::Bad, &format!("{level:<5}"))
    } else {
        format!("{level:<5}")
    };
    printer.bytes(format!("{who} {level} {line}\n").as_bytes());
}
