use super::warnings::{PatternWarning, warnings};
use super::{Form, Pattern, PatternError, matches_glob, word_matches};

fn pattern(raw: &str) -> Pattern {
    Pattern::parse(raw).expect(raw)
}

#[test]
fn globs_match_as_the_founding_examples_say() {
    let table: &[(&str, &[&str], &[&str])] = &[
        ("*", &["users.created", "a.b.c.d"], &[]),
        ("tenants.created", &["tenants.created"], &["tenants.deleted", "tenants.created.now"]),
        ("users.*", &["users.created", "users.email.changed"], &["user.created", "a.users.b"]),
        ("*.created", &["users.created", "a.b.created"], &["created.users", "users.created.x"]),
        ("a.*.b", &["a.x.b"], &["a.b", "a.x.y.b", "a.x.b.c"]),
        ("*.b.*", &["a.b.c", "a.x.b.c.d", "a.b.b.c"], &["a.b", "b.c", "a.c.b"]),
        ("*.*", &["a.b", "a.b.c"], &[]),
        ("a.*.*", &["a.b.c", "a.b.c.d"], &["a.b"]),
        ("user?.created", &["users.created", "user1.created"], &["user.created", "userss.created"]),
        ("order_*.paid", &["order_1.paid", "order_.paid"], &["orders.paid", "order_1.x.paid"]),
        ("*s.created", &["users.created", "s.created"], &["user.created", "a.users.created"]),
        ("users.cre*", &["users.created", "users.cre"], &["users.created.now", "users.c"]),
        ("USERS.Created", &["users.created"], &[]),
        ("Users.*", &["users.created"], &[]),
    ];
    for (glob, hits, misses) in table {
        for hit in *hits {
            assert_eq!(pattern(glob).matches_glob(hit), Some(true), "{glob} {hit}");
        }
        for miss in *misses {
            assert_eq!(pattern(glob).matches_glob(miss), Some(false), "{glob} {miss}");
        }
    }
}

#[test]
fn a_star_in_a_word_backtracks() {
    assert!(word_matches("a*b*c", "axxbyybzc"));
    assert!(!word_matches("a*b*c", "axxbyybz"));
    assert!(word_matches("*?", "a"));
    assert!(!word_matches("?*", ""));
    assert!(matches_glob("A.?*", "a.b"));
}

#[test]
fn forms_are_told_apart() {
    assert_eq!(pattern("users.created").form(), Form::Exact("users.created"));
    assert_eq!(pattern("users.*").form(), Form::Glob("users.*"));
    assert_eq!(pattern("/users\\..+/").form(), Form::Regex("users\\..+"));
    assert_eq!(pattern("^users\\..+").form(), Form::Regex("^users\\..+"));
    assert_eq!(pattern("users\\.(a|b)$").form(), Form::Regex("users\\.(a|b)$"));
    // The older heuristic made this a regular expression. It is a glob.
    assert_eq!(pattern("users.?").form(), Form::Glob("users.?"));
}

#[test]
fn bad_patterns_are_refused_with_the_reason() {
    let dots = |raw: &str| PatternError::Dots { raw: raw.to_owned() };
    let table = [
        (String::new(), PatternError::Length { bytes: 0 }),
        ("a".repeat(256), PatternError::Length { bytes: 256 }),
        (".created".to_owned(), dots(".created")),
        ("users.".to_owned(), dots("users.")),
        ("a..b".to_owned(), dots("a..b")),
        ("users created".to_owned(), PatternError::Character { found: ' ' }),
        ("users-x.created".to_owned(), PatternError::Character { found: '-' }),
        ("/users.created".to_owned(), PatternError::Character { found: '/' }),
        ("ü.created".to_owned(), PatternError::Character { found: 'ü' }),
        ("a.**".to_owned(), PatternError::Stars { raw: "a.**".to_owned() }),
        ("//".to_owned(), PatternError::Regex { raw: "//".to_owned() }),
        ("/ü/".to_owned(), PatternError::Regex { raw: "/ü/".to_owned() }),
    ];
    for (raw, error) in table {
        assert_eq!(Pattern::parse(&raw), Err(error), "{raw:?}");
    }
    assert!(Pattern::parse(&format!("a.{}", "b".repeat(253))).is_ok());
}

#[test]
fn a_first_word_is_known_only_when_it_is_spelled_out() {
    let table = [
        ("users.created", Some("users")),
        ("Users.*", Some("users")),
        ("*", None),
        ("*.created", None),
        ("user?.created", None),
        ("/executions\\..+/", Some("executions")),
        ("^Executions\\.(failed|done)$", Some("executions")),
        ("/executions.+/", None),
        ("/executions\\.?x/", None),
        ("/a\\.b|c/", None),
        ("/a\\.[(]|c/", None),
        ("/a\\.(\\)|b)/", Some("a")),
        ("/(a|b)\\.c/", None),
        ("/a+\\.c/", None),
    ];
    for (raw, word) in table {
        assert_eq!(pattern(raw).first_word().as_deref(), word, "{raw}");
    }
}

#[test]
fn warnings_name_what_is_probably_not_meant() {
    let kinds = |raws: &[&str]| {
        let patterns: Vec<Pattern> = raws.iter().map(|raw| pattern(raw)).collect();
        warnings(&patterns)
    };
    let broad = |raw: &str| PatternWarning::Broad { pattern: pattern(raw) };
    assert_eq!(kinds(&["users.created", "orders.*"]), []);
    assert_eq!(kinds(&["*", "*.created", "/.*/"]), [broad("*"), broad("*.created"), broad("/.*/")]);
    let reserved = PatternWarning::Reserved { pattern: pattern("admin.*"), word: "admin" };
    assert_eq!(kinds(&["admin.*"]), [reserved]);
    let duplicate = PatternWarning::Duplicate { pattern: pattern("Users.a") };
    assert_eq!(kinds(&["users.a", "Users.a"]), [duplicate]);
    assert_eq!(kinds(&["users"]), [PatternWarning::Never { pattern: pattern("users") }]);
    assert_eq!(kinds(&["^users\\."]), [PatternWarning::Never { pattern: pattern("^users\\.") }]);
    let one_domain = PatternWarning::OneDomain { domain: "users".to_owned(), count: 4 };
    assert_eq!(one_domain.to_string(), "4 patterns start with users: users.* would do");
    assert_eq!(kinds(&["users.a", "users.b", "users.c", "users.d"]), [one_domain]);
}

#[test]
fn patterns_travel_as_text() {
    let json = serde_json::to_string(&pattern("Users.*")).expect("serialises");
    assert_eq!(json, "\"Users.*\"");
    assert!(serde_json::from_str::<Pattern>("\"a..b\"").is_err());
}
