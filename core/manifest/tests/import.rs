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
    let changed = match imported.changed.as_slice() {
        [] => String::new(),
        changed => format!("\n# Otherwise here:\n{}\n", changed.join("\n")),
    };
    format!("{}\n# Not carried over:\n{}\n{changed}", imported.yaml, imported.left_out.join("\n"))
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
fn rules_of_prometheus_are_carried_over_and_nothing_is_dropped_silently() {
    let files = [file("web.yaml", include_str!("rules/web.yaml"))];
    insta::assert_snapshot!("import_rules", shown(&files));
    let imported = manifest::import(&files).unwrap();
    Manifest::parse(&format!("service: shop\nrun: ./shop\n{}", imported.yaml)).unwrap();
}

#[test]
fn rules_of_kubernetes_are_carried_over_with_the_lines_of_their_files() {
    let text = format!("# a document before\nkind: Service\n---\n{}", include_str!("rules/resource.yaml"));
    let files = [file("resource.yaml", &text), templates()];
    let shown = shown(&files);
    insta::assert_snapshot!("import_resource", shown);
    let line = text.lines().position(|line| line.contains("record: queue")).unwrap();
    assert!(shown.contains(&format!("resource.yaml:{line}: a rule of group queue")), "{shown}");
}

#[test]
fn files_of_which_no_rule_can_be_carried_over_say_why() {
    let text = "groups: [{name: a, rules: [{alert: A, expr: 'up =='}]}]";
    let error = manifest::import(&[file("a.yaml", text)]).unwrap_err();
    assert!(
        error.starts_with("nothing can be imported: a.yaml:1: alert A: `expr`: it is not PromQL"),
        "{error}"
    );
    let two =
        "groups: [{rules: [{alert: A, expr: 'up =='}, {alert: B, expr: up, for: 5 minutes}, {expr: up}]}]";
    let error = manifest::import(&[file("a.yaml", two)]).unwrap_err();
    let lines: Vec<&str> = error.lines().collect();
    assert!(lines[0] == "nothing can be imported:" && lines.len() == 4, "{error}");
    let most: String = (0..101).map(|n| format!("  - {{alert: A{n}, expr: up == {n}}}\n")).collect();
    let imported = manifest::import(&[file("a.yaml", &format!("groups:\n- rules:\n{most}"))]).unwrap();
    let last = "a.yaml:103: alert A100: a service has at most 100 rules: choose those that are its own";
    assert_eq!(imported.left_out, [last]);
}

#[test]
fn what_is_nothing_to_import_is_said() {
    assert_eq!(manifest::import(&[file("a", "kind: Service\n")]).unwrap_err(), "there is nothing to import");
    assert!(manifest::import(&[file("a", "kind: [\n")]).unwrap_err().starts_with("a, document 1: "));
}
