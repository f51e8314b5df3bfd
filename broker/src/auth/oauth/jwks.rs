//! Sets of public keys (RFC 7517, RFC 7518).

use super::decode;
use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, EcdsaVerificationAlgorithm,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;

/// The keys of a set that are looked at; real sets have a handful.
const KEYS_MAX: usize = 100;

/// Why there is no set of keys in a text.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// It is no JSON of that form.
    #[error("it is not a JSON Web Key Set: {0}")]
    Json(#[from] serde_json::Error),
    /// Nothing can be checked with it.
    #[error("it has no key that signatures can be checked with (RSA, P-256, P-384, Ed25519)")]
    NoKeys,
}

/// The public keys of those whose tokens are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    id: Option<String>,
    /// The only algorithm that it is for, if it says so.
    algorithm: Option<String>,
    public: Public,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Public {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct SetForm {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct KeyForm {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads one. Keys of kinds that are not known, or not for signatures, are left out, as RFC 7517 asks.
    ///
    /// # Errors
    /// [`KeySetError`].
    pub fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        let form: SetForm = serde_json::from_slice(text)?;
        let keys: Vec<Key> = form
            .keys
            .into_iter()
            .take(KEYS_MAX)
            .filter_map(|key| serde_json::from_value(key).ok())
            .filter_map(key)
            .collect();
        if keys.is_empty() {
            return Err(KeySetError::NoKeys);
        }
        Ok(Self { keys })
    }

    /// How many keys there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is a key with that id.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == Some(id))
    }

    /// Whether a key of the set made the signature, with that algorithm: the one that is named, or any where none is.
    #[must_use]
    pub(super) fn signed(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        text: &[u8],
        signature: &[u8],
    ) -> bool {
        self.keys
            .iter()
            .filter(|key| id.is_none() || key.id.as_deref() == id)
            .filter(|key| {
                key.algorithm
                    .as_deref()
                    .is_none_or(|only| only == algorithm.name())
            })
            .any(|key| key.public.signed(algorithm, text, signature))
    }
}

fn key(form: KeyForm) -> Option<Key> {
    if form.r#use.as_deref().is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let part = |text: &Option<String>| text.as_deref().and_then(decode);
    let point = |bytes: usize| {
        let (x, y) = (part(&form.x)?, part(&form.y)?);
        // Uncompressed, as ring takes it (SEC 1, 2.3.3).
        (x.len() == bytes && y.len() == bytes).then(|| [&[4], x.as_slice(), y.as_slice()].concat())
    };
    let public = match (form.kty.as_str(), form.crv.as_deref()) {
        ("RSA", _) => Public::Rsa {
            modulus: without_zeros(part(&form.n)?),
            exponent: without_zeros(part(&form.e)?),
        },
        ("EC", Some("P-256")) => Public::P256(point(32)?),
        ("EC", Some("P-384")) => Public::P384(point(48)?),
        ("OKP", Some("Ed25519")) => Public::Ed25519(part(&form.x)?),
        _ => return None,
    };
    Some(Key {
        id: form.kid,
        algorithm: form.alg,
        public,
    })
}

/// Some issuers write a number with zeros in front, which ring refuses.
fn without_zeros(number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number[zeros..].to_vec()
}

/// How a token may be signed (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

const ALGORITHMS: [(Algorithm, &str); 9] = [
    (Algorithm::Rs256, "RS256"),
    (Algorithm::Rs384, "RS384"),
    (Algorithm::Rs512, "RS512"),
    (Algorithm::Ps256, "PS256"),
    (Algorithm::Ps384, "PS384"),
    (Algorithm::Ps512, "PS512"),
    (Algorithm::Es256, "ES256"),
    (Algorithm::Es384, "ES384"),
    (Algorithm::EdDsa, "EdDSA"),
];

impl Algorithm {
    pub(super) fn named(name: &str) -> Option<Self> {
        ALGORITHMS
            .iter()
            .find_map(|(algorithm, known)| (*known == name).then_some(*algorithm))
    }

    fn name(self) -> &'static str {
        ALGORITHMS
            .iter()
            .find_map(|(algorithm, name)| (*algorithm == self).then_some(*name))
            .expect("every algorithm is in the table: a test looks")
    }

    /// Of 2,048 to 8,192 bits.
    fn rsa(self) -> Option<&'static RsaParameters> {
        match self {
            Self::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
            Self::Es256 | Self::Es384 | Self::EdDsa => None,
        }
    }
}

impl Public {
    fn signed(&self, algorithm: Algorithm, text: &[u8], signature: &[u8]) -> bool {
        let ecdsa = |with: &'static EcdsaVerificationAlgorithm, point: &[u8]| {
            UnparsedPublicKey::new(with, point)
                .verify(text, signature)
                .is_ok()
        };
        match (self, algorithm) {
            (Self::Rsa { modulus, exponent }, _) => algorithm.rsa().is_some_and(|parameters| {
                RsaPublicKeyComponents {
                    n: modulus,
                    e: exponent,
                }
                .verify(parameters, text, signature)
                .is_ok()
            }),
            (Self::P256(point), Algorithm::Es256) => ecdsa(&ECDSA_P256_SHA256_FIXED, point),
            (Self::P384(point), Algorithm::Es384) => ecdsa(&ECDSA_P384_SHA384_FIXED, point),
            (Self::Ed25519(key), Algorithm::EdDsa) => UnparsedPublicKey::new(&ED25519, key)
                .verify(text, signature)
                .is_ok(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_cannot_check_signatures_are_left_out() {
        let set = KeySet::parse(
            br#"{"keys": [
                {"kty": "oct", "kid": "shared", "k": "AAAA"},
                {"kty": "RSA", "kid": "to-encrypt", "use": "enc", "n": "AQAB", "e": "AQAB"},
                {"kty": "EC", "kid": "half", "crv": "P-256", "x": "AQAB", "y": "AQAB"},
                {"kty": "EC", "kid": "curve", "crv": "P-521", "x": "AQAB", "y": "AQAB"},
                {"kid": "without type"},
                "not a key",
                {"kty": "RSA", "kid": "good", "n": "AAEAAQ", "e": "AQAB", "x5c": ["of no interest"]}
            ]}"#,
        )
        .expect("one key is good");
        assert_eq!(set.count(), 1);
        assert!(set.has("good") && !set.has("to-encrypt"));
        assert_eq!(
            set.keys[0].public,
            Public::Rsa {
                modulus: vec![1, 0, 1],
                exponent: vec![1, 0, 1]
            }
        );
    }

    #[test]
    fn what_is_no_set_is_said_to_be_none() {
        for text in ["", "[]", r#"{"keys": 1}"#, "<html>"] {
            assert!(
                matches!(KeySet::parse(text.as_bytes()), Err(KeySetError::Json(_))),
                "{text}"
            );
        }
        assert!(matches!(
            KeySet::parse(br#"{"keys": [{"kty": "oct", "k": "AAAA"}]}"#),
            Err(KeySetError::NoKeys)
        ));
    }

    #[test]
    fn algorithms_have_names_and_none_is_symmetric() {
        for (algorithm, name) in ALGORITHMS {
            assert_eq!(Algorithm::named(name), Some(algorithm));
            assert_eq!(algorithm.name(), name);
        }
        for name in ["none", "None", "HS256", "HS512", "rs256", ""] {
            assert_eq!(Algorithm::named(name), None, "{name}");
        }
    }
}
