//! Who asks for a change, and whether they ask again: the actor as it is recorded, and the idempotency key. Does not
//! live here: what is asked.
//!
//! An actor names itself. Over the socket the system says which user is connected, and only control's own user and
//! root can connect; so a name is recorded as it is when control's own user gives it, and as `NAME (uid N)` when
//! another user does, or when the name is one of a part of the system or looks as if it had been certified. Over TCP
//! it is `NAME (token)`: somebody who had the token.

use std::time::Duration;

use axum::extract::connect_info::ConnectInfo;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use model::Digest;
use runtime::{
    Ballot, Correct, Deploy, DeployGroup, EndSilence, Handle, LiftLock, Once, Operate, Retry, Rollback,
    SetLock, SetSilence, Ship, TestReceivers,
};
use serde::de::DeserializeOwned;

use crate::Stop;
use crate::errors::Decide;
use crate::problem::{self, Problem};
use crate::routes::{Faces, LARGEST_BODY_BYTES};

/// The header that carries the key.
pub(crate) const KEY: &str = "idempotency-key";
/// How long a request's body may take.
const BODY: Duration = Duration::from_secs(30);
const LONGEST_KEY_BYTES: usize = 128;
/// What the journal takes, and room for what is added.
const LONGEST_ACTOR_BYTES: usize = 224;
/// What the journal takes.
const LONGEST_REASON_BYTES: usize = 16 * 1024;
/// Names under which the system itself acts.
const PARTS: [&str; 3] = ["shipshape", "judge", "control"];

/// By which way somebody came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Over the socket, as this user.
    Peer { uid: Option<u32> },
    /// Over TCP, with the token.
    Token,
}

impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Token => f.write_str("the token, over TCP"),
            Self::Peer { uid: Some(uid) } => write!(f, "uid {uid}, over the socket"),
            Self::Peer { uid: None } => f.write_str("an unknown uid, over the socket"),
        }
    }
}

impl Caller {
    fn certified(self, name: &str, own: u32) -> String {
        match self {
            Self::Token => format!("{name} (token)"),
            Self::Peer { uid: Some(uid) } if uid == own && !PARTS.contains(&name) && !name.contains('(') => {
                name.to_owned()
            }
            Self::Peer { uid: Some(uid) } => format!("{name} (uid {uid})"),
            Self::Peer { uid: None } => format!("{name} (unknown uid)"),
        }
    }
}

/// A request that changes something.
pub(crate) trait Change: DeserializeOwned {
    fn actor(&mut self) -> &mut String;
    fn reason(&self) -> Option<&str>;
}

macro_rules! change {
    ($($request:ty),+) => {$(
        impl Change for $request {
            fn actor(&mut self) -> &mut String {
                &mut self.actor
            }

            fn reason(&self) -> Option<&str> {
                self.reason.as_deref()
            }
        }
    )+};
}
change!(Ballot, Deploy, DeployGroup, Ship, Rollback, Operate, SetLock, LiftLock, Decide, Stop);
change!(EndSilence, TestReceivers);

impl Change for Retry {
    fn actor(&mut self) -> &mut String {
        &mut self.actor
    }

    fn reason(&self) -> Option<&str> {
        Some(&self.reason)
    }
}

impl Change for SetSilence {
    fn actor(&mut self) -> &mut String {
        &mut self.actor
    }

    fn reason(&self) -> Option<&str> {
        Some(&self.reason)
    }
}

impl Change for Correct {
    fn actor(&mut self) -> &mut String {
        &mut self.actor
    }

    fn reason(&self) -> Option<&str> {
        Some(&self.reason)
    }
}

/// A change that is asked for, and the handle that makes it once.
pub(crate) struct Asked<T> {
    pub(crate) request: T,
    pub(crate) control: Handle,
}

impl<T: Change> FromRequest<Faces> for Asked<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, faces: &Faces) -> Result<Self, Problem> {
        let caller = request.extensions().get::<ConnectInfo<Caller>>().map(|ConnectInfo(caller)| *caller);
        let caller = caller.unwrap_or(Caller::Peer { uid: None });
        let key = key(request.headers())?;
        let path = request.uri().path().to_owned();
        let body = whole(request).await?;
        let mut request: T = serde_json::from_slice(&body).map_err(|error| {
            Problem::malformed(format!("the request's body is not what is expected here: {error}"))
                .instead("`shipshape` and control may be of different versions: `shipshape --version`")
        })?;
        check(request.reason().map(str::to_owned).as_deref(), request.actor())?;
        let actor = request.actor();
        *actor = caller.certified(actor, rustix::process::geteuid().as_raw());
        tracing::info!(event = "auth.granted", from = %caller, actor, path, "a change is asked for");
        let control = match key {
            Some(key) => {
                let asked = [path.as_bytes(), b"\n", &body].concat();
                faces.control.once(Once { key, request: Digest::of(&asked) })
            }
            None => faces.control.clone(),
        };
        Ok(Self { request, control })
    }
}

/// The body, when it is neither too large nor too late.
pub(crate) async fn whole(request: Request) -> Result<Bytes, Problem> {
    let body = tokio::time::timeout(BODY, Bytes::from_request(request, &())).await.map_err(|_| {
        let what = format!("the request's body did not come within {} seconds", BODY.as_secs());
        Problem::new(StatusCode::REQUEST_TIMEOUT, problem::MALFORMED, what).instead("send it in one go")
    })?;
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let what = format!("the request is larger than {LARGEST_BODY_BYTES} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, problem::TOO_LARGE, what)
                .instead("a manifest is a few kilobytes; artifacts are sent as a path")
        }
        _ => Problem::malformed(rejection.body_text()),
    })
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut all = headers.get_all(KEY).iter();
    let Some(value) = all.next() else { return Ok(None) };
    let is_visible = value.as_bytes().iter().all(u8::is_ascii_graphic);
    let is_sized = (1..=LONGEST_KEY_BYTES).contains(&value.len());
    match value.to_str() {
        Ok(key) if is_visible && is_sized && all.next().is_none() => Ok(Some(key.to_owned())),
        Ok(_) | Err(_) => {
            let what = format!(
                "the header Idempotency-Key is no key of 1 to {LONGEST_KEY_BYTES} visible characters"
            );
            Err(Problem::malformed(what).instead("send a fresh random one with each new request, as a UUID"))
        }
    }
}

/// The journal would refuse these too, but it would sound like the disk's fault.
fn check(reason: Option<&str>, actor: &str) -> Result<(), Problem> {
    if actor.trim().is_empty() || actor.len() > LONGEST_ACTOR_BYTES || actor.chars().any(char::is_control) {
        let what = format!(
            "the actor has {} bytes: it needs 1 to {LONGEST_ACTOR_BYTES}, without control characters",
            actor.len()
        );
        return Err(Problem::malformed(what).instead("say who asks; it goes into the journal"));
    }
    let length = reason.map_or(0, str::len);
    if length > LONGEST_REASON_BYTES {
        let what =
            format!("the reason has {length} bytes: at most {LONGEST_REASON_BYTES} fit into the journal");
        return Err(Problem::malformed(what).instead("say it in fewer words, and link to the rest"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_user_is_recorded_by_name_alone() {
        let peer = |uid| Caller::Peer { uid };
        let certified = |caller: Caller, name| caller.certified(name, 1000);
        assert_eq!(certified(peer(Some(1000)), "ada"), "ada");
        assert_eq!(certified(peer(Some(0)), "ada"), "ada (uid 0)");
        assert_eq!(certified(peer(None), "ada"), "ada (unknown uid)");
        assert_eq!(certified(Caller::Token, "ada"), "ada (token)");
        assert_eq!(certified(peer(Some(1000)), "shipshape"), "shipshape (uid 1000)");
        assert_eq!(certified(peer(Some(1000)), "ada (uid 0)"), "ada (uid 0) (uid 1000)");
    }
}
