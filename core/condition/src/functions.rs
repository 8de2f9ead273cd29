//! The functions that Argo Rollouts has in its conditions, beside CEL's own.

use cel::{Context, DeclarationError, ExecutionError, Value};
use model::check::Measured;

/// Functions by which a condition says itself what no number means.
pub(crate) const OF_ABSENCE: [&str; 3] = ["isNaN", "isNil", "default"];

/// Every function that a condition may call, in words.
pub(crate) const NAMES: &[&str] =
    &["size", "len", "isNaN", "isInf", "isNil", "default", "asInt", "asFloat", "int", "uint", "double"];

pub(crate) fn add(context: &mut Context<'_, '_>) -> Result<(), DeclarationError> {
    context.add_function("len", |of: Value| {
        let Value::List(list) = of else {
            return Err(ExecutionError::function_error("len", "only a list has a length"));
        };
        Ok(i64::try_from(list.len()).unwrap_or(i64::MAX))
    })?;
    context.add_function("isNaN", |of: Value| number("isNaN", &of).map(f64::is_nan))?;
    context.add_function("isInf", |of: Value| number("isInf", &of).map(f64::is_infinite))?;
    context.add_function("isNil", |of: Value| is_nothing(&of))?;
    context.add_function("default", |of: Value, otherwise: Value| {
        let is_not_a_number = matches!(of, Value::Float(number) if number.is_nan());
        if is_nothing(&of) || is_not_a_number { otherwise } else { of }
    })?;
    context.add_function("asFloat", |of: Value| number("asFloat", &of))?;
    context.add_function("asInt", |of: Value| number("asInt", &of).map(|number| number as i64))?;
    Ok(())
}

fn is_nothing(of: &Value) -> bool {
    *of == Value::Null || matches!(of, Value::List(list) if list.is_empty())
}

fn number(function: &str, of: &Value) -> Result<f64, ExecutionError> {
    let number = match of {
        Value::Float(number) => Some(*number),
        Value::Int(number) => Some(*number as f64),
        Value::UInt(number) => Some(*number as f64),
        Value::List(_)
        | Value::Map(_)
        | Value::Function(..)
        | Value::String(_)
        | Value::Bytes(_)
        | Value::Bool(_)
        | Value::Opaque(_)
        | Value::Struct(_)
        | Value::Null => None,
    };
    number.ok_or_else(|| ExecutionError::function_error(function, "it takes one number, as in `result[0]`"))
}

/// Why a condition cannot be told, for people.
pub(crate) fn plain(error: &ExecutionError, result: &Measured) -> String {
    match (error, result) {
        (ExecutionError::IndexOutOfBounds(Value::Int(index)), Measured::Vector(values)) => {
            format!("the result has {} values, so no `result[{index}]`", values.len())
        }
        (ExecutionError::UnsupportedBinaryOperator(..), _) => {
            "whole and fractional numbers are not calculated with each other".to_owned()
        }
        (ExecutionError::NoSuchOverload(overload), _) => {
            let types = overload.argument_types();
            let operator = overload.function().trim_matches('_');
            match (types, result) {
                ([first, ..], Measured::Vector(_)) if first == "list" => {
                    format!("`{operator}` takes numbers and the result is a list: write `result[0]`")
                }
                (_, Measured::Scalar(_)) if operator == "[_]" => {
                    "the result is one number, not a list: write `result`".to_owned()
                }
                (types, _) => format!("`{operator}` does not take {}", types.join(" and ")),
            }
        }
        (ExecutionError::UndeclaredReference(name), _) => format!("`{name}` is not known"),
        (other, _) => other.to_string(),
    }
}
