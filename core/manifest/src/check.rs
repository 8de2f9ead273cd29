//! Looks from outside: requests with the answer that is expected, and commands. Does not live here: the rules that they
//! are the source of (`analysis`).

use model::check::{Command, Expect, Http, Target};

use crate::diagnostic::Problem;
use crate::fields;
use crate::node::{Entry, Value};
use crate::read::{Mapping, mismatch, scalar_in};
use crate::service::command_line;
use crate::values;

/// Headers whose values are secret more often than not.
const SECRET_HEADERS: [&str; 5] =
    ["authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token"];

/// Where a secret is better kept.
const FROM_A_FILE: &str = "use a `command` that reads it from a file";

/// The `http` of a section; `None` when it is absent or cannot be read.
pub(crate) fn http(section: &Mapping<'_>) -> Option<Http> {
    section.entry("http")?;
    let http = section.child("http", &fields::CHECK_HTTP);
    let expected = http.child("expect", &fields::EXPECT);
    let expect = Expect {
        status: expected.integer("status").and_then(|status| u16::try_from(status).ok()),
        body_contains: expected.text("bodyContains"),
    };
    expected.finish();
    let read = Http {
        target: target(&http)?,
        method: http.choice("method", &[]).unwrap_or("GET").to_owned(),
        headers: http
            .entries("headers")
            .iter()
            .filter_map(|entry| header(&http, entry, FROM_A_FILE))
            .collect(),
        expect,
        timeout: http.duration("timeout"),
    };
    if read.method == "HEAD"
        && let Some(entry) = expected_body(section)
    {
        let problem = Problem::new("an answer to HEAD has no body");
        http.error(&entry.key_span, problem.help("use `method: GET`, or expect a status alone"));
    }
    http.finish();
    Some(read)
}

fn expected_body<'a>(section: &Mapping<'a>) -> Option<&'a Entry> {
    section.entry("http")?.value.map()?.get("expect")?.value.map()?.get("bodyContains")
}

fn target(http: &Mapping<'_>) -> Option<Target> {
    let (path, url) = (http.path("path"), http.text("url"));
    match (path, url) {
        (Some(path), None) => Some(Target::Path(path)),
        (None, Some(url)) => {
            if let Err(problem) = absolute(&url) {
                http.error(&http.place("url"), problem);
            }
            Some(Target::Url(url))
        }
        (Some(_), Some(_)) => {
            let problem = Problem::new("`http` has both a `path` and a `url`");
            let help = "`path` asks the new release, `url` somebody else: remove one";
            http.error(&http.at, problem.help(help));
            None
        }
        (None, None) => {
            // What is there and cannot be read was said already.
            if http.entry("path").or(http.entry("url")).is_none() && !http.context.partial {
                let problem = Problem::new("`http` needs a `path` or a `url`");
                let help = "`path: /healthz` asks the new release, `url: http://host/path` somebody else";
                http.error(&http.at, problem.help(help));
            }
            None
        }
    }
}

fn absolute(url: &str) -> Result<(), Problem> {
    if url.starts_with("https://") {
        let problem = Problem::new("https is not supported yet");
        return Err(problem.help("use a `command`, as in `command: {run: curl -fsS https://...}`"));
    }
    let invalid = || {
        Problem::new(format!("`{url}` is not an absolute address")).help(
            "write it whole, as in `url: http://127.0.0.1:9090/ready`, or `path: /ready` for the new release",
        )
    };
    let rest = url.strip_prefix("http://").ok_or_else(invalid)?;
    let user = rest.split(['/', '?']).next().unwrap_or_default();
    if user.contains('@') {
        let problem = Problem::new("the address holds a user or a password, which the journal would keep");
        return Err(problem.help(FROM_A_FILE));
    }
    authority(rest).map_err(|()| invalid())
}

/// Whether what follows `http://` names a host, and a port that is one.
pub(crate) fn authority(rest: &str) -> Result<(), ()> {
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (authority, None),
    };
    let plain = rest.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    let port_is_one = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if host.is_empty() || !plain || !port_is_one { Err(()) } else { Ok(()) }
}

/// What HTTP calls a token: the name of a header, or of a cookie.
pub(crate) fn is_token(name: &str) -> bool {
    let sound = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(sound)
}

/// A header as it may be declared; `instead` says where one belongs that is secret.
pub(crate) fn header(http: &Mapping<'_>, entry: &Entry, instead: &str) -> Option<(String, String)> {
    let name = header_name(http, entry)?;
    if SECRET_HEADERS.contains(&name.as_str()) {
        http.context.sink.mask(&entry.value.span);
        let problem = Problem::new(format!("the journal would keep what `{name}` says"));
        http.error(&entry.key_span, problem.help(instead));
        return None;
    }
    let value = scalar_in(http.context, &entry.value, "a string", values::written)?;
    if value.bytes().any(|b| !(b == b'\t' || (b' '..=b'~').contains(&b))) {
        let problem =
            Problem::new(format!("the value of `{name}` holds a character that no header may hold"));
        http.error(&entry.value.span, problem.help("use plain ASCII on one line"));
        return None;
    }
    Some((name, value))
}

/// A header's name, in small letters, if it may be declared.
pub(crate) fn header_name(http: &Mapping<'_>, entry: &Entry) -> Option<String> {
    let name = entry.key.to_ascii_lowercase();
    if !is_token(&name) {
        let problem = Problem::new(format!("`{}` is not the name of a header", entry.key));
        http.error(&entry.key_span, problem.help("use letters, digits and `-`"));
        return None;
    }
    if matches!(name.as_str(), "host" | "content-length" | "transfer-encoding" | "connection") {
        let problem = Problem::new(format!("`{name}` follows from the request and cannot be set"));
        http.error(&entry.key_span, problem.help("remove it"));
        return None;
    }
    Some(name)
}

/// The `command` of a section; `None` when it is absent or cannot be read.
pub(crate) fn command(section: &Mapping<'_>) -> Option<Command> {
    section.entry("command")?;
    let command = section.child("command", &fields::CHECK_COMMAND);
    let read = Command { run: words(&command), timeout: command.duration("timeout") };
    command.finish();
    (!read.run.is_empty()).then_some(read)
}

/// The words of a `run` that is a command line or a list; empty when it cannot be read, which was said then.
pub(crate) fn words(section: &Mapping<'_>) -> Vec<String> {
    let Some(entry) = section.entry("run") else { return vec![] };
    match &entry.value.value {
        Value::Scalar(scalar) => {
            let text = scalar_in(section.context, &entry.value, "a string", values::text);
            let line = text.and_then(|_| command_line(section, &entry.value, scalar));
            line.map_or_else(Vec::new, |(program, args)| std::iter::once(program).chain(args).collect())
        }
        Value::List(items) => {
            let read = items.iter().map(|item| scalar_in(section.context, item, "a string", values::written));
            let words: Option<Vec<String>> = read.collect();
            let words = words.unwrap_or_default();
            if words.first().is_none_or(|program| program.trim().is_empty()) {
                let problem = Problem::new("the command names no program");
                section.error(&entry.value.span, problem.help("as in `run: [./smoke-test, --quick]`"));
                return vec![];
            }
            words
        }
        Value::Map(_) | Value::Null => {
            mismatch(section.context, &entry.value, "a command line or a list");
            vec![]
        }
    }
}
