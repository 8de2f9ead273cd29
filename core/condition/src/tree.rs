//! What an expression may be made of: known names, and no more work than a moment's.

use std::collections::BTreeSet;

use cel::Program;
use cel::common::ast::{Expr, IdedExpr};

use crate::{Error, functions};

/// How deep loops (`all`, `exists`, `map`, `filter`) may stand in each other: each takes as many rounds as there are values.
const DEEPEST_LOOPS: usize = 2;

pub(crate) fn check(program: &Program) -> Result<(), Error> {
    let mut names = BTreeSet::new();
    if loops(program.expression(), &mut names) > DEEPEST_LOOPS {
        let what = format!("more than {DEEPEST_LOOPS} loops stand in each other");
        return Err(Error::new(what, "let the query do the work, and compare what is left"));
    }
    let references = program.references();
    let variables: BTreeSet<&str> = references.variables().into_iter().collect();
    let known = |name: &str| name == "result" || names.contains(name) || name.starts_with('@');
    if let Some(name) = variables.into_iter().find(|name| !known(name)) {
        return Err(Error::new(format!("`{name}` is not known in a condition"), "the variable is `result`"));
    }
    let called: BTreeSet<&str> = references.functions().into_iter().collect();
    let is_operator = |name: &str| name.starts_with(['_', '@', '!', '-']);
    let unknown = called.into_iter().find(|name| !is_operator(name) && !functions::NAMES.contains(name));
    if let Some(name) = unknown {
        let help = format!(
            "the functions are {}, and of lists `all`, `exists`, `exists_one`, `map` and `filter`",
            functions::NAMES.join(", ")
        );
        return Err(Error::new(format!("a condition has no function `{name}`"), help));
    }
    Ok(())
}

/// How deep loops stand in each other below here; their variables are collected.
fn loops(node: &IdedExpr, names: &mut BTreeSet<String>) -> usize {
    let most = |children: &mut dyn Iterator<Item = &IdedExpr>, names: &mut BTreeSet<String>| {
        children.map(|child| loops(child, names)).max().unwrap_or(0)
    };
    match &node.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Map(_) | Expr::Struct(_) => 0,
        Expr::Call(call) => most(&mut call.target.as_deref().into_iter().chain(&call.args), names),
        Expr::List(list) => most(&mut list.elements.iter(), names),
        Expr::Select(select) => loops(&select.operand, names),
        Expr::Comprehension(comprehension) => {
            names.insert(comprehension.iter_var.clone());
            names.insert(comprehension.accu_var.clone());
            names.extend(comprehension.iter_var2.clone());
            let parts = [
                &comprehension.loop_cond,
                &comprehension.loop_step,
                &comprehension.accu_init,
                &comprehension.result,
            ];
            let inside = most(&mut parts.into_iter(), names);
            // What is looped over is evaluated once, before.
            (inside + 1).max(loops(&comprehension.iter_range, names))
        }
    }
}
