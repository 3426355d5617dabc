//! What passes which filter.

use actions_domain::Timestamp;

use super::{Fact, Filter, FilterError, is_like};

fn now() -> Timestamp {
    "2026-01-02T12:00:00Z".parse().unwrap()
}

fn holds(filter: &str) -> bool {
    let filter = Filter::parse(filter).unwrap();
    let compiled = filter.compile(&["status", "attempts", "data.", "none"], now()).unwrap();
    compiled.holds("2026-01-02T11:30:00Z".parse().unwrap(), |field| match field {
        "status" => Fact::text("Failed"),
        "attempts" => Fact::Number(3.0),
        "data.tier" => Fact::text("big spender"),
        _ => Fact::Absent,
    })
}

#[test]
fn terms_must_all_hold() {
    for passing in [
        "",
        "status:failed",
        "status:completed,FAILED attempts>2 attempts<4 attempts:3",
        "-status:completed",
        "status:fail* data.tier:\"big spender\" since:1h until:2026-01-02T11:31:00Z",
        "-none:x",
    ] {
        assert!(holds(passing), "{passing}");
    }
    for refused in [
        "status:completed",
        "-status:failed",
        "attempts>3",
        "since:10m",
        "until:1h",
        "none:x",
        "status>1",
    ] {
        assert!(!holds(refused), "{refused}");
    }
}

#[test]
fn mistakes_are_named() {
    let compile = |text: &str| Filter::parse(text)?.compile(&["status"], now());
    assert!(matches!(compile("status"), Err(FilterError::Form { .. })));
    assert!(matches!(compile(":x"), Err(FilterError::Form { .. })));
    assert!(matches!(compile("statsu:x"), Err(FilterError::UnknownField { .. })));
    assert!(matches!(compile("status>x"), Err(FilterError::Value { .. })));
    assert!(matches!(compile("since:yesterday"), Err(FilterError::Value { .. })));
    assert!(matches!(compile(&"s:x ".repeat(40)), Err(FilterError::TooLong)));
}

#[test]
fn a_star_stands_for_anything() {
    for (text, pattern) in
        [("email.smtp", "email.*"), ("abc", "*"), ("abcabc", "a*b*c"), ("a", "a")]
    {
        assert!(is_like(text, pattern), "{text} {pattern}");
    }
    for (text, pattern) in [("email", "email.*"), ("ab", "a"), ("abc", "a*d"), ("ab", "ab*b")] {
        assert!(!is_like(text, pattern), "{text} {pattern}");
    }
}

#[test]
fn the_store_takes_over_plain_terms_only() {
    let take = |text: &str| {
        Filter::parse(text).unwrap().compile(&["status"], now()).unwrap().take("status")
    };
    assert_eq!(take("status:a,b"), Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(take("-status:a"), None);
    assert_eq!(take("status:a*"), None);
}
