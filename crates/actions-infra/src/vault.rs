//! Seals secrets: XChaCha20-Poly1305 with a data key for each version of each secret, and the data
//! key wrapped by whoever keeps the master keys.
//!
//! Both ciphertexts are bound to their place: moved to another row they do not open. Nonces are
//! random, which is safe with their 192 bits.

mod local_keys;

use std::sync::Arc;

use actions_domain::ports::dice::Dice;
use actions_domain::ports::vault::{DataKey, MasterKeys, Vault, VaultError};
use actions_domain::secret::{MasterKeyId, Sealed, SecretPlace, SecretText};
use async_trait::async_trait;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use zeroize::{Zeroize, Zeroizing};

pub use local_keys::{KeyError, LocalKeys};

/// What a data key seals. A change of the form gets another word.
const TEXT: &str = "actions/secret/text/v1";
/// What a master key wraps.
const DATA_KEY: &str = "actions/secret/data-key/v1";

const NONCE_BYTES: usize = 24;

/// Envelopes: data keys from the dice, in the care of master keys.
pub struct Envelopes {
    keys: Arc<dyn MasterKeys>,
    dice: Arc<dyn Dice>,
}

impl Envelopes {
    pub fn new(keys: Arc<dyn MasterKeys>, dice: Arc<dyn Dice>) -> Self {
        Self { keys, dice }
    }
}

#[async_trait]
impl Vault for Envelopes {
    fn master_keys(&self) -> &[MasterKeyId] {
        self.keys.ids()
    }

    async fn seal(&self, place: &SecretPlace, text: &SecretText) -> Result<Sealed, VaultError> {
        let mut random = Zeroizing::new([0; DataKey::BYTES]);
        self.dice.fill(random.as_mut());
        let data_key = DataKey::new(*random);
        let context = place.associated_data(TEXT);
        let sealed = seal(&data_key, self.dice.as_ref(), text.expose().as_bytes(), &context);
        let (key, wrapped) = self.keys.wrap(&data_key, &place.associated_data(DATA_KEY)).await?;
        Ok(Sealed { key, wrapped, text: sealed })
    }

    async fn open(&self, place: &SecretPlace, sealed: &Sealed) -> Result<SecretText, VaultError> {
        let context = place.associated_data(DATA_KEY);
        let data_key = self.keys.unwrap(&sealed.key, &sealed.wrapped, &context).await?;
        let bytes = open(&data_key, &sealed.text, &place.associated_data(TEXT))?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(SecretText::new(text)),
            Err(error) => {
                error.into_bytes().zeroize();
                Err(VaultError::Damaged)
            }
        }
    }

    async fn rewrap(
        &self,
        place: &SecretPlace,
        by: &MasterKeyId,
        wrapped: &[u8],
    ) -> Result<(MasterKeyId, Vec<u8>), VaultError> {
        let context = place.associated_data(DATA_KEY);
        let data_key = self.keys.unwrap(by, wrapped, &context).await?;
        self.keys.wrap(&data_key, &context).await
    }
}

/// A random nonce, and behind it what was sealed.
fn seal(key: &DataKey, dice: &dyn Dice, text: &[u8], context: &[u8]) -> Vec<u8> {
    let mut nonce = [0; NONCE_BYTES];
    dice.fill(&mut nonce);
    let payload = Payload { msg: text, aad: context };
    let sealed = cipher(key).encrypt(&XNonce::from(nonce), payload);
    let sealed = sealed.expect("only texts of 256 GB and more cannot be sealed");
    [nonce.as_slice(), &sealed].concat()
}

fn open(key: &DataKey, sealed: &[u8], context: &[u8]) -> Result<Vec<u8>, VaultError> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(VaultError::Damaged)?;
    let payload = Payload { msg: sealed, aad: context };
    cipher(key).decrypt(&XNonce::from(*nonce), payload).map_err(|_| VaultError::Damaged)
}

fn cipher(key: &DataKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&Key::from(*key.expose()))
}
