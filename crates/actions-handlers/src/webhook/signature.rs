//! Signatures of deliveries: Standard Webhooks 1.0, and the founding header.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// HMAC-SHA256. Any length of key is allowed.
pub(crate) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The founding signature: `sha256=` and the hex HMAC over the exact body, keyed with the
/// secret's own text.
pub(crate) fn founding(secret: &str, body: &[u8]) -> String {
    format!("sha256={}", hex(&hmac_sha256(secret.as_bytes(), &[body])))
}

/// The Standard Webhooks signature: `v1,` and the base64 HMAC over `id.timestamp.body`, one for
/// each secret, separated by spaces.
pub(crate) fn standard(keys: &[Vec<u8>], id: &str, timestamp: &str, body: &[u8]) -> String {
    let signatures = keys.iter().map(|key| {
        let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
        format!("v1,{}", STANDARD.encode(hmac_sha256(key, &parts)))
    });
    signatures.collect::<Vec<_>>().join(" ")
}

/// The key of a secret: what `whsec_` carries in base64, else its own bytes.
///
/// # Errors
/// When the text after `whsec_` is not base64.
pub(crate) fn key(secret: &str) -> Result<Vec<u8>, &'static str> {
    match secret.strip_prefix("whsec_") {
        Some(encoded) => {
            STANDARD.decode(encoded).map_err(|_| "the text after whsec_ must be base64")
        }
        None => Ok(secret.as_bytes().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::{founding, key, standard};

    /// The example of the Standard Webhooks libraries.
    #[test]
    fn the_published_example_is_reproduced() {
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
        let body = br#"{"test": 2432232314}"#;
        let signature = standard(&[key], "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn the_founding_signature_is_hex_over_the_body() {
        // RFC 4231, test case 2.
        assert_eq!(
            founding("Jefe", b"what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert!(key("whsec_not base64").is_err());
    }
}
