//! Settings: defaults, then `settings.json`, then `SHOP_*` variables. The file travels with the release, so two
//! releases of the same binary can behave differently; the variables are for one environment.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::Error;

/// The longest delay of any kind.
const MAX_DELAY_MS: u64 = 3_600_000;

/// How this shop behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where to listen on 127.0.0.1; 0 is any free port, which the log's `start` line tells.
    pub port: u16,
    /// What `GET /` calls itself.
    pub version: String,
    /// Of the requests to the shop's own pages, the share that is answered with 500 (0 to 1).
    pub failure_rate: f64,
    /// While this file exists, all of them are; `{replica}` in its path is the replica's name.
    pub fail_while: Option<PathBuf>,
    /// How long every page takes at least.
    pub latency: Duration,
    /// How long it is not ready after its start.
    pub start_delay: Duration,
    /// Whether it never becomes ready.
    pub never_ready: bool,
    /// Whether SIGTERM does nothing.
    pub ignore_sigterm: bool,
    /// After how long it crashes (exit status 1, nothing finished).
    pub exit_after: Option<Duration>,
    /// How long a graceful stop may take before it gives up on what is still open.
    pub stop_limit: Duration,
    /// Which requests fail; random without it.
    pub seed: Option<u64>,
    /// Where to write down the received sequence numbers.
    pub ledger: Option<PathBuf>,
    /// Whether each request is logged.
    pub log_requests: bool,
    /// The release that this replica belongs to (`SHIPSHAPE_RELEASE`).
    pub release: String,
    /// This replica's name (`SHIPSHAPE_REPLICA`, else the process id).
    pub replica: String,
}

/// `settings.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct File {
    version: String,
    failure_rate: f64,
    fail_while: Option<String>,
    latency_ms: u64,
    start_delay_ms: u64,
    never_ready: bool,
    ignore_sigterm: bool,
    exit_after_ms: Option<u64>,
    stop_limit_ms: u64,
}

impl Default for File {
    fn default() -> Self {
        Self {
            version: "1".into(),
            failure_rate: 0.0,
            fail_while: None,
            latency_ms: 0,
            start_delay_ms: 0,
            never_ready: false,
            ignore_sigterm: false,
            exit_after_ms: None,
            stop_limit_ms: 25_000,
        }
    }
}

impl Settings {
    /// Reads `settings.json` in `directory`, if it is there, and the variables.
    ///
    /// # Errors
    /// A value is not one, is out of range, or PORT is missing.
    pub fn load(directory: &Path, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let mut file = match std::fs::read_to_string(directory.join("settings.json")) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| Error::File(error.to_string()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => File::default(),
            Err(error) => return Err(Error::File(error.to_string())),
        };
        let get = Variables(&variable);
        get.set("SHOP_VERSION", "a text", &mut file.version)?;
        get.set("SHOP_FAILURE_RATE", "a number from 0 to 1", &mut file.failure_rate)?;
        get.set("SHOP_LATENCY_MS", MS, &mut file.latency_ms)?;
        get.set("SHOP_START_DELAY_MS", MS, &mut file.start_delay_ms)?;
        get.set("SHOP_STOP_LIMIT_MS", MS, &mut file.stop_limit_ms)?;
        get.flag("SHOP_NEVER_READY", &mut file.never_ready)?;
        get.flag("SHOP_IGNORE_SIGTERM", &mut file.ignore_sigterm)?;
        if let Some(after) = get.read("SHOP_EXIT_AFTER_MS", MS)? {
            file.exit_after_ms = Some(after);
        }
        let mut log_requests = false;
        get.flag("SHOP_LOG_REQUESTS", &mut log_requests)?;
        if !(0.0..=1.0).contains(&file.failure_rate) {
            let found = file.failure_rate.to_string();
            return Err(Error::Range { setting: "failureRate", found, want: "a number from 0 to 1" });
        }
        let replica = word(variable("SHIPSHAPE_REPLICA")).unwrap_or_else(|| std::process::id().to_string());
        Ok(Self {
            port: get.read("PORT", "a port number (0 to 65535)")?.ok_or(Error::NoPort)?,
            version: file.version,
            failure_rate: file.failure_rate,
            fail_while: file.fail_while.map(|path| path.replace("{replica}", &replica).into()),
            latency: delay("latencyMs", file.latency_ms)?,
            start_delay: delay("startDelayMs", file.start_delay_ms)?,
            never_ready: file.never_ready,
            ignore_sigterm: file.ignore_sigterm,
            exit_after: file.exit_after_ms.map(|ms| delay("exitAfterMs", ms)).transpose()?,
            stop_limit: delay("stopLimitMs", file.stop_limit_ms)?,
            seed: get.read("SHOP_SEED", "a whole number")?,
            ledger: variable("SHOP_LEDGER").filter(|path| !path.is_empty()).map(PathBuf::from),
            log_requests,
            release: word(variable("SHIPSHAPE_RELEASE")).unwrap_or_else(|| "none".into()),
            replica,
        })
    }
}

const MS: &str = "a whole number of milliseconds";

fn delay(setting: &'static str, ms: u64) -> Result<Duration, Error> {
    if ms > MAX_DELAY_MS {
        let found = ms.to_string();
        return Err(Error::Range { setting, found, want: "at most 3600000 milliseconds (an hour)" });
    }
    Ok(Duration::from_millis(ms))
}

/// A text that may stand in a header and as one word of a ledger line.
fn word(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()))
}

struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    fn read<T: FromStr>(&self, name: &str, want: &'static str) -> Result<Option<T>, Error> {
        let Some(value) = (self.0)(name) else { return Ok(None) };
        match value.parse() {
            Ok(parsed) => Ok(Some(parsed)),
            Err(_) => Err(Error::Variable { name: name.into(), value, want }),
        }
    }

    fn set<T: FromStr>(&self, name: &str, want: &'static str, into: &mut T) -> Result<(), Error> {
        if let Some(value) = self.read(name, want)? {
            *into = value;
        }
        Ok(())
    }

    fn flag(&self, name: &str, into: &mut bool) -> Result<(), Error> {
        let Some(value) = (self.0)(name) else { return Ok(()) };
        *into = match value.as_str() {
            "1" | "true" => true,
            "0" | "false" | "" => false,
            _ => return Err(Error::Variable { name: name.into(), value, want: "1, 0, true or false" }),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: Option<&str>, variables: &[(&str, &str)]) -> Result<Settings, Error> {
        let directory = tempfile::tempdir().unwrap();
        if let Some(text) = file {
            std::fs::write(directory.path().join("settings.json"), text).unwrap();
        }
        let variable = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Settings::load(directory.path(), variable)
    }

    #[test]
    fn variables_win_over_the_file_and_the_file_over_defaults() {
        let file = r#"{"version": "2", "failureRate": 0.05, "exitAfterMs": null, "startDelayMs": 7}"#;
        let settings =
            load(Some(file), &[("PORT", "0"), ("SHOP_VERSION", "3"), ("SHIPSHAPE_RELEASE", "9")]).unwrap();
        assert_eq!((settings.version.as_str(), settings.failure_rate), ("3", 0.05));
        assert_eq!(settings.start_delay, Duration::from_millis(7));
        assert_eq!((settings.release.as_str(), settings.exit_after), ("9", None));
        assert_eq!(load(None, &[("PORT", "80")]).unwrap().version, "1");
    }

    #[test]
    fn wrong_settings_are_named() {
        let port = ("PORT", "0");
        type Case<'a> = (Option<&'a str>, &'a [(&'a str, &'a str)], &'a str);
        let cases: [Case<'_>; 7] = [
            (None, &[], "PORT is not set"),
            (None, &[("PORT", "many")], "PORT=\"many\" must be a port number"),
            (Some("{"), &[port], "settings.json: EOF"),
            (Some(r#"{"failurerate": 1}"#), &[port], "unknown field `failurerate`, expected one of"),
            (Some(r#"{"failureRate": 5}"#), &[port], "failureRate must be a number from 0 to 1, not 5"),
            (None, &[port, ("SHOP_NEVER_READY", "maybe")], "SHOP_NEVER_READY=\"maybe\" must be 1, 0"),
            (None, &[port, ("SHOP_LATENCY_MS", "9999999")], "latencyMs must be at most 3600000"),
        ];
        for (file, variables, want) in cases {
            let error = load(file, variables).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}
