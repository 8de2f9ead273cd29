//! The directory that an agent owns: its lock, its socket, and the last wanted state. Does not live here: the replicas'
//! part of it, which is the supervisor's.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use model::Digest;
use ports::fleet::Wanted;
use rustix::fs::{FlockOperation, flock};

use crate::Error;

pub(crate) const SOCKET: &str = "agent.sock";
/// Where the next agent takes over from this one. No longer than the other name.
pub(crate) const HAND: &str = "hand.sock";
const LOCK: &str = "agent.lock";
const WANTED: &str = "wanted.json";
/// The field of the stored wanted state that says whether the rest is what the agent wrote.
const SEAL: &str = "seal";
/// The longest path that fits a socket's address on Linux, without the closing zero.
const LONGEST_SOCKET_PATH: usize = 107;

/// A home directory that is ours as long as this lives.
pub(crate) struct Home {
    path: PathBuf,
    /// Given away when there is a successor, which goes on holding it.
    lock: File,
    /// Whether the stored wanted state had to be put aside.
    put_aside: AtomicBool,
}

/// The sockets of a directory.
pub(crate) struct Sockets {
    /// For the REST interface.
    pub(crate) socket: UnixListener,
    /// For the next agent.
    pub(crate) hand: UnixListener,
}

impl Sockets {
    /// The same ones once more.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, hand: self.hand.try_clone()? })
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { action, path, source }
}

impl Home {
    /// Takes the directory, creating it if need be.
    pub(crate) fn take(path: &Path) -> Result<Self, Error> {
        let socket = path.join(SOCKET);
        let length = socket.as_os_str().len();
        if length > LONGEST_SOCKET_PATH {
            return Err(Error::SocketPath { path: socket, length, most: LONGEST_SOCKET_PATH });
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed("create the directory", path))?;
        let lock_path = path.join(LOCK);
        let mut lock = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed("open", &lock_path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                let _ = lock.read_to_string(&mut pid);
                return Err(Error::Busy { home: path.to_owned(), pid: pid.trim().to_owned() });
            }
            Err(error) => return Err(failed("lock", &lock_path)(error.into())),
        }
        let home = Self { path: path.to_owned(), lock, put_aside: AtomicBool::new(false) };
        home.sign()?;
        Ok(home)
    }

    /// Takes the directory over from another agent, which holds the same lock until it lets go.
    pub(crate) fn inherit(path: &Path, lock: File) -> Result<Self, Error> {
        let home = Self { path: path.to_owned(), lock, put_aside: AtomicBool::new(false) };
        home.sign()?;
        Ok(home)
    }

    /// Writes into the lock who has it.
    pub(crate) fn sign(&self) -> Result<(), Error> {
        let mut lock = &self.lock;
        let told = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()));
        told.map_err(failed("write", &self.path.join(LOCK)))
    }

    /// The lock once more, for a successor.
    pub(crate) fn lock(&self) -> io::Result<File> {
        self.lock.try_clone()
    }

    /// Opens the sockets, for this user only. Those that an agent left behind are replaced: the lock says that it is dead.
    pub(crate) fn listen(&self) -> Result<Sockets, Error> {
        Ok(Sockets { socket: self.listen_at(SOCKET)?, hand: self.listen_at(HAND)? })
    }

    fn listen_at(&self, name: &str) -> Result<UnixListener, Error> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("replace", &path)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path).map_err(failed("listen on", &path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed("protect", &path))?;
        listener.set_nonblocking(true).map_err(failed("listen on", &path))?;
        Ok(listener)
    }

    /// Removes the sockets.
    pub(crate) fn leave(&self) {
        let _ = fs::remove_file(self.path.join(SOCKET));
        let _ = fs::remove_file(self.path.join(HAND));
    }

    /// The last wanted state. One that cannot be read is put aside: nothing is stopped on its account, and control
    /// sends the state again.
    pub(crate) fn load_wanted(&self) -> Result<Option<Wanted>, Error> {
        let path = self.path.join(WANTED);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        match unsealed(&bytes) {
            Ok(wanted) => Ok(Some(wanted)),
            Err(error) => {
                let aside = self.path.join("wanted.json.unreadable");
                tracing::error!(path = %path.display(), %error, "the wanted state is unreadable: waiting for control");
                fs::rename(&path, &aside).map_err(failed("put aside", &path))?;
                self.put_aside.store(true, Ordering::Relaxed);
                Ok(None)
            }
        }
    }

    /// Whether the stored wanted state had to be put aside when it was loaded.
    pub(crate) fn was_put_aside(&self) -> bool {
        self.put_aside.load(Ordering::Relaxed)
    }

    /// Whether what is stored is this wanted state.
    pub(crate) fn stored(&self, wanted: &Wanted) -> Stored {
        match (fs::read(self.path.join(WANTED)), sealed(wanted)) {
            (Ok(stored), Ok(expected)) if stored == expected => Stored::AsGiven,
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => Stored::Gone,
            // A disk that does not answer is not somebody's change.
            (Err(_), _) | (_, Err(_)) => Stored::AsGiven,
            (Ok(_), Ok(_)) => Stored::Another,
        }
    }

    /// Stores a wanted state: after this returns it survives a power cut, and before, the former one does.
    pub(crate) fn store_wanted(&self, wanted: &Wanted) -> Result<(), Error> {
        let temporary = self.path.join("wanted.json.new");
        let write = || -> io::Result<()> {
            let mut file =
                File::options().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
            file.write_all(&sealed(wanted)?)?;
            file.sync_all()?;
            fs::rename(&temporary, self.path.join(WANTED))?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(failed("store the wanted state in", &self.path))
    }
}

/// What is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    AsGiven,
    Gone,
    Another,
}

/// The stored form: the wanted state, and a seal over it as the last field.
fn sealed(wanted: &Wanted) -> io::Result<Vec<u8>> {
    let mut value = serde_json::to_value(wanted)?;
    let seal = Digest::of(&serde_json::to_vec(&value)?);
    if let Some(fields) = value.as_object_mut() {
        fields.insert(SEAL.to_owned(), seal.to_string().into());
    }
    Ok(serde_json::to_vec_pretty(&value)?)
}

/// The wanted state from its stored form. The seal is over the fields as they were read, so that another version's fields
/// are covered too; a form without a seal was written by an earlier version.
fn unsealed(bytes: &[u8]) -> Result<Wanted, String> {
    let mut value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if let Some(seal) = value.as_object_mut().and_then(|fields| fields.remove(SEAL)) {
        let rest = serde_json::to_vec(&value).map_err(|error| error.to_string())?;
        if seal.as_str() != Some(Digest::of(&rest).to_string().as_str()) {
            return Err("somebody changed it: its seal is another's".to_owned());
        }
    }
    serde_json::from_value(value).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Generation;

    #[test]
    fn a_directory_has_one_agent_at_a_time() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::take(place.path()).unwrap();
        let why = Home::take(place.path()).err().unwrap().to_string();
        assert!(why.starts_with(&format!("another agent (pid {}) is at work", std::process::id())), "{why}");
        drop(home);
        Home::take(place.path()).unwrap();
    }

    #[test]
    fn a_directory_that_lies_too_deep_is_refused_in_words() {
        let place = tempfile::tempdir().unwrap();
        let why = Home::take(&place.path().join("x".repeat(100))).err().unwrap().to_string();
        assert!(why.contains("the system allows 107: choose a shorter home directory"), "{why}");
    }

    #[test]
    fn a_wanted_state_is_stored_whole_and_an_unreadable_one_put_aside() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::take(place.path()).unwrap();
        assert_eq!(home.load_wanted().unwrap(), None);
        let wanted = Wanted { generation: Generation(7), ..Wanted::default() };
        home.store_wanted(&wanted).unwrap();
        assert_eq!(home.load_wanted().unwrap(), Some(wanted));
        fs::write(place.path().join(WANTED), "{\"generation\": 8").unwrap();
        assert_eq!(home.load_wanted().unwrap(), None);
        assert!(place.path().join("wanted.json.unreadable").exists());
    }

    #[test]
    fn a_stored_state_that_somebody_changed_is_noticed_and_not_obeyed() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::take(place.path()).unwrap();
        let wanted = Wanted { generation: Generation(7), ..Wanted::default() };
        home.store_wanted(&wanted).unwrap();
        assert_eq!(home.stored(&wanted), Stored::AsGiven);
        let path = place.path().join(WANTED);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"generation\": 7", "\"generation\": 9")).unwrap();
        assert_eq!(home.stored(&wanted), Stored::Another);
        assert_eq!(home.load_wanted().unwrap(), None, "it is put aside");
        assert_eq!(home.stored(&wanted), Stored::Gone);
        let unsealed = serde_json::to_vec(&wanted).unwrap();
        fs::write(&path, unsealed).unwrap();
        assert_eq!(home.load_wanted().unwrap(), Some(wanted), "an earlier version wrote no seal");
    }
}
