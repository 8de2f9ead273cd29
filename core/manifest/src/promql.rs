//! Questions to the metrics: the query, its arguments, and the conditions on its answer. Does not live here: the other
//! sources of a rule (`analysis`, `check`), and who is asked (`metrics`).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use condition::Condition;
use model::check::Promql;
use model::placeholder::{self, Error, Filling, KNOWN};
use model::time::format_duration;

use crate::diagnostic::Problem;
use crate::fields;
use crate::node::{Node, Span, Value};
use crate::read::{Mapping, mismatch, scalar_in};
use crate::service::mappings;
use crate::values;

/// The longest query and the longest value of an argument, in bytes: each measurement is asked anew.
const LONGEST: usize = 10_000;

/// How the names of what the gateway and the machine tell begin.
const OWN: [&str; 3] = ["http_requests_total", "http_request_duration_seconds", "shipshape_"];
/// The range that holds two of their readings, in milliseconds.
const TWO_READINGS_MS: u64 = 10_000;

/// The arguments that an analysis declares.
pub(crate) struct Arguments {
    values: BTreeMap<String, String>,
}

impl Arguments {
    pub(crate) fn read(analysis: &Mapping<'_>) -> Self {
        let mut values = BTreeMap::new();
        let mut names: BTreeMap<String, Span> = BTreeMap::new();
        for item in mappings(analysis, analysis.list("args").unwrap_or_default()) {
            let argument = Mapping::open(analysis.context, &fields::ARGUMENT, item, &item.span);
            let name = argument.text("name");
            let value = argument.read("value", |scalar, _| values::written(scalar));
            let span = argument.place("name");
            if let Some(name) = name.filter(|name| sound(&argument, &span, name, &names)) {
                if value.as_ref().is_some_and(|value| value.contains("{{")) {
                    let problem = Problem::new("an argument's value is taken as it stands, also its braces");
                    argument
                        .error(&argument.place("value"), problem.help("put the placeholder into the query"));
                }
                names.insert(name.clone(), span);
                values.insert(name, value.unwrap_or_default());
            }
            argument.finish();
        }
        Self { values }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        KNOWN.into_iter().chain(self.values.keys().map(String::as_str))
    }
}

fn sound(argument: &Mapping<'_>, span: &Span, name: &str, names: &BTreeMap<String, Span>) -> bool {
    if !placeholder::is_name(name) {
        let problem = Problem::new(format!("`{name}` is not the name of an argument"));
        argument.error(span, problem.help("use letters, digits, `-` and `_`"));
        return false;
    }
    if KNOWN.contains(&name) {
        let problem = Problem::new(format!("every analysis has the argument `{name}`"));
        argument.error(span, problem.help("remove it, or give it another name"));
        return false;
    }
    if let Some(first) = names.get(name) {
        let problem = Problem::new(format!("two arguments have the name `{name}`"));
        argument.context.sink.error_with(span, problem.help("remove one"), first, "the first one");
        return false;
    }
    true
}

/// The `promql` of a rule, with its conditions; `None` when it is absent or cannot be read.
pub(crate) fn promql(metric: &Mapping<'_>, arguments: &Arguments) -> Option<Promql> {
    let entry = metric.entry("promql")?;
    let section = match &entry.value.value {
        Value::Map(_) => metric.child("promql", &fields::CHECK_PROMQL),
        Value::Scalar(_) => Mapping::absent(metric.context, &fields::CHECK_PROMQL, &entry.key_span),
        Value::Null | Value::List(_) => {
            mismatch(metric.context, &entry.value, "a query, or a mapping with `query` and `timeout`");
            return None;
        }
    };
    let timeout = section.duration("timeout");
    let node = match &entry.value.value {
        Value::Map(map) => map.get("query").map(|entry| &entry.value),
        Value::Scalar(_) | Value::Null | Value::List(_) => Some(&entry.value),
    };
    let query = match (node, &entry.value.value) {
        (None, _) => section.text("query"),
        (Some(node), _) => scalar_in(metric.context, node, "a string", values::text),
    };
    let [success_condition, failure_condition] =
        ["successCondition", "failureCondition"].map(|name| condition(metric, name));
    let query = completed(metric, node?, &query?, arguments);
    Some(Promql { query: query?, success_condition, failure_condition, timeout })
}

/// Warns of what is no PromQL, and of what gives nothing. A server may know a later PromQL than is known here, so it is no
/// error.
fn doubt(metric: &Mapping<'_>, node: &Node, query: &str) {
    let Ok(filled) = placeholder::fill(query, |_| Filling::Value("1".to_owned())) else { return };
    let problem = match promql::read(&filled) {
        Err(promql::Error::Syntax(what)) => Problem::new(format!("the query is not PromQL: {what}"))
            .help("a rollout that asks this learns nothing from it, and pauses"),
        Err(_) => return,
        Ok(expr) => match too_short(&expr) {
            Some((name, range)) => {
                let range = format_duration(Duration::from_millis(range));
                Problem::new(format!(
                    "`{name}[{range}]` mostly holds less than two readings: they are 5s apart"
                ))
                .help("ask for a range of at least 15s: `rate` and its like need two readings")
            }
            None => return,
        },
    };
    metric.context.sink.warning(&node.span, problem);
}

/// A range of what Shipshape measures itself that is too short, with its length in milliseconds.
fn too_short(expr: &promql::expr::Expr) -> Option<(String, u64)> {
    expr.ranges().into_iter().find_map(|(selector, range)| {
        let name = selector.name()?;
        let is_own = OWN.iter().any(|own| name.starts_with(own));
        let range = u64::try_from(range).unwrap_or(0);
        (is_own && range < TWO_READINGS_MS).then(|| (name.to_owned(), range))
    })
}

/// The query with the arguments that are known now.
fn completed(metric: &Mapping<'_>, node: &Node, query: &str, arguments: &Arguments) -> Option<String> {
    if query.len() > LONGEST {
        let problem = Problem::new(format!("the query has {} bytes; the most is {LONGEST}", query.len()));
        metric.error(&node.span, problem.help("let a recording rule do a part of the work"));
        return None;
    }
    let used = RefCell::new(0);
    let filled = placeholder::fill(query, |name| {
        *used.borrow_mut() += arguments.values.get(name).map_or(0, String::len);
        match arguments.values.get(name) {
            _ if *used.borrow() > LONGEST => Filling::Unknown,
            Some(value) => Filling::Value(value.clone()),
            None if KNOWN.contains(&name) => Filling::Later,
            None => Filling::Unknown,
        }
    });
    let error = match filled {
        Ok(filled) => {
            doubt(metric, node, &filled);
            return Some(filled);
        }
        Err(error) => error,
    };
    let help = match &error {
        Error::Unclosed => "an argument is written `{{args.version}}`".to_owned(),
        Error::Malformed(inside) => {
            let name = inside.trim().trim_start_matches("inputs.").trim_start_matches('.');
            format!(
                "an argument is written `{{{{args.{}}}}}`",
                if name.is_empty() { "version" } else { name }
            )
        }
        Error::Unknown(name) => match values::closest(name, arguments.names()) {
            Some(close) => format!("did you mean `{{{{args.{close}}}}}`?"),
            None => {
                let names: Vec<&str> = arguments.names().collect();
                format!("there are {}; add others under `args` of this analysis", names.join(", "))
            }
        },
        Error::Misplaced { .. } => {
            "put the placeholder into quotes; outside of them, a value is a name, a number or a duration"
                .to_owned()
        }
    };
    metric.error(&node.span, Problem::new(error.to_string()).help(help));
    None
}

fn condition(metric: &Mapping<'_>, name: &'static str) -> Option<String> {
    metric.entry(name)?;
    metric.read(name, |scalar, _| {
        let text = values::text(scalar)?;
        let text = text.trim().to_owned();
        Condition::read(&text).map_err(|error| Problem::new(error.what).help(error.help))?;
        Ok(text)
    })
}
