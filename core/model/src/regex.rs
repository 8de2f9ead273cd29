//! Regular expressions that somebody declares, made ready within limits, with errors in words. Does not live here: which limits,
//! and what is matched.

use regex_automata::meta;
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, Look};

/// Reads one.
///
/// # Errors
/// What is wrong with it, and where.
pub(crate) fn parse(parser: &mut ParserBuilder, text: &str) -> Result<Hir, String> {
    parser.build().parse(text).map_err(|error| match error {
        regex_syntax::Error::Parse(error) => {
            format!("{} at position {}", error.kind(), error.span().start.offset)
        }
        regex_syntax::Error::Translate(error) => {
            format!("{} at position {}", error.kind(), error.span().start.offset)
        }
        other => other.to_string(),
    })
}

/// The whole value has to match, which is asked of the parsed expression: brackets around its text could be closed by it.
pub(crate) fn whole(parsed: Hir) -> Hir {
    Hir::concat(vec![Hir::look(Look::Start), parsed, Hir::look(Look::End)])
}

/// Compiles one.
///
/// # Errors
/// When it is larger than the configuration allows.
pub(crate) fn build(parsed: &Hir, config: meta::Config) -> Result<meta::Regex, String> {
    meta::Builder::new().configure(config).build_from_hir(parsed).map_err(|error| match error.size_limit() {
        Some(_) => "it is too large: shorten it, or lower its repetitions".to_owned(),
        None => error.to_string(),
    })
}
