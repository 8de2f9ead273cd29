//! `shipshape api`: the OpenAPI document of control's API. Does not live here: the document (`api`).

use crate::Done;
use crate::context::Context;

/// The OpenAPI document.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(context: &Context<'_>) -> Done {
    context.printer.bytes(::api::OPENAPI.as_bytes());
    Done::Well
}
