//! SCRAM with SHA-256 and SHA-512 (RFC 5802, RFC 7677; KIP-84): both sides of the exchange.
//!
//! The server keeps salted keys, never a password. A user that does not exist is taken through the same conversation
//! and refused at its end, so that names cannot be probed for.
//!
//! Names and passwords are taken as the UTF-8 they are: Kafka's clients prepare neither, so a server that did would
//! refuse their proofs.

mod client;
mod message;
mod server;

pub use client::{Client, ClientError};
pub use message::{Error, MESSAGE_BYTES_MAX};
pub use server::{Challenge, ClientFirst};

use ring::{digest, hmac, pbkdf2};
use std::num::NonZeroU32;

/// The fewest iterations that a credential may have (KIP-84).
pub const ITERATIONS_MIN: u32 = 4096;
/// The most, so that a login cannot keep a processor busy for long: Kafka's limit (KIP-554).
pub const ITERATIONS_MAX: u32 = 16384;

/// Which hash an exchange uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mechanism {
    /// SCRAM-SHA-256.
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

impl Mechanism {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    /// Kafka's number (KIP-554).
    #[must_use]
    pub fn code(self) -> i8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }

    /// From Kafka's number.
    #[must_use]
    pub fn from_code(code: i32) -> Option<Self> {
        match code {
            1 => Some(Self::Sha256),
            2 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// How long its hashes and keys are, in bytes.
    #[must_use]
    pub fn hash_bytes(self) -> usize {
        self.digest().output_len()
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn sign(self, key: &[u8], text: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(self.hmac(), key), text)
            .as_ref()
            .to_vec()
    }

    fn hash(self, bytes: &[u8]) -> Vec<u8> {
        digest::digest(self.digest(), bytes).as_ref().to_vec()
    }

    /// `Hi(password, salt, iterations)` of RFC 5802: what a client may keep in the place of the password, and what
    /// AlterUserScramCredentials carries. An iteration count of 0 counts as 1.
    #[must_use]
    pub fn salted_password(self, password: &str, salt: &[u8], iterations: u32) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        };
        let mut salted = vec![0; self.hash_bytes()];
        let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        pbkdf2::derive(algorithm, iterations, salt, password.as_bytes(), &mut salted);
        salted
    }
}

/// What the server keeps of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Random, of the user and mechanism.
    pub salt: Vec<u8>,
    /// `H(ClientKey)`.
    pub stored_key: Vec<u8>,
    /// With which the server proves that it knows the user too.
    pub server_key: Vec<u8>,
    /// Of PBKDF2.
    pub iterations: u32,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential(iterations {}, keys not shown)", self.iterations)
    }
}

impl Credential {
    /// Of a password.
    #[must_use]
    pub fn of_password(mechanism: Mechanism, password: &str, salt: &[u8], iterations: u32) -> Self {
        let salted = mechanism.salted_password(password, salt, iterations);
        Self::of_salted_password(mechanism, &salted, salt, iterations)
    }

    /// Of a password that was salted already (KIP-554).
    #[must_use]
    pub fn of_salted_password(mechanism: Mechanism, salted: &[u8], salt: &[u8], iterations: u32) -> Self {
        let client_key = mechanism.sign(salted, b"Client Key");
        Self {
            salt: salt.to_vec(),
            stored_key: mechanism.hash(&client_key),
            server_key: mechanism.sign(salted, b"Server Key"),
            iterations,
        }
    }

    /// Whether this is the credential of that password. Takes as long whether it is or not.
    #[must_use]
    pub fn is_of_password(&self, mechanism: Mechanism, password: &str) -> bool {
        let other = Self::of_password(mechanism, password, &self.salt, self.iterations);
        same_bytes(&other.stored_key, &self.stored_key)
    }

    /// Looks like the credential of a user, is nobody's. The salt follows from `secret` and the name, so that asking
    /// twice does not tell, nor asking two brokers; `secret` is known to all brokers and leaves none.
    #[must_use]
    pub fn of_nobody(mechanism: Mechanism, user: &str, secret: &[u8]) -> Self {
        let derived = mechanism.sign(secret, user.as_bytes());
        Self {
            salt: derived[..mechanism.hash_bytes() / 2].to_vec(),
            stored_key: mechanism.hash(&derived),
            server_key: mechanism.sign(&derived, b"Server Key"),
            iterations: ITERATIONS_MIN,
        }
    }
}

/// Compares every byte, whatever the first ones say.
fn same_bytes(left: &[u8], right: &[u8]) -> bool {
    let difference = left.iter().zip(right).fold(0, |sum, (l, r)| sum | (l ^ r));
    left.len() == right.len() && std::hint::black_box(difference) == 0
}

fn xor(left: &[u8], right: &[u8]) -> Vec<u8> {
    left.iter().zip(right).map(|(l, r)| l ^ r).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3.
    const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                                p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

    fn rfc_credential() -> Credential {
        use base64::Engine;
        let salt = base64::engine::general_purpose::STANDARD
            .decode("W22ZaJ0SNY7soEsUEjb6gQ==")
            .expect("valid base64");
        Credential::of_password(Mechanism::Sha256, "pencil", &salt, 4096)
    }

    #[test]
    fn server_speaks_as_rfc_7677_shows() {
        let first = ClientFirst::parse(CLIENT_FIRST.as_bytes()).expect("client-first-message");
        assert_eq!(first.user(), "user");
        let challenge = Challenge::new(
            Mechanism::Sha256,
            first,
            Some(rfc_credential()),
            SERVER_NONCE,
            b"secret",
        );
        assert_eq!(challenge.message(), SERVER_FIRST);
        assert_eq!(
            challenge.finish(CLIENT_FINAL.as_bytes()),
            Ok(SERVER_FINAL.to_owned())
        );
    }

    #[test]
    fn client_speaks_as_rfc_7677_shows() {
        let client = Client::new(Mechanism::Sha256, "user", "pencil", "rOprNGfwEbeRWgbNEkqO");
        assert_eq!(client.first_message(), CLIENT_FIRST);
        let (last, proof) = client
            .answer(SERVER_FIRST.as_bytes())
            .expect("server-first-message");
        assert_eq!(last, CLIENT_FINAL);
        assert_eq!(proof.verify(SERVER_FINAL.as_bytes()), Ok(()));
        assert_eq!(proof.verify(b"v=AAAA"), Err(ClientError::WrongServer));
    }

    fn converse(mechanism: Mechanism, password: &str, stored: Option<Credential>) -> Result<String, Error> {
        let client = Client::new(mechanism, "al=ice,", password, "client-nonce");
        let first = ClientFirst::parse(client.first_message().as_bytes())?;
        assert_eq!(first.user(), "al=ice,");
        let challenge = Challenge::new(mechanism, first, stored, "server-nonce", b"secret");
        let (last, proof) = client
            .answer(challenge.message().as_bytes())
            .expect("well-formed");
        let answer = challenge.finish(last.as_bytes())?;
        assert_eq!(proof.verify(answer.as_bytes()), Ok(()));
        Ok(answer)
    }

    #[test]
    fn both_mechanisms_accept_the_password_and_refuse_another() {
        for mechanism in [Mechanism::Sha256, Mechanism::Sha512] {
            let stored = Credential::of_password(mechanism, "right", b"salt", ITERATIONS_MIN);
            assert!(converse(mechanism, "right", Some(stored.clone())).is_ok());
            assert_eq!(converse(mechanism, "wrong", Some(stored)), Err(Error::Refused));
        }
    }

    #[test]
    fn unknown_user_sees_the_same_conversation() {
        assert_eq!(converse(Mechanism::Sha512, "any", None), Err(Error::Refused));
        let message = |name: &str| {
            let first = ClientFirst::parse(format!("n,,n={name},r=abc").as_bytes()).expect("valid");
            let challenge = Challenge::new(Mechanism::Sha256, first, None, "xyz", b"secret");
            challenge.message().to_owned()
        };
        assert_eq!(
            message("mallory"),
            message("mallory"),
            "a salt that changes would tell"
        );
        assert_ne!(
            message("mallory"),
            message("trudy"),
            "a salt that all share would tell"
        );
        assert_eq!(message("mallory").len(), "r=abcxyz,s=,i=4096".len() + 24);
    }

    #[test]
    fn password_is_checked_against_stored_keys() {
        let stored = Credential::of_password(Mechanism::Sha256, "right", b"salt", ITERATIONS_MIN);
        assert!(stored.is_of_password(Mechanism::Sha256, "right"));
        assert!(!stored.is_of_password(Mechanism::Sha256, "wrong"));
        assert!(!stored.is_of_password(Mechanism::Sha512, "right"));
    }

    #[test]
    fn credential_does_not_print_its_keys() {
        let stored = Credential::of_password(Mechanism::Sha256, "right", b"salt", ITERATIONS_MIN);
        assert_eq!(
            format!("{stored:?}"),
            "Credential(iterations 4096, keys not shown)"
        );
    }
}
