//! The inputs that mutation starts from: small files in `corpus/TARGET`, in the order of their names.

use std::path::Path;

/// A corpus whose order does not depend on the file system. An empty one has one empty input.
pub(crate) fn read(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<_> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut inputs: Vec<Vec<u8>> = files.iter().filter_map(|file| std::fs::read(file).ok()).collect();
    if inputs.is_empty() {
        inputs.push(Vec::new());
    }
    inputs
}
