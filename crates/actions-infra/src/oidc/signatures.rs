//! Signatures by `ring`, which TLS brings anyway, for the crate that reads tokens.

use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::signature as ring;
use signature::Verifier;
use tracing::warn;

/// What can be checked with a public key.
pub(super) const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _: &EncodingKey| -> Result<Box<dyn JwtSigner>, Error> {
        Err(ErrorKind::UnsupportedAlgorithm.into())
    },
    verifier_factory: |algorithm, key| match PublicKey::new(*algorithm, key) {
        Some(key) => Ok(Box::new(key)),
        None => Err(ErrorKind::UnsupportedAlgorithm.into()),
    },
    key_utils: KeyUtils::new_unimplemented(),
};

/// Chooses `ring` for the whole process. A process that has chosen before keeps its choice, and
/// tokens are checked with that.
pub(super) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        if PROVIDER.install_default().is_err() {
            warn!("signatures of tokens are checked by what this process chose before");
        }
    });
}

/// Whether a published key is of the kind that an algorithm asks for.
pub(super) fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    match (&key.algorithm, algorithm) {
        (
            AlgorithmParameters::RSA(_),
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512,
        ) => true,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES256) => {
            key.curve == EllipticCurve::P256
        }
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES384) => {
            key.curve == EllipticCurve::P384
        }
        (AlgorithmParameters::OctetKeyPair(key), Algorithm::EdDSA) => {
            key.curve == EllipticCurve::Ed25519
        }
        _ => false,
    }
}

enum Parameters {
    Rsa(&'static ring::RsaParameters),
    Other(&'static dyn ring::VerificationAlgorithm),
}

struct PublicKey {
    algorithm: Algorithm,
    parameters: Parameters,
    key: DecodingKeyKind,
}

impl PublicKey {
    /// RSA keys have 2048 to 8192 bits.
    fn new(algorithm: Algorithm, key: &DecodingKey) -> Option<Self> {
        let parameters = match algorithm {
            Algorithm::RS256 => Parameters::Rsa(&ring::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => Parameters::Rsa(&ring::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => Parameters::Rsa(&ring::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => Parameters::Rsa(&ring::RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => Parameters::Rsa(&ring::RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => Parameters::Rsa(&ring::RSA_PSS_2048_8192_SHA512),
            Algorithm::ES256 => Parameters::Other(&ring::ECDSA_P256_SHA256_FIXED),
            Algorithm::ES384 => Parameters::Other(&ring::ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDSA => Parameters::Other(&ring::ED25519),
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 | _ => return None,
        };
        Some(Self { algorithm, parameters, key: key.kind().clone() })
    }
}

impl JwtVerifier for PublicKey {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for PublicKey {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let verified = match (&self.parameters, &self.key) {
            (Parameters::Rsa(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                ring::RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            (Parameters::Other(algorithm), DecodingKeyKind::SecretOrDer(point)) => {
                ring::UnparsedPublicKey::new(*algorithm, point).verify(message, signature)
            }
            _ => return Err(signature::Error::new()),
        };
        verified.map_err(|_| signature::Error::new())
    }
}
