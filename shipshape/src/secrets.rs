//! Secrets from control's own environment and from files. Does not live here: when they are looked up, and a vault.
//! Errors name the reference, never a value.

use std::fs::File;
use std::io::Read as _;

use model::spec::SecretSource;
use ports::secrets::{Error, Secret, Secrets};

/// The largest secret in bytes.
const LARGEST_BYTES: u64 = 64 * 1024;

/// Secrets that this process can see.
#[derive(Debug)]
pub(crate) struct FromHere;

impl Secrets for FromHere {
    fn resolve(&self, source: &SecretSource) -> Result<Secret, Error> {
        match source {
            SecretSource::Environment(variable) => environment(variable),
            SecretSource::File(path) => file(path),
        }
    }
}

fn environment(variable: &str) -> Result<Secret, Error> {
    match std::env::var(variable) {
        Ok(value) => Ok(Secret::new(value)),
        Err(std::env::VarError::NotPresent) => Err(Error(format!(
            "control has no environment variable {variable}: set it, then `shipshape down` and `shipshape up`"
        ))),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(Error(format!("the environment variable {variable} of control is no UTF-8 text")))
        }
    }
}

fn file(path: &str) -> Result<Secret, Error> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| Error(format!("the file {path} cannot be read by control: {error}")))?;
    if bytes.len() as u64 > LARGEST_BYTES {
        return Err(Error(format!(
            "the file {path} is larger than {LARGEST_BYTES} bytes: is it the right one?"
        )));
    }
    let mut text =
        String::from_utf8(bytes).map_err(|_| Error(format!("the file {path} is no UTF-8 text")))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.contains('\0') {
        return Err(Error(format!("the file {path} holds a zero byte: no environment variable can")));
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_loses_one_newline_at_its_end_and_no_more() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        for (content, expected) in [("a b", "a b"), ("a\n", "a"), ("a\n\n", "a\n"), ("a\r\n", "a"), ("", "")]
        {
            std::fs::write(&path, content).unwrap();
            let secret = FromHere.resolve(&SecretSource::File(path.display().to_string())).unwrap();
            assert_eq!(secret.reveal(), expected);
        }
    }

    #[test]
    fn what_cannot_be_found_is_named_and_what_is_found_never() {
        let error = FromHere.resolve(&SecretSource::Environment("SHIPSHAPE_TEST_NOWHERE".to_owned()));
        assert!(error.unwrap_err().to_string().contains("SHIPSHAPE_TEST_NOWHERE"));
        let error = FromHere.resolve(&SecretSource::File("/nowhere/key".to_owned())).unwrap_err().to_string();
        assert!(error.contains("/nowhere/key"), "{error}");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        for content in [b"hush\xff".to_vec(), b"hush\0".to_vec(), b"hush".repeat(20_000)] {
            std::fs::write(&path, content).unwrap();
            let error = FromHere.resolve(&SecretSource::File(path.display().to_string())).unwrap_err();
            assert!(!error.to_string().contains("hush"), "{error}");
        }
    }
}
