use super::{Json, JsonError};

#[test]
fn text_is_kept_byte_for_byte() {
    let text = r#"{"n":12345678901234567890.10,"s":"\ud83d\ude00"}"#;
    assert_eq!(Json::parse(text).map(|json| json.as_str().to_owned()), Ok(text.to_owned()));
}

#[test]
fn what_a_store_would_refuse_is_refused_at_the_door() {
    let offset = |text: &str| match Json::parse(text) {
        Err(JsonError::Character { offset, .. } | JsonError::Number { offset }) => Some(offset),
        _ => None,
    };
    assert_eq!(offset(r#"{"a":"\u0000"}"#), Some(6));
    assert_eq!(offset(r#"["\ud800"]"#), Some(2));
    assert_eq!(offset(r#"["\udc00"]"#), Some(2));
    assert_eq!(offset(r#"["\ud800x\udc00"]"#), Some(2));
    assert_eq!(offset("[1e1000000]"), Some(1));
    assert_eq!(offset(r#"["\\u0000"]"#), None);
}

#[test]
fn depth_is_limited() {
    let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    assert!(Json::parse(&nested(64)).is_ok());
    assert!(matches!(Json::parse(&nested(65)), Err(JsonError::TooDeep { offset: 64 })));
}

#[test]
fn a_syntax_error_names_its_place() {
    let error = Json::parse("{\n  \"a\": }").unwrap_err();
    assert_eq!(error.to_string(), "not valid JSON: expected value (line 2, column 8)");
}
