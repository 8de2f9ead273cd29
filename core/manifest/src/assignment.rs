//! Who serves a request beside chance: header routes, session affinity, and a canary's own scale. Does not live here: in
//! which order steps stand (`steps`), nor what a pattern means (`model::assignment`).

use std::time::Duration;

use model::Weight;
use model::assignment::{HeaderMatch, HeaderRoute, Pattern, REGEX_VALUE_BYTES, SessionAffinity};
use model::strategy::{CanaryScale, Kind, Step};

use crate::check;
use crate::diagnostic::Problem;
use crate::fields;
use crate::node::{Entry, Node, Value};
use crate::read::Mapping;
use crate::rollout::{Section, Unused};
use crate::service::mappings;
use crate::values;

/// The most header routes in force at once: each is asked of every request.
const MAX_ROUTES: usize = 16;
/// The longest name of a header, a cookie or a header route, in bytes.
const NAME_BYTES: usize = 64;
/// Prefixes of names that browsers take from cookies with `Secure` alone, which a gateway of plain HTTP cannot set.
const SECURE_PREFIXES: [&str; 2] = ["__host-", "__secure-"];
/// The shortest age that a cookie can be told: it is told in seconds, and zero removes it.
const LEAST_AGE: Duration = Duration::from_secs(1);

/// The one field that is given; says so when it is none or several.
fn one_of<'a>(section: &Mapping<'a>, names: &[&'static str], what: &str, example: &str) -> Option<&'a Entry> {
    let mut given: Vec<&Entry> = names.iter().filter_map(|name| section.entry(name)).collect();
    given.sort_by_key(|entry| entry.key_span.start);
    match given.as_slice() {
        [one] => Some(one),
        [] => {
            if !section.context.partial && !section.has_unknown() {
                let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                let problem = Problem::new(format!("{what} needs one of {}", names.join(", ")));
                section.error(&section.at, problem.help(example));
            }
            None
        }
        [first, second, ..] => {
            let problem = Problem::new(format!("{what} has both `{}` and `{}`", first.key, second.key));
            section.error(&second.key_span, problem.help("remove one of them"));
            None
        }
    }
}

/// Says so when a section is written as a single value.
fn is_single(parent: &Mapping<'_>, entry: &Entry, help: impl Fn(&str) -> String) -> bool {
    let Some(scalar) = entry.value.scalar() else { return false };
    let problem = Problem::new(format!("`{}` is a mapping", entry.key));
    parent.error(&entry.value.span, problem.help(help(&scalar.text)));
    true
}

/// Reads a step that scales.
pub(crate) fn scale(step: &Mapping<'_>, entry: &Entry) -> Option<CanaryScale> {
    if is_single(step, entry, |text| format!("write `setCanaryScale: {{replicas: {text}}}`")) {
        return None;
    }
    let section = step.child("setCanaryScale", &fields::SCALE);
    let example = "as in `setCanaryScale: {replicas: 3}`";
    let given = one_of(&section, &["replicas", "weight", "matchTrafficWeight"], "a canary's scale", example)?;
    let is_zero = given.value.scalar().and_then(|scalar| values::percent(scalar).ok()) == Some(Weight::NONE);
    let read = match given.key.as_str() {
        "replicas" | "weight" if is_zero => {
            let problem = Problem::new("a scale of nothing would leave nobody to serve what the steps send");
            let help = "keep at least `replicas: 1`, or follow the weight with `matchTrafficWeight: true`";
            section.error(&given.value.span, problem.help(help));
            None
        }
        "replicas" => section.count("replicas").map(CanaryScale::Replicas),
        "weight" => section.percent("weight").map(CanaryScale::Weight),
        _ => section.is_true("matchTrafficWeight").then_some(CanaryScale::MatchTrafficWeight),
    };
    section.finish();
    read
}

/// Reads a step that sets or removes a header route; `routes` are those that the steps before have left in force.
pub(crate) fn header_route(
    step: &Mapping<'_>,
    entry: &Entry,
    routes: &mut Vec<String>,
) -> Option<HeaderRoute> {
    let example = "`setHeaderRoute: {name: beta, match: [{headerName: x-beta, headerValue: {exact: yes}}]}`";
    if is_single(step, entry, |_| format!("as in {example}")) {
        return None;
    }
    let section = step.child("setHeaderRoute", &fields::HEADER_ROUTE);
    let name = section.text("name");
    let items = section.list("match");
    let removes = section.entry("match").is_none() || items.is_some_and(<[_]>::is_empty);
    let nodes = mappings(&section, items.unwrap_or_default());
    let matches = nodes.into_iter().filter_map(|node| header_match(&section, node)).collect();
    let name = name?;
    let problem = if name.len() > NAME_BYTES || name.chars().any(char::is_control) {
        let problem = Problem::new("the name of a header route is one line of at most 64 bytes");
        Some(problem.help("give it a shorter one"))
    } else if removes {
        forget(routes, &name)
    } else {
        remember(routes, &name)
    };
    if let Some(problem) = problem {
        section.error(&section.place("name"), problem);
    }
    section.finish();
    Some(HeaderRoute { name, matches })
}

fn remember(routes: &mut Vec<String>, name: &str) -> Option<Problem> {
    if !routes.iter().any(|known| known == name) {
        routes.push(name.to_owned());
    }
    let problem = || Problem::new(format!("more than {MAX_ROUTES} header routes would be in force at once"));
    (routes.len() > MAX_ROUTES)
        .then(|| problem().help("remove one by a step before, as in `setHeaderRoute: {name: beta}`"))
}

fn forget(routes: &mut Vec<String>, name: &str) -> Option<Problem> {
    if let Some(at) = routes.iter().position(|known| known == name) {
        routes.remove(at);
        return None;
    }
    let problem =
        Problem::new(format!("there is no header route `{name}` to remove: no step before this one sets it"));
    Some(match values::closest(name, routes.iter().map(String::as_str)) {
        Some(close) => problem.help(format!("did you mean `{close}`?")),
        None => problem.help("without `match` a step removes a route; add `match` to set it"),
    })
}

fn header_match(route: &Mapping<'_>, node: &Node) -> Option<HeaderMatch> {
    let section = Mapping::open(route.context, &fields::HEADER_MATCH, node, &node.span);
    let header_name = header_name(&section, "headerName", |name| match name {
        "host" => Some("`route.hosts` decides about hosts, before any header does"),
        "connection" | "transfer-encoding" | "content-length" | "te" | "upgrade" => {
            Some("it is about one connection, not about a user: match another header")
        }
        _ => None,
    });
    let header_value = section.entry("headerValue").and_then(|entry| {
        if is_single(&section, entry, |text| format!("write `headerValue: {{exact: {text}}}`")) {
            return None;
        }
        pattern(&section)
    });
    section.finish();
    Some(HeaderMatch { header_name: header_name?, header_value: header_value? })
}

fn pattern(header: &Mapping<'_>) -> Option<Pattern> {
    let section = header.child("headerValue", &fields::HEADER_VALUE);
    let example = "as in `headerValue: {exact: yes}`";
    let given = one_of(&section, &["exact", "prefix", "regex"], "a header's value", example)?;
    let text = |name| section.read(name, |scalar, _| values::written(scalar));
    let read = match given.key.as_str() {
        "exact" => text("exact").map(Pattern::Exact),
        "prefix" => text("prefix").map(Pattern::Prefix),
        _ => text("regex").map(Pattern::Regex),
    }?;
    section.finish();
    if let Err(problem) = sound(&read) {
        header.error(&given.value.span, problem);
    }
    Some(read)
}

/// Refuses what could never match, or is no regular expression.
fn sound(pattern: &Pattern) -> Result<(), Problem> {
    let (Pattern::Exact(text) | Pattern::Prefix(text) | Pattern::Regex(text)) = pattern;
    if text.is_empty() {
        let problem = Problem::new("an empty pattern says nothing");
        return Err(problem.help("any value at all is `regex: .*`"));
    }
    if text.len() > REGEX_VALUE_BYTES {
        return Err(Problem::new(format!("the pattern is longer than {REGEX_VALUE_BYTES} bytes")));
    }
    let blank = |c: char| c == ' ' || c == '\t';
    let padded = match pattern {
        Pattern::Exact(text) => text.trim_matches(blank) != text,
        Pattern::Prefix(text) => text.starts_with(blank),
        Pattern::Regex(_) => false,
    };
    let controls = text.chars().any(|c| c.is_control() && c != '\t');
    if padded || (controls && !matches!(pattern, Pattern::Regex(_))) {
        let problem =
            Problem::new("no header has such a value: blanks around it and line ends are not part of it");
        return Err(problem.help("remove them"));
    }
    let told = |reason| Problem::new(format!("not a regular expression: {reason}"));
    let help = "the whole value has to match; there is no look-around, and `\\.` is a plain dot";
    pattern.compile().map(|_| ()).map_err(|reason| told(reason).help(help))
}

/// A header's name, in lower case; `refused` says what else to do instead of some.
fn header_name(
    section: &Mapping<'_>,
    field: &'static str,
    refused: impl Fn(&str) -> Option<&'static str>,
) -> Option<String> {
    let name = section.text(field)?.to_ascii_lowercase();
    if !is_name(&name) {
        let problem = Problem::new(format!("`{name}` is not the name of a header"));
        section.error(&section.place(field), problem.help("use letters, digits and `-`, at most 64"));
        return None;
    }
    if let Some(help) = refused(&name) {
        let problem = Problem::new(format!("`{name}` cannot be used here"));
        section.error(&section.place(field), problem.help(help));
        return None;
    }
    Some(name)
}

/// Whether a header or a cookie may have this name here.
fn is_name(name: &str) -> bool {
    name.len() <= NAME_BYTES && check::is_token(name)
}

/// Reads by what users are known; `None` when it is absent or cannot be read.
pub(crate) fn affinity(canary: &Mapping<'_>) -> Option<SessionAffinity> {
    let entry = canary.entry("sessionAffinity")?;
    if is_single(canary, entry, |_| "write `sessionAffinity: {cookie: {}}`".to_owned()) {
        return None;
    }
    let section = canary.child("sessionAffinity", &fields::SESSION_AFFINITY);
    let example = "as in `sessionAffinity: {cookie: {}}` or `sessionAffinity: {header: {name: x-user}}`";
    let given = one_of(&section, &["cookie", "header"], "session affinity", example)?;
    let read = match given.key.as_str() {
        "cookie" => Some(cookie(&section)),
        _ => header(&section),
    };
    section.finish();
    read
}

/// Whether anybody is kept on a release, where that is asked for: there have to be times when both releases have a share.
/// `strategy` is `None` when it cannot be read, and `canary` is what was read of the canary.
pub(crate) fn kept(rollout: &Mapping<'_>, strategy: Option<&str>, canary: &Kind) -> Option<Section> {
    let section = rollout.entry("canary")?.value.map()?;
    let span = section.get("sessionAffinity").filter(|entry| !entry.value.is_null())?.key_span.clone();
    // Steps that could not be read may have been meant to.
    let is_read = |steps: &[Step]| match section.get("steps").map(|entry| &entry.value.value) {
        Some(Value::List(items)) => items.len() == steps.len(),
        Some(Value::Scalar(_) | Value::Map(_)) => false,
        Some(Value::Null) | None => true,
    };
    let in_vain = match (strategy, canary) {
        (Some("canary"), Kind::Canary { steps, .. }) if is_read(steps) => {
            let nobody = "`sessionAffinity` keeps nobody: no step shares the requests between two releases";
            let problem = Problem::new(nobody).help("add a step such as `setWeight: 20`, or remove it");
            (!steps.iter().any(Step::shares)).then_some(problem)
        }
        (None | Some("canary"), _) => None,
        (Some(other), _) => {
            let message = format!("`sessionAffinity` keeps nobody on a release: the strategy is `{other}`");
            let help = "users are dealt a release by the steps of a canary: make it `strategy: canary`, or remove it";
            Some(Problem::new(message).help(help))
        }
    };
    Some(Section { span, unused: in_vain.map(Unused::Error) })
}

fn header(affinity: &Mapping<'_>) -> Option<SessionAffinity> {
    let section = affinity.child("header", &fields::AFFINITY_HEADER);
    let name = header_name(&section, "name", |name| {
        (name == "cookie").then_some("a user's cookies change: name one under `sessionAffinity.cookie`")
    });
    section.finish();
    Some(SessionAffinity::Header { name: name? })
}

fn cookie(affinity: &Mapping<'_>) -> SessionAffinity {
    let section = affinity.child("cookie", &fields::AFFINITY_COOKIE);
    let name = section.text("name").unwrap_or_default();
    if section.entry("name").is_some() && !is_name(&name) {
        let problem = Problem::new(format!("`{name}` is not the name of a cookie"));
        section.error(&section.place("name"), problem.help("use letters, digits, `-` and `_`, at most 64"));
    }
    if SECURE_PREFIXES.into_iter().any(|prefix| name.to_ascii_lowercase().starts_with(prefix)) {
        let problem = Problem::new(format!("browsers take `{name}` with the attribute Secure alone"));
        let help = "the gateway speaks plain HTTP and cannot give it: choose a name without that prefix";
        section.error(&section.place("name"), problem.help(help));
    }
    let max_age = section.duration("maxAge");
    if max_age < LEAST_AGE {
        let problem = Problem::new("a cookie's age is told in seconds, and zero would remove it");
        section.error(&section.place("maxAge"), problem.help("use at least 1s"));
    }
    section.finish();
    SessionAffinity::Cookie { name, max_age }
}
