//! What every `Vault` must do, with keys of this process and with a keeper of keys elsewhere: a
//! sealed text opens in its own place, with any of the keys that are here, and nowhere else.

use std::collections::HashSet;
use std::sync::Arc;

use actions_domain::id::{SecretId, TenantId};
use actions_domain::ports::vault::{DataKey, MasterKeys, Vault, VaultError};
use actions_domain::secret::{MasterKeyId, Sealed, SecretName, SecretPlace, SecretText};
use actions_infra::system::SystemDice;
use actions_infra::vault::{Envelopes, LocalKeys};
use async_trait::async_trait;

use super::given;

fn place() -> SecretPlace {
    let name = SecretName::parse("TOKEN").unwrap();
    SecretPlace { tenant: TenantId(2), id: SecretId(given::uuid()), name, number: 1 }
}

fn text(raw: &str) -> SecretText {
    SecretText::new(raw.to_owned())
}

fn setting(id: &str) -> String {
    format!("{id}:{}", LocalKeys::generate(&SystemDice).as_str())
}

fn vault(keys: &[&str]) -> Envelopes {
    let dice = Arc::new(SystemDice);
    let keys = match keys {
        [] => LocalKeys::none(dice.clone()),
        keys => LocalKeys::parse(&keys.join(","), dice.clone()).unwrap(),
    };
    Envelopes::new(Arc::new(keys), dice)
}

/// A keeper of keys elsewhere: it takes 32 bytes, and remembers what they are wrapped as.
struct Elsewhere {
    ids: Vec<MasterKeyId>,
    inner: LocalKeys,
    is_away: bool,
}

#[async_trait]
impl MasterKeys for Elsewhere {
    fn ids(&self) -> &[MasterKeyId] {
        &self.ids
    }

    async fn wrap(
        &self,
        key: &DataKey,
        context: &[u8],
    ) -> Result<(MasterKeyId, Vec<u8>), VaultError> {
        if self.is_away {
            return Err(VaultError::Unavailable { why: "it does not answer".to_owned() });
        }
        self.inner.wrap(key, context).await
    }

    async fn unwrap(
        &self,
        by: &MasterKeyId,
        wrapped: &[u8],
        context: &[u8],
    ) -> Result<DataKey, VaultError> {
        self.inner.unwrap(by, wrapped, context).await
    }
}

fn elsewhere(is_away: bool) -> Envelopes {
    let dice = Arc::new(SystemDice);
    let inner = LocalKeys::parse(&setting("kms"), dice.clone()).unwrap();
    let ids = inner.ids().to_vec();
    Envelopes::new(Arc::new(Elsewhere { ids, inner, is_away }), dice)
}

#[tokio::test]
async fn what_was_sealed_is_opened() {
    for vault in [vault(&[&setting("a")]), elsewhere(false)] {
        for raw in ["hunter2", "", "p\u{e4}ss\nword \u{1f511}", &"x".repeat(100_000)] {
            let place = place();
            let sealed = vault.seal(&place, &text(raw)).await.unwrap();
            assert_eq!(vault.open(&place, &sealed).await.unwrap().expose(), raw);
            assert_eq!(&sealed.key, &vault.master_keys()[0]);
        }
    }
}

#[tokio::test]
async fn a_text_moved_to_another_place_stays_closed() {
    let vault = vault(&[&setting("a")]);
    let home = place();
    let sealed = vault.seal(&home, &text("hunter2")).await.unwrap();
    let other_name = SecretName::parse("TOKEN2").unwrap();
    for moved in [
        SecretPlace { tenant: TenantId(3), ..home.clone() },
        SecretPlace { id: SecretId(given::uuid()), ..home.clone() },
        SecretPlace { name: other_name, ..home.clone() },
        SecretPlace { number: 2, ..home.clone() },
    ] {
        let opened = vault.open(&moved, &sealed).await;
        assert_eq!(opened.map(|_| ()).unwrap_err(), VaultError::Damaged, "{moved:?}");
        let wrapped = vault.rewrap(&moved, &sealed.key, &sealed.wrapped).await;
        assert_eq!(wrapped.unwrap_err(), VaultError::Damaged, "{moved:?}");
    }
}

#[tokio::test]
async fn a_text_of_one_version_does_not_open_with_the_data_key_of_another_one() {
    let vault = vault(&[&setting("a")]);
    let home = place();
    let one = vault.seal(&home, &text("one")).await.unwrap();
    let other = vault.seal(&home, &text("other")).await.unwrap();
    let mixed = Sealed { text: other.text.clone(), ..one.clone() };
    assert_eq!(vault.open(&home, &mixed).await.map(|_| ()).unwrap_err(), VaultError::Damaged);
    // A wrapped data key is no text, and a text no data key.
    let swapped = Sealed { key: one.key.clone(), wrapped: one.text.clone(), text: one.wrapped };
    assert_eq!(vault.open(&home, &swapped).await.map(|_| ()).unwrap_err(), VaultError::Damaged);
}

#[tokio::test]
async fn every_altered_byte_is_noticed() {
    let vault = vault(&[&setting("a")]);
    let home = place();
    let sealed = vault.seal(&home, &text("hunter2")).await.unwrap();
    for at in 0..sealed.text.len() {
        let mut altered = sealed.clone();
        altered.text[at] ^= 1;
        assert!(vault.open(&home, &altered).await.is_err(), "byte {at} of the text");
    }
    for at in 0..sealed.wrapped.len() {
        let mut altered = sealed.clone();
        altered.wrapped[at] ^= 128;
        assert!(vault.open(&home, &altered).await.is_err(), "byte {at} of the data key");
    }
    for length in [0, 1, 23, 24, 39, sealed.text.len() - 1] {
        let mut cut = sealed.clone();
        cut.text.truncate(length);
        cut.wrapped.truncate(length);
        assert!(vault.open(&home, &cut).await.is_err(), "{length} bytes");
    }
}

#[tokio::test]
async fn two_seals_of_one_text_have_nothing_in_common() {
    let vault = vault(&[&setting("a")]);
    let (home, mut seen) = (place(), HashSet::new());
    for _ in 0..50 {
        let sealed = vault.seal(&home, &text("hunter2")).await.unwrap();
        for part in
            [&sealed.text[..24], &sealed.text[24..], &sealed.wrapped[..24], &sealed.wrapped[24..]]
        {
            assert!(seen.insert(part.to_vec()));
            assert!(!part.windows(4).any(|part| b"hunter2".windows(4).any(|text| text == part)));
        }
    }
}

#[tokio::test]
async fn of_several_keys_the_first_one_wraps_and_all_of_them_unwrap() {
    let (old, new) = (setting("old"), setting("new"));
    let home = place();
    let before = vault(&[&old]);
    let sealed = before.seal(&home, &text("hunter2")).await.unwrap();
    assert_eq!(sealed.key.as_str(), "old");
    // First every process learns the new key, then it wraps.
    for keys in [[&*old, &*new], [&*new, &*old]] {
        assert_eq!(vault(&keys).open(&home, &sealed).await.unwrap().expose(), "hunter2");
    }
    let between = vault(&[&new, &old]);
    let (key, wrapped) = between.rewrap(&home, &sealed.key, &sealed.wrapped).await.unwrap();
    let rewrapped = Sealed { key, wrapped, text: sealed.text.clone() };
    assert_eq!(rewrapped.key.as_str(), "new");
    let after = vault(&[&new]);
    assert_eq!(after.open(&home, &rewrapped).await.unwrap().expose(), "hunter2");
    let unknown = VaultError::UnknownKey { key: sealed.key.clone() };
    assert_eq!(after.open(&home, &sealed).await.map(|_| ()).unwrap_err(), unknown);
    // A key that took the name of another one is not that one.
    let namesake = vault(&[&setting("old")]);
    assert_eq!(namesake.open(&home, &sealed).await.map(|_| ()).unwrap_err(), VaultError::Damaged);
    let renamed = Sealed { key: rewrapped.key, ..sealed };
    assert_eq!(between.open(&home, &renamed).await.map(|_| ()).unwrap_err(), VaultError::Damaged);
}

#[tokio::test]
async fn without_a_key_nothing_is_sealed_and_the_setting_is_named() {
    let none = vault(&[]);
    let error = none.seal(&place(), &text("x")).await.unwrap_err();
    assert_eq!(error, VaultError::NoKey);
    assert!(error.to_string().contains("ACTIONS_MASTER_KEY"), "{error}");
    assert!(none.master_keys().is_empty());
    let home = place();
    let sealed = vault(&[&setting("a")]).seal(&home, &text("x")).await.unwrap();
    assert_eq!(none.open(&home, &sealed).await.map(|_| ()).unwrap_err(), VaultError::NoKey);
}

#[tokio::test]
async fn a_keeper_that_is_away_is_told_apart() {
    let error = elsewhere(true).seal(&place(), &text("x")).await.unwrap_err();
    assert!(matches!(error, VaultError::Unavailable { .. }), "{error}");
}
