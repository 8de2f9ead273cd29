//! The bearer token of the TCP door: made once, kept for this user alone, compared in constant time. Does not live
//! here: where it travels in a request.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use model::Digest;

use crate::Error;

/// The token's file in the home directory.
pub const TOKEN: &str = "token";

const RANDOM_BYTES: usize = 32;
/// What a hand-made token needs at least.
const LEAST_BYTES: usize = 32;
const MOST_BYTES: u64 = 1024;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What a caller shows to be let in. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

impl Token {
    /// A token that somebody brings.
    ///
    /// # Errors
    /// When it cannot stand in a header.
    pub fn new(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a token is one word of visible ASCII".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    /// The token of a home directory.
    ///
    /// # Errors
    /// When there is none, others may read it, or it is no token.
    pub fn read(home: &Path) -> Result<Self, Error> {
        let path = home.join(TOKEN);
        let wrong = |what: &str| Error::Token { path: path.clone(), what: what.to_owned() };
        let failed = |source: io::Error| Error::File { action: "read", path: path.clone(), source };
        let file = File::open(&path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(wrong(&format!("others may read it: its mode is {:o}", mode & 0o777)));
        }
        let mut text = String::new();
        file.take(MOST_BYTES).read_to_string(&mut text).map_err(failed)?;
        let token = Self::new(&text).map_err(|what| wrong(&what))?;
        if token.0.len() < LEAST_BYTES {
            return Err(wrong(&format!("it is shorter than {LEAST_BYTES} characters")));
        }
        Ok(token)
    }

    /// The token of a home directory, made when there is none.
    ///
    /// # Errors
    /// See [`Token::read`]; and when it cannot be written.
    pub(crate) fn read_or_make(home: &Path) -> Result<Self, Error> {
        let path = home.join(TOKEN);
        if !path.try_exists().unwrap_or(true) {
            // Whole or not at all: a half one would be somebody's token.
            let new = home.join("token.new");
            write(&new).and_then(|()| fs::rename(&new, &path)).map_err(failed("make", &path))?;
        }
        Self::read(home)
    }

    /// What stands in the header `Authorization`.
    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether somebody shows this token. The time it takes does not tell how near they came.
    pub(crate) fn is(&self, shown: &[u8]) -> bool {
        let (own, shown) = (Digest::of(self.0.as_bytes()), Digest::of(shown));
        let pairs = own.as_bytes().iter().zip(shown.as_bytes());
        std::hint::black_box(pairs.fold(0, |differs, (a, b)| differs | (a ^ b))) == 0
    }
}

fn write(path: &Path) -> io::Result<()> {
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    writeln!(file, "{}", random::<RANDOM_BYTES>()?)?;
    file.sync_all()
}

/// So many random bytes, in base64 for URLs, without padding.
pub(crate) fn random<const BYTES: usize>() -> io::Result<String> {
    let mut bytes = [0; BYTES];
    let mut filled = 0;
    while filled < BYTES {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(base64url(&bytes))
}

fn base64url(bytes: &[u8]) -> String {
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0u32, |bits, at| bits << 8 | u32::from(three.get(at).copied().unwrap_or(0)));
        for at in 0..=three.len() {
            let index = (bits >> (18 - 6 * at)) & 63;
            text.push(char::from(ALPHABET[index as usize]));
        }
    }
    text
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path: PathBuf = path.to_owned();
    move |source| Error::File { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_for_urls_is_as_others_write_it() {
        for (bytes, text) in
            [(&b""[..], ""), (b"f", "Zg"), (b"fo", "Zm8"), (b"foo", "Zm9v"), (b"\xfb\xff", "-_8")]
        {
            assert_eq!(base64url(bytes), text);
        }
    }

    #[test]
    fn a_token_is_made_once_for_this_user_alone_and_never_shown() {
        let home = tempfile::tempdir().unwrap();
        let token = Token::read_or_make(home.path()).unwrap();
        assert_eq!(token.0.len(), 43);
        assert_eq!(Token::read_or_make(home.path()).unwrap(), token);
        let path = home.path().join(TOKEN);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(token.is(token.0.as_bytes()) && !token.is(b"") && !token.is(&token.0.as_bytes()[1..]));
        assert!(!format!("{token:?}").contains(&token.0));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Token::read_or_make(home.path()).unwrap_err().to_string().contains("others may read it"));
        let other = tempfile::tempdir().unwrap();
        assert_ne!(Token::read_or_make(other.path()).unwrap(), token);
    }
}
