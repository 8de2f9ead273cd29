//! The manifest as a file: finding, reading, showing its errors. Does not live here: what it means (`manifest`).

use std::fs::File;
use std::io::{ErrorKind, Read as _};
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

impl Text {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let full = args::absolute(path)?;
        let name = path.display().to_string();
        let mut bytes = Vec::new();
        let read = File::open(&full).and_then(|file| file.take(LARGEST_BYTES + 1).read_to_end(&mut bytes));
        if let Err(error) = read {
            return Err(match error.kind() == ErrorKind::NotFound {
                true => missing(&full),
                false => Failure::new(format!("cannot read the manifest {name}: {error}"))
                    .instead("name a file with --file PATH"),
            });
        }
        if bytes.len() as u64 > LARGEST_BYTES {
            return Err(Failure::new(format!("the manifest {name} is larger than {LARGEST_BYTES} bytes"))
                .instead("is this the right file? --file PATH names another"));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Failure::new(format!("the manifest {name} is not UTF-8 text: see byte {at}"))
                .instead("save it as UTF-8")
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

fn missing(path: &Path) -> Failure {
    Failure::new(format!("there is no manifest at {}", path.display())).instead(
        "name another with --file PATH, or write one; two lines are enough:\n\nservice: shop\nrun: ./shop",
    )
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
