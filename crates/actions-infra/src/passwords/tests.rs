use std::sync::Arc;

use actions_domain::account::{Password, PasswordHash};
use actions_domain::limits::{PASSWORD_HASHES_MAX, PASSWORD_WAITS_MAX};
use actions_domain::ports::passwords::{Passwords, PasswordsError, Who};

use super::{Argon2Passwords, Cost};
use crate::system::SystemDice;

fn cheap() -> Argon2Passwords {
    Argon2Passwords::new(Cost { memory_kib: 8, passes: 1 }, Arc::new(SystemDice))
}

fn password(text: &str) -> Password {
    Password::new(text.to_owned())
}

fn stored(text: &str) -> PasswordHash {
    PasswordHash::from_record(text.to_owned())
}

#[tokio::test]
async fn a_password_is_found_right_and_no_other_one() {
    let passwords = cheap();
    let hash = passwords.hash(&password("correct horse")).await.unwrap();
    assert!(hash.as_str().starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{}", hash.as_str());
    let again = passwords.hash(&password("correct horse")).await.unwrap();
    assert_ne!(hash, again, "each has a salt of its own");
    let is_right =
        async |text: &str, hash| passwords.is_right(&password(text), hash, Who::Stranger).await;
    assert_eq!(is_right("correct horse", Some(&hash)).await, Ok(true));
    assert_eq!(is_right("correct horsf", Some(&hash)).await, Ok(false));
    assert_eq!(is_right("", Some(&hash)).await, Ok(false));
    assert_eq!(is_right("correct horse", None).await, Ok(false));
}

/// One of the reference implementation's own tests: two passes over 64 MiB, `password`, `somesalt`.
#[tokio::test]
async fn hashes_of_others_are_read() {
    let passwords = cheap();
    let known = stored(
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
    );
    assert_eq!(
        passwords.is_right(&password("password"), Some(&known), Who::Stranger).await,
        Ok(true)
    );
    assert_eq!(
        passwords.is_right(&password("passwore"), Some(&known), Who::Stranger).await,
        Ok(false)
    );
}

#[tokio::test]
async fn what_cannot_be_read_lets_nobody_in() {
    let passwords = cheap();
    for text in [
        "",
        "correct horse",
        "$argon2i$v=19$m=8,t=1,p=1$AAAA$AAAA",
        "$argon2id$v=16$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "$argon2id$v=19$m=99999999,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$",
        "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc$x",
    ] {
        let answer =
            passwords.is_right(&password("correct horse"), Some(&stored(text)), Who::Known).await;
        assert!(matches!(answer, Err(PasswordsError::Failed { .. })), "{text}: {answer:?}");
    }
}

#[tokio::test]
async fn only_so_many_are_hashed_and_only_so_many_wait_and_strangers_hold_up_nobody_else() {
    let passwords = Arc::new(cheap());
    let hash = passwords.hash(&password("correct horse")).await.unwrap();
    // All places of strangers are taken by somebody who does not end.
    let places = u32::try_from(PASSWORD_HASHES_MAX).unwrap();
    let taken = passwords.strangers.places.clone().acquire_many_owned(places).await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..PASSWORD_WAITS_MAX {
        let (passwords, hash) = (passwords.clone(), hash.clone());
        waiting.push(tokio::spawn(async move {
            passwords.is_right(&password("correct horse"), Some(&hash), Who::Stranger).await
        }));
    }
    tokio::task::yield_now().await;
    let ask = async |who| passwords.is_right(&password("correct horse"), Some(&hash), who).await;
    assert_eq!(ask(Who::Stranger).await, Err(PasswordsError::Busy));
    assert_eq!(ask(Who::Known).await, Ok(true));
    drop(taken);
    for one in waiting {
        assert_eq!(one.await.unwrap(), Ok(true));
    }
    assert_eq!(ask(Who::Stranger).await, Ok(true));
}
