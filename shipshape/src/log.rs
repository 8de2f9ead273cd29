//! What the two processes say: lines of JSON on stderr. When stderr is the log that `up` opened, it is kept within
//! bounds. Does not live here: the replicas' output.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use cli::Process;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The size at which a log is put aside as `.log.1`, in bytes; so there is at most twice as much.
const LARGEST_BYTES: u64 = 16 * 1024 * 1024;

/// Starts to log. The environment variable `SHIPSHAPE_LOG` says how much: `info` by default, as in `debug` or
/// `info,runtime=debug`.
pub(crate) fn start(process: &Process) {
    let filter = EnvFilter::try_from_env("SHIPSHAPE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = Log::new(cli::home::log(process.home(), process.name()));
    let started = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(log)
        .try_init();
    if let Err(error) = started {
        let _ = writeln!(io::stderr(), "logging did not start: {error}");
    }
}

/// Stderr, and the file that it is, if it is one of ours.
struct Log {
    file: Option<PathBuf>,
    bytes: AtomicU64,
    turning: Mutex<()>,
}

impl Log {
    fn new(path: PathBuf) -> Self {
        let same = |a: fs::Metadata, b: rustix::fs::Stat| (a.dev(), a.ino()) == (b.st_dev, b.st_ino);
        let ours = fs::metadata(&path).ok().zip(rustix::fs::fstat(io::stderr()).ok());
        let bytes = AtomicU64::new(ours.as_ref().map_or(0, |(file, _)| file.len()));
        let file = ours.is_some_and(|(file, stderr)| same(file, stderr)).then_some(path);
        Self { file, bytes, turning: Mutex::default() }
    }

    fn note(&self, written: usize) {
        let bytes = self.bytes.fetch_add(written as u64, Ordering::Relaxed) + written as u64;
        let Some(path) = self.file.as_ref().filter(|_| bytes > LARGEST_BYTES) else { return };
        let _turn = self.turning.lock().unwrap_or_else(PoisonError::into_inner);
        if self.bytes.load(Ordering::Relaxed) <= LARGEST_BYTES {
            return;
        }
        self.bytes.store(0, Ordering::Relaxed);
        // Without room for a new file the old one goes on.
        let _ = fs::rename(path, path.with_extension("log.1"))
            .and_then(|()| File::options().create(true).append(true).mode(0o600).open(path))
            .and_then(|file| {
                rustix::stdio::dup2_stdout(&file)?;
                rustix::stdio::dup2_stderr(&file)?;
                Ok(())
            });
    }
}

/// Never fails: whoever logs would fall back to a print that panics, and a full disk would end the thread that says so.
impl Write for &Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Ok(written) = io::stderr().write(bytes) else { return Ok(bytes.len()) };
        self.note(written);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}
