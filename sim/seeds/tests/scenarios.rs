//! The scenarios of `sim/scenarios`, and what becomes of each, line by line.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use seeds::play;

#[test]
fn every_scenario_ends_as_it_is_told() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|it| it == "txt"));
    paths.sort();
    assert!(paths.len() >= 5);
    for path in paths {
        let script = std::fs::read_to_string(&path).unwrap();
        let outcome = play(&script).unwrap();
        let counts = |line: &&String| line.contains("rollout.measured");
        let lines: Vec<&str> = outcome.trace.iter().filter(|it| !counts(it)).map(String::as_str).collect();
        assert_eq!(outcome.broken, [""; 0], "{}", path.display());
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => folder }, {
            insta::assert_snapshot!(name, lines.join("\n"));
        });
    }
}

#[test]
fn a_line_that_is_not_understood_is_named() {
    let error = play("given build one\nat 5s dance\n").unwrap_err();
    assert!(error.contains("dance"), "{error}");
    let error = play("given replicas many\n").unwrap_err();
    assert!(error.contains("line 1") && error.contains("many"), "{error}");
}
