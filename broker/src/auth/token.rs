//! Delegation tokens (KIP-48): what proves that a client has one.
//!
//! A token's HMAC follows from its id and a secret that all brokers have, so that it is stored nowhere. With it as its
//! password, and the id as its name, a client goes through SCRAM and says `tokenauth=true`.

use super::scram::{Credential, ITERATIONS_MIN, Mechanism};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use std::fmt;

/// The fleet's secret, `delegation.token.secret.key`.
pub struct Key(hmac::Key);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(not shown)")
    }
}

impl Key {
    /// Of the setting's text.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA512, secret.as_bytes()))
    }

    /// What proves the token with this id: its HMAC-SHA-512, 64 bytes.
    #[must_use]
    pub fn hmac(&self, id: &str) -> Vec<u8> {
        hmac::sign(&self.0, id.as_bytes()).as_ref().to_vec()
    }

    /// Whether `proof` is the HMAC of the token with this id. Takes as long whether it is or not.
    #[must_use]
    pub fn proves(&self, id: &str, proof: &[u8]) -> bool {
        hmac::verify(&self.0, id.as_bytes(), proof).is_ok()
    }

    /// What SCRAM checks a client by that has the token. Takes milliseconds of a processor. The salt follows from `secret`
    /// and the id, as that of a token that does not exist does: the first answer does not tell which there are.
    #[must_use]
    pub fn credential(&self, mechanism: Mechanism, id: &str, secret: &[u8]) -> Credential {
        let password = STANDARD.encode(self.hmac(id));
        let salt = Credential::of_nobody(mechanism, id, secret).salt;
        Credential::of_password(mechanism, &password, &salt, ITERATIONS_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test case 2 of RFC 4231.
    #[test]
    fn hmac_is_that_of_rfc_4231() {
        let key = Key::new("Jefe");
        let proof = key.hmac("what do ya want for nothing?");
        let hex: String = proof.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fd\
             caeab1a34d4a6b4b636e070a38bce737"
        );
        assert!(key.proves("what do ya want for nothing?", &proof));
        assert!(!key.proves("another", &proof));
        assert!(!key.proves("what do ya want for nothing?", &proof[..63]));
        assert!(!Key::new("jefe").proves("what do ya want for nothing?", &proof));
    }

    #[test]
    fn credential_is_of_the_hmac_in_base64() {
        let key = Key::new("secret");
        let credential = key.credential(Mechanism::Sha256, "id", b"of all brokers");
        let password = STANDARD.encode(key.hmac("id"));
        assert!(credential.is_of_password(Mechanism::Sha256, &password));
        assert!(!credential.is_of_password(Mechanism::Sha256, "another"));
        assert_eq!(
            credential.salt,
            Credential::of_nobody(Mechanism::Sha256, "id", b"of all brokers").salt
        );
        assert_eq!(format!("{key:?}"), "Key(not shown)");
    }
}
