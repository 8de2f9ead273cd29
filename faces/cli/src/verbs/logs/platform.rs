//! `shipshape logs --platform`: what control and agent say of themselves, read from their files in the home, so that it can be read
//! whoever lives. Does not live here: what they say, and keeping their files small.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use logs::{Level, Limits, Query, Sieve};
use model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::LOOK;
use crate::Done;
use crate::context::Context;
use crate::failure::Failure;
use crate::printer::Paint;

const PROCESSES: [&str; 2] = ["control", "agent"];
/// Fields that are shown in places of their own, or not at all.
const OWN: [&str; 4] = ["timestamp", "level", "message", "target"];

/// A line of one of the processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Said {
    at: Timestamp,
    level: Level,
    process: &'static str,
    line: String,
}

/// What every line of ours has.
#[derive(Deserialize)]
struct Head {
    timestamp: Timestamp,
    level: String,
}

/// The end of a process's log. It is put aside when it is full or the process starts anew.
struct Tail {
    process: &'static str,
    path: PathBuf,
    open: Option<BufReader<File>>,
    /// What was written of a line so far.
    begun: Vec<u8>,
    /// Whether another file has taken its place; whoever writes may have written to it a moment longer.
    left: bool,
    last: Timestamp,
}

impl Tail {
    fn new(home: &Path, process: &'static str) -> Self {
        let path = crate::home::log(home, process);
        Self { process, path, open: None, begun: vec![], left: false, last: Timestamp::from_micros(0) }
    }

    /// Everything there is, the file that was put aside first.
    fn all(&mut self, each: &mut impl FnMut(Said)) -> io::Result<()> {
        // In this order: when the log is put aside right now, both are the same file.
        self.open = opened(&self.path)?;
        if let Some(aside) = opened(&self.path.with_extension("log.1"))? {
            let now = self.open.replace(aside);
            if !same(self.open.as_ref(), now.as_ref())? {
                self.read(each)?;
                self.end(each);
                self.open = now;
            }
        }
        self.read(each)
    }

    /// What was written since.
    fn more(&mut self, each: &mut impl FnMut(Said)) -> io::Result<()> {
        self.read(each)?;
        if std::mem::take(&mut self.left) {
            self.end(each);
            self.open = opened(&self.path)?;
            return self.read(each);
        }
        let named = opened(&self.path)?;
        self.left = named.is_some() && !same(self.open.as_ref(), named.as_ref())?;
        Ok(())
    }

    fn read(&mut self, each: &mut impl FnMut(Said)) -> io::Result<()> {
        loop {
            let Some(open) = &mut self.open else { return Ok(()) };
            if open.read_until(b'\n', &mut self.begun)? == 0 || self.begun.last() != Some(&b'\n') {
                return Ok(());
            }
            self.end(each);
        }
    }

    /// The line that has begun is all there is of it.
    fn end(&mut self, each: &mut impl FnMut(Said)) {
        let bytes = std::mem::take(&mut self.begun);
        let line = String::from_utf8_lossy(&bytes);
        let line = line.trim_end_matches(['\n', '\r']);
        if line.is_empty() {
            return;
        }
        // What is no line of ours is what a process says that breaks down; it belongs to the moment before.
        let head = serde_json::from_str::<Head>(line).ok();
        let level = head.as_ref().and_then(|head| head.level.parse().ok()).unwrap_or(Level::Unknown);
        self.last = head.map_or(self.last, |head| head.timestamp);
        each(Said { at: self.last, level, process: self.process, line: line.to_owned() });
    }
}

fn opened(path: &Path) -> io::Result<Option<BufReader<File>>> {
    match File::open(path) {
        Ok(file) => Ok(Some(BufReader::new(file))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    }
}

fn same(one: Option<&BufReader<File>>, other: Option<&BufReader<File>>) -> io::Result<bool> {
    let (Some(one), Some(other)) = (one, other) else { return Ok(false) };
    let (one, other) = (one.get_ref().metadata()?, other.get_ref().metadata()?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

pub(super) async fn run(query: Query, follow: bool, context: &Context<'_>) -> Result<Done, Failure> {
    if !context.is_here() {
        return Err(Failure::new(
            "what control and agent say is in files of their home, which --api does not reach",
        )
        .instead("ask on their machine, without --api"));
    }
    let limits = Limits::default();
    let mut tails = PROCESSES.map(|process| Tail::new(&context.home, process));
    let failed = |error| Failure::new(format!("the platform's own log cannot be read: {error}"));
    let (said, mut sieve) = read(&mut tails, &query, &limits).map_err(failed)?;
    if tails.iter().all(|tail| tail.open.is_none()) {
        return Err(nothing(context));
    }
    if !query.group_by.is_empty() {
        let counted = sieve.counted();
        super::search::groups(context, &query.group_by, &counted.groups);
        if let Some(cut) = &counted.cut {
            context.printer.talk(&format!("this is not all: {cut}"));
        }
        return Ok(Done::Well);
    }
    said.iter().for_each(|said| show(context, said));
    if said.is_empty() && !follow {
        context.printer.talk("no line is like that");
    }
    while follow && !context.printer.is_closed() {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = tokio::signal::ctrl_c() => break,
        }
        let mut new = Vec::new();
        for tail in &mut tails {
            let each = &mut |said: Said| {
                if sieve.takes(said.at.as_micros(), said.level, &said.line) {
                    new.push(said);
                }
            };
            tail.more(each).map_err(failed)?;
        }
        new.sort_by_key(|said| said.at);
        new.iter().for_each(|said| show(context, said));
    }
    Ok(Done::Well)
}

/// The lines that are asked for, those of both processes in order of their times, and what counts on.
fn read<'q>(tails: &mut [Tail], query: &'q Query, limits: &'q Limits) -> io::Result<(Vec<Said>, Sieve<'q>)> {
    let mut sieve = Sieve::new(query, limits);
    let mut all: Vec<Said> = Vec::new();
    for tail in tails {
        let mut kept = VecDeque::new();
        tail.all(&mut |said: Said| {
            let is_asked = sieve.takes(said.at.as_micros(), said.level, &said.line);
            if !is_asked || !query.group_by.is_empty() || query.oldest && kept.len() >= query.most {
                return;
            }
            kept.push_back(said);
            if kept.len() > query.most {
                kept.pop_front();
            }
        })?;
        all.extend(kept);
    }
    all.sort_by_key(|said| said.at);
    let too_many = all.len().saturating_sub(query.most);
    if query.oldest {
        all.truncate(query.most);
    } else {
        all.drain(..too_many);
    }
    Ok((all, sieve))
}

fn nothing(context: &Context<'_>) -> Failure {
    let home = context.home.display();
    Failure::new(format!("there is no control.log and no agent.log in {home}")).instead(
        "`shipshape up` writes them; services of systemd write to its journal: journalctl -u 'shipshape*'",
    )
}

fn show(context: &Context<'_>, said: &Said) {
    let printer = context.printer;
    if printer.is_json() {
        printer.json(said);
        return;
    }
    let who = printer.paint(Paint::Faint, &format!("{} {:<7}", said.at, said.process));
    let level = format!("{:<5}", said.level.as_str());
    let level = if said.level >= Level::Error { printer.paint(Paint::Bad, &level) } else { level };
    printer.data(&format!("{who} {level} {}", words(&said.line)));
}

/// What a line says, then its fields: `the agent answers  event=agent.back instance=3`.
fn words(line: &str) -> String {
    let Ok(fields) = serde_json::from_str::<Map<String, Value>>(line) else { return line.to_owned() };
    let mut words = fields.get("message").map(text).unwrap_or_default();
    let mut gap = "  ";
    for (name, value) in fields.iter().filter(|(name, _)| !OWN.contains(&name.as_str())) {
        words.push_str(&format!("{gap}{name}={}", field(value)));
        gap = " ";
    }
    words
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A text without blanks and quotes as it is; all else as JSON writes it.
fn field(value: &Value) -> String {
    let bare = |text: &&str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '"');
    value.as_str().filter(bare).map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    fn line(second: u32, event: &str) -> String {
        format!(
            "{{\"timestamp\":\"2026-01-01T00:00:{second:02}.000000Z\",\"level\":\"INFO\",\"message\":\"so it is\",\"event\":\"{event}\",\"n\":7,\"target\":\"x\"}}\n"
        )
    }

    fn events(said: &[Said]) -> Vec<&str> {
        fn event(line: &str) -> Option<(&str, &str)> {
            line.split_once("\"event\":\"").and_then(|(_, rest)| rest.split_once('"'))
        }
        said.iter()
            .map(|it| it.line.as_str())
            .map(|line| event(line).map_or(line, |(name, _)| name))
            .collect()
    }

    fn tails(home: &Path) -> [Tail; 2] {
        PROCESSES.map(|process| Tail::new(home, process))
    }

    #[test]
    fn lines_of_both_are_merged_by_time_with_what_was_put_aside_and_what_broke_down() {
        let home = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| fs::write(home.path().join(name), text).unwrap();
        write("control.log.1", line(1, "a"));
        write("control.log", format!("{}thread 'main' panicked\n{}", line(3, "c"), line(5, "e")));
        write("agent.log", format!("{}{}", line(2, "b"), line(4, "d")));
        let (limits, mut query) = (Limits::default(), Query { most: 100, ..Query::default() });
        let (said, _) = read(&mut tails(home.path()), &query, &limits).unwrap();
        assert_eq!(events(&said), ["a", "b", "c", "thread 'main' panicked", "d", "e"]);
        assert_eq!(said[1].process, "agent");
        query.most = 2;
        let (said, _) = read(&mut tails(home.path()), &query, &limits).unwrap();
        assert_eq!(events(&said), ["d", "e"]);
        query.oldest = true;
        let (said, _) = read(&mut tails(home.path()), &query, &limits).unwrap();
        assert_eq!(events(&said), ["a", "b"]);
        query.conditions = vec!["event=c".parse().unwrap()];
        let (said, _) = read(&mut tails(home.path()), &query, &limits).unwrap();
        assert_eq!(events(&said), ["c"]);
        assert_eq!(words(&said[0].line), "so it is  event=c n=7");
    }

    #[test]
    fn following_goes_on_in_the_file_that_takes_the_place_of_a_full_one() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("control.log");
        let mut old = File::options().create(true).append(true).open(&path).unwrap();
        old.write_all(line(1, "a").as_bytes()).unwrap();
        let mut tail = Tail::new(home.path(), "control");
        let mut said = Vec::new();
        tail.all(&mut |it| said.push(it)).unwrap();
        let second = line(2, "b");
        let (begun, rest) = second.split_at(20);
        old.write_all(begun.as_bytes()).unwrap();
        tail.more(&mut |it| said.push(it)).unwrap();
        assert_eq!(events(&said), ["a"], "half a line is none");
        fs::rename(&path, path.with_extension("log.1")).unwrap();
        fs::write(&path, line(4, "d")).unwrap();
        tail.more(&mut |it| said.push(it)).unwrap();
        // Whoever writes still has the old one in its hand.
        old.write_all(format!("{rest}{}", line(3, "c")).as_bytes()).unwrap();
        tail.more(&mut |it| said.push(it)).unwrap();
        tail.more(&mut |it| said.push(it)).unwrap();
        assert_eq!(events(&said), ["a", "b", "c", "d"]);
    }
}
