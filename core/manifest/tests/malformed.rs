//! What people see for manifests that are wrong: every message, its place and its help, by snapshot.

use manifest::Manifest;

macro_rules! malformed {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                let text = include_str!(concat!("malformed/", stringify!($name), ".yaml"));
                let diagnostics = Manifest::parse(text).expect_err("it is malformed");
                assert!(diagnostics.has_errors());
                insta::assert_snapshot!(stringify!($name), diagnostics.render("shipshape.yaml", text, false));
            }
        )*
    };
}

malformed! {
    empty typos units duplicate_keys tab tab_below indentation two_documents not_a_mapping missing_fields names_and_secrets
    rollout environments aliases alias_bomb probes unicode routes star blue_green assignment promotion hooks promql traces objectives notify
    outside
}
