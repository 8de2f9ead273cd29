//! The vocabulary of probes from outside: who is asked, how often, and what the answer has to be. The probes of `health`
//! are their neighbour's business.

use super::{SECRET, WAIT};
use crate::shape::Elsewhere::{NotYet, Use};
use crate::shape::{Field, Key, Object, Shape};

/// How many probes a service may have in an environment.
pub(crate) const MOST: usize = 50;

const CA_FILE: Field = Field::new(
    "caFile",
    Shape::Text,
    "A file on control's machine with the certificates (PEM) that are trusted, instead of the machine's own.",
);
const SERVER_NAME: Field = Field::new(
    "serverName",
    Shape::Text,
    "The name that the certificate must be for, and that is asked for. The default is the address' own.",
);
const INSECURE: &str = "certificates are always checked: name those that you trust in `caFile`";

pub(crate) static PROBES: Object = Object {
    path: "probes[]",
    about: "A look from outside, whose result is a metric: exactly one of http, tcp, tls and dns.",
    fields: &[
        Field::new("name", Shape::Text, "Its name: the label `probe` of its metrics.").required(),
        Field::new("http", Shape::Object(&PROBE_HTTP), "A request."),
        Field::new("tcp", Shape::Object(&PROBE_TCP), "A connection can be opened."),
        Field::new(
            "tls",
            Shape::Object(&PROBE_TLS),
            "A connection can be opened, and its certificates are sound.",
        ),
        Field::new("dns", Shape::Object(&PROBE_DNS), "A name server answers."),
        Field::new("interval", WAIT, "How often: 1s to 4m, because PromQL looks 5m back.").or("30s"),
        Field::new(
            "timeout",
            WAIT,
            "How long one look may take, from the first name that is looked up to the last byte; shorter than the \
             interval. The default is 5s, or four fifths of a short interval.",
        ),
        Field::new("expect", Shape::Object(&PROBE_EXPECT), "What the answer has to be."),
    ],
    elsewhere: &[
        ("period", Use("interval")),
        ("periodSeconds", Use("interval")),
        ("scrapeInterval", Use("interval")),
        ("timeoutSeconds", Use("timeout")),
        ("url", Use("http.url")),
        ("path", Use("http.path")),
        ("conditions", Use("expect")),
        ("prober", NotYet("name its kind by a section: `http`, `tcp`, `tls` or `dns`")),
        ("module", NotYet("name its kind by a section: `http`, `tcp`, `tls` or `dns`")),
        ("icmp", NotYet("ICMP probes are not supported yet: use `tcp`")),
        ("grpc", NotYet("gRPC probes are not supported yet: use `tcp` or `tls`")),
    ],
};

pub(crate) static PROBE_HTTP: Object = Object {
    path: "probes[].http",
    about: "A request: to the service itself through the gateway, or to whatever answers at an address.",
    fields: &[
        Field::new(
            "path",
            Shape::Path,
            "A path of this service, asked through the gateway. Exactly one of path and url.",
        ),
        Field::new(
            "host",
            Shape::Text,
            "With path: the host that is asked for. The default is the first of route.hosts without `*`.",
        ),
        Field::new(
            "url",
            Shape::Text,
            "An absolute address, as in https://api.example.org/health. It is a label of the metrics, so nothing secret.",
        ),
        Field::new(
            "method",
            Shape::Choice(&["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
            "Its method.",
        )
        .or("GET"),
        Field::new(
            "headers",
            Shape::MapOf { key: Key::Title, value: &Shape::WrittenOr(&SECRET), max: 50 },
            "Its headers: a text, which the journal keeps, or a reference to a secret, as in {environment: API_KEY}, \
             whose value is the whole header. No redirect to another place carries them.",
        ),
        Field::new("bearerToken", Shape::Object(&SECRET), "A token that is asked for, by reference."),
        Field::new(
            "basicAuth",
            Shape::Object(&PROBE_BASIC_AUTH),
            "A name and a password that are asked for.",
        ),
        Field::new("body", Shape::Text, "Its body; the journal keeps it, so nothing secret."),
        Field::new(
            "followRedirects",
            Shape::Bool,
            "Whether an answer that sends elsewhere is followed, at most 10 times.",
        )
        .or("true"),
        CA_FILE,
        SERVER_NAME,
    ],
    elsewhere: &[
        ("uri", Use("url")),
        ("target", Use("url")),
        ("follow_redirects", Use("followRedirects")),
        ("noFollowRedirects", Use("followRedirects")),
        ("tls", Use("caFile")),
        ("status", Use("expect.status")),
        ("validStatusCodes", Use("expect.status")),
        ("insecure", NotYet(INSECURE)),
        ("insecureSkipVerify", NotYet(INSECURE)),
    ],
};

pub(crate) static PROBE_BASIC_AUTH: Object = Object {
    path: "probes[].http.basicAuth",
    about: "A name and a password.",
    fields: &[
        Field::new("username", Shape::Text, "The name.").required(),
        Field::new("password", Shape::Object(&SECRET), "The password, by reference.").required(),
    ],
    elsewhere: &[],
};

pub(crate) static PROBE_TCP: Object = Object {
    path: "probes[].tcp",
    about: "A connection.",
    fields: &[
        Field::new("address", Shape::Text, "Where, as in db.example.org:5432.").required(),
        Field::new(
            "send",
            Shape::Text,
            "What is said first; the journal keeps it, so nothing secret. `expect.bodyContains` and \
             `expect.bodyMatches` look at what is said then.",
        ),
    ],
    elsewhere: &[
        ("host", Use("address")),
        ("port", Use("address")),
        ("queryResponse", Use("send")),
        ("tls", Use("probes[].tls")),
    ],
};

pub(crate) static PROBE_TLS: Object = Object {
    path: "probes[].tls",
    about: "A connection with a handshake.",
    fields: &[
        Field::new("address", Shape::Text, "Where, as in shop.example.org:443.").required(),
        SERVER_NAME,
        CA_FILE,
    ],
    elsewhere: &[
        ("host", Use("address")),
        ("port", Use("address")),
        ("insecure", NotYet(INSECURE)),
        ("insecureSkipVerify", NotYet(INSECURE)),
        ("starttls", NotYet("STARTTLS is not supported yet: ask a port that begins with TLS")),
    ],
};

pub(crate) static PROBE_DNS: Object = Object {
    path: "probes[].dns",
    about: "A question to a name server.",
    fields: &[
        Field::new("name", Shape::Text, "The name that is asked for.").required(),
        Field::new(
            "type",
            Shape::Choice(&["A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"]),
            "The type of the records.",
        )
        .or("A"),
        Field::new(
            "server",
            Shape::Text,
            "Whom to ask, as in 192.0.2.53 or ns1.example.org:5353. The default is this machine's first name server.",
        ),
    ],
    elsewhere: &[
        ("queryName", Use("name")),
        ("query_name", Use("name")),
        ("queryType", Use("type")),
        ("query_type", Use("type")),
        ("address", Use("server")),
        ("resolver", Use("server")),
    ],
};

pub(crate) static PROBE_EXPECT: Object = Object {
    path: "probes[].expect",
    about: "What the answer has to be; what is left out is not asked for.",
    fields: &[
        Field::new(
            "status",
            Shape::List { item: &Shape::Written, max: 50 },
            "http: one of these, as in [2xx, 404]. The default is any of 2xx.",
        ),
        Field::new(
            "bodyContains",
            Shape::Text,
            "http, tcp: a text in what was answered, within the first mebibyte of a body.",
        ),
        Field::new(
            "bodyMatches",
            Shape::Text,
            "http, tcp: a regular expression that matches somewhere in what was answered.",
        ),
        Field::new("latency", WAIT, "The whole look takes no longer than this."),
        Field::new(
            "certificateValidFor",
            WAIT,
            "http, tls: every certificate that is shown is valid for so long at least, as in 336h.",
        ),
        Field::new(
            "rcode",
            Shape::Choice(&["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"]),
            "dns: the response code. The default is NOERROR, with an answer of the type at least.",
        ),
        Field::new(
            "answers",
            Shape::List { item: &Shape::Written, max: 50 },
            "dns: each of these is among the answers, as in 192.0.2.1 or `10 mail.example.org.`.",
        ),
    ],
    elsewhere: &[
        ("statusCode", Use("status")),
        ("body", Use("bodyContains")),
        ("contains", Use("bodyContains")),
        ("matches", Use("bodyMatches")),
        ("responseTime", Use("latency")),
        ("certificateExpiration", Use("certificateValidFor")),
        ("certificateExpiry", Use("certificateValidFor")),
    ],
};
