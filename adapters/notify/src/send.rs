//! One telling: a notification becomes requests, and their answers say whether it was taken. Whoever answers 2xx has taken it;
//! 4xx is a refusal that trying again soon does not mend; all else is trouble on the way.

use std::collections::BTreeMap;

use exchange::{Answer, Ask, exchange};
use futures_util::future::join_all;
use hyper::Method;
use model::Timestamp;
use model::notify::{Receiver, To};
use model::spec::HeaderValue;
use paging::Notification;
use ports::{Secret, Secrets};

use crate::form;

/// Answers are short, and nobody needs them.
const LARGEST_ANSWER_BYTES: usize = 256 * 1024;
/// How much of a receiver's own words is told.
const MOST_CHARACTERS: usize = 200;

/// Why a notification was not taken. Holds nothing secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The receiver does not want it.
    Refused(String),
    /// It did not get there, or the receiver could not.
    Trouble(String),
}

impl Failure {
    /// In words.
    pub fn what(&self) -> &str {
        match self {
            Self::Refused(what) | Self::Trouble(what) => what,
        }
    }
}

/// A receiver with the values behind its references.
pub struct Known {
    urls: Vec<Secret>,
    headers: Vec<(String, Secret)>,
}

impl Known {
    /// Looks the references up. It may block on a file.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(receiver: &Receiver, secrets: &dyn Secrets) -> Result<Self, Failure> {
        let value = |value: &HeaderValue| match value {
            HeaderValue::Text(text) => Ok(Secret::new(text.clone())),
            HeaderValue::Secret(source) => {
                secrets.resolve(source).map_err(|error| Failure::Trouble(error.to_string()))
            }
        };
        let headers: Result<BTreeMap<String, Secret>, Failure> =
            receiver.headers.iter().map(|(name, header)| Ok((name.clone(), value(header)?))).collect();
        let urls = match &receiver.to {
            To::Webhook(url) => vec![value(url)?],
            To::Alertmanager(addresses) => addresses
                .iter()
                .map(|address| Secret::new(format!("{}/api/v2/alerts", address.trim_end_matches('/'))))
                .collect(),
        };
        Ok(Self { urls, headers: headers?.into_iter().collect() })
    }

    /// A text without what nobody may be shown.
    fn hide(&self, text: &str, receiver: &Receiver) -> String {
        let is_secret = |name: &String| matches!(receiver.headers.get(name), Some(HeaderValue::Secret(_)));
        let headers = self.headers.iter().filter(|(name, _)| is_secret(name)).map(|(_, value)| value);
        let urls = self.urls.iter().filter(|_| matches!(receiver.to, To::Webhook(HeaderValue::Secret(_))));
        let hidden = headers.chain(urls).map(Secret::reveal).filter(|secret| !secret.is_empty());
        hidden.fold(text.to_owned(), |text, secret| text.replace(secret, "(secret)"))
    }
}

/// Tells a receiver.
///
/// # Errors
/// When it did not take everything.
pub async fn send(
    told: &Notification,
    known: &Known,
    external_url: &str,
    at: Timestamp,
) -> Result<(), Failure> {
    let receiver = &told.receiver;
    let bodies = match receiver.to {
        To::Webhook(_) => vec![form::webhook(told, external_url)],
        To::Alertmanager(_) => form::alertmanager(told, at),
    };
    for body in bodies {
        let all = known.urls.iter().map(|url| post(url, body.clone(), known, receiver));
        let answers = join_all(all).await;
        // One of a cluster is enough: they tell each other what they told.
        if answers.iter().any(Result::is_ok) {
            continue;
        }
        let failures: Vec<Failure> = answers.into_iter().filter_map(Result::err).collect();
        let what: Vec<&str> = failures.iter().map(Failure::what).collect();
        let what = known.hide(&what.join("; "), receiver);
        let is_refused =
            !failures.is_empty() && failures.iter().all(|failure| matches!(failure, Failure::Refused(_)));
        return Err(if is_refused { Failure::Refused(what) } else { Failure::Trouble(what) });
    }
    Ok(())
}

async fn post(url: &Secret, body: Vec<u8>, known: &Known, receiver: &Receiver) -> Result<(), Failure> {
    let mut headers = vec![("content-type".to_owned(), Secret::new("application/json".to_owned()))];
    headers.extend(known.headers.iter().filter(|(name, _)| name != "content-type").cloned());
    let answer = exchange(Ask {
        method: Method::POST,
        url: url.reveal(),
        headers,
        body,
        ca_file: receiver.ca_file.as_deref(),
        timeout: receiver.timeout,
        largest_answer_bytes: LARGEST_ANSWER_BYTES,
    });
    let answer = answer.await.map_err(|what| Failure::Trouble(named(receiver, url, &what)))?;
    judge(&answer).map_err(|failure| match failure {
        Failure::Refused(what) => Failure::Refused(named(receiver, url, &what)),
        Failure::Trouble(what) => Failure::Trouble(named(receiver, url, &what)),
    })
}

fn judge(answer: &Answer) -> Result<(), Failure> {
    let said = String::from_utf8_lossy(&answer.body);
    let said: String = said.chars().filter(|c| !c.is_control()).take(MOST_CHARACTERS).collect();
    let said = if said.trim().is_empty() { String::new() } else { format!(": {}", said.trim()) };
    match answer.status {
        200..=299 => Ok(()),
        // The server is there and asks for patience.
        408 | 429 => Err(Failure::Trouble(format!("answered {}{said}", answer.status))),
        300..=399 => Err(Failure::Refused(format!(
            "answered {}, a redirect: redirects are not followed, name the receiver itself",
            answer.status
        ))),
        400..=499 => Err(Failure::Refused(format!("answered {}{said}", answer.status))),
        _ => Err(Failure::Trouble(format!("answered {}{said}", answer.status))),
    }
}

/// Where it happened, unless the address is secret.
fn named(receiver: &Receiver, url: &Secret, what: &str) -> String {
    match &receiver.to {
        To::Webhook(HeaderValue::Secret(_)) => what.to_owned(),
        To::Webhook(HeaderValue::Text(_)) | To::Alertmanager(_) => format!("{}: {what}", url.reveal()),
    }
}
