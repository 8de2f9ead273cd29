//! How grave a record is, and the many ways in which loggers write that. Does not live here: where in a record it stands.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How grave a record is, the least grave first.
///
/// A line that does not say stands between debug and info: whoever asks for info sees it, whoever asks for warnings
/// does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Level {
    /// Every step.
    Trace = 0,
    /// For whoever looks for a fault.
    Debug = 1,
    /// It does not say.
    Unknown = 2,
    /// All is as it should be.
    Info = 3,
    /// Somebody should know.
    Warn = 4,
    /// Something failed.
    Error = 5,
    /// The process cannot go on.
    Fatal = 6,
}

impl Level {
    /// All of them, the least grave first.
    pub const ALL: [Self; 7] =
        [Self::Trace, Self::Debug, Self::Unknown, Self::Info, Self::Warn, Self::Error, Self::Fatal];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Unknown => "unknown",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }

    /// From a byte of a file.
    pub(crate) fn of_byte(byte: u8) -> Self {
        Self::ALL.get(usize::from(byte)).copied().unwrap_or(Self::Unknown)
    }

    /// Its bit in a set of levels.
    pub(crate) fn bit(self) -> u8 {
        1 << self as u8
    }

    /// From a logger's word, in any case: the names of syslog, log4j, Python, Go and Rust.
    pub fn of_word(word: &str) -> Option<Self> {
        const WORDS: [(&str, Level); 27] = [
            ("trace", Level::Trace),
            ("trc", Level::Trace),
            ("finest", Level::Trace),
            ("verbose", Level::Trace),
            ("debug", Level::Debug),
            ("dbg", Level::Debug),
            ("finer", Level::Debug),
            ("fine", Level::Debug),
            ("info", Level::Info),
            ("inf", Level::Info),
            ("information", Level::Info),
            ("informational", Level::Info),
            ("notice", Level::Info),
            ("log", Level::Info),
            ("warn", Level::Warn),
            ("wrn", Level::Warn),
            ("warning", Level::Warn),
            ("error", Level::Error),
            ("err", Level::Error),
            ("severe", Level::Error),
            ("fatal", Level::Fatal),
            ("ftl", Level::Fatal),
            ("crit", Level::Fatal),
            ("critical", Level::Fatal),
            ("alert", Level::Fatal),
            ("emerg", Level::Fatal),
            ("panic", Level::Fatal),
        ];
        WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, level)| *level)
    }

    /// From a number: those of pino and bunyan are tens, those of syslog are below eight and grow the other way.
    pub fn of_number(number: f64) -> Option<Self> {
        match number {
            0.0..=2.0 => Some(Self::Fatal),
            3.0 => Some(Self::Error),
            4.0 => Some(Self::Warn),
            5.0..=6.0 => Some(Self::Info),
            7.0 => Some(Self::Debug),
            10.0..20.0 => Some(Self::Trace),
            20.0..30.0 => Some(Self::Debug),
            30.0..40.0 => Some(Self::Info),
            40.0..50.0 => Some(Self::Warn),
            50.0..60.0 => Some(Self::Error),
            60.0..=70.0 => Some(Self::Fatal),
            _ => None,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        if word == "unknown" {
            return Ok(Self::Unknown);
        }
        Self::of_word(word).ok_or_else(|| {
            format!("{word} is no level: write trace, debug, unknown, info, warn, error or fatal")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_reads_its_own_word_and_byte() {
        for level in Level::ALL {
            assert_eq!(level.as_str().parse::<Level>(), Ok(level));
            assert_eq!(Level::of_byte(level as u8), level);
        }
        assert!("loud".parse::<Level>().unwrap_err().contains("write trace"));
    }

    #[test]
    fn numbers_of_pino_and_syslog_are_understood() {
        let levels = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0].map(|number| Level::of_number(number).unwrap());
        assert_eq!(
            levels,
            [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Fatal]
        );
        assert_eq!(Level::of_number(3.0), Some(Level::Error));
        assert_eq!(Level::of_number(f64::NAN), None);
    }
}
