//! Passwords that are "hashed" at once and for nothing, so that tests do not wait. Argon2 has tests of
//! its own, and the program under test uses it.

use std::sync::atomic::{AtomicUsize, Ordering};

use actions_domain::account::{Password, PasswordHash};
use actions_domain::ports::passwords::{Passwords, PasswordsError, Who};
use async_trait::async_trait;

/// Says how often it was asked.
#[derive(Debug, Default)]
pub struct PlainPasswords {
    pub asked: AtomicUsize,
}

#[async_trait]
impl Passwords for PlainPasswords {
    async fn hash(&self, password: &Password) -> Result<PasswordHash, PasswordsError> {
        Ok(PasswordHash::from_record(format!("plain:{}", password.expose())))
    }

    async fn is_right(
        &self,
        password: &Password,
        hash: Option<&PasswordHash>,
        _: Who,
    ) -> Result<bool, PasswordsError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        // A password that the test names is one that nobody gets to judge.
        if password.expose() == "busy busy busy" {
            return Err(PasswordsError::Busy);
        }
        let is_right =
            |hash: &PasswordHash| hash.as_str() == format!("plain:{}", password.expose());
        Ok(hash.is_some_and(is_right))
    }
}
