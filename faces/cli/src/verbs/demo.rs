//! `shipshape demo`: the whole product on a real example service, in about a minute. Does not live here: the story.

use std::process::ExitCode;

use crate::failure::Failure;
use crate::printer::Printer;

/// The hidden verb that runs the example service.
pub const EXAMPLE_SERVICE: &str = "example-service";

/// What `demo` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  shipshape demo --keep")]
pub(crate) struct Args {
    /// Leave everything running at the end, to play with
    #[arg(long)]
    keep: bool,
    /// Open-loop requests a second
    #[arg(long, value_name = "REQUESTS", default_value_t = 300, value_parser = clap::value_parser!(u16).range(50..=2000))]
    rate: u16,
}

/// Tells the story. It has a home of its own, so nothing of the user's is touched.
pub(crate) fn run(args: &Args, printer: &Printer) -> Result<ExitCode, Failure> {
    let binary = std::env::current_exe()
        .map_err(|error| Failure::new(format!("the running binary cannot be found: {error}")))?;
    let options = demo::Options {
        binary,
        service_verb: EXAMPLE_SERVICE.to_owned(),
        keep: args.keep,
        json: printer.is_json(),
        rate_per_second: f64::from(args.rate),
    };
    demo::run(&options).map_err(|error| Failure::new(format!("the demo failed: {error:#}")))
}
