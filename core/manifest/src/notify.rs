//! Who is told of alerts: receivers, routes to them, grouping, and which alerts mute others. What could never happen is
//! refused; what nobody would be told of is warned of.

use std::collections::BTreeMap;
use std::time::Duration;

use model::ServiceName;
use model::matcher::Matcher;
use model::notify::{APP, ENVIRONMENT, Grouping, InhibitRule, Notify, Receiver, Route, To};
use model::objective::Severity;
use model::spec::HeaderValue;

use crate::diagnostic::Problem;
use crate::node::{Entry, Node, Scalar, Value};
use crate::read::{Mapping, mismatch};
use crate::service::mappings;
use crate::{check, fields, headers, service, values};

/// Who is told; `None`: nobody.
pub(crate) fn notify(root: &Mapping<'_>) -> Option<Notify> {
    root.entry("notify")?;
    let notify = root.child("notify", &fields::NOTIFY);
    let receivers = receivers(&notify);
    // One that is wrong itself is declared all the same.
    let written = notify.entry("receivers").and_then(|entry| entry.value.map());
    let declared: Vec<&str> =
        written.iter().flat_map(|map| &map.entries).map(|entry| entry.key.as_str()).collect();
    let grouping = grouping(&notify, &Grouping::default());
    let routes = notify.list("routes").map(|items| {
        let items = mappings(&notify, items).into_iter();
        items.filter_map(|item| route(&notify, item, &declared, &grouping)).collect::<Vec<_>>()
    });
    let inhibit = notify
        .list("inhibitRules")
        .map(|items| mappings(&notify, items).into_iter().filter_map(|item| rule(&notify, item)).collect());
    let self_test = notify.flag("selfTest").unwrap_or(true);
    if let Some(routes) = &routes
        && !notify.context.partial
    {
        untold(&notify, routes, &receivers);
    }
    notify.finish();
    let routes = routes.unwrap_or_default();
    Some(Notify { receivers, routes, grouping, inhibit, self_test })
}

fn receivers(notify: &Mapping<'_>) -> BTreeMap<String, Receiver> {
    let entries = notify.entries("receivers");
    if let (Some(entry), true) = (notify.entry("receivers"), entries.is_empty() && !notify.context.partial) {
        let problem = Problem::new("there is nobody to tell");
        notify.error(&entry.key_span, problem.help("add a receiver, or remove `notify`"));
    }
    let read = |entry: &Entry| {
        // A DNS label, as every name of a team's own.
        if let Err(error) = entry.key.parse::<ServiceName>() {
            let problem = Problem::new(format!("`{}` cannot name a receiver: {}", entry.key, error.reason));
            let help = "use 1 to 63 of a-z, 0-9 and `-`, starting and ending with a letter or digit";
            notify.error(&entry.key_span, problem.help(help));
        }
        if entry.value.map().is_none() {
            mismatch(notify.context, &entry.value, "a mapping");
            return None;
        }
        Some((entry.key.clone(), receiver(notify, entry)?))
    };
    entries.iter().filter_map(read).collect()
}

fn receiver(notify: &Mapping<'_>, entry: &Entry) -> Option<Receiver> {
    let section = Mapping::open(notify.context, &fields::RECEIVER, &entry.value, &entry.key_span);
    let listed = section.entry("alertmanager").and_then(|entry| match &entry.value.value {
        Value::List(items) => Some(items.as_slice()),
        Value::Scalar(_) | Value::Map(_) | Value::Null => None,
    });
    let said = section.entry("webhook").map(|entry| &entry.value).into_iter();
    for node in said.chain(listed.unwrap_or_default()) {
        if node.scalar().is_some_and(|scalar| user(&scalar.text).is_some()) {
            section.context.sink.mask(&node.span);
        }
    }
    let webhook = section.entry("webhook").map(|entry| webhook(&section, entry));
    let cluster = section.scalars("alertmanager", "an address", |scalar| address(scalar, true));
    let headers = headers::read(&section);
    let ca_file = section.text("caFile");
    let (timeout, send_resolved) =
        (section.duration("timeout"), section.flag("sendResolved").unwrap_or(true));
    let open: Vec<&str> = match (&webhook, &cluster) {
        (Some(Some(HeaderValue::Text(url))), _) => vec![url],
        (_, Some(addresses)) => addresses.iter().map(String::as_str).collect(),
        (_, None) => vec![],
    };
    for address in &open {
        headers::in_the_open(&section, "address", address);
    }
    if let Some(entry) = section.entry("caFile").filter(|_| open.iter().any(|url| url.starts_with("http://")))
    {
        let problem = Problem::new("a server at http:// shows no certificate");
        section.error(&entry.key_span, problem.help("write the address with https://, or remove `caFile`"));
    }
    let to = match (webhook, cluster) {
        (Some(url), None) => url.map(To::Webhook),
        (None, Some(addresses)) if !addresses.is_empty() => Some(To::Alertmanager(addresses)),
        (None, Some(_)) => None,
        (Some(_), Some(_)) | (None, None) if section.context.partial => None,
        (Some(_), Some(_)) | (None, None) => {
            let problem =
                Problem::new(format!("`{}` needs exactly one of `webhook` and `alertmanager`", entry.key));
            let help =
                "as in `webhook: https://pager.example.org/hook` or `alertmanager: [http://127.0.0.1:9093]`";
            section.error(&entry.key_span, problem.help(help));
            None
        }
    };
    section.finish();
    Some(Receiver { to: to?, headers, ca_file, timeout, send_resolved })
}

fn webhook(section: &Mapping<'_>, entry: &Entry) -> Option<HeaderValue> {
    if entry.value.map().is_some() {
        return service::secret(section, entry).map(HeaderValue::Secret);
    }
    section.read("webhook", |scalar, _| address(scalar, false)).map(HeaderValue::Text)
}

/// A whole address; of a server, without a path that is added.
fn address(scalar: &Scalar, is_server: bool) -> Result<String, Problem> {
    let text = values::text(scalar)?;
    let example = if is_server { "http://127.0.0.1:9093" } else { "https://pager.example.org/hook" };
    let invalid =
        || Problem::new("this is no absolute address").help(format!("write it whole, as in `{example}`"));
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).ok_or_else(invalid)?;
    if user(&text).is_some() {
        let problem = Problem::new("the address holds a user or a password, which the journal would keep");
        return Err(
            problem.help("name it by reference, or use `headers` with an `authorization` by reference")
        );
    }
    check::authority(rest).map_err(|()| invalid())?;
    if is_server && rest.contains("/api/") {
        return Err(
            Problem::new("`/api/v2/alerts` is added").help(format!("end it before, as in `{example}`"))
        );
    }
    Ok(text)
}

/// Who an address says that asks, perhaps with a password.
fn user(address: &str) -> Option<&str> {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    Some(rest.split(['/', '?']).next()?.rsplit_once('@')?.0)
}

fn grouping(section: &Mapping<'_>, default: &Grouping) -> Grouping {
    let by = section.scalars("groupBy", "the name of a label", label);
    let or = |name: &'static str, default: Duration| section.optional_duration(name).unwrap_or(default);
    let read = Grouping {
        by: by.unwrap_or_else(|| default.by.clone()),
        wait: or("groupWait", default.wait),
        interval: or("groupInterval", default.interval),
        repeat: or("repeatInterval", default.repeat),
    };
    let is_said = section.entry("repeatInterval").is_some() || section.entry("groupInterval").is_some();
    if read.repeat < read.interval && is_said && !section.context.partial {
        let problem = Problem::new("what is told again is told no sooner than news");
        let help = format!("use at least {}", model::time::format_duration(read.interval));
        section.error(&section.place("repeatInterval"), problem.help(help));
    }
    read
}

fn label(scalar: &Scalar) -> Result<String, Problem> {
    let name = values::text(scalar)?;
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_name = name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_ascii_digit());
    match is_name || name == "..." {
        true => Ok(name),
        false => {
            Err(Problem::new(format!("`{name}` is no name of a label")).help("use letters, digits and `_`"))
        }
    }
}

fn matcher(scalar: &Scalar) -> Result<Matcher, Problem> {
    let text = values::text(scalar)?;
    text.parse().map_err(|what: String| Problem::new(what))
}

fn route(notify: &Mapping<'_>, item: &Node, declared: &[&str], grouping: &Grouping) -> Option<Route> {
    let section = Mapping::open(notify.context, &fields::ROUTE_TO, item, &item.span);
    let receiver = section.text("receiver");
    if let Some(name) = receiver.as_deref().filter(|name| !declared.contains(name))
        && !notify.context.partial
    {
        let help = match values::closest(name, declared.iter().copied()) {
            Some(close) => format!("did you mean `{close}`?"),
            None if declared.is_empty() => {
                format!("declare `{name}` under `receivers`, with a `webhook` or an `alertmanager`")
            }
            None => format!("declared are {}", declared.join(", ")),
        };
        section.error(
            &section.place("receiver"),
            Problem::new(format!("there is no receiver `{name}`")).help(help),
        );
    }
    let severity = section.scalars("severity", "P1, P2 or P3", |scalar| {
        let found = Severity::ALL.into_iter().find(|each| each.name() == scalar.text);
        found.ok_or_else(|| Problem::new(format!("expected P1, P2 or P3, found `{}`", scalar.text)))
    });
    let matchers = section.scalars("matchers", "a matcher", matcher).unwrap_or_default();
    let go_on = section.flag("continue").unwrap_or(false);
    let said = ["groupBy", "groupWait", "groupInterval", "repeatInterval"];
    let is_own = said.into_iter().any(|name| section.entry(name).is_some());
    let own = self::grouping(&section, grouping);
    section.finish();
    let severity = severity.unwrap_or_default();
    Some(Route { receiver: receiver?, severity, matchers, go_on, grouping: is_own.then_some(own) })
}

fn rule(notify: &Mapping<'_>, item: &Node) -> Option<InhibitRule> {
    let section = Mapping::open(notify.context, &fields::INHIBIT, item, &item.span);
    let source = section.scalars("sourceMatchers", "a matcher", matcher);
    let target = section.scalars("targetMatchers", "a matcher", matcher);
    let equal = section.scalars("equal", "the name of a label", label);
    for (name, matchers) in [("sourceMatchers", &source), ("targetMatchers", &target)] {
        if matchers.as_ref().is_some_and(Vec::is_empty) {
            let problem = Problem::new("without a matcher, this is every alert");
            section.error(&section.place(name), problem.help("as in `severity=\"P1\"`"));
        }
    }
    section.finish();
    let equal = equal.unwrap_or_else(|| [APP, ENVIRONMENT].map(str::to_owned).to_vec());
    Some(InhibitRule { source: source?, target: target?, equal })
}

/// Warns of what no route takes, and of who is never told.
fn untold(notify: &Mapping<'_>, routes: &[Route], receivers: &BTreeMap<String, Receiver>) {
    let takes = |severity: Severity| {
        let is_taken = |route: &Route| {
            route.matchers.is_empty() && (route.severity.is_empty() || route.severity.contains(&severity))
        };
        routes.iter().any(is_taken)
    };
    let missing: Vec<&str> = Severity::ALL.into_iter().filter(|it| !takes(*it)).map(Severity::name).collect();
    let span = notify.place("routes");
    if !missing.is_empty() {
        let problem =
            Problem::new(format!("nobody may be told of an alert with severity {}", missing.join(", ")));
        let help = "end with a route that has no matchers, as in `- receiver: chat`";
        notify.context.sink.warning(&span, problem.help(help));
    }
    let is_used = |name: &&String| routes.iter().any(|route| route.receiver == **name);
    for name in receivers.keys().filter(|name| !is_used(name)) {
        let problem = Problem::new(format!("no route leads to the receiver `{name}`"));
        notify.context.sink.warning(&span, problem.help("add one, or remove the receiver"));
    }
}
