//! Which bodies are refused, and which place is named.

use serde::Deserialize;
use serde_json::Value;

use super::{altered_number, decode};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    #[expect(dead_code, reason = "only its shape matters")]
    id: u32,
    #[serde(default)]
    #[expect(dead_code, reason = "only its shape matters")]
    lines: Vec<Line>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[expect(dead_code, reason = "only its shape matters")]
    count: u8,
}

/// Code, pointer, line and column of the refusal.
fn refusal(body: &str) -> String {
    let problem = decode::<Order>(body.as_bytes()).unwrap_err();
    let place = problem.errors.first();
    format!(
        "{} {:?} {}:{}",
        problem.code(),
        place.map(|place| place.pointer.as_str()).unwrap_or_default(),
        place.and_then(|place| place.line).unwrap_or_default(),
        place.and_then(|place| place.column).unwrap_or_default(),
    )
}

#[test]
fn mistakes_are_named_with_their_place() {
    insta::assert_snapshot!(refusal(r#"{"id": 1, "colour": 2}"#), @r#"body.unknown_field "/colour" 1:18"#);
    insta::assert_snapshot!(refusal(r#"{"id": "x"}"#), @r#"body.invalid "/id" 1:10"#);
    insta::assert_snapshot!(refusal("{\"id\": 1,\n \"lines\": [{\"count\": 1}, {\"count\": 300}]}"), @r#"body.invalid "/lines/1/count" 2:38"#);
    insta::assert_snapshot!(refusal(r#"{"id": 1, "lines": [{"count": 1, "a/b": {}}]}"#), @r#"body.unknown_field "/lines/0/a~1b" 1:38"#);
    insta::assert_snapshot!(refusal(r#"{"id": 1, "lines": [{}]}"#), @r#"body.invalid "/lines/0" 1:22"#);
    insta::assert_snapshot!(refusal(r#"{"id": 1, "id": 2}"#), @r#"body.invalid "/id" 1:14"#);
    insta::assert_snapshot!(refusal("{\"id\": 1,\n}"), @r#"body.invalid "" 2:1"#);
    insta::assert_snapshot!(refusal(r#"{"id": 1, "x": "\u0000"}"#), @r#"body.invalid "/x" 1:17"#);
    insta::assert_snapshot!(refusal(r#"{"id": 18446744073709551616}"#), @r#"body.invalid "/id" 1:8"#);
}

#[test]
fn integers_that_would_be_altered_are_found() {
    for kept in
        ["18446744073709551615", "-9223372036854775808", "1e300", "0.1", "\"99999999999999999999\""]
    {
        assert_eq!(altered_number(kept), None, "{kept}");
        assert!(decode::<Value>(kept.as_bytes()).is_ok(), "{kept}");
    }
    assert_eq!(altered_number("[1, 18446744073709551616]"), Some(4));
}
