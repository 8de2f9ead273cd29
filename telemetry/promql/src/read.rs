//! From text to [`Expr`]. The library that parses PromQL is known here and nowhere else; what it accepts and the subset
//! does not serve is refused by name.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use promql_parser::label::{MatchOp, Matchers};
use promql_parser::parser::{self as foreign, AtModifier, LabelModifier, Offset, VectorMatchCardinality};

use crate::Error;
use crate::eval::FARTHEST;
use crate::expr::{
    Aggregate, Aggregation, Arithmetic, At, Binary, Comparison, Expr, Function, Grouping, Kind, Many,
    Matcher, Matching, Operator, Selector, Subquery, Test,
};
use crate::guard::{self, anchored};
use crate::labels::NAME;

/// How deep brackets and operators may nest: each level takes stack.
const DEEPEST: usize = 128;

/// Reads a query.
///
/// # Errors
/// [`Error::Syntax`] when it is not PromQL, [`Error::Refused`] when it is outside of the subset, [`Error::TooMuch`] when
/// reading it takes more than it may.
pub fn read(text: &str) -> Result<Expr, Error> {
    let text = &*guard::checked(text)?;
    let parsed = foreign::parse(text).map_err(|why| unreadable(text, why))?;
    expr(&parsed, 0)
}

/// Prometheus can calculate durations when an experimental feature is switched on; the library cannot.
fn unreadable(text: &str, why: String) -> Error {
    let in_brackets = why.strip_prefix("unexpected character inside brackets: '");
    let calculated = in_brackets.is_some_and(|rest| rest.starts_with(['+', '-', '*', '/', '%', '(', '^']));
    if calculated || text.contains("offset (") || text.contains("offset -(") {
        return Error::Refused("a calculated duration".to_owned());
    }
    Error::Syntax(why)
}

fn expr(from: &foreign::Expr, depth: usize) -> Result<Expr, Error> {
    if depth > DEEPEST {
        return Err(Error::TooMuch(format!("the query nests deeper than {DEEPEST} levels")));
    }
    let inner = |from: &foreign::Expr| expr(from, depth + 1);
    Ok(match from {
        foreign::Expr::NumberLiteral(number) => Expr::Number(number.val),
        foreign::Expr::StringLiteral(text) => Expr::Text(text.val.clone()),
        foreign::Expr::Paren(paren) => inner(&paren.expr)?,
        foreign::Expr::Unary(unary) => Expr::Negated(Box::new(inner(&unary.expr)?)),
        foreign::Expr::VectorSelector(selector) => Expr::Instant(self::selector(selector)?),
        foreign::Expr::MatrixSelector(matrix) => Expr::Range(selector(&matrix.vs)?, millis(matrix.range)?),
        foreign::Expr::Subquery(subquery) => Expr::Subquery(Box::new(Subquery {
            inner: inner(&subquery.expr)?,
            range: millis(subquery.range)?,
            step: subquery.step.map(millis).transpose()?,
            offset: offset(subquery.offset.as_ref())?,
            at: at(subquery.at.as_ref())?,
        })),
        foreign::Expr::Call(call) => {
            let function = Function::named(call.func.name)
                .ok_or_else(|| Error::Refused(format!("the function {}()", call.func.name)))?;
            let args = call.args.args.iter().map(|arg| inner(arg)).collect::<Result<Vec<_>, _>>()?;
            Expr::Call(function, args)
        }
        foreign::Expr::Aggregate(aggregate) => Expr::Aggregate(Box::new(self::aggregate(aggregate, depth)?)),
        foreign::Expr::Binary(binary) => Expr::Binary(Box::new(self::binary(binary, depth)?)),
        foreign::Expr::Extension(_) => return Err(Error::Refused("an extension of the parser".to_owned())),
    })
}

fn selector(from: &foreign::VectorSelector) -> Result<Selector, Error> {
    let Matchers { matchers, or_matchers } = &from.matchers;
    if !or_matchers.is_empty() {
        return Err(Error::Refused("`or` between label matchers".to_owned()));
    }
    let mut read = Vec::with_capacity(matchers.len() + 1);
    if let Some(name) = &from.name {
        read.push(Matcher { name: NAME.to_owned(), test: Test::Equal(name.clone()) });
    }
    for matcher in matchers {
        let test = match matcher.op {
            MatchOp::Equal => Test::Equal(matcher.value.clone()),
            MatchOp::NotEqual => Test::NotEqual(matcher.value.clone()),
            MatchOp::Re(_) => Test::Matches(anchored(&matcher.value)?),
            MatchOp::NotRe(_) => Test::MatchesNot(anchored(&matcher.value)?),
        };
        read.push(Matcher { name: matcher.name.clone(), test });
    }
    if !read.iter().any(|matcher| !matcher.holds("")) {
        let why = "vector selector must contain at least one non-empty matcher";
        return Err(Error::Syntax(why.to_owned()));
    }
    Ok(Selector { matchers: read, offset: offset(from.offset.as_ref())?, at: at(from.at.as_ref())? })
}

fn millis(duration: Duration) -> Result<i64, Error> {
    let millis = i64::try_from(duration.as_millis()).ok().filter(|millis| *millis <= FARTHEST);
    millis.ok_or_else(|| Error::Syntax("a duration or time is too long".to_owned()))
}

fn offset(from: Option<&Offset>) -> Result<i64, Error> {
    match from {
        None => Ok(0),
        Some(Offset::Pos(duration)) => millis(*duration),
        Some(Offset::Neg(duration)) => Ok(-millis(*duration)?),
    }
}

fn at(from: Option<&AtModifier>) -> Result<Option<At>, Error> {
    Ok(match from {
        None => None,
        Some(AtModifier::Start) => Some(At::Start),
        Some(AtModifier::End) => Some(At::End),
        Some(AtModifier::At(time)) => Some(At::Time(since_epoch(*time)?)),
    })
}

fn since_epoch(time: SystemTime) -> Result<i64, Error> {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => millis(after),
        Err(before) => Ok(-millis(before.duration())?),
    }
}

fn grouping(from: Option<&LabelModifier>, default: Grouping) -> Grouping {
    match from {
        None => default,
        Some(LabelModifier::Include(labels)) => Grouping::Only(labels.labels.clone()),
        Some(LabelModifier::Exclude(labels)) => Grouping::AllBut(labels.labels.clone()),
    }
}

fn aggregate(from: &foreign::AggregateExpr, depth: usize) -> Result<Aggregate, Error> {
    let param = || {
        let missing = || Error::Syntax(format!("{} needs a parameter", from.op));
        from.param.as_deref().ok_or_else(missing)
    };
    let scalar = || {
        let read = expr(param()?, depth + 1)?;
        if read.kind() == Kind::Scalar {
            return Ok(read);
        }
        Err(Error::Syntax(format!("the parameter of {} has to be a scalar", from.op)))
    };
    let how = match from.op.to_string().as_str() {
        "sum" => Aggregation::Sum,
        "avg" => Aggregation::Avg,
        "min" => Aggregation::Min,
        "max" => Aggregation::Max,
        "count" => Aggregation::Count,
        "group" => Aggregation::Group,
        "stddev" => Aggregation::Stddev,
        "stdvar" => Aggregation::Stdvar,
        "topk" => Aggregation::Topk(scalar()?),
        "bottomk" => Aggregation::Bottomk(scalar()?),
        "quantile" => Aggregation::Quantile(scalar()?),
        "count_values" => {
            let Expr::Text(label) = expr(param()?, depth + 1)? else {
                return Err(Error::Syntax("the parameter of count_values has to be a text".to_owned()));
            };
            Aggregation::CountValues(label)
        }
        other => return Err(Error::Refused(format!("the aggregation {other}"))),
    };
    Ok(Aggregate {
        how,
        inner: expr(&from.expr, depth + 1)?,
        grouping: grouping(from.modifier.as_ref(), Grouping::Only(vec![])),
    })
}

fn binary(from: &foreign::BinaryExpr, depth: usize) -> Result<Binary, Error> {
    let modifier = from.modifier.as_ref();
    let bool = modifier.is_some_and(|modifier| modifier.return_bool);
    let compare = |test| Operator::Compare { test, bool };
    let operator = match from.op.to_string().as_str() {
        "+" => Operator::Arithmetic(Arithmetic::Add),
        "-" => Operator::Arithmetic(Arithmetic::Subtract),
        "*" => Operator::Arithmetic(Arithmetic::Multiply),
        "/" => Operator::Arithmetic(Arithmetic::Divide),
        "%" => Operator::Arithmetic(Arithmetic::Modulo),
        "^" => Operator::Arithmetic(Arithmetic::Power),
        "atan2" => Operator::Arithmetic(Arithmetic::Atan2),
        "==" => compare(Comparison::Equal),
        "!=" => compare(Comparison::NotEqual),
        "<" => compare(Comparison::Less),
        "<=" => compare(Comparison::LessOrEqual),
        ">" => compare(Comparison::Greater),
        ">=" => compare(Comparison::GreaterOrEqual),
        "and" => Operator::And,
        "or" => Operator::Or,
        "unless" => Operator::Unless,
        other => return Err(Error::Refused(format!("the operator {other}"))),
    };
    if modifier.is_some_and(|it| it.fill_values.lhs.is_some() || it.fill_values.rhs.is_some()) {
        return Err(Error::Refused("the modifier fill".to_owned()));
    }
    let many = match modifier.map(|modifier| &modifier.card) {
        None | Some(VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany) => Many::Neither,
        Some(VectorMatchCardinality::ManyToOne(labels)) => Many::Left(labels.labels.clone()),
        Some(VectorMatchCardinality::OneToMany(labels)) => Many::Right(labels.labels.clone()),
    };
    let matching = modifier.and_then(|modifier| modifier.matching.as_ref());
    Ok(Binary {
        left: expr(&from.lhs, depth + 1)?,
        right: expr(&from.rhs, depth + 1)?,
        operator,
        matching: Matching { grouping: grouping(matching, Grouping::AllBut(vec![])), many },
    })
}
