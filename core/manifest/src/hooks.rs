//! Hooks of a rollout, as they are declared. Does not live here: when they run, and what follows from their end (`ship`).

use std::collections::BTreeMap;

use model::check::Command;
use model::hook::{Hook, Hooks, OnFailure};

use crate::check;
use crate::diagnostic::Problem;
use crate::fields;
use crate::node::{Node, Span};
use crate::read::Mapping;
use crate::service::mappings;
use crate::shape::Object;

/// Reads the `hooks` of a rollout.
pub(crate) fn hooks(rollout: &Mapping<'_>) -> Hooks {
    let section = rollout.child("hooks", &fields::HOOKS);
    let mut names = BTreeMap::new();
    let before = list(&section, "before", &fields::HOOK_BEFORE, &mut names, |_| OnFailure::Rollback);
    let after = list(&section, "after", &fields::HOOK_AFTER, &mut names, |hook| {
        match hook.choice("onFailure", &[]) {
            Some("rollback") => OnFailure::Rollback,
            Some(_) | None => OnFailure::Warn,
        }
    });
    section.finish();
    Hooks { before, after }
}

fn list(
    section: &Mapping<'_>,
    field: &'static str,
    object: &'static Object,
    names: &mut BTreeMap<String, Span>,
    on_failure: impl Fn(&Mapping<'_>) -> OnFailure,
) -> Vec<Hook> {
    let mut hooks = Vec::new();
    for item in mappings(section, section.list(field).unwrap_or_default()) {
        let hook = Mapping::open(section.context, object, item, &item.span);
        let on_failure = on_failure(&hook);
        hooks.extend(read(&hook, item, names, on_failure));
        hook.finish();
    }
    hooks
}

fn read(
    hook: &Mapping<'_>,
    item: &Node,
    names: &mut BTreeMap<String, Span>,
    on_failure: OnFailure,
) -> Option<Hook> {
    let name = hook.text("name");
    let command = Command { run: check::words(hook), timeout: hook.duration("timeout") };
    let idempotent = hook.flag("idempotent").unwrap_or(true);
    let name = name?;
    let span = item.map().and_then(|map| map.get("name")).map_or(&item.span, |entry| &entry.value.span);
    if let Some(first) = names.get(&name) {
        let problem = Problem::new(format!("two hooks have the name `{name}`"));
        let sink = hook.context.sink;
        sink.error_with(span, problem.help("give each its own name"), first, "the first one");
    }
    names.insert(name.clone(), span.clone());
    (!command.run.is_empty()).then_some(Hook { name, command, idempotent, on_failure })
}
