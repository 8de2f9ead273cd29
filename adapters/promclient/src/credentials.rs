//! How a server is told who asks. Does not live here: where the secrets come from.

use ports::metrics::Authorization;

/// What the `authorization` header says.
pub(crate) fn header(authorization: &Authorization) -> String {
    match authorization {
        Authorization::Bearer(token) => format!("Bearer {}", token.reveal()),
        Authorization::Basic { username, password } => {
            format!("Basic {}", base64(format!("{username}:{}", password.reveal()).as_bytes()))
        }
    }
}

/// What nobody may be shown.
pub(crate) fn hidden(authorization: &Authorization) -> Vec<String> {
    let secret = match authorization {
        Authorization::Bearer(token) => token,
        Authorization::Basic { password, .. } => password,
    };
    let written = header(authorization);
    let encoded = written.split(' ').nth(1).unwrap_or_default().to_owned();
    [encoded, secret.reveal().to_owned()].into_iter().filter(|secret| !secret.is_empty()).collect()
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
}
