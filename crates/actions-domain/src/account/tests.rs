use chrono::{DateTime, TimeDelta};

use super::{
    AccountName, AccountNameError, Password, PasswordError, Session, SessionEnd, csrf_token,
};
use crate::Timestamp;
use crate::api_key::{TOKEN_RANDOM_BYTES, Token};
use crate::id::{AccountId, SessionId, TenantId};
use crate::limits::{PASSWORD_BYTES_MAX, SESSION_IDLE_MAX, SESSION_LIFETIME};

fn at(seconds: i64) -> Timestamp {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

#[test]
fn names_are_small_words_or_mail_addresses() {
    for (raw, name) in [("Ada", "ada"), ("ada.l+x@Example.com", "ada.l+x@example.com"), ("7", "7")]
    {
        assert_eq!(AccountName::parse(raw).map(|name| name.to_string()).as_deref(), Ok(name));
    }
    let long = "a".repeat(101);
    for raw in ["", " ada", "ada ", "@ada", "-ada", "a/b", "a:b", "ä", "a\n", long.as_str()] {
        assert_eq!(AccountName::parse(raw), Err(AccountNameError::Form), "{raw:?}");
    }
    let id = "01980000-0000-7000-8000-000000000000";
    assert_eq!(AccountName::parse(id), Err(AccountNameError::Id));
}

#[test]
fn a_password_is_long_and_says_something() {
    let name = AccountName::parse("ada.lovelace@example.com").unwrap();
    let check = |text: &str| Password::new(text.to_owned()).check(&name);
    assert_eq!(check("correct horse"), Ok(()));
    assert_eq!(check("ääöüääöüääöü"), Ok(()), "characters are counted, not bytes");
    assert_eq!(check("short"), Err(PasswordError::Short));
    assert_eq!(check("elevenchars"), Err(PasswordError::Short));
    assert_eq!(check("Ada.Lovelace@example.com "), Err(PasswordError::Name));
    assert_eq!(check(&"x".repeat(40)), Err(PasswordError::Monotonous));
    assert_eq!(check(&"xy".repeat(PASSWORD_BYTES_MAX)), Err(PasswordError::Long));
    assert!(!format!("{:?}", Password::new("correct horse".to_owned())).contains("horse"));
}

#[test]
fn a_session_ends_by_time_by_rest_and_by_hand() {
    let token = Token::mint_session(&[1; TOKEN_RANDOM_BYTES]);
    let session = Session {
        id: SessionId(uuid::Uuid::nil()),
        tenant: TenantId::ADMIN,
        account: AccountId(uuid::Uuid::nil()),
        created_at: at(0),
        expires_at: at(0) + SESSION_LIFETIME,
        last_used_at: at(0),
        ended_at: None,
        lookup: token.lookup(),
    };
    let idle = TimeDelta::from_std(SESSION_IDLE_MAX).unwrap();
    let second = TimeDelta::seconds(1);
    assert_eq!(session.end(at(0) + idle - second), None);
    assert_eq!(session.end(at(0) + idle), Some(SessionEnd::Idle));
    let used = Session { last_used_at: session.expires_at, ..session.clone() };
    assert_eq!(used.end(session.expires_at - second), None);
    assert_eq!(used.end(session.expires_at), Some(SessionEnd::Expired));
    let ended = Session { ended_at: Some(at(1)), ..session };
    assert_eq!(ended.end(at(2)), Some(SessionEnd::Ended));
}

#[test]
fn what_a_page_proves_itself_with_is_another_one_for_each_session() {
    let one = Token::mint_session(&[1; TOKEN_RANDOM_BYTES]);
    let other = Token::mint_session(&[2; TOKEN_RANDOM_BYTES]);
    assert_eq!(csrf_token(&one), csrf_token(&one));
    assert_ne!(csrf_token(&one), csrf_token(&other));
    assert_eq!(csrf_token(&one).len(), 64);
}
