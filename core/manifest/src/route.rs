//! Hosts, path prefixes, templates, timeouts and limits. Whether two environments claim the same requests is
//! decided here too; which replica gets a request is not.

use std::collections::BTreeSet;

use model::route::{Limits, Route, Timeouts};
use model::{EnvironmentName, ServiceName, Spec};

use crate::diagnostic::Problem;
use crate::fields;
use crate::node::Scalar;
use crate::read::Mapping;
use crate::values::{self, is_variable};

pub(crate) fn route(root: &Mapping<'_>, service: &ServiceName, environment: &EnvironmentName) -> Route {
    let route = root.child("route", &fields::ROUTE);
    let hosts = route.scalars("hosts", "a host name", host).map(unique);
    let prefixes = route.scalars("pathPrefixes", "a path", prefix).map(unique);
    for (name, list) in [("hosts", &hosts), ("pathPrefixes", &prefixes)] {
        if list.as_ref().is_some_and(Vec::is_empty) && route.list(name).is_some_and(<[_]>::is_empty) {
            let problem = Problem::new(format!("`{name}` is empty, so no request would arrive"));
            route.error(&route.place(name), problem.help("remove it to get the default"));
        }
    }
    let read = Route {
        hosts: hosts.unwrap_or_else(|| default_hosts(service, environment)),
        path_prefixes: prefixes.unwrap_or_else(|| vec!["/".to_owned()]),
        templates: route.scalars("templates", "a path template", template).map(unique).unwrap_or_default(),
        timeouts: timeouts(&route),
        limits: limits(&route),
    };
    route.finish();
    read
}

fn default_hosts(service: &ServiceName, environment: &EnvironmentName) -> Vec<String> {
    match environment.as_str() {
        "production" => vec!["*".to_owned()],
        _ => vec![format!("{service}.{environment}.localhost")],
    }
}

/// The first request that both would answer, previews included: a host and a prefix.
pub(crate) fn clash(a: &Spec, b: &Spec) -> Option<(String, String)> {
    let (ours, theirs) = (a.preview(), b.preview());
    let theirs: Vec<&Route> = std::iter::once(&b.route).chain(&theirs).collect();
    let mut ours = std::iter::once(&a.route).chain(&ours);
    ours.find_map(|ours| theirs.iter().find_map(|theirs| overlap(ours, theirs)))
}

fn overlap(a: &Route, b: &Route) -> Option<(String, String)> {
    let host = a.hosts.iter().find(|host| b.hosts.contains(host))?;
    let prefix = a.path_prefixes.iter().find(|prefix| b.path_prefixes.contains(prefix))?;
    Some((host.clone(), prefix.clone()))
}

fn timeouts(route: &Mapping<'_>) -> Timeouts {
    let timeouts = route.child("timeouts", &fields::TIMEOUTS);
    let read = Timeouts {
        connect: timeouts.duration("connect"),
        response: timeouts.duration("response"),
        idle: timeouts.duration("idle"),
    };
    timeouts.finish();
    read
}

fn limits(route: &Mapping<'_>) -> Limits {
    let limits = route.child("limits", &fields::LIMITS);
    let read = Limits {
        body_bytes: limits.bytes("maxBodySize").unwrap_or_default(),
        in_flight: limits.count("maxInFlight").unwrap_or_default(),
    };
    limits.finish();
    read
}

pub(crate) fn unique(list: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    list.into_iter().filter(|item| seen.insert(item.clone())).collect()
}

pub(crate) fn host(scalar: &Scalar) -> Result<String, Problem> {
    let host = values::written(scalar)?.to_ascii_lowercase();
    if host == "*" {
        return Ok(host);
    }
    let invalid = || Problem::new(format!("`{host}` is not a host name"));
    if host.contains("://") || host.contains('/') {
        return Err(invalid().help("leave out the scheme and the path; paths go under `pathPrefixes`"));
    }
    if let Some((name, _)) = host.split_once(':') {
        return Err(invalid().help(format!("leave out the port: `{name}`")));
    }
    let name = host.strip_prefix("*.").unwrap_or(&host);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if host.len() > 253 || !name.split('.').all(label) {
        return Err(invalid().help("use a name such as shop.example.org, *.example.org or `*` for any"));
    }
    Ok(host)
}

fn prefix(scalar: &Scalar) -> Result<String, Problem> {
    let path = values::path(scalar)?;
    if path.contains(['*', '{', '?']) {
        let problem = Problem::new(format!("`{path}` is not a path prefix"));
        return Err(problem.help(
            "a prefix holds everything below it: `/api` holds `/api/x`; patterns go under `templates`",
        ));
    }
    let trimmed = path.trim_end_matches('/');
    if trimmed.split('/').skip(1).any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(Problem::new(format!("`{path}` has an empty or relative segment")));
    }
    Ok(if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() })
}

fn template(scalar: &Scalar) -> Result<String, Problem> {
    let path = values::path(scalar)?;
    let help = "use `{name}` for one segment and `{name...}` at the end for the rest";
    let mut names = BTreeSet::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (index, segment) in segments.iter().enumerate() {
        let Some(inner) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
            if segment.contains(['{', '}', '*']) || segment.starts_with(':') {
                return Err(Problem::new(format!("`{segment}` is not a segment of a template")).help(help));
            }
            continue;
        };
        let name = inner.strip_suffix("...").unwrap_or(inner);
        if name.len() < inner.len() && index + 1 < segments.len() {
            return Err(Problem::new(format!("`{segment}` takes the rest and must come last")).help(help));
        }
        if !is_variable(name) || !names.insert(name) {
            return Err(Problem::new(format!("`{segment}` is not a new name")).help(help));
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_without_scheme_or_port() {
        let host = |text| host(&Scalar::plain(text));
        assert_eq!(host("Shop.Example.org").unwrap(), "shop.example.org");
        assert!(host("*.example.org").is_ok() && host("*").is_ok());
        for bad in ["", "https://x", "x:80", "a..b", "-a", "a_b", "x.*"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn prefixes_lose_their_trailing_slash() {
        let prefix = |text| prefix(&Scalar::plain(text));
        assert_eq!((prefix("/api/").unwrap().as_str(), prefix("/").unwrap().as_str()), ("/api", "/"));
        for bad in ["api", "/a//b", "/a/../b", "/a/*", "/a b"] {
            assert!(prefix(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn templates_name_their_segments() {
        let template = |text| template(&Scalar::plain(text));
        assert!(template("/orders/{id}/items/{rest...}").is_ok());
        for bad in ["/{a...}/b", "/{a}/{a}", "/x{a}", "/:id", "/{}", "/*"] {
            assert!(template(bad).is_err(), "{bad}");
        }
    }
}
