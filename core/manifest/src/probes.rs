//! Probes from outside: who is asked, how often, and which expectations make sense of whom. Does not live here: the
//! probes of replicas (`health`).

use std::collections::BTreeMap;
use std::time::Duration;

use model::probe::{Ask, Dns, Expect, Http, Probe, Status, Target, Tcp, Tls, Trust, pattern};
use model::route::Route;

use crate::diagnostic::Problem;
use crate::fields;
use crate::node::{Node, Scalar, Span, Value};
use crate::read::Mapping;
use crate::service::mappings;
use crate::{check, headers, metrics, route, values};

/// Nobody needs to be asked more often.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
/// PromQL looks back five minutes for the latest sample: beyond, a probe would seem to come and go.
const LONGEST_INTERVAL: Duration = Duration::from_secs(240);
/// The timeout of those that name none.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest body and the longest greeting in bytes.
const LONGEST_TEXT: usize = 64 * 1024;

/// The kinds, and what each understands of an expectation.
const KINDS: [(&str, &[&str]); 4] = [
    ("http", &["status", "bodyContains", "bodyMatches", "latency", "certificateValidFor"]),
    ("tcp", &["bodyContains", "bodyMatches", "latency"]),
    ("tls", &["latency", "certificateValidFor"]),
    ("dns", &["latency", "rcode", "answers"]),
];

/// The probes of a manifest, each with a name of its own.
pub(crate) fn probes(root: &Mapping<'_>, route: &Route) -> Vec<Probe> {
    let mut probes = Vec::new();
    let mut names: BTreeMap<String, Span> = BTreeMap::new();
    for item in mappings(root, root.list("probes").unwrap_or_default()) {
        let Some(probe) = probe(root, item, route) else { continue };
        let span = item.map().and_then(|map| map.get("name")).map_or(&item.span, |entry| &entry.value.span);
        if let Some(first) = names.get(&probe.name) {
            let problem = Problem::new(format!("two probes have the name `{}`", probe.name));
            root.context.sink.error_with(
                span,
                problem.help("give each its own name"),
                first,
                "the first one",
            );
        }
        names.insert(probe.name.clone(), span.clone());
        probes.push(probe);
    }
    probes
}

fn probe(root: &Mapping<'_>, item: &Node, route: &Route) -> Option<Probe> {
    let probe = Mapping::open(root.context, &fields::PROBES, item, &item.span);
    let name = probe.read("name", |scalar, _| name(scalar));
    let (interval, timeout) = times(&probe);
    let (ask, kind) = (ask(&probe, route), kind(&probe));
    let expect = expect(&probe, timeout);
    if let (Some(Ask::Http(http)), Some(section)) = (&ask, probe.entry("http")) {
        sense(&probe, http, &expect, &section.key_span);
    }
    if let Some(kind) = kind {
        foreign(&probe, kind);
    }
    probe.finish();
    Some(Probe { name: name?, ask: ask?, interval, timeout, expect })
}

fn name(scalar: &Scalar) -> Result<String, Problem> {
    let name = values::text(scalar)?;
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    match plain && name.len() <= 63 {
        true => Ok(name),
        false => Err(Problem::new(format!("`{name}` cannot name a probe"))
            .help("use up to 63 letters, digits, `-`, `_` and `.`, as in `checkout-page`")),
    }
}

fn times(probe: &Mapping<'_>) -> (Duration, Duration) {
    let interval = probe.duration("interval");
    if !(SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&interval) {
        let problem = Problem::new("`interval` is 1s to 4m");
        let help = "PromQL looks back 5m: a probe that is rarer would seem to come and go";
        probe.error(&probe.place("interval"), problem.help(help));
    }
    let timeout = probe.optional_duration("timeout").unwrap_or_else(|| TIMEOUT.min(interval / 5 * 4));
    if timeout >= interval && probe.entry("timeout").is_some() {
        let problem = Problem::new("a look may not take as long as the time until the next one");
        let interval = model::time::format_duration(interval);
        let help = format!("write a `timeout` below the interval of {interval}, or a longer `interval`");
        probe.error(&probe.place("timeout"), problem.help(help));
    }
    (interval, timeout)
}

/// Which kind it is; more or less than one is reported.
fn kind(probe: &Mapping<'_>) -> Option<&'static str> {
    let mut given = KINDS.iter().filter_map(|(kind, _)| probe.entry(kind).map(|entry| (*kind, entry)));
    let (first, second) = (given.next(), given.next());
    match (first, second) {
        (None, _) if probe.has_unknown() => {}
        (None, _) => {
            let problem = Problem::new("a probe needs `http`, `tcp`, `tls` or `dns`");
            let help = "as in `http: {path: /}`, `http: {url: https://...}`, `tcp: {address: db:5432}`, \
                        `tls: {address: shop.example.org:443}` or `dns: {name: shop.example.org}`";
            probe.error(&probe.at, problem.help(help));
        }
        (Some(_), Some((_, second))) => {
            let problem = Problem::new("a probe has one of `http`, `tcp`, `tls` and `dns`");
            probe.error(&second.key_span, problem.help("make it two probes"));
        }
        (Some(_), None) => {}
    }
    first.map(|(kind, _)| kind)
}

fn ask(probe: &Mapping<'_>, route: &Route) -> Option<Ask> {
    let http = http(probe, route).map(|http| Ask::Http(Box::new(http)));
    let (tcp, tls, dns) = (tcp(probe).map(Ask::Tcp), tls(probe).map(Ask::Tls), dns(probe).map(Ask::Dns));
    http.or(tcp).or(tls).or(dns)
}

fn http(probe: &Mapping<'_>, route: &Route) -> Option<Http> {
    probe.entry("http")?;
    let http = probe.child("http", &fields::PROBE_HTTP);
    let read = Http {
        target: target(&http, route)?,
        method: http.choice("method", &[]).unwrap_or("GET").to_owned(),
        headers: headers::read(&http),
        authentication: metrics::authentication(&http, &fields::PROBE_BASIC_AUTH),
        body: http.read("body", |scalar, _| limited(scalar)),
        follow_redirects: http.flag("followRedirects").unwrap_or(true),
        trust: trust(&http),
    };
    let is_named = read.authentication.is_some();
    let mut given = http.entries("headers").iter();
    if let Some(entry) = given.find(|entry| is_named && entry.key.eq_ignore_ascii_case("authorization")) {
        headers::twice(&http, entry);
    }
    if let Target::Url(url) = &read.target {
        headers::in_the_open(&http, "url", url);
    }
    http.finish();
    Some(read)
}

/// What the probes of a manifest are called, sound or not.
pub(crate) fn names<'a>(root: &Mapping<'a>) -> Vec<&'a str> {
    let Some(Value::List(items)) = root.entry("probes").map(|entry| &entry.value.value) else {
        return vec![];
    };
    let name = |item: &'a Node| item.map()?.get("name")?.value.scalar().map(|scalar| scalar.text.as_str());
    items.iter().filter_map(name).collect()
}

fn target(http: &Mapping<'_>, route: &Route) -> Option<Target> {
    let (path, url, host) = (http.path("path"), http.text("url"), http.entry("host"));
    match (path, url) {
        (Some(path), None) => Some(own(http, route, path)),
        (None, Some(url)) => {
            if let Err(problem) = absolute(&url) {
                if url.contains('@') {
                    http.context.sink.mask(&http.place("url"));
                }
                http.error(&http.place("url"), problem);
            }
            if let Some(host) = host {
                let problem = Problem::new("`host` belongs to `path`: a `url` names its own");
                http.error(&host.key_span, problem.help("remove it"));
            }
            Some(Target::Url(url))
        }
        (Some(_), Some(_)) => {
            let problem = Problem::new("`http` has both a `path` and a `url`");
            let help =
                "`path` asks this service through the gateway, `url` whatever answers there: remove one";
            http.error(&http.at, problem.help(help));
            None
        }
        (None, None) => {
            if http.entry("path").or(http.entry("url")).is_none() {
                let problem = Problem::new("`http` needs a `path` or a `url`");
                let help =
                    "`path: /` asks this service through the gateway, `url: https://host/path` somebody else";
                http.error(&http.at, problem.help(help));
            }
            None
        }
    }
}

/// The service itself. What the gateway would not give to it is no probe of it.
fn own(http: &Mapping<'_>, route: &Route, path: String) -> Target {
    let bare = path.split('?').next().unwrap_or_default();
    let holds = |prefix: &String| {
        let rest = bare.strip_prefix(prefix.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let is_whole = !http.context.partial;
    if is_whole && !route.path_prefixes.iter().any(holds) {
        let problem = Problem::new(format!("`{bare}` lies outside of `route.pathPrefixes`"));
        let help = "the gateway would not give it to this service: use a path below one of them, or a `url`";
        http.error(&http.place("path"), problem.help(help));
    }
    let named = http.read("host", |scalar, _| route::host(scalar));
    let answers = |host: &String| {
        route.hosts.iter().any(|pattern| match pattern.strip_prefix('*') {
            Some(below) => host.ends_with(below) && host.len() > below.len(),
            None => pattern == host,
        })
    };
    match &named {
        Some(host) if is_whole && (host.contains('*') || !answers(host)) => {
            let problem = Problem::new(format!("`{host}` is no host that this service answers"));
            http.error(&http.place("host"), problem.help("name one of `route.hosts`, without `*`"));
        }
        None if is_whole
            && http.entry("host").is_none()
            && route.hosts.iter().all(|it| it.starts_with("*.")) =>
        {
            let problem = Problem::new("the service answers hosts by pattern alone, so which is asked for?");
            let first = route.hosts.first().map_or("", String::as_str).trim_start_matches('*');
            http.error(&http.at, problem.help(format!("add a host, as in `host: www{first}`")));
        }
        Some(_) | None => {}
    }
    let first = || route.hosts.iter().find(|host| !host.contains('*')).cloned();
    Target::Gateway { path, host: named.or_else(first) }
}

fn absolute(url: &str) -> Result<(), Problem> {
    let invalid = || {
        Problem::new(format!("`{url}` is not an absolute address")).help(
            "write it whole, as in `url: https://api.example.org/health`, or `path: /` for this service",
        )
    };
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).ok_or_else(invalid)?;
    if rest.split(['/', '?']).next().unwrap_or_default().contains('@') {
        let problem = Problem::new("the address holds a user or a password, which the journal would keep");
        return Err(problem.help("use `basicAuth` with a `password` by reference"));
    }
    check::authority(rest).map_err(|()| invalid())
}

fn trust(section: &Mapping<'_>) -> Trust {
    let server_name = section.read("serverName", |scalar, _| {
        let name = values::text(scalar)?;
        let plain = !name.contains(|c: char| c.is_whitespace() || c.is_control() || "/:@*".contains(c));
        let problem = || Problem::new(format!("`{name}` is not the name of a server"));
        if plain {
            Ok(name.clone())
        } else {
            Err(problem().help("a host without port, as in shop.example.org"))
        }
    });
    Trust { ca_file: section.text("caFile"), server_name }
}

fn tcp(probe: &Mapping<'_>) -> Option<Tcp> {
    probe.entry("tcp")?;
    let tcp = probe.child("tcp", &fields::PROBE_TCP);
    let address = tcp.read("address", |scalar, _| address(scalar));
    let send = tcp.read("send", |scalar, _| limited(scalar));
    tcp.finish();
    Some(Tcp { address: address?, send })
}

fn tls(probe: &Mapping<'_>) -> Option<Tls> {
    probe.entry("tls")?;
    let tls = probe.child("tls", &fields::PROBE_TLS);
    let address = tls.read("address", |scalar, _| address(scalar));
    let trust = trust(&tls);
    tls.finish();
    Some(Tls { address: address?, trust })
}

fn dns(probe: &Mapping<'_>) -> Option<Dns> {
    probe.entry("dns")?;
    let dns = probe.child("dns", &fields::PROBE_DNS);
    let name = dns.read("name", |scalar, _| domain(scalar));
    let server = dns.read("server", |scalar, _| {
        let text = values::text(scalar)?;
        let bare = text.parse::<std::net::IpAddr>().is_ok();
        match bare || check::authority(&text) == Ok(()) && !text.contains(['/', '?']) {
            true => Ok(text),
            false => Err(Problem::new(format!("`{text}` is not the address of a name server"))
                .help("as in `192.0.2.53` or `ns1.example.org:5353`")),
        }
    });
    let record_type = dns.choice("type", &["ANY", "AXFR"]).unwrap_or("A").to_owned();
    dns.finish();
    Some(Dns { name: name?, record_type, server })
}

/// A name as DNS takes it: labels of 1 to 63 bytes, 253 in all.
fn domain(scalar: &Scalar) -> Result<String, Problem> {
    let name = values::text(scalar)?;
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    let bare = name.strip_suffix('.').unwrap_or(&name);
    match name == "." || (bare.len() <= 253 && bare.split('.').all(label)) {
        true => Ok(name),
        false => Err(Problem::new(format!("`{name}` is not a name of DNS"))
            .help("labels of letters, digits, `-` and `_`, as in shop.example.org")),
    }
}

fn address(scalar: &Scalar) -> Result<String, Problem> {
    let address = values::text(scalar)?;
    let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let plain = check::authority(&address) == Ok(()) && !address.contains(['/', '?', '@']);
    match has_port && plain {
        true => Ok(address),
        false => Err(Problem::new(format!("`{address}` is not an address"))
            .help("write host and port, as in `db.example.org:5432` or `[::1]:443`")),
    }
}

fn limited(scalar: &Scalar) -> Result<String, Problem> {
    let text = values::written(scalar)?;
    match text.len() <= LONGEST_TEXT {
        true => Ok(text),
        false => Err(Problem::new(format!("it has {} bytes; the most is {LONGEST_TEXT}", text.len()))),
    }
}

fn expect(probe: &Mapping<'_>, timeout: Duration) -> Expect {
    let expect = probe.child("expect", &fields::PROBE_EXPECT);
    let read = Expect {
        status: expect.scalars("status", "a status such as 200 or 2xx", status).unwrap_or_default(),
        body_contains: expect.text("bodyContains"),
        body_matches: expect.read("bodyMatches", |scalar, _| {
            let text = values::text(scalar)?;
            let wrong = |what: String| Problem::new(format!("it is not a regular expression: {what}"));
            pattern(&text).map(|_| text).map_err(wrong)
        }),
        latency: expect.optional_duration("latency"),
        certificate_valid_for: expect.optional_duration("certificateValidFor"),
        rcode: expect.choice("rcode", &[]).map(str::to_owned),
        answers: expect.scalars("answers", "a text", values::written).unwrap_or_default(),
    };
    if read.latency.is_some_and(|latency| latency >= timeout) {
        let problem = Problem::new("a look that takes so long is given up before");
        let help = format!("expect less than the timeout of {}", model::time::format_duration(timeout));
        expect.error(&expect.place("latency"), problem.help(help));
    }
    if let (Some(rcode), Some(entry)) = (read.rcode.as_deref(), expect.entry("answers"))
        && rcode != "NOERROR"
    {
        let problem = Problem::new(format!("a server that says {rcode} gives no answers"));
        expect.error(&entry.key_span, problem.help("remove `answers` or `rcode`"));
    }
    for name in ["status", "answers"] {
        if expect.list(name).is_some_and(<[_]>::is_empty) {
            let problem = Problem::new(format!("`{name}` is empty"));
            expect.error(&expect.place(name), problem.help("remove it to get the default"));
        }
    }
    expect.finish();
    read
}

fn status(scalar: &Scalar) -> Result<Status, Problem> {
    let text = scalar.text.as_str();
    let class = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX"));
    let number = |text: &str| text.parse::<u16>().ok();
    let found = match class {
        Some(class) => number(class).filter(|class| (1..=5).contains(class)).map(Status::Class),
        None => number(text).filter(|code| (100..=599).contains(code)).map(Status::Exactly),
    };
    found.ok_or_else(|| {
        Problem::new(format!("`{text}` is no status"))
            .help("use a number such as 204, or a class such as 2xx")
    })
}

/// Expectations that another kind of probe would understand.
fn foreign(probe: &Mapping<'_>, kind: &'static str) {
    let understood = KINDS.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, words)| words);
    let given = probe.entry("expect").and_then(|entry| entry.value.map());
    for entry in given.into_iter().flat_map(|map| &map.entries) {
        let known = fields::PROBE_EXPECT.field(&entry.key).is_some();
        if known && !entry.value.is_null() && !understood.contains(&entry.key.as_str()) {
            let problem = Problem::new(format!("`{}` has no meaning for `{kind}`", entry.key));
            let help = format!("remove it; `{kind}` knows {}", understood.join(", "));
            probe.error(&entry.key_span, problem.help(help));
        }
    }
}

/// Combinations of a request and expectations that could never hold, or mean nothing.
fn sense(probe: &Mapping<'_>, http: &Http, expect: &Expect, at: &Span) {
    let place = |section: &'static str, field: &str| {
        let entry = probe.entry(section).and_then(|entry| entry.value.map()).and_then(|map| map.get(field));
        entry.map_or_else(|| at.clone(), |entry| entry.key_span.clone())
    };
    let wrong = |section, field, what: &str, help: &str| {
        probe.error(&place(section, field), Problem::new(what).help(help));
    };
    let reads_body = expect.body_contains.is_some() || expect.body_matches.is_some();
    if http.method == "HEAD" && reads_body {
        wrong(
            "http",
            "method",
            "an answer to HEAD has no body",
            "use `method: GET`, or expect a status alone",
        );
    }
    if http.body.is_some() && matches!(http.method.as_str(), "GET" | "HEAD") {
        wrong("http", "body", "a GET or HEAD carries no body", "add `method: POST`, or remove `body`");
    }
    let redirect = |status: &Status| match status {
        Status::Class(class) => *class == 3,
        Status::Exactly(code) => matches!(code, 301 | 302 | 303 | 307 | 308),
    };
    if http.follow_redirects && !expect.status.is_empty() && expect.status.iter().all(redirect) {
        let help = "add `followRedirects: false` to `http`";
        wrong("expect", "status", "a redirect would be followed, so it is never the answer", help);
    }
    let is_plain = match &http.target {
        Target::Gateway { .. } => true,
        Target::Url(url) => url.starts_with("http://"),
    };
    let section_of = |name| if name == "certificateValidFor" { "expect" } else { "http" };
    for (name, given) in [
        ("caFile", http.trust.ca_file.is_some()),
        ("serverName", http.trust.server_name.is_some()),
        ("certificateValidFor", expect.certificate_valid_for.is_some()),
    ] {
        if given && is_plain {
            let what = format!("`{name}` needs https: this is asked without");
            wrong(section_of(name), name, &what, "use a `url` that begins with https://, or remove it");
        }
    }
}
