use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use serde_json::{Value, json};

use super::{
    Masking, Piece, SecretName, SecretPlace, SecretText, SecretTextError, pieces, references,
};
use crate::execution::{Fault, Outcome, Output};
use crate::id::{SecretId, TenantId};
use crate::limits::SECRET_BYTES_MAX;

fn split(text: &str) -> String {
    let Ok(pieces) = pieces(text) else { return "malformed".to_owned() };
    let shown = pieces.iter().map(|piece| match piece {
        Piece::Text(text) => format!("{text:?}"),
        Piece::Secret(secret) if secret.is_previous => format!("previous {}", secret.name),
        Piece::Secret(secret) => secret.name.to_string(),
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_reference_is_a_name_between_braces_and_nothing_else() {
    for (text, expected) in [
        ("{{ secrets.TOKEN }}", "TOKEN"),
        ("{{secrets.a_1}}", "a_1"),
        ("{{ secrets.previous.TOKEN }}", "previous TOKEN"),
        ("Bearer {{ secrets.A }}:{{ secrets.B }}!", "\"Bearer \" A \":\" B \"!\""),
        ("{{ data.secrets }}", "\"{{ data.secrets }}\""),
        ("{{ secretsary }} {{ secrets.A }}", "\"{{ secretsary }} \" A"),
        ("{{ {{ secrets.A }}", "\"{{ \" A"),
        ("{{{ secrets.A }}}", "\"{\" A \"}\""),
        ("no secrets.A here", "\"no secrets.A here\""),
        ("", ""),
        ("{{ secrets.A | upper }}", "malformed"),
        ("{{ secrets }}", "malformed"),
        ("{{ secrets['A'] }}", "malformed"),
        ("{{- secrets.A }}", "malformed"),
        ("{{ secrets.previous }}", "malformed"),
        ("{{ secrets.1A }}", "malformed"),
        ("{{ secrets.A", "malformed"),
    ] {
        assert_eq!(split(text), expected, "{text}");
    }
}

#[test]
fn a_config_tells_which_secrets_it_names() {
    let config = json!({
        "url": "https://example.com",
        "headers": { "a/b": "{{ secrets.A }}" },
        "keys": ["{{ secrets.B }}{{ secrets.previous.B }}", "{{ secrets.B|x }}"],
    });
    let found: Vec<_> = references(&config)
        .into_iter()
        .map(|(pointer, secrets)| (pointer, secrets.map(|secrets| secrets.len()).ok()))
        .collect();
    let expected = [("/headers/a~1b", Some(1)), ("/keys/0", Some(2)), ("/keys/1", None)];
    assert_eq!(found, expected.map(|(pointer, count)| (pointer.to_owned(), count)));
}

#[test]
fn a_secret_is_checked_without_being_repeated() {
    let check = |text: &str| SecretText::new(text.to_owned()).check();
    assert_eq!(check(""), Err(SecretTextError::Empty));
    assert_eq!(check("a\0b"), Err(SecretTextError::Nul));
    let long = "x".repeat(SECRET_BYTES_MAX + 1);
    assert_eq!(check(&long), Err(SecretTextError::TooLong { bytes: SECRET_BYTES_MAX + 1 }));
    assert_eq!(check(&long[1..]), Ok(()));
    for wrong in [json!({ "hunter2": 1 }), json!(["hunter2"]), json!(null)] {
        let error = serde_json::from_value::<SecretText>(wrong).unwrap_err().to_string();
        assert_eq!(error, "a secret must be a string");
    }
    assert_eq!(format!("{:?}", SecretText::new("hunter2".to_owned())), "(secret)");
}

fn place(tenant: i32, name: &str, number: i64) -> SecretPlace {
    let (tenant, name) = (TenantId(tenant), SecretName::parse(name).unwrap());
    SecretPlace { tenant, id: SecretId(uuid::Uuid::nil()), name, number }
}

proptest! {
    #[test]
    fn two_places_never_have_the_same_associated_data(
        one in (any::<i32>(), "[a-c]{1,3}", any::<i64>(), "[a-c]{1,3}"),
        other in (any::<i32>(), "[a-c]{1,3}", any::<i64>(), "[a-c]{1,3}"),
    ) {
        let data = |(tenant, name, number, purpose): &(i32, String, i64, String)| {
            place(*tenant, name, *number).associated_data(purpose)
        };
        prop_assert_eq!(data(&one) == data(&other), one == other);
    }

    #[test]
    fn a_masked_text_holds_no_secret(before in ".{0,9}", secret in "[ -~]{8,40}", after in ".{0,9}") {
        use std::fmt::Write;
        let masking = Masking::of([&SecretText::new(secret.clone())]);
        let text = format!("{before}{secret}{after}");
        prop_assert!(!masking.text(&text).contains(&secret));
        let json = Value::String(text.clone()).to_string();
        let inner = Value::String(secret.clone()).to_string();
        prop_assert!(!masking.text(&json).contains(&inner[1..inner.len() - 1]));
        let url = text.bytes().fold(String::new(), |mut url, byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                url.push(char::from(byte));
            } else {
                write!(url, "%{byte:02X}").unwrap();
            }
            url
        });
        prop_assert!(masking.text(&url).contains("***"));
    }
}

#[test]
fn what_the_other_side_repeats_is_masked() {
    let masking = Masking::of([&SecretText::new("p\u{e4}ss\"word".to_owned())]);
    // `user:` and then the secret, and the secret alone, in base64.
    let basic = "Basic dXNlcjpww6RzcyJ3b3Jk";
    for repeated in ["saw p\u{e4}ss\"word", "saw p\u{e4}ss\\\"word", "saw p%C3%A4ss%22word", basic]
    {
        let masked = masking.text(repeated);
        assert!(masked.contains("***") && !masked.contains("word"), "{masked}");
        assert!(!masked.contains("pww6Rzcy"), "{masked}");
    }
    let output = json!({ "p\u{e4}ss\"word": ["p\u{e4}ss\"word", 1, null] });
    let Outcome::Done(output) = masking.outcome(Outcome::Done(Output::new(output))) else {
        panic!("it was done")
    };
    assert_eq!(output.data, json!({ "***": ["***", 1, null] }));
    let fault = Fault::handler("a.b", "got p\u{e4}ss\"word").with_details(json!("p\u{e4}ss\"word"));
    let Outcome::Retry(fault) = masking.outcome(Outcome::Retry(fault)) else {
        panic!("it was to be retried")
    };
    assert_eq!((fault.message.as_str(), fault.details), ("got ***", Some(json!("***"))));
    let digits = Masking::of([&SecretText::new("123456".to_owned())]);
    assert_eq!(digits.value(json!({ "n": 123_456, "m": 7 })), json!({ "n": "***", "m": 7 }));
}

#[test]
fn a_secret_that_was_cut_is_masked() {
    let masking = Masking::of([&SecretText::new("\u{e9}ighteen-letters".to_owned())]);
    assert_eq!(masking.text("sent \u{e9}ighteen-let"), "sent ***");
    assert_eq!(masking.text("sent \u{e9}ighteen-let\u{fffd}"), "sent ***");
    assert_eq!(masking.text("\u{e9}ighteen…"), "***");
    for fine in ["an \u{e9}ight", "ighteen-lett", "\u{e9}ighteen-let us", "", "…"] {
        assert_eq!(masking.text(fine), fine);
    }
}

#[test]
fn a_secret_that_holds_another_one_is_masked_as_a_whole() {
    let secrets = ["token", "token-long"].map(|text| SecretText::new(text.to_owned()));
    assert_eq!(Masking::of(&secrets).text("a token-long b token"), "a *** b ***");
}
