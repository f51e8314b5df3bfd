//! How a connection authenticates with SASL (KIP-12, KIP-43, KIP-48, KIP-84, KIP-152, KIP-255, KIP-368, KIP-768).
//!
//! SaslHandshake chooses a mechanism. After version 0 of it tokens come bare, each in a frame of its own; after version 1
//! they come inside SaslAuthenticate.

use super::jwks::Keys;
use super::registry::{Proof, in_metadata};
use crate::auth::oauth;
use crate::auth::plain::Plain;
use crate::auth::scram::{self, Challenge, ClientFirst, Credential};
use crate::auth::token;
use crate::broker::Broker;
use crate::clock::now_ms;
use crate::metadata::{DelegationToken, Image};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use flotilla_control::config::Authentication;
use ring::rand::{SecureRandom, SystemRandom};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// A SASL mechanism that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    Plain,
    Scram(scram::Mechanism),
    OauthBearer,
}

impl Mechanism {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram(mechanism) => mechanism.name(),
            Self::OauthBearer => "OAUTHBEARER",
        }
    }

    /// Of a listener's authentications, in their order. PLAIN and OAUTHBEARER are left out without TLS: they show
    /// passwords and tokens to everybody on the way.
    pub(super) fn of_listener(authentication: &[Authentication], tls: bool) -> Vec<Self> {
        authentication
            .iter()
            .filter_map(|way| match way {
                Authentication::ScramSha256 => Some(Self::Scram(scram::Mechanism::Sha256)),
                Authentication::ScramSha512 => Some(Self::Scram(scram::Mechanism::Sha512)),
                Authentication::Plain => tls.then_some(Self::Plain),
                Authentication::OauthBearer => tls.then_some(Self::OauthBearer),
                Authentication::Mtls => None,
            })
            .collect()
    }
}

/// What the broker needs for exchanges, over all connections.
pub(super) struct Secrets {
    random: SystemRandom,
    /// Salting a password takes milliseconds of a processor: so many at a time.
    checks: Semaphore,
    /// With which tokens are checked; none where no listener takes any.
    keys: Option<Keys>,
}

/// The passwords that are salted at a time, of PLAIN and of delegation tokens.
const CHECKS_MAX: usize = 2;
const NONCE_BYTES: usize = 24;

impl Secrets {
    pub(super) fn new(keys: Option<Keys>) -> Self {
        Self {
            random: SystemRandom::new(),
            checks: Semaphore::new(CHECKS_MAX),
            keys,
        }
    }

    fn nonce(&self) -> String {
        let mut nonce = [0; NONCE_BYTES];
        self.random
            .fill(&mut nonce)
            .expect("the system has random numbers");
        STANDARD_NO_PAD.encode(nonce)
    }

    /// Does what takes milliseconds of a processor, in its turn. None where it panicked.
    async fn salted<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let _permit = self
            .checks
            .acquire()
            .await
            .expect("the semaphore is never closed");
        tokio::task::spawn_blocking(work).await.ok()
    }
}

/// An exchange that has begun.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) mechanism: Mechanism,
    /// Whether tokens come without SaslAuthenticate around them.
    pub(super) bare: bool,
    challenge: Option<Box<Challenge>>,
    /// The delegation token that the client says it has, by its id.
    token: Option<String>,
    /// Why its JSON Web Token was refused. It was told that, and has to answer once more.
    refused: Option<String>,
}

/// Where an exchange stands after a token.
#[derive(Debug)]
pub(super) enum Step {
    /// The client has to answer.
    Continue(Exchange, String),
    /// It is who it says.
    Accepted {
        user: String,
        proof: Proof,
        mechanism: Mechanism,
        last: String,
        /// When what it showed ends, in milliseconds since 1970.
        expires_ms: Option<i64>,
    },
    /// It is not. The reason goes to the log; the client hears no more than Kafka tells.
    Refused {
        mechanism: Mechanism,
        user: Option<String>,
        reason: String,
        /// What the client hears, where that is not what all clients hear.
        told: Option<String>,
    },
}

impl Exchange {
    pub(super) fn new(mechanism: Mechanism, bare: bool) -> Self {
        Self {
            mechanism,
            bare,
            challenge: None,
            token: None,
            refused: None,
        }
    }

    /// Takes the client's next token.
    pub(super) async fn step(self, token: &[u8], broker: &Broker, secrets: &Secrets) -> Step {
        match self.mechanism {
            Mechanism::Plain => check_password(token, broker, secrets).await,
            Mechanism::OauthBearer => self.step_oauth(token, broker, secrets).await,
            Mechanism::Scram(mechanism) => self.step_scram(mechanism, token, broker, secrets).await,
        }
    }

    async fn step_scram(
        self,
        mechanism: scram::Mechanism,
        token: &[u8],
        broker: &Broker,
        secrets: &Secrets,
    ) -> Step {
        let refused = |user: Option<&str>, error: scram::Error| Step::Refused {
            mechanism: self.mechanism,
            user: user.map(ToOwned::to_owned),
            reason: error.to_string(),
            told: None,
        };
        let Some(challenge) = self.challenge else {
            let first = match ClientFirst::parse(token) {
                Ok(first) => first,
                Err(error) => return refused(None, error),
            };
            let image = broker.metadata.image();
            let token = first.is_token().then(|| first.user().to_owned());
            let stored = match &token {
                Some(id) => of_token(broker, &image, id, mechanism, secrets).await,
                None => stored(&image, first.user(), mechanism),
            };
            // The same on every broker: asking two of them does not tell that a user does not exist.
            let challenge = Challenge::new(mechanism, first, stored, &secrets.nonce(), image.secret());
            let message = challenge.message().to_owned();
            return Step::Continue(
                Self {
                    challenge: Some(Box::new(challenge)),
                    token,
                    ..self
                },
                message,
            );
        };
        match challenge.finish(token) {
            Ok(last) if self.token.is_some() => match held(&broker.metadata.image(), challenge.user()) {
                Some(token) => Step::Accepted {
                    user: token.owner.clone(),
                    proof: Proof::Token(token.id.clone()),
                    mechanism: self.mechanism,
                    last,
                    expires_ms: Some(token.expiry_ms),
                },
                None => refused(Some(challenge.user()), scram::Error::Refused),
            },
            Ok(last) => Step::Accepted {
                proof: Proof::Password(mechanism, challenge.stored_key().to_vec()),
                user: challenge.user().to_owned(),
                mechanism: self.mechanism,
                last,
                expires_ms: None,
            },
            Err(error) => refused(Some(challenge.user()), error),
        }
    }
}

impl Exchange {
    /// One message and an empty answer; or, for a token that is not taken, an answer that says so, and another message (RFC 7628,
    /// 3.2.3).
    async fn step_oauth(self, message: &[u8], broker: &Broker, secrets: &Secrets) -> Step {
        let mechanism = self.mechanism;
        let refused = |user: Option<String>, reason: String, told: Option<String>| Step::Refused {
            mechanism,
            user,
            reason,
            told,
        };
        if let Some(reason) = self.refused {
            return refused(None, reason, Some(oauth::invalid_token()));
        }
        let first = match oauth::ClientFirst::parse(message) {
            Ok(first) => first,
            Err(error) => return refused(None, error.to_string(), None),
        };
        match check_bearer(first.token, broker, secrets).await {
            Ok(bearer) if !first.authorization_id.is_empty() && first.authorization_id != bearer.user => {
                refused(
                    Some(bearer.user),
                    "authorization id differs from the token's user".to_owned(),
                    None,
                )
            }
            Ok(bearer) => Step::Accepted {
                user: bearer.user,
                proof: Proof::Bearer,
                mechanism,
                last: String::new(),
                expires_ms: Some(bearer.expires_ms),
            },
            Err(error) => {
                let again = Self {
                    refused: Some(error.to_string()),
                    ..self
                };
                Step::Continue(again, oauth::invalid_token())
            }
        }
    }
}

/// Whom a JSON Web Token names. Keys are read anew for one that is signed by a key that is not known yet.
async fn check_bearer(
    token: &str,
    broker: &Broker,
    secrets: &Secrets,
) -> Result<oauth::Bearer, oauth::Refused> {
    let settings = broker.settings();
    let issuer = &settings.sasl_oauthbearer_expected_issuer;
    let expected = oauth::Expected {
        audiences: settings.sasl_oauthbearer_expected_audience.clone(),
        issuer: (!issuer.is_empty()).then(|| issuer.clone()),
        clock_skew_seconds: settings.sasl_oauthbearer_clock_skew_seconds.into(),
        sub_claim: settings.sasl_oauthbearer_sub_claim_name.clone(),
        scope_claim: settings.sasl_oauthbearer_scope_claim_name.clone(),
    };
    let keys = secrets.keys.as_ref();
    let known = keys.map(Keys::now).unwrap_or_default();
    let first = oauth::verify(token, &known, &expected, now_ms());
    let (Err(oauth::Refused::UnknownKey(_)), Some(keys)) = (&first, keys) else {
        return first;
    };
    match keys.renewed().await {
        Some(renewed) => oauth::verify(token, &renewed, &expected, now_ms()),
        None => first,
    }
}

fn stored(image: &Image, user: &str, mechanism: scram::Mechanism) -> Option<Credential> {
    let kept = image.scram(user, in_metadata(mechanism))?;
    Some(Credential {
        salt: kept.salt.to_vec(),
        stored_key: kept.stored_key.to_vec(),
        server_key: kept.server_key.to_vec(),
        iterations: u32::try_from(kept.iterations).ok()?,
    })
}

/// The delegation token with that id, if it holds.
fn held<'a>(image: &'a Image, id: &str) -> Option<&'a Arc<DelegationToken>> {
    image.token(id).filter(|token| token.holds(now_ms()))
}

/// What a client must know that has the delegation token with that id; none where there is none.
async fn of_token(
    broker: &Broker,
    image: &Image,
    id: &str,
    mechanism: scram::Mechanism,
    secrets: &Secrets,
) -> Option<Credential> {
    let settings = broker.settings();
    let key = token::Key::new(settings.delegation_token_secret_key.secret()?);
    let id = held(image, id)?.id.clone();
    let secret = image.secret().to_vec();
    secrets
        .salted(move || key.credential(mechanism, &id, &secret))
        .await
}

/// PLAIN: the password must be that of the user's salted keys, of either mechanism. A user that does not exist takes as long.
async fn check_password(token: &[u8], broker: &Broker, secrets: &Secrets) -> Step {
    let mechanism = Mechanism::Plain;
    let plain = match Plain::parse(token) {
        Ok(plain) => plain,
        Err(error) => {
            return Step::Refused {
                mechanism,
                user: None,
                reason: error.to_string(),
                told: None,
            };
        }
    };
    let image = broker.metadata.image();
    let kept = [scram::Mechanism::Sha512, scram::Mechanism::Sha256]
        .into_iter()
        .find_map(|hash| Some((hash, stored(&image, plain.user, hash)?)));
    let exists = kept.is_some();
    let (hash, credential) = kept.unwrap_or_else(|| {
        let hash = scram::Mechanism::Sha512;
        (hash, Credential::of_nobody(hash, plain.user, image.secret()))
    });
    let (user, password) = (plain.user.to_owned(), plain.password.to_owned());
    let stored_key = credential.stored_key.clone();
    let matches = secrets
        .salted(move || credential.is_of_password(hash, &password))
        .await;
    if exists && matches.unwrap_or(false) {
        let proof = Proof::Password(hash, stored_key);
        Step::Accepted {
            user,
            proof,
            mechanism,
            last: String::new(),
            expires_ms: None,
        }
    } else {
        Step::Refused {
            mechanism,
            user: Some(user),
            reason: "invalid credentials".into(),
            told: None,
        }
    }
}

/// Shared by all connections.
pub(super) type SharedSecrets = Arc<Secrets>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shows_secrets_is_served_over_tls_only() {
        let ways = [
            Authentication::Plain,
            Authentication::Mtls,
            Authentication::OauthBearer,
            Authentication::ScramSha256,
        ];
        let names = |tls| -> Vec<_> {
            Mechanism::of_listener(&ways, tls)
                .into_iter()
                .map(Mechanism::name)
                .collect()
        };
        assert_eq!(names(true), ["PLAIN", "OAUTHBEARER", "SCRAM-SHA-256"]);
        assert_eq!(names(false), ["SCRAM-SHA-256"]);
    }

    #[test]
    fn nonces_differ_and_are_printable() {
        let secrets = Secrets::new(None);
        let (one, other) = (secrets.nonce(), secrets.nonce());
        assert_ne!(one, other);
        assert!(
            one.bytes().all(|byte| byte.is_ascii_graphic() && byte != b','),
            "{one}"
        );
    }
}
