//! `shipshape logs`: what the replicas print, asked of control; read from the home's files while there is no control,
//! because that is when somebody needs it most. Does not live here: where it is kept, questions about it (`search`), and what Shipshape says of
//! itself (`platform`).

mod platform;
pub(crate) mod search;

use std::path::PathBuf;
use std::time::Duration;

use api::logs::{Ask, Format, Line};
use logs::Redactor;
use model::ReleaseNumber;
use process::logs::Follow;

use crate::Done;
use crate::context::Context;
use crate::failure::Failure;
use crate::printer::Paint;

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Show what the replicas print, or what Shipshape says of itself.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shipshape logs -e production -f
  shipshape logs -n 20 --release 3 --replica 1
  shipshape logs --level error --since 10m
  shipshape logs --all --since 1d --output json > records.jsonl
  shipshape logs --since 1h --where error.type=Timeout --group-by release
  shipshape logs --platform --level warn --since 1h
  shipshape logs --platform -f --where event=auth.refused")]
pub(crate) struct Args {
    /// Go on with what is written from now on
    #[arg(short = 'f', long)]
    follow: bool,
    /// The last lines of each replica; with a question, the last records or the most frequent groups
    #[arg(short = 'n', long, value_name = "LINES", default_value_t = 100)]
    lines: usize,
    /// Of this release alone
    #[arg(long, value_name = "NUMBER")]
    release: Option<u64>,
    /// Of the replica with this number alone
    #[arg(long, value_name = "NUMBER")]
    replica: Option<u32>,
    /// What control and agent say of themselves, whether they live or not
    #[arg(long, conflicts_with_all = ["release", "replica"])]
    platform: bool,
    #[command(flatten)]
    question: search::Question,
    /// The manifest
    // The same as everywhere, but without the short form: here -f follows, as users of `tail` expect.
    #[arg(
        id = "file",
        long = "file",
        env = "SHIPSHAPE_FILE",
        value_name = "PATH",
        default_value = "shipshape.yaml",
        help_heading = "Everywhere"
    )]
    _file: PathBuf,
}

pub(crate) async fn run(args: Args, context: &Context<'_>) -> Result<Done, Failure> {
    if args.platform {
        let most = if args.question.all { usize::MAX } else { args.lines };
        return platform::run(args.question.query(most), args.follow, context).await;
    }
    if args.question.asks() {
        let of = (args.release, args.replica, args.lines, args.follow);
        return search::run(args.question, of, context).await;
    }
    let place = context.place()?;
    let ask = Ask {
        service: place.service,
        environment: place.environment,
        release: args.release.map(ReleaseNumber),
        replica: args.replica,
        lines: Some(args.lines),
        follow: args.follow,
        format: Format::Json,
    };
    let mut output = match context.client.logs(&ask).await {
        Ok(output) => output,
        Err(error) if error.is_absence() && context.is_here() => {
            context.printer.talk("control does not answer; this is what the files of its home hold");
            return from_files(&ask, context).await;
        }
        Err(error) => return Err(error.into()),
    };
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
        show(context, &std::mem::replace(&mut held, rest));
        if context.printer.is_closed() {
            return Ok(Done::Well);
        }
    }
}

async fn from_files(ask: &Ask, context: &Context<'_>) -> Result<Done, Failure> {
    let failed = |error| Failure::new(format!("the output of the replicas cannot be read: {error}"));
    let lines = ask.lines.unwrap_or_default().min(api::logs::MOST_LINES);
    let (mut follow, last) = Follow::new(&context.home, &ask.place(), ask.release, lines).map_err(failed)?;
    let redactor = redactor(ask, context)?;
    show(context, &written(ask, &redactor, last));
    while ask.follow && !context.printer.is_closed() {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = tokio::signal::ctrl_c() => break,
        }
        show(context, &written(ask, &redactor, follow.poll().map_err(failed)?));
    }
    Ok(Done::Well)
}

/// Which values are secret only control knows; what looks like a credential is one all the same, and so is what the manifest at hand
/// names.
fn redactor(ask: &Ask, context: &Context<'_>) -> Result<Redactor, Failure> {
    let manifest = context.manifest().ok().filter(|manifest| *manifest.service() == ask.service);
    let spec = manifest.as_ref().and_then(|manifest| manifest.spec(&ask.environment));
    let texts = spec.into_iter().flat_map(|spec| &spec.records.redact);
    let patterns = texts.map(|text| logs::pattern(text)).collect::<Result<Vec<_>, _>>();
    Redactor::new([], patterns.map_err(Failure::new)?).map_err(Failure::new)
}

/// As control would send them.
fn written(ask: &Ask, redactor: &Redactor, lines: Vec<process::logs::Line>) -> Vec<u8> {
    let mut text = Vec::new();
    for line in lines.into_iter().filter(|line| ask.replica.is_none_or(|wanted| wanted == line.ordinal)) {
        let line = Line {
            release: line.release,
            replica: line.ordinal,
            line: redactor.redact(&String::from_utf8_lossy(&line.bytes)).into_owned(),
        };
        // Plain data; a vector takes everything.
        serde_json::to_writer(&mut text, &line).unwrap_or_default();
        text.push(b'\n');
    }
    text
}

fn show(context: &Context<'_>, lines: &[u8]) {
    let printer = context.printer;
    if printer.is_json() {
        printer.bytes(lines);
        return;
    }
    let mut text = String::new();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if let Ok(Line { release, replica, line }) = serde_json::from_slice(line) {
            let who = printer.paint(Paint::Faint, &format!("{release}/{replica}"));
            text.push_str(&format!("{who} {line}\n"));
        }
    }
    printer.bytes(text.as_bytes());
}
