//! What is good enough: objectives in their short and long form. Does not live here: their alerts and what a spent budget
//! allows ([`reaction`]), and what holds without any (`model::Objective::defaults`).

mod counted;
mod reaction;

use std::time::Duration;

use model::objective::{
    CalendarUnit, Indicator, MINUTE, Method, Objective, PolicyStep, Ratio, Requests, Sla, Target, Window,
    zone,
};
use model::route::Route;
use model::spec::Metrics;

use crate::diagnostic::Problem;
use crate::fields;
use crate::node::{Entry, Node, Scalar, Value};
use crate::read::{Context, Mapping, mismatch};
use crate::values;

/// What objectives have to do with the rest of a manifest.
pub(crate) struct At<'a> {
    pub(crate) route: &'a Route,
    pub(crate) metrics: &'a Metrics,
    /// What the probes are called.
    pub(crate) probes: &'a [&'a str],
}

/// The declared objectives; `None` when nothing is said, or just what the product says by itself.
pub(crate) fn objectives(root: &Mapping<'_>, at: &At<'_>) -> Option<Vec<Objective>> {
    let entry = root.entry("objectives")?;
    if let Some(scalar) = entry.value.scalar() {
        return match (scalar.text.as_str(), scalar.quoted) {
            ("none", _) => Some(vec![]),
            _ => {
                let problem =
                    Problem::new(format!("`objectives` is a mapping, and this is `{}`", scalar.text));
                let help = "name each, as in `availability: 99.9%`, or write `objectives: none`";
                root.error(&entry.value.span, problem.help(help));
                None
            }
        };
    }
    let given = root.entries("objectives").iter().filter(|entry| !entry.value.is_null());
    let read: Vec<Objective> = given.filter_map(|entry| objective(root.context, entry, at)).collect();
    let undeclared = |it: &Objective| Objective { declared: false, ..it.clone() };
    let is_default = read.iter().map(undeclared).eq(Objective::defaults());
    (!is_default).then_some(read)
}

fn objective(context: &Context<'_>, entry: &Entry, at: &At<'_>) -> Option<Objective> {
    let name = match entry.key.parse() {
        Ok(name) => Some(name),
        Err(error) => {
            let error: model::ids::InvalidName = error;
            let problem = Problem::new(format!("`{}` cannot name an objective: {}", entry.key, error.reason));
            let help = "use 1 to 63 of a-z, 0-9 and `-`, starting and ending with a letter or digit";
            context.sink.error(&entry.key_span, problem.help(help));
            None
        }
    };
    let read = match &entry.value.value {
        Value::Scalar(scalar) => short(context, entry, scalar),
        Value::Map(_) => long(context, entry, at),
        Value::Null | Value::List(_) => {
            mismatch(context, &entry.value, "a target such as 99.9%, or a mapping with `target`");
            None
        }
    };
    read.map(|objective| Objective { name: name.unwrap_or(objective.name.clone()), ..objective })
}

/// A stand-in until the objective has its own name.
fn unnamed(indicator: Indicator, target: Target) -> Option<Objective> {
    Some(Objective::new("objective".parse().ok()?, indicator, target))
}

/// `99.9%`, or `99% within 300ms`.
fn short(context: &Context<'_>, entry: &Entry, scalar: &Scalar) -> Option<Objective> {
    let at = &entry.value.span;
    let (target, within) = match scalar.text.split_once(" within ") {
        Some((target, within)) => (target, Some(within)),
        None => (scalar.text.as_str(), None),
    };
    let target = match values::target(target) {
        Ok(target) => target,
        Err(problem) => {
            context.sink.error(at, problem);
            return None;
        }
    };
    let Some(within) = within else {
        if entry.key.contains("latency") {
            let problem =
                Problem::new(format!("`{}` has no time, so it counts requests that fail", entry.key));
            let help = format!("write `{}: {target} within 500ms`", entry.key);
            context.sink.warning(at, problem.help(help));
        }
        return unnamed(Indicator::Availability(Requests::default()), target);
    };
    let read = values::duration(&Scalar::plain(within.trim()), true).and_then(counted::bound);
    match read {
        Ok(within) => unnamed(Indicator::Latency { within, requests: Requests::default() }, target),
        Err(problem) => {
            context.sink.error(at, problem);
            None
        }
    }
}

fn long(context: &Context<'_>, entry: &Entry, at: &At<'_>) -> Option<Objective> {
    let section = Mapping::open(context, &fields::OBJECTIVE, &entry.value, &entry.key_span);
    let description = section.text("description");
    let target = target(&section);
    let indicator = counted::indicator(&section, at);
    let window = window(&section);
    let method = method(&section);
    let sla = sla(&section, target);
    // The alerts of an objective without a sound target are checked against an ordinary one.
    let checked = target.or(Target::from_parts(999_000))?;
    let alerting = reaction::alerting(&section, checked, &window);
    let policy = reaction::policy(&section).unwrap_or_else(PolicyStep::defaults);
    section.finish();
    let objective = unnamed(indicator?, target?)?;
    Some(Objective { description, window, method, sla, alerting, policy, ..objective })
}

fn target(section: &Mapping<'_>) -> Option<Target> {
    section.read("target", |scalar, _| values::target(&scalar.text))
}

/// A window in its short or long form; the default when it is absent or cannot be read.
fn window(section: &Mapping<'_>) -> Window {
    declared_window(section).unwrap_or_default()
}

fn declared_window(section: &Mapping<'_>) -> Option<Window> {
    let entry = section.entry("window")?;
    match &entry.value.value {
        Value::Map(_) => calendar(section.child("window", &fields::WINDOW)),
        Value::Scalar(_) => section.read("window", |scalar, _| {
            scalar.text.parse().map_err(|error: model::objective::InvalidWindow| {
                let problem = Problem::new(error.to_string());
                problem.help("as in `30d`, `4w`, or `{calendar: month, timeZone: Europe/Vienna}`")
            })
        }),
        Value::Null | Value::List(_) => {
            mismatch(section.context, &entry.value, "a time such as 30d, or a mapping with `calendar`");
            None
        }
    }
}

fn calendar(section: Mapping<'_>) -> Option<Window> {
    let word = section.choice("calendar", &["day", "hour"]);
    let unit = word.and_then(|word| CalendarUnit::ALL.into_iter().find(|unit| unit.name() == word));
    let name = section.text("timeZone").unwrap_or_default();
    if zone(&name).is_none() {
        let problem = Problem::new(format!("`{name}` is no time zone of the IANA's database"));
        section.error(
            &section.place("timeZone"),
            problem.help("write continent and city, as in `Europe/Vienna`, or `UTC`"),
        );
    }
    section.finish();
    Some(Window::Calendar { unit: unit?, zone: name })
}

fn method(section: &Mapping<'_>) -> Method {
    if section.entry("timeslices").is_none() {
        return Method::Occurrences;
    }
    let slices = section.child("timeslices", &fields::TIMESLICES);
    let slice = slices.duration("slice");
    let minutes = slice.as_secs() / MINUTE.as_secs();
    let is_whole = slice == MINUTE * u32::try_from(minutes).unwrap_or(0);
    if !is_whole || minutes == 0 || 60 % minutes != 0 {
        let written = model::time::format_duration(slice);
        let problem = Problem::new(format!("an hour has no whole number of slices of {written}"));
        slices.error(&slices.place("slice"), problem.help("use 1m, 5m, 10m, 15m, 30m or 1h"));
    }
    let good = slices.ratio("target").unwrap_or(Ratio::percent(95));
    if good == Ratio::NONE {
        let problem = Problem::new("every slice would be good");
        slices.error(&slices.place("target"), problem.help("as in `target: 95%`"));
    }
    slices.finish();
    Method::Timeslices { slice: slice.max(MINUTE), good }
}

fn sla(section: &Mapping<'_>, own: Option<Target>) -> Option<Sla> {
    let entry = section.entry("sla")?;
    let read = match &entry.value.value {
        Value::Map(_) => {
            let sla = section.child("sla", &fields::SLA);
            let (target, window) = (target(&sla), declared_window(&sla).unwrap_or_else(Window::month));
            sla.finish();
            Sla { target: target?, window }
        }
        Value::Scalar(_) => {
            let target = section.read("sla", |scalar, _| values::target(&scalar.text));
            Sla { target: target?, window: Window::month() }
        }
        Value::Null | Value::List(_) => {
            mismatch(section.context, &entry.value, "a target such as 99%, or a mapping with `target`");
            return None;
        }
    };
    if let Some(own) = own.filter(|own| read.target >= *own) {
        let problem =
            Problem::new(format!("customers are promised {}, and the team only aims at {own}", read.target));
        let help = "promise less than the target, so that the objective alerts before the promise is broken";
        section.error(&place_of_target(&entry.value), problem.help(help));
    }
    Some(read)
}

fn place_of_target(node: &Node) -> crate::node::Span {
    let target = node.map().and_then(|map| map.get("target"));
    target.map_or_else(|| node.span.clone(), |entry| entry.value.span.clone())
}

/// A field that is a time of whole minutes, not longer than `most`.
fn minutes(section: &Mapping<'_>, name: &'static str, most: Option<Duration>) -> Option<Duration> {
    let time = section.optional_duration(name)?;
    let written = model::time::format_duration;
    if time.as_secs() % MINUTE.as_secs() != 0 || time.subsec_nanos() != 0 || time < MINUTE {
        let problem = Problem::new(format!("`{name}`: {} is no whole number of minutes", written(time)));
        section.error(&section.place(name), problem.help("events are counted by the minute: use 1m or more"));
        return None;
    }
    if let Some(most) = most.filter(|most| time > *most) {
        let problem =
            Problem::new(format!("`{name}`: {} is longer than the objective's window", written(time)));
        section.error(&section.place(name), problem.help(format!("use at most {}", written(most))));
        return None;
    }
    Some(time)
}
