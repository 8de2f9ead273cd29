//! Conditions on the result of a query, as Argo Rollouts writes them: `result[0] < 0.01`, an expression in CEL.
//!
//! Lives here: reading one ([`Condition::read`]), and what two of them say of a result ([`judge`]). The same text and the
//! same result give the same verdict, always. Does not live here: where the result comes from, and what follows from the
//! verdict. The library that knows CEL is known here and nowhere else.

mod functions;
mod judge;
mod tree;

use std::fmt;

use cel::{Context, Program, Value};
use model::check::Measured;

pub use judge::{Judged, judge};

/// The longest condition, in characters.
pub const LONGEST: usize = 1_000;
/// How deep brackets may nest: each level takes stack.
const DEEPEST: usize = 24;
/// The stack that reading and judging may take, in bytes: the parser goes down a level for each operator, too, and a thread has
/// two megabytes. What is not used is not taken from the machine.
const STACK: usize = 64 * 1024 * 1024;
/// The most values that a condition looks at.
pub const MOST_VALUES: usize = 500;

/// A condition that was read: it is an expression over `result` and nothing else.
pub struct Condition {
    program: Program,
    text: String,
    speaks_of_absence: bool,
}

/// Why a text is no condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub help: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)
    }
}

impl std::error::Error for Error {}

impl Error {
    fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { what: what.into(), help: help.into() }
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.text).finish()
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// When it is no expression, speaks of anything but `result`, or is neither true nor false of any result.
    pub fn read(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let help = "as in `result[0] < 0.01`";
        if text.is_empty() {
            return Err(Error::new("the condition is empty", help));
        }
        let characters = text.chars().count();
        if characters > LONGEST {
            let what = format!("the condition has {characters} characters; the most is {LONGEST}");
            return Err(Error::new(what, "let the query do the work, and compare what is left"));
        }
        if nests(text) > DEEPEST {
            let what = format!("the condition nests deeper than {DEEPEST} brackets");
            return Err(Error::new(what, "let the query do the work, and compare what is left"));
        }
        stacker::grow(STACK, || Self::parse(text))
    }

    /// The same, of a text within its limits.
    fn parse(text: &str) -> Result<Self, Error> {
        let program = Program::compile(text).map_err(|errors| unreadable(text, &errors))?;
        tree::check(&program)?;
        let speaks_of_absence =
            functions::OF_ABSENCE.iter().any(|name| program.references().has_function(name));
        let condition = Self { program, text: text.to_owned(), speaks_of_absence };
        condition.try_out()?;
        Ok(condition)
    }

    /// Whether it says itself what a value means that is not a number, or not there.
    fn speaks_of_absence(&self) -> bool {
        self.speaks_of_absence
    }

    /// Whether a result meets it.
    ///
    /// # Errors
    /// In words, when it cannot be told.
    fn holds(&self, result: &Measured) -> Result<bool, String> {
        match self.value(result) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(_) => Err(format!("`{}` is neither true nor false", self.text)),
            Err(why) => Err(format!("`{}` cannot be told of this result: {why}", self.text)),
        }
    }

    fn value(&self, result: &Measured) -> Result<Value, String> {
        let mut context = Context::default();
        functions::add(&mut context).map_err(|error| error.to_string())?;
        let variable = match result {
            Measured::Scalar(number) => Value::Float(*number),
            Measured::Vector(numbers) => numbers.clone().into(),
        };
        context.add_variable_from_value("result", variable);
        let told = stacker::maybe_grow(STACK / 2, STACK, || self.program.execute(&context));
        told.map_err(|error| functions::plain(&error, result))
    }

    /// Tries it on results of either form: one that can be told of none is a mistake of its author.
    fn try_out(&self) -> Result<(), Error> {
        let vector = Measured::Vector(vec![0.5; 64]);
        let tried = [vector, Measured::Scalar(0.5)].map(|result| self.value(&result));
        let [first, second] = &tried;
        if [first, second].iter().any(|tried| matches!(tried, Ok(Value::Bool(_)))) {
            return Ok(());
        }
        match (first, second) {
            (Err(why), Err(_)) => {
                let help = if why.contains("whole and fractional") {
                    "write the number with a point, as in `result[0] * 100.0`"
                } else {
                    "the variable is `result`: a list of numbers for a vector, a number for a scalar"
                };
                Err(Error::new(format!("the condition can be told of no result: {why}"), help))
            }
            (Ok(_), _) | (_, Ok(_)) => Err(Error::new(
                "the condition is neither true nor false",
                "compare: as in `result[0] < 0.01`",
            )),
        }
    }
}

/// How deep brackets stand in each other; each `?` of a choice counts as one.
fn nests(text: &str) -> usize {
    let mut depth = 0usize;
    let mut most = 0;
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' | b'?' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        most = most.max(depth);
    }
    most
}

fn unreadable(text: &str, errors: &cel::ParseErrors) -> Error {
    let first = errors.errors.iter().min_by_key(|error| error.pos);
    let (column, message) =
        first.map_or((None, String::new()), |error| (usize::try_from(error.pos.1).ok(), error.msg.clone()));
    let message =
        message.trim_start_matches("Syntax error: ").split(" expecting ").next().unwrap_or_default();
    let message = message.replace("mismatched input '<EOF>'", "it ends too early");
    let place = column.map_or_else(String::new, |column| format!(" at character {column}"));
    let help = if text.contains(" and ") || text.contains(" or ") || text.contains(" not ") {
        "write `&&`, `||` and `!`"
    } else {
        "an expression in CEL, as in `result[0] < 0.01 && result[0] > 0.0`"
    };
    Error::new(format!("the condition cannot be read{place}: {message}"), help)
}

#[cfg(test)]
mod tests;
