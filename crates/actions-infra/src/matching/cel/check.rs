//! What is refused in a parsed expression: unknown names, what costs too much, and trees too
//! deep to be walked on an ordinary stack.

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue};

use super::super::regex::TextRegexes;

const TYPES: [&str; 10] =
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];
/// The standard library. A macro with the wrong number of arguments is left as a call, so it is
/// not among these.
const FUNCTIONS: [&str; 26] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "duration",
    "dyn",
    "endsWith",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "int",
    "matches",
    "size",
    "startsWith",
    "string",
    "timestamp",
    "type",
    "uint",
    "@in",
];
/// Macros of one expression, one after the other.
const MACROS_MAX: usize = 4;

/// Something that is refused, and the node where it stands.
pub(super) struct Found {
    pub(super) node: u64,
    pub(super) message: String,
}

/// How deep a tree is. Follows it without recursion, since that is what the answer is for.
pub(super) fn depth(tree: &IdedExpr) -> usize {
    let mut deepest = 0;
    let mut waiting = vec![(tree, 1)];
    while let Some((node, depth)) = waiting.pop() {
        deepest = deepest.max(depth);
        waiting.extend(children(node).into_iter().map(|child| (child, depth + 1)));
    }
    deepest
}

/// The nodes directly below a node.
pub(in crate::matching) fn children(node: &IdedExpr) -> Vec<&IdedExpr> {
    match &node.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Call(call) => call.target.iter().map(|target| &**target).chain(&call.args).collect(),
        Expr::Comprehension(each) => {
            vec![&each.iter_range, &each.accu_init, &each.loop_cond, &each.loop_step, &each.result]
        }
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(|entry| entry_nodes(&entry.expr)).collect(),
        Expr::Struct(made) => {
            made.entries.iter().flat_map(|entry| entry_nodes(&entry.expr)).collect()
        }
        Expr::Select(select) => vec![&select.operand],
    }
}

fn entry_nodes(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

/// Finds the first thing that is refused. `variables` are what it may name.
pub(super) fn check(
    tree: &IdedExpr,
    regexes: &TextRegexes,
    variables: &[&str],
) -> Result<(), Found> {
    let names = Vec::new();
    let mut checker = Checker { names, inside_macro: false, macros: 0, regexes, variables };
    checker.node(tree)
}

struct Checker<'t, 'r> {
    /// Names that macros around the current node have introduced.
    names: Vec<&'t str>,
    inside_macro: bool,
    macros: usize,
    regexes: &'r TextRegexes,
    variables: &'r [&'r str],
}

impl<'t> Checker<'t, '_> {
    fn node(&mut self, node: &'t IdedExpr) -> Result<(), Found> {
        match &node.expr {
            Expr::Ident(name) => return self.name(node.id, name),
            Expr::Call(call) => self.call(node.id, call)?,
            Expr::Comprehension(_) => return self.comprehension(node),
            Expr::Struct(made) => {
                return refuse(node.id, format!("there is no type {} to make", made.type_name));
            }
            Expr::Unspecified => return refuse(node.id, "not a CEL expression".to_owned()),
            Expr::Literal(_) | Expr::List(_) | Expr::Map(_) | Expr::Select(_) => {}
        }
        children(node).into_iter().try_for_each(|child| self.node(child))
    }

    fn name(&self, node: u64, name: &str) -> Result<(), Found> {
        if self.variables.contains(&name) || TYPES.contains(&name) || self.names.contains(&name) {
            return Ok(());
        }
        refuse(
            node,
            match name {
                "steps" => {
                    "steps is known in workflows only; a condition here has event and tenant"
                        .to_owned()
                }
                "data" => "the data is at event.data".to_owned(),
                _ => format!("{name} is not known; {}", self.what_is_known()),
            },
        )
    }

    fn what_is_known(&self) -> String {
        match self.variables {
            [one, other] => format!("a condition has {one} and {other}"),
            all => format!("a workflow has {}", all.join(", ")),
        }
    }

    fn call(&mut self, node: u64, call: &CallExpr) -> Result<(), Found> {
        let name = call.func_name.as_str();
        let is_operator = name.starts_with(['_', '!', '-', '@']);
        if !is_operator && !FUNCTIONS.contains(&name) {
            return refuse(node, format!("there is no function {name} with these arguments"));
        }
        if name == "matches" { self.matches(node, call) } else { Ok(()) }
    }

    /// The library compiles the expression at every call, so it must be a small one and not
    /// stand in a loop.
    fn matches(&self, node: u64, call: &CallExpr) -> Result<(), Found> {
        if self.inside_macro {
            return refuse(node, "matches cannot stand inside of a macro".to_owned());
        }
        let Some(Expr::Literal(LiteralValue::String(source))) =
            call.args.last().map(|last| &last.expr)
        else {
            return refuse(node, "matches takes its expression as a plain text".to_owned());
        };
        match self.regexes.compile(source.inner()) {
            Ok(_) => Ok(()),
            Err(message) => refuse(node, format!("not a regular expression: {message}")),
        }
    }

    fn comprehension(&mut self, node: &'t IdedExpr) -> Result<(), Found> {
        let Expr::Comprehension(each) = &node.expr else {
            return Ok(());
        };
        self.macros += 1;
        if self.macros > MACROS_MAX {
            return refuse(node.id, format!("an expression has at most {MACROS_MAX} macros"));
        }
        if self.inside_macro {
            return refuse(node.id, "a macro cannot stand inside of another one".to_owned());
        }
        // The range is computed once, before the loop.
        self.node(&each.iter_range)?;
        self.inside_macro = true;
        self.names.push(&each.iter_var);
        self.names.extend(each.iter_var2.as_deref());
        self.names.push(&each.accu_var);
        let inner = [&each.accu_init, &each.loop_cond, &each.loop_step, &each.result];
        inner.into_iter().try_for_each(|child| self.node(child))?;
        self.names.clear();
        self.inside_macro = false;
        Ok(())
    }
}

fn refuse<T>(node: u64, message: String) -> Result<T, Found> {
    Err(Found { node, message })
}
