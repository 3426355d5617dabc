use serde_json::{Value, json};

use super::{
    CelText, Condition, ConditionError, Evaluate, Expression, Facts, Note, TextMatch, Truth,
    Undecided, compare_numbers, values_are_equal,
};

struct Data(Value);

impl Facts for Data {
    fn data(&self) -> &Value {
        &self.0
    }
}

/// Finds its text literally: enough to see what an expression does with the answer.
struct Literal(String);

impl TextMatch for Literal {
    fn is_match(&self, text: &str) -> bool {
        text.contains(&self.0)
    }

    fn source(&self) -> &str {
        &self.0
    }
}

/// CEL that says what its text says.
struct Said(Truth);

impl Evaluate<Data> for Said {
    fn evaluate<N: Note>(&self, _: &Data) -> (Truth, N) {
        (self.0, N::tell(|| "said".to_owned()))
    }
}

fn parsed(condition: &Value) -> Result<Expression, ConditionError> {
    Condition(condition.clone()).parse()
}

fn verdict(condition: &Value, data: &Value) -> (Truth, String) {
    let said = |text: CelText| {
        Ok::<_, ()>(Expression::Cel(Said(match text.as_str().trim() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(Undecided),
        })))
    };
    let mut regex = |text| Ok(Literal(text));
    let expression = parsed(condition).expect("parses").compile(&mut regex, &mut { said });
    expression.expect("compiles").evaluate(&Data(data.clone()))
}

#[test]
fn operators_compare_values_at_paths() {
    let data = json!({
        "tier": "premium", "total": 150, "ratio": 1.0, "flag": false, "none": null,
        "tags": ["a", "b"], "user": {"age": 30, "name": "Ann"}, "big": 9_007_199_254_740_993_i64,
        "items": [{"sku": "x"}],
    });
    let table = [
        (json!(null), true),
        (json!({}), true),
        (json!([]), true),
        (json!({"tier": "premium"}), true),
        (json!({"tier": "Premium"}), false),
        (json!({"tier": {"$eq": "premium"}, "total": {"$gte": 150}}), true),
        (json!({"tier": "premium", "total": {"$gt": 150}}), false),
        (json!({"total": {"$gt": 100, "$lt": 200}}), true),
        (json!({"total": {"$gt": 149.5, "$lte": 150.0}}), true),
        (json!({"total": "150"}), false),
        (json!({"total": {"$ne": "150"}}), true),
        (json!({"ratio": 1}), true),
        (json!({"big": 9_007_199_254_740_992_i64}), false),
        (json!({"big": 9_007_199_254_740_992.0}), false),
        (json!({"big": {"$gt": 9_007_199_254_740_992.0}}), true),
        (json!({"flag": false}), true),
        (json!({"flag": 0}), false),
        (json!({"none": null}), true),
        (json!({"missing": null}), false),
        (json!({"missing": {"$ne": 1}}), true),
        (json!({"missing": {"$nin": [1]}}), true),
        (json!({"missing": {"$gt": 1}}), false),
        (json!({"missing": {"$exists": false}}), true),
        (json!({"none": {"$exists": true}}), true),
        (json!({"user.age": {"$in": [29, 30.0]}}), true),
        (json!({"user": {"age": 30, "name": "Ann"}}), true),
        (json!({"user": {"age": 30}}), false),
        (json!({"items.0.sku": "x"}), true),
        (json!({"items.1.sku": "x"}), false),
        (json!({"tags": ["a", "b"]}), true),
        (json!({"user.name": {"$regex": "nn"}}), true),
        (json!({"total": {"$regex": "1"}}), false),
        (json!({"total": {"$gt": "1"}}), false),
        (json!({"tier": {"$gt": "a", "$lt": "z"}}), true),
        (json!({"$or": [{"tier": "free"}, {"total": {"$lt": 200}}]}), true),
        (json!({"$or": [{"tier": "free"}, {"total": {"$lt": 100}}]}), false),
        (json!({"$and": [{"tier": "premium"}, {"flag": true}]}), false),
        (json!({"$not": {"tier": "free"}}), true),
        (json!({"tier": {"$not": {"$eq": "premium"}}}), false),
        (json!({"missing": {"$not": {"$gt": 5}}}), true),
        (json!([{"field": "tier", "operator": "equals", "value": "premium"}]), true),
        (json!([{"field": "tags", "operator": "contains", "value": "b"}]), true),
        (json!([{"field": "tier", "operator": "contains", "value": "rem"}]), true),
        (json!([{"field": "total", "operator": "gt", "value": 150}]), false),
        (
            json!([{"field": "total", "operator": "lt", "value": 151},
                {"field": "tier", "operator": "in", "value": ["premium"]}]),
            true,
        ),
        (json!([{"field": "tier", "operator": "not_in", "value": ["premium"]}]), false),
        (json!([{"field": "tier", "operator": "exists"}]), true),
        (json!([{"field": "tier", "operator": "not_exists"}]), false),
    ];
    for (condition, holds) in table {
        assert_eq!(verdict(&condition, &data).0, Ok(holds), "{condition}");
    }
}

#[test]
fn cel_texts_must_all_hold_and_an_error_is_no_yes() {
    let data = json!({});
    let table = [
        (json!("true"), Ok(true)),
        (json!("{{ true }}"), Ok(true)),
        (json!(["true", "true"]), Ok(true)),
        (json!(["true", "false"]), Ok(false)),
        (json!(["error", "true"]), Err(Undecided)),
        (json!(["error", "false"]), Ok(false)),
    ];
    for (condition, truth) in table {
        assert_eq!(verdict(&condition, &data).0, truth, "{condition}");
    }
}

#[test]
fn notes_name_the_first_failure_with_the_actual_value() {
    let data = json!({"tier": "free", "total": 5, "user": {"name": "Ann"}});
    let table = [
        (json!({"tier": "premium"}), r#"data.tier = "premium", got "free""#),
        (json!({"age": {"$gt": 5}}), "data.age > 5, got nothing"),
        (
            json!({"total": 5, "tier": {"$in": ["a", "b"]}}),
            r#"data.tier in ["a", "b"], got "free""#,
        ),
        (
            json!({"$or": [{"tier": "a"}, {"total": {"$gt": 6}}]}),
            r#"none of: data.tier = "a", got "free"; data.total > 6, got 5"#,
        ),
        (json!({"$not": {"tier": "free"}}), r#"not: data.tier = "free", got "free""#),
        (json!({"user.name": {"$regex": "^B"}}), r#"data.user.name matches /^B/, got "Ann""#),
        (json!({"tier": {"$exists": false}}), r#"data.tier does not exist, got "free""#),
    ];
    for (condition, note) in table {
        assert_eq!(verdict(&condition, &data), (Ok(false), note.to_owned()), "{condition}");
    }
}

#[test]
fn refusals_say_where_and_what() {
    let table = [
        (
            json!(5),
            "",
            "a condition takes an object of operators, a CEL text, or a list, not a number",
        ),
        (
            json!({"a": {"$gtt": 1}}),
            "/a/$gtt",
            "$gtt is not an operator; there are $eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $exists, $regex and $not",
        ),
        (json!({"$nor": []}), "/$nor", "$nor is not an operator; there are $and, $or and $not"),
        (json!({"$or": []}), "/$or", "$or takes a list of at least one object, not a list"),
        (
            json!({"$or": [{"a": 1}, 5]}),
            "/$or/1",
            "$or takes objects with at least one member, not a number",
        ),
        (json!({"a": {"$in": 5}}), "/a/$in", "$in takes a list of values, not a number"),
        (json!({"a": {"$gt": true}}), "/a/$gt", "$gt takes a number or a text, not a boolean"),
        (
            json!({"a": {"$gt": 1, "b": 2}}),
            "/a/b",
            "b cannot stand here: operators and names are not mixed",
        ),
        (json!({"a": {"$exists": 1}}), "/a/$exists", "$exists takes true or false, not a number"),
        (
            json!({"a/b..c": 1}),
            "/a~1b..c",
            "\"a/b..c\" is not a path: names joined by single dots, at most 64 of them",
        ),
        (
            json!([{"field": "a", "operator": "like", "value": 1}]),
            "/0/operator",
            "like is not an operator; there are equals, contains, gt, lt, in, not_in, exists and not_exists",
        ),
        (
            json!(["true", 5]),
            "/1",
            "a list of conditions takes CEL texts, or objects with field, operator and value, not a number",
        ),
        (
            json!(""),
            "",
            "a CEL expression is empty; leave the condition out to let every event pass",
        ),
        (
            json!(["{{ a }} && {{ b }}"]),
            "/0",
            "{{ and }} may only stand around the whole expression",
        ),
        (
            json!("((((((((((((( 1 )))))))))))))"),
            "",
            "brackets of a CEL expression are nested at most 12 deep",
        ),
    ];
    for (condition, pointer, message) in table {
        let error = parsed(&condition).expect_err("is refused");
        assert_eq!((error.pointer.as_str(), error.to_string().as_str()), (pointer, message));
    }
}

#[test]
fn everything_in_a_condition_is_limited() {
    let any_of = |count: usize| json!({"$or": (0..count).map(|value| json!({"a": value})).collect::<Vec<_>>()});
    assert!(parsed(&any_of(255)).is_ok());
    assert!(parsed(&any_of(256)).is_err());
    assert!(parsed(&json!({"a": {"$in": vec![0; 1_000]}})).is_ok());
    assert!(parsed(&json!({"a": {"$in": vec![0; 1_001]}})).is_err());
    assert!(parsed(&json!({"a": {"$regex": "a".repeat(256)}})).is_err());
    assert!(parsed(&json!("a".repeat(4_096))).is_ok());
    assert!(parsed(&json!("a".repeat(4_097))).is_err());
    assert!(parsed(&json!({["a."; 64].concat() + "a": 1})).is_err());
}

#[test]
fn brackets_in_texts_and_comments_do_not_nest() {
    let twelve = format!("{}1{}", "(".repeat(12), ")".repeat(12));
    let quiet = [
        twelve.clone(),
        "'((((((((((((((((' == a".to_owned(),
        r#""\"((((((((((((((((" == a"#.to_owned(),
        r"r'\' == a".to_owned(),
        "'''\n'((((((((((((((('''".to_owned(),
        "1 // ((((((((((((((((".to_owned(),
    ];
    for text in quiet {
        assert!(parsed(&json!(text)).is_ok(), "{text}");
    }
    let loud = [
        // A closing bracket inside of a text takes nothing back.
        format!("{}')))))'{}", "(".repeat(10), "(".repeat(3)),
        // The backslash of a raw text hides no quote.
        format!(r"r'\' + {}", "(".repeat(13)),
        format!("// x\n{}", "[".repeat(13)),
    ];
    for text in loud {
        assert!(parsed(&json!(text)).is_err(), "{text}");
    }
}

#[test]
fn braces_become_blanks_so_that_columns_stay() {
    let Ok(Expression::Cel(text)) = parsed(&json!(" {{ a == 1 }} ")) else {
        panic!("is CEL");
    };
    assert_eq!(text.as_str(), "    a == 1 ");
    assert_eq!(text.as_str().find('a'), " {{ a == 1 }} ".find('a'));
}

#[test]
fn numbers_compare_exactly() {
    let number = |text: &str| match serde_json::from_str(text) {
        Ok(Value::Number(number)) => number,
        other => panic!("{text} is no number: {other:?}"),
    };
    let ascending = [
        "-1e300",
        "-9223372036854775808",
        "-1.5",
        "-1",
        "0",
        "0.5",
        "1",
        "9007199254740992.0",
        "9007199254740993",
        "18446744073709551615",
        "18446744073709551616.0",
        "1e300",
    ];
    for (at, left) in ascending.iter().enumerate() {
        for (other, right) in ascending.iter().enumerate() {
            let order = compare_numbers(&number(left), &number(right));
            assert_eq!(order, Some(at.cmp(&other)), "{left} {right}");
        }
    }
    assert!(values_are_equal(&json!({"a": [1, -0.0]}), &json!({"a": [1.0, 0]})));
    assert!(!values_are_equal(&json!([1]), &json!([1, 1])));
}

#[test]
fn anchors_are_what_must_be_equal() {
    let anchors = |condition: &Value| {
        let expression = parsed(condition).expect("parses");
        let found = expression.anchors();
        found.iter().map(|(path, values)| format!("{path} {values:?}")).collect::<Vec<_>>()
    };
    let both = anchors(&json!({"a": 1, "b.c": {"$in": ["x", null]}, "d": {"$gt": 1}}));
    assert_eq!(both, ["data.a [Number(1)]", "data.b.c [String(\"x\"), Null]"]);
    assert!(anchors(&json!({"$or": [{"a": 1}]})).is_empty());
    assert!(anchors(&json!({"a": {"b": 1}})).is_empty());
    assert!(anchors(&json!({"$not": {"a": 1}})).is_empty());
}
