//! `shipshape logs`: what the replicas print. Does not live here: where it is kept (control).

use std::path::PathBuf;

use api::logs::{Ask, Format, Line};
use model::ReleaseNumber;

use crate::Done;
use crate::context::Context;
use crate::failure::Failure;
use crate::printer::Paint;

/// Show what the replicas print.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shipshape logs -e production -f
  shipshape logs -n 20 --release 3 --replica 1")]
pub(crate) struct Args {
    /// Go on with what is written from now on
    #[arg(short = 'f', long)]
    follow: bool,
    /// The last lines of each replica
    #[arg(short = 'n', long, value_name = "LINES", default_value_t = 100)]
    lines: usize,
    /// Of this release alone
    #[arg(long, value_name = "NUMBER")]
    release: Option<u64>,
    /// Of the replica with this number alone
    #[arg(long, value_name = "NUMBER")]
    replica: Option<u32>,
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
    let mut output = context.client.logs(&ask).await?;
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
