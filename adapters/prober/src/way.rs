//! Where one request goes, and where a redirect leads from there. Does not live here: sending it.

use hyper::Uri;
use hyper::http::uri::{Authority, PathAndQuery};

use crate::connect::bare;

/// Where one request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) is_tls: bool,
    /// Whom to connect to.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The header `Host`.
    pub(crate) named: String,
    /// With its query.
    pub(crate) path: String,
}

impl Way {
    /// To an absolute address.
    pub(crate) fn to(url: &str) -> Result<Self, String> {
        // What follows `#` stays with whoever asks.
        let url = url.split('#').next().unwrap_or_default();
        let uri: Uri = url.parse().map_err(|error| format!("it is no address: {error}"))?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) | None => return Err("it is neither http:// nor https://".to_owned()),
        };
        let authority = uri.authority().ok_or("it names no host")?;
        if authority.as_str().contains('@') {
            return Err("it holds a user or a password".to_owned());
        }
        Ok(Self {
            is_tls,
            host: bare(authority.host()).to_owned(),
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            named: authority.as_str().to_owned(),
            path: uri.path_and_query().map_or("/", PathAndQuery::as_str).to_owned(),
        })
    }

    /// To a host and path at this gateway.
    pub(crate) fn through(gateway: &str, host: Option<&str>, path: &str) -> Option<Self> {
        let (address, port) = crate::connect::split(gateway)?;
        let address = match address {
            "0.0.0.0" => "127.0.0.1",
            "::" => "::1",
            other => other,
        };
        let named = host.map_or_else(|| gateway.to_owned(), str::to_owned);
        Some(Self { is_tls: false, host: address.to_owned(), port, named, path: path.to_owned() })
    }

    /// Where `location` leads from here.
    pub(crate) fn next(&self, location: &str) -> Result<Self, String> {
        let location = location.split('#').next().unwrap_or_default();
        let scheme = if self.is_tls { "https" } else { "http" };
        if let Some(rest) = location.strip_prefix("//") {
            return self.elsewhere(&format!("{scheme}://{rest}"));
        }
        if has_scheme(location) {
            return self.elsewhere(location);
        }
        let path = self.path.split('?').next().unwrap_or("/");
        let joined = match location.as_bytes().first() {
            None => self.path.clone(),
            Some(b'/') => location.to_owned(),
            Some(b'?') => format!("{path}{location}"),
            Some(_) => format!("{}/{location}", path.rsplit_once('/').map_or("", |(folder, _)| folder)),
        };
        let path = without_dots(&joined);
        let _: PathAndQuery = path.parse().map_err(|error| format!("it is no path: {error}"))?;
        Ok(Self { path, ..self.clone() })
    }

    /// An absolute address; one of the same name stays at the gateway that was asked.
    fn elsewhere(&self, url: &str) -> Result<Self, String> {
        let to = Self::to(url)?;
        if to.is_tls == self.is_tls && to.named.eq_ignore_ascii_case(&self.named) {
            return Ok(Self { path: to.path, ..self.clone() });
        }
        Ok(to)
    }

    /// Whether what was told to one may be told to the other.
    pub(crate) fn is_of(&self, other: &Self) -> bool {
        let same_name = self.named.eq_ignore_ascii_case(&other.named);
        same_name && self.is_tls == other.is_tls && self.host == other.host && self.port == other.port
    }

    /// Who is asked, without the path, which may say what nobody should read.
    pub(crate) fn origin(&self) -> String {
        let named: Option<Authority> = self.named.parse().ok();
        let named = named.map_or_else(|| self.host.clone(), |named| named.to_string());
        format!("{}://{named}", if self.is_tls { "https" } else { "http" })
    }
}

/// Whether it begins with a scheme, as in `mailto:`.
fn has_scheme(text: &str) -> bool {
    let Some((scheme, _)) = text.split_once(':') else { return false };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// A path whose `.` and `..` are done (RFC 3986, section 5.2.4).
fn without_dots(path: &str) -> String {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let mut kept: Vec<&str> = Vec::new();
    let ends_in_folder = path.ends_with("/.") || path.ends_with("/..");
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => {
                let _ = kept.pop();
            }
            other => kept.push(other),
        }
    }
    let folder = if ends_in_folder && !kept.is_empty() { "/" } else { "" };
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    format!("/{}{folder}{query}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_the_standard_says() {
        let here = Way::to("http://a.org:8080/b/c?d").unwrap();
        for (location, expected) in [
            ("/x?y", "http://a.org:8080 /x?y"),
            ("x", "http://a.org:8080 /b/x"),
            ("../x#top", "http://a.org:8080 /x"),
            ("../../..", "http://a.org:8080 /"),
            ("./", "http://a.org:8080 /b/"),
            ("?z", "http://a.org:8080 /b/c?z"),
            ("", "http://a.org:8080 /b/c?d"),
            ("//e.org/f", "http://e.org /f"),
            ("https://e.org", "https://e.org /"),
        ] {
            let next = here.next(location).unwrap();
            assert_eq!(format!("{} {}", next.origin(), next.path), expected, "{location}");
        }
        for bad in ["mailto:me@a.org", "http://", "http://me:hush@e.org/", "ftp://e.org/", "/\u{7f}"] {
            assert!(here.next(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_told_to_one_is_told_to_nobody_else() {
        let here = Way::to("https://a.org/b").unwrap();
        assert!(here.is_of(&here.next("/c").unwrap()) && here.is_of(&here.next("https://A.org/").unwrap()));
        for elsewhere in ["http://a.org/b", "https://a.org:444/", "https://b.a.org/", "//c.org"] {
            assert!(!here.is_of(&here.next(elsewhere).unwrap()), "{elsewhere}");
        }
    }

    #[test]
    fn a_gateway_that_listens_everywhere_is_asked_here_and_keeps_what_is_its() {
        let way = Way::through("0.0.0.0:8080", Some("shop.example.org"), "/").unwrap();
        assert_eq!((way.host.as_str(), way.port), ("127.0.0.1", 8080));
        let next = way.next("http://shop.example.org/login").unwrap();
        assert_eq!((next.host.as_str(), next.path.as_str()), ("127.0.0.1", "/login"));
        assert_eq!(way.next("https://shop.example.org/login").unwrap().host, "shop.example.org");
        assert_eq!(Way::through("[::]:1", None, "/").unwrap().host, "::1");
    }
}
