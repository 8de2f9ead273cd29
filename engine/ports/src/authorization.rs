//! How a server is told who asks. Does not live here: who is asked, and where secrets are kept.

use model::spec::Authentication;

use crate::secrets::{Error, Secret, Secrets};

/// How a server is told who asks.
#[derive(Debug, Clone)]
pub enum Authorization {
    /// By a token.
    Bearer(Secret),
    /// By a name and a password.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: Secret,
    },
}

impl Authorization {
    /// With the values behind a declaration's references.
    ///
    /// # Errors
    /// When there is none.
    pub fn resolve(declared: &Authentication, secrets: &dyn Secrets) -> Result<Self, Error> {
        Ok(match declared {
            Authentication::BearerToken(source) => Self::Bearer(secrets.resolve(source)?),
            Authentication::BasicAuth { username, password } => {
                Self::Basic { username: username.clone(), password: secrets.resolve(password)? }
            }
        })
    }

    /// What the `authorization` header says.
    pub fn header(&self) -> Secret {
        Secret::new(match self {
            Self::Bearer(token) => format!("Bearer {}", token.reveal()),
            Self::Basic { username, password } => {
                format!("Basic {}", base64(format!("{username}:{}", password.reveal()).as_bytes()))
            }
        })
    }

    /// A text without what nobody may be shown, should whoever was told have repeated it.
    pub fn hide(&self, text: &str) -> String {
        let secret = match self {
            Self::Bearer(token) => token,
            Self::Basic { password, .. } => password,
        };
        let header = self.header();
        let encoded = header.reveal().split(' ').nth(1).unwrap_or_default();
        let hidden = [encoded, secret.reveal()].into_iter().filter(|secret| !secret.is_empty());
        hidden.fold(text.to_owned(), |text, secret| text.replace(secret, "(secret)"))
    }
}

/// RFC 4648, with padding: all that basic authentication needs.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let [first, second, third] = [0, 1, 2].map(|index| u32::from(chunk.get(index).copied().unwrap_or(0)));
        let bits = first << 16 | second << 8 | third;
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit) & 63) as usize;
            text.push(if digit <= chunk.len() { char::from(DIGITS[index]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_written_as_the_standard_says() {
        // The examples of RFC 4648, section 10.
        let examples = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (bytes, text) in examples {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn what_was_told_is_hidden_in_whatever_is_repeated() {
        let password = Secret::new("hush".to_owned());
        let basic = Authorization::Basic { username: "me".to_owned(), password };
        assert_eq!(basic.hide("hush, bWU6aHVzaA== said"), "(secret), (secret) said");
    }
}
