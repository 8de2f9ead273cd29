//! The manifest: whatever is written in it, reading ends, an error says where it is, and what was understood is written
//! back so that it is read the same.

use ::manifest::{Manifest, render};

/// Words of the language.
pub(crate) const WORDS: &[&str] = &[
    "service: ",
    "run: ",
    "replicas: ",
    "environments:\n",
    "  production: {}\n",
    "rollout: ",
    "strategy: ",
    "canary",
    "blueGreen",
    "rolling: {maxSurge: 25%}",
    "{setWeight: ",
    "{pause: {duration: 1s}}",
    "analysis: ",
    "metrics: ",
    "interval: ",
    "successCondition: result < ",
    "health: {ready: {http: /}}",
    "secrets:\n",
    "route: {hosts: [a.b]}",
    "limits: ",
    "&a",
    "*a",
    "<<: *a",
    "!!binary ",
    "? ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "|\n",
    ">-\n",
    "'",
    "\"",
    "#",
    "\t",
    "---\n",
    "...\n",
    "\u{feff}",
    "\u{85}",
    "%",
    "1h",
    "512MiB",
    "~",
    "null",
    "true",
    ".inf",
    "\\x00",
    "\0",
];

/// # Panics
/// When a promise is broken.
pub fn target(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let manifest = match Manifest::parse(&text) {
        Ok(manifest) => manifest,
        Err(wrong) => {
            assert!(!wrong.render("shipshape.yaml", &text, false).is_empty());
            assert!(wrong.iter().all(|wrong| wrong.line >= 1 && wrong.column >= 1), "{wrong:?}");
            return;
        }
    };
    for spec in manifest.specs().values() {
        let written = render(spec);
        let again = Manifest::parse(&written);
        let again = again.unwrap_or_else(|wrong| panic!("{}", wrong.render("written", &written, false)));
        let mut again =
            again.specs().values().next().unwrap_or_else(|| panic!("nothing in:\n{written}")).clone();
        // What is written is one environment's, and does not say which.
        again.environment = spec.environment.clone();
        assert!(*spec == again, "{spec:?} became {again:?} by way of:\n{written}");
    }
}
