//! The manifest as a file: finding, reading, showing its errors. Does not live here: what it means (`manifest`).

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use manifest::{Diagnostics, Manifest};
use model::EnvironmentName;

use crate::args;
use crate::failure::Failure;

/// The largest manifest that is read, in bytes.
const LARGEST_BYTES: u64 = 1024 * 1024;

/// The text of a manifest and where it is from.
#[derive(Debug)]
pub(crate) struct Text {
    /// As the user named it.
    pub(crate) name: String,
    /// The directory that its paths are relative to; absolute.
    pub(crate) directory: PathBuf,
    /// Its content.
    pub(crate) text: String,
}

/// How a user names a manifest, and would name another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    /// By `--file`.
    File,
    /// As a member of a group.
    Member,
}

impl Named {
    fn another(self) -> &'static str {
        match self {
            Self::File => "name another with --file PATH",
            Self::Member => {
                "name a member by its manifest, MANIFEST or MANIFEST=PATH, as in shop/shipshape.yaml=./build/shop"
            }
        }
    }
}

impl Text {
    /// Reads the file.
    pub(crate) fn read(path: &Path, named: Named) -> Result<Self, Failure> {
        let full = args::absolute(path)?;
        let name = path.display().to_string();
        let bytes = match bounded(&full, LARGEST_BYTES) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                return Err(Failure::new(format!(
                    "the manifest {name} is larger than {LARGEST_BYTES} bytes"
                ))
                .instead(format!("is this the right file? {}", named.another())));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(missing(&full, named)),
            Err(error) => {
                return Err(Failure::new(format!("cannot read the manifest {name}: {error}"))
                    .instead(named.another()));
            }
        };
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Failure::new(format!("the manifest {name} is not UTF-8 text: see byte {at}"))
                .instead(format!("save it as UTF-8, or {}", named.another()))
        })?;
        let directory = full.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned);
        Ok(Self { name, directory, text })
    }

    /// What it says, or everything that is wrong with it.
    pub(crate) fn parse(&self) -> Result<Manifest, Diagnostics> {
        Manifest::parse(&self.text)
    }

    /// What it says, or a failure that shows everything that is wrong with it.
    pub(crate) fn sound(&self, colour: bool) -> Result<Manifest, Failure> {
        self.parse().map_err(|errors| {
            let shown = errors.render(&self.name, &self.text, colour);
            Failure::new(format!("the manifest {} has errors\n\n{}", self.name, shown.trim_end()))
                .instead("correct them; `shipshape check` shows them again")
        })
    }
}

/// A file's bytes; `None` when they are more than `most`.
pub(crate) fn bounded(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}

fn missing(path: &Path, named: Named) -> Failure {
    let another = named.another();
    Failure::new(format!("there is no manifest at {}", path.display()))
        .instead(format!("{another}, or write one; two lines are enough:\n\nservice: shop\nrun: ./shop"))
}

/// The environment that is meant: the one that was asked for, or the only one.
pub(crate) fn environment(
    manifest: &Manifest,
    asked: Option<&EnvironmentName>,
) -> Result<EnvironmentName, Failure> {
    let all: Vec<&EnvironmentName> = manifest.environments().collect();
    let list = all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match (asked, all.as_slice()) {
        (Some(asked), _) if all.contains(&asked) => Ok(asked.clone()),
        (Some(asked), _) => Err(Failure::new(format!("the manifest declares no environment {asked}"))
            .instead(format!("it declares {list}"))),
        (None, [only]) => Ok((*only).clone()),
        (None, _) => Err(Failure::new(format!("which environment? the manifest declares {list}"))
            .instead("say one with -e NAME")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_out_of_a_missing_manifest_is_one_that_can_be_gone() {
        let out =
            |named| Text::read(Path::new("nowhere/shipshape.yaml"), named).unwrap_err().instead.unwrap();
        assert!(out(Named::File).contains("--file PATH"));
        let group = out(Named::Member);
        assert!(group.contains("MANIFEST=PATH") && !group.contains("--file"), "{group}");
        let directory = Text::read(Path::new("."), Named::Member).unwrap_err();
        assert!(directory.instead.unwrap().contains("MANIFEST=PATH"), "an artifact is no manifest");
    }
}
