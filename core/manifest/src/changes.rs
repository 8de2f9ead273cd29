//! When and by whom a service may be changed, as it is declared. Does not live here: what a freeze or a missing approval keeps from
//! beginning (`lifecycle`).

use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime};
use model::change::{Approvals, Changes, Freeze, WeekTime, When};
use model::objective::zone;

use crate::diagnostic::Problem;
use crate::fields;
use crate::node::Span;
use crate::read::Mapping;
use crate::service::mappings;

/// Reads `changes`.
pub(crate) fn changes(root: &Mapping<'_>) -> Changes {
    let section = root.child("changes", &fields::CHANGES);
    let mut names: BTreeMap<String, Span> = BTreeMap::new();
    let mut freezes = Vec::new();
    for item in mappings(&section, section.list("freeze").unwrap_or_default()) {
        let one = Mapping::open(section.context, &fields::FREEZE, item, &item.span);
        if let Some(freeze) = freeze(&one) {
            let here = one.place("name");
            if let Some(first) = names.insert(freeze.name.clone(), here.clone()) {
                let problem = Problem::new(format!("two freezes have the name `{}`", freeze.name));
                section.context.sink.error_with(
                    &here,
                    problem.help("give each its own name"),
                    &first,
                    "the first one",
                );
            }
            freezes.push(freeze);
        }
        one.finish();
    }
    let approvals = section.entry("approvals").is_some().then(|| approvals(&section)).flatten();
    section.finish();
    Changes { freeze: freezes, approvals }
}

fn freeze(section: &Mapping<'_>) -> Option<Freeze> {
    let (name, reason) = (section.text("name"), section.text("reason"));
    let zone_name = section.text("timeZone").unwrap_or_default();
    if zone(&zone_name).is_none() {
        let problem = Problem::new(format!("`{zone_name}` is no time zone of the IANA's database"));
        let help = "write continent and city, as in `Europe/Vienna`, or `UTC`";
        section.error(&section.place("timeZone"), problem.help(help));
    }
    let once = ["from", "to"].map(|name| section.entry(name).is_some());
    let when = match (section.entry("weekly").is_some(), once) {
        (true, [false, false]) => weekly(section),
        (false, [true, true]) => once_only(section),
        (true, _) => {
            let problem = Problem::new("a freeze is either once or weekly, and this one is both");
            section.error(
                &section.place("weekly"),
                problem.help("make it two: one with `from` and `to`, one `weekly`"),
            );
            None
        }
        (false, _) => {
            let problem = Problem::new("this freeze says not when it begins and ends");
            let help = "give it `from` and `to`, or `weekly: {from: Fri 16:00, to: Mon 08:00}`";
            section.error(&section.at, problem.help(help));
            None
        }
    };
    Some(Freeze { name: name?, when: when?, zone: zone_name, reason })
}

fn weekly(section: &Mapping<'_>) -> Option<When> {
    let weekly = section.child("weekly", &fields::WEEKLY);
    let read = |name| {
        weekly.read(name, |scalar, _| {
            scalar.text.parse::<WeekTime>().map_err(|error| {
                Problem::new(error.to_string()).help("write a day and a time, as in `Fri 16:00`")
            })
        })
    };
    let (from, to, at) = (read("from"), read("to"), weekly.place("to"));
    weekly.finish();
    let (from, to) = (from?, to?);
    if from == to {
        let problem = Problem::new("a freeze of the whole week lets nothing through, ever");
        section.error(&at, problem.help("end it at another time, or `shipshape lock` the place"));
        return None;
    }
    Some(When::Weekly { from, to })
}

fn once_only(section: &Mapping<'_>) -> Option<When> {
    let read = |name| section.read(name, |scalar, _| civil(&scalar.text));
    let (from, to) = (read("from")?, read("to")?);
    if to <= from {
        let problem = Problem::new(format!("this freeze ends at {to}, before it begins at {from}"));
        section
            .error(&section.place("to"), problem.help("`to` is the later one; by the clock of `timeZone`"));
        return None;
    }
    Some(When::Once { from, to })
}

/// `2026-12-20T16:00`, or a day, which is its midnight.
fn civil(text: &str) -> Result<DateTime, Problem> {
    let text = text.trim();
    let has_zone = text.ends_with('Z') || text.get(10..).is_some_and(|rest| rest.contains(['+', '-', '[']));
    if has_zone {
        let problem = Problem::new(format!("`{text}` has a zone of its own"));
        return Err(problem.help("write it as the clock shows it, and say whose clock under `timeZone`"));
    }
    let day = || text.parse::<Date>().ok().filter(|_| text.len() == 10).map(|day| day.at(0, 0, 0, 0));
    day().or_else(|| text.replacen(' ', "T", 1).parse().ok()).ok_or_else(|| {
        Problem::new(format!("`{text}` is no day and time"))
            .help("write it as in `2026-12-20T16:00`, or `2026-12-20`")
    })
}

fn approvals(section: &Mapping<'_>) -> Option<Approvals> {
    let approvals = section.child("approvals", &fields::APPROVALS);
    let required = approvals.count("required");
    let expires = approvals.optional_duration("expires");
    let approvers = approvals.scalars("approvers", "a name", crate::values::text).unwrap_or_default();
    if let Some(required) = required.filter(|required| {
        !approvers.is_empty() && usize::try_from(*required).is_ok_and(|required| required > approvers.len())
    }) {
        let problem = Problem::new(format!("{required} have to approve, and {} may", approvers.len()));
        approvals.error(&approvals.place("approvers"), problem.help("name more, or lower `required`"));
    }
    approvals.finish();
    Some(Approvals { required: required?, approvers, expires: expires? })
}
