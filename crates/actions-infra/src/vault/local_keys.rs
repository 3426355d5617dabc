//! Master keys of this process, as they come out of a setting.

use std::sync::Arc;

use actions_domain::limits::MASTER_KEYS_MAX;
use actions_domain::ports::dice::Dice;
use actions_domain::ports::vault::{DataKey, MasterKeys, VaultError};
use actions_domain::secret::{MasterKeyId, MasterKeyIdError};
use async_trait::async_trait;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::{open, seal};

/// For the ids of keys that have none: another purpose would give another id.
const ID_CONTEXT: &str = "actions 2026 id of a master key v1";
/// Bytes of a key.
const KEY_BYTES: usize = DataKey::BYTES;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What is wrong with the setting. No part of a key is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error(
        "key {place} is not {KEY_BYTES} bytes in base64, like the output of: openssl rand -base64 32"
    )]
    Form { place: usize },
    #[error("key {place} is too simple to be random; make one with: openssl rand -base64 32")]
    Simple { place: usize },
    #[error("key {place}: {source}")]
    Id { place: usize, source: MasterKeyIdError },
    #[error("two keys are called {id}")]
    Twice { id: MasterKeyId },
    #[error("more than {MASTER_KEYS_MAX} keys; wrap the secrets anew and leave old ones out")]
    TooMany,
}

/// Keys in this process's memory, which is wiped when they are dropped.
pub struct LocalKeys {
    ids: Vec<MasterKeyId>,
    /// In the same order.
    keys: Vec<DataKey>,
    dice: Arc<dyn Dice>,
}

impl LocalKeys {
    /// No key: nothing can be sealed or opened.
    pub fn none(dice: Arc<dyn Dice>) -> Self {
        Self { ids: Vec::new(), keys: Vec::new(), dice }
    }

    /// Reads keys, each `BASE64` or `ID:BASE64`, separated by commas or white space. The first one
    /// wraps, all of them unwrap. A key without an id gets one that is made of it.
    ///
    /// # Errors
    /// The first key that is wrong, by its place from 1.
    pub fn parse(raw: &str, dice: Arc<dyn Dice>) -> Result<Self, KeyError> {
        let mut found = Self::none(dice);
        let separates = |c: char| c == ',' || c.is_whitespace();
        for (index, part) in raw.split(separates).filter(|part| !part.is_empty()).enumerate() {
            let place = index + 1;
            if place > MASTER_KEYS_MAX {
                return Err(KeyError::TooMany);
            }
            let (id, text) = match part.split_once(':') {
                Some((id, text)) => (Some(id), text),
                None => (None, part),
            };
            let mut bytes = Zeroizing::new([0; KEY_BYTES]);
            // For URLs, base64 has two other letters.
            let text = Zeroizing::new(text.replace('-', "+").replace('_', "/"));
            let decoded = Zeroizing::new(
                BASE64.decode(text.as_bytes()).map_err(|_| KeyError::Form { place })?,
            );
            if decoded.len() != KEY_BYTES {
                return Err(KeyError::Form { place });
            }
            bytes.copy_from_slice(&decoded);
            if is_simple(&bytes) {
                return Err(KeyError::Simple { place });
            }
            let id = match id {
                Some(id) => {
                    MasterKeyId::parse(id).map_err(|source| KeyError::Id { place, source })?
                }
                None => derived_id(&bytes),
            };
            if found.ids.contains(&id) {
                return Err(KeyError::Twice { id });
            }
            found.ids.push(id);
            found.keys.push(DataKey::new(*bytes));
        }
        if found.ids.is_empty() {
            return Err(KeyError::Form { place: 1 });
        }
        Ok(found)
    }

    /// A new key, as the setting takes it.
    pub fn generate(dice: &dyn Dice) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        dice.fill(bytes.as_mut());
        Zeroizing::new(BASE64.encode(bytes.as_slice()))
    }
}

#[async_trait]
impl MasterKeys for LocalKeys {
    fn ids(&self) -> &[MasterKeyId] {
        &self.ids
    }

    async fn wrap(
        &self,
        key: &DataKey,
        context: &[u8],
    ) -> Result<(MasterKeyId, Vec<u8>), VaultError> {
        let (id, master) = self.ids.iter().zip(&self.keys).next().ok_or(VaultError::NoKey)?;
        let context = context_of(id, context);
        Ok((id.clone(), seal(master, self.dice.as_ref(), key.expose(), &context)))
    }

    async fn unwrap(
        &self,
        by: &MasterKeyId,
        wrapped: &[u8],
        context: &[u8],
    ) -> Result<DataKey, VaultError> {
        if self.ids.is_empty() {
            return Err(VaultError::NoKey);
        }
        let found = self.ids.iter().zip(&self.keys).find(|(id, _)| *id == by);
        let (_, master) = found.ok_or_else(|| VaultError::UnknownKey { key: by.clone() })?;
        let opened = Zeroizing::new(open(master, wrapped, &context_of(by, context))?);
        let bytes = opened.as_slice().try_into().map_err(|_| VaultError::Damaged)?;
        Ok(DataKey::new(bytes))
    }
}

/// The id belongs to what is authenticated, with its length behind it.
fn context_of(id: &MasterKeyId, context: &[u8]) -> Vec<u8> {
    let id = id.as_str().as_bytes();
    [context, id, &(id.len() as u64).to_be_bytes()].concat()
}

fn derived_id(key: &[u8; KEY_BYTES]) -> MasterKeyId {
    let digest = blake3::Hash::from_bytes(blake3::derive_key(ID_CONTEXT, key)).to_hex();
    MasterKeyId::parse(&format!("mk-{}", &digest[..16])).expect("it is made of letters and digits")
}

/// All zeros, a repeated letter, a counter: nobody draws these.
fn is_simple(bytes: &[u8; KEY_BYTES]) -> bool {
    let mut seen = *bytes;
    seen.sort_unstable();
    let different = 1 + seen.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let step = bytes[1].wrapping_sub(bytes[0]);
    let is_counter = bytes.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step);
    different < KEY_BYTES / 4 || is_counter
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actions_domain::ports::vault::MasterKeys;

    use super::{KeyError, LocalKeys};
    use crate::system::SystemDice;

    fn parse(raw: &str) -> Result<Vec<String>, KeyError> {
        let keys = LocalKeys::parse(raw, Arc::new(SystemDice))?;
        Ok(keys.ids().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn keys_have_ids_of_their_own_or_made_of_them() {
        let (one, other) = (LocalKeys::generate(&SystemDice), LocalKeys::generate(&SystemDice));
        assert_eq!(one.len(), 44);
        let derived = parse(&one).unwrap();
        assert_eq!(parse(one.trim_end_matches('=')).unwrap(), derived);
        assert_eq!(parse(&one.replace('+', "-").replace('/', "_")).unwrap(), derived);
        assert!(derived[0].starts_with("mk-") && derived[0].len() == 19, "{derived:?}");
        assert!(!one.contains(&derived[0][3..]));
        let both = parse(&format!("2026:{},\n {}\n", other.as_str(), one.as_str())).unwrap();
        assert_eq!(both, ["2026".to_owned(), derived[0].clone()]);
    }

    #[test]
    fn a_wrong_key_is_named_by_its_place_and_never_shown() {
        let good = LocalKeys::generate(&SystemDice);
        let hex = "f".repeat(64);
        for (raw, expected) in [
            (String::new(), KeyError::Form { place: 1 }),
            (" , ".to_owned(), KeyError::Form { place: 1 }),
            ("hunter2".to_owned(), KeyError::Form { place: 1 }),
            (format!("{} {hex}", good.as_str()), KeyError::Form { place: 2 }),
            (format!("a:{}=", "A".repeat(43)), KeyError::Simple { place: 1 }),
            (
                "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned(),
                KeyError::Simple { place: 1 },
            ),
        ] {
            let error = parse(&raw).unwrap_err();
            assert_eq!(error, expected, "{raw}");
            assert!(raw.len() < 5 || !error.to_string().contains(raw.trim()), "{error}");
        }
        let id = parse(&format!("a b:{}", good.as_str())).unwrap_err();
        assert_eq!(id, KeyError::Form { place: 1 }, "white space separates keys");
        let id = parse(&format!("ä:{}", good.as_str())).unwrap_err();
        assert!(matches!(id, KeyError::Id { place: 1, .. }), "{id}");
        let twice = parse(&format!("a:{} a:{}", good.as_str(), good.as_str())).unwrap_err();
        assert_eq!(twice.to_string(), "two keys are called a");
    }
}
