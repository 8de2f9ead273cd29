//! What a sound manifest means: defaults, overlays, warnings, and the way back to text.

use std::time::Duration;

use manifest::{Manifest, Severity, diff, render, schema};
use model::assignment::SessionAffinity;
use model::spec::{Check, SecretSource};
use model::strategy::{Kind, Source, Step};
use model::{EnvironmentName, Spec};
use proptest::prelude::*;

/// Every field of the vocabulary at least once.
const FULL: &str = include_str!("full.yaml");

fn parse(text: &str) -> Manifest {
    Manifest::parse(text).unwrap_or_else(|wrong| panic!("{}", wrong.render("shipshape.yaml", text, false)))
}

fn spec(text: &str, environment: &str) -> Spec {
    let name: EnvironmentName = environment.parse().expect("a name");
    parse(text).spec(&name).unwrap_or_else(|| panic!("no environment {environment}")).clone()
}

fn wrong(text: &str) -> Vec<String> {
    let diagnostics = Manifest::parse(text).expect_err("it is wrong");
    diagnostics.iter().map(|d| format!("{}:{} {}", d.line, d.column, d.message)).collect()
}

fn with(more: &str) -> String {
    format!("service: shop\nrun: ./shop\n{more}")
}

#[test]
fn two_lines_are_a_manifest_with_every_default() {
    let manifest = parse("service: shop\nrun: ./shop --fast 'two words'\n");
    assert!(manifest.warnings().is_empty());
    assert_eq!(manifest.environments().map(EnvironmentName::as_str).collect::<Vec<_>>(), ["production"]);
    insta::assert_snapshot!(
        "two_lines",
        render(&spec("service: shop\nrun: ./shop --fast 'two words'\n", "production"))
    );
}

#[test]
fn config_values_are_kept_as_written() {
    let text = with(
        "config: {VERSION: 1.10, A: yes, B: on, C: 0o17, D: 'null', E: \"\", F: True, G: 1_000, H: !!str 5}",
    );
    let config = spec(&text, "production").config;
    let values: Vec<&str> = config.values().map(String::as_str).collect();
    assert_eq!(values, ["yes", "on", "0o17", "null", "", "True", "1_000", "5", "1.10"]);
}

#[test]
fn hosts_default_by_environment() {
    let text = with("environments: {production: , staging: }");
    assert_eq!(spec(&text, "production").route.hosts, ["*"]);
    assert_eq!(spec(&text, "staging").route.hosts, ["shop.staging.localhost"]);
}

#[test]
fn overlays_merge_mappings_and_replace_the_rest() {
    let text = with(
        "config: {A: base, B: base, C: base}\nroute: {pathPrefixes: [/a, /b], timeouts: {connect: 2s}}\n\
         environments:\n  staging:\n    config: {B: staging, C: null, D: new}\n    \
         route: {pathPrefixes: [/c], timeouts: {idle: 9s}}\n  production: {}\n",
    );
    let staging = spec(&text, "staging");
    let config: Vec<_> = staging.config.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(config, [("A", "base"), ("B", "staging"), ("D", "new")]);
    assert_eq!(staging.route.path_prefixes, ["/c"]);
    assert_eq!(staging.route.timeouts.connect, Duration::from_secs(2));
    assert_eq!(staging.route.timeouts.idle, Duration::from_secs(9));
    assert_eq!(spec(&text, "production").config.len(), 3);
}

#[test]
fn alternatives_in_an_overlay_replace_each_other() {
    let text = with(
        "secrets: {KEY: {environment: KEY}}\nhealth: {ready: {http: /up, period: 3s}, live: {tcp: true}}\n\
         environments:\n  staging:\n    secrets: {KEY: {file: /key}}\n    \
         health: {ready: {tcp: true}, live: null}\n    run: {portVariable: LISTEN}\n",
    );
    let staging = spec(&text, "staging");
    assert_eq!(staging.secrets["KEY"], SecretSource::File("/key".to_owned()));
    let ready = staging.health.ready.unwrap();
    assert_eq!((ready.check, ready.period), (Check::Tcp, Duration::from_secs(3)));
    assert_eq!(staging.health.live, None);
    assert_eq!((staging.run.command.as_str(), staging.run.port_variable.as_str()), ("./shop", "LISTEN"));
}

#[test]
fn a_base_may_leave_to_environments_what_each_supplies() {
    let text = "service: shop\nenvironments:\n  staging: {run: ./a}\n  production: {run: ./b}\n";
    assert_eq!(spec(text, "staging").run.command, "./a");
    let half = "service: shop\nenvironments:\n  staging: {run: ./a}\n  production: {}\n";
    assert_eq!(wrong(half), ["1:1 `run` is missing"]);
}

#[test]
fn an_error_of_the_base_is_reported_once_and_even_when_overridden() {
    let text = with("replicas: 0\nenvironments: {a: {}, b: {}, c: {replicas: 3}}\n");
    assert_eq!(wrong(&text), ["3:11 `replicas`: 0 is out of range"]);
    let text = with("replicas: 0\nenvironments: {c: {replicas: 3}}\n");
    assert_eq!(wrong(&text), ["3:11 `replicas`: 0 is out of range"]);
}

#[test]
fn an_error_of_an_overlay_points_into_it() {
    let text = with("environments:\n  staging:\n    replicas: many\n    shutdwn: {}\n");
    assert_eq!(
        wrong(&text),
        ["5:15 `replicas`: expected a whole number, found `many`", "6:5 unknown field `shutdwn`"]
    );
}

#[test]
fn two_environments_cannot_claim_the_same_requests() {
    let text = with("environments:\n  a: {route: {hosts: [X.org, y.org]}}\n  b: {route: {hosts: [x.org]}}\n");
    let diagnostics = Manifest::parse(&text).unwrap_err();
    let clash = diagnostics.iter().next().unwrap();
    assert_eq!(clash.message, "environments `a` and `b` both answer x.org/");
    assert_eq!((clash.line, clash.related.as_ref().unwrap().line), (5, 4));
    parse(&with(
        "environments:\n  a: {route: {hosts: [x.org], pathPrefixes: [/a]}}\n  b: {route: {hosts: [x.org]}}\n",
    ));
}

#[test]
fn a_canary_without_steps_has_the_default_ones() {
    let Kind::Canary { steps, .. } = spec(&with("rollout: {strategy: canary}"), "production").rollout.kind
    else {
        panic!("it is a canary");
    };
    let weights: Vec<String> = steps
        .iter()
        .filter_map(|step| match step {
            Step::SetWeight(weight) => Some(weight.to_string()),
            Step::Analysis { .. } | Step::SetCanaryScale(_) | Step::SetHeaderRoute(_) => {
                panic!("the default sets weights and is judged alone")
            }
            Step::Pause { duration } => {
                assert_eq!(*duration, Some(Duration::from_secs(60)));
                None
            }
        })
        .collect();
    assert_eq!((weights, steps.len()), (vec!["5%".to_owned(), "25%".to_owned(), "50%".to_owned()], 6));
}

#[test]
fn count_and_interval_mean_what_argo_means() {
    let metric = |fields: &str| {
        let text = with(&format!(
            "rollout: {{analysis: {{metrics: [{{name: a, source: latency, failureCondition: 'result > 1'{fields}}}]}}}}"
        ));
        spec(&text, "production").rollout.analysis.metrics.remove(0)
    };
    assert_eq!(metric("").count, Some(1));
    assert_eq!(metric(", interval: 5s").count, None);
    assert_eq!(
        (metric(", count: 4").count, metric(", count: 4").interval),
        (Some(4), Duration::from_secs(10))
    );
    assert_eq!(metric(", failureLimit: -1").failure_limit, None);
    let default = metric("");
    assert_eq!(default.source, Source::Latency(0.99));
    assert_eq!(
        (default.failure_limit, default.inconclusive_limit, default.consecutive_error_limit),
        (Some(0), Some(0), Some(4))
    );
}

#[test]
fn anchors_and_merge_keys_work() {
    let text = with(
        "health:\n  live: &probe {http: /up, period: 2s}\n  ready: {<<: *probe, period: 1s}\n  startup: *probe\n",
    );
    let health = spec(&text, "production").health;
    assert_eq!(health.startup, health.live);
    let ready = health.ready.unwrap();
    assert_eq!((ready.check, ready.period), (Check::Http("/up".to_owned()), Duration::from_secs(1)));
}

#[test]
fn line_ends_and_byte_order_marks_of_other_systems_are_read() {
    let text = "\u{feff}service: shop\r\nrun: ./shop\r\nreplicas: 0\r\n";
    assert_eq!(wrong(text), ["3:11 `replicas`: 0 is out of range"]);
    let found = Manifest::parse(text).unwrap_err();
    assert_eq!(&text[found.iter().next().unwrap().span.clone()], "0");
}

#[test]
fn conflicts_that_an_overlay_resolves_are_none() {
    let text = with(
        "config: {PORT: 1}\nenvironments: {a: {run: {portVariable: LISTEN}}, b: {config: {PORT: null}}}\n",
    );
    assert_eq!(spec(&text, "a").config["PORT"], "1");
    let text = with("config: {PORT: 1}\nenvironments: {a: {run: {portVariable: LISTEN}}, b: {}}\n");
    assert_eq!(wrong(&text), ["3:10 `PORT` tells the program its port and cannot be set"]);
}

#[test]
fn a_mapping_with_too_many_keys_is_refused() {
    let keys: Vec<String> = (0..5000).map(|n| format!("K{n}: 1")).collect();
    assert!(wrong(&with(&format!("config: {{{}}}", keys.join(", "))))[0].ends_with("more than 1000 keys"));
}

#[test]
fn what_was_probably_not_meant_is_a_warning() {
    let text = "service: shop\nrun: ./shop --port $PORT\nconfig: {DB_PASSWORD: x, TOKEN_TTL: 5, TOKEN_FILE: /t}\n\
                rollout: {canary: {steps: [setWeight: 50, setWeight: 20]}}\n";
    let manifest = parse(text);
    let warnings: Vec<_> = manifest.warnings().iter().map(|w| (w.line, w.message.as_str())).collect();
    assert_eq!(
        warnings,
        [
            (2, "`$PORT` would be given to the program as it stands"),
            (3, "`DB_PASSWORD` looks like a secret"),
            (4, "the settings of `canary` are not used: the strategy is `rolling`"),
            (4, "the weight goes down, from 50% to 20%"),
        ]
    );
    assert!(manifest.warnings().iter().all(|w| w.severity == Severity::Warning));
}

#[test]
fn columns_count_characters_and_spans_count_bytes() {
    let text = "service: shop\nrun: ./shop\nlinks: {\"Läden 🛒\": 5}\n";
    let diagnostics = Manifest::parse(text).unwrap_err();
    let found = diagnostics.iter().next().unwrap();
    assert_eq!((found.line, found.column), (3, 20));
    assert_eq!(&text[found.span.clone()], "5");
    let json = serde_json::to_value(&diagnostics).unwrap();
    assert_eq!(json[0]["span"]["start"], text.find("5}").unwrap());
    assert_eq!(json[0]["severity"], "error");
}

#[test]
fn a_manifest_that_is_too_large_or_too_deep_is_refused() {
    assert_eq!(
        wrong(&"#".repeat((1 << 20) + 1)),
        ["1:1 the manifest is 1048577 bytes long; the most is 1048576"]
    );
    let deep = with(&format!("links: {}{}", "[".repeat(60), "]".repeat(60)));
    assert!(wrong(&deep)[0].contains("nested more than 32 levels deep"), "{:?}", wrong(&deep));
    wrong(&"[".repeat(100_000));
    wrong(&"- ".repeat(100_000));
}

#[test]
fn no_secret_value_is_ever_shown() {
    let text = with("config: {API_KEY: hunter2}\nsecrets: {A: hunter2, B: {value: hunter2}}\n");
    let diagnostics = Manifest::parse(&text).unwrap_err();
    assert!(diagnostics.len() >= 3);
    assert!(!diagnostics.render("x", &text, true).contains("hunter2"));
    assert!(!serde_json::to_string(&diagnostics).unwrap().contains("hunter2"));
    assert!(!diagnostics.to_string().contains("hunter2"));
}

#[test]
fn differences_are_told_field_by_field() {
    let (staging, production) = (spec(FULL, "staging"), spec(FULL, "production"));
    assert_eq!(diff::diff(&staging, &staging), []);
    let lines: Vec<String> = diff::diff(&staging, &production)
        .into_iter()
        .map(|d| format!("{}: {} -> {}", d.path, d.left.unwrap_or("-".into()), d.right.unwrap_or("-".into())))
        .collect();
    insta::assert_snapshot!("differences", lines.join("\n"));
}

fn reads_back(spec: &Spec) {
    let text = render(spec);
    let manifest = parse(&text);
    let mut back = manifest.specs().values().next().expect("one environment").clone();
    back.environment = spec.environment.clone();
    assert_eq!(&back, spec, "{text}");
}

#[test]
fn the_effective_configuration_reads_back_as_itself() {
    for spec in parse(FULL).specs().values() {
        reads_back(spec);
    }
    insta::assert_snapshot!("effective", render(&spec(FULL, "production")));
}

#[test]
fn the_schema_is_published_as_it_is() {
    let schema = schema();
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["required"], serde_json::json!(["service"]));
    assert_eq!(schema["properties"]["replicas"]["default"], 2);
    assert_eq!(schema["$defs"]["overlay"]["properties"].get("service"), None);
    insta::assert_snapshot!("schema", serde_json::to_string_pretty(&schema).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused_without_panic(text in "(\\PC|\n|\t|  |: |- |&a |\\*a |\\{|\\[|'|\"){0,80}") {
        if let Err(wrong) = Manifest::parse(&text) {
            prop_assert!(wrong.has_errors());
            wrong.render("shipshape.yaml", &text, true);
        }
    }

    #[test]
    fn a_broken_manifest_never_panics(at in 0usize..4000, cut in 0usize..40, insert in "(\\PC|\n|\t| |:|~|-|\\*a|0){0,5}") {
        let start = FULL.floor_char_boundary(at.min(FULL.len()));
        let end = FULL.ceil_char_boundary((start + cut).min(FULL.len()));
        let text = format!("{}{insert}{}", &FULL[..start], &FULL[end..]);
        match Manifest::parse(&text) {
            Ok(manifest) => manifest.specs().values().for_each(reads_back),
            Err(wrong) => {
                prop_assert!(wrong.has_errors());
                wrong.render("shipshape.yaml", &text, false);
            }
        }
    }

    #[test]
    fn any_words_and_values_read_back(
        args in prop::collection::vec("(\\PC|\n|\t){0,12}", 0..5),
        value in "(\\PC|\n|\t|\u{7f}|\u{85}|\u{2028}){0,20}",
        description in "\\PC{1,20}",
    ) {
        let mut spec = spec("service: shop\nrun: ./shop\n", "production");
        spec.run.args = args;
        spec.config.insert("VALUE".to_owned(), value);
        spec.about.description = Some(description).filter(|text| !text.trim().is_empty());
        reads_back(&spec);
    }
}

#[test]
fn a_blue_green_rollout_is_previewed_at_a_name_of_its_own() {
    let kind = |rollout: &str, environment| {
        let text =
            with(&format!("rollout: {{{rollout}}}\nenvironments: {{staging: {{}}, production: {{}}}}\n"));
        spec(&text, environment).rollout.kind
    };
    let hosts = |name: &str| vec![name.to_owned()];
    assert_eq!(
        kind("strategy: blueGreen", "staging"),
        Kind::BlueGreen {
            auto_promotion: Some(Duration::ZERO),
            preview_replicas: None,
            preview_hosts: hosts("preview.shop.staging.localhost"),
            pre_promotion: vec![],
            post_promotion: vec![],
        }
    );
    let manual = kind(
        "strategy: blueGreen, blueGreen: {autoPromotionEnabled: false, previewReplicaCount: 1}",
        "production",
    );
    assert_eq!(
        manual,
        Kind::BlueGreen {
            auto_promotion: None,
            preview_replicas: Some(1),
            preview_hosts: hosts("preview.shop.production.localhost"),
            pre_promotion: vec![],
            post_promotion: vec![],
        }
    );
}

#[test]
fn a_delay_without_a_switch_by_itself_is_a_warning() {
    let text = with(
        "rollout: {strategy: blueGreen, blueGreen: {autoPromotionEnabled: false, autoPromotionDelay: 1m}}",
    );
    let warnings: Vec<_> = parse(&text).warnings().iter().map(|w| w.message.clone()).collect();
    assert_eq!(warnings, ["`autoPromotionDelay` has no effect"]);
    let unused = parse(&with("rollout: {strategy: canary, blueGreen: {autoPromotionEnabled: false}}"));
    let warnings: Vec<_> = unused.warnings().iter().map(|w| w.message.clone()).collect();
    assert_eq!(warnings, ["the settings of `blueGreen` are not used: the strategy is `canary`"]);
}

#[test]
fn a_step_can_wait_for_an_analysis() {
    let text = with(
        "rollout: {strategy: canary, canary: {steps: [{setWeight: 5}, {analysis: {metrics: [\
         {name: a, source: errorRate, successCondition: result < 0.1}]}}]}}",
    );
    let Kind::Canary { steps, .. } = spec(&text, "production").rollout.kind else { panic!("it is a canary") };
    let [Step::SetWeight(_), Step::Analysis { metrics }] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!((metrics[0].count, metrics[0].dry_run), (Some(1), false));
}

fn one_rule(rule: &str) -> String {
    with(&format!("rollout:\n  analysis:\n    metrics:\n      - {{name: a, {rule}}}\n"))
}

#[test]
fn a_rule_can_look_from_outside() {
    let source = |rule: &str| {
        let read = spec(&one_rule(rule), "production");
        reads_back(&read);
        read.rollout.analysis.metrics[0].source.clone()
    };
    let http = source("http: {path: /healthz}");
    let Some(model::check::Check::Http(http)) = http.check() else { panic!("{http:?}") };
    assert_eq!(
        (http.method.as_str(), http.timeout, http.expect.status),
        ("GET", Duration::from_secs(10), None)
    );
    let line = source("command: {run: \"./smoke 'a b'\"}");
    assert_eq!(line, source("command: {run: [./smoke, a b]}"));
    let Some(model::check::Check::Command(command)) = line.check() else { panic!("{line:?}") };
    assert_eq!(
        (command.run, command.timeout),
        (vec!["./smoke".into(), "a b".into()], Duration::from_secs(60))
    );
}

#[test]
fn a_look_that_makes_no_sense_is_refused_with_the_way_out() {
    for (rule, what) in [
        ("count: 1", "a metric needs `source`, `http`, `command` or `promql`"),
        (
            "command: {run: a}, http: {path: /}",
            "a metric has one of `source`, `http`, `command` and `promql`",
        ),
        ("command: {run: a}, successCondition: result < 1", "the exit status of a command is its verdict"),
        ("source: restarts", "a metric needs `successCondition` or `failureCondition`"),
        ("http: {path: /}, interval: 500ms", "an `interval` between two checks is at least 1s"),
        ("http: {}", "`http` needs a `path` or a `url`"),
        ("http: {path: /, url: 'http://a'}", "`http` has both a `path` and a `url`"),
        ("http: {url: 'https://a/'}", "https is not supported yet"),
        ("http: {url: /up}", "`/up` is not an absolute address"),
        ("http: {url: 'http://:80/'}", "`http://:80/` is not an absolute address"),
        (
            "http: {url: 'http://me:it@a/'}",
            "the address holds a user or a password, which the journal would keep",
        ),
        ("http: {path: up}", "`path`: `up` is not a path"),
        ("http: {path: /, expect: {status: 99}}", "`status`: 99 is out of range"),
        ("http: {path: /, method: HEAD, expect: {bodyContains: a}}", "an answer to HEAD has no body"),
        ("http: {path: /, headers: {Host: a}}", "`host` follows from the request and cannot be set"),
        ("http: {path: /, headers: {'a b': a}}", "`a b` is not the name of a header"),
        (
            "http: {path: /, headers: {A: \"b\\nc\"}}",
            "the value of `a` holds a character that no header may hold",
        ),
        (
            "http: {path: /, headers: {Authorization: hunter2}}",
            "the journal would keep what `authorization` says",
        ),
        ("command: {}", "`run` is missing"),
        ("command: {run: []}", "the command names no program"),
        ("command: {run: {a: b}}", "expected a command line or a list, found a mapping"),
        ("command: {run: \"a 'b\"}", "the command line has an open quote or ends in a backslash"),
    ] {
        let text = one_rule(rule);
        let found = Manifest::parse(&text).expect_err(rule);
        let all: Vec<&str> = found.iter().map(|found| found.message.as_str()).collect();
        assert_eq!(all, [what], "{rule}");
        assert!(!found.render("x", &text, true).contains("hunter2"));
    }
}

#[test]
fn a_preview_is_not_measured_by_requests_that_nobody_sends() {
    let before = |rule: &str| {
        with(&format!(
            "rollout:\n  strategy: blueGreen\n  blueGreen:\n    prePromotionAnalysis:\n      metrics:\n        - {{name: a, {rule}}}\n"
        ))
    };
    for source in ["errorRate", "latency", "requestRate"] {
        let text = before(&format!("source: {source}, successCondition: result < 1"));
        assert_eq!(wrong(&text), ["8:29 nobody's requests are counted before the switch"]);
    }
    let endless = before("http: {path: /}, interval: 5s");
    assert_eq!(wrong(&endless), ["8:9 `a` has no `count`, so it would never end"]);
    parse(&before("source: restarts, count: 2, failureCondition: result > 0"));
    parse(&before("command: {run: ./smoke}"));
}

fn affinity(text: &str) -> String {
    with(&format!("rollout: {{strategy: canary, canary: {{sessionAffinity: {text}}}}}\n"))
}

#[test]
fn users_are_known_by_a_cookie_or_by_a_header() {
    let read = |text: &str, environment| {
        let Kind::Canary { session_affinity, .. } = spec(text, environment).rollout.kind else {
            panic!("it is a canary")
        };
        session_affinity.unwrap()
    };
    let week = Duration::from_secs(7 * 24 * 3600);
    let cookie = SessionAffinity::Cookie { name: "shipshape-user".to_owned(), max_age: week };
    assert_eq!(read(&affinity("{cookie: {}}"), "production"), cookie);
    let header = SessionAffinity::Header { name: "x-user".to_owned() };
    assert_eq!(read(&affinity("{header: {name: X-User}}"), "production"), header);
    let overlay = "environments: {a: {rollout: {canary: {sessionAffinity: {cookie: {}}}}}, b: {}}\n";
    let both = affinity("{header: {name: X-User}}") + overlay;
    assert_eq!((read(&both, "a"), read(&both, "b")), (cookie, header), "the one replaces the other");
}

#[test]
fn an_affinity_that_would_forget_its_users_is_refused() {
    for (text, what) in [
        ("cookie", "`sessionAffinity` is a mapping"),
        ("{}", "session affinity needs one of `cookie`, `header`"),
        ("{cookie: {name: __Host-user}}", "browsers take `__Host-user` with the attribute Secure alone"),
        ("{cookie: {name: 'a=b'}}", "`a=b` is not the name of a cookie"),
        ("{cookie: {maxAge: 999ms}}", "a cookie's age is told in seconds, and zero would remove it"),
        ("{header: {}}", "`name` is missing"),
        ("{header: {name: Cookie}}", "`cookie` cannot be used here"),
    ] {
        let found = Manifest::parse(&affinity(text)).expect_err(text);
        let all: Vec<&str> = found.iter().map(|found| found.message.as_str()).collect();
        assert_eq!(all, [what], "{text}");
    }
}

#[test]
fn an_affinity_that_keeps_nobody_is_refused() {
    let strategy = |strategy: &str, more: &str| {
        with(&format!(
            "rollout:\n  strategy: {strategy}\n  canary:\n    sessionAffinity: {{cookie: {{}}}}\n{more}"
        ))
    };
    for other in ["rolling", "blueGreen"] {
        let unused = format!("5:3 the settings of `canary` are not used: the strategy is `{other}`");
        let what = format!("6:5 `sessionAffinity` keeps nobody on a release: the strategy is `{other}`");
        assert_eq!(wrong(&strategy(other, "")), [unused, what]);
    }
    let steps = "    steps: [{setHeaderRoute: {name: a, match: [{headerName: a, headerValue: {exact: b}}]}}, {setWeight: 100}]\n";
    let nobody = "6:5 `sessionAffinity` keeps nobody: no step shares the requests between two releases";
    assert_eq!(wrong(&strategy("canary", steps)), [nobody]);
    parse(&strategy("canary", "    steps: [{setWeight: 20}]\n"));
    let found = Manifest::parse(&strategy("rolling", "")).expect_err("it is wrong");
    assert!(
        found.iter().any(|found| found.help.as_deref().is_some_and(|it| it.contains("strategy: canary")))
    );
}

#[test]
fn an_affinity_that_one_environment_uses_may_stand_for_all() {
    let base = "rollout: {strategy: rolling, canary: {sessionAffinity: {cookie: {}}}}\n";
    let text =
        with(&format!("{base}environments: {{production: {{rollout: {{strategy: canary}}}}, staging: }}\n"));
    assert!(parse(&text).warnings().is_empty());
    let neither = with(&format!("{base}environments: {{production: , staging: }}\n"));
    assert_eq!(wrong(&neither).len(), 2, "{:?}", wrong(&neither));
    let removed = with(
        "rollout: {strategy: canary, canary: {sessionAffinity: {cookie: {}}}}\n\
         environments: {production: , staging: {rollout: {strategy: rolling, canary: null}}}\n",
    );
    parse(&removed);
}

#[test]
fn only_so_many_header_routes_are_in_force_at_once() {
    let steps = |count: usize, removed: bool| {
        let set = |n| {
            format!(
                "{{setHeaderRoute: {{name: r{n}, match: [{{headerName: a, headerValue: {{exact: b}}}}]}}}}"
            )
        };
        let mut steps: Vec<String> = (0..count).map(set).collect();
        if removed {
            steps.insert(count - 1, "{setHeaderRoute: {name: r0}}".to_owned());
        }
        with(&format!("rollout: {{strategy: canary, canary: {{steps: [{}]}}}}", steps.join(", ")))
    };
    parse(&steps(16, false));
    parse(&steps(17, true));
    assert!(wrong(&steps(17, false))[0].ends_with("more than 16 header routes would be in force at once"));
}
