//! The socket's path, and opening it for this user alone. Does not live here: what is served on it.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::Error;
use crate::connection::MOST_CONNECTIONS;

/// The socket's name in the home directory.
pub const SOCKET: &str = "control.sock";

/// The longest path that fits a socket's address on Linux, without the closing zero.
pub(crate) const LONGEST_PATH: usize = 107;

/// Where control listens.
pub fn socket(home: &Path) -> PathBuf {
    home.join(SOCKET)
}

/// Control's open socket. The file goes when this is dropped.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    pub(crate) listener: UnixListener,
    pub(crate) places: Arc<Semaphore>,
}

impl Socket {
    /// Opens the socket of a home directory, for this user only. One that a dead control left behind is replaced.
    ///
    /// # Errors
    /// When the path is too long, another control answers there, or the file system refuses.
    pub async fn open(home: &Path) -> Result<Self, Error> {
        let path = socket(home);
        let length = path.as_os_str().len();
        if length > LONGEST_PATH {
            return Err(Error::TooLong { path, length, most: LONGEST_PATH });
        }
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(home);
        made.map_err(failed("create the directory", home))?;
        if UnixStream::connect(&path).await.is_ok() {
            return Err(Error::Busy { path });
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("replace", &path)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path).map_err(failed("listen on", &path))?;
        let private = fs::set_permissions(&path, fs::Permissions::from_mode(0o600));
        private.map_err(failed("protect", &path))?;
        Ok(Self { path, listener, places: Arc::new(Semaphore::new(MOST_CONNECTIONS)) })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A leftover is replaced by the next control.
        let _ = fs::remove_file(&self.path);
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { action, path, source }
}
