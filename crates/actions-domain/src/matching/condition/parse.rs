//! From what was written to one expression.

use serde_json::{Map, Value};

use super::{CelText, ConditionError, ConditionProblem, Expression, Operator, Path, Test};
use crate::limits::{CONDITION_NODES_MAX, CONDITION_VALUES_MAX, PATTERN_BYTES_MAX};

const FIELD_OPERATORS: &str = "$eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $exists, $regex and $not";
const OUTER_OPERATORS: &str = "$and, $or and $not";
const LIST_OPERATORS: &str = "equals, contains, gt, lt, in, not_in, exists and not_exists";

pub(super) fn parse(value: &Value) -> Result<Expression, ConditionError> {
    let mut parser = Parser { pointer: Vec::new(), parts: 0, values: 0 };
    parser.condition(value)
}

/// Knows where it is and how much it has read.
struct Parser {
    pointer: Vec<String>,
    parts: usize,
    values: usize,
}

type Parsed<T = Expression> = Result<T, ConditionError>;

impl Parser {
    fn condition(&mut self, value: &Value) -> Parsed {
        match value {
            Value::Null => Ok(Expression::always()),
            Value::String(text) => self.cel(text),
            Value::Object(members) => self.object(members),
            Value::Array(items) => self.list(items),
            Value::Bool(_) | Value::Number(_) => {
                self.expected("a condition", "an object of operators, a CEL text, or a list", value)
            }
        }
    }

    /// CEL texts and `{field, operator, value}`, all of which must hold.
    fn list(&mut self, items: &[Value]) -> Parsed {
        let parts = self.each(items, |parser, item| {
            if let Value::String(text) = item {
                return parser.cel(text);
            }
            match item.as_object().filter(|members| members.contains_key("field")) {
                Some(members) => parser.list_item(members),
                None => parser.expected(
                    "a list of conditions",
                    "CEL texts, or objects with field, operator and value",
                    item,
                ),
            }
        })?;
        Ok(all(parts))
    }

    fn cel(&mut self, text: &str) -> Parsed {
        self.count_part()?;
        CelText::parse(text, &self.pointer())
            .map(Expression::Cel)
            .map_err(|problem| self.error(problem))
    }

    fn object(&mut self, members: &Map<String, Value>) -> Parsed {
        let mut parts = Vec::with_capacity(members.len());
        for (name, value) in members {
            parts.push(self.at(name, |parser| parser.member(name, value))?);
        }
        Ok(all(parts))
    }

    fn member(&mut self, name: &str, value: &Value) -> Parsed {
        match name {
            "$and" => Ok(all(self.branches(name, value)?)),
            "$or" => Ok(Expression::Any(self.branches(name, value)?)),
            "$not" => {
                self.count_part()?;
                let inner = self.branch(name, value)?;
                Ok(Expression::Not(Box::new(inner)))
            }
            _ if name.starts_with('$') => self.wrong_operator(name, OUTER_OPERATORS),
            _ => {
                let path = self.path(name)?;
                self.field(&path, value)
            }
        }
    }

    fn branches(&mut self, name: &str, value: &Value) -> Parsed<Vec<Expression>> {
        self.count_part()?;
        match value.as_array().filter(|items| !items.is_empty()) {
            Some(items) => self.each(items, |parser, item| parser.branch(name, item)),
            None => self.expected(name, "a list of at least one object", value),
        }
    }

    fn branch(&mut self, name: &str, value: &Value) -> Parsed {
        match value.as_object().filter(|members| !members.is_empty()) {
            Some(members) => self.object(members),
            None => self.expected(name, "objects with at least one member", value),
        }
    }

    /// What stands at a path: operators, or a value to be equal to.
    fn field(&mut self, path: &Path, value: &Value) -> Parsed {
        let has_operators =
            |members: &&Map<String, Value>| members.keys().any(|name| name.starts_with('$'));
        let Some(members) = value.as_object().filter(has_operators) else {
            return self.test(path, Operator::Equal(value.clone()));
        };
        let mut parts = Vec::with_capacity(members.len());
        for (name, operand) in members {
            parts.push(self.at(name, |parser| parser.operator(path, name, operand))?);
        }
        Ok(all(parts))
    }

    fn operator(&mut self, path: &Path, name: &str, operand: &Value) -> Parsed {
        let operator = match name {
            "$eq" => Operator::Equal(operand.clone()),
            "$ne" => Operator::NotEqual(operand.clone()),
            "$gt" => Operator::Greater(self.ordered(name, operand)?),
            "$gte" => Operator::GreaterOrEqual(self.ordered(name, operand)?),
            "$lt" => Operator::Less(self.ordered(name, operand)?),
            "$lte" => Operator::LessOrEqual(self.ordered(name, operand)?),
            "$in" => Operator::In(self.values(name, operand)?),
            "$nin" => Operator::NotIn(self.values(name, operand)?),
            "$exists" => match operand.as_bool() {
                Some(exists) => Operator::Exists(exists),
                None => return self.expected(name, "true or false", operand),
            },
            "$regex" => Operator::Matches(self.regex(name, operand)?),
            "$not" => {
                let Value::Object(members) = operand else {
                    return self.expected(name, "an object of operators", operand);
                };
                if members.is_empty() || !members.keys().all(|name| name.starts_with('$')) {
                    return self.expected(name, "an object of operators", operand);
                }
                self.count_part()?;
                return Ok(Expression::Not(Box::new(self.field(path, operand)?)));
            }
            "$and" | "$or" => {
                let hint =
                    "it joins whole conditions, so it stands beside paths and not inside one";
                return self.misplaced(name, hint);
            }
            _ if name.starts_with('$') => return self.wrong_operator(name, FIELD_OPERATORS),
            _ => return self.misplaced(name, "operators and names are not mixed"),
        };
        self.test(path, operator)
    }

    /// One condition of the older form.
    fn list_item(&mut self, members: &Map<String, Value>) -> Parsed {
        let field = self.text(members, "field")?;
        let path = self.at("field", |parser| parser.path(&field))?;
        let name = self.text(members, "operator")?;
        if let Some(other) =
            members.keys().find(|k| !["field", "operator", "value"].contains(&k.as_str()))
        {
            return self.misplaced(other, "there are field, operator and value");
        }
        let operand = members.get("value").unwrap_or(&Value::Null);
        let operator = self.at("value", |parser| {
            Ok(Some(match name.as_str() {
                "equals" => Operator::Equal(operand.clone()),
                "contains" => Operator::Contains(operand.clone()),
                "gt" => Operator::Greater(parser.ordered(&name, operand)?),
                "lt" => Operator::Less(parser.ordered(&name, operand)?),
                "in" => Operator::In(parser.values(&name, operand)?),
                "not_in" => Operator::NotIn(parser.values(&name, operand)?),
                "exists" => Operator::Exists(true),
                "not_exists" => Operator::Exists(false),
                _ => return Ok(None),
            }))
        })?;
        match operator {
            Some(operator) => self.test(&path, operator),
            None => self.at("operator", |parser| parser.wrong_operator(&name, LIST_OPERATORS)),
        }
    }

    fn text(&self, members: &Map<String, Value>, name: &str) -> Parsed<String> {
        match members.get(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            other => self.expected(name, "a text", other.unwrap_or(&Value::Null)),
        }
    }

    fn test(&mut self, path: &Path, operator: Operator) -> Parsed {
        self.count_part()?;
        Ok(Expression::Test(Test { path: path.clone(), operator, strict: false }))
    }

    fn path(&self, raw: &str) -> Parsed<Path> {
        Path::parse(raw).ok_or_else(|| self.error(ConditionProblem::Path { path: raw.to_owned() }))
    }

    fn ordered(&self, name: &str, operand: &Value) -> Parsed<Value> {
        if operand.is_number() || operand.is_string() {
            return Ok(operand.clone());
        }
        self.expected(name, "a number or a text", operand)
    }

    fn values(&mut self, name: &str, operand: &Value) -> Parsed<Vec<Value>> {
        let Value::Array(values) = operand else {
            return self.expected(name, "a list of values", operand);
        };
        self.values += values.len();
        if self.values > CONDITION_VALUES_MAX {
            return Err(self.error(ConditionProblem::Values));
        }
        Ok(values.clone())
    }

    fn regex(&self, name: &str, operand: &Value) -> Parsed<String> {
        match operand.as_str() {
            Some(text) if (1..=PATTERN_BYTES_MAX).contains(&text.len()) => Ok(text.to_owned()),
            Some(_) => Err(self.error(ConditionProblem::RegexLength)),
            None => self.expected(name, "a regular expression as a text", operand),
        }
    }

    fn each(
        &mut self,
        items: &[Value],
        mut parse: impl FnMut(&mut Self, &Value) -> Parsed,
    ) -> Parsed<Vec<Expression>> {
        let mut parts = Vec::with_capacity(items.len().min(CONDITION_NODES_MAX));
        for (at, item) in items.iter().enumerate() {
            parts.push(self.at(&at.to_string(), |parser| parse(parser, item))?);
        }
        Ok(parts)
    }

    /// Goes one step down for the time of `parse`.
    fn at<T>(&mut self, name: &str, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.pointer.push(name.to_owned());
        let parsed = parse(self)?;
        self.pointer.pop();
        Ok(parsed)
    }

    fn count_part(&mut self) -> Parsed<()> {
        self.parts += 1;
        if self.parts > CONDITION_NODES_MAX {
            return Err(self.error(ConditionProblem::Parts));
        }
        Ok(())
    }

    fn pointer(&self) -> String {
        let escaped = self.pointer.iter().map(|name| name.replace('~', "~0").replace('/', "~1"));
        escaped.fold(String::new(), |pointer, name| pointer + "/" + &name)
    }

    fn error(&self, problem: ConditionProblem) -> ConditionError {
        ConditionError { problem, pointer: self.pointer() }
    }

    fn expected<T>(&self, what: &str, expected: &'static str, given: &Value) -> Parsed<T> {
        let given = kind(given);
        Err(self.error(ConditionProblem::Expected { what: what.to_owned(), expected, given }))
    }

    fn wrong_operator<T>(&self, operator: &str, known: &'static str) -> Parsed<T> {
        Err(self.error(ConditionProblem::Operator { operator: operator.to_owned(), known }))
    }

    fn misplaced<T>(&self, operator: &str, hint: &'static str) -> Parsed<T> {
        Err(self.error(ConditionProblem::Misplaced { operator: operator.to_owned(), hint }))
    }
}

fn all(mut parts: Vec<Expression>) -> Expression {
    if parts.len() == 1 { parts.remove(0) } else { Expression::All(parts) }
}

/// What a JSON value is, in words.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
