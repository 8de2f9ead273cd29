//! Headers that may be secret, and whether what is secret travels in the open. Does not live here: which headers may be
//! declared at all (`check`), and how a secret is named (`service`).

use std::collections::BTreeMap;

use model::spec::HeaderValue;

use crate::diagnostic::Problem;
use crate::node::Entry;
use crate::read::Mapping;
use crate::{check, service};

/// The `headers` of a section: each a text, or a reference to a secret.
pub(crate) fn read(section: &Mapping<'_>) -> BTreeMap<String, HeaderValue> {
    let mut found = BTreeMap::new();
    for entry in section.entries("headers") {
        let read = if entry.value.map().is_some() {
            check::header_name(section, entry).zip(service::secret(section, entry).map(HeaderValue::Secret))
        } else {
            let by_reference = format!(
                "name where it is found: `{0}: {{environment: TOKEN}}` or `{0}: {{file: /run/secrets/token}}`",
                entry.key
            );
            let text = check::header(section, entry, &by_reference);
            text.map(|(name, value)| (name, HeaderValue::Text(value)))
        };
        let Some((name, value)) = read else { continue };
        if found.insert(name, value).is_some() {
            twice(section, entry);
        }
    }
    found
}

/// A header that is there twice, perhaps in letters of another size.
pub(crate) fn twice(section: &Mapping<'_>, entry: &Entry) {
    let problem = Problem::new(format!("`{}` is said twice", entry.key));
    section.error(&entry.key_span, problem.help("remove one of the two"));
}

/// Warns of each secret of a section that goes to another machine without encryption; `address` is the field that says
/// where.
pub(crate) fn in_the_open(section: &Mapping<'_>, field: &'static str, address: &str) {
    let Some(rest) = address.strip_prefix("http://") else { return };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    // One with a user or a password is refused anyway, and not to be repeated.
    if authority.contains('@') || is_here(authority) {
        return;
    }
    let headers = section.entries("headers").iter().filter(|entry| entry.value.map().is_some());
    let known = |name: &&str| section.object.field(name).is_some();
    let others = ["bearerToken", "basicAuth"].into_iter().filter(known);
    let others = others.filter_map(|name| section.entry(name));
    for secret in others.chain(headers) {
        let problem =
            Problem::new(format!("`{}` is secret, and goes to {authority} in the open", secret.key));
        let help = format!("write the `{field}` with https://, or name one on this machine");
        section.context.sink.warning(&secret.key_span, problem.help(help));
    }
}

/// Whether a host with its port is this machine: nothing on the way can listen.
fn is_here(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        Some(_) | None => authority,
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    let name = bare.trim_end_matches('.').to_ascii_lowercase();
    is_loopback || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_several_names_and_others_look_like_them() {
        for here in
            ["localhost:4318", "LOCALHOST", "a.localhost:1", "127.0.0.1:80", "127.1.2.3", "[::1]:80", "[::1]"]
        {
            assert!(is_here(here), "{here}");
        }
        for there in
            ["example.org", "10.0.0.1:80", "localhost.example.org", "127.0.0.1.example.org", "[fe80::1]:80"]
        {
            assert!(!is_here(there), "{there}");
        }
    }
}
