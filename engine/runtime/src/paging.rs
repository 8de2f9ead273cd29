//! What is asked of silences and of tests of who is told. Not here: what it means (`paging`).

use std::time::Duration;

use lifecycle::{Command, Refusal};
use model::matcher::Matcher;
use model::{Place, Timestamp};
use paging::{SilenceId, Way};
use serde::{Deserialize, Serialize};

use crate::handle::{Error, Handle};

/// Tell nobody of some alerts for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetSilence {
    /// The alerts of which all of these hold, as `alertname="DiskFull"`.
    pub matchers: Vec<String>,
    /// From when on; from now on when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// For how long, in seconds.
    pub for_seconds: u64,
    /// Who asks.
    pub actor: String,
    /// Why, in their words; whoever looks for the alert reads it.
    pub reason: String,
}

/// Tell of them again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndSilence {
    /// Which silence.
    pub id: SilenceId,
    /// Who asks.
    pub actor: String,
    /// Why, in their words.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Prove now that receivers would be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TestReceivers {
    /// Whose.
    pub place: Place,
    /// Which; all of the place when absent.
    #[serde(default)]
    pub receiver: Option<String>,
    /// Who asks.
    pub actor: String,
    /// Why, in their words.
    #[serde(default)]
    pub reason: Option<String>,
}

impl Handle {
    /// Tells nobody of some alerts for a while. The answer is durable; the snapshot has the silence then.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn silence(&self, request: SetSilence) -> Result<SilenceId, Error> {
        let SetSilence { matchers, from, for_seconds, actor, reason } = request;
        let parsed: Result<Vec<Matcher>, String> = matchers.iter().map(|text| text.parse()).collect();
        let matchers = parsed.map_err(|what| {
            Refusal::new(what, "say what is silenced, as in `alertname=\"DiskFull\"` `app=\"shop\"`")
        })?;
        let at = self.snapshot().at;
        let until = from.filter(|from| *from > at).unwrap_or(at).after(Duration::from_secs(for_seconds));
        let command = paging::Command::Silence {
            matchers: matchers.clone(),
            from,
            until,
            by: actor.clone(),
            reason: reason.clone(),
            replaces: None,
        };
        let is_it = |silence: &paging::Silence| {
            silence.matchers == matchers && silence.by == actor && silence.reason == reason
        };
        self.carry_out(Command::Paging(vec![command]), actor.clone(), Some(reason.clone())).await?;
        let world = self.snapshot().world.clone();
        let newest = world.paging.silences.iter().rev().find(|(_, silence)| is_it(silence));
        newest.map(|(id, _)| *id).ok_or_else(|| {
            Error::Refused(Refusal::new(
                "it was recorded, and somebody ended it at once",
                "`shipshape silence list` shows what there is",
            ))
        })
    }

    /// Tells of what was silenced again. The answer is durable.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn end_silence(&self, request: EndSilence) -> Result<(), Error> {
        let EndSilence { id, actor, reason } = request;
        let command = paging::Command::EndSilence { id, by: actor.clone() };
        self.carry_out(Command::Paging(vec![command]), actor, reason).await
    }

    /// Begins a test of each receiver that is meant, and says which. The answer is durable; whether they take it is seen later.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn test_receivers(&self, request: TestReceivers) -> Result<Vec<Way>, Error> {
        let TestReceivers { place, receiver, actor, reason } = request;
        let told = lifecycle::told(&self.snapshot().world);
        let declared = told.get(&place).map(|notify| notify.receivers.keys().cloned().collect::<Vec<_>>());
        let Some(declared) = declared else {
            return Err(Error::Refused(Refusal::new(
                format!("nobody is told of alerts of {place}"),
                "declare receivers under `notify` in its manifest, and deploy it",
            )));
        };
        if let Some(name) = receiver.as_ref().filter(|name| !declared.contains(name)) {
            return Err(Error::Refused(Refusal::new(
                format!("{place} has no receiver {name}"),
                format!("it has {}", declared.join(", ")),
            )));
        }
        let meant = declared.into_iter().filter(|name| receiver.as_ref().is_none_or(|asked| asked == name));
        let ways: Vec<Way> = meant.map(|receiver| Way { place: place.clone(), receiver }).collect();
        let commands = ways.iter().cloned().map(paging::Command::Test).collect();
        self.carry_out(Command::Paging(commands), actor, reason).await?;
        Ok(ways)
    }
}
