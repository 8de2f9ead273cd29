//! `shipshape import` through the real binary: files of Argo Rollouts and rules of Prometheus become a part of a manifest that
//! `check` takes, what was left out is said, and what cannot be read is refused whole.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::fs;
use std::process::Command;

use e2e::Stage;
use serde_json::Value;

const TEMPLATE: &str = "\
apiVersion: argoproj.io/v1alpha1
kind: ClusterAnalysisTemplate
metadata: {name: errors}
spec:
  args: [{name: version}]
  metrics:
    - name: errors
      interval: 30s
      count: 3
      successCondition: result[0] < 0.05
      failureLimit: 2
      provider:
        prometheus:
          address: http://prometheus.example:9090
          query: sum(rate(http_requests_total{version=\"{{args.version}}\",status_class=\"5xx\"}[5m]))
";

const ROLLOUT: &str = "\
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: shop}
spec:
  replicas: 3
  strategy:
    canary:
      trafficRouting: {nginx: {stableIngress: shop}}
      steps:
        - setWeight: 20
        - pause: {duration: 1m}
        - analysis:
            templates: [{templateName: errors, clusterScope: true}]
            args: [{name: version, value: v2}]
        - setWeight: 60
";

/// What a real promtool takes for rules, where the variable PROMTOOL names one.
const RULES: &str = include_str!("../../core/manifest/tests/rules/web.yaml");

/// A stage with these files beside its manifest.
fn stage() -> Stage {
    let stage = Stage::with("");
    fs::write(stage.path("rollout.yaml"), ROLLOUT).unwrap();
    fs::write(stage.path("template.yaml"), TEMPLATE).unwrap();
    stage
}

#[test]
fn what_is_imported_is_a_manifest_and_what_is_not_is_named() {
    let stage = stage();
    let ran = stage.run(&["import", "rollout.yaml", "template.yaml"]).ok();
    assert!(
        ran.stdout.contains("setWeight: 60") && ran.stdout.contains("result[0] < 0.05"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stderr.contains("not carried over: ") && ran.stderr.contains("trafficRouting"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stdout.contains("not carried over"), "data and talk stand apart");
    // Data goes straight behind two lines of a manifest.
    fs::write(stage.path("shipshape.yaml"), format!("service: shop\nrun: ./shop\n{}", ran.stdout)).unwrap();
    let checked = stage.run(&["check"]).ok();
    assert!(!checked.stdout.contains("error"), "{checked:?}");

    let ran = stage.run(&["import", "rollout.yaml", "template.yaml", "--output", "json"]).ok();
    let said: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(said["yaml"].as_str().unwrap().contains("setWeight: 60"), "{said}");
    let left_out = said["leftOut"].as_array().unwrap();
    assert!(left_out.iter().any(|it| it.as_str().unwrap().contains("trafficRouting")), "{said}");
}

#[test]
fn rules_of_prometheus_become_alerts_that_check_takes() {
    let stage = Stage::with("");
    fs::write(stage.path("rules.yaml"), RULES).unwrap();
    match std::env::var("PROMTOOL") {
        Ok(promtool) => {
            let checked =
                Command::new(promtool).args(["check", "rules"]).arg(stage.path("rules.yaml")).output();
            let checked = checked.unwrap();
            assert!(checked.status.success(), "{checked:?}");
        }
        Err(_) => e2e::skipped("PROMTOOL names no promtool: whether it takes the rules is not looked at"),
    }
    let ran = stage.run(&["import", "rules.yaml"]).ok();
    for part in ["not carried over: rules.yaml:", "note: rules.yaml:", "note: severities: ", "RouteFailingP1"]
    {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    fs::write(stage.path("shipshape.yaml"), format!("service: shop\nrun: ./shop\n{}", ran.stdout)).unwrap();
    let checked = stage.run(&["check"]).ok();
    assert!(!checked.stdout.contains("error"), "{checked:?}");
    // Each of its alerts is here or was named.
    let alerts = RULES.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    for alert in alerts {
        let is_here =
            ran.stdout.contains(&format!("  {alert}:\n")) || ran.stdout.contains(&format!("  {alert}P1:\n"));
        assert!(is_here || ran.stderr.contains(&format!("alert {alert}: ")), "{alert}");
    }
}

#[test]
fn a_template_that_is_in_no_file_is_named() {
    let ran = stage().run(&["import", "rollout.yaml"]).ok();
    assert!(ran.stderr.contains("the template `errors` is in none of the files"), "{}", ran.stderr);
}

#[test]
fn what_cannot_be_read_whole_is_refused_and_nothing_is_printed() {
    let stage = stage();
    fs::write(stage.path("large.yaml"), vec![b'#'; 4 * 1024 * 1024 + 1]).unwrap();
    fs::write(stage.path("latin.yaml"), b"name: caf\xe9\n").unwrap();
    fs::write(stage.path("other.yaml"), "kind: Service\n").unwrap();
    for (file, part) in [
        ("missing.yaml", "cannot be read"),
        ("large.yaml", "larger than 4194304 bytes"),
        ("latin.yaml", "not UTF-8 text: see byte 9"),
        ("other.yaml", "there is nothing to import"),
    ] {
        let ran = stage.run(&["import", file]).exits(1);
        assert!(ran.stderr.contains(part), "{file}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "{file}");
    }
    // Nothing at all is a misuse.
    let _ = stage.run(&["import"]).exits(2);
}
