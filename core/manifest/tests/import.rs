//! Argo's files become parts of a manifest, by snapshot: what is carried over, and what is named because it is not.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use manifest::Manifest;

fn file(name: &str, text: &str) -> (String, String) {
    (name.to_owned(), text.to_owned())
}

fn templates() -> (String, String) {
    file("templates.yaml", include_str!("argo/templates.yaml"))
}

fn shown(files: &[(String, String)]) -> String {
    let imported = manifest::import(files).unwrap();
    format!("{}\n# Not carried over:\n{}\n", imported.yaml, imported.left_out.join("\n"))
}

#[test]
fn a_canary_with_its_templates_is_carried_over() {
    let rollout = file("rollout.yaml", include_str!("argo/rollout.yaml"));
    insta::assert_snapshot!("import_canary", shown(&[rollout, templates()]));
}

#[test]
fn a_blue_green_rollout_is_carried_over() {
    let rollout = file("blue_green.yaml", include_str!("argo/blue_green.yaml"));
    let files = [rollout, templates()];
    insta::assert_snapshot!("import_blue_green", shown(&files));
    let imported = manifest::import(&files).unwrap();
    Manifest::parse(&format!("service: cart\nrun: ./cart\n{}", imported.yaml)).unwrap();
}

#[test]
fn templates_alone_become_an_analysis() {
    insta::assert_snapshot!("import_templates", shown(&[templates()]));
}

#[test]
fn objectives_of_openslo_are_carried_over() {
    let files = [file("openslo.yaml", include_str!("slo/openslo.yaml"))];
    insta::assert_snapshot!("import_openslo", shown(&files));
    let imported = manifest::import(&files).unwrap();
    Manifest::parse(&format!("service: shop\nrun: ./shop\n{}", imported.yaml)).unwrap();
}

#[test]
fn objectives_of_sloth_are_carried_over() {
    let files = [file("sloth.yaml", include_str!("slo/sloth.yaml"))];
    insta::assert_snapshot!("import_sloth", shown(&files));
    let imported = manifest::import(&files).unwrap();
    Manifest::parse(&format!("service: shop\nrun: ./shop\n{}", imported.yaml)).unwrap();
}

#[test]
fn what_is_nothing_to_import_is_said() {
    assert_eq!(manifest::import(&[file("a", "kind: Service\n")]).unwrap_err(), "there is nothing to import");
    assert!(manifest::import(&[file("a", "kind: [\n")]).unwrap_err().starts_with("a, document 1: "));
}
