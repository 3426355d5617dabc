//! From a CEL tree to the expression that JSON conditions become, as far as it goes.

use actions_domain::matching::condition::{Expression, Operator, Path, Test};
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators};
use serde_json::{Number, Value};

use super::super::regex::{TextRegex, TextRegexes};
use super::check::children;
use super::{Cel, Cost, Program};

type Lowered = Expression<TextRegex, Cel>;

pub(super) struct Source<'s> {
    pub(super) text: &'s str,
    pub(super) info: &'s SourceInfo,
    pub(super) regexes: &'s TextRegexes,
}

/// Takes an expression that shall be true.
pub(super) fn lower(tree: IdedExpr, source: &Source<'_>) -> Lowered {
    let called = if let Expr::Call(call) = &tree.expr { call.func_name.as_str() } else { "" };
    match called {
        operators::LOGICAL_AND => {
            return Expression::All(each_argument(tree, operators::LOGICAL_AND, source));
        }
        operators::LOGICAL_OR => {
            return Expression::Any(each_argument(tree, operators::LOGICAL_OR, source));
        }
        operators::LOGICAL_NOT => {
            return match arguments(tree).pop() {
                Some(part) => Expression::Not(Box::new(lower(part, source))),
                None => Expression::Cel(Cel::broken("a negation of nothing")),
            };
        }
        _ => {}
    }
    match test(&tree, source) {
        Some(test) => Expression::Test(test),
        None => Expression::Cel(Cel::Program(Box::new(program(tree, source)))),
    }
}

/// Flattens a chain of one operator, which the parser has made a tree.
fn each_argument(tree: IdedExpr, operator: &str, source: &Source<'_>) -> Vec<Lowered> {
    let is_same =
        |node: &IdedExpr| matches!(&node.expr, Expr::Call(call) if call.func_name == operator);
    let mut parts = Vec::new();
    let mut waiting = vec![tree];
    while let Some(node) = waiting.pop() {
        if is_same(&node) {
            waiting.extend(arguments(node).into_iter().rev());
        } else {
            parts.push(lower(node, source));
        }
    }
    parts
}

fn arguments(tree: IdedExpr) -> Vec<IdedExpr> {
    if let Expr::Call(call) = tree.expr { call.args } else { Vec::new() }
}

fn test(node: &IdedExpr, source: &Source<'_>) -> Option<Test<TextRegex>> {
    let strict = |path, operator| Some(Test { path, operator, strict: true });
    if let Expr::Call(call) = &node.expr {
        let (path, operator) = comparison(call, source)?;
        return strict(path, operator);
    }
    if let Expr::Select(select) = &node.expr
        && select.test
    {
        let mut names = names(&select.operand)?;
        names.push(&select.field);
        return strict(path_of(&names)?, Operator::Exists(true));
    }
    strict(path(node)?, Operator::True)
}

fn comparison(call: &CallExpr, source: &Source<'_>) -> Option<(Path, Operator<TextRegex>)> {
    let operands: Vec<&IdedExpr> =
        call.target.iter().map(|target| &**target).chain(&call.args).collect();
    let [left, right] = operands.as_slice() else {
        return None;
    };
    let name = call.func_name.as_str();
    if name == operators::IN {
        let Expr::List(list) = &right.expr else {
            return None;
        };
        let values: Option<Vec<Value>> = list.elements.iter().map(literal).collect();
        return Some((path(left)?, Operator::In(values?)));
    }
    if name == "matches" {
        let pattern = literal(right)?;
        return Some((
            path(left)?,
            Operator::Matches(source.regexes.compile(pattern.as_str()?).ok()?),
        ));
    }
    match (path(left), path(right)) {
        (Some(path), None) => Some((path, operator(name, literal(right)?)?)),
        (None, Some(path)) => Some((path, operator(turned(name), literal(left)?)?)),
        _ => None,
    }
}

fn operator(name: &str, value: Value) -> Option<Operator<TextRegex>> {
    let has_order = value.is_number() || value.is_string();
    match name {
        operators::EQUALS => Some(Operator::Equal(value)),
        operators::NOT_EQUALS => Some(Operator::NotEqual(value)),
        operators::GREATER if has_order => Some(Operator::Greater(value)),
        operators::GREATER_EQUALS if has_order => Some(Operator::GreaterOrEqual(value)),
        operators::LESS if has_order => Some(Operator::Less(value)),
        operators::LESS_EQUALS if has_order => Some(Operator::LessOrEqual(value)),
        _ => None,
    }
}

/// The operator that says the same with its sides exchanged.
fn turned(name: &str) -> &str {
    match name {
        operators::GREATER => operators::LESS,
        operators::GREATER_EQUALS => operators::LESS_EQUALS,
        operators::LESS => operators::GREATER,
        operators::LESS_EQUALS => operators::GREATER_EQUALS,
        other => other,
    }
}

fn literal(node: &IdedExpr) -> Option<Value> {
    let Expr::Literal(literal) = &node.expr else {
        return None;
    };
    match literal {
        LiteralValue::Null => Some(Value::Null),
        LiteralValue::Boolean(flag) => Some(Value::Bool(*flag.inner())),
        LiteralValue::Int(number) => Some(Value::from(*number.inner())),
        LiteralValue::UInt(number) => Some(Value::from(*number.inner())),
        LiteralValue::Double(number) => Number::from_f64(*number.inner()).map(Value::Number),
        LiteralValue::String(text) => Some(Value::from(text.inner())),
        LiteralValue::Bytes(_) => None,
    }
}

/// `event.data.a['b'].c` as a path, when it is one.
fn path(node: &IdedExpr) -> Option<Path> {
    path_of(&names(node)?)
}

fn path_of(names: &[&str]) -> Option<Path> {
    let ["event", "data", rest @ ..] = names else {
        return None;
    };
    Path::from_names(rest.iter().copied())
}

fn names(node: &IdedExpr) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    let mut node = node;
    while let Some((operand, name)) = member(node) {
        names.push(name);
        node = operand;
    }
    let Expr::Ident(root) = &node.expr else {
        return None;
    };
    names.push(root);
    names.reverse();
    Some(names)
}

/// `operand.name` or `operand['name']`.
fn member(node: &IdedExpr) -> Option<(&IdedExpr, &str)> {
    if let Expr::Select(select) = &node.expr {
        return (!select.test).then_some((&*select.operand, select.field.as_str()));
    }
    let Expr::Call(call) = &node.expr else {
        return None;
    };
    match call.args.as_slice() {
        [operand, index] if call.func_name == operators::INDEX => {
            if let Expr::Literal(LiteralValue::String(name)) = &index.expr {
                Some((operand, name.inner()))
            } else {
                None
            }
        }
        _ => None,
    }
}

/// Values that an explanation shows beside an expression.
const READS_MAX: usize = 4;

fn program(tree: IdedExpr, source: &Source<'_>) -> Program {
    let mut reads = Vec::new();
    collect_reads(&tree, &mut reads);
    let text = text_of(&tree, source).unwrap_or_else(|| source.text.to_owned());
    let cost = cost(&tree);
    Program { source: text.into(), reads: reads.into_boxed_slice(), cost, tree }
}

fn collect_reads(node: &IdedExpr, reads: &mut Vec<Path>) {
    if let Some(path) = path(node) {
        if reads.len() < READS_MAX && !reads.contains(&path) {
            reads.push(path);
        }
        return;
    }
    children(node).into_iter().for_each(|child| collect_reads(child, reads));
}

/// The part of the text that a tree was written as. Nodes know where their tokens are, but not
/// the brackets around them, so the part is widened until its brackets are even.
fn text_of(tree: &IdedExpr, source: &Source<'_>) -> Option<String> {
    let mut waiting = vec![tree];
    let (mut start, mut end) = (usize::MAX, 0);
    while let Some(node) = waiting.pop() {
        if let Some((first, last)) = source.info.offset_for(node.id) {
            start = start.min(first as usize);
            end = end.max(last as usize);
        }
        waiting.extend(children(node));
    }
    let chars: Vec<char> = source.text.chars().collect();
    let mut depth = 0_i32;
    let mut lowest = 0;
    for c in chars.get(start..=end)? {
        depth += bracket(*c);
        lowest = lowest.min(depth);
    }
    let mut open = depth - lowest;
    while lowest < 0 {
        start = start.checked_sub(1)?;
        lowest += bracket(chars[start]).max(0);
    }
    while open > 0 {
        end += 1;
        open += bracket(*chars.get(end)?);
    }
    Some(chars[start..=end].iter().collect())
}

fn bracket(c: char) -> i32 {
    match c {
        '(' | '[' | '{' => 1,
        ')' | ']' | '}' => -1,
        _ => 0,
    }
}

/// Functions and operators that take the same time whatever their operands' size. Additions are
/// counted as copies.
const CHEAP: [&str; 13] = [
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::NOT_STRICTLY_FALSE,
    operators::CONDITIONAL,
    operators::ADD,
    operators::SUBSTRACT,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::NEGATE,
    "dyn",
    "type",
];

pub(super) fn cost(tree: &IdedExpr) -> Cost {
    let mut cost = Cost::default();
    let mut waiting = vec![(tree, Place::default())];
    while let Some((node, place)) = waiting.pop() {
        let is_plain = |child: &&IdedExpr| matches!(child.expr, Expr::Literal(_));
        match &node.expr {
            Expr::Call(call) => {
                let is_addition = call.func_name == operators::ADD;
                cost.copies += usize::from(is_addition);
                cost.range_parts += usize::from(is_addition && place.in_range && !appends(call));
                match reading(call, place.item) {
                    Reading::Nothing => {}
                    Reading::Once => cost.reads += 1,
                    Reading::Again if place.item.is_none() => cost.reads += 1,
                    Reading::Again => cost.repeated_reads += 1,
                }
            }
            Expr::Comprehension(each) => {
                cost.has_macro = true;
                let names = Some((each.iter_var.as_str(), each.iter_var2.as_deref()));
                let inside = Place { item: names, in_range: place.in_range };
                waiting.push((&each.iter_range, Place { in_range: true, ..place }));
                waiting.extend(
                    [&each.accu_init, &each.loop_cond, &each.loop_step, &each.result]
                        .map(|child| (child, inside)),
                );
                continue;
            }
            Expr::List(_) | Expr::Map(_) => {
                let children = children(node);
                cost.copies += children.iter().filter(|child| !is_plain(child)).count();
                cost.written_items = cost.written_items.max(children.len());
            }
            Expr::Unspecified
            | Expr::Ident(_)
            | Expr::Literal(_)
            | Expr::Select(_)
            | Expr::Struct(_) => {}
        }
        waiting.extend(children(node).into_iter().map(|child| (child, place)));
    }
    cost
}

/// Where a node stands.
#[derive(Debug, Clone, Copy, Default)]
struct Place<'t> {
    /// The names of the current item, inside of a macro.
    item: Option<(&'t str, Option<&'t str>)>,
    /// Whether it makes what a macro walks through.
    in_range: bool,
}

/// How much of the data a call may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Nothing,
    /// Over all steps of a macro together at most all of it.
    Once,
    /// Possibly all of it, at each step.
    Again,
}

/// Two values are compared up to the end of the smaller one, so one that is small or another at
/// each step makes a comparison cheap. What a function or `in` looks through must be so itself.
fn reading(call: &CallExpr, item: Option<(&str, Option<&str>)>) -> Reading {
    let name = call.func_name.as_str();
    // Parts of a time: `getHours` and the like.
    if CHEAP.contains(&name) || name.starts_with("get") {
        return Reading::Nothing;
    }
    let operands: Vec<&IdedExpr> =
        call.target.iter().map(|target| &**target).chain(&call.args).collect();
    let of = |node: &IdedExpr| {
        if matches!(node.expr, Expr::Literal(_)) {
            Reading::Nothing
        } else if item.is_some_and(|item| is_of_item(node, item)) {
            Reading::Once
        } else {
            Reading::Again
        }
    };
    let is_comparison = [
        operators::EQUALS,
        operators::NOT_EQUALS,
        operators::LESS,
        operators::LESS_EQUALS,
        operators::GREATER,
        operators::GREATER_EQUALS,
    ]
    .contains(&name);
    let looked_through = match operands.as_slice() {
        [left, right] if is_comparison => {
            return if of(left) == Reading::Nothing || of(right) == Reading::Nothing {
                Reading::Nothing
            } else if of(left) == Reading::Once || of(right) == Reading::Once {
                Reading::Once
            } else {
                Reading::Again
            };
        }
        [_, right] if name == operators::IN || name == operators::INDEX => right,
        [first, ..] => first,
        [] => return Reading::Nothing,
    };
    if let Expr::List(list) = &looked_through.expr
        && list.elements.iter().all(|each| of(each) == Reading::Nothing)
    {
        return Reading::Nothing;
    }
    of(looked_through)
}

/// `item`, `item.a` or `item['a'].b`: a part of what the macro is at.
fn is_of_item(node: &IdedExpr, item: (&str, Option<&str>)) -> bool {
    let mut node = node;
    while let Some((operand, _)) = member(node) {
        node = operand;
    }
    matches!(&node.expr, Expr::Ident(name) if *name == item.0 || Some(name.as_str()) == item.1)
}

/// `@result + [item]`, as macros that make lists are written out.
fn appends(call: &CallExpr) -> bool {
    let first = call.args.first();
    first.is_some_and(|first| matches!(&first.expr, Expr::Ident(name) if name.starts_with('@')))
}
