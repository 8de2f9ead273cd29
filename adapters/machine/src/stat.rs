//! What the system says of one process in one line, `/proc/PID/stat`.

use std::{fs, io};

/// That line, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `T`, `Z` and so on.
    pub state: u8,
    /// Its process group.
    pub group: u32,
    /// User and system, with those of children that it has waited for.
    pub cpu_ticks: u64,
    /// How many it has.
    pub threads: u64,
    /// When it started, in clock ticks since boot.
    pub start_ticks: u64,
    /// Pages in memory.
    pub resident_pages: u64,
}

impl Stat {
    /// Of the process that has this number now, in whichever type.
    ///
    /// # Errors
    /// When there is none, or the line cannot be understood.
    pub fn of(pid: impl std::fmt::Display) -> io::Result<Self> {
        let unreadable = || io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc/PID/stat");
        Self::parse(&fs::read(format!("/proc/{pid}/stat"))?).ok_or_else(unreadable)
    }

    /// The command name (field 2) stands in parentheses and may hold anything, so fields are counted from the last `)`.
    fn parse(text: &[u8]) -> Option<Self> {
        let after = text.iter().rposition(|byte| *byte == b')')? + 1;
        let rest = String::from_utf8_lossy(text.get(after..)?);
        // The first of them is field 3.
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |field: usize| -> Option<u64> { fields.get(field - 3)?.parse().ok() };
        Some(Self {
            state: *fields.first()?.as_bytes().first()?,
            group: u32::try_from(number(5)?).ok()?,
            cpu_ticks: (14..=17).filter_map(number).sum(),
            threads: number(20)?,
            start_ticks: number(22)?,
            resident_pages: number(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whatever_the_command_is_called() {
        let line = b"42 (a) b (c) S 1 40 40 0 -1 4194560 100 0 0 0 30 12 3 1 20 0 5 0 9000 1000000 256 18446744073709551615 0 0";
        let stat = Stat {
            state: b'S',
            group: 40,
            cpu_ticks: 46,
            threads: 5,
            start_ticks: 9000,
            resident_pages: 256,
        };
        assert_eq!(Stat::parse(line), Some(stat));
        assert_eq!(Stat::parse(b"42 (short) S 1 40"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn a_command_name_with_parentheses_does_not_confuse_the_fields() {
        let text = b"7 (a) S (b)) R 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 1";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.state, stat.start_ticks), (b'R', 4242));
    }
}
